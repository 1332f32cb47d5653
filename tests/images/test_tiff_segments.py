"""Windows of a TIFF: the same pixels as the whole, whatever its strips or tiles are, and only what meets them is read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images import tiff_segments
from patchcli.images.source import open_image
from patchcli.images.tiff_segments import fill_of
from tests.helpers.pictures import picture

SIZE = (75, 90)
TILES: dict[str, Any] = {"tile": (32, 16)}
STRIPS: dict[str, Any] = {"rowsperstrip": 20}


def kind(code: str = "u1", channels: int = 1, **options: Any) -> tuple[str, int, dict[str, Any]]:
    """What a file is made of."""
    if channels > 1:
        options = {"photometric": "rgb" if channels in (3, 4) else "minisblack", "planarconfig": "contig", **options}
    return code, channels, {"photometric": "minisblack", "metadata": None, **options}


KINDS = {
    **{f"tiles {code}": kind(code, compression="deflate", **TILES) for code in ("u1", "i2", "u4", "i8", "f2", "f4", "f8")},
    **{f"strips {name}": kind("u2", 3, compression=name, **STRIPS) for name in ("lzw", "zstd", "packbits", "lzma")},
    **{f"tiles {name}": kind("u1", 3, compression=name, **TILES) for name in ("jpeg", "webp", "png", "jpeg2000", "jpegxl")},
    "plain strips": kind("u2", 3, **STRIPS),
    "one plain strip": kind("f4", 2, rowsperstrip=75),
    "plain tiles": kind("u2", 4, **TILES),
    "plain bits": kind("b1", **STRIPS),
    "one plain strip of bits": kind("b1", rowsperstrip=75),
    "bits in tiles": kind("b1", compression="deflate", **TILES),
    "12 bits, white is 0": kind("u2", bitspersample=12, photometric="miniswhite", **STRIPS),
    "white is 0": kind("u1", photometric="miniswhite", compression="lzw", **TILES),
    "big-endian": kind("u4", byteorder=">", **STRIPS),
    "big-endian BigTIFF": kind("u2", 3, byteorder=">", bigtiff=True, compression="deflate", **TILES),
    "planes": kind("u2", 3, planarconfig="separate", compression="deflate", **TILES),
    "planes in strips": kind("u1", 4, planarconfig="separate", compression="lzw", **STRIPS),
    "plain planes": kind("f4", 3, planarconfig="separate", rowsperstrip=75),
    "plain planes, big-endian": kind("u2", 3, planarconfig="separate", byteorder=">", **STRIPS),
    "predicted": kind("u2", 3, compression="deflate", predictor=True, **TILES),
    "predicted floats": kind("f4", compression="zstd", predictor=True, **STRIPS),
    "seven channels": kind("u1", 7, compression="deflate", **TILES),
    "tables": kind("u1", 3, compression="jpeg", photometric="ycbcr", subsampling=(2, 2), **TILES),
    "one row of tiles": kind("u1", 3, compression="deflate", tile=(80, 16)),
    "low strips": kind("u2", compression="deflate", rowsperstrip=1),
}


def made(code: str, channels: int, options: dict[str, Any]) -> bytes:
    """A file of a kind."""
    image = picture(code, channels, *SIZE)
    if options.get("planarconfig") == "separate":
        image = np.moveaxis(image, -1, 0)
    if options.get("bitspersample") == 12:
        image = image & 4095
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def first_page(data: bytes) -> tifffile.TiffPage:
    """The first page of a file."""
    return tifffile.TiffFile(io.BytesIO(data)).pages.first


def reference(data: bytes) -> NDArray[Any]:
    """All pixels, as tifffile gives them."""
    page = first_page(data)
    pixels = page.asarray()
    pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    return (2**page.bitspersample - 1) - pixels if page.photometric == 0 else pixels


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_windows_are_the_pixels_of_the_whole(name: str, data: st.DataObject) -> None:
    file = made(*KINDS[name])
    image, expected = open_image(io.BytesIO(file)), reference(file)
    assert image.in_bands
    pixels = image.pixels()
    assert pixels.dtype == expected.dtype
    assert np.array_equal(pixels, expected)
    for _ in range(4):  # the next finds what was kept of those before
        spans = [sorted(data.draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for side in SIZE]
        (top, bottom), (left, right) = spans
        window = image.read((top, bottom), (left, right))
        assert np.array_equal(window, expected[top:bottom, left:right])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("height", [1, 7, 32, 74])
def test_bands_make_up_the_whole(name: str, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_segments, "RUN_BYTES", 300)  # several parts for each thread
    monkeypatch.setattr(tiff_segments, "DECODING", 1 << 20)
    file = made(*KINDS[name])
    image = open_image(io.BytesIO(file))
    bands = [image.read((top, min(top + height, SIZE[0])), (0, SIZE[1])) for top in range(0, SIZE[0], height)]
    assert np.array_equal(np.concatenate(bands), reference(file))


class Counted(io.BytesIO):
    """A file that knows how many bytes of it were read."""

    got = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.got += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        got = super().readinto(buffer)
        self.got += got
        return got


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("tiles", {"tile": (64, 64), "compression": "deflate"}, 4 * 64 * 64 * 3 + 100),
        ("strips", {"rowsperstrip": 16, "compression": "lzw"}, 3 * 16 * 640 * 3 * 2),
        ("one plain strip", {"rowsperstrip": 640}, 32 * 640 * 3),
    ],
)
def test_only_what_meets_a_window_is_read(name: str, options: dict[str, Any], most: int) -> None:
    file = Counted()
    pixels = picture("u1", 3, 640, 640)
    tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, **options)
    image = open_image(file)
    file.got = 0
    assert np.array_equal(image.read((100, 132), (90, 122)), pixels[100:132, 90:122]), name
    assert 0 < file.got <= most
    before = file.got
    if "tile" in options:  # of which parts were taken, so that they are kept
        image.read((96, 110), (64, 100))
        assert file.got == before


def test_bands_that_end_within_tiles_decode_each_once() -> None:
    file, pixels = Counted(), picture("u1", 1, 512, 512)
    tifffile.imwrite(file, pixels, tile=(64, 64), compression="deflate", metadata=None)
    image = open_image(file)
    page = first_page(file.getvalue())
    file.got = 0
    for top in range(0, 512, 48):
        image.read((top, min(top + 48, 512)), (0, 512))
    assert file.got == sum(page.databytecounts)


@pytest.mark.parametrize("options", [{"rowsperstrip": 75}, {"tile": (80, 96)}])
def test_a_compressed_strip_or_tile_of_the_whole_image_is_decoded_whole(options: dict[str, Any]) -> None:
    file = made(*kind("u1", 3, compression="deflate", **options))
    image = open_image(io.BytesIO(file))
    assert not image.in_bands
    assert np.array_equal(image.read((3, 70), (5, 60)), reference(file)[3:70, 5:60])


def test_a_damaged_tile_is_named_by_its_place_and_others_are_read() -> None:
    pixels = picture("u1", 3, 256, 256)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", tile=(64, 64), compression="deflate", metadata=None)
    page = first_page(file.getvalue())
    data = bytearray(file.getvalue())
    middle = page.dataoffsets[6] + page.databytecounts[6] // 2
    data[middle : middle + 40] = bytes(40)
    image = open_image(io.BytesIO(data))
    assert np.array_equal(image.read((64, 128), (0, 128)), pixels[64:128, :128])
    said = r"damaged.* in strip or tile 6 of 16 \(x=128 y=64\)$"
    with pytest.raises(PatchcliError, match=said):
        image.read((100, 101), (190, 192))
    with pytest.raises(PatchcliError, match=said):
        image.pixels()


def test_a_tile_whose_jpeg_has_no_end_is_named() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, picture("u1", 3, 256, 256), photometric="rgb", tile=(64, 64), compression="jpeg", metadata=None)
    page = first_page(file.getvalue())
    data = bytearray(file.getvalue())
    end = page.dataoffsets[9] + page.databytecounts[9]
    data[end - 2 : end] = b"\0\0"
    image = open_image(io.BytesIO(data))
    image.read((0, 64), (0, 256))
    with pytest.raises(PatchcliError, match=r"its data end before its pixels do, in strip or tile 9 of 16 \(x=64 y=128\)$"):
        image.read((128, 130), (64, 70))


@pytest.mark.parametrize("places", [TILES, STRIPS])
def test_planes_of_colour_that_are_jpeg_are_gray_images(places: dict[str, Any]) -> None:
    """As GDAL writes them. Their decoder would take each for RGB."""
    files = []
    for photometric in ("rgb", "minisblack"):
        file = io.BytesIO()
        options = {**places, "photometric": photometric, "planarconfig": "separate", "metadata": None}
        tifffile.imwrite(file, np.moveaxis(picture("u1", 3, 128, 128), 2, 0), compression="jpeg", **options)
        files.append(open_image(file))
    colour, gray = (image.pixels() for image in files)
    assert np.array_equal(colour, gray)
    assert np.array_equal(files[0].read((30, 71), (10, 99)), colour[30:71, 10:99])


@pytest.mark.parametrize(("nodata", "value"), [(None, 0), ("-7", -7), ("70000", 0), ("nan", 0), ("2.5", 0), ("3.0", 3)])
@pytest.mark.parametrize("compression", ["deflate", None])
def test_missing_tiles_hold_nodata_or_zero(nodata: str | None, value: int, compression: str | None) -> None:
    tags: list[Any] = [(42113, "s", 0, nodata, True)] if nodata else []
    file = io.BytesIO()
    pixels = picture("i2", 1, 128, 128)
    tiles = (pixels[y : y + 64, x : x + 64] if (y, x) != (0, 64) else None for y in (0, 64) for x in (0, 64))
    tifffile.imwrite(
        file, tiles, shape=(128, 128), dtype="i2", tile=(64, 64), compression=compression, extratags=tags, metadata=None
    )
    page = first_page(file.getvalue())
    assert page.databytecounts[1] == 0
    expected = pixels.copy()
    expected[:64, 64:] = value
    image = open_image(file)
    assert np.array_equal(image.read((10, 100), (60, 128)), expected[10:100, 60:])
    assert np.array_equal(image.pixels(), expected)


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("-3.40282346638529e+38", "f4", np.finfo("f4").min),  # what GDAL writes for the least float32
        ("-inf", "f2", -np.inf),
        ("1e39", "f4", 0),
        ("1e39", "f8", 1e39),
        ("18446744073709551615", "u8", 2**64 - 1),
        ("9223372036854775807", "i8", 2**63 - 1),
        ("1" * 400, "u8", 0),
        ("-1", "u1", 0),
        ("1", "b1", 1),
        ("0,5", "f8", 0.5),
        ("nothing", "f8", 0),
        (b"5", "f8", 0),
        (None, "u1", 0),
    ],
)
def test_nodata_is_a_number_of_the_dtype(text: object, code: str, value: float) -> None:
    got = np.full(1, fill_of(text, np.dtype(code)), code)
    assert got[0] == np.array(value, code)
    assert np.isnan(fill_of("nan", np.dtype("f4")))


def test_a_strip_that_unpacks_to_more_than_an_image_may_have_is_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 5000), np.uint8), rowsperstrip=2, compression="zstd")
    with pytest.raises(PatchcliError, match=r"^has strips or tiles of 10000 pixels \(width=5000 height=2\); allowed are 9999"):
        open_image(file, max_pixels=9999)
    assert open_image(file, max_pixels=10_000).in_bands
