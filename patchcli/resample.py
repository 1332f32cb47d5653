"""Crop a box of an image at a chosen size, sampled as PyTorch's affine_grid and grid_sample do.

A box is given by its corners in normalised coordinates, (-1, -1) top left and (1, 1) bottom right of the image. The map
from the crop to the image is the affine Theta with rows ((x1-x0)/2, 0, (x1+x0)/2) and (0, (y1-y0)/2, (y1+y0)/2). It only
scales and shifts, so rows and columns are sampled independently: each is a short list of taps (index, weight).

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html and
https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchcli.dtypes import convert
from patchcli.errors import PatchcliError
from patchcli.grid import pair
from patchcli.patches import as_image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from patchcli.axis import Pair

Box = tuple[float, float, float, float]
Place = NDArray[np.float64]
Sampling = Callable[[Place], "Taps"]

MAX_SIZE = 1 << 20  # pixels of one side of a crop
SAMPLE_VALUES = 1 << 18  # values computed at once
WHOLE = 2.0**31  # box numbers beyond this are no pixels of any image


@dataclass(frozen=True)
class Taps:
    """Input indices and weights of each output position along one axis, both ``(n, taps)``."""

    index: NDArray[np.int64]
    weight: NDArray[np.float64]


def normalized_box(pixels: Box, image: Pair, *, align_corners: bool = False) -> Box:
    """Corners ``(x0, y0, x1, y1)`` in normalised coordinates of a pixel box ``(x, y, width, height)``.

    Without ``align_corners`` -1 and 1 are the outer edges of the image, with it they are the centres of its corner pixels
    (an axis of one pixel then has no scale, and any coordinate on it means that pixel).

    >>> normalized_box((0, 0, 4, 2), (4, 8))
    (-1.0, -1.0, 0.0, 0.0)
    """
    x, y, width, height = pixels
    (x0, x1), (y0, y1) = (
        _normalized_span(start, extent, length, align_corners)
        for start, extent, length in ((x, width, image[1]), (y, height, image[0]))
    )
    return x0, y0, x1, y1


def _normalized_span(start: float, extent: float, length: int, align_corners: bool) -> tuple[float, float]:
    if not align_corners:
        return 2 * start / length - 1, 2 * (start + extent) / length - 1
    if length == 1:
        return -1.0, 1.0
    return 2 * start / (length - 1) - 1, 2 * (start + extent - 1) / (length - 1) - 1


def pixel_box(box: Box, image: Pair, *, align_corners: bool = False) -> Box:
    """The inverse of `normalized_box`: ``(x, y, width, height)`` in pixels."""
    x0, y0, x1, y1 = box
    (x, width), (y, height) = (
        ((low + 1) * length / 2, (high - low) * length / 2)
        if not align_corners
        else ((low + 1) * (length - 1) / 2, (high - low) * (length - 1) / 2 + math.copysign(1, high - low))
        for low, high, length in ((x0, x1, image[1]), (y0, y1, image[0]))
    )
    return x, y, width, height


def _fused(factor: float, values: NDArray[Any], term: float) -> NDArray[np.float64]:
    """``factor * values + term`` rounded once, as PyTorch's linspace and grid_sample do.

    It decides where ties of nearest fall. An 80-bit long double holds the product exactly for up to 4096 pixels; where long
    double is no wider than double, a tie may fall to the other side.
    """
    return np.asarray(np.longdouble(factor) * values + np.longdouble(term), np.float64)


def positions(low: float, high: float, size: int, length: int, *, align_corners: bool) -> NDArray[np.float64]:
    """Where ``size`` output pixels of the span ``low`` to ``high`` lie on an axis of ``length`` input pixels, in pixels.

    affine_grid puts output pixel j at u = -1 + 2j/(size-1), or at u = -1 + (2j+1)/size without align_corners; the affine
    map gives the normalised coordinate (high-low)/2 * u + (high+low)/2, grid_sample turns it into pixels.
    """
    if size == 1:
        base = np.zeros(1)
    else:
        index, step = np.arange(size), 2 / (size - 1)
        base = np.where(index < size // 2, _fused(step, index, -1), _fused(-step, size - 1 - index, 1))
    if not align_corners:
        base = np.asarray(base * (size - 1) / size, np.float64)
    coordinate = base * ((high - low) / 2) + (high + low) / 2
    if align_corners:
        return (coordinate + 1) * ((length - 1) / 2)
    return _fused(length / 2, coordinate + 1, -0.5)


def _reflect(position: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Fold positions at ``low`` and ``high``, as often as it takes."""
    span = high - low
    if span == 0:
        return np.zeros_like(position)
    distance = np.abs(position - low)
    turns = np.floor(distance / span)
    rest = distance - turns * span
    return np.where(turns % 2 == 0, rest + low, high - rest)


def _place_border(position: NDArray[np.float64], length: int, _align_corners: bool) -> NDArray[np.float64]:
    return np.clip(position, 0, length - 1)


def _place_reflection(position: NDArray[np.float64], length: int, align_corners: bool) -> NDArray[np.float64]:
    low, high = (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)
    return np.clip(_reflect(position, low, high), 0, length - 1)


def _place_zeros(position: NDArray[np.float64], _length: int, _align_corners: bool) -> NDArray[np.float64]:
    return position


OUTSIDE: dict[str, Callable[[Place, int, bool], Place]] = {
    "zeros": _place_zeros,
    "border": _place_border,
    "reflection": _place_reflection,
    "error": _place_zeros,
}


def _nearest(position: NDArray[np.float64]) -> Taps:
    """One tap: the nearest pixel, ties to even as nearbyint has them."""
    return Taps(np.rint(position).astype(np.int64)[:, None], np.ones((len(position), 1)))


def _bilinear(position: NDArray[np.float64]) -> Taps:
    """Two taps, weighted by nearness."""
    left = np.floor(position)
    part = (position - left)[:, None]
    return Taps(left.astype(np.int64)[:, None] + np.arange(2), np.concatenate([1 - part, part], axis=1))


RESAMPLING: dict[str, Sampling] = {"nearest": _nearest, "bilinear": _bilinear}


def _inside(taps: Taps, length: int) -> Taps:
    """Taps outside the axis get weight 0 and an index that can be read."""
    weight = np.where((taps.index >= 0) & (taps.index < length), taps.weight, 0.0)
    return Taps(np.clip(taps.index, 0, length - 1), weight)


def crop(
    image: ArrayLike,
    box: Box,
    size: int | Pair | None = None,
    *,
    normalized: bool = True,
    resampling: str = "bilinear",
    align_corners: bool = False,
    outside: str = "zeros",
) -> NDArray[Any]:
    """Crop a box of an image and sample it at a size: ``affine_grid`` followed by ``grid_sample``.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype.
        box: corners ``(x0, y0, x1, y1)`` in normalised coordinates, or, with ``normalized=False``, ``(x, y, width,
            height)`` in pixels. It may reach outside the image; x1 < x0 mirrors.
        size: ``(h, w)`` of the crop, or one number for both; the box's own size in pixels, rounded, if not given.
        resampling: a key of `RESAMPLING`.
        align_corners: whether -1 and 1 are the centres of the corner pixels instead of the edges of the image.
        outside: what is read outside the image: ``zeros``, ``border`` or ``reflection``; ``error`` refuses such a box.

    Returns:
        A new array ``(h, w[, C])`` in the image's dtype. It is computed in float64; integers are rounded to nearest, ties
        to even, and saturated. A pixel box of whole numbers with its own size is an exact copy.

    Raises:
        PatchcliError: an empty or not finite box, a size out of range, an unknown word.

    >>> crop(np.arange(16).reshape(4, 4), (1, 1, 2, 2), normalized=False)
    array([[ 5,  6],
           [ 9, 10]])
    """
    pixels = as_image(image)
    for name, word, table in (("resampling", resampling, RESAMPLING), ("outside", outside, OUTSIDE)):
        if word not in table:
            raise PatchcliError(f"{name} is {word!r}; allowed are {', '.join(table)}")
    length = pixels.shape[0], pixels.shape[1]
    box = check_box(box)
    inner = pixel_box(box, length, align_corners=align_corners) if normalized else box
    if inner[2] == 0 or inner[3] == 0:
        raise PatchcliError(f"box is empty: width={inner[2]:g} height={inner[3]:g}; both must differ from 0")
    shape = pair("crop size", (_own_size(inner[3]), _own_size(inner[2])) if size is None else size)
    if not all(1 <= side <= MAX_SIZE for side in shape):
        raise PatchcliError(f"crop size is width={shape[1]} height={shape[0]}; allowed are 1 to {MAX_SIZE}")
    if outside == "error":
        _check_inside(inner, length)
    if not normalized and (inner[3], inner[2]) == shape and all(start == int(start) for start in inner[:2]):
        places: list[Place] = [
            np.arange(side, dtype=np.float64) + start for side, start in zip(shape, (inner[1], inner[0]), strict=True)
        ]
        sampling: Sampling = _nearest
    else:
        corners = box if normalized else normalized_box(box, length, align_corners=align_corners)
        places = [
            positions(corners[axis], corners[axis + 2], side, end, align_corners=align_corners)
            for axis, side, end in zip((1, 0), shape, length, strict=True)
        ]
        sampling = RESAMPLING[resampling]
    rows, columns = (
        _inside(sampling(OUTSIDE[outside](place, end, align_corners)), end) for place, end in zip(places, length, strict=True)
    )
    return _copy(pixels, rows, columns) if sampling is _nearest else _sample(pixels, rows, columns)


def _own_size(extent: float) -> int:
    """Whole pixels, at least one, of a box's extent, which is negative where the box is mirrored."""
    return max(1, round(abs(extent)))


def check_box(box: Box) -> Box:
    """Check that a box is four finite numbers, none beyond any image."""
    try:
        numbers = tuple(float(number) for number in box)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != 4 or not all(abs(number) < WHOLE for number in numbers):  # noqa: PLR2004
        raise PatchcliError(f"box is {box!s:.80}; allowed are four finite numbers below 2**31")
    return numbers


def _check_inside(box: Box, image: Pair) -> None:
    """Check that a pixel box ``(x, y, width, height)`` lies inside the image."""
    x, y, width, height = box
    for start, extent, end in ((x, width, image[1]), (y, height, image[0])):
        if min(start, start + extent) < 0 or max(start, start + extent) > end:
            raise PatchcliError(
                f"box x={x:g} y={y:g} width={width:g} height={height:g} reaches outside the image of width={image[1]} "
                f"height={image[0]}; allowed with --outside zeros, border or reflection"
            )


def _copy(image: NDArray[Any], rows: Taps, columns: Taps) -> NDArray[Any]:
    """Pixels by index: exact in every dtype; 0 where a weight is 0."""
    out = image[rows.index, columns.index[:, 0]]
    out[rows.weight[:, 0] == 0] = 0
    out[:, columns.weight[:, 0] == 0] = 0
    return out


def _sample(image: NDArray[Any], rows: Taps, columns: Taps) -> NDArray[Any]:
    """Weighted sum over rows, then over columns, in float64, brought back into the image's dtype, some lines at a time."""
    out = np.empty((len(rows.index), len(columns.index), *image.shape[2:]), image.dtype)
    step = max(1, SAMPLE_VALUES // max(image[0].size, out[0].size))
    for top in range(0, len(out), step):
        some = Taps(rows.index[top : top + step], rows.weight[top : top + step])
        lines = sum(_weighted(image, some, tap) for tap in range(rows.index.shape[1]))
        turned = np.swapaxes(lines, 0, 1)
        values = sum(_weighted(turned, columns, tap) for tap in range(columns.index.shape[1]))
        convert(np.swapaxes(values, 0, 1), out[top : top + step])
    return out


def _weighted(image: NDArray[Any], taps: Taps, tap: int) -> NDArray[np.float64]:
    """Lines ``index[:, tap]`` of an image ``(H, W[, C])``, each times its weight, as float64 ``(n, W[, C])``."""
    weight = taps.weight[:, tap].reshape(-1, *([1] * (image.ndim - 1)))
    product: NDArray[np.float64] = np.multiply(image[taps.index[:, tap]], weight, dtype=np.float64)
    product[taps.weight[:, tap] == 0] = 0  # what is not read is 0, even next to NaN
    return product
