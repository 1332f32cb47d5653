"""What colours mean, in as many lines as there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.pictures.canvas import Canvas
from patchcli.pictures.legend import Legend, draw_legend, legend_of, ramp, swatch
from patchcli.pictures.palette import MISSING, distinct_colours
from patchcli.pictures.raster import Raster
from patchcli.pictures.tones import number_in_words, tones_of
from tests.helpers.drawn import Recorded

keys = st.tuples(st.integers(0, 2), st.text("Wi1 ", max_size=60), st.integers(1, 200)).map(
    lambda given: (
        (swatch((1, 2, 3)), given[1] or "x"),
        (given[1] or "y", ramp(np.zeros((given[2], 3), np.uint8)), "-1.235e+05"),
        ("name:", given[1] or "z", swatch((9, 9, 9))),
    )[given[0]]
)


@given(st.lists(keys, max_size=30), st.integers(150, 600), st.integers(1, 4), st.integers(0, 10**6))
def test_keys_stay_inside_their_lines(given_keys: list[Any], width: int, most: int, more: int) -> None:
    lines = Legend(tuple(given_keys), more).lines(width, most)
    assert len(lines) <= most
    canvas = Recorded((most * 20, width))
    draw_legend(canvas, lines, 0, 0)
    canvas.check()
    last = canvas.words[-1] if canvas.words else ""
    shown = sum(map(len, lines))
    if shown < len(given_keys) or more:
        assert last == f"and {len(given_keys) - (shown - 1) + more} more"
    else:
        assert shown == len(given_keys)


def words_of(*rasters: Raster, value_range: tuple[float, float] | None = None, name: str = "") -> str:
    canvas = Recorded((100, 2000))
    legend = legend_of(rasters, tones_of(rasters, value_range), name)
    draw_legend(canvas, legend.lines(2000, 5), 0, 0)
    return canvas.said


def raster_of(pixels: Any, **more: Any) -> Raster:
    array = np.array(pixels)
    return Raster(pixels=array, dtype=array.dtype, **more)


def test_what_is_said() -> None:
    assert words_of(raster_of(np.array([[7]], np.uint8))) == ""
    assert words_of(raster_of(np.array([[7]], np.uint8)), value_range=(0, 100)) == "0 100"
    assert words_of(raster_of([[-3, 70000]]), name="after") == "after: -3 70000"
    assert words_of(raster_of([[0.125, 1 / 3]]), raster_of([[7e9]])) == "0.125 7e+09"
    assert words_of(raster_of([[5, 5]])) == "all values are 5"
    assert words_of(raster_of([[5.5, np.nan]])) == "all values are 5.5 NaN or infinite"
    assert words_of(raster_of([[5, -9999]], nodata=-9999)) == "all values are 5 nodata -9999"
    assert words_of(raster_of([[np.inf]], nodata=1.5)) == "NaN or infinite, nodata 1.5"
    assert words_of(raster_of([[True]])) == ""
    assert words_of(raster_of([[2, 0, 300]], labels=True)) == "0 2 300"
    assert words_of(raster_of([[0, 7]], labels=True, nodata=7)) == "0 nodata 7"


def test_classes_beyond_the_room_are_counted() -> None:
    labels = raster_of(np.arange(10**5).reshape(250, 400), labels=True)
    lines = legend_of([labels], tones_of([labels])).lines(600, 3)
    shown = sum(map(len, lines)) - 1
    assert len(lines) == 3
    assert lines[-1][-1] == (f"and {10**5 - shown} more",)
    assert shown > 20


def test_swatches_have_the_colours_of_the_picture() -> None:
    labels = raster_of([[4, 9]], labels=True, nodata=9)
    canvas = Canvas((30, 300))
    draw_legend(canvas, legend_of([labels], tones_of([labels])).lines(300, 1), 0, 0)
    found = {tuple(pixel) for pixel in canvas.pixels().reshape(-1, 3).tolist()}
    assert {tuple(distinct_colours([4])[0].tolist()), MISSING} <= found


def test_ramps_run_as_the_picture_does() -> None:
    for photometric, left, right in (("minisblack", 0, 255), ("miniswhite", 255, 0)):
        raster = raster_of([[0.0, 1.0]], photometric=photometric)
        (line,) = legend_of([raster], tones_of([raster])).lines(300, 1)
        bar = np.asarray(line[0][1])
        assert abs(int(bar[5, 1, 0]) - left) < 8
        assert abs(int(bar[5, -2, 0]) - right) < 8


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-320, 123456789.5, float("nan"), float("inf")])
def test_numbers_are_short(value: float) -> None:
    assert all(len(number_in_words(value, whole=whole)) <= 10 for whole in (False, True))
