"""Sample an image by taking pixels or lines by their index: for few taps.

Letters: images are ``(S, H, W, C)``, C-contiguous, seen as one row of pixels; B crops of ``(h, w, C)``, k taps along an axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import all_finite, settle, work_dtype
from patchcli.strided import item_dtype
from patchcli.threads import map_in_order, reuse_memory, usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from patchcli.cropping.taps import Taps

PART_VALUES = 1 << 16  # values gathered at once
LINE_VALUES = 600_000  # values of the lines of one part: a share of the cache
CLOSE = 4  # a gap between columns that is still cheaper to read than to leave out


def in_parts(work: Callable[[Any], None], parts: Iterator[Any], nbytes: float) -> None:
    """Do ``work`` for each part, on more than one core where there are enough bytes to move."""
    for _ in map_in_order(work, parts, usable_threads(int(nbytes))):
        pass


def _slices(size: int, step: int) -> Iterator[slice]:
    """``range(size)`` in slices that follow each other, so that no output line is written by two threads."""
    return (slice(at, min(at + step, size)) for at in range(0, size, step))


def pick(image: NDArray[Any], rows: Taps, columns: Taps, out: NDArray[Any]) -> None:
    """One tap each: pixels of an image ``(H, W, C)`` by index, exact in every dtype; 0 where a weight is 0.

    Args:
        image: ``(H, W, C)``.
        rows: taps ``(h, 1)``.
        columns: taps ``(w, 1)``.
        out: ``(h, w, C)``, C-contiguous, in the image's dtype.
    """
    height, width, channels = image.shape
    lines, places = rows.pixel[:, 0], columns.pixel[:, 0]
    item = item_dtype(image.itemsize * channels)
    pixels, into = image.reshape(height, -1).view(item), out.reshape(len(lines), -1).view(item)
    low, high = int(places.min()), int(places.max()) + 1
    if high - low == len(places) and (np.diff(places) == 1).all():

        def part(span: slice) -> None:
            into[span] = pixels[lines[span], low:high]
    elif high - low <= CLOSE * len(places):

        def part(span: slice) -> None:
            np.take(pixels[lines[span], low:high], places - low, axis=1, out=into[span], mode="clip")
    else:

        def part(span: slice) -> None:
            np.take(pixels.reshape(-1), lines[span, None] * width + places, out=into[span], mode="clip")

    in_parts(part, _slices(len(lines), max(1, 4 * PART_VALUES // len(places))), 8 * out.nbytes)
    out[rows.weight[:, 0] == 0] = 0
    out[:, columns.weight[:, 0] == 0] = 0


def gather_taps(image: NDArray[Any], rows: Taps, columns: Taps, out: NDArray[Any]) -> None:
    """Each tap of each pixel by itself; what has no weight does not count, be it NaN.

    ``out[y, x] = sum_a rows.weight[y, a] * (sum_b columns.weight[x, b] * image[rows.pixel[y, a], columns.pixel[x, b]])``

    Args:
        image: ``(H, W, C)``.
        rows: taps ``(h, k)``.
        columns: taps ``(w, k)``.
        out: ``(h, w, C)``, C-contiguous, in the image's dtype.
    """
    _, width, channels = image.shape
    work = work_dtype(image.dtype)
    pixels = image.reshape(-1).view(item_dtype(image.itemsize * channels))
    across = np.repeat(columns.weight, channels, axis=0).T.astype(work, order="C")
    down = rows.weight.astype(work)
    wild = image.dtype.kind == "f"

    def add(span: slice | NDArray[np.int64], weigh: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        def line(tap: int) -> NDArray[Any]:
            start = rows.pixel[span, tap, None] * width
            values = (pixels.take(start + places).view(image.dtype).reshape(-1, across.shape[1]) for places in columns.pixel.T)
            return weigh(_added(map(weigh, values, across)), down[span, tap, None])

        return _added(line(tap) for tap in range(down.shape[1]))

    def part(span: slice) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            total = add(span, _weighted)
            if wild and not all_finite(total):
                spoiled = spoiled_lines(total)
                total[spoiled] = add(span.start + spoiled, _counted)
        settle(total.reshape(out[span].shape), out[span])

    step = max(1, PART_VALUES // across.shape[1])
    in_parts(part, _slices(len(down), step), 8 * out.nbytes * down.shape[1] * len(across))


def spoiled_lines(lines: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the lines ``(r, ...)`` that hold NaN or infinity: each by itself, so that no line depends on others."""
    return np.flatnonzero(~np.isfinite(lines.reshape(len(lines), -1)).all(axis=1))


def _added(terms: Iterator[NDArray[Any]]) -> NDArray[Any]:
    """The sum of new arrays, in place of the first, in their order: rounding depends on it."""
    total = next(terms)
    for term in terms:
        total += term
    return total


def _weighted(values: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Values times weights, in the dtype of the weights; in place where they have it."""
    product: NDArray[Any] = np.multiply(values, weight, values if values.dtype == weight.dtype else None, dtype=weight.dtype)
    return product


def _counted(values: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Values times weights, 0 where the weight is, whatever the value."""
    return np.where(weight == 0, weight.dtype.type(0), _weighted(values, weight))


# -- lines: rows are added first, as long lines; columns are taken from what came out ----------------------------------------


class _Part(NamedTuple):
    """Some lines of some crops: all of a few crops, or a few lines of one.

    Attributes:
        crops: their numbers, ``(n,)``.
        span: the output lines, r of them.
        width: N, pixels of a line.
        low: the column where the lines of each crop begin, ``(n,)``.
    """

    crops: NDArray[np.int64]
    span: slice
    width: int
    low: NDArray[np.int64]


def lines(
    images: NDArray[Any], which: NDArray[np.int64], rows: Taps, columns: Taps, out: NDArray[Any], crops: NDArray[np.int64]
) -> None:
    """B crops of one size: taps of rows as weighted lines, taps of columns as pixels of those.

    The sum of `gather_taps` in the other order: first
    ``added[y, i] = sum_a rows.weight[y, a] * image[rows.pixel[y, a], low + i]``,
    then ``out[y, x] = sum_b columns.weight[x, b] * added[y, columns.pixel[x, b] - low]``. The line that is read at row r and
    column ``low`` is item ``r*W + low`` of ``windows``: every run of N pixels of the images, overlapping, none copied.

    Args:
        images: ``(S, H, W, C)``.
        which: the image of each crop, ``(B,)``.
        rows: taps ``(B, h, k)``.
        columns: taps ``(B, w, k)``.
        out: ``(B, h, w, C)``, C-contiguous, in the images' dtype.
        crops: numbers of those that are wanted.
    """
    _, height, width, channels = images.shape
    work = work_dtype(images.dtype)
    flat = images.reshape(-1)
    starts = which * (height * width)
    down = rows.weight.astype(work)

    def part(one: _Part) -> None:
        shape = (len(one.crops), one.span.stop - one.span.start, one.width * channels)
        window = item_dtype(shape[2] * images.itemsize)
        pixel = channels * images.itemsize
        windows = np.ndarray((flat.size // channels - one.width + 1,), window, flat, strides=(pixel,))
        places = (starts[one.crops] + one.low)[:, None, None] + rows.pixel[one.crops, one.span] * width
        with np.errstate(invalid="ignore", over="ignore"):
            added = _add_lines(windows, places, down[one.crops, one.span], images.dtype, shape)
            made = _take_columns(added, columns, one, channels).reshape(*shape[:2], *out.shape[2:])
        wild = images.dtype.kind == "f" and not all_finite(made)
        spoiled = [spoiled_lines(each) for each in made] if wild else []  # a line is multiplied by 0 where it does not count
        if len(made) == 1:
            settle(made[0], out[one.crops[0], one.span])
        else:
            settled = made if made.dtype == out.dtype else np.empty(made.shape, out.dtype)
            if settled is not made:
                settle(made, settled)
            out[one.crops] = settled
        for crop, some in zip(one.crops.tolist(), spoiled, strict=False):
            if len(some):
                again = np.empty((len(some), *out.shape[2:]), out.dtype)
                gather_taps(images[which[crop]], rows.of(crop).part(one.span.start + some), columns.of(crop), again)
                out[crop, one.span.start + some] = again

    reuse_memory()
    in_parts(part, _parts(rows, columns, width, channels, crops), 8 * out.nbytes)


def _parts(rows: Taps, columns: Taps, width: int, channels: int, crops: NDArray[np.int64]) -> Iterator[_Part]:
    """Parts that fit the cache: crops that read lines of about the same width are next to each other."""
    first, last = columns.pixel.min(axis=(1, 2)), columns.pixel.max(axis=(1, 2))
    reach = last - first + 1
    order = crops[np.argsort(reach[crops], kind="stable")]
    size, wide = rows.pixel.shape[1], columns.pixel.shape[1]
    at = 0
    while at < len(order):
        values = size * max(int(reach[order[at]]), wide) * channels
        some = order[at : at + max(1, LINE_VALUES // values)]
        reads = int(reach[some].max())
        low = np.minimum(first[some], width - reads)
        at += len(some)
        step = size if len(some) > 1 else max(1, LINE_VALUES // (max(reads, wide) * channels))
        for span in _slices(size, step):
            yield _Part(some, span, reads, low)


def _add_lines(
    windows: NDArray[Any],
    places: NDArray[np.int64],
    weight: NDArray[Any],
    dtype: np.dtype[Any],
    shape: tuple[int, int, int],
) -> NDArray[Any]:
    """Windows at ``places`` ``(n, r, k)``, weighted and added over k: ``(n, r, N*C)``."""
    lines = (windows[places[..., tap]].view(dtype).reshape(shape) for tap in range(places.shape[2]))
    return _added(_weighted(line, weight[..., tap, None]) for tap, line in enumerate(lines))


def _take_columns(added: NDArray[Any], columns: Taps, one: _Part, channels: int) -> NDArray[Any]:
    """Columns of lines ``(n, r, N*C)``, weighted and added over their taps: ``(n, r, w*C)``.

    A thread waits for the interpreter's lock after each call, so what can be done for all crops at once is.
    """
    index = (columns.pixel[one.crops] - one.low[:, None, None]).transpose(2, 0, 1)[..., None] * channels + np.arange(channels)
    index = index.reshape(*index.shape[:2], -1)
    weight = np.repeat(columns.weight[one.crops].transpose(2, 0, 1).astype(added.dtype), channels, axis=2)
    total: NDArray[Any]
    values: NDArray[Any]
    total, values = np.empty((2, *added.shape[:2], index.shape[2]), added.dtype)
    for tap, (at, by) in enumerate(zip(index, weight, strict=True)):
        into = values if tap else total
        for crop, line in enumerate(added):
            np.take(line, at[crop], axis=1, out=into[crop], mode="clip")
        into *= by[:, None]
        if tap:
            total += values
    return total
