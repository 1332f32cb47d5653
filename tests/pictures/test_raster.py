"""How large an image is drawn, which of its channels are, and which pixels have no value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.pictures.raster import MOST_ENLARGED, Raster, brought_inside, enlarged, fit

sides = st.integers(1, 3000)


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(1, 9))
def test_factors_are_the_best_that_fit(size: tuple[int, int], room: tuple[int, int], most: int) -> None:
    def drawn(shrink: int, enlarge: int) -> bool:
        return all(-(-length // shrink) * enlarge <= limit for length, limit in zip(size, room, strict=True))

    shrink, enlarge = fit(size, room, most=most)
    assert drawn(shrink, enlarge)
    assert 1 in (shrink, enlarge)
    assert 1 <= enlarge <= most
    assert shrink == 1 or not drawn(shrink - 1, 1)
    assert shrink > 1 or enlarge == most or not drawn(1, enlarge + 1)


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.tuples(st.integers(1, 50), st.integers(1, 50)), st.booleans())
def test_what_does_not_fit_is_shrunk(size: tuple[int, int], room: tuple[int, int], labels: bool) -> None:
    raster = Raster(pixels=np.arange(size[0] * size[1]).reshape(size), dtype=np.dtype("i8"), factor=3, labels=labels)
    drawn, times = brought_inside(raster, room)
    picture = enlarged(np.zeros((*drawn.shape, 3), np.uint8), times)
    assert picture.shape[0] <= room[0]
    assert picture.shape[1] <= room[1]
    assert drawn.factor % 3 == 0
    assert (drawn is raster) == (fit(size, room)[0] == 1)
    assert times <= MOST_ENLARGED


def test_means_that_happen_to_be_nodata_count() -> None:
    means = Raster(pixels=np.array([[5.0, 7.0], [5.0, 7.0]]), dtype=np.dtype("f8"), factor=2, nodata=5)
    assert brought_inside(means, (1, 1))[0].pixels.tolist() == [[6]]
    values = Raster(pixels=np.array([[5.0, 7.0], [5.0, 7.0]]), dtype=np.dtype("f8"), nodata=5)
    assert brought_inside(values, (1, 1))[0].pixels.tolist() == [[7]]


def test_enlarging_repeats_pixels() -> None:
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = enlarged(rgb, 3)
    assert large.shape == (6, 6, 3)
    assert all((large[y, x] == rgb[y // 3, x // 3]).all() for y, x in np.ndindex(6, 6))


@pytest.mark.parametrize(
    ("channels", "alpha", "labels", "drawn", "words"),
    [
        (None, None, False, [0], ""),
        (1, None, False, [0], ""),
        (2, 1, False, [0], ""),
        (2, None, False, [0], "first of 2 channels"),
        (3, None, False, [0, 1, 2], ""),
        (4, 3, False, [0, 1, 2], ""),
        (4, 0, False, [1, 2, 3], ""),
        (4, None, False, [0, 1, 2], "first 3 of 4 channels"),
        (7, 3, False, [0, 1, 2], "first 3 of 7 channels"),
        (3, None, True, [0], "first of 3 channels"),
    ],
)
def test_which_channels_are_drawn(channels: int | None, alpha: int | None, labels: bool, drawn: list[int], words: str) -> None:
    pixels = np.zeros((2, 2) if channels is None else (2, 2, channels), np.uint8)
    raster = Raster(pixels=pixels, dtype=pixels.dtype, alpha=alpha, labels=labels)
    assert (raster.channels, raster.unseen) == (drawn, words)


def test_which_pixels_have_no_value() -> None:
    def missing(pixels: Any, **more: Any) -> list[bool]:
        array = np.array(pixels)
        found: list[bool] = Raster(pixels=array, dtype=array.dtype, **more).missing()[0].tolist()
        return found

    assert missing([[1.0, math.nan, -math.inf, -9.0]], nodata=-9) == [False, True, True, True]
    assert missing([[1.0, math.nan, -9.0]], nodata=-9, factor=2) == [False, True, False]  # a mean may happen to be nodata
    assert missing([[1, 9]], nodata=9, factor=2, labels=True) == [False, True]
    assert missing([[[0, 0, 0], [0, 1, 0]]], nodata=0) == [True, False]
    assert missing([[[0.0, math.nan], [math.nan, 1.0]]]) == [False, True]  # the second channel is not drawn
    assert missing([[0, 1]], nodata=math.nan) == [False, False]
    assert missing([[0, 1]], nodata=1e300) == [False, False]
