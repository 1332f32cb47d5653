"""Rebuild an image: add overlapping patches up.

Kernels: arrays in, arrays out. Two ways to add, chosen by what is known of the order of the patches:

- `RowFolder` takes whole patch rows of a grid in order, and adds long runs of memory. Down: row ``i`` of neighbouring patches,
  each one item, are laid side by side, and slices of ``stride`` such lines of all patch rows are added, one below the other.
  Across: patches ``k, k+n, k+2n, ...``, ``n = ceil(w/stride)``, do not overlap, so that their rows can be laid side by side into
  a strip as wide as the image; n strips are added. Down first where many patch rows lie on a line, as it leaves few sums to add
  across; otherwise across first, as it needs no second laying.
- `fold_at` takes patches anywhere, in any order, repeated or missing, in sets that don't overlap: the pixels below a set are
  gathered, added to, and scattered back, a patch row an item. It touches only the pixels it changes, at several times the
  cost a pixel.

Integers are added as integers wide enough to be exact, so no order can change a result. Floats are added in float64, a few
float32 first. Their order depends on the grid and its blocks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import sum_dtype
from patchcli.strided import items_of, row_windows, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Block, Grid
    from patchcli.patches.windows import Window


class Combine(NamedTuple):
    """How values that lie on one pixel become one.

    Attributes:
        ufunc: of two values; its order must not matter.
        blank: what changes no other value.
    """

    ufunc: np.ufunc
    blank: float

    def dtype(self, dtype: np.dtype[Any], terms: int) -> np.dtype[Any]:
        """What holds the result of ``terms`` values of ``dtype``."""
        return sum_dtype(dtype, terms) if self.ufunc is np.add else dtype


ADD = Combine(np.add, 0)


MOST_TOGETHER = 8  # values of float32 added up before they are widened


def fold_down(
    pixels: NDArray[Any], step: int, dtype: np.dtype[Any], combine: Combine, weights: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Add up patches that lie one below the other: ``(rows, m, h, width)`` to ``(1, lines, m, width)`` of ``dtype``.

    Row ``i`` of the patches of a patch row are laid side by side, each an item; they stay where they are in their patches
    and so need no shift. Slices of ``step`` such lines of all patch rows then lie one below the other.
    """
    rows, count, height, width = pixels.shape
    laid = _laid(pixels, weights)
    sums = np.full(((rows - 1) * step + height, count * width), combine.blank, dtype)
    if dtype == np.float64 and laid.dtype == np.float32:
        _add_in_pairs(sums, laid, step)
        if not np.isfinite(sums).all():  # a sum of float32 overflowed, perhaps
            sums.fill(0)
            _add_slices(sums, _laid(pixels, None if weights is None else weights.astype(dtype)), step, combine)
    else:
        _add_slices(sums, laid, step, combine)
    return sums.reshape(1, -1, count, width)


def _laid(pixels: NDArray[Any], weights: NDArray[Any] | None) -> NDArray[Any]:
    """Patches ``(rows, m, h, width)`` with their rows side by side, ``(rows, h, m * width)``, each times its weight."""
    rows, count, height, width = pixels.shape
    laid = np.empty((rows, height, count * width), pixels.dtype)
    items = items_of(pixels)
    laid.view(items.dtype)[...] = items.transpose(0, 2, 1)
    return laid if weights is None else np.multiply(laid, weights[:, None], dtype=weights.dtype)


def _add_slice(sums: NDArray[Any], part: NDArray[Any], line: int, step: int, combine: Combine = ADD) -> None:
    """Add ``part`` ``(rows, lines, n)`` to lines ``line + i*step + j`` of ``sums`` ``(L, n)``."""
    target: NDArray[Any] = np.ndarray(
        part.shape, sums.dtype, sums, offset=line * sums.strides[0], strides=(step * sums.strides[0], *sums.strides)
    )
    combine.ufunc(target, part, out=target)


def _add_slices(sums: NDArray[Any], laid: NDArray[Any], step: int, combine: Combine) -> None:
    """Add laid patch rows ``(rows, h, n)`` to ``sums`` ``(lines, n)``, a slice of ``step`` lines of all of them at a time."""
    for top in range(0, laid.shape[1], step):
        _add_slice(sums, laid[:, top : top + step], top, step, combine)


def _add_in_pairs(sums: NDArray[Any], laid: NDArray[Any], step: int) -> None:
    """Like `_add_slices`, but slices of float32 are added up by twos, fours and eights before they are widened.

    Widening is the slow step. Adding eight values costs three roundings, 2e-7 of their sum, and none where all are equal, as
    their number is a power of two: patches that were not changed give back their image bit for bit. Lines on which a
    slice has no partner are widened as they are. ``laid`` is overwritten.
    """
    rows, height, _ = laid.shape
    # Slice `top` holds line i*step + top for i from `low` on; all slices of a level start with the same i.
    low, apart = 0, 1
    slices = list(range(0, height // step * step, step))
    for top in range(height // step * step, height, step):
        _add_slice(sums, laid[:, top:], top, step)
    while len(slices) > 1 and apart < MOST_TOGETHER and rows - low > apart:
        paired = []
        for upper, lower in zip(slices[::2], slices[1::2], strict=False):
            above, below = laid[:, upper : upper + step], laid[:, lower : lower + step]
            _add_slice(sums, above[low : low + apart], upper + low * step, step)
            _add_slice(sums, below[rows - apart :], lower + (rows - apart) * step, step)
            np.add(above[low + apart :], below[low : rows - apart], out=above[low + apart :])
            paired.append(upper)
        if len(slices) % 2:
            odd = slices[-1]
            _add_slice(sums, laid[low:, odd : odd + step], odd + low * step, step)
        slices, low, apart = paired, low + apart, 2 * apart
    for top in slices:
        _add_slice(sums, laid[low:, top : top + step], top + low * step, step)


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
    """Split the patches of a row, at increasing ``starts``, into passes without overlap.

    Intervals of one length, sorted, that lie at most ``n`` deep on a point don't overlap when n apart in the list. A lone
    shifted patch at the end gets a pass of its own, so that it does not break the even steps of the others.
    """
    found = runs(starts)
    lone_end = len(found) == 2 and found[1].count == 1  # noqa: PLR2004
    parts = [run.index for run in found] if lone_end else [slice(0, len(starts))]
    passes = []
    for part in parts:
        own = starts[part]
        behind = np.searchsorted(own, own + width)  # for each patch, the first that no longer touches it
        depth = int((behind - np.arange(len(own))).max())
        for group in range(depth):
            columns = own[group::depth]
            steps = np.diff(columns)
            step = int(steps[0]) if len(steps) else width
            step = step if (steps == step).all() else 0
            passes.append(Pass(slice(part.start + group, part.stop, depth), columns, step, width))
    return passes


def fold_across(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine) -> NDArray[Any]:
    """Add up patches that lie side by side: ``(n, lines, m, width)`` to ``(n, lines, span)`` of ``dtype``.

    A pair of float32 is added up before it is widened, which is the slow step. That costs one rounding, 6e-8 of the pair's
    sum, and nothing where both values are equal or one is 0.
    """
    if pixels.dtype == dtype or pixels.dtype != np.float32:
        return _add_strips(pixels, passes, dtype, combine, 1)
    sums = _add_strips(pixels, passes, dtype, combine, 2)
    # A sum of two float32 overflowed, perhaps.
    return sums if np.isfinite(sums).all() else _add_strips(pixels, passes, dtype, combine, 1)


def _add_strips(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine, together: int) -> NDArray[Any]:
    """Do what `fold_across` does, ``together`` passes at a time; whole strips: one run of memory is faster than rows of it."""
    shape = *pixels.shape[:2], max(one.stop for one in passes)
    strips = [np.empty(shape, pixels.dtype) for _ in range(together)]
    sums: NDArray[Any] | None = None
    for group in _groups(passes, together):
        if len(group[0].columns) == 1:
            sums = np.full(shape, combine.blank, dtype) if sums is None else sums
            piece = sums[:, :, group[0].first : group[0].stop]
            combine.ufunc(piece, pixels[:, :, group[0].index.start], out=piece)
            continue
        for strip, one in zip(strips, group, strict=False):
            _lay(strip, pixels, one, combine.blank)
        if len(group) > 1:
            np.add(strips[0], strips[1], out=strips[0])
        if sums is None:
            sums = strips[0].astype(dtype)
        else:
            combine.ufunc(sums, strips[0], out=sums)
    return np.full(shape, combine.blank, dtype) if sums is None else sums


def _groups(passes: list[Pass], size: int) -> Iterator[list[Pass]]:
    """Passes ``size`` by ``size``, those of a single patch alone."""
    group: list[Pass] = []
    for one in passes:
        lone = len(one.columns) == 1
        if group and (lone or len(group) == size):
            yield group
            group = []
        if lone:
            yield [one]
        else:
            group.append(one)
    if group:
        yield group


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


LESS = 4.5  # times fewer lines than patches have rows: from there on patches are added up down first


class Lines(NamedTuple):
    """Sums of some lines of a padded image: ``sums[i, j]``, ``(n, lines, span)``, are those of line ``top + i*step + j``."""

    top: int
    step: int
    sums: NDArray[Any]


class RowFolder:
    """Adds up blocks of whole patch rows of a padded image.

    Args:
        grid: where the patches lie.
        channels: ``C``, 1 for patches without a channel axis; a patch row is then ``w*C`` neighbouring values.
        dtype: of the patches, native byte order.
        combine: what stands for adding.
        window: weights that the patches are multiplied by before they are added, the product of one for each row and one for
            each column; whole numbers. Sums are float64 then.
    """

    def __init__(
        self, grid: Grid, channels: int, dtype: np.dtype[Any], combine: Combine = ADD, window: Window | None = None
    ) -> None:
        self.grid, self.channels, self.dtype, self.combine = grid, channels, dtype, combine
        self._rows = None if window is None else window.rows
        self._columns = None if window is None else np.repeat(window.columns, channels)
        # Values of 8 bits times whole weights are exact in float32, eight of them added up too.
        self._product = np.dtype(np.float32 if dtype.itemsize == 1 or dtype == np.float32 else np.float64)
        self._passes: dict[tuple[int, int], list[Pass]] = {}

    def _plan(self, first: int, stop: int) -> list[Pass]:
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
        folded = []
        for run in runs(starts):
            pixels = rows[run.index]
            # Down first pays where it leaves few lines of sums; with weights always, as those of rows cost least there.
            lines = (run.count - 1) * run.step + height
            few = run.count * height >= LESS * lines if self._rows is None else run.step < height
            if run.count > 1 and few:
                folded.append(Lines(run.start, 1, self._fold_both(pixels, run.step, first, stop)))
            else:
                plan, across = self._plan(first, stop), pixels.transpose(0, 2, 1, 3)
                if self._rows is not None and self._columns is not None:
                    dtype = self.dtype if self.dtype.kind == "f" else np.dtype(np.float64)
                    across = across * np.multiply.outer(self._rows, self._columns).astype(dtype)[:, None]
                dtype = self.combine.dtype(across.dtype, len(plan))
                folded.append(Lines(run.start, run.step, fold_across(across, plan, dtype, self.combine)))
        return folded

    def _fold_both(self, pixels: NDArray[Any], step: int, first: int, stop: int) -> NDArray[Any]:
        """Overlapping patch rows ``(rows, stop - first, h, width)`` of patch columns ``first`` to ``stop``, added up."""
        deep, plan = -(-self.grid.patch[0] // step), self._plan(first, stop)
        if self._rows is None or self._columns is None:
            down = fold_down(pixels, step, self.combine.dtype(self.dtype, deep), self.combine)
            return fold_across(down, plan, self.combine.dtype(self.dtype, deep * len(plan)), self.combine)
        down = fold_down(pixels, step, np.dtype(np.float64), self.combine, self._rows.astype(self._product))
        lines = down.reshape(down.shape[1], -1)
        lines *= np.tile(self._columns, pixels.shape[1])
        return fold_across(down, plan, down.dtype, self.combine)


@np.errstate(over="ignore", invalid="ignore")
def add_lines(sums: NDArray[Any], folded: Lines, top_line: int, left: int, combine: Combine = ADD) -> None:
    """Add folded lines to ``sums``, C-contiguous ``(lines, W' * C)``, padded lines from ``top_line`` on, at value ``left``.

    Slices of ``step`` lines lie one below the other. The lowest slice goes first: then patch rows reach each line in
    increasing order, whichever parts they came in, and float sums are the same.
    """
    count, lines, _ = folded.sums.shape
    step = folded.step if count > 1 else lines
    line, size = sums.strides
    for top in range((lines - 1) // step * step, -1, -step):
        part = folded.sums[:, top : top + step]
        target: NDArray[Any] = np.ndarray(
            part.shape,
            sums.dtype,
            sums,
            offset=(folded.top + top - top_line) * line + left * size,
            strides=(step * line, line, size),
        )
        combine.ufunc(target, part, out=target)


@np.errstate(over="ignore", invalid="ignore")
def fold_at(sums: NDArray[Any], patches: NDArray[Any], starts: NDArray[np.int64], combine: Combine = ADD) -> None:
    """Add patches anywhere, in any order: ``patches[i]`` at ``(row, column)`` = ``starts[i]`` of ``sums``.

    Args:
        sums: C-contiguous ``(H, W[, C])``, changed in place.
        patches: ``(n, h, w[, C])``.
        starts: ``(n, 2)``, every patch inside ``sums``; starts may repeat.
        combine: what stands for adding.
    """
    height, width = patches.shape[1:3]
    # In a lattice of cells as large as a patch, patches of different cells with the same parities don't touch.
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
