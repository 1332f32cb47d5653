"""What the tags of a TIFF page say; nothing in them is trusted."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from patchcli.images.metadata import Metadata
from patchcli.images.source import open_image

IMAGE = np.zeros((4, 6), np.uint8)
SCALE, POINTS = (33550, "d", 3, (10.0, 20.0, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 7.0, 0.0))


def meaning(image: Any = IMAGE, **options: Any) -> Metadata:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **{"metadata": None, **options})
    return open_image(file).metadata


def test_geotiff_tags_are_read_by_number() -> None:
    keys = (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1))
    got = meaning(
        extratags=[(*tag, True) for tag in (SCALE, POINTS, keys, (34737, "s", 0, "Système|".encode()), (50844, "d", 2, (1, 2)))]
    )
    assert got.geotiff == (
        (33550, (10.0, 20.0, 0.0)),
        (33922, (0.0, 0.0, 0.0, 5.0, 7.0, 0.0)),
        (34735, (1, 1, 0, 1, 1025, 0, 1, 1)),
        (34737, "Syst??me|"),
    )
    assert got.nodata is None


def test_the_sign_of_the_height_of_a_pixel_counts_for_nothing_as_gdal_has_it() -> None:
    below = (33550, "d", 3, (10.0, -20.0, 0.0))
    assert meaning(extratags=[(*tag, True) for tag in (below, POINTS)]).geotiff[0] == (33550, (10.0, 20.0, 0.0))


@pytest.mark.parametrize(
    "tag",
    [
        (33550, "d", 1, (10.0,)),
        (33550, "s", 0, "x"),
        (33922, "d", 5, (1.0, 2.0, 3.0, 4.0, 5.0)),
        (34264, "d", 16, (float("inf"),) * 16),
        (34735, "d", 4, (1.5, 1.0, 0.0, 0.0)),
        (34735, "H", 3, (1, 1, 0)),
    ],
)
def test_a_place_on_earth_that_makes_no_sense_is_none(tag: Any) -> None:
    others = [one for one in (SCALE, POINTS) if one[0] != tag[0]]
    assert meaning(extratags=[(*one, True) for one in (*others, tag)]) == Metadata()


def test_nodata_is_text() -> None:
    assert meaning(extratags=[(42113, "s", 0, "-9999 ", True)]).nodata == "-9999"
    assert meaning(extratags=[(42113, "s", 0, "\x1b]0;", True)]).nodata is None
    assert meaning(extratags=[(42113, "d", 1, 3.0, True)]).nodata is None


def test_resolution_has_a_unit_or_is_a_ratio() -> None:
    assert meaning(resolution=(300, 150), resolutionunit="inch").resolution == (300.0, 150.0, "inch")
    assert meaning(resolution=(7, 2), resolutionunit="centimeter").resolution == (7.0, 2.0, "centimeter")
    assert meaning(resolution=(2, 1), resolutionunit="none").resolution == (2.0, 1.0, "none")
    assert meaning(resolution=(2, 2), resolutionunit="none").resolution is None
    assert meaning(resolution=(0, 2), resolutionunit="inch").resolution is None


def test_programs_of_microscopes_say_how_large_a_pixel_is() -> None:
    stack = np.zeros((3, 4, 6), np.uint16)
    ome = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 500, "PhysicalSizeYUnit": "nm"}
    assert meaning(stack, ome=True, metadata={**ome, "PhysicalSizeYUnit": "µm"}).pixel_size == (0.25, 500.0, "µm")
    assert meaning(stack, ome=True, metadata=ome).pixel_size is None
    assert meaning(stack, ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.25}).pixel_size == (0.25, 0.25, "µm")
    for unit, known in (("micron", "µm"), ("\\u00B5m", "µm"), ("inch", "in"), ("mm", "mm")):
        got = meaning(stack, imagej=True, resolution=(4, 2), metadata={"unit": unit})
        assert (got.pixel_size, got.resolution) == ((0.25, 0.5, known), None)
    assert meaning(stack, imagej=True, resolution=(4, 4), metadata={"unit": "pixel"}).pixel_size is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([282, 283, 296, 320, 33550, 33922, 34264, 34675, 34735, 34736, 34737, 42113, 270]),
            st.sampled_from([1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 16, 99]),
            st.integers(0, 40),
            st.binary(min_size=4, max_size=4),
        ),
        max_size=8,
        unique_by=lambda tag: tag[0],
    )
)
def test_no_tag_is_trusted(tags: list[tuple[int, int, int, bytes]]) -> None:
    plain = [(256, 3, 1, 6), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 400), (279, 4, 1, 24)]
    entries = [(code, kind, count, value.to_bytes(4, "little")) for code, kind, count, value in plain]
    data = b"II*\0\x08\0\0\0" + (len(plain) + len(tags)).to_bytes(2, "little")
    for code, kind, count, value in sorted(entries + tags):
        data += code.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little") + value
    source = open_image(io.BytesIO(data.ljust(500, b"\x01")))
    assert source.shape == (4, 6)
    assert source.metadata.channels == 1
    assert source.metadata.moved(3, 4).scaled(2, 0.5).fields()


def test_nodata_counts_up_with_the_pixels() -> None:
    file = io.BytesIO()
    image = np.array([[0, 3], [250, 255]], np.uint8)
    tifffile.imwrite(file, image, photometric="miniswhite", extratags=[(42113, "s", 0, "3", True)])
    read = open_image(file)
    assert read.metadata.nodata == "252"
    assert (read.pixels() == int(read.metadata.nodata)).tolist() == [[False, True], [False, False]]
