"""What an image means: moved, scaled, through JSON and through every format."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.images import sink
from patchcli.images.codec import Encoding
from patchcli.images.formats import FORMATS, READABLE, WRITABLE
from patchcli.images.metadata import (
    GEO_KEYS,
    MAX_FIELDS,
    PIXEL_SCALE,
    TIE_POINTS,
    TRANSFORMATION,
    Metadata,
    as_icc,
)
from patchcli.images.source import open_image

AREA, POINT = ((1, 1, 0, 1, 1025, 0, 1, kind) for kind in (1, 2))
PLACED = ((PIXEL_SCALE, (10.0, 10.0, 0.0)), (TIE_POINTS, (0.0, 0.0, 0.0, 500000.0, 4200000.0, 0.0)))
ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
GRAY_ICC = ICC[:16] + b"GRAY" + ICC[20:]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def at(metadata: Metadata, column: Fraction, row: Fraction) -> tuple[Fraction, Fraction]:
    """Where on earth a point of the image lies, in pixels from its top left corner: by the formulas of the standard."""
    tags = {tag: tuple(map(Fraction, values)) for tag, values in metadata.geotiff if not isinstance(values, str)}
    half = Fraction(1, 2) if tags.get(GEO_KEYS, AREA)[-1] == 2 else Fraction(0)
    i, j = column - half, row - half
    if TRANSFORMATION in tags:
        m = tags[TRANSFORMATION]
        return m[0] * i + m[1] * j + m[3], m[4] * i + m[5] * j + m[7]
    (sx, sy, _), (ti, tj, _, x, y, _) = tags[PIXEL_SCALE], tags[TIE_POINTS]
    return x + (i - ti) * sx, y - (j - tj) * sy


numbers = st.integers(-64, 64).map(lambda number: number / 4)
factors = st.sampled_from([0.25, 0.5, 1, 2, 4, -0.5, -2])
placed = st.builds(
    lambda scale, point, keys: Metadata(
        geotiff=((PIXEL_SCALE, (*scale, 0.0)), (TIE_POINTS, (point[0], point[1], 0.0, point[2], point[3], 0.0)), (GEO_KEYS, keys))
    ),
    st.tuples(*[st.integers(1, 64).map(float)] * 2),
    st.tuples(*[numbers] * 4),
    st.sampled_from([AREA, POINT]),
) | st.builds(
    lambda six, keys: Metadata(
        geotiff=((TRANSFORMATION, (*six[:2], 0.0, six[2], *six[3:5], 0.0, six[5], *[0.0] * 7, 1.0)), (GEO_KEYS, keys))
    ),
    st.lists(numbers, min_size=6, max_size=6),
    st.sampled_from([AREA, POINT]),
)


@given(metadata=placed, move=st.tuples(numbers, numbers), factor=st.tuples(factors, factors), point=st.tuples(numbers, numbers))
def test_points_stay_where_they_are_on_earth(metadata: Metadata, move: Any, factor: Any, point: Any) -> None:
    column, row = map(Fraction, point)
    made = metadata.moved(*move).scaled(*factor)
    inside = [(one - Fraction(corner)) * Fraction(by) for one, corner, by in zip((column, row), move, factor, strict=True)]
    assert at(made, inside[0], inside[1]) == at(metadata, column, row)
    assert all(by > 0 for tag, values in made.geotiff if tag == PIXEL_SCALE for by in values[:2])  # type: ignore[operator]


def test_thirds_are_exact() -> None:
    metadata = Metadata(geotiff=(*PLACED, (GEO_KEYS, AREA)), resolution=(300.0, 300.0, "inch"), pixel_size=(0.25, 0.25, "µm"))
    third = metadata.scaled(1 / 3, 43 / 129)
    assert third.geotiff[:2] == ((PIXEL_SCALE, (30.0, 30.0, 0.0)), PLACED[1])
    assert (third.resolution, third.pixel_size) == ((100.0, 100.0, "inch"), (0.75, 0.75, "µm"))
    points = metadata._replace(geotiff=(*PLACED, (GEO_KEYS, POINT))).scaled(1 / 3, 1 / 3)
    assert points.geotiff[1] == (TIE_POINTS, (0.0, 0.0, 0.0, 500010.0, 4199990.0, 0.0))


def test_ground_control_points_move_in_pixels() -> None:
    points = (1.0, 2.0, 0.0, 7.0, 8.0, 0.0, 50.0, 60.0, 0.0, 9.0, 10.0, 0.0)
    metadata = Metadata(geotiff=((TIE_POINTS, points), (GEO_KEYS, AREA)))
    moved = dict(metadata.moved(1, 2).scaled(2, 0.5).geotiff)[TIE_POINTS]
    assert moved == (0.0, 0.0, 0.0, 7.0, 8.0, 0.0, 98.0, 29.0, 0.0, 9.0, 10.0, 0.0)


def test_a_turn_swaps_the_resolution_and_loses_the_place() -> None:
    metadata = Metadata(geotiff=PLACED, resolution=(300.0, 150.0, "inch"), pixel_size=(1.0, 2.0, "mm"), icc=GRAY_ICC)
    assert metadata.turned(sideways=True) == Metadata(
        resolution=(150.0, 300.0, "inch"), pixel_size=(2.0, 1.0, "mm"), icc=GRAY_ICC
    )
    assert metadata.turned(sideways=False).resolution == (300.0, 150.0, "inch")


FULL = Metadata(  # a profile of a palette is one of its colours
    "minisblack",
    (),
    ICC,
    (300.0, 150.0, "inch"),
    tuple((value * 257, 0, 65535 - value * 257) for value in range(256)),
    (*PLACED, (GEO_KEYS, AREA), (34736, (1.5,)), (34737, "WGS 84|")),
    "-9999",
    (0.25, 0.5, "µm"),
    6,
    "CYX",
)


def test_metadata_comes_back_from_a_stack() -> None:
    assert Metadata.from_fields(json.loads(json.dumps(FULL.fields())), 1) == FULL
    assert list(Metadata("rgb", ("unspecified",)).fields()) == ["photometric", "extrasamples"]
    colour = FULL._replace(photometric="rgb", icc=ICC, colormap=None)
    assert Metadata.from_fields(json.loads(json.dumps(colour.fields())), 3) == colour


def test_what_is_largest_is_left_out_of_a_stack() -> None:
    size = 3 << 20
    large = FULL._replace(icc=size.to_bytes(4) + GRAY_ICC[4:128] + bytes(size - 128), geotiff=((34737, "x" * 1000),))
    assert as_icc(large.icc)
    assert large.too_large() == ("icc",)
    assert len(json.dumps(large.fields())) <= MAX_FIELDS
    assert Metadata.from_fields(large.fields(), 1) == large._replace(icc=b"")


@given(st.dictionaries(st.sampled_from([*Metadata._fields, "other"]), json_values), st.integers(1, 9))
def test_no_field_of_a_stack_is_trusted(fields: dict[str, Any], channels: int) -> None:
    metadata = Metadata.from_fields({"photometric": "minisblack", "extrasamples": [], **fields}, channels)
    assert metadata.channels == channels
    made = metadata.moved(1, 2).scaled(0.5, 3)
    shape = (4, 5) if channels == 1 else (4, 5, channels)
    for name in WRITABLE:
        if channels in FORMATS[name].holds.get("u1", ()):
            sink.write(io.BytesIO(), np.zeros(shape, np.uint8), name, "", made)


@pytest.mark.parametrize(
    "fields",
    [
        {"icc": "!"},
        {"icc": "AAAA"},
        {"resolution": [0, 1, "inch"]},
        {"resolution": [1, 1, "furlong"]},
        {"resolution": [1e300, 1, "inch"]},
        {"resolution": [True, 1, "inch"]},
        {"colormap": [[1, 2, 65536]]},
        {"colormap": []},
        {"geotiff": {"33550": [10, 10, 0], "33922": [1, 2, 3]}},
        {"geotiff": {"34735": [1, 1, 0, 70000]}},
        {"geotiff": {"34264": [float("nan")] * 16}},
        {"geotiff": [1]},
        {"nodata": "\x1b[1m"},
        {"nodata": "9" * 2000},
        {"pixel_size": [1, 1]},
        {"orientation": 1},
        {"orientation": True},
        {"axes": 3},
    ],
)
def test_values_that_make_no_sense_are_dropped(fields: dict[str, Any]) -> None:
    assert Metadata.from_fields({"photometric": "minisblack", "extrasamples": [], **fields}, 1) == Metadata()


# -- through files ------------------------------------------------------------------------------------------------------------


def through(name: str, image: Any, metadata: Metadata, **options: Any) -> Metadata:
    file = io.BytesIO()
    sink.write(file, image, name, "", metadata)
    source = open_image(file, **options)
    if not metadata.colormap:
        assert np.array_equal(source.pixels(), image) or name == "jpeg"
    return source.metadata


@pytest.mark.parametrize("name", [name for name in READABLE if name in WRITABLE and 3 in FORMATS[name].holds.get("u1", ())])
def test_every_format_keeps_what_its_table_says(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    colour = FULL._replace(photometric="rgb", icc=ICC, colormap=None, pixel_size=None, axes=None)
    got = through(name, image, colour, rotate=False)
    keeps = FORMATS[name].keeps
    for field in ("icc", "geotiff", "nodata", "orientation"):
        assert getattr(got, field) == (getattr(colour, field) if field in keeps else Metadata._field_defaults[field])
    assert (got.density("inch") is not None) == ("resolution" in keeps)
    if "resolution" in keeps:
        assert got.density("inch") == pytest.approx((300, 150), rel=1e-4)


@pytest.mark.parametrize("name", ["png", "tiff", "bmp"])
def test_pillow_sees_the_colours_of_indices(name: str) -> None:
    image = np.arange(192, dtype=np.uint8).reshape(12, 16)
    file = io.BytesIO()
    sink.write(file, image, name, "", Metadata(colormap=FULL.colormap))
    with PIL.Image.open(file) as seen:
        assert seen.mode == "P"
        assert np.array_equal(np.asarray(seen), image)
        expected = np.stack([image, image * 0, 255 - image], -1)
        assert np.array_equal(np.asarray(seen.convert("RGB")), expected)


def test_a_pixel_of_a_known_length_is_a_resolution() -> None:
    image = np.zeros((4, 5), np.uint8)
    metadata = Metadata(pixel_size=(0.25, 0.5, "µm"))
    assert through("tiff", image, metadata).resolution == (40000.0, 20000.0, "centimeter")
    assert through("png", image, metadata).resolution == (40000.0, 20000.0, "centimeter")
    assert through("tiff", image, Metadata(pixel_size=(0.25, 0.5, "parsec"))) == Metadata()
    assert through("tiff", image, Metadata(resolution=(1e-20, 1e20, "inch"))) == Metadata()


def test_a_profile_of_other_colours_is_left_out() -> None:
    colour = Metadata("rgb", icc=ICC)
    assert colour.matching(4).icc == ICC
    assert colour.matching(1).icc == b""
    assert Metadata(icc=ICC).sensible() == Metadata()
    assert Metadata(icc=GRAY_ICC).sensible().icc == GRAY_ICC


@pytest.mark.parametrize("factor", [float("inf"), 1e308, 1e-308])
def test_nothing_is_known_of_an_image_that_is_scaled_beyond_measure(factor: float) -> None:
    image = Metadata(resolution=(72.0, 72.0, "inch"), geotiff=PLACED, nodata="0")
    assert image.scaled(factor, 1) == image.scaled(1, factor) == Metadata(nodata="0")


def test_channels_that_patches_got_are_not_taken_for_alpha() -> None:
    of_file = Metadata("rgb", ("unassalpha",), nodata="0")
    assert of_file.matching(4) is of_file
    assert of_file.matching(2) == Metadata("minisblack", ("unspecified",), nodata="0")
    assert Metadata().matching(4) == Metadata("rgb", ("unspecified",))
    assert Encoding((4, 5, 4), np.dtype(np.uint8)).meaning.alpha == 3
    assert Encoding((4, 5, 4), np.dtype(np.uint8), metadata=Metadata()).meaning.alpha is None
