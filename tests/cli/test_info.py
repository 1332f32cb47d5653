"""``patchcli info``: what headers say of every format and layout, what a check finds, how it speaks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.geometry.placement import Placement
from patchcli.images.formats import FORMATS, WRITABLE
from patchcli.images.metadata import Metadata
from patchcli.images.source import open_image
from patchcli.jobs.info import facts_of
from patchcli.jobs.info_fact import Fact, for_people
from patchcli.jobs.info_image import georeference_of, metadata_facts, other_pages, place_in_words, profile_name
from patchcli.stacks.file import Stack, read_stack, write_stack
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.layouts import LAYOUTS
from tests.helpers.pictures import picture
from tests.helpers.references import cover
from tests.helpers.runs import Run, gray, refused, write_image

IMAGE_KEYS = [
    *("file", "kind", "format", "bytes", "width", "height", "channels", "dtype", "rotated", "pages", "other_pages", "axes"),
    *("read", "compression", "metadata", "hints"),
]
METADATA_KEYS = [
    *("photometric", "extrasamples", "icc", "resolution", "georeference", "nodata", "pixel_size", "colours", "orientation"),
]
STACK_KEYS = [
    *("file", "kind", "bytes", "version", "program", "patches", "patch", "channels_first", "cut_as", "grid", "cover", "layout"),
    *("pixel_order", "compressed", "shard", "source", "made_by", "image", "labels", "metadata"),
]
GRID_KEYS = ["patches", "rows", "columns", "stride", "overlap", "offset", "edge", "margin", "pad_mode", "pad_value"]


def told(ran: subprocess.CompletedProcess[bytes], code: int = 0) -> list[dict[str, Any]]:
    assert ran.returncode == code, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def described(path: Path, *, check: bool = False) -> dict[str, Any]:
    """What is told of a file, without a process."""
    fields: dict[str, Any] = {}
    for fact in facts_of(str(path), check=check, max_pixels=0):
        fields |= fact.fields
    return fields


def test_every_format_that_is_written_is_told_from_its_header(patchcli: Run, tmp_path: Path) -> None:
    expected = {}
    for name in WRITABLE:
        for code, channels in FORMATS[name].holds.items():
            if name in {"npy", "pnm"}:
                continue
            for count in {min(channels), min(max(channels), 5)}:
                path = f"{code}-{count}{FORMATS[name].suffixes[0]}"
                image = picture(code, count)
                write_image(tmp_path / path, image)
                expected[path] = (name, 17, 13, count, image.dtype.name)
    got = {
        one["file"]: (one["format"], one["width"], one["height"], one["channels"], one["dtype"])
        for one in told(patchcli("info", "--json", *expected))
    }
    assert got == expected
    assert {one["check"] for one in told(patchcli("info", "--json", "--check", *expected))} == {"ok"}


def test_keys_of_an_image_are_fixed(patchcli: Run, tmp_path: Path) -> None:
    size = write_image(tmp_path / "a.png", gray(20, 30)).stat().st_size
    (one,) = told(patchcli("info", "--json", "a.png"))
    assert list(one) == IMAGE_KEYS
    assert list(one["metadata"]) == METADATA_KEYS
    assert one["read"] == {"by": "whole", "width": 30, "height": 20}
    assert (one["kind"], one["format"], one["bytes"], one["pages"], one["rotated"]) == ("image", "png", size, 1, False)
    assert list(told(patchcli("info", "--json", "--check", "a.png"))[0]) == [*IMAGE_KEYS, "check"]


def test_people_are_told_a_line_for_each_fact(patchcli: Run, tmp_path: Path) -> None:
    size = write_image(tmp_path / "a.png", picture("u1", 4)).stat().st_size
    ran = patchcli("info", "a.png", "--check")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.decode().splitlines() == [
        "a.png",
        f"  format   PNG, {size} bytes",
        "  size     width=17 height=13, 4 channels, uint8",
        "  read     whole",
        "  samples  rgb + unassalpha",
        "  check    ok",
    ]


def test_a_tiff_is_told_with_its_compression(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", gray(64, 96), tile=(32, 48), compression="zlib")
    one = described(tmp_path / "a.tif")
    assert one["compression"] == "adobe_deflate"
    if one["read"]["by"] != "whole":
        assert one["read"] == {"by": "tiles", "width": 48, "height": 32}


def test_a_turned_image_is_told_upright(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", gray(20, 30), extratags=[(274, 3, 1, 6, True)])
    one = described(tmp_path / "a.tif")
    assert (one["width"], one["height"], one["rotated"]) == (20, 30, True)


def cut(patchcli: Run, *options: object) -> None:
    ran = patchcli("extract", "a.png", "-s", "8x6", "--stride", "4x5", "--overwrite", *options)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stack_of_each_layout(patchcli: Run, tmp_path: Path, layout: str) -> None:
    write_image(tmp_path / "a.png", picture("u2", 3, 20, 31))
    options = ["--compress"] * (layout == "rows")
    cut(patchcli, "-o", "a.npz", "--layout", layout, "--edge", "pad", "--margin", 3, "--pad-mode", "constant", *options)
    plain, checked = (told(patchcli("info", "a.npz", "--json", *more))[0] for more in ([], ["--check"]))
    grid = Grid((20, 31), (6, 8), (5, 4), edge="pad", margin=3)
    counts = grid.cover()
    assert list(plain) == STACK_KEYS
    assert list(plain["grid"]) == GRID_KEYS
    assert checked == {**plain, "origins": {"off_grid": 0, "repeated": 0}, "nonfinite": 0, "check": "ok"}
    assert plain["patch"] == plain["cut_as"] == {"width": 8, "height": 6, "channels": 3, "dtype": "uint16"}
    assert plain["image"] == {"width": 31, "height": 20, "channels": 3, "dtype": "uint16"}
    assert (plain["patches"], plain["grid"]["rows"], plain["grid"]["columns"]) == (grid.count, *grid.shape)
    assert (plain["grid"]["stride"], plain["grid"]["overlap"]) == ({"x": 4, "y": 5}, {"x": 4, "y": 1})
    assert plain["cover"] == {"least": counts.min(), "most": counts.max(), "uncovered": 0}
    assert (plain["layout"], plain["compressed"], plain["shard"]) == (layout, layout == "rows", None)
    assert plain["source"] == {"name": "a.png", "bytes": (tmp_path / "a.png").stat().st_size, "page": 0, "rotated": False}
    assert plain["made_by"]["command"] == "extract"
    assert plain["made_by"]["settings"]["--margin"] == 3
    assert plain["metadata"]["photometric"] == "rgb"


def test_shards_and_chosen_patches(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    cut(patchcli, "-o", "a.npz", "--shard-patches", 12)
    cut(patchcli, "-o", "b.npz", "--max-patches", 7)
    names = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert len(names) == 4
    first, second, third, chosen = told(patchcli("info", "--json", *names))
    assert [one["shard"] for one in (first, second, third)] == [{"number": number, "count": 3} for number in range(3)]
    assert chosen["cover"] is None
    assert (chosen["patches"], chosen["grid"]["patches"]) == (7, 28)
    text = patchcli("info", names[0], "b.npz").stdout.decode()
    assert "  shard     00000-of-00003\n" in text
    assert "  patches   7 of the 28 of its grid, width=8 height=6, 1 channel, uint8\n" in text
    assert "  cover     not known before origins are read; --check does\n" in text
    (checked,) = told(patchcli("info", "--json", "--check", "b.npz"))
    origins = read_stack(tmp_path / "b.npz").origins
    counts = cover(origins, (6, 8), (20, 31))
    assert checked["cover"] == {"least": counts.min(), "most": counts.max(), "uncovered": (counts == 0).sum()}


def test_cover_is_counted_some_lines_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchcli.jobs.info_stack.COUNTED_PIXELS", 70)
    origins = np.random.default_rng(0).integers(0, 20, (30, 2))
    stack = Stack(np.zeros((30, 4, 6), np.uint8), origins, Meta(Grid((25, 33), (4, 6)), (), np.dtype("u1")))
    write_stack(tmp_path / "a.npz", stack)
    counts = cover(origins, (4, 6), (25, 33))
    expected = {"least": counts.min(), "most": counts.max(), "uncovered": (counts == 0).sum()}
    assert described(tmp_path / "a.npz", check=True)["cover"] == expected


def test_origins_that_are_not_those_of_the_grid_are_found_by_a_check(tmp_path: Path) -> None:
    grid = Grid((25, 33), (5, 11))
    origins = np.full((grid.count, 2), 3)
    write_stack(tmp_path / "a.npz", Stack(np.zeros((grid.count, 5, 11), np.uint8), origins, Meta(grid, (), np.dtype("u1"))))
    assert described(tmp_path / "a.npz")["cover"] == {"least": 1, "most": 1, "uncovered": 0}
    checked = described(tmp_path / "a.npz", check=True)
    assert checked["cover"] == {"least": 0, "most": 15, "uncovered": 25 * 33 - 55}
    assert checked["origins"] == {"off_grid": 15, "repeated": 14}


def test_origins_of_other_places_are_counted_by_a_check(patchcli: Run, tmp_path: Path) -> None:
    grid = Grid((20, 31), (5, 8), (3, 4), offset=(1, 2), margin=2)
    meta = Meta(grid, (), np.dtype("u1"))
    whole = grid.origins()
    odd, fewer = whole.copy(), whole[[5, 3, 4, 3, 5, 5]]
    odd[1] += (0, 1)
    odd[2] = odd[3]
    for origins, off, repeated in (
        (whole, 0, 0),
        (whole[::-1], 0, 0),
        (odd, 1, 1),
        (fewer, 0, 3),
        (np.concatenate([whole, whole]), 0, len(whole)),
    ):
        write_stack(tmp_path / "a.npz", Stack(np.zeros((len(origins), 5, 8), np.uint8), origins, meta))
        assert described(tmp_path / "a.npz", check=True)["origins"] == {"off_grid": off, "repeated": repeated}
    said = patchcli("info", "--check", "a.npz").stdout.decode()
    assert f"  patches   {2 * len(whole)} and not the {len(whole)} of its grid, width=8 height=5, 1 channel, uint8\n" in said
    assert f"  origins   {len(whole)} repeated\n" in said


def test_a_check_does_not_hold_the_origins_of_a_whole_grid(
    patchcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    cut(patchcli, "-o", "a.npz")
    for held in ("starts", "origins"):
        monkeypatch.setattr(Placement, held, None)
    assert described(tmp_path / "a.npz", check=True)["origins"] == {"off_grid": 0, "repeated": 0}


@pytest.mark.parametrize("damage", ["name", "crc", "end"])
def test_a_zip_file_that_contradicts_itself_fails_a_check(patchcli: Run, tmp_path: Path, damage: str) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    cut(patchcli, "-o", "a.npz")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    place = data.find(b"patches.npy")
    said = "member 'patches' is called 'pauches.npy' in the header of its own; the file is damaged"
    if damage == "name":
        data[place + 2] ^= 1
    elif damage == "crc":
        data[place - 16] ^= 1
        said = "member 'patches.npy' has another header than the directory says"
    else:
        data += b"\n"
        said = "has bytes behind its end; the file is damaged"
    (tmp_path / "a.npz").write_bytes(data)
    refused(patchcli("info", "--check", "a.npz"), f"a.npz: {said}", 1)


@pytest.mark.parametrize("damage", ["swapped", "format", "margin"])
def test_a_check_refuses_a_damaged_meta_as_merge_does(patchcli: Run, tmp_path: Path, damage: str) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    cut(patchcli, "-o", "a.npz")
    members = dict(np.load(tmp_path / "a.npz"))
    if damage == "swapped":
        members["meta"], members["origins"] = members["origins"], members["meta"]
    else:
        was, now = ('"patchcli.stack"', "1") if damage == "format" else ('"margin": 0', '"margin": 1000000')
        assert was in str(members["meta"])
        members["meta"] = np.array(str(members["meta"]).replace(was, now))
    np.savez(tmp_path / "a.npz", **members)
    said = patchcli("merge", "a.npz", "-o", "b.png", "--max-pixels", 0).stderr.decode().removeprefix("patchcli: ").rstrip("\n")
    assert ("canvas" if damage == "margin" else "meta") in said
    refused(patchcli("info", "--check", "a.npz"), said, 1)


def test_processed_patches_are_told_beside_those_that_were_cut(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    cut(patchcli, "-o", "a.npz")
    stack = np.load(tmp_path / "a.npz")
    patches = np.full((28, 12, 16, 3), 0.5, np.float32)
    patches[3, 1, 1, 1], patches[5, 2, 2, 0] = np.nan, np.inf
    np.savez(tmp_path / "b.npz", **{**stack, "patches": patches})
    lines = patchcli("info", "--check", "b.npz").stdout.decode().splitlines()
    assert "  patches     28, width=16 height=12, 3 channels, float32" in lines
    assert "  cut as      width=8 height=6, 1 channel, uint8" in lines
    assert "  not finite  2 values" in lines
    np.savez(tmp_path / "b.npz", **{**stack, "patches": np.zeros((28, 11, 16))})  # no whole factor on both axes
    assert described(tmp_path / "b.npz")["patch"]["height"] == 11
    refused(patchcli("info", "--check", "b.npz"), "b.npz: patches have width=16 height=11 where", 1)


def test_crops_and_arrays(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(20, 31))
    boxes = b"x,y,w,h\n1,1,8,8\n3.5,3,8,8\n"
    assert patchcli("crop", "a.png", "--boxes", "-", "--size", 8, "-o", "crops.npz", stdin=boxes).returncode == 0
    np.savez(tmp_path / "arrays.npz", one=np.zeros((3, 4), np.int16), two=np.float32(1))
    np.save(tmp_path / "four.npy", np.zeros((2, 3, 4, 5)))
    crops, arrays, four = told(patchcli("info", "--json", "--check", "crops.npz", "arrays.npz", "four.npy"))
    assert list(crops) == [
        *("file", "kind", "bytes", "version", "crops", "images", "crop", "resampling", "align_corners", "outside", "check"),
    ]
    assert (crops["kind"], crops["crops"], crops["images"], crops["crop"]["width"]) == ("crops", 2, 1, 8)
    assert list(arrays) == ["file", "kind", "bytes", "arrays", "check"]
    assert arrays["arrays"] == [
        {"name": "one", "shape": [3, 4], "dtype": "int16"},
        {"name": "two", "shape": [], "dtype": "float32"},
    ]
    assert four["arrays"] == [{"name": None, "shape": [2, 3, 4, 5], "dtype": "float64"}]
    text = patchcli("info", "arrays.npz", "four.npy", "crops.npz").stdout.decode()
    assert "  array   one: shape (3, 4), int16\n" in text
    assert "  array   shape (2, 3, 4, 5), float64\n" in text
    assert "  crops      2 of 1 image, width=8 height=8, 1 channel, uint8\n" in text


def test_a_file_that_cannot_be_read_is_one_line_and_the_others_go_on(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in/a.png", gray())
    (tmp_path / "in/b.png").write_bytes(b"no image")
    write_image(tmp_path / "in/c.png", gray())
    ran = patchcli("info", "in")
    refused(ran, "in/b.png: is text, not an image that patchcli reads", 1)
    assert [line for line in ran.stdout.decode().splitlines() if line[0] != " "] == ["in/a.png", "in/c.png"]
    good, bad, last = told(patchcli("info", "in", "--json"), 1)
    assert (good["file"], bad["file"], last["file"]) == ("in/a.png", "in/b.png", "in/c.png")
    assert list(bad) == ["file", "error"]
    assert b"Traceback" in patchcli("info", "in", "--debug").stderr
    refused(patchcli("info", "missing.png"), "missing.png: cannot be read: no such file or directory", 1)
    (tmp_path / "empty").mkdir()
    refused(patchcli("info", "empty"), "empty: holds no file to read", 1)
    assert b"empty: holds no file to read" in patchcli("info", "empty", "in/a.png").stderr
    assert patchcli("info", "empty", "in/a.png", "-q").stderr == b""


@pytest.mark.slow
def test_every_byte_of_a_stack_that_counts_is_checked(tmp_path: Path) -> None:
    grid = Grid((4, 5), (3, 3), 2, edge="pad")
    patches = np.arange(grid.count * 9, dtype=np.uint16).reshape(-1, 3, 3)
    held = io.BytesIO()
    write_stack(held, Stack(patches, grid.origins(), Meta(grid, (), patches.dtype, source=Source("a.png"))))
    whole, path = held.getvalue(), tmp_path / "a.npz"
    passed = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            if described(path, check=True)["kind"] == "array":  # where the name meta is another
                continue
        except PatchcliError:
            continue
        passed += 1
        stack = read_stack(path)  # what is not found changes nothing
        assert np.array_equal(stack.patches, patches)
        assert np.array_equal(stack.origins, grid.origins())
        assert stack.meta.source.name == "a.png"
    assert passed < 300  # dates, modes and the like of the zip file


def test_what_headers_do_not_show_is_found_by_a_check(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(200, 300))
    cut(patchcli, "-o", "a.npz")
    tifffile.imwrite(tmp_path / "a.tif", gray(256, 256), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        places = {"a.npz": -2000, "a.tif": tiff.pages[0].dataoffsets[5] + 40}
    for name, place in places.items():
        data = bytearray((tmp_path / name).read_bytes())
        data[place : place + 60] = bytes(60)
        (tmp_path / name).write_bytes(data)
    assert len(told(patchcli("info", "--json", "a.npz", "a.tif"))) == 2
    ran = patchcli("info", "--check", "a.npz", "a.tif")
    assert (ran.returncode, ran.stdout) == (1, b"")
    first, second = ran.stderr.decode().splitlines()
    assert first.startswith("patchcli: a.npz: member 'patches' is damaged: its checksum is ")
    assert second.startswith("patchcli: a.tif: is a damaged or unsupported TIFF image: ")


@pytest.mark.parametrize("tile", range(16))
def test_each_tile_is_checked_band_by_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr("patchcli.jobs.reading.DECODED_BYTES", 100)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, gray(250, 250), tile=(64, 64), compression="zlib")
    assert described(path, check=True)["check"] == "ok"
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].dataoffsets[tile] + 40
    data = bytearray(path.read_bytes())
    data[place : place + 60] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(PatchcliError, match="damaged"):
        described(path, check=True)


def test_pages_unlike_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for height, width, kind in [
            (8, 9, "u1"),
            (8, 9, "u1"),
            (5, 9, "u1"),
            (5, 9, "u1"),
            (8, 9, "u2"),
            (8, 9, "u1"),
            (8, 9, "c8"),
        ]:
            tiff.write(np.zeros((height, width), kind), metadata=None)
    with path.open("rb") as file:
        first = open_image(file)
        runs = list(other_pages(file, first, 7))
    assert [(run["first"], run["last"]) for run in runs] == [(2, 3), (4, 4), (6, 6)]
    assert runs[0] == {"first": 2, "last": 3, "width": 9, "height": 5, "channels": 1, "dtype": "uint8"}
    assert "complex64" in runs[2]["error"]


def test_a_truncated_tile_is_named(patchcli: Run, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", gray(256, 256), tile=(64, 64), compression="zlib")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) - 3000])
    refused(patchcli("info", "--check", "a.tif"), "a.tif: is truncated or damaged: strip or tile 15 of 16 ", 1)


def test_an_image_that_is_decoded_whole_is_bound_by_max_pixels(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(20, 30))
    assert told(patchcli("info", "--json", "--max-pixels", 599, "a.png"))[0]["width"] == 30
    refused(patchcli("info", "--check", "--max-pixels", 599, "a.png"), "a.png: has 600 pixels (width=30 height=20)", 1)
    assert patchcli("info", "--check", "--max-pixels", 600, "a.png").returncode == 0


def test_standard_input_and_lists(patchcli: Run, tmp_path: Path) -> None:
    data = write_image(tmp_path / "a.png", gray(20, 30)).read_bytes()
    (one,) = told(patchcli("info", "--json", "-", stdin=data))
    assert (one["file"], one["bytes"]) == ("-", len(data))
    assert patchcli("info", "-", stdin=data).stdout.startswith(b"standard input\n  format")
    odd = "b\nc\x1b[1m.png"
    write_image(tmp_path / odd, gray(20, 30))
    text = patchcli("info", "--files-from", "-", "-0", stdin=f"a.png\0{odd}\0".encode()).stdout
    assert b"\na.png\n" in b"\n" + text
    assert b"\nb\\nc\\x1b[1m.png\n" in text
    assert told(patchcli("info", "--json", odd))[0]["file"] == odd


def test_calls_that_cannot_work(patchcli: Run, tmp_path: Path) -> None:
    refused(patchcli("info"), "no INPUTS; give files, folders, --files-from, or - for standard input")
    refused(patchcli("info", "-q", "-v", "a.png"), "use only one of -q and -v")
    refused(patchcli("info", "-0", "a.png"), "-0/--null is for --files-from")
    refused(patchcli("info", "-o", "b", "a.png"), "No such option '-o'")
    write_image(tmp_path / "a.png", gray())
    command = [sys.executable, "-m", "patchcli", "info", "a.png"]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (3, 1)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, *["a.png"] * 3000], cwd=tmp_path, **pipes) as reading:
        assert reading.stdout
        assert reading.stderr
        reading.stdout.readline()
        reading.stdout.close()
        assert reading.stderr.read() == b""
    assert reading.returncode == 141


def test_verbose_says_what_was_passed_over_and_how_long_it_took(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in/a.png", gray())
    (tmp_path / "in/b.txt").write_text("b")
    said = patchcli("info", "in", "-v", "--check").stderr.decode().splitlines()
    assert said[0] == "1 file of folders passed over: 1 .txt"
    assert said[1].startswith("in/a.png: checked (0.")
    assert said[1].endswith(" MB/s)")
    assert patchcli("info", "in", "-v").stderr.decode().splitlines()[1].startswith("in/a.png: headers read (0.")


def test_what_comes_first_is_told_first(tmp_path: Path) -> None:
    data = write_image(tmp_path / "a.png", gray()).read_bytes()
    (tmp_path / "in").mkdir()
    for number in range(2000):
        (tmp_path / f"in/{number:04}.png").write_bytes(data)
    start = time.monotonic()
    command = [sys.executable, "-m", "patchcli", "info", "in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as reading:
        assert reading.stdout
        assert reading.stdout.readline() == b"in/0000.png\n"
        first = time.monotonic() - start
        assert reading.stdout.read().count(b".png\n") == 1999
    assert reading.returncode == 0
    assert time.monotonic() - start < first + 10  # 0.2 s on a quiet machine


def profile(tag: bytes) -> bytes:
    """An ICC profile of nothing but its name."""
    table = (1).to_bytes(4) + b"desc" + (144).to_bytes(4) + len(tag).to_bytes(4)
    head = (144 + len(tag)).to_bytes(4) + bytes(12) + b"RGB " + bytes(16) + b"acsp" + bytes(88)
    return head + table + tag


def test_metadata_in_words() -> None:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    ties, scale = (0.0, 0.0, 0.0, 500000.0, 4200000.0, 0.0), (10.0, 10.0, 0.0)
    old = b"desc" + bytes(4) + (5).to_bytes(4) + b"sRGB\0" + bytes(80)
    metadata = Metadata(
        "rgb",
        (),
        icc=profile(old),
        resolution=(300.0, 299.5, "inch"),
        colormap=((0, 0, 0), (1, 1, 1)),
        geotiff=((33550, scale), (33922, ties), (34735, keys)),
        nodata="-9999",
        pixel_size=(0.25, 0.5, "um"),
        orientation=6,
        axes="ZYX",
    )
    facts, fields = metadata_facts(metadata)
    assert {fact.label: fact.words for fact in facts} == {
        "samples": "rgb",
        "ICC profile": f"sRGB, {len(metadata.icc)} bytes",
        "resolution": "x=300 y=299.5 pixels per inch",
        "georeference": "EPSG:32633, corner at x=500000 y=4200000, pixels of x=10 y=-10",
        "nodata": "-9999",
        "pixel size": "x=0.25 y=0.5 um",
        "colours": "a palette of 2, read as rgb; --color indices reads the numbers",
        "orientation": "6, as EXIF has it",
    }
    assert list(fields) == METADATA_KEYS
    assert fields["georeference"] == {"crs": "EPSG:32633", "transform": [10, 0, 500000, 0, -10, 4200000], "tie_points": 1}
    text = for_people("a", [Fact("x", "a\x1b" + "b" * 400)])
    assert "\x1b" not in text
    assert len(text) < 320


def test_georeferences_of_other_kinds() -> None:
    point = (1, 1, 0, 2, 1025, 0, 1, 2, 2048, 0, 1, 4326)
    ties, scale = (3.0, 2.0, 0.0, 10.0, 50.0, 0.0), (0.5, 0.25, 0.0)
    place = georeference_of({33550: scale, 33922: ties, 34735: point})
    assert place == {"crs": "EPSG:4326", "transform": [0.5, 0, 8.25, 0, -0.25, 50.625], "tie_points": 1}
    matrix = (1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0, 6.0, *[0.0] * 7, 1.0)
    turned = georeference_of({34264: matrix})
    assert turned == {"crs": None, "transform": [1, 2, 3, 4, 5, 6], "tie_points": 0}
    assert place_in_words(turned).startswith("coordinates without an EPSG code, turned: x=1 column + 2 row + 3, y=4 column")
    several = georeference_of({33922: ties * 4, 34735: (1, 1, 0, 1, 3072, 0, 1, 32767)})
    assert place_in_words(several) == "coordinates without an EPSG code, 4 tie points"


def test_names_of_profiles() -> None:
    text = "Display P3".encode("utf-16-be")
    new = b"mluc" + bytes(4) + (1).to_bytes(4) + (12).to_bytes(4) + b"enUS" + len(text).to_bytes(4) + (28).to_bytes(4) + text
    assert profile_name(profile(new)) == "Display P3"
    assert profile_name(b"") is None
    assert profile_name(profile(b"desc")) is None
    for end in range(len(profile(new))):
        profile_name(profile(new)[:end])


def test_arrays_of_numpy_that_are_no_image_are_told(patchcli: Run, tmp_path: Path) -> None:
    values = np.arange(12, dtype="u1").reshape(3, 4)
    with (tmp_path / "second.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "second.npy").read_bytes()[:40])
    np.savez(tmp_path / "mixed.npz", a=values, b=values * 1j, c=np.array([None]), meta=np.array([{}]))
    second, mixed = told(patchcli("info", "--json", "--check", "second.npy", "mixed.npz"))
    assert (second["kind"], second["width"], second["check"]) == ("image", 4, "ok")
    why = "has a .npy header that does not describe a plain array of real numbers"
    assert mixed["arrays"] == [
        {"name": "a", "shape": [3, 4], "dtype": "uint8"},
        *({"name": name, "shape": None, "dtype": None, "error": f"member '{name}' {why}"} for name in ("b", "c", "meta")),
    ]
    assert f"  array   member 'b' {why}\n" in patchcli("info", "mixed.npz").stdout.decode()
    for command in (["info", "cut.npy"], ["extract", "cut.npy", "-s", 2, "-o", "a.npz"]):
        refused(patchcli(*command), "cut.npy: ends before its data do; the file is truncated or damaged", 1)
    data = bytearray((tmp_path / "mixed.npz").read_bytes())
    data[data.index((values * 1j).tobytes()) + 9] ^= 1
    (tmp_path / "bent.npz").write_bytes(data)
    refused(patchcli("info", "--check", "bent.npz"), "bent.npz: member 'b' is damaged: its checksum is not the recorded one", 1)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.bmp", "a.tif"])
def test_a_palette_is_told_of(patchcli: Run, tmp_path: Path, name: str) -> None:
    image = PIL.Image.fromarray(np.arange(12, dtype="u1").reshape(3, 4) % 4)
    image.putpalette([*range(0, 240, 20)] * 64)
    image.save(tmp_path / name)
    (about,) = told(patchcli("info", "--json", name))
    count = about["metadata"]["colours"]
    assert (about["channels"], about["metadata"]["photometric"], count in range(4, 257)) == (3, "rgb", True)
    text = patchcli("info", name).stdout.decode()
    assert f"  colours  a palette of {count}, read as rgb; --color indices reads the numbers\n" in text


def test_place_and_nodata_of_turned_images_and_palettes_are_told_as_stored(patchcli: Run, tmp_path: Path) -> None:
    place = [(33550, "d", 3, (10.0, 10.0, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0))]
    kept: Any = [*place, (42113, "s", 0, "7")]
    values = np.arange(12, dtype="u1").reshape(3, 4)
    options: dict[str, Any] = {"extratags": [*kept, (274, "H", 1, 6)], "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "turned.tif", values, metadata=None, **options)
    table = np.zeros((3, 256), "u2")
    tifffile.imwrite(tmp_path / "palette.tif", values, metadata=None, photometric="palette", colormap=table, extratags=kept)
    for about in told(patchcli("info", "--json", "turned.tif", "palette.tif")):
        assert about["rotated"] == (about["file"] == "turned.tif")
        assert about["metadata"]["nodata"] == "7"
        assert about["metadata"]["georeference"]["transform"] == [10, 0, 500, 0, -10, 900]
