"""Names of tile files: a template whose position fields say which patch of a grid a tile is.

``{x}`` and ``{y}`` are pixels of the padded image, ``{row}`` and ``{col}`` the place in the grid from 0, ``{row+1}`` and
``{col+1}`` from 1, ``{patch}`` the number in the whole grid. All are padded with zeros to the width of the largest in that grid,
so that names sort.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid

INDEX_SUFFIX = ".tiles.jsonl"
FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")  # of a template: a field, a brace that stands for itself, a brace alone
DOWN, ACROSS, PATCH_FIELD = ("y", "row", "row+1"), ("x", "col", "col+1"), "patch"
POSITION_FIELDS = ("x", "y", "row", "col", "row+1", "col+1", PATCH_FIELD)
ROLE_FIELD, IMAGE_ROLE = "role", "image"


def is_index(path: str) -> bool:
    """Whether a name is that of an index of tiles: a stack is never JSON Lines."""
    return path.lower().endswith(".jsonl")


def fields_of(template: str) -> set[str]:
    """The fields of a template."""
    return {found[1] for found in FIELD.finditer(template) if found[1] is not None}


def has_position(template: str) -> bool:
    """Whether a template names tile files.

    >>> has_position("a/{stem}-{x}.png"), has_position("{stem}.npz"), has_position("{{x}}.png")
    (True, False, False)
    """
    return not fields_of(template).isdisjoint(POSITION_FIELDS)


def fields_in_words() -> str:
    """The position fields, for messages."""
    return ", ".join(f"{{{field}}}" for field in POSITION_FIELDS)


def of_role(template: str, role: str) -> str:
    """The template for a role: its field is filled, or ``.role`` stands before the suffix of all but the image.

    >>> of_role("{role}/a-{x}.png", "labels"), of_role("a-{x}.png", "labels"), of_role("a-{x}.png", "image")
    ('labels/a-{x}.png', 'a-{x}.labels.png', 'a-{x}.png')
    """
    if ROLE_FIELD in fields_of(template):
        return FIELD.sub(lambda found: role if found[1] == ROLE_FIELD else found[0], template)
    root, suffix = os.path.splitext(template)
    return template if role == IMAGE_ROLE else f"{root}.{role}{suffix}"


def split_template(template: str) -> tuple[str, str]:
    """The folder of the index, which ends where the first folder with a position field begins, and the template below it.

    >>> split_template("a/b/c-{x}.png"), split_template("a/{row}/b/{col}.png"), split_template("{x}.png")
    (('a/b', 'c-{x}.png'), ('a', '{row}/b/{col}.png'), ('', '{x}.png'))
    """
    parts = template.split("/")
    first = next((number for number, part in enumerate(parts) if has_position(part)), len(parts) - 1)
    folder = FIELD.sub(lambda found: found[0][0] if found[1] is None else found[0], "/".join(parts[:first]))
    return folder or ("/" if first else ""), "/".join(parts[first:])


def index_path(template: str, stem: str, role: str) -> str:
    """The index of the tiles of an image, named by its stem, and by the role where that is another than the image.

    >>> index_path("tiles/a-{x}.png", "a", "image"), index_path("{row}/{col}.png", "a", "labels")
    ('tiles/a.tiles.jsonl', 'a.labels.tiles.jsonl')
    """
    return os.path.join(split_template(template)[0], stem + f".{role}" * (role != IMAGE_ROLE) + INDEX_SUFFIX)


class TileNames:
    """The names of the tiles of a grid, relative to the folder of their index.

    Args:
        template: with position fields alone.
        grid: of the image.

    Raises:
        PatchcliError: two tiles would have one name.
    """

    def __init__(self, template: str, grid: Grid) -> None:
        self.grid = grid
        self.template = split_template(template)[1]
        fields = fields_of(template)
        if PATCH_FIELD not in fields:
            for count, known, words in ((grid.shape[0], DOWN, "below"), (grid.shape[1], ACROSS, "beside")):
                if count > 1 and fields.isdisjoint(known):
                    either = " or ".join(f"{{{field}}}" for field in (*known, PATCH_FIELD))
                    raise PatchcliError(f"{template}: tiles {words} each other would have one name; put {either} into it")
        self._values = {field: self._of_field(field) for field in sorted(fields)}
        widths = {field: len(str(self._largest(field))) for field in self._values}
        keys = {field: f"f{number}" for number, field in enumerate(self._values)}
        self._format = FIELD.sub(
            lambda found: found[0] if found[1] is None else f"{{{keys[found[1]]}:0{widths[found[1]]}}}", self.template
        ).format
        self._keys = list(keys.values())
        self.pattern = pattern_of(self.template, widths)

    def _of_field(self, field: str) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
        """What a field is of patches, by their numbers in the grid."""
        nx, down = self.grid.columns.count, field in DOWN
        axis, first = self.grid.rows if down else self.grid.columns, int(field.endswith("+1"))

        def value(index: NDArray[np.int64]) -> NDArray[np.int64]:
            if field == PATCH_FIELD:
                return index
            place = index // nx if down else index % nx
            return axis.starts[place] if field in ("x", "y") else place + first

        return value

    def _largest(self, field: str) -> int:
        return int(self._values[field](np.array(self.grid.count - 1)))  # of the last patch of all

    def of(self, index: NDArray[np.int64]) -> list[str]:
        """The names of patches, by their numbers ``(n,)`` in the grid."""
        columns = [of_field(index).tolist() for of_field in self._values.values()]
        return [self._format(**dict(zip(self._keys, values, strict=True))) for values in zip(*columns, strict=True)]


def pattern_of(template: str, widths: dict[str, int] | None = None) -> re.Pattern[str]:
    """What matches the names that a template gives, of numbers of these widths or of any."""
    parts, at = [], 0
    for found in FIELD.finditer(template):
        parts.append(re.escape(template[at : found.start()]))
        number = r"\d+" if widths is None else rf"\d{{{widths.get(found[1], 1)}}}"
        parts.append(re.escape(found[0][0]) if found[1] is None else number)
        at = found.end()
    return re.compile("".join([*parts, re.escape(template[at:])]), re.ASCII | re.DOTALL)
