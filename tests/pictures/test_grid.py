"""Grids on their images: numbers where patches are, what is covered, and any grid at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.axis import EDGES
from patchcli.geometry.grid import Grid
from patchcli.pictures.grid import TINT, grid_picture
from patchcli.pictures.grid_axis import PictureAxis
from patchcli.pictures.page import FRAME, room
from patchcli.pictures.palette import UNCOVERED, blend
from patchcli.pictures.raster import Raster, fit
from patchcli.pictures.shrink import shrunk
from tests.helpers.drawn import Recorded, recorded
from tests.helpers.rasters import PAGE, pixels_of

PAGE_OF_ONE = (700, 900)


def drawn(grid: Grid, index: Any = None, max_size: tuple[int, int] = PAGE_OF_ONE, **more: Any) -> tuple[np.ndarray, Recorded]:
    """The picture of a grid on a gray image, and its canvas."""
    pixels = np.full(grid.padded, 100, np.uint8)
    factor = fit(grid.padded, room("grid", max_size))[0]
    raster = Raster(pixels=shrunk([pixels], pixels.shape, factor), dtype=np.dtype(np.uint8), factor=factor)
    with recorded() as canvases:
        picture = grid_picture(
            raster, grid=grid, index=None if index is None else np.array(index, np.int64), title="", max_size=max_size, **more
        )
    canvases[0].check()
    return picture, canvases[0]


def place_of(grid: Grid, canvas: Recorded) -> tuple[int, int]:
    """How often each pixel is repeated, and where the first column is: it is in the middle of the page, nothing is above."""
    scale = fit(grid.padded, room("grid", PAGE_OF_ONE))[1]
    return scale, (canvas.size[1] - grid.padded[1] * scale) // 2


def numbers_on(canvas: Recorded) -> dict[int, tuple[float, float]]:
    """Where the middle of each number is, its row and column."""
    texts = zip(canvas.words, canvas.texts, strict=True)
    return {int(word): ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for word, box in texts if word.isdigit()}


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 700), st.integers(1, 900)),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(sorted(EDGES)),
    st.integers(0, 40),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.none() | st.lists(st.integers(0, 10**6), max_size=40),
)
def test_any_grid(
    image: tuple[int, int],
    patch: tuple[int, int],
    stride: tuple[int, int],
    edge: str,
    margin: int,
    offset: tuple[int, int],
    index: list[int] | None,
) -> None:
    try:
        grid = Grid(image, patch, stride, edge=edge, margin=margin, offset=offset)
    except PatchcliError:
        assume(False)  # noqa: FBT003  it does not fit
    picture, canvas = drawn(grid, None if index is None else [number % grid.count for number in index], PAGE)
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]
    assert f"{grid.count} patch" in canvas.said.replace("no patches, 0 of ", "")


@pytest.mark.parametrize("edge", ["shift", "even", "drop", "pad"])
@pytest.mark.parametrize("margin", [0, 12])
def test_numbers_stand_in_the_middle_of_their_patches(edge: str, margin: int) -> None:
    grid = Grid((150, 190), (40, 48), (30, 36), edge=edge, margin=margin)
    _, canvas = drawn(grid)
    scale, left = place_of(grid, canvas)
    middles = (grid.origins() + margin + np.array(grid.patch) / 2) * scale + (8, left)
    found = numbers_on(canvas)
    assert set(found) <= set(range(grid.count))
    assert len(found) > grid.count * 0.7  # beside the last, which lies over others, there may be no room
    for number, place in found.items():
        assert np.abs(np.subtract(place, middles[number])).max() <= 1, number


def test_what_no_patch_covers_is_tinted() -> None:
    grid = Grid((60, 90), 20, 25, edge="drop")
    tinted = blend(np.full((1, 3), 100, np.uint8), UNCOVERED, np.array([TINT]))[0]
    for index in (None, [0, 3, 5]):
        picture, canvas = drawn(grid, index)
        scale, left = place_of(grid, canvas)
        shown = picture[8 : 8 + 60 * scale : scale, left : left + 90 * scale : scale]
        expected = np.ones(grid.image, bool)
        for row, column in grid.origins()[slice(None) if index is None else index]:
            expected[row : row + 20, column : column + 20] = False
        np.testing.assert_array_equal((shown == tinted).all(axis=2), expected)
        assert f"{expected.sum()} pixels uncovered" in canvas.said
    _, canvas = drawn(Grid((60, 90), 20))
    assert "uncovered" not in canvas.said


def test_what_was_added_looks_different() -> None:
    grid = Grid((60, 60), 40, edge="pad", margin=10)
    picture, canvas = drawn(grid, pad_mode="reflect")
    scale, left = place_of(grid, canvas)
    shown = picture[8 : 8 + 80 * scale, left : left + 80 * scale]
    inside = shown[12 * scale : 16 * scale, 12 * scale : 16 * scale]
    assert len({tuple(pixel) for pixel in inside.reshape(-1, 3).tolist()}) == 1
    added = shown[3 * scale : 8 * scale, 3 * scale : 8 * scale]
    assert len({tuple(pixel) for pixel in added.reshape(-1, 3).tolist()}) > 1
    border = shown[10 * scale - 1, 12 * scale : 15 * scale]
    assert (border == 255).all()
    assert "border that was added" in canvas.said
    assert "edge pad, margin 10, filled by reflect" in canvas.said


def test_captions() -> None:
    _, canvas = drawn(Grid((100, 200), (48, 64), (36, 48), offset=(1, 2)))
    assert "12 patches of 64x48, 4 across, 3 down, stride x=48 y=36" in canvas.said
    assert "overlap x=16 y=12, offset x=2 y=1, edge shift" in canvas.said
    _, canvas = drawn(Grid((300, 400), 39, 1))
    assert "every 39th row and column, and the last, outlined" in canvas.said
    _, canvas = drawn(Grid((300, 400), 8, 8))
    assert ", numbered" in canvas.said
    _, canvas = drawn(Grid((300, 400), 39, 20), [7, 3])
    assert "2 of 300 patches" in canvas.said
    assert set(numbers_on(canvas)) == {3, 7}
    _, canvas = drawn(Grid((300, 400), 39, 20), [])
    assert "no patches, 0 of 300 patches" in canvas.said
    _, canvas = drawn(Grid((3000, 4000), 4, 2), range(0, 2_000_000, 7))
    assert "every 572nd outlined" in canvas.said
    _, canvas = drawn(Grid((300, 400), 64, edge="even"))
    assert "7 across, 5 down, stride x=56 y=59, overlap x=8 y=5, edge even" in canvas.said
    _, canvas = drawn(Grid((300, 401), 64, edge="even"))
    assert "stride x=56-57 y=59, overlap x=7-8 y=5" in canvas.said
    for image in ((1, 1), (1, 5000)):
        _, canvas = drawn(Grid(image, (1, 1)))
        assert ("outlined" in canvas.said) == (image[1] > 1)
        assert "th row" not in canvas.said


def test_patches_that_overlap_are_filled_where_they_are() -> None:
    grid = Grid((100, 100), 40, 30)
    picture, canvas = drawn(grid)
    assert "4, 5 and 7 in colour" in canvas.said
    scale, left = place_of(grid, canvas)

    def gray(row: int, column: int) -> bool:
        red, green, blue = picture[8 + row * scale, left + column * scale].tolist()
        return bool(red == green == blue)

    assert [gray(35, 35), gray(45, 85), gray(85, 45)] == [False] * 3
    assert [gray(15, 15), gray(85, 85), gray(15, 85)] == [True] * 3


def test_a_part_of_the_padded_image() -> None:
    grid = Grid((100, 100), 20)
    raster = Raster(pixels=pixels_of(0, (40, 40), "u1"), dtype=np.dtype(np.uint8))
    with recorded() as canvases:
        grid_picture(raster, grid=grid, index=None, top_left=(40, 20), title="", max_size=PAGE_OF_ONE)
    canvases[0].check()
    assert set(numbers_on(canvases[0])) == {11, 12, 16, 17}


def test_a_very_long_axis() -> None:
    grid = Grid((7, 10**7), 4, 1)
    factor = fit(grid.padded, room("grid", PAGE))[0]
    raster = Raster(pixels=np.zeros((1, -(-(10**7) // factor)), np.float32), dtype=np.dtype(np.uint8), factor=factor)
    picture = grid_picture(raster, grid=grid, index=None, title="long", max_size=PAGE)
    assert picture.shape[1] <= PAGE[1]


@pytest.mark.parametrize("margin", [0, 10])
def test_tiles_that_are_cut_off_end_with_the_image(margin: int) -> None:
    grid = Grid((60, 90), 40, edge="clip", margin=margin)
    assert grid.padded == (80, 120)
    picture, canvas = drawn(grid, pad_mode="edge")
    assert ("border that was added" in canvas.said) == (margin > 0)
    assert ("filled by edge" in canvas.said) == (margin > 0)
    scale = fit((60 + 2 * margin, 90 + 2 * margin), room("grid", PAGE_OF_ONE))[1]
    framed = (picture == FRAME).all(axis=2)
    left = int(framed[7].argmax())
    assert framed[7].sum() == (90 + 2 * margin) * scale + 2
    assert framed[7:, left].argmin() == (60 + 2 * margin) * scale + 2


def test_uncovered_pixels_are_those_of_the_image() -> None:
    grid = Grid((60, 90), 20, 15, edge="drop", margin=12)
    index = [0, 3, 11]
    covered = np.zeros(grid.padded, bool)
    for row, column in grid.origins()[index] + grid.margin:
        covered[row : row + 20, column : column + 20] = True
    uncovered = np.count_nonzero(~covered[12:72, 12:102])
    assert f", {uncovered} pixels uncovered" in drawn(grid, index)[1].said


def test_places_are_rounded_to_the_nearest_pixel() -> None:
    side = PictureAxis(Grid((10, 10), 3).rows, 1, 0.4, 4)
    assert side.at(np.arange(13)).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]


def test_cover_of_pixels() -> None:
    grid = Grid((10, 10), 3, 4, edge="drop")
    side = PictureAxis(grid.rows, 0, 0.5, 5)
    assert side.covered().tolist() == [1, 0.5, 1, 0.5, 0]
    assert side.image() == (0, 5)
    assert [ends.tolist() for ends in side.ends(np.array([0, 1]))] == [[0, 2], [2, 4]]
