"""``crop --boxes`` and ``crop --fit`` as a shell sees them: real files, real pipes, real processes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patchcli import crop, read_stack
from patchcli.cli.box_table import BadRow, Row, rows_of
from patchcli.errors import UsageError
from tests.helpers.runs import SAMPLES, Run, gray, read_image, refused, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path

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
    done = patchcli("crop", "--boxes", "boxes.csv", "-d", "out", env={**os.environ, "PYTHONPATH": str(tmp_path / "hook")})
    assert (done.returncode, done.stderr) == (0, b"")
    assert trace.read_text().count("a.png\n") == 1
    a, b = read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "out/a-0.png"), a[2:22, 1:11])
    assert np.array_equal(read_image(tmp_path / "out/special.png"), crop(b, (3.5, 4, 10, 20), (7, 5), normalized=False))
    assert np.array_equal(read_image(tmp_path / "out/sub/quoted, name.png"), crop(a, (0, 0, 8, 8), 16, normalized=False))


def test_json_lines_on_standard_input(patchcli: Run, tmp_path: Path) -> None:
    rows = [
        {"input": str(SCENE), "box": [10, 20, 32, 24]},
        {"input": str(CELLS), "normalized_box": [-0.5, -0.5, 0.25, 0.5], "size": "40x30"},
        {"input": str(SCENE), "box": [1, 2, 3, 4], "size": [6, 8], "note": "more"},
    ]
    text = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)
    done = patchcli("crop", "--boxes", "-", "-o", "{stem}_{index}.png", stdin=text.encode())
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")
    scene, cells = read_image(SCENE), read_image(CELLS)
    assert np.array_equal(read_image(tmp_path / "scene_0.png"), scene[20:44, 10:42])
    assert np.array_equal(read_image(tmp_path / "cells_1.png"), crop(cells, (-0.5, -0.5, 0.25, 0.5), (30, 40)))
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
    done = patchcli("crop", SCENE, SAMPLES / "noisy.png", "--boxes", "b.csv", "--size", "20x30", "-o", "crops.npz")
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
    assert b"cells.png: standard input:1: crop is (8, 8) uint8 but those before it are (8, 8, 3) uint8" in done.stderr
    assert np.load(tmp_path / "c.npz")["patches"].shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("call", "stdin", "sentence"),
    [
        ("--boxes - -o x.npz", "", "standard input: is empty; give JSON Lines, or CSV"),
        ("--boxes - -o x.npz", "x,y,w,h\n", "standard input: has column names and no rows"),
        (STACK, "x,y,w\n1,2,3", "has the columns x, y, width (no box); give x, y, width, height or x0"),
        (STACK, "x,y,w,h,x0,y0,x1,y1\n1,2,3,4,5,6,7,8", "(both kinds of box)"),
        (STACK, "x,y,w,h,width\n1,2,3,4,5", "(twice the same)"),
        ("--boxes - -o x.npz", ONE, "standard input:2: names no input; name one, or give INPUTS"),
        (STACK, "x,y,w,h,input\n1,2,3,4,a.png", "standard input:2: names an input, and INPUTS are given too"),
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
        ("a.png -o x.png", "", "give a box: --box, --normalized-box, --boxes or --fit"),
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
    with untouched(tmp_path):
        refused(patchcli("crop", *call.split(), stdin=stdin.encode()), sentence)


def test_rows_are_checked_one_by_one() -> None:
    lines = [
        '{"box": [1, 2, 3, 4]}',
        "[1, 2]",
        '{"box": [1, 2, 3]}',
        '{"box": [1, 2, 3, true]}',
        '{"box": [1, 2, 3, 4], "normalized_box": [1, 2, 3, 4]}',
        "{}",
        '{"box": [1, 2, 3, 4], "input": 5}',
        '{"box": [1, 2, 3, 4], "size": [3]}',
        "{",
        '{"normalized_box": [0, 0, 1, 1], "size": 5, "output": "o.png"}',
    ]
    rows = list(rows_of(lines, "list"))
    assert rows[0] == Row(1, None, (1, 2, 3, 4), normalized=False)
    assert rows[-1] == Row(10, None, (0, 0, 1, 1), normalized=True, size=(5, 5), output="o.png")
    reasons = [row.reason for row in rows if isinstance(row, BadRow)]
    assert [row.line for row in rows if isinstance(row, BadRow)] == [2, 3, 4, 5, 6, 7, 8, 9]
    words = [
        "an object",
        "four numbers",
        "four numbers",
        "box and normalized_box",
        "no box",
        "name of a file",
        "size [3]",
        "not JSON",
    ]
    for reason, word in zip(reasons, words, strict=True):
        assert word in reason
    with pytest.raises(UsageError, match="list: is empty"):
        list(rows_of(["", "  \n"], "list"))


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
