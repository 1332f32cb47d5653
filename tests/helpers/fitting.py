"""Templates whose box is known, and how precisely their noise lets it be told; for the tests and for `python -m benchmarks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchcli import crop

if TYPE_CHECKING:
    from patchcli.geometry.box import Box

NOISE, MOVED = 0.02, 0.08


class Case(NamedTuple):
    """A template cut from an image.

    Attributes:
        template: the crop, times a gain, with noise of 2% of its range.
        box: ``(x, y, width, height)``, where it is from.
        start: the same, each number moved by up to 8% of the size.
        gain: 0.9 to 1.1.
        bound: the standard deviation of the least certain corner, in pixels, that no unbiased estimate can go below with
            this noise (Cramer and Rao), by differences.
    """

    template: NDArray[np.float64]
    box: Box
    start: Box
    gain: float
    bound: float


def draw(image: NDArray[Any], rng: np.random.Generator, least: int = 48, most: int = 160) -> Case:
    """A random box of an image, its template at the box's own size or at another, and a start nearby."""
    height, width = image.shape[:2]
    across, down = (rng.uniform(least, min(most, 0.8 * side)) for side in (width, height))
    box = np.array([rng.uniform(0, width - across), rng.uniform(0, height - down), across, down])
    own = rng.random() < 0.5
    size = (round(down), round(across)) if own else (int(rng.integers(48, 129)), int(rng.integers(48, 129)))
    clean = crop(image, box, size, normalized=False)
    gain, noise = rng.uniform(0.9, 1.1), NOISE * float(np.ptp(clean))
    template = gain * clean + rng.normal(0, noise, clean.shape)
    start = box + rng.uniform(-MOVED, MOVED, 4) * [across, down, across, down]
    return Case(template, tuple(box.tolist()), tuple(start.tolist()), gain, bound(image, box, clean, noise / gain))


def bound(image: NDArray[Any], box: NDArray[np.float64], clean: NDArray[np.float64], noise: float) -> float:
    """The Cramer-Rao bound of the corners where gain and offset are not known either."""
    columns = [np.ones(clean.size), clean.ravel()]
    for step in np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]]) * 1e-3:  # each corner's number
        ends = (crop(image, box + by * step, clean.shape[:2], normalized=False) for by in (-1, 1))
        columns.append((-1 * next(ends) + next(ends)).ravel() / 2e-3)
    design = np.stack(columns, axis=1)
    _, values, directions = np.linalg.svd(design / np.linalg.norm(design, axis=0).clip(1e-300), full_matrices=False)
    if values[-1] < 1e-7:
        return float("inf")
    variance = ((directions / values[:, None]) ** 2).sum(axis=0) / (np.linalg.norm(design, axis=0) ** 2)
    return float(noise * np.sqrt(variance[2:].max()))
