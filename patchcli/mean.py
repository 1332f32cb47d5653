"""Merge by mean: fold patches, divide by how many lie on a pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.cover import Cover, cover_of
from patchcli.divide import HALF, Divider, Wanted
from patchcli.dtypes import sum_dtype
from patchcli.fold import Lines, RowFolder, add_lines, fold_at
from patchcli.layouts import fold_plane
from patchcli.parallel import map_in_order, usable_threads
from patchcli.patches import blocks, check_grid, check_origins, check_stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from patchcli.grid import Block, Grid

CHUNK_PATCHES = 1 << 14  # patches folded at once where they lie anywhere; fixed, as the order of float sums depends on it
CHUNK_BYTES = 1 << 22  # and the bytes they may have


class Merged(NamedTuple):
    """An image, its cover, and how many values were cut to fit its dtype."""

    image: NDArray[Any]
    cover: Cover
    saturated: int


def chunk_patches(patch_bytes: int) -> int:
    """How many patches to hand to `ScatteredMeanFold.add` at once."""
    return max(1, min(CHUNK_PATCHES, CHUNK_BYTES // patch_bytes))


def _parts_of(dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
    """The dtypes in which patches are added: their own, float32 for float16, high and low half for 64-bit integers."""
    if dtype == np.float16:
        return [np.dtype(np.float32)]
    if dtype.kind in "iu" and dtype.itemsize * 8 > HALF:
        return [np.dtype(f"{dtype.kind}4"), np.dtype("u4")]
    return [dtype.newbyteorder("=")]


def _split(patches: NDArray[Any], parts: list[np.dtype[Any]]) -> list[NDArray[Any]]:
    """Patches as the parts that are added; halves are ``high * 2**32 + low``."""
    if len(parts) == 1:
        return [np.ascontiguousarray(patches, parts[0])]
    patches = np.ascontiguousarray(patches, patches.dtype.newbyteorder("="))
    high, low = parts
    return [(patches >> HALF).astype(high), (patches & (2**HALF - 1)).astype(low)]


def _terms(grid: Grid) -> int:
    """Most patches of a grid on one pixel, margin and padding included."""
    return int(grid.rows.padded_cover().max() * grid.columns.padded_cover().max())


class MeanFold:
    """The image of all patches of a grid, in order.

    Lines are divided as soon as they are complete, while they are in cache: sums are held of no more lines than the last
    patch rows lie on.

    Args:
        grid: where the patches lie.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``, the shape behind ``(N, h, w)``.
        wanted: the image asked for.

    Raises:
        PatchcliError: what `Divider` refuses.
    """

    def __init__(self, grid: Grid, dtype: np.dtype[Any], channels: tuple[int, ...], wanted: Wanted) -> None:
        self.grid, self.channels = grid, channels
        self._parts = _parts_of(dtype)
        self._divider = Divider(grid, cover_of(grid), dtype.newbyteorder("="), channels, wanted)
        width = math.prod(channels)
        self._folders = [RowFolder(grid, width, part) for part in self._parts]
        terms = _terms(grid)
        self._line = grid.columns.padded * width
        self._sums = [np.zeros((0, self._line), sum_dtype(part, terms)) for part in self._parts]
        self._top = 0  # the padded line that the sums start with

    def add_rows(self, patches: Iterable[tuple[Block, NDArray[Any]]], threads: int) -> Iterator[Block]:
        """Add all patches of the grid, block by block; each block is yielded when it is done.

        Args:
            patches: the blocks of the grid, in order, each with its patches ``(block.count, h, w[, C])``.
            threads: how many blocks are folded at once; it changes no bit of the result.
        """

        def fold(given: tuple[Block, NDArray[Any]]) -> tuple[Block, list[list[Lines]]]:
            block, pixels = given
            parts = zip(self._folders, _split(pixels, self._parts), strict=True)
            return block, [folder.fold(part, block) for folder, part in parts]

        for block, folded in map_in_order(fold, patches, threads):
            starts = self.grid.rows.starts[block.rows]
            self._move(int(starts[0]), int(starts[-1]) + self.grid.patch[0])
            left = int(self.grid.columns.starts[block.columns.start]) * math.prod(self.channels)
            for sums, parts in zip(self._sums, folded, strict=True):
                for lines in parts:
                    add_lines(sums, lines, self._top, left)
            yield block

    def _move(self, first: int, stop: int) -> None:
        """Divide the lines above ``first``, which no later patch lies on, and make room for those up to ``stop``."""
        done = min(first - self._top, len(self._sums[0]))
        if done:
            self._divide(done)
        for which, sums in enumerate(self._sums):
            kept = len(sums) - done
            if stop - first > len(sums):
                moved = np.zeros((stop - first, self._line), sums.dtype)
                moved[:kept] = sums[done:]
                self._sums[which] = moved
            elif done:
                sums[:kept] = sums[done:]
                sums[kept:] = 0
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
        return Merged(self._divider.finish(), self._divider.cover, self._divider.saturated)


class ScatteredMeanFold:
    """The image of patches anywhere, in any order, some repeated or missing.

    Args:
        grid: whose padded image the patches lie in.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``.
        wanted: the image asked for.
        origins: of all patches that will come, int64 ``(N, 2)``.

    Raises:
        PatchcliError: what `Divider` refuses.
    """

    def __init__(
        self, grid: Grid, dtype: np.dtype[Any], channels: tuple[int, ...], wanted: Wanted, origins: NDArray[np.int64]
    ) -> None:
        self.grid = grid
        self._parts = _parts_of(dtype)
        self._divider = Divider(grid, cover_of(grid, origins), dtype.newbyteorder("="), channels, wanted)
        self._sums = [np.zeros((*grid.padded, *channels), sum_dtype(part, len(origins))) for part in self._parts]

    def add(self, patches: NDArray[Any], origins: NDArray[np.int64]) -> None:
        """Add patches ``(n, h, w[, C])`` at ``origins`` ``(n, 2)``, which lie inside the grid's padded image."""
        for sums, part in zip(self._sums, _split(patches, self._parts), strict=True):
            fold_at(sums, part, origins + self.grid.margin)

    def finish(self) -> Merged:
        """The image, once all patches were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divider.take(self._sums, 0)
        return Merged(self._divider.finish(), self._divider.cover, self._divider.saturated)


class PlaneMeanFold:
    """The image of patches that come as planes: one pixel of all patches at a time, as the layout ``columns`` has them.

    Args:
        grid: where the patches lie.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``.
        wanted: the image asked for.
        origins: of the patches, int64 ``(N, 2)``, where they are not all those of the grid, in order.

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
    ) -> None:
        self.grid = grid
        self._parts = _parts_of(dtype)
        self._starts = None if origins is None else origins + grid.margin
        self._divider = Divider(grid, cover_of(grid, origins), dtype.newbyteorder("="), channels, wanted)
        terms = _terms(grid) if origins is None else len(origins)
        self._sums = [np.zeros((*grid.padded, *channels), sum_dtype(part, terms)) for part in self._parts]

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def add(self, plane: NDArray[Any], offset: tuple[int, ...]) -> None:
        """Add the pixel at ``offset`` (row, column[, channel]) of all patches, ``(N,)``."""
        for sums, part in zip(self._sums, _split(plane, self._parts), strict=True):
            if self._starts is None:
                fold_plane(sums, part, self.grid, offset)
            else:
                rows, columns = self._starts[:, 0] + offset[0], self._starts[:, 1] + offset[1]
                inside = sums[..., offset[2]] if len(offset) > 2 else sums  # noqa: PLR2004
                np.add.at(inside, (rows, columns), part)

    def finish(self) -> Merged:
        """The image, once all planes were added.

        Raises:
            PatchcliError: values that are not finite or too large.
        """
        self._divider.take(self._sums, 0)
        return Merged(self._divider.finish(), self._divider.cover, self._divider.saturated)


def merge(
    patches: ArrayLike,
    grid: Grid,
    *,
    origins: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    fill: float | None = None,
    allow_nonfinite: bool = False,
) -> NDArray[Any]:
    """Rebuild an image from patches: the mean of all patches that lie on a pixel.

    Args:
        patches: ``(N, h, w)`` or ``(N, h, w, C)``, any real dtype.
        grid: the grid that they were cut with.
        origins: ``(N, 2)`` (row, column) of each patch in the image, in any order, some missing or repeated; all those of
            the grid, in order, if not given.
        dtype: of the image; that of the patches if not given. Integers are rounded to nearest, ties to even, and saturated.
        fill: value for pixels that no patch covers; without it they are an error.
        allow_nonfinite: let NaN and infinity through to a float image; without it they are an error.

    Returns:
        A new array ``(H, W[, C])``. Means of integers are exact before rounding, whatever the order; floats are added in
        float64.

    Raises:
        PatchcliError: patches that don't belong to the grid, uncovered pixels, values that are not finite.

    >>> image = np.arange(12).reshape(3, 4)
    >>> from patchcli import Grid, extract
    >>> grid = Grid((3, 4), 2, stride=1)
    >>> bool((merge(extract(image, grid)[0], grid) == image).all())
    True
    """
    stack = np.asarray(patches)
    check_grid(grid)
    places = None if origins is None else np.asarray(origins)
    check_stack(stack.shape, stack.dtype, grid, grid.count if places is None else len(places))
    wanted = Wanted(stack.dtype if dtype is None else np.dtype(dtype), fill, allow_nonfinite=allow_nonfinite)
    if places is None:
        fold = MeanFold(grid, stack.dtype, stack.shape[3:], wanted)
        parts = list(blocks(grid, math.prod(stack.shape[3:]), stack.itemsize))
        pixels = ((block, stack[block.first : block.first + block.count]) for block in parts)
        for _ in fold.add_rows(pixels, usable_threads(stack.nbytes)):
            pass
        return fold.finish().image
    places = check_origins(places, grid)
    scattered = ScatteredMeanFold(grid, stack.dtype, stack.shape[3:], wanted, places)
    step = chunk_patches(stack[0].nbytes)
    for first in range(0, len(stack), step):
        scattered.add(stack[first : first + step], places[first : first + step])
    return scattered.finish().image
