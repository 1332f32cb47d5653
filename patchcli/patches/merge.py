"""Merge patches by any reducer, from memory or from files: the function that chooses how, and the public one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.geometry.cover import LineCover
from patchcli.geometry.placement import Placement
from patchcli.patches.extract import blocks, check_grid, check_stack
from patchcli.patches.merge_ranked import PaintFold, RankFold, Ranking
from patchcli.patches.merge_streaming import BandFold, GridFold, PlaneFold, ScatteredFold, chunk_patches
from patchcli.patches.normalize import Divider, Merged, Wanted
from patchcli.patches.reducers import REDUCERS, Rule, check_values, rule_of
from patchcli.patches.sources import InMemory, inside
from patchcli.patches.windows import as_window
from patchcli.threads import usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.cover import BoxCover, Cover
    from patchcli.geometry.grid import Block, Grid
    from patchcli.patches.sources import PatchSource
    from patchcli.patches.windows import Window

    Given = tuple[Block, NDArray[Any]]


def in_bands(source: PatchSource, placement: Placement, rule: Rule | Ranking) -> bool:
    """Whether an image is made of the patches of some lines at a time; else sums of all of it are held until the end."""
    if isinstance(rule, Ranking):
        return True
    return source.planes() is None and (placement.order is None or source.by_number)


def paints(source: PatchSource, placement: Placement, rule: Ranking) -> bool:
    """Whether patches come in order, all of a grid, and only what is seen of the first or the last of them is laid."""
    return rule.last is not None and placement.whole and source.planes() is None


def merge_from(
    source: PatchSource,
    placement: Placement,
    rule: Rule | Ranking,
    *,
    wanted: Wanted,
    threads: int = 1,
    tick: Callable[[int, int], object] = lambda *_: None,
    only: Pair | None = None,
) -> Merged:
    """Put all patches of a source together, by the fold that suits the rule and the way in which they come.

    Args:
        source: of the patches.
        placement: where they lie; as many, and of the same size.
        rule: how they are put together.
        wanted: the image asked for.
        threads: how many blocks of a whole grid are folded at once; it changes no bit of the result.
        tick: told again and again how many more patches were done, of how many.
        only: the lines of the image that are made, first and last (excluded), from a source that is `in_bands`; each has the same
            values as if all were made. None for all.

    Returns:
        The image, whose lines are made as they are asked for.

    Raises:
        PatchcliError: pixels without cover that are to have no value; a window that has a value the dtype cannot hold.
    """
    shape = source.shape
    if placement.whole and placement.most == 1 and not isinstance(rule, Ranking) and rule.weighted:
        rule = rule_of(REDUCERS["max"])  # the mean of one value is that value: no sums, nothing to divide
    divisor = divisor_of(rule, placement, wanted, only)
    divider = Divider(placement, divisor, dtype=source.dtype, channels=shape[3:], wanted=wanted, only=only)
    return Merged(divider, _lines(source, divider, rule, threads=threads, tick=lambda count: tick(count, shape[0])))


def divisor_of(
    rule: Rule | Ranking, placement: Placement, wanted: Wanted, only: Pair | None = None
) -> Cover | BoxCover | LineCover | None:
    """By what sums are divided: what a rule says, or how much of its window lies on each pixel, added up as they are."""
    if isinstance(rule, Ranking) or rule.window is None or (placement.whole and rule.window.dense is None):
        return rule.divisor(placement)
    return LineCover(_weight_lines(placement, rule.window, wanted, only), 0 if only is None else only[0])


def _weight_lines(placement: Placement, window: Window, wanted: Wanted, only: Pair | None) -> Iterator[NDArray[Any]]:
    """The lines of `merged_weights`, laid out when the first is asked for: what is wrong with the image is told before."""
    yield from merged_weights(placement, window, trim=wanted.trim, only=only).lines()


def merged_weights(placement: Placement, window: Window, *, trim: bool, only: Pair | None = None) -> Merged:
    """How much of a window lies on each pixel, float64 ``(H, W)``, as the sum of patches that all are that window."""
    full = window.full
    windows = InMemory(np.broadcast_to(full, (placement.count, *full.shape)))
    return merge_from(windows, placement, rule_of(REDUCERS["sum"]), wanted=Wanted(full.dtype, 0, trim), only=only)


def _lines(
    source: PatchSource, divider: Divider, rule: Rule | Ranking, *, threads: int, tick: Callable[[int], object]
) -> Iterator[NDArray[Any]]:
    """The lines of the image."""
    shape, dtype, placement = source.shape, source.dtype, divider.placement
    if isinstance(rule, Ranking) and paints(source, placement, rule):
        yield from PaintFold(divider, last=bool(rule.last)).lines(_ticked(_blocks_of(source, divider), tick))
    elif isinstance(rule, Ranking) or (not placement.whole and in_bands(source, placement, rule)):
        pick = source.picker()

        def picked(numbers: NDArray[np.int64]) -> NDArray[Any]:
            tick(len(numbers))
            return pick(numbers)

        yield from (RankFold(divider, rule) if isinstance(rule, Ranking) else BandFold(divider, rule)).lines(picked)
    elif (planes := source.planes()) is not None:
        by_plane = PlaneFold(divider, rule)
        for plane in planes:
            by_plane.add(plane)
        yield from by_plane.lines()
    elif placement.whole:
        given = _blocks_of(source, divider)
        yield from GridFold(divider, rule).lines(_ticked(given, tick), threads)
    else:
        scattered, first = ScatteredFold(divider, rule), 0
        step = chunk_patches(dtype.itemsize * math.prod(shape[1:]))
        for patches in source.patches(min(step, shape[0] - start) for start in range(0, shape[0], step)):
            scattered.add(patches, first)
            first += len(patches)
            tick(len(patches))
        yield from scattered.lines()


def _blocks_of(source: PatchSource, divider: Divider) -> Iterator[Given]:
    """The patches of a whole grid, block by block; where only some lines are made, of the blocks that touch them."""
    grid, (first, stop) = divider.placement.grid, divider.padded_lines
    cut, tops = (grid, math.prod(source.shape[3:]), source.dtype.itemsize), grid.rows.starts
    if divider.only is None:
        given = source.patches(block.count for block in blocks(*cut))
        for block in blocks(*cut):  # not by zip, which holds one while the next is made
            yield block, next(given)
        return
    pick = source.picker()
    for block in blocks(*cut):
        if tops[block.rows.start] < stop and tops[block.rows.stop - 1] + grid.patch[0] > first:
            yield block, pick(np.arange(block.first, block.first + block.count))


def _ticked(given: Iterable[Given], tick: Callable[[int], object]) -> Iterator[Given]:
    """What is given, each block counted."""
    for one in given:
        tick(one[0].count)
        yield one
        del one  # so that the next may have its memory, which is still in a core's cache


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
    halo: int = 0,
) -> NDArray[Any]:
    """Rebuild an image from patches, as the mean of all patches that lie on a pixel or by another rule.

    Args:
        patches: ``(N, h', w')`` or ``(N, h', w', C)``, any real dtype. ``(h', w')`` is the patch size of the grid, or that size
            times a ratio an axis that leaves all of the grid whole; the image is then larger or smaller by the same ratio. With a
            halo it may be that of patches without it, too.
        grid: the grid that they were cut with.
        origins: ``(N, 2)`` (row, column) of each patch in the image that was cut, in any order, some missing or repeated; all
            those of the grid, in order, if not given.
        reduce: ``mean``, ``sum``, ``min``, ``max``, ``median``, ``mode`` (the most frequent value, of several the smallest; for
            integers and bool), or ``first`` or ``last``: the patch whose origin comes first or last in row-major order.
        window: weights of a mean: one of `patchcli.patches.windows.NAMES`, or an array of numbers from 0, of the height and
            width of what is used of a patch.
        dtype: of the image; that of the patches if not given. Integers are rounded to nearest, ties to even, and saturated.
        fill: value for pixels that no patch covers; without it they are an error.
        allow_nonfinite: let NaN and infinity through to a float image; without it they are an error.
        halo: pixels on each side of a patch that are not used, of a patch as the grid has it (times the ratio, of one of another
            size). Patches that lost just these are placed so many pixels further inside.

    Returns:
        A new array ``(H, W[, C])``. Means of integers are exact before rounding, whatever the order (with a window
        that has a name: up to 16 bits); floats are added in float64, a few float32 first.

    Raises:
        PatchcliError: patches that don't belong to the grid, uncovered pixels, values that are not finite, floats for ``mode``.

    >>> image = np.arange(12).reshape(3, 4)
    >>> from patchcli import Grid, extract
    >>> grid = Grid((3, 4), 2, stride=1)
    >>> bool((merge(extract(image, grid)[0], grid) == image).all())
    True
    """
    stack = np.asarray(patches)
    check_grid(grid)
    own = None if origins is None else np.asarray(origins)
    check_stack(stack.shape, stack.dtype, grid, grid.count if own is None else len(own))
    placement = (Placement.whole_grid(grid) if own is None else Placement.at(grid, own)).resized(stack.shape[1:3], halo)
    rule = checked_rule(reduce, as_window(window, placement.grid.patch), stack.dtype)
    wanted = Wanted(stack.dtype if dtype is None else checked_dtype(dtype), fill, allow_nonfinite=allow_nonfinite)
    source = inside(InMemory(stack), placement.grid.patch)
    return merge_from(source, placement, rule, wanted=wanted, threads=usable_threads(stack.nbytes)).image()


def checked_rule(reduce: str, window: Window | None, dtype: np.dtype[Any]) -> Rule | Ranking:
    """How patches of a dtype are put together by the name of a reducer.

    Raises:
        PatchcliError: a name that there is not; a window, or floats, for one that takes none.
    """
    if reduce not in REDUCERS:
        raise PatchcliError(f"reduce is {reduce!r}; allowed are {', '.join(REDUCERS)}")
    if window is not None and not REDUCERS[reduce].weighted:
        raise PatchcliError(f"a window is for a mean, not for {reduce}")
    check_values(reduce, dtype)
    return rule_of(REDUCERS[reduce], window)


def checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype of an image, as a caller named it.

    Raises:
        PatchcliError: it is none, or not of real numbers of at most 64 bits.
    """
    try:
        target = np.dtype(dtype)
    except TypeError:
        raise PatchcliError(f"dtype is {dtype!r}; allowed are bool, integers and floats of at most 64 bits") from None
    check_real(target, "image")
    return target
