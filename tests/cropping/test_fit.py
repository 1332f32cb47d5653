"""Fits of boxes that are known, with noise, gain and offset; and templates that cannot be found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import crop, fit_box
from patchcli.cropping.template_match import corners_apart, correlation
from patchcli.errors import PatchcliError
from tests.helpers.fitting import draw
from tests.helpers.runs import SAMPLES, read_image

NAMES = ("cells.png", "leaf.png", "noisy.png", "scene.png", "upright.jpg")


def sample(name: str) -> NDArray[Any]:
    return read_image(SAMPLES / name).astype(np.float64)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "noisy.png" else name for name in NAMES])
def test_boxes_are_recovered_from_nearby(name: str) -> None:
    image, rng = sample(name), np.random.default_rng(1)
    cases = [draw(image, rng) for _ in range(8)]
    clear = [case for case in cases if case.bound < 0.02]
    fits = [fit_box(image, case.template, case.start, normalized=False) for case in clear]
    off = np.array([corners_apart(fit.box, case.box) for fit, case in zip(fits, clear, strict=True)])
    assert clear
    assert np.mean(off < 0.05) >= 0.9
    for fit, case, distance in zip(fits, clear, off, strict=True):
        assert distance > 0.05 or (fit.converged and abs(fit.gain - case.gain) < 0.02 and fit.deviation < 0.05)


@pytest.mark.slow
def test_boxes_are_recovered_without_a_start() -> None:
    rng = np.random.default_rng(2)
    cases = [(image, draw(image, rng)) for image in (sample("cells.png"), sample("leaf.png")) for _ in range(4)]
    clear = [(image, case) for image, case in cases if case.bound < 0.03]
    off = [corners_apart(fit_box(image, case.template).box, case.box) for image, case in clear]
    assert np.mean(np.array(off) < 0.1) >= 0.9


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("align", [False, True])
def test_without_noise_the_box_is_exact(how: str, align: bool) -> None:
    image = sample("cells.png")
    options: dict[str, Any] = {"normalized": False, "resampling": how, "align_corners": align}
    template = 1.07 * crop(image, (60.3, 50.2, 80, 71), (64, 70), **options) - 9
    fit = fit_box(image, template, (63, 47, 76, 74), **options)
    assert fit.converged
    assert corners_apart(fit.box, (60.3, 50.2, 80, 71)) < 1e-3
    assert fit.error < 1e-2
    assert (fit.gain, fit.offset) == pytest.approx((1.07, -9), abs=1e-2)
    assert [step.iteration for step in fit.curve] == sorted(step.iteration for step in fit.curve)
    assert fit.curve[-1].box == fit.box


def test_a_mirrored_box_is_fitted_from_a_mirrored_start() -> None:
    image = sample("cells.png")
    template = crop(image, (140.5, 50, -80, 71), (64, 70), normalized=False)
    fit = fit_box(image, template, (143, 52, -83, 68), normalized=False)
    assert fit.converged
    assert corners_apart(fit.box, (140.5, 50, -80, 71)) < 1e-3


def test_what_is_not_in_the_image_is_not_found() -> None:
    noise = np.random.default_rng(3).random((40, 40)) * 255
    assert not fit_box(sample("cells.png"), noise).converged


def test_a_ramp_does_not_say_where_it_is_from() -> None:
    image = np.add.outer(np.arange(100.0), np.arange(120.0))
    fit = fit_box(image, crop(image, (30, 20, 50, 40), normalized=False), (32, 21, 50, 40), normalized=False)
    assert not fit.converged
    assert fit.deviation > 1


def test_a_pattern_that_repeats_is_ambiguous_or_found() -> None:
    rows, columns = np.indices((120, 160))
    image = np.sin(rows * np.pi / 6) + np.cos(columns * np.pi / 6)
    fit = fit_box(image, crop(image, (50.3, 40.2, 40, 36), normalized=False))
    assert not fit.converged
    assert fit.ambiguous
    texture = sample("texture.png")
    box = (38.1, 156.5, 115.3, 94.1)
    fit = fit_box(texture, crop(texture, box, (52, 104), normalized=False))
    assert fit.converged
    assert corners_apart(fit.box, box) < 0.01


def test_correlation_is_that_of_every_patch() -> None:
    rng = np.random.default_rng(4)
    image, template = rng.random((12, 15)), rng.random((5, 4))
    got = correlation(image, template)
    assert got.shape == (8, 12)
    for row, column in np.ndindex(*got.shape):
        patch = image[row : row + 5, column : column + 4]
        assert got[row, column] == pytest.approx(np.corrcoef(patch.ravel(), template.ravel())[0, 1], abs=1e-9)


@pytest.mark.parametrize(
    ("template", "options", "sentence"),
    [
        (np.eye(30), {}, "template of width=30 height=30 is larger than the image of width=20 height=20"),
        (np.zeros((5, 5)), {}, "template is flat"),
        (np.ones((1, 5)), {}, "template is flat or a single line"),
        (np.random.default_rng(0).random((5, 5, 3)), {}, "template has 3 channels but the image 1"),
        (np.full((5, 5), np.nan), {}, "template holds NaN"),
        (np.eye(5), {"resampling": "area"}, "which has no gradient; for a fit use bilinear"),
        (np.eye(5), {"box": (0, 0, 0, 1)}, "box is empty"),
        (np.eye(5), {"box": [(0, 0, 1, 1), (0, 0, 1, 1)]}, "for a fit give one box"),
        (np.eye(5), {"outside": "wrap"}, "outside is 'wrap'"),
    ],
)
def test_bad_fit(template: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        fit_box(np.random.default_rng(1).random((20, 20)), template, **options)
