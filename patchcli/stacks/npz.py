"""The container below a stack, ``.npz`` (a zip of ``.npy`` arrays), read strictly and streamed.

Nothing in a file is believed before it is checked against the file itself: sizes and offsets against its length, headers
against one strict pattern, every byte against the member's CRC-32. Nothing is unpickled, and memory never follows a number
that the file merely claims.
"""

from __future__ import annotations

import functools
import io
import math
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
AT_ONCE_BYTES = 1 << 16  # up to which a file is read by a single call
MAX_HEADER = 4096
MAX_DEFLATE_RATIO = 1032  # what one byte of a deflate stream can expand to at most
MAX_TEXT = 1 << 20
MAX_DIRECTORY = 1 << 18  # bytes of a zip's list of members: some thousands of them
CHUNK = 1 << 20
LOCAL_HEADER = struct.Struct("<4s22xHH")
# A comma parts two numbers, so that there is one way to read any digits, and matching is linear in the header's length.
HEADER = re.compile(
    rb"\{'descr': '([<>|=][biufU][0-9]{1,8})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,20}(?:, ?[0-9]{1,20}){0,31},? ?)?)\), \} *\n"
)
STORED, DEFLATED = 0, 8  # zip's numbers


class _Bytes:
    """Consecutive bytes of a file from ``offset``, each read once, stored or deflated; their CRC-32 grows along."""

    def __init__(self, file: BinaryIO, offset: int, size: int, *, deflated: bool = False, label: str = "") -> None:
        self._file, self._position, self._left, self._label = file, offset, size, label
        self._inflate = zlib.decompressobj(-15) if deflated else None
        self._pending = b""
        self.crc = 0

    def readinto(self, buffer: memoryview) -> None:
        """Fill ``buffer``; an error if the bytes end before."""
        done = 0
        while done < len(buffer):
            part = buffer[done : done + CHUNK]  # checked while it is still in the core's cache
            got = self._read_stored(part) if self._inflate is None else self._read_deflated(part)
            if not got:
                raise PatchcliError(f"{self._label}ends before its data do; the file is truncated or damaged")
            self.crc = zlib.crc32(part[:got], self.crc)
            done += got

    def _read_stored(self, buffer: memoryview) -> int:
        self._file.seek(self._position)
        got = self._file.readinto(buffer[: self._left]) or 0  # type: ignore[attr-defined]
        self._position += got
        self._left -= got
        return int(got)

    def _read_deflated(self, buffer: memoryview) -> int:
        assert self._inflate is not None
        while True:
            try:
                data = self._inflate.decompress(self._pending, len(buffer))
            except zlib.error as error:
                raise PatchcliError(f"is damaged: its compressed data don't unpack ({error})") from None
            self._pending = self._inflate.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)
            if self._inflate.eof or not self._left:
                return 0
            self._file.seek(self._position)
            self._pending = self._file.read(min(CHUNK, self._left))
            self._position += len(self._pending)
            self._left -= len(self._pending)
            if not self._pending:
                return 0

    def at_end(self) -> bool:
        """Whether nothing is left to read."""
        if self._inflate is None:
            return self._left == 0
        one = memoryview(bytearray(1))
        return self._read_deflated(one) == 0


class _Directory:
    """A file of which `zipfile`, which keeps an object for each member, gets no longer list of members than a stack may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= MAX_DIRECTORY else MAX_DIRECTORY + 1)
        if len(data) > MAX_DIRECTORY:
            raise PatchcliError(f"has a list of members of more than {MAX_DIRECTORY} bytes; a stack has three members")
        return data


@functools.lru_cache(8)
def _header(text: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """What a header says: dtype, whether in Fortran order, shape. The stacks of a folder mostly have theirs in common."""
    matched = HEADER.fullmatch(text)
    if not matched:
        raise PatchcliError("has a .npy header that describes no plain array of real numbers")
    try:
        dtype = np.dtype(matched[1].decode())
    except TypeError:
        raise PatchcliError(f"has the unknown dtype {matched[1].decode()}") from None
    return dtype, matched[2] == b"True", tuple(int(number) for number in re.findall(rb"[0-9]+", matched[3]))


class ArrayStream:
    """One ``.npy`` array, its header read and checked, its values still to be streamed.

    Attributes:
        shape, dtype, fortran_order: as the header has them. A little or big endian dtype is kept.
    """

    def __init__(self, name: str, source: _Bytes, size: int, crc: int | None) -> None:
        self._name, self._source, self._crc = name, source, crc
        prefix = self._take(10)
        length = int.from_bytes(prefix[8:10], "little")
        if prefix[:8] != MAGIC + b"\x01\x00" or length > MAX_HEADER:
            raise PatchcliError(f"{name} has no .npy header of version 1.0 and at most {MAX_HEADER} bytes")
        text = self._take(length)
        try:
            self.dtype, self.fortran_order, self.shape = _header(text)
        except PatchcliError as error:
            raise PatchcliError(f"{name} {error}") from None
        wanted, held = math.prod(self.shape) * self.dtype.itemsize, size - 10 - length
        if wanted != held:
            raise PatchcliError(f"{name} holds {held} bytes where its shape {self.shape} and dtype {self.dtype} need {wanted}")
        self.left = held

    def _take(self, count: int) -> bytes:
        buffer = bytearray(count)
        self._source.readinto(memoryview(buffer))
        return bytes(buffer)

    def readinto(self, array: NDArray[Any]) -> None:
        """Fill a C-contiguous array of the same dtype with the next values, in the order of the file."""
        if array.nbytes:
            self._source.readinto(array.reshape(-1).view(np.uint8).data)
        self.left -= array.nbytes
        if not self.left:
            self.finish()

    def finish(self) -> None:
        """Check, once all was read, that nothing follows and that the CRC-32 is the recorded one."""
        if not self._source.at_end():
            raise PatchcliError(f"{self._name} is longer than its header says")
        if self._crc is not None and self._source.crc != self._crc:
            raise PatchcliError(f"{self._name} is damaged: its checksum is {self._source.crc:08x}, recorded is {self._crc:08x}")

    def load(self) -> NDArray[Any]:
        """All values as one array of ``shape``."""
        values = np.empty(math.prod(self.shape), self.dtype)
        self.readinto(values)
        return values.reshape(self.shape, order="F" if self.fortran_order else "C")

    def load_text(self) -> str:
        """The one string of a 0-d unicode array."""
        if self.shape != () or self.dtype.kind != "U" or self.dtype.itemsize > MAX_TEXT:
            raise PatchcliError(
                f"{self._name} is {self.dtype} of shape {self.shape}; expected a string of at most {MAX_TEXT // 4}"
            )
        raw = np.empty(self.dtype.itemsize, np.uint8)
        self.readinto(raw)
        try:
            return raw.tobytes().decode("utf-32-be" if self.dtype.byteorder == ">" else "utf-32-le").rstrip("\0")
        except UnicodeDecodeError:
            raise PatchcliError(f"{self._name} is no text") from None


class NpzReader:
    """The members of an open, seekable ``.npz`` or ``.npy`` file. A bare ``.npy`` is one member of the name ``""``.

    Args:
        file: an open binary file.
        label: what errors in the data of a member begin with.
    """

    def __init__(self, file: BinaryIO, label: str = "") -> None:
        self._size = file.seek(0, 2)
        file.seek(0)
        if self._size <= AT_ONCE_BYTES:
            file = io.BytesIO(file.read())
        self._file, self._label = file, label
        self._members: dict[str, zipfile.ZipInfo] = {}
        start = file.read(len(MAGIC))
        self.bare = start == MAGIC
        if self.bare:
            return
        if start[:2] != b"PK":
            what = "is empty" if not self._size else f"starts with {start!r}"
            raise PatchcliError(f"{what}; expected a patch stack (.npz) or an array (.npy)")
        import zipfile

        try:
            with zipfile.ZipFile(_Directory(file)) as archive:
                self._check(archive)
        except PatchcliError:
            raise
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            struct.error,
            EOFError,
            ValueError,
            OverflowError,
        ) as error:
            raise PatchcliError(f"is truncated or damaged: it is no whole zip file ({str(error).splitlines()[0]})") from None

    def _check(self, archive: zipfile.ZipFile) -> None:
        end = 0
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if info.filename in self._members:
                raise PatchcliError(f"has two members {info.filename!r}; allowed is one of a name")
            stored = info.compress_type == STORED and info.compress_size == info.file_size
            if not (stored or info.compress_type == DEFLATED) or info.flag_bits & 1:
                raise PatchcliError(f"member {info.filename!r} is compressed or encrypted; allowed are stored and deflated")
            if info.file_size > info.compress_size * MAX_DEFLATE_RATIO:
                raise PatchcliError(f"member {info.filename!r} claims {info.file_size} bytes, more than it can unpack to")
            if info.header_offset < end:
                raise PatchcliError(f"member {info.filename!r} overlaps another; the file is damaged")
            end = info.header_offset + 30 + info.compress_size
            if end > archive.start_dir:
                raise PatchcliError(f"member {info.filename!r} reaches beyond the file; the file is truncated or damaged")
            self._members[info.filename] = info

    def names(self) -> list[str]:
        """Names of the arrays, without ``.npy``."""
        return [""] if self.bare else [name[:-4] for name in self._members if name.endswith(".npy")]

    def open(self, name: str) -> ArrayStream:
        """Start reading an array.

        Raises:
            PatchcliError: no such member, or a damaged one.
        """
        if self.bare:
            return ArrayStream(f"{self._label}the array", _Bytes(self._file, 0, self._size, label=self._label), self._size, None)
        info = self._members.get(f"{name}.npy")
        if info is None:
            raise PatchcliError(f"has no array {name!r}; it has {', '.join(self.names()) or 'none'}")
        self._file.seek(info.header_offset)
        raw = self._file.read(LOCAL_HEADER.size)
        if len(raw) < LOCAL_HEADER.size or raw[:4] != b"PK\x03\x04":
            raise PatchcliError(f"member {name!r} has no header where the directory says; the file is damaged")
        _, name_length, extra_length = LOCAL_HEADER.unpack(raw)
        offset = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
        deflated = info.compress_type == DEFLATED
        source = _Bytes(self._file, offset, info.compress_size, deflated=deflated, label=self._label)
        return ArrayStream(f"{self._label}member {name!r}", source, info.file_size, info.CRC)


def pieces(streams: Iterable[ArrayStream], counts: Iterable[int], item: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """Arrays that follow on each other, rows of items of shape ``item``, in pieces of ``counts`` items.

    Each piece is a new C-contiguous array. All streams have the same dtype.
    """
    rest = iter(streams)
    stream, left, whole = next(rest), -1, None
    values = math.prod(item)
    for count in counts:
        piece, filled = np.empty((count, *item), stream.dtype), 0
        while filled < count:
            if left == 0:
                stream, left = next(rest), -1
            if left < 0:
                left = math.prod(stream.shape) // values
                whole = stream.load().reshape(left, *item) if stream.fortran_order else None
            take = min(left, count - filled)
            part = piece[filled : filled + take]
            if whole is None:
                stream.readinto(part)
            else:
                part[...] = whole[len(whole) - left : len(whole) - left + take]
            filled, left = filled + take, left - take
        yield piece
