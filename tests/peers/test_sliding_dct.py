"""Denoising by the sliding DCT, against scipy's transform, and against figures that were measured with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import Grid, map_patches
from patchcli.functions import dct_denoise

REASON = "is not installed; make .venv/peers.stamp installs what is only compared with"
SIGMA = 25
# in dB: noise of SIGMA, 8x8 at stride 1, threshold 3 SIGMA in scipy.fft.dctn(norm="ortho"), mean of the patches on a pixel
MEASURED = {
    "camera": 29.1,
    "astronaut": 29.9,
    "coins": 27.5,
    "moon": 35.8,
    "page": 25.9,
    "text": 30.3,
    "brick": 33.3,
    "grass": 23.6,
}
Floats = NDArray[np.float64]


def mapped(image: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]], stride: int) -> Floats:
    """The image made of its patches 8x8, each as the function has it."""
    grid = Grid((image.shape[0], image.shape[1]), 8, stride)
    return map_patches(image, grid, function, dtype="f8")


def picture(name: str) -> Floats:
    """A gray picture of scikit-image's, 0 to 255."""
    data = pytest.importorskip("skimage.data", reason=f"scikit-image {REASON}")
    image = getattr(data, name)()
    if image.ndim == 3:
        from skimage.color import rgb2gray

        image = 255 * rgb2gray(image)
    return np.asarray(image, np.float64)


def psnr(image: Floats, truth: Floats) -> float:
    return 10 * math.log10(255**2 / np.square(image - truth).mean())


@pytest.mark.parametrize("name", MEASURED)
def test_as_good_as_measured(name: str) -> None:
    truth = picture(name)
    noisy = truth + np.random.default_rng(0).normal(0, SIGMA, truth.shape)
    assert psnr(noisy, truth) == pytest.approx(20.2, abs=0.1)
    denoise = partial(dct_denoise, sigma=SIGMA)
    close = psnr(mapped(noisy, denoise, 1), truth)
    assert close == pytest.approx(MEASURED[name], abs=0.15)
    apart = psnr(mapped(noisy, denoise, 8), truth)
    assert 2.5 <= close - apart <= 4.7
    single = mapped(noisy.astype(np.float32), denoise, 1)
    assert psnr(single, truth) == pytest.approx(close, abs=0.001)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (12, 7), (39, 39)])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_as_scipy_transforms(shape: tuple[int, int], dtype: str) -> None:
    fft = pytest.importorskip("scipy.fft", reason=f"scipy {REASON}")
    patches = np.random.default_rng(0).normal(128, 40, (500, *shape)).astype(dtype)
    coefficients = fft.dctn(patches.astype(np.float64), axes=(1, 2), norm="ortho")
    kept = np.abs(coefficients) >= 3 * SIGMA
    kept[:, 0, 0] = True
    expected = fft.idctn(coefficients * kept, axes=(1, 2), norm="ortho")
    apart = np.abs(np.abs(coefficients) - 3 * SIGMA).min(axis=(1, 2)) > 1e-3  # none so near that rounding decides
    assert apart.sum() > 100
    assert np.abs(dct_denoise(patches, sigma=SIGMA) - expected)[apart].max() < (1e-10 if dtype == "f8" else 1e-3)
