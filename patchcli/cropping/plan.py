"""What a crop samples where: boxes, sizes and options checked and laid out along the two axes, before any pixel is read.

Letters: an image is ``(H, W[, C])``, a crop ``(h, w[, C])``, B is the number of crops, S that of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import as_array, as_image
from patchcli.cropping.coordinates import OUTSIDE, Span, span_of
from patchcli.cropping.taps import RESAMPLING, WIDE, Taps
from patchcli.errors import PatchcliError
from patchcli.geometry.box import check_boxes, describe
from patchcli.geometry.grid import pair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair

MAX_SIZE = 1 << 20  # pixels of one side of a crop
MAX_WIDE = 1 << 20  # pixels of one side of a box that is resampled by a filter as wide as its step


class Sampling(NamedTuple):
    """How a box is sampled.

    Attributes:
        normalized: boxes are corners ``(x0, y0, x1, y1)`` in normalised coordinates, else ``(x, y, width, height)`` in pixels.
        resampling: a key of `RESAMPLING`.
        align_corners: whether -1 and 1 are the centres of the corner pixels instead of the edges of the image.
        outside: a key of `OUTSIDE`.
    """

    normalized: bool = True
    resampling: str = "bilinear"
    align_corners: bool = False
    outside: str = "zeros"


class Plan(NamedTuple):
    """What is to be sampled where, of images that are known by their shape.

    Attributes:
        image: ``(S, H, W, C)``, the shape of the images.
        which: the image of each crop, ``(B,)``.
        rows: spans along the rows.
        columns: spans along the columns.
        whole: which boxes are whole pixels at their own size, ``(B,)``.
        shape: of the result, ``([B, ]h, w[, C])``.
    """

    image: tuple[int, int, int, int]
    which: NDArray[np.int64]
    rows: Span
    columns: Span
    whole: NDArray[np.bool_]
    shape: tuple[int, ...]


def plan_of(image: tuple[int, ...], box: ArrayLike, size: int | Pair | None, sampling: Sampling) -> Plan:
    """Check what is to be cropped, and lay it out; the rules of `crop`, of which ``image`` is the shape alone."""
    for name, word, table in (("resampling", sampling.resampling, RESAMPLING), ("outside", sampling.outside, OUTSIDE)):
        if not isinstance(word, str) or word not in table:
            raise PatchcliError(f"{name} is {word!r}; allowed are {', '.join(table)}")
    for name, flag in (("normalized", sampling.normalized), ("align_corners", sampling.align_corners)):
        if not isinstance(flag, (bool, np.bool_)):
            raise PatchcliError(f"{name} is {flag!r:.40}; allowed are True and False")
    gray = len(image) == 2  # noqa: PLR2004
    number, height, width, channels = (1, *image, 1) if gray else (1, *image)[-4:]
    given = check_boxes(box)
    boxes = np.atleast_2d(given)
    batch = len(image) == 4 or given.ndim == 2  # noqa: PLR2004
    if number > 1 and len(boxes) not in (1, number):
        raise PatchcliError(f"there are {number} images and {len(boxes)} boxes; allowed are one box, or one for each image")
    which = np.arange(number) if number > 1 else np.zeros(len(boxes), np.int64)
    boxes = np.broadcast_to(boxes, (len(which), 4))
    rows, columns = spans_of(boxes, (height, width), size, sampling)
    shape = rows.size, columns.size
    whole = np.zeros(len(which), np.bool_)
    if not sampling.normalized:
        own = (np.abs(rows.extent) == shape[0]) & (np.abs(columns.extent) == shape[1])
        whole = own & (rows.start == np.floor(rows.start)) & (columns.start == np.floor(columns.start))
    result = (*shape,) if gray else (*shape, channels)
    seen = number, height, width, channels
    return Plan(seen, which, rows, columns, whole, (len(which), *result) if batch else result)


def as_images(image: ArrayLike) -> NDArray[Any]:
    """One image or several as ``(S, H, W, C)``, C-contiguous; a view where it can be."""
    array = as_image(as_array(image, "image"), several=True)
    return array[None, ..., None] if array.ndim == 2 else array.reshape(-1, *array.shape[-3:])  # noqa: PLR2004


def spans_of(
    boxes: NDArray[np.float64], image: tuple[int, ...], size: int | Pair | None, sampling: Sampling
) -> tuple[Span, Span]:
    """Spans of rows and columns of boxes ``(B, 4)`` of an image ``(H, W)``, with the size of the crop, all checked."""
    rows, columns = _spans(boxes, image, sampling)
    shape = _size_of(rows, columns, size)
    rows, columns = rows._replace(size=shape[0]), columns._replace(size=shape[1])
    if sampling.outside == "error":
        _check_inside(rows, columns)
    if sampling.resampling in WIDE:
        _check_reach(rows, columns)
    return rows, columns


def _spans(boxes: NDArray[np.float64], image: tuple[int, ...], sampling: Sampling) -> tuple[Span, Span]:
    """Spans of rows and columns, not empty."""
    (left, top), (right, bottom) = boxes[:, :2].T, boxes[:, 2:].T
    rows, columns = (
        span_of(first, second, 1, length, normalized=sampling.normalized, align_corners=sampling.align_corners)
        for first, second, length in ((top, bottom, image[0]), (left, right, image[1]))
    )
    empty = (boxes[:, :2] == boxes[:, 2:]).any(axis=1) if sampling.normalized else (boxes[:, 2:] == 0).any(axis=1)
    if empty.any():
        number = int(np.argmax(empty))
        raise PatchcliError(
            f"box is empty: width={columns.extent[number]:g} height={rows.extent[number]:g}; both must differ from 0"
        )
    return rows, columns


def _size_of(rows: Span, columns: Span, size: int | Pair | None) -> Pair:
    """The size asked for, or that of the boxes themselves: whole pixels, at least one."""
    if size is None:
        height, width = (np.maximum(1, np.rint(np.abs(span.extent))) for span in (rows, columns))
        other = (height != height[0]) | (width != width[0])
        if other.any():
            number = int(np.argmax(other))
            raise PatchcliError(
                f"boxes are of different sizes (width={width[0]:g} height={height[0]:g}, number {number} width={width[number]:g} "
                f"height={height[number]:g}) and no size is given; give one, or boxes of equal size"
            )
        shape = int(height[0]), int(width[0])
    else:
        shape = pair("crop size", size.item() if isinstance(size, np.ndarray) and size.ndim == 0 else size)
    if not all(1 <= side <= MAX_SIZE for side in shape):
        raise PatchcliError(f"crop size is width={shape[1]} height={shape[0]}; allowed are 1 to {MAX_SIZE}")
    return shape


def _check_reach(rows: Span, columns: Span) -> None:
    """Refuse boxes of so many pixels that weighing each of them would take all memory."""
    for span in (rows, columns):
        widest = float(np.abs(span.extent).max())
        if widest > MAX_WIDE:
            raise PatchcliError(
                f"box is {widest:g} pixels wide or high, all of which area and lanczos would weigh; allowed are {MAX_WIDE}"
            )


def _check_inside(rows: Span, columns: Span) -> None:
    """Refuse boxes that reach outside the image."""
    for row, height, column, width in zip(rows.start, rows.extent, columns.start, columns.extent, strict=True):
        for start, extent, end in ((column, width, columns.length), (row, height, rows.length)):
            if min(start, start + extent) < 0 or max(start, start + extent) > end:
                raise PatchcliError(
                    f"box {describe((column, row, width, height))} reaches outside the image of width={columns.length} "
                    f"height={rows.length}; use outside zeros, border or reflection"
                )


def taps_of(span: Span, sampling: Sampling, *, moving: bool = False) -> Taps:
    """The taps of an axis, with their motions if wanted."""
    return RESAMPLING[sampling.resampling](span, sampling.outside, moving=moving)
