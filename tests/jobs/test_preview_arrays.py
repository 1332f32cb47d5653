"""``patchcli.preview``: arrays, stacks and grids as pictures, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import patchcli
from patchcli import Grid, Meta, PatchcliError, Stack
from tests.helpers.drawn import recorded
from tests.helpers.runs import SAMPLES

SCENE = str(SAMPLES / "scene.png")
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
GRID = Grid((90, 120), 24, 12)
PATCHES, ORIGINS = patchcli.extract(IMAGE, GRID)
STACK = Stack(PATCHES, ORIGINS, Meta(GRID, (3,), np.dtype("u1")))


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((IMAGE,), {}),
        ((IMAGE[..., 0] > 100,), {}),
        ((IMAGE[..., 0].astype("f8") * 1e300,), {}),
        ((IMAGE[..., 0],), {"labels": True}),
        ((IMAGE,), {"grid": GRID}),
        ((IMAGE,), {"grid": Grid((90, 120), 24, 12, margin=5, edge="pad"), "pad_mode": "constant", "pad_value": 7}),
        ((IMAGE,), {"grid": GRID, "index": np.array([3, 9])}),
        ((STACK,), {}),
        ((STACK,), {"numbers": (3, 1)}),
        ((STACK,), {"show": "cover"}),
        ((PATCHES,), {}),
        ((PATCHES,), {"grid": GRID, "numbers": (3, 1)}),
        ((PATCHES[..., 0],), {"show": "patches", "grid": GRID}),
        ((PATCHES,), {"show": "cover", "grid": GRID}),
        ((GRID,), {}),
        ((GRID,), {"index": np.array([0, 5])}),
        ((IMAGE, 255 - IMAGE), {}),
        ((IMAGE,), {"show": "triple", "grid": GRID}),
        ((IMAGE, PATCHES // 2), {"show": "triple", "grid": GRID}),
        ((IMAGE, PATCHES[[3, 9]]), {"show": "triple", "grid": GRID, "index": np.array([3, 9])}),
        ((IMAGE, STACK), {"show": "triple"}),
    ],
)
def test_pictures(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    picture = patchcli.preview(*arguments, **keywords, max_size=(500, 600))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.shape[0] <= 500
    assert picture.shape[1] <= 600


def test_an_image_is_in_its_picture() -> None:
    image = np.arange(200 * 300, dtype=np.uint8).reshape(200, 300)
    picture = patchcli.preview(image, max_size=(400, 400))
    views = np.lib.stride_tricks.sliding_window_view(picture[..., 0], image.shape)
    assert any((view == image).all() for row in views for view in row)


def test_classes_of_processed_patches_are_not_mixed() -> None:
    classes = np.where(IMAGE[..., 0] > 127, np.uint8(9), np.uint8(1))
    patches = patchcli.extract(classes, GRID)[0]
    patches[::2] = 9  # whose mean with 1 is 5
    picture = patchcli.preview(classes, patches, show="triple", grid=GRID, labels=True)
    _, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    assert (counts > 10_000).sum() == 3  # the page and two classes


def test_a_grid_that_is_clipped_is_as_sharp_as_its_image() -> None:
    image = np.arange(300 * 400, dtype=np.uint16).reshape(300, 400)
    with recorded() as canvases:
        patchcli.preview(image, grid=Grid(image.shape, 100, edge="clip", margin=7), max_size=(560, 700))
    assert "drawn at" not in canvases[0].said


def test_what_is_given_is_not_changed() -> None:
    before = IMAGE.copy(), PATCHES.copy()
    patchcli.preview(IMAGE, PATCHES, show="triple", grid=GRID)
    np.testing.assert_array_equal(IMAGE, before[0])
    np.testing.assert_array_equal(PATCHES, before[1])


@pytest.mark.parametrize(
    ("arguments", "keywords", "sentence"),
    [
        ((IMAGE,), {"show": "pie"}, r"show is 'pie'; allowed are patches, grid, cover, triple, compare"),
        ((IMAGE,), {"show": "grid"}, "it is not known where patches lie; give grid"),
        ((IMAGE,), {"show": "cover"}, "it is not known where the patches lie; give their grid"),
        ((IMAGE,), {"show": "compare"}, "a comparison needs two images; give other"),
        (
            (IMAGE, IMAGE[:50]),
            {},
            "the second image is one of width=120 height=50 with 3 channels, but the first image is one of",
        ),
        ((IMAGE, PATCHES[..., 0]), {"show": "triple", "grid": GRID}, "patches become an image of .* but the first is one of"),
        ((IMAGE,), {"grid": GRID, "index": [0, 9999]}, "give whole numbers from 0 to"),
        ((IMAGE,), {"grid": Grid((50, 50), 8)}, r"image has shape \(90, 120\) but the grid is for \(50, 50\)"),
        ((IMAGE.astype("c8"),), {}, "dtype complex64"),
        ((PATCHES[0, 0],), {"show": "patches"}, "expected"),
        ((STACK,), {"numbers": (9999,)}, "numbered from 0, and none is number 9999"),
        ((IMAGE,), {"max_size": (10, 10)}, "too small to be drawn"),
        ((IMAGE,), {"max_size": 10}, "too small to be drawn"),
        ((IMAGE,), {"value_range": (5, 5)}, "range"),
        ((IMAGE,), {"grid": GRID, "index": [10**6]}, "index is not a list of numbers of patches"),
        ((GRID,), {"index": [-1]}, "index is not a list of numbers of patches"),
        ((IMAGE,), {"index": [0]}, "index is of the patches of a grid; give grid"),
        ((IMAGE,), {"grid": GRID, "index": np.arange(0), "show": "triple"}, "index is empty"),
        ((PATCHES,), {"numbers": [-1]}, "numbers are .-1.; give a list of whole numbers from 0"),
        ((PATCHES,), {"numbers": 3}, "numbers are 3; give a list"),
        ((PATCHES,), {"numbers": [1.5]}, "give a list of whole numbers from 0"),
        ((STACK, IMAGE), {}, "a Stack stands where an image is needed"),
        ((IMAGE, "b.png"), {}, "a str stands where an image is needed"),
        (("a.png",), {"show": "grid"}, "it is not known where patches lie; give grid"),
        (("a.png",), {"show": "triple"}, "it is not known where patches lie; give grid"),
        (("a.png",), {"show": "compare"}, "a comparison needs two images; give other"),
        ((SCENE,), {"grid": GRID}, r"scene.png: image has shape \(300, 400\) but the grid is for \(90, 120\)"),
        (("missing.png",), {}, "missing.png: cannot be read"),
        (("missing.png", IMAGE), {}, "so other is to be one, too"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        patchcli.preview(*arguments, **keywords)


@pytest.mark.parametrize("index", [None, np.array([0, 6, 8, 15])])
def test_the_central_patch_is_in_the_middle(index: Any) -> None:
    image, grid = np.zeros((64, 64), np.uint8), Grid((64, 64), 16)  # four patches a side, of which number 8 is at the left
    for more in ((), (patchcli.extract(image, grid, index=index)[0],)):
        with recorded() as canvases:
            patchcli.preview(image, *more, grid=grid, index=index, show="triple")
        number = 5 if index is None else 1 if more else 6  # processed patches are numbered as they stand
        assert f"patch {number}, 16x16" in canvases[0].words
        assert ("3072 pixels uncovered, 0 in the reconstruction" in canvases[0].said) == (index is not None)
