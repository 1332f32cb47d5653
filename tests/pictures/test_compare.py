"""Images beside each other, and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.pictures.compare import comparison, side_by_side
from patchcli.pictures.palette import DIFFERENCES, MISSING
from tests.helpers.drawn import Recorded, recorded
from tests.helpers.rasters import PAGE, raster_of, rasters

if TYPE_CHECKING:
    from patchcli.pictures.raster import Raster


@settings(max_examples=60)
@given(st.lists(st.tuples(rasters((300, 400)), st.text(max_size=30)), min_size=1, max_size=4), st.lists(st.text(), max_size=3))
def test_any_images_beside_each_other(given_: list[tuple[Raster, str]], lines: list[str]) -> None:
    with recorded() as canvases:
        picture = side_by_side(
            [raster for raster, _ in given_], names=[name for _, name in given_], lines=lines, title="triples.npz", max_size=PAGE
        )
    canvases[0].check()
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]


def test_each_has_its_name_and_its_size_and_all_the_same_tones() -> None:
    rasters_ = [raster_of(np.full((80, 90), 0.5)), raster_of(np.array([[0.5, 2.5]])), raster_of(np.full((80, 90), 1.5))]
    with recorded() as canvases:
        picture = side_by_side(rasters_, names=["a", "b", "c"], lines=["patch 3"], title="t", max_size=(400, 700))
    assert canvases[0].words == ["t", "a", "b", "c", "0.5", "2.5", "patch 3"]
    assert (picture == 127).all(axis=2).sum() + (picture == 128).all(axis=2).sum() >= 80 * 90  # of the third, in the middle
    assert (picture[60:90] == 255).all(axis=(0, 2)).any()  # of the second, which is drawn as wide as the others
    with recorded() as canvases:
        side_by_side(rasters_, names=["a", "b", "c"], lines=[], title="t", max_size=(400, 700), value_range=(1, 2))
    assert canvases[0].said == "t a b c 1 2"


def test_a_small_one_is_drawn_about_as_large_as_the_others() -> None:
    images = [raster_of(np.zeros((90, 90), np.uint8)), raster_of(np.full((3, 3), 200, np.uint8))]
    picture = side_by_side(images, names=["a", "b"], lines=[], title="t", max_size=(400, 700))
    assert (picture == 200).all(axis=2).sum() >= 85 * 85


def compared(before: Any, after: Any, difference: Any = None, **more: Any) -> tuple[np.ndarray, Recorded]:
    one, other = np.asarray(before), np.asarray(after)
    change = other.astype(np.float64) - one if difference is None else np.asarray(difference)
    given_: dict[str, Any] = {"factor": 1, "lines": [], "title": "", "max_size": PAGE, **more}
    with recorded() as canvases:
        picture = comparison(raster_of(one), raster_of(other), change, **given_)
    canvases[0].check()
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]
    return picture, canvases[0]


@settings(max_examples=60)
@given(rasters((300, 400)), st.integers(0, 9), st.sampled_from([0.0, 1e-9, 3.0, 1e300, np.nan]), st.integers(0, 3))
def test_any_comparison(before: Raster, seed: int, most: float, lines: int) -> None:
    difference = np.random.default_rng(seed).standard_normal(before.pixels.shape) * most
    with recorded() as canvases:
        picture = comparison(
            before, before, difference, factor=before.factor, lines=["PSNR 29.1 dB"] * lines, title="a" * 99, max_size=PAGE
        )
    canvases[0].check()
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]


def test_signs_have_colours() -> None:
    before, after = np.array([[[9, 9]], [[9, 9]], [[9, 9]]], np.uint8), np.array([[[9, 9]], [[12, 5]], [[13, 9]]], np.uint8)
    picture, canvas = compared(before, after)
    columns = {tuple(picture[:, x][y].tolist()) for y in range(picture.shape[0]) for x in range(picture.shape[1])}
    assert {tuple(DIFFERENCES[index].astype(int).tolist()) for index in (0, 2, 4)} <= columns
    assert "after - before: -4 0 +4 first of 2 channels" in canvas.said
    assert "no difference" in compared(before, before)[1].said
    picture, canvas = compared([[1.0, 2.0]], [[1.0, 2.5]], [[np.nan, 0.5]])
    assert "-0.5 0 +0.5 no difference known" in canvas.said
    assert (picture == np.array(MISSING)).all(axis=2).any()


def test_before_and_after_share_tones() -> None:
    said = compared([[0.0, 1.0]], [[0.0, 4.0]])[1].said
    assert said == "before after after - before after - before: -3 0 +3 before, after: 0 4"
    with pytest.raises(PatchcliError, match="value range is 3 to 3"):
        compared([[0.0]], [[1.0]], value_range=(3, 3))
