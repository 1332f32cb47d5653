"""Cutting patches against slices taken one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.patches.extract import extract, view
from patchcli.strided import runs
from tests.helpers import references
from tests.helpers.strategies import FLOATS, INTEGERS, grids, images_for, pad_modes


def expected_stack(image: NDArray[Any], grid: Grid, mode: str, value: float) -> NDArray[Any]:
    far = grid.rows.padding[1] - grid.margin, grid.columns.padding[1] - grid.margin
    padded = references.pad(image, far, grid.margin, mode, value)
    return references.cut(padded, grid.rows.starts.tolist(), grid.columns.starts.tolist(), grid.patch)


@given(st.data(), grids(), pad_modes, st.integers(0, 1))
def test_extract_equals_slices(data: st.DataObject, grid: Grid, mode: str, value: int) -> None:
    image = data.draw(images_for(grid, INTEGERS + FLOATS))
    before = image.copy()
    patches, origins = extract(image, grid, pad_mode=mode, pad_value=value)
    expected = expected_stack(image, grid, mode, value)
    assert patches.dtype == image.dtype
    assert patches.flags.c_contiguous
    assert np.array_equal(patches, expected)
    assert np.array_equal(origins, grid.origins())
    assert np.array_equal(image, before)


@given(grids(), st.integers(1, 2000))
def test_block_size_changes_nothing(grid: Grid, size: int) -> None:
    image = np.arange(grid.image[0] * grid.image[1] * 3, dtype=np.uint16).reshape(*grid.image, 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patchcli.patches.extract.CUT_BYTES", size)
        stack = extract(image, grid)[0]
    assert np.array_equal(stack, extract(image, grid)[0])


def test_patch_rows_too_long_for_memory_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchcli.patches.extract.CUT_BYTES", 100)
    grid = Grid((9, 40), 3, 1)
    image = np.arange(360, dtype=np.uint8).reshape(9, 40)
    assert np.array_equal(extract(image, grid)[0], expected_stack(image, grid, "reflect", 0))


@given(st.data(), grids(edges=("drop",)))
def test_view_is_a_read_only_view(data: st.DataObject, grid: Grid) -> None:
    grid = Grid(grid.image, np.minimum(grid.patch, grid.image).tolist(), grid.stride, edge="drop")
    image = data.draw(images_for(grid))
    patches = view(image, grid.patch, grid.stride)
    assert np.shares_memory(patches, image)
    assert not patches.flags.writeable
    assert patches.shape == (*grid.shape, *grid.patch, *image.shape[2:])
    assert np.array_equal(patches.reshape(grid.count, *grid.patch, *image.shape[2:]), extract(image, grid)[0])


def test_transposed_and_sliced_images_are_cut_right() -> None:
    image = np.arange(20 * 24 * 3).reshape(20, 24, 3)
    for odd in (image.transpose(1, 0, 2), image[::2, 1::3], image[:, ::-1]):
        grid = Grid((odd.shape[0], odd.shape[1]), (3, 2), 2, edge="even")
        assert np.array_equal(extract(odd, grid)[0], expected_stack(odd, grid, "reflect", 0))


@given(st.lists(st.integers(1, 9), min_size=0, max_size=12))
def test_runs_give_back_the_starts(steps: list[int]) -> None:
    starts = np.cumsum([0, *steps])
    rebuilt = [run.start + k * run.step for run in runs(starts) for k in range(run.count)]
    assert rebuilt == starts.tolist()
    assert [k for run in runs(starts) for k in range(run.index.start, run.index.stop)] == list(range(len(starts)))


def test_something_else_than_a_grid() -> None:
    with pytest.raises(PatchcliError, match=r"grid is 8; allowed is a patchcli\.Grid"):
        extract(np.zeros((4, 4)), 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "options", "sentence"),
    [
        (np.zeros((4, 4), complex), {}, "image has dtype complex128; allowed are bool, integers and floats"),
        (np.zeros((4, 4), object), {}, "image has dtype object"),
        (np.zeros(4), {}, r"image has shape \(4,\)"),
        (np.zeros((4, 4, 3, 3)), {}, r"image has shape \(4, 4, 3, 3\)"),
        (np.zeros((4, 5)), {}, "the grid is for"),
        (np.zeros((4, 4)), {"pad_mode": "mirror"}, "pad mode is 'mirror'; allowed are reflect, symmetric"),
        (np.zeros((4, 4), "u1"), {"pad_mode": "constant", "pad_value": 256}, "value 256 does not fit dtype uint8; .* 0 to 255"),
        (np.zeros((4, 4), "u1"), {"pad_mode": "constant", "pad_value": 0.5}, "value 0.5 does not fit dtype uint8"),
        (np.zeros((4, 4), "u1"), {"pad_mode": "constant", "pad_value": float("nan")}, "value nan does not fit dtype uint8"),
    ],
)
def test_bad_image(image: NDArray[Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        extract(image, Grid((4, 4), 2, margin=1), **options)
