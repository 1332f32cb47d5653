"""Images written: line by line, as --co says, and what is said of what a format cannot hold."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images import sink
from patchcli.images.codec import Encoding
from patchcli.images.metadata import Metadata
from patchcli.images.sink import check_creation, hints_of_loss, write_lines
from patchcli.images.source import open_image
from tests.helpers.pictures import HELD, encoded, picture


@pytest.mark.parametrize(("name", "code", "channels"), HELD)
def test_bands_make_the_same_file(name: str, code: str, channels: int) -> None:
    image = picture(code, channels)
    whole = encoded(image, name)
    for height in (1, 4, 5):
        file = io.BytesIO()
        bands = (image[at : at + height] for at in range(0, len(image), height))
        write_lines(file, bands, name, Encoding(image.shape, image.dtype))
        assert file.getvalue() == whole


@pytest.mark.parametrize(("name", "code", "channels"), HELD)
def test_images_encoded_together_make_the_files_of_each(name: str, code: str, channels: int) -> None:
    image = picture(code, channels)
    images = [image, image[::-1], image[:, ::-1], image[:-2], image[1:-1], image]
    how = [Encoding(one.shape, one.dtype) for one in images]
    assert [bytes(file) for file in sink.encoded(images, name, how)] == [encoded(one, name) for one in images]


@pytest.mark.parametrize("creation", [(), (("level", "0"),)])
def test_indices_encoded_together_have_the_colours_of_each(creation: tuple[tuple[str, str], ...]) -> None:
    table = tuple((257 * number, 0, 65535) for number in range(3))
    images = [np.full((4, 5), number, np.uint8) for number in (0, 2, 9, 200)]  # some beyond the table
    how = [Encoding((4, 5), images[0].dtype, "", Metadata(colormap=table), creation)] * len(images)
    for image, data in zip(images, sink.encoded(images, "png", how), strict=True):
        file = io.BytesIO()
        write_lines(file, [image], "png", how[0])
        assert data == file.getvalue()


def made(image: NDArray[Any], name: str, *creation: tuple[str, str]) -> bytes:
    file = io.BytesIO()
    check_creation([name], creation)
    write_lines(file, [image], name, Encoding(image.shape, image.dtype, creation=creation))
    return file.getvalue()


def test_creation_changes_the_file_and_not_what_is_lossless() -> None:
    y, x = np.mgrid[:64, :80]
    image = np.stack([x * 3, y * 4, (x ^ y) * 2], -1).astype(np.uint8)
    fast, small = made(image, "png", ("level", "0")), made(image, "png", ("level", "9"))
    assert len(small) < len(fast) / 4
    assert np.array_equal(open_image(io.BytesIO(small)).pixels(), open_image(io.BytesIO(fast)).pixels())
    assert len(made(image, "jpeg", ("quality", "30"))) < len(made(image, "jpeg", ("quality", "90"))) < len(made(image, "jpeg"))
    lossy = made(image, "webp", ("quality", "10"))
    with PIL.Image.open(io.BytesIO(lossy)) as seen:
        assert 0 < np.abs(np.asarray(seen).astype(int) - image).mean() < 30
    assert made(image, "png", ("level", "9"), ("level", "0")) == fast


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("png", "level", "10", "PNG takes --co level=0..9, not '10'"),
        ("png", "level", "01", "PNG takes --co level=0..9, not '01'"),
        ("jpeg", "quality", "0", "JPEG takes --co quality=1..100, not '0'"),
        ("tiff", "tile", "100", "TIFF takes --co tile=16..16368 in steps of 16, not '100'"),
        ("tiff", "compression", "jpeg", "TIFF takes --co compression=none|deflate|lzw|zstd, not 'jpeg'"),
        ("png", "quality", "9", "PNG has no --co key 'quality'; it has level"),
        ("tiff", "level", "9", "TIFF has no --co key 'level'; it has compression, tile"),
        ("ppm", "level", "9", "PPM has no --co key 'level'"),
    ],
)
def test_unknown_keys_and_values_are_refused(name: str, key: str, value: str, said: str) -> None:
    with pytest.raises(PatchcliError, match=f"^{re.escape(said)}$"):
        check_creation([name], [(key, value)])


def test_what_a_format_cannot_hold_is_one_line() -> None:
    metadata = Metadata("rgb", (), b"x", None, None, ((33550, (1.0, 1.0, 0.0)),), "0")
    shape, dtype = (4, 5, 3), np.dtype(np.uint8)
    assert hints_of_loss("tiff", metadata, shape, dtype) == ()
    assert hints_of_loss("png", metadata, shape, dtype) == (
        "PNG cannot hold its georeference and nodata value; write TIFF to keep them",
    )
    assert hints_of_loss("ppm", metadata, shape, dtype) == (
        "PPM cannot hold its ICC profile, georeference and nodata value; write TIFF to keep them",
    )
    indices = Metadata(colormap=((1, 2, 3),))
    assert hints_of_loss("png", indices, (4, 5), dtype) == ()
    assert hints_of_loss("png", indices, (4, 5), np.dtype(np.uint16)) == (
        "PNG cannot hold its colour table; write TIFF to keep it",
    )
    for name in ("tiff", "png"):
        assert hints_of_loss(name, indices, (4, 5), np.dtype(np.float32)) == (
            "its colour table is lost, for its dtype is float32; uint8 and uint16 keep it",
        )
        assert hints_of_loss(name, indices, shape, dtype) == ("its colour table is lost, for it has 3 channels; indices are one",)
    assert hints_of_loss("bmp", Metadata(orientation=6), (4, 5), dtype) == (
        "BMP cannot hold its orientation; write PNG or TIFF to keep it",
    )
    assert hints_of_loss("ppm", Metadata(resolution=(1.0, 1.0, "inch")), shape, dtype) == ()


@pytest.mark.parametrize("name", ["png", "bmp"])
def test_an_index_beyond_the_colour_table_is_black(name: str) -> None:
    file, image = io.BytesIO(), np.array([[0, 1, 4]], np.uint8)
    write_lines(file, [image], name, Encoding(image.shape, image.dtype, metadata=Metadata(colormap=((257, 514, 771),) * 2)))
    assert open_image(file).pixels().tolist() == [[[1, 2, 3], [1, 2, 3], [0, 0, 0]]]
    assert np.array_equal(open_image(file, color="indices").pixels(), image)
