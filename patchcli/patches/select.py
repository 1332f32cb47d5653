"""Choose which patches of a grid to keep: rough ones, those inside a mask, a random sample.

Kernels: arrays in, arrays out. A choice is a sorted array of indices into the grid; it depends on the pixels, the grid and
the numbers given, never on the machine.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import as_image
from patchcli.errors import PatchcliError
from patchcli.patches.extract import check_grid, cut_at, pad

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
        min_std: least standard deviation of a patch's values, all channels together, where these are finite; 0 keeps all.
        min_cover: least part of a patch's pixels that lie inside the mask, where there is one; None for half of them.
    """

    most: int | Fraction | None = None
    seed: int = 0
    min_std: float = 0
    min_cover: Fraction | None = None

    def least_inside(self, pixels: int) -> int:
        """How many of so many pixels must lie inside the mask."""
        over, under = (1, 2) if self.min_cover is None else (self.min_cover.numerator, self.min_cover.denominator)
        return -(-over * pixels // under)


def choose(padded: NDArray[Any], grid: Grid, choice: Choice, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64] | None:
    """The patches of a grid that a choice keeps.

    Args:
        padded: the padded image, ``(H', W'[, C])``.
        grid: where the patches lie.
        choice: which to keep.
        mask: of the padded image, ``(H', W')``.

    Returns:
        Sorted indices into the grid, int64 ``(n,)``; None for all.

    Raises:
        PatchcliError: no patch is left.
    """
    if choice.most is None and not choice.min_std and mask is None:
        return None
    candidates = _candidates(padded, grid, choice, mask)
    if choice.most is None:
        kept = np.concatenate(list(candidates))
    elif isinstance(choice.most, int):
        kept = sample(candidates, choice.most, choice.seed)
    else:
        kept = np.concatenate(list(candidates))
        kept = sample([kept], max(1, int(len(kept) * choice.most)), choice.seed)
    if not len(kept):
        asked = [f"a standard deviation of {choice.min_std:g}"] * bool(choice.min_std)
        least = choice.least_inside(grid.patch[0] * grid.patch[1])
        asked += [f"{least} pixels inside the mask"] * (mask is not None)
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
    pad_mode: str = "reflect",
    pad_value: float = 0,
) -> NDArray[np.int64]:
    """Choose patches of an image: rough ones, those inside a mask, a random sample of what remains.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        grid: where the patches lie.
        max_patches: at most this many, or this part of them, drawn without replacement.
        seed: of the draw; the same seed draws the same patches on every machine.
        min_std: least standard deviation of a patch's values, of the pixels whose channels are all finite; a patch
            without any is dropped.
        mask: ``(H, W)``; inside is where it is not 0.
        min_cover: least part of a patch's pixels inside the mask; half of them if not given.
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
    padded = pad(as_image(image), grid, pad_mode, pad_value)
    inside = None
    if mask is not None:
        if np.shape(mask) != grid.image:
            raise PatchcliError(f"mask has shape {np.shape(mask)}; expected {grid.image}, height and width of the image")
        inside = pad(as_image(np.asarray(mask) != 0), grid, pad_mode)
    least = None if min_cover is None else Fraction(min_cover)
    most = max_patches if max_patches is None or not whole else int(max_patches)
    chosen = choose(padded, grid, Choice(most, seed, min_std, least), inside)
    return np.arange(grid.count) if chosen is None else chosen


def _candidates(padded: NDArray[Any], grid: Grid, choice: Choice, mask: NDArray[np.bool_] | None) -> Iterator[NDArray[np.int64]]:
    """The patches that are rough enough and inside the mask, in order."""
    inside = None if mask is None else running_sums(mask)
    for first in range(0, grid.count, CANDIDATES_TOGETHER):
        index = np.arange(first, min(first + CANDIDATES_TOGETHER, grid.count))
        if inside is not None:
            least = choice.least_inside(grid.patch[0] * grid.patch[1])
            index = index[box_sums(inside, grid.starts_of(index), grid.patch) >= least]
        if choice.min_std:
            index = index[stds(padded, grid, index) >= choice.min_std]
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


def stds(padded: NDArray[Any], grid: Grid, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation (of the population, in float64) of the patches ``index`` ``(n,)`` of a grid, ``(n,)``.

    Only pixels whose channels are all finite count; NaN for a patch that has none.
    """
    found = [_stds_of(part.reshape(len(part), grid.patch[0] * grid.patch[1], -1)) for part in cut_at(padded, grid, index)]
    return np.concatenate([np.empty(0), *found])


def _stds_of(patches: NDArray[Any]) -> NDArray[np.float64]:
    """The same of patches ``(n, h*w, C)``."""
    if patches.dtype.kind != "f":
        return np.asarray(patches.reshape(len(patches), -1).std(axis=1, dtype=np.float64))
    finite = np.broadcast_to(np.isfinite(patches).all(axis=2, keepdims=True), patches.shape)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the mean of nothing, which is NaN
        if finite.all():
            spread = patches.reshape(len(patches), -1).std(axis=1, dtype=np.float64)
        else:
            spread = np.std(patches, axis=(1, 2), dtype=np.float64, where=finite)
        large = ~np.isfinite(spread)
        if patches.dtype == np.float64 and large.any():  # whose squares may not fit
            scale = np.max(np.abs(patches[large]), axis=(1, 2), keepdims=True, initial=0, where=finite[large])
            spread[large] = np.std(patches[large] / scale, axis=(1, 2), where=finite[large]) * scale[:, 0, 0]
    return np.asarray(spread)


def running_sums(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Summed-area table ``(H'+1, W'+1)`` of a mask ``(H', W')``."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    return sums


def box_sums(sums: NDArray[np.int64], starts: NDArray[np.int64], patch: Pair) -> NDArray[np.int64]:
    """How many pixels of the mask lie in the patches at ``starts`` ``(n, 2)``, from its summed-area table."""
    top, left = starts[:, 0], starts[:, 1]
    bottom, right = top + patch[0], left + patch[1]
    count: NDArray[np.int64] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return count
