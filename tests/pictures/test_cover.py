"""The picture of how many patches lie on each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchcli.pictures.cover import cover_picture
from patchcli.pictures.palette import AMOUNTS, UNCOVERED
from tests.helpers.drawn import Recorded, recorded
from tests.helpers.rasters import PAGE


def drawn(cover: Any, **more: Any) -> tuple[np.ndarray, Recorded]:
    array = np.array(cover, np.float64)
    given_: dict[str, Any] = {"factor": 1, "weights": False, "most": float(array.max()), "uncovered": None}
    with recorded() as canvases:
        picture = cover_picture(array, **{**given_, "title": "", "max_size": PAGE, **more})
    canvases[0].check()
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]
    return picture, canvases[0]


@given(
    st.integers(0, 9),
    st.tuples(st.integers(1, 300), st.integers(1, 600)),
    st.sampled_from([0, 0.3, 1, 5, 1521, 1e12]),
    st.booleans(),
    st.none() | st.integers(0, 10**9),
    st.sampled_from([1, 17]),
)
def test_any_cover(seed: int, shape: tuple[int, int], most: float, weights: bool, uncovered: int | None, factor: int) -> None:
    cover = np.random.default_rng(seed).random(shape) * most
    drawn(cover, most=most, weights=weights, uncovered=uncovered, factor=factor, title="cover " * 30, lines=["mean 3.2"])


def test_colours_and_words() -> None:
    picture, canvas = drawn([[0, 1, 2]], uncovered=1, title="tiles")
    row = picture[40, (min(picture.shape[1], 640)) // 2 - 12 :: 8][:3].tolist()
    assert row == [[*UNCOVERED], [round(float(value)) for value in AMOUNTS[2]], AMOUNTS[-1].tolist()]
    assert canvas.said == "tiles 1 2 patches on a pixel 0: uncovered drawn at 8x, 1 pixel uncovered"
    assert "0 300 patches on a pixel" in drawn([[1, 300]])[1].said
    assert "0 2.5 weight on a pixel" in drawn([[1, 2.5]], weights=True)[1].said
    assert drawn([[0, 0]])[1].said == "0: uncovered drawn at 8x"
