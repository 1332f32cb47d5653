"""Padding as an index against numpy's own, from sources in memory and in bands."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.geometry.axis import EDGES
from patchcli.geometry.grid import Grid
from patchcli.patches.extract import CUT_BYTES, cut, cut_at, extract
from patchcli.patches.padded import LINES_BYTES, PAD_MODES, ArraySource, Padded
from patchcli.threads import ahead
from tests.helpers import references
from tests.helpers.bands import Bands, Tall
from tests.helpers.strategies import pad_modes


@st.composite
def wide_grids(draw: st.DrawFn) -> Grid:
    """Grids of every rule, with margins that are wider than a band and than the image."""
    margin = draw(st.sampled_from([0, 0, 1, 3, 25]))
    sides = []
    edge = draw(st.sampled_from(tuple(EDGES)))
    for _ in range(2):
        length = draw(st.integers(1, 20))
        offset = draw(st.integers(0, min(3, length + 2 * margin - 1)))
        most = 9 if edge == "pad" else min(9, length + 2 * margin - offset)
        sides.append((length, draw(st.integers(1, most)), draw(st.integers(1, 12)), offset))
    image, patch, stride, offset2 = ((rows, columns) for rows, columns in zip(*sides, strict=True))
    return Grid(image, patch, stride, offset=offset2, edge=edge, margin=margin)


def image_of(grid: Grid, channels: tuple[int, ...]) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 60000, (*grid.image, *channels)).astype(np.uint16)


def padded_by_numpy(image: NDArray[Any], grid: Grid, mode: str, value: float) -> NDArray[Any]:
    far = grid.rows.padding[1] - grid.margin, grid.columns.padding[1] - grid.margin
    return references.pad(image, far, grid.margin, mode, value)


@settings(max_examples=400)
@given(
    grid=wide_grids(),
    mode=pad_modes,
    lines=st.integers(0, 9),
    channels=st.sampled_from([(), (1,), (3,)]),
    together=st.sampled_from([1, 100, 1 << 21]),
    size=st.sampled_from([1, 200, 1 << 21]),
    data=st.data(),
)
def test_patches_of_bands_are_those_of_a_padded_copy(
    grid: Grid, mode: str, lines: int, channels: tuple[int, ...], together: int, size: int, data: st.DataObject
) -> None:
    image = image_of(grid, channels)
    whole = padded_by_numpy(image, grid, mode, 7)
    expected = references.cut(whole, grid.rows.starts.tolist(), grid.columns.starts.tolist(), grid.patch)
    index = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=grid.count, max_size=grid.count)))
    first = data.draw(st.integers(0, grid.count - 1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patchcli.patches.padded.LINES_BYTES", together)
        patched.setattr("patchcli.patches.extract.CUT_BYTES", size)
        padded = Padded(Bands(image, lines) if lines else ArraySource(image), grid, mode, 7)
        assert padded.shape == whole.shape
        pieces = list(cut(padded))
        assert all(piece.flags.c_contiguous for piece in pieces)
        assert np.array_equal(np.concatenate(pieces), expected)
        again = np.concatenate(list(ahead(cut(padded, first), 1 << 30)))  # in another thread, and from above
        assert np.array_equal(again, expected[first:])
        some = np.concatenate([expected[:0], *cut_at(padded, index)])
        assert np.array_equal(some, expected[index])
        assert np.array_equal(extract(image, grid, index=index, pad_mode=mode, pad_value=7)[0], expected[index])
        shuffled = np.random.default_rng(1).permutation(index)
        assert np.array_equal(np.concatenate([expected[:0], *cut_at(padded, shuffled)]), expected[shuffled])
        region = padded.region((0, whole.shape[0]), (0, whole.shape[1])).pixels
        assert np.array_equal(region, whole)


@given(grid=wide_grids(), mode=pad_modes, data=st.data())
def test_any_window(grid: Grid, mode: str, data: st.DataObject) -> None:
    image = image_of(grid, ())
    whole = padded_by_numpy(image, grid, mode, 7)
    (top, bottom), (left, right) = (
        sorted(data.draw(st.lists(st.integers(0, most), min_size=2, max_size=2, unique=True))) for most in whole.shape
    )
    pixels, row, column = Padded(Bands(image), grid, mode, 7).window((top, bottom), (left, right))
    assert (row, column) == (top, left)
    assert np.array_equal(pixels, whole[top:bottom, left:right])


def test_where_nothing_is_added_nothing_is_copied() -> None:
    image = np.zeros((30, 40, 3))
    padded = Padded(ArraySource(image), Grid((30, 40), 7, 3))
    assert padded.region((9, 20), (3, 10)).pixels.base is image
    assert not np.shares_memory(Padded(ArraySource(image), Grid((30, 40), 7, 3, margin=1)).region((9, 20), (3, 10)).pixels, image)


@pytest.mark.parametrize("mode", PAD_MODES)
@pytest.mark.parametrize(("patch", "stride", "lines"), [(16, 16, 5), (16, 5, 5), (7, 3, 32), (40, 1, 8), (3, 50, 16)])
def test_each_line_is_read_once(mode: str, patch: int, stride: int, lines: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2000, 64), np.uint8)
    grid = Grid((2000, 64), patch, stride, edge="pad", margin=4)
    bands = Bands(image, lines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patchcli.patches.padded.LINES_BYTES", 20 * 72)
        for piece in cut(Padded(bands, grid, mode)):
            del piece
    assert bands.largest <= max(patch, 20) + 20 + 2 * lines
    near = patch + lines + 8
    assert (bands.counts[near:-near] == (1 if stride <= patch else bands.counts[near:-near])).all()
    assert bands.counts.max() <= (1 if mode == "constant" else 2)


@pytest.mark.parametrize("margin", [0, 100])
def test_memory_follows_the_width(margin: int) -> None:
    grid = Grid((100_000, 1000), 64, 64, margin=margin)
    tracemalloc.start()
    try:
        for piece in cut(Padded(Tall((100_000, 1000), 32), grid)):
            del piece
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * CUT_BYTES + 4 * LINES_BYTES


def test_few_patches_are_read_by_themselves() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4000, 4000), np.uint8)
    grid = Grid(image.shape, 64, 16)
    bands, index = Bands(image, 64), np.sort(np.random.default_rng(1).choice(grid.count, 20, replace=False))
    assert np.array_equal(np.concatenate(list(cut_at(Padded(bands, grid), index))), extract(image, grid, index=index)[0])
    assert bands.pixels < image.size / 8
    most = np.arange(0, grid.count, 2)
    bands = Bands(image, 64)
    for piece in cut_at(Padded(bands, grid), most):
        del piece
    assert bands.counts.max() == 1
