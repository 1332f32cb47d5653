"""Where patches lie: a whole grid and origins of their own must say the same of the same patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.geometry.axis import CLIP
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
    assert whole.central == listed.central
    assert listed.most >= whole.most >= whole.cover.most


@given(grids())
def test_the_central_patch_is_nearest_to_the_middle(grid: Grid) -> None:
    origins = grid.origins()
    away = np.abs(origins + np.array(grid.patch) / 2 - np.array(grid.image) / 2).sum(axis=1)
    number = Placement.whole_grid(grid).central
    assert number == Placement.at(grid, origins).central == away.argmin()


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


@settings(max_examples=300)
@given(grids(), st.integers(0, 4), st.integers(1, 3), st.booleans(), st.integers(0, 9))
def test_what_lies_inside_a_halo(grid: Grid, halo: int, ratio: int, whole: bool, seed: int) -> None:
    """Origins lie further inside by the halo, be there a margin for it or not; the cover is that of what is used."""
    origins = grid.origins() if whole else grid.origins()[np.random.default_rng(seed).permutation(grid.count)[: seed + 1]]
    placement = Placement.whole_grid(grid) if whole else Placement.at(grid, origins)
    inside = [side - 2 * halo for side in grid.patch]
    if min(inside) < 1:
        with pytest.raises(PatchcliError, match=f"^halo is {halo}; allowed are 0 to {(min(grid.patch) - 1) // 2}, so that"):
            placement.resized(grid.patch, halo)
        return
    size = inside[0] * ratio, inside[1] * ratio
    expected = cover_at((origins + halo) * ratio, size, (grid.image[0] * ratio, grid.image[1] * ratio))
    sizes = {(grid.patch[0] * ratio, grid.patch[1] * ratio)}
    if grid.scale_of(size, halo) == (ratio, 1):  # else they are as large as whole ones under another ratio
        sizes.add(size)
    for came in sizes:
        try:
            moved = placement.resized(came, halo)
        except PatchcliError as error:
            assert "moves the first patch of the grid out of the image" in str(error)  # noqa: PT017
            assert not expected.any()
            continue
        assert moved.grid.patch == size
        assert np.array_equal(moved.origins(), (origins + halo) * ratio)
        assert np.array_equal(moved.cover.lines(slice(0, grid.image[0] * ratio)), expected)
        assert (moved.starts() >= 0).all()
        assert (moved.starts() + size <= moved.grid.padded).all()
        gaps = any(step > side for step, side in zip(grid.stride, grid.patch, strict=True))
        if whole and grid.margin >= halo and ratio == 1 and not (grid.edge == CLIP and gaps):  # where pad may have one more
            assert moved.whole  # and so as fast as without a halo


@pytest.mark.parametrize("edge", ["drop", "shift", "even", "pad"])
def test_a_halo_without_a_margin_keeps_a_regular_grid_whole(edge: str) -> None:
    moved = Placement.whole_grid(Grid((64, 96), 32, 16, edge=edge)).resized((16, 16), 8)
    assert moved.whole == (edge != "pad")


@pytest.mark.parametrize(
    ("size", "halo", "sentence"),
    [
        ((30, 30), 0, "recorded; give that size, or one k .* k a whole number; or --halo 1 if they lost 1 pixel on each side$"),
        ((20, 20), 0, "k a whole number; or --halo 6 if they lost 6 pixels on each side$"),
        ((31, 31), 0, "k a whole number$"),
        ((30, 28), 0, "k a whole number$"),
        ((34, 34), 0, "k a whole number$"),
        ((30, 30), 2, "give that size, or width=28 height=28 without the halo, or one k .*; or --halo 1 if they lost 1 pixel"),
        ((16, 16), 3, "1/2 of it leaves no whole pixels of image, margin, halo or origins$"),
        ((32, 32), 16, "^halo is 16; allowed are 0 to 15, so that something is left of patches of width=32 height=32$"),
        ((32, 32), -1, "^halo is -1; allowed are 0 to 15"),
    ],
)  # fmt: skip
def test_sizes_that_no_halo_explains(size: tuple[int, int], halo: int, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        Placement.whole_grid(Grid((64, 96), 32, 16)).resized(size, halo)


def test_a_halo_that_leaves_nothing_in_the_image() -> None:
    with pytest.raises(PatchcliError, match=r"^a halo of 3 moves the first patch of the grid out of the image$"):
        Placement.whole_grid(Grid((4, 4), 8, offset=2, edge="pad")).resized((8, 8), 3)


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
