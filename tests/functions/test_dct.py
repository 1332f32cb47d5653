"""The DCT against its definition, and the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.functions import dct_denoise

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 39, 64)
Floats = NDArray[np.float64]


def basis(size: int) -> Floats:
    """The orthonormal DCT-II as a matrix, entry by entry."""
    entries = [
        [math.sqrt((1 if k == 0 else 2) / size) * math.cos(math.pi * k * (2 * n + 1) / (2 * size)) for n in range(size)]
        for k in range(size)
    ]
    return np.array(entries)


def slow(patch: Floats, least: float) -> Floats:
    rows, columns = basis(patch.shape[0]), basis(patch.shape[1])
    found = rows @ patch @ columns.T
    first = found[0, 0]
    found[np.abs(found) < least] = 0
    found[0, 0] = first
    return np.asarray(rows.T @ found @ columns)


@pytest.mark.parametrize("height", SIZES)
@pytest.mark.parametrize("width", [1, 5, 8, 24])
def test_any_size_against_the_definition(height: int, width: int) -> None:
    patches = np.random.default_rng(height).normal(100, 30, (4, height, width))
    found = dct_denoise(patches, sigma=20, threshold=2)
    assert np.abs(found - [slow(patch, 40) for patch in patches]).max() < 1e-11
    assert not np.allclose(found, patches) or height * width == 1


@settings(deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99), least=st.floats(0, 100))
def test_any_threshold(height: int, width: int, seed: int, least: float) -> None:
    patches = np.random.default_rng(seed).normal(0, 30, (2, height, width))
    assert np.allclose(dct_denoise(patches, sigma=least, threshold=1), [slow(patch, least) for patch in patches], atol=1e-9)


@pytest.mark.parametrize("size", [8, 16, 64])
def test_nothing_below_no_threshold(size: int) -> None:
    patches = np.random.default_rng(0).integers(0, 65536, (50, size, size)).astype(np.uint16)
    assert np.abs(dct_denoise(patches, sigma=0) - patches).max() < 65536 * 3e-6


def test_above_all_coefficients_the_mean_remains() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (9, 8, 12, 3)).astype(np.uint8)
    found = dct_denoise(patches, sigma=1e6)
    assert np.allclose(found, patches.mean(axis=(1, 2), keepdims=True), rtol=1e-6)


def test_a_patch_with_nan_becomes_nan() -> None:
    patches = np.ones((3, 8, 8))
    patches[1, 2, 2] = np.nan
    assert np.array_equal(np.isnan(dct_denoise(patches, sigma=1)).all(axis=(1, 2)), [False, True, False])
