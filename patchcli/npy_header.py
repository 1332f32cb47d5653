"""The header of a ``.npy`` array, matched strictly: nothing is evaluated, and only arrays of real numbers pass.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable

NPY_MAGIC = b"\x93NUMPY"
LENGTHS = {b"\1\0": 2, b"\2\0": 4}  # bytes of the length of the header, by version
MAX_NPY_HEADER = 4096
# A comma parts two numbers, so that there is one way to read any digits, and matching is linear in the header's length.
# Julia's NPZ.jl ends a header that needs no padding without a line feed.
NPY_HEADER = (
    rb"\{'descr': '([<>|=][biufU][0-9]{1,8})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,20}(?:, ?[0-9]{1,20}){0,31},? ?)?)\), \} *\n?"
)


class NotPlainError(PatchcliError):
    """An array whose header does not describe real numbers."""


def read_npy_header(take: Callable[[int], bytes], label: str = "") -> tuple[int, np.dtype[Any], bool, tuple[int, ...]]:
    """How many bytes come before the values of an array, and what its header says, as `parse_npy_header` has it.

    Args:
        take: gives so many of the next bytes, from the first on.
        label: what errors begin with, but those of ``take``.
    """
    known = len(NPY_MAGIC) + 2
    prefix = take(known + 2)  # as far as the length of version 1.0
    wide = LENGTHS.get(prefix[len(NPY_MAGIC) : known], 0) if prefix.startswith(NPY_MAGIC) else 0
    prefix += take(wide - 2) if wide > 2 else b""  # noqa: PLR2004
    length = int.from_bytes(prefix[known:], "little")
    if not wide or length > MAX_NPY_HEADER:
        raise PatchcliError(f"{label}has no .npy header of version 1.0 or 2.0 and at most {MAX_NPY_HEADER} bytes")
    text = take(length)
    try:
        return len(prefix) + length, *parse_npy_header(text)
    except PatchcliError as error:
        raise type(error)(f"{label}{error}") from None


@functools.lru_cache(8)
def parse_npy_header(text: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    r"""What a header says: dtype, whether in Fortran order, shape. The stacks of a folder mostly have theirs in common.

    >>> parse_npy_header(b"{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }\n")
    (dtype('uint16'), False, (3, 4))
    """
    matched = re.fullmatch(NPY_HEADER, text)
    if not matched:
        raise NotPlainError("has a .npy header that does not describe a plain array of real numbers")
    try:
        dtype = np.dtype(matched[1].decode())
    except TypeError:
        raise PatchcliError(f"has the unknown dtype {matched[1].decode()}") from None
    return dtype, matched[2] == b"True", tuple(int(number) for number in re.findall(rb"[0-9]+", matched[3]))
