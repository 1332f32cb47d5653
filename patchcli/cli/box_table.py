"""Lists of boxes: CSV, JSON Lines, COCO's JSON or YOLO's text, each box checked by itself so that a bad one stops no other."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.cli.types import parse_size
from patchcli.errors import PatchcliError
from patchcli.geometry.box import FARTHEST, shown
from patchcli.storage.files import STREAM
from patchcli.storage.paths import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

PIXELS = ("x", "y", "width", "height")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
CENTRE = ("cx", "cy", "width", "height")
NORMALIZED = ("x0", "y0", "x1", "y1")
BOX, NORMALIZED_BOX = "box", "normalized_box"  # keys of JSON that hold all four numbers
KEYS = ("input", BOX, NORMALIZED_BOX, "size", "output", "category")
SHORT = {"w": "width", "h": "height"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
COCO_LISTS = ("images", "annotations")
COCO_FIELDS = {
    *COCO_LISTS,
    "categories",
    "id",
    "file_name",
    "name",
    "image_id",
    "category_id",
    "bbox",
}  # all that is kept of such a file
YOLO = (5, 6)  # numbers of a line: a class and a box, and how certain it is
BEYOND = 0.01  # how far fractions may lie outside of 0..1, as those do that a network made
SHOWN = 60  # characters of what a list holds that a message shows
COLUMNS = "{}, {} or {} in pixels, or {} normalised".format(*map(",".join, (PIXELS, CORNERS, CENTRE, NORMALIZED)))


class Row(NamedTuple):
    """One box of a list.

    Attributes:
        line: its number in the file, from 1; of COCO's annotations the place among them.
        source: the image; None where the list does not say.
        box: four numbers, not yet checked.
        normalized: whether they are corners in normalised coordinates, or ``(x, y, width, height)`` in pixels.
        size: of the crop, (rows, columns); None where the list does not say.
        output: its file; None where the list does not say.
        category: of what is in the box; None where the list does not say.
        uncategorized: why there is no category, where that is asked for.
        fractions: the box is ``(cx, cy, width, height)`` in fractions of the image.
        called: what messages call it; empty for its line.
    """

    line: int
    source: str | None
    box: Box
    normalized: bool = False
    size: Pair | None = None
    output: str | None = None
    category: str | None = None
    uncategorized: str = "has no category"
    fractions: bool = False
    called: str = ""


class BadRow(NamedTuple):
    """A box that cannot be used, and why; the line is 0 where it is the whole list."""

    line: int
    reason: str
    called: str = ""


def rows_of(lines: Iterable[str]) -> list[Row | BadRow]:
    """The boxes of a list; of what kind it is its beginning tells.

    Raises:
        PatchcliError: a list that is of no kind, such as CSV without the columns that are needed, or whose pixels are fractions.
    """
    rows = list(_rows_in(lines))
    _refuse_all_fractions(row for row in rows if isinstance(row, Row))
    return rows


def _rows_in(lines: Iterable[str]) -> Iterator[Row | BadRow]:
    numbered = ((number, line.lstrip("\ufeff") if number == 1 else line) for number, line in enumerate(lines, 1))
    filled = ((number, line) for number, line in numbered if line.strip())
    first = next(filled, None)
    if first is None:
        return iter(())
    start = first[1].strip()
    if start.startswith("{"):
        return _json_list(first, filled)
    if start.startswith("["):
        raise PatchcliError(
            "begins with a JSON array; give JSON Lines, an object a line ('jq -c .[]' makes them), or COCO's file"
        )
    if _is_yolo(start):
        return _each(itertools.chain([first], filled), _yolo_row)
    return _csv_rows(first, filled)


def _each(lines: Iterable[tuple[int, str]], row_of: Callable[[int, str], Row]) -> Iterator[Row | BadRow]:
    """A row of each line, or what is wrong with it."""
    for number, line in lines:
        try:
            yield row_of(number, line)
        except PatchcliError as error:
            yield BadRow(number, str(error))


# what four numbers mean


def _meant(words: tuple[str, ...], box: Box) -> tuple[Box, bool]:
    """The box that four numbers under these names are, in pixels or, as the second says, normalised."""
    if words is PIXELS:
        return box, False
    a, b, c, d = box
    if words is NORMALIZED and max(map(abs, box)) > FARTHEST:
        raise PatchcliError(
            f"has {_shown(words, box)}, which are pixels: normalised corners lie in -1..1, and beyond -{FARTHEST}..{FARTHEST} "
            f"none is allowed; pixels are given as {','.join(PIXELS)}, or as corners {','.join(CORNERS)}"
        )
    if words is CENTRE:
        _refuse_fractions(words, box, whole_too=True)
        return (a - c / 2, b - d / 2, c, d), False
    if words is CORNERS:
        _refuse_fractions(words, box, whole_too=False)
        if c < a or d < b:
            raise PatchcliError(f"has {_shown(words, box)}, a least one above the largest; give xmin <= xmax and ymin <= ymax")
        return (a, b, c - a, d - b), False
    return box, True


def _floats(what: str, numbers: Iterable[float | str]) -> Box:
    """Four numbers under these names; those beyond all floats, of which JSON has whole ones too, are told as they are written."""
    given = list(numbers)
    try:
        x, y, width, height = map(float, given)
        beyond = any(map(math.isinf, (x, y, width, height)))
    except OverflowError:
        beyond = True
    if beyond:
        raise PatchcliError(f"has {what} {', '.join(map(str, given)):.{SHOWN}}; give four finite numbers below 2**31")
    return x, y, width, height


def _refuse_all_fractions(rows: Iterable[Row]) -> None:
    """Refuse a list of boxes in pixels that are fractions: all are within 0..1, and not all of them whole."""
    first = None
    for row in rows:
        if row.normalized or row.fractions or not all(0 <= number <= 1 for number in row.box):
            return
        if first is None and not all(number.is_integer() for number in row.box):
            first = row
    if first is not None:
        numbers = _shown(PIXELS, first.box)
        raise PatchcliError(
            f"has no box beyond the first pixel, as with {numbers}; these are fractions of the image; give pixels, or fractions "
            "as YOLO has them, in lines of class cx cy w h"
        )


def _refuse_fractions(words: tuple[str, ...], box: tuple[float, ...], *, whole_too: bool) -> None:
    """Refuse numbers of which no pixel is made, because they are fractions of the image."""
    if all(abs(number) <= 1 for number in box) and (whole_too or not all(number.is_integer() for number in box)):
        raise PatchcliError(
            f"has {_shown(words, box)}, which are fractions of the image, and {','.join(words)} are pixels; give pixels, or "
            "fractions as YOLO has them, in lines of class cx cy w h"
        )


def _shown(words: tuple[str, ...], box: Iterable[float]) -> str:
    return f"{','.join(words)} {', '.join(map(shown, box))}"


def _boxes_in(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Which fours of names make a box: one of them is wanted."""
    return [words for words in (PIXELS, CORNERS, CENTRE, NORMALIZED) if set(words) <= set(names)]


def _size(given: object) -> Pair | None:
    if given is None:
        return None
    size = parse_size(str(given))
    if size is None:
        raise PatchcliError(f"has size {given!s:.40}; write W or WxH in whole pixels, as in 64x48")
    return size


def _check_name(what: str, name: str | None) -> str | None:
    """The name of a file, if there is one and the system can have it."""
    try:
        if name is None or (name and b"\0" not in os.fsencode(name)):
            return name
    except UnicodeEncodeError:  # half of a surrogate pair
        pass
    raise PatchcliError(f"has {what} {json.dumps(name)[:SHOWN]}; give the name of a file")


# CSV


def _csv_rows(first: tuple[int, str], rest: Iterable[tuple[int, str]]) -> Iterator[Row | BadRow]:
    columns = _columns_of(first[1])
    found = _boxes_in(columns)
    if len(found) != 1:
        fault = f"{len(found)} kinds of box" if found else "no box"
        raise PatchcliError(
            f"has the columns {', '.join(columns)[:100]} ({fault}); give {COLUMNS}; and, where wanted, input, size, output, "
            "category"
        )

    def row_of(number: int, line: str) -> Row:
        try:
            cells = _cells(line)
        except csv.Error as error:
            raise PatchcliError(f"is not CSV ({error})") from None
        if len(cells) != len(columns):
            raise PatchcliError(f"has {len(cells)} cells; give {len(columns)}, one for each column")
        return _csv_row(number, dict(zip(columns, (cell.strip() for cell in cells), strict=True)), found[0])

    return _each(rest, row_of)


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], strict=True), [])


def _columns_of(line: str) -> list[str]:
    """The names of columns, in small letters and at full length."""
    try:
        cells = [cell.strip() for cell in _cells(line)]
    except csv.Error as error:
        raise PatchcliError(f"begins with a line that is not CSV ({error}); give the names of the columns there") from None
    if sum(NUMBER.fullmatch(cell) is not None for cell in cells) >= len(PIXELS):
        raise PatchcliError(
            f"begins with a box, where the names of the columns must stand, such as input,{','.join(PIXELS)}; got "
            f"{line.strip():.{SHOWN}}"
        )
    other = next((mark for mark in ";\t|" if mark in cells[0]), None) if len(cells) == 1 else None
    if other:
        raise PatchcliError(f"has its columns apart by {other!r}; use commas")
    columns = [SHORT.get(cell.lower(), cell.lower()) for cell in cells]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise PatchcliError(f"has the columns {', '.join(columns)[:200]} (twice the same: {twice}); give each once")
    return columns


def _csv_row(number: int, cells: dict[str, str], words: tuple[str, ...]) -> Row:
    for word in words:
        if not NUMBER.fullmatch(cells[word]):
            raise PatchcliError(f"has {word} {cells[word]!r:.40}; give a number")
    return Row(
        number,
        _check_name("input", cells.get("input") or None),
        *_meant(words, _floats(",".join(words), [cells[word] for word in words])),
        size=_size(cells.get("size") or None),
        output=_check_name("output", cells.get("output") or None),
        category=cells.get("category") or None,
    )


# JSON Lines


def _json_list(first: tuple[int, str], rest: Iterable[tuple[int, str]]) -> Iterator[Row | BadRow]:
    """JSON Lines, or COCO's, which is one object, on one line or many."""
    start = first[1].strip()
    by_lines = start != "{" and start.endswith("}")
    if not by_lines or all(f'"{key}"' in start for key in COCO_LISTS):
        whole, fault = _loaded(start if by_lines else "".join(line for _, line in itertools.chain([first], rest)))
        if isinstance(whole, dict) and all(isinstance(whole.get(key), list) for key in COCO_LISTS):
            if next(iter(rest), None) is not None:
                raise PatchcliError("is COCO's JSON with more lines behind it; give one object alone")
            return _coco_rows(whole)
        if not by_lines and fault:
            raise PatchcliError(
                f"cannot be read as JSON ({fault}), neither whole, as COCO's file, nor line by line; give an object or one a line"
            )
        if not by_lines:
            raise PatchcliError(
                f"is JSON over several lines, and no COCO file, which has {' and '.join(COCO_LISTS)}; give JSON Lines, an "
                "object a line ('jq -c .' makes them), or CSV"
            )
    return _each(itertools.chain([first], rest), _json_row)


def _loaded(text: str) -> tuple[Any, str]:
    """A COCO file, of which only what boxes need is kept, as outlines take far more; and why, if it cannot be read.

    What has nothing of that is kept for messages, until what it is in is read.
    """
    try:
        return json.loads(text, object_hook=lambda found: {key: found[key] for key in COCO_FIELDS & found.keys()} or found), ""
    except (ValueError, RecursionError) as error:
        return None, _why_unread(error)


def _why_unread(error: Exception) -> str:
    """Why text could not be read as JSON."""
    if isinstance(error, json.JSONDecodeError):
        return str(error).splitlines()[0]
    return "nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"


def _json_row(number: int, line: str) -> Row:
    try:
        fields = json.loads(line, object_pairs_hook=_once)
    except PatchcliError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is one too
        raise PatchcliError(f"cannot be read as JSON ({_why_unread(error)})") from None
    if not isinstance(fields, dict):
        raise PatchcliError(f"is {line.strip():.40}; give an object, as in " + '{"box": [10, 20, 64, 64]}')
    for key in ("input", "output"):
        if not isinstance(fields.get(key, "x"), str):
            raise PatchcliError(f"has {key} {json.dumps(fields[key])[:SHOWN]}; give the name of a file")
    size = fields.get("size")
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004
        size = f"{size[0]}x{size[1]}"
    category = fields.get("category")
    return Row(
        number,
        _check_name("input", fields.get("input")),
        *_json_box(fields),
        size=_size(size),
        output=_check_name("output", fields.get("output")),
        category=None if category is None else str(category),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, no key twice, and none of ours in other letters."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise PatchcliError("has a key twice; give each once")
    other = [key for key in fields if key not in KEYS and key.lower() in KEYS]
    if other:
        raise PatchcliError(f"has the key {other[0]}; write {other[0].lower()}")
    return fields


def _json_box(fields: dict[str, Any]) -> tuple[Box, bool]:
    """The box of an object: under one key, or under the names of columns."""
    named = {SHORT.get(key, key): value for key, value in fields.items()}
    keys, columns = [key for key in (BOX, NORMALIZED_BOX) if key in fields], _boxes_in(named)
    if len(keys) + len(columns) != 1:
        given = " and ".join([*keys, *map(",".join, columns)]) or "no box"
        raise PatchcliError(f"has {given}; give one of {BOX} [x, y, width, height], {NORMALIZED_BOX}, and the keys {COLUMNS}")
    if keys:
        return _meant(PIXELS if keys[0] == BOX else NORMALIZED, _four(keys[0], fields[keys[0]]))
    (words,) = columns
    return _meant(words, _four(",".join(words), [named[word] for word in words]))


def _four(what: str, box: Any) -> Box:  # noqa: ANN401  what JSON holds
    numbers = isinstance(box, list) and len(box) == 4 and all(_is_number(one) for one in box)  # noqa: PLR2004
    if not numbers:
        raise PatchcliError(f"has {what} {json.dumps(box)[:SHOWN]}; give four numbers")
    return _floats(what, box)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# COCO

_ById = dict[int | float | str | None, dict[str, Any]]


def _coco_rows(data: dict[str, Any]) -> Iterator[Row | BadRow]:
    """A row for each annotation, with the file of its image and the name of its category."""
    images = _by_id("images", data["images"])
    categories = _by_id("categories", data.get("categories") or [])

    def row_of(number: int, called: str, fields: Any) -> Row:  # noqa: ANN401  what JSON holds
        if not isinstance(fields, dict):
            raise PatchcliError(f"is {json.dumps(fields)[:SHOWN]}; give an object with image_id and bbox")
        image = images.get(_id(fields.get("image_id")))
        if image is None:
            raise PatchcliError(_no_such("image", fields.get("image_id"), images))
        box = _four("bbox", fields.get("bbox"))
        if min(box[2:]) < 0:
            raise PatchcliError(
                f"has bbox {json.dumps(fields['bbox'])[:SHOWN]}; give x, y, width, height, none of these negative"
            )
        name, why = _category_of(fields, categories)
        row = Row(number, _coco_name(image.get("file_name")), *_meant(PIXELS, box), category=name, called=called)
        return row if name is not None else row._replace(uncategorized=why)

    for number, fields in enumerate(data["annotations"], 1):
        own = _id(fields.get("id")) if isinstance(fields, dict) else None
        called = f"annotation {own!s:.{SHOWN}}" if own is not None else f"annotation number {number}"
        try:
            yield row_of(number, called, fields)
        except PatchcliError as error:
            yield BadRow(number, str(error), called)


def _category_of(fields: dict[str, Any], categories: _ById) -> tuple[str | None, str]:
    """The name of an annotation's category, or why there is none."""
    given = fields.get("category_id")
    if given is None:
        return None, "has no category_id"
    category = categories.get(_id(given))
    if category is None:
        return None, _no_such("category", given, categories)
    name = category.get("name")
    return (None, f"has category_id {json.dumps(given)[:SHOWN]}, a category without a name") if name is None else (str(name), "")


def _no_such(what: str, given: Any, known: _ById) -> str:  # noqa: ANN401  what JSON holds
    """What to say of an identifier that nothing has; where text stands for a number, that is why."""
    said = f"has {what}_id {json.dumps(given)[:SHOWN]}, which no {what} has"
    own = _id(given)
    with contextlib.suppress(ValueError):
        other = int(own) if isinstance(own, str) else str(own)
        if own is not None and other in known:
            said += f"; there is one with the id {json.dumps(other)[:SHOWN]}: write both as numbers, or both as text"
    return said


def _id(value: Any) -> int | float | str | None:  # noqa: ANN401  what JSON holds
    """An identifier, which dictionaries can hold; None for what is none."""
    return value if isinstance(value, str) or _is_number(value) else None


def _by_id(what: str, entries: Any) -> _ById:  # noqa: ANN401  what JSON holds
    """Images or categories by their identifiers.

    Raises:
        PatchcliError: two have the same one, of which nobody knows which is meant.
    """
    found: _ById = {}
    for entry in entries if isinstance(entries, list) else ():
        own = _id(entry.get("id")) if isinstance(entry, dict) else None
        if own in found:
            raise PatchcliError(f"has {what} with the id {json.dumps(own)[:SHOWN]} twice; give each its own")
        if own is not None:
            found[own] = entry
    return found


def _coco_name(name: Any) -> str:  # noqa: ANN401  what JSON holds
    """The file of an image, which a file from elsewhere names: it lies where the images do, nowhere else."""
    if not isinstance(name, str):
        raise PatchcliError(f"is of an image whose file_name is {json.dumps(name)[:SHOWN]}; give the name of a file")
    checked = str(_check_name("file_name", name))
    if os.path.isabs(checked) or is_remote(checked) or os.pardir in re.split(r"[/\\]", checked):
        raise PatchcliError(
            f"has file_name {json.dumps(name)[:SHOWN]}, which leads elsewhere; a name must lie below the folder of the images, "
            "without .."
        )
    return os.path.join(os.curdir, checked) if checked == STREAM else checked


# YOLO


def _is_yolo(line: str) -> bool:
    """Whether a line is a class and numbers, between blanks, be they as many as they should."""
    cells = line.split()
    return len(cells) > 1 and all(NUMBER.fullmatch(cell) for cell in cells[1:])


def _yolo_row(number: int, line: str) -> Row:
    cells = line.split()
    if len(cells) not in YOLO or not all(NUMBER.fullmatch(cell) for cell in cells[1:]):
        raise PatchcliError(f"is {line.strip():.{SHOWN}}; give class cx cy w h, and how certain it is at most")
    x, y, width, height = box = tuple(map(float, cells[1:5]))
    if not all(-BEYOND <= one <= 1 + BEYOND for one in box):
        raise PatchcliError(
            f"has {', '.join(cells[1:5])}, not all in 0..1; YOLO's numbers are fractions of the image, and pixels are given as "
            f"CSV with the columns {','.join(CENTRE)}"
        )
    return Row(number, None, (x, y, width, height), category=cells[0], fractions=True)
