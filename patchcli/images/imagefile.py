"""Image files: read, written, turned upright, refused where something would be lost.

Only files are handed on, never names, and only formats of `FORMATS`, told by content; sizes are known before decoding.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError, shortage
from patchcli.images import convert
from patchcli.images.codec import UNREADABLE, Header, Opened, as_orientation, overheard
from patchcli.images.convert import SIDEWAYS, TURNS
from patchcli.images.formats import FORMATS, READABLE, SNIFF, WRITABLE, in_words
from patchcli.images.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


MAX_PIXELS = 178_956_970  # the number from which Pillow refuses an image
PIXEL_BYTES = 32  # an image may have so many times as many bytes as it may have pixels
OWN_WORDS = re.compile(r"uri|plugin|cannot identify|<_io|object at|self\.|truth value|buffer size")  # of a library, of itself


@dataclass(kw_only=True, eq=False)
class ImageFile:
    """An image file that was opened: what its header says, and its pixels once they are asked for.

    Attributes:
        shape: ``(H, W)`` or ``(H, W, C)`` of the pixels, turned if they are.
        dtype: of the pixels, in native byte order.
        metadata: what its samples mean.
        memory: about the most bytes held while it is decoded, the pixels themselves among them.
        rotated: whether it is turned as its EXIF orientation says.
        format: its name in `FORMATS`.
        said: what is odd about the file, in a sentence each; `pixels` adds what the decoder says.
        load: decodes; None once it was called, for it holds the library's own copy.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: Metadata
    memory: int
    rotated: bool
    format: str
    said: list[str]
    load: Callable[[], NDArray[Any]] | None = field(repr=False)

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the file, in a sentence each."""
        return tuple(self.said)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def pixels(self) -> NDArray[Any]:
        """Decode the pixels, once and while the file is open: C-contiguous, of the shape and dtype above, and not kept here.

        Raises:
            PatchcliError: a damaged image, or one that is another than its header says.
        """
        assert self.load is not None, "decoded before"
        load, self.load = self.load, None
        pixels = load()
        if (pixels.shape, pixels.dtype) != (self.shape, self.dtype):
            got = f"{pixels.dtype} of shape {pixels.shape}"
            raise PatchcliError(f"decoded to {got} where its header says {self.dtype} of shape {self.shape}")
        return np.ascontiguousarray(pixels)

    def gray(self) -> ImageFile:
        """The same image as luma, ``(H, W)``, of which no channel is kept.

        Raises:
            PatchcliError: it has no luma.
        """
        convert.check_gray(self.shape, self.dtype)
        each = convert.LUMA_BYTES + self.dtype.itemsize if (*self.shape, 1)[2] > 2 else 0  # noqa: PLR2004
        return self._converted(lambda: convert.to_gray(self.pixels(), self.metadata), each)

    def channel(self, number: int) -> ImageFile:
        """One channel of the same image, ``(H, W)``, from 0.

        Raises:
            PatchcliError: it has no such channel.
        """
        convert.check_channel(self.shape, number)
        return self._converted(lambda: convert.one_channel(self.pixels(), number), self.dtype.itemsize)

    def _converted(self, load: Callable[[], NDArray[Any]], each: int) -> ImageFile:
        """An image of one channel that is made of this one, with so many bytes a pixel beside it."""
        size = self.shape[:2]
        memory = max(self.memory, self.nbytes + math.prod(size) * each)
        return replace(self, shape=size, metadata=Metadata(), memory=memory, load=load)


def open_image(file: BinaryIO, *, page: int = 0, rotate: bool = True, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read the header of an image; nothing is decoded yet.

    Args:
        file: an open binary file that can seek, and stays open until `ImageFile.pixels` was called; libraries may close it.
        page: which page or frame, from 0.
        rotate: turn the image as its EXIF orientation says.
        max_pixels: refuse larger images, and those of more than `PIXEL_BYTES` times as many bytes; 0 for no limit.

    Raises:
        PatchcliError: no image of a known format, a damaged or too large one.
    """
    said: list[str] = []
    name = _name_of(file)
    with contextlib.nullcontext() if FORMATS[name].quiet else overheard(said):
        opened = _open(file, name, page, max_pixels)
        header: Header = _guarded(name, opened.header)
    check_real(header.dtype, "image")
    turn, hints = _turn_of(header.orientation, rotate=rotate)
    size = (opened.width, opened.height) if turn >= SIDEWAYS else (opened.height, opened.width)
    shape = (*size, header.channels) if header.channels > 1 else size
    nbytes = math.prod(shape) * header.dtype.itemsize
    decode = opened.decode

    def load() -> NDArray[Any]:
        with overheard(said):
            pixels: NDArray[Any] = _guarded(name, decode)
        hints.extend(f"the decoder says: {line}" for line in dict.fromkeys(said))
        if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
            pixels = pixels[:, :, 0]
        pixels = TURNS[turn](pixels) if turn > 1 else pixels
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)

    return ImageFile(
        shape=shape,
        dtype=header.dtype,
        metadata=opened.metadata or Metadata.usual(header.channels),
        memory=nbytes + max(header.scratch, nbytes * (turn > 1)),
        rotated=turn > 1,
        format=name,
        said=hints,
        load=load,
    )


def _turn_of(orientation: object, *, rotate: bool) -> tuple[int, list[str]]:
    """The EXIF orientation by which to turn an image, 1 for not at all, and what is odd about what the file says of it."""
    if not rotate:
        return 1, []
    turn = as_orientation(orientation)
    if turn is not None:
        return turn, []
    said = orientation if orientation is UNREADABLE else f"{orientation!r:.40} where 1 to 8 are allowed"
    return 1, [f"has an orientation that cannot be understood ({said}); it was taken as upright, --no-exif-rotate says so too"]


def check_size(size: tuple[int, int], pixel_bytes: int, max_pixels: int, what: str = "has", note: str = "") -> None:
    """Refuse an image ``(H, W)`` of too many pixels, or of more than `PIXEL_BYTES` times as many bytes; 0 is no limit."""
    height, width = size
    pixels, nbytes = height * width, height * width * pixel_bytes
    if max_pixels and pixels > max_pixels:
        raise PatchcliError(
            f"{what} {pixels} pixels (width={width} height={height}{note}); allowed are {max_pixels}, or more with --max-pixels"
        )
    if max_pixels and nbytes > PIXEL_BYTES * max_pixels:
        raise PatchcliError(
            f"{what} {nbytes} bytes (width={width} height={height}{note}, {pixel_bytes} bytes a pixel); allowed are "
            f"{PIXEL_BYTES * max_pixels}, which is {PIXEL_BYTES} times --max-pixels"
        )


def _name_of(file: BinaryIO) -> str:
    """The format of an image, by how its file begins."""
    file.seek(0)
    head = file.read(SNIFF)
    for name in READABLE:
        if FORMATS[name].matches(head):
            return name
    raise PatchcliError(in_words(head))


def _open(file: BinaryIO, name: str, page: int, max_pixels: int) -> Opened:
    """What the header of an image says that is not too large."""
    file.seek(0)
    reader = FORMATS[name].open
    assert reader is not None
    opened: Opened = _guarded(name, lambda: reader(file, page))
    check_size((opened.height, opened.width), opened.pixel_bytes, max_pixels)
    return opened


def _guarded(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the call returns
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
        elif own or not words or OWN_WORDS.search(words):
            words = "its header makes no sense"
        words = re.sub(r"<\w+\.(\w+): \d+>", r"\1", words)  # a number and its name, as Python shows them
        raise PatchcliError(f"is a damaged or unsupported {name.upper()} image: {words}") from None


def format_of(path: str, name: str | None = None) -> str:
    """The format that a path's suffix stands for, or ``name`` itself if given.

    Raises:
        PatchcliError: a suffix of no format that can be written.
    """
    if name is not None:
        return name
    suffix = os.path.splitext(path)[1].lower()
    for known in WRITABLE:
        if suffix in FORMATS[known].suffixes:
            return known
    allowed = ", ".join(suffix for known in WRITABLE for suffix in FORMATS[known].suffixes)
    raise PatchcliError(f"{path}: suffix is {suffix!r}; for images use {allowed}")


def check_holds(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], way_out: str = "") -> None:
    """Check that a format keeps images of this shape ``(H, W[, C])`` and dtype exactly (JPEG: but for its loss).

    ``way_out`` ends the sentence.

    Raises:
        PatchcliError: it would not; the sentence says which formats would.
    """
    channels = shape[2] if len(shape) == 3 else 1  # noqa: PLR2004
    code = f"{dtype.kind}{dtype.itemsize}"
    able = [known for known in WRITABLE if channels in FORMATS[known].holds.get(code, ())]
    if name in able:
        return
    raise PatchcliError(
        f"{name.upper()} cannot hold {dtype} with {channels} channel{'s' * (channels > 1)}; "
        f"allowed are {', '.join(able)}{way_out if any(channels in held for held in FORMATS[name].holds.values()) else ''}"
    )


def write(file: BinaryIO, image: NDArray[Any], name: str, note: str = "", metadata: Metadata | None = None) -> None:
    """Encode an image ``(H, W[, C])`` in a format of `WRITABLE`, which `check_holds` said can hold it.

    ``note`` is ASCII text to be kept in the file, where the format has a place for it; ``metadata`` says what the samples
    mean, if they mean something else than is usual for so many.
    """
    writer = FORMATS[name].write
    assert writer is not None
    meant = (metadata or Metadata()).matching((*image.shape, 1)[2])
    writer(file, np.ascontiguousarray(image, image.dtype.newbyteorder("=")), note, meant)


def hint_of_samples(name: str, metadata: Metadata | None, channels: int) -> str | None:
    """What to say where a format will have samples taken for something else than they are."""
    usual = Metadata.usual(channels)
    meant = usual if metadata is None else metadata.matching(channels)
    if FORMATS[name].explains or usual == meant:
        return None
    return f"its samples are {meant.in_words()}, and {name.upper()} shows them as {usual.in_words()}; TIFF keeps what they are"


def output_name(path: str, image_format: str | None, *, lossless: bool = False, noted: bool = False) -> str:
    """The name for an image made from the file ``path``: the same where its suffix stands for a format that can be written.

    Another suffix follows where it does not, or where the format loses something (``lossless``) or holds no note (``noted``):
    that of ``image_format`` if given, else of the format that the file's own programs write, else of PNG.

    >>> output_name("a.png", None), output_name("a.gif", None), output_name("a.svs", None), output_name("a.jpg", "webp")
    ('a.png', 'a.gif.png', 'a.svs.tif', 'a.jpg.webp')
    """
    suffix = os.path.splitext(path)[1].lower()
    able = [name for name in WRITABLE if (FORMATS[name].lossless or not lossless) and (FORMATS[name].note or not noted)]
    wanted = [image_format] if image_format else able
    if any(suffix in FORMATS[known].suffixes for known in wanted):
        return path
    own = [known for known in wanted if suffix in FORMATS[known].read_only]
    return path + FORMATS[(own or wanted)[0]].suffixes[0]


def note_of(file: BinaryIO) -> str | None:
    """The note in an image file; None where there is none, or none that can be read."""
    file.seek(0)
    head = file.read(SNIFF)
    known = next((known for known in FORMATS.values() if known.matches(head)), None)
    if known is None or known.note is None:
        return None
    file.seek(0)
    reading = known.note
    try:
        with overheard([]):
            note: str | None = _guarded("", lambda: reading(file))
    except PatchcliError:
        return None
    return note


def check_notes(paths: Sequence[str], name: str | None) -> None:
    """Check that image files of these names can hold a note.

    Raises:
        PatchcliError: one cannot.
    """
    able = [known for known in WRITABLE if FORMATS[known].note]
    for path in paths:
        if (got := format_of(path, name)) not in able:
            raise PatchcliError(f"{path}: {got.upper()} cannot hold how it was made; with --resume use {', '.join(able)}")
