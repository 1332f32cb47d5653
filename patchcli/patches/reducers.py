"""The rules by which values that lie on one pixel become one, where their order does not matter: mean, sum, min, max."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import limits
from patchcli.geometry.cover import Cover, cover_of
from patchcli.patches.normalize import HALF
from patchcli.patches.overlap_add import ADD, Combine, fold_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.patches.windows import Window

AT_ONCE = 1 << 14  # windows added up together
STREAMED = ("mean", "sum", "min", "max")


class Rule(NamedTuple):
    """How patches are put together.

    Attributes:
        reduce: one of `STREAMED`.
        window: weights of a mean; None for equal ones.
    """

    reduce: str = "mean"
    window: Window | None = None

    def combine(self, dtype: np.dtype[Any]) -> Combine:
        """How two values of ``dtype`` become one."""
        if self.reduce in ("mean", "sum"):
            return ADD
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else limits(dtype)
        return Combine(np.minimum, high) if self.reduce == "min" else Combine(np.maximum, low)

    def parts_of(self, dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
        """The dtypes in which patches are put together: mostly their own, high and low half for sums of 64-bit integers."""
        if self.window is not None and (self.window.dense is not None or (dtype.kind in "iu" and dtype.itemsize * 8 > HALF)):
            return [np.dtype(np.float64)]
        if dtype == np.float16:
            return [np.dtype(np.float32)]
        if self.reduce in ("mean", "sum") and dtype.kind in "iu" and dtype.itemsize * 8 > HALF:
            return [np.dtype(f"{dtype.kind}4"), np.dtype("u4")]
        return [dtype.newbyteorder("=")]

    def sums_dtype(self, part: np.dtype[Any], terms: int) -> np.dtype[Any]:
        """What holds ``terms`` values of a part put together."""
        return np.dtype(np.float64) if self.window is not None else self.combine(part).dtype(part, terms)

    def divisor(self, grid: Grid, origins: NDArray[np.int64] | None, cover: Cover) -> Cover | None:
        """By what the sums of all patches (or of those at ``origins``) are divided; None for nothing."""
        if self.reduce != "mean":
            return None
        if self.window is None:
            return cover
        return weighted_cover(grid, self.window, origins)


def split(patches: NDArray[Any], parts: list[np.dtype[Any]]) -> list[NDArray[Any]]:
    """Patches as the parts that are put together; halves are ``high * 2**32 + low``."""
    if len(parts) == 1:
        return [np.ascontiguousarray(patches, parts[0])]
    patches = np.ascontiguousarray(patches, patches.dtype.newbyteorder("="))
    high, low = parts
    return [(patches >> HALF).astype(high), (patches & (2**HALF - 1)).astype(low)]


def weighted_cover(grid: Grid, window: Window, origins: NDArray[np.int64] | None = None) -> Cover:
    """How much of a window lies on each image pixel, for all patches of a grid or for those at ``origins``."""
    (height, width), margin = grid.image, grid.margin
    if origins is None and window.dense is None:
        sides = []
        for axis, weights in ((grid.rows, window.rows), (grid.columns, window.columns)):
            # not add.at, which numpy 2.4 gives wrong sums for where values are broadcast over indices
            pixels = (axis.starts[:, None] + np.arange(axis.patch)).ravel()
            sums = np.bincount(pixels, np.tile(weights, axis.count), axis.padded)
            sides.append(sums[margin : margin + axis.length])
        return Cover(sides[0][:, None], sides[1][None])
    starts = (grid.origins() if origins is None else origins) + margin
    dense, full = np.zeros(grid.padded), window.full
    for first in range(0, len(starts), AT_ONCE):
        these = starts[first : first + AT_ONCE]
        fold_at(dense, np.broadcast_to(full, (len(these), *full.shape)), these)
    return Cover(dense[margin : margin + height, margin : margin + width], np.ones((1, 1), np.int64))


def cover_and_divisor(grid: Grid, rule: Rule, origins: NDArray[np.int64] | None = None) -> tuple[Cover, Cover | None]:
    """How many patches lie on each pixel, and by what their sums are divided."""
    cover = cover_of(grid, origins)
    return cover, rule.divisor(grid, origins, cover)
