"""``--cover``: how many patches lie on each pixel, in numbers, or in gray that can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.geometry.cover import COUNTS_TOGETHER
from patchcli.images import sink
from patchcli.patches.merge import merged_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.cover import BoxCover, Cover
    from patchcli.geometry.placement import Placement
    from patchcli.patches.windows import Window

IN_NUMBERS = "npy"  # the format that holds them; all others are looked at
WHITE = 255


def check_shows_cover(path: str) -> None:
    """Check that a file of this name can show a cover.

    Raises:
        PatchcliError: its suffix is no format's, or its format holds no gray of 8 bits.
    """
    sink.check_holds(sink.format_of(path), (1, 1), np.dtype(np.uint8))


class CoverFile(NamedTuple):
    """A file that shows the cover of an image.

    Attributes:
        image_format: of the file.
        cover: how many patches lie on each pixel.
        placement: where they lie.
        window: by which they are weighed; None for equal weights.
        trim: the image is cut to what they cover.
    """

    image_format: str
    cover: Cover | BoxCover
    placement: Placement
    window: Window | None
    trim: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of counts the narrowest unsigned one, of weights float32, of gray uint8."""
        if self.image_format != IN_NUMBERS:
            return np.dtype(np.uint8)
        return np.min_scalar_type(self.cover.most) if self.window is None else np.dtype(np.float32)

    def lines(self) -> Iterator[NDArray[Any]]:
        """What it holds, ``(n, W)`` each, of the dtype above.

        In numbers it is how many patches lie on each pixel, or their weights, of a patch at most 1. In gray the most that lies
        on any pixel is white, no patch is black, and nothing else is.
        """
        most: float
        if self.image_format == IN_NUMBERS:
            most = 1 if self.window is None else self.window.full.max()
            yield from ((lines if most == 1 else lines / most).astype(self.dtype) for lines in self._numbers())
            return
        most = self.cover.most if self.window is None else max(float(lines.max()) for lines in self._numbers())
        for lines in self._numbers():
            gray = np.rint(np.multiply(lines, WHITE, dtype=np.float64) / (most or 1))
            yield np.maximum(gray, lines > 0).astype(np.uint8)

    def _numbers(self) -> Iterator[NDArray[Any]]:
        """How many patches lie on each pixel, int64 ``(n, W)``, or the sum of their weights, float64."""
        if self.window is not None:
            yield from merged_weights(self.placement, self.window, trim=self.trim).lines()
            return
        height, width = self.cover.shape
        step = max(1, COUNTS_TOGETHER // width)
        for top in range(0, height, step):
            yield self.cover.lines(slice(top, min(top + step, height)))
