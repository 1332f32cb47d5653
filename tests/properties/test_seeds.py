"""The two patch systems that the project grew from, computed from their definition, equal ours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import Grid, extract, merge

CASES = [
    ((20, 23), (8, 8), (1, 1), (0, 0)),
    ((20, 23), (5, 7), (3, 2), (0, 0)),
    ((19, 31), (4, 3), (2, 5), (3, 1)),
    ((30, 30), (13, 13), (1, 1), (2, 4)),
]


def patches_by_offset_and_stride(
    image: NDArray[np.float64], patch: tuple[int, int], offset: tuple[int, int], stride: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[list[int], list[int]]]:
    """First system: every window from an offset at a stride, row by row, with lists of top and left coordinates."""
    corners = [
        (top, left)
        for top in range(offset[0], image.shape[0] - patch[0] + 1, stride[0])
        for left in range(offset[1], image.shape[1] - patch[1] + 1, stride[1])
    ]
    windows = np.stack([image[top : top + patch[0], left : left + patch[1]] for top, left in corners])
    return windows, ([top for top, _ in corners], [left for _, left in corners])


def average_up_to_the_last_patch(
    patches: NDArray[np.float64], origin: tuple[list[int], list[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First system: sums over counts, 0 where nothing lies, on an image that ends with the last patch."""
    height, width = patches.shape[1:]
    total = np.zeros((max(origin[0]) + height, max(origin[1]) + width))
    weight = np.zeros_like(total)
    for patch, top, left in zip(patches, *origin, strict=True):
        total[top : top + height, left : left + width] += patch
        weight[top : top + height, left : left + width] += 1
    return total / np.maximum(weight, 1e-12), weight


@pytest.mark.parametrize(("shape", "patch", "stride", "offset"), CASES)
def test_first_system(shape: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int], offset: tuple[int, int]) -> None:
    image = np.random.default_rng(0).standard_normal(shape)
    expected, (tops, lefts) = patches_by_offset_and_stride(image, patch, offset, stride)
    grid = Grid(shape, patch, stride, offset=offset, edge="drop")
    patches, origins = extract(image, grid)
    assert np.array_equal(patches, expected)
    assert origins.T.tolist() == [tops, lefts]
    processed = np.sin(patches)
    average, weight = average_up_to_the_last_patch(processed, (tops, lefts))
    height, width = average.shape
    merged = merge(processed, grid, fill=0)
    assert np.abs(merged[:height, :width] - average).max() < 1e-12
    assert np.array_equal(grid.cover()[:height, :width], weight)
    assert not merged[height:].any()
    assert not merged[:, width:].any()


def index_matrix(shape: tuple[int, int], patch: tuple[int, int], step: tuple[int, int]) -> NDArray[np.int64]:
    """Second system: column k holds the flat image indices of patch k, its pixels column by column."""
    flat = np.arange(shape[0] * shape[1]).reshape(shape)
    tops = range(0, shape[0] - patch[0] + 1, step[0])
    lefts = range(0, shape[1] - patch[1] + 1, step[1])
    return np.array(
        [[flat[top + i, left + j] for top in tops for left in lefts] for j in range(patch[1]) for i in range(patch[0])]
    )


@pytest.mark.parametrize(("shape", "patch", "stride"), [case[:3] for case in CASES])
def test_second_system(shape: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int]) -> None:
    image = np.random.default_rng(1).standard_normal(shape)
    index = index_matrix(shape, patch, stride)
    patchify = image.ravel()[index]
    grid = Grid(shape, patch, stride, edge="drop")
    patches, _ = extract(image, grid)
    assert np.array_equal(patches.transpose(0, 2, 1).reshape(grid.count, -1).T, patchify)

    processed = np.cos(patchify)
    unpatchify = np.bincount(index.ravel(), processed.ravel(), shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(index.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    weights = 1 / np.where(counts > 0, counts, np.inf)
    assert np.array_equal(grid.cover(), counts)
    merged = merge(np.cos(patches), grid, fill=0)
    assert np.abs(merged - weights * unpatchify).max() < 1e-12
