"""``docs/functions.md``: every line of it is run, and does what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers.pages import followed
from tests.helpers.runs import read_image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path) -> None:
    with followed("functions.md", tmp_path):
        check_what_the_page_made(tmp_path)


def check_what_the_page_made(tmp_path: Path) -> None:
    noisy, scene = (read_image(tmp_path / "sample_images" / f"{name}.png").astype(float) for name in ("noisy", "scene"))
    clean, median, smooth, even, same = (
        read_image(tmp_path / f"{name}.png").astype(float) for name in ("clean", "median", "smooth", "even", "same")
    )
    off = [np.sqrt(np.mean((image - scene) ** 2)) for image in (clean, median, smooth, noisy)]
    assert off[0] < off[1] < off[3]
    assert off[0] < off[2] < off[3]
    assert np.array_equal(same, scene)
    assert abs(even.mean() - 128) < 10
    padded = np.pad(noisy, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    assert np.array_equal(median, np.median(windows, axis=(-2, -1)))  # of the whole image, without a seam
