"""How images are read for a job, and how their faults are told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from patchcli.errors import PatchcliError
from patchcli.images import source
from patchcli.stacks.header import Source
from patchcli.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.grid import Grid
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import Reading


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
        stamp = files.stamp(path, file)
        image = source.open_image(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
        if reading.gray:
            image = image.gray()
        if reading.channel is not None:
            image = image.channel(reading.channel)
        yield ImageInput(image, Source(*stamp, page=reading.page, rotated=image.rotated), label)


@contextlib.contextmanager
def blamed(label: str) -> Iterator[None]:
    """Errors of a file that is not the input itself begin with ``label``, which names it."""
    try:
        yield
    except PatchcliError as error:
        raise PatchcliError(str(error) if str(error).startswith(label) else f"{label}{error}") from None


def check_pixels(grid: Grid, pixel_bytes: int, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    source.check_size(grid.padded, pixel_bytes, max_pixels, "needs a canvas of", ", with margin and padding")
