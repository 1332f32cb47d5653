"""Colours that can be told apart."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest

from patchcli.pictures.palette import AMOUNTS, DIFFERENCES, MISSING, blend, distinct_colours, scale_colours


def test_class_numbers_have_distinct_colours() -> None:
    colours = distinct_colours(np.arange(40)).astype(int)
    apart = np.abs(colours[:, None] - colours).sum(axis=2)
    assert apart[~np.eye(40, dtype=bool)].min() >= 50
    assert colours[0].tolist() == [0, 0, 0]
    everyone = {tuple(colour) for colour in distinct_colours(np.arange(2000)).tolist()}
    assert len(everyone) > 1900


def test_neighbours_are_far_apart_in_hue_and_lightness() -> None:
    hls = [colorsys.rgb_to_hls(*colour) for colour in (distinct_colours(np.arange(1, 1001)) / 255).tolist()]
    for one, other in itertools.pairwise(hls):
        turn = abs(one[0] - other[0])
        assert min(turn, 1 - turn) > 0.3
        assert abs(one[1] - other[1]) > 0.18


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u8", "f4"])
def test_colours_of_a_number_are_always_the_same(dtype: str) -> None:
    numbers = np.array([0, 1], dtype)
    np.testing.assert_array_equal(distinct_colours(numbers), distinct_colours(np.arange(2)))
    assert distinct_colours(numbers).dtype == np.uint8


def test_numbers_of_any_size_have_colours() -> None:
    colours = distinct_colours(np.array([-1, -(2**63), 2**63 - 1, 10**9]))
    assert (colours.max(axis=1) > 100).all()
    assert distinct_colours(np.array([2**64 - 1], np.uint64)).tolist() == colours[:1].tolist()


@pytest.mark.parametrize("scale", [AMOUNTS, DIFFERENCES])
def test_scales_reach_from_end_to_end(scale: np.ndarray) -> None:
    fractions = np.array([0, 0.25, 1, 7, -3, np.nan])
    expected = [scale[0], scale[1], scale[-1], scale[-1], scale[0], MISSING]
    np.testing.assert_array_equal(scale_colours(fractions, scale), np.array(expected))


def test_blending_is_linear() -> None:
    under = np.array([[[0, 100, 200], [0, 100, 200], [0, 100, 200]]], np.uint8)
    out = blend(under, (255, 255, 255), np.array([[0, 0.5, 1]]))
    assert out.tolist() == [[[0, 100, 200], [128, 178, 228], [255, 255, 255]]]
