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

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.across import Pass, fold_across, plan_passes
from patchcli.combine import ADD, Combine
from patchcli.down import fold_down
from patchcli.items import row_windows, runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.grid import Block, Grid
    from patchcli.windows import Window

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
