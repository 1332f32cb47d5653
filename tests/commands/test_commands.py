"""The commands as a shell sees them: real files, real pipes, real processes."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from patchcli.cli.main import cli
from patchcli.images import source
from patchcli.images.formats import FORMATS
from tests.helpers.pictures import HELD, encoded, picture
from tests.helpers.runs import SAMPLES, Run, gray, read_image, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path

PATCHCLI = f"{shlex.quote(sys.executable)} -m patchcli"
SAMPLE_FILES = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".png", ".tif", ".jpg"})
LOSSLESS = {"jpg": "png"}


def shell(line: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, check=False, timeout=120, **options
    )


def one_line(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.startswith("patchcli: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize("path", SAMPLE_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("options", ["-s 8 --stride 1", "-s 13x7 --overlap 50% --edge pad --margin 3", "-s 32 --edge even"])
def test_pipeline_gives_the_pixels_back(path: Path, options: str, tmp_path: Path) -> None:
    suffix = LOSSLESS.get(path.suffix[1:], path.suffix[1:])
    done = shell(f"{PATCHCLI} extract {path} {options} -o - | {PATCHCLI} merge - -o back.{suffix}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    back, source = read_image(tmp_path / f"back.{suffix}"), read_image(path)
    assert back.dtype == source.dtype
    assert np.array_equal(back, source)


@pytest.mark.parametrize(("name", "code", "channels"), [held for held in HELD if held[0] != "npy"])
def test_every_format_comes_back(name: str, code: str, channels: int, tmp_path: Path) -> None:
    suffix = FORMATS[name].suffixes[0]
    (tmp_path / f"a{suffix}").write_bytes(encoded(picture(code, channels), name))
    runner = CliRunner()
    back = tmp_path / (f"back{suffix}" if FORMATS[name].lossless else "back.png")
    for arguments in (
        ["extract", str(tmp_path / f"a{suffix}"), "-s", "4x3", "--stride", "1", "-o", str(tmp_path / "a.npz")],
        ["merge", str(tmp_path / "a.npz"), "-o", str(back)],
    ):
        result = runner.invoke(cli, arguments)
        assert (result.exit_code, result.output) == (0, "")
    got, source = read_image(back), read_image(tmp_path / f"a{suffix}")
    assert got.dtype == source.dtype
    if code == "f8":  # the one dtype whose sums are no wider than itself
        assert np.allclose(got, source, rtol=1e-14, atol=0)
    else:
        assert np.array_equal(got, source)


SCRIPT = """
import json, sys
import numpy as np
z = np.load(sys.argv[1])
assert json.loads(str(z["meta"]))["format"] == "patchcli.stack"
new = {same}
{save}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("same", "save", "options"),
    [
        ('z["patches"]', 'np.savez(sys.argv[2], **{**z, "patches": new})', ""),
        ('z["patches"].astype(float)', 'np.savez(sys.argv[2], **{**z, "patches": new})', ""),
        ('np.asfortranarray(z["patches"])', 'np.savez_compressed(sys.argv[2], **{**z, "patches": new})', ""),
        ('z["patches"]', "np.savez(sys.argv[2], only=new)", "--like a.npz"),
        ('z["patches"]', "np.savez(sys.argv[2], other=new[:1], mine=new)", "--like a.npz --key mine"),
        ('z["patches"]', 'np.save(open(sys.argv[2], "wb"), new)', "--like a.npz"),
        ('z["patches"][::-1]', 'np.savez(sys.argv[2], **{**z, "patches": new, "origins": z["origins"][::-1]})', ""),
    ],
)
@pytest.mark.parametrize("name", ["scene.png", "ramp16.png", "terrain.tif"])
def test_numpy_script_in_the_middle(same: str, save: str, options: str, name: str, patchcli: Run, tmp_path: Path) -> None:
    source = SAMPLES / name
    assert patchcli("extract", source, "-s", "16", "--stride", "5", "-o", "a.npz").returncode == 0
    (tmp_path / "script.py").write_text(SCRIPT.replace("{same}", same).replace("{save}", save))
    subprocess.run([sys.executable, "script.py", "a.npz", "b.npz"], cwd=tmp_path, check=True)
    done = patchcli("merge", "b.npz", *options.split(), "-o", "back" + source.suffix)
    assert (done.returncode, done.stderr) == (0, b"")
    back = read_image(tmp_path / ("back" + source.suffix))
    assert back.dtype == read_image(source).dtype
    assert np.array_equal(back, read_image(source))


def test_same_input_and_options_give_the_same_bytes(patchcli: Run, tmp_path: Path) -> None:
    source = SAMPLES / "texture.png"
    for name in ("a.npz", "b.npz"):
        patchcli("extract", source, "-s", "9", "--stride", "4", "-o", name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    piped = patchcli("extract", "-", "-s", "9", "-o", "-", stdin=source.read_bytes())
    again = patchcli("extract", "-", "-s", "9", "-o", "-", stdin=source.read_bytes())
    assert piped.stdout == again.stdout
    assert np.load(io.BytesIO(piped.stdout))["patches"].shape[1:] == (9, 9)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["stack", "grid", "rows", "columns"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["scene.png", "terrain.tif"])
def test_layouts_merge_to_the_image(layout: str, order: str, name: str, patchcli: Run, tmp_path: Path) -> None:
    source = SAMPLES / name
    unrolled = ["--pixel-order", order] if layout in ("rows", "columns") else []
    placed = ["-s", "9x8", "--stride", "3", "--layout", layout, *unrolled]
    assert patchcli("extract", source, *placed, "-o", "a.npz").returncode == 0
    stack = dict(np.load(tmp_path / "a.npz"))
    count, values = len(stack["origins"]), 72 * (3 if name == "scene.png" else 1)
    assert stack["patches"].size == count * values
    if layout == "columns":
        assert stack["patches"].shape == (values, count)
    np.savez(tmp_path / "b.npz", **{**stack, "patches": np.asfortranarray(stack["patches"]).astype(float)})
    for stacked in ("a.npz", "b.npz"):
        done = patchcli("merge", stacked, "-o", "back" + source.suffix, "--overwrite")
        assert (done.returncode, done.stderr) == (0, b"")
        assert np.array_equal(read_image(tmp_path / ("back" + source.suffix)), read_image(source))
    if layout != "grid":
        order_of = np.random.default_rng(0).permutation(count)
        axis = 1 if layout == "columns" else 0
        shuffled = {**stack, "patches": np.take(stack["patches"], order_of, axis), "origins": stack["origins"][order_of]}
        np.savez(tmp_path / "c.npz", **shuffled)
        assert patchcli("merge", "c.npz", "-o", "back" + source.suffix, "--overwrite").returncode == 0
        assert np.array_equal(read_image(tmp_path / ("back" + source.suffix)), read_image(source))


def test_crop_of_whole_pixels_is_the_slice(patchcli: Run, tmp_path: Path) -> None:
    done = patchcli("crop", SAMPLES / "ramp16.png", "--box", 30, 20, 64, 48, "-o", "crop.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert np.array_equal(read_image(tmp_path / "crop.png"), read_image(SAMPLES / "ramp16.png")[20:68, 30:94])
    piped = shell(
        f"{PATCHCLI} crop - --normalized-box -1 -1 1 1 --size 32x16 -o - --image-format tiff < {SAMPLES / 'leaf.png'}", tmp_path
    )
    assert piped.returncode == 0
    assert source.open_image(io.BytesIO(piped.stdout)).shape == (16, 32, 4)


def test_exif_rotation_can_be_switched_off(patchcli: Run, tmp_path: Path) -> None:
    for options, shape, rotated in (([], (320, 240), True), (["--no-exif-rotate"], (240, 320), False)):
        patchcli("extract", SAMPLES / "upright.jpg", "-s", 40, *options, "-o", "a.npz", "--overwrite")
        meta = json.loads(str(np.load(tmp_path / "a.npz")["meta"]))
        assert tuple(meta["image"]["shape"]) == (*shape, 3)
        assert meta["image"]["rotated"] is rotated
        assert meta["image"]["source"] == "upright.jpg"
        assert meta["image"]["size"] == (SAMPLES / "upright.jpg").stat().st_size


def test_sizes_are_width_by_height(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(20, 30))
    patchcli("extract", "a.png", "-s", "7x5", "--stride", "3x2", "--offset", "4,1", "--edge", "drop", "-o", "a.npz")
    stack = np.load(tmp_path / "a.npz")
    assert stack["patches"].shape[1:] == (5, 7)
    assert stack["origins"][:2].tolist() == [[1, 4], [1, 7]]
    patchcli("extract", "a.png", "-s", "7x5", "--overlap", "29%", "-o", "b.npz")
    assert json.loads(str(np.load(tmp_path / "b.npz")["meta"]))["grid"]["stride"] == [4, 5]


def test_gray_and_pad_value(patchcli: Run, tmp_path: Path) -> None:
    options = ["-s", "64", "--edge", "pad", "--pad-mode", "constant", "--pad-value", "200", "--gray"]
    assert patchcli("extract", SAMPLES / "leaf.png", *options, "-o", "a.npz").returncode == 0
    stack = np.load(tmp_path / "a.npz")
    assert stack["patches"].ndim == 3
    assert stack["patches"][-1, -1, -1] == 200


def test_fill_trim_and_cover(patchcli: Run, tmp_path: Path) -> None:
    image = gray(21, 30)
    write_image(tmp_path / "a.png", image)
    patchcli("extract", "a.png", "-s", "8", "--stride", "4", "--edge", "drop", "-o", "a.npz")
    text = one_line(patchcli("merge", "a.npz", "-o", "b.png"), 1)
    assert "a.npz: 70 of 630 pixels are covered by no patch" in text
    assert "--fill" in text
    assert "--trim" in text
    assert not (tmp_path / "b.png").exists()
    done = patchcli("merge", "a.npz", "-o", "b.png", "--fill", "9", "--cover", "cover.npy")
    assert done.returncode == 0
    expected = image.copy()
    expected[20:], expected[:, 28:] = 9, 9
    assert np.array_equal(read_image(tmp_path / "b.png"), expected)
    cover = np.load(tmp_path / "cover.npy")
    assert cover.shape == (21, 30)
    assert cover.max() == 4
    assert np.count_nonzero(cover == 0) == 70
    patchcli("merge", "a.npz", "-o", "c.png", "--trim", "--cover", "cover.png")
    assert np.array_equal(read_image(tmp_path / "c.png"), image[:20, :28])
    assert np.array_equal(read_image(tmp_path / "cover.png"), np.rint(cover[:20, :28] * (255 / 4)))


def test_dtype_of_the_image(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    patchcli("extract", "a.png", "-s", "8", "-o", "a.npz")
    assert patchcli("merge", "a.npz", "-o", "b.tif", "--dtype", "float32").returncode == 0
    assert read_image(tmp_path / "b.tif").dtype == np.float32
    text = one_line(patchcli("merge", "a.npz", "-o", "b.png", "--dtype", "float32"), 1)
    assert "PNG cannot hold float32 with 1 channel; allowed are tiff, npy" in text


def test_nonfinite_values(patchcli: Run, tmp_path: Path) -> None:
    image = np.ones((8, 8), np.float32)
    image[2, 3] = np.nan
    write_image(tmp_path / "a.tif", image)
    patchcli("extract", "a.tif", "-s", "4", "-o", "a.npz")
    assert "1 value of the image would be NaN" in one_line(patchcli("merge", "a.npz", "-o", "b.tif"), 1)
    assert patchcli("merge", "a.npz", "-o", "b.tif", "--allow-nonfinite").returncode == 0
    assert np.array_equal(read_image(tmp_path / "b.tif"), image, equal_nan=True)


def test_several_inputs_keep_their_paths(patchcli: Run, tmp_path: Path) -> None:
    for name in ("x/a.png", "x/a.jpg", "y/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / name, gray())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = patchcli("extract", "x/a.png", "bad.png", "x/a.jpg", tmp_path / "y/a.png", "-s", "8", "-d", "out")
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"bad.png: is text, not an image that patchcli reads" in done.stderr
    stacks = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.npz"))
    inside = str(tmp_path / "y/a.png.npz").lstrip("/")
    assert stacks == sorted(["x/a.png.npz", "x/a.jpg.npz", inside])
    assert patchcli("merge", "out/x/a.png.npz", "out/x/a.jpg.npz", "-d", "back").returncode == 0
    assert np.array_equal(read_image(tmp_path / "back/out/x/a.png"), gray())
    assert (tmp_path / "back/out/x/a.jpg.png").exists()


def make_files(folder: Path) -> None:
    write_image(folder / "a.png", gray())
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("hello, this is text")
    (folder / "folder").mkdir()
    (folder / "there.npz").write_bytes(b"precious")
    (folder / "there.png").write_bytes(b"precious")
    runner = CliRunner()
    result = runner.invoke(cli, ["extract", str(folder / "a.png"), "-s", "8", "-o", str(folder / "a.npz")])
    assert result.exit_code == 0
    stack = dict(np.load(folder / "a.npz"))
    np.savez(folder / "reshaped.npz", **{**stack, "patches": stack["patches"].reshape(-1, 64)})
    np.savez(folder / "fewer.npz", **{**stack, "patches": stack["patches"][1:]})
    (folder / "torn.npz").write_bytes((folder / "a.npz").read_bytes()[:1500])
    flipped = bytearray((folder / "a.npz").read_bytes())
    flipped[-600] ^= 1
    (folder / "flipped.npz").write_bytes(flipped)


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("extract text.png -s 8 -o x.npz", 1, "text.png: is text, not an image that patchcli reads"),
        ("extract cut.png -s 8 -o x.npz", 1, "cut.png: is a damaged or unsupported PNG image"),
        ("extract empty.png -s 8 -o x.npz", 1, "empty.png: is empty, not an image that patchcli reads"),
        ("extract folder -s 8 -o x.npz", 1, "folder: holds no file to read"),
        ("extract missing.png -s 8 -o x.npz", 1, "missing.png: cannot be read: no such file"),
        ("extract a.png -s 64 -o x.npz", 1, "a.png: patch height=64 is larger than image height=20; .* --edge pad"),
        ("extract a.png -s 64x2 -o x.npz", 1, "a.png: patch width=64 is larger than image width=30"),
        ("extract a.png -s 0 -o x.npz", 2, "'-s' / '--patch-size': '0' is not a size; write W or WxH"),
        ("extract a.png -s 8x -o x.npz", 2, "'8x' is not a size"),
        ("extract a.png -s -8 -o x.npz", 2, "'-8' is not a size"),
        ("extract a.png -o x.npz", 2, "Missing option '-s'"),
        ("extract a.png -s 8", 2, "give an output: -o FILE or -d DIR"),
        ("extract a.png -s 8 -o x.npz -d y", 2, "use only one of -o and -d"),
        ("extract -s 8 -o x.npz", 2, "no INPUTS; give files, folders, --files-from, or - for standard input"),
        ("extract a.png a.png -s 8 -o x.npz", 2, "-o names one output but there are 2 inputs"),
        ("extract a.png ./a.png -s 8 -d x", 2, "two outputs have this name"),
        ("extract - - -s 8 -o x.npz", 2, "-o names one output|standard input .* twice"),
        ("extract - -s 8 -d x", 2, "standard input has no name"),
        ("extract a.png -s 8 -o a.png", 2, "a.png: is an input too"),
        ("extract a.png -s 8 -o a.png --overwrite", 2, "a.png: is an input too"),
        ("extract a.png -s 8 -o there.npz", 2, "there.npz: already exists; use --overwrite to replace it"),
        ("extract a.png -s 8 -o folder", 2, "folder: is a directory"),
        ("extract a.png -s 8 -o /dev/full", 3, "/dev/full: cannot be written: no space left on device"),
        ("extract a.png -s 8 -o a.npz/x.npz", 3, "a.npz/x.npz: cannot be written"),
        ("extract a.png -s 8 --overlap 100% -o x.npz", 2, "overlap 100% is 8 pixels of a patch of 8; allowed are 0 to 7"),
        ("extract a.png -s 8 --overlap 1 --stride 2 -o x.npz", 2, "use only one of --stride and --overlap"),
        ("extract a.png -s 8 --offset 3 -o x.npz", 2, "'3' is not a point; write X,Y"),
        ("extract a.png -s 8 --margin -1 -o x.npz", 2, "-1 is not in the range x>=0"),
        ("extract a.png -s 8 --margin 99999 -o x.npz", 1, "a.png: needs a canvas of .* --max-pixels"),
        ("extract a.png -s 8 --edge wrong -o x.npz", 2, "'wrong' is not one of 'shift', 'pad', 'drop', 'even'"),
        (
            "extract a.png -s 8 --margin 1 --pad-mode constant --pad-value 256 -o x.npz",
            1,
            "value 256 does not fit dtype uint8; allowed are whole numbers from 0 to 255",
        ),
        ("extract a.png -s 8 --max-pixels 100 -o x.npz", 1, r"a.png: has 600 pixels \(width=30 height=20\); allowed are 100"),
        ("extract a.png -s 8 --page 1 -o x.npz", 1, "a.png: has no page 1"),
        ("extract a.png -s 8 --wrong", 2, "No such option"),
        (
            "extract a.png -s 99999999999999999999999 -o x.npz",
            2,
            "write W or WxH in whole pixels from 1 to 1048576",
        ),
        ("extract a.png -s 8 --offset 99999,0 -o x.npz", 1, "a.png: offset 99999 lies outside image width=30"),
        ("extract a.png -s 8 --overlap 1e400000000% -o x.npz", 2, "overlap is '1e400000000%'; allowed are pixels"),
        ("extract a.png -s 8 --pad-value 5 -o x.npz", 2, "--pad-value is for --pad-mode constant, not for reflect"),
        ("extract a.png -s 8 --pixel-order F -o x.npz", 2, "--pixel-order is for --layout rows and columns, not for stack"),
        ("extract a.png -s 8 -o x.npz -q -v", 2, "use only one of -q and -v"),
        ("extract a.png -s 8 -o new/", 2, "new/: is the name of a folder"),
        ("merge a.npz -o x.png --fill 300", 1, "a.npz: value 300 does not fit dtype uint8"),
        ("merge a.npz -o x.tif --dtype float32 --fill 1e300", 1, "value 1e.300 does not fit dtype float32"),
        (
            "merge a.npz -o x.png --cover c.pbm",
            2,
            "--cover c.pbm: PBM cannot hold uint8 with 1 channel; allowed are png, tiff, jpeg",
        ),
        ("crop a.png --box 0 0 4 4 --size 40000x40000 -o x.png", 2, "crop would have 1600000000 pixels .* --max-pixels"),
        ("crop a.png --box 0 0 4 4 --size 100000000x1 -o x.png", 2, "is not a size"),
        ("wrong", 2, "'wrong' is not a command; choose extract"),
        ("merge reshaped.npz -o x.png", 1, r"reshaped.npz: patches have shape \(12, 64\); expected \(12, 8, 8\)"),
        ("merge fewer.npz -o x.png", 1, "fewer.npz: stack has 11 patches but 12 origins"),
        ("merge torn.npz -o x.png", 1, "torn.npz: is truncated or damaged"),
        ("merge flipped.npz -o x.png", 1, "flipped.npz: member 'patches' is damaged: its checksum"),
        ("merge a.png -o x.png", 1, r"a.png: is not a patch stack or an array \(it starts with b'.x89PNG"),
        ("merge empty.png -o x.png", 1, "empty.png: is empty; give a .npz or a .npy"),
        ("merge a.npz -o there.png", 2, "there.png: already exists"),
        ("merge a.npz -o x.png --cover there.png", 2, "there.png: already exists"),
        ("merge a.npz -o x.png --cover x.png", 2, "x.png: two outputs have this name"),
        ("merge a.npz -o x.png --like missing.npz", 1, "a.npz: --like missing.npz cannot be read: no such file"),
        ("merge a.npz -o x.png --key other", 1, "a.npz: has no array 'other'; it has meta, origins, patches"),
        ("merge a.npz -o x.xyz", 2, "x.xyz: suffix is '.xyz'; for images use .png"),
        ("merge a.npz -o /dev/full --image-format png", 3, "/dev/full: cannot be written: no space left on device"),
        ("merge a.npz a.npz -o x.png", 1, "a.npz is not a shard, and several inputs for one output"),
        ("merge a.npz --max-pixels 100 -o x.png", 1, "a.npz: needs a canvas of 600 pixels"),
        ("crop a.png -o x.png", 2, "give a box: --box, --normalized-box, --boxes or --fit"),
        ("crop a.png --box 0 0 1 1 --normalized-box 0 0 1 1 -o x.png", 2, "use only one of --box and --normalized-box"),
        ("crop a.png --box 0 0 0 5 -o x.png", 2, "box is empty: 0 0 0 5; give one with width and height"),
        ("crop a.png --normalized-box 0 0 0 5 -o x.png", 2, "box is empty: 0 0 0 5"),
        ("crop a.png --box 0 0 4e6 5 --size 4 --resampling area -o x.png", 1, "a.png: box is 4e.06 pixels wide or high"),
        ("crop a.png -o x.png --box 0 0 5", 2, "requires 4 arguments"),
        ("crop a.png --box 0 0 nan 5 -o x.png", 2, "allowed are four finite numbers"),
        ("crop a.png --box -1 0 5 5 --outside error -o x.png", 1, "reaches outside the image of width=30 height=20"),
        ("crop a.png --box 0 0 5 5 -o x.gif", 2, "x.gif: suffix is '.gif'; for images use .png"),
        ("crop a.png --box 0 0 5 5 -o there.png", 2, "there.png: already exists"),
    ],
)
def test_bad_call(line: str, code: int, sentence: str, patchcli: Run, tmp_path: Path) -> None:
    make_files(tmp_path)
    with untouched(tmp_path):
        text = one_line(patchcli(*line.split()), code)
    assert re.search(sentence, text), text


def test_names_that_hold_anything_stay_one_line(patchcli: Run) -> None:
    assert one_line(patchcli("extract", "no\nsuch\x1b[31m.png", "-s", 8, "-o", "x.npz"), 1).startswith(
        r"patchcli: no\nsuch\x1b[31m.png: "
    )
    assert "an empty name was given" in one_line(patchcli("extract", "a.png", "-s", 8, "-o", ""), 2)


def test_no_command_shows_help(patchcli: Run) -> None:
    done = patchcli()
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.search(rb"Commands:\n  extract +Cut images", done.stderr)


def test_full_and_closed_standard_output(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(200, 200))
    full = shell(f"{PATCHCLI} extract a.png -s 8 --stride 1 -o - > /dev/full", tmp_path)
    assert one_line(full, 3) == "patchcli: standard output: cannot be written: no space left on device\n"
    full = shell(f"{PATCHCLI} --help > /dev/full", tmp_path)
    assert one_line(full, 3) == "patchcli: standard output: cannot be written: no space left on device\n"
    closed = shell(f"{PATCHCLI} extract a.png -s 8 -o - >&-", tmp_path)
    assert one_line(closed, 3).startswith("patchcli: standard output: cannot be written: ")
    gone = shell(f"{PATCHCLI} extract a.png -s 8 --stride 1 -o - | true; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert (gone.stdout, gone.stderr) == (b"141\n", b"")
    kept = shell(f"{PATCHCLI} extract a.png -s 8 -o a.npz <&- >&- 2>&-", tmp_path)
    assert kept.returncode == 0
    assert np.load(tmp_path / "a.npz")["patches"].shape == (625, 8, 8)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(1200, 1200))
    (tmp_path / "there.npz").write_bytes(b"precious")
    command = [
        sys.executable,
        "-m",
        "patchcli",
        "extract",
        "a.png",
        "-s",
        "40",
        "--stride",
        "1",
        "-o",
        "there.npz",
        "--overwrite",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".there*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert process.returncode == -number
    assert error == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "there.npz"]
    assert (tmp_path / "there.npz").read_bytes() == b"precious"


def test_verbose_and_environment(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    done = patchcli("extract", "a.png", "-s", "8", "-o", "a.npz", "-v")
    timed = rb"a.png -> a.npz: 12 patches of width=8 height=8 \(\d+\.\d\d s, \d+ MB/s\)\n"
    assert re.fullmatch(timed, done.stderr)
    environment = {**os.environ, "PATCHCLI_EXTRACT_PATCH_SIZE": "5x4", "PATCHCLI_EXTRACT_OVERWRITE": "1"}
    assert patchcli("extract", "a.png", "-o", "b.npz", env=environment).returncode == 0
    assert np.load(tmp_path / "b.npz")["patches"].shape[1:] == (4, 5)
    assert "already exists" in one_line(patchcli("extract", "a.png", "-o", "b.npz", env=environment), 2)


def test_version_and_help(patchcli: Run) -> None:
    import patchcli as package

    assert patchcli("--version").stdout.decode() == f"patchcli {package.__version__}\n"
    for arguments in (["-h"], ["extract", "--help"], ["merge", "-h"], ["crop", "-h"]):
        done = patchcli(*arguments)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"Usage: patchcli")
