"""Lists of boxes, line by line: each kind says the same of the same box, and a bad line stops no other."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchcli.cli.box_table import BadRow, Row, rows_of
from patchcli.errors import PatchcliError
from patchcli.storage.paths import World, within

SIXTEENTHS = st.integers(-(2**14), 2**14).map(lambda number: number / 16)
LENGTHS = st.integers(1, 2**14).map(lambda number: number / 16 + 1)
PICTURE = {"id": 7, "file_name": "a.png", "width": 96, "height": 64}


def rows(text: str) -> list[Row | BadRow]:
    return list(rows_of(text.splitlines(keepends=True)))


def reasons(found: list[Row | BadRow]) -> list[str]:
    assert all(isinstance(row, BadRow) for row in found)
    return [row.reason for row in found if isinstance(row, BadRow)]


def coco(*annotations: Any, images: Any = (PICTURE,), indent: int | None = 1, **more: Any) -> str:
    return json.dumps({"info": {}, "images": images, "annotations": annotations, **more}, indent=indent)


@given(box=st.tuples(SIXTEENTHS, SIXTEENTHS, LENGTHS, LENGTHS))
def test_every_kind_of_list_says_the_same(box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    fields = {
        "x,y,w,h": box,
        "x,y,width,height": box,
        "xmin,ymin,xmax,ymax": (x, y, x + width, y + height),
        "cx,cy,w,h": (x + width / 2, y + height / 2, width, height),
    }
    assume(all(max(map(abs, numbers)) > 1 for numbers in fields.values()))  # which are no fractions
    wanted = Row(2, "a.png", box, category="7")
    for names, numbers in fields.items():
        assert rows(f"Input,{names.upper()},category\na.png,{','.join(map(repr, numbers))},7\n") == [wanted]
        named = dict(zip(names.split(","), numbers, strict=True))
        assert rows("\n" + json.dumps({"input": "a.png", **named, "category": 7})) == [wanted]
    assert rows("\n" + json.dumps({"input": "a.png", "box": box, "category": "7"})) == [wanted]
    note = {"id": 5, "image_id": 7, "category_id": 1, "bbox": box, "segmentation": [[1.5] * 8]}
    for indent in (None, 2):
        text = coco("x", note, categories=[{"id": 1, "name": "7"}], indent=indent)
        assert rows(text)[1] == wanted._replace(called="annotation 5")


def test_rows_are_checked_one_by_one() -> None:
    lines: dict[str, Row | str] = {
        '{"box": [1, 2, 3, 4]}': Row(1, None, (1, 2, 3, 4)),
        "[1, 2]": "an object",
        '{"box": [1, 2, 3]}': "four numbers",
        '{"box": [1, 2, 3, true]}': "four numbers",
        '{"box": [1, 2, 3, 4], "normalized_box": [1, 2, 3, 4]}': "has box and normalized_box; give one of box",
        '{"box": [1, 2, 3, 4], "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}': "has box and xmin,ymin,xmax,ymax; give one of",
        '{"x": 1, "y": 2, "w": 3, "h": 4, "cx": 5, "cy": 6}': "has x,y,width,height and cx,cy,width,height; give one of",
        "{}": "has no box; give one of box",
        '{"x": 1, "y": 2, "width": "3", "height": 4}': 'has x,y,width,height [1, 2, "3", 4]; give four numbers',
        '{"box": [1, 2, 3, 4], "input": 5}': "name of a file",
        '{"box": [1, 2, 3, 4], "input": ""}': "name of a file",
        '{"box": [1, 2, 3, 4], "input": "a\\u0000.png"}': 'has input "a\\u0000.png"; give the name of a file',
        '{"box": [1, 2, 3, 4], "output": "\\ud800.png"}': 'has output "\\ud800.png"; give the name of a file',
        '{"box": [1, 2, 3, 4], "size": [3]}': "size [3]",
        "{": "cannot be read as JSON (Expecting property name",
        '{"box": ' + "[" * 100_000: "cannot be read as JSON (nested too deep)",
        '{"box": [1, 2, 3, ' + "9" * 5000 + "]}": "cannot be read as JSON (a number has too many digits)",
        '{"box": [1, 2, 3, ' + "9" * 400 + "]}": "has box 1, 2, 3, 99999999999999999999999999999999999999999999999999",
        '{"box": [1, 2, 3, 1e400]}': "has box 1, 2, 3, inf; give four finite numbers below 2**31",
        '{"xmin": 130.00001, "ymin": 0, "xmax": 130, "ymax": 4}': "130.00001, 0, 130, 4, a least one above the largest",
        '{"xmin": 9, "ymin": 0, "xmax": 3, "ymax": 4}': "xmin,ymin,xmax,ymax 9, 0, 3, 4, a least one above the largest",
        '{"xmin": 0.1, "ymin": 0, "xmax": 1, "ymax": 0.5}': "0.1, 0, 1, 0.5, which are fractions of the image",
        '{"cx": 1, "cy": 1, "width": 1, "height": 1}': "cx,cy,width,height 1, 1, 1, 1, which are fractions of the image",
        '{"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}': Row(1, None, (0, 0, 1, 1)),
        '{"normalized_box": [0, 0, 1e9, ' + "9" * 300 + "]}": "which are pixels",
        '{"normalized_box": [0, 0, 1, 1], "size": 5, "output": "o.png"}': Row(
            1, None, (0, 0, 1, 1), normalized=True, size=(5, 5), output="o.png"
        ),
        '{"images": [], "annotations": 3, "box": [1, 2, 3, 4]}': Row(1, None, (1, 2, 3, 4)),
    }
    found = list(rows_of(lines))
    assert [row.line for row in found] == list(range(1, len(lines) + 1))
    for row, wanted in zip(found, lines.values(), strict=True):
        if isinstance(wanted, str):
            assert isinstance(row, BadRow)
            assert wanted in row.reason
        else:
            assert row == wanted._replace(line=row.line)


def test_a_list_of_nothing_has_no_rows() -> None:
    for text in ("", " \n\n", "x,y,w,h\n", "Input,XMIN,ymin,xmax,ymax\n\n", coco()):
        assert rows(text) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x,y,w\n1,2,3", r"has the columns x, y, width \(no box\); give x,y,width,height, xmin,ymin,xmax,ymax or cx,cy"),
        ("cx,cy,x,y,w,h\n", r"\(2 kinds of box\)"),
        ("x,y,w,h,width\n", r"\(twice the same: width\)"),
        ("1,2,3,4\n", "begins with a box, where the names of the columns must stand"),
        ("x;y;w;h\n", "has its columns apart by ';'; use commas"),
        ("[1]\n", "begins with a JSON array"),
        ("{\n", r"^cannot be read as JSON \(Expecting .*neither whole, as COCO's file, nor line by line"),
        (coco(indent=None)[:-5], r"^cannot be read as JSON \(Expecting"),
        (coco(indent=None) + " more", r"^cannot be read as JSON \(Extra data"),
        (coco(indent=None) + "\nmore", "is COCO's JSON with more lines behind it"),
        ("input," + "x" * 200_000 + ",y,w,h\n", r"^begins with a line that is not CSV \(field larger than field limit"),
        ('"x,y,w,h\n', r"^begins with a line that is not CSV \(unexpected end of data"),
        (
            "x,y,w,h\n.5,.5,.2,.2\n",
            "has no box beyond the first pixel, as with x,y,width,height 0.5, 0.5, 0.2, 0.2; these are frac",
        ),
        ("x,y,w,h\n0,0,1,1\n.5,five,1,1\n0.1,0,1,1\n", "height 0.1, 0, 1, 1; these are fractions of the image; give pixels"),
        (coco({"id": 1, "image_id": 7, "bbox": [0.1, 0.2, 0.3, 0.4]}), "these are fractions of the image"),
        ('{"box":\n[1, 2, 3, 4]}\n', "is JSON over several lines, and no COCO file, which has images and annotations"),
        (coco(indent=None) + '\n{"box": [1, 2, 3, 4]}', "is COCO's JSON with more lines behind it; give one object alone"),
        (coco(images=[PICTURE, PICTURE]), "has images with the id 7 twice; give each its own"),
        (coco(categories=[{"id": 1}, {"id": 1.0}]), "has categories with the id 1.0 twice"),
        ('{"images": [], "annotations": [' + "[" * 100_000 + "\n", r"^cannot be read as JSON \(nested too deep\)"),
        ('{"images": [], "annotations": [' + "9" * 5000 + "\n", "^cannot be read as JSON .a number has too many digits"),
    ],
)
def test_lists_of_no_kind_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        rows(text)


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (5, "is 5; give an object with image_id and bbox"),
        ({"id": 1}, "has image_id null, which no image has"),
        ({"id": 1, "image_id": [7]}, "has image_id [7], which no image has"),
        ({"id": 1, "image_id": True}, "has image_id true, which no image has"),
        ({"id": 1, "image_id": "7"}, 'has image_id "7", which no image has; there is one with the id 7: write both as numbers'),
        ({"id": 1, "image_id": "x7"}, 'has image_id "x7", which no image has'),
        ({"id": 1, "image_id": 7, "bbox": {"x": 1}}, 'has bbox {"x": 1}; give four numbers'),
        ({"id": 1, "image_id": 7, "bbox": [10**400, 0, 1, 1]}, "has bbox 1000000000000000000000000000000000000000000000000000"),
        ({"id": 1, "image_id": 7}, "has bbox null; give four numbers"),
        ({"id": 1, "image_id": 7, "bbox": [1, 2, 3]}, "has bbox [1, 2, 3]; give four numbers"),
        ({"id": 1, "image_id": 7, "bbox": [1, 2, "3", 4]}, 'has bbox [1, 2, "3", 4]; give four numbers'),
        ({"id": 1, "image_id": 7, "bbox": [1, 2, -3, 4]}, "has bbox [1, 2, -3, 4]; give x, y, width, height, none of these"),
    ],
)
def test_a_bad_annotation_is_named_by_its_id(annotation: Any, sentence: str) -> None:
    good = {"id": "x y", "image_id": 7, "bbox": [1, 2, 3, 4]}
    found = rows(coco(annotation, good))
    assert found[1] == Row(2, "a.png", (1, 2, 3, 4), called="annotation x y", uncategorized="has no category_id")
    assert isinstance(found[0], BadRow)
    assert found[0].called == ("annotation 1" if isinstance(annotation, dict) else "annotation number 1")
    assert sentence in found[0].reason


def test_an_annotation_knows_why_it_has_no_category() -> None:
    kinds = [{"id": "1", "name": "cell"}, {"id": 2}]
    whys = {
        99: "has category_id 99, which no category has",
        1: 'has category_id 1, which no category has; there is one with the id "1": write both as numbers, or both as text',
        2: "has category_id 2, a category without a name",
        None: "has no category_id",
    }
    notes = [{"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4], "category_id": given} for given in whys]
    found = rows(coco(*notes, categories=kinds))
    assert [(row.category, row.uncategorized) for row in found if isinstance(row, Row)] == [(None, why) for why in whys.values()]


def test_small_boxes_are_pixels_beside_large_ones_or_whole() -> None:
    for text in ("x,y,w,h\n.5,.5,.2,.2\n2,2,3,3\n", "x,y,w,h\n0,0,1,1\n", "x,y,w,h\n-.5,0,1,1\n", "x0,y0,x1,y1\n0,0,.5,.5\n"):
        assert all(isinstance(row, Row) for row in rows(text))


@pytest.mark.parametrize(
    "name",
    ["/etc/a.png", "../a.png", "a/../../b.png", "a/..", "..\\b.png", "a\0.png", "", None, 5, ["a"], "\ud800", "s3://b/a.png"],
)
def test_names_of_a_coco_file_lead_nowhere_else(name: Any) -> None:
    note = {"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4]}
    with within(World(remote=("s3",))):
        (reason,) = reasons(rows(coco(note, images=[{"id": 7, "file_name": name}])))
    assert "file_name" in reason


def test_names_of_a_coco_file_may_be_odd() -> None:
    for name, wanted in {"-": "./-", "a..b/...png": "a..b/...png", "a/./b.png": "a/./b.png", "ä \n.png": "ä \n.png"}.items():
        (row,) = rows(coco({"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4]}, images=[{"id": 7, "file_name": name}]))
        assert isinstance(row, Row)
        assert row.source == wanted


def test_yolo() -> None:
    wanted = Row(1, None, (0.5, 0.25, 0.125, 1), category="3", fractions=True)
    assert rows("3 0.5 0.25 0.125 1\n  17\t.5 .25 .125 1.0 0.87\r\n\n") == [wanted, wanted._replace(line=2, category="17")]
    lines = {
        "0 0.5 0.5 1.2 0.5": "has 0.5, 0.5, 1.2, 0.5, not all in 0..1; YOLO's numbers are fractions",
        "0 320 240 64 48": "pixels are given as CSV with the columns cx,cy,width,height",
        "0 0.5 -0.1 0.1 0.5": "not all in 0..1",
        "0 nan 0.1 0.1 0.5": "not all in 0..1",
        "0 0.1 0.1 0.5 0.5 0.5 0.9 0.1": "is 0 0.1 0.1 0.5 0.5 0.5 0.9 0.1; give class cx cy w h",
        "0 0.1 0.1 0.5": "give class cx cy w h",
        "0 0.1 0.1 0.5 wide": "give class cx cy w h",
    }
    found = rows("\n".join(["0 -0.005 0 1.005 1", *lines]))
    assert isinstance(found[0], Row)
    for reason, sentence in zip(reasons(found[1:]), lines.values(), strict=True):
        assert sentence in reason


def test_many_boxes_take_no_more_than_their_share() -> None:
    """A hundred thousand images with a box each; quadratic steps of any kind would take minutes."""
    count = 100_000
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(count)]
    notes = [{"id": number, "image_id": count - 1 - number, "bbox": [1, 2, 3, number]} for number in range(count)]
    lines = [json.dumps({"images": images, "annotations": notes})]
    begin = time.process_time()
    found = list(rows_of(lines))
    assert time.process_time() - begin < 10
    assert found[-1] == Row(
        count, "0.png", (1, 2, 3, count - 1), called=f"annotation {count - 1}", uncategorized="has no category_id"
    )
