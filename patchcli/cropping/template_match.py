"""Where in an image, and at what scale, something looks like a template: normalised cross-correlation, coarsely.

Image and template are shrunk so that the template is a few pixels wide; the score of every place is the correlation
coefficient of the two, which gain and offset in brightness do not change. J. P. Lewis, Fast normalized cross-correlation
(1995): the numerator by Fourier transform, the local means and energies by sums over boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchcli.cropping.crop import crop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

COARSE = 24  # pixels of the longer side of the template while it is searched for
SMALLEST = 12  # pixels of the shorter side of a box that is looked for
STEP = 1.15  # from scale to scale
PEAKS = 4  # places kept of one scale
PEAKS_OF_ONE_SCALE = 150  # and of the very scale of a box
KEPT = 10  # of those, the best between pixels
FINE = 96  # pixels of the longer side of the template where a box is known roughly
AROUND = 0.12  # of the box's size, how far it may have moved
SAME = 0.04  # of the box's size, within which two places are one
SCALES = (-0.09, -0.06, -0.03, 0.0, 0.03, 0.06, 0.09)  # by how much it may have grown
FLAT = 1e-4  # of the template's energy, below which a place has nothing to compare


class Candidate(NamedTuple):
    """A box that looks like the template.

    Attributes:
        score: the correlation coefficient.
        box: ``(x, y, width, height)`` in pixels of the image.
    """

    score: float
    box: Box


def candidates(image: NDArray[np.float64], template: NDArray[np.float64], aspects: tuple[float, ...]) -> list[Candidate]:
    """Boxes of an image that look like a template, best first.

    Args:
        image: gray, ``(H, W)``.
        template: gray, ``(h, w)``.
        aspects: how many times wider than the template a box may be, at the same height.
    """
    found = [
        one for aspect in aspects for size in _sizes(image.shape, template.shape, aspect) for one in _at(image, template, *size)
    ]
    return sorted(found, reverse=True)


def _sizes(image: tuple[int, ...], template: tuple[int, ...], aspect: float) -> Iterator[tuple[float, float]]:
    """Heights and widths of boxes, in steps, from the whole image down to a few pixels."""
    height, width = template[0], template[1] * aspect
    scale = min(image[0] / height, image[1] / width)
    least = SMALLEST / min(height, width)
    while scale >= min(least, 1):
        yield height * scale, width * scale
        scale /= STEP


def _at(image: NDArray[np.float64], template: NDArray[np.float64], height: float, width: float) -> Iterator[Candidate]:
    """The best places for boxes of one size."""
    shrink = max(1.0, max(height, width) / COARSE)
    coarse = max(1, round(image.shape[0] / shrink)), max(1, round(image.shape[1] / shrink))
    small = max(2, round(height / shrink)), max(2, round(width / shrink))
    if small[0] > coarse[0] or small[1] > coarse[1]:
        return
    whole = (-1, -1, 1, 1)
    scores = correlation(crop(image, whole, coarse, resampling="area"), crop(template, whole, small, resampling="area"))
    by_row, by_column = image.shape[0] / coarse[0], image.shape[1] / coarse[1]
    for score, row, column in _peaks(scores, small):
        yield Candidate(score, (column * by_column, row * by_row, width, height))


def _peaks(scores: NDArray[np.float64], template: Pair, most: int = PEAKS) -> Iterator[tuple[float, int, int]]:
    """The highest places of a map, a part of the template apart from each other: ``(score, row, column)``."""
    high, wide = (max(1, side // 3) for side in template)
    for _ in range(most):
        row, column = (int(place) for place in np.unravel_index(int(np.argmax(scores)), scores.shape))
        score = float(scores[row, column])
        if score <= 0:
            return
        yield score, row, column
        scores[max(0, row - high) : row + high + 1, max(0, column - wide) : column + wide + 1] = -1


def near(image: NDArray[np.float64], template: NDArray[np.float64], box: Box) -> list[Candidate]:
    """Boxes not far from a given one that look like a template, best first: moved and grown a little, at a finer resolution.

    Args:
        image: gray, ``(H, W)``.
        template: gray, ``(h, w)``.
        box: ``(x, y, width, height)`` in pixels of the image.
    """
    seen = _shrunk(template)
    small = seen.shape[0], seen.shape[1]
    room = [max(2, round(side * AROUND)) for side in small]
    size = small[0] + 2 * room[0], small[1] + 2 * room[1]
    x, y, width, height = box
    found = []
    for tall in SCALES:
        for broad in SCALES:
            by_row, by_column = height * (1 + tall) / small[0], width * (1 + broad) / small[1]
            left, top = x + width / 2 - by_column * size[1] / 2, y + height / 2 - by_row * size[0] / 2
            region = (left, top, by_column * size[1], by_row * size[0])
            part = crop(image, region, size, normalized=False, resampling="lanczos", outside="border")
            for score, row, column in _peaks(correlation(part, seen), small):
                at = (left + column * by_column, top + row * by_row, by_column * small[1], by_row * small[0])
                found.append(Candidate(score, at))
    return sorted(found, reverse=True)


def _shrunk(template: NDArray[np.float64]) -> NDArray[np.float64]:
    """A template at the resolution at which it is compared near a box: its longer side is `FINE` pixels at most."""
    shrink = max(1.0, max(template.shape) / FINE)
    size = max(2, round(template.shape[0] / shrink)), max(2, round(template.shape[1] / shrink))
    return crop(template, (-1, -1, 1, 1), size, resampling="area")


def correlation(image: NDArray[np.float64], template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation coefficients ``(H - h + 1, W - w + 1)`` of a template ``(h, w)`` and every patch of an image ``(H, W)``."""
    height, width = template.shape
    known = template - template.mean()
    energy = float((known * known).sum())
    centred = image - image.mean()
    spectrum = np.fft.rfft2(centred) * np.conj(np.fft.rfft2(known, image.shape))
    product = np.fft.irfft2(spectrum, image.shape)[: image.shape[0] - height + 1, : image.shape[1] - width + 1]
    total, squares = (_box_sums(values, height, width) for values in (centred, centred * centred))
    local = squares - total * total / known.size
    bare = local <= FLAT * energy
    return np.where(bare | (energy == 0), 0.0, product / np.sqrt(np.where(bare, 1.0, local) * (energy or 1.0)))


def _box_sums(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Sums over every ``height`` by ``width`` box."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, axis=0), axis=1, out=sums[1:, 1:])
    return np.asarray(sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width])


def alike(image: NDArray[np.float64], template: NDArray[np.float64], box: Box, within: Box) -> list[Candidate]:
    """Boxes of the very size of a given one that look like a template, best first: a pattern that repeats gives its scale away.

    Args:
        image: gray, ``(H, W)``.
        template: gray, ``(h, w)``.
        box: ``(x, y, width, height)`` in pixels of the image; its size counts.
        within: the part of the image to look at, likewise.
    """
    seen = _shrunk(template)
    small = seen.shape[0], seen.shape[1]
    by_row, by_column = box[3] / small[0], box[2] / small[1]
    size = max(small[0], int(abs(within[3] / by_row))), max(small[1], int(abs(within[2] / by_column)))
    left = within[0] if by_column * within[2] > 0 else within[0] + within[2]
    top = within[1] if by_row * within[3] > 0 else within[1] + within[3]
    part = crop(
        image,
        (left, top, by_column * size[1], by_row * size[0]),
        size,
        normalized=False,
        resampling="lanczos",
        outside="border",
    )
    scores = correlation(part, seen)
    found = []
    for value, row, column in _peaks(scores.copy(), (3, 3), PEAKS_OF_ONE_SCALE):
        up, higher = _summit(scores[:, column], row)
        aside, more = _summit(scores[row], column)
        at = (left + (column + aside) * by_column, top + (row + up) * by_row, box[2], box[3])
        found.append(Candidate(value + higher + more, at))
    return sorted(found, reverse=True)[:KEPT]


def _summit(line: NDArray[np.float64], at: int) -> tuple[float, float]:
    """How far beside a highest place the summit of the parabola through it lies, and how much higher it is."""
    if not 0 < at < len(line) - 1:
        return 0.0, 0.0
    before, here, after = line[at - 1 : at + 2].tolist()
    bend = before - 2 * here + after
    if bend >= 0:
        return 0.0, 0.0
    aside = (before - after) / (2 * bend)
    return aside, -bend * aside * aside / 2


def distinct(found: list[Candidate], most: int) -> list[Candidate]:
    """The best candidates, each only once: ``most`` of them, whose corners are some pixels from those of better ones."""
    kept: list[Candidate] = []
    for one in found:
        if all(corners_apart(one.box, other.box) > SAME * min(abs(one.box[2]), abs(one.box[3])) for other in kept):
            kept.append(one)
        if len(kept) == most:
            break
    return kept


def corners_apart(box: Box, other: Box) -> float:
    """How far the corners of two boxes are apart, the furthest number of them."""
    numbers = [np.array([x, y, x + width, y + height]) for x, y, width, height in (box, other)]
    return float(np.abs(numbers[0] - numbers[1]).max())
