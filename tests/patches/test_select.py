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
from patchcli.patches.extract import extract
from patchcli.patches.padded import ArraySource, Padded
from patchcli.patches.select import Choice, box_counts, choose, choose_patches, sample, stds
from tests.helpers.bands import Bands
from tests.helpers.strategies import FLOATS, INTEGERS, grids, images_for, pad_modes


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
    arguments = Padded(ArraySource(image), grid), choice, Padded(ArraySource(mask), grid)
    if not expected:
        with pytest.raises(PatchcliError, match=r"none of the \d+ patches has .*at least one is needed"):
            choose(*arguments)
        return
    chosen = choose(*arguments)
    assert chosen is not None
    assert len(chosen) == min(wanted, len(expected))
    assert set(chosen.tolist()) <= set(expected)
    assert np.array_equal(Part(grid, 0, len(chosen), chosen).origins(), grid.origins()[chosen])


@given(
    data=st.data(),
    grid=grids(),
    mode=pad_modes,
    dtype=st.sampled_from(["?", "u1", "i8", "f4", "f8"]),
    channels=st.sampled_from([(), (1,), (3,)]),
    nodata=st.sampled_from([None, 3, 0, 3.5, -1, 1e300, float("nan"), float("inf")]),
    min_valid=st.fractions(0, 1, max_denominator=5),
    min_std=st.sampled_from([0, 1.0]),
    lines=st.integers(0, 5),
)
def test_valid_pixels_against_a_loop(
    data: st.DataObject, grid: Grid, mode: str, dtype: str, channels: tuple[int, ...], nodata: float | None,
    min_valid: Fraction, min_std: float, lines: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.choice([0, 3, 3, 5], (*grid.image, *channels)).astype(dtype)
    if dtype[0] == "f":
        image[rng.random(image.shape) < 0.2] = rng.choice([np.nan, np.inf])
    expected = []
    for number, patch in enumerate(extract(image, grid, pad_mode=mode, pad_value=1)[0]):
        pixels = patch.reshape(-1, math.prod(channels)).tolist()
        valid = [one for one in pixels if all(math.isfinite(value) and value != nodata for value in one)]
        rough = not min_std or (valid and float(np.std(valid)) >= min_std)
        if valid and len(valid) >= min_valid * len(pixels) and rough:
            expected.append(number)
    source = Bands(image, lines) if lines else ArraySource(image)
    choice = Choice(min_std=min_std, min_valid=min_valid, nodata=nodata)
    if not expected:
        with pytest.raises(PatchcliError, match=r"none of the \d+ patches has .*\d valid pixels?; at least one is needed"):
            choose(Padded(source, grid, mode, 1), choice)
        return
    chosen = choose(Padded(source, grid, mode, 1), choice)
    assert chosen is not None
    assert chosen.tolist() == expected
    options = {"min_valid": min_valid, "min_std": min_std, "nodata": nodata, "pad_mode": mode, "pad_value": 1}
    assert choose_patches(image, grid, **options).tolist() == expected  # type: ignore[arg-type]


def test_a_patch_without_a_valid_pixel_is_dropped_whatever_part_is_asked_for() -> None:
    image = np.zeros((4, 8), np.uint8)
    image[0, 0] = image[:, 4:] = 5
    assert choose_patches(image, Grid((4, 8), 4), min_valid=0, nodata=0).tolist() == [0, 1]
    assert choose_patches(image, Grid((4, 8), 4), min_valid=0, nodata=5).tolist() == [0]
    assert choose_patches(image, Grid((4, 8), 4), min_valid=0).tolist() == [0, 1]


@given(data=st.data(), grid=grids(), mode=pad_modes, lines=st.integers(1, 5))
def test_counts_against_sums_of_slices(data: st.DataObject, grid: Grid, mode: str, lines: int) -> None:
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random(grid.image) < 0.5
    bands = Bands(mask, lines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patchcli.patches.padded.LINES_BYTES", data.draw(st.sampled_from([1, 1 << 21])))
        counts = np.concatenate(list(box_counts(Padded(bands, grid, mode), np.asarray)))
    assert counts.tolist() == [int(patch.sum()) for patch in extract(mask, grid, pad_mode=mode)[0]]


def test_a_mask_is_read_once() -> None:
    mask = np.ones((500, 30), bool)
    for stride in (1, 7, 16):
        bands = Bands(mask, 9)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("patchcli.patches.padded.LINES_BYTES", 300)
            assert {16 * 16} == set(
                np.concatenate(list(box_counts(Padded(bands, Grid((500, 30), 16, stride)), np.asarray))).tolist()
            )
        assert bands.counts.max() == 1


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
    padded = Padded(ArraySource(image), grid)
    np.testing.assert_allclose(stds(padded, np.arange(grid.count))[0], expected, rtol=1e-6)
    chosen = choose(padded, Choice(min_std=1e-6))
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
        ({"min_valid": 1.5}, "min_valid is 1.5; allowed are parts from 0 to 1"),
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
