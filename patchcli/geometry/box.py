"""Boxes: the part of an image that a crop shows, in pixels or in the normalised coordinates of grid_sample.

A pixel box is ``(x, y, width, height)`` of pixel edges: the image is (0, 0, W, H). A normalised box is ``(x0, y0, x1, y1)``,
two opposite corners, (-1, -1) being top left and (1, 1) bottom right. Negative sizes, or x1 < x0, mirror the crop.
Fractions ``(cx, cy, width, height)``, centre and size, are of the image's width and height.
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

FARTHEST = 4  # normalised corners beyond are hardly meant as such
BOX_LIMIT = 2.0**31  # box numbers beyond this are no pixels of any image
WHOLE: Box = (0.5, 0.5, 1.0, 1.0)  # of an image, in fractions
FRACTION = 1e-6  # fractions are mostly written with six decimals


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


def fraction_box(fractions: Box, image: Pair) -> Box:
    """``(x, y, width, height)`` in pixels of fractions ``(cx, cy, width, height)`` of an image.

    An edge that is less than a millionth of the image away from a whole pixel is there: so much is lost where fractions are
    written with six decimals.

    >>> fraction_box((0.270833, 0.5625, 0.333333, 0.5), (64, 96))
    (10.0, 20.0, 32.0, 32.0)
    """
    cx, cy, width, height = fractions
    left, right = (_at_whole((cx + side * width / 2) * image[1], image[1] * FRACTION) for side in (-1, 1))
    top, bottom = (_at_whole((cy + side * height / 2) * image[0], image[0] * FRACTION) for side in (-1, 1))
    return left, top, right - left, bottom - top


def _at_whole(edge: float, tolerance: float) -> float:
    """The whole pixel beside which an edge lies, as near as that; else the edge."""
    return float(round(edge)) if abs(edge - round(edge)) <= tolerance else edge


def size_within(size: tuple[float, float], most: Pair) -> Pair | None:
    """The largest size ``(h, w)`` within another that keeps the shape of ``size``; None where that is not larger itself.

    >>> size_within((300, 400), (100, 100)), size_within((30, 40), (100, 100))
    ((75, 100), None)
    """
    height, width = size
    scale = min(most[0] / height, most[1] / width)
    return (max(1, round(height * scale)), max(1, round(width * scale))) if scale < 1 else None


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
    good = (np.abs(array) < BOX_LIMIT).all(axis=-1)
    if not good.all():
        first = array if array.ndim == 1 else array[int(np.argmin(good))]
        raise PatchcliError(f"box is {tuple(first.tolist())}; allowed are four finite numbers below 2**31")
    return array


def describe(box: Box, digits: int = 12) -> str:
    """A pixel box in words, its numbers to so many digits.

    >>> describe((130.00001, 0.1 + 0.2, 30, 1234567))
    'x=130.00001 y=0.3 width=30 height=1234567'
    """
    return "x={} y={} width={} height={}".format(*(shown(number, digits) for number in box))


def shown(number: float, digits: int = 12) -> str:
    """A number to so many digits, or to all that it has where it would look like a whole one and is not.

    >>> shown(1 / 3), shown(130 + 2**-44), shown(-4.0)
    ('0.333333333333', '130.00000000000006', '-4')
    """
    short = f"{number:.{digits}g}"
    return repr(float(number)).removesuffix(".0") if float(short).is_integer() else short
