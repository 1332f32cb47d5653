"""How images are read for a job, and how their faults are told."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from patchcli.errors import PatchcliError
from patchcli.images import source
from patchcli.jobs.pages import PageRange
from patchcli.stacks.header import Source
from patchcli.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import Reading
    from patchcli.patches.padded import PixelSource

FREE_PIXELS = 1 << 22  # a canvas up to this size is made whatever the patches cover
DECODED_BYTES = 1 << 24  # that are decoded at once where all of an image goes by


class ImageInput(NamedTuple):
    """An image that is open, where it is from, and what its hints begin with."""

    image: ImageSource
    source: Source
    label: str = ""

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the file."""
        return tuple(self.label + hint for hint in self.image.hints)


@contextlib.contextmanager
def open_input_image(path: str, reading: Reading, label: str = "") -> Iterator[ImageInput]:
    """Open an image as asked; its header is read, and its pixels are to be taken while it is open."""
    with files.open_input(path) as file:
        yield image_in(file, path, reading, label)


def image_in(file: BinaryIO, path: str, reading: Reading, label: str = "") -> ImageInput:
    """The image in a file that is open, and stays so until its pixels were taken."""
    stamp = files.stamp(path, file)
    pages = _pages_of(file, reading)
    image = _open(file, pages, reading)
    if reading.channel is not None:
        image = image.channel(reading.channel)
    return ImageInput(image, Source(*stamp, page=pages[0], rotated=image.rotated), label)


def number_of_pages(path: str, page: int) -> int:
    """How many pages an image file has; of a remote one no more is fetched than that takes.

    Raises:
        PatchcliError: it is not an image, or has no such page as ``page``, or one that cannot be read.
    """
    with files.open_head(path) as file:
        return source.open_image(file, page=page, max_pixels=0).pages


def _pages_of(file: BinaryIO, reading: Reading) -> Sequence[int]:
    """The page of a file that is read, or those that become channels."""
    wanted = reading.stacked or PageRange(reading.page, reading.page)
    if wanted == PageRange() or not (wanted.several or reading.or_only):
        return [reading.page]
    count = source.open_image(file, page=0 if reading.or_only else wanted.first, max_pixels=0).pages
    return [0] if reading.or_only and count == 1 else wanted.of(count)


def _open(file: BinaryIO, pages: Sequence[int], reading: Reading) -> ImageSource:
    """A page, or the image of which several are the channels."""

    def at(page: int) -> ImageSource:
        return source.open_image(file, page=page, rotate=reading.rotate, max_pixels=reading.max_pixels, color=reading.color)

    if len(pages) > 1 or (reading.stacked is not None and not reading.or_only):
        return source.join_pages(((page, at(page)) for page in pages), max_pixels=reading.max_pixels)
    image = at(pages[0])
    if reading.tell_pages and image.pages > 1:
        image.said.append(
            f"has {image.pages} pages, of which page {pages[0]} was read; --page all takes each, --page {pages[0]} says so too"
        )
    return image


def decoded_bands(image: PixelSource) -> Iterator[NDArray[Any]]:
    """All lines of an image, ``(n, W[, C])`` a piece, decoded `DECODED_BYTES` at a time where that can be; not to be changed."""
    height, width = image.shape[:2]
    if not image.in_bands:
        step = height
    else:
        line = width * math.prod(image.shape[2:]) * image.dtype.itemsize
        step = max(1, DECODED_BYTES // (line * image.lines)) * image.lines
    for top in range(0, height, step):
        yield image.read((top, min(top + step, height)), (0, width))


@contextlib.contextmanager
def blamed(label: str) -> Iterator[None]:
    """Errors of a file that is not the input itself begin with ``label``, which names it."""
    try:
        yield
    except PatchcliError as error:
        raise PatchcliError(str(error) if str(error).startswith(label) else f"{label}{error}") from None


def blamed_lines(label: str, lines: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Lines as they come; errors that end them begin with ``label``, not those of what is done with them."""
    with blamed(label):
        yield from lines


def check_canvas(grid: Grid, count: int) -> None:
    """Refuse a large canvas, with margin and padding, that so many patches cannot fill."""
    (height, width), patch = grid.image, grid.patch
    covered, canvas = count * patch[0] * patch[1], math.prod(grid.padded)
    if canvas > max(FREE_PIXELS, (height + 2 * patch[0]) * (width + 2 * patch[1]) + 4 * covered):
        raise PatchcliError(
            f"needs a canvas of {canvas} pixels, with a margin of {grid.margin} and padding, but its {count} patches "
            f"cover at most {covered}"
        )


def check_pixels(grid: Grid, pixel_bytes: int, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    source.check_size(grid.padded, pixel_bytes, max_pixels, "needs a canvas of", ", with margin and padding")
