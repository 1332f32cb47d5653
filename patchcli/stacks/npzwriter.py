"""Write ``.npz`` files, member by member, each streamed: a zip of ``.npy`` arrays, as `numpy.savez` makes it.

The zip format is small where members are stored or deflated, and writing it here lets the bytes go to disk in a thread of
their own while the next ones are made. Every size is written in 64 bits (zip64): a member may be larger than 4 GB.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import math
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
DESCRIPTOR = struct.Struct("<4sLQQ")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
NEEDS = 45  # zip64 is version 4.5
MADE_BY = 3 << 8 | NEEDS  # Unix, on every system: the same bytes
MODE = 0o600 << 16
DATE = 1 << 5 | 1  # 1 January 1980, as numpy.savez has it
LEVEL = 6  # of deflating, zlib's own default
LATER = 1 << 3  # flag: CRC and sizes follow the data
FULL = 0xFFFFFFFF  # the size stands in the zip64 field


class Sink(Protocol):
    """What is needed of a file."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write bytes that will not change."""

    def seek(self, place: int, /) -> object:
        """Move to a place counted from the start."""

    def seekable(self) -> bool:
        """Whether it can."""


class _Member(NamedTuple):
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    def local(self) -> bytes:
        """Header before the data."""
        extra = struct.pack("<HHQQ", 1, 16, self.size, self.packed)
        fixed = LOCAL.pack(b"PK\3\4", NEEDS, self.flags, self.method, 0, DATE, self.crc, FULL, FULL, len(self.name), len(extra))
        return fixed + self.name + extra

    def central(self) -> bytes:
        """Entry of the directory at the end."""
        extra = struct.pack("<HHQQQ", 1, 24, self.size, self.packed, self.offset)
        sizes = (self.crc, FULL, FULL, len(self.name), len(extra))
        fixed = CENTRAL.pack(b"PK\1\2", MADE_BY, NEEDS, self.flags, self.method, 0, DATE, *sizes, 0, 0, 0, MODE, FULL)
        return fixed + self.name + extra


class NpzWriter:
    """A new ``.npz``; the same members give the same bytes.

    Args:
        file: an open binary file at its start; one that cannot seek gets the checksums behind the data instead of before them.
        compress: deflate the members instead of storing them.
    """

    def __init__(self, file: Sink, *, compress: bool = False) -> None:
        self._file = file
        self._compress = compress
        self._seekable = file.seekable()
        self._position = 0
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:  # without its directory a failed file does not look whole
            self._write_directory()

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)

    def write(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> None:
        """Write one array, given as C-contiguous pieces that make up ``shape`` in C order and are not changed afterwards."""
        flags, method = 0 if self._seekable else LATER, zlib.DEFLATED if self._compress else 0
        member = _Member(f"{name}.npy".encode(), flags, method, 0, 0, 0, self._position)
        self._put(member.local())
        start = self._position
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS) if self._compress else None
        crc = size = 0
        for data in _parts(shape, dtype, pieces):
            crc = zlib.crc32(data, crc)
            size += len(data)
            self._put(packer.compress(data) if packer else data)
        if packer:
            self._put(packer.flush())
        member = member._replace(crc=crc, size=size, packed=self._position - start)
        if self._seekable:
            self._file.seek(member.offset)
            self._file.write(member.local())
            self._file.seek(self._position)
        else:
            self._put(DESCRIPTOR.pack(b"PK\7\x08", crc, member.packed, member.size))
        self._members.append(member)

    def _write_directory(self) -> None:
        start, count = self._position, len(self._members)
        for member in self._members:
            self._put(member.central())
        end = self._position
        self._put(END64.pack(b"PK\6\6", END64.size - 12, MADE_BY, NEEDS, 0, 0, count, count, end - start, start))
        self._put(LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        self._put(END.pack(b"PK\5\6", 0, 0, count, count, FULL, FULL, 0))


def size_of(members: Iterable[tuple[str, tuple[int, ...], np.dtype[Any]]], *, seekable: bool = True) -> int:
    """How many bytes a file of these members, each a name, a shape and a dtype, will have, stored."""
    total = END64.size + LOCATOR64.size + END.size
    for name, shape, dtype in members:
        blank = _Member(f"{name}.npy".encode(), 0, 0, 0, 0, 0, 0)
        total += len(blank.local()) + len(blank.central()) + (0 if seekable else DESCRIPTOR.size)
        total += len(_npy_header(shape, dtype)) + math.prod(shape) * dtype.itemsize
    return total


def _parts(shape: tuple[int, ...], dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    """The bytes of a ``.npy`` file: its header, then each piece."""
    yield _npy_header(shape, dtype)
    for piece in pieces:
        if piece.nbytes:
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data


@lru_cache(16)
def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a ``.npy`` file of version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = "{" + "".join(f"{key!r}: {value!r}, " for key, value in fields.items()) + "}"
    padding = -(10 + len(text) + 1) % 64
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + padding + 1) + text.encode() + b" " * padding + b"\n"
