"""Find the box whose crop matches a template, from a box nearby or from nothing.

The model is gain * crop(box) + offset; see `patchcli.descent` for how it is fitted and `patchcli.search` for where that starts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from patchcli.box import describe
from patchcli.descent import CERTAIN, EXPLAINED, Fit, Level, as_box, descend, levels_of
from patchcli.errors import PatchcliError
from patchcli.plan import Sampling, plan_of
from patchcli.search import apart, candidates, near
from patchcli.taps import STILL

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.box import Box

SURE = 0.99  # with less, other boxes are tried too
ASPECTS = (1.0,), (0.72, 0.85, 1.18, 1.39)
TRIED = 12  # candidates that are refined at the coarsest level
REFINED = 4  # of those, to the finest
NEARBY = 12  # other places near a box that are tried
SHIFTS = tuple(
    np.array(by) * 0.4 for by in ((1, 1, 0, 0), (1, -1, 0, 0), (-1, 1, 0, 0), (-1, -1, 0, 0), (-1, -1, 2, 2), (1, 1, -2, -2))
)


def fit_box(
    image: ArrayLike,
    template: ArrayLike,
    box: ArrayLike | None = None,
    *,
    normalized: bool = True,
    resampling: str = "bilinear",
    align_corners: bool = False,
    outside: str = "zeros",
) -> Fit:
    """Find the box of an image whose crop matches a template, up to gain and offset in brightness.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, finite, any real dtype.
        template: ``(h, w)`` or ``(h, w, C)``, no larger than the image.
        box: where to start, as `crop` takes it; if not given, the whole image is searched, at all scales.
        normalized: how ``box`` is given.
        resampling: how the template was sampled: ``bilinear``, ``bicubic`` or ``lanczos``.
        align_corners: as in `crop`.
        outside: as in `crop`.

    Raises:
        PatchcliError: shapes that don't fit, values that are not finite, a flat template, or what `crop` refuses.

    >>> from patchcli import crop
    >>> image = np.random.default_rng(0).random((60, 80)).cumsum(axis=0).cumsum(axis=1)
    >>> found = fit_box(image, crop(image, (20, 15, 30, 25), 24, normalized=False), (21, 14, 29, 26), normalized=False)
    >>> found.converged, np.round(found.box, 3).tolist()
    (True, [20.0, 15.0, 30.0, 25.0])
    """
    sampling = Sampling(False, resampling, align_corners, outside)  # noqa: FBT003
    pixels, wanted = _as_pair(image, template)
    plan_of(pixels, (0, 0, 1, 1), 1, sampling)  # refuses unknown words
    if resampling in STILL:
        raise PatchcliError(
            f"resampling is {resampling!r}, which has no gradient; allowed for a fit are bilinear, bicubic, lanczos"
        )
    if box is None:
        return _searched(pixels, wanted, sampling)
    plan = plan_of(pixels, box, 1, sampling._replace(normalized=normalized))
    if len(plan.which) > 1:
        raise PatchcliError(f"box is {box!s:.80}; allowed for a fit is one box")
    start = plan.columns.start[0], plan.rows.start[0], plan.columns.extent[0], plan.rows.extent[0]
    first = as_box(np.array(start))
    levels = levels_of(pixels, wanted, first, sampling)
    return _sure(descend(levels, first), levels, first)


def _as_pair(image: ArrayLike, template: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image ``(H, W, C)`` and template ``(h, w, C)`` as finite float64."""
    both = []
    for name, given in (("image", image), ("template", template)):
        array = np.asarray(given)
        if array.ndim not in (2, 3) or array.dtype.kind not in "biuf" or not array.size:
            raise PatchcliError(f"{name} has shape {array.shape} and dtype {array.dtype}; allowed are (H, W) and (H, W, C), real")
        if not np.isfinite(array).all():
            raise PatchcliError(f"{name} holds NaN or infinite values; allowed for a fit are finite ones")
        both.append(array.astype(np.float64).reshape(*array.shape[:2], -1))
    pixels, wanted = both
    if pixels.shape[2] != wanted.shape[2]:
        raise PatchcliError(f"template has {wanted.shape[2]} channels but the image {pixels.shape[2]}; allowed are equal numbers")
    if wanted.shape[0] > pixels.shape[0] or wanted.shape[1] > pixels.shape[1]:
        raise PatchcliError(
            f"template of width={wanted.shape[1]} height={wanted.shape[0]} is larger than the image of width={pixels.shape[1]} "
            f"height={pixels.shape[0]}; allowed are templates up to that"
        )
    if min(wanted.shape[:2]) < 2 or float(wanted.std()) == 0:  # noqa: PLR2004
        raise PatchcliError(
            "template is flat or a single line; allowed are templates of 2x2 pixels and more with something on them"
        )
    return pixels, wanted


def _sure(fit: Fit, levels: list[Level], start: Box) -> Fit:
    """A fit, or a better one from other places nearby, where it may have been caught on its way."""
    if fit.converged and fit.explained >= SURE:
        return fit
    image, template = (part.mean(axis=2) for part in (levels[-1].image, levels[-1].template))
    tried = fit.iterations
    for one in apart(near(image, template, start), NEARBY):
        other = descend(levels[-2:], one.box)
        fit, tried = _better(fit, other), tried + other.iterations
        if fit.converged and fit.explained >= SURE:
            return fit._replace(iterations=tried)
    for shift in SHIFTS:  # where pixels hardly resemble their neighbours, a fit is caught within a pixel
        other = descend(levels[-1:], as_box(np.array(fit.box) + shift))
        fit, tried = _better(fit, other), tried + other.iterations
    return fit._replace(iterations=tried)


def _better(first: Fit, second: Fit) -> Fit:
    """The fit that converged and explains more."""
    return max(first, second, key=lambda one: (one.converged, one.explained))


def _searched(image: NDArray[np.float64], template: NDArray[np.float64], sampling: Sampling) -> Fit:
    """The best of the boxes that the coarse search finds, refined; boxes of other aspects if none of the template's matches."""
    best: Fit | None = None
    for aspects in ASPECTS:
        found = candidates(image.mean(axis=2), template.mean(axis=2), aspects)
        if not found:
            continue
        rough = []
        for one in found[:TRIED]:
            levels = levels_of(image, template, one.box, sampling)
            rough.append((descend(levels[:1], one.box), levels))
        rough.sort(key=lambda pair: -pair[0].explained)
        fits = [(descend(levels, first.box), levels) for first, levels in rough[:REFINED]]
        fit, levels = max(fits, key=lambda one: (one[0].converged, one[0].explained))
        fit = _sure(fit, levels, fit.box)
        best = fit if best is None else _better(best, fit)
        if best.converged and best.explained >= SURE:
            break
    if best is None:
        raise PatchcliError("image is too small to be searched for the template; allowed with a box to start from")
    return best


def not_found(fit: Fit) -> str:
    """Why a fit did not converge, in words."""
    where = f"the best box is {describe(fit.box)}"
    if fit.gain > 0 and fit.explained >= EXPLAINED and fit.deviation > CERTAIN:
        off = f"{fit.deviation:.1f} pixels off" if math.isfinite(fit.deviation) else "anywhere along an edge"
        return f"template does not say where it is from: {where}, but its corners may be {off}; allowed is {CERTAIN:g} pixel"
    if fit.gain <= 0 or fit.explained < EXPLAINED:
        return f"template is not found: {where}, which explains {max(0.0, fit.explained):.0%} of it; needed are {EXPLAINED:.0%}"
    return f"fit did not converge in {fit.iterations} iterations: {where}; a starting box nearer to it may help"
