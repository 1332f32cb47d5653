"""Choosing patches: against loops, and the same on every machine."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid, Part
from patchcli.patches.extract import extract, pad
from patchcli.patches.select import Choice, choose, choose_patches, sample, stds
from tests.helpers.strategies import FLOATS, INTEGERS, grids, images_for


def test_a_seed_draws_the_same_patches_everywhere() -> None:
    """Worked out by hand from SplitMix64's definition in whole numbers of any size."""

    def key(index: int, seed: int) -> int:
        z = (seed + (index + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    assert key(0, 1234567) == 6457827717110365317  # the first number of the generator's published test
    for seed in (0, 1, 2**64 - 1):
        expected = sorted(sorted(range(1000), key=lambda index, seed=seed: key(index, seed))[:20])  # type: ignore[misc]
        assert sample([np.arange(1000)], 20, seed).tolist() == expected


@given(st.integers(0, 500), st.integers(1, 600), st.integers(0, 2**64 - 1), st.integers(1, 100))
def test_sampling(count: int, size: int, seed: int, step: int) -> None:
    parts = [np.arange(first, min(first + step, count)) for first in range(0, count, step)]
    drawn = sample(parts, size, seed)
    assert len(drawn) == len(set(drawn.tolist())) == min(size, count)
    assert drawn.tolist() == sorted(drawn.tolist())
    assert drawn.tolist() == sample([np.arange(count)], size, seed).tolist()
    assert set(drawn.tolist()) <= set(sample([np.arange(count)], size + 1, seed).tolist())


@given(
    st.data(),
    grids(),
    st.floats(0, 120),
    st.none() | st.fractions(0, 1, max_denominator=9),
    st.none() | st.integers(1, 9) | st.fractions(Fraction(1, 9), 1, max_denominator=9),
)
def test_choice_against_a_loop(
    data: st.DataObject, grid: Grid, min_std: float, min_cover: Fraction | None, most: int | Fraction | None
) -> None:
    image = data.draw(images_for(grid, (*INTEGERS[:9], *FLOATS[:3])))
    mask = np.random.default_rng(data.draw(st.integers(0, 9))).random(grid.image) < 0.5
    patches, insides = extract(image, grid)[0], extract(mask, grid)[0]
    expected = [
        number
        for number, (patch, inside) in enumerate(zip(patches, insides, strict=True))
        if Fraction(int(inside.sum()), inside.size) >= (Fraction(1, 2) if min_cover is None else min_cover)
        and (min_std == 0 or patch.astype(np.float64).std() >= min_std)
    ]
    wanted = len(expected) if most is None else most if isinstance(most, int) else max(1, int(len(expected) * most))
    choice = Choice(most, 7, min_std, min_cover)
    arguments = pad(image, grid), grid, choice, pad(mask, grid)
    if not expected:
        with pytest.raises(PatchcliError, match=r"none of the \d+ patches has .*at least one is needed"):
            choose(*arguments)
        return
    chosen = choose(*arguments)
    assert chosen is not None
    assert len(chosen) == min(wanted, len(expected))
    assert set(chosen.tolist()) <= set(expected)
    assert np.array_equal(Part(grid, 0, len(chosen), chosen).origins(), grid.origins()[chosen])


def test_spread_is_that_of_finite_pixels_alone() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(5, 2, (12, 20, 3)).astype(np.float32)
    image[:, :8] = 5  # flat
    for row, column, channel in zip(*(rng.integers(0, most, 40) for most in image.shape), strict=True):
        image[row, column, channel] = rng.choice([np.nan, np.inf, -np.inf])
    image[:, 16:, 1] = np.nan  # no pixel with all its channels
    grid = Grid((12, 20), 4)
    expected = []
    for patch in extract(image, grid)[0].astype(np.float64):
        whole = patch[np.isfinite(patch).all(axis=2)]
        expected.append(math.sqrt(((whole - whole.mean()) ** 2).mean()) if len(whole) else math.nan)
    np.testing.assert_allclose(stds(image, grid, np.arange(grid.count)), expected, rtol=1e-6)
    chosen = choose(image, grid, Choice(min_std=1e-6))
    assert chosen is not None
    assert chosen.tolist() == [number for number, spread in enumerate(expected) if spread >= 1e-6]
    assert 0 < len(chosen) < grid.count - 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_patches": 0}, "max_patches is 0; allowed are whole numbers from 1, and fractions up to 1"),
        ({"max_patches": 1.5}, "max_patches is 1.5"),
        ({"seed": -1}, "seed is -1; allowed are whole numbers from 0"),
        ({"min_std": float("nan")}, "min_std is nan"),
        ({"min_cover": 0.5}, "min_cover is 0.5; allowed are parts from 0 to 1, where there is a mask"),
        ({"mask": np.ones((4, 4, 3))}, r"mask has shape \(4, 4, 3\); expected \(4, 4\)"),
    ],
)
def test_bad_choices(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        choose_patches(np.zeros((4, 4)), Grid((4, 4), 2), **options)


def test_choose_and_extract() -> None:
    image, grid = np.random.default_rng(0).integers(0, 256, (20, 30)), Grid((20, 30), 5, 2, margin=2)
    mask = np.zeros((20, 30))
    mask[:8] = 1
    index = choose_patches(image, grid, max_patches=9, seed=1, min_std=10, mask=mask, min_cover=0.25)
    patches, origins = extract(image, grid, index=index)
    assert len(index) == 9
    assert np.array_equal(patches, extract(image, grid)[0][index])
    assert np.array_equal(origins, grid.origins()[index])
    assert len(choose_patches(image, grid)) == grid.count
    for bad in ([grid.count], [-1], [[0]], [0.5]):
        with pytest.raises(PatchcliError, match="index is not a list of numbers of patches"):
            extract(image, grid, index=bad)
