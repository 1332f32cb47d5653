"""``docs/crop.md``: every list on it is one, and every command line is run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np

from patchcli import crop
from patchcli.cli.box_table import Row, rows_of
from tests.helpers.runs import SAMPLES, read_image, tree
from tests.helpers.shells import ROOT, run

PAGE = (ROOT / "docs" / "crop.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def folder_of_images(tmp_path: Path) -> None:
    """What the lines of the page name: photographs, images with COCO's file, and YOLO's text, which the page shows, for each."""
    for name in ("photos/a.png", "photos/more/b.png", "images/a.png", "images/more/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / "scene.png", tmp_path / name)
    (yolo,) = (block for block in blocks("text") if re.match(r"\d", block))
    for name in ("labels/a.txt", "labels/more/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yolo)
    about = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "more/b.png"}],
        "annotations": [{"id": at, "image_id": at, "category_id": 3, "bbox": [20 * at, 30, 50, 40]} for at in (1, 2)],
        "categories": [{"id": 3, "name": "cell"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(about, indent=2))


def test_every_line_of_the_page_runs(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    ran = run("bash", "set -e\n" + "".join(blocks("sh")), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, b"")
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
    folder_of_images(tmp_path)
    for language, count in (("csv", 2), ("json", 3)):
        (text,) = blocks(language)
        found = list(rows_of(text.splitlines(keepends=True)))
        assert [type(row) for row in found] == [Row] * count
        (tmp_path / "list").write_text(text)
        ran = run("bash", f"patchcli crop --boxes list --size 64 --resampling area -d {language}", tmp_path)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert len(tree(tmp_path / language)) == count
