"""Crops against a loop over output pixels, and against slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.resample import OUTSIDE, RESAMPLING, crop, normalized_box, pixel_box
from tests import references

corner = st.floats(-3, 3, allow_subnormal=False).map(lambda value: round(value, 3))
boxes = st.tuples(corner, corner, corner, corner).filter(lambda box: abs(box[0] - box[2]) > 0.01 and abs(box[1] - box[3]) > 0.01)
sides = st.integers(1, 9)


@given(st.tuples(sides, sides), boxes, st.tuples(sides, sides), st.sampled_from(list(OUTSIDE)[:3]), st.booleans())
def test_bilinear_equals_the_loop(
    shape: tuple[int, int],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    outside: str,
    align: bool,
) -> None:
    image = np.random.default_rng(3).standard_normal(shape)
    got = crop(image, box, size, outside=outside, align_corners=align)
    assert np.abs(got - references.crop(image, box, size, "bilinear", outside, align=align)).max() < 1e-12


@given(st.tuples(sides, sides), boxes, st.tuples(sides, sides), st.sampled_from(list(OUTSIDE)[:3]), st.booleans())
def test_nearest_takes_a_nearest_pixel(
    shape: tuple[int, int],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    outside: str,
    align: bool,
) -> None:
    image = np.arange(1.0, shape[0] * shape[1] + 1).reshape(shape)
    got = crop(image, box, size, resampling="nearest", outside=outside, align_corners=align)
    shifted = [
        references.crop(image, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy), size, "nearest", outside, align=align)
        for dx in (-1e-9, 0, 1e-9)
        for dy in (-1e-9, 0, 1e-9)
    ]
    assert np.any([got == one for one in shifted], axis=0).all()


@given(
    st.sampled_from(["?", "u1", "i2", "u4", "i8", "f2", "f4", "f8", ">u2"]),
    st.sampled_from([(), (1,), (3,)]),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(list(RESAMPLING)),
    st.booleans(),
)
def test_whole_pixel_box_is_the_slice(
    dtype: str,
    channels: tuple[int, ...],
    x: int,
    y: int,
    width: int,
    height: int,
    how: str,
    align: bool,
) -> None:
    image = np.random.default_rng(4).integers(0, 2**16 - 100, (17, 17, *channels)).astype(dtype)
    got = crop(image, (x, y, width, height), normalized=False, resampling=how, align_corners=align)
    assert got.dtype == image.dtype
    assert np.array_equal(got, image[y : y + height, x : x + width])
    assert np.array_equal(got, crop(image, (x, y, width, height), (height, width), normalized=False))


@pytest.mark.parametrize(("outside", "row"), [("zeros", [0, 0, 1, 2, 3, 0]), ("border", [1, 1, 1, 2, 3, 3])])
def test_whole_pixel_box_across_the_border(outside: str, row: list[int]) -> None:
    image = np.array([[1, 2, 3]], np.uint8)
    assert crop(image, (-2, 0, 6, 1), normalized=False, outside=outside).tolist() == [row]


def test_whole_image_is_the_image_in_normalized_coordinates() -> None:
    image = np.random.default_rng(5).integers(0, 255, (9, 12, 3), np.uint8)
    assert np.array_equal(crop(image, (-1, -1, 1, 1)), image)
    assert np.array_equal(crop(image, (-1, -1, 1, 1), align_corners=True), image)
    assert np.array_equal(crop(image, (1, -1, -1, 1)), image[:, ::-1])


def test_nan_outside_the_box_does_not_leak() -> None:
    image = np.array([[1.0, np.nan], [2.0, np.nan]])
    assert crop(image, (0, 0, 1, 2), normalized=False).tolist() == [[1.0], [2.0]]
    assert crop(image, (-3, 0, 1, 2), (2, 2), normalized=False).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(st.tuples(sides, sides), boxes, st.booleans())
def test_boxes_convert_both_ways(shape: tuple[int, int], box: tuple[float, ...], align: bool) -> None:
    x0, y0, x1, y1 = box
    ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if align and 1 in shape:
        return
    pixels = pixel_box(ordered, shape, align_corners=align)
    assert normalized_box(pixels, shape, align_corners=align) == pytest.approx(ordered, abs=1e-12)


def test_default_size_is_the_rounded_box() -> None:
    image = np.zeros((10, 20))
    assert crop(image, (0, 0, 2.6, 3.4), normalized=False).shape == (3, 3)
    assert crop(image, (-0.5, -0.5, 0.5, 0.5)).shape == (5, 10)
    assert crop(image, (0, 0, 0.2, 0.2), normalized=False).shape == (1, 1)


@pytest.mark.parametrize(
    ("box", "options", "sentence"),
    [
        ((0, 0, 0, 1), {}, "box is empty: width=0"),
        ((0, 0, float("nan"), 1), {}, "allowed are four finite numbers"),
        (None, {}, "box is None; allowed are four finite numbers"),
        ((10**400, 0, 1, 1), {}, "allowed are four finite numbers"),
        ((0, 0, 1, 1), {"size": 2.5}, "crop size is 2.5; allowed are a whole number or a pair"),
        ((0, 0, 1), {}, r"box is \(0, 0, 1\); allowed are four finite numbers"),
        ((0, 0, 1, 1), {"size": 0}, "crop size is width=0 height=0; allowed are 1 to 1048576"),
        ((0, 0, 1, 1), {"resampling": "cubic"}, "resampling is 'cubic'; allowed are nearest, bilinear"),
        ((0, 0, 1, 1), {"outside": "wrap"}, "outside is 'wrap'; allowed are zeros, border, reflection, error"),
        ((-1.2, -1, 1, 1), {"outside": "error"}, "reaches outside the image of width=4 height=4; allowed with --outside"),
        ((-1e300, -1, 1, 1), {}, "allowed are four finite numbers below"),
    ],
)
def test_bad_box(box: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        crop(np.zeros((4, 4)), box, **options)
