"""Colours as they are asked for: RGB and gray of everything, the indices behind palettes and behind gray of few bits."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images import convert
from patchcli.images.convert import colour_table, in_colour, to_rgb
from patchcli.images.metadata import Metadata
from tests.helpers.pictures import chunk, decoded, encoded, picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))  # Adam7
PLANES = ((0, 1, 0, 1),)
COLOR_MAP, PHOTOMETRIC = 320, 262


def numbers(bits: int, height: int = 13, width: int = 17) -> NDArray[Any]:
    return np.random.default_rng(bits).integers(0, 1 << bits, (height, width)).astype(np.uint16 if bits > 8 else np.uint8)


def colours(count: int, most: int = 255) -> NDArray[Any]:
    return np.random.default_rng(count).integers(0, most + 1, (count, 3)).astype(np.uint16)


def packed(stored: NDArray[Any], bits: int) -> bytes:
    """Lines of samples of a few bits, the first in the highest ones, each line filled up to a byte."""
    if bits == 16:
        return b"".join(b"\0" + line.astype(">u2").tobytes() for line in stored)
    each = np.unpackbits(stored[..., None].astype(np.uint8), axis=-1)[..., 8 - bits :].reshape(len(stored), -1)
    return b"".join(b"\0" + np.packbits(line).tobytes() for line in each)


def as_png(stored: NDArray[Any], bits: int, *between: bytes, colour: int = 0, interlaced: bool = False) -> bytes:
    """A PNG image by the book, with chunks between its header and its pixels."""
    head = struct.pack(">IIBBBBB", stored.shape[1], stored.shape[0], bits, colour, 0, 0, interlaced)
    passes = [stored[y::dy, x::dx] for y, dy, x, dx in (PASSES if interlaced else PLANES)]
    data = zlib.compress(b"".join(packed(one, bits) for one in passes if one.size))
    halves = chunk(b"IDAT", data[: len(data) // 2]) + chunk(b"IDAT", data[len(data) // 2 :])
    return SIGNATURE + chunk(b"IHDR", head) + b"".join(between) + halves + chunk(b"IEND", b"")


def plte(table: NDArray[Any]) -> bytes:
    return chunk(b"PLTE", table.astype(np.uint8).tobytes())


def palette_tiff(stored: NDArray[Any], bits: int, table: NDArray[Any], **options: Any) -> bytes:
    """A TIFF image of indices of so many bits, which tifffile itself writes of 8 and 16 alone."""
    file = io.BytesIO()
    tag = (COLOR_MAP, "H", table.size, tuple(table.T.ravel().tolist()), True)
    tifffile.imwrite(file, stored, photometric="minisblack", bitspersample=bits, metadata=None, extratags=[tag], **options)
    data = bytearray(file.getvalue())
    data[data.index(struct.pack("<HHIHH", PHOTOMETRIC, 3, 1, 1, 0)) + 8] = 3
    return bytes(data)


def as_colormap(table: NDArray[Any], times: int = 257) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(red) * times, int(green) * times, int(blue) * times) for red, green, blue in table)


# -- RGB --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["b1", "u1", "u2", "i4", "f4"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_everything_with_a_colour_becomes_three_channels(code: str, channels: int) -> None:
    image = picture(code, channels)
    got = to_rgb(image, Metadata.usual(channels))
    stored = image.astype(np.uint8) * 255 if code == "b1" else image
    for at in range(3):
        assert np.array_equal(got[..., at], stored if channels == 1 else stored[..., at if channels > 2 else 0])
    assert got.dtype == stored.dtype
    assert got.flags.c_contiguous


def test_rgb_drops_what_is_beside_colour_and_takes_no_bands_for_it() -> None:
    bands = picture("u2", 7)
    assert np.array_equal(to_rgb(bands, Metadata("rgb", ("unspecified", "assocalpha", *["unspecified"] * 2))), bands[..., :3])
    for extra, channels in ((("unspecified",), 2), (("unassalpha", "unspecified"), 3)):
        meant = Metadata("minisblack", extra)
        words = rf"^has samples minisblack \+ {extra[0]}.*, which are not a colour; take one of them with --channel$"
        with pytest.raises(PatchcliError, match=words):
            to_rgb(picture("u1", channels), meant)
    with pytest.raises(PatchcliError, match="has samples miniswhite, which are not a colour"):
        to_rgb(picture("f4", 1), Metadata("miniswhite"))


@pytest.mark.parametrize("name", ["png", "tiff"])
@pytest.mark.parametrize(("code", "channels"), [("b1", 1), ("u1", 1), ("u2", 2), ("u1", 3), ("u2", 4)])
def test_a_file_is_had_as_rgb_and_as_gray(name: str, code: str, channels: int) -> None:
    image, usual = picture(code, channels), Metadata.usual(channels)
    data = encoded(image, name)
    rgb, gray = decoded(data, color="rgb"), decoded(data, color="gray")
    assert np.array_equal(rgb.pixels(), to_rgb(image, usual))
    assert (rgb.shape, rgb.metadata) == ((13, 17, 3), Metadata("rgb"))
    assert np.array_equal(gray.pixels(), convert.to_gray(image, usual))
    assert (gray.shape, gray.metadata) == ((13, 17), Metadata())


# -- colour tables ------------------------------------------------------------------------------------------------------------


@given(st.sampled_from([1, 256, 257]), st.integers(1, 256))
def test_a_table_of_8_bits_stays_one_however_they_were_written(times: int, count: int) -> None:
    table = colours(count)
    got = colour_table((table * times).tolist(), np.dtype("u1"))
    wanted = table if times > 1 else table * times
    if times == 1 and table.any():  # which a reader has multiplied
        assert got.dtype == np.uint16
    assert np.array_equal(got[:count], wanted)
    assert not got[count:].any()
    assert len(got) == 256


@pytest.mark.parametrize("code", ["u1", "u2"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (300, 700), (0, 4), (4, 0)])
def test_colours_are_looked_up_one_by_one(code: str, shape: tuple[int, int]) -> None:
    table = colour_table(colours(200, 65535).tolist(), np.dtype(code))
    indices = np.random.default_rng(0).integers(0, len(table), shape).astype(code)
    assert np.array_equal(in_colour(indices, table), table[indices])


# -- indices ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("clear", [False, True])
def test_a_gray_png_gives_what_it_holds(bits: int, *, clear: bool, interlaced: bool) -> None:
    stored = numbers(bits)
    between = [chunk(b"tRNS", b"\0\1")] if clear else []
    got = decoded(as_png(stored, bits, *between, interlaced=interlaced), color="indices")
    assert np.array_equal(got.pixels(), stored)
    assert (got.dtype, got.shape, got.metadata, got.hints) == (stored.dtype, stored.shape, Metadata(), ())


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bits", "count"), [(1, 2), (1, 1), (2, 4), (2, 3), (4, 16), (4, 9), (8, 256), (8, 21)])
def test_a_palette_png_gives_its_indices_and_its_colours(bits: int, count: int, *, interlaced: bool) -> None:
    stored, table = (numbers(bits).astype(int) % count).astype(np.uint8), colours(count)
    between = chunk(b"gAMA", bytes(4)), plte(table), chunk(b"tRNS", b"\7")
    data = as_png(stored, bits, *between, colour=3, interlaced=interlaced)
    got = decoded(data, color="indices")
    assert np.array_equal(got.pixels(), stored)
    assert (got.dtype.name, got.hints) == ("uint8", ())
    assert got.metadata == Metadata(colormap=as_colormap(table))
    shown = decoded(data)
    assert (shown.shape, shown.metadata.colormap) == ((13, 17, 4), None)
    assert np.array_equal(shown.pixels()[..., :3], table[stored])


def test_an_index_beyond_the_palette_is_an_index() -> None:
    stored = numbers(8)
    assert stored.max() > 20
    assert np.array_equal(decoded(as_png(stored, 8, plte(colours(21)), colour=3), color="indices").pixels(), stored)


def test_damaged_palettes_of_png_are_refused() -> None:
    stored, colour = numbers(4), plte(colours(16))
    whole = as_png(stored, 4, colour, colour=3)
    place = whole.index(b"PLTE")
    for data, sentence in (
        (as_png(stored, 4, colour=3), r"has no colours \(chunk b'PLTE'\) before its pixels"),
        (as_png(stored, 4, chunk(b"PLTE", bytes(47)), colour=3), "has no colours"),
        (as_png(stored, 4, chunk(b"PLTE", b""), colour=3), "has no colours"),
        (whole[: place + 9] + b"\xff\0" + whole[place + 11 :], "its chunk b'PLTE' has a wrong checksum"),
        (whole[:30] + bytes(3) + whole[33:], "its chunk b'IHDR' has a wrong checksum"),
        (whole[: len(whole) - 40], "is a damaged or unsupported PNG image"),
        (whole[: whole.index(b"IDAT") - 4], "is a damaged or unsupported PNG image"),
    ):
        with pytest.raises(PatchcliError, match=sentence):
            decoded(data, color="indices")


@pytest.mark.parametrize("order", [None, ">"])
@pytest.mark.parametrize("tiled", [{}, {"tile": (16, 16)}, {"compression": "deflate"}])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_a_palette_tiff_gives_its_indices_or_its_colours(bits: int, tiled: dict[str, Any], order: Literal[">"] | None) -> None:
    stored, table = numbers(bits, 40, 50), colours(1 << bits, 65535)
    if bits in (8, 16):
        file = io.BytesIO()
        tifffile.imwrite(file, stored, photometric="palette", colormap=table.T, byteorder=order, metadata=None, **tiled)
        data = file.getvalue()
    elif tiled or order:
        return
    else:
        data = palette_tiff(stored > 0 if bits == 1 else stored, bits, table)
    got, shown = decoded(data, color="indices"), decoded(data)
    assert np.array_equal(got.pixels(), stored)
    assert (got.dtype, got.metadata) == (stored.dtype, Metadata(colormap=as_colormap(table, 1)))
    assert np.array_equal(shown.pixels(), table[stored])
    assert (shown.dtype.name, shown.metadata) == ("uint16", Metadata("rgb"))
    rows, columns = (7, 35), (3, 49)
    for image in (got, shown):
        assert np.array_equal(image.read(rows, columns), image.pixels()[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("times", [1, 256, 257])
def test_a_palette_tiff_of_8_bits_becomes_8_bits(times: int) -> None:
    stored, table = numbers(4), colours(16)
    image = decoded(palette_tiff(stored, 4, table * times))
    assert image.pixels().dtype == np.uint8
    assert np.array_equal(image.pixels(), table[stored])
    indices = decoded(palette_tiff(stored, 4, table * times), color="indices")
    assert indices.metadata.colormap == as_colormap(table, 257 if times == 1 else times)


def test_damaged_palettes_of_tiff_are_refused() -> None:
    stored = numbers(4)
    for table in (colours(15), colours(17), np.zeros((0, 3), np.uint16)):
        with pytest.raises(PatchcliError, match="its tag ColorMap is missing, or does not hold 48 numbers of 16 bits"):
            decoded(palette_tiff(stored, 4, table) if len(table) else no_table(stored))
    floats = palette_tiff(picture("f4", 1), 32, colours(16))
    with pytest.raises(PatchcliError, match="has a palette and 1 sample a pixel of float32; allowed is one unsigned integer"):
        decoded(floats)
    file = io.BytesIO()
    tifffile.imwrite(file, picture("u1", 2), photometric="minisblack", planarconfig="contig", metadata=None)
    data = bytearray(file.getvalue())
    data[data.index(struct.pack("<HHIHH", PHOTOMETRIC, 3, 1, 1, 0)) + 8] = 3
    with pytest.raises(PatchcliError, match="has a palette and 2 samples a pixel of uint8"):
        decoded(data)


def no_table(stored: NDArray[Any]) -> bytes:
    data = bytearray(palette_tiff(stored, 4, colours(16)))
    place = data.index(struct.pack("<HHI", COLOR_MAP, 3, 48))
    data[place : place + 2] = struct.pack("<H", COLOR_MAP + 1)
    return bytes(data)


@pytest.mark.parametrize("bits", [2, 4])
def test_tiff_gray_of_few_bits_is_not_scaled(bits: int) -> None:
    file, stored = io.BytesIO(), numbers(bits)
    tifffile.imwrite(file, stored, photometric="minisblack", bitspersample=bits, metadata=None)
    for color in (None, "indices"):
        assert np.array_equal(decoded(file.getvalue(), color=color).pixels(), stored)


@pytest.mark.parametrize("name", ["gif", "bmp"])
@pytest.mark.parametrize("count", [2, 5, 16, 200])
def test_gif_and_bmp_give_their_indices(name: str, count: int) -> None:
    stored, table = numbers(8) % np.uint8(count), colours(count)
    image = PIL.Image.fromarray(stored)
    image.putpalette(table.astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, name, optimize=False, **({"transparency": 1} if name == "gif" else {}))
    got = decoded(file.getvalue(), color="indices")
    assert np.array_equal(got.pixels(), stored)
    assert got.metadata.colormap is not None
    assert got.metadata.colormap[:count] == as_colormap(table)
    assert np.array_equal(decoded(file.getvalue(), color="rgb").pixels(), table[stored])


@pytest.mark.parametrize("name", ["png", "tiff", "bmp", "pbm"])
def test_bits_are_the_indices_0_and_1(name: str) -> None:
    image = picture("b1", 1)
    got = decoded(encoded(image, name), color="indices")
    assert np.array_equal(got.pixels(), image.astype(np.uint8))
    assert got.dtype == np.uint8


@pytest.mark.parametrize(("name", "code"), [("pgm", "u2"), ("tiff", "i4"), ("jpeg", "u1")])
def test_values_of_gray_are_its_indices(name: str, code: str) -> None:
    data = encoded(picture(code, 1), name)
    assert np.array_equal(decoded(data, color="indices").pixels(), decoded(data).pixels())


@pytest.mark.parametrize(
    ("name", "code", "channels", "kind"),
    [
        ("png", "u1", 2, r"samples minisblack \+ unassalpha"),
        ("png", "u2", 3, "samples rgb"),
        ("jpeg", "u1", 3, "samples rgb"),
        ("tiff", "f4", 1, "dtype float32"),
    ],
)
def test_what_has_no_indices_is_refused(name: str, code: str, channels: int, kind: str) -> None:
    with pytest.raises(PatchcliError, match=f"^has {kind}, so no indices; --color indices and --labels take palettes and gray"):
        decoded(encoded(picture(code, channels), name), color="indices")


def test_indices_are_turned_upright() -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    image = PIL.Image.fromarray(numbers(8) % np.uint8(9))
    image.putpalette(colours(9).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "png", exif=exif.tobytes())
    got = decoded(file.getvalue(), color="indices")
    assert got.rotated
    assert np.array_equal(got.pixels(), np.rot90(np.asarray(image), -1))


def test_a_profile_of_rgb_is_that_of_the_colours_of_a_palette() -> None:
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (palette_tiff(numbers(4), 4, colours(16), iccprofile=icc), with_profile(icc)):
        kept = [decoded(data, color=color).metadata.icc for color in (None, "indices", "rgb", "gray")]
        assert kept == [icc, icc, icc, b""]


def with_profile(icc: bytes) -> bytes:
    image = PIL.Image.fromarray(numbers(8))
    image.putpalette(colours(256).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "png", icc_profile=icc)
    return file.getvalue()
