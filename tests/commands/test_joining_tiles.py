"""Tile files joined by real processes: one image or many, by several workers, anew or not, near or far."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchcli.geometry.grid import Grid
from tests.helpers import servers
from tests.helpers.runs import Run, gray, read_image, refused, tree, write_image
from tests.helpers.tiles import cut_tiles, write_tiles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.loopback import Loopback

GRID = Grid((50, 70), 20, edge="clip")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """The tiles of two images in one folder, with their indexes."""
    for number, stem in enumerate("ab"):
        write_tiles(tmp_path / "tiles", gray(50, 70, seed=number), GRID, stem=stem, seed=number)
    return tmp_path


def images(folder: Path) -> dict[str, bool]:
    """Which images are there, and whether each is what was cut."""
    made = {path.name: read_image(path) for path in sorted(folder.glob("*.*")) if path.is_file()}
    return {name: np.array_equal(image, gray(50, 70, seed="ab".index(name[0]))) for name, image in made.items()}


@pytest.mark.parametrize(
    "call",
    [
        "tiles/a.tiles.jsonl tiles/b.tiles.jsonl -o back/{stem}.png",
        "tiles/a.tiles.jsonl tiles/b.tiles.jsonl -d back",
        "tiles -d back",
        "tiles -d back -j 2",
        "tiles --names {stem}-{x}-{y}.png -o back/{stem}.png",
        "tiles --names {stem}-{x}-{y} -o back/{index}.png -j 2",
        "tiles --names {stem}-{x}-{y} -d back",
    ],
)
def test_one_call_joins_many_images(call: str, patchcli: Run, tiles: Path) -> None:
    done = patchcli("merge", *call.split())
    assert (done.returncode, done.stderr) == (0, b"")
    for found in (tiles / "back").rglob("*.png"):
        found.rename(tiles / "back" / found.name.replace("0", "a").replace("1", "b"))
    assert images(tiles / "back") == {"a.png": True, "b.png": True}


@pytest.mark.parametrize("inputs", ["t", "t/0/a t/1/a t/2/a t/0/b t/1/b t/2/b"])
def test_folders_may_be_part_of_a_name(inputs: str, patchcli: Run, tmp_path: Path) -> None:
    for number, stem in enumerate("ab"):
        for (y, x), tile in cut_tiles(gray(50, 70, seed=number), GRID):
            path = tmp_path / f"t/{y // 20}/{stem}/{x // 20}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, tile)
    done = patchcli("merge", *inputs.split(), "--names", "{row}/{stem}/{col}.png", "-o", "{stem}.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert images(tmp_path) == {"a.png": True, "b.png": True}


def test_standard_output(patchcli: Run, tiles: Path) -> None:
    done = patchcli("merge", "tiles/a.tiles.jsonl", "-o", "-")
    (tiles / "a.png").write_bytes(done.stdout)
    assert (done.returncode, done.stderr, images(tiles)) == (0, b"", {"a.png": True})


def test_one_bad_image_ends_alone(patchcli: Run, tiles: Path) -> None:
    for tile in sorted((tiles / "tiles").glob("a-*-0[24]0.png"))[:4]:
        tile.unlink()
    (tiles / "tiles/b-020-020.png").write_bytes(b"")
    done = patchcli("merge", "tiles", "--names", "{stem}-{x}-{y}.png", "-d", "back", "--fill", 0, "--report", "-")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [record.get("status") for record in records[:2]] == ["done", "failed"]
    assert records[0]["hints"] == ["4 of its 12 tiles are missing (x=0 y=20, x=20 y=20, x=0 y=40 and 1 more)"]
    assert records[0]["input"] == "tiles/a-{x}-{y}.png"
    hint, fault = sorted(done.stderr.decode().splitlines())
    assert hint == f"patchcli: tiles/a-{{x}}-{{y}}.png: {records[0]['hints'][0]}"
    assert fault.startswith("patchcli: tiles/b-{x}-{y}.png: tiles/b-020-020.png is empty, not an image that patchcli reads")
    assert os.listdir(tiles / "back/tiles") == ["a.png"]


def test_a_dry_run_says_what_would_be_made(patchcli: Run, tiles: Path) -> None:
    before = tree(tiles)
    done = patchcli("merge", "tiles/a.tiles.jsonl", "-o", "back.png", "-n")
    assert done.stdout.decode().startswith(
        "tiles/a.tiles.jsonl -> back.png: image of width=70 height=50 from 12 patches, 3500 bytes"
    )
    done = patchcli("merge", "tiles", "--names", "{stem}-{x}-{y}.png", "-o", "{stem}.png", "-n")
    assert done.stdout.decode().startswith(
        "tiles/a-{x}-{y}.png -> a.png: image of width=70 height=50 from 12 patches, 3500 bytes"
    )
    assert tree(tiles) == before


@pytest.mark.parametrize("how", [["tiles/a.tiles.jsonl"], ["tiles", "--names", "{stem}-{x}-{y}.png"]])
def test_resume_sees_every_tile(how: list[str], patchcli: Run, tiles: Path) -> None:
    def run() -> tuple[int, str]:
        done = patchcli("merge", *how, "-o", "back/{stem}.png", "--resume", "-v", "--no-progress")
        return done.returncode, done.stderr.decode()

    code, said = run()
    assert (code, "up to date" in said) == (0, False)
    code, said = run()
    assert (code, "up to date" in said) == (0, True)
    write_image(tiles / "tiles/a-020-020.png", gray(20, 20, seed=9))
    code, said = run()
    assert code == 0
    assert "a.png: image of width=70 height=50" in said
    assert np.array_equal(read_image(tiles / "back/a.png")[20:40, 20:40], gray(20, 20, seed=9))
    (tiles / "tiles/a-020-020.png").unlink()
    code, said = run()
    assert (code, "1 of its 12 tiles is missing" in said) == (1, True)


def test_resume_of_an_index_that_is_damaged_ends_that_input_alone(patchcli: Run, tiles: Path) -> None:
    call = ("merge", "tiles/a.tiles.jsonl", "tiles/b.tiles.jsonl", "-d", "back", "--resume")
    assert patchcli(*call).returncode == 0
    index = tiles / "tiles/a.tiles.jsonl"
    index.write_bytes(index.read_bytes()[:-1])
    done = patchcli(*call)
    refused(done, "tiles/a.tiles.jsonl: ends within a line, so it was not finished", 1)


def test_a_cluster_joins_tiles(patchcli: Run, tiles: Path, cluster: Loopback) -> None:
    done = patchcli("merge", "tiles", "--names", "{stem}-{x}-{y}.png", "-o", "back/{stem}.png", "--executor", cluster.address)
    assert (done.returncode, done.stderr) == (0, b"")
    assert images(tiles / "back") == {"a.png": True, "b.png": True}


def test_tiles_of_a_store(patchcli: Run, tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in servers.CLEAN.items():
        monkeypatch.setenv(name, value)
    with servers.s3("bucket") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        import s3fs  # type: ignore[import-untyped]

        s3fs.S3FileSystem().put(str(tiles / "tiles"), "bucket/tiles", recursive=True)
        done = patchcli("merge", "s3://bucket/tiles/a.tiles.jsonl", "--remote", "s3", "-o", "a.png")
        assert (done.returncode, done.stderr) == (0, b"")
        own = "s3://bucket/tiles/a-000-020.png"
        done = patchcli("merge", "s3://bucket/tiles/a.tiles.jsonl", "--remote", "s3", "-o", own, "--overwrite")
        refused(done, f"{own}: is an input too; give the output another name")
        names = "{stem}-{x}-{y}.png"
        done = patchcli("merge", "s3://bucket/tiles/", "--remote", "s3", "--names", names, "-o", "s3://bucket/back/{stem}.png")
        assert (done.returncode, done.stderr) == (0, b"")
        s3fs.S3FileSystem().get("bucket/back/b.png", str(tiles / "b.png"))
    assert images(tiles) == {"a.png": True, "b.png": True}


def test_tiles_of_the_web(patchcli: Run, tiles: Path) -> None:
    with servers.web() as served:
        for path in (tiles / "tiles").iterdir():
            served.files[f"/{path.name}"] = path.read_bytes()
        done = patchcli("merge", f"{served.address}/a.tiles.jsonl", "--remote", "http", "-o", "a.png")
        assert (done.returncode, done.stderr) == (0, b"")
        assert images(tiles) == {"a.png": True}
        del served.files["/a-020-020.png"]
        done = patchcli("merge", f"{served.address}/a.tiles.jsonl", "--remote", "http", "-o", "b.png")
        assert done.returncode == 1
        assert b"a-020-020.png cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("tiles/a.tiles.jsonl tiles/b.tiles.jsonl -o x.png", "-o names one output but there are 2 inputs"),
        ("tiles --names {stem}-{x}-{y}.png -o x.png", "-o names one output but there are 2 inputs"),
        ("tiles/a.tiles.jsonl --like a.npz -o x.png", "--like is for stacks, not for tiles"),
        ("tiles --names {stem}-{x}-{y}.png --key k -o x.png", "--key is for stacks, not for tiles"),
        ("tiles --names {stem}-{x}-{y}.png --tiles-from d -o x.png", "use only one of --names and --tiles-from"),
        ("a.npz --tiles-from tiles -o x.png", "--tiles-from is for an index of tiles (.tiles.jsonl)"),
        ("a.npz --across 3 -o x.png", "--across is for tiles that --names tells of; give --names"),
        ("a.npz --stride 3 -o x.png", "--stride is for tiles that --names tells of; give --names"),
        ("tiles --names {stem}-{x}-{y}.png --across 3 -o x.png", "--across N is for --names with {patch}"),
        ("tiles --names {stem}-{patch}.png -o x.png", "--across N is for --names with {patch}"),
        ("tiles --names {stem}-{x}-{y}.png --stride 3 -o x.png", "--stride is for --names with {row} and {col} or {patch}"),
        ("tiles --names a-{x}-{y}.png -o {stem}.png", "--names has no {stem}, after which an output could be called"),
        ("tiles --names a-{x}-{y}.png -d back", "--names has no {stem}, after which an output could be called"),
        ("tiles --names {stem}-{x}.png -o x.png", "--names '{stem}-{x}.png' is no pattern of names"),
        ("tiles --names {stem}_{x}_{y}.png -o x.png", "matches --names {stem}_{x}_{y}.png; give another pattern"),
        ("tiles/a.tiles.jsonl --names {stem}-{x}-{y}.png -o x.png", "a.tiles.jsonl: does not match --names {stem}-{x}-{y}.png"),
        (
            "- --tiles-from tiles -o x.png",
            "--tiles-from is for an index of tiles (.tiles.jsonl), which says how they lie; give its name",
        ),
        ("- --names {stem}-{x}-{y}.png -o x.png", "standard input (-) has no name"),
        ("tiles --names {stem}-{x}-{y}.png -o tiles/{stem}-000-000.png --overwrite", "a-000-000.png: is an input too"),
    ],
)
def test_calls_that_mean_nothing(call: str, sentence: str, patchcli: Run, tiles: Path) -> None:
    before = tree(tiles)
    refused(patchcli("merge", *call.split()), sentence)
    assert tree(tiles) == before


@pytest.mark.parametrize("how", ["tiles/a.tiles.jsonl", "tiles", "tiles/a.tiles.jsonl --tiles-from done"])
@pytest.mark.parametrize("named", ["-o {} --cover c.npy", "-o x{{stem}}.png --report {}", "-o x{{stem}}.png --cover {}"])
@pytest.mark.parametrize("place", ["{0}/a-020-020.png", "link/a-020-020.png", "hard.png"])
def test_no_output_is_a_tile_of_an_index(how: str, named: str, place: str, patchcli: Run, tiles: Path) -> None:
    if how == "tiles":
        (tiles / "tiles/b.tiles.jsonl").unlink()
    shutil.copytree(tiles / "tiles", tiles / "done", ignore=shutil.ignore_patterns("*.jsonl"))
    folder = "done" if "done" in how else "tiles"
    (tiles / "link").symlink_to(folder)
    (tiles / "hard.png").hardlink_to(tiles / folder / "a-020-020.png")
    before = tree(tiles)
    place = place.format(folder)
    said = " is the same file as the input" if place == "hard.png" else " is an input too; give the output another name"
    refused(patchcli("merge", *how.split(), *named.format(place).split(), "--overwrite"), f"{place}:{said}")
    assert tree(tiles) == before


def test_an_index_that_cannot_be_read_is_told_by_its_job(patchcli: Run, tiles: Path) -> None:
    (tiles / "tiles/a.tiles.jsonl").write_bytes(b"nothing")
    write_image(tiles / "a.png", gray(5, 5))
    done = patchcli("merge", "tiles/a.tiles.jsonl", "-o", "a.png", "--overwrite")
    refused(done, "tiles/a.tiles.jsonl: is not an index of tiles", code=1)


def test_an_index_has_a_name(patchcli: Run, tiles: Path) -> None:
    done = patchcli("merge", "-", "-o", "x.png", stdin=(tiles / "tiles/a.tiles.jsonl").read_bytes())
    refused(done, "give a .npz or a .npy, or the name of an index of tiles, beside which they lie (.tiles.jsonl)", code=1)


@pytest.mark.parametrize("inputs", ["tiles", "tiles/b-9999999999999-000.png"])
def test_a_number_that_is_too_long_is_not_passed_over(inputs: str, patchcli: Run, tiles: Path) -> None:
    (tiles / "tiles/a-000-000.png").rename(tiles / "tiles/b-9999999999999-000.png")
    done = patchcli("merge", inputs, "--names", "{stem}-{x}-{y}.png", "-o", "{stem}.png")
    refused(done, "tiles/b-9999999999999-000.png: has x of more than 12 digits; no number of a tile is that large")


def test_a_folder_of_outputs_is_passed_over(patchcli: Run, tiles: Path) -> None:
    """A second run finds in the folder what the first has made there."""
    for _ in range(2):
        done = patchcli("merge", "tiles", "--names", "{stem}-{x}-{y}.png", "-o", "tiles/{stem}.png", "--overwrite", "-v")
        assert done.returncode == 0
    assert b"2 .png" in done.stderr
    assert np.array_equal(read_image(tiles / "tiles/a.png"), gray(50, 70))


def test_names_may_be_of_any_bytes(patchcli: Run, tmp_path: Path) -> None:
    os.makedirs(b"%s/t" % os.fsencode(tmp_path))
    stem = os.fsdecode(b"\xff {row}")
    for (y, x), tile in cut_tiles(gray(50, 70), GRID):
        write_image(tmp_path / "t" / f"{stem}-{x}-{y}.png", tile)
    done = patchcli("merge", "t", "--names", "{stem}-{x}-{y}.png", "-o", "{stem}.png")
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.array_equal(read_image(tmp_path / f"{stem}.png"), gray(50, 70))
    shutil.rmtree(tmp_path / "t")


def test_a_tree_of_indexes_has_a_tree_of_processed_tiles(patchcli: Run, tmp_path: Path) -> None:
    for number, folder in enumerate(("street", "lab/x")):
        write_tiles(tmp_path / "tiles" / folder, gray(50, 70, seed=number), GRID, stem="a", seed=number)
        for tile in (tmp_path / "tiles" / folder).glob("*.png"):
            (tmp_path / "net" / folder).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "net" / folder / tile.name, 255 - read_image(tile))
    done = patchcli("merge", "tiles", "--tiles-from", "net", "-o", "back/{relative}/{stem}.png")
    assert (done.returncode, done.stderr) == (0, b"")
    for number, folder in enumerate(("street", "lab/x")):
        assert np.array_equal(read_image(tmp_path / "back" / folder / "a.png"), 255 - gray(50, 70, seed=number))
