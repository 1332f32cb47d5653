"""Merge by mean: the sums of `fold` over the cover, rounded into a dtype."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.dtypes import convert, exact_scalar, limits, sum_dtype
from patchcli.errors import PatchcliError
from patchcli.fold import RowFolder, cover_at, fold_at
from patchcli.parallel import map_in_order, usable_threads
from patchcli.patches import BLOCK_BYTES, blocks, check_grid, check_origins, check_stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from patchcli.grid import Block, Grid

CHUNK_PATCHES = 1 << 14  # patches folded at once where they lie anywhere; fixed, as the order of float sums depends on it
CHUNK_BYTES = 1 << 22  # and the bytes they may have
HALF = 32  # 64-bit integers are added as two halves of this many bits


class Cover(NamedTuple):
    """How many patches lie on each pixel: ``rows * columns``, ``(H, 1)`` and ``(1, W)`` or ``(H, W)`` and ``(1, 1)``."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.rows.shape[0], max(self.rows.shape[1], self.columns.shape[1])

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def uncovered(self) -> int:
        """Number of pixels that no patch covers."""
        return self.size - int(np.count_nonzero(self.rows)) * int(np.count_nonzero(self.columns))

    def dense(self) -> NDArray[np.int64]:
        """The product, int64 ``(H, W)``."""
        return self.rows * self.columns

    def divisors(self, these: slice, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Some lines of the product as floats, 1 for 0, to divide by."""
        counts: NDArray[Any] = self.rows[these].astype(dtype) * self.columns.astype(dtype)
        if self.uncovered:
            np.maximum(counts, 1, out=counts)
        return counts

    def crop(self, rows: slice, columns: slice) -> Cover:
        """The cover of a box."""
        return Cover(
            *(part[rows if len(part) > 1 else slice(None), columns if part.shape[1] > 1 else slice(None)] for part in self)
        )

    def box(self) -> tuple[slice, slice]:
        """The smallest box that holds every covered pixel."""
        dense = self.dense()
        spans = [np.flatnonzero(dense.any(axis=axis)) for axis in (1, 0)]
        rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        return rows, columns


class Merged(NamedTuple):
    """An image, its cover, and how many values were cut to fit its dtype."""

    image: NDArray[Any]
    cover: Cover
    saturated: int


def chunk_patches(patch_bytes: int) -> int:
    """How many patches to hand to `MeanFold.add_at` at once."""
    return max(1, min(CHUNK_PATCHES, CHUNK_BYTES // patch_bytes))


class MeanFold:
    """Sums and cover of one image, filled block by block, then divided.

    Args:
        grid: where the patches lie.
        dtype: of the patches: any real dtype.
        channels: ``()`` or ``(C,)``, the shape behind ``(N, h, w)``.
        scattered: None if all patches of the grid come in order, through `add_rows`; else how many come through `add_at`.
    """

    def __init__(self, grid: Grid, dtype: np.dtype[Any], channels: tuple[int, ...], scattered: int | None = None) -> None:
        self.grid, self.dtype, self.channels = grid, dtype.newbyteorder("="), channels
        self._scattered = scattered is not None
        self._starts_at = np.zeros(grid.padded if self._scattered else (0, 0), np.int64)
        terms = int(grid.rows.padded_cover().max() * grid.columns.padded_cover().max()) if scattered is None else scattered
        self._parts = [np.dtype(np.float32) if self.dtype == np.float16 else self.dtype]
        if self.dtype.kind in "iu" and self.dtype.itemsize * 8 > HALF:
            self._parts = [np.dtype(f"{self.dtype.kind}4"), np.dtype("u4")]
        self._sums = [np.zeros((*grid.padded, *channels), sum_dtype(part, terms)) for part in self._parts]
        width = channels[0] if channels else 1
        self._folders = [RowFolder(grid, width, part) for part in self._parts]
        self._limit = math.inf if self.dtype.kind == "f" else max(map(abs, limits(self.dtype))) * terms

    def _split(self, patches: NDArray[Any]) -> list[NDArray[Any]]:
        """Patches as the parts that are added: themselves, or high and low halves, ``high * 2**32 + low``."""
        if len(self._parts) == 1:
            return [np.ascontiguousarray(patches, self._parts[0])]
        patches = np.ascontiguousarray(patches, self.dtype)
        high, low = self._parts
        return [(patches >> HALF).astype(high), (patches & (2**HALF - 1)).astype(low)]

    def add_rows(self, patches: Iterable[tuple[Block, NDArray[Any]]], threads: int) -> Iterator[Block]:
        """Add all patches of the grid, block by block; each block is yielded when it is done.

        Args:
            patches: the blocks of the grid, in order, each with its patches ``(block.count, h, w[, C])``.
            threads: how many blocks are folded at once; it changes no bit of the result.
        """

        def fold(given: tuple[Block, NDArray[Any]]) -> tuple[Block, list[NDArray[Any]]]:
            block, pixels = given
            parts = zip(self._folders, self._split(pixels), strict=True)
            return block, [folder.fold_columns(part, block) for folder, part in parts]

        for block, strips in map_in_order(fold, patches, threads):
            for sums, folder, part in zip(self._sums, self._folders, strips, strict=True):
                folder.fold_rows(sums.reshape(len(sums), -1), part, block)
            yield block

    def add_at(self, patches: NDArray[Any], origins: NDArray[np.int64]) -> None:
        """Add patches ``(n, h, w[, C])`` at ``origins`` ``(n, 2)``, which lie inside the grid's padded image."""
        starts = origins + self.grid.margin
        np.add.at(self._starts_at, (starts[:, 0], starts[:, 1]), 1)
        for sums, part in zip(self._sums, self._split(patches), strict=True):
            fold_at(sums, part, starts)

    def cover(self) -> Cover:
        """How many patches lie on each image pixel."""
        if not self._scattered:
            return Cover(self.grid.rows.cover()[:, None], self.grid.columns.cover()[None])
        height, width, margin = *self.grid.image, self.grid.margin
        dense = cover_at(self._starts_at, self.grid.patch)[margin : margin + height, margin : margin + width]
        return Cover(dense, np.ones((1, 1), np.int64))

    def finish(
        self,
        dtype: np.dtype[Any] | None = None,
        *,
        fill: float | None = None,
        trim: bool = False,
        allow_nonfinite: bool = False,
    ) -> Merged:
        """Divide the sums by the cover.

        Args:
            dtype: of the image; that of the patches if not given.
            fill: value for pixels that no patch covers; with ``trim`` for those that remain.
            trim: cut the image to the smallest box that holds all covered pixels.
            allow_nonfinite: let NaN and infinity through to a float image.

        Raises:
            PatchcliError: pixels without cover and neither ``fill`` nor ``trim``, values that are not finite or too large.
        """
        target = self.dtype if dtype is None else dtype
        filling = exact_scalar(0 if fill is None else fill, target)
        height, width, margin = *self.grid.image, self.grid.margin
        cover = self.cover()
        rows, columns = cover.box() if trim else (slice(0, height), slice(0, width))
        cover = cover.crop(rows, columns)
        if cover.uncovered and fill is None:
            raise PatchcliError(
                f"{cover.uncovered} of {cover.size} pixels are covered by no patch; give them a value with --fill"
                + ("" if trim else " or cut the border off with --trim")
            )
        image = np.empty((*cover.shape, *self.channels), target)
        inner = slice(margin + rows.start, margin + rows.stop), slice(margin + columns.start, margin + columns.stop)
        saturated, nonfinite = self._divide_all([part[inner] for part in self._sums], cover, image)
        if nonfinite and (not allow_nonfinite or target.kind != "f"):
            raise PatchcliError(
                f"{nonfinite} values of the image would be NaN or infinite; allowed are patches of finite values"
                + (", or --allow-nonfinite" if target.kind == "f" else f" for {target}")
            )
        if cover.uncovered:
            image[cover.dense() == 0] = filling
        return Merged(image, cover, saturated)

    def _divide_all(self, sums: list[NDArray[Any]], cover: Cover, image: NDArray[Any]) -> tuple[int, int]:
        """Divide line by line into ``image``; how many values were saturated and how many are not finite."""
        lines = max(1, BLOCK_BYTES // sums[0][0].nbytes)
        saturated = nonfinite = 0
        for top in range(0, len(image), lines):
            these = slice(top, top + lines)
            mean = self._mean([part[these] for part in sums], cover, these, image.dtype)
            if self.dtype.kind == "f":
                lost = ~np.isfinite(mean)
                nonfinite += int(np.count_nonzero(lost))
                if image.dtype.kind != "f":
                    mean[lost] = 0  # counted; the caller refuses
            if image.dtype == self.dtype:
                np.copyto(image[these], mean, casting="unsafe")  # a mean lies between the values that it is of
            else:
                saturated += convert(mean, image[these])
        return saturated, nonfinite

    def _mean(self, sums: list[NDArray[Any]], cover: Cover, these: slice, target: np.dtype[Any]) -> NDArray[Any]:
        """Mean in a dtype from which ``target`` follows by one rounding: whole numbers for integers of integers, else float64.

        Whole numbers are rounded to nearest, ties to even. If |sum| < 2**m for a float of m mantissa bits, the float quotient
        rounds as the true one does: half-way points that don't equal it are at least 1 / (2 count) away, which is more than
        the quotient's error.
        """
        whole = self.dtype.kind != "f" and target.kind != "f"
        exact = [floating for floating in (np.float32, np.float64) if self._limit < 2.0 ** np.finfo(floating).nmant]
        floating = exact[0] if whole and exact else np.float64
        counts = cover.divisors(these, floating)
        counts = counts.reshape(*counts.shape, *([1] * len(self.channels)))
        if whole and not exact:
            return _rounded_mean(sums, counts, self.dtype)
        total = sums[0] if len(sums) == 1 else sums[0] * 2.0**HALF + sums[1]
        mean: NDArray[Any] = total.astype(floating)
        mean /= counts
        if whole:
            np.rint(mean, out=mean)
        return mean


def _rounded_mean(sums: list[NDArray[Any]], counts: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Exact integer mean, ties to even, of sums or of high and low half sums, in a 64-bit integer dtype like ``dtype``."""
    wide = np.dtype(f"{dtype.kind}8")
    divisor = counts.astype(wide)
    quotient, rest = np.divmod(sums[0].astype(wide), divisor)
    if len(sums) > 1:
        # rest < count < 2**31 and low half sum < count * 2**32: the sum of both stays below 2**63
        low, rest = np.divmod((rest << HALF) + sums[1].astype(wide), divisor)
        quotient = (quotient << HALF) + low
    up = (2 * rest > divisor) | ((2 * rest == divisor) & (quotient % 2 == 1))
    quotient += up.astype(wide)
    return quotient


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
    fold = MeanFold(grid, stack.dtype, stack.shape[3:], None if places is None else len(places))
    if places is None:
        parts = list(blocks(grid, math.prod(stack.shape[3:]), stack.itemsize))
        pixels = ((block, stack[block.first : block.first + block.count]) for block in parts)
        for _ in fold.add_rows(pixels, usable_threads(stack.nbytes)):
            pass
    else:
        places = check_origins(places, grid)
        step = chunk_patches(stack[0].nbytes)
        for first in range(0, len(stack), step):
            fold.add_at(stack[first : first + step], places[first : first + step])
    return fold.finish(stack.dtype if dtype is None else np.dtype(dtype), fill=fill, allow_nonfinite=allow_nonfinite).image
