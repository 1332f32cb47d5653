"""The rules by which values that lie on one pixel become one: all that is known of them is their entry in `REDUCERS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import limits
from patchcli.errors import PatchcliError
from patchcli.geometry.cover import Cover
from patchcli.patches.merge_ranked import FIRST, LAST, MEDIAN, MODE, Ranking
from patchcli.patches.normalize import HALF
from patchcli.patches.overlap_add import ADD, Combine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.geometry.cover import BoxCover
    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement
    from patchcli.patches.windows import Window


class Reducer(NamedTuple):
    """A rule by which values that lie on one pixel become one.

    Attributes:
        how: how two values of a dtype become one, where their order does not matter, so that patches can be streamed; else a
            `Ranking`.
        weighted: whether sums are divided by the number of patches on the pixel, or by how much of a window lies on it; no
            other reducer takes a window.
        keeps_range: whether values from 0 to 1 give one from 0 to 1.
        mixes: whether values may give one that is none of them.
        counts: whether equal values are counted, which floats hardly ever are: it takes integers and bool alone.
    """

    how: Callable[[np.dtype[Any]], Combine] | Ranking
    weighted: bool = False
    keeps_range: bool = True
    mixes: bool = False
    counts: bool = False


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the largest value of a dtype."""
    return (-np.inf, np.inf) if dtype.kind == "f" else limits(dtype)


REDUCERS = {
    "mean": Reducer(lambda _: ADD, weighted=True, mixes=True),
    "sum": Reducer(lambda _: ADD, keeps_range=False, mixes=True),
    "min": Reducer(lambda dtype: Combine(np.minimum, _range(dtype)[1])),
    "max": Reducer(lambda dtype: Combine(np.maximum, _range(dtype)[0])),
    "median": Reducer(MEDIAN, mixes=True),
    "mode": Reducer(MODE, counts=True),
    "first": Reducer(FIRST),
    "last": Reducer(LAST),
}


def check_values(reduce: str, dtype: np.dtype[Any]) -> None:
    """Refuse patches of a dtype whose values a reducer does not count.

    Raises:
        PatchcliError: floats, for a reducer that counts.
    """
    if REDUCERS[reduce].counts and dtype.kind == "f":
        raise PatchcliError(
            f"patches are {dtype}, and {reduce} is for integers; give class numbers, as argmax makes them of scores"
        )


class Rule(NamedTuple):
    """How streamed patches are put together.

    Attributes:
        combine: how two values of a dtype become one.
        weighted: as a `Reducer` has it.
        window: weights, for a weighted one; None for equal ones.
    """

    combine: Callable[[np.dtype[Any]], Combine]
    weighted: bool = False
    window: Window | None = None

    def parts_of(self, dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
        """The dtypes in which patches are put together: mostly their own, high and low half for sums of 64-bit integers."""
        halves = dtype.kind in "iu" and dtype.itemsize * 8 > HALF
        if self.window is not None and (self.window.dense is not None or halves):
            return [np.dtype(np.float64)]
        if dtype == np.float16:
            return [np.dtype(np.float32)]
        if halves and self.combine(dtype).ufunc is np.add:
            return [np.dtype(f"{dtype.kind}4"), np.dtype("u4")]
        return [dtype.newbyteorder("=")]

    def sums_dtype(self, part: np.dtype[Any], terms: int) -> np.dtype[Any]:
        """What holds ``terms`` values of a part put together."""
        return np.dtype(np.float64) if self.window is not None else self.combine(part).dtype(part, terms)

    def divisor(self, placement: Placement) -> Cover | BoxCover | None:
        """By what the sums of all patches are divided, without a window or with one that is a product, over a whole grid."""
        if not self.weighted:
            return None
        return placement.cover if self.window is None else product_cover(placement.grid, self.window)


def rule_of(reducer: Reducer, window: Window | None = None) -> Rule | Ranking:
    """How patches are put together by a reducer, and by a window where it is weighted."""
    return reducer.how if isinstance(reducer.how, Ranking) else Rule(reducer.how, reducer.weighted, window)


def split(patches: NDArray[Any], parts: list[np.dtype[Any]]) -> list[NDArray[Any]]:
    """Patches as the parts that are put together; halves are ``high * 2**32 + low``."""
    if len(parts) == 1:
        return [np.ascontiguousarray(patches, parts[0])]
    patches = np.ascontiguousarray(patches, patches.dtype.newbyteorder("="))
    high, low = parts
    return [(patches >> HALF).astype(high), (patches & (2**HALF - 1)).astype(low)]


def product_cover(grid: Grid, window: Window) -> Cover:
    """How much of a window that is a product, ``rows[i] * columns[j]``, lies on each image pixel of a whole grid.

    That is a product again, of what lies on each line, ``sum of rows[y - start] over all row starts``, and on each column.
    """
    sides = []
    for axis, weights in ((grid.rows, window.rows), (grid.columns, window.columns)):
        # not add.at, which numpy 2.4 gives wrong sums for where values are broadcast over indices
        pixels = (axis.starts[:, None] + np.arange(axis.patch)).ravel()
        sums = np.bincount(pixels, np.tile(weights, axis.count), axis.padded)
        sides.append(sums[axis.margin : axis.margin + axis.length])
    return Cover(sides[0][:, None], sides[1][None])
