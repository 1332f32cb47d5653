"""``preview`` through real processes: pictures of everything, figures, and one line for what cannot be drawn."""

from __future__ import annotations

import io
import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

import patchcli as package
from patchcli.images.difference import Differences
from tests.helpers.runs import SAMPLES, Run, gray, read_image, refused, tree, write_image

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from numpy.typing import NDArray

SCENE, NOISY, MASK, RAMP = (str(SAMPLES / name) for name in ("scene.png", "noisy.png", "cells_mask.png", "ramp16.png"))


def drawn(ran: subprocess.CompletedProcess[bytes], path: Path, within: tuple[int, int] = (1280, 1280)) -> NDArray[np.uint8]:
    """The picture that a call wrote: colours, of at most the size that was asked for."""
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == b""
    picture = read_image(path)
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)
    assert picture.shape[0] <= within[0]
    assert picture.shape[1] <= within[1]
    return picture


@pytest.fixture
def files(patchcli: Run, tmp_path: Path) -> Path:
    """A stack, an index of tiles, and other things, in the folder of the run."""
    for line in (
        f"extract {SCENE} -s 64 --overlap 25% -o scene.npz",
        f"extract {SCENE} -s 64 --max-patches 7 --compress --layout columns -o some.npz",
        f"extract {SCENE} -s 64 --edge clip -o tiles/{{stem}}-{{x}}-{{y}}.png",
        f"extract {SAMPLES / 'cells.png'} -s 32 --labels {MASK} -o cells.npz",
        f"crop {SCENE} --boxes boxes.csv --size 32 -o crops.npz",
    ):
        (tmp_path / "boxes.csv").write_text("x,y,width,height\n10,10,64,64\n50,60,30,30\n")
        ran = patchcli(*line.split())
        assert ran.returncode == 0, ran.stderr
    np.save(tmp_path / "patches.npy", np.random.default_rng(0).normal(size=(12, 16, 16)).astype("f4"))
    np.save(tmp_path / "four.npy", np.random.default_rng(0).random((5, 16, 16, 3)))
    values = np.random.default_rng(1).normal(size=(90, 120)).astype("f4")
    values[20:30, 40:60] = np.nan
    np.save(tmp_path / "nan.npy", values)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        SCENE,
        RAMP,
        "nan.npy",
        f"{MASK} --color indices",
        f"{SCENE} --channel 1 --range 20 90",
        f"{SCENE} --grid -s 64",
        f"{RAMP} --grid -s 100x60 --overlap 10% --edge pad --margin 12 --pad-mode constant",
        f"{SCENE} --grid -s 64 --stride 50 --edge drop --offset 3,9",
        f"{SCENE} --grid -s 64 --edge even --stride 60",
        f"{SCENE} --grid -s 64 --edge clip",
        f"{SCENE} --grid -s 8 --stride 1",
        "nan.npy --grid -s 16 --min-valid 100%",
        f"{SAMPLES / 'cells.png'} --grid -s 32 --mask {MASK} --max-patches 5",
        f"{MASK} --grid -s 48 --color indices",
        "scene.npz",
        "some.npz",
        "scene.npz --patches 3,17,0",
        "tiles/scene.tiles.jsonl",
        "tiles/scene.tiles.jsonl --patches 5",
        "cells.npz",
        "cells.labels.npz",
        "crops.npz",
        "patches.npy --patches 0,11",
        "four.npy",
        "scene.npz --cover",
        "some.npz --cover",
        "tiles/scene.tiles.jsonl --cover",
        f"{SCENE} --cover -s 64 --stride 40 --edge drop",
        f"{SCENE} --cover -s 64 --max-patches 9",
        f"{SCENE} --triple -s 39 --stride 7",
        f"{SCENE} --triple -s 64 --edge drop",
        "nan.npy --triple -s 16 --stride 8",
        f"{MASK} --triple -s 16 --stride 8 --color indices",
        f"--triple {SCENE} scene.npz",
        f"--triple {SCENE} tiles/scene.tiles.jsonl",
        f"--compare {SCENE} {NOISY}",
        f"--compare {NOISY} {SCENE} --color gray",
        "--compare nan.npy nan.npy",
    ],
)
def test_everything_is_drawn(call: str, patchcli: Run, files: Path) -> None:
    before = tree(files)
    for size in ("1200", "500x320"):
        picture = drawn(
            patchcli("preview", *call.split(), "-o", f"{size}.png", "--max-size", size),
            files / f"{size}.png",
            (1200, 1200) if size == "1200" else (320, 500),
        )
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    assert {name: data for name, data in tree(files).items() if name in before} == before


def test_a_picture_goes_through_pipes_and_to_any_format(patchcli: Run, tmp_path: Path) -> None:
    ran = patchcli("preview", "-", "-o", "-", stdin=(SAMPLES / "scene.png").read_bytes())
    assert ran.returncode == 0, ran.stderr
    piped = np.asarray(PIL.Image.open(io.BytesIO(ran.stdout)))
    named = drawn(patchcli("preview", SCENE, "-o", "a.tif"), tmp_path / "a.tif")
    assert piped.shape[2] == 3
    assert np.abs(piped[60:].astype(int) - named[60:]).max() == 0  # but for the name above
    assert patchcli("preview", SCENE, RAMP, "-d", "looks").returncode == 0
    assert sorted(path.name for path in (tmp_path / "looks").rglob("*.png")) == ["ramp16.png.png", "scene.png.png"]
    assert patchcli("preview", SCENE, RAMP, "-o", "{stem}-look.jpg").returncode == 0
    assert (tmp_path / "scene-look.jpg").read_bytes()[:2] == b"\xff\xd8"
    again = patchcli("preview", SCENE, "-o", "a.tif")
    refused(again, "a.tif: already exists; use --overwrite to replace it")


def test_pages_are_pictures_of_their_own(patchcli: Run, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "pages.tif", np.stack([gray(40, 60, seed=n) for n in range(3)]), photometric="minisblack")
    assert patchcli("preview", "pages.tif", "--page", "all", "-o", "p{page}.png").returncode == 0
    assert len({(tmp_path / f"p{n:04}.png").read_bytes() for n in range(3)}) == 3
    hinted = patchcli("preview", "pages.tif", "-o", "one.png")
    assert b"has 3 pages, of which page 0 was read" in hinted.stderr


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_figures_are_printed(dtype: str, patchcli: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    first, second = (rng.integers(0, 200, (50, 70)).astype(dtype) for _ in range(2))
    np.save(tmp_path / "a.npy", first)
    np.save(tmp_path / "b.npy", second)
    ran = patchcli("preview", "--compare", "a.npy", "b.npy", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    apart = first.astype("f8") - second
    span = float(np.iinfo(dtype).max) - np.iinfo(dtype).min if np.dtype(dtype).kind != "f" else float(np.ptp(first))
    assert told.pop("file") == "a.npy"
    assert told.pop("other") == "b.npy"
    assert told["rmse"] == pytest.approx(math.sqrt((apart**2).mean()), rel=1e-12)
    assert told["psnr"] == pytest.approx(10 * math.log10(span**2 / (apart**2).mean()), rel=1e-12)
    assert (told["largest"], told["data_range"], told["left_out"]) == (float(np.abs(apart).max()), span, 0)
    said = patchcli("preview", "--compare", "a.npy", "b.npy", "-o", "c.png")
    differences = Differences(first.dtype)
    differences.add(first, second)
    assert said.stdout.decode() == f"b.npy against a.npy: {differences.figures().in_words()}\n"
    assert (tmp_path / "c.png").exists()
    same = patchcli("preview", "--compare", "a.npy", "a.npy", "--json")
    assert (json.loads(same.stdout)["rmse"], json.loads(same.stdout)["psnr"]) == (0.0, None)


@pytest.mark.parametrize(
    "options", ["-s 39 --stride 7", "-s 16 --margin 5 --edge pad --stride 3", "-s 64 --edge even --stride 50"]
)
def test_a_round_trip_has_no_error(options: str, patchcli: Run) -> None:
    ran = patchcli("preview", SCENE, "--triple", *options.split(), "--json")
    assert ran.returncode == 0, ran.stderr
    assert (json.loads(ran.stdout)["rmse"], json.loads(ran.stdout)["largest"]) == (0, 0)


def test_the_reconstruction_is_that_of_merge(patchcli: Run, files: Path) -> None:
    stack = np.load(files / "scene.npz")
    np.savez(files / "other.npz", **{**stack, "patches": stack["patches"] // 2})
    assert patchcli("merge", "other.npz", "-o", "other.png").returncode == 0
    triple = json.loads(patchcli("preview", "--triple", SCENE, "other.npz", "--json").stdout)
    compared = json.loads(patchcli("preview", "--compare", SCENE, "other.png", "--json").stdout)
    assert {**triple, "other": ""} == {**compared, "other": ""}


@pytest.mark.parametrize("options", ["--color gray", "--channel 1", "--page 1", "--no-exif-rotate"])
def test_the_image_of_a_triple_is_read_as_that_of_the_stack(options: str, patchcli: Run, tmp_path: Path) -> None:
    pages = [PIL.Image.open(name) for name in (NOISY, SCENE)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    image = {"--page 1": "pages.tif", "--no-exif-rotate": str(SAMPLES / "upright.jpg")}.get(options, SCENE)
    assert patchcli("extract", image, "-s", "32", *options.split(), "-o", "cut.npz").returncode == 0
    for asked in ("", options):
        ran = patchcli("preview", "--triple", image, "cut.npz", *asked.split(), "--json")
        assert (ran.returncode, ran.stderr) == (0, b""), ran.stderr
        assert json.loads(ran.stdout)["rmse"] == 0


def test_labels_of_a_triple_have_one_colour_in_all_three(patchcli: Run, files: Path) -> None:
    picture = drawn(patchcli("preview", "--triple", MASK, "cells.labels.npz", "-o", "x.png"), files / "x.png")
    source, reconstruction = (picture[top : top + 480, 8:488] for top in (54, 561))
    np.testing.assert_array_equal(source, reconstruction)
    assert len(np.unique(source.reshape(-1, 3), axis=0)) == 2


@pytest.mark.parametrize("call", ["--compare bad.png good.png", "--triple bad.png scene.npz"])
def test_the_file_that_is_damaged_is_named(call: str, patchcli: Run, files: Path) -> None:
    data = (SAMPLES / "scene.png").read_bytes()
    (files / "bad.png").write_bytes(data[: len(data) // 2])
    (files / "good.png").write_bytes(data)
    refused(patchcli("preview", *call.split()), "patchcli: bad.png: is a damaged or unsupported PNG image", 1)
    if "compare" in call:
        refused(patchcli("preview", "--compare", "good.png", "bad.png"), "good.png: bad.png is a damaged", 1)


def test_a_triple_says_what_its_patches_leave_out(patchcli: Run, files: Path) -> None:
    heights = [
        drawn(patchcli("preview", "--triple", SCENE, stack, "-o", f"{stack}.png"), files / f"{stack}.png")
        for stack in ("scene.npz", "some.npz")
    ]
    titles = [np.nonzero((picture[:30] < 128).any((0, 2)))[0].max() for picture in heights]
    assert titles[1] > titles[0] + 150  # ..., 95000 pixels uncovered, 0 in the reconstruction


REFUSED = [
    (f"preview {SCENE}", 2, "give an output: -o FILE or -d DIR"),
    (f"preview {SCENE} --grid -o x.png", 2, "--grid needs -s/--patch-size; give W or WxH, as in 8 or 64x48"),
    (f"preview {SCENE} --grid --cover -s 8 -o x.png", 2, "use only one of --grid and --cover"),
    (f"preview {SCENE} -s 8 -o x.png", 2, "--patch-size is for --grid, --cover and --triple; give one of them"),
    (f"preview {SCENE} --cover --stride 8 -o x.png", 2, "--cover needs -s/--patch-size"),
    (f"preview {SCENE} --grid -s 8 --patches 3 -o x.png", 2, "use only one of --grid and --patches"),
    (f"preview {SCENE} --patches 3;4 -o x.png", 2, "'3;4' is not a list of numbers; write whole ones from 0, as in 3,17"),
    (f"preview {SCENE} --range 9 3 -o x.png", 2, "--range is 9 3; give the lower value first"),
    (f"preview {MASK} --color indices --range 0 3 -o x.png", 2, "--range is for values of pixels, not for --color indices"),
    (f"preview {SCENE} --range -inf inf -o x.png", 2, "--range is -inf inf; give two finite numbers"),
    (f"preview {SCENE} --json -o x.png", 2, "--json is for the figures of --compare and --triple"),
    (f"preview --compare {SCENE} -o x.png", 2, "--compare takes two images; 1 given"),
    (f"preview --triple {SCENE} -o x.png", 2, "--triple takes an image and a stack, or images and -s; 1 given"),
    (f"preview --compare {SCENE} {NOISY} --page all", 2, "--page all is several pages; give --compare one number"),
    (f"preview --triple {SCENE} scene.npz --page 0-1 -o x.png", 2, "--page 0-1 is several pages; give --triple one number"),
    (f"preview --triple {SCENE} -s 64 --page all", 2, "--page all is several pages; give --triple one number"),
    (f"preview --compare {SCENE} {NOISY} --json -o -", 2, "--json goes to standard output, so the picture cannot go there"),
    (f"preview {SCENE} -o x.npz", 2, "suffix is '.npz'; for images use"),
    (f"preview {SCENE} -o x.pbm", 2, "PBM cannot hold"),
    (f"preview --compare {SCENE} {NOISY} --page all", 2, "--page all is several pages; give --compare one number"),
    (f"preview --triple {SCENE} scene.npz --page 0-1", 2, "--page 0-1 is several pages; give --triple one number"),
    (f"preview {SCENE} --triple -s 64 --page all", 2, "--page all is several pages; give --triple one number"),
    (f"preview --triple {SCENE} -", 2, "--triple reads the stack twice, and standard input (-) is read once"),
    (f"preview {SCENE} --max-size 100 -o x.png", 2, "a picture of width=100 height=100 is too small to be drawn"),
    (f"preview {SCENE} --cover -o x.png", 1, "is an image, not patches; say how they would be cut with -s"),
    ("preview scene.npz --grid -s 8 -o x.png", 1, "scene.npz: is a patch stack"),
    (
        "preview scene.npz --color gray -o x.png",
        1,
        "holds patches; --page, --pages-as, --color, --channel and --exif-rotate are for",
    ),
    ("preview scene.npz --patches 63 -o x.png", 1, "scene.npz: has 48 patches, numbered from 0, and none is number 63"),
    ("preview patches.npy --cover -o x.png", 1, "is an image, not patches"),
    ("preview four.npy --cover -o x.png", 1, "has patches without origins, so that it is not known where they lie"),
    (f"preview --compare {SCENE} {RAMP} -o x.png", 1, "compare images of the same size and channels"),
    (f"preview --triple {RAMP} scene.npz -o x.png", 1, "compare images of the same size and channels"),
    (f"preview {SCENE} --triple -s 64 --edge clip -o x.png", 1, "edge is clip, which is for tile files"),
    (f"preview --triple {SCENE} - -o x.png", 2, "--triple reads the stack twice, and standard input (-) is read once"),
    (f"preview --triple {SCENE} four.npy", 1, "four.npy has patches without origins, so that it is not known where they lie"),
    ("preview boxes.csv -o x.png", 1, "boxes.csv: is text, not an image that patchcli reads"),
    ("preview missing.png -o x.png", 1, "missing.png: cannot be read: no such file or directory"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "code", "sentence"), REFUSED)
def test_what_cannot_be_drawn_is_one_line(call: str, code: int, sentence: str, patchcli: Run, files: Path) -> None:
    refused(patchcli(*call.split()), sentence, code)
    assert not (files / "x.png").exists()


def test_one_faulty_file_ends_no_others(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    write_image(tmp_path / "good.png", gray())
    ran = patchcli("preview", "bad.png", "good.png", "-d", "out")
    refused(ran, "bad.png: is text, not an image", 1)
    assert (tmp_path / "out" / "good.png.png").exists()


def test_a_missing_tile_is_named(patchcli: Run, files: Path) -> None:
    (files / "tiles" / "scene-064-000.png").unlink()
    refused(patchcli("preview", "tiles/scene.tiles.jsonl", "-o", "x.png"), "scene-064-000.png, which is missing", 1)


def test_smaller_tiles_have_the_scale_of_the_others(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "red.png", np.full((1000, 1400, 3), (200, 0, 0), np.uint8))
    assert patchcli("extract", "red.png", "-s", "1000", "--edge", "clip", "-o", "t/{stem}-{x}-{y}.png").returncode == 0
    picture = drawn(patchcli("preview", "t/red.tiles.jsonl", "-o", "x.png", "--max-size", "600"), tmp_path / "x.png")
    red = (picture == (200, 0, 0)).all(axis=2)
    assert len(set(red.sum(axis=0)[red.any(axis=0)].tolist())) == 1
    assert patchcli("extract", "red.png", "-s", "5000", "--edge", "clip", "-o", "one/{stem}-{x}-{y}.png").returncode == 0
    picture = drawn(patchcli("preview", "one/red.tiles.jsonl", "-o", "y.png", "--max-size", "600"), tmp_path / "y.png")
    assert (picture == (200, 0, 0)).all(axis=2).sum() > 100_000


def test_a_tile_without_colours_is_drawn(patchcli: Run, files: Path) -> None:
    name, call = files / "tiles" / "scene-064-000.png", "preview tiles/scene.tiles.jsonl -o x.png --overwrite"
    pictures = []
    for pixels in (np.full((64, 64, 3), 255, np.uint8), np.full((64, 64), 255, np.uint8), np.full((64, 64), 1, np.bool_)):
        write_image(name, pixels)
        pictures.append(drawn(patchcli(*call.split()), files / "x.png"))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_a_tile_of_another_kind_is_named(patchcli: Run, files: Path) -> None:
    write_image(files / "tiles" / "scene-064-000.png", gray(64, 64).astype(np.uint16))
    ran = patchcli("preview", "tiles/scene.tiles.jsonl", "-o", "x.png")
    refused(ran, "scene-064-000.png is uint16 of 1 channel; the tiles of an image are alike", 1)


@pytest.mark.parametrize("call", ["tiles/scene.tiles.jsonl", f"--triple {SCENE} tiles/scene.tiles.jsonl"])
def test_tiles_are_not_drawn_over(call: str, patchcli: Run, files: Path) -> None:
    ran = patchcli("preview", *call.split(), "-o", "tiles/scene-064-000.png", "--overwrite")
    refused(ran, "tiles/scene-064-000.png: is an input too; give the output another name")
    assert read_image(files / "tiles" / "scene-064-000.png").shape == (64, 64, 3)


def test_what_is_drawn_nowhere_names_no_output(patchcli: Run) -> None:
    said = patchcli("preview", "--compare", SCENE, NOISY, "-v").stderr.decode()
    assert said.startswith(f"{SCENE}: picture of width=")


def test_labels_are_compared_with_their_stack(patchcli: Run, tmp_path: Path) -> None:
    palette = PIL.Image.fromarray(gray(60, 80) // 32, "P")
    palette.putpalette(list(range(3 * 8)))
    palette.save(tmp_path / "classes.png")
    assert (
        patchcli("extract", "classes.png", "--color", "indices", "-s", "16", "--stride", "5", "-o", "classes.npz").returncode == 0
    )
    ran = patchcli("preview", "--triple", "classes.png", "classes.npz", "--color", "indices", "--json")
    assert (json.loads(ran.stdout)["rmse"], ran.stderr) == (0, b"")


@pytest.mark.parametrize("damaged", ["before.png", "after.png"])
def test_of_two_images_the_damaged_one_is_named(damaged: str, patchcli: Run, tmp_path: Path) -> None:
    for name in ("before.png", "after.png"):
        write_image(tmp_path / name, gray(200, 300))
    data = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(data[: len(data) // 2])
    ran = patchcli("preview", "--compare", "before.png", "after.png")
    refused(ran, f"{damaged}{' is' if damaged == 'after.png' else ': is'} a damaged or unsupported PNG image", 1)
    assert (b"after.png" in ran.stderr) == (damaged == "after.png")


def test_damage_elsewhere_is_left_to_info(patchcli: Run, files: Path) -> None:
    data = bytearray((files / "scene.npz").read_bytes())
    data[len(data) // 2 + 40_000] ^= 255
    (files / "damaged.npz").write_bytes(data)
    assert patchcli("info", "--check", "damaged.npz").returncode == 1
    drawn(patchcli("preview", "damaged.npz", "-o", "x.png"), files / "x.png")


SAME: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    (f"{SCENE}", (SCENE,), {}),
    (f"{SCENE} --grid -s 64 --stride 48 --margin 8", (SCENE,), {"grid": package.Grid((300, 400), 64, 48, margin=8)}),
    ("scene.npz --patches 4,2", ("scene.npz",), {"numbers": (4, 2)}),
    ("scene.npz --cover", ("scene.npz",), {"show": "cover"}),
    (f"--compare {SCENE} {NOISY}", (SCENE, NOISY), {}),
    (f"--triple {SCENE} -s 16 --stride 8", (SCENE,), {"show": "triple", "grid": package.Grid((300, 400), 16, 8)}),
    (f"{MASK} --color indices --max-size 400x300", (MASK,), {"labels": True, "max_size": (300, 400)}),
]


@pytest.mark.parametrize(("call", "arguments", "keywords"), SAME)
def test_python_draws_the_same(
    call: str, arguments: tuple[Any, ...], keywords: dict[str, Any], patchcli: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    named = drawn(patchcli("preview", *call.split(), "-o", "x.png"), files / "x.png")
    np.testing.assert_array_equal(package.preview(*arguments, **keywords), named)


def test_the_environment_places_patches_where_they_are_drawn(patchcli: Run, tmp_path: Path) -> None:
    there = {**os.environ, "PATCHCLI_PREVIEW_PATCH_SIZE": "64"}
    drawn(patchcli("preview", SCENE, "-o", "plain.png", env=there), tmp_path / "plain.png")
    drawn(patchcli("preview", SCENE, "--grid", "-o", "grid.png", env=there), tmp_path / "grid.png")
    assert patchcli("preview", "--compare", SCENE, NOISY, env=there).returncode == 0
