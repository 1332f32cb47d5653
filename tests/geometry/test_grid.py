"""The grid against the table of its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.axis import EDGES, Axis, stride_from_overlap
from patchcli.geometry.grid import Grid
from tests.helpers import references
from tests.helpers.strategies import grids

numbers = st.integers(1, 40)


@given(numbers, numbers, st.integers(1, 20), st.integers(0, 10), st.sampled_from(list(EDGES)), st.integers(0, 5))
def test_axis_follows_the_table(length: int, patch: int, stride: int, offset: int, edge: str, margin: int) -> None:
    expected = references.starts(length, patch, stride, offset, edge, margin)
    if expected is None:
        with pytest.raises(PatchcliError, match=r"is larger than image width|lies outside image width"):
            Axis("width", length, patch, stride, offset, edge, margin)
        return
    axis = Axis("width", length, patch, stride, offset, edge, margin)
    assert axis.starts.tolist() == expected
    assert axis.count == len(expected)
    assert axis.padded == max(length + 2 * margin, expected[-1] + patch)
    counts = np.zeros(axis.padded, int)
    for start in expected:
        counts[start : start + patch] += 1
    assert axis.padded_cover.tolist() == counts.tolist()
    assert axis.cover().tolist() == counts[margin : margin + length].tolist()


@given(grids())
def test_grid_is_the_product_of_its_axes(grid: Grid) -> None:
    expected = [[r - grid.margin, c - grid.margin] for r in grid.rows.starts for c in grid.columns.starts]
    assert grid.origins().tolist() == expected
    assert grid.count == len(expected)
    first, last = len(expected) // 3, len(expected) // 2
    assert grid.origins(first, last).tolist() == expected[first:last]
    cover = references.cover(np.array(expected), grid.patch, grid.image)
    assert np.array_equal(grid.cover(), cover)
    assert grid.uncovered == np.count_nonzero(cover == 0)


@given(grids(), st.integers(1, 5), st.integers(1, 6))
def test_blocks_cut_the_grid_in_order(grid: Grid, rows: int, columns: int) -> None:
    index = np.arange(grid.count).reshape(grid.shape)
    first = 0
    for block in grid.blocks(rows, columns):
        inside = index[block.rows, block.columns].ravel()
        assert inside.tolist() == list(range(first, first + block.count))
        assert block.first == first
        assert block.count <= rows * columns or grid.shape[1] <= columns
        first += block.count
    assert first == grid.count


@pytest.mark.parametrize(
    ("patch", "overlap", "stride"),
    [(100, "29%", 71), (100, "0.9%", 100), (100, "9/10", 10), (8, "7", 1), (3, "1/3", 2), (7, "0", 7), (64, "12.5%", 56)],
)
def test_overlap_is_exact(patch: int, overlap: str, stride: int) -> None:
    assert stride_from_overlap(patch, overlap) == stride


@pytest.mark.parametrize(
    "overlap", ["8", "-1", "100%", "x", "1/0", "", "%", "1e", "nan%", "3.5", "1e40%", "1e-999999999%", "9" * 99]
)
def test_bad_overlap(overlap: str) -> None:
    with pytest.raises(PatchcliError, match=r"^overlap .*; allowed are "):
        stride_from_overlap(8, overlap)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Grid((8, 8), 0), "patch height is 0; allowed are whole numbers from 1"),
        (lambda: Grid((8, 8), (3, 9)), "patch width=9 is larger than image width=8; .* or --edge pad"),
        (lambda: Grid((8, 8), 3, 0), "stride along the height is 0"),
        (lambda: Grid((8, 8), 3, offset=-1), "offset along the height is -1"),
        (lambda: Grid((8, 8), 3, offset=(0, 9), edge="pad"), "offset 9 lies outside image width=8"),
        (lambda: Grid((8, 8), 3, margin=-1), "margin is -1"),
        (lambda: Grid((8, 8), 3, edge="mirror"), "edge rule is 'mirror'; allowed are shift, pad, drop, even, clip"),
        (lambda: Grid((0, 8), 3), "image height is 0"),
        (lambda: Grid((8, 8), (1, 2, 3)), "patch is .* a pair"),  # type: ignore[arg-type]
        (lambda: Grid((8, 8), 3, margin=(1, 2)), r"margin is \(1, 2\); allowed is a whole number"),  # type: ignore[arg-type]
        (lambda: Grid((8, 8), 3, edge=["pad"]), r"edge rule is \['pad'\]"),  # type: ignore[arg-type]
        (lambda: Grid((8, 8), 3).origins(-3, 2), "patches -3 to 2 were asked for; allowed are 0 to 9"),
        (lambda: Grid((8, 8), 10**23), "patch height is 1.*; allowed are whole numbers from 1 to 2"),
        (lambda: Grid((8, 8), 2.5), "patch is 2.5; allowed are a whole number or a pair"),  # type: ignore[arg-type]
    ],
)
def test_bad_grid(call: object, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        call()  # type: ignore[operator]


def test_starts_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Grid((8, 8), 3).rows.starts[0] = 1


@given(numbers, numbers, st.integers(1, 20), st.integers(0, 10), st.integers(0, 5))
def test_tiles_of_edge_clip_end_with_image_and_margin(length: int, patch: int, stride: int, offset: int, margin: int) -> None:
    assume(offset < length + 2 * margin)
    axis = Axis("width", length, patch, stride, offset, "clip", margin)
    whole = range(length + 2 * margin)
    expected = [len(whole[start : start + patch]) for start in axis.starts.tolist()]
    assert axis.cut_lengths(axis.starts).tolist() == expected
    assert min(expected) > 0
    assert Axis("width", length, patch, stride, offset, "pad", margin).cut_lengths(axis.starts).tolist() == [patch] * axis.count
