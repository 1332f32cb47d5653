"""Lists of boxes: JSON Lines or CSV, a box a line, each checked by itself so that one bad line stops no other."""

from __future__ import annotations

import csv
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.cli.types import parse_size
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.box import FARTHEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

PIXELS, CORNERS = ("x", "y", "width", "height"), ("x0", "y0", "x1", "y1")
KEYS = ("input", "box", "normalized_box", "size", "output")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
SHORT = {"w": "width", "h": "height"}


class Row(NamedTuple):
    """One line of a list.

    Attributes:
        line: its number in the file, from 1.
        source: the image; None where the list does not say.
        box: four numbers, not yet checked.
        normalized: whether they are corners in normalised coordinates, or ``(x, y, width, height)`` in pixels.
        size: of the crop, (rows, columns); None where the list does not say.
        output: its file; None where the list does not say.
    """

    line: int
    source: str | None
    box: Box
    normalized: bool
    size: Pair | None = None
    output: str | None = None


class BadRow(NamedTuple):
    """A line that cannot be used, and why."""

    line: int
    reason: str


def rows_of(lines: Iterable[str], name: str) -> Iterator[Row | BadRow]:
    """The rows of a list, JSON Lines where its first line begins with a brace, CSV otherwise.

    Raises:
        UsageError: CSV without the columns that are needed, or a list without rows.
    """
    numbered = ((number, line.lstrip("\ufeff") if number == 1 else line) for number, line in enumerate(lines, 1))
    filled = ((number, line) for number, line in numbered if line.strip())
    try:
        first = next(filled)
    except StopIteration:
        raise UsageError(f"{name}: is empty; allowed are JSON Lines, or CSV with a line of column names") from None
    if first[1].strip() in ("{", "[") or (first[1].lstrip().startswith("{") and not first[1].rstrip().endswith("}")):
        raise UsageError(
            f"{name}: is JSON over several lines; allowed are JSON Lines, an object a line ('jq -c .' makes them), and CSV"
        )
    found = _json_rows(first, filled) if first[1].lstrip().startswith("{") else _csv_rows(first, filled, name)
    count = 0
    for count, row in enumerate(found, 1):  # noqa: B007  how many there were
        yield row
    if not count:
        raise UsageError(f"{name}: has column names and no rows; allowed is a box a line")


def _check_corners(box: Box, given: str, pixels: str) -> None:
    """Refuse normalised corners so far outside the image that they are meant as pixels."""
    if any(abs(corner) > FARTHEST for corner in box):
        raise PatchcliError(
            f"has {given} {', '.join(f'{corner:g}' for corner in box)}, which are pixels: normalised corners lie in -1..1, and "
            f"beyond -{FARTHEST}..{FARTHEST} none is allowed; pixels are given as {pixels}"
        )


def _json_rows(first: tuple[int, str], rest: Iterable[tuple[int, str]]) -> Iterator[Row | BadRow]:
    for number, line in itertools.chain([first], rest):
        try:
            fields = json.loads(line, object_pairs_hook=_once)
            if not isinstance(fields, dict):
                raise PatchcliError(f"is {line.strip():.40}; allowed is an object, as in " + '{"box": [10, 20, 64, 64]}')
            yield _json_row(number, fields)
        except (json.JSONDecodeError, RecursionError) as error:
            yield BadRow(number, f"is no JSON ({str(error).splitlines()[0]})")
        except PatchcliError as error:
            yield BadRow(number, str(error))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, no key twice, and none of ours in other letters."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise PatchcliError("has a key twice; allowed is each once")
    other = [key for key in fields if key not in KEYS and key.lower() in KEYS]
    if other:
        raise PatchcliError(f"has the key {other[0]}; allowed is {other[0].lower()}")
    return fields


def _json_row(number: int, fields: dict[str, Any]) -> Row:
    given = [key for key in ("box", "normalized_box") if key in fields]
    if len(given) != 1:
        raise PatchcliError(
            f"has {' and '.join(given) or 'no box'}; allowed is one of box [x, y, width, height] and normalized_box"
        )
    box = fields[given[0]]
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):  # noqa: PLR2004
        raise PatchcliError(f"has {given[0]} {json.dumps(box)[:60]}; allowed are four numbers")
    for key in ("input", "output"):
        if not isinstance(fields.get(key, "x"), str) or fields.get(key) == "":
            raise PatchcliError(f"has {key} {json.dumps(fields[key])[:60]}; allowed is the name of a file")
    size = fields.get("size")
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004
        size = f"{size[0]}x{size[1]}"
    x, y, width, height = box
    if given[0] == "normalized_box":
        _check_corners((x, y, width, height), given[0], "box [x, y, width, height]")
    return Row(number, fields.get("input"), (x, y, width, height), given[0] != "box", _size(size), fields.get("output"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _size(given: object) -> Pair | None:
    if given is None:
        return None
    size = parse_size(str(given))
    if size is None:
        raise PatchcliError(f"has size {given!s:.40}; allowed are W or WxH in whole pixels, as in 64x48")
    return size


def _csv_rows(first: tuple[int, str], rest: Iterable[tuple[int, str]], name: str) -> Iterator[Row | BadRow]:
    if first[1].lstrip().startswith("["):
        raise UsageError(f"{name}: begins with a JSON array; allowed are JSON Lines, an object a line, and CSV")
    cells = [cell.strip() for cell in next(csv.reader([first[1]]), [])]
    if sum(NUMBER.fullmatch(cell) is not None for cell in cells) >= len(PIXELS):
        raise UsageError(
            f"{name}: begins with a box, where the names of the columns must stand, such as input,{','.join(PIXELS)}; got "
            f"{first[1].strip():.60}"
        )
    other = next((mark for mark in ";\t|" if mark in cells[0]), None) if len(cells) == 1 else None
    if other:
        raise UsageError(f"{name}: has its columns apart by {other!r}; allowed are commas")
    columns = [SHORT.get(cell.lower(), cell.lower()) for cell in cells]
    sets = [words for words in (PIXELS, CORNERS) if set(words) <= set(columns)]
    if len(sets) != 1 or len(set(columns)) != len(columns):
        fault = "twice the same" if len(set(columns)) != len(columns) else "both kinds of box" if sets else "no box"
        raise UsageError(
            f"{name}: has the columns {', '.join(columns)[:200]} ({fault}); allowed are {', '.join(PIXELS)} or "
            f"{', '.join(CORNERS)}, and input, size, output"
        )
    for number, line in rest:
        try:
            cells = next(csv.reader([line], strict=True), [])
            if len(cells) != len(columns):
                raise PatchcliError(f"has {len(cells)} cells; allowed are {len(columns)}, one for each column")
            yield _csv_row(number, dict(zip(columns, (cell.strip() for cell in cells), strict=True)), sets[0])
        except csv.Error as error:
            yield BadRow(number, f"is no CSV ({error})")
        except PatchcliError as error:
            yield BadRow(number, str(error))


def _csv_row(number: int, cells: dict[str, str], words: tuple[str, ...]) -> Row:
    box = []
    for word in words:
        if not NUMBER.fullmatch(cells[word]):
            raise PatchcliError(f"has {word} {cells[word]!r:.40}; allowed is a number")
        box.append(float(cells[word]))
    first, second, third, fourth = box
    if words is CORNERS:
        _check_corners((first, second, third, fourth), ",".join(words), f"columns {','.join(PIXELS)}")
    size, output = _size(cells.get("size") or None), cells.get("output") or None
    return Row(number, cells.get("input") or None, (first, second, third, fourth), words is CORNERS, size, output)
