"""The Gaussian filter against a weighed sum for each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli.functions import gaussian_filter


def slow(patch: NDArray[Any], sigma: float, truncate: float) -> NDArray[np.float64]:
    radius = round(truncate * sigma)
    axis = np.arange(-radius, radius + 1)
    weights = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
    wide = np.pad(patch.astype(np.float64), radius, mode="reflect")
    found = np.empty(patch.shape)
    for row, column in np.ndindex(patch.shape):
        found[row, column] = (wide[row : row + 2 * radius + 1, column : column + 2 * radius + 1] * weights).sum() / weights.sum()
    return found


@pytest.mark.parametrize(("sigma", "truncate"), [(1, 4), (0.1, 4), (0.7, 3), (2.3, 4), (5, 1)])
@pytest.mark.parametrize(("shape", "dtype"), [((8, 8), "u1"), ((5, 12), "f8"), ((1, 7), "i4"), ((1, 1), "u2"), ((16, 3), "f2")])
def test_against_the_definition(sigma: float, truncate: float, shape: tuple[int, int], dtype: str) -> None:
    patches = np.random.default_rng(1).integers(0, 200, (3, *shape)).astype(dtype)
    expected = np.array([slow(patch, sigma, truncate) for patch in patches])
    assert np.abs(gaussian_filter(patches, sigma=sigma, truncate=truncate) - expected).max() < (
        1e-10 if dtype in "f8i4" else 1e-4
    )


def test_as_scipy_filters_an_image() -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed; make .venv/peers.stamp installs it")
    image = np.random.default_rng(2).normal(100, 30, (70, 53))
    for sigma, truncate in ((0.8, 4.0), (2.5, 3.0)):
        expected = ndimage.gaussian_filter(image, sigma, truncate=truncate, mode="mirror")
        assert np.abs(gaussian_filter(image[None], sigma=sigma, truncate=truncate)[0] - expected).max() < 1e-11


def test_a_constant_stays() -> None:
    assert np.allclose(gaussian_filter(np.full((2, 9, 9, 3), 77, np.uint8), sigma=3), 77, rtol=1e-6)
