"""Image files: every depth kept or refused, nothing hostile decoded."""

from __future__ import annotations

import gc
import io
import os
import struct
import sys
import threading
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest
import tifffile

from patchcli.errors import PatchcliError
from patchcli.images import source
from patchcli.images.codec import overheard
from patchcli.images.convert import to_gray
from patchcli.images.formats import FORMATS, READABLE, WRITABLE
from patchcli.images.metadata import Metadata
from patchcli.images.sink import check_holds, format_of
from patchcli.images.source import ImageSource, join_pages, open_image
from tests.helpers.pictures import HELD, chunk, decoded, encoded, picture
from tests.helpers.runs import SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.images.codec import FromTo


@pytest.mark.parametrize(("name", "code", "channels"), HELD)
def test_every_held_depth_comes_back(name: str, code: str, channels: int) -> None:
    image = picture(code, channels)
    check_holds(name, image.shape, image.dtype)
    data = encoded(image, name)
    image_file = decoded(data)
    meant = Metadata.unexplained(channels) if name == "npy" else Metadata.usual(channels)
    assert (image_file.metadata, image_file.hints, image_file.rotated) == (meant, (), False)
    got = image_file.pixels()
    assert got.dtype == image.dtype
    assert got.shape == image.shape
    if FORMATS[name].lossless:
        assert np.array_equal(got, image)


def test_damaged_png_images_take_no_reference_to_none() -> None:
    data = bytearray(encoded(picture("u1", 1), "png"))
    data[-20] ^= 0xFF  # of the checksum of the pixels
    for color in (None, "indices"):
        gc.collect()  # of what other tests left, each thing with its references
        before = sys.getrefcount(None)
        for _ in range(2000):
            with pytest.raises(PatchcliError, match="damaged or unsupported PNG"):
                decoded(data, color=color).pixels()
        assert sys.getrefcount(None) > before - 1000


@pytest.mark.parametrize(("name", "code", "channels"), HELD)
def test_no_truncated_picture_is_believed(name: str, code: str, channels: int) -> None:
    image = picture(code, channels)
    data = encoded(image, name)
    for cut in (0, 3, 9, 20, len(data) // 2, len(data) * 9 // 10, len(data) - 1):
        try:
            got = decoded(data[:cut]).pixels()
        except PatchcliError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert cut > len(data) * 8 // 10
            assert np.array_equal(got, image)


@pytest.mark.parametrize(
    ("name", "code", "channels", "others"),
    [
        ("png", "f4", 1, "tiff, npy"),
        ("png", "u1", 5, "tiff, npy"),
        ("png", "i2", 1, "tiff, npy"),
        ("jpeg", "u2", 3, "png, tiff, ppm, pnm, npy"),
        ("jpeg", "u1", 4, "png, tiff, webp, npy"),
        ("webp", "u1", 1, "png, tiff, jpeg, bmp, pgm, pnm, npy"),
        ("bmp", "u2", 1, "png, tiff, pgm, pnm, npy"),
        ("pgm", "b1", 1, "png, tiff, bmp, pbm, pnm, npy"),
    ],
)
def test_depth_that_cannot_be_kept_is_refused(name: str, code: str, channels: int, others: str) -> None:
    way_out = ", or so" if any(channels in held for held in FORMATS[name].holds.values()) else ""  # not in any dtype
    with pytest.raises(PatchcliError, match=rf"^{name.upper()} cannot hold .*; allowed are {others}{way_out}$"):
        check_holds(name, (4, 4, channels), np.dtype(code), ", or so")


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", r"^is empty, not an image that patchcli reads \(PNG, TIFF, JPEG, WEBP, BMP, PGM, PPM, PBM, PNM, GIF, NPY\)$"),
        (b"hello, I am a text", "^is text, not an image that patchcli reads"),
        (b"\1\2\3 \xff", r"^is not an image that patchcli reads \(PNG, "),
        (b"PK\3\4" + bytes(30), "^is a patch stack or another zip archive, not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "^is a HEIC image, not an image that patchcli reads"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "^is an AVIF image, not an image that patchcli reads"),
        (b"\xff\x0a\xff\xff", "^is a JPEG XL image, not"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "^is a JPEG 2000 image, not"),
        (b"%PDF-1.7\n%\xe2", "^is a PDF document, not"),
        (b"\x1f\x8b\x08\0", "^is a gzip file, not"),
        (b"\x89HDF\r\n\x1a\n", "^is an HDF5 file, not"),
        (b"GIF89a", "is a damaged or unsupported GIF image"),
        (b"II*\0\xff\xff\xff\xff", "has no image in it"),
        (b"P5\n-3 4\n255\n", "is a damaged or unsupported PGM image"),
        (
            png_bomb(100_000, 100_000),
            r"has 10000000000 pixels \(width=100000 height=100000\); allowed are 178956970, or .* --max",
        ),
        (encoded(picture("u1", 1), "npy")[:-1], r"^holds 220 bytes where its shape \(13, 17\) and dtype uint8 need 221"),
    ],
)
def test_bad_picture(data: bytes, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        decoded(data)


def test_size_limit_can_be_moved_and_lifted() -> None:
    data = encoded(picture("u1", 1), "png")
    with pytest.raises(PatchcliError, match="has 221 pixels"):
        decoded(data, max_pixels=220)
    assert decoded(data, max_pixels=221).pixels().shape == (13, 17)
    with pytest.raises(PatchcliError, match="damaged or unsupported PNG"):
        decoded(png_bomb(30_000, 30_000), max_pixels=0)


@pytest.mark.parametrize("name", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_as_pillow_does(name: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    options: dict[str, Any] = {"tiffinfo": {274: orientation}} if name == "tiff" else {"exif": exif.tobytes()}
    PIL.Image.fromarray(picture("u1", 3)).save(file, name, **options)
    plain, got = decoded(file.getvalue(), rotate=False), decoded(file.getvalue())
    assert (plain.rotated, got.rotated, got.hints) == (False, orientation != 1, ())
    from PIL import ImageOps

    upright = PIL.Image.fromarray(plain.pixels())
    upright.getexif()[274] = orientation
    assert np.array_equal(got.pixels(), np.asarray(ImageOps.exif_transpose(upright)))


def test_sixteen_bit_colour_png_of_another_writer() -> None:
    image = picture("u2", 3)
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in image)
    header = struct.pack(">IIBBBBB", 17, 13, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(decoded(data).pixels(), image)


@pytest.mark.parametrize(("colour", "palette"), [(0, 0), (2, 0), (3, 2), (3, 200), (4, 0), (6, 4)])
@pytest.mark.parametrize("depth", [2, 8])
def test_a_png_header_knows_which_trns_chunks_count(depth: int, colour: int, palette: int) -> None:
    if depth < 8 and colour in (2, 4, 6):
        return
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    data = chunk(b"IDAT", zlib.compress(bytes(4 * (1 + -(-5 * bits // 8)))))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, depth, colour, 0, 0, 0))
    colours, end = chunk(b"PLTE", bytes(3 * palette)) if palette else b"", chunk(b"IEND", b"")
    for size in (0, 1, 2, 3, 4, 6, 8, 300):
        clear = chunk(b"tRNS", bytes(size))
        for parts in ((colours, clear, data), (clear, colours, data), (colours, data, clear)):
            image = open_image(io.BytesIO(head + b"".join(parts) + end))
            assert image.pixels().shape == image.shape  # or it is refused as another than its header says


def test_palette_is_expanded_with_its_transparency() -> None:
    image = PIL.Image.fromarray(picture("u1", 3)).quantize(8)
    plain, clear = io.BytesIO(), io.BytesIO()
    image.save(plain, "png")
    image.save(clear, "png", transparency=3)
    assert np.array_equal(decoded(plain.getvalue()).pixels(), np.asarray(image.convert("RGB")))
    got = decoded(clear.getvalue()).pixels()
    assert got.shape == (13, 17, 4)
    assert np.array_equal(got[..., 3] == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colours_are_refused_where_they_would_look_like_rgb(mode: str) -> None:
    file = io.BytesIO()
    PIL.Image.fromarray(picture("u1", 3)).convert(mode).save(file, "tiff" if mode == "YCbCr" else "jpeg")
    if mode == "CMYK":
        with pytest.raises(PatchcliError, match="has colour mode CMYK; convert it to gray or RGB"):
            decoded(file.getvalue())
    else:
        with pytest.raises(PatchcliError, match="has colours of kind YCBCR"):
            decoded(file.getvalue())


def test_complex_tiff_is_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 4), np.complex64), photometric="minisblack")
    with pytest.raises(PatchcliError, match="image has dtype complex64; allowed are bool, integers and floats"):
        decoded(file.getvalue())


@pytest.mark.parametrize("maximum", [0, 99999])
def test_netpbm_maximum_out_of_range(maximum: int) -> None:
    with pytest.raises(PatchcliError, match=f"has samples up to {maximum}; allowed are 1 to 65535"):
        decoded(b"P5\n2 1\n%d\n" % maximum + b"\0" * 8)


def test_interlaced_png_is_read_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    image = picture("u2", 3)
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for y, dy, x, dx in passes for line in image[y::dy, x::dx] if line.size)
    header = struct.pack(">IIBBBBB", 17, 13, 16, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(decoded(data).pixels(), image)
    assert capfd.readouterr() == ("", "")


def test_gif_gives_one_frame() -> None:
    file = io.BytesIO()
    frames = [PIL.Image.fromarray(np.full((5, 6), value, np.uint8)) for value in (10, 200)]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    assert decoded(file.getvalue()).pixels().shape[:2] == (5, 6)
    assert np.unique(decoded(file.getvalue(), page=1).pixels()).tolist() == [200]
    with pytest.raises(PatchcliError, match="has no page 2"):
        decoded(file.getvalue(), page=2)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_kinds(compression: str | None, planar: str) -> None:
    image = picture("u2", 3)
    file = io.BytesIO()
    data = image if planar == "contig" else np.moveaxis(image, -1, 0)
    tifffile.imwrite(file, data, photometric="rgb", planarconfig=planar, compression=compression, bigtiff=True, byteorder=">")
    got = decoded(file.getvalue()).pixels()
    assert np.array_equal(got, image)
    assert got.dtype.isnative
    assert got.flags.c_contiguous


def test_tiff_pages_and_inverted_gray() -> None:
    pages = picture("u1", 3).transpose(2, 0, 1)
    file = io.BytesIO()
    tifffile.imwrite(file, pages, photometric="minisblack")
    for number in range(3):
        assert np.array_equal(decoded(file.getvalue(), page=number).pixels(), pages[number])
    with pytest.raises(PatchcliError, match="has no page 3; it has 3, counted from 0"):
        decoded(file.getvalue(), page=3)
    inverted = io.BytesIO()
    tifffile.imwrite(inverted, pages[0], photometric="miniswhite")
    assert np.array_equal(decoded(inverted.getvalue()).pixels(), 255 - pages[0])


def in_windows(pixels: NDArray[Any], asked: list[tuple[FromTo, FromTo]]) -> ImageSource:
    """A page that is read by windows alone, which are noted."""

    def window(rows: FromTo, columns: FromTo) -> NDArray[Any]:
        asked.append((rows, columns))
        return pixels[slice(*rows), slice(*columns)]

    return replace(decoded(encoded(pixels, "tiff")), window=window, lines=4, load=None)


def test_pages_are_joined_window_by_window() -> None:
    pages = picture("u2", 3).transpose(2, 0, 1).copy()
    asked: list[tuple[FromTo, FromTo]] = []
    joined = join_pages(enumerate(in_windows(page, asked) for page in pages))
    assert (joined.shape, joined.dtype.name, joined.in_bands, joined.lines) == ((13, 17, 3), "uint16", True, 4)
    assert joined.metadata == Metadata("minisblack", ("unspecified", "unspecified"), axes="YXC")
    part = joined.read((2, 9), (5, 6))
    assert np.array_equal(part, np.moveaxis(pages, 0, 2)[2:9, 5:6])
    assert asked == [((2, 9), (5, 6))] * 3
    assert np.array_equal(joined.channel(1).read((2, 9), (5, 6)), pages[1, 2:9, 5:6])
    pages[0] = 0  # what was read is a copy
    assert part[:, :, 0].any()


def test_pages_are_joined_that_are_decoded_whole() -> None:
    pages = picture("u1", 4).transpose(2, 0, 1)
    files = [decoded(encoded(page, name)) for page, name in zip(pages, ("png", "tiff", "bmp", "pgm"), strict=True)]
    files[1].said.append("is odd")
    joined = join_pages(enumerate(files))
    assert not joined.in_bands
    assert joined.hints == ("is odd",)
    assert np.array_equal(joined.read((2, 9), (5, 6)), np.moveaxis(pages, 0, 2)[2:9, 5:6])
    one = join_pages([(0, decoded(encoded(pages[0], "png")))])
    assert np.array_equal(one.pixels(), pages[0])


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (picture("u1", 3), "has 3 channels on page 8; --pages-as channels is for pages of one, which --color gray"),
        (picture("u1", 1, 12), "has page 8 of width=17 height=12 uint8 and pages before it of width=17 height=13 uint8; with"),
        (picture("u2", 1), "has page 8 of width=17 height=13 uint16 and pages before it of width=17 height=13 uint8; with"),
    ],
)
def test_pages_that_are_not_alike(second: NDArray[Any], sentence: str) -> None:
    pages = enumerate(decoded(encoded(page, "tiff")) for page in (picture("u1", 1), second, picture("f8", 7)))
    with pytest.raises(PatchcliError, match=sentence):
        join_pages((7 + number, page) for number, page in pages)
    assert next(pages)[0] == 2  # the others were not opened


def test_pages_together_are_not_too_large() -> None:
    page = picture("u1", 1)
    files = ((number, decoded(encoded(page, "png"))) for number in range(40))
    with pytest.raises(PatchcliError, match=r"has 7293 bytes \(width=17 height=13, 33 bytes a pixel\); allowed are 7072, which"):
        join_pages(files, max_pixels=13 * 17)


def test_netpbm_keeps_odd_maximum_values() -> None:
    assert decoded(b"P5\n# ten bits\n2 1\n1023\n\x03\xff\x00\x07").pixels().tolist() == [[1023, 7]]
    assert decoded(b"P2\n2 1\n9\n3 9\n").pixels().tolist() == [[3, 9]]


def test_gray_is_luma() -> None:
    image = picture("u1", 4)
    expected = np.rint(image[..., :3].astype(float) @ [0.299, 0.587, 0.114]).astype(np.uint8)
    assert np.array_equal(to_gray(image, Metadata.usual(4)), expected)
    assert np.array_equal(to_gray(picture("u2", 2), Metadata.usual(2)), picture("u2", 2)[..., 0])
    assert to_gray(picture("u1", 1), Metadata()).shape == (13, 17)
    luma = picture("f4", 3) @ np.array([0.299, 0.587, 0.114], np.float32)
    assert np.abs(to_gray(picture("f4", 3), Metadata.usual(3)) - luma).max() < 1e-3
    bands = Metadata("minisblack", ("unspecified",) * 3)
    assert np.array_equal(to_gray(image, bands), image[..., 0])
    with pytest.raises(PatchcliError, match="has dtype uint64; gray is made of integers of at most 32 bits"):
        to_gray(picture("u8", 3), Metadata.usual(3))
    with pytest.raises(PatchcliError, match="has 7 channels; allowed for gray are 1 to 4"):
        to_gray(picture("u1", 7), Metadata.usual(7))


def test_suffix_names_the_format() -> None:
    assert [format_of(f"a.{suffix}") for suffix in ("PNG", "tif", "jpg", "npy")] == ["png", "tiff", "jpeg", "npy"]
    assert format_of("a.xyz", "tiff") == "tiff"
    with pytest.raises(PatchcliError, match=r"^a\.gif: suffix is '\.gif'; for images use \.png, \.apng, \.tif"):
        format_of("a.gif")


def test_sample_images_show_what_they_should() -> None:
    held = {}
    for path in sorted(SAMPLES.iterdir()):
        with path.open("rb") as file:
            image = open_image(file)
            image.pixels()
        held[path.name] = (image.shape[2:], image.dtype.name, image.rotated)
    assert held == {
        "cells.png": ((), "uint8", False),
        "cells_mask.png": ((), "uint8", False),
        "leaf.png": ((4,), "uint8", False),
        "noisy.png": ((3,), "uint8", False),
        "ramp16.png": ((), "uint16", False),
        "scene.png": ((3,), "uint8", False),
        "terrain.tif": ((), "float32", False),
        "texture.png": ((), "uint8", False),
        "upright.jpg": ((3,), "uint8", True),
    }
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 3_000_000


def test_formats_are_consistent() -> None:
    assert set(READABLE) | set(WRITABLE) == set(FORMATS)
    suffixes = [suffix for known in FORMATS.values() for suffix in known.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert source.MAX_PIXELS == 2 * (1024 * 1024 * 1024 // 4 // 3)
    assert iio.imread(encoded(picture("u1", 3), "webp")).shape == (13, 17, 3)


def test_what_others_print_while_an_image_is_decoded_is_not_taken_for_a_library(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def decode() -> None:
        with overheard(said):
            os.write(2, b"2026-01-01 - a log of a cluster - INFO\nlibpng warning: bad palette\n")

    thread = threading.Thread(target=decode)
    thread.start()
    thread.join()
    assert said == ["libpng warning: bad palette"]
    assert capfd.readouterr().err == "2026-01-01 - a log of a cluster - INFO\n"
