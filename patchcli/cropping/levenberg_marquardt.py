"""Levenberg-Marquardt on the analytic gradient of a crop, from coarse to fine: the box whose crop matches a template.

The model is gain * crop(box) + offset. Gain and offset are solved for at every step, and what they can explain is taken out
of the derivatives (variable projection: G. Golub and V. Pereyra 1973, in L. Kaufman's approximation of 1975), so that only the
four numbers of the box are left to be found. J. More, The Levenberg-Marquardt algorithm (1978).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchcli.cropping.crop import crop
from patchcli.cropping.gradient import axes_of, by_pixels
from patchcli.cropping.plan import Plan, Sampling, plan_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.box import Box

COARSEST = 14  # pixels of the shorter side of the template at the coarsest level, at least
STEPS = 60  # of one level
STILL_PIXELS = 1e-4  # a step that moves no corner further than this ends the finest level
COARSE_STILL = 1e-2  # and this, in pixels of the level, a coarser one
EXPLAINED = 0.5  # of the template's variance, for a box to count as found
DAMPING = 1e-3  # to begin with
FAR = 0.2  # of the box, for one step
LEAST = 0.5  # pixels of a box's side
CERTAIN = 1.0  # pixels that a corner may be uncertain by
TO_CORNERS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 1, 0], [0, -1, 0, 1]], np.float64)  # box = this @ corners
WHOLE_IMAGE = (-1, -1, 1, 1)


class Step(NamedTuple):
    """One step of a fit.

    Attributes:
        level: 0 is the finest; each one above halves the template.
        iteration: from 1, over all levels.
        box: ``(x, y, width, height)`` in pixels of the image.
        error: root mean square difference from the template at this level.
        damping: of Levenberg and Marquardt.
    """

    level: int
    iteration: int
    box: Box
    error: float
    damping: float


class Fit(NamedTuple):
    """The box that was found.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the image.
        error: root mean square of gain * crop + offset - template, in units of the template.
        explained: part of the template's variance that the crop explains, up to 1.
        gain: brightness of the template over that of the crop.
        offset: what is added to it.
        iterations: steps tried, over all levels.
        deviation: standard deviation of the least certain corner in pixels of the image, as far as what is left over is noise
            (Cramer and Rao's bound); infinite where the template does not say where it is from, as a plain ramp does not.
        converged: whether the last steps stood still, the crop explains at least half of the template's variance, and the
            deviation is at most one pixel.
        curve: every step that was taken, each with its level, iteration, box, error and damping.
        ambiguous: another box matches about as well; then the fit has not converged.
    """

    box: Box
    error: float
    explained: float
    gain: float
    offset: float
    iterations: int
    deviation: float
    converged: bool
    curve: tuple[Step, ...]
    ambiguous: bool = False


class Level(NamedTuple):
    """Image and template as one level sees them.

    Attributes:
        number: 0 is the finest.
        image: ``(H, W, C)``.
        template: ``(h, w, C)``.
        sampling: how crops of it are made.
        ratio: its pixels over those of the given image, for the four numbers of a box, ``(4,)``.
        still: pixels of the given image that count as standing still.
    """

    number: int
    image: NDArray[np.float64]
    template: NDArray[np.float64]
    sampling: Sampling
    ratio: NDArray[np.float64]
    still: float


def levels_of(image: NDArray[np.float64], template: NDArray[np.float64], box: Box, sampling: Sampling) -> list[Level]:
    """From the coarsest level to the finest, which is what was given; the coarser ones are sampled bilinearly."""
    levels = [Level(0, image, template, sampling, np.ones(4), STILL_PIXELS)]
    height, width = template.shape[:2]
    scale = max(abs(box[2]) / width, abs(box[3]) / height)
    while min(height, width) >> len(levels) >= COARSEST:
        halved = 1 << len(levels)
        small, size = (
            tuple(max(2, round(side / by)) for side in shape[:2])
            for shape, by in ((template.shape, halved), (image.shape, max(1.0, scale * halved)))
        )
        shrunk, seen = (crop(of, WHOLE_IMAGE, to, resampling="area") for of, to in ((image, size), (template, small)))
        ratio = np.array([size[1] / image.shape[1], size[0] / image.shape[0]] * 2)
        coarse = Sampling(normalized=False, outside="border")
        levels.append(Level(len(levels), shrunk, seen, coarse, ratio, COARSE_STILL / float(ratio.min())))
    return levels[::-1]


class _State(NamedTuple):
    """A box, and how well its crop matches at a level: gain * crop + offset = template + residual."""

    box: NDArray[np.float64]
    error: float
    gain: float
    offset: float
    values: NDArray[np.float64]
    residual: NDArray[np.float64]


def _look(level: Level, box: NDArray[np.float64]) -> tuple[_State, Plan]:
    """Crop a box and take gain and offset out."""
    plan = plan_of(level.image.shape, box * level.ratio, level.template.shape[:2], level.sampling)
    values = next(axes_of(plan, level.sampling)).values(level.image).reshape(-1)
    wanted = level.template.reshape(-1)
    centred, mean = values - values.mean(), wanted.mean()
    energy = float(centred @ centred)
    gain = float(centred @ wanted) / energy if energy > 0 else 0.0
    offset = float(mean - gain * values.mean())
    residual = gain * values + offset - wanted
    return _State(box, float(np.sqrt(np.mean(residual * residual))), gain, offset, centred, residual), plan


def _slopes(level: Level, state: _State, plan: Plan) -> NDArray[np.float64]:
    """How the residual follows the box, beyond what gain and offset can make up for: ``(h*w*C, 4)``."""
    axes = next(axes_of(plan, level.sampling))
    corners = np.zeros((4, state.values.size))
    for ends, moved, low, high in axes.derivatives(level.image):
        corners[ends[0]] += (moved * low).reshape(-1)
        corners[ends[1]] += (moved * high).reshape(-1)
    slopes = state.gain * (by_pixels(plan).T @ corners) * level.ratio[:, None]
    slopes -= slopes.mean(axis=1, keepdims=True)
    energy = float(state.values @ state.values)
    if energy > 0:
        slopes -= np.outer(slopes @ state.values / energy, state.values)
    return np.asarray(slopes.T)


def _walk(level: Level, box: NDArray[np.float64], before: int) -> tuple[_State, list[Step], int, bool]:
    """Steps at one level: where they end, those taken, how many were tried, and whether they came to a standstill."""
    state, plan = _look(level, box)
    slopes = _slopes(level, state, plan)
    damping, taken = DAMPING, []
    for tried in range(1, STEPS + 1):
        step = _step(slopes, state.residual, damping)
        extent = np.abs(state.box[[2, 3, 2, 3]])
        step *= min(1.0, FAR / max(FAR, float(np.max(np.abs(step) / extent))))
        still = max(np.abs(step).max(), np.abs(step[:2] + step[2:]).max()) < level.still
        there = state.box + step
        if _sensible(there, state.box, level.image.shape, level.ratio):
            other, plan = _look(level, there)
            if other.error <= state.error:
                state, damping = other, max(damping / 8, 1e-9)
                taken.append(Step(level.number, before + tried, as_box(state.box), state.error, damping))
                if not still:
                    slopes = _slopes(level, state, plan)
            else:
                damping *= 4
        else:
            damping *= 4
        if still:
            return state, taken, tried, True
    return state, taken, STEPS, False


def _step(slopes: NDArray[np.float64], residual: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """The damped Gauss-Newton step ``(4,)``."""
    normal = slopes.T @ slopes
    diagonal = np.diag(normal)
    scale = np.maximum(diagonal, 1e-12 * float(diagonal.max()) or 1.0)  # 1 where nothing depends on the box
    return np.asarray(np.linalg.solve(normal + damping * np.diag(scale), -slopes.T @ residual))


def _sensible(box: NDArray[np.float64], before: NDArray[np.float64], image: tuple[int, ...], ratio: NDArray[np.float64]) -> bool:
    """Whether a box is not turned over, not next to nothing, and has its middle in the image."""
    middle = (box[:2] + box[2:] / 2) * ratio[:2]
    inside = (middle >= 0).all() and middle[0] <= image[1] and middle[1] <= image[0]
    return bool(inside and (np.sign(box[2:]) == np.sign(before[2:])).all() and (np.abs(box[2:]) >= LEAST).all())


def as_box(numbers: NDArray[np.float64]) -> Box:
    """Four numbers as a box."""
    x, y, width, height = numbers.tolist()
    return x, y, width, height


def descend(levels: list[Level], start: Box) -> Fit:
    """Levels one after the other, each starting where the one before it ended."""
    box, tried, curve = np.array(start, np.float64), 0, list[Step]()
    for level in levels:
        state, taken, more, still = _walk(level, box, tried)
        box, tried = state.box, tried + more
        curve += taken
    spread = float(levels[-1].template.std())
    explained = 1 - (state.error / spread) ** 2
    deviation = _deviation(levels[-1], state)
    found = still and state.gain > 0 and explained >= EXPLAINED and deviation <= CERTAIN
    return Fit(as_box(state.box), state.error, explained, state.gain, state.offset, tried, deviation, found, tuple(curve))


def _deviation(level: Level, state: _State) -> float:
    """The standard deviation of the least certain corner, in pixels."""
    slopes = _slopes(level, state, _look(level, state.box)[1])
    _, values, directions = np.linalg.svd(slopes @ TO_CORNERS, full_matrices=False)
    if values[-1] <= 1e-9 * values[0]:
        return math.inf
    free = max(1, state.residual.size - 6)  # the box, gain and offset
    noise = state.error * np.sqrt(state.residual.size / free)
    return float(noise * np.sqrt(((directions / values[:, None]) ** 2).sum(axis=0).max()))
