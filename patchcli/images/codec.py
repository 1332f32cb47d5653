"""What image formats have in common: an image whose header was read, and what their libraries print.

Image libraries are imported by the modules of their formats alone, when a file needs them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError, shortage
from patchcli.images.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

FromTo = tuple[int, int]  # first of some rows or columns, and the one behind the last

ORIENTATION = 274  # tag of TIFF and EXIF
UNREADABLE = "a tag or a block that cannot be read"  # in place of an orientation
EXIF_READER = "TiffImagePlugin"  # of Pillow, whose warnings are not of pixels
BIG = 43  # in place of 42 at the beginning of a BigTIFF file
MAX_TAGS = 1 << 12  # of a directory
NEW_SUBFILE, OLD_SUBFILE, OLD_REDUCED, SHORT_TYPE = 254, 255, 2, 3  # tags, a value of the second, and a type of tags
KEPT_BYTES = 1 << 25  # of decoded strips and tiles of which a window took a part; of one row of them where that is more
HEARD = 1 << 16  # bytes of what libraries print that are kept
OWN_WORDS = r"uri|plugin|cannot identify|<_io|object at|self\.|truth value|buffer size"  # of a library, of itself
# PNG chunks that no pixel depends on
HARMLESS = tuple(
    b"iCCP sRGB gAMA cHRM tEXt zTXt iTXt tIME pHYs bKGD sBIT hIST sPLT oFFs pCAL sCAL acTL fcTL fdAT mDCV cLLI cICP".split()
)
# What libpng says of them, of EXIF blocks, which are looked at here, and of how its caller reads interlaced images
UNHEARD = rf"(libpng|PNG) warning: (Interlace handling|known incorrect|({b'|'.join(HARMLESS).decode()}|eXIf)\b)"


LIBRARY = rb"(lib[a-z]+|PNG|TIFF\w*|JPEG\w*)( \w+)?: "  # how lines of C libraries begin


class Indices(NamedTuple):
    """The numbers that stand in a file for colours, or for a gray of few bits.

    Attributes:
        decode: gives them, ``(H, W)``, as the file has them; called once at most, in place of the image's own.
        dtype: of the numbers.
        colormap: red, green and blue of each, 16 bits each; None of gray.
    """

    decode: Callable[[], NDArray[Any]]
    dtype: np.dtype[Any]
    colormap: tuple[tuple[int, int, int], ...] | None


class Header(NamedTuple):
    """What more a header tells of an image.

    Attributes:
        channels: 1 for gray.
        dtype: of the pixels, in native byte order.
        orientation: what the file says of it, which can be anything.
        scratch: about how many bytes decoding holds at its peak, beside the image that comes out.
        pages: counts those that the file has, which may mean to walk through it; the file is at another place afterwards.
        read: decodes rows and columns, ``(h, w[, C])``, and only what meets them; None where all must be decoded for any.
        lines: rows that are decoded together by ``read``.
        columns: columns that are; 0 for all.
        compression: of the pixels, as the format calls it; empty where it has but one.
        indices: reads the colour table, and gives another way to decode; None where samples are what the file has: values, or
            indices, if ``metadata`` has their ``colormap``.
    """

    channels: int
    dtype: np.dtype[Any]
    orientation: object
    scratch: int
    pages: Callable[[], int] = lambda: 1
    read: Callable[[FromTo, FromTo], NDArray[Any]] | None = None
    lines: int = 1
    columns: int = 0
    compression: str = ""
    indices: Callable[[], Indices] | None = None


class Opened(NamedTuple):
    """An image of which the header was read.

    Attributes:
        height, width: in pixels.
        header: reads what else the header tells, once the size is known to be allowed.
        decode: gives its pixels ``(H, W[, C])``, as the file has them; called once at most, behind ``header``.
        pixel_bytes: bytes of a pixel, where they can be more than 8.
        metadata: what its samples mean; None for what is usual for so many channels.
    """

    height: int
    width: int
    header: Callable[[], Header]
    decode: Callable[[], NDArray[Any]]
    pixel_bytes: int = 8
    metadata: Metadata | None = None


class Encoding(NamedTuple):
    """What is to be written.

    Attributes:
        shape: ``(H, W)`` or ``(H, W, C)``.
        dtype: of the pixels.
        note: ASCII text to be kept in the file, where the format has a place for it.
        metadata: what the samples mean, if they mean something else than is usual for so many.
        creation: how the file is made: the keys and values of ``--co``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    note: str = ""
    metadata: Metadata | None = None
    creation: tuple[tuple[str, str], ...] = ()

    @property
    def channels(self) -> int:
        """How many samples a pixel has."""
        return (*self.shape, 1)[2]

    @property
    def meaning(self) -> Metadata:
        """What so many samples mean."""
        return Metadata.usual(self.channels) if self.metadata is None else self.metadata.matching(self.channels)

    def asked(self, key: str) -> str | None:
        """The value of a key of ``--co``; None where it was not given, the last where several were."""
        return dict(self.creation).get(key)


def whole_image(lines: Iterable[NDArray[Any]], made: Encoding) -> NDArray[Any]:
    """All lines of an image as one array, C-contiguous and in native byte order; that array itself where they come in one."""
    native = made.dtype.newbyteorder("=")
    image: NDArray[Any] | None = None
    at = 0
    for some in lines:
        if some.shape == made.shape:
            return np.ascontiguousarray(some, native)
        image = np.empty(made.shape, native) if image is None else image
        image[at : at + len(some)] = some
        at += len(some)
    assert image is not None
    assert at == len(image)
    return image


def lines_in_parts(lines: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The same lines, so many at a time, fewer at the end; views of what comes, but where it ends within a part."""
    kept: list[NDArray[Any]] = []
    for some in lines:
        at = 0
        while at < len(some):
            wanted = rows - sum(map(len, kept))
            kept.append(some[at : at + wanted])
            at += wanted
            if sum(map(len, kept)) == rows:
                yield kept[0] if len(kept) == 1 else np.concatenate(kept)
                kept = []
        kept = [part.copy() for part in kept]  # what comes may be used again by who made it
    if kept:
        yield kept[0] if len(kept) == 1 else np.concatenate(kept)


def lines_at_most(lines: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The same lines as they come, but no more than so many at a time: views."""
    return (some[at : at + rows] for some in lines for at in range(0, len(some), rows))


def rows_at_once(made: Encoding, nbytes: int = 1 << 20) -> int:
    """How many rows of an image have about so many bytes."""
    return max(1, nbytes * made.shape[0] // max(1, math.prod(made.shape) * made.dtype.itemsize))


def orientation_block(orientation: int) -> bytes:
    """An EXIF block, which is a TIFF file of one tag, that says how an image is to be turned."""
    return (
        b"II*\0\x08\0\0\0\x01\0" + ORIENTATION.to_bytes(2, "little") + b"\3\0\1\0\0\0" + bytes((orientation, 0, 0, 0)) + bytes(4)
    )


def check_single(page: int) -> None:
    """Refuse another page than the first of a file that can have but one."""
    if page:
        raise PatchcliError(f"has no page {page}; it has 1, counted from 0")


def has_jpeg_end(data: bytes, start: int = 0) -> bool:
    """Whether the marker of the end of an image stands behind ``start`` (ITU-T T.81, B.1.1.3), which pixels cannot hold.

    Decoders fill up what is missing where it does not.
    """
    return data.rfind(b"\xff\xd9") > start


def exif_orientation(exif: bytes) -> object:
    """What an EXIF block, which begins with the header of a TIFF file, says of the orientation; None where it says nothing."""
    import PIL.Image

    tiff = exif.removeprefix(b"Exif\0\0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            block = PIL.Image.Exif()
            block.load(b"Exif\0\0" + tiff)
            said: object = block.get(ORIENTATION)
        tags = next(tiff_directories(io.BytesIO(tiff)), Directory())
        if said is None and ORIENTATION in tags:  # which Pillow leaves out if it has an unknown type, or lies elsewhere
            return UNREADABLE
    except Exception:  # noqa: BLE001  a damaged block raises anything
        return UNREADABLE
    return said


class Directory(dict[int, int]):
    """Number and count of each tag of a directory of a TIFF file.

    Attributes:
        offset: where it lies.
        subfile: what its NewSubfileType says, in bits: 1 for a smaller copy of another page, 4 for a mask of one.
        following: where the next one lies; 0 behind the last.
    """

    offset = subfile = following = 0


def tiff_directories(file: BinaryIO, start: int = 0, seen: set[int] | None = None) -> Iterator[Directory]:
    """The directories of a TIFF or BigTIFF file, those, too, that cannot be read; each once, where they form a circle.

    Args:
        file: to read from, wherever it is.
        start: where the first of them lies, 0 for the file's own first.
        seen: where those lie that came before, which gets these; they end at one of them.
    """
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == BIG
    entry, counted, wide = (20, 8, 8) if big else (12, 2, 4)
    place = start or int.from_bytes(head[wide : 2 * wide], order)
    seen = set() if seen is None else seen
    while place and place not in seen:
        file.seek(place)
        number = min(int.from_bytes(file.read(counted), order), MAX_TAGS)
        data = file.read(number * entry)
        entries = [data[at : at + entry] for at in range(0, len(data) - entry + 1, entry)]
        one = Directory((int.from_bytes(each[:2], order), int.from_bytes(each[4 : 4 + wide], order)) for each in entries)
        one.offset, one.following = place, int.from_bytes(file.read(wide), order)
        seen.add(place)
        place = one.following
        for each in entries:
            kind = int.from_bytes(each[:2], order)
            if kind in (NEW_SUBFILE, OLD_SUBFILE):
                value = int.from_bytes(each[4 + wide :][: 2 if int.from_bytes(each[2:4], order) == SHORT_TYPE else 4], order)
                one.subfile |= value if kind == NEW_SUBFILE else value == OLD_REDUCED
        yield one


def as_orientation(said: object) -> int | None:
    r"""What a file says of its orientation as a number from 1 to 8; None where that cannot be understood.

    Tags have been seen of every type: a number, text, bytes, several of these, of which the first counts.

    >>> as_orientation(6), as_orientation(b"6"), as_orientation("6\0"), as_orientation((6,)), as_orientation(b"x")
    (6, 6, 6, 6, None)
    """
    if isinstance(said, (tuple, list)) and said:
        return as_orientation(said[0])
    if isinstance(said, bytes):
        return said[0] if len(said) == 1 and said[0] in range(1, 9) else as_orientation(said.decode("latin-1"))
    try:
        number = float(said.strip(" \0") if isinstance(said, str) else said)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return int(number) if number in range(1, 9) else None


class _Ear:
    """Standard error of this process while C libraries may print there; shared by threads that decode at the same time."""

    def __init__(self) -> None:
        self._lock, self._depth = threading.Lock(), 0
        self._kept = self._reader = -1

    def open(self) -> None:
        """Send what is printed into a pipe; what it cannot hold is lost.

        Without descriptors left, or where a pipe would block, nothing is done.
        """
        with self._lock:
            self._depth += 1
            if self._depth > 1 or not hasattr(os, "set_blocking"):
                return
            with contextlib.suppress(OSError):
                self._kept = os.dup(2)
                self._reader, writer = os.pipe()
                for end in (self._reader, writer):
                    os.set_blocking(end, False)
                os.dup2(writer, 2)
                os.close(writer)

    def close(self) -> bytes:
        """Give standard error back; what was printed."""
        with self._lock:
            heard = b""
            if self._reader >= 0:
                with contextlib.suppress(BlockingIOError):
                    heard = os.read(self._reader, HEARD)
            self._depth -= 1
            if not self._depth:
                if self._reader >= 0:
                    os.dup2(self._kept, 2)
                for number in (self._kept, self._reader):
                    if number >= 0:
                        os.close(number)
                self._kept = self._reader = -1
            return heard


_EAR = _Ear()


@contextlib.contextmanager
def overheard(said: list[str]) -> Iterator[None]:
    """Keep what image libraries print or warn of from standard error, in this or any process; what matters goes to ``said``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _EAR.open()
        try:
            yield
        finally:
            lines = _own(_EAR.close()).decode("utf-8", "backslashreplace").splitlines()
            lines += [str(one.message) for one in caught if one.category is UserWarning and EXIF_READER not in one.filename]
            said += dict.fromkeys(line.strip() for line in lines if line.strip() and not re.match(UNHEARD, line))


def _own(heard: bytes) -> bytes:
    """What libraries printed: in a thread beside others, as on a cluster, only lines that begin as theirs do; others go on."""
    if threading.current_thread() is threading.main_thread():
        return heard
    lines = heard.splitlines(keepends=True)
    with contextlib.suppress(OSError):
        os.write(2, b"".join(line for line in lines if not re.match(LIBRARY, line)))
    return b"".join(line for line in lines if re.match(LIBRARY, line))


def sized(file: BinaryIO) -> int:
    """How many bytes a file has."""
    return file.seek(0, 2)


def guarded(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the call returns
    """Run an image library; what it raises on a damaged file (a dozen types, down to plain Exception) becomes one sentence."""
    try:
        return call()
    except (PatchcliError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the system's, but where a damaged file asks
            raise
        if shortage(error):
            raise MemoryError from None
        words = next(iter(str(error).strip().splitlines()), "")
        own = isinstance(error, (ArithmeticError, LookupError, TypeError, AttributeError, UnicodeError))
        if "reshape" in words:
            words = "it holds fewer pixels than its header says"
        elif own or not words or re.search(OWN_WORDS, words):
            words = "its header makes no sense"
        words = re.sub(r"<\w+\.(\w+): \d+>", r"\1", words)  # a number and its name, as Python shows them
        raise PatchcliError(f"is a damaged or unsupported {name.upper()} image: {words}") from None
