"""Where output pixels lie on an input axis: affine_grid, grid_sample's own coordinates, and what becomes of those outside.

The map from a crop to its image is the affine Theta with rows ((x1-x0)/2, 0, (x1+x0)/2) and (0, (y1-y0)/2, (y1+y0)/2). It
only scales and shifts, so rows and columns are sampled independently. Letters: B boxes, n output pixels.

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html and
https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.geometry.box import normalized_span, pixel_span

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Span(NamedTuple):
    """B spans of one axis of ``length`` pixels, each to be sampled at ``size`` places.

    Attributes:
        low: normalised coordinate of the first end, ``(B,)``.
        high: of the other end, ``(B,)``; below ``low`` the crop is mirrored.
        start: the same in pixels: the edge where the span begins, ``(B,)``.
        extent: its signed length in pixels, ``(B,)``.
        size: n.
        length: of the axis.
        align_corners: whether -1 and 1 are the centres of the outermost pixels.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    start: NDArray[np.float64]
    extent: NDArray[np.float64]
    size: int
    length: int
    align_corners: bool


def span_of(first: NDArray[Any], second: NDArray[Any], size: int, length: int, *, normalized: bool, align_corners: bool) -> Span:
    """A span from its normalised ends, or from where it starts in pixels and its extent."""
    if normalized:
        return Span(first, second, *pixel_span(first, second, length, align_corners=align_corners), size, length, align_corners)
    ends = normalized_span(first, second, length, align_corners=align_corners)
    return Span(*ends, first, second, size, length, align_corners)


def _fused(factor: float, values: NDArray[Any], term: float) -> NDArray[np.float64]:
    """``factor * values + term`` rounded once, as PyTorch's linspace and grid_sample do.

    It decides where ties of nearest fall. An 80-bit long double holds the product exactly for up to 4096 pixels; where long
    double is no wider than double, a tie may fall to the other side.
    """
    return np.asarray(np.longdouble(factor) * values + np.longdouble(term), np.float64)


def base_of(span: Span) -> NDArray[np.float64]:
    """Where affine_grid puts output pixels, ``(n,)``: u = -1 + 2j/(n-1), or -1 + (2j+1)/n without align_corners."""
    size = span.size
    if size == 1:
        return np.zeros(1)
    index, step = np.arange(size), 2 / (size - 1)
    base = np.where(index < size // 2, _fused(step, index, -1), _fused(-step, size - 1 - index, 1))
    return base if span.align_corners else np.asarray(base * (size - 1) / size, np.float64)


def positions(span: Span, *, exact: bool = True) -> NDArray[np.float64]:
    """Where output pixels lie on the axis, in pixels from the centre of the first, ``(B, n)``.

    The affine map gives the normalised coordinate (high-low)/2 * u + (high+low)/2, grid_sample turns it into pixels.

    Args:
        span: what is sampled.
        exact: rounded as PyTorch rounds, to the last bit.
    """
    low, high, length = span.low[:, None], span.high[:, None], span.length
    coordinate = base_of(span) * ((high - low) / 2) + (high + low) / 2
    if span.align_corners:
        return np.asarray((coordinate + 1) * ((length - 1) / 2), np.float64)
    if exact:
        return _fused(length / 2, coordinate + 1, -0.5)
    return np.asarray((coordinate + 1) * (length / 2) - 0.5, np.float64)


def moves(span: Span) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How positions follow the ends of the span, ``(B, n)`` each."""
    scale = (span.length - 1 if span.align_corners else span.length) / 4
    base = np.broadcast_to(base_of(span), (len(span.low), span.size))
    return (1 - base) * scale, (1 + base) * scale


def _reflect(position: NDArray[np.float64], low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fold positions at ``low`` and ``high``, as often as it takes, and say in which direction they then move."""
    extent = high - low
    if extent == 0:
        return np.zeros_like(position), np.zeros_like(position)
    distance = position - low
    sign = np.where(distance < 0, -1.0, 1.0)
    distance = np.abs(distance)
    turns = np.floor(distance / extent)
    rest = distance - turns * extent
    even = turns % 2 == 0
    return np.where(even, rest + low, high - rest), np.where(even, sign, -sign)


def _clip(position: NDArray[np.float64], length: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring positions to the nearest pixel; at and beyond the outermost centres they no longer move."""
    return np.clip(position, 0, length - 1), np.where((position > 0) & (position < length - 1), 1.0, 0.0)


def _place_zeros(position: NDArray[np.float64], _span: Span) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return position, np.ones_like(position)


def _place_border(position: NDArray[np.float64], span: Span) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return _clip(position, span.length)


def _place_reflection(position: NDArray[np.float64], span: Span) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = (0.0, span.length - 1.0) if span.align_corners else (-0.5, span.length - 0.5)
    folded, direction = _reflect(position, low, high)
    clipped, moving = _clip(folded, span.length)
    return clipped, direction * moving


Place = Callable[["NDArray[np.float64]", Span], "tuple[NDArray[np.float64], NDArray[np.float64]]"]
OUTSIDE: dict[str, Place] = {  # position -> (position inside, its slope)
    "zeros": _place_zeros,
    "border": _place_border,
    "reflection": _place_reflection,
    "error": _place_zeros,
}
ZEROS = ("zeros", "error")  # pixels outside are 0
