"""Overlap-add: the sum of overlapping patches on each pixel, ``sums[y, x] = sum over k of patches[k, y - row_k, x - column_k]``.

Instead of adding, the least or largest value can be kept: any ufunc of two values whose order does not matter. Numpy adds at the
speed of memory only along runs of it, and a patch row is a short one. There are two ways out, by what is known of the patches:

- `RowFolder` takes whole patch rows of a grid in order, and adds long runs. `fold_down` adds patches that lie one below the
  other: patch rows are laid side by side first. `fold_across` adds patches that lie side by side: those that don't overlap are
  laid into a strip as wide as the image first. Down first leaves few sums to add across where many patch rows lie on a line;
  otherwise across alone needs no second laying.
- `fold_at` takes patches anywhere, in any order, repeated or missing, in sets that don't overlap. It touches only the pixels it
  changes, at several times the cost a pixel.

In every call of a ufunc here each sum is written at most once, as numpy demands where results are written in place.

Integers are added in integers wide enough to be exact, so that no order changes a result. Floats are added in float64, a few
float32 first (`_add_in_pairs`); their order depends on the grid and its blocks alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import sum_dtype
from patchcli.strided import items_of, row_windows, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Block, Grid
    from patchcli.patches.windows import Window

MOST_TOGETHER = 8  # values of float32 added up before they are widened
LAID = 1 << 20  # values that are laid at once before they are weighted
WEIGHTED = 1 << 16  # values that are weighted at once: products stay in a core's cache
WIDENED = 1 << 11  # and that numpy widens at once: with its own 8192 they leave the fastest cache
LESS = 7  # times fewer lines than patches have rows: from there on patches are added up down first,
LESS_OF_BYTES = 6  # and those of bytes, which take less time to be laid out, from there on


class Combine(NamedTuple):
    """How values that lie on one pixel become one.

    Attributes:
        ufunc: accumulates: add, minimum or maximum; any that is associative and commutative.
        blank: its identity element.
        dtype: what holds the result of so many values of a dtype; the dtype itself where none of them grows.
    """

    ufunc: np.ufunc
    blank: float
    dtype: Callable[[np.dtype[Any], int], np.dtype[Any]] = lambda dtype, _terms: dtype


ADD = Combine(np.add, 0, sum_dtype)


class Lines(NamedTuple):
    """Sums of some lines of a padded image: ``sums[i, j]``, ``(n, lines, span)``, are those of line ``top + i*step + j``.

    They begin ``left`` values behind the first patch column of the block.
    """

    top: int
    step: int
    sums: NDArray[Any]
    left: int = 0


class RowFolder:
    """Adds up blocks of whole patch rows of a padded image.

    Args:
        grid: where the patches lie.
        channels: ``C``, 1 for patches without a channel axis; a patch row is then ``w*C`` neighbouring values.
        dtype: of the patches, native byte order.
        combine: what stands for adding.
        window: weights that the patches are multiplied by before they are added, the product of one for each row and one for
            each column; whole numbers.
    """

    def __init__(
        self, grid: Grid, channels: int, dtype: np.dtype[Any], combine: Combine = ADD, window: Window | None = None
    ) -> None:
        self.grid, self.channels, self.dtype, self.combine = grid, channels, dtype, combine
        self._weights = None if window is None else (window.rows, np.repeat(window.columns, channels))
        self._passes: dict[tuple[int, int], list[Pass]] = {}

    def plan(self, first: int, stop: int) -> list[Pass]:
        """The passes over patch columns ``first`` to ``stop``, planned once."""
        if (first, stop) not in self._passes:
            starts = self.grid.columns.starts[first:stop]
            self._passes[first, stop] = plan_passes((starts - starts[0]) * self.channels, self.grid.patch[1] * self.channels)
        return self._passes[first, stop]

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def fold(self, patches: NDArray[Any], block: Block) -> list[Lines]:
        """Add up the patches of a block, C-contiguous ``(block.count, h, w[, C])``, to lines as wide as its patch columns."""
        height, width = self.grid.patch
        starts = self.grid.rows.starts[block.rows]
        rows = patches.reshape(len(starts), -1, height, width * self.channels)
        first, stop = block.columns.start, block.columns.stop
        least = LESS_OF_BYTES if self.dtype.itemsize == 1 else LESS
        folded = []
        for run in runs(starts):
            pixels, plan, step = rows[run.index], self.plan(first, stop), run.step if run.count > 1 else height
            if self._weights is not None and (step < height or self.dtype.kind != "f"):
                # A lone patch at the end lies on others that overlap already: apart from it, their sums may fit 32 bits.
                many = self.dtype.itemsize == 1 and pixels.size >= LAID
                lone_end = many and len(plan) > 1 and plan[-1].index.step == 1
                buffer = np.setbufsize(WIDENED)
                try:
                    for passes in (plan[:-1], plan[-1:]) if lone_end else (plan,):
                        sums = fold_weighted(pixels, step, *self._weights, passes)
                        folded.append(Lines(run.start, 1, sums, passes[0].first))
                finally:
                    np.setbufsize(buffer)
            elif run.count * height >= least * ((run.count - 1) * step + height):  # down first leaves few lines of sums
                deep = -(-height // step)
                down = fold_down(pixels, step, self.combine.dtype(self.dtype, deep), self.combine)
                dtype = self.combine.dtype(self.dtype, deep * len(plan))
                folded.append(Lines(run.start, 1, fold_across(down, plan, dtype, self.combine)))
            else:
                across = pixels.transpose(0, 2, 1, 3)
                if self._weights is not None:
                    across = across * np.multiply.outer(*self._weights).astype(self.dtype)[:, None]
                dtype = self.combine.dtype(self.dtype, len(plan))
                folded.append(Lines(run.start, run.step, fold_across(across, plan, dtype, self.combine)))
        return folded


@np.errstate(over="ignore", invalid="ignore")
def add_lines(sums: NDArray[Any], folded: Lines, top_line: int, left: int, combine: Combine = ADD) -> None:
    """Add folded lines to ``sums``, C-contiguous ``(lines, W' * C)``, padded lines from ``top_line`` on, at value ``left``.

    The lowest slice of ``step`` lines goes first: then patch rows reach each line in increasing order, whichever parts they came
    in, and float sums are the same. (Line ``y`` is line ``j`` of patch row ``i = (y - j) / step``: larger ``j``, earlier ``i``.)
    """
    count, lines, _ = folded.sums.shape
    step = folded.step if count > 1 else lines
    for top in range((lines - 1) // step * step, -1, -step):
        _add_slice(sums, folded.sums[:, top : top + step], folded.top + top - top_line, step, combine, left + folded.left)


def _add_slice(sums: NDArray[Any], part: NDArray[Any], line: int, step: int, combine: Combine = ADD, left: int = 0) -> None:
    """``sums[line + k*step + j, left + x] += part[k, j, x]``; as ``part`` has at most ``step`` lines, no sum is written twice."""
    pitch, size = sums.strides
    target: NDArray[Any] = np.ndarray(
        part.shape, sums.dtype, sums, offset=line * pitch + left * size, strides=(step * pitch, pitch, size)
    )
    combine.ufunc(target, part, out=target)


# -- down ---------------------------------------------------------------------------------------------------------------------


def fold_down(pixels: NDArray[Any], step: int, dtype: np.dtype[Any], combine: Combine) -> NDArray[Any]:
    """Add up patches that lie one below the other: ``(rows, m, h, width)`` to ``(1, lines, m, width)`` of ``dtype``.

    ``laid[k, r, j*width + c] = pixels[k, j, r, c]``, each row of a patch an item, then ``sums[k*step + r] += laid[k, r]``.
    Patches stay where they are among their neighbours and so need no shift along the line. Lines ``r`` of a slice
    ``t <= r < t + step`` of all patch rows ``k`` are distinct lines ``k*step + r``, and are added by one call.

    Args:
        pixels: patch rows, ``step`` lines apart.
        step: from one patch row to the next.
        dtype: of the sums.
        combine: what stands for adding.
    """
    rows, count, height, width = pixels.shape
    laid = _laid(pixels, [slice(None)])
    sums = np.full(((rows - 1) * step + height, count * width), combine.blank, dtype)
    if combine is ADD and dtype == np.float64 and laid.dtype == np.float32:
        _add_in_pairs(sums, laid, step)
        if not np.isfinite(sums).all():  # a sum of float32 overflowed, perhaps
            sums.fill(0)
            _add_slices(sums, _laid(pixels, [slice(None)]), step, combine)
    else:
        _add_slices(sums, laid, step, combine)
    return sums.reshape(1, -1, count, width)


def _laid(pixels: NDArray[Any], indices: list[slice]) -> NDArray[Any]:
    """Patches ``(rows, m, h, width)`` with their rows side by side, ``(rows, h, n * width)``, in the order of indices."""
    parts = [items_of(pixels)[:, index].transpose(0, 2, 1) for index in indices]
    (rows, _, height, width), ends = pixels.shape, [*itertools.accumulate(part.shape[2] for part in parts)]
    laid = np.empty((rows, height, ends[-1] * width), pixels.dtype)
    places = laid.view(parts[0].dtype)
    for part, end in zip(parts, ends, strict=True):
        places[:, :, end - part.shape[2] : end] = part
    return laid


def _add_slices(sums: NDArray[Any], laid: NDArray[Any], step: int, combine: Combine) -> None:
    """``sums[k*step + r] += laid[k, r]``, a slice of ``step`` lines ``r`` of all patch rows ``k`` at a time."""
    for top in range(0, laid.shape[1], step):
        _add_slice(sums, laid[:, top : top + step], top, step, combine)


def _add_in_pairs(sums: NDArray[Any], laid: NDArray[Any], step: int) -> None:
    """Like `_add_slices`, but slices of float32 are added up by twos, fours and eights before they are widened.

    Widening is the slow step. Adding eight values costs three roundings, 2e-7 of their sum, and none where all are equal, as
    their number is a power of two: patches that were not changed give back their image bit for bit.

    Lemma: ``laid[k, t + j]`` and ``laid[k - a, t + a*step + j]`` lie on the same line, ``k*step + t + j``. So slices ``a*step``
    apart can be added up in ``laid`` itself, shifted by ``a`` patch rows. Invariant, for ``a = 1, 2, 4``: a slice ``t`` in
    ``slices`` holds, for ``k >= a - 1``, the sum of the ``a`` slices ``t, t + step, ...`` on that line; every other value was
    widened into ``sums``. What has no partner is widened as it is: the first ``a`` rows ``k`` of the upper slice, the last ``a``
    of the lower, a last slice of an odd number, and the lines below the last whole slice. ``laid`` is overwritten.
    """
    rows, height, _ = laid.shape
    apart, whole = 1, height // step * step
    slices = list(range(0, whole, step))
    if whole < height:
        _add_slice(sums, laid[:, whole:], whole, step)
    while len(slices) > 1 and apart < MOST_TOGETHER and rows + 1 > 2 * apart:
        low = apart - 1
        for upper, lower in zip(slices[::2], slices[1::2], strict=False):
            above, below = laid[:, upper : upper + step], laid[:, lower : lower + step]
            _add_slice(sums, above[low : low + apart], upper + low * step, step)
            _add_slice(sums, below[rows - apart :], lower + (rows - apart) * step, step)
            np.add(above[low + apart :], below[low : rows - apart], out=above[low + apart :])
        if len(slices) % 2:
            odd = slices.pop()
            _add_slice(sums, laid[low:, odd : odd + step], odd + low * step, step)
        slices, apart = slices[::2], 2 * apart
    for top in slices:
        _add_slice(sums, laid[apart - 1 :, top : top + step], top + (apart - 1) * step, step)


# -- across -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pass:
    """Patches ``index`` of a patch row, which don't overlap, and their first columns, ``step`` apart (0: irregular)."""

    index: slice
    columns: NDArray[np.int64]
    step: int
    width: int

    @property
    def first(self) -> int:
        """First column that a patch lies on."""
        return int(self.columns[0])

    @property
    def stop(self) -> int:
        """First column behind all patches."""
        return int(self.columns[-1]) + self.width


def plan_passes(starts: NDArray[np.int64], width: int) -> list[Pass]:
    """Split the patches of a row, at increasing ``starts``, into passes without overlap; those of a single patch come last.

    Lemma: if at most ``n`` of the intervals ``[start, start + width)`` lie on any point, those ``n`` apart in the list don't
    overlap. For if ``starts[i + n] < starts[i] + width``, all of ``i`` to ``i + n`` lie on point ``starts[i + n]``, which is
    ``n + 1`` of them. So pass ``g`` takes ``g, g + n, g + 2n, ...``; for a stride ``s`` that is ``n = ceil(width / s)``. A lone
    shifted patch at the end gets a pass of its own, so that it does not break the even steps of the others.
    """
    found = runs(starts)
    regular = len(found) == 1 or (len(found) == 2 and found[1].count == 1)  # noqa: PLR2004
    parts = [(run.index, run.step) for run in found] if regular else [(slice(0, len(starts)), 0)]
    passes = []
    for part, apart in parts:
        own = starts[part]
        behind = np.searchsorted(own, own + width)  # for each patch, the first that no longer touches it
        depth = int((behind - np.arange(len(own))).max())
        for group in range(depth):
            columns = own[group::depth]
            step = (apart * depth or _even_step(columns)) if len(columns) > 1 else width
            passes.append(Pass(slice(part.start + group, part.stop, depth), columns, step, width))
    return passes


def _even_step(columns: NDArray[np.int64]) -> int:
    """How far apart columns are; 0 where that is not the same for all."""
    steps = np.diff(columns)
    return int(steps[0]) if (steps == steps[0]).all() else 0


def fold_across(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine) -> NDArray[Any]:
    """Add up patches that lie side by side: ``(n, lines, m, width)`` to ``(n, lines, span)`` of ``dtype``.

    ``strip[i, y, columns[k] + c] = pixels[i, y, index[k], c]`` for the patches ``k`` of a pass, blank elsewhere, then
    ``sums += strip``: whole strips, as one run of memory is faster than rows of it.

    A pair of strips of float32 is added up before it is widened, which is the slow step. That costs one rounding, 6e-8 of the
    pair's sum, and nothing where both values are equal or one is 0.
    """
    if combine is not ADD or pixels.dtype == dtype or pixels.dtype != np.float32:
        return _add_strips(pixels, passes, dtype, combine, 1)
    sums = _add_strips(pixels, passes, dtype, combine, 2)
    # A sum of two float32 overflowed, perhaps.
    return sums if np.isfinite(sums).all() else _add_strips(pixels, passes, dtype, combine, 1)


def _add_strips(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine, together: int) -> NDArray[Any]:
    """Do what `fold_across` does, ``together`` passes at a time; a single patch is added where it lies, without a strip."""
    shape = *pixels.shape[:2], max(one.stop for one in passes)
    strips = [np.empty(shape, pixels.dtype) for _ in range(together)]
    several = [one for one in passes if len(one.columns) > 1]
    sums: NDArray[Any] | None = None
    for first in range(0, len(several), together):
        group = several[first : first + together]
        for strip, one in zip(strips, group, strict=False):
            _lay(strip, pixels, one, combine.blank)
        if len(group) > 1:
            np.add(strips[0], strips[1], out=strips[0])
        if sums is None:
            sums = strips[0].astype(dtype)
        else:
            combine.ufunc(sums, strips[0], out=sums)
    sums = np.full(shape, combine.blank, dtype) if sums is None else sums
    for one in passes[len(several) :]:
        piece = sums[:, :, one.first : one.stop]
        combine.ufunc(piece, pixels[:, :, one.index.start], out=piece)
    return sums


def _lay(strip: NDArray[Any], pixels: NDArray[Any], one: Pass, blank: float) -> None:
    """Lay the patches of a pass side by side, each row an item; ``pixels`` are ``(n, lines, m, width)``."""
    width = pixels.shape[-1]
    if one.step == width:
        strip[:, :, : one.first] = blank
        strip[:, :, one.stop :] = blank
    else:
        strip.fill(blank)
    items = items_of(pixels)
    windows: NDArray[Any] = np.ndarray(
        (*strip.shape[:2], strip.shape[2] - width + 1), items.dtype, strip, strides=(*strip.strides[:2], strip.itemsize)
    )
    windows[:, :, slice(one.first, one.stop - width + 1, one.step) if one.step else one.columns] = items[:, :, one.index]


# -- under a window -----------------------------------------------------------------------------------------------------------


def fold_weighted(
    pixels: NDArray[Any], step: int, row_weights: NDArray[np.float64], column_weights: NDArray[np.float64], passes: list[Pass]
) -> NDArray[Any]:
    """Add up patches of ``(rows, m, h, width)`` times their weights, to ``(1, lines, span)`` from the first of them on.

    A row weight is the same along a laid line, so that it is applied before adding down; a column weight is the same down a
    column of a patch, so that it is applied after, to far fewer values. Few values are weighted at a time, and added while they
    are in a core's cache.

    Args:
        pixels: patch rows.
        step: from one of them to the next; ``h`` for a single one.
        row_weights: whole numbers ``(h,)``.
        column_weights: whole numbers ``(width,)``.
        passes: over the patches that are added up.
    """
    down, left = _weighted_down(pixels, step, row_weights, passes), passes[0].first
    most = _most(row_weights, step)
    dtype = _weighted_dtype(pixels.dtype, most * int(column_weights.max()))
    if dtype.kind != "f":  # one patch alone fits
        dtype = _weighted_dtype(pixels.dtype, most * _most(column_weights, _apart(passes)))
    sums = np.zeros((len(down), max(one.stop for one in passes) - left), dtype)
    widest, width = max(len(one.columns) for one in passes), pixels.shape[3]
    weights, some = np.tile(column_weights.astype(dtype), widest), max(1, WEIGHTED // (widest * width))
    product = np.empty((min(some, len(down)), widest * width), dtype)
    for top in range(0, len(down), some):
        lines, last = down[top : top + some], 0
        for one in passes:
            first, last = last, last + len(one.columns) * width
            own = np.multiply(lines[:, first:last], weights[: last - first], out=product[: len(lines), : last - first])
            if one.step != width:  # there are gaps between its patches
                only = replace(one, index=slice(None), columns=one.columns - one.first)
                own = fold_across(own.reshape(1, len(lines), -1, width), [only], dtype, ADD)[0]
            place = sums[top : top + some, one.first - left : one.stop - left]
            np.add(place, own, out=place)
    return sums[None]


def _weighted_down(pixels: NDArray[Any], step: int, weights: NDArray[np.float64], passes: list[Pass]) -> NDArray[Any]:
    """Like `fold_down`, rows of patches times their weights: to ``(lines, n * width)``, the patches of a pass side by side."""
    (rows, _, height, width), indices = pixels.shape, [one.index for one in passes]
    span = sum(len(one.columns) for one in passes) * width
    sums = np.zeros(((rows - 1) * step + height, span), _weighted_dtype(pixels.dtype, _most(weights, step)))
    if pixels.dtype == np.float32:
        laid = _laid(pixels, indices)
        laid *= weights[:, None].astype(laid.dtype)
        _add_in_pairs(sums, laid, step)
        if np.isfinite(sums).all():
            return sums
        sums.fill(0)  # a sum of float32 overflowed, perhaps
    own, together, some = weights[:, None].astype(sums.dtype), max(1, LAID // (height * span)), max(1, WEIGHTED // span)
    product = np.empty((min(some, height), span), sums.dtype)
    for first in range(0, rows, together):
        for row, laid in enumerate(_laid(pixels[first : first + together], indices), first):
            for top in range(0, height, some):
                part = laid[top : top + some]
                place = sums[row * step + top :][: len(part)]
                np.add(place, np.multiply(part, own[top : top + some], out=product[: len(part)]), out=place)
    return sums


def _apart(passes: list[Pass]) -> int:
    """How far apart neighbouring patches of some passes are, all of them; else 1."""
    steps = np.diff(np.sort(np.concatenate([one.columns for one in passes])))
    if not len(steps):
        return passes[0].width
    return int(steps[0]) if (steps == steps[0]).all() else 1


def _most(weights: NDArray[np.float64], step: int) -> int:
    """Most weight that lies on a line, of patches that start ``step`` apart; more than that if it is less."""
    return int(np.bincount(np.arange(len(weights)) % step, weights).max())


def _weighted_dtype(dtype: np.dtype[Any], most: int) -> np.dtype[Any]:
    """What holds sums of values times weights, ``most`` together: integers of 32 bits are twice as fast as float64."""
    exact = sum_dtype(dtype, most)
    return exact if exact.itemsize < 8 else np.dtype(np.float64)  # noqa: PLR2004


# -- anywhere -----------------------------------------------------------------------------------------------------------------


@np.errstate(over="ignore", invalid="ignore")
def fold_at(sums: NDArray[Any], patches: NDArray[Any], starts: NDArray[np.int64], combine: Combine = ADD) -> None:
    """Add patches anywhere, in any order: ``sums[row + r, column + c] += patches[k, r, c]`` for ``row, column = starts[k]``.

    Pixels below a set of patches that don't overlap are gathered, added to, and scattered back, a patch row an item.

    Lemma: in a lattice of cells as large as a patch, cells ``floor(row / h), floor(column / w)``, patches that start in different
    cells of the same two parities are at least a patch apart on an axis, and don't overlap. So a set takes one patch of every
    second cell, the ``rank``-th that starts in it: its number is ``4 * rank + 2 * (row parity) + (column parity)``.

    Args:
        sums: C-contiguous ``(H, W[, C])``, changed in place.
        patches: ``(n, h, w[, C])``.
        starts: ``(n, 2)``, every patch inside ``sums``; starts may repeat.
        combine: what stands for adding.
    """
    height, width = patches.shape[1:3]
    row, column = starts[:, 0] // height, starts[:, 1] // width
    cell = row * (sums.shape[1] // width + 1) + column
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    rank = np.empty_like(cell)
    rank[order] = np.arange(len(cell)) - np.searchsorted(ordered, ordered)
    group = rank * 4 + (row & 1) * 2 + (column & 1)
    order = np.argsort(group, kind="stable")
    windows = row_windows(sums, width)
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        lines, columns = starts[members, :1] + np.arange(height), starts[members, 1:]
        below = windows[lines, columns]
        pixels: NDArray[Any] = np.ndarray((len(members), *patches.shape[1:]), sums.dtype, below)
        combine.ufunc(pixels, patches[members], out=pixels)
        windows[lines, columns] = below
