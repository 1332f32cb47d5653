"""One function over many patches, so that the bits of a result follow from its patch alone.

Patches are laid with their number as the last axis, ``(h, w[, C], n)``, a piece at a time that fits into a core's cache. There
one pixel of all patches is one contiguous line, and all that functions do is add, multiply and compare whole lines. Numpy does
that at the speed of the cache and each value by itself, so neither the other patches nor the place in the piece can matter. What
would break it: a matrix product, whose rows BLAS rounds differently with the number of rows, and a sum or mean over axes, whose
order numpy chooses by the shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.threads import reuse_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

VALUES = 160_000  # of a piece: 640 kB of float32; fewer cost more calls, more leave the second-level cache
REUSED = 1 << 23  # bytes of an array, of which each piece takes several: paged in again each time they cost a third of it all
LINE = 16  # float32 in a line of the cache


def patchwise(patches: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Call ``function`` on pieces of the patches, laid with the patches along the last axis.

    Args:
        patches: ``(B, h, w[, C])``, any real dtype; not changed.
        function: takes a C-contiguous ``(h, w[, C], n)`` of ``dtype``, which it may write to, and returns as large an array whose
            values follow from those of the same n alone.
        dtype: what patches are computed in, and returned in.

    Returns:
        A new array ``(B, h, w[, C])`` of ``dtype``.

    Raises:
        PatchcliError: an array that is not such a batch.
    """
    check_real(patches.dtype, "batch of patches")
    if patches.ndim not in {3, 4} or 0 in patches.shape[1:]:
        raise PatchcliError(f"batch of patches has shape {patches.shape}; allowed are (B, h, w) and (B, h, w, C), no side 0")
    reuse_memory(REUSED)
    result = np.empty(patches.shape, dtype)
    # an odd number of lines: rows that lie a power of two apart would share few places of the cache
    step = (VALUES // result[:1].size // (2 * LINE) * 2 + 1) * LINE if len(result) else 1
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite and huge values comes what floats make of them
        for start in range(0, len(result), step):
            piece = np.array(np.moveaxis(patches[start : start + step], 0, -1), result.dtype, order="C")
            result[start : start + step] = np.moveaxis(function(piece), -1, 0)
    return result


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The float dtype that holds all values of ``dtype`` that numpy promotes it to with float32: of 32 or 64 bits.

    >>> float_dtype(np.dtype("u1")), float_dtype(np.dtype("u2")), float_dtype(np.dtype("i4"))
    (dtype('float32'), dtype('float32'), dtype('float64'))
    """
    return np.result_type(dtype, np.float32)


def rows_and_columns(piece: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Call ``function``, which works along the first axis, for the rows of ``(h, w, ...)``, then for the columns.

    Returns:
        ``(w, h, ...)``: columns first. Called on that once more, the axes are again as they were.
    """
    done = function(piece)
    return function(np.ascontiguousarray(done.swapaxes(0, 1)))


def reflected(length: int, radius: int) -> NDArray[np.intp]:
    """The pixel that each of ``radius + length + radius`` pixels of a line is, by `numpy.pad`'s rule for reflecting.

    >>> reflected(3, 2).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    return np.pad(np.arange(length), radius, mode="reflect")


def check_parameter(name: str, value: float, allowed: str, *, holds: bool) -> None:
    """Refuse a parameter of a function, ``allowed`` saying what it may be, unless that ``holds``."""
    if not holds:
        raise PatchcliError(f"{name}={value!r} is not possible; allowed is {allowed}")
