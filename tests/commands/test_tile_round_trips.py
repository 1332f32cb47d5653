"""Tile files cut and joined by real processes: what went out comes back, whatever it is and however it is cut."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from patchcli.images.formats import FORMATS
from tests.helpers.pictures import HELD, encoded, picture, with_palette
from tests.helpers.runs import Run, gray, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 49, 61
EDGES = itertools.cycle(("shift", "even", "pad", "clip"))
CUTS = itertools.cycle((["-s", 16], ["-s", 20, "--overlap", "25%"], ["-s", "24x16", "--margin", 3], ["-s", 64, "--edge", "pad"]))
LOSSLESS = [(*held, next(EDGES), next(CUTS)) for held in HELD if FORMATS[held[0]].lossless]


def done(patchcli: Run, *call: object) -> None:
    ran = patchcli(*call)
    assert (ran.returncode, ran.stderr) == (0, b"")


def palette_image(path: Path) -> tuple[NDArray[np.uint8], list[int] | None]:
    with Image.open(path) as opened:
        return np.array(opened), opened.getpalette()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "channels", "edge", "cut"), LOSSLESS)
def test_all_that_a_format_holds_comes_back(
    name: str, code: str, channels: int, edge: str, cut: list[object], patchcli: Run, tmp_path: Path
) -> None:
    suffix, image = FORMATS[name].suffixes[0], picture(code, channels, *SIZE)
    (tmp_path / f"a{suffix}").write_bytes(encoded(image, name))
    done(patchcli, "extract", f"a{suffix}", "--edge", edge, *cut, "-o", f"t/{{y}}/{{x}}{suffix}")
    done(patchcli, "merge", "t/a.tiles.jsonl", "-o", f"b{suffix}")
    back = read_image(tmp_path / f"b{suffix}")
    assert back.dtype == read_image(tmp_path / f"a{suffix}").dtype
    assert np.array_equal(back, read_image(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("lost", [0, 8])
def test_a_halo_of_tiles_that_are_cut_at_the_far_sides(lost: int, patchcli: Run, tmp_path: Path) -> None:
    image = gray(150, 203)
    write_image(tmp_path / "a.png", image)
    done(patchcli, "extract", "a.png", "-s", 64, "--stride", 48, "--margin", 8, "--edge", "clip", "-o", "t/{x}-{y}.png")
    (tmp_path / "net").mkdir()
    for tile in (tmp_path / "t").glob("*.png"):
        write_image(tmp_path / "net" / tile.name, read_image(tile)[lost : -lost or None, lost : -lost or None])
    done(patchcli, "merge", "t/a.tiles.jsonl", "--tiles-from", "net", "--halo", 8, "-o", "b.png")
    assert np.array_equal(read_image(tmp_path / "b.png"), image)


def test_labels_come_back_with_their_numbers_and_colours(patchcli: Run, tmp_path: Path) -> None:
    with_palette(tmp_path / "m.png", np.random.default_rng(0).integers(0, 256, (256, 3)))
    ids, colours = palette_image(tmp_path / "m.png")
    write_image(tmp_path / "a.png", gray(*ids.shape))
    call = ["extract", "a.png", "--labels", "m.png", "-s", 32, "--overlap", "50%", "--edge", "clip"]
    done(patchcli, *call, "-o", "t/{role}/{stem}-{row}-{col}.png")
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["image", "labels"]
    for tile in (tmp_path / "t/labels").glob("*.png"):
        assert palette_image(tile)[1] == colours
    done(patchcli, "merge", "t/labels/a.labels.tiles.jsonl", "-o", "b.png")
    back = palette_image(tmp_path / "b.png")
    assert np.array_equal(back[0], ids)
    assert back[1] == colours
