"""Where patches lie: a whole grid and origins of their own must say the same of the same patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.geometry.cover import cover_at
from patchcli.geometry.grid import Grid
from patchcli.geometry.placement import Placement
from tests.helpers.strategies import grids


@given(grids())
def test_a_whole_grid_and_its_origins_agree(grid: Grid) -> None:
    whole, listed = Placement.whole_grid(grid), Placement.at(grid, grid.origins())
    assert (whole.whole, listed.whole) == (True, False)
    assert whole.count == listed.count == grid.count
    assert np.array_equal(whole.origins(1, grid.count), listed.origins(1, grid.count))
    assert np.array_equal(whole.starts(), listed.starts())
    every = slice(0, grid.image[0])
    assert np.array_equal(whole.cover.lines(every), listed.cover.lines(every))
    assert listed.most >= whole.most >= whole.cover.most


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5))
def test_cover_counts_boxes_one_by_one(seed: int, height: int, width: int) -> None:
    starts = np.random.default_rng(seed).integers(-6, 9, (seed % 7, 2))
    expected = np.zeros((7, 8), int)
    for row, column in starts.tolist():
        expected[max(row, 0) : max(row + height, 0), max(column, 0) : max(column + width, 0)] += 1
    assert np.array_equal(cover_at(starts, (height, width), (7, 8)), expected)


@given(grids(), st.integers(1, 9))
def test_parts_of_a_grid_are_joined_to_the_whole(grid: Grid, size: int) -> None:
    origins = grid.origins()
    parts = [Placement.at(grid, origins[first : first + size]) for first in range(0, grid.count, size)]
    joined = Placement.joined(parts)
    assert joined.whole == (len(parts) > 1)
    assert np.array_equal(joined.origins(), origins)
    if len(parts) > 1:
        fewer = Placement.joined(parts[1:])
        assert not fewer.whole
        assert np.array_equal(fewer.origins(), origins[size:])


def test_resized_placements() -> None:
    grid = Grid((10, 14), 4, 3, margin=2, edge="even")
    whole, listed = (one.resized((12, 12)) for one in (Placement.whole_grid(grid), Placement.at(grid, grid.origins())))
    assert whole.grid.image == listed.grid.image == (30, 42)
    assert np.array_equal(whole.origins(), 3 * grid.origins())
    assert np.array_equal(listed.origins(), 3 * grid.origins())
    assert Placement.whole_grid(grid).resized((4, 4)).grid is grid


def test_a_grid_whose_rule_would_round_is_listed() -> None:
    grid = Grid((9, 9), 2, 2, edge="even")
    moved = Placement.whole_grid(grid).resized((4, 4))
    assert not moved.whole
    assert np.array_equal(moved.origins(), 2 * grid.origins())
    assert not np.array_equal(moved.origins(), moved.grid.origins())


@pytest.mark.parametrize(
    ("origins", "sentence"),
    [
        (np.zeros((2, 2)), "origins have dtype float64; allowed are integers"),
        (np.zeros((2, 3), int), r"origins have shape \(2, 3\); expected \(N, 2\)"),
        (np.array([[0, 0], [3, -3]]), r"patch 1 has its origin at x=-3 y=3; allowed are x from -2 to 5 and y from -2 to 4"),
        (np.array([[5, 0]]), "patch 0 has its origin at x=0 y=5"),
    ],
)
def test_bad_origins(origins: NDArray[Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        Placement.at(Grid((6, 7), 4, margin=2), origins)
