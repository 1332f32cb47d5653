"""Denoise a stack of patches: keep what many patches have in common, shrink what is only noise.

    python denoise.py noisy.npz clean.npz [SIGMA]

Patches of a picture fill few of the dimensions they have; white noise fills all of them evenly. So: principal components
of the patches, each scaled by the part of its variance that is not noise (Wiener). Only numpy is needed to read a stack.
"""

from __future__ import annotations

import sys

import numpy as np


def main(source: str, target: str, sigma: float = 18) -> None:
    """Read the stack ``source``, denoise its patches for noise of standard deviation ``sigma``, write ``target``."""
    stack = np.load(source)
    patches = stack["patches"]
    rows = patches.reshape(len(patches), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    variance, components = np.linalg.eigh(np.cov(rows, rowvar=False))
    gain = np.clip(1 - sigma**2 / np.maximum(variance, 1e-9), 0, 1)
    clean = (rows - mean) @ (components * gain @ components.T).astype(np.float32) + mean
    np.savez(target, **{**stack, "patches": clean.reshape(patches.shape)})
    print(f"{source} -> {target}: {np.count_nonzero(gain)} of {len(gain)} components kept for {len(patches)} patches")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
