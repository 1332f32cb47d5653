"""An image file in Python: opened once, then asked for the pixels that are needed."""

from __future__ import annotations

import contextlib
import io
import operator
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

import numpy as np

from patchcli.errors import PatchcliError, one_line
from patchcli.images import source
from patchcli.jobs.reading import blamed
from patchcli.storage.files import name_of, open_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource

ALL = slice(None)


class ImageFile:
    """An image file that `patchcli.open_image` opened; a context manager, which closes it.

    Attributes:
        shape: ``(H, W)`` or ``(H, W, C)``.
        dtype: of the pixels, in native byte order.
        metadata: what its samples mean.
        pages: how many images the file has.
    """

    def __init__(self, image: ImageSource, opened: contextlib.ExitStack, label: str = "") -> None:
        self.shape: tuple[int, ...] = image.shape
        self.dtype: np.dtype[Any] = image.dtype
        self.metadata: Metadata = image.metadata
        self.pages: int = image.pages
        self._image: ImageSource | None = image
        self._opened = opened
        self._label = label

    def read(self, rows: slice = ALL, columns: slice = ALL) -> NDArray[Any]:
        """The pixels of some rows and columns, ``(h, w[, C])``, an array of its own: those of ``image[rows, columns]``.

        Only the strips or tiles that meet them are decoded, where the format has any; other formats are decoded whole by the
        first call, and kept until the file is closed.

        Args:
            rows: a slice as numpy takes it, of step 1: ends beyond the image are cut off, and negative ones count from its end.
            columns: likewise.

        Raises:
            PatchcliError: a damaged image; rows or columns that are no slice of whole numbers and step 1.
            ValueError: the file was closed.
        """
        if self._image is None:
            raise ValueError("read of a closed image file")
        down, across = _from_to(rows, self.shape[0], "rows"), _from_to(columns, self.shape[1], "columns")
        size = down[1] - down[0], across[1] - across[0]
        if 0 in size:
            return np.empty((*size, *self.shape[2:]), self.dtype)
        with blamed(self._label):
            return np.require(self._image.read(down, across), requirements=("C", "O", "W"))

    def close(self) -> None:
        """Close the file, and give up what was decoded."""
        self._image = None
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_image(
    file: BinaryIO | str | os.PathLike[str],
    page: int = 0,
    *,
    color: Literal["gray", "rgb", "indices"] | None = None,
    exif_rotate: bool = True,
    max_pixels: int = source.MAX_PIXELS,
) -> ImageFile:
    """Open an image file: its header is read, and its pixels are decoded as they are asked for.

    Args:
        file: a path or an open binary file that can seek, which is left open.
        page: which page or frame, from 0.
        color: how its colours are read: as luma, as RGB without alpha, or as the indices behind a palette; None: as stored.
        exif_rotate: turn the image as its EXIF orientation says.
        max_pixels: refuse larger images where all of one must be decoded for any of it; 0 for no limit.

    Raises:
        PatchcliError: no such file, no image of a known format, a damaged or too large one, no such page or ``color``; of a file
            that was given by its path the sentence begins with that.
    """
    if color is not None and color not in source.COLORS:
        raise PatchcliError(f"color is {color!r}; allowed are None, {', '.join(source.COLORS)}")
    page = _page(page)
    path = os.fsdecode(file) if isinstance(file, (str, os.PathLike)) else None
    label = "" if path is None else one_line(f"{name_of(path, 'standard input')}: ")
    with contextlib.ExitStack() as opened, blamed(label):
        binary = _checked(file) if path is None else opened.enter_context(open_input(path))
        image = source.open_image(binary, page=page, rotate=exif_rotate, max_pixels=max_pixels, color=color)
        return ImageFile(image, opened.pop_all(), label)


def _page(page: object) -> int:
    """The number of a page, of any type of whole numbers but bool."""
    try:
        if isinstance(page, (bool, np.bool_)):
            raise TypeError
        return operator.index(page)  # type: ignore[arg-type]
    except TypeError:
        raise PatchcliError(f"page is {page!r:.60}; give a whole number from 0") from None


def _checked(file: Any) -> BinaryIO:  # noqa: ANN401  whatever was given
    """An open file, if it is a binary one that can seek."""
    if not (hasattr(file, "read") and hasattr(file, "seek")):
        hint = "; bytes of an image go into io.BytesIO" if isinstance(file, (bytes, bytearray, memoryview)) else ""
        raise PatchcliError(f"file is {file!r:.60}; give a path or an open binary file{hint}")
    if isinstance(file, io.TextIOBase):
        raise PatchcliError("file is open for text; open it for bytes, as in open(path, 'rb')")
    if not getattr(file, "seekable", lambda: True)():
        raise PatchcliError("file cannot seek; give io.BytesIO(file.read()), or a path")
    checked: BinaryIO = file
    return checked


def _from_to(wanted: slice, length: int, what: str) -> tuple[int, int]:
    """The first of some rows or columns, and the one behind the last."""
    try:
        first, last, step = wanted.indices(length)
    except (AttributeError, TypeError, ValueError):  # no slice, not of whole numbers, of step 0
        step = 0
    if step != 1:
        raise PatchcliError(f"{what} are {wanted!r:.60}; give a slice of whole numbers and step 1, as in slice(0, 512)")
    return first, max(first, last)
