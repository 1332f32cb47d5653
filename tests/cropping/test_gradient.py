"""The gradient of a crop: against differences, as an adjoint, and against numbers that PyTorch gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from patchcli import crop, crop_gradient
from patchcli.cropping.coordinates import OUTSIDE
from patchcli.errors import PatchcliError
from patchcli.geometry.box import pixel_box

GOLDEN = Path(__file__).parent.parent / "golden" / "crop"
corner = st.floats(-1.6, 1.6, allow_subnormal=False)
sides = st.integers(1, 12)
smooth = st.sampled_from(["bilinear", "bicubic", "lanczos"])
outsides = st.sampled_from(list(OUTSIDE)[:3])


@settings(max_examples=300)
@given(st.data(), smooth, outsides, st.booleans(), st.booleans())
def test_gradient_of_the_box_is_the_difference(
    data: st.DataObject, how: str, outside: str, align: bool, normalized: bool
) -> None:
    shape, size = data.draw(st.tuples(sides, sides)), data.draw(st.tuples(sides, sides))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    corners = rng.uniform(-1.6, 1.6, 4)  # from a generator: on pixel centres, where it has kinks, are too few to be met
    assume(abs(corners[0] - corners[2]) * shape[1] > 0.2 and abs(corners[1] - corners[3]) * shape[0] > 0.2)
    options: dict[str, Any] = {"resampling": how, "outside": outside, "align_corners": align, "normalized": normalized}
    box = corners if normalized else np.array(pixel_box(tuple(corners), shape, align_corners=align))
    image, towards = rng.standard_normal((*shape, 2)), rng.standard_normal((*size, 2))
    _, got = crop_gradient(image, box, towards, **options)
    for number in range(4):
        step = np.eye(4)[number] * 1e-6
        before, after = ((crop(image, box + by * step, size, **options) * towards).sum() for by in (-1, 1))
        close = abs((after - before) / 2e-6 - got[number]) < 1e-5 * max(1, np.abs(got).max())
        assert close or kinked(image, box, towards, number, options)


def kinked(image: Any, box: Any, towards: Any, number: int, options: dict[str, Any]) -> bool:
    """Whether the slope from the left is another than that from the right: a kink within a step."""
    step = np.eye(4)[number] * 1e-6
    left, here, right = ((crop(image, box + by * step, towards.shape[:2], **options) * towards).sum() for by in (-1, 0, 1))
    return bool(abs((right - here) - (here - left)) > 1e-9)


@given(st.data(), st.sampled_from(["nearest", "bilinear", "bicubic", "area", "lanczos"]), outsides, st.booleans(), st.booleans())
def test_gradient_of_the_image_is_the_adjoint(data: st.DataObject, how: str, outside: str, align: bool, mirrored: bool) -> None:
    shape, size, channels = data.draw(st.tuples(sides, sides)), data.draw(st.tuples(sides, sides)), data.draw(st.integers(1, 6))
    x0, y0 = data.draw(corner), data.draw(corner)
    box = (x0, y0, x0 + (-0.7 if mirrored else 1.3), y0 + 0.9)
    rng = np.random.default_rng(2)
    image, towards = rng.standard_normal((*shape, channels)), rng.standard_normal((*size, channels))
    options: dict[str, Any] = {"resampling": how, "outside": outside, "align_corners": align}
    back, moved = crop_gradient(image, box, towards, **options)
    assert np.isclose((crop(image, box, size, **options) * towards).sum(), (back * image).sum(), rtol=1e-10, atol=1e-10)
    if how in ("nearest", "area"):
        assert moved.tolist() == [0, 0, 0, 0]


def test_a_batch_adds_up() -> None:
    rng = np.random.default_rng(3)
    images, boxes, towards = rng.random((3, 8, 9, 2)), rng.uniform(-1, 1, (3, 4)), rng.random((3, 5, 6, 2))
    back, moved = crop_gradient(images, boxes, towards)
    assert (back.shape, moved.shape) == (images.shape, (3, 4))
    alone = [crop_gradient(image, box, way) for image, box, way in zip(images, boxes, towards, strict=True)]
    assert np.array_equal(back, [one for one, _ in alone])
    assert np.array_equal(moved, [one for _, one in alone])
    back, moved = crop_gradient(images[0], boxes, towards)
    alone = [crop_gradient(images[0], box, way) for box, way in zip(boxes, towards, strict=True)]
    assert np.allclose(back, sum(one for one, _ in alone), rtol=0, atol=1e-12)
    assert np.array_equal(moved, [one for _, one in alone])
    gray, _ = crop_gradient(images[0, ..., 0], boxes[0], towards[0, ..., 0])
    assert gray.shape == (8, 9)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_values_and_gradients_are_those_of_pytorch(path: Path) -> None:
    held = np.load(path)
    how, outside, align = path.stem.split("_")
    options: dict[str, Any] = {"resampling": how, "outside": outside, "align_corners": align == "aligned"}
    for number in range(len(held["box"])):
        image, box, towards = held[f"image{number}"], held["box"][number], held[f"towards{number}"]
        assert np.abs(crop(image, box, towards.shape[:2], **options) - held[f"crop{number}"]).max() < 1e-9
        back, moved = crop_gradient(image, box, towards, **options)
        assert np.abs(back - held[f"to_image{number}"]).max() < 1e-8
        assert np.abs(moved - held["to_box"][number]).max() < 1e-8 * max(1, np.abs(moved).max())


def test_goldens_are_there() -> None:
    assert len(list(GOLDEN.glob("*.npz"))) == 18


@pytest.mark.parametrize(
    ("image", "towards", "sentence"),
    [
        (np.eye(4), np.ones(3), r"gradient has shape \(3,\); allowed is that of the crop"),
        (np.eye(4), np.ones((3, 3, 2)), r"gradient has shape \(3, 3, 2\) but the crop \(3, 3\)"),
        (np.eye(4), [["a"]], "gradient has dtype <U1"),
        (np.eye(4), np.ones((2, 2), complex), "gradient has dtype complex128"),
        (np.eye(4), [[1, 2], [3]], "gradient has rows of different lengths"),
        (np.eye(4), [[np.nan]], "gradient holds NaN"),
        (np.eye(4), [[1e300]], "gradient holds NaN, infinite or huge values"),
        (np.full((4, 4), np.inf), np.ones((2, 2)), "image holds NaN, infinite or huge values"),
    ],
)
def test_bad_gradient(image: Any, towards: Any, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        crop_gradient(image, (-1, -1, 1, 1), towards)
