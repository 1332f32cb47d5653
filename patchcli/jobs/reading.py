"""How images are read for a job, and how their faults are told."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, BinaryIO

from patchcli.errors import PatchcliError
from patchcli.images import convert, imagefile
from patchcli.images.metadata import Metadata
from patchcli.stacks.header import Source
from patchcli.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.jobs.settings import Reading

LUMA = 16


class OpenImage:
    """An image of which the header was read, as it will be decoded."""

    def __init__(self, path: str, file: BinaryIO, reading: Reading, label: str) -> None:
        self._file, self._reading, self._label = file, reading, label
        stamp = files.stamp(path, file)
        seen = imagefile.peek(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
        self.source = Source(*stamp, page=reading.page, rotated=seen.rotated)
        self.shape, self.dtype, self.metadata, self.format = seen.shape, seen.dtype, seen.metadata, seen.format
        self.memory, self.hints = seen.memory, tuple(label + hint for hint in seen.hints)
        shape, pixels = seen.shape, seen.shape[0] * seen.shape[1]
        if reading.gray:
            convert.check_gray(shape, seen.dtype)
            scratch = (LUMA + seen.dtype.itemsize) * pixels if (*shape, 1)[2] > 2 else 0  # noqa: PLR2004
            self.shape, self.metadata, self.memory = shape[:2], Metadata(), max(seen.memory, self.nbytes + scratch)
        if reading.channel is not None:
            convert.check_channel(shape, reading.channel)
            memory = max(seen.memory, self.nbytes + pixels * seen.dtype.itemsize)
            self.shape, self.metadata, self.memory = shape[:2], Metadata(), memory

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def pixels(self) -> NDArray[Any]:
        """Decode it, once."""
        reading = self._reading
        self._file.seek(0)
        picture = imagefile.read(self._file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
        self.hints = tuple(self._label + hint for hint in picture.hints)
        if reading.gray:
            return convert.to_gray(picture.pixels, picture.metadata)
        return picture.pixels if reading.channel is None else convert.one_channel(picture.pixels, reading.channel)


@contextlib.contextmanager
def open_image(path: str, reading: Reading, label: str = "") -> Iterator[OpenImage]:
    """Open an image and read its header; ``label`` comes before its hints."""
    with files.open_input(path) as file:
        yield OpenImage(path, file, reading, label)


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
