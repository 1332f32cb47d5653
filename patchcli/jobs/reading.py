"""How images are read for a job, and how their faults are told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from patchcli.errors import PatchcliError
from patchcli.images import imagefile
from patchcli.stacks.header import Source
from patchcli.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid
    from patchcli.images.imagefile import ImageFile


class Reading(NamedTuple):
    """How images are read."""

    page: int = 0
    gray: bool = False
    channel: int | None = None
    rotate: bool = True
    max_pixels: int = imagefile.MAX_PIXELS

    def options(self) -> dict[str, object]:
        """Those that change what is read, by name."""
        return {"--page": self.page, "--gray": self.gray, "--channel": self.channel, "--exif-rotate": self.rotate}


def size_in_words(size: Pair | None) -> str | None:
    """``(rows, columns)`` as options have it, WxH."""
    return None if size is None else f"{size[1]}x{size[0]}"


@contextlib.contextmanager
def open_image(path: str, reading: Reading) -> Iterator[tuple[ImageFile, Source]]:
    """Open an image as asked, and say where it comes from; its pixels are to be taken while it is open."""
    with files.open_input(path) as file:
        stamp = files.stamp(path, file)
        image = imagefile.open_image(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
        if reading.gray:
            image = image.gray()
        if reading.channel is not None:
            image = image.channel(reading.channel)
        yield image, Source(*stamp, page=reading.page, rotated=image.rotated)


def read_image(path: str, reading: Reading) -> tuple[ImageFile, Source]:
    """Open and decode an image as asked."""
    with open_image(path, reading) as (image, source):
        image.pixels()
    return image, source


def peek_image(path: str, reading: Reading) -> tuple[ImageFile, Source]:
    """What `read_image` would return, but for its pixels, from the header alone; errors are the same."""
    with open_image(path, reading) as opened:
        return opened


def in_megabytes(count: int) -> str:
    """Bytes for people.

    >>> in_megabytes(34_567_890)
    '35 MB'
    """
    return f"{count / 1e6:.0f} MB"


@contextlib.contextmanager
def blamed(label: str) -> Iterator[None]:
    """Errors of a file that is not the input itself begin with ``label``, which names it."""
    try:
        yield
    except PatchcliError as error:
        raise PatchcliError(str(error) if str(error).startswith(label) else f"{label}{error}") from None


def check_pixels(grid: Grid, pixel_bytes: int, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    imagefile.check_size(grid.padded, pixel_bytes, max_pixels, "needs a canvas of", ", with margin and padding")
