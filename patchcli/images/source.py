"""Image files read: all pixels or those of a window, turned upright; refused where something would be lost.

Only files are handed on, never names, and only formats of `FORMATS`, told by content; sizes are known before decoding.
"""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.images import convert
from patchcli.images.codec import KEPT_BYTES, UNREADABLE, FromTo, Header, Indices, Opened, as_orientation, guarded, overheard
from patchcli.images.convert import SIDEWAYS, TURNS, stored_window
from patchcli.images.formats import FORMATS, READABLE, SNIFF, in_words
from patchcli.images.metadata import COLOURS, MAX_SAMPLES, OWN_PAGES, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray


MAX_PIXELS = 178_956_970  # the number from which Pillow refuses an image
LOST_PLACE = "its georeference is lost, for it is turned as its orientation says; --no-exif-rotate keeps it"
PIXEL_BYTES = 32  # an image may have so many times as many bytes as it may have pixels


@dataclass(kw_only=True, eq=False)
class ImageSource:
    """An image file that was opened: what its header says, and its pixels, all or those of a window, once they are asked for.

    Attributes:
        shape: ``(H, W)`` or ``(H, W, C)`` of the pixels, turned if they are.
        dtype: of the pixels, in native byte order.
        metadata: what its samples mean.
        memory: about the most bytes held while all of it is decoded, the pixels themselves among them.
        rotated: whether it is turned as its EXIF orientation says.
        format: its name in `FORMATS`.
        count: counts the pages of the file, which is done once, when it is asked for.
        said: what is odd about the file, in a sentence each; `pixels` and `read` add what the decoder says.
        lost: what of its metadata is lost as it is read, in a sentence each.
        load: decodes all of it; None once it was called, for it holds the library's own copy.
        window: decodes rows and columns, and only what meets them; None where the file can only be decoded whole.
        lines: rows that are decoded together by ``window``: of a strip, or a tile.
        beside: bytes a pixel that are held, beside its own, while a window becomes what is asked for.
        scratch: bytes that decoding holds, however large the window is.
        columns: columns that are; 0 for all.
        check_whole: refuses an image of more pixels or bytes than may be decoded whole; one that cannot be read in bands was
            checked when it was opened.
        compression: of the pixels, as the format calls it; empty where it has but one.
        indexed: whether there are numbers behind its values, which ``color="indices"`` reads.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: Metadata
    memory: int
    rotated: bool
    format: str
    count: Callable[[], int] = field(repr=False)
    said: list[str]
    load: Callable[[], NDArray[Any]] | None = field(repr=False)
    window: Callable[[FromTo, FromTo], NDArray[Any]] | None = field(repr=False)
    lines: int = 1
    beside: int = 0
    scratch: int = 0
    columns: int = 0
    check_whole: Callable[[], None] = field(default=lambda: None, repr=False)
    compression: str = ""
    indexed: bool = False
    lost: tuple[str, ...] = ()
    _held: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the file, in a sentence each."""
        return tuple(dict.fromkeys(self.said))

    @property
    def pages(self) -> int:
        """How many the file has; in some formats it is walked through for that, so that it must be open still."""
        return self.count()

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel."""
        return math.prod(self.shape[2:]) * self.dtype.itemsize

    @property
    def in_bands(self) -> bool:
        """Whether `read` decodes what it is asked for alone; else it decodes all, once, and keeps it."""
        return self.window is not None

    def band_memory(self, rows: int, columns: int | None = None) -> int:
        """About the most bytes held while so many rows, of all columns or of so many, are read at once."""
        if self.window is None:
            return self.memory
        height, width = self.shape[:2]
        met = width if columns is None or not self.columns else min(columns + 2 * self.columns, width)
        return min(rows + 2 * self.lines, height) * met * (self.pixel_bytes + self.beside) + self.scratch

    @property
    def kept(self) -> int:
        """About the most bytes of strips and tiles that are kept for windows to come."""
        return min(KEPT_BYTES, self.nbytes) if self.in_bands and self.lines > 1 else 0

    def pixels(self) -> NDArray[Any]:
        """Decode the pixels, once and while the file is open: C-contiguous, of the shape and dtype above, and not kept here.

        Raises:
            PatchcliError: a damaged image, one that is another than its header says, or one that is too large.
        """
        self.check_whole()
        assert self.load is not None, "decoded before"
        load, self.load = self.load, None
        pixels = load()
        if (pixels.shape, pixels.dtype) != (self.shape, self.dtype):
            got = f"{pixels.dtype} of shape {pixels.shape}"
            raise PatchcliError(f"decoded to {got} where its header says {self.dtype} of shape {self.shape}")
        return np.ascontiguousarray(pixels)

    def read(self, rows: FromTo, columns: FromTo) -> NDArray[Any]:
        """The pixels of some rows and columns, ``(h, w[, C])``; maybe a view of what was decoded.

        Raises:
            PatchcliError: a damaged image.
        """
        if self.window is not None:
            return self.window(rows, columns)
        if self._held is None:
            self._held = self.pixels()
        return self._held[slice(*rows), slice(*columns)]

    def gray(self) -> ImageSource:
        """The same image as luma, ``(H, W)``, of which no channel is kept; no luma stands for no data.

        Raises:
            PatchcliError: it has no luma.
        """
        convert.check_gray(self.shape, self.dtype)
        each = self.dtype.itemsize if (*self.shape, 1)[2] > 2 else 0  # noqa: PLR2004
        made = self._converted(lambda pixels: convert.to_gray(pixels, self.metadata), each)
        return replace(made, metadata=made.metadata._replace(nodata=None)) if self.metadata.photometric == "rgb" else made

    def rgb(self) -> ImageSource:
        """The same image as red, green and blue, ``(H, W, 3)``, bool as uint8.

        Raises:
            PatchcliError: its samples are neither RGB nor gray.
        """
        convert.check_rgb(self.metadata)
        if self.metadata.channels == COLOURS[self.metadata.photometric] > 1:
            return self
        dtype = np.dtype(np.uint8) if self.dtype.kind == "b" else self.dtype
        each = 3 * dtype.itemsize + (self.dtype.kind == "b")
        return self._converted(lambda pixels: convert.to_rgb(pixels, self.metadata), each, 3, dtype)

    def indices(self) -> ImageSource:
        """The same image of integers, ``(H, W)``, that are indices: its values, or the numbers behind its colours; bool as uint8.

        Raises:
            PatchcliError: it has several channels, or floats.
        """
        if len(self.shape) > 2 or self.dtype.kind == "f":  # noqa: PLR2004
            kind = f"dtype {self.dtype}" if self.dtype.kind == "f" else f"samples {self.metadata.in_words()}"
            if self.format == "gif":  # of which Pillow composes frames behind the first so where they bring a palette
                kind = "a palette of its own and is composed in colours with the frames before it"
            raise PatchcliError(f"has {kind}, so no indices; --color indices and --labels take palettes and gray of integers")
        if self.dtype.kind != "b":
            return self
        return self._converted(lambda pixels: pixels.view(np.uint8), 0, dtype=np.dtype(np.uint8))

    def _in_colour(self) -> ImageSource:
        """The same image with the colours of its table in place of indices, ``(H, W, 3)``; as it is where it has no table."""
        if self.metadata.colormap is None:
            return self
        lost = self.lost  # nodata is an index, if any
        if (nodata := self.metadata.nodata) is not None:
            lost += (f"its nodata value {nodata} is lost, for it is an index of its colours; --color indices keeps it",)
        numbers = replace(self.indices(), metadata=self.metadata._replace(nodata=None), lost=lost, indexed=True)
        table = convert.colour_table(self.metadata.colormap, numbers.dtype)
        return numbers._converted(  # noqa: SLF001  of the same class
            lambda indices: convert.in_colour(indices, table), 3 * table.itemsize, 3, table.dtype
        )

    def channel(self, number: int) -> ImageSource:
        """One channel of the same image, ``(H, W)``, from 0.

        Raises:
            PatchcliError: it has no such channel.
        """
        convert.check_channel(self.shape, number)
        return self._converted(lambda pixels: convert.one_channel(pixels, number), self.dtype.itemsize)

    def _converted(
        self, change: Callable[[NDArray[Any]], NDArray[Any]], each: int, channels: int = 1, dtype: np.dtype[Any] | None = None
    ) -> ImageSource:
        """An image that is made of this one, with so many bytes a pixel beside it; ``dtype``: another than its own."""
        size, whole, window = self.shape[:2], self.pixels, self.window
        made = dtype or self.dtype
        return replace(
            self,
            shape=size if channels == 1 else (*size, channels),
            dtype=made,
            metadata=self.metadata.matching(channels),
            memory=max(self.memory, self.nbytes + math.prod(size) * each),
            beside=self.beside + self.pixel_bytes + each - channels * made.itemsize,
            load=lambda: change(whole()),
            window=None if window is None else lambda rows, columns: change(window(rows, columns)),
        )


# What an image can be asked for as, in place of what is stored
COLORS = {"gray": ImageSource.gray, "rgb": ImageSource.rgb, "indices": ImageSource.indices}


def open_image(
    file: BinaryIO, *, page: int = 0, rotate: bool = True, max_pixels: int = MAX_PIXELS, color: str | None = None
) -> ImageSource:
    """Read the header of an image; nothing is decoded yet.

    Args:
        file: an open binary file that can seek, and stays open until the last pixel was read; libraries may close it.
        page: which page or frame, from 0.
        rotate: turn the image as its EXIF orientation says.
        max_pixels: refuse larger images, and those of more than `PIXEL_BYTES` times as many bytes; 0 for no limit. What can
            be read in bands is refused only where all of it is asked for at once.
        color: a key of `COLORS`; None for what is stored, with the colours of a palette.

    Raises:
        PatchcliError: no image of a known format, a damaged or too large one, one that cannot be had as ``color``.
    """
    image = _stored(file, page, rotate=rotate, max_pixels=max_pixels, indices=color == "indices")
    if color == "indices":
        return image.indices()
    coloured = image._in_colour()  # noqa: SLF001  of the same module
    return coloured if color is None else COLORS[color](coloured)


class _Upright(NamedTuple):
    """What a format decodes, turned upright, while what its library says becomes hints.

    Attributes:
        name: of the format.
        turn: the EXIF orientation by which it is turned, 1 for not at all.
        hints: what was said so far.
    """

    name: str
    turn: int
    hints: list[str]

    def __call__(self, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Decode, ``(h, w[, C])`` in native byte order."""
        told: list[str] = []
        with overheard(told):
            pixels: NDArray[Any] = guarded(self.name, decode)
        self.hints.extend(f"the decoder says: {line}" for line in dict.fromkeys(told))
        if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
            pixels = pixels[:, :, 0]
        if self.turn > 1:  # laid out anew, because sums of floats follow the layout in their last bits
            pixels = np.ascontiguousarray(TURNS[self.turn](pixels))
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _stored(file: BinaryIO, page: int, *, rotate: bool, max_pixels: int, indices: bool) -> ImageSource:
    """An image as its file has it; ``indices``: those behind the colours that its library would give."""
    name = _name_of(file)
    opened, header = _opened(file, name, page, indices=indices)
    check_real(header.dtype, "image")
    turn, hints = _turn_of(header.orientation, rotate=rotate)
    size = (opened.width, opened.height) if turn >= SIDEWAYS else (opened.height, opened.width)
    shape = (*size, header.channels) if header.channels > 1 else size
    nbytes = math.prod(shape) * header.dtype.itemsize

    decoded = _Upright(name, turn, hints)
    decode, read = opened.decode, header.read
    window = None
    if read is not None and turn < SIDEWAYS:  # else a row would be made of all the strips

        def window(rows: FromTo, columns: FromTo) -> NDArray[Any]:
            return decoded(lambda: read(*stored_window(turn, rows, columns, (opened.height, opened.width))))

    def check_whole() -> None:
        check_size((opened.height, opened.width), opened.pixel_bytes, max_pixels)

    if window is None:
        check_whole()
    else:  # which are decoded for the least window
        segment = min(header.lines, opened.height), min(header.columns or opened.width, opened.width)
        check_size(segment, opened.pixel_bytes, max_pixels, "has strips or tiles of")
    place_lost = turn > 1 and opened.metadata is not None and opened.metadata.geotiff
    return ImageSource(
        shape=shape,
        dtype=header.dtype,
        metadata=_meant(opened.metadata or Metadata.usual(header.channels), header.orientation, turn, rotate=rotate),
        memory=nbytes + max(header.scratch, nbytes * (turn > 1)),
        scratch=header.scratch if window is not None else 0,
        rotated=turn > 1,
        format=name,
        count=functools.cache(lambda: int(guarded(name, header.pages))),
        said=hints,
        load=lambda: decoded(decode),
        window=window,
        lines=header.lines,
        columns=header.columns,
        check_whole=check_whole,
        compression=header.compression,
        indexed=header.indices is not None,
        lost=(LOST_PLACE,) if place_lost else (),
    )


def _opened(file: BinaryIO, name: str, page: int, *, indices: bool) -> tuple[Opened, Header]:
    """What an image's header says, of its indices where they are wanted and there are any; what its library says is dropped."""
    with contextlib.nullcontext() if FORMATS[name].quiet else overheard([]):
        opened = _open(file, name, page)
        header: Header = guarded(name, opened.header)
        if indices and header.indices is not None:
            return _by_indices(opened, header, guarded(name, header.indices))
    return opened, header


def _by_indices(opened: Opened, header: Header, indices: Indices) -> tuple[Opened, Header]:
    """The same image, its indices decoded in place of their colours."""
    metadata = (opened.metadata or Metadata())._replace(photometric="minisblack", extrasamples=(), colormap=indices.colormap)
    return (
        opened._replace(decode=indices.decode, metadata=metadata),
        header._replace(channels=1, dtype=indices.dtype, read=None),
    )


def open_joined(file: BinaryIO, *, rotate: bool = True, max_pixels: int = MAX_PIXELS, color: str | None = None) -> ImageSource:
    """An image whose gray pages are its channels, as it was written of one that was joined; with channels of its own, page 0.

    It takes what `open_image` takes but for the page, and raises what that and `join_pages` raise.
    """

    def at(page: int) -> ImageSource:
        return open_image(file, page=page, rotate=rotate, max_pixels=max_pixels, color=color)

    first = at(0)
    if first.shape[2:] or first.pages == 1:
        return first
    return join_pages(((page, at(page)) for page in range(first.pages)), max_pixels=max_pixels)


def join_pages(pages: Iterable[tuple[int, ImageSource]], *, max_pixels: int = MAX_PIXELS) -> ImageSource:
    """Gray pages of one shape and dtype, each with its number, as the channels of one image; of one page ``(H, W)``, as ever.

    Args:
        pages: one after the other; each is checked before the next is asked for.
        max_pixels: as of `open_image`, for the bytes of all together.

    Raises:
        PatchcliError: a page with several channels, of another shape or dtype, more pages than an image may have channels.
    """
    joined: list[ImageSource] = []
    for number, page in pages:
        joined.append(page)
        _check_joined(joined, number, max_pixels)
    first, count, by_windows = joined[0], len(joined), all(page.in_bands for page in joined)
    if count == 1:
        return first
    said = [hint for page in joined for hint in page.hints]

    def heard(planes: Iterable[NDArray[Any]]) -> NDArray[Any]:
        channels = _as_channels(planes, count)
        said.extend({hint: None for page in joined for hint in page.hints if hint not in said})
        return channels

    photometric, extrasamples, *_ = Metadata.of(count, "minisblack", ())
    return replace(
        first,
        shape=(*first.shape, count),
        metadata=first.metadata._replace(photometric=photometric, extrasamples=extrasamples, colormap=None, axes=OWN_PAGES),
        memory=count * first.nbytes + max(page.memory for page in joined),
        said=said,
        load=lambda: heard(page.pixels() for page in joined),
        window=(lambda rows, columns: heard(page.read(rows, columns) for page in joined)) if by_windows else None,
        lines=max(page.lines for page in joined),
    )


def _check_joined(pages: Sequence[ImageSource], number: int, max_pixels: int) -> None:
    """Refuse a page, the last of these, that is not a channel as the others are, or is one too many."""
    first, page = pages[0], pages[-1]
    if page.shape[2:]:
        raise PatchcliError(
            f"has {page.shape[2]} channels on page {number}; --pages-as channels is for pages of one, which --color gray makes"
        )
    if (page.shape, page.dtype) != (first.shape, first.dtype):
        got, wanted = (f"width={one.shape[1]} height={one.shape[0]} {one.dtype}" for one in (page, first))
        raise PatchcliError(
            f"has page {number} of {got} and pages before it of {wanted}; with --pages-as channels all are alike, choose them "
            "with --page A-B"
        )
    if len(pages) > MAX_SAMPLES:
        raise PatchcliError(f"has more pages than an image has channels; allowed are {MAX_SAMPLES}, choose with --page A-B")
    check_size((page.shape[0], page.shape[1]), len(pages) * page.dtype.itemsize, max_pixels)


def _as_channels(planes: Iterable[NDArray[Any]], count: int) -> NDArray[Any]:
    """Planes ``(h, w)``, as many as said, as one new array ``(h, w, count)``; none is kept."""
    made: NDArray[Any] | None = None
    for number, plane in enumerate(planes):
        made = np.empty((*plane.shape, count), plane.dtype) if made is None else made
        made[:, :, number] = plane
    assert made is not None
    return made


def _turn_of(orientation: object, *, rotate: bool) -> tuple[int, list[str]]:
    """The EXIF orientation by which to turn an image, 1 for not at all, and what is odd about what the file says of it."""
    if not rotate:
        return 1, []
    turn = as_orientation(orientation)
    if turn is not None:
        return turn, []
    said = orientation if orientation is UNREADABLE else f"{orientation!r:.40} where 1 to 8 are allowed"
    return 1, [f"has an orientation that cannot be understood ({said}); it was taken as upright, --no-exif-rotate says so too"]


def _meant(metadata: Metadata, orientation: object, turn: int, *, rotate: bool) -> Metadata:
    """What an image means once it is turned, or with the orientation by which it was not."""
    if turn > 1:
        return metadata.turned(sideways=turn >= SIDEWAYS)
    kept = None if rotate else as_orientation(orientation)
    return metadata if kept in (None, 1) else metadata._replace(orientation=kept)


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


def _open(file: BinaryIO, name: str, page: int) -> Opened:
    """What the header of an image says first."""
    file.seek(0)
    reader = FORMATS[name].open
    assert reader is not None
    opened: Opened = guarded(name, lambda: reader(file, max(page, 0)))
    if page < 0:
        file.seek(0)
        raise PatchcliError(f"has no page {page}; it has {guarded(name, opened.header).pages()}, counted from 0")
    return opened
