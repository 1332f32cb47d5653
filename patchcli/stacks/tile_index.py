"""The index of tile files, version 1: JSON Lines that say where each of them lies in the image.

The first line is the ``meta`` of a stack, every further one a tile, ``{"file", "x", "y"}``: its name relative to the folder of
the index, and where it lies in the padded image. The index appears last, so that a set of tiles without one was not finished.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.stacks.header import MAX_COUNT, Meta

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_INDEX_BYTES = 1 << 30  # some ten million tiles
MAX_META_BYTES = 1 << 24  # of the first line; what an image means alone may have 4 MiB
MAX_TILE_NAME = 4096  # characters
MAX_TILE_LINE = 1 << 15  # characters of a tile's line: a name has six of JSON each at most


class TileIndex(NamedTuple):
    """What an index says of its tiles.

    Attributes:
        meta: of the image and the grid, as in a stack file.
        files: names of the tiles, relative to the folder of the index, none twice; they lead nowhere above it.
        places: where they lie in the padded image, ``origin + margin``, int64 ``(N, 2)`` (row, column), from 0, none twice.
    """

    meta: Meta
    files: list[str]
    places: NDArray[np.int64]


def first_line(meta: Meta) -> bytes:
    """The line by which an index begins, with its end."""
    return meta.to_json().encode("ascii") + b"\n"


def tile_line(name: str, y: int, x: int) -> bytes:
    """The line of a tile, with its end: its name relative to the folder of the index, its place in the padded image."""
    return json.dumps({"file": name, "x": x, "y": y}).encode("ascii") + b"\n"


def read_index(file: BinaryIO) -> TileIndex:
    """Read an index, every line checked.

    Raises:
        PatchcliError: no index, or one that is torn, too large, has a line that is not a tile's, a name that leads out of its
            folder, or one name or place twice.
    """
    text = file.read(MAX_INDEX_BYTES + 1)
    if len(text) > MAX_INDEX_BYTES:
        raise PatchcliError(f"has more than {MAX_INDEX_BYTES} bytes; an index of tiles has at most so many")
    first, _, rest = text.partition(b"\n")
    if not first.startswith(b"{") or len(first) > MAX_META_BYTES:
        raise PatchcliError("is not an index of tiles: its first line is not the meta of a stack")
    if not text.endswith(b"\n"):
        raise PatchcliError("ends within a line, so it was not finished; write it anew, or give --resume to the extract")
    meta = Meta.from_json(first.decode("utf-8", "replace"))
    lines = rest.decode("utf-8", "replace").split("\n")[:-1]
    files: list[str] = []
    places = np.empty((len(lines), 2), np.int64)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 2):
        try:
            name, places[number - 2, 0], places[number - 2, 1] = _tile(line)
        except PatchcliError as error:
            raise PatchcliError(f"line {number} {error}") from None
        if (before := seen.setdefault(name, number)) != number:
            raise PatchcliError(f"line {number} names {name!r:.200}, as line {before} does; each tile has a file of its own")
        files.append(name)
    _check_places(places)
    return TileIndex(meta, files, places)


def _check_places(places: NDArray[np.int64]) -> None:
    """Refuse two tiles of one place."""
    order = np.lexsort((places[:, 1], places[:, 0]))  # stable
    again = np.flatnonzero((places[order[1:]] == places[order[:-1]]).all(axis=1))
    if len(again):
        before, number = order[again[0]], order[again[0] + 1]
        y, x = places[number].tolist()
        raise PatchcliError(f"line {number + 2} has x={x} y={y}, as line {before + 2} does; each tile has a place of its own")


def _tile(line: str) -> tuple[str, int, int]:
    """Name, row and column of a tile."""
    tile: Any = None
    if len(line) <= MAX_TILE_LINE:
        try:
            tile = json.loads(line)
        except (ValueError, RecursionError):
            tile = None
    if not isinstance(tile, dict):
        raise PatchcliError(f'is {line!r:.60}, not a tile; allowed is {{"file": ..., "x": ..., "y": ...}}')
    name = tile.get("file")
    if not isinstance(name, str):
        raise PatchcliError(f"has file={json.dumps(name)[:40]}; allowed is a name")
    check_tile_name(name)
    return name, _place(tile, "y"), _place(tile, "x")


def _place(tile: dict[str, Any], field: str) -> int:
    """Where a tile lies along an axis."""
    value = tile.get(field)
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise PatchcliError(f"has {field}={json.dumps(value)[:40]}; allowed are whole numbers from 0")
    return value


def check_tile_name(name: str) -> None:
    """Refuse a name that does not lead to a file below the folder of its index.

    Raises:
        PatchcliError: a name that is empty, too long, absolute, or has ``..`` or NUL in it.
    """
    parts = name.replace(os.sep, "/").split("/")
    above = not parts[0] or ".." in parts or "\0" in name or os.path.isabs(name) or os.path.splitdrive(name)[0]
    if above or not parts[-1] or len(name) > MAX_TILE_NAME:
        raise PatchcliError(f"names the file {name!r:.200}; allowed are files below the folder of the index")
