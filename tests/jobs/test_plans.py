"""Dry runs: what they say comes true, nothing is written, and memory is near what the run takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli import read_stack
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.images import source
from patchcli.jobs import crop_plan, extract_plan, merge_plan
from patchcli.jobs.crop import crop_one
from patchcli.jobs.extract import extract_one
from patchcli.jobs.merge import merge_one
from patchcli.jobs.settings import CropSettings, ExtractSettings, MergeSettings, Reading
from patchcli.jobs.task import BoxRow, Companion, CropTask, ExtractTask, MergeTask, Planned, Said
from patchcli.patches.select import Choice
from tests.helpers.pictures import HELD, encoded, picture
from tests.helpers.runs import MEASURE, Run, gray, read_image, refused, write_image
from tests.helpers.strategies import grids, pad_modes

if TYPE_CHECKING:
    from collections.abc import Callable


def no_tick(_now: int, _total: int) -> None:
    """Nobody looks."""


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the sentence that it fails with."""
    try:
        return call()
    except PatchcliError as error:
        return str(error)


def planned_of(said: Said) -> Planned:
    assert said.planned is not None
    return said.planned


def uncovered(image: tuple[int, ...], origins: Any, patch: tuple[int, ...]) -> int:
    cover = np.zeros(image[:2], bool)
    for row, column in origins.tolist():
        cover[max(0, row) : max(0, row + patch[0]), max(0, column) : max(0, column + patch[1])] = True
    return int((~cover).sum())


# -- headers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "code", "channels"), [one for one in HELD if one[0] != "npy"])
def test_a_header_tells_what_decoding_gives(name: str, code: str, channels: int, tmp_path: Path) -> None:
    data = encoded(picture(code, channels), name)
    (tmp_path / "a").write_bytes(data)
    same_as_read(tmp_path / "a")


def same_as_read(path: Path, page: int = 0) -> None:
    for rotate in (True, False):
        with path.open("rb") as file:
            seen = source.open_image(file, page=page, rotate=rotate)
            image = seen.pixels()
        assert (seen.shape, seen.dtype, seen.nbytes) == (image.shape, image.dtype, image.nbytes)
        assert seen.metadata.channels == (*image.shape, 1)[2]
        assert seen.memory >= image.nbytes


def test_odd_headers(tmp_path: Path) -> None:
    pixels = gray(9, 14)
    colour = PIL.Image.fromarray(np.stack([pixels] * 3, -1))
    palette = colour.convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=4)
    for orientation in range(1, 9):
        exif = PIL.Image.Exif()
        exif[274] = orientation
        for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
            colour.save(tmp_path / name, exif=exif)
            same_as_read(tmp_path / name)
    palettes: tuple[tuple[str, PIL.Image.Image, dict[str, Any]], ...] = (
        ("p.png", palette, {}),
        ("p.png", palette, {"transparency": 1}),
        ("p.png", palette, {"bits": 2}),
        ("c.png", colour, {"transparency": (1, 1, 1)}),
        ("g.png", PIL.Image.fromarray(pixels), {"transparency": 3}),
        ("b.png", PIL.Image.fromarray(pixels > 9), {}),
        ("b.png", PIL.Image.fromarray(pixels > 9), {"transparency": 1}),
        ("b.bmp", PIL.Image.fromarray(pixels > 9), {}),
        ("p.bmp", palette, {}),
        ("p.gif", palette, {}),
        ("p.gif", palette, {"transparency": 1}),
        ("g.gif", PIL.Image.fromarray(pixels), {}),
    )
    for name, image, options in palettes:
        image.save(tmp_path / name, **options)
        same_as_read(tmp_path / name)
    frames = [PIL.Image.fromarray(gray(9, 14, seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "f.gif", save_all=True, append_images=frames[1:])
    for page in range(3):
        same_as_read(tmp_path / "f.gif", page)
    tags: tuple[dict[str, Any], ...] = (
        {"photometric": "miniswhite"},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"tile": (16, 16)},
    )
    for tag in tags:
        tifffile.imwrite(tmp_path / "o.tif", pixels.astype("u2"), **tag)
        same_as_read(tmp_path / "o.tif")
    tifffile.imwrite(tmp_path / "o.tif", np.stack([pixels] * 3), photometric="rgb", planarconfig="separate")
    same_as_read(tmp_path / "o.tif")
    tifffile.imwrite(tmp_path / "o.tif", pixels > 9)
    same_as_read(tmp_path / "o.tif")
    (tmp_path / "o.pgm").write_bytes(b"P2\n2 1\n300\n1 299\n")
    same_as_read(tmp_path / "o.pgm")


# -- plans come true ----------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(
    grid=grids(largest=10),
    pad_mode=pad_modes,
    layout=st.sampled_from(["stack", "grid", "rows", "columns"]),
    choice=st.builds(
        Choice, st.none() | st.integers(1, 9) | st.just(Fraction(1, 2)), st.integers(0, 5), st.sampled_from([0, 70.0])
    ),
    masked=st.sampled_from([False, False, True]),
    shards=st.sampled_from([None, 1, 2, 7]),
    compress=st.booleans(),
    channels=st.sampled_from([(), (3,)]),
    dtype=st.sampled_from(["u1", "u2", "f4"]),
    reading=st.sampled_from(
        [
            Reading(),
            Reading(),
            Reading(color="gray"),
            Reading(color="rgb"),
            Reading(channel=1),
            Reading(max_pixels=60),
            Reading(page=1),
        ]
    ),
    smaller=st.sampled_from([0, 0, 0, 1]),
    data=st.data(),
)
def test_extract_does_what_was_planned(
    grid: Grid,
    pad_mode: str,
    layout: str,
    choice: Choice,
    *,
    masked: bool,
    shards: int | None,
    compress: bool,
    channels: tuple[int, ...],
    dtype: str,
    reading: Reading,
    smaller: int,
    data: st.DataObject,
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    if layout == "grid":
        choice, masked, shards = Choice(), False, None
    height, width = grid.image
    chosen = ExtractSettings(
        patch=(grid.patch[0] + 5 * smaller, grid.patch[1]), stride=grid.stride, offset=grid.offset, edge=grid.edge,
        margin=grid.margin, pad_mode=pad_mode, pad_value=3 - 4 * smaller, layout=layout, choice=choice, shard_patches=shards,
        compress=compress, reading=reading,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "a.tif", rng.integers(0, 200, (height, width, *channels)).astype(dtype))
        write_image(place / "m.png", rng.integers(0, 2, (max(1, height - smaller), width)).astype(np.uint8))
        companions = (Companion(str(place / "m.png"), str(place / "m.npz")),)
        mask = str(place / "m.png") if masked else None
        task = ExtractTask(source=str(place / "a.tif"), target=str(place / "a.npz"), companions=companions, mask=mask)
        planned = outcome(lambda: planned_of(extract_plan.plan_one(task, chosen, no_tick)))
        assert sorted(path.name for path in place.iterdir()) == ["a.tif", "m.png"]
        said = outcome(lambda: extract_one(task, chosen, no_tick))
        if isinstance(planned, str) or isinstance(said, str):
            assert planned == said or "at least one is needed" in said
            return
        made = [path for path in place.iterdir() if path.suffix == ".npz"]
        stacks = [read_stack(path) for path in made if path.name.startswith("a")]
        count, size = sum(len(stack.patches) for stack in stacks), sum(path.stat().st_size for path in made)
        bare = uncovered(grid.image, np.concatenate([stack.origins for stack in stacks]), chosen.patch)
        whole = Grid(grid.image, chosen.patch, chosen.stride, offset=chosen.offset, edge=chosen.edge, margin=chosen.margin)
        every = planned.patches == whole.count
        assert planned.exact == (not masked and not choice.min_std and (shards is None or every))
        if not planned.exact:
            assert count <= planned.patches
            assert planned.uncovered <= bare
            assert size <= planned.bytes + 64 * len(made) * compress
            return
        assert planned.patches == count
        assert planned.uncovered == bare or (choice.most is not None and planned.uncovered <= bare)
        assert set(planned.outputs) == {str(path) for path in made}
        assert stacks[0].patches.shape[1:] == planned.shape
        if not compress:
            assert planned.bytes == size


@settings(max_examples=200)
@given(
    grid=grids(largest=10),
    layout=st.sampled_from(["stack", "rows", "columns"]),
    most=st.none() | st.integers(1, 9),
    shards=st.sampled_from([None, 2]),
    channels=st.sampled_from([(), (3,)]),
    rule=st.sampled_from(["mean", "sum", "median", "mode", "first", "hann"]),
    halo=st.integers(0, 2),
    fill=st.sampled_from([None, 0, 7, 0.5]),
    trim=st.booleans(),
    dtype=st.sampled_from(["keep", "float32", "uint8"]),
    suffix=st.sampled_from([".npy", ".tif", ".png", ".pgm"]),
    unit=st.booleans(),
    most_pixels=st.sampled_from([0, 0, 0, 50]),
)
def test_merge_does_what_was_planned(
    grid: Grid,
    layout: str,
    most: int | None,
    shards: int | None,
    channels: tuple[int, ...],
    rule: str,
    halo: int,
    fill: float | None,
    dtype: str,
    suffix: str,
    most_pixels: int,
    *,
    trim: bool,
    unit: bool,
) -> None:
    extracting = ExtractSettings(
        patch=grid.patch, stride=grid.stride, offset=grid.offset, edge=grid.edge, margin=grid.margin, layout=layout,
        choice=Choice(most), shard_patches=shards,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "a.tif", np.random.default_rng(0).integers(0, 200, (*grid.image, *channels)).astype("u1"))
        extract_one(ExtractTask(source=str(place / "a.tif"), target=str(place / "a.npz")), extracting, no_tick)
        first, *others = sorted(map(str, place.glob("a*.npz")))
        task = MergeTask(source=first, target=str(place / f"b{suffix}"), shards=tuple(others), cover=str(place / "c.npy"))
        merging = MergeSettings(
            reduce="mean" if rule == "hann" else rule, window="hann" if rule == "hann" else "uniform", dtype=dtype,
            unit_range=unit, fill=fill, trim=trim, max_pixels=most_pixels, halo=halo,
        )  # fmt: skip
        before = sorted(path.name for path in place.iterdir())
        planned = outcome(lambda: planned_of(merge_plan.plan_one(task, merging, no_tick)))
        assert sorted(path.name for path in place.iterdir()) == before
        said = outcome(lambda: merge_one(task, merging, no_tick))
        if isinstance(said, str) or isinstance(planned, str):
            assert planned == said
            return
        image = np.load(place / "b.npy") if suffix == ".npy" else read_image(place / f"b{suffix}")
        cover = np.load(place / "c.npy")
        assert planned.shape == image.shape
        assert planned.bytes == image.nbytes + cover.nbytes
        assert planned.uncovered == (cover == 0).sum() or rule == "hann"
        assert planned.outputs == (task.target, task.cover)


@settings(max_examples=200)
@given(
    box=st.tuples(*[st.floats(-3, 12)] * 2, *[st.floats(-12, 12)] * 2),
    size=st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    resampling=st.sampled_from(["nearest", "bilinear", "area", "lanczos"]),
    outside=st.sampled_from(["zeros", "error"]),
    name=st.sampled_from(["a.tif", "a.jpg", "a.npy"]),
    dtype=st.sampled_from(["u1", "f4"]),
    normalized=st.booleans(),
)
def test_crop_does_what_was_planned(
    box: tuple[float, float, float, float],
    size: tuple[int, int] | None,
    resampling: str,
    outside: str,
    name: str,
    dtype: str,
    *,
    normalized: bool,
) -> None:
    cropping = CropSettings(resampling=resampling, outside=outside, reading=Reading(max_pixels=300))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "i.tif", gray(10, 12, dtype))
        rows = (BoxRow(box, normalized, size, str(place / name)),)
        task = CropTask(source=str(place / "i.tif"), target=str(place / name), boxes=rows)
        planned = outcome(lambda: planned_of(crop_plan.plan_one(task, cropping, no_tick)))
        said = outcome(lambda: crop_one(task, cropping, no_tick))
        if isinstance(said, str) or isinstance(planned, str):
            assert planned == said
            return
        image = np.load(place / name) if name == "a.npy" else read_image(place / name)
        assert (planned.shape, planned.bytes) == (image.shape, image.nbytes)


# -- processes ----------------------------------------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


def test_nothing_is_written_and_failures_are_foreseen(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    write_image(tmp_path / "small.png", gray(4, 5))
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert patchcli("extract", "a.png", "-s", 8, "--edge", "drop", "--stride", 7, "-o", "s.npz").returncode == 0
    (tmp_path / "boxes.csv").write_text(
        "input,x,y,width,height\na.png,1,2,5,5\na.png,3,4,5,5\nsmall.png,0,0,5,5\nsmall.png,0,0,5,x\n"
    )
    calls: list[tuple[list[Any], int]] = [
        (["extract", "a.png", "small.png", "bad.png", "gone.png", "-s", 8, "-d", "out"], 4),
        (["extract", "a.png", "-s", 8, "-o", "-"], 1),
        (["extract", "a.png", "-s", 8, "--companion", "small.png", "-o", "x.npz"], 1),
        (["extract", "a.png", "-s", 8, "--shard-patches", 3, "-o", "x.npz"], 1),
        (["extract", "a.png", "-s", 8, "--margin", 9, "--max-pixels", 2000, "-o", "x.npz"], 1),
        (["merge", "s.npz", "-o", "x/y.png"], 1),
        (["merge", "s.npz", "-o", "x.png", "--fill", 3, "--cover", "c.png"], 1),
        (["merge", "s.npz", "-o", "x.png", "--compare", "small.png"], 1),
        (["merge", "bad.png", "-o", "x.png"], 1),
        (["crop", "a.png", "small.png", "--box", 3, 4, 5, 6, "-d", "out", "--outside", "error"], 2),
        (["crop", "--boxes", "boxes.csv", "-o", "{stem}-{index}.png"], 2),
        (["crop", "--boxes", "boxes.csv", "-o", "all.npz"], 2),
        (["crop", "a.png", "--fit", "small.png", "--fit-report", "f.jsonl", "-o", "x.png"], 1),
    ]
    before = tree(tmp_path)
    for call, inputs in calls:
        done = patchcli(*call, "--dry-run")
        assert tree(tmp_path) == before, call
        lines = done.stdout.decode().splitlines()
        if call[1] == "--boxes":
            assert lines[0].startswith("a.png -> ")
            assert "2 crops of width=5 height=5" in lines[0]
        if "--fit" in call:
            assert "its box to be found" in lines[0]
            continue
        run = patchcli(*call)
        assert (done.returncode, done.stderr) == (run.returncode, run.stderr), call
        good = inputs - run.stderr.count(b"\n") if call[1] != "--boxes" else inputs
        assert len(lines) == good + (inputs > 1), call
        for path in [path for path in sorted(tmp_path.rglob("*"), reverse=True) if str(path) not in before]:
            path.rmdir() if path.is_dir() else path.unlink()
        before = tree(tmp_path)


def test_lines_and_records(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    write_image(tmp_path / "b.png", gray(20, 20))
    call = ["extract", "a.png", "b.png", "-s", 8, "-d", "out"]
    done = patchcli(*call, "-n", "--report", "r.jsonl")
    assert done.stderr == b""
    one, two, both = done.stdout.decode().splitlines()
    assert one.startswith("a.png -> out/a.png.npz: 35 patches of width=8 height=8, ")
    assert one.endswith(" MB memory, 0 pixels uncovered")
    assert two.startswith("b.png -> out/b.png.npz: 9 patches")
    assert both.startswith("2 inputs: 44 patches, ")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [record.get("status") for record in records] == ["planned", "planned", None]
    assert not (tmp_path / "out").exists()
    assert patchcli(*call).returncode == 0
    sizes = [(tmp_path / "out" / name).stat().st_size for name in ("a.png.npz", "b.png.npz")]
    assert [record["bytes"] for record in records[:2]] == sizes
    summary = records[2]["summary"]
    assert {key: summary[key] for key in ("inputs", "done", "planned", "failed", "left", "patches", "bytes")} == {
        "inputs": 2, "done": 0, "planned": 2, "failed": 0, "left": 0, "patches": 44, "bytes": sum(sizes)
    }  # fmt: skip
    refused(patchcli(*call, "-n"), "out/a.png.npz: already exists")
    alone = patchcli(*call, "-n", "--report", "-", "--overwrite").stdout.decode().splitlines()
    assert [json.loads(line).get("patches") for line in alone] == [35, 9, None]
    most = patchcli("extract", "a.png", "-s", 8, "--min-std", 1, "-n", "-o", "x.npz").stdout
    assert b"at most 35 patches" in most
    assert b"at least 0 pixels" in most


def test_what_a_fit_needs_is_loaded_only_when_asked_for() -> None:
    program = "import sys; from patchcli.cli import crop; print([n for n in sys.modules if n.endswith(('.fit', '.gradient'))])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


# -- memory -------------------------------------------------------------------------------------------------------------------

LEAST, MOST = 0.8, 1.6


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of some megabytes, and stacks of them."""
    place = tmp_path_factory.mktemp("large")
    y, x = np.mgrid[:3000, :3000]
    smooth = np.sin(x / 50) + np.cos(y / 70) + 2 + np.random.default_rng(0).normal(0, 0.1, x.shape)
    small = np.clip(smooth * 60, 0, 255).astype(np.uint8)
    write_image(place / "gray.tif", small)
    write_image(place / "colour.ppm", np.stack([small, small[::-1], small.T], -1))
    write_image(place / "deep.pgm", np.clip(smooth * 15000, 0, 65535).astype(np.uint16))
    tiles = np.tile(np.stack([small, small[::-1], small.T], -1), (2, 2, 1))[:5000, :5000]
    tifffile.imwrite(place / "tiles.tif", tiles, photometric="rgb", tile=(256, 256), compression="zlib")
    write_image(place / "float.tif", smooth.astype(np.float32))
    write_image(place / "part.tif", np.ascontiguousarray(smooth[900:1400, 700:1200], np.float32))
    PIL.Image.fromarray(np.stack([small] * 3, -1)).save(place / "photo.jpg")
    for name, image, count in (("few", "photo.jpg", 90), ("many", "photo.jpg", 400), ("windows", "tiles.tif", 400)):
        lines = [f"{image},{5 * number},{3 * number},400,300\n" for number in range(count)]
        (place / f"{name}.csv").write_text("".join(["input,x,y,width,height\n", *lines]))
    for name, *options in (
        ("half", "gray.tif", "-s", 64, "--overlap", "50%"),
        ("floats", "float.tif", "-s", 64, "--overlap", "50%"),
        ("columns", "float.tif", "-s", 16, "--layout", "columns"),
        ("some", "gray.tif", "-s", 64, "--overlap", "50%", "--max-patches", "90%"),
        ("large", "tiles.tif", "-s", 64),
        ("margin", "gray.tif", "-s", 64, "--overlap", "50%", "--margin", 16),
    ):
        command = ["extract", *options, "-o", f"{name}.npz"]
        subprocess.run([sys.executable, "-m", "patchcli", *map(str, command)], cwd=place, check=True)
    return place


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
@pytest.mark.parametrize(
    "call",
    [
        "extract gray.tif -s 64",
        "extract gray.tif -s 8 --stride 2",
        "extract colour.ppm -s 64 --margin 8",
        "extract colour.ppm -s 64 --gray",
        "extract photo.jpg -s 64",
        "extract deep.pgm -s 300 --edge pad",
        "extract float.tif -s 64 --margin 8 --shard-patches 500",
        "extract float.tif -s 8 --layout columns",
        "extract gray.tif -s 16 --min-std 1",
        "extract gray.tif -s 4 --stride 2 --max-patches 50%",
        "extract gray.tif -s 64 --mask gray.tif --min-cover 1% --companion colour.ppm",
        "extract gray.tif -s 256 --compress",
        "merge half.npz",
        "merge half.npz --window hann",
        "merge half.npz --reduce median",
        "merge half.npz --reduce mode --halo 8 --trim",
        "merge margin.npz --halo 8",
        "merge margin.npz --halo 31 --fill 0",
        "merge margin.npz --halo 8 --window hann",
        "merge columns.npz --halo 7 --fill 0 --reduce median",
        "merge margin.npz --reduce mode",
        "merge half.npz --reduce first --dtype float32",
        "merge half.npz --trim --cover cover.tif",
        "merge half.npz --cover cover.jpg --compare gray.tif",
        "merge large.npz --compare tiles.tif",
        "merge floats.npz --compare float.tif",
        "merge floats.npz",
        "merge columns.npz",
        "merge some.npz --fill 0",
        "merge some.npz --fill 0 --window gaussian",
        "map gray.tif -s 64 --overlap 25% --func patchcli.functions:identity",
        "map gray.tif -s 8 --stride 2 --func patchcli.functions:identity",
        "map float.tif -s 64 --overlap 50% --margin 8 --window hann --func patchcli.functions:identity",
        "map colour.ppm -s 32 --overlap 50% --reduce median --func patchcli.functions:identity",
        "map photo.jpg -s 64 --func patchcli.functions:identity --batch 2000",
        "map gray.tif -s 64 --overlap 50% --max-patches 90% --fill 0 --func patchcli.functions:identity",
        "map tiles.tif -s 300 --halo 10 --margin 10 --stride 280 --exec cat",
        "crop gray.tif --box 10.5 10 2900 2900 --size 200 --resampling lanczos",
        "crop colour.ppm --box 10.5 10 2900 2900 --size 2000",
        "crop float.tif --box 10 10 2000 2000",
        "crop tiles.tif --box 700 900 512 512",
        "crop tiles.tif --box 0 0 5000 5000 --size 500 --resampling area",
        "crop tiles.tif --box 10.5 10 4900 4900 --size 4000",
        "crop float.tif --fit part.tif --box 690 905 500 500",
        "crop --boxes few.csv",
        "crop --boxes few.csv --size 300x400",
        "crop --boxes many.csv",
        "crop --boxes many.csv --size 300x400",
        "crop --boxes windows.csv",
    ],
)
def test_memory_is_near_what_a_run_takes(call: str, large: Path) -> None:
    command = [*call.split(), "-o", "out.npz" if call.startswith(("extract", "crop --boxes")) else "out.tif", "--overwrite"]
    plan = [sys.executable, "-m", "patchcli", *command, "-n", "--report", "plan.jsonl"]
    subprocess.run(plan, cwd=large, check=True, capture_output=True)
    planned = json.loads((large / "plan.jsonl").read_text().splitlines()[0])["memory"]
    measured = [sys.executable, "-S", "-c", MEASURE, sys.executable, "-m", "patchcli", *command]
    done = subprocess.run(measured, cwd=large, check=True, capture_output=True, text=True)
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert code == 0
    assert LEAST * peak * 1024 < planned < MOST * peak * 1024
