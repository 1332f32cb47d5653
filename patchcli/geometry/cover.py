"""How many patches lie on each pixel, without a second array of patches, and of no more lines at once than are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

NOTHING_LEFT = "no pixel is covered by a patch, so that trimming would leave nothing; use --fill without --trim"
COUNTS_TOGETHER = 1 << 20  # pixels, or areas between edges of boxes, that are counted at once


@dataclass(frozen=True, eq=False)
class Cover:
    """How many patches lie on each pixel: ``rows * columns``, ``(H, 1)`` and ``(1, W)`` or ``(H, W)`` and ``(1, 1)``."""

    rows: NDArray[Any]
    columns: NDArray[Any]

    @property
    def shape(self) -> Pair:
        """``(H, W)``."""
        return self.rows.shape[0], max(self.rows.shape[1], self.columns.shape[1])

    @property
    def uncovered(self) -> int:
        """Number of pixels that no patch covers."""
        return math.prod(self.shape) - int(np.count_nonzero(self.rows)) * int(np.count_nonzero(self.columns))

    @property
    def most(self) -> int:
        """Most patches, or weight, on one pixel."""
        return math.ceil(float(self.rows.max() * self.columns.max()))

    def band(self, these: slice) -> Cover:
        """The cover of some lines."""
        return Cover(self.rows[these], self.columns)

    def lines(self, these: slice) -> NDArray[Any]:
        """Some lines of the product, ``(n, W)``: int64 for patches, float64 for weights."""
        product: NDArray[Any] = self.rows[these] * self.columns
        return product

    def divisors(self, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """The product as floats, 1 for 0, to divide by."""
        counts: NDArray[Any] = self.rows.astype(dtype, copy=False) * self.columns.astype(dtype, copy=False)
        if self.uncovered:
            counts[counts == 0] = 1
        return counts

    def crop(self, rows: slice, columns: slice) -> Cover:
        """The cover of a box."""
        return Cover(self.rows[rows], self.columns[:, columns])

    def box(self) -> tuple[slice, slice]:
        """The smallest box that holds every covered pixel.

        Raises:
            PatchcliError: there is none.
        """
        spans = np.flatnonzero(self.rows), np.flatnonzero(self.columns)
        if not all(map(len, spans)):
            raise PatchcliError(NOTHING_LEFT)
        rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        return rows, columns


@dataclass(frozen=True, eq=False)
class BoxCover:
    """How many boxes of one size, anywhere, lie on each pixel: counted anew for whatever lines are asked for.

    Attributes:
        tops: first line of each box, int64 ``(n,)``, sorted; boxes may reach beyond the pixels.
        lefts: first column of each.
        size: ``(h, w)`` of a box.
        shape: ``(H, W)``.
    """

    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    size: Pair
    shape: Pair

    def _between(self, top: int, stop: int) -> slice:
        """The boxes that touch the lines ``top`` to ``stop``."""
        first, last = np.searchsorted(self.tops, [top - self.size[0] + 1, stop])
        return slice(int(first), int(last))

    def band(self, these: slice) -> Cover:
        """The cover of some lines, as numbers."""
        boxes = self._between(these.start, these.stop)
        starts = np.stack([self.tops[boxes] - these.start, self.lefts[boxes]], axis=1)
        counts = cover_at(starts, self.size, (these.stop - these.start, self.shape[1]))
        return Cover(counts, np.ones((1, 1), np.int64))

    def lines(self, these: slice) -> NDArray[np.int64]:
        """Some lines, ``(n, W)``."""
        return self.band(these).rows

    @cached_property
    def _counted(self) -> tuple[int, int]:
        """``(pixels without a box, most boxes on a pixel)``.

        Between the edges of all boxes, taken along each axis for itself, nothing changes: one number counts for all pixels there.
        """
        (height, width), (lines, across) = self.shape, self.size
        ys, xs = _edges(self.tops, lines, height), _edges(self.lefts, across, width)
        step, uncovered, most = max(1, COUNTS_TOGETHER // len(xs)), 0, 0
        for first in range(0, len(ys) - 1, step):
            own = ys[first : first + step + 1]
            boxes = self._between(int(own[0]), int(own[-1]))
            sides = ((self.tops[boxes], lines, own), (self.lefts[boxes], across, xs))
            places = [np.searchsorted(at, np.clip(side + more, at[0], at[-1])) for side, size, at in sides for more in (0, size)]
            counts = _running(places, (len(own) - 1, len(xs) - 1))
            uncovered += int(np.diff(own) @ ((counts == 0) @ np.diff(xs)))
            most = max(most, int(counts.max()))
        return uncovered, most

    @property
    def uncovered(self) -> int:
        """Number of pixels that no box covers."""
        return self._counted[0]

    @property
    def most(self) -> int:
        """Most boxes on one pixel."""
        return self._counted[1]

    def crop(self, rows: slice, columns: slice) -> BoxCover:
        """The cover of a box."""
        shape = rows.stop - rows.start, columns.stop - columns.start
        return BoxCover(self.tops - rows.start, self.lefts - columns.start, self.size, shape)

    def box(self) -> tuple[slice, slice]:
        """As `Cover.box`."""
        sides = tuple(zip((self.tops, self.lefts), self.size, self.shape, strict=True))
        inside = np.logical_and.reduce([(side < length) & (side > -size) for side, size, length in sides])
        if not inside.any():
            raise PatchcliError(NOTHING_LEFT)
        spans = [(side[inside], size, length) for side, size, length in sides]
        rows, columns = (slice(max(0, int(own.min())), min(int(own.max()) + size, length)) for own, size, length in spans)
        return rows, columns


class LineCover:
    """What lies on each pixel where it is added up from the top to the bottom, beside what is divided by it.

    Args:
        made: its lines, ``(n, W)`` each.
        top: the first of them.
    """

    def __init__(self, made: Iterator[NDArray[Any]], top: int = 0) -> None:
        self._made, self._top, self._held = made, top, np.empty((0, 0))

    def band(self, these: slice) -> Cover:
        """Some lines, none of which lies above those that were asked for before."""
        parts, line = [], these.start
        while line < these.stop:
            below = self._top + len(self._held)
            if line >= below:
                self._top, self._held = below, next(self._made)
                continue
            parts.append(self._held[line - self._top : these.stop - self._top])
            line += len(parts[-1])
        return Cover(parts[0] if len(parts) == 1 else np.concatenate(parts), np.ones((1, 1)))


def cover_at(starts: NDArray[np.int64], size: Pair, shape: Pair) -> NDArray[np.int64]:
    """How many boxes of ``size`` ``(h, w)`` at ``starts`` ``(n, 2)`` lie on each pixel of ``shape``, int64 ``(H, W)``.

    Boxes may reach beyond the pixels.
    """
    places = [np.clip(starts[:, axis] + more, 0, shape[axis]) for axis in (0, 1) for more in (0, size[axis])]
    return _running(places, shape)


def _edges(starts: NDArray[np.int64], size: int, length: int) -> NDArray[np.int64]:
    """Where along ``length`` pixels boxes begin or end, and both ends, sorted."""
    ends = np.array([0, length])
    return np.unique(np.concatenate([ends, np.clip(starts, 0, length), np.clip(starts + size, 0, length)]))


def _running(places: list[NDArray[np.int64]], shape: Pair) -> NDArray[np.int64]:
    """How many boxes lie on each place of ``shape``, from their tops, bottoms, lefts and rights, which lie in or just behind it.

    A box is the sum over its quadrant of +1 at its first corner and (h, w) behind it, -1 at the two others, so that the cover is
    the running sum along both axes of these four points for each box.
    """
    tops, bottoms, lefts, rights = places
    change = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    for rows, columns, step in ((tops, lefts, 1), (tops, rights, -1), (bottoms, lefts, -1), (bottoms, rights, 1)):
        np.add.at(change.reshape(-1), rows * change.shape[1] + columns, step)
    np.cumsum(change, axis=0, out=change)
    return np.cumsum(change, axis=1, out=change)[:-1, :-1]
