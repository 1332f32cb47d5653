"""Merge by median, by mode, by the first or by the last patch: rules for which all values on a pixel, or their order, count.

`RankFold` works in bands of lines, each from the patches that touch it. Memory follows the image and the overlap: patches of
which no line is left are let go. `PaintFold` lays, of the patches of a whole grid, what is seen of the first or the last.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import limits
from patchcli.geometry.cover import Cover, cover_at
from patchcli.patches.extract import BLOCK_BYTES
from patchcli.patches.normalize import HALF, Divider
from patchcli.strided import item_dtype, items_of, row_windows, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Block
    from patchcli.geometry.placement import Placement

BAND_BYTES = 1 << 25  # of the values that are sorted at once
LEAST_TOGETHER = 1 << 13  # pixels that are worth a call of numpy
SORTED_BYTES = 1 << 9  # of a value, times the square of how many of them are sorted: up to here without `numpy.sort`


class Ranking(NamedTuple):
    """How a band of lines follows from the patches that touch it.

    Attributes:
        band: of patches ``(n, h, w[, C])`` at starts ``(n, 2)``, counted from the band, in row-major order, and of the shape
            ``(lines, W')`` of the band: what a divider takes, ``(lines, W'[, C])`` each. Pixels without a patch hold anything.
        halved: whether that is the sum of two middle values.
        holds_all: whether all values of a pixel are held at once, `BAND_BYTES` of them at most.
        numbers: int64 that are held for each value of the band beside all that.
        last: whether it is the value of the last patch, or of the first; None for what is made of several.
    """

    band: Callable[[NDArray[Any], NDArray[np.int64], Pair], list[NDArray[Any]]]
    halved: bool = False
    holds_all: bool = False
    numbers: int = 1
    last: bool | None = None

    def divisor(self, placement: Placement) -> Cover | None:
        """By what the bands are divided: 2 for sums of two middle values, else nothing."""
        height, width = placement.grid.image
        return Cover(np.full((height, 1), 2), np.ones((1, width), np.int64)) if self.halved else None


class RankFold:
    """The image of patches anywhere, by a rule for which all values on a pixel, or their order, count.

    Args:
        divider: makes the image; knows where the patches lie.
        ranking: how patches become a band. First and last are those in row-major order of origins, and of patches with the
            same origin in their own order.
    """

    def __init__(self, divider: Divider, ranking: Ranking) -> None:
        self._divider, self._ranking = divider, ranking
        self._placement = divider.placement

    def bands(self) -> Iterator[tuple[int, int, int, int]]:
        """``(top, stop, first, last)``: bands of lines and the patches, in row-major order of origins, that touch each.

        Where only some lines are made, bands of no others.
        """
        grid, height, width = self._placement.grid, *self._placement.grid.patch
        if self._placement.whole:
            rows, every = grid.rows.starts, grid.columns.count
            layers = _depth(rows, height) * _depth(grid.columns.starts, width)
        else:
            starts, every = self._placement.ordered, 1
            rows = np.ascontiguousarray(starts[:, 0])
            layers = _depth(np.unique(rows), height) * _depth_across(starts, width, grid.columns.padded)
        value = math.prod(self._divider.channels) * self._divider.dtype.itemsize
        room = BAND_BYTES if self._ranking.holds_all else BAND_BYTES // 4  # values of a few patches are not worth more
        lines = max(1, room // (layers * grid.columns.padded * value))
        for top in range(0, grid.rows.padded, lines):
            stop = min(top + lines, grid.rows.padded)
            if stop <= self._divider.padded_lines[0] or top >= self._divider.padded_lines[1]:
                continue
            first, last = np.searchsorted(rows, [top - height + 1, stop]) * every
            yield top, stop, int(first), int(last)

    def lines(self, pick: Callable[[NDArray[np.int64]], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Put all patches together; the lines of the image.

        Invariant: ``held`` are the patches ``begin`` to ``begin + len(held)``, in row-major order of origins; of those that no
        later band needs, the ones before ``first`` are let go.

        Args:
            pick: gives the patches of some numbers, ``(n, h, w[, C])``; each number is asked for once, in row-major order of
                origins, a band at a time.

        Raises:
            PatchcliError: values that are too large.
        """
        grid, dtype = self._placement.grid, self._divider.dtype
        held, begin = np.empty((0, *grid.patch, *self._divider.channels), dtype), 0
        for top, stop, first, last in self.bands():
            begin = begin if len(held) else first
            end = begin + len(held)
            held = held[first - begin :]
            if last > end:
                numbers = np.arange(max(first, end), last)
                new = pick(numbers if self._placement.order is None else self._placement.order[numbers])
                held = np.concatenate([held, new.astype(dtype, copy=False)])
            begin = first
            starts = self._placement.starts(first, last) if self._placement.whole else self._placement.ordered[first:last]
            band = self._ranking.band(held[: last - first], starts - (top, 0), (stop - top, grid.columns.padded))
            yield from self._divider.take(band, top)


class PaintFold:
    """The image of all patches of a grid, in order, by the first or by the last patch on each pixel.

    A line belongs to the last (first) patch row on it, and there a column to the last (first) patch. So a rectangle of each patch
    is seen, which is laid where it belongs, and lines are complete with their patch row.

    Args:
        divider: makes the image; its placement is a whole grid.
        last: whether the last patch counts, or the first.
    """

    def __init__(self, divider: Divider, *, last: bool) -> None:
        self._divider, self._grid, self._last = divider, divider.placement.grid, last
        self._channels = math.prod(divider.channels)

    def lines(self, patches: Iterable[tuple[Block, NDArray[Any]]]) -> Iterator[NDArray[Any]]:
        """Lay all patches of the grid, block by block; the lines of the image.

        Args:
            patches: the blocks of the grid, in order, each with its patches ``(block.count, h, w[, C])``.

        Raises:
            PatchcliError: values that are too large.
        """
        grid, channels, dtype = self._grid, self._channels, self._divider.dtype
        (height, width), across, line = grid.patch, grid.columns.padded, 0
        lines = np.empty((0, 0, 0), dtype)
        for block, pixels in patches:
            rows = pixels.reshape(block.rows.stop - block.rows.start, -1, height, width * channels)
            for part in _seen(grid.rows.starts, height, block.rows, last=self._last):
                if block.columns.start == 0:
                    lines = np.zeros((part.patches, part.step, across * channels), dtype)
                first = part.first - block.rows.start
                self._lay(lines, rows[first : first + part.patches, :, part.inside], block.columns)
                if block.columns.stop == grid.columns.count:
                    yield from self._divider.blank(line, part.begin)
                    line = part.begin + (part.patches - 1) * part.step + part.size
                    done = lines.reshape(-1, across, *self._divider.channels)[: line - part.begin]
                    yield from self._divider.take([done], part.begin)
        yield from self._divider.blank(line, grid.rows.padded)

    def _lay(self, lines: NDArray[Any], rows: NDArray[Any], columns: slice) -> None:
        """Lay patches ``(n, m, l, w*C)`` of some columns of the grid into the first ``l`` of lines ``(n, step, W'*C)``."""
        channels, pixel = self._channels, self._channels * lines.itemsize
        for part in _seen(self._grid.columns.starts, self._grid.patch[1], columns, last=self._last):
            some = slice(part.first - columns.start, part.first - columns.start + part.patches)
            seen = rows[:, some, :, part.inside.start * channels : part.inside.stop * channels]
            items = items_of(seen.astype(lines.dtype, copy=False))
            place: NDArray[Any] = np.ndarray(
                (len(rows), rows.shape[2], part.patches),
                items.dtype,
                lines,
                offset=part.begin * pixel,
                strides=(*lines.strides[:2], part.step * pixel),
            )
            place[...] = items.transpose(0, 2, 1)


class _Seen(NamedTuple):
    """What is seen of neighbours along an axis: of so many ``patches`` from ``first`` on, pixels ``inside``, ``step`` apart.

    The first of these pixels lies at ``begin`` of the padded axis.
    """

    first: int
    patches: int
    inside: slice
    begin: int
    step: int

    @property
    def size(self) -> int:
        """Pixels of each patch."""
        return int(self.inside.stop - self.inside.start)


def _seen(starts: NDArray[np.int64], size: int, these: slice, *, last: bool) -> Iterator[_Seen]:
    """What is seen of some patches of ``size`` along an axis, in order, where the last or the first on a pixel counts."""
    owned = _owned(starts, size, last=last)[these]
    hidden = 0 if last else size - owned
    begins = starts[these] + hidden
    for run in runs(begins):
        ends = np.flatnonzero(np.diff(owned[run.index])) + 1
        for some in np.split(np.arange(run.index.start, run.index.stop), ends):
            own = int(owned[some[0]])
            step = run.step if len(some) > 1 else own
            inside = slice(0, own) if last else slice(size - own, size)
            yield _Seen(these.start + int(some[0]), len(some), inside, int(begins[some[0]]), step)


def _owned(starts: NDArray[np.int64], size: int, *, last: bool) -> NDArray[np.int64]:
    """How many pixels of each patch no later (earlier) one lies on: up to where the next starts, or from where the last ends."""
    gaps = np.minimum(np.diff(starts), size)
    return np.append(gaps, size) if last else np.insert(gaps, 0, size)


def paint(patches: NDArray[Any], starts: NDArray[np.int64], shape: Pair, *, last: bool) -> list[NDArray[Any]]:
    """The value of the last, or first, patch on each pixel of a band, as `Ranking.band` has it.

    Rows of patches are painted in order, or in reverse order, so that the one that counts comes on top.
    """
    image = np.zeros((*shape, *patches.shape[3:]), patches.dtype)
    groups = _rows_of(starts)
    for row, members in groups if last else groups[::-1]:
        lines = slice(max(row, 0), min(row + patches.shape[1], shape[0]))
        part = patches[members, lines.start - row : lines.stop - row]
        _paint_row(image[lines], part, starts[members, 1], last=last)
    return [image]


def medians(patches: NDArray[Any], starts: NDArray[np.int64], shape: Pair) -> list[NDArray[Any]]:
    """The two middle values of each pixel (one of them twice where their number is odd), added up, as `Ranking.band` has it.

    Of ``n`` sorted values the middle ones are ``(n-1)//2`` and ``n//2``.
    """
    layers = _layers(patches, starts, shape)
    dtype, channels = layers.dtype, layers.shape[3:]
    lost = np.isnan(layers).any(axis=0) if dtype.kind == "f" else None
    _sort(layers)
    at = cover_at(starts, (patches.shape[1], patches.shape[2]), shape).reshape(1, *shape, *[1] * len(channels))
    middle = [np.take_along_axis(layers, np.maximum(index, 0), axis=0)[0] for index in ((at - 1) // 2, at // 2)]
    middle[1] = np.where(at[0] % 2, middle[0], middle[1])
    if lost is not None:
        middle[0][lost] = np.nan
        return [middle[0].astype(np.float64) + middle[1]]
    if dtype.itemsize * 8 > HALF:
        highs, lows = [one >> HALF for one in middle], [one & (2**HALF - 1) for one in middle]
        return [highs[0] + highs[1], lows[0] + lows[1]]
    return [middle[0].astype(np.int64) + middle[1]]


def modes(patches: NDArray[Any], starts: NDArray[np.int64], shape: Pair) -> list[NDArray[Any]]:
    """The most frequent value of each pixel, the smallest of several, as `Ranking.band` has it; for integers and bool.

    Invariant, going up the sorted values of a pixel: ``run`` of them up to here are equal, ``longest`` is the longest run so far
    and ``value`` what it is of. A later run of the same length, of a larger value, does not replace it.
    """
    layers = _layers(patches, starts, shape)
    _sort(layers)
    counting = np.min_scalar_type(len(layers))
    counts = cover_at(starts, (patches.shape[1], patches.shape[2]), shape).astype(counting)
    image = layers[0].copy()
    flat, values = layers.reshape(len(layers), -1), image.reshape(-1)
    count = np.repeat(counts.reshape(-1), math.prod(image.shape[2:]))
    for part in _parts(flat):
        value, most, fewest = values[part], count[part], int(count[part].min())
        run, longest = np.ones((2, len(value)), counting)
        for rank in range(1, len(flat)):
            run *= flat[rank, part] == flat[rank - 1, part]
            run += 1
            if rank >= fewest:  # else no pixel has fewer patches
                run *= most > rank
            np.copyto(value, flat[rank, part], where=run > longest)
            np.maximum(longest, run, out=longest)
    return [image]


def _layers(patches: NDArray[Any], starts: NDArray[np.int64], shape: Pair) -> NDArray[Any]:
    """All values on each pixel of a band, ``(layers, lines, W'[, C])``, in any order.

    Each patch goes into a layer on which nothing lies below it. If at most ``deep`` of the distinct start rows, sorted, lie
    on a line, then start rows ``deep`` apart in that order share no line; likewise patches of one start row, sorted by column,
    that are ``across`` apart share no column. So patch ``j`` of start row ``i`` is written to layer
    ``(i mod deep) * across + (j mod across)``. Pixels of a layer without a patch hold the largest value there is, and so end
    up behind all others when they are sorted.
    """
    dtype, (height, width), channels = patches.dtype, patches.shape[1:3], patches.shape[3:]
    blank = np.inf if dtype.kind == "f" else limits(dtype)[1]
    groups = _rows_of(starts)
    deep = _depth(np.array([row for row, _ in groups], np.int64), height)
    across = _depth_across(starts, width, shape[1])
    layers = np.full((deep * across, *shape, *channels), blank, dtype)
    for rank, (row, members) in enumerate(groups):
        lines = slice(max(row, 0), min(row + height, shape[0]))
        for group in range(min(across, len(members))):
            some = members[group::across]
            layer = layers[rank % deep * across + group, lines]
            _put(layer, patches[some, lines.start - row : lines.stop - row], starts[some, 1])
    return layers


def _sort(layers: NDArray[Any]) -> None:
    """Sort the values of each pixel, in place; few integers by comparing neighbours over and over, whole layers at a time.

    ``n`` rounds of comparing each even (odd) layer with the next sort ``n`` values. Each comparison is one pass over memory at
    its speed, which up to `SORTED_BYTES` costs a fraction of what `numpy.sort` takes for every pixel. (Not for floats: a
    minimum and a maximum may lose the sign of a zero.)
    """
    count = len(layers)
    if layers.dtype.kind == "f" or count * count * layers.itemsize > SORTED_BYTES:
        layers.sort(axis=0)
        return
    flat = layers.reshape(count, -1)
    for part in _parts(flat):
        values = flat[:, part]
        for turn in range(count):
            for rank in range(turn % 2, count - 1, 2):
                low, high = values[rank], values[rank + 1]
                least = np.minimum(low, high)
                np.maximum(low, high, out=high)
                low[...] = least


def _parts(layers: NDArray[Any]) -> Iterator[slice]:
    """The pixels of layers ``(n, pixels)`` in parts that stay in a core's cache, but for very many layers."""
    step = max(LEAST_TOGETHER, BLOCK_BYTES // (len(layers) * layers.itemsize))
    return (slice(first, first + step) for first in range(0, layers.shape[1], step))


FIRST, LAST = (Ranking(partial(paint, last=last), last=last) for last in (False, True))
MEDIAN, MODE = Ranking(medians, halved=True, holds_all=True, numbers=4), Ranking(modes, holds_all=True)


def _rows_of(starts: NDArray[np.int64]) -> list[tuple[int, NDArray[np.intp]]]:
    """The distinct start rows, in order, each with the patches that start there; ``starts`` are in row-major order."""
    rows, begins = np.unique(starts[:, 0], return_index=True)
    return list(zip(rows.tolist(), np.split(np.arange(len(starts)), begins)[1:], strict=True))


def _depth(starts: NDArray[np.int64], size: int) -> int:
    """Most of the intervals of ``size`` at sorted ``starts`` on one place, at least 1."""
    return int((np.searchsorted(starts, starts + size) - np.arange(len(starts))).max(initial=1))


def _depth_across(starts: NDArray[np.int64], width: int, length: int) -> int:
    """The same of patches in row-major order along rows of ``length`` pixels, those of each start row by themselves."""
    return _depth(starts[:, 0] * (length + width) + starts[:, 1], width)


def _put(lines: NDArray[Any], patches: NDArray[Any], columns: NDArray[np.int64]) -> None:
    """Write patches ``(n, l, w[, C])`` that don't overlap into lines ``(l, W[, C])`` of an image, at ``columns``."""
    width = patches.shape[2]
    source = np.ascontiguousarray(patches)
    items = np.ndarray(source.shape[:2], item_dtype(source[0, 0].nbytes), source)
    row_windows(lines, width)[:, columns] = items.T


def _paint_row(lines: NDArray[Any], patches: NDArray[Any], columns: NDArray[np.int64], *, last: bool) -> None:
    """Write patches ``(n, l, w[, C])`` of sorted ``columns`` into lines ``(l, W[, C])``; on overlaps the last or first wins.

    Each patch writes what no later (earlier) one does: up to where the next starts, or from where the one before ends. So no
    column is written twice, and patches that write equally many columns can be written together.
    """
    width = patches.shape[2]
    owned = _owned(columns, width, last=last)
    for size in np.unique(owned[owned > 0]).tolist():
        some = np.flatnonzero(owned == size)
        part = patches[some, :, :size] if last else patches[some, :, width - size :]
        _put(lines, part, columns[some] + (0 if last else width - size))
