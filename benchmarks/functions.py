"""Functions for ``map`` on patches in memory, in one process, against what a script does with scipy on the same patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import patchcli
from benchmarks import mapping, peers
from benchmarks.measure import Table, compare
from patchcli.functions import dct_denoise

SIGMA = 25
SIZES = (4, 8, 16)


def run(table: Table, *, quick: bool) -> None:
    """Measure the sliding DCT; scipy computes integers in float64."""
    mapping.in_memory(table, quick=quick)
    seconds = 0.2 if quick else 1.0
    for dtype in ("u1", "f4", "f8"):
        for size in SIZES:
            image = np.clip(np.random.default_rng(0).normal(128, 40, (256, 256)), 0, 255).astype(dtype)
            patches, _ = patchcli.extract(image, patchcli.Grid((256, 256), size, 1))
            _against_scipy(table, patches, f"{len(patches)} patches {size}x{size} {image.dtype.name}", seconds)


def _against_scipy(table: Table, patches: NDArray[np.generic], name: str, seconds: float) -> None:
    """One kind of patches."""
    theirs = peers.scipy_denoise(patches, 3 * SIGMA)
    if theirs is None:
        table.missing("scipy is not installed")
        return
    ours = lambda: dct_denoise(patches, sigma=SIGMA)  # noqa: E731
    table.add(compare("functions", f"dct_denoise, {name}", "scipy.fft.dctn and idctn", ours, theirs, limit=0.5, seconds=seconds))
