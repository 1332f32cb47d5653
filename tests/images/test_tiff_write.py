"""TIFF written line by line: the same pixels whatever the bands, tiles and compressions."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from patchcli.images import sink, tiff_write
from patchcli.images.codec import Encoding
from tests.helpers.pictures import picture


def written(image: Any, bands: list[int], *creation: str) -> bytes:
    """The image as a file, in bands of these heights, the last of them as often as needed; each is overwritten behind it."""
    asked = tuple((key, value) for key, _, value in (one.partition("=") for one in creation))
    made = Encoding(image.shape, image.dtype, "a note", None, asked)

    def lines() -> Any:
        heights = iter(bands)
        at, height = 0, bands[-1]
        while at < len(image):
            height = next(heights, bands[-1])
            band = image[at : at + height].copy()
            yield band
            band[...] = 0
            at += height

    file = io.BytesIO()
    sink.write_lines(file, lines(), "tiff", made)
    return file.getvalue()


@given(
    code=st.sampled_from(["b1", "u1", "u2", "u8", "i2", "i4", "f2", "f4", "f8"]),
    channels=st.sampled_from([1, 2, 3, 5]),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    bands=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    tile=st.sampled_from([(), ("tile=16",), ("tile=48",)]),
    compression=st.sampled_from([(), *((f"compression={one}",) for one in tiff_write.COMPRESSIONS)]),
)
def test_pixels_come_back(code: str, channels: int, size: Any, bands: Any, tile: Any, compression: Any) -> None:
    image = picture(code, 1 if code == "b1" else channels, *size)
    data = written(image, bands, *tile, *compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert np.array_equal(page.asarray(), image, equal_nan=code[0] == "f")
        assert (page.is_tiled, page.description) == (bool(tile), "a note")
        assert 306 not in page.tags  # a date
    assert data == written(image, [len(image)], *tile, *compression)


def test_parts_are_compressed_in_threads_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_write, "usable_threads", lambda _: 3)
    image = np.random.default_rng(0).integers(0, 4, (2000, 3000), np.uint8).cumsum(axis=1, dtype=np.uint16)
    for creation in (("tile=256",), ()):
        data = written(image, [64], "compression=deflate", *creation)
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), image)
        assert len(data) < image.nbytes / 2


def test_large_images_have_offsets_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("u2", 3)
    assert written(image, [4])[:4] == b"II*\0"
    monkeypatch.setattr(tiff_write, "BIG_FROM", image.nbytes - 1)
    for creation in ((), ("tile=16",), ("compression=zstd",)):
        data = written(image, [4], *creation)
        assert data[:4] == b"II+\0"
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), image)


def test_bits_of_a_large_image_are_several_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("b1", 1, 50, 60)
    monkeypatch.setattr(tiff_write, "PACKED_MOST", 100)
    monkeypatch.setattr(tiff_write, "STRIP_BYTES", 600)
    with tifffile.TiffFile(io.BytesIO(written(image, [7]))) as file:
        assert len(file.pages.first.dataoffsets) == 5
        assert np.array_equal(file.pages.first.asarray(), image)
