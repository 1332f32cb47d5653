"""Sample images by taps of their rows and columns: as a copy, as lines, as gathers or as matrices, whichever is cheapest.

Letters: S images ``(S, H, W, C)``, C-contiguous, C being 1 for gray; B crops ``(h, w, C)``; k taps along an axis. 8-bit numbers,
bool, float16 and float32 are computed in float32, everything else in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import all_finite, limits, settle, work_dtype
from patchcli.cropping.gather import gather_taps, lines, pick, spoiled_lines
from patchcli.cropping.matmul import Bands, Columns, Rows, bands_of, block_of
from patchcli.cropping.taps import Taps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

Read = Callable[["Pair", "Pair"], "NDArray[Any]"]  # some rows and columns of an image, ``(h, w, C)``

FEW_TAPS = 4
ROWS_AT_ONCE = 1 << 25  # of rows that are read at once, in the dtype of the matrices
MID_BYTES = 6 << 20  # of what stands between the two passes of matrices
GATHER_COST = 5  # of a value gathered by itself, over a value of a line


def resample(images: NDArray[Any], which: NDArray[np.int64], rows: Taps, columns: Taps) -> NDArray[Any]:
    """Weighted sums of pixels along rows and columns, of few taps.

    Args:
        images: ``(S, H, W, C)``, C-contiguous.
        which: the image of each crop, ``(B,)``.
        rows: taps ``(B, h, k)``.
        columns: taps ``(B, w, k)``.

    Returns:
        A new array ``(B, h, w, C)`` in the images' dtype, integers rounded to nearest, ties to even, and saturated. What has
        no weight does not count, be it NaN. A line of a crop is the same whatever else is made with it.
    """
    out = np.empty((*rows.pixel.shape[:2], columns.pixel.shape[1], images.shape[3]), images.dtype)
    if _plain(rows) and _plain(columns):
        for crop, image in enumerate(which.tolist()):
            pick(images[image], rows.of(crop), columns.of(crop), out[crop])
        return out
    sparse = _sparse(rows, columns)
    for crop in np.flatnonzero(sparse).tolist():
        gather_taps(images[which[crop]], rows.of(crop), columns.of(crop), out[crop])
    if not sparse.all():
        lines(images, which, rows, columns, out, np.flatnonzero(~sparse))
    return out


class Sampler:
    """One crop ``(h, w, C)`` of an image ``(H, W, C)`` that is known by its shape: any lines of it, from the pixels they read.

    What decides on the order of sums follows from the taps and the shape alone: lines are the same, bit for bit, however the
    image is read, and whatever others are made with them.

    Args:
        image: ``(H, W, C)``.
        dtype: of the image.
        rows: taps ``(h, k)``.
        columns: taps ``(w, k)``.
        saturate: what the first of two passes makes is saturated, as integers are, and passes come in Pillow's order.

    Attributes:
        step: lines that are made together: parts of the crop begin at a multiple of it.
        deep: rows of the image that are read at once, at most; more only where NaN or infinity lie in them.
    """

    def __init__(self, image: tuple[int, int, int], dtype: np.dtype[Any], rows: Taps, columns: Taps, *, saturate: bool) -> None:
        self._rows, self._columns = rows, columns
        self._across = _reach(columns.pixel)
        few = max(rows.pixel.shape[1], columns.pixel.shape[1]) <= FEW_TAPS and not saturate
        few = few or (_plain(rows) and _plain(columns))
        self._matrices = None if few else Matrices(image, dtype, rows, columns, saturate=saturate)
        self.step, self.deep = (1, image[0]) if self._matrices is None else (self._matrices.step, self._matrices.deep)

    def window(self, start: int, stop: int) -> tuple[Pair, Pair]:
        """The rows and columns of the image that lines ``start`` to ``stop`` are made from."""
        rows = _reach(self._rows.pixel[start:stop]) if self._matrices is None else self._matrices.inputs(start, stop)
        return rows, self._across

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The whole crop ``(h, w, C)`` of an image ``(H, W, C)``, C-contiguous, that is all there."""
        if self._matrices is None:
            made: NDArray[Any] = resample(image[None], np.zeros(1, np.int64), self._rows.alone(), self._columns.alone())[0]
            return made
        return self.lines(lambda rows, columns: image[slice(*rows), slice(*columns)], 0, len(self._rows.pixel))

    def lines(self, read: Read, start: int, stop: int) -> NDArray[Any]:
        """Lines ``start``, a multiple of ``step``, to ``stop`` of the crop, a multiple or h.

        Returns:
            An array ``(stop - start, w, C)`` in the dtype of what is read, as of `resample`; that itself where it is the crop.
        """
        if self._matrices is None:
            pixels, rows, columns = self._pixels(read, np.arange(start, stop))
            if _copies_all(rows) and _copies_all(columns):
                return pixels
            made: NDArray[Any] = resample(pixels[None], np.zeros(1, np.int64), rows.alone(), columns.alone())[0]
            return made
        out = self._matrices.multiply(read, self._across, start, stop)
        if out.dtype.kind == "f" and not all_finite(out):  # a matrix multiplies by 0 what does not count
            for first in range(0, len(out), self.step):
                wanted = first + spoiled_lines(out[first : first + self.step])
                if len(wanted):
                    again = np.empty((len(wanted), *out.shape[1:]), out.dtype)
                    gather_taps(*self._pixels(read, start + wanted), again)
                    out[wanted] = again
        return out

    def _pixels(self, read: Read, wanted: NDArray[np.int64]) -> tuple[NDArray[Any], Taps, Taps]:
        """The pixels that some lines read, ``(h', w', C)``, and the taps of these, counted from the first pixel."""
        index = self._rows.pixel[wanted]
        rows = _reach(index)
        pixels = np.ascontiguousarray(read(rows, self._across))
        columns = Taps(self._columns.pixel - self._across[0], self._columns.weight)
        return pixels, Taps(index - rows[0], self._rows.weight[wanted]), columns


def _reach(index: NDArray[np.int64]) -> Pair:
    """From the first of some pixels to behind the last."""
    return int(index.min()), int(index.max()) + 1


def _plain(taps: Taps) -> bool:
    """Whether each output pixel is one input pixel, or none."""
    return taps.pixel.shape[-1] == 1 and bool(np.isin(taps.weight, (0, 1)).all())


def _copies_all(taps: Taps) -> bool:
    """Whether output pixels are the input pixels, in their order."""
    in_order = taps.pixel.shape[-1] == 1 and np.array_equal(taps.pixel[:, 0], np.arange(len(taps.pixel)))
    return in_order and bool((taps.weight == 1).all())


def _sparse(rows: Taps, columns: Taps) -> NDArray[np.bool_]:
    """Of which crops the columns are so far apart that it is better to pick them one by one, ``(B,)``."""
    deep, (_, width, wide) = rows.pixel.shape[2], columns.pixel.shape
    reach = columns.pixel.max(axis=(1, 2)) - columns.pixel.min(axis=(1, 2)) + 1
    return np.asarray(GATHER_COST * deep * wide * width < reach * deep + width * wide)


class Matrices:
    """Two passes of matrices over parts of a crop, ``R X C`` as ``(R X) C`` or ``R (X C)``, whichever leaves less to do.

    Parts are ``step`` output lines, whole blocks of the rows' bands: each output line is made once, from the input lines of its
    part alone, of which ``deep`` are read at once; what more of them make is added. Parts overlap in what they read, so with
    columns first some lines are multiplied twice.

    Args:
        image: ``(H, W, C)``.
        dtype: of the image.
        rows: taps ``(h, k)``.
        columns: taps ``(w, k)``.
        saturate: as in `Sampler`.
    """

    def __init__(self, image: tuple[int, int, int], dtype: np.dtype[Any], rows: Taps, columns: Taps, *, saturate: bool) -> None:
        height, width, channels = image
        self._saturate, self._work, self._dtype, self._channels = saturate, work_dtype(dtype), dtype, channels
        size = len(rows.pixel), len(columns.pixel)
        left, right = _reach(columns.pixel)
        wide = right - left
        self._across = Columns(_bands(columns, left, wide, 24, self._work), channels)
        self._down = Rows(_bands(rows, 0, height, 8, self._work))
        self._read, self._made = wide * channels, size[1] * channels  # values of a line
        if saturate:  # as Pillow 13 has it, found by trying: where clipping bites, the order of the passes shows
            self._rows_first = 0 < height - size[0] > 2 * (width - size[1])
        else:
            self._rows_first = size[0] * wide <= (int(np.ptp(rows.pixel)) + 1) * size[1]
        nbytes = self._read * self._work.itemsize, self._made * self._work.itemsize
        self.step = _lines_at_once(self._down.bands, *nbytes, direct=dtype == self._work)
        self.deep = max(1, ROWS_AT_ONCE // nbytes[0])

    def inputs(self, start: int, stop: int) -> Pair:
        """The rows of the image from which lines ``start`` to ``stop`` are made."""
        return self._down.bands.inputs(start, stop)

    def multiply(self, read: Read, columns: Pair, start: int, stop: int) -> NDArray[Any]:
        """Lines ``start`` to ``stop``, ``(stop - start, w, C)``, of the columns that are read; as `Sampler.lines`."""
        out = np.empty((stop - start, self._made), self._dtype)
        for first in range(start, stop, self.step):
            last = min(first + self.step, stop)
            into = out[first - start : last - start]
            made = into if self._dtype == self._work else np.empty(into.shape, self._work)
            with np.errstate(invalid="ignore", over="ignore"):
                self._multiply(read, columns, (first, last), made)
            if made is not into:
                settle(made, into)
        return out.reshape(stop - start, -1, self._channels)

    def _multiply(self, read: Read, columns: Pair, lines: Pair, made: NDArray[Any]) -> None:
        """One part."""
        top, bottom = self.inputs(*lines)
        at_once = bottom - top <= self.deep
        middle = np.empty((len(made), self._read), self._work) if self._rows_first else made
        if not at_once:
            middle[...] = 0
        for first in range(top, bottom, self.deep):
            part = self._values(read((first, min(first + self.deep, bottom)), columns))
            if not self._rows_first:
                part = self._narrow(part)
            self._down.apply(part, *lines, first, middle, add=not at_once)
        if self._rows_first:
            self._saturated(middle)
            self._across.apply(middle, made)

    def _values(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Rows ``(r, N, C)`` that were read, as ``(r, N*C)`` in the dtype of the matrices."""
        flat = pixels.reshape(len(pixels), -1)
        if flat.dtype != self._work:
            return flat.astype(self._work)
        # BLAS adds up a vector in another order where it is spread in memory
        return np.ascontiguousarray(flat) if flat.shape[1] == 1 else flat

    def _narrow(self, part: NDArray[Any]) -> NDArray[Any]:
        out = np.empty((len(part), self._made), self._work)
        self._across.apply(part, out)
        self._saturated(out)
        return out

    def _saturated(self, values: NDArray[Any]) -> None:
        if self._saturate:
            np.clip(values, *limits(self._dtype), out=values)


def _lines_at_once(bands: Bands, wide: int, narrow: int, *, direct: bool) -> int:
    """Output lines whose input, where it is converted, and what stands between the passes stay near the cache."""
    read = 0 if direct else bands.reach / bands.block * wide
    return max(bands.block, int(MID_BYTES / max(read, wide, narrow)) // bands.block * bands.block)


def _bands(taps: Taps, low: int, length: int, least: int, work: np.dtype[Any]) -> Bands:
    """Taps as bands whose blocks suit how far apart the output pixels are."""
    step = float(taps.pixel.max() - taps.pixel.min()) / max(1, len(taps.pixel) - 1)
    return bands_of(
        taps.pixel - low if low else taps.pixel, taps.weight, length, block_of(taps.pixel.shape[1], step, least), work
    )
