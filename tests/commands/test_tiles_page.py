"""``docs/tiles.md``: every line of ours is run, and what goes wrong is said as it tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers.pages import blocks_of, followed, page
from tests.helpers.runs import SAMPLES, Run, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

CUT = ("extract", "poster.png", "-s", 64, "--edge", "clip")
FAULTS: dict[str, list[tuple[object, ...]]] = {  # calls, one after the other, of which the last is refused
    "tiles below each other would have one name": [(*CUT, "-o", "t/{x}.png")],
    "already exists": [(*CUT, "-o", "t/{x}-{y}.png"), (*CUT, "-o", "t/{x}-{y}.png")],
    "was made with --stride at 48x48": [
        (*CUT, "--overlap", "25%", "-o", "t/{x}-{y}.png"),
        (*CUT, "-o", "t/{x}-{y}.png", "--resume"),
    ],
    "is missing": [
        ("crop", "poster.png", "--box", "64x64+0+0", "-o", "t/0.png"),
        ("crop", "poster.png", "--box", "64x64+128+0", "-o", "t/2.png"),
        ("merge", "t", "--names", "{patch}.png", "--across", 3, "-o", "b.png"),
    ],
    "are covered by no patch": [(*CUT, "--max-patches", 3, "-o", "t/{patch}.png"), ("merge", "t", "-o", "b.png")],
    "the tiles of an image are alike": [
        ("crop", "poster.png", "--box", "64x64+0+0", "-o", "t/0-0.png"),
        ("crop", "poster.png", "--box", "80x64+64+0", "-o", "t/64-0.png"),
        ("crop", "poster.png", "--box", "64x64+144+0", "-o", "t/144-0.png"),
        ("merge", "t", "--names", "{x}-{y}.png", "-o", "b.png"),
    ],
    "does not match --names": [
        (*CUT, "-o", "t/{x}-{y}.png"),
        ("merge", "t/000-000.png", "poster.png", "--names", "{x}-{y}.png", "-o", "b.png"),
    ],
}


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path) -> None:
    with followed("tiles.md", tmp_path):
        scene = read_image(SAMPLES / "scene.png")[:150, :305]
        for name in ("back.png", "result.png", "unindexed.png", *(path.name for path in tmp_path.glob("*from-*.*"))):
            assert np.array_equal(read_image(tmp_path / name), scene)
        assert read_image(tmp_path / "clipped/poster_2_4.tif").shape == (50, 5, 3)
        pairs = [sorted(path.name for path in (tmp_path / "pairs" / role).glob("*.png")) for role in ("image", "companion")]
        assert pairs[0] == pairs[1] == [f"poster-{patch:02}.png" for patch in range(15)]
        (shown,) = blocks_of("tiles.md", "json")
        about, *tiles = shown.splitlines()
        first, *lines = (tmp_path / "tiles/poster.tiles.jsonl").read_text().splitlines()
        assert re.fullmatch(".*".join(map(re.escape, about.split("..."))), first)
        assert tiles == lines[: len(tiles)]


def test_all_that_goes_wrong_is_tried() -> None:
    assert re.findall(r"^\| `([^`]+)` \|", page("tiles.md").partition("## What goes wrong")[2], re.MULTILINE) == list(FAULTS)


@pytest.mark.parametrize("sentence", FAULTS)
def test_what_goes_wrong_is_said(sentence: str, patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "poster.png", read_image(SAMPLES / "scene.png")[:150, :305])
    *before, last = FAULTS[sentence]
    for call in before:
        assert patchcli(*call).returncode == 0
    ran = patchcli(*last)
    assert ran.returncode in {1, 2}
    assert sentence in ran.stderr.decode()


def test_tiles_that_were_shifted_back_do_not_lie_at_multiples(patchcli: Run, tmp_path: Path) -> None:
    scene = read_image(SAMPLES / "scene.png")[:150, :305]
    write_image(tmp_path / "poster.png", scene)
    assert patchcli("extract", "poster.png", "-s", 64, "-o", "t/{row}-{col}.png").returncode == 0
    assert patchcli("merge", "t", "--names", "{row}-{col}.png", "-o", "large.png").returncode == 0
    assert read_image(tmp_path / "large.png").shape == (192, 320, 3)
    assert patchcli("merge", "t", "-o", "back.png").returncode == 0
    assert np.array_equal(read_image(tmp_path / "back.png"), scene)
