"""Functions for `patchcli map` (docs/map.md): a batch of patches (B, h, w[, C]), read-only, to as many patches."""

import math
from typing import Literal

import numpy as np


def denoise(patches: np.ndarray, *, sigma: float = 18, threshold: float = 3) -> np.ndarray:
    """Set to 0 what of the spectrum of a patch white noise of a standard deviation explains."""
    spectrum = np.fft.fft2(patches, axes=(1, 2))
    noise = np.abs(spectrum) < threshold * sigma * math.sqrt(patches.shape[1] * patches.shape[2])
    noise[:, 0, 0] = False  # the mean of a patch stays
    spectrum[noise] = 0
    return np.fft.ifft2(spectrum, axes=(1, 2)).real.astype(np.float32)


def network(patches: np.ndarray, *, radius: int = 8) -> np.ndarray:
    """Stand in for a network without padding: colours (B, h, w, 3) to scores (B, 2, h - 2 * radius, w - 2 * radius)."""
    gray = patches.mean(axis=3, dtype=np.float32) / 255
    for axis in (1, 2):
        gray = np.lib.stride_tricks.sliding_window_view(gray, 2 * radius + 1, axis).mean(axis=-1)
    bright = 1 / (1 + np.exp(-12 * (gray - 0.5)))
    return np.stack([1 - bright, bright], axis=1)


def median(patches: np.ndarray) -> np.ndarray:
    """Reduce each patch to one pixel, its median in each channel: with a halo of all that is around that, a sliding window."""
    return np.asarray(np.median(patches, axis=(1, 2), keepdims=True))


def enlarge(patches: np.ndarray, *, factor: int = 2, how: Literal["repeat", "linear"] = "linear") -> np.ndarray:
    """Make patches of a whole number of times the size."""
    if how == "repeat":
        return patches.repeat(factor, axis=1).repeat(factor, axis=2)
    made: np.ndarray = patches.astype(np.float32)
    for axis in (1, 2):
        size = made.shape[axis]
        at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)  # the middles of the new pixels
        left = np.minimum(at.astype(int), size - 2)
        part = (at - left).astype(np.float32).reshape([-1 if of == axis else 1 for of in range(made.ndim)])
        made = made.take(left, axis) * (1 - part) + made.take(left + 1, axis) * part
    return made


def classes(patches: np.ndarray, *, share: float | None = None) -> np.ndarray:
    """Class 1 where a pixel of a gray patch is brighter than its middle, or than all but a share of its pixels; else class 0."""
    flat = patches.reshape(len(patches), -1)
    limit = (flat.min(1) / 2 + flat.max(1) / 2) if share is None else np.quantile(flat, 1 - share, axis=1)
    return np.asarray(patches > limit[:, None, None], np.uint8)


def shading(patches: np.ndarray, origins: np.ndarray, *, row: float, column: float, fall: float = 0.3) -> np.ndarray:
    """Take out the shading of a lens, which at a distance of 1000 pixels from its middle costs a part of the light."""
    rows = origins[:, 0, None, None] + np.arange(patches.shape[1])[:, None] - row
    columns = origins[:, 1, None, None] + np.arange(patches.shape[2]) - column
    light = 1 / (1 + fall / (1 - fall) * (rows**2 + columns**2) / 1e6)
    return patches / light.reshape(light.shape + (1,) * (patches.ndim - 3))
