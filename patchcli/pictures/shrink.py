"""An image of any height made smaller while its lines pass by: means of square blocks, or of labels their middle."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import sum_dtype
from patchcli.strided import channels_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

VALUES_AT_ONCE = 1 << 16  # of those that are asked whether they are valid; what is made for it stays in the cache
LARGEST_BLOCK = 1 << 14  # pixels of a side, up to which 32 bits a value add up exactly in 64


def shrunk(
    lines: Iterable[NDArray[Any]], shape: tuple[int, ...], factor: int, *, labels: bool = False, nodata: float | None = None
) -> NDArray[Any]:
    """An image made smaller by a `Shrinker` of the same arguments; ``lines`` are its parts ``(n, W[, C])``, none of them kept."""
    small = Shrinker(shape, factor, labels=labels, nodata=nodata)
    for piece in lines:
        small.add(piece)
    return small.result()


class Shrinker:
    """An image made smaller by a whole factor ``k`` while its lines pass by, ``(ceil(H / k), ceil(W / k)[, C])``.

    ``out[i, j]`` is the mean of the valid pixels of ``image[i*k : (i+1)*k, j*k : (j+1)*k]``, fewer at the far sides, NaN where
    none is valid. Means are float32, of float64 and of integers of 64 bits float64.

    Args:
        shape: ``(H, W[, C])`` of the image.
        factor: ``k``, at least 1; 1 gives the pixels as they are, in their own dtype.
        labels: no mean, but the pixel at the middle of the block, in its own dtype.
        nodata: a pixel is not valid if all its channels are this; nor is a value that is not finite.
    """

    def __init__(self, shape: tuple[int, ...], factor: int, *, labels: bool = False, nodata: float | None = None) -> None:
        self._shape, self._factor, self._labels, self._nodata = shape, factor, labels, nodata
        self._middles = [_middle_of_blocks(length, factor) for length in shape[:2]]
        self._row = 0
        self._out: NDArray[Any] | None = None
        self._sums: _BlockSums | None = None

    def add(self, piece: NDArray[Any]) -> None:
        """The next lines, ``(n, W[, C])`` of any number; they are not kept."""
        factor, mixed = self._factor, self._factor > 1 and not self._labels
        if self._out is None:
            size = tuple(-(-length // factor) for length in self._shape[:2])
            self._out = np.empty((*size, *self._shape[2:]), _mean_dtype(piece.dtype) if mixed else piece.dtype)
        if mixed:
            self._add_up(piece, self._out)
            return
        rows, columns = self._middles  # which are all of them where nothing becomes smaller
        first, last = np.searchsorted(rows, [self._row, self._row + len(piece)])
        these = piece[rows[first:last] - self._row] if factor > 1 else piece
        self._out[first:last] = these[:, columns] if factor > 1 else these
        self._row += len(piece)

    def _add_up(self, piece: NDArray[Any], out: NDArray[Any]) -> None:
        """Add lines up, in parts none of which reaches over the end of a block."""
        factor, values = self._factor, int(np.prod(self._shape[1:]))
        most = factor if _all_valid(piece.dtype, self._nodata) else max(1, VALUES_AT_ONCE // values)
        if self._sums is None:
            self._sums = _BlockSums(self._shape, factor, piece.dtype, self._nodata)
        start = 0
        together = max(1, VALUES_AT_ONCE // (values * factor)) * factor  # lines of whole blocks, of an image that is narrow
        while start < len(piece):
            rows = min(together, (len(piece) - start) // factor * factor) if self._row % factor == 0 else 0
            if rows > factor:
                out[self._row // factor : (self._row + rows) // factor] = self._sums.means(piece[start : start + rows])
                self._row, start = self._row + rows, start + rows
                continue
            stop = min(start + most, start + factor - self._row % factor, len(piece))
            self._sums.add(piece[start:stop])
            self._row, start = self._row + stop - start, stop
            if self._row % factor == 0 or self._row == self._shape[0]:
                out[(self._row - 1) // factor] = self._sums.take()

    def result(self) -> NDArray[Any]:
        """The smaller image, once all lines were given."""
        return np.empty(0) if self._out is None else self._out


class Peaks:
    """Differences ``(H, W[, C])`` made smaller while their lines pass by: ``(ceil(H / k), ceil(W / k))`` float64.

    ``out[i, j]`` is the value of the largest magnitude in its block, over all channels, with its sign, so that what is small is
    still seen; NaN where none is finite.

    Args:
        shape: ``(H, W[, C])``.
        factor: ``k``, at least 1.
    """

    def __init__(self, shape: tuple[int, ...], factor: int) -> None:
        self._factor, (self._height, width) = factor, shape[:2]
        self._starts = np.arange(0, width, factor)
        size = -(-self._height // factor), len(self._starts)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)
        self._row = 0

    def add(self, piece: NDArray[Any]) -> None:
        """The next lines, ``(n, W[, C])`` of any number."""
        finite = np.isfinite(piece)
        blocks = np.arange(self._row, self._row + len(piece)) // self._factor
        first, starts = int(blocks[0]), np.flatnonzero(np.diff(blocks, prepend=-1))
        for extreme, kept in ((np.minimum, self._low), (np.maximum, self._high)):
            values = piece if finite.all() else np.where(finite, piece, np.inf if extreme is np.minimum else -np.inf)
            flat = values if values.ndim == 2 else extreme.reduce(values, axis=2)  # noqa: PLR2004
            rows = extreme.reduceat(extreme.reduceat(flat, self._starts, axis=1), starts, axis=0)
            here = kept[first : first + len(rows)]
            extreme(here, rows, out=here)
        self._row += len(piece)

    def result(self) -> NDArray[np.float64]:
        """The values, once all lines were given."""
        largest = np.where(self._high >= -self._low, self._high, self._low)
        return np.where(np.isfinite(largest), largest, np.nan)


def _middle_of_blocks(length: int, factor: int) -> NDArray[np.int64]:
    starts = np.arange(0, length, factor)
    return (starts + np.minimum(starts + factor, length)) // 2


def _mean_dtype(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float64 if dtype.itemsize == 8 else np.float32  # noqa: PLR2004


def _all_valid(dtype: np.dtype[Any], nodata: float | None) -> bool:
    return dtype.kind != "f" and nodata is None


def _valid(part: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which values of ``(n, W[, C])`` count: those that are finite, of pixels that are not nodata in all channels."""
    if nodata is None:
        finite: NDArray[np.bool_] = np.isfinite(part)
        return finite
    given = ~are_nodata(part, nodata)
    given = np.repeat(given, channels_of(part), axis=1).reshape(part.shape)  # faster than to broadcast
    return np.isfinite(part) & given if part.dtype.kind == "f" else given


def are_nodata(pixels: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Which pixels ``(h, w)`` of ``(h, w[, C])`` are nodata in all their channels."""
    whole = pixels.dtype.kind in "iu" and float(nodata).is_integer()
    with np.errstate(over="ignore"):  # what the dtype cannot hold is infinite in it, and no value either
        equal: NDArray[np.bool_] = pixels == (int(nodata) if whole else nodata)
    return equal if pixels.ndim == 2 else functools.reduce(np.logical_and, np.moveaxis(equal, 2, 0))  # noqa: PLR2004


class _BlockSums:
    """Sums down the columns of one line of blocks, and, where some values are not valid, how many there are.

    Args:
        shape: of the image.
        factor: pixels along a side of a block.
        dtype: of the image.
        nodata: as `shrunk` has it.
    """

    def __init__(self, shape: tuple[int, ...], factor: int, dtype: np.dtype[Any], nodata: float | None) -> None:
        exact = dtype.kind != "f" and dtype.itemsize < 8 and factor <= LARGEST_BLOCK  # noqa: PLR2004
        self._factor, self._rows, self._nodata = factor, 0, nodata
        # a power of two, by which float64 is made smaller so that no sum of finite values is infinite
        self._unit = 4.0 ** -math.ceil(math.log2(factor)) if dtype.newbyteorder("=") == np.float64 else 1.0
        self._total: type[Any] | np.dtype[Any] = sum_dtype(dtype, factor * factor) if exact else np.float64
        self._sums = np.zeros(shape[1:], sum_dtype(dtype, factor) if exact else np.float64)
        self._counts = None if _all_valid(dtype, nodata) else np.zeros(shape[1:], np.int32)
        self._columns = self._blocks(np.ones((1, shape[1], *(1 for _ in shape[2:])), np.int64), np.int64)

    def add(self, part: NDArray[Any]) -> None:
        """Some lines ``(n, W[, C])`` of it."""
        self._rows += len(part)
        sums, counts = self._down(part[None])
        self._sums += sums[0]
        if self._counts is not None:
            self._counts += counts[0]

    def take(self) -> NDArray[Any]:
        """The means of the blocks, float64 ``(ceil(W / k)[, C])``; the next line of blocks begins with nothing."""
        counts = None if self._counts is None else self._counts[None]
        means: NDArray[Any] = self._divided(self._sums[None], counts, self._rows)[0]
        self._rows = 0
        self._sums[...] = 0
        if self._counts is not None:
            self._counts[...] = 0
        return means

    def means(self, part: NDArray[Any]) -> NDArray[Any]:
        """Those of several whole lines of blocks ``(m * k, W[, C])`` at once, float64 ``(m, ceil(W / k)[, C])``."""
        sums, counts = self._down(part.reshape(-1, self._factor, *part.shape[1:]))
        return self._divided(sums, counts, self._factor)

    def _down(self, parts: NDArray[Any]) -> tuple[NDArray[Any], Any]:
        """Sums down the columns of ``(m, n, W[, C])``, and, where not all values count, how many do."""
        counts = None
        if self._counts is not None:
            lines = parts.reshape(-1, *parts.shape[2:])
            valid = _valid(lines, self._nodata)
            lines = np.where(valid, lines, lines.dtype.type(0)) if lines.dtype.kind == "f" else lines * valid
            if self._unit != 1:
                lines *= self._unit
            counts = np.add.reduce(valid.reshape(parts.shape), axis=1, dtype=np.int32)
            parts = lines.reshape(parts.shape)
        with np.errstate(invalid="ignore", over="ignore"):  # then their mean is infinite, or NaN
            return np.add.reduce(parts, axis=1, dtype=self._sums.dtype), counts

    def _divided(self, sums: NDArray[Any], counts: NDArray[Any] | None, rows: int) -> NDArray[Any]:
        """Means from sums down columns of so many rows, ``(m, W[, C])``."""
        with np.errstate(invalid="ignore", over="ignore"):  # of nothing, or of what is infinite
            total = self._blocks(sums, self._total)
            known = self._columns * rows if counts is None else self._blocks(counts, np.int64)
            means: NDArray[Any] = np.divide(total, known, dtype=np.float64, casting="unsafe")
            means /= self._unit
        return means

    def _blocks(self, values: NDArray[Any], dtype: type[Any] | np.dtype[Any]) -> NDArray[Any]:
        """Sums of ``k`` neighbours along lines ``(m, W[, C])``: by long strided additions, as blocks themselves may be short."""
        k, (count, width) = self._factor, values.shape[:2]
        out = np.zeros((count, -(-width // k), *values.shape[2:]), dtype)
        for channel in np.ndindex(values.shape[2:]):
            mine, total = values[(..., *channel)], out[(..., *channel)]
            if k > width // k:
                np.add.reduceat(mine, np.arange(0, width, k), axis=1, dtype=dtype, out=total)
                continue
            line = np.zeros(total.shape, dtype)
            for first in range(k):
                every = mine[:, first::k]
                line[:, : every.shape[1]] += every
            total[...] = line
        return out
