"""Cut patches: view an image as patches, gather patches of a padded image into a stack.

Kernels: arrays in, arrays out. Speed comes from one idea: the ``w`` neighbouring pixels of a patch row are taken as a
single item of ``w`` times the bytes of a pixel, so that a patch is ``h`` items and numpy copies items, not pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import as_image, check_real
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.patches.padded import ArraySource, Padded, Region
from patchcli.strided import item_dtype, pixel_bytes, row_windows, runs
from patchcli.threads import map_in_order, usable_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Block

BLOCK_BYTES = 1 << 17  # of sums that are divided at once: what is made of them stays in a core's cache
CUT_BYTES = 1 << 21  # of patches, whatever their overlap: several blocks are under way at once
FOLD_BYTES = (
    1 << 23
)  # of patches that are folded at once: the more patch rows, the fewer sums; fixed, as the order of float sums depends on it


def check_grid(grid: Grid) -> None:
    """Check that a grid is one."""
    if not isinstance(grid, Grid):
        raise PatchcliError(f"grid is {grid!r}; allowed is a patchcli.Grid")


def view(image: ArrayLike, patch: int | Pair, stride: int | Pair = 1, *, offset: int | Pair = (0, 0)) -> NDArray[Any]:
    """All patches of an image that lie wholly inside it, as a read-only view: nothing is copied.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        patch: ``(h, w)``, or one number for both.
        stride: ``(rows, columns)`` from one patch to the next, or one number.
        offset: ``(row, column)`` of the first patch.

    Returns:
        View of shape ``(ny, nx, h, w[, C])``; ``ny = (H - row - h) // stride + 1``, likewise ``nx``. Reshaping it copies.

    Raises:
        PatchcliError: a patch larger than the image, a stride below 1, an array that is no image.

    >>> view(np.arange(12).reshape(3, 4), 2)[1, 2]
    array([[ 6,  7],
           [10, 11]])
    """
    array = np.asarray(image)
    as_image(array[:1, :1] if array.ndim > 1 else array)  # without a look at all of it
    grid = Grid(array.shape[:2], patch, stride, offset=offset, edge="drop")
    windows = np.lib.stride_tricks.sliding_window_view(array, grid.patch, axis=(0, 1))
    (row, column), (dy, dx) = grid.offset, grid.stride
    return np.moveaxis(windows[row::dy, column::dx], 2, -1) if array.ndim == 3 else windows[row::dy, column::dx]  # noqa: PLR2004


def extract(
    image: ArrayLike, grid: Grid, *, index: ArrayLike | None = None, pad_mode: str = "reflect", pad_value: float = 0
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Cut an image into a stack of patches.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        grid: where the patches lie.
        index: numbers ``(n,)`` of the patches to cut, from 0 in row-major order, as `choose_patches` gives them.
        pad_mode: how margin and padding are filled: one of `PAD_MODES`.
        pad_value: the value for ``constant``.

    Returns:
        ``(patches, origins)``: a new array ``(N, h, w[, C])`` in the image's dtype, and int64 ``(N, 2)`` with the
        (row, column) of each patch in the image.

    Raises:
        PatchcliError: no image, or not of the grid's shape; numbers of patches that there are not.

    >>> patches, origins = extract(np.arange(12).reshape(3, 4), Grid((3, 4), 2))
    >>> patches.shape, origins.tolist()
    ((4, 2, 2), [[0, 0], [0, 2], [1, 0], [1, 2]])
    """
    check_grid(grid)
    padded = Padded(ArraySource(as_image(image)), grid, pad_mode, pad_value)
    if index is not None:
        starts = grid.starts_of(numbers_of(grid, index))
        stack = np.empty((len(starts), *grid.patch, *padded.shape[2:]), padded.dtype)
        gather_at(padded, starts, stack)
        return stack, starts - grid.margin
    stack = np.empty((grid.count, *grid.patch, *padded.shape[2:]), padded.dtype)
    parts = list(cut_blocks(grid, padded.pixel_bytes))

    def fill(block: Block) -> None:
        gather(padded, block, stack[block.first : block.first + block.count])

    for _ in map_in_order(fill, parts, usable_threads(stack.nbytes)):
        pass
    return stack, grid.origins()


def numbers_of(grid: Grid, index: ArrayLike) -> NDArray[np.int64]:
    """Numbers of patches of a grid, as a caller gives them, int64 ``(n,)``."""
    chosen = np.asarray(index)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or ((chosen < 0) | (chosen >= grid.count)).any():
        raise PatchcliError(f"index is not a list of numbers of patches; give whole numbers from 0 to {grid.count - 1}")
    return chosen.astype(np.int64)


def blocks(grid: Grid, channels: int, itemsize: int, block_bytes: int = FOLD_BYTES) -> Iterator[Block]:
    """The grid in blocks of whole patch rows for folding, about ``block_bytes`` of patches, or of parts of one where it is large.

    The order in which floats are added up depends on the blocks, so that their size is fixed.
    """
    height, width = grid.patch
    patch_bytes = height * width * channels * itemsize
    rows = block_bytes // (patch_bytes * grid.columns.count)
    return grid.blocks(max(1, rows), max(1, block_bytes // patch_bytes))


def cut_blocks(grid: Grid, pixel: int) -> Iterator[Block]:
    """The grid in blocks of about `CUT_BYTES` of patches for cutting, ``pixel`` bytes a pixel: any part of a row will do."""
    patch_bytes = grid.patch[0] * grid.patch[1] * pixel
    return grid.blocks(max(1, CUT_BYTES // (patch_bytes * grid.columns.count)), max(1, CUT_BYTES // patch_bytes))


def cut(padded: Padded, first: int = 0, last: int | None = None) -> Iterator[NDArray[Any]]:
    """The patches ``first`` to ``last`` (excluded) of a grid in pieces of about `CUT_BYTES`, in order, each a new array."""
    grid = padded.grid
    stop = grid.count if last is None else last
    for block in cut_blocks(grid, padded.pixel_bytes):
        here, end = max(first, block.first), min(stop, block.first + block.count)
        if here < end:
            part = np.empty((end - here, *grid.patch, *padded.shape[2:]), padded.dtype)
            if end - here == block.count:
                gather(padded, block, part)
            else:
                gather_range(padded, here, end, part)
            yield part


def cut_at(padded: Padded, index: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The patches ``index`` ``(n,)`` of a grid in pieces of about `CUT_BYTES`, in that order, each a new array."""
    grid = padded.grid
    step = max(1, CUT_BYTES // (grid.patch[0] * grid.patch[1] * padded.pixel_bytes))
    alone = _are_few(padded, index)
    for first in range(0, len(index), step):
        starts = grid.starts_of(index[first : first + step])
        part = np.empty((len(starts), *grid.patch, *padded.shape[2:]), padded.dtype)
        gather_at(padded, starts, part, alone=alone)
        yield part


def _are_few(padded: Padded, index: NDArray[np.int64]) -> bool:
    """Whether patches, sorted, are so few that those of each patch row are better read by themselves than cut from whole lines.

    They are if that is at most half as many pixels, and no band is decoded more than twice on the average, even where a file
    has strips, of which no part can be decoded.
    """
    grid = padded.grid
    rows, first = np.unique(index // grid.columns.count, return_index=True)
    bands = padded.bands_of(grid.rows.starts[rows])
    if bands is None:
        return False
    each, together = bands
    columns = grid.columns.starts[index % grid.columns.count]
    widths = np.maximum.reduceat(columns, first) - np.minimum.reduceat(columns, first) + grid.patch[1] if len(first) else first
    return bool(2 * (each * widths).sum() <= together * grid.padded[1] and each.sum() <= 2 * together)


def gather_range(padded: Padded, first: int, last: int, out: NDArray[Any]) -> None:
    """Copy the patches ``first`` to ``last`` (excluded) of a grid into ``out``, C-contiguous ``(last - first, h, w[, C])``."""
    for block in padded.grid.rectangles(first, last):
        gather(padded, block, out[block.first - first : block.first - first + block.count])


def gather(padded: Padded, block: Block, out: NDArray[Any]) -> None:
    """Copy one block of patches of a padded image into ``out``, C-contiguous ``(block.count, h, w[, C])``."""
    (height, width), grid = padded.grid.patch, padded.grid
    tops, lefts = grid.rows.starts[block.rows], grid.columns.starts[block.columns]
    items = np.ndarray((len(tops), len(lefts), height), item_dtype(width * padded.pixel_bytes), out)
    if padded.whole is not None:
        _gather_region(Region(padded.whole, 0, 0), tops, lefts, items)
        return
    columns, first = (int(lefts[0]), int(lefts[-1]) + width), 0
    while first < len(tops):
        last = int(np.searchsorted(tops, tops[first] + padded.reach - height, side="right"))
        region = padded.region((int(tops[first]), int(tops[last - 1]) + height), columns)
        _gather_region(region, tops[first:last] - region.top, lefts - region.left, items[first:last])
        first = last


def _gather_region(region: Region, tops: NDArray[np.int64], lefts: NDArray[np.int64], items: NDArray[Any]) -> None:
    """Copy the patches at every one of ``tops`` and ``lefts`` of a region into ``items`` ``(ny, nx, h)``, a patch row each.

    Starts of at most two runs an axis (all edge rules but ``even``) are copied through a strided view. Others are indexed
    one by one: about 10 ns a patch row, more than the copy itself where rows are narrow, but independent of the steps.
    """
    height, pixel, line = items.shape[2], pixel_bytes(region.pixels), region.pixels.strides[0]
    row_runs, column_runs = runs(tops), runs(lefts)
    if max(len(row_runs), len(column_runs)) > 2:  # noqa: PLR2004
        windows = row_windows(region.pixels, items.itemsize // pixel)
        items[...] = windows[(tops[:, None] + np.arange(height))[:, None], lefts[:, None]]
        return
    for row in row_runs:
        for column in column_runs:
            source: NDArray[Any] = np.ndarray(
                (row.count, column.count, height),
                items.dtype,
                region.pixels,
                offset=row.start * line + column.start * pixel,
                strides=(row.step * line, column.step * pixel, line),
            )
            items[row.index, column.index] = source


def gather_at(padded: Padded, starts: NDArray[np.int64], out: NDArray[Any], *, alone: bool = False) -> None:
    """Copy the patches that start at ``(row, column)`` = ``starts[i]`` of a padded image into ``out[i]``, in any order.

    Where it is made as it is asked for, that is from above to below; ``alone``: those of a patch row by themselves.
    """
    height, width = padded.grid.patch
    items = np.ndarray((len(starts), height), item_dtype(width * padded.pixel_bytes), out)
    if padded.whole is not None:
        items[...] = row_windows(padded.whole, width)[starts[:, :1] + np.arange(height), starts[:, 1:]]
        return
    order = np.argsort(starts[:, 0], kind="stable")
    tops, first = starts[order, 0], 0
    while first < len(order):
        further = 0 if alone else padded.reach - height
        last = int(np.searchsorted(tops, tops[first] + further, side="right"))
        group, lefts = order[first:last], starts[order[first:last], 1]
        rows, columns = (int(tops[first]), int(tops[last - 1]) + height), (int(lefts.min()), int(lefts.max()) + width)
        region = padded.window(rows, columns) if alone else padded.region(rows, columns)
        windows = row_windows(region.pixels, width)
        items[group] = windows[tops[first:last, None] - region.top + np.arange(height), lefts[:, None] - region.left]
        first = last


def check_stack(shape: tuple[int, ...], dtype: np.dtype[Any], grid: Grid, count: int) -> None:
    """Check that patches of this shape and dtype are a stack for ``count`` origins of a grid; any size of patch will do."""
    height, width = grid.patch
    check_real(dtype, "stack of patches")
    if count == 0 and shape[:1] == (0,):
        raise PatchcliError("stack has no patches; at least one is needed")
    if len(shape) not in (3, 4) or 0 in shape:
        raise PatchcliError(
            f"patches have shape {shape}; expected ({count}, {height}, {width}) or ({count}, {height}, {width}, channels), "
            f"as patches of width={width} height={height} were recorded"
        )
    if shape[0] != count:
        raise PatchcliError(f"stack has {shape[0]} patches but {count} origins; both must be the same")
