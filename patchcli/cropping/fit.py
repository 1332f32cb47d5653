"""Find the box whose crop matches a template, from a box nearby or from nothing.

The model is gain * crop(box) + offset; see `patchcli.descent` for how it is fitted and `patchcli.search` for where that starts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from patchcli.arrays import as_array
from patchcli.cropping.gradient import check_range
from patchcli.cropping.levenberg_marquardt import CERTAIN, EXPLAINED, Fit, Level, as_box, descend, levels_of
from patchcli.cropping.plan import Sampling, plan_of
from patchcli.cropping.taps import STILL
from patchcli.cropping.template_match import AROUND, alike, candidates, corners_apart, distinct, near
from patchcli.errors import PatchcliError
from patchcli.geometry.box import describe

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.box import Box

SAME_LEFT, SAME_DIGITS = 1.15, 1e-9  # what another box may leave unexplained, over what the best does, to be as good
OTHER = 2.0  # pixels between boxes that are not the same
CERTAINLY = 0.9995  # explained without a start, so that no other place can be better
SURE = 0.99  # with less, other boxes are tried too
ASPECTS = (1.0,), (0.72, 0.85, 1.18, 1.39)
TRIED = 12  # candidates that are refined at the coarsest level
REFINED = 6  # of those, to the finest
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
    plan_of(pixels.shape, (0, 0, 1, 1), 1, sampling)  # refuses unknown words
    if resampling in STILL:
        raise PatchcliError(f"resampling is {resampling!r}, which has no gradient; for a fit use bilinear, bicubic or lanczos")
    if box is None:
        return _searched(pixels, wanted, sampling)
    plan = plan_of(pixels.shape, box, 1, sampling._replace(normalized=normalized))
    if len(plan.which) > 1:
        raise PatchcliError(f"box is {box!s:.80}; for a fit give one box")
    start = plan.columns.start[0], plan.rows.start[0], plan.columns.extent[0], plan.rows.extent[0]
    first = as_box(np.array(start))
    levels = levels_of(pixels, wanted, first, sampling)
    x, y, width, height = first
    tried = _Tried(levels, (x - AROUND * width, y - AROUND * height, (1 + 2 * AROUND) * width, (1 + 2 * AROUND) * height))
    tried.add(descend(levels, first))
    tried.look_around(levels, first, SURE)
    return tried.best


def _as_pair(image: ArrayLike, template: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image ``(H, W, C)`` and template ``(h, w, C)`` as finite float64."""
    both = []
    for name, given in (("image", image), ("template", template)):
        array = as_array(given, name)
        if array.ndim not in (2, 3) or not array.size:
            raise PatchcliError(f"{name} has shape {array.shape}; allowed are (H, W) and (H, W, C)")
        check_range(array, name)
        both.append(array.astype(np.float64).reshape(*array.shape[:2], -1))
    pixels, wanted = both
    check_template(pixels.shape, wanted.shape)
    if min(wanted.shape[:2]) < 2 or float(wanted.std()) == 0:  # noqa: PLR2004
        raise PatchcliError("template is flat or a single line; give one of 2x2 pixels or more with something on it")
    return pixels, wanted


def check_template(image: tuple[int, ...], template: tuple[int, ...]) -> None:
    """Refuse a template ``(h, w, C)`` that cannot be part of an image ``(H, W, C)``."""
    if image[2] != template[2]:
        raise PatchcliError(f"template has {template[2]} channels but the image {image[2]}; allowed are equal numbers")
    if template[0] > image[0] or template[1] > image[1]:
        raise PatchcliError(
            f"template of width={template[1]} height={template[0]} is larger than the image of width={image[1]} "
            f"height={image[0]}; give one that is not larger"
        )


class _Tried:
    """Fits of one template at the finest level, the best of which counts.

    Args:
        levels: from the coarsest to the finest.
        within: the part of the image that counts, ``(x, y, width, height)``.
    """

    def __init__(self, levels: list[Level], within: Box) -> None:
        self._fits: list[Fit] = []
        self._within = within
        self._image, self._template = (part.mean(axis=2) for part in (levels[-1].image, levels[-1].template))

    def add(self, fit: Fit) -> None:
        """Count a fit."""
        self._fits.append(fit)

    @property
    def best(self) -> Fit:
        """The fit that explains most, of those that converged if any did; all iterations are its own."""
        best = max(self._fits, key=lambda one: (one.converged, one.explained))
        best = best._replace(iterations=sum(one.iterations for one in self._fits))
        return best._replace(converged=False, ambiguous=True) if best.converged and self._elsewhere(best) else best

    def explains(self, enough: float) -> bool:
        """Whether a fit that converged explains enough of the template to look no further."""
        return any(one.converged and one.explained >= enough for one in self._fits)

    def _elsewhere(self, best: Fit) -> bool:
        """Whether another box matches as well as the best, but for chance."""
        left = (1 - best.explained) * SAME_LEFT + SAME_DIGITS
        return any(1 - one.explained < left and corners_apart(one.box, best.box) > OTHER for one in self._fits)

    def look_around(self, levels: list[Level], start: Box, enough: float) -> None:
        """Try other places near a box, then others of the very scale of the best, then fractions of a pixel."""
        if self.explains(enough):
            return
        for one in distinct(near(self._image, self._template, start), NEARBY):
            self.add(descend(levels[-2:], one.box))
            if self.explains(enough):
                return
        for one in alike(self._image, self._template, self.best.box, self._within):
            self.add(descend(levels[-1:], one.box))
        for shift in SHIFTS:  # where pixels hardly resemble their neighbours, a fit is caught within a pixel
            self.add(descend(levels[-1:], as_box(np.array(self.best.box) + shift)))


def _searched(image: NDArray[np.float64], template: NDArray[np.float64], sampling: Sampling) -> Fit:
    """The best of the boxes that the coarse search finds, refined; boxes of other aspects if none of the template's matches."""
    tried: _Tried | None = None
    for aspects in ASPECTS:
        found = candidates(image.mean(axis=2), template.mean(axis=2), aspects)
        rough = []
        for one in found[:TRIED]:
            levels = levels_of(image, template, one.box, sampling)
            rough.append((descend(levels[:1], one.box), levels))
        rough.sort(key=lambda pair: -pair[0].explained)
        for first, levels in rough[:REFINED]:
            tried = tried or _Tried(levels, (0, 0, image.shape[1], image.shape[0]))
            tried.add(descend(levels, first.box))
        if tried is not None and rough:
            best = tried.best.box
            tried.look_around(levels_of(image, template, best, sampling), best, CERTAINLY)
            if tried.best.converged and tried.explains(SURE):
                break
    if tried is None:
        raise PatchcliError("image is too small to be searched for the template; give a box to start from")
    return tried.best


def not_found(fit: Fit) -> str:
    """Why a fit did not converge, in words."""
    where = f"the best box is {describe(fit.box, 6)}"
    if fit.ambiguous:
        return f"template matches in several places about as well: {where}; give a box nearby to start from"
    if fit.gain > 0 and fit.explained >= EXPLAINED and fit.deviation > CERTAIN:
        off = f"{fit.deviation:.1f} pixels off" if math.isfinite(fit.deviation) else "anywhere along an edge"
        return f"template does not say where it is from: {where}, but its corners may be {off}; allowed is {CERTAIN:g} pixel"
    if fit.gain <= 0 or fit.explained < EXPLAINED:
        return f"template is not found: {where}, which explains {max(0.0, fit.explained):.0%} of it; needed are {EXPLAINED:.0%}"
    return f"fit did not converge in {fit.iterations} iterations: {where}; a starting box nearer to it may help"
