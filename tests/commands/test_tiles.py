"""Tile files through real processes: what is made, what is refused, what other programs make of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from tests.helpers.runs import Run, gray, read_image, refused, tree, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TILES = ("-o", "t/{stem}-{x}-{y}.png")
CLIPPED = ("-s", "16x12", "--edge", "clip")
HALVES = ("-s", 8, "--stride", 4, "--edge", "pad", "-o", "t/{stem}-{row}-{col}.png")  # more tiles than OLD has
OLD = ("-s", 8, "-o", "t/{stem}-{row}-{col}.png")
STOPPED = """
import os, signal, sys, time
from patchcli.cli.main import main
from patchcli.stacks.tile_set import TileSet
step, count, number, *words = sys.argv[1:]
inner, left = getattr(TileSet, step), [int(count)]
def stopping(*given):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), int(number))
        if step == "_write_tile":
            time.sleep(60)
    return inner(*given)
setattr(TileSet, step, stopping)
sys.argv = ["patchcli", *words]
main()
"""


@pytest.fixture
def image(tmp_path: Path) -> NDArray[Any]:
    """The pixels of ``a.png``, 40 columns and 30 rows."""
    pixels = gray(30, 40)
    write_image(tmp_path / "a.png", pixels)
    return pixels


def done(ran: subprocess.CompletedProcess[bytes]) -> None:
    assert (ran.returncode, ran.stderr) == (0, b"")


def stopped(folder: Path, step: str, count: int, number: signal.Signals, *words: object) -> None:
    """Run ``extract`` up to the how-manieth call of a method of the tile set, and send it a signal there."""
    call = [sys.executable, "-c", STOPPED, step, count, int(number), "extract", "a.png", *words]
    ran = subprocess.run([str(word) for word in call], cwd=folder, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (-number, b"")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_each_patch_is_an_image_and_the_index_says_where(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", *CLIPPED, *TILES))
    first, *lines = (tmp_path / "t/a.tiles.jsonl").read_text().splitlines()
    assert json.loads(first)["format"] == "patchcli.stack"
    tiles = [json.loads(line) for line in lines]
    assert tiles[1] == {"file": "a-16-00.png", "x": 16, "y": 0}
    assert {tile["file"] for tile in tiles} | {"a.tiles.jsonl"} == {path.name for path in (tmp_path / "t").iterdir()}
    for tile in tiles:
        part = image[tile["y"] : tile["y"] + 12, tile["x"] : tile["x"] + 16]
        assert np.array_equal(read_image(tmp_path / "t" / tile["file"]), part)
    assert read_image(tmp_path / "t/a-32-24.png").shape == (6, 8)


def test_the_bytes_are_the_same_for_every_number_of_jobs(patchcli: Run, tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", gray(30, 40, seed=number))
    inputs = [f"{number}.png" for number in range(5)]
    done(patchcli("extract", *inputs, *CLIPPED, *TILES))
    done(patchcli("extract", *inputs, *CLIPPED, "-o", "j/{stem}-{x}-{y}.png", "-j", 2, "--report", "r.jsonl"))
    assert tree(tmp_path / "t") == tree(tmp_path / "j")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [record["output"] for record in records[:-1]] == [f"j/{number}.tiles.jsonl" for number in range(5)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "t/a.png"), "name it .npz, or for tile files put {x} and {y} into the name ({x}, {y}, {row}, {col}, {row+1},"),
        (("-o", "t/{x}-{y}.npz"), "suffix is '.npz'; for images use .png"),
        (("-o", "t/{x}-{y}.gif"), "suffix is '.gif'; for images use .png"),
        (("-o", "t/{x}-{z}.png"), "has the field {z}; allowed are {stem}, "),
        (("-o", "t/{x}-{y}.png", "-d", "t"), "use only one of -o and -d"),
        (("-o", "t/{x}-{y}.png", "--layout", "stack"), "--layout is for stacks"),
        (("-o", "t/{x}-{y}.png", "--layout", "rows", "--pixel-order", "F"), "--layout is for stacks"),
        (("-o", "t/{x}-{y}.png", "--shard-patches", 3), "--shard-patches is for stacks"),
        (("-o", "t/{x}-{y}.png", "--compress"), "--compress is for stacks"),
        (("-o", "t/{x}-{y}.png", "--co", "quality=9"), "PNG has no --co key 'quality'; it has level"),
        (("-o", "s3://t/{x}-{y}.png", "--remote", "s3"), "is remote; tile files are written to a local folder"),
        (("-o", "a.npz", "--edge", "clip"), "--edge clip is for tile files; give -o the name of an image with position fields"),
        (("-o", "-", "--edge", "clip"), "--edge clip is for tile files"),
        (("-d", "t", "--co", "level=1"), "--co is for tile files"),
    ],
)
def test_what_does_not_go_with_tile_files_is_refused(
    patchcli: Run, tmp_path: Path, image: NDArray[Any], arguments: tuple[object, ...], sentence: str
) -> None:
    del image
    with untouched(tmp_path):
        refused(patchcli("extract", "a.png", "-s", 8, *arguments), sentence)


def test_two_tiles_with_one_name_are_refused(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/a.png", "a1.png"):
        write_image(tmp_path / name, image)
    with untouched(tmp_path):
        refused(patchcli("extract", "a.png", "-s", 8, "-o", "t/{x}.png"), "would have one name; put {y} or {row} or", code=1)
        refused(patchcli("extract", "a.png", "b/a.png", "-s", 8, *TILES), "t/a.tiles.jsonl: two outputs have this name")
        refused(patchcli("extract", "a.png", "a1.png", "-s", 8, "-o", "t/{x}-{y}.png"), "-o names one output but there are 2")
        refused(patchcli("extract", "a.png", "a1.png", "-s", 8, "-o", "t/{stem}{x}-{y}.png"), "two tiles may have one name, with")
        refused(patchcli("extract", "a.png", "b/a.png", "-s", 8, "-o", "t/{index}{x}-{y}.png"), "two outputs have this name")
    done(patchcli("extract", "a.png", "a1.png", "-s", 8, *TILES))


def test_what_exists_is_refused_and_an_input_always(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    (tmp_path / "t").mkdir()
    write_image(tmp_path / "t/a-16-00.png", image)
    write_image(tmp_path / "t/a-160-00.png", image)  # which is none of this grid
    with untouched(tmp_path):
        refused(patchcli("extract", "a.png", *CLIPPED, *TILES), "t/a-16-00.png: already exists; use --overwrite to replace it")
        refused(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"), "t/a-16-00.png: already exists")
        both = ("a.png", "t/a-16-00.png")
        refused(patchcli("extract", *both, *CLIPPED, *TILES, "--overwrite"), "t/a-16-00.png: is an input too")
        os.link(tmp_path / "a.png", tmp_path / "t/a-00-00.png")
        refused(patchcli("extract", "a.png", *CLIPPED, *TILES, "--overwrite"), "t/a-00-00.png: is an input too")
        (tmp_path / "t/a-00-00.png").unlink()
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--overwrite"))
    assert read_image(tmp_path / "t/a-16-00.png").shape == (12, 16)
    assert read_image(tmp_path / "t/a-160-00.png").shape == (30, 40)
    with untouched(tmp_path):
        refused(patchcli("extract", "a.png", *CLIPPED, *TILES), "t/a.tiles.jsonl: already exists")


@pytest.mark.usefixtures("image")
def test_class_numbers_are_not_written_where_they_change(patchcli: Run, tmp_path: Path) -> None:
    masks = PIL.Image.fromarray(gray(30, 40, seed=1) % 5)
    masks.putpalette([*range(15)])
    masks.save(tmp_path / "m.png")
    sentence = "holds class numbers, which JPEG changes; give a lossless format, as .png or .tif"
    for dry in ((), ("-n",)):
        with untouched(tmp_path):
            call = ("extract", "a.png", "-s", 8, "--labels", "m.png", *dry)
            refused(patchcli(*call, "-o", "t/{role}-{x}-{y}.jpg"), f"a.png: its labels m.png {sentence}", code=1)
            refused(
                patchcli("extract", "m.png", "-s", 8, "--color", "indices", *TILES[:1], "t/{x}-{y}.jpg", *dry), sentence, code=1
            )
    done(patchcli("extract", "m.png", "-s", 8, "-o", "t/{x}-{y}.jpg"))  # as colours


@pytest.mark.usefixtures("image")
def test_what_labels_lose_is_told_with_formats_that_keep_it(patchcli: Run, tmp_path: Path) -> None:
    masks = PIL.Image.fromarray(gray(30, 40, seed=1) % 5)
    masks.putpalette([*range(15)])
    masks.save(tmp_path / "m.png")
    ran = patchcli("extract", "a.png", "-s", 8, "--labels", "m.png", "-o", "t/{role}-{x}-{y}.npy")
    said = "patchcli: a.png: its labels m.png: NPY cannot hold its colour table; write PNG, TIFF or BMP to keep it\n"
    assert (ran.returncode, ran.stderr.decode()) == (0, said)


def test_folders_may_have_positions(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    folders = ("-o", "t/{stem}/{row+1}/{col+1}.png")
    done(patchcli("extract", "a.png", *CLIPPED, *folders))
    assert np.array_equal(read_image(tmp_path / "t/a/2/3.png"), image[12:24, 32:])
    assert (tmp_path / "t/a/a.tiles.jsonl").exists()
    with untouched(tmp_path):
        (tmp_path / "t/a/a.tiles.jsonl").rename(tmp_path / "x")
        refused(patchcli("extract", "a.png", *CLIPPED, *folders), "t/a/1/1.png: already exists")
        (tmp_path / "x").rename(tmp_path / "t/a/a.tiles.jsonl")


def test_resume_goes_by_the_index(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"))
    with untouched(tmp_path):
        done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"))
        refused(
            patchcli("extract", "a.png", "-s", 16, "--edge", "clip", *TILES, "--resume"), "was made with --patch-size at 16x12"
        )
        other = ("-o", "t/{stem}-{row}-{col}.png")
        refused(
            patchcli("extract", "a.png", *CLIPPED, *other, "--resume"), "was made with --output at a-{x}-{y}.png, not at a-{row}"
        )
    write_image(tmp_path / "a.png", image[:20, :20] + 1)
    os.utime(tmp_path / "a.png", ns=(7, 7))
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"))
    assert sorted(tree(tmp_path / "t")) == ["a-00-00.png", "a-00-12.png", "a-16-00.png", "a-16-12.png", "a.tiles.jsonl"]
    assert np.array_equal(read_image(tmp_path / "t/a-16-12.png"), image[12:20, 16:20] + 1)


@pytest.mark.usefixtures("image")
def test_resume_makes_tiles_that_somebody_removed(patchcli: Run, tmp_path: Path) -> None:
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"))
    before = tree(tmp_path / "t")
    sorted((tmp_path / "t").glob("*.png"))[1].unlink()
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--resume"))
    assert tree(tmp_path / "t") == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_that_holds_its_own_tiles_is_cut_again(patchcli: Run, tmp_path: Path, jobs: int) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_image(tmp_path / f"in/{name}.png", gray())
    call = ("extract", "in", "-s", 10, "-o", "{parent}/{stem}-{x}-{y}.png", "--resume", "-j", jobs)
    done(patchcli(*call))
    with untouched(tmp_path):
        done(patchcli(*call))
    os.utime(tmp_path / "in/a.png", ns=(7, 7))
    done(patchcli(*call))
    assert len(tree(tmp_path / "in")) == 2 * (1 + 6 + 1)


def test_pages_and_roles_have_indexes_of_their_own(patchcli: Run, tmp_path: Path) -> None:
    pages = np.stack([gray(seed=seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    write_image(tmp_path / "m.png", gray(seed=9))
    call = ("extract", "a.tif", "-s", 10, "--page", "0-1", "--companion", "m.png")
    done(patchcli(*call, "-o", "t/{role}/{stem}.{page}-{patch}.png", "--max-patches", 2))
    names = sorted(tree(tmp_path / "t"))
    assert [name for name in names if name.endswith("jsonl")] == [
        "companion/a.p0000.companion.tiles.jsonl",
        "companion/a.p0001.companion.tiles.jsonl",
        "image/a.p0000.tiles.jsonl",
        "image/a.p0001.tiles.jsonl",
    ]
    kept = [name.removeprefix("image/") for name in names if name.startswith("image/") and name.endswith("png")]
    assert [name.removeprefix("companion/") for name in names if name.startswith("comp") and name.endswith("png")] == kept
    assert len(kept) == 4
    for name in kept:
        page, patch = int(name[2:6]), int(name[7])
        y, x = 10 * (patch // 3), 10 * (patch % 3)
        assert np.array_equal(read_image(tmp_path / "t/image" / name), pages[page, y : y + 10, x : x + 10])


def test_standard_input_has_tiles_too(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "-", *CLIPPED, "-o", "t/{x}-{y}.png", stdin=(tmp_path / "a.png").read_bytes()))
    assert np.array_equal(read_image(tmp_path / "t/16-12.png"), image[12:24, 16:32])
    assert (tmp_path / "t/stdin.tiles.jsonl").exists()


def test_a_dry_run_tells_how_many_and_writes_nothing(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    with untouched(tmp_path):
        ran = patchcli("extract", "a.png", *CLIPPED, *TILES, "-n")
    done(ran)
    assert ran.stdout.startswith(b"a.png -> t/a.tiles.jsonl: 9 tiles of width=16 height=12, %d bytes" % image.nbytes)


def test_info_tells_of_an_index_and_checks_its_tiles(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", *CLIPPED, *TILES))
    ran = patchcli("info", "--check", "--json", "t/a.tiles.jsonl")
    done(ran)
    told = json.loads(ran.stdout)
    assert (told["kind"], told["tiles"], told["other_size"], told["check"]) == ("tiles", 9, 0, "ok")
    assert told["files"] == {"first": "a-00-00.png", "last": "a-32-24.png"}
    assert told["cover"] == {"least": 1, "most": 1, "uncovered": 0}
    assert told["made_by"]["settings"]["--output"] == "a-{x}-{y}.png"
    write_image(tmp_path / "t/a-16-00.png", image)
    ran = patchcli("info", "--check", "t/a.tiles.jsonl")
    done(ran)
    assert b"another size  1 tile, as a-16-00.png: width=40 height=30" in ran.stdout
    (tmp_path / "t/a-16-00.png").write_bytes((tmp_path / "t/a-00-00.png").read_bytes()[:-20])
    refused(patchcli("info", "--check", "t/a.tiles.jsonl"), "t/a.tiles.jsonl: its tile a-16-00.png is ", code=1)
    (tmp_path / "t/a-16-00.png").unlink()
    refused(patchcli("info", "--check", "t/a.tiles.jsonl"), "its tile a-16-00.png cannot be read: no such file", code=1)
    done(patchcli("info", "t/a.tiles.jsonl"))


@pytest.mark.slow
def test_an_interrupted_run_leaves_tiles_only_to_resume(tmp_path: Path) -> None:
    write_image(tmp_path / "big.npy", gray(4000, 4000))
    for resume in (False, True):
        words = ["extract", "big.npy", "-s", "20", "-o", "t/{x}-{y}.png", *["--resume"] * resume]
        running = subprocess.Popen([sys.executable, "-m", "patchcli", *words], cwd=tmp_path)
        while running.poll() is None and len(list(tmp_path.glob("t/*.png"))) < 50:
            time.sleep(0.01)
        running.terminate()
        assert running.wait() == -15
        left = [path.name for path in tmp_path.glob("t/*")]
        assert (len(left) >= 50) == resume
        assert resume or not left
        assert not any(name.endswith((".tmp", "s.jsonl")) for name in left)


@pytest.fixture
def old(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> dict[str, bytes]:
    """A set of 20 tiles in ``t``, which ``HALVES`` replaces by one of 80."""
    del image
    done(patchcli("extract", "a.png", *HALVES[:-1], "new/{stem}-{row}-{col}.png"))
    done(patchcli("extract", "a.png", *OLD))
    return tree(tmp_path / "t")


def same_tiles(folder: Path) -> bool:
    """Whether ``t`` holds the tiles of ``new``, the index, and nothing else."""
    one, other = tree(folder / "t"), tree(folder / "new")
    return one.keys() == other.keys() and all(one[name] == other[name] for name in one if name.endswith(".png"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_set_that_is_being_replaced_is_the_old_or_the_new_one(
    tmp_path: Path, old: dict[str, bytes], number: signal.Signals
) -> None:
    stopped(tmp_path, "_write_tile", 30, number, *HALVES, "--overwrite")
    assert tree(tmp_path / "t") == old
    stopped(tmp_path, "_place", 30, number, *HALVES, "--overwrite")
    assert same_tiles(tmp_path)


def test_what_a_killed_run_left_is_known_until_a_run_ends_well(patchcli: Run, tmp_path: Path, old: dict[str, bytes]) -> None:
    del old
    stopped(tmp_path, "_place", 30, signal.SIGKILL, *HALVES, "--overwrite")
    left = tree(tmp_path / "t")
    assert ".a.tiles.jsonl.begun" in left
    assert "a.tiles.jsonl" not in left
    stopped(tmp_path, "_write_tile", 30, signal.SIGTERM, *HALVES, "--overwrite")
    tiles = {name for name in left if name.endswith(".png")}
    assert tree(tmp_path / "t").keys() == {*tiles, ".a.tiles.jsonl.begun"}
    done(patchcli("extract", "a.png", *OLD, "--overwrite", "--resume"))
    assert {name for name in tree(tmp_path / "t") if name.endswith(".png")} == {
        f"a-{row}-{col}.png" for row in range(4) for col in range(5)
    }


@pytest.mark.parametrize("step", ["_write_tile", "_place"])
def test_overwriting_removes_the_hidden_files_of_a_killed_run(
    patchcli: Run, tmp_path: Path, old: dict[str, bytes], step: str
) -> None:
    del old
    stopped(tmp_path, step, 30, signal.SIGKILL, *HALVES, "--overwrite")
    assert sum(name.endswith(".tmp") for name in tree(tmp_path / "t")) > 20
    theirs = tmp_path / "t/.b.tiles.jsonl.0123456789ab.tmp"
    theirs.touch()
    done(patchcli("extract", "a.png", *HALVES, "--overwrite"))
    theirs.unlink()
    assert same_tiles(tmp_path)


@pytest.mark.usefixtures("image")
def test_what_is_no_file_in_the_place_of_a_tile_is_refused_before_any_work(patchcli: Run, tmp_path: Path) -> None:
    done(patchcli("extract", "a.png", *OLD))
    (tmp_path / "t/a-1-1.png").unlink()
    (tmp_path / "t/a-1-1.png").mkdir()
    (tmp_path / "t/a-90-9.png").mkdir()  # which is none of this grid, nor is the next
    (tmp_path / "t/a-10-1.png").symlink_to("nowhere")
    call = ("extract", "a.png", *OLD, "--margin", 1, "--overwrite")
    with untouched(tmp_path):
        refused(patchcli(*call), "t/a-1-1.png: is a folder; give the tiles other names, or move it")
        refused(patchcli(*call, "--resume"), "t/a-1-1.png: is a folder")
    (tmp_path / "t/a-1-1.png").rmdir()
    os.mkfifo(tmp_path / "t/a-1-1.png")
    refused(patchcli(*call), "t/a-1-1.png: is not a regular file")
    (tmp_path / "t/a-1-1.png").unlink()
    done(patchcli(*call))
    (tmp_path / "u").mkdir()
    (tmp_path / "u/1").touch()
    (tmp_path / "u/10").touch()
    folders = ("extract", "a.png", "-s", 8, "-o", "u/{row}/{col}.png", "--overwrite")
    with untouched(tmp_path):
        refused(patchcli(*folders), "u/1: is a file, where tiles need a folder")
    (tmp_path / "u/1").unlink()
    done(patchcli(*folders))


@pytest.mark.usefixtures("image")
def test_a_report_or_a_list_that_a_tile_would_replace_is_refused(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "link").symlink_to("t")
    with untouched(tmp_path):
        for name in ("t/a-00-00.png", "link/a-16-12.png"):
            refused(patchcli("extract", "a.png", *CLIPPED, *TILES, "--report", name), f"{name}: a tile will have this name")
    (tmp_path / "t/a-00-00.png").write_text("a.png\n")
    with untouched(tmp_path):
        call = ("extract", "--files-from", "t/a-00-00.png", *CLIPPED, *TILES, "--overwrite")
        refused(patchcli(*call), "t/a-00-00.png: is an input too")
    (tmp_path / "t/a-00-00.png").unlink()
    done(patchcli("extract", "a.png", *CLIPPED, *TILES, "--report", "t/a-000-00.png"))


def test_no_empty_folder_is_left(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    folders = ("extract", "a.png", *CLIPPED, "-o", "t/{stem}/{row}/{col}.png", "--resume")
    done(patchcli(*folders))
    (tmp_path / "t/a/empty").mkdir()  # by somebody else
    write_image(tmp_path / "a.png", image[:12])
    done(patchcli(*folders))
    assert sorted(path.name for path in (tmp_path / "t/a").iterdir()) == ["0", "a.tiles.jsonl", "empty"]
    with untouched(tmp_path):
        long = "n" * 252
        refused(patchcli("extract", "a.png", *CLIPPED, "-o", f"u/v/{{row}}/{long}{{col}}.png"), "file name too long", code=1)
    stopped(tmp_path, "_write_tile", 3, signal.SIGTERM, "-s", 8, "-o", "u/v/{row}/{col}.png")
    assert not (tmp_path / "u").exists()


@needs("montage")
def test_montage_puts_tiles_together(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    del image
    whole = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    write_image(tmp_path / "c.png", whole)
    done(patchcli("extract", "c.png", "-s", 16, "-o", "t/{row}-{col}.png"))
    tiles = sorted(str(path) for path in (tmp_path / "t").glob("*.png"))
    subprocess.run(["montage", *tiles, "-tile", "4x3", "-geometry", "+0+0", "back.png"], cwd=tmp_path, check=True)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "back.png").convert("RGB")), whole)


@needs("pamundice")
def test_pamundice_puts_tiles_together(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", *CLIPPED, "-o", "t/{row}_{col}.pgm"))
    words = ["pamundice", "t/%1d_%1a.pgm", "-down", "3", "-across", "3"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "back.pgm").write_bytes(ran.stdout)
    assert np.array_equal(read_image(tmp_path / "back.pgm"), image)
