"""``extract`` keeping some patches, in several files, with companions: through real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import read_stack
from patchcli.batch.targets import as_name, expand, has_fields
from patchcli.errors import UsageError
from tests.helpers.runs import Run, gray, refused, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path

Loaded = tuple[NDArray[Any], NDArray[Any], dict[str, Any]]


def load(path: Path) -> Loaded:
    stack = np.load(path)
    return stack["patches"], stack["origins"], json.loads(str(stack["meta"]))


@pytest.fixture
def image(tmp_path: Path) -> NDArray[Any]:
    """A colour image, flat on its left, and a mask of its lower half."""
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    pixels[:, :24] = 9
    write_image(tmp_path / "a.png", pixels)
    mask = np.zeros((40, 60), np.uint8)
    mask[20:] = 255
    write_image(tmp_path / "mask.png", mask)
    return pixels


def test_sampling_keeps_origins_and_grid_order(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    for name, options in {"a": ["--seed", 3], "b": ["--seed", 3], "c": ["--seed", 4], "d": [], "e": ["--seed", 0]}.items():
        ran = patchcli("extract", "a.png", "-s", 8, "--stride", 3, "--max-patches", 20, *options, "-o", f"{name}.npz")
        assert (ran.returncode, ran.stderr) == (0, b"")
    stacks = {name: (tmp_path / f"{name}.npz").read_bytes() for name in "abcde"}
    assert stacks["a"] == stacks["b"]
    assert stacks["d"] == stacks["e"]
    assert len({stacks["a"], stacks["c"], stacks["d"]}) == 3
    patches, origins, _ = load(tmp_path / "a.npz")
    assert len(patches) == len(np.unique(origins, axis=0)) == 20
    assert np.array_equal(origins, sorted(origins.tolist()))
    for patch, (row, column) in zip(patches, origins, strict=True):
        assert np.array_equal(patch, image[row : row + 8, column : column + 8])
    assert patchcli("extract", "a.png", "-s", 8, "--max-patches", "25%", "-o", "quarter.npz").returncode == 0
    assert len(load(tmp_path / "quarter.npz")[0]) == int(5 * 8 * 0.25)
    assert patchcli("extract", "a.png", "-s", 8, "--max-patches", 1000, "-o", "all.npz").returncode == 0
    assert len(load(tmp_path / "all.npz")[0]) == 5 * 8


@pytest.mark.usefixtures("image")
def test_flat_and_background_patches_are_dropped(patchcli: Run, tmp_path: Path) -> None:
    assert patchcli("extract", "a.png", "-s", 8, "--min-std", 1, "-o", "rough.npz").returncode == 0
    assert load(tmp_path / "rough.npz")[1][:, 1].min() == 24
    assert (
        patchcli("extract", "a.png", "-s", 8, "--mask", "{stem}.png", "-o", "x.npz").returncode == 0
    )  # the image is its own mask
    assert patchcli("extract", "a.png", "-s", 8, "--mask", "mask.png", "-o", "half.npz").returncode == 0
    assert set(load(tmp_path / "half.npz")[1][:, 0].tolist()) == {16, 24, 32}  # 16..23: half inside
    assert patchcli("extract", "a.png", "-s", 8, "--mask", "mask.png", "--min-cover", "51%", "-o", "more.npz").returncode == 0
    assert set(load(tmp_path / "more.npz")[1][:, 0].tolist()) == {24, 32}
    assert patchcli("extract", "a.png", "-s", 8, "--mask", "mask.png", "--min-cover", 0, "-o", "none.npz").returncode == 0
    assert len(load(tmp_path / "none.npz")[0]) == 40
    ran = patchcli("extract", "a.png", "-s", 8, "--min-std", 1e6, "-o", "no.npz")
    assert ran.returncode == 1
    assert ran.stderr == (b"patchcli: a.png: none of the 40 patches has a standard deviation of 1e+06; at least one is needed\n")
    assert not (tmp_path / "no.npz").exists()


def test_channel(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    assert patchcli("extract", "a.png", "-s", 20, "--channel", 1, "-o", "g.npz").returncode == 0
    assert np.array_equal(load(tmp_path / "g.npz")[0][1], image[:20, 20:40, 1])
    ran = patchcli("extract", "a.png", "-s", 20, "--channel", 3, "-o", "x.npz")
    assert ran.returncode == 1
    assert ran.stderr == b"patchcli: a.png: has 3 channels; --channel 3 was asked for; allowed are 0 to 2\n"


CHOICES = [
    [],
    ["--max-patches", 11, "--seed", 5],
    ["--min-std", 1],
    ["--mask", "mask.png"],
    ["--min-std", 1, "--max-patches", "50%"],
]


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("chosen", CHOICES, ids=lambda options: "+".join(map(str, options)) or "all")
@pytest.mark.parametrize("layout", ["stack", "rows", "columns"])
def test_companion_is_cut_at_the_same_places(patchcli: Run, tmp_path: Path, chosen: list[Any], layout: str) -> None:
    target = gray(40, 60, "u2")
    write_image(tmp_path / "a.tif", target)
    grid = ["-s", "8x6", "--stride", 5, "--margin", 3, "--layout", layout]
    ran = patchcli("extract", "a.png", *grid, *chosen, "--companion", "{stem}.tif", "--companion", "mask.png", "-o", "a.npz")
    assert (ran.returncode, ran.stderr) == (0, b"")
    stacks = [read_stack(tmp_path / name) for name in ("a.npz", "a.companion.npz", "a.companion1.npz")]
    assert np.array_equal(stacks[0].origins, stacks[1].origins)
    assert np.array_equal(stacks[0].origins, stacks[2].origins)
    padded = np.pad(target, ((3, 20), (3, 20)), mode="reflect")
    for patch, (row, column) in zip(stacks[1].patches, stacks[1].origins + 3, strict=True):
        if row + 6 <= 46 and column + 8 <= 66:
            assert np.array_equal(patch, padded[row : row + 6, column : column + 8])
    assert stacks[1].meta.source.name == "a.tif"


def test_companions_below_a_folder(patchcli: Run, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("x", "y"):
            write_image(tmp_path / folder / f"{name}.png", gray(seed=len(folder)))
    ran = patchcli("extract", "images/x.png", "images/y.png", "-s", 8, "--companion", "masks/{name}", "-d", "out")
    assert (ran.returncode, ran.stderr) == (0, b"")
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npz"))
    assert found == ["images/x.png.npz", "images/y.png.npz", "masks/x.png.npz", "masks/y.png.npz"]


@pytest.mark.usefixtures("image")
def test_companion_of_another_size_leaves_nothing(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", gray())
    ran = patchcli("extract", "a.png", "-s", 8, "--companion", "small.png", "-o", "a.npz")
    assert ran.returncode == 1
    assert ran.stderr == (
        b"patchcli: a.png: its companion small.png has width=30 height=20; expected width=60 height=40, as the image has\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "mask.png", "small.png"]


@pytest.mark.slow
@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("layout", ["stack", "rows", "columns"])
@pytest.mark.parametrize("chosen", [[], ["--max-patches", 37]], ids=["all", "some"])
def test_shards_are_the_stack_in_pieces(patchcli: Run, tmp_path: Path, layout: str, chosen: list[Any]) -> None:
    grid = ["-s", 8, "--stride", 5, "--layout", layout, *chosen]
    assert patchcli("extract", "a.png", *grid, "-o", "whole.npz").returncode == 0
    assert patchcli("extract", "a.png", *grid, "--shard-patches", 10, "-o", "part.npz").returncode == 0
    whole = read_stack(tmp_path / "whole.npz")
    names = sorted(path.name for path in tmp_path.glob("part*"))
    count = -(-len(whole.patches) // 10)
    assert names == [f"part-{number:05}-of-{count:05}.npz" for number in range(count)]
    shards = [read_stack(tmp_path / name) for name in names]
    assert np.array_equal(np.concatenate([shard.patches for shard in shards]), whole.patches)
    assert np.array_equal(np.concatenate([shard.origins for shard in shards]), whole.origins)
    mark = zlib.crc32(whole.origins.astype("<i8").tobytes())
    assert [shard.meta.shard for shard in shards] == [(number, count, mark) for number in range(count)]
    ran = patchcli("extract", "a.png", *grid, "--shard-patches", 10, "-o", "part.npz")
    assert ran.returncode == 2
    assert b"already exists; use --overwrite to replace it" in ran.stderr
    assert patchcli("extract", "a.png", *grid, "--shard-patches", 10, "--overwrite", "-o", "part.npz").returncode == 0


@pytest.mark.usefixtures("image")
def test_compressed_stacks_hold_the_same(patchcli: Run, tmp_path: Path) -> None:
    for name, options in {"plain": [], "small": ["--compress"], "again": ["--compress"]}.items():
        assert patchcli("extract", "a.png", "-s", 8, "--stride", 2, *options, "-o", f"{name}.npz").returncode == 0
    piped = patchcli("extract", "a.png", "-s", 8, "--stride", 2, "--compress", "-o", "-")
    (tmp_path / "piped.npz").write_bytes(piped.stdout)
    plain = load(tmp_path / "plain.npz")
    for name in ("small", "again", "piped"):
        path = tmp_path / f"{name}.npz"
        assert all(np.array_equal(mine, other) for mine, other in zip(load(path)[:2], plain[:2], strict=True))
        assert {member.compress_type for member in zipfile.ZipFile(path).infolist()} == {zipfile.ZIP_DEFLATED}
        assert zipfile.ZipFile(path).testzip() is None
        assert patchcli("merge", path, "-o", f"{name}.png").returncode == 0
    assert (tmp_path / "small.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert (tmp_path / "small.npz").stat().st_size < 0.8 * (tmp_path / "plain.npz").stat().st_size


BAD: dict[str, tuple[list[Any], str]] = {
    "seed without max-patches": (["--seed", 1], "--seed is for --max-patches, which was not given"),
    "min-cover without mask": (["--min-cover", 0.5], "--min-cover is for --mask, which was not given"),
    "nodata without a use": (["--nodata", 0], "--nodata is for --min-valid and --min-std, and neither was given"),
    "nodata that is none": (["--min-valid", 1, "--nodata", "sea"], "'sea' is not a number; write one, as in -9999, 0.5 or nan"),
    "too much validity": (["--min-valid", "101%"], "is not a part of a whole"),
    "grid and min-valid": (["--layout", "grid", "--min-valid", 1], "--min-valid would keep some"),
    "grid and subset": (["--layout", "grid", "--max-patches", 3], "--layout grid holds all patches"),
    "grid and min-std": (["--layout", "grid", "--min-std", 3], "--min-std would keep some"),
    "grid and mask": (["--layout", "grid", "--mask", "mask.png"], "--mask would keep some"),
    "grid and shards": (["--layout", "grid", "--shard-patches", 3], "--shard-patches would split them"),
    "gray and channel": (["--gray", "--channel", 1], "use only one of --gray and --channel"),
    "color and channel": (["--color", "rgb", "--channel", 1], "use only one of --color and --channel"),
    "gray and another color": (["--gray", "--color", "indices"], "use only one of --gray and --color indices"),
    "unknown color": (["--color", "cmyk"], "'cmyk' is not one of 'gray', 'rgb', 'indices'"),
    "stride and overlap": (["--stride", 3, "--overlap", 3], "use only one of --stride and --overlap"),
    "pad-value without constant": (["--pad-value", 3], "--pad-value is for --pad-mode constant"),
    "pixel-order without rows": (["--pixel-order", "F"], "--pixel-order is for --layout rows and columns"),
    "no patches": (["--max-patches", 0], "write a whole number from 1"),
    "more than all": (["--max-patches", "101%"], "a percentage up to 100%"),
    "no part": (["--mask", "mask.png", "--min-cover", "1/0"], "is not a part of a whole"),
    "too much": (["--mask", "mask.png", "--min-cover", 1.5], "is not a part of a whole"),
    "endless roughness": (["--min-std", "inf"], "give a finite number"),
    "unknown field": (["--companion", "{what}"], "has the field {what}"),
    "companion is the input": (["--companion", "a.png", "--companion", "out.npz"], "is an input too"),
    "companion from standard input": (["--companion", "-"], "--companion is the name of a file; standard input (-) is not one"),
    "negative seed": (["--max-patches", 3, "--seed", -1], "--seed"),
}


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("which", BAD)
def test_bad_combinations_are_one_line(patchcli: Run, tmp_path: Path, which: str) -> None:
    options, message = BAD[which]
    with untouched(tmp_path):
        refused(patchcli("extract", "a.png", "-s", 8, *options, "-o", "out.npz"), message)


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--companion", "mask.png"], "--companion makes several stacks"),
        (["--shard-patches", 3], "--shard-patches makes several files"),
    ],
)
def test_standard_output_takes_one_stack(patchcli: Run, options: list[Any], message: str) -> None:
    ran = patchcli("extract", "a.png", "-s", 8, *options, "-o", "-")
    assert ran.returncode == 2
    assert ran.stdout == b""
    assert message in ran.stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_shards_get_their_names(tmp_path: Path, number: signal.Signals) -> None:
    """All of them get theirs or none does, and the process still ends by the signal."""
    write_image(tmp_path / "a.png", gray(200, 300))
    command = [sys.executable, "-m", "patchcli", "extract", "a.png", "-s", "12", "--shard-patches", "1", "-o", "s/x.npz"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while running.poll() is None and not list(tmp_path.glob("s/x-*")):
        time.sleep(0.001)
    running.send_signal(number)
    assert running.communicate()[1] == b""
    names = [path.name for path in (tmp_path / "s").iterdir()]
    assert len(names) == 17 * 25
    assert all(name.startswith("x-") for name in names)
    assert running.returncode in (-number, 0)  # 0: all was done before the signal came


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "a\0b", "\n", "\ud800", ".hidden", "a b.c", "ä"])
def test_any_text_becomes_the_name_of_one_file(name: str, tmp_path: Path) -> None:
    made = as_name(name)
    (tmp_path / made).touch()
    assert [path.name for path in tmp_path.iterdir()] == [made]
    assert not made.startswith(".")
    assert made == name or "_" in made


def test_relative_is_the_folder_below_the_one_that_was_given(patchcli: Run, tmp_path: Path) -> None:
    for name in ("in/a.png", "in/x/a.png", "in/x/y/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "masks" / name.removeprefix("in/")).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, gray())
        write_image(tmp_path / "masks" / name.removeprefix("in/"), gray())
    for folder in ("in", "in/", "./in//", str(tmp_path / "in")):
        call = ["extract", folder, "b.png", "-s", 8, "--companion", "masks/{relative}/{name}"]
        ran = patchcli(*call, "-o", "out/{relative}/{stem}.npz", "--overwrite")
        assert (ran.returncode, ran.stderr) == (0, b"")
        made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npz")}
        stems = ("a", "x/a", "x/y/a", "b")
        assert made == {f"{stem}.npz" for stem in stems} | {f"{stem}.companion.npz" for stem in stems}
    refused(patchcli("extract", "-", "-s", 8, "-o", "{relative}.npz"), "standard input has no name to fill a template with")


def test_templates() -> None:
    assert expand("{parent}/{stem}-{index}.{ext}", "a/b.c.png", 3) == "a/b.c-3.png"
    assert expand("{{{name}}}", "b.png", 0) == "{b.png}"
    assert expand("{parent}", "b.png", 0) == "."
    assert expand("{stem}-{page}", "b.png", 0, page=7) == "b-0007"
    assert expand("{page}", "b.png", 0, page=123456) == "123456"
    assert expand("{relative}/{category}", "a/b.png", 0, relative="a", category="cat") == "a/cat"
    with pytest.raises(UsageError, match=r"allowed are \{stem\}, \{name\}, \{ext\}, \{parent\}, \{index\}, and"):
        expand("{page}", "b.npz", 0)
    assert has_fields("{stem}")
    assert not has_fields("{{stem}}")
    for bad in ("{}", "{stem.x}", "{what}"):
        with pytest.raises(UsageError, match=r"allowed are \{stem\}"):
            expand(bad, "b.png", 0)
    for bad in ("{stem", "stem}"):
        with pytest.raises(UsageError, match=r"has a brace alone; write (\{\{|\}\}) for it"):
            expand(bad, "b.png", 0)
