"""The container below a stack, ``.npz`` (a zip of ``.npy`` arrays), read strictly, written reproducibly, both streamed.

Reading: nothing in a file is believed before it is checked against the file itself: sizes and offsets against its length,
headers against one strict pattern, every byte against the member's CRC-32. Nothing is unpickled, and memory never follows a
number that the file merely claims. `zipfile` reads the directory; the members are read here, straight into arrays, which takes
less than half the time.

Writing: the zip format is small where members are stored or deflated. Written here the same members give the same bytes on every
system, a small file takes two thirds of `zipfile`'s time, and a file that failed has no directory and so does not look whole.
Every size is written in 64 bits (zip64): a member may be larger than 4 GB.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, Self

import numpy as np

from patchcli.errors import PatchcliError, counted, reason
from patchcli.images.metadata import MAX_FIELDS
from patchcli.npy_header import NPY_MAGIC, read_npy_header
from patchcli.stacks.crc import crc_of, crc_of_both

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

NPY_VERSION = b"\x01\x00"
MAX_DEFLATE_RATIO = 1032  # what one byte of a deflate stream can expand to at most
MAX_TEXT = 4 * (MAX_FIELDS + (1 << 18))  # of numpy, 4 bytes a character: metadata of an image, and all else
MAX_DIRECTORY = 1 << 18  # bytes of a zip's list of members: some thousands of them
READ_BYTES = 1 << 20  # read, and checked, at once
READ_WHOLE_BYTES = 1 << 16  # up to which a file is read by a single call
STORED, DEFLATED = 0, 8  # zip's numbers of methods
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
DESCRIPTOR = struct.Struct("<4sLQQ")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
NEEDS = 45  # zip64 is version 4.5
MADE_BY = 3 << 8 | NEEDS  # Unix, on every system: the same bytes
MEMBER_MODE = 0o600 << 16
MEMBER_DATE = 1 << 5 | 1  # 1 January 1980, as numpy.savez has it
LATER = 1 << 3  # flag: CRC and sizes follow the data
UTF8 = 1 << 11  # flag: names are UTF-8, not code page 437
FULL = 0xFFFFFFFF  # the size stands in the zip64 field


class _Bytes:
    """Consecutive bytes of a file from ``offset``, each read once, stored or deflated; their CRC-32 grows along."""

    def __init__(self, file: BinaryIO, offset: int, size: int, *, deflated: bool = False, label: str = "") -> None:
        self._file, self._offset, self._size, self._label = file, offset, size, label
        self._position, self._left = offset, size
        self._inflate = zlib.decompressobj(-15) if deflated else None
        self._pending = b""
        self.crc = 0

    @property
    def stored(self) -> bool:
        """Whether they stand in the file as they are."""
        return self._inflate is None

    def readinto(self, buffer: memoryview) -> None:
        """Fill ``buffer``; an error if the bytes end before."""
        done = 0
        while done < len(buffer):
            part = buffer[done : done + READ_BYTES]  # checked while it is still in the core's cache
            got = self._got(part)
            self.crc = crc_of(part[:got], self.crc)
            done += got

    def read_at(self, place: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with bytes that are stored from ``place`` on, counted from the first of all, without a checksum."""
        left = self._position, self._left
        self._position, self._left = self._offset + place, self._size - place
        done = 0
        while done < len(buffer):
            done += self._got(buffer[done:])
        self._position, self._left = left

    def _got(self, buffer: memoryview) -> int:
        """Read into the beginning of ``buffer``; how many bytes."""
        try:
            got = self._read_stored(buffer) if self._inflate is None else self._read_deflated(buffer)
        except OSError as error:
            raise PatchcliError(f"{self._label}cannot be read: {reason(error)}") from None
        if not got:
            raise PatchcliError(f"{self._label}ends before its data do; the file is truncated or damaged")
        return got

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
            self._pending = self._file.read(min(READ_BYTES, self._left))
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


class ArrayStream:
    """One ``.npy`` array, its header read and checked, its values still to be streamed.

    Attributes:
        shape, dtype, fortran_order: as the header has them. A little or big endian dtype is kept.
    """

    def __init__(self, name: str, source: _Bytes, size: int, crc: int | None) -> None:
        self._name, self._source, self._crc = name, source, crc
        self._begin, self.dtype, self.fortran_order, self.shape = read_npy_header(self._take, f"{name} ")
        wanted, held = math.prod(self.shape) * self.dtype.itemsize, size - self._begin
        if wanted != held:
            raise PatchcliError(f"{name} holds {held} bytes where its shape {self.shape} and dtype {self.dtype} need {wanted}")
        self.left = held

    @property
    def by_place(self) -> bool:
        """Whether its values stand in the file as they are in the array, so that any of them can be read alone."""
        return self._source.stored and not self.fortran_order

    def read_at(self, place: int, array: NDArray[Any]) -> None:
        """Fill a C-contiguous array of the same dtype with the values from number ``place`` on, which `verify` has seen."""
        self._source.read_at(self._begin + place * self.dtype.itemsize, array.reshape(-1).view(np.uint8).data)

    def verify(self) -> None:
        """Read all values for their checksum alone; nothing where none was recorded."""
        buffer = np.empty(READ_BYTES, np.uint8)
        while self.left and self._crc is not None:
            part = buffer[: min(self.left, READ_BYTES)]
            self.readinto(part)

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
            raise PatchcliError(f"{self._name} is not text") from None


class NpzReader:
    """The members of an open, seekable ``.npz`` or ``.npy`` file. A bare ``.npy`` is one member of the name ``""``.

    Args:
        file: an open binary file.
        label: what errors in the data of a member begin with.
    """

    def __init__(self, file: BinaryIO, label: str = "") -> None:
        self._size = file.seek(0, 2)
        file.seek(0)
        if self._size <= READ_WHOLE_BYTES:
            file = io.BytesIO(file.read())
        self._file, self._label = file, label
        self._members: dict[str, zipfile.ZipInfo] = {}
        start = file.read(len(NPY_MAGIC))
        self.bare = start == NPY_MAGIC
        if self.bare:
            return
        if start[:2] != b"PK":
            what = "is empty" if not self._size else f"is not a patch stack or an array (it starts with {start!r})"
            index = ", or the name of an index of tiles, beside which they lie (.tiles.jsonl)" if start[:1] == b"{" else ""
            raise PatchcliError(f"{what}; give a .npz or a .npy{index}")
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
            raise PatchcliError(f"is truncated or damaged: it is not a whole zip file ({str(error).splitlines()[0]})") from None

    def _check(self, archive: zipfile.ZipFile) -> None:
        end, self._comment = 0, archive.comment
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if info.filename in self._members:
                raise PatchcliError(f"has two members {info.filename!r}; give each name once")
            stored = info.compress_type == STORED and info.compress_size == info.file_size
            if not (stored or info.compress_type == DEFLATED) or info.flag_bits & 1:
                raise PatchcliError(f"member {info.filename!r} is encrypted or compressed in an unknown way; store or deflate it")
            if info.file_size > info.compress_size * MAX_DEFLATE_RATIO:
                raise PatchcliError(f"member {info.filename!r} claims {info.file_size} bytes, more than it can unpack to")
            if info.header_offset < end:
                raise PatchcliError(f"member {info.filename!r} overlaps another; the file is damaged")
            end = info.header_offset + LOCAL.size + info.compress_size
            if end > archive.start_dir:
                raise PatchcliError(f"member {info.filename!r} reaches beyond the file; the file is truncated or damaged")
            self._members[info.filename] = info
        first = min((info.header_offset for info in self._members.values()), default=0)
        if first:  # the offsets of another file before it are moved, and what it holds would not be missed
            raise PatchcliError(
                f"has {counted(first, 'byte')} before its first member, as files one behind the other; give each alone"
            )

    def names(self) -> list[str]:
        """Names of the arrays, without ``.npy``."""
        return [""] if self.bare else [name[:-4] for name in self._members if name.endswith(".npy")]

    def is_deflated(self, name: str) -> bool:
        """Whether an array is compressed in the file."""
        return not self.bare and self._members[f"{name}.npy"].compress_type == DEFLATED

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
        return ArrayStream(f"{self._label}member {name!r}", self._data_of(name, info), info.file_size, info.CRC)

    def check_bytes(self, name: str) -> None:
        """Compare all bytes of a member, whatever they are, with their checksum.

        Raises:
            PatchcliError: a damaged member.
        """
        info = self._members[f"{name}.npy"]
        data, left = self._data_of(name, info), info.file_size
        while left:
            part = memoryview(bytearray(min(left, READ_BYTES)))
            data.readinto(part)
            left -= len(part)
        if not data.at_end() or data.crc != info.CRC:
            raise PatchcliError(f"{self._label}member {name!r} is damaged: its checksum is not the recorded one")

    def check_headers(self) -> None:
        """Compare what stands twice in a zip file: of each member, before its data and in the directory, which is the end.

        Raises:
            PatchcliError: a difference.
        """
        if self.bare:
            return
        end = END.size + len(self._comment)
        self._file.seek(self._size - end)
        if self._file.read(4) != b"PK\5\6":
            raise PatchcliError(f"{self._label}has bytes behind its end; the file is damaged")
        for info in self._members.values():
            _, _, flags, method, _, _, crc, packed, size, _, _ = self._local(info.filename, info)
            known = not flags & LATER
            same = (flags, method) == (info.flag_bits, info.compress_type) and (not known or crc == info.CRC)
            sizes = ((packed, info.compress_size), (size, info.file_size))
            if not same or (known and any(one not in (FULL, other) for one, other in sizes)):
                raise PatchcliError(f"{self._label}member {info.filename!r} has another header than the directory says")

    def _local(self, name: str, info: zipfile.ZipInfo) -> tuple[Any, ...]:
        """The fields of the header that a member has of its own, behind whose name the file stands then."""
        self._file.seek(info.header_offset)
        raw = self._file.read(LOCAL.size)
        if len(raw) < LOCAL.size or raw[:4] != b"PK\x03\x04":
            raise PatchcliError(f"member {name!r} has no header where the directory says; the file is damaged")
        fields = LOCAL.unpack(raw)
        own = self._file.read(fields[-2]).decode("utf-8" if fields[2] & UTF8 else "cp437", "replace")
        if own != info.orig_filename:
            raise PatchcliError(f"member {name!r} is called {own!r:.40} in the header of its own; the file is damaged")
        return fields

    def _data_of(self, name: str, info: zipfile.ZipInfo) -> _Bytes:
        """The bytes of a member, behind the header that it has of its own."""
        *_, name_length, extra_length = self._local(name, info)
        offset = info.header_offset + LOCAL.size + name_length + extra_length
        deflated = info.compress_type == DEFLATED
        return _Bytes(self._file, offset, info.compress_size, deflated=deflated, label=self._label)


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
        fixed = LOCAL.pack(
            b"PK\3\4", NEEDS, self.flags, self.method, 0, MEMBER_DATE, self.crc, FULL, FULL, len(self.name), len(extra)
        )
        return fixed + self.name + extra

    def central(self) -> bytes:
        """Entry of the directory at the end."""
        extra = struct.pack("<HHQQQ", 1, 24, self.size, self.packed, self.offset)
        sizes = (self.crc, FULL, FULL, len(self.name), len(extra))
        fixed = CENTRAL.pack(
            b"PK\1\2", MADE_BY, NEEDS, self.flags, self.method, 0, MEMBER_DATE, *sizes, 0, 0, 0, MEMBER_MODE, FULL
        )
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
        flags, method = 0 if self._seekable else LATER, DEFLATED if self._compress else STORED
        member = _Member(f"{name}.npy".encode(), flags, method, 0, 0, 0, self._position)
        self._put(member.local())
        start = self._position
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS) if self._compress else None
        crc = size = 0
        for data in _parts(shape, dtype, pieces):
            crc = crc_of(data, crc)
            size += len(data)
            self._put(packer.compress(data) if packer else data)
        if packer:
            self._put(packer.flush())
        self._finish(member._replace(crc=crc, size=size, packed=self._position - start))

    def write_filled(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Callable[[int], Iterable[tuple[int, int]]]
    ) -> None:
        """Write one array, stored, whose bytes are put into the file by others, in any order; it must be one that can seek.

        Args:
            name: of the array.
            shape: of the array.
            dtype: of the array.
            fill: puts them there, from the place on that it is told; the CRC-32 of each piece of them, in the order in which
                they lie there, and of how many bytes it is.
        """
        member = _Member(f"{name}.npy".encode(), 0, STORED, 0, 0, 0, self._position)
        self._put(member.local())
        header = _npy_header(shape, dtype)
        self._put(header)
        crc, size = crc_of(header), len(header)
        for own, nbytes in fill(self._position):
            crc = crc_of_both(crc, own, nbytes)
            size += nbytes
            self._position += nbytes
        self._finish(member._replace(crc=crc, size=size, packed=size))

    def _finish(self, member: _Member) -> None:
        """Write the header of a member, now that its data are known, or what stands behind them in its place."""
        if self._seekable:
            self._file.seek(member.offset)
            self._file.write(member.local())
            self._file.seek(self._position)
        else:
            self._put(DESCRIPTOR.pack(b"PK\7\x08", member.crc, member.packed, member.size))
        self._members.append(member)

    def _write_directory(self) -> None:
        start, count = self._position, len(self._members)
        for member in self._members:
            self._put(member.central())
        end = self._position
        self._put(END64.pack(b"PK\6\6", END64.size - 12, MADE_BY, NEEDS, 0, 0, count, count, end - start, start))
        self._put(LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        self._put(END.pack(b"PK\5\6", 0, 0, count, count, FULL, FULL, 0))


def npz_size(members: Iterable[tuple[str, tuple[int, ...], np.dtype[Any]]], *, seekable: bool = True) -> int:
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


@functools.lru_cache(16)
def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a ``.npy`` file of version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = "{" + "".join(f"{key!r}: {value!r}, " for key, value in fields.items()) + "}"
    padding = -(10 + len(text) + 1) % 64
    return NPY_MAGIC + NPY_VERSION + struct.pack("<H", len(text) + padding + 1) + text.encode() + b" " * padding + b"\n"
