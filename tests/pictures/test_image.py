"""The picture of one image, whatever the image is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchcli.pictures.image import image_picture
from patchcli.pictures.raster import Raster
from tests.helpers.drawn import recorded
from tests.helpers.rasters import PAGE, pixels_of, raster_of, rasters


@given(rasters((400, 500)), st.text(max_size=90), st.lists(st.text(max_size=50), max_size=3))
def test_any_image(raster: Raster, title: str, lines: list[str]) -> None:
    before = raster.pixels.copy()
    with recorded() as canvases:
        picture = image_picture(raster, title=title, max_size=PAGE, lines=lines)
    (canvas,) = canvases
    canvas.check()
    assert picture.dtype == np.uint8
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]
    np.testing.assert_array_equal(raster.pixels, before)


def test_pixels_of_eight_bits_are_in_the_picture() -> None:
    pixels = pixels_of(0, (50, 70, 3), "u1")
    with recorded() as canvases:
        picture = image_picture(raster_of(pixels), title="scene.png: an image", max_size=(180 + 60, 320))
    found = [
        (top, left)
        for top in range(60)
        for left in range(200)
        if np.array_equal(picture[top : top + 50, left : left + 70], pixels)
    ]
    assert len(found) == 1
    assert canvases[0].words == ["scene.png: an image"]


def test_small_images_are_enlarged_and_large_ones_shrunk() -> None:
    def said(pixels: np.ndarray, factor: int = 1) -> str:
        with recorded() as canvases:
            image_picture(Raster(pixels=pixels, dtype=pixels.dtype, factor=factor), title="", max_size=(800, 1000))
        return canvases[0].said

    assert said(np.zeros((1, 1), np.uint8)) == "drawn at 8x"
    assert said(np.zeros((3, 500), np.uint8)) == ""
    assert said(np.zeros((500, 3), np.uint8), 17) == "drawn at 1/17"
    assert said(np.zeros((10, 90), np.uint8), 17) == "drawn at 8/17"
    assert said(np.zeros((3000, 9), np.uint8), 2) == "drawn at 1/10"
    assert said(np.zeros((300, 600, 5), np.uint8)) == "first 3 of 5 channels"
