"""From values to grays and colours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.pictures.palette import CHECKER, MISSING, distinct_colours
from patchcli.pictures.raster import Raster
from patchcli.pictures.tones import MIDDLE, Tones, rgb_of, tones_of

NAN, INF = math.nan, math.inf


def raster_of(pixels: Any, dtype: Any = None, **more: Any) -> Raster:
    array = np.array(pixels, dtype)
    return Raster(pixels=array, **{"dtype": array.dtype, **more})


def grays_of(raster: Raster, value_range: tuple[float, float] | None = None) -> list[list[int]]:
    """The grays of a raster, which must be grays."""
    rgb = rgb_of(raster, tones_of([raster], value_range))
    assert rgb.dtype == np.uint8
    assert (rgb == rgb[..., :1]).all()
    grays: list[list[int]] = rgb[..., 0].tolist()
    return grays


def test_eight_bits_are_as_they_are() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert grays_of(raster_of(every)) == every.tolist()
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    np.testing.assert_array_equal(rgb_of(raster_of(colour), tones_of([raster_of(colour)])), colour)
    means = Raster(pixels=np.array([[0.4, 99.6, 255]], np.float32), dtype=np.dtype(np.uint8), factor=2)
    assert grays_of(means) == [[0, 100, 255]]
    assert not tones_of([raster_of(every)]).stretched


def test_a_picture_is_not_a_view_of_the_image() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    rgb_of(raster_of(pixels), tones_of([raster_of(pixels)]))[...] = 9
    assert not pixels.any()


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "u4", "i4", "f2", "f4", "f8"])
@given(values=st.lists(st.integers(0, 120), min_size=2, max_size=20).filter(lambda values: min(values) < max(values)))
def test_least_is_black_and_largest_white(dtype: str, values: list[int]) -> None:
    low, high = min(values), max(values)
    expected = [round(255 * (value - low) / (high - low)) for value in values]
    drawn = grays_of(raster_of([values], dtype))[0]
    assert max(abs(one - other) for one, other in zip(drawn, expected, strict=True)) <= 1  # halves are rounded either way
    assert {drawn[values.index(low)], drawn[values.index(high)]} == {0, 255}


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 2**64 - 1, 2**63], "u8", [0, 255, 128]),
        ([-(2**63), 2**63 - 1, 0], "i8", [0, 255, 128]),
        ([-1.7e308, 1.7e308, 0.0], "f8", [0, 255, 128]),
        ([-65504, 65504, 0], "f2", [0, 255, 128]),
        ([-128, 127, 0], "i1", [0, 255, 128]),
        ([False, True], "?", [0, 255]),
        ([5, 5], "u2", [MIDDLE, MIDDLE]),
        ([0.25], "f4", [MIDDLE]),
    ],
)
def test_ends_of_dtypes(values: list[Any], dtype: str, expected: list[int]) -> None:
    assert grays_of(raster_of([values], dtype)) == [expected]


def test_values_that_are_none_have_a_colour_of_their_own() -> None:
    raster = raster_of([[NAN, 2.0, 4.0, INF, -INF, -9.0]], nodata=-9)
    tones = tones_of([raster])
    assert (tones.low, tones.high) == (2, 4)
    assert rgb_of(raster, tones)[0].tolist() == [[*MISSING], [0] * 3, [255] * 3, [*MISSING], [*MISSING], [*MISSING]]
    nothing = raster_of([[NAN, INF]])
    assert rgb_of(nothing, tones_of([nothing])).tolist() == [[[*MISSING]] * 2]
    assert math.isnan(tones_of([nothing]).low)


def test_rasters_share_their_tones() -> None:
    rasters = [raster_of([[1.0, 3.0]]), raster_of([[2.0, NAN]]), raster_of([[9]], labels=True)]
    assert tones_of(rasters) == Tones(1, 3, stretched=True, whole=False)
    assert rgb_of(rasters[1], tones_of(rasters))[0, 0].tolist() == [128] * 3
    assert tones_of([]) == Tones(0, 255)


def test_a_range_can_be_given() -> None:
    assert grays_of(raster_of([[0, 100, 150, 200, 255]], np.uint8), (100, 200)) == [[0, 0, 128, 255, 255]]
    for low, high in ((5, 5), (6, 5), (NAN, 1), (0, INF)):
        with pytest.raises(PatchcliError, match=r"value range is .* the lower one first"):
            tones_of([raster_of([[1]])], (low, high))


def test_white_may_be_the_least() -> None:
    assert grays_of(raster_of([[0, 255]], np.uint8, photometric="miniswhite")) == [[255, 0]]
    assert grays_of(raster_of([[7, 9]], np.uint16, photometric="miniswhite")) == [[255, 0]]
    colour = raster_of([[[0, 1, 2]]], np.uint8, photometric="miniswhite")
    assert rgb_of(colour, tones_of([colour])).tolist() == [[[0, 1, 2]]]


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 65535), ("f4", 1.0), ("i1", 127)])
def test_alpha_shows_a_board(dtype: str, full: float) -> None:
    pixels = np.zeros((1, 16, 2), dtype)
    pixels[..., 1] = 0
    pixels[0, 1] = 0, full
    raster = raster_of(pixels, alpha=1)
    tones = tones_of([raster], (0, 1) if dtype != "u1" else None)
    rgb = rgb_of(raster, tones)[0, :, 0]
    assert rgb.tolist() == [CHECKER[0], 0, *[CHECKER[0]] * 6, *[CHECKER[1]] * 8]


def test_alpha_does_not_stretch() -> None:
    raster = raster_of([[[10, 65535], [20, 0]]], np.uint16, alpha=1)
    assert (tones_of([raster]).low, tones_of([raster]).high) == (10, 20)


def test_labels_have_colours() -> None:
    labels = raster_of([[0, 1, 70000, -3]], labels=True, nodata=-3)
    expected = [*distinct_colours([0, 1, 70000]).tolist(), [*MISSING]]
    assert rgb_of(labels, tones_of([labels]))[0].tolist() == expected
    table = raster_of([[0, 1, 2, 255]], np.uint8, labels=True, colours=np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    expected = [[1, 2, 3], [4, 5, 6], *distinct_colours([2, 255]).tolist()]
    assert rgb_of(table, tones_of([table]))[0].tolist() == expected
    for dtype in ("?", "f2", "u8", "i8"):
        assert rgb_of(raster_of([[0, 1]], dtype, labels=True), tones_of([labels]))[0, 0].tolist() == [0, 0, 0]


def test_many_labels() -> None:
    numbers = np.arange(10**5).reshape(250, 400)
    raster = raster_of(numbers, labels=True)
    rgb = rgb_of(raster, tones_of([raster]))
    np.testing.assert_array_equal(rgb.reshape(-1, 3), distinct_colours(numbers.ravel()))
