"""Choose which patches of a grid to keep: valid ones, rough ones, those inside a mask, a random sample.

Kernels: arrays in, arrays out. A choice is a sorted array of indices into the grid; it depends on the pixels, the grid and
the numbers given, never on the machine.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import as_image, nodata_in
from patchcli.errors import PatchcliError, counted
from patchcli.patches.extract import check_grid, cut_at
from patchcli.patches.padded import ArraySource, Padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from fractions import Fraction

    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid

CANDIDATES_TOGETHER = 1 << 18  # patches looked at together
MAX_SEED = 2**64 - 1


class Choice(NamedTuple):
    """Which patches to keep; all of them by default.

    Attributes:
        most: at most this many, or this part of those that remain (at least one), drawn without replacement.
        seed: of the draw, from 0 to `MAX_SEED`.
        min_std: least standard deviation of a patch's values, all channels together, where these are valid; 0 keeps all.
        min_cover: least part of a patch's pixels that lie inside the mask, where there is one; None for half of them.
        min_valid: least part of a patch's pixels that are valid: every channel finite, and none ``nodata``; None keeps all.
        nodata: the value that stands for no data; None where there is none.
    """

    most: int | Fraction | None = None
    seed: int = 0
    min_std: float = 0
    min_cover: Fraction | None = None
    min_valid: Fraction | None = None
    nodata: float | None = None

    def least_inside(self, pixels: int) -> int:
        """How many of so many pixels must lie inside the mask."""
        return _least((1, 2) if self.min_cover is None else self.min_cover.as_integer_ratio(), pixels)

    def least_valid(self, pixels: int) -> int:
        """How many of so many pixels must be valid; one at least, where this is asked for."""
        return 0 if self.min_valid is None else max(1, _least(self.min_valid.as_integer_ratio(), pixels))


def _least(part: Pair, pixels: int) -> int:
    """A part of so many pixels, rounded up."""
    return -(-part[0] * pixels // part[1])


def choose(padded: Padded, choice: Choice, mask: Padded | None = None) -> NDArray[np.int64] | None:
    """The patches of a grid that a choice keeps.

    Args:
        padded: the padded image, ``(H', W'[, C])``.
        choice: which to keep.
        mask: padded likewise, bool ``(H', W')``: what is inside.

    Returns:
        Sorted indices into the grid, int64 ``(n,)``; None for all.

    Raises:
        PatchcliError: no patch is left.
    """
    if choice.most is None and not choice.min_std and choice.min_valid is None and mask is None:
        return None
    candidates = _candidates(padded, choice, mask)
    if choice.most is None:
        kept = np.concatenate(list(candidates))
    elif isinstance(choice.most, int):
        kept = sample(candidates, choice.most, choice.seed)
    else:
        kept = np.concatenate(list(candidates))
        kept = sample([kept], max(1, int(len(kept) * choice.most)), choice.seed)
    if not len(kept):
        grid = padded.grid
        pixels = grid.patch[0] * grid.patch[1]
        asked = [f"a standard deviation of {choice.min_std:g}"] * bool(choice.min_std)
        asked += [f"{counted(choice.least_valid(pixels), 'valid pixel')}"] * (choice.min_valid is not None)
        asked += [f"{choice.least_inside(pixels)} pixels inside the mask"] * (mask is not None)
        raise PatchcliError(f"none of the {grid.count} patches has {' and '.join(asked)}; at least one is needed")
    return kept


def choose_patches(
    image: ArrayLike,
    grid: Grid,
    *,
    max_patches: int | Fraction | None = None,
    seed: int = 0,
    min_std: float = 0,
    mask: ArrayLike | None = None,
    min_cover: Fraction | float | None = None,
    min_valid: Fraction | float | None = None,
    nodata: float | None = None,
    pad_mode: str = "reflect",
    pad_value: float = 0,
) -> NDArray[np.int64]:
    """Choose patches of an image: valid ones, rough ones, those inside a mask, a random sample of what remains.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        grid: where the patches lie.
        max_patches: at most this many, or this part of them, drawn without replacement.
        seed: of the draw; the same seed draws the same patches on every machine.
        min_std: least standard deviation of a patch's values, of its valid pixels; a patch without any is dropped.
        mask: ``(H, W)``; inside is where it is not 0.
        min_cover: least part of a patch's pixels inside the mask; half of them if not given.
        min_valid: least part of a patch's pixels that are valid; a patch without any is dropped. Added pixels are as valid as
            those that they repeat, a constant by its value.
        nodata: the value that stands for no data: a pixel is valid if every channel is finite and none is this one.
        pad_mode: how margin and padding are filled, in the mask too, where a constant lies outside.
        pad_value: the value for ``constant``.

    Returns:
        Numbers of patches, sorted, int64 ``(n,)``, for ``extract(image, grid, index=...)``.

    Raises:
        PatchcliError: no image, or a mask of another size; numbers out of range; no patch that is left.

    >>> from patchcli import Grid
    >>> choose_patches(np.arange(16).reshape(4, 4), Grid((4, 4), 2), max_patches=2, seed=1)
    array([0, 3])
    """
    from fractions import Fraction
    from numbers import Rational

    check_grid(grid)
    if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise PatchcliError(f"seed is {seed!r}; allowed are whole numbers from 0 to 2**64 - 1")
    whole = isinstance(max_patches, (int, np.integer)) and max_patches >= 1
    if not (max_patches is None or whole or (isinstance(max_patches, Rational) and 0 < max_patches <= 1)):
        raise PatchcliError(f"max_patches is {max_patches!r}; allowed are whole numbers from 1, and fractions up to 1")
    if not 0 <= min_std < math.inf:
        raise PatchcliError(f"min_std is {min_std}; allowed are finite numbers from 0")
    if min_cover is not None and (mask is None or not 0 <= min_cover <= 1):
        raise PatchcliError(f"min_cover is {min_cover}; allowed are parts from 0 to 1, where there is a mask")
    if min_valid is not None and not 0 <= min_valid <= 1:
        raise PatchcliError(f"min_valid is {min_valid}; allowed are parts from 0 to 1")
    padded = Padded(ArraySource(as_image(image)), grid, pad_mode, pad_value)
    inside = None
    if mask is not None:
        if np.shape(mask) != grid.image:
            raise PatchcliError(f"mask has shape {np.shape(mask)}; expected {grid.image}, height and width of the image")
        inside = Padded(ArraySource(as_image(np.asarray(mask) != 0)), grid, pad_mode)
    cover, valid = (None if part is None else Fraction(part) for part in (min_cover, min_valid))
    most = max_patches if max_patches is None or not whole else int(max_patches)
    chosen = choose(padded, Choice(most, seed, min_std, cover, valid, nodata), inside)
    return np.arange(grid.count) if chosen is None else chosen


def _candidates(padded: Padded, choice: Choice, mask: Padded | None) -> Iterator[NDArray[np.int64]]:
    """The patches that are valid and rough enough and inside the mask, in order, some patch rows at a time."""
    grid, (ny, nx) = padded.grid, padded.grid.shape
    pixels = grid.patch[0] * grid.patch[1]
    asked = [] if mask is None else [(choice.least_inside(pixels), box_counts(mask, np.asarray))]
    least = choice.least_valid(pixels)
    if least and not choice.min_std:  # which counts them itself
        asked.append((least, box_counts(padded, lambda lines: is_valid(lines, choice.nodata))))
    together = max(1, CANDIDATES_TOGETHER // nx)
    for first in range(0, ny, together):
        last = min(first + together, ny)
        index = np.arange(first * nx, last * nx)
        kept = [np.concatenate(list(islice(counts, last - first))) >= most for most, counts in asked]
        if kept:
            index = index[np.all(kept, axis=0)]
        if choice.min_std:
            spread, valid = stds(padded, index, choice.nodata)
            index = index[(spread >= choice.min_std) & (valid >= least)]
        yield index


def sample(candidates: Iterable[NDArray[np.int64]], size: int, seed: int) -> NDArray[np.int64]:
    """Draw ``size`` of all candidates (or all, if fewer) without replacement; sorted.

    Each index has a key, its place in a random permutation of the 64-bit numbers that the seed picks, and the smallest keys
    win: the same seed draws the same patches on every machine, and more of them contain the fewer.
    """
    kept, keys = np.empty(0, np.int64), np.empty(0, np.uint64)
    for index in candidates:
        kept, keys = np.concatenate([kept, index]), np.concatenate([keys, _keys(index, seed)])
        if len(kept) > size:
            smallest = np.argpartition(keys, size - 1)[:size]
            kept, keys = kept[smallest], keys[smallest]
    return np.sort(kept)


def _keys(index: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64 of a seed at ``index``: https://prng.di.unimi.it/splitmix64.c. Different indices have different keys."""
    key = index.astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        key += np.uint64(1)
        key *= np.uint64(0x9E3779B97F4A7C15)
        key += np.uint64(seed)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key ^= key >> np.uint64(shift)
            key *= np.uint64(factor)
        key ^= key >> np.uint64(31)
    return key


def stds(padded: Padded, index: NDArray[np.int64], nodata: float | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Standard deviation of the patches ``index`` ``(n,)`` of a grid, and how many of their pixels are valid, ``(n,)`` each.

    Of the population, in float64, of all channels of the valid pixels together; NaN for a patch that has none.
    """
    height, width = padded.grid.patch
    found = [_stds_of(part.reshape(len(part), height * width, -1), nodata) for part in cut_at(padded, index)]
    spreads, valid = zip((np.empty(0), np.empty(0, np.int64)), *found, strict=True)
    return np.concatenate(spreads), np.concatenate(valid)


def _stds_of(patches: NDArray[Any], nodata: float | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same of patches ``(n, h*w, C)``; that of each depends on no other."""
    count, pixels = patches.shape[:2]
    if patches.dtype.kind != "f" and nodata_in(patches.dtype, nodata) is None:
        return np.asarray(patches.reshape(count, -1).std(axis=1, dtype=np.float64)), np.full(count, pixels)
    valid = is_valid(patches, nodata)
    valid_count = np.count_nonzero(valid, axis=1)
    where = np.broadcast_to(valid[..., None], patches.shape)
    spread, holed = np.empty(count), valid_count < pixels
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the mean of nothing, which is NaN
        rest = patches[~holed] if holed.any() else patches
        spread[~holed] = rest.reshape(len(rest), pixels * patches.shape[2]).std(axis=1, dtype=np.float64)
        spread[holed] = np.std(patches[holed], axis=(1, 2), dtype=np.float64, where=where[holed])
        large = ~np.isfinite(spread)
        if patches.dtype == np.float64 and large.any():  # whose squares may not fit
            scale = np.max(np.abs(patches[large]), axis=(1, 2), keepdims=True, initial=0, where=where[large])
            spread[large] = np.std(patches[large] / scale, axis=(1, 2), where=where[large]) * scale[:, 0, 0]
    return spread, valid_count


def is_valid(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which pixels ``(a, b[, C])`` have channels that are all finite and not ``nodata``, bool ``(a, b)``."""
    value = nodata_in(pixels.dtype, nodata)
    valid = np.isfinite(pixels) if pixels.dtype.kind == "f" else np.ones(pixels.shape, bool)
    if value is not None:
        valid &= pixels != value
    return np.asarray(valid.all(axis=2) if pixels.ndim == 3 else valid)  # noqa: PLR2004


def box_counts(padded: Padded, of: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> Iterator[NDArray[np.int64]]:
    """How many pixels of each patch are true, ``(nx,)`` for one patch row after the other.

    Each line is read once, from above to below: ``total`` counts the true pixels of each column down to a line, and
    ``begun`` holds what it was at the top of every patch row that has not ended.

    Args:
        padded: the padded image of a grid.
        of: which pixels ``(h, w)`` of lines ``(h, w[, C])`` are true.
    """
    grid = padded.grid
    (height, width), (_, across) = grid.patch, grid.padded
    tops, lefts = grid.rows.starts, grid.columns.starts
    total = np.zeros(across, np.uint32)  # modulo 2**32: only differences count, which are smaller
    running = np.zeros(across + 1, np.int64)
    begun: deque[NDArray[np.uint32]] = deque()
    at, first = 0, 0
    for bottom, last in zip((tops + height).tolist(), np.searchsorted(tops, tops + height).tolist(), strict=True):
        for stop in (*tops[first:last].tolist(), bottom):  # of patch rows that begin above the end of this one, and its end
            at = at if begun else stop  # what lies between patches does not count
            while at < stop:
                further = min(stop, at + padded.reach)
                region = padded.region((at, further), (0, across))
                total += of(region.pixels[at - region.top : further - region.top]).sum(axis=0, dtype=np.uint32)
                at = further
            if stop < bottom:
                begun.append(total.copy())
        first = last
        np.cumsum(total - begun.popleft(), dtype=np.int64, out=running[1:])
        yield running[lefts + width] - running[lefts]
