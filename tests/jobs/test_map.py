"""``map`` in bands: who makes which lines, and that memory follows the width of an image."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patchcli import Grid
from patchcli.batch.spread import AHEAD
from patchcli.geometry.placement import Placement
from patchcli.jobs.map_plan import BANDS, LEAST_SHARE, WORKER_BYTES, worker_bands
from tests.helpers.runs import MEASURE

if TYPE_CHECKING:
    from pathlib import Path


def bands(height: int, width: int, patch: int, stride: int, workers: int) -> list[tuple[int, int]]:
    grid = Grid((height, width), patch, stride)
    plan: Any = SimpleNamespace(placement=Placement.whole_grid(grid), wanted=SimpleNamespace(dtype=np.dtype(np.float32)))
    return worker_bands(plan, (height, width), workers)


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize(("patch", "stride"), [(39, 1), (8, 8), (64, 48)])
@pytest.mark.parametrize(("height", "width"), [(64, 100), (999, 500), (10_000, 3000), (200_000, 3000)])
def test_bands_are_all_lines_in_order(height: int, width: int, patch: int, stride: int, workers: int) -> None:
    made = bands(height, width, patch, stride, workers)
    assert [top for top, _ in made] == [0, *(stop for _, stop in made[:-1])]
    assert made[-1][1] == height
    lines = made[0][1]
    shared = max(patch - stride, 1)
    assert lines >= min(LEAST_SHARE * shared, height)  # what is made twice is a small part
    assert lines <= LEAST_SHARE * shared or lines * width * 4 <= WORKER_BYTES  # and what is held is not much
    assert len(made) <= BANDS * workers or lines * width * 4 > WORKER_BYTES - width * 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_tall_image_is_never_held(jobs: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (17_000, 40_000):  # from about the first on bands are as high as they may be
        np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (rows, 4000), np.uint8))
        options = ["-s", "40", "--stride", "20", "--func", "patchcli.functions:identity", "-j", jobs, "--overwrite"]
        command = [sys.executable, "-m", "patchcli", "map", "a.npy", "-o", "b.npy", *options]
        measured = [sys.executable, "-S", "-c", MEASURE, *command]
        done = subprocess.run(measured, cwd=tmp_path, check=True, capture_output=True, text=True)
        code, peak = map(int, done.stdout.split())
        assert code == 0
        peaks.append(peak)
        assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), np.load(tmp_path / "b.npy", mmap_mode="r"))
    waiting = AHEAD * int(jobs) * WORKER_BYTES // 1000 if jobs != "1" else 0  # bands that were made before their turn
    assert peaks[1] - peaks[0] < 10_000 + waiting  # kB, where the images differ by 92,000
