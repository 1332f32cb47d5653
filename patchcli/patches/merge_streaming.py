"""Put patches together to an image, in any of the ways in which they come: patch rows in order, anywhere, pixel by pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.patches.normalize import Divider, Wanted
from patchcli.patches.overlap_add import Lines, RowFolder, add_lines, fold_at
from patchcli.patches.planes import fold_plane
from patchcli.patches.reducers import Rule, cover_and_divisor, split
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.cover import Cover
    from patchcli.geometry.grid import Block, Grid

CHUNK_PATCHES = 1 << 14  # patches folded at once where they lie anywhere; fixed, as the order of float sums depends on it
CHUNK_BYTES = 1 << 22  # and the bytes they may have


class Merged(NamedTuple):
    """An image, its cover, and what is worth saying about it.

    Attributes:
        image: ``(H, W[, C])``.
        cover: how many patches lie on each pixel.
        divisor: by what the sums were divided: the cover, or how much of a window lies on each pixel; None for nothing.
        saturated: how many values were cut to fit its dtype.
        unit_like: smallest and largest of floats that became integers, where they look like fractions of a full range.
    """

    image: NDArray[Any]
    cover: Cover
    divisor: Cover | None
    saturated: int
    unit_like: tuple[float, float] | None

    @classmethod
    def by(cls, divider: Divider) -> Merged:
        """What a divider that took all lines has made."""
        return cls(divider.finish(), divider.cover, divider.divisor, divider.saturated, divider.unit_like)


def chunk_patches(patch_bytes: int) -> int:
    """How many patches to hand to `ScatteredFold.add` at once."""
    return max(1, min(CHUNK_PATCHES, CHUNK_BYTES // patch_bytes))


def _terms(grid: Grid) -> int:
    """Most patches of a grid on one pixel, margin and padding included."""
    return int(grid.rows.padded_cover.max() * grid.columns.padded_cover.max())


class GridFold:
    """The image of all patches of a grid, in order.

    Lines are divided as soon as they are complete, while they are in cache: sums are held of no more lines than the last
    patch rows lie on.

    Args:
        grid: where the patches lie.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``, the shape behind ``(N, h, w)``.
        wanted: the image asked for.
        rule: how values become one.

    Raises:
        PatchcliError: what `Divider` refuses.
    """

    def __init__(
        self,
        grid: Grid,
        dtype: np.dtype[Any],
        channels: tuple[int, ...],
        wanted: Wanted,
        rule: Rule = Rule(),  # noqa: B008
    ) -> None:
        self.grid, self.channels, self.rule = grid, channels, rule
        self._parts = rule.parts_of(dtype)
        self._divider = Divider(grid, *cover_and_divisor(grid, rule), dtype.newbyteorder("="), channels, wanted)
        width = math.prod(channels)
        product = None if rule.window is None or rule.window.dense is not None else rule.window
        self._dense = None if rule.window is None or product is not None else rule.window.full[..., None]
        self._folders = [RowFolder(grid, width, part, rule.combine(part), product) for part in self._parts]
        terms = _terms(grid)
        self._line = grid.columns.padded * width
        self._sums = [self._blank(0, part, rule.sums_dtype(part, terms)) for part in self._parts]
        self._top = 0  # the padded line that the sums start with

    def _blank(self, lines: int, part: np.dtype[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.full((lines, self._line), self.rule.combine(part).blank, dtype)

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
            starts = self.grid.rows.starts[block.rows]
            self._move(int(starts[0]), int(starts[-1]) + self.grid.patch[0])
            left = int(self.grid.columns.starts[block.columns.start]) * math.prod(self.channels)
            for sums, folder, parts in zip(self._sums, self._folders, folded, strict=True):
                for lines in parts:
                    add_lines(sums, lines, self._top, left, folder.combine)
            yield block

    def _move(self, first: int, stop: int) -> None:
        """Divide the lines above ``first``, which no later patch lies on, and make room for those up to ``stop``."""
        done = min(first - self._top, len(self._sums[0]))
        if done:
            self._divide(done)
        for which, sums in enumerate(self._sums):
            kept = len(sums) - done
            if stop - first > len(sums):
                moved = self._blank(stop - first, self._parts[which], sums.dtype)
                moved[:kept] = sums[done:]
                self._sums[which] = moved
            elif done:
                sums[:kept] = sums[done:]
                sums[kept:] = self.rule.combine(self._parts[which]).blank
        self._top = first

    def _divide(self, lines: int) -> None:
        shape = (lines, self.grid.columns.padded, *self.channels)
        self._divider.take([part[:lines].reshape(shape) for part in self._sums], self._top)

    def finish(self) -> Merged:
        """The image, once all blocks were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divide(len(self._sums[0]))
        return Merged.by(self._divider)


class _WholeFold:
    """Sums of a whole padded image, divided at the end.

    Args:
        grid: whose padded image the patches lie in.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``.
        wanted: the image asked for.
        origins: of all patches that will come, int64 ``(N, 2)``; None where they are those of the grid, in order.
        rule: how values become one.

    Raises:
        PatchcliError: what `Divider` refuses.
    """

    def __init__(
        self,
        grid: Grid,
        dtype: np.dtype[Any],
        channels: tuple[int, ...],
        wanted: Wanted,
        origins: NDArray[np.int64] | None = None,
        rule: Rule = Rule(),  # noqa: B008
    ) -> None:
        self.grid = grid
        self._parts = rule.parts_of(dtype)
        self._divider = Divider(grid, *cover_and_divisor(grid, rule, origins), dtype.newbyteorder("="), channels, wanted)
        self._window = None if rule.window is None else rule.window.full.reshape(*grid.patch, *[1] * len(channels))
        terms = _terms(grid) if origins is None else len(origins)
        self._combine = [rule.combine(part) for part in self._parts]
        self._sums = [
            np.full((*grid.padded, *channels), combine.blank, rule.sums_dtype(part, terms))
            for part, combine in zip(self._parts, self._combine, strict=True)
        ]

    def finish(self) -> Merged:
        """The image, once all patches were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divider.take(self._sums, 0)
        return Merged.by(self._divider)


class ScatteredFold(_WholeFold):
    """The image of patches anywhere, in any order, some repeated or missing."""

    def add(self, patches: NDArray[Any], origins: NDArray[np.int64]) -> None:
        """Add patches ``(n, h, w[, C])`` at ``origins`` ``(n, 2)``, which lie inside the grid's padded image."""
        for sums, part, combine in zip(self._sums, split(patches, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window
            fold_at(sums, values, origins + self.grid.margin, combine)


class PlaneFold(_WholeFold):
    """The image of patches that come as planes: one pixel of all patches at a time, as the layout ``columns`` has them."""

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def add(self, plane: NDArray[Any], offset: tuple[int, ...], origins: NDArray[np.int64] | None = None) -> None:
        """Add the pixel at ``offset`` (row, column[, channel]) of all patches, or of those at ``origins``, ``(n,)``."""
        for sums, part, combine in zip(self._sums, split(plane, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window[offset[:2]]
            if origins is None:
                fold_plane(sums, values, self.grid, offset, combine.ufunc)
            else:
                rows, columns = (origins + (self.grid.margin + np.array(offset[:2]))).T
                inside = sums[..., offset[2]] if len(offset) > 2 else sums  # noqa: PLR2004
                combine.ufunc.at(inside, (rows, columns), values)
