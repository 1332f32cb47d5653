"""Boxes: the part of an image that a crop shows, in pixels or in the normalised coordinates of grid_sample.

A pixel box is ``(x, y, width, height)`` of pixel edges: the image is (0, 0, W, H). A normalised box is ``(x0, y0, x1, y1)``,
two opposite corners, (-1, -1) being top left and (1, 1) bottom right. Negative sizes, or x1 < x0, mirror the crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair

Box = tuple[float, float, float, float]
Numbers = Any  # a float or an array of them

WHOLE = 2.0**31  # box numbers beyond this are no pixels of any image
FARTHEST = 4  # normalised corners beyond this are hardly meant as such, but as pixels


def normalized_box(pixels: Box, image: Pair, *, align_corners: bool = False) -> Box:
    """Corners ``(x0, y0, x1, y1)`` in normalised coordinates of a pixel box ``(x, y, width, height)``.

    Without ``align_corners`` -1 and 1 are the outer edges of the image, with it they are the centres of its corner pixels
    (an axis of one pixel then has no scale, and any coordinate on it means that pixel).

    >>> normalized_box((0, 0, 4, 2), (4, 8))
    (-1.0, -1.0, 0.0, 0.0)
    """
    x, y, width, height = pixels
    x0, x1 = normalized_span(x, width, image[1], align_corners=align_corners)
    y0, y1 = normalized_span(y, height, image[0], align_corners=align_corners)
    return x0, y0, x1, y1


def pixel_box(box: Box, image: Pair, *, align_corners: bool = False) -> Box:
    """The inverse of `normalized_box`: ``(x, y, width, height)`` in pixels.

    >>> pixel_box((-1, -1, 0, 0), (4, 8))
    (0.0, 0.0, 4.0, 2.0)
    """
    x, width = pixel_span(box[0], box[2], image[1], align_corners=align_corners)
    y, height = pixel_span(box[1], box[3], image[0], align_corners=align_corners)
    return x, y, width, height


def normalized_span(start: Numbers, extent: Numbers, length: int, *, align_corners: bool) -> tuple[Numbers, Numbers]:
    """The ends of a span of pixel edges in normalised coordinates; numbers or arrays."""
    if not align_corners:
        return 2 * start / length - 1, 2 * (start + extent) / length - 1
    if length == 1:
        return 0 * extent - 1.0, 0 * extent + 1.0
    inward = np.sign(extent) / 2  # from the edge of the first pixel to its centre
    first, last = start + inward - 0.5, start + extent - inward - 0.5
    scale = 2 / (length - 1)
    return first * scale - 1, last * scale - 1


def pixel_span(low: Numbers, high: Numbers, length: int, *, align_corners: bool) -> tuple[Numbers, Numbers]:
    """The inverse of `normalized_span`: where a span starts and its extent, in pixels."""
    if not align_corners:
        return (low + 1) * length / 2, (high - low) * length / 2
    inward = np.sign(high - low) / 2
    return (low + 1) * (length - 1) / 2 + 0.5 - inward, (high - low) * (length - 1) / 2 + 2 * inward


def check_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """One box or several as ``(4,)`` or ``(B, 4)`` float64, each of four finite numbers that can be pixels of an image.

    Raises:
        PatchcliError: another shape, NaN, infinity, or a number beyond any image.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.ndim not in (1, 2) or array.shape[-1] != 4 or not array.size:  # noqa: PLR2004
        raise PatchcliError(f"box is {boxes!s:.80}; allowed are four finite numbers below 2**31, or several boxes (B, 4)")
    good = (np.abs(array) < WHOLE).all(axis=-1)
    if not good.all():
        first = array if array.ndim == 1 else array[int(np.argmin(good))]
        raise PatchcliError(f"box is {tuple(first.tolist())}; allowed are four finite numbers below 2**31")
    return array


def describe(box: Box) -> str:
    """A pixel box in words."""
    return "x={:g} y={:g} width={:g} height={:g}".format(*box)
