"""``crop`` of large images: a crop is made from the window of its image that it reads, some lines at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.cropping.crop import LineCrop
from patchcli.cropping.plan import plan_of
from patchcli.errors import PatchcliError, reason
from patchcli.jobs.crop_rows import in_pixels, sampling_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings
    from patchcli.jobs.task import BoxRow

LEAST_WINDOW = 1 << 16  # pixels that are decoded whole in about the time in which any window is read
MADE_AT_ONCE = 1 << 25  # bytes of a window and of the lines that are made from it


def in_windows(image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> bool:
    """Whether boxes are cropped each from its window; else the image is decoded once, whole.

    They are where windows can be read and there is but one, or are together no larger than the image, or it must not be decoded
    whole. What a box has of the image counts, and at least `LEAST_WINDOW`.
    """
    if not image.in_bands or len(rows) == 1:
        return image.in_bands
    height, width = image.shape[:2]
    wanted = 0.0
    for row in rows:
        x, y, across, down = in_pixels(row, (height, width), settings)
        sides = _inside(x, across, width), _inside(y, down, height)
        wanted += max(LEAST_WINDOW, math.prod(last - first for first, last in sides))
    if wanted <= height * width:
        return True
    try:
        image.check_whole()
    except PatchcliError:
        return True
    return False


def _inside(start: float, extent: float, length: int) -> tuple[float, float]:
    """What a span has of an axis."""
    ends = sorted((start, start + extent))
    return max(0.0, min(ends[0], length)), max(0.0, min(ends[1], length))


def from_the_top(rows: Sequence[BoxRow], image: ImageSource, settings: CropSettings) -> list[BoxRow]:
    """Rows in the order of the upper edges of their boxes, so that a strip or tile is decoded once for those that share it."""

    def top(row: BoxRow) -> float:
        _, y, _, height = in_pixels(row, (image.shape[0], image.shape[1]), settings)
        return min(y, y + height)

    return sorted(rows, key=top)


class CropWindow(NamedTuple):
    """A crop that is made from windows of its image.

    Attributes:
        cut: what it samples.
        lines: how many of its lines are made at once.
        read: rows and columns that are read at once, at most.
        weighed: how many rows are weighed at once.
    """

    cut: LineCrop
    lines: int
    read: Pair
    weighed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """``(h, w[, C])`` of the crop."""
        return self.cut.shape


def window_of(image: ImageSource, row: BoxRow, settings: CropSettings) -> CropWindow:
    """How the crop of a box is made from windows: all at once, or as many lines as go into `MADE_AT_ONCE`."""
    sampling = sampling_of(row, settings)
    plan = plan_of(image.shape, row.box, row.size, sampling)
    cut = LineCrop(plan, image.dtype, sampling, image.metadata.alpha)
    height, pixel = cut.shape[0], math.prod(image.shape[2:]) * image.dtype.itemsize

    def extent(start: int, stop: int) -> Pair:
        (top, bottom), (left, right) = cut.window(start, stop)
        return min(bottom - top, cut.deep), right - left

    each = (math.prod(extent(0, height)) + math.prod(cut.shape[:2])) * pixel / height
    lines = min(height, max(1, int(MADE_AT_ONCE / each) // cut.step) * cut.step)
    read = max(extent(start, min(start + lines, height)) for start in range(0, height, lines))
    return CropWindow(cut, lines, read, extent(0, min(cut.step, height))[0])


def lines_of(image: ImageSource, window: CropWindow) -> Iterator[NDArray[Any]]:
    """The lines of a crop, from the top to the bottom, ``(n, w[, C])`` each."""

    def read(rows: Pair, columns: Pair) -> NDArray[Any]:
        try:
            return image.read(rows, columns)
        except OSError as error:  # which would be blamed on the output that is being written
            raise PatchcliError(f"cannot be read: {reason(error)}") from None

    height = window.shape[0]
    for start in range(0, height, window.lines):
        yield window.cut.lines(read, start, min(start + window.lines, height))
