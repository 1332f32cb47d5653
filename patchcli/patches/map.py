"""Give patches to a function, batch by batch, and put what it returns together: no stack of them all is ever made."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import as_image, check_real
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.placement import Placement
from patchcli.patches.extract import FOLD_BYTES, check_grid, gather_at, gather_range, numbers_of
from patchcli.patches.merge import checked_dtype, checked_rule, merge_from
from patchcli.patches.normalize import Wanted
from patchcli.patches.padded import ArraySource, Padded
from patchcli.patches.sources import inside
from patchcli.patches.windows import as_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid

    Function = Callable[[NDArray[Any], NDArray[np.int64]], Any]  # of patches (B, h, w[, C]) and their origins (B, 2)


def with_origins(function: Callable[..., Any]) -> Function:
    """A function of patches as one of patches and origins, which it gets by the keyword ``origins`` if it has one."""
    try:
        takes = "origins" in inspect.signature(function).parameters
    except (ValueError, TypeError):  # some that are not written in Python do not say
        takes = False
    if takes:
        return lambda patches, origins: function(patches, origins=origins)
    return lambda patches, _origins: function(patches)


def returned_array(made: Any) -> NDArray[Any]:  # noqa: ANN401  whatever a function returns
    """What a function returned, as an array.

    Raises:
        PatchcliError: numpy makes none of it, or one of objects, as of None.
    """
    try:
        array = np.asarray(made)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths; tensors on a device, or with a gradient
        raise PatchcliError(f"the function returned {type(made).__name__}, of which numpy makes no array: {error}") from error
    if array.dtype == object and not isinstance(made, np.ndarray):
        raise PatchcliError(f"the function returned {type(made).__name__}, not an array; is a return missing?")
    return array


class Batches:
    """Which patches are given to a function together: it follows from the grid and the size asked for alone.

    Args:
        grid: of the patches.
        count: of those that are mapped, all of the grid or some.
        patch_bytes: of each.
        size: patches of a batch but the last; None for as many as are folded at once, of the same size and dtype.
    """

    def __init__(self, grid: Grid, count: int, patch_bytes: int, size: int | None = None) -> None:
        across, most = grid.columns.count, max(1, FOLD_BYTES // patch_bytes)
        self.count, self._row = count, count
        if size is not None:
            self.size = size
        elif count < grid.count:
            self.size = most
        elif across > most:
            self.size, self._row = most, across
        else:
            self.size = across * max(1, FOLD_BYTES // (patch_bytes * across))

    def of(self, number: int) -> Pair:
        """First and last (excluded) of the batch that a patch is in."""
        row = number // self._row * self._row
        first = row + (number - row) // self.size * self.size
        return first, min(first + self.size, row + self._row, self.count)


class Mapped:
    """What a function makes of the patches of a padded image, as a `PatchSource`.

    They are cut when they are asked for, in growing order, and no more of them are held than are asked for at once, and a batch.

    Args:
        padded: the image.
        index: numbers of the patches, increasing; None for all of its grid.
        function: takes a batch ``(B, h, w[, C])`` that it must not change, and origins ``(B, 2)``; returns ``(B, h', w'[, C'])``.
        batch: patches of a batch; None for about `FOLD_BYTES` of them.
        known: the shape of what the function makes of a patch, and its dtype; None where that is not known. The first batch is
            made at once then.

    Attributes:
        shape: ``(N, h', w'[, C'])``.
        dtype: of what it returns.

    Raises:
        PatchcliError: what a function returns that is no batch of as many patches, or not of the size and dtype of the first.
    """

    by_number = True

    def __init__(
        self,
        padded: Padded,
        index: NDArray[np.int64] | None,
        function: Function,
        *,
        batch: int | None = None,
        known: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
    ) -> None:
        self._padded, self._index, self._function = padded, index, function
        grid = padded.grid
        self._patch = *grid.patch, *padded.shape[2:]
        count = grid.count if index is None else len(index)
        nbytes = grid.patch[0] * grid.patch[1] * padded.pixel_bytes
        self._batches = Batches(grid, count, nbytes, batch)
        self.shape: tuple[int, ...] = ()
        self.dtype = padded.dtype
        self._first = self._last = 0
        self._made: NDArray[Any] = np.empty(0)
        if known is None:
            self._make(0)
        else:
            self.shape, self.dtype = (count, *known[0]), known[1]

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All of them, in order, in pieces of ``counts``."""
        first = 0
        for count in counts:
            yield self._taken(first, first + count)
            first += count

    def planes(self) -> None:
        """None: they are patches."""

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that gives patches whose numbers follow on each other, and on those before."""
        return lambda numbers: self._taken(int(numbers[0]), int(numbers[-1]) + 1)

    def _taken(self, first: int, last: int) -> NDArray[Any]:
        """What became of some patches: a view where they are of one batch."""
        parts = []
        while first < last:
            if not self._first <= first < self._last:
                self._made = np.empty(0)  # let go before more is made
                self._make(first)
            parts.append(self._made[first - self._first : last - self._first])
            first = self._last
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _make(self, number: int) -> None:
        """Make the batch of a patch."""
        first, last = self._batches.of(number)
        patches = np.empty((last - first, *self._patch), self._padded.dtype)
        if self._index is None:
            gather_range(self._padded, first, last, patches)
            origins = self._padded.grid.origins(first, last)
        else:
            starts = self._padded.grid.starts_of(self._index[first:last])
            gather_at(self._padded, starts, patches)
            origins = starts - self._padded.grid.margin
        patches.flags.writeable = False
        try:
            made = returned_array(self._function(patches, origins))
            made = np.ascontiguousarray(made, made.dtype.newbyteorder("="))
            self._check(made, last - first)
        except PatchcliError as error:
            raise PatchcliError(f"{error}; {_in_words(first, last, origins)}") from error
        self._made, self._first, self._last = made, first, last

    def _check(self, made: NDArray[Any], count: int) -> None:
        """Refuse what is not a batch of as many patches, like those before."""
        check_real(made.dtype, "what the function returned")
        if made.ndim not in (3, 4) or len(made) != count or 0 in made.shape:
            shape = ", ".join(map(str, self._patch))
            raise PatchcliError(
                f"the function returned an array of shape {made.shape} for {counted(count, 'patch')} ({count}, {shape}); "
                f"allowed are ({count}, h, w) and ({count}, h, w, channels)"
            )
        if not self.shape:
            self.shape, self.dtype = (self._batches.count, *made.shape[1:]), made.dtype
        if (made.shape[1:], made.dtype) != (self.shape[1:], self.dtype):
            raise PatchcliError(
                f"the function returned patches of shape {made.shape[1:]} and {made.dtype}, and of shape {self.shape[1:]} and "
                f"{self.dtype} before; return equal ones each time"
            )


def _in_words(first: int, last: int, origins: NDArray[np.int64]) -> str:
    """Which patches were given to a function when it failed."""
    (top, left), (bottom, right) = origins[0].tolist(), origins[-1].tolist()
    return f"given were the patches {first} to {last - 1}, with origins from x={left} y={top} to x={right} y={bottom}"


def map_patches(
    image: ArrayLike,
    grid: Grid,
    function: Callable[..., Any],
    *,
    batch: int | None = None,
    index: ArrayLike | None = None,
    pad_mode: str = "reflect",
    pad_value: float = 0,
    reduce: str = "mean",
    window: ArrayLike | str = "uniform",
    dtype: DTypeLike | None = None,
    fill: float | None = None,
    allow_nonfinite: bool = False,
    halo: int = 0,
) -> NDArray[Any]:
    """Cut an image, give its patches to a function, rebuild the image of what that returns: the stack is never made.

    Equal, bit for bit, to `extract`, the function on the same batches, and `merge`.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        grid: where the patches lie.
        function: called with read-only batches ``(B, h, w[, C])`` in the image's dtype, and, if it has a parameter of that name,
            ``origins``, int64 ``(B, 2)`` (row, column) in the image. It returns an array of as many patches, of any real dtype
            and number of channels, of the same size, of that size times k or 1/k, or without a halo on each side. What becomes
            of a patch must depend on that patch alone.
        batch: ``B``, of all batches but the last; about 8 MiB of patches if not given.
        index: numbers ``(n,)`` of the patches to map, from 0 in row-major order, as `choose_patches` gives them; else all.
        pad_mode: how margin and padding are filled, as in `extract`.
        pad_value: the value for ``constant``.
        reduce: how overlapping values are combined, as in `merge`.
        window: weights of a mean, as in `merge`.
        dtype: of the result; that of the image if not given. It is reached as in `merge`.
        fill: value for pixels that no patch covers, as in `merge`.
        allow_nonfinite: let NaN and infinity through, as in `merge`.
        halo: pixels on each side of what the function returns that are not used, or that it lost, as in `merge`.

    Returns:
        A new array ``(H', W'[, C'])``: ``(H, W)``, or as many times that as the function's patches are of what it was given.

    Raises:
        PatchcliError: an image that is none or not of the grid's shape, what `merge` refuses, results of a function that are not
            such patches. Whatever the function raises is passed on.

    >>> from patchcli import Grid
    >>> image = np.arange(12).reshape(3, 4)
    >>> map_patches(image, Grid((3, 4), 2, stride=1), lambda patches: patches * 10)[2].tolist()
    [80, 90, 100, 110]
    """
    check_grid(grid)
    if batch is not None and (not isinstance(batch, (int, np.integer)) or batch < 1):
        raise PatchcliError(f"batch is {batch!r}; give a whole number of patches from 1")
    padded = Padded(ArraySource(as_image(image)), grid, pad_mode, pad_value)
    numbers = None if index is None else np.sort(numbers_of(grid, index))
    mapped = Mapped(padded, numbers, with_origins(function), batch=batch)
    placement = Placement.whole_grid(grid) if numbers is None else Placement.at(grid, grid.starts_of(numbers) - grid.margin)
    placement = placement.resized((mapped.shape[1], mapped.shape[2]), halo)
    wanted = Wanted(padded.dtype if dtype is None else checked_dtype(dtype), fill, allow_nonfinite=allow_nonfinite)
    rule = checked_rule(reduce, as_window(window, placement.grid.patch), mapped.dtype)
    return merge_from(inside(mapped, placement.grid.patch), placement, rule, wanted=wanted).image()
