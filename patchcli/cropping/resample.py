"""Sample images by taps of their rows and columns: as a copy, as lines, as gathers or as matrices, whichever is cheapest.

Letters: S images ``(S, H, W, C)``, C-contiguous, C being 1 for gray; B crops ``(h, w, C)``; k taps along an axis. 8-bit numbers,
bool, float16 and float32 are computed in float32, everything else in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import all_finite, limits, settle, work_dtype
from patchcli.cropping.gather import gather_taps, lines, pick
from patchcli.cropping.matmul import Bands, Columns, Rows, bands_of, block_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.cropping.taps import Taps

FEW_TAPS = 4
MID_BYTES = 6 << 20  # of what stands between the two passes of matrices
GATHER_COST = 5  # of a value gathered by itself, over a value of a line


def resample(
    images: NDArray[Any], which: NDArray[np.int64], rows: Taps, columns: Taps, *, saturate: bool = False
) -> NDArray[Any]:
    """Weighted sums of pixels along rows and columns.

    Args:
        images: ``(S, H, W, C)``, C-contiguous.
        which: the image of each crop, ``(B,)``.
        rows: taps ``(B, h, k)``.
        columns: taps ``(B, w, k)``.
        saturate: what the first pass makes is saturated, as integers are, and passes come in Pillow's order.

    Returns:
        A new array ``(B, h, w, C)`` in the images' dtype, integers rounded to nearest, ties to even, and saturated. What has
        no weight does not count, be it NaN.
    """
    out = np.empty((*rows.pixel.shape[:2], columns.pixel.shape[1], images.shape[3]), images.dtype)
    if _plain(rows) and _plain(columns):
        for crop, image in enumerate(which.tolist()):
            pick(images[image], rows.of(crop), columns.of(crop), out[crop])
        return out
    if rows.pixel.shape[2] <= FEW_TAPS and columns.pixel.shape[2] <= FEW_TAPS and not saturate:
        sparse = _sparse(rows, columns)
        for crop in np.flatnonzero(sparse).tolist():
            gather_taps(images[which[crop]], rows.of(crop), columns.of(crop), out[crop])
        if not sparse.all():
            lines(images, which, rows, columns, out, np.flatnonzero(~sparse))
        return out
    for crop, number in enumerate(which.tolist()):
        image, down, across, into = images[number], rows.of(crop), columns.of(crop), out[crop]
        multiply(image, down, across, into, saturate=saturate)
        if image.dtype.kind == "f" and not all_finite(into):
            gather_taps(image, down, across, into)  # a matrix multiplies by 0 what does not count
    return out


def _plain(taps: Taps) -> bool:
    """Whether each output pixel is one input pixel, or none."""
    return taps.pixel.shape[-1] == 1 and bool(np.isin(taps.weight, (0, 1)).all())


def _sparse(rows: Taps, columns: Taps) -> NDArray[np.bool_]:
    """Of which crops the columns are so far apart that it is better to pick them one by one, ``(B,)``."""
    deep, (_, width, wide) = rows.pixel.shape[2], columns.pixel.shape
    reach = columns.pixel.max(axis=(1, 2)) - columns.pixel.min(axis=(1, 2)) + 1
    return np.asarray(GATHER_COST * deep * wide * width < reach * deep + width * wide)


def multiply(image: NDArray[Any], rows: Taps, columns: Taps, out: NDArray[Any], *, saturate: bool) -> None:
    """Two passes of matrices over parts of the crop, ``R X C`` as ``(R X) C`` or ``R (X C)``, whichever leaves less to do.

    Parts are output lines ``start`` to ``stop``, whole blocks of the rows' bands: each output line is made once, from the input
    lines ``top`` to ``bottom`` alone. Parts overlap in what they read, so with columns first some lines are multiplied twice.
    """
    height, width, channels = image.shape
    work = work_dtype(image.dtype)
    left, right = int(columns.pixel.min()), int(columns.pixel.max()) + 1
    across = Columns(_bands(columns, left, right - left, 24, work), channels)
    down = Rows(_bands(rows, 0, height, 8, work))
    flat, into = image.reshape(height, -1)[:, left * channels : right * channels], out.reshape(len(out), -1)
    if saturate:  # as Pillow 13 has it, found by trying: where clipping bites, the order of the passes shows
        rows_first = 0 < height - len(out) > 2 * (width - out.shape[1])
    else:
        rows_first = len(out) * (right - left) <= int(np.ptp(rows.pixel) + 1) * out.shape[1]
    direct = image.dtype == work
    step = _lines_at_once(down.bands, flat.shape[1] * work.itemsize, into.shape[1] * work.itemsize, direct=direct)
    for start in range(0, len(out), step):
        stop = min(start + step, len(out))
        top, bottom = down.bands.inputs(start, stop)
        part = flat[top:bottom] if direct else flat[top:bottom].astype(work)
        made = into[start:stop] if direct else np.empty((stop - start, into.shape[1]), work)
        middle = np.empty((stop - start, flat.shape[1]) if rows_first else (bottom - top, into.shape[1]), work)
        with np.errstate(invalid="ignore", over="ignore"):
            if rows_first:
                down.apply(part, start, stop, top, middle)
            else:
                across.apply(part, middle)
            if saturate:
                np.clip(middle, *limits(image.dtype), out=middle)
            if rows_first:
                across.apply(middle, made)
            else:
                down.apply(middle, start, stop, top, made)
        if not direct:
            settle(made, into[start:stop])


def _lines_at_once(bands: Bands, wide: int, narrow: int, *, direct: bool) -> int:
    """Output lines whose input, where it is converted, and what stands between the passes stay near the cache."""
    read = 0 if direct else bands.reach / bands.block * wide
    return max(bands.block, int(MID_BYTES / max(read, wide, narrow)) // bands.block * bands.block)


def _bands(taps: Taps, low: int, length: int, least: int, work: np.dtype[Any]) -> Bands:
    """Taps as bands whose blocks suit how far apart the output pixels are."""
    step = float(np.ptp(taps.pixel)) / max(1, len(taps.pixel) - 1)
    return bands_of(taps.pixel - low, taps.weight, length, block_of(taps.pixel.shape[1], step, least), work)
