"""The median filter against a sort of each pixel's neighbours."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.functions import median_filter
from patchcli.functions.median import median_of


def slow(patch: NDArray[Any], size: int) -> NDArray[Any]:
    radius = size // 2
    wide = np.pad(patch, radius, mode="reflect")
    found = np.empty_like(patch)
    for row, column in np.ndindex(patch.shape):
        around = sorted(wide[row : row + size, column : column + size].ravel().tolist())
        found[row, column] = around[len(around) // 2]
    return found


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "u4", "i8", "f2", "f4", "f8"])
def test_against_sorting(size: int, dtype: str) -> None:
    patches = np.random.default_rng(size).integers(0, 2 if dtype == "?" else 120, (3, 8, 11)).astype(dtype)
    found = median_filter(patches, size=size)
    assert found.dtype == patches.dtype
    assert np.array_equal(found, [slow(patch, size) for patch in patches])


@settings(deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), size=st.sampled_from([1, 3, 5, 7]), seed=st.integers(0, 99))
def test_patches_smaller_than_the_filter(height: int, width: int, size: int, seed: int) -> None:
    patches = np.random.default_rng(seed).integers(0, 256, (2, height, width)).astype(np.uint8)
    assert np.array_equal(median_filter(patches, size=size), [slow(patch, size) for patch in patches])


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_every_order_of_values(count: int) -> None:
    orders = np.array(list(itertools.permutations(range(count)))).T
    assert np.array_equal(median_of(list(orders)), np.full(orders.shape[1], count // 2))


def test_zeros_have_one_sign() -> None:
    zeros = np.where(np.random.default_rng(0).random((40, 8, 8)) < 0.5, -0.0, 0.0)
    assert not np.signbit(median_filter(zeros)).any()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_spreads_as_far_as_the_filter_reaches(dtype: str) -> None:
    patches = np.random.default_rng(0).random((2, 9, 9)).astype(dtype)
    clean = median_filter(patches)
    patches[1, 4, 5] = np.nan
    found = median_filter(patches)
    near = np.zeros(patches.shape, bool)
    near[1, 3:6, 4:7] = True
    assert found.dtype == dtype
    assert np.isnan(found[near]).all()
    assert np.array_equal(found[~near], clean[~near])
