"""Merge by median, by the first or by the last patch: rules for which all values on a pixel, or their order, count.

Works in bands of lines, each from the patches that touch it. Memory follows the image and the overlap: patches of which
no line is left are let go.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import limits
from patchcli.geometry.cover import Cover, cover_of
from patchcli.patches.merge_streaming import Merged
from patchcli.patches.normalize import HALF, Divider, Wanted
from patchcli.strided import item_dtype, row_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid

RANKED = ("median", "first", "last")
BAND_BYTES = 1 << 25  # of the values that are sorted at once


class RankFold:
    """The image of patches anywhere, by a rule of `RANKED`.

    Args:
        grid: whose padded image the patches lie in.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``.
        wanted: the image asked for.
        origins: of the patches, int64 ``(N, 2)``; None for all those of the grid, in order.
        reduce: ``median``; ``first`` or ``last``: the patch whose origin comes first or last in row-major order, and of patches
            with the same origin the one that comes first or last among them.

    Raises:
        PatchcliError: what `Divider` refuses.
    """

    def __init__(
        self,
        grid: Grid,
        dtype: np.dtype[Any],
        channels: tuple[int, ...],
        wanted: Wanted,
        origins: NDArray[np.int64] | None,
        reduce: str,
    ) -> None:
        self.grid, self.dtype, self.channels, self.reduce = grid, dtype.newbyteorder("="), channels, reduce
        # In row-major order of origins, and which number each patch has; None for a grid, where it is its own.
        self._order = None if origins is None else np.lexsort((origins[:, 1], origins[:, 0]))  # stable
        self._starts = None if origins is None or self._order is None else origins[self._order] + grid.margin
        cover = cover_of(grid, origins)
        halves = Cover(np.full((grid.image[0], 1), 2), np.ones((1, grid.image[1]), np.int64))
        self._divider = Divider(grid, cover, halves if reduce == "median" else None, self.dtype, channels, wanted)

    def bands(self) -> Iterator[tuple[int, int, int, int]]:
        """``(top, stop, first, last)``: bands of lines and the patches, in row-major order of origins, that touch each."""
        height, width = self.grid.patch
        starts, count = self._starts, self.grid.columns.count
        if starts is None:
            rows, every = self.grid.rows.starts, count
            layers = _depth(rows, height) * _depth(self.grid.columns.starts, width)
        else:
            rows, every = starts[:, 0], 1
            layers = _depth(np.unique(rows), height) * _depth(rows * (self.grid.columns.padded + width) + starts[:, 1], width)
        lines = max(1, BAND_BYTES // (layers * self.grid.columns.padded * math.prod(self.channels) * self.dtype.itemsize))
        for top in range(0, self.grid.rows.padded, lines):
            stop = min(top + lines, self.grid.rows.padded)
            first, last = np.searchsorted(rows, [top - height + 1, stop]) * every
            yield top, stop, int(first), int(last)

    def fold(self, feed: Callable[[NDArray[np.int64]], NDArray[Any]]) -> Merged:
        """Put all patches together.

        Args:
            feed: gives the patches of some numbers, ``(n, h, w[, C])``; each number is asked for once, in row-major order of
                origins, a band at a time.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        held, begin = np.empty((0, *self.grid.patch, *self.channels), self.dtype), 0
        for top, stop, first, last in self.bands():
            end = begin + len(held)
            held = held[first - begin :]
            if last > end:
                numbers = np.arange(max(first, end), last)
                new = feed(numbers if self._order is None else self._order[numbers])
                held = np.concatenate([held, new.astype(self.dtype, copy=False)])
            begin = first
            starts = self.grid.origins(first, last) + self.grid.margin if self._starts is None else self._starts[first:last]
            self._divider.take(self._band(held[: last - first], starts, top, stop), top)
        return Merged.by(self._divider)

    def _band(self, patches: NDArray[Any], starts: NDArray[np.int64], top: int, stop: int) -> list[NDArray[Any]]:
        """Lines ``top`` to ``stop`` as the sums that the divider takes."""
        if self.reduce == "median":
            return self._medians(patches, starts, top, stop)
        image = np.zeros((stop - top, self.grid.columns.padded, *self.channels), self.dtype)
        rows, begins = np.unique(starts[:, 0], return_index=True)
        groups = list(zip(rows.tolist(), np.split(np.arange(len(starts)), begins[1:]), strict=True)) if len(starts) else []
        for row, members in groups if self.reduce == "last" else groups[::-1]:
            lines = slice(max(row, top), min(row + self.grid.patch[0], stop))
            part = patches[members, lines.start - row : lines.stop - row]
            _paint(image[lines.start - top : lines.stop - top], part, starts[members, 1], last=self.reduce == "last")
        return [image]

    def _medians(self, patches: NDArray[Any], starts: NDArray[np.int64], top: int, stop: int) -> list[NDArray[Any]]:
        """The two middle values of each pixel (one of them twice where their number is odd), added up.

        Each patch goes into a layer on which nothing lies below it; pixels of a layer without a patch hold the largest value
        there is, and so end up behind all others.
        """
        blank = np.inf if self.dtype.kind == "f" else limits(self.dtype)[1]
        height, width = self.grid.patch
        rows, begins = np.unique(starts[:, 0], return_index=True)
        groups = np.split(np.arange(len(starts)), begins[1:]) if len(starts) else []
        deep = _depth(rows, height)
        across = _depth(starts[:, 0] * (self.grid.columns.padded + width) + starts[:, 1], width) if len(starts) else 0
        layers = np.full((deep * across, stop - top, self.grid.columns.padded, *self.channels), blank, self.dtype)
        count = np.zeros((stop - top, self.grid.columns.padded), np.int64)
        for rank, (row, members) in enumerate(zip(rows.tolist(), groups, strict=True)):
            lines = slice(max(row, top), min(row + height, stop))
            into = slice(lines.start - top, lines.stop - top)
            for group in range(min(across, len(members))):
                some = members[group::across]
                columns = starts[some, 1]
                layer = layers[rank % deep * across + group, into]
                _put(layer, patches[some, lines.start - row : lines.stop - row], columns)
                change = np.zeros(self.grid.columns.padded + 1, np.int64)
                np.add.at(change, columns, 1)
                np.add.at(change, columns + width, -1)
                count[into] += np.cumsum(change[:-1])
        if not len(layers):
            layers = np.zeros((1, *layers.shape[1:]), self.dtype)
        lost = np.isnan(layers).any(axis=0) if self.dtype.kind == "f" else None
        layers.sort(axis=0)
        at = count.reshape(1, *count.shape, *[1] * len(self.channels))
        middle = [np.take_along_axis(layers, np.maximum(index, 0), axis=0)[0] for index in ((at - 1) // 2, at // 2)]
        # Where there is no patch at all, both are 0 or the blank; the pixel is filled later.
        middle[1] = np.where(at[0] % 2, middle[0], middle[1])
        if lost is not None:
            middle[0][lost] = np.nan
            return [middle[0].astype(np.float64) + middle[1]]
        if self.dtype.itemsize * 8 > HALF:
            highs, lows = [one >> HALF for one in middle], [one & (2**HALF - 1) for one in middle]
            return [highs[0] + highs[1], lows[0] + lows[1]]
        return [middle[0].astype(np.int64) + middle[1]]


def _depth(starts: NDArray[np.int64], size: int) -> int:
    """Most of the intervals of ``size`` at sorted ``starts`` on one place."""
    return int((np.searchsorted(starts, starts + size) - np.arange(len(starts))).max()) if len(starts) else 1


def _put(lines: NDArray[Any], patches: NDArray[Any], columns: NDArray[np.int64]) -> None:
    """Write patches ``(n, l, w[, C])`` that don't overlap into lines ``(l, W[, C])`` of an image, at ``columns``."""
    width = patches.shape[2]
    source = np.ascontiguousarray(patches)
    items = np.ndarray(source.shape[:2], item_dtype(source[0, 0].nbytes), source)
    row_windows(lines, width)[:, columns] = items.T


def _paint(lines: NDArray[Any], patches: NDArray[Any], columns: NDArray[np.int64], *, last: bool) -> None:
    """Write patches ``(n, l, w[, C])`` of sorted ``columns`` into lines ``(l, W[, C])``; on overlaps the last or first wins.

    Each patch writes what no later (earlier) one does: up to where the next starts, or from where the one before ends.
    """
    width = patches.shape[2]
    gaps = np.minimum(np.diff(columns), width)
    owned = np.append(gaps, width) if last else np.insert(gaps, 0, width)
    for size in np.unique(owned[owned > 0]).tolist():
        some = np.flatnonzero(owned == size)
        part = patches[some, :, :size] if last else patches[some, :, width - size :]
        _put(lines, part, columns[some] + (0 if last else width - size))
