"""Merge patches in memory: the public function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.patches.extract import blocks, check_grid, check_origins, check_stack
from patchcli.patches.merge_ranked import RANKED, RankFold
from patchcli.patches.merge_streaming import GridFold, Merged, ScatteredFold, chunk_patches
from patchcli.patches.normalize import Wanted
from patchcli.patches.reducers import STREAMED, Rule
from patchcli.patches.windows import Window, named, of_array
from patchcli.threads import usable_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from patchcli.geometry.grid import Grid


def window_of(window: ArrayLike | str, patch: tuple[int, int]) -> Window | None:
    """A window by name or as weights ``(h, w)``; None for equal weights."""
    if isinstance(window, str):
        return None if window == "uniform" else named(window, patch)
    return of_array(np.asarray(window), patch)


def merge(
    patches: ArrayLike,
    grid: Grid,
    *,
    origins: ArrayLike | None = None,
    reduce: str = "mean",
    window: ArrayLike | str = "uniform",
    dtype: DTypeLike | None = None,
    fill: float | None = None,
    allow_nonfinite: bool = False,
) -> NDArray[Any]:
    """Rebuild an image from patches, as the mean of all patches that lie on a pixel or by another rule.

    Args:
        patches: ``(N, h', w')`` or ``(N, h', w', C)``, any real dtype. ``(h', w')`` is the patch size of the grid, or that size
            times a ratio an axis that leaves all of the grid whole; the image is then larger or smaller by the same ratio.
        grid: the grid that they were cut with.
        origins: ``(N, 2)`` (row, column) of each patch in the image that was cut, in any order, some missing or repeated; all
            those of the grid, in order, if not given.
        reduce: ``mean``, ``sum``, ``min``, ``max``, ``median``, or ``first`` or ``last``: the patch whose origin comes first or
            last in row-major order.
        window: weights of a mean: a name of `patchcli.windows.NAMES`, or an array ``(h', w')`` of numbers from 0.
        dtype: of the image; that of the patches if not given. Integers are rounded to nearest, ties to even, and saturated.
        fill: value for pixels that no patch covers; without it they are an error.
        allow_nonfinite: let NaN and infinity through to a float image; without it they are an error.

    Returns:
        A new array ``(H, W[, C])``. Means of integers are exact before rounding, whatever the order (with a window: up to 16
        bits); floats are added in float64, a few float32 first.

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
    if places is not None:
        places = check_origins(places, grid)
    if stack.shape[1:3] != grid.patch:
        grid, places = grid.resized((stack.shape[1], stack.shape[2]), places)
    weights = window_of(window, grid.patch)
    if reduce not in (*STREAMED, *RANKED):
        raise PatchcliError(f"reduce is {reduce!r}; allowed are {', '.join((*STREAMED, *RANKED))}")
    if weights is not None and reduce != "mean":
        raise PatchcliError(f"a window is for a mean, not for {reduce}")
    try:
        target = stack.dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        raise PatchcliError(f"dtype is {dtype!r}; allowed are bool, integers and floats of at most 64 bits") from None
    check_real(target, "image")
    wanted = Wanted(target, fill, allow_nonfinite=allow_nonfinite)
    if reduce in RANKED:
        return RankFold(grid, stack.dtype, stack.shape[3:], wanted, places, reduce).fold(lambda index: stack[index]).image
    return _fold(stack, grid, places, wanted, Rule(reduce, weights)).image


def _fold(stack: NDArray[Any], grid: Grid, places: NDArray[np.int64] | None, wanted: Wanted, rule: Rule) -> Merged:
    if places is None:
        fold = GridFold(grid, stack.dtype, stack.shape[3:], wanted, rule)
        parts = list(blocks(grid, math.prod(stack.shape[3:]), stack.itemsize))
        pixels = ((block, stack[block.first : block.first + block.count]) for block in parts)
        for _ in fold.add_rows(pixels, usable_threads(stack.nbytes)):
            pass
        return fold.finish()
    scattered = ScatteredFold(grid, stack.dtype, stack.shape[3:], wanted, places, rule)
    step = chunk_patches(stack[0].nbytes)
    for first in range(0, len(stack), step):
        scattered.add(stack[first : first + step], places[first : first + step])
    return scattered.finish()
