"""Image files read: all pixels or those of a window, turned upright; refused where something would be lost.

Only files are handed on, never names, and only formats of `FORMATS`, told by content; sizes are known before decoding.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.images import convert
from patchcli.images.codec import UNREADABLE, FromTo, Header, Opened, as_orientation, guarded, overheard
from patchcli.images.convert import SIDEWAYS, TURNS, stored_window
from patchcli.images.formats import FORMATS, READABLE, SNIFF, in_words
from patchcli.images.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


MAX_PIXELS = 178_956_970  # the number from which Pillow refuses an image
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
        pages: how many the file has.
        said: what is odd about the file, in a sentence each; `pixels` and `read` add what the decoder says.
        load: decodes all of it; None once it was called, for it holds the library's own copy.
        window: decodes rows and columns, and only what meets them; None where the file can only be decoded whole.
        lines: rows that are decoded together by ``window``: of a strip, or a tile.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: Metadata
    memory: int
    rotated: bool
    format: str
    pages: int
    said: list[str]
    load: Callable[[], NDArray[Any]] | None = field(repr=False)
    window: Callable[[FromTo, FromTo], NDArray[Any]] | None = field(repr=False)
    lines: int = 1
    _held: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the file, in a sentence each."""
        return tuple(dict.fromkeys(self.said))

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def in_bands(self) -> bool:
        """Whether `read` decodes what it is asked for alone; else it decodes all, once, and keeps it."""
        return self.window is not None

    def band_memory(self, rows: int) -> int:
        """About the most bytes held while so many rows are read at once."""
        if self.window is None:
            return self.memory
        return min(rows + 2 * self.lines, self.shape[0]) * math.prod(self.shape[1:]) * self.dtype.itemsize

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
        """The same image as luma, ``(H, W)``, of which no channel is kept.

        Raises:
            PatchcliError: it has no luma.
        """
        convert.check_gray(self.shape, self.dtype)
        each = convert.LUMA_BYTES + self.dtype.itemsize if (*self.shape, 1)[2] > 2 else 0  # noqa: PLR2004
        return self._converted(lambda pixels: convert.to_gray(pixels, self.metadata), each)

    def channel(self, number: int) -> ImageSource:
        """One channel of the same image, ``(H, W)``, from 0.

        Raises:
            PatchcliError: it has no such channel.
        """
        convert.check_channel(self.shape, number)
        return self._converted(lambda pixels: convert.one_channel(pixels, number), self.dtype.itemsize)

    def _converted(self, change: Callable[[NDArray[Any]], NDArray[Any]], each: int) -> ImageSource:
        """An image of one channel that is made of this one, with so many bytes a pixel beside it."""
        size, whole, window = self.shape[:2], self.pixels, self.window
        memory = max(self.memory, self.nbytes + math.prod(size) * each)
        meant = self.metadata.matching(1)
        return replace(
            self,
            shape=size,
            metadata=meant,
            memory=memory,
            load=lambda: change(whole()),
            window=None if window is None else lambda rows, columns: change(window(rows, columns)),
        )


def open_image(file: BinaryIO, *, page: int = 0, rotate: bool = True, max_pixels: int = MAX_PIXELS) -> ImageSource:
    """Read the header of an image; nothing is decoded yet.

    Args:
        file: an open binary file that can seek, and stays open until the last pixel was read; libraries may close it.
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
        header: Header = guarded(name, opened.header)
    check_real(header.dtype, "image")
    turn, hints = _turn_of(header.orientation, rotate=rotate)
    size = (opened.width, opened.height) if turn >= SIDEWAYS else (opened.height, opened.width)
    shape = (*size, header.channels) if header.channels > 1 else size
    nbytes = math.prod(shape) * header.dtype.itemsize

    def heard(call: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Decode, and turn upright."""
        told: list[str] = []
        with overheard(told):
            pixels: NDArray[Any] = guarded(name, call)
        hints.extend(f"the decoder says: {line}" for line in dict.fromkeys(told))
        if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
            pixels = pixels[:, :, 0]
        pixels = TURNS[turn](pixels) if turn > 1 else pixels
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)

    decode, read = opened.decode, header.read
    window = None
    if read is not None and turn < SIDEWAYS:  # else a row would be made of all the strips

        def window(rows: FromTo, columns: FromTo) -> NDArray[Any]:
            return heard(lambda: read(*stored_window(turn, rows, columns, (opened.height, opened.width))))

    return ImageSource(
        shape=shape,
        dtype=header.dtype,
        metadata=opened.metadata or Metadata.usual(header.channels),
        memory=nbytes + max(header.scratch, nbytes * (turn > 1)),
        rotated=turn > 1,
        format=name,
        pages=header.pages,
        said=hints,
        load=lambda: heard(decode),
        window=window,
        lines=header.lines,
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
    opened: Opened = guarded(name, lambda: reader(file, page))
    check_size((opened.height, opened.width), opened.pixel_bytes, max_pixels)
    return opened
