"""Taps: which input pixels make an output pixel along one axis, with what weight, and how the weight follows the box.

Letters: B boxes, n output pixels, k taps, L input pixels. With p the position of an output pixel from the centre of input pixel
0, and f = p - floor(p), input pixel i has the weight

=========  =====================  ============================================================================================
rule       taps i                 weight
=========  =====================  ============================================================================================
nearest    rint(p), ties to even  1
bilinear   floor(p) + {0, 1}      1 - f, f
bicubic    floor(p) + {-1 to 2}   d = |i - p|: (a+2)d^3 - (a+3)d^2 + 1 up to d = 1, a(d^3 - 5d^2 + 8d - 4) up to 2; a = -0.75
area       within s/2 of p        h(x) = 1 for -1/2 < x <= 1/2, over the sum of all h
lanczos    within 3s of p         h(x) = sinc(x) sinc(x/3) for |x| < 3, over the sum of all h; x = (i - p)/s
=========  =====================  ============================================================================================

The first three have a support that does not depend on the step t from output pixel to output pixel (they alias in a shrink), and
weights that add up to 1 by themselves; formulas: for the cubic R. Keys, Cubic convolution interpolation for digital image
processing (1981), and https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html.

The last two are Pillow's, https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters: s = max(t, 1), so that a shrink
widens them and an enlargement leaves them as wide as an input pixel. Of a box of ``extent`` pixels t = extent/n; with
align_corners t = (extent-1)/(n-1), because the outermost output pixels then lie on the centres of the outermost of the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchcli.cropping.coordinates import OUTSIDE, ZEROS, Span, moves, positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CUBIC = -0.75
LOBES = 3.0


class Motion(NamedTuple):
    """How weights follow the ends of the span: d weight / d low is ``slope * by_low``, likewise for high.

    Attributes:
        slope: ``(B, n, k)``.
        by_low: ``(B, n)``.
        by_high: ``(B, n)``.
    """

    slope: NDArray[np.float64]
    by_low: NDArray[np.float64]
    by_high: NDArray[np.float64]


class Taps(NamedTuple):
    """Input indices and weights of each output position along one axis.

    Attributes:
        pixel: numbers of input pixels, ``(B, n, k)``, all inside the axis.
        weight: ``(B, n, k)``; 0 where a tap lies outside and outside is zeros.
        motions: how weights follow the box; empty where they do not, or were not asked for.
    """

    pixel: NDArray[np.int64]
    weight: NDArray[np.float64]
    motions: tuple[Motion, ...] = ()

    def of(self, box: int) -> Taps:
        """The taps of one box, ``(n, k)``."""
        return Taps(self.pixel[box], self.weight[box], tuple(Motion(*(part[box] for part in one)) for one in self.motions))

    def alone(self) -> Taps:
        """The taps of one box as those of a batch of one, without their motions."""
        return Taps(self.pixel[None], self.weight[None])

    def part(self, span: slice | NDArray[np.int64]) -> Taps:
        """The taps of some output positions of one box, without their motions."""
        return Taps(self.pixel[span], self.weight[span])


def _placed(index: NDArray[np.int64], outside: str, span: Span) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Indices of taps brought inside, and which of them count (None: all)."""
    if not index.size or (index.min() >= 0 and index.max() < span.length):
        return index, None
    if outside in ZEROS:
        return np.clip(index, 0, span.length - 1), (index >= 0) & (index < span.length)
    return np.rint(OUTSIDE[outside](index.astype(np.float64), span)[0]).astype(np.int64), None


def _taps(
    index: NDArray[np.int64],
    weight: NDArray[np.float64],
    motions: tuple[Motion, ...],
    outside: str,
    span: Span,
) -> Taps:
    """Taps with what lies outside taken care of."""
    index, counts = _placed(index, outside, span)
    if counts is None:
        return Taps(index, weight, motions)
    moved = tuple(Motion(np.where(counts, one.slope, 0.0), one.by_low, one.by_high) for one in motions)
    return Taps(index, np.where(counts, weight, 0.0), moved)


# -- the rules -----------------------------------------------------------------------------------------------------------


def _nearest(span: Span, outside: str, *, moving: bool) -> Taps:  # noqa: ARG001  its weights never move
    """One tap: the nearest pixel, ties to even as nearbyint has them."""
    position, _ = OUTSIDE[outside](positions(span), span)
    index = np.rint(position).astype(np.int64)[..., None]
    return _taps(index, np.ones(index.shape), (), outside, span)


def _bilinear(span: Span, outside: str, *, moving: bool) -> Taps:
    """Two taps, 1 - f and f; d weight / d p is -1 and 1 (at a kink, f = 0, the slope on its right)."""
    position, follows = OUTSIDE[outside](positions(span, exact=moving), span)
    left = np.floor(position)
    part = (position - left)[..., None]
    motions: tuple[Motion, ...] = ()
    if moving:
        motions = (Motion(follows[..., None] * np.array([-1.0, 1.0]), *moves(span)),)
    index = left.astype(np.int64)[..., None] + np.arange(2)
    return _taps(index, np.concatenate([1 - part, part], axis=-1), motions, outside, span)


def _bicubic(span: Span, outside: str, *, moving: bool) -> Taps:
    """Four taps by cubic convolution; outside, each tap is placed by itself, as grid_sample does.

    Taps 1 and 2 are at most 1 from p (``inner``), taps 0 and 3 between 1 and 2 (``outer``); d weight / d p is the derivative by
    distance, with the sign of p - i.
    """
    position = positions(span, exact=moving)
    left = np.floor(position)
    near = (position - left)[..., None] + np.array([1.0, 0.0, -1.0, -2.0])
    away = np.abs(near)
    inner = ((CUBIC + 2) * away - (CUBIC + 3)) * away * away + 1
    outer = ((CUBIC * away - 5 * CUBIC) * away + 8 * CUBIC) * away - 4 * CUBIC
    middle = np.array([False, True, True, False])
    motions: tuple[Motion, ...] = ()
    if moving:
        steep = np.where(
            middle, (3 * (CUBIC + 2) * away - 2 * (CUBIC + 3)) * away, (3 * CUBIC * away - 10 * CUBIC) * away + 8 * CUBIC
        )
        sides = np.array([1.0, 1.0, -1.0, -1.0])  # taps on the left lie further away as the position grows
        motions = (Motion(steep * sides, *moves(span)),)
    index = left.astype(np.int64)[..., None] + np.arange(-1, 3)
    return _taps(index, np.where(middle, inner, outer), motions, outside, span)


def _box(away: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((away > -0.5) & (away <= 0.5), 1.0, 0.0)  # noqa: PLR2004


def _lanczos(away: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(away) < LOBES, np.sinc(away) * np.sinc(away / LOBES), 0.0)


def _lanczos_slope(away: NDArray[np.float64]) -> NDArray[np.float64]:
    product = _sinc_slope(away) * np.sinc(away / LOBES) + np.sinc(away) * _sinc_slope(away / LOBES) / LOBES
    return np.where(np.abs(away) < LOBES, product, 0.0)


def _sinc_slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of sin(pi x) / (pi x); by its series where the quotient would lose all digits."""
    small = np.abs(x) < 1e-3  # noqa: PLR2004
    safe = np.where(small, 1.0, x)
    square = (np.pi * x) ** 2
    return np.where(small, -np.pi * np.pi * x / 3 * (1 - square / 10), (np.cos(np.pi * safe) - np.sinc(safe)) / safe)


def _filter(
    span: Span,
    outside: str,
    reach: float,
    weigh: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    steepness: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None,
) -> Taps:
    """A filter as wide as the step from one output pixel to the next, at least one pixel, as Pillow's resize has it.

    Output pixel j has its centre at c = start + (j + 1/2)t in pixel edges (p = c - 1/2), is ``wide`` s = max(t, 1), and reads
    pixels floor(c - reach*s + 1/2) up to, not with, floor(c + reach*s + 1/2). With r_i = h((i + 1/2 - c)/s) the weight is
    r_i / sum(r).

    Where the box does not cross a border of the image, the range ends there, and the weights of what is left add up to 1;
    where it does, pixels beyond are as ``outside`` says. A mirrored box is the reverse of the same box not mirrored.

    Derivatives, with x = (i + 1/2 - c)/s: d r / d c = -h'(x)/s; d r / d t = -h'(x) x/s in a shrink, else 0; and of the quotient
    d weight = (d r - weight * sum(d r)) / sum(r).

    Args:
        span: what is sampled.
        outside: a key of `OUTSIDE`.
        reach: half the width of h.
        weigh: h.
        steepness: its derivative; None where it is not wanted.
    """
    if span.align_corners and span.length == 1:  # any coordinate means the one pixel
        span = span._replace(start=np.minimum(0.0, np.sign(span.extent)) * -1, extent=np.sign(span.extent))
    mirrored = span.extent < 0
    start = np.where(mirrored, span.start + span.extent, span.start)[:, None]
    extent = np.abs(span.extent)[:, None]
    if span.align_corners and span.size > 1:
        step = (extent - 1) / (span.size - 1)
        centre = start + 0.5 + np.arange(span.size) * step
    else:
        step = extent / span.size
        centre = start + (np.arange(span.size) + 0.5) * step
    wide = np.maximum(step, 1.0)
    support = reach * wide
    least = np.where(start < 0, -np.inf, 0.0)
    most = np.where(start + extent > span.length, np.inf, span.length)
    first = np.maximum(np.floor(centre - support + 0.5), least)
    last = np.minimum(np.floor(centre + support + 0.5), most)
    index = first[..., None] + np.arange(max(1, int((last - first).max())))
    inverse = 1 / wide[..., None]
    away = (index - centre[..., None] + 0.5) * inverse
    used = index < last[..., None]
    raw = np.where(used, weigh(away), 0.0)
    total = raw.sum(axis=-1, keepdims=True)
    total = np.where(total == 0, 1.0, total)
    weight = raw / total
    motions: tuple[Motion, ...] = ()
    if steepness is not None:
        slopes = [
            np.where(used, steepness(away) * by, 0.0) for by in (-inverse, np.where(step[..., None] > 1, -away * inverse, 0.0))
        ]
        moved = [(slope - weight * slope.sum(axis=-1, keepdims=True)) / total for slope in slopes]
        motions = tuple(Motion(slope, *by) for slope, by in zip(moved, _filter_moves(span), strict=True))
    if mirrored.any():
        turn = mirrored[:, None, None]
        index, weight = (np.where(turn, part[:, ::-1], part) for part in (index, weight))
        motions = tuple(Motion(np.where(turn, one.slope[:, ::-1], one.slope), one.by_low, one.by_high) for one in motions)
    return _taps(index.astype(np.int64), weight, motions, outside, span)


def _filter_moves(span: Span) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """How the centres of a filter and its step follow the ends of the span."""
    parts = span.size - 1 if span.align_corners and span.size > 1 else span.size
    scale = (span.length - 1 if span.align_corners else span.length) / 2 / parts
    by = np.broadcast_to(np.where(span.extent < 0, -scale, scale)[:, None], (len(span.low), span.size))
    return moves(span), (-by, by)


def _area(span: Span, outside: str, *, moving: bool) -> Taps:  # noqa: ARG001  its weights jump
    """All pixels whose centres lie below the output pixel, equally: Pillow's BOX."""
    return _filter(span, outside, 0.5, _box, None)


def _wide_lanczos(span: Span, outside: str, *, moving: bool) -> Taps:
    """A windowed sinc of three lobes as wide as the output pixels are far apart: Pillow's LANCZOS."""
    return _filter(span, outside, LOBES, _lanczos, _lanczos_slope if moving else None)


RESAMPLING: dict[str, Callable[..., Taps]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "area": _area,
    "lanczos": _wide_lanczos,
}
WIDE = ("area", "lanczos")  # as many taps as the step from pixel to pixel asks for
STILL = ("nearest", "area")  # no derivative by the box: it is 0 wherever there is one
