"""Put patches together to an image, in any of the ways in which they come: patch rows in order, anywhere, pixel by pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.patches.overlap_add import Lines, RowFolder, add_lines, fold_at
from patchcli.patches.planes import fold_plane
from patchcli.patches.reducers import split
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Block
    from patchcli.patches.normalize import Divider, Merged
    from patchcli.patches.planes import Plane
    from patchcli.patches.reducers import Rule

CHUNK_PATCHES = 1 << 14  # patches folded at once where they lie anywhere; fixed, as the order of float sums depends on it
CHUNK_BYTES = 1 << 22  # and the bytes they may have


def chunk_patches(patch_bytes: int) -> int:
    """How many patches to hand to `ScatteredFold.add` at once."""
    return max(1, min(CHUNK_PATCHES, CHUNK_BYTES // patch_bytes))


class GridFold:
    """The image of all patches of a grid, in order.

    Lines are divided as soon as they are complete, while they are in cache: sums are held of no more lines than the last
    patch rows lie on.

    Args:
        divider: makes the image; its placement is a whole grid.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._divider, self._grid = divider, divider.placement.grid
        self._parts = rule.parts_of(divider.dtype)
        self._channels = math.prod(divider.channels)
        product = None if rule.window is None or rule.window.dense is not None else rule.window
        self._dense = None if rule.window is None or product is not None else rule.window.full[..., None]
        self._folders = [RowFolder(self._grid, self._channels, part, rule.combine(part), product) for part in self._parts]
        line = self._grid.columns.padded * self._channels
        self._sums = [np.empty((0, line), rule.sums_dtype(part, divider.placement.most)) for part in self._parts]
        self._top = 0  # the padded line that the sums start with

    def add_rows(self, patches: Iterable[tuple[Block, NDArray[Any]]], threads: int) -> Iterator[Block]:
        """Add all patches of the grid, block by block; each block is yielded when it is done.

        Args:
            patches: the blocks of the grid, in order, each with its patches ``(block.count, h, w[, C])``.
            threads: how many blocks are folded at once; it changes no bit of the result.
        """

        def fold(given: tuple[Block, NDArray[Any]]) -> tuple[Block, list[list[Lines]]]:
            block, pixels = given
            if self._dense is not None:
                pixels = (pixels if pixels.ndim > 3 else pixels[..., None]) * self._dense  # noqa: PLR2004
            parts = zip(self._folders, split(pixels, self._parts), strict=True)
            return block, [folder.fold(part, block) for folder, part in parts]

        for block, folded in map_in_order(fold, patches, threads):
            starts = self._grid.rows.starts[block.rows]
            self._move(int(starts[0]), int(starts[-1]) + self._grid.patch[0])
            left = int(self._grid.columns.starts[block.columns.start]) * self._channels
            for sums, folder, parts in zip(self._sums, self._folders, folded, strict=True):
                for lines in parts:
                    add_lines(sums, lines, self._top, left, folder.combine)
            yield block

    def _move(self, first: int, stop: int) -> None:
        """Divide the lines above ``first``, which no later patch lies on, and make room for those up to ``stop``.

        Invariant: ``sums[k]`` holds padded line ``top + k``, of which all patches of earlier blocks were added.
        """
        done = min(first - self._top, len(self._sums[0]))
        if done:
            self._divide(done)
        for which, (sums, folder) in enumerate(zip(self._sums, self._folders, strict=True)):
            kept = len(sums) - done
            if stop - first > len(sums):
                moved = np.empty((stop - first, sums.shape[1]), sums.dtype)
                moved[:kept], moved[kept:] = sums[done:], folder.combine.blank
                self._sums[which] = moved
            elif done:
                sums[:kept] = sums[done:]
                sums[kept:] = folder.combine.blank
        self._top = first

    def _divide(self, lines: int) -> None:
        shape = (lines, self._grid.columns.padded, *self._divider.channels)
        self._divider.take([part[:lines].reshape(shape) for part in self._sums], self._top)

    def finish(self) -> Merged:
        """The image, once all blocks were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divide(len(self._sums[0]))
        return self._divider.finish()


class _WholeFold:
    """Sums of a whole padded image, divided at the end.

    Args:
        divider: makes the image; knows where all patches that will come lie.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._divider, self._placement = divider, divider.placement
        grid, channels = self._placement.grid, divider.channels
        self._parts = rule.parts_of(divider.dtype)
        self._window = None if rule.window is None else rule.window.full.reshape(*grid.patch, *[1] * len(channels))
        self._combine = [rule.combine(part) for part in self._parts]
        self._sums = [
            np.full((*grid.padded, *channels), combine.blank, rule.sums_dtype(part, self._placement.most))
            for part, combine in zip(self._parts, self._combine, strict=True)
        ]

    def finish(self) -> Merged:
        """The image, once all patches were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divider.take(self._sums, 0)
        return self._divider.finish()


class ScatteredFold(_WholeFold):
    """The image of patches anywhere, in any order, some repeated or missing."""

    def add(self, patches: NDArray[Any], first: int) -> None:
        """Add the patches ``first`` to ``first + n`` of the placement, ``(n, h, w[, C])``."""
        starts = self._placement.starts(first, first + len(patches))
        for sums, part, combine in zip(self._sums, split(patches, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window
            fold_at(sums, values, starts, combine)


class PlaneFold(_WholeFold):
    """The image of patches that come as planes: one pixel of all patches at a time, as the layout ``columns`` has them."""

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def add(self, plane: Plane) -> None:
        """Add one pixel of some patches of the placement."""
        placement, (offset, pixels, first) = self._placement, plane
        for sums, part, combine in zip(self._sums, split(pixels, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window[offset[:2]]
            if placement.whole and len(values) == placement.count:
                fold_plane(sums, values, placement.grid, offset, combine.ufunc)
            else:
                shift = placement.grid.margin + np.array(offset[:2])
                rows, columns = (placement.origins(first, first + len(values)) + shift).T
                inside = sums[..., offset[2]] if len(offset) > 2 else sums  # noqa: PLR2004
                combine.ufunc.at(inside, (rows, columns), values)
