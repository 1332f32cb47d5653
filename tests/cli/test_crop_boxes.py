"""``crop --boxes`` and ``crop --fit`` as a shell sees them: real files, real pipes, real processes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patchcli import crop, read_stack
from patchcli.batch.resume import read_record
from tests.helpers.runs import SAMPLES, Run, gray, read_image, refused, tree, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SCENE, CELLS = SAMPLES / "scene.png", SAMPLES / "cells.png"
ONE = "x,y,w,h\n1,2,3,4"  # a list of one box
STACK = "a.png --boxes - -o x.npz"


def test_csv_of_many_images_decodes_each_once(patchcli: Run, tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png", gray(40, 50, seed=ord(name)))
    (tmp_path / "boxes.csv").write_text(
        "Input, x,y ,w,h,size,output,label\r\n"
        "a.png,1,2,10,20,,,cat\r\n"
        "b.png,3.5,4,10,20,5x7,special.png,dog\r\n"
        '"a.png",0,0,8,8,16,"sub/quoted, name.png",\r\n'
    )
    trace = tmp_path / "opened"
    hook = (
        "import os, sys\n"
        f"log = os.open({str(trace)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "note = lambda name: name.endswith('a.png') and os.write(log, name.encode() + b'\\n')\n"
        "sys.addaudithook(lambda event, found: event == 'open' and note(str(found[0])))\n"
    )
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
    call = ("crop", "--boxes", "boxes.csv", "--resampling", "bilinear", "-d", "out")
    done = patchcli(*call, env={**os.environ, "PYTHONPATH": str(tmp_path / "hook")})
    assert (done.returncode, done.stderr) == (0, b"")
    assert trace.read_text().count("a.png\n") == 1
    a, b = read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "out/a-0.png"), a[2:22, 1:11])
    assert np.array_equal(read_image(tmp_path / "out/special.png"), crop(b, (3.5, 4, 10, 20), (7, 5), normalized=False))
    assert np.array_equal(read_image(tmp_path / "out/sub/quoted, name.png"), crop(a, (0, 0, 8, 8), 16, normalized=False))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_end_as_those_of_any_system(patchcli: Run, tmp_path: Path, end: str) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    rows = end.join(["input,x,y,width,height", "a.png,1,2,3,4", "a.png,1,2,three,4", ""])
    ran = patchcli("crop", "--boxes", "-", "-o", "c.png", stdin=rows.encode())
    assert (ran.returncode, ran.stderr) == (1, b"patchcli: standard input:3: has width 'three'; give a number\n")
    assert np.array_equal(read_image(tmp_path / "c.png"), gray(40, 50)[2:6, 1:4])


def test_a_box_that_reaches_out_by_little_does_not_seem_to_fit(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(120, 160))
    ran = patchcli("crop", "a.png", "--box", "130.00001", 90, 30, 30, "--outside", "error", "-o", "c.png")
    refused(ran, "box x=130.00001 y=90 width=30 height=30 reaches outside the image of width=160 height=120", 1)


def test_json_lines_on_standard_input(patchcli: Run, tmp_path: Path) -> None:
    rows = [
        {"input": str(SCENE), "box": [10, 20, 32, 24]},
        {"input": str(CELLS), "normalized_box": [-0.25, -0.25, 0.05, 0.2], "size": "40x30"},
        {"input": str(SCENE), "box": [1, 2, 3, 4], "size": [6, 8], "note": "more"},
    ]
    text = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)
    done = patchcli("crop", "--boxes", "-", "-o", "{stem}_{index}.png", stdin=text.encode())
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")
    scene, cells = read_image(SCENE), read_image(CELLS)
    assert np.array_equal(read_image(tmp_path / "scene_0.png"), scene[20:44, 10:42])
    assert np.array_equal(read_image(tmp_path / "cells_1.png"), crop(cells, (-0.25, -0.25, 0.05, 0.2), (30, 40)))
    assert read_image(tmp_path / "scene_2.png").shape == (8, 6, 3)


def test_bad_rows_are_named_and_stop_no_other(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    lines = [
        "input,x,y,width,height,size",
        "a.png,0,0,5,5,",
        "a.png,0,0,five,5,",
        "a.png,0,0,5",
        "a.png,0,0,0,5,",
        "a.png,0,0,nan,5,",
        "a.png,0,0,5,5,0x3",
        "missing.png,0,0,5,5,",
        "a.png,0,0,5,5,40000x40000",
        "a.png,-3,0,5,5,",
        "a.png,7,7,6,6,",
    ]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    done = patchcli("crop", "--boxes", "b.csv", "-o", "{stem}-{index}.png", "--outside", "error")
    assert done.returncode == 1
    told = done.stderr.decode().splitlines()
    expected = [
        "b.csv:3: has width 'five'; give a number",
        "b.csv:4: has 4 cells; give 6, one for each column",
        "b.csv:7: has size 0x3; write W or WxH in whole pixels",
        "a.png: b.csv:5: box is empty: width=0 height=5",
        "a.png: b.csv:6: box is (0.0, 0.0, nan, 5.0); allowed are four finite numbers",
        "a.png: b.csv:9: crop would have 1600000000 pixels",
        "a.png: b.csv:10: box x=-3 y=0 width=5 height=5 reaches outside the image of width=50 height=40",
        "missing.png: cannot be read: no such file",
    ]
    assert len(told) == len(expected)
    for sentence in expected:
        assert any(line.startswith(f"patchcli: {sentence}") for line in told), sentence
    assert sorted(path.name for path in tmp_path.glob("a-*")) == ["a-0.png", "a-9.png"]


def test_a_row_that_cannot_be_placed_stops_no_other(patchcli: Run, tmp_path: Path) -> None:
    rows = [
        {"input": str(CELLS), "box": [0, 0, 5, 5]},
        {"box": [0, 0, 5, 5]},
        {"input": str(CELLS), "box": [0, 0, 5, 5], "output": "o.xyz"},
        {"input": str(CELLS), "box": [1, 0, 5, 5], "output": "own.png"},
    ]
    text = "\n".join(map(json.dumps, rows)) + '\n{"box": [1, 2, 3, 4], "box": [5, 6, 7, 8]}\n{"Box": [1, 2, 3, 4]}'
    done = patchcli("crop", "--boxes", "-", "-o", "{stem}-{index}.png", stdin=text.encode())
    assert done.returncode == 1
    told = done.stderr.decode().splitlines()
    expected = ["2: names no input", "3: o.xyz: suffix is '.xyz'", "5: has a key twice", "6: has the key Box; write box"]
    assert len(told) == len(expected)
    for line, sentence in zip(told, expected, strict=True):
        assert line.startswith(f"patchcli: standard input:{sentence}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells-0.png", "own.png"]


def test_whole_pixel_boxes_of_one_image_are_a_stack(patchcli: Run, tmp_path: Path) -> None:
    rows = "x,y,width,height\n" + "".join(f"{x},{y},50,60\n" for y in range(0, 300, 60) for x in range(0, 400, 50))
    done = patchcli("crop", SCENE, "--boxes", "-", "-o", "crops.npz", stdin=rows.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    stack = read_stack(tmp_path / "crops.npz")
    assert stack.patches.shape == (40, 60, 50, 3)
    assert stack.origins[9].tolist() == [60, 50]
    assert patchcli("merge", "crops.npz", "-o", "back.png").returncode == 0
    assert np.array_equal(read_image(tmp_path / "back.png"), read_image(SCENE))
    again = patchcli("crop", SCENE, "--boxes", "-", "-o", "again.npz", stdin=rows.encode())
    assert again.returncode == 0
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "crops.npz").read_bytes()


def test_other_boxes_are_a_file_of_crops(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x0,y0,x1,y1\n-1,-1,0,0\n0,0,0,1\n0.5,0.5,-0.5,1\n")
    done = patchcli(
        "crop", SCENE, SAMPLES / "noisy.png", "--boxes", "b.csv", "--size", "20x30", "--resampling", "bilinear", "-o", "crops.npz"
    )
    assert done.returncode == 1
    assert done.stderr.count(b"b.csv:3: box is empty") == 2
    held = np.load(tmp_path / "crops.npz")
    about = json.loads(str(held["meta"]))
    assert (about["format"], about["version"], [image["name"] for image in about["images"]]) == (
        "patchcli.crops",
        1,
        ["scene.png", "noisy.png"],
    )
    assert held["patches"].shape == (4, 30, 20, 3)
    assert held["line"].tolist() == [2, 2, 4, 4]
    assert held["image"].tolist() == [0, 1, 0, 1]
    assert held["boxes"][2].tolist() == [300, 225, -200, 75]
    assert np.array_equal(held["patches"][3], crop(read_image(SAMPLES / "noisy.png"), (0.5, 0.5, -0.5, 1), (30, 20)))
    refused(patchcli("merge", "crops.npz", "-o", "x.png"), "has format 'patchcli.crops'; expected 'patchcli.stack'", 1)


def test_crops_of_other_shapes_are_named(patchcli: Run, tmp_path: Path) -> None:
    done = patchcli("crop", SCENE, CELLS, "--boxes", "-", "-o", "c.npz", stdin=b'{"box": [0, 0, 5.5, 5], "size": 8}')
    assert done.returncode == 1
    assert b"cells.png: standard input:1: crop is unlike those before it: (8, 8) uint8, not (8, 8, 3) uint8" in done.stderr
    assert np.load(tmp_path / "c.npz")["patches"].shape == (1, 8, 8, 3)


def test_known_sizes_of_one_file_are_equal_or_nothing_is_done(patchcli: Run, tmp_path: Path) -> None:
    image = gray(40, 50)
    write_image(tmp_path / "a.png", image)
    rows = "x,y,w,h,size\n" + "".join(f"{at},0,{3 + at % 5},4,\n" for at in range(20)) + "1,2,nan,4,\n1,2,0,4,\n0,0,9,9,6x4\n"
    sentence = "boxes have 5 sizes, such as 3x4 (standard input:2) and 4x4 (standard input:3), and crops in one file have one"
    for more in ([], ["-n"]):
        with untouched(tmp_path):
            refused(patchcli("crop", "a.png", "--boxes", "-", "-o", "x.npz", *more, stdin=rows.encode()), sentence)
    ran = patchcli("crop", "a.png", "--boxes", "-", "-o", "x.npz", "--size", 4, "-q", stdin=rows.replace("6x4", "").encode())
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 2)
    assert np.load(tmp_path / "x.npz")["patches"].shape == (21, 4, 4)


@pytest.mark.parametrize("more", [[], ["-n"]])
def test_sizes_that_images_tell_are_one_fault_and_no_file(patchcli: Run, tmp_path: Path, more: list[str]) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    call = ["crop", "a.png", "--boxes", "-", "-o", "x.npz", "--report", "-", *more]
    lists = {
        "x0,y0,x1,y1\n": [f"-1,-1,{-0.9 + at / 10},0" for at in range(9)],
        "": [f"0 0.5 0.5 0.{at} 0.5" for at in range(1, 10)],
    }
    for head, lines in lists.items():
        with untouched(tmp_path):
            ran = patchcli(*call, stdin=(head + "\n".join(lines)).encode())
        assert ran.returncode == 1
        (line,) = ran.stderr.decode().splitlines()
        assert " and 7 more: crop is unlike those before it: (20, " in line
        assert line.endswith("in one file all have one size, and nothing is written: use --size")
        record, summary = (json.loads(line) for line in ran.stdout.splitlines())
        assert [f"patchcli: a.png: {fault}" for fault in record["errors"]] == [line]
        assert summary["summary"]["errors"] == {"crop is unlike those before it": 1}


# -- COCO and YOLO -----------------------------------------------------------------------------------------------------

NAMES = ("a.png", "train/b.png", "train/c.tif")
BOXES = ((10, 20, 32, 24), (0, 0, 5, 7), (90, 40, 9, 24), (3, 3, 32, 24))


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, NDArray[Any]]:
    """Images in a folder, a COCO file beside it, and YOLO's text for each in the tree of another."""
    (tmp_path / "in/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    held = {name: gray(64, 99, seed=number) for number, name in enumerate(NAMES)}
    notes: list[dict[str, Any]] = []
    for number, (name, image) in enumerate(held.items()):
        write_image(tmp_path / "in" / name, image)
        notes += [
            {"id": 100 + len(notes) + at, "image_id": number, "category_id": at % 2, "bbox": box} for at, box in enumerate(BOXES)
        ]
        lines = [
            f"{at % 2} {(x + w / 2) / 99:.6f} {(y + h / 2) / 64:.6f} {w / 99:.6f} {h / 64:.6f}\n"
            for at, (x, y, w, h) in enumerate(BOXES)
        ]
        (tmp_path / "labels" / name).with_suffix(".txt").write_text("".join(lines))
    notes = notes[::2] + notes[1::2]  # in an order that is not that of the images
    about = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(NAMES)],
        "categories": [{"id": 0, "name": "traffic/light"}, {"id": 1, "name": ".."}],
    }
    (tmp_path / "instances.json").write_text(json.dumps({**about, "annotations": notes}, indent=1))
    return held


def cut(held: dict[str, NDArray[Any]], name: str, box: tuple[int, int, int, int]) -> NDArray[Any]:
    """A box by slicing."""
    x, y, width, height = box
    return held[name][y : y + height, x : x + width]


def test_coco_boxes_are_slices(patchcli: Run, tmp_path: Path, pictures: dict[str, NDArray[Any]]) -> None:
    notes = json.loads((tmp_path / "instances.json").read_text())["annotations"]
    template = "out/{relative}/{category}/{stem}-{index}.png"
    for jobs in (1, 2):
        ran = patchcli("crop", "in", "--boxes", "instances.json", "-o", template, "-j", jobs, "--overwrite", "--report", "-")
        assert (ran.returncode, ran.stderr) == (0, b"")
        records = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [record["input"] for record in records[:-1]] == [f"in/{name}" for name in NAMES]
        assert len(tree(tmp_path / "out")) == len(notes)
        for index, note in enumerate(notes):
            name = NAMES[note["image_id"]]
            folder = tmp_path / "out" / os.path.dirname(name) / ("traffic_light", "__")[note["category_id"]]
            made = read_image(folder / f"{os.path.splitext(os.path.basename(name))[0]}-{index}.png")
            assert np.array_equal(made, cut(pictures, name, tuple(note["bbox"])))


def test_coco_files_are_named_from_the_folder_of_the_call_without_inputs(
    patchcli: Run, tmp_path: Path, pictures: dict[str, NDArray[Any]]
) -> None:
    about = json.loads((tmp_path / "instances.json").read_text())
    for image in about["images"]:
        image["file_name"] = f"in/{image['file_name']}"
    ran = patchcli("crop", "--boxes", "-", "-d", "out", stdin=json.dumps(about).encode())
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert np.array_equal(read_image(tmp_path / "out/in/train/b-2.png"), cut(pictures, "train/b.png", BOXES[0]))
    assert len(tree(tmp_path / "out")) == 12


@pytest.mark.parametrize("boxes", ["labels/{relative}/{stem}.txt", "labels/{relative}/{stem}.csv"])
def test_boxes_of_each_image_are_slices(patchcli: Run, tmp_path: Path, pictures: dict[str, NDArray[Any]], boxes: str) -> None:
    for name in NAMES:
        lines = [",".join(map(str, box)) + f",{at % 2}\n" for at, box in enumerate(BOXES)]
        (tmp_path / "labels" / name).with_suffix(".csv").write_text("x,y,w,h,category\n" + "".join(lines))
    ran = patchcli("crop", "in", "--boxes", boxes, "-o", "out/{relative}/{stem}-{category}-{index}.png")
    assert (ran.returncode, ran.stderr) == (0, b"")
    for number, name in enumerate(NAMES):
        for at, box in enumerate(BOXES):
            path = tmp_path / f"out/{os.path.splitext(name)[0]}-{at % 2}-{number * len(BOXES) + at}.png"
            assert np.array_equal(read_image(path), cut(pictures, name, box))


@pytest.mark.usefixtures("pictures")
def test_lists_of_each_image_go_to_one_stack_as_coco_does(patchcli: Run, tmp_path: Path) -> None:
    for boxes, name in (("labels/{relative}/{stem}.txt", "yolo"), ("instances.json", "coco")):
        call = ["crop", "in", "--boxes", boxes, "--size", 8, "--resampling", "area", "-o", f"{name}.npz"]
        ran = patchcli(*call, "-n")
        assert (ran.returncode, ran.stderr, ran.stdout.count(b"4 crops of width=8 height=8")) == (0, b"", 3)
        ran = patchcli(*call)
        assert (ran.returncode, ran.stderr) == (0, b"")
    yolo, coco = (np.load(tmp_path / f"{name}.npz") for name in ("yolo", "coco"))
    order = np.lexsort((coco["line"], coco["image"]))  # each image has its boxes in another order there
    turn = [0, 2, 1, 3]
    for number in range(3):
        places = order[number * 4 : number * 4 + 4][np.argsort(turn)]
        of = yolo["image"] == number
        assert np.array_equal(yolo["boxes"][of], coco["boxes"][places])
        assert np.array_equal(yolo["patches"][of], coco["patches"][places])
    assert yolo["line"].tolist() == [1, 2, 3, 4] * 3
    assert sorted(coco["line"].tolist()) == list(range(1, 13))


@pytest.mark.usefixtures("pictures")
def test_resume_knows_boxes_of_every_kind(patchcli: Run, tmp_path: Path) -> None:
    lists = {"coco": "instances.json", "yolo": "labels/{relative}/{stem}.txt"}
    for name, boxes in lists.items():
        call = ["crop", "in", "--boxes", boxes, "-o", name + "/{stem}-{index}.png", "--resume", "--report", "-"]
        assert patchcli(*call).returncode == 0
        made = tree(tmp_path / name)
        (tmp_path / name / "b-5.png").unlink(missing_ok=True)
        ran = patchcli(*call)
        assert (ran.returncode, tree(tmp_path / name)) == (0, made)
        assert json.loads(ran.stdout.splitlines()[-1])["summary"]["skipped"] == 2 + ("b-5.png" not in made)
        refused(patchcli(*call, "--max-size", 9), "was made with --max-size at its default, not at 9x9")
    text = (tmp_path / "labels/a.txt").read_text()
    (tmp_path / "labels/a.txt").write_text(text.replace("0.5", "0.4", 1))
    refused(patchcli(*call), "a-0.png: was made with --boxes at [0.")


@pytest.mark.usefixtures("pictures")
def test_bad_boxes_are_one_line_each(patchcli: Run, tmp_path: Path) -> None:
    notes = [
        {"id": 1, "image_id": 0, "category_id": 5, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": 0, "category_id": 0, "bbox": [1, 2, 0, 4]},
        {"id": 3, "image_id": 9, "category_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 4, "image_id": 4, "category_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 5, "image_id": 5, "category_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 6, "image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]},
    ]
    about = json.loads((tmp_path / "instances.json").read_text())
    about["images"] += [{"id": 4, "file_name": "../in/a.png"}, {"id": 5, "file_name": "none.png"}]
    (tmp_path / "bad.json").write_text(json.dumps({**about, "annotations": notes}))
    ran = patchcli("crop", "in", "--boxes", "bad.json", "-o", "{category}-{stem}-{index}.png")
    assert ran.returncode == 1
    told = ran.stderr.decode().splitlines()
    expected = [
        "bad.json: annotation 1: has category_id 5, which no category has, and -o asks for {category}",
        "bad.json: annotation 3: has image_id 9, which no image has",
        'bad.json: annotation 4: has file_name "../in/a.png", which leads elsewhere',
        "in/a.png: bad.json: annotation 2: box is empty: width=0 height=4",
        "in/none.png: cannot be read: no such file",
    ]
    assert len(told) == len(expected)
    for line, sentence in zip(told, expected, strict=True):
        assert line.startswith(f"patchcli: {sentence}")
    assert [path.name for path in tmp_path.glob("*.png")] == ["traffic_light-a-5.png"]


@pytest.mark.usefixtures("pictures")
def test_bad_boxes_of_a_list_are_in_the_report_whenever_they_are_found(patchcli: Run, tmp_path: Path) -> None:
    notes = [
        {"id": 1, "image_id": 0, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": 0, "bbox": [1, 2, 0, 4]},
        {"id": 3, "image_id": 9, "bbox": [1, 2, 3, 4]},
        {"id": 4, "image_id": 8, "bbox": [1, 2, 3, 4]},
        {"id": 5, "image_id": 0, "bbox": "five"},
    ]
    about = json.loads((tmp_path / "instances.json").read_text())
    (tmp_path / "mix.json").write_text(json.dumps({**about, "annotations": notes}))
    call = ["crop", "in", "--boxes", "mix.json", "--report", "-", "--overwrite"]
    for target in (["-d", "out"], ["-o", "x.npz"], ["-d", "out", "-n"], ["-d", "out", "-j", 2]):
        ran = patchcli(*call, *target)
        assert ran.returncode == 1
        first, second, last = (json.loads(line) for line in ran.stdout.splitlines())
        assert (first["input"], first["output"], first["status"]) == ("mix.json", None, "failed")
        assert (second["input"], second["status"]) == ("in/a.png", "failed")
        assert second["errors"] == ["mix.json: annotation 2: box is empty: width=0 height=4; both must differ from 0"]
        told = [*first["errors"], f"in/a.png: {second['errors'][0]}"]
        assert ran.stderr.decode().splitlines() == [f"patchcli: {line}" for line in told]
        assert [line[:28] for line in told[:3]] == [f"mix.json: annotation {number}: has " for number in (3, 4, 5)]
        assert last["summary"]["inputs"] == last["summary"]["failed"] == 2
        assert last["summary"]["errors"] == {"has image_id N, which no image has": 2, "has bbox '...'": 1, "box is empty": 1}
    for name in ("o", "o.npz"):
        ran = patchcli(*call, *(["-o", name] if "." in name else ["-d", name]), "--fail-fast")
        assert (ran.returncode, ran.stderr.decode().splitlines()[-1]) == (
            3,
            "patchcli: stopped at the first failed input; 1 were not tried",
        )
        assert not (tmp_path / name).exists()


@pytest.mark.usefixtures("pictures")
def test_a_list_that_is_missing_empty_or_bad_is_so_for_its_image_alone(patchcli: Run, tmp_path: Path) -> None:
    call = ["crop", "in", "--boxes", "labels/{relative}/{stem}.txt", "-o", "out/{stem}-{index}.png", "--overwrite"]
    (tmp_path / "labels/a.txt").write_text("")
    ran = patchcli(*call)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"b-{at}.png" for at in range(4)),
        *(f"c-{at}.png" for at in range(4, 8)),
    ]
    (tmp_path / "labels/a.txt").unlink()
    hint = b"patchcli: labels/a.txt: is not there, and nothing is cropped of its image"
    ran = patchcli(*call)
    assert (ran.returncode, ran.stderr) == (0, hint + b"\n")
    assert patchcli(*call, "-q").stderr == b""
    ran = patchcli(*call[:4], "-o", "{parent}/{stem}-{index}.png")
    assert patchcli(*call[:4], "-o", "{parent}/{stem}-{index}.png", "--overwrite").stderr == ran.stderr == hint + b"\n"
    for path in (tmp_path / "in").rglob("*-*"):
        path.unlink()
    (tmp_path / "labels/train/b.txt").unlink()
    assert patchcli(*call).stderr == hint + b" (and 1 more list)\n"
    (tmp_path / "labels/a.txt").write_text("what,is,this\n")
    (tmp_path / "labels/train/b.txt").write_text("0 0.5 0.5 0.1\n0 0.5 0.5 0.1 0.1")
    ran = patchcli(*call)
    assert ran.returncode == 1
    told = ran.stderr.decode().splitlines()
    assert len(told) == 2
    assert told[0].startswith("patchcli: labels/a.txt: has the columns what, is, this (no box)")
    assert told[1].startswith("patchcli: labels/train/b.txt:1: is 0 0.5 0.5 0.1; give class cx cy w h")
    (tmp_path / "labels/train/c.txt").write_text("0 0.5 0.5 0.1 0.1")
    template = ["-o", "labels/{relative}/{stem}.txt", "--image-format", "png", "--overwrite"]
    with untouched(tmp_path):
        refused(patchcli(*call[:4], *template), "labels/train/b.txt: is an input too")


@pytest.mark.parametrize("target", [["-o", "x.npz"], ["-d", "out"]])
def test_a_folder_without_images_has_no_lists(patchcli: Run, tmp_path: Path, target: list[str]) -> None:
    (tmp_path / "in").mkdir()
    refused(patchcli("crop", "in", "--boxes", "{stem}.txt", *target), "patchcli: in: holds no file to read", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.usefixtures("pictures")
def test_names_in_a_list_are_below_the_one_folder_that_is_given(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("input,xmin,ymin,xmax,ymax\ntrain/b.png,10,20,42,44\n")
    ran = patchcli("crop", "in", "--boxes", "b.csv", "-d", "out")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert np.array_equal(read_image(tmp_path / "out/in/train/b-0.png"), read_image(tmp_path / "in/train/b.png")[20:44, 10:42])
    for given in (["in", "in/train"], ["in/a.png"], ["nothing"]):
        refused(patchcli("crop", *given, "--boxes", "b.csv", "-d", "q"), "b.csv:2: names an input, and INPUTS are given too")


# -- whole images, sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [[], ["--align-corners"]])
def test_without_a_box_it_is_the_whole_image(patchcli: Run, tmp_path: Path, align: list[str]) -> None:
    image = write_image(tmp_path / "a.png", gray(40, 50)), gray(40, 50)
    ran = patchcli("crop", "a.png", "--size", "30x35", *align, "-o", "b.png")
    assert (ran.returncode, ran.stderr) == (0, b"")
    wanted = crop(image[1], (0, 0, 50, 40), (35, 30), normalized=False, align_corners=bool(align))
    assert np.array_equal(read_image(tmp_path / "b.png"), wanted)
    ran = patchcli("crop", "a.png", "--max-size", "100x40", "-o", "c.png")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert np.array_equal(read_image(tmp_path / "c.png"), image[1])


def test_max_size_keeps_the_shape_and_shrinks_by_area(patchcli: Run, tmp_path: Path) -> None:
    image = gray(400, 500)
    write_image(tmp_path / "a.png", image)
    calls: dict[str, tuple[list[Any], NDArray[Any]]] = {
        "whole": (["--max-size", "40x100"], crop(image, (-1, -1, 1, 1), (32, 40), resampling="area")),
        "told": (["--max-size", 400, "--resampling", "bilinear"], crop(image, (-1, -1, 1, 1), (320, 400))),
        "box": (
            ["--max-size", "1000x60", "--box", 1.5, 2, 200, 120],
            crop(image, (1.5, 2, 200, 120), (60, 100), normalized=False, resampling="area"),
        ),
        "small": (["--max-size", 30, "--box", 1.5, 2, 20, 12], crop(image, (1.5, 2, 20, 12), normalized=False)),
        "mirrored": (
            ["--max-size", 30, "--normalized-box", 0.5, -0.5, -0.5, 0.5],
            crop(image, (0.5, -0.5, -0.5, 0.5), (24, 30), resampling="area"),
        ),
        "indices": (["--max-size", 40, "--color", "indices"], crop(image, (-1, -1, 1, 1), (32, 40), resampling="nearest")),
    }
    for name, (options, wanted) in calls.items():
        ran = patchcli("crop", "a.png", *options, "-o", f"{name}.png")
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert np.array_equal(read_image(tmp_path / f"{name}.png"), wanted), name


def test_max_size_is_of_each_box_that_has_no_size(patchcli: Run, tmp_path: Path) -> None:
    image = gray(400, 500)
    write_image(tmp_path / "a.png", image)
    (tmp_path / "b.csv").write_text("x,y,width,height,size\n0,0,100,50,\n5.5,5,10,10,\n9,9,20,20,16\n0,0,20,10,\n")
    ran = patchcli("crop", "a.png", "--boxes", "b.csv", "--max-size", 20, "-o", "o/{index}.png")
    assert (ran.returncode, ran.stderr) == (0, b"")
    made = [read_image(tmp_path / f"o/{index}.png") for index in range(4)]
    assert np.array_equal(made[0], crop(image, (0, 0, 100, 50), (10, 20), normalized=False, resampling="area"))
    assert np.array_equal(made[1], crop(image, (5.5, 5, 10, 10), normalized=False))
    assert np.array_equal(made[2], crop(image, (9, 9, 20, 20), 16, normalized=False))
    assert np.array_equal(made[3], image[:10, :20])
    lines = ["0,0,100,50,", "0,0,20,10,", "3,4,60,30,", "3,4,60,30,20x10", "1,1,nan,4,", "1,1,1e999,4,", "1,1,0,4,"]
    (tmp_path / "b.csv").write_text("\n".join(["x,y,width,height,size", *lines]))
    ran = patchcli("crop", "a.png", "--boxes", "b.csv", "--max-size", 20, "-o", "o.npz")
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 4)  # three bad ones, and the one that nobody said how to shrink
    held = np.load(tmp_path / "o.npz")
    assert json.loads(str(held["meta"]))["resampling"] == "area, bilinear"
    assert np.array_equal(held["patches"][1], image[:10, :20])
    assert np.array_equal(held["patches"][2], crop(image, (3, 4, 60, 30), (10, 20), normalized=False, resampling="area"))
    assert np.array_equal(held["patches"][3], crop(image, (3, 4, 60, 30), (10, 20), normalized=False))


def test_resume_tells_how_what_max_size_shrinks_is_sampled(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    call = ["crop", "a.png", "--max-size", 20, "-o", "b.png", "--resume"]
    assert patchcli(*call).returncode == 0
    assert patchcli(*call, "-v").stderr.endswith(b"up to date\n")
    record = read_record(str(tmp_path / "b.png"))
    assert record is not None
    assert record.settings == {"--max-size": "20x20", "--resampling": "bilinear, area to shrink"}
    refused(
        patchcli(*call, "--resampling", "bilinear"), "was made with --resampling at bilinear, area to shrink, not at its default"
    )
    refused(patchcli(*call, "--resampling", "area"), "was made with --resampling at bilinear, area to shrink, not at area")
    boxes = ["crop", "a.png", "--boxes", "-", "-o", "c.png", "--resume"]
    for most in ([], ["--max-size", 9]):  # of which a box with a size of its own knows nothing
        ran = patchcli(*boxes, *most, "-v", stdin=b"x,y,width,height,size\n1,2,30,30,16")
        assert ran.stderr.endswith(b"up to date\n") == bool(most)


def test_a_geometry_is_a_box(patchcli: Run, tmp_path: Path) -> None:
    image = gray(40, 50)
    write_image(tmp_path / "a.png", image)
    for call in (["--box", "20x10+3+4"], ["--box=20x10+3+4"], ["--box", "20X10+3+4"], ["--box", 3, 4, 20, 10]):
        ran = patchcli("crop", *call, "a.png", "-o", "b.png", "--overwrite")
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert np.array_equal(read_image(tmp_path / "b.png"), image[4:14, 3:23])
    for value in ("20x10+3+4", " 3 4 20 10"):
        ran = patchcli("crop", "a.png", "-o", "b.png", "--overwrite", env={**os.environ, "PATCHCLI_CROP_BOX": value})
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert np.array_equal(read_image(tmp_path / "b.png"), image[4:14, 3:23])
    assert patchcli("crop", "a.png", "--box", "4.5x10-0.5+4", "-o", "c.png").returncode == 0
    assert np.array_equal(read_image(tmp_path / "c.png"), crop(image, (-0.5, 4, 4.5, 10), normalized=False))
    refused(
        patchcli("crop", "--size", 9, "-o", "d.png", "--", "--box", "20x10+3+4"), "-o names one output but there are 2 inputs"
    )


def test_a_shrink_by_more_than_two_is_a_hint_where_nobody_chose_how(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    hint = "is shrunk 2.5 times by bilinear, which skips pixels (aliasing); --resampling area weighs all of them\n"
    for options, said in {
        ("--size", "40x16"): f"patchcli: a.png: its box {hint}",
        ("--size", "25x20"): "",
        ("--size", "20x40", "--resampling", "bilinear"): "",
        ("--size", "20x40", "--resampling", "nearest"): "",
        ("--size", "10x10", "--color", "indices"): "",
        ("--max-size", "10"): "",
        ("--size", "20x40", "-q"): "",
    }.items():
        ran = patchcli("crop", "a.png", *options, "-o", "b.png", "--overwrite")
        assert (ran.returncode, ran.stderr.decode()) == (0, said)
        assert patchcli("crop", "a.png", *options, "-o", "b.png", "--overwrite", "-n").stderr.decode() == said
    ran = patchcli("crop", "a.png", "--boxes", "-", "--size", 4, "-d", "o", stdin=b"x,y,w,h\n0,0,9,10\n0,0,8,4\n0,0,4,8.5\n")
    assert ran.stderr.decode() == f"patchcli: a.png: 2 of 3 boxes {hint.replace('is', 'are', 1)}"


@pytest.mark.parametrize(
    ("call", "stdin", "sentence"),
    [
        ("--boxes - -o x.npz", "", "standard input: holds no box; give CSV (a line of column names"),
        ("--boxes - -o x.npz", "x,y,w,h\n", "standard input: holds no box; give CSV (a line of column names"),
        (STACK, "x,y,w\n1,2,3", "has the columns x, y, width (no box); give x,y,width,height, xmin,"),
        (STACK, "x,y,w,h,x0,y0,x1,y1\n1,2,3,4,5,6,7,8", "x0, y0, x1, y1 (2 kinds of box); give x,y"),
        (STACK, "x,y,w,h,width\n1,2,3,4,5", "(twice the same: width)"),
        ("--boxes - -o x.npz", ONE, "standard input:2: names no input; name one, or give INPUTS"),
        (STACK, "x,y,w,h,input\n1,2,3,4,a.png", "standard input:2: names an input, and INPUTS are given too; give one folder"),
        ("a.png --boxes -", ONE, "standard input:2: names no output; name one, or give -o TEMPLATE"),
        ("a.png --boxes - -o x.png", "x,y,w,h\n1,2,3,4\n1,2,3,4", "standard input:3: x.png is an output of line 2 too"),
        (STACK, '[{"box": [1, 2, 3, 4]}]', "standard input: begins with a JSON array; give JSON Lines"),
        (STACK, "x,y,w,h,output\n1,2,3,4,o.png", "standard input:2: names an output, and -o is one file for all"),
        ("a.png --boxes - -d o", "x,y,w,h,output\n1,2,3,4,o/", "standard input:2: has output o/, the name of a folder"),
        ("a.png --boxes - -o {stem}x.png", "x,y,w,h\n1,2,3,4\n1,2,3,4", "standard input:3: ax.png is an output of line 2 too"),
        ("a.png --boxes - -o {wrong}.png", ONE, "{wrong}.png: has the field {wrong}"),
        ("a.png --boxes - -o x.gif", ONE, "suffix is '.gif'; for images use .png"),
        ("a.png --boxes - -o a.png", ONE, "a.png: is an input too"),
        ("a.png --boxes - -o there.npz", ONE, "there.npz: already exists"),
        ("a.png --boxes - -d o -o x.png", ONE, "use only one of -o and -d"),
        ("a.png --boxes none.csv -o x.npz", "", "none.csv: cannot be read: no such file"),
        ("a.png --boxes b.csv -o b.csv.npz --box 0 0 1 1", "", "use only one of --boxes and --box"),
        ("a.png --boxes b.csv -o x.npz --fit a.png", "", "use only one of --boxes and --fit"),
        ("- --boxes - -o x.npz", ONE, "standard input (-) was given twice"),
        ("a.png --boxes a.png -o x.npz", "", "a.png: is not UTF-8 text"),
        ("a.png --boxes - -o x.npz --image-format png", ONE, "--image-format is for images, not for .npz"),
        ("a.png -o x.png", "", "give a box: --box, --normalized-box, --boxes or --fit; or --size or --max-size"),
        ("a.png --max-size 9 --size 8 -o x.png", "", "use only one of --size and --max-size"),
        ("a.png --max-size 9 --fit a.png -o x.png", "", "use only one of --fit and --max-size"),
        ("a.png --boxes - --max-size 9 --size 8 -o x.npz", ONE, "use only one of --size and --max-size"),
        ("a.png --box 9x8 -o x.png", "", "'9x8' is not a box; write X Y W H or WxH+X+Y, as in 64x48+10+20"),
        ("a.png --box 0x8+1+1 -o x.png", "", "box is empty: 1 1 0 8"),
        ("a.png --max-size 0 -o x.png", "", "'0' is not a size"),
        ("--boxes {stem}.txt -d o", "", "{stem}.txt: is made of names of images; give these as INPUTS"),
        ("- --boxes {stem}.txt -o x.png", "", "{stem}.txt: is made of names of images, and standard input (-) has none"),
        ("a.png --boxes {stem}.txt -d o", "", "{stem}.txt: no list has a box: 1 of 1 are not there, such as a.txt"),
        ("a.png --boxes empty/{stem}.txt -d o", "", "empty/{stem}.txt: no list has a box: empty/a.txt holds none"),
        ("a.png --box 10 20 30 -o x.png", "", "'-o' is not a number; give 4 of them: X Y W H|WxH+X+Y"),
        ("a.png --normalized-box 0 0 1 -o x.png", "", "'-o' is not a number; give 4 of them: X0 Y0 X1 Y1"),
        ("a.png --boxes {what}.txt -d o", "", "{what}.txt: has the field {what}; allowed are {stem}"),
        ("a.png --boxes - -o {category}.png", ONE, "standard input:2: has no category, and -o asks for {category}"),
        ("a.png --box 1 2 3 4 -o {category}.png", "", "{category}.png: has the field {category}; allowed are {stem}"),
        ("a.png --box 0 0 1 1 --fit-report r -o x.png", "", "--fit-report is for --fit"),
        ("a.png --fit a.png -o -", "", "--fit prints its result to standard output"),
        ("a.png --fit a.png -o x.png --resampling area", "", "--resampling is area, which has no gradient"),
        ("a.png --fit a.png -o x.png --color indices", "", "--fit compares values, which --color indices have not"),
        (
            "a.png --box 0 0 1 1 -o x.png --color indices --resampling area",
            "",
            "--resampling area would mix indices; with --color indices use nearest",
        ),
        ("a.png --fit a.png -o x.png --fit-report x.png", "", "x.png: two outputs have this name"),
        ("a.png --fit b.csv -o b.csv --image-format png", "", "b.csv: is an input too"),
    ],
)
def test_bad_calls(call: str, stdin: str, sentence: str, patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(40, 50))
    (tmp_path / "there.npz").write_bytes(b"kept")
    (tmp_path / "b.csv").write_text(ONE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("")
    with untouched(tmp_path):
        refused(patchcli("crop", *call.split(), stdin=stdin.encode()), sentence)


def test_fit_finds_the_box_and_writes_the_crop(patchcli: Run, tmp_path: Path) -> None:
    cells = read_image(CELLS)
    template = crop(cells, (60.3, 50.2, 80, 71), (64, 70), normalized=False)
    write_image(tmp_path / "t.png", template)
    for start in ([], ["--box", "63", "47", "76", "74"], ["--normalized-box", "-0.48", "-0.6", "0.2", "0.02"]):
        done = patchcli("crop", CELLS, "--fit", "t.png", "-o", "f.png", "--fit-report", "r.jsonl", *start, "--overwrite")
        assert (done.returncode, done.stderr) == (0, b"")
        (line,) = done.stdout.decode().splitlines()
        found: dict[str, Any] = json.loads(line)
        assert found["converged"] is True
        assert (found["input"], found["output"]) == (str(CELLS), "f.png")
        assert np.allclose(found["box"]["pixels"], (60.3, 50.2, 80, 71), rtol=0, atol=0.01)
        assert np.allclose(
            found["box"]["normalized"], (60.3 / 120 - 1, 50.2 / 120 - 1, 140.3 / 120 - 1, 121.2 / 120 - 1), atol=1e-4
        )
        assert np.abs(read_image(tmp_path / "f.png").astype(int) - template).max() <= 1
        curve = [json.loads(step) for step in (tmp_path / "r.jsonl").read_text().splitlines()]
        assert curve[-1]["box"] == found["box"]["pixels"]
        assert curve[-1]["level"] == 0
        assert curve[0]["level"] > 0
        assert set(curve[0]) == {"input", "level", "iteration", "box", "error", "damping"}


def test_fit_that_fails_says_why_and_writes_no_crop(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "t.png", gray(40, 40))
    done = patchcli("crop", CELLS, "--fit", "t.png", "-o", "f.png")
    assert done.returncode == 1
    assert b"cells.png: template is not found: the best box is x=" in done.stderr
    assert done.stderr.count(b"\n") == 1
    found = json.loads(done.stdout)
    assert (found["converged"], found["output"]) == (False, None)
    assert not (tmp_path / "f.png").exists()
    write_image(tmp_path / "large.png", gray(400, 40))
    sentence = "template of width=40 height=400 is larger than the image of width=240 height=240"
    refused(patchcli("crop", CELLS, "--fit", "large.png", "-o", "f.png"), sentence, 1)
    refused(patchcli("crop", CELLS, "--fit", "none.png", "-o", "f.png"), "none.png: is not a file; give --fit an image")
    (tmp_path / "torn.png").write_bytes(b"torn")
    refused(patchcli("crop", CELLS, "--fit", "torn.png", "-o", "f.png"), "cells.png: its template torn.png is text, not an", 1)
    refused(patchcli("crop", SCENE, "--fit", "t.png", "-o", "f.png"), "template has 1 channels but the image 3", 1)
