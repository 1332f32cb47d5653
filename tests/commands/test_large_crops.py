"""Crops of images that are too large to be decoded whole, through real processes."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from patchcli import crop, read_stack
from tests.helpers.runs import Run, read_image, refused, write_image

COLOUR = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
BORDERS = [(0, 0, 40, 30), (860, 0, 40, 30), (0, 670, 40, 30), (860, 670, 40, 30), (110, 120, 40, 30), (128, 256, 64, 64)]
FEW = ("--max-pixels", 100_000)  # pixels: less than the image has, and more than a crop


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The same pixels in tiles, in strips, and where they can only be decoded whole."""
    alpha = np.concatenate([COLOUR, np.random.default_rng(1).integers(0, 256, (700, 900, 1), np.uint8)], axis=2)
    for name, pixels in (("a", COLOUR), ("alpha", alpha)):
        extra: dict[str, Any] = {"extrasamples": ["unassalpha"]} if name == "alpha" else {}
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="rgb", tile=(128, 64), compression="zlib", **extra)
        write_image(tmp_path / f"{name}.png", pixels)
    tifffile.imwrite(tmp_path / "strips.tif", COLOUR, photometric="rgb", rowsperstrip=16, compression="lzw")
    tifffile.imwrite(tmp_path / "plain.tif", COLOUR, photometric="rgb")
    return tmp_path


def cropped(patchcli: Run, place: Path, *arguments: Any) -> NDArray[Any]:
    done = patchcli("crop", *arguments, "-o", "out.tif", "--overwrite")
    assert done.returncode == 0, done.stderr
    return read_image(place / "out.tif")


@pytest.mark.parametrize("name", ["a.tif", "strips.tif", "plain.tif"])
def test_windows_at_every_border(patchcli: Run, place: Path, name: str) -> None:
    for x, y, width, height in BORDERS:
        got = cropped(patchcli, place, name, "--box", x, y, width, height, *FEW)
        assert np.array_equal(got, COLOUR[y : y + height, x : x + width])


@pytest.mark.parametrize(
    "options",
    [
        "--box 300.5 200.25 -200 150 --size 64 --resampling lanczos",
        "--box -20 -30 100 100 --outside border --resampling bicubic",
        "--box -700 300 100 100 --outside reflection",
        "--normalized-box -0.9 -0.8 0.7 0.95 --size 90x70 --resampling area",
        "--box 0 0 900 700 --size 9x7 --resampling area",
        "--box 10 20 300 200 --size 600x400 --align-corners",
        "--box 3000 0 50 50 --outside zeros",
        "--max-size 90",
        "--size 90x71 --resampling bicubic",
        "--box 10.5 20 300 200 --max-size 400x40 --resampling lanczos",
    ],
)
def test_the_bytes_are_those_of_the_whole_image(patchcli: Run, place: Path, options: str) -> None:
    for name in ("a", "alpha"):
        whole = cropped(patchcli, place, f"{name}.png", *options.split())
        assert np.array_equal(cropped(patchcli, place, f"{name}.tif", *options.split(), "--max-pixels", 250_000), whole)


def test_a_box_outside_is_a_hint(patchcli: Run, place: Path) -> None:
    done = patchcli("crop", "a.tif", "--box", 3000, 0, 50, 50, "-o", "b.png", *FEW)
    assert done.returncode == 0
    assert b"its box lies wholly outside the image of width=900 height=700" in done.stderr
    assert not read_image(place / "b.png").any()


def test_a_list_in_one_file_keeps_its_order(patchcli: Run, place: Path) -> None:
    rng = np.random.default_rng(2)
    corners = rng.integers(0, [870, 670], (64, 2))
    (place / "boxes.csv").write_text("x,y,width,height\n" + "".join(f"{x},{y},30,30\n" for x, y in corners))
    assert patchcli("crop", "a.tif", "--boxes", "boxes.csv", "-o", "all.npz", *FEW).returncode == 0
    patches = read_stack(place / "all.npz").patches
    assert np.array_equal(patches, [COLOUR[y : y + 30, x : x + 30] for x, y in corners])
    done = patchcli("crop", "a.tif", "--boxes", "boxes.csv", "-o", "c/{index}.png", *FEW)
    assert done.returncode == 0
    for number in (0, 9, 63):
        assert np.array_equal(read_image(place / f"c/{number}.png"), patches[number])


@pytest.mark.parametrize("name", ["a.tif", "strips.tif", "plain.tif"])
def test_many_windows_are_read_several_at_once(patchcli: Run, place: Path, name: str) -> None:
    """Enough bytes for threads, of which each decodes whole windows."""
    places = np.random.default_rng(0).integers(0, (400, 200), (90, 2)).tolist()
    (place / "list.csv").write_text("input,x,y,width,height\n" + "".join(f"{name},{x},{y},500,500\n" for x, y in places))
    done = patchcli("crop", "--boxes", "list.csv", "-o", "out.npz", "--max-pixels", 600_000)
    assert (done.returncode, done.stderr) == (0, b"")
    patches = read_stack(place / "out.npz").patches
    assert all(np.array_equal(patch, COLOUR[y : y + 500, x : x + 500]) for patch, (x, y) in zip(patches, places, strict=True))


def test_what_is_not_damaged_of_a_list_goes_to_one_file(patchcli: Run, place: Path) -> None:
    """The file is begun with room for all crops, and made again without those that failed."""
    corners = [(800, 10), (40, 560), (10, 20), (300, 200), (200, 660), (500, 500)]
    damaged = bytearray((place / "a.tif").read_bytes())
    with tifffile.TiffFile(place / "a.tif") as tiff:
        offset = tiff.pages.first.dataoffsets[4 * 15]  # x=0 y=512
    damaged[offset : offset + 8] = bytes(8)
    (place / "a.tif").write_bytes(damaged)
    (place / "boxes.csv").write_text("x,y,width,height\n" + "".join(f"{x},{y},30,30\n" for x, y in corners))
    for options in ([], ["--size", 20]):
        done = patchcli("crop", "a.tif", "--boxes", "boxes.csv", "-o", "all.npz", "--overwrite", *options, *FEW)
        refused(done, "a.tif: boxes.csv:3: is a damaged or unsupported TIFF image", 1)
        assert b"in strip or tile 60 of 90 (x=0 y=512)" in done.stderr
        assert not list(place.glob(".*"))
        kept = [corners[number] for number in (0, 2, 3, 4, 5)]
        with np.load(place / "all.npz") as stack:
            assert "origins" in stack or stack["line"].tolist() == [2, 4, 5, 6, 7]
            expected = [crop(COLOUR, (x, y, 30, 30), 20 if options else 30, normalized=False) for x, y in kept]
            assert np.array_equal(stack["patches"], expected)


def test_one_box_of_a_small_image_does_not_meet_what_is_damaged(patchcli: Run, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR[:200, :300], photometric="rgb", tile=(32, 48), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages.first.dataoffsets[24]
    damaged = bytearray((tmp_path / "a.tif").read_bytes())
    damaged[offset : offset + 8] = bytes(8)
    (tmp_path / "a.tif").write_bytes(damaged)
    assert np.array_equal(cropped(patchcli, tmp_path, "a.tif", "--box", 0, 0, 40, 30), COLOUR[:30, :40])
    refused(patchcli("crop", "a.tif", "--box", 150, 100, 40, 30, "-o", "b.tif"), "a.tif: is a damaged or unsupported TIFF", 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFO")
def test_windows_of_a_list_go_down_a_pipe(patchcli: Run, place: Path) -> None:
    os.mkfifo(place / "pipe.npz")
    call = ["crop", "a.tif", "--boxes", "-", *FEW]
    boxes = b"x,y,width,height\n500,450,30,30\n0,0,30,30\n"
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((place / "pipe.npz").read_bytes)
        done = patchcli(*call, "-o", "pipe.npz", stdin=boxes)
        assert (done.returncode, done.stderr) == (0, b"")
        (place / "all.npz").write_bytes(read.result())
    assert np.array_equal(read_stack(place / "all.npz").patches, [COLOUR[450:480, 500:530], COLOUR[:30, :30]])


def test_boxes_of_coco_and_yolo_read_their_windows_alone(patchcli: Run, place: Path) -> None:
    notes = [{"id": place, "image_id": 1, "bbox": box} for place, box in enumerate(BORDERS)]
    (place / "b.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.tif"}], "annotations": notes}))
    lines = [f"0 {(x + w / 2) / 900:.6f} {(y + h / 2) / 700:.6f} {w / 900:.6f} {h / 700:.6f}" for x, y, w, h in BORDERS]
    (place / "a.txt").write_text("\n".join(lines))
    for call in (["--boxes", "b.json"], ["a.tif", "--boxes", "{stem}.txt"]):
        done = patchcli("crop", *call, "-o", "c/{index}.png", *FEW, "--overwrite")
        assert (done.returncode, done.stderr) == (0, b"")
        for index, (x, y, width, height) in enumerate(BORDERS):
            assert np.array_equal(read_image(place / f"c/{index}.png"), COLOUR[y : y + height, x : x + width])


def test_windows_of_several_sizes_do_not_go_to_one_file(patchcli: Run, place: Path) -> None:
    call = ["crop", "a.tif", "--boxes", "-", "-o", "all.npz", *FEW]
    pixels = "x,y,width,height\n500,500,30,30\n400,20,30,30\nnan,0,30,30\n"
    refused(patchcli(*call, stdin=f"{pixels}10,10,40,30\n1,1,1e6,1e6\n".encode()), "boxes have 3 sizes, such as 30x30 (standard")
    corners = "x0,y0,x1,y1\n0,0,0.1,0.1\n0,0,0.2,0.1\n0,0,0.1,0.1\n0,0,0.3,0.1"
    sentence = "a.tif: standard input:3 and 1 more: crop is unlike those before it: (35, 90, 3) uint8, not (35, 45, 3) uint8"
    refused(patchcli(*call, stdin=corners.encode()), sentence, 1)
    assert not (place / "all.npz").exists()
    refused(patchcli(*call, stdin=pixels.encode()), "standard input:4: box is (nan, 0.0, 30.0, 30.0)", 1)
    assert np.array_equal(read_stack(place / "all.npz").patches, [COLOUR[500:530, 500:530], COLOUR[20:50, 400:430]])


def test_what_needs_all_of_an_image_is_bound(patchcli: Run, place: Path) -> None:
    write_image(place / "part.png", COLOUR[100:200, 100:200])
    fit = ["crop", "a.tif", "--fit", "part.png", "-o", "b.png", *FEW]
    for more in ([], ["-n"]):
        refused(patchcli(*fit, *more), "has 630000 pixels (width=900 height=700); allowed are 100000", 1)
    done = patchcli("crop", "a.tif", "--box", 0, 0, 900, 700, "-o", "b.png", *FEW)
    assert b"crop would have 630000 pixels" in done.stderr


def test_a_plan_of_a_crop_from_windows_is_small(patchcli: Run, place: Path) -> None:
    large = np.zeros((6000, 6000, 3), np.uint8)
    tifffile.imwrite(place / "large.tif", large, photometric="rgb", tile=(256, 256), compression="zlib")
    options = ["crop", "large.tif", "--box", 2000, 1000, 512, 512, "-o", "b.tif", "-n", "--report", "plan.jsonl"]
    assert patchcli(*options).returncode == 0
    assert json.loads((place / "plan.jsonl").read_text().splitlines()[0])["memory"] < 60_000_000


@pytest.mark.parametrize("image_format", ["pgm", "npy", "tiff"])
def test_nothing_of_a_damaged_image_goes_down_a_pipe(patchcli: Run, tmp_path: Path, image_format: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7168, 7168), np.uint8), tile=(1024, 1024), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        last = tiff.pages.first.dataoffsets[-1]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[last : last + 8] = bytes(8)
    (tmp_path / "a.tif").write_bytes(data)
    done = patchcli("crop", "a.tif", "--box", 0, 0, 7168, 7168, "--image-format", image_format, "-o", "-")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"a.tif: " in done.stderr
    assert b"strip or tile 48 of 49 (x=6144 y=6144)" in done.stderr


@pytest.mark.parametrize(("turn", "turned"), [(2, np.s_[:, ::-1]), (3, np.s_[::-1, ::-1]), (4, np.s_[::-1])])
def test_a_crop_of_a_turned_image_is_that_of_the_turned_pixels(patchcli: Run, tmp_path: Path, turn: int, turned: Any) -> None:
    image = np.random.default_rng(0).normal(size=(600, 600))
    tifffile.imwrite(tmp_path / "a.tif", image, rowsperstrip=8, compression="zlib", extratags=[(274, "H", 1, turn, False)])
    options = ("--box", 45, 43, 101, 103, "--size", "9x42", "--resampling", "area")
    assert patchcli("crop", "a.tif", *options, "-o", "a.npy").returncode == 0
    whole = np.ascontiguousarray(image[turned])
    assert np.array_equal(
        np.load(tmp_path / "a.npy"), crop(whole, (45, 43, 101, 103), (42, 9), normalized=False, resampling="area")
    )
