"""``docs/crop.md``: every list on it is one, and every command line is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchcli import crop
from patchcli.cli.box_table import Row, rows_of
from tests.helpers.pages import blocks_of, followed, prepare
from tests.helpers.runs import SAMPLES, read_image, tree
from tests.helpers.shells import run

if TYPE_CHECKING:
    from pathlib import Path


def test_every_line_of_the_page_runs(tmp_path: Path) -> None:
    with followed("crop.md", tmp_path):
        check_what_the_page_made(tmp_path)


def check_what_the_page_made(tmp_path: Path) -> None:
    scene = read_image(SAMPLES / "scene.png")
    assert np.array_equal(read_image(tmp_path / "box.png"), scene[50:98, 100:164])
    assert (tmp_path / "box.png").read_bytes() == (tmp_path / "geometry.png").read_bytes()
    assert read_image(tmp_path / "small/photos/more/b.png").shape == (75, 100, 3)
    assert read_image(tmp_path / "square.png").shape == (64, 64, 3)
    assert np.array_equal(read_image(tmp_path / "crops/cell/b-1.png"), scene[30:70, 40:90])
    assert np.load(tmp_path / "crops.npz")["patches"].shape == (2, 64, 64, 3)
    left, top = round((0.270833 - 0.333333 / 2) * 400, 3), 300 * 0.5625 - 75
    wanted = crop(scene, (left, top, 400 * 0.333333, 150), normalized=False)
    assert np.abs(read_image(tmp_path / "yolo/3/a-0.png").astype(int) - wanted).max() <= 1


def test_every_list_of_the_page_is_one(tmp_path: Path) -> None:
    prepare("crop.md", tmp_path)
    for language, count in (("csv", 2), ("json", 3)):
        (text,) = blocks_of("crop.md", language)
        found = list(rows_of(text.splitlines(keepends=True)))
        assert [type(row) for row in found] == [Row] * count
        (tmp_path / "list").write_text(text)
        ran = run("bash", f"patchcli crop --boxes list --size 64 --resampling area -d {language}", tmp_path)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert len(tree(tmp_path / language)) == count
