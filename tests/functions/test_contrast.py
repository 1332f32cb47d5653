"""Mean and contrast of each patch."""

from __future__ import annotations

import numpy as np
import pytest

from patchcli.functions import normalize


@pytest.mark.parametrize("shape", [(8, 8), (1, 5), (9, 7, 3), (39, 39)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_against_the_formula(shape: tuple[int, ...], dtype: str) -> None:
    patches = (100 * np.random.default_rng(0).random((20, *shape))).astype(dtype)
    expected = []
    for patch in patches.astype(np.float64):
        variance = ((patch - patch.mean()) ** 2).mean()
        expected.append(128 + 45 * (patch - patch.mean()) / np.sqrt(variance + 3))
    assert np.allclose(normalize(patches, mean=128, deviation=45, epsilon=3), expected, atol=1e-3 if dtype != "f8" else 1e-9)


def test_mean_zero_and_deviation_one() -> None:
    patches = np.random.default_rng(0).normal(1000, 300, (50, 8, 8, 3))
    found = normalize(patches)
    assert np.abs(found.mean(axis=(1, 2, 3))).max() < 1e-12
    assert np.abs(found.std(axis=(1, 2, 3)) - 1).max() < 1e-3


def test_a_flat_patch_is_the_mean() -> None:
    assert np.array_equal(normalize(np.full((2, 8, 8), 200, np.uint8), mean=5), np.full((2, 8, 8), 5, np.float32))


def test_a_patch_with_nan_becomes_nan() -> None:
    patches = np.ones((3, 8, 8))
    patches[1, 2, 2] = np.nan
    assert np.array_equal(np.isnan(normalize(patches)).all(axis=(1, 2)), [False, True, False])
