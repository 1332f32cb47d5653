"""Names of tile files against a loop over the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.stacks.tile_names import (
    POSITION_FIELDS,
    TileNames,
    has_position,
    index_path,
    of_role,
    pattern_of,
    split_template,
)
from tests.helpers.strategies import grids


def values(grid: Grid) -> list[dict[str, int]]:
    """What every field is of every patch, in order."""
    ys, xs = grid.rows.starts.tolist(), grid.columns.starts.tolist()
    return [
        {"x": x, "y": y, "row": r, "col": c, "row+1": r + 1, "col+1": c + 1, "patch": r * len(xs) + c}
        for r, y in enumerate(ys)
        for c, x in enumerate(xs)
    ]


@given(grids(), st.lists(st.sampled_from(POSITION_FIELDS), min_size=1, max_size=4), st.sampled_from(["-", "", "/", "{{", "é"]))
def test_names_are_those_of_a_loop(grid: Grid, fields: list[str], between: str) -> None:
    template = between.join(f"{{{field}}}" for field in fields) + ".png"
    every = values(grid)
    widths = {field: max(len(str(one[field])) for one in every) for field in POSITION_FIELDS}
    literal = between.replace("{{", "{")
    expected = [literal.join(str(one[field]).zfill(widths[field]) for field in fields) + ".png" for one in every]
    if len(set(expected)) < len(expected):
        with pytest.raises(PatchcliError, match=r"tiles (below|beside) each other would have one name; put \{"):
            TileNames(template, grid)
        return
    names = TileNames(template, grid)
    assert names.of(np.arange(grid.count)) == expected
    assert names.of(np.array([grid.count - 1, 0])) == [expected[-1], expected[0]]
    assert all(names.pattern.fullmatch(name) for name in expected)
    assert not names.pattern.fullmatch("0" + expected[0])


def test_numbers_are_as_wide_as_the_largest_of_the_grid() -> None:
    names = TileNames("t/a-{x}-{y}-{row+1}-{col}-{patch}.png", Grid((250, 1100), 100, edge="pad"))
    assert names.of(np.array([0, 32])) == ["a-0000-000-1-00-00.png", "a-1000-200-3-10-32.png"]


@pytest.mark.parametrize(
    ("template", "folder", "names"),
    [
        ("{x}.png", "", "{x}.png"),
        ("a/b/{x}.png", "a/b", "{x}.png"),
        ("/{x}.png", "/", "{x}.png"),
        ("a/{row}/b/{col}.png", "a", "{row}/b/{col}.png"),
        ("a{{b}}/{x}.png", "a{b}", "{x}.png"),
    ],
)
def test_the_index_lies_above_the_first_folder_with_a_position(template: str, folder: str, names: str) -> None:
    assert split_template(template) == (folder, names)
    assert index_path(template, "p", "image").removeprefix(folder).lstrip("/") == "p.tiles.jsonl"


def test_roles_have_names_and_indexes_of_their_own() -> None:
    assert of_role("t/{role}-{x}.png", "image") == "t/image-{x}.png"
    assert of_role("t/a-{x}.png", "companion1") == "t/a-{x}.companion1.png"
    assert index_path("t/a-{x}.png", "a", "companion1") == "t/a.companion1.tiles.jsonl"
    assert not has_position("{role}.png")


def test_a_pattern_takes_what_stands_in_a_template_as_it_is() -> None:
    pattern = pattern_of("a.b*{{{x}.png")
    assert pattern.fullmatch("a.b*{12.png")
    assert not pattern.fullmatch("aXb*{12.png")
    assert not pattern.fullmatch("a.b*{١٢.png")
