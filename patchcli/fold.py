"""Rebuild an image: add overlapping patches up.

Kernels: arrays in, arrays out. Two ways to add, chosen by what is known of the order of the patches:

- `RowFolder` takes whole patch rows of a grid in order. Patches ``k, k+n, k+2n, ...`` of a row, ``n = ceil(w/stride)``, do not
  overlap, so that their rows, each one item, can be laid side by side into a strip as wide as the image, which is added in
  one long vector operation; n such passes make the patch row, and patch rows are then added to the image, again in long
  pieces.
- `fold_at` takes patches anywhere, in any order, repeated or missing, in sets that don't overlap: the pixels below a set are
  gathered, added to, and scattered back, a patch row an item. It touches only the pixels it changes, at several times the
  cost a pixel.

Integers are added as integers wide enough to be exact, so no order can change a result. Floats are added in float64, pairs of
float32 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.dtypes import sum_dtype
from patchcli.patches import row_windows, runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.grid import Block, Grid


@dataclass(frozen=True)
class _Pass:
    """Patches ``index`` of a patch row, which don't overlap, and their first columns, ``step`` apart (0: irregular)."""

    index: slice
    columns: NDArray[np.int64]
    step: int


def _plan_passes(starts: NDArray[np.int64], width: int) -> list[_Pass]:
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
            passes.append(_Pass(slice(part.start + group, part.stop, depth), columns, step))
    return passes


class RowFolder:
    """Adds blocks of whole patch rows, in order, to the sums of a padded image.

    Args:
        grid: where the patches lie.
        channels: ``C``, 1 for patches without a channel axis; a patch row is then ``w*C`` neighbouring values.
        dtype: of the patches, native byte order.
    """

    def __init__(self, grid: Grid, channels: int, dtype: np.dtype[Any]) -> None:
        self.grid, self.channels, self.dtype = grid, channels, dtype
        self.width = grid.patch[1] * channels
        self._passes: dict[tuple[int, int], list[_Pass]] = {}

    def _plan(self, columns: slice) -> list[_Pass]:
        """The passes over patch columns ``columns``, planned once."""
        key = columns.start, columns.stop
        if key not in self._passes:
            starts = self.grid.columns.starts[columns]
            self._passes[key] = _plan_passes((starts - starts[0]) * self.channels, self.width)
        return self._passes[key]

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def fold_columns(self, patches: NDArray[Any], block: Block) -> NDArray[Any]:
        """Patches C-contiguous ``(block.count, h, w[, C])`` to strips ``(rows, h, span)``: patch rows, overlaps added up."""
        starts = self.grid.columns.starts[block.columns]
        span = int(starts[-1] - starts[0]) * self.channels + self.width
        rows, height = block.rows.stop - block.rows.start, self.grid.patch[0]
        pixels = patches.reshape(rows, len(starts), height, self.width)
        passes = self._plan(block.columns)
        sums = np.zeros((rows, height, span), sum_dtype(self.dtype, len(passes)))
        strips = [np.empty(sums.shape, self.dtype) for _ in range(2 if self.dtype == np.float32 else 1)]
        laid = 0
        for one in passes:
            if len(one.columns) == 1:
                first = int(one.columns[0])
                piece = sums[:, :, first : first + self.width]
                np.add(piece, pixels[:, one.index.start], out=piece)
                continue
            _lay(strips[laid], pixels, one)
            laid += 1
            if laid == len(strips):
                _add(sums, strips)
                laid = 0
        if laid:
            _add(sums, strips[:laid])
        return sums

    @np.errstate(over="ignore", invalid="ignore")
    def fold_rows(self, sums: NDArray[Any], strips: NDArray[Any], block: Block, top_line: int) -> None:
        """Add strips ``(rows, h, span)`` to ``sums``, C-contiguous ``(lines, W' * C)``, padded lines from ``top_line`` on.

        Slices of ``stride`` lines of neighbouring patch rows lie one below the other. The lowest slice goes first: then
        the patch rows reach each line in increasing order, whichever blocks they came in, and float sums are the same.
        """
        _, height, span = strips.shape
        left = int(self.grid.columns.starts[block.columns.start]) * self.channels
        line, size = sums.strides
        for run in runs(self.grid.rows.starts[block.rows] - top_line):
            step = run.step if run.count > 1 else height
            for top in range((height - 1) // step * step, -1, -step):
                part = strips[run.index, top : top + step]
                target: NDArray[Any] = np.ndarray(
                    (run.count, part.shape[1], span),
                    sums.dtype,
                    sums,
                    offset=(run.start + top) * line + left * size,
                    strides=(step * line, line, size),
                )
                np.add(target, part, out=target)


def _add(sums: NDArray[Any], strips: list[NDArray[Any]]) -> None:
    """Add one strip or a pair of them to sums of the same shape, all of it: one run of memory is faster than rows of it.

    A pair of float32 is added up before it is widened, which is the slow step. That costs one rounding, 6e-8 of the pair's
    sum, and nothing where both values are equal or one is 0: patches that were not changed still give back their image.
    """
    if len(strips) > 1:
        np.add(strips[0], strips[1], out=strips[0])
    np.add(sums, strips[0], out=sums)


def _lay(strip: NDArray[Any], pixels: NDArray[Any], one: _Pass) -> None:
    """Lay the patches of a pass side by side, each row an item, and 0 between them; ``pixels`` are ``(rows, m, h, width)``."""
    width = pixels.shape[-1]
    first, last = int(one.columns[0]), int(one.columns[-1]) + width
    if one.step == width:
        strip[:, :, :first] = 0
        strip[:, :, last:] = 0
    else:
        strip.fill(0)
    items = pixels.view(f"V{width * pixels.itemsize}")[..., 0].transpose(0, 2, 1)
    windows: NDArray[np.void] = np.ndarray(
        (*strip.shape[:2], strip.shape[2] - width + 1), items.dtype, strip, strides=(*strip.strides[:2], strip.itemsize)
    )
    windows[:, :, slice(first, last - width + 1, one.step) if one.step else one.columns] = items[:, :, one.index]


@np.errstate(over="ignore", invalid="ignore")
def fold_at(sums: NDArray[Any], patches: NDArray[Any], starts: NDArray[np.int64]) -> None:
    """Add patches anywhere, in any order: ``patches[i]`` at ``(row, column)`` = ``starts[i]`` of ``sums``.

    Args:
        sums: C-contiguous ``(H, W[, C])``, changed in place.
        patches: ``(n, h, w[, C])``.
        starts: ``(n, 2)``, every patch inside ``sums``; starts may repeat.
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
        pixels += patches[members]
        windows[lines, columns] = below
