"""Inputs like those that people had trouble with: each stands for a kind, and is made here."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import subprocess
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from patchcli import read_stack
from patchcli.errors import LONGEST, PatchcliError, shortened
from patchcli.images import sink, source
from patchcli.images.codec import as_orientation
from patchcli.images.metadata import Metadata
from patchcli.images.sink import output_name
from patchcli.images.source import open_image
from tests.helpers.pictures import chunk, decoded, picture, with_palette
from tests.helpers.runs import Run, gray, read_image, refused, write_image

if TYPE_CHECKING:
    from pathlib import Path

HEADER = len(b"\x89PNG\r\n\x1a\n") + 25


def done(ran: subprocess.CompletedProcess[bytes], said: str = "") -> None:
    assert (ran.stderr.decode(), ran.returncode) == (said, 0)


def as_tiff(image: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, metadata=None, **options)
    return file.getvalue()


def with_tag(data: bytes, code: int, *, kind: int | None = None, count: int | None = None, value: bytes | None = None) -> bytes:
    """A little-endian TIFF file of one page with a tag changed."""
    place = int.from_bytes(data[4:8], "little")
    for at in range(place + 2, place + 2 + 12 * int.from_bytes(data[place : place + 2], "little"), 12):
        if int.from_bytes(data[at : at + 2], "little") == code:
            old = struct.unpack_from("<HI4s", data, at + 2)
            new = struct.pack("<HI4s", kind or old[0], old[1] if count is None else count, old[2] if value is None else value)
            return data[: at + 2] + new + data[at + 12 :]
    raise AssertionError(code)


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 10, 12, 16, 32])
def test_white_is_0_counts_down_from_what_its_bits_hold(bits: int) -> None:
    code = "?" if bits == 1 else "u1" if bits <= 8 else "u2" if bits <= 16 else "u4"
    stored = np.random.default_rng(bits).integers(0, 2**bits, (13, 17), dtype=np.uint64).astype(code)
    got = decoded(as_tiff(stored, photometric="miniswhite", bitspersample=bits))
    assert got.pixels().dtype == stored.dtype
    assert np.array_equal(got.pixels(), stored ^ True if bits == 1 else (2**bits - 1 - stored.astype(np.int64)))
    assert got.metadata == Metadata("minisblack")


def test_white_is_0_of_signed_numbers_and_floats_stays_what_it_is(tmp_path: Path) -> None:
    for code in ("i2", "f4"):
        stored = picture(code, 1)
        (tmp_path / "a.tif").write_bytes(as_tiff(stored, photometric="miniswhite"))
        got = decoded((tmp_path / "a.tif").read_bytes())
        assert np.array_equal(got.pixels(), stored)
        file = io.BytesIO()
        sink.write(file, got.pixels(), "tiff", metadata=got.metadata)
        again = decoded(file.getvalue())
        assert np.array_equal(again.pixels(), stored)
        assert again.metadata.photometric == "miniswhite"


SAMPLES_SAID: list[tuple[str, int, str, tuple[str, ...]]] = [
    ("u2", 4, "rgb", ("unspecified",)),
    ("f4", 2, "minisblack", ("unspecified",)),
    ("u1", 4, "rgb", ("assocalpha",)),
    ("u1", 4, "rgb", ("unassalpha",)),
    ("u1", 3, "minisblack", ("unspecified", "unspecified")),
    ("u1", 5, "rgb", ("unassalpha", "unspecified")),
    ("u1", 2, "minisblack", ("unassalpha",)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "channels", "kind", "extra"), SAMPLES_SAID)
def test_samples_mean_in_the_output_what_they_mean_in_the_source(
    patchcli: Run, tmp_path: Path, code: str, channels: int, kind: str, extra: tuple[str, ...]
) -> None:
    image = picture(code, channels)
    (tmp_path / "a.tif").write_bytes(as_tiff(image, photometric=kind, planarconfig="contig", extrasamples=extra))
    done(patchcli("crop", "a.tif", "--box", 1, 2, 9, 8, "-o", "crop.tif"))
    done(patchcli("extract", "a.tif", "-s", 4, "--stride", 3, "-o", "a.npz"))
    done(patchcli("merge", "a.npz", "-o", "back.tif"))
    for name, expected in (("crop.tif", image[2:10, 1:10]), ("back.tif", image)):
        page = tifffile.TiffFile(io.BytesIO((tmp_path / name).read_bytes())).pages[0]
        assert isinstance(page, tifffile.TiffPage)
        assert np.array_equal(page.asarray(), expected)
        assert tifffile.PHOTOMETRIC(page.photometric).name.lower() == kind
        assert tuple(tifffile.EXTRASAMPLE(one).name.lower() for one in page.extrasamples) == extra
    about = json.loads(str(np.load(tmp_path / "a.npz")["meta"]))["image"]["metadata"]
    said = list(extra)
    while said and said[-1] == "unspecified":
        said.pop()
    assert about == {"photometric": kind, "extrasamples": said}


def test_samples_that_a_format_shows_as_something_else_are_a_hint(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(as_tiff(picture("u1", 4), photometric="rgb", extrasamples=["unspecified"]))
    hint = "its samples are rgb + unspecified, and PNG shows them as rgb + unassalpha; TIFF keeps what they are"
    done(patchcli("crop", "a.tif", "--box", 1, 2, 9, 8, "-o", "a.png"), f"patchcli: a.tif: {hint}\n")
    done(patchcli("crop", "a.tif", "--box", 1, 2, 9, 8, "-o", "b.png", "-q"))
    done(patchcli("crop", "a.tif", "--box", 1, 2, 9, 8, "-o", "a.npy"))
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    ran = patchcli("crop", "a.tif", "b.tif", "--box", 1, 2, 9, 8, "-d", "o", "--image-format", "png", "--report", "-")
    done(ran, f"patchcli: a.tif: {hint} (and 1 more input)\n")
    assert [json.loads(line).get("hints") for line in ran.stdout.splitlines()] == [[hint], [hint], None]


def test_metadata_of_stacks_is_checked_and_what_is_not_understood_is_as_usual() -> None:
    assert Metadata.from_fields({}, 4) == Metadata.usual(4)
    assert Metadata.from_fields({"photometric": "cmyk", "extrasamples": []}, 4) == Metadata.usual(4)
    assert Metadata.from_fields({"photometric": "rgb", "extrasamples": "x"}, 4) == Metadata.usual(4)
    assert Metadata.from_fields({"photometric": "rgb", "extrasamples": [7]}, 4) == Metadata("rgb", ("unspecified",))
    assert Metadata.from_fields({"photometric": "rgb", "extrasamples": []}, 1) == Metadata()
    assert Metadata.from_fields({"photometric": "rgb", "extrasamples": [], "icc": "x"}, 5).channels == 5
    for channels in range(1, 9):
        assert Metadata.usual(channels).channels == channels


@pytest.mark.parametrize("suffix", ["tif", "bmp", "pbm", "png", "pnm", "dib"])
def test_one_bit_stays_one_bit(patchcli: Run, tmp_path: Path, suffix: str) -> None:
    image = picture("b1", 1)
    (tmp_path / "a.tif").write_bytes(as_tiff(image, photometric="minisblack"))
    done(patchcli("crop", "a.tif", "--box", 1, 2, 9, 8, "-o", f"c.{suffix}"))
    assert np.array_equal(read_image(tmp_path / f"c.{suffix}"), image[2:10, 1:10])
    assert read_image(tmp_path / f"c.{suffix}").dtype == bool
    assert (tmp_path / f"c.{suffix}").stat().st_size < 300
    if suffix != "tif":
        with PIL.Image.open(tmp_path / f"c.{suffix}") as other:
            assert np.array_equal(np.asarray(other), image[2:10, 1:10])


EXIF_TYPES = [  # type, count, value, and what it says
    (1, 1, b"\x06", 6),
    (2, 2, b"6\0", 6),
    (3, 1, b"\x06\0", 6),
    (4, 1, b"\x06\0\0\0", 6),
    (6, 1, b"\x06", 6),
    (8, 1, b"\x06\0", 6),
    (11, 1, struct.pack("<f", 6), 6),
    (3, 1, b"\x09\0", None),
    (3, 1, b"\0\0", None),
    (2, 4, b"abc\0", None),
    (3, 2, b"\x06\0\x07\0", 6),
    (11, 1, struct.pack("<f", math.nan), None),
]


@pytest.mark.parametrize("name", ["jpeg", "webp", "png", "tiff"])
@pytest.mark.parametrize(("kind", "count", "value", "says"), EXIF_TYPES)
def test_orientation_has_any_type(name: str, kind: int, count: int, value: bytes, says: int | None) -> None:
    image = np.dstack([picture("u1", 1)] * 3)
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 274, kind, count) + value.ljust(4, b"\0") + b"\0\0\0\0"
    file = io.BytesIO()
    if name == "png":
        sink.write(file, image, "png")
        data = file.getvalue()[:HEADER] + chunk(b"eXIf", exif) + file.getvalue()[HEADER:]
    elif name == "tiff":
        plain = as_tiff(image, extratags=[(274, 3, 1, 1, True)])
        data = with_tag(plain, 274, kind=kind, count=count, value=value.ljust(4, b"\0"))
    else:
        PIL.Image.fromarray(image).save(file, name, exif=b"Exif\0\0" + exif, **({"lossless": True} if name == "webp" else {}))
        data = file.getvalue()
    stored = decoded(data, rotate=False)
    assert (stored.rotated, stored.hints) == (False, ())
    got = decoded(data)
    assert np.array_equal(got.pixels(), stored.pixels()[::-1].swapaxes(0, 1) if says else stored.pixels())
    assert got.rotated == bool(says)
    if says is None:
        (hint,) = got.hints
        assert re.match(
            r"has an orientation that cannot be understood \(.* where 1 to 8 are allowed\); it was taken as upright", hint
        )
    with io.BytesIO(data) as again:
        assert source.open_image(again).shape == got.pixels().shape


def test_orientation_as_a_number() -> None:
    assert [as_orientation(said) for said in (1, 8, 3.0, "2", b"4", (5,), [7, 1])] == [1, 8, 3, 2, 4, 5, 7]
    for odd in (0, 9, 2.5, "", "x", b"\x09", b"", (), None, math.inf, math.nan, object()):
        assert as_orientation(odd) is None


@pytest.mark.parametrize("name", ["voc.png", "voc.tif", "ids2bit.png", "frame.gif", "mask.bmp"])
def test_the_numbers_behind_colours_are_cut_and_cropped(patchcli: Run, tmp_path: Path, name: str) -> None:
    table = np.random.default_rng(1).integers(0, 256, (256, 3))
    ids = with_palette(tmp_path / name, table)
    done(patchcli("extract", name, "-s", 32, "--stride", 16, "--color", "indices", "-o", "a.npz"))
    held = read_stack(tmp_path / "a.npz")
    assert held.patches.dtype == np.uint8
    for patch, (row, column) in zip(held.patches, held.origins, strict=True):
        assert np.array_equal(patch, ids[row : row + 32, column : column + 32])
    call = ["crop", name, "--box", 3.25, 5, 40, 30, "--size", "23x17", "--metadata", "none"]
    done(patchcli(*call, "--color", "indices", "-o", "a.npy"))
    done(patchcli(*call, "--color", "rgb", "-o", "b.npy"))
    done(patchcli(*call, "--resampling", "nearest", "-o", "c.npy"))
    indices, mixed, near = (np.load(tmp_path / f"{letter}.npy") for letter in "abc")
    assert np.array_equal(table[indices], near)
    assert not np.array_equal(mixed, near)


@pytest.mark.parametrize("name", ["voc.png", "voc.tif", "ids2bit.png", "mask.bmp"])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_a_mask_comes_back_with_its_numbers_and_its_colours(patchcli: Run, tmp_path: Path, name: str, suffix: str) -> None:
    table = np.random.default_rng(1).integers(0, 256, (256, 3))
    ids = with_palette(tmp_path / name, table)
    done(patchcli("extract", name, "-s", 32, "--overlap", "25%", "--margin", 3, "--color", "indices", "-o", "a.npz"))
    done(patchcli("merge", "a.npz", "--reduce", "first", "-o", f"back.{suffix}"))
    done(patchcli("crop", name, "--box", 10, 20, 30, 40, "--color", "indices", "-o", f"crop.{suffix}"))
    for made, wanted in ((f"back.{suffix}", ids), (f"crop.{suffix}", ids[20:60, 10:40])):
        with PIL.Image.open(tmp_path / made) as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), wanted)
            assert np.array_equal(np.asarray(image.convert("RGB")), table[wanted])
        data = (tmp_path / made).read_bytes()
        indices = decoded(data, color="indices")
        assert np.array_equal(indices.pixels(), wanted)
        got, colours = indices.metadata.colormap, decoded((tmp_path / name).read_bytes(), color="indices").metadata.colormap
        assert got is not None
        assert colours is not None
        assert got[: len(colours)] == colours  # TIFF has a colour for each number of 8 bits
        assert np.array_equal(decoded(data).pixels(), table[wanted])


def test_indices_that_a_merge_mixes_are_a_hint(patchcli: Run, tmp_path: Path) -> None:
    with_palette(tmp_path / "voc.png", np.random.default_rng(1).integers(0, 256, (256, 3)))
    write_image(tmp_path / "gray.png", gray(64, 96))
    mixed = "patchcli: a.npz: its values are indices{}, which mean mixes; --reduce mode, min, max, first or last keeps them\n"
    for name, of in (("voc.png", " of a colour table"), ("gray.png", " (--color indices)")):
        done(patchcli("extract", name, "-s", 32, "--stride", 16, "--color", "indices", "-o", "a.npz", "--overwrite"))
        done(patchcli("merge", "a.npz", "-o", "back.png", "--overwrite"), mixed.format(of))
        done(patchcli("merge", "a.npz", "-o", "back.png", "--overwrite", "-n"), mixed.format(of))
        for reduce in ("mean", "first"):
            done(patchcli("merge", "a.npz", "--reduce", reduce, "-o", "back.png", "--overwrite"))
        done(patchcli("extract", name, "-s", 32, "--color", "indices", "-o", "a.npz", "--overwrite"))
        done(patchcli("merge", "a.npz", "-o", "back.png", "--overwrite"))  # no two patches on a pixel
        done(patchcli("extract", name, "-s", 32, "--max-patches", 3, "--color", "indices", "-o", "a.npz", "--overwrite"))
        done(patchcli("merge", "a.npz", "--fill", 0, "-o", "back.png", "--overwrite"))
    done(patchcli("extract", "gray.png", "-s", 32, "--stride", 16, "-o", "a.npz", "--overwrite"))
    done(patchcli("merge", "a.npz", "-o", "back.png", "--overwrite"))


@pytest.mark.parametrize(("name", "of"), [("voc.png", " of a colour table"), ("gray.png", " (--color indices)")])
def test_a_format_that_changes_indices_is_refused_or_a_hint(patchcli: Run, tmp_path: Path, name: str, of: str) -> None:
    with_palette(tmp_path / "voc.png", np.random.default_rng(1).integers(0, 256, (256, 3)))
    write_image(tmp_path / "gray.png", gray(64, 96))
    for plan in ([], ["-n"]):
        ran = patchcli("crop", name, "--box", 0, 0, 9, 9, "--color", "indices", "-o", "a.jpg", *plan)
        refused(ran, f"{name}: holds class numbers, which JPEG changes; give a lossless format, as .png or .tif", 1)
    assert not (tmp_path / "a.jpg").exists()
    done(patchcli("extract", name, "-s", 32, "--color", "indices", "-o", "a.npz"))
    ran = patchcli("merge", "a.npz", "-o", "back.jpg")
    said = f"patchcli: a.npz: its values are indices{of}, which JPEG changes; a lossless format, as .png or .tif, keeps them\n"
    assert ran.returncode == 0
    assert said in ran.stderr.decode()


def test_crops_of_indices_of_a_jpeg_get_a_lossless_format(patchcli: Run, tmp_path: Path) -> None:
    PIL.Image.fromarray(gray()).save(tmp_path / "a.jpg")
    done(patchcli("crop", "a.jpg", "--box", 0, 0, 4, 4, "--color", "indices", "-d", "o"))
    assert np.array_equal(read_image(tmp_path / "o" / "a.jpg.png"), read_image(tmp_path / "a.jpg")[:4, :4])


def test_a_frame_with_a_palette_of_its_own_has_no_indices(patchcli: Run, tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(np.full((8, 8), number, np.uint8)) for number in range(2)]
    for number, frame in enumerate(frames):
        frame.putpalette([number, 50, 60, 70, 80, 90])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], optimize=False)
    ran = patchcli("extract", "a.gif", "--page", "all", "-s", 8, "--color", "indices", "-d", "o")
    has = "has a palette of its own and is composed in colours with the frames before it, so no indices"
    refused(ran, f"a.gif page 1: {has}; --color indices and --labels take palettes and gray of integers", 1)
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.gif.p0000.npz"]


def test_folders_of_all_kinds_agree_as_rgb(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    table = np.random.default_rng(1).integers(0, 256, (256, 3))
    with_palette(tmp_path / "in" / "a.png", table)
    with_palette(tmp_path / "in" / "b.tif", table)
    for name, code, channels in (("c.png", "b1", 1), ("d.tif", "u1", 2), ("e.bmp", "u1", 1), ("f.png", "u1", 4)):
        write_image(tmp_path / "in" / name, picture(code, channels, 64, 96))
    (tmp_path / "list.csv").write_text("x,y,width,height\n3,4,20,20\n")
    call = ["crop", "in", "--boxes", "list.csv", "--size", 8, "--resampling", "area", "-o", "a.npz"]
    assert "use --color or --channel" in patchcli(*call).stderr.decode()
    done(patchcli(*call, "--color", "rgb", "--overwrite"))
    assert np.load(tmp_path / "a.npz")["patches"].shape == (6, 8, 8, 3)


def test_an_image_without_indices_fails_alone(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture("u1", 3))
    with_palette(tmp_path / "b.png", np.zeros((256, 3)))
    ran = patchcli("extract", "a.png", "b.png", "-s", 8, "--color", "indices", "-d", "o")
    refused(ran, "a.png: has samples rgb, so no indices; --color indices and --labels take palettes and gray of integers", 1)
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["b.png.npz"]


def test_damaged_exif_is_a_hint(patchcli: Run, tmp_path: Path) -> None:
    PIL.Image.fromarray(gray()).save(tmp_path / "a.jpg", exif=b"Exif\0\0not a tiff header")
    data = io.BytesIO()
    sink.write(data, gray(), "png")
    (tmp_path / "b.png").write_bytes(data.getvalue()[:HEADER] + chunk(b"eXIf", b"XX") + data.getvalue()[HEADER:])
    said = "has an orientation that cannot be understood (a tag or a block that cannot be read); it was taken as upright, "
    said += "--no-exif-rotate says so too"
    PIL.Image.fromarray(np.dstack([gray()] * 3)).save(tmp_path / "c.webp", lossless=True, exif=b"Exif\0\0garbage garbage")
    call = ["extract", "a.jpg", "b.png", "c.webp", "-s", 8]
    for options in ([], ["-j", 2], ["-n"]):
        done(patchcli(*call, "-d", f"o{len(options)}", *options), f"patchcli: a.jpg: {said} (and 2 more inputs)\n")
    done(patchcli(*call, "-d", "p", "--no-exif-rotate"))


def test_an_orientation_tag_of_an_unknown_type_is_told() -> None:
    for kind, count, value in ((14, 1, b"\x06"), (255, 1, b"\x06"), (3, 1 << 31, b"\x06"), (3, 0, b"")):
        exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 274, kind, count) + value.ljust(4, b"\0") + b"\0\0\0\0"
        file = io.BytesIO()
        PIL.Image.fromarray(picture("u1", 1)).save(file, "jpeg", exif=b"Exif\0\0" + exif)
        got = decoded(file.getvalue())
        assert (got.rotated, len(got.hints)) == (False, 1)


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_orientation_in_xmp(name: str) -> None:
    image = np.dstack([picture("u1", 1)] * 3)
    file = io.BytesIO()
    space = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {space}><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    PIL.Image.fromarray(image).save(file, name, xmp=xmp.encode())
    assert decoded(file.getvalue()).pixels().shape == (17, 13, 3)
    assert decoded(file.getvalue(), rotate=False).pixels().shape == (13, 17, 3)


def with_chunks(*chunks: bytes) -> bytes:
    """A gray PNG with chunks before its pixels."""
    data = io.BytesIO()
    sink.write(data, gray(), "png")
    return data.getvalue()[:HEADER] + b"".join(chunks) + data.getvalue()[HEADER:]


def test_what_libraries_print_reaches_no_terminal(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    escape = b"\x1b]0;pwned\x07\x1b[31mRED"
    odd = {
        "a.png": chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"short")),
        "b.png": chunk(b"iCCP", escape + b"\0\0" + zlib.compress(b"short")),
        "c.png": chunk(b"gAMA", b"x"),
        "d.png": chunk(b"tEXt", b"")[:-1] + b"?",  # a wrong checksum
    }
    for name, body in odd.items():
        (tmp_path / "in" / name).write_bytes(with_chunks(body))
    for options in ([], ["-j", 2], ["-q"]):
        done(patchcli("extract", "in", "-s", 8, "-d", "o", "--overwrite", *options))
    assert np.array_equal(np.load(tmp_path / "o/in/b.png.npz")["patches"][0], gray()[:8, :8])


def test_what_a_decoder_says_of_pixels_is_one_escaped_line(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(with_chunks(chunk(b"tRNS", b"\x1b\x1b\x1b\x1b\x1b\x1b")))
    ran = patchcli("extract", "a.png", "-s", 8, "-o", "a.npz")
    assert ran.returncode == 0
    assert re.fullmatch(rb"patchcli: a\.png: the decoder says: PNG warning: tRNS: .*\n", ran.stderr)
    done(patchcli("extract", "a.png", "-s", 8, "-o", "b.npz", "-q"))


@pytest.mark.parametrize("kind", [b"tRNS", b"eXIf", b"tRMS"])
def test_chunks_that_pixels_depend_on_have_a_right_checksum(kind: bytes) -> None:
    body = chunk(kind, b"\0\0")
    with pytest.raises(PatchcliError, match=rf"is damaged: its chunk {re.escape(repr(kind))} has a wrong checksum"):
        decoded(with_chunks(body[:-1] + bytes([body[-1] ^ 1])))


def test_standard_error_is_given_back_to_all_threads() -> None:
    program = """
import io, os, sys, threading
from patchcli.images import sink, source
data = open(sys.argv[1], "rb").read()
def work():
    for _ in range(200):
        source.open_image(io.BytesIO(data)).pixels()
threads = [threading.Thread(target=work) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
os.write(2, b"still here\\n")
print(len(os.listdir("/proc/self/fd")))
"""
    import sys
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(with_chunks(chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"short"))))
        file.flush()
        ran = subprocess.run([sys.executable, "-c", program, file.name], capture_output=True, check=False, timeout=60)
    assert ran.stderr == b"still here\n"
    assert int(ran.stdout) < 10


COMPRESSIONS = ["lzw", "deflate", "packbits", "lzma", "zstd", "webp", "jpeg", "jpegxl", "jpeg2000", "png", "lerc", "jpegxr"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("part", [0.98, 0.6, 0.1])
def test_segments_cut_short_are_refused_in_every_compression(compression: str, part: float) -> None:
    base = np.add.outer(np.arange(48) * 2, np.arange(64)).astype(np.uint8)
    image = np.dstack([base + np.random.default_rng(seed).integers(0, 6, base.shape, np.uint8) for seed in range(3)])
    data = as_tiff(image, photometric="rgb", compression=compression, rowsperstrip=48)
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert isinstance(page, tifffile.TiffPage)
    decoded(data)
    size = int(page.databytecounts[0] * part)
    with pytest.raises(PatchcliError, match=r"(?i)truncated|damaged|corrupt"):
        decoded(with_tag(data, 279, kind=4, value=size.to_bytes(4, "little")))
    with pytest.raises(
        PatchcliError, match=r"is truncated or damaged: strip or tile 0 of 1 \(x=0 y=0\) has \d+ bytes at \d+ of a"
    ):
        decoded(data[: page.dataoffsets[0] + size])


def test_lzw_cut_within_its_last_code_is_refused() -> None:
    rng = np.random.default_rng(0)
    refusals = 0
    for number in range(60):
        image = rng.integers(0, int(rng.choice([2, 5, 256])), rng.integers(2, 50, 2), np.uint8)
        data = as_tiff(image, compression="lzw", rowsperstrip=len(image))
        assert np.array_equal(decoded(data).pixels(), image)
        page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
        assert isinstance(page, tifffile.TiffPage)
        for cut in (1, 2, 3):
            size = max(1, page.databytecounts[0] - cut)
            try:
                assert np.array_equal(decoded(with_tag(data, 279, kind=4, value=size.to_bytes(4, "little"))).pixels(), image), (
                    number
                )
            except PatchcliError:
                refusals += 1
    assert refusals > 60


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_cut_short_is_refused(compression: str) -> None:
    rng = np.random.default_rng(5)
    image = np.kron(rng.random((14, 20)) < 0.4, np.ones((3, 3), bool))
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "TIFF", compression=compression)
    data = file.getvalue()
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert isinstance(page, tifffile.TiffPage)
    whole = decoded(data).pixels()
    assert np.array_equal(whole, image)
    refusals = 0
    for size in range(8, page.databytecounts[0], 7):
        try:
            assert np.array_equal(decoded(with_tag(data, 279, kind=4, value=size.to_bytes(4, "little"))).pixels(), whole)
        except PatchcliError as error:
            assert "end before its pixels do" in str(error) or "damaged" in str(error)  # noqa: PT017
            refusals += 1
    assert refusals > 5


def test_sparse_tiles_are_zeros_and_other_missing_ones_damage() -> None:
    image = np.ones((32, 32), np.uint8)
    data = as_tiff(image, tile=(16, 16), compression="deflate")
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert isinstance(page, tifffile.TiffPage)
    places = [page.tags[code].valueoffset for code in (324, 325)]
    sizes = [page.tags[code].dtype for code in (324, 325)]
    sparse = bytearray(data)
    for place, kind in zip(places, sizes, strict=True):
        sparse[place : place + (2 if kind == 3 else 4)] = bytes(2 if kind == 3 else 4)
    expected = image.copy()
    expected[:16, :16] = 0
    assert np.array_equal(decoded(bytes(sparse)).pixels(), expected)
    broken = bytearray(data)
    broken[places[1] : places[1] + 2] = bytes(2)
    with pytest.raises(PatchcliError, match=r"strip or tile 0 of 4 \(x=0 y=0\) has 0 bytes"):
        decoded(bytes(broken))


TAGS = [
    (256, {"kind": 1, "count": 1}, "its tag ImageWidth cannot be read, or has a type that it must not have"),
    (257, {"value": struct.pack("<I", 900_000)}, "offsets and . sizes of|has 57600000 pixels|pixels need"),
    (258, {"kind": 15}, "its tag BitsPerSample cannot be read"),
    (259, {"kind": 99}, "its tag Compression cannot be read"),
    (262, {"kind": 99}, "its tag PhotometricInterpretation cannot be read"),
    (262, {"value": struct.pack("<I", 7)}, "has colours of kind number 7"),
    (277, {"count": 0}, "samplesperpixel|makes no sense"),
    (277, {"value": struct.pack("<I", 65535)}, "pixels need|has .* bytes|makes no sense"),
    (284, {"value": struct.pack("<I", 49552)}, "has the planar configuration 49552; allowed are 1 and 2"),
    (279, {"kind": 4, "count": 1, "value": struct.pack("<I", 1 << 31)}, "strips or tiles|strip or tile|makes no sense"),
]


@pytest.mark.parametrize(("code", "change", "sentence"), TAGS)
def test_tags_are_checked_before_memory_is_taken(code: int, change: dict[str, Any], sentence: str) -> None:
    data = with_tag(as_tiff(picture("u1", 3), photometric="rgb", compression="deflate"), code, **change)
    with pytest.raises(PatchcliError, match=sentence):
        open_image(io.BytesIO(data))


def test_a_file_of_few_bytes_claims_no_millions_of_tiles(patchcli: Run, tmp_path: Path) -> None:
    data = as_tiff(np.zeros((16, 16), np.uint8), tile=(16, 16), compression="deflate")
    for code in (256, 257):
        data = with_tag(data, code, kind=4, value=struct.pack("<I", 13_000))
    (tmp_path / "tiles.tif").write_bytes(data)
    write_image(tmp_path / "good.png", gray())
    (tmp_path / "bytes.tif").write_bytes(with_tag(data, 256, kind=1, count=1, value=b"\x99\0\0\0"))
    ran = patchcli("extract", "tiles.tif", "bytes.tif", "good.png", "-s", 8, "-d", "o", "--report", "-")
    assert ran.returncode == 1
    first, second = ran.stderr.decode().splitlines()[:2]
    assert first == "patchcli: tiles.tif: is truncated or damaged: it has 1 offsets and 1 sizes of 660969 strips or tiles"
    assert second == "patchcli: bytes.tif: is damaged: its tag ImageWidth cannot be read, or has a type that it must not have"
    assert [json.loads(line).get("status") for line in ran.stdout.splitlines()] == ["failed", "failed", "done", None]


@pytest.mark.parametrize(("side", "sentence"), [(1000, "has 1000000 strips or tiles of"), (1100, "has 1210000 strips or")])
def test_millions_of_places_inside_the_file_are_not_read(side: int, sentence: str) -> None:
    import tracemalloc

    data = as_tiff(np.zeros((16, 16), np.uint8), tile=(16, 16), compression="deflate")
    for code, value in ((256, side), (257, side), (322, 1), (323, 1)):
        data = with_tag(data, code, kind=4, value=struct.pack("<I", value))
    for code in (324, 325):
        data = with_tag(data, code, kind=4, count=side * side, value=struct.pack("<I", len(data)))
    file = io.BytesIO(data + bytes(4 * side * side))
    tracemalloc.start()
    with pytest.raises(PatchcliError, match=sentence):
        open_image(file)
    if side * side > 1 << 20:  # which is seen before any is read
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    tracemalloc.stop()


def test_the_limit_in_pixels_is_one_in_bytes_too(patchcli: Run, tmp_path: Path) -> None:
    wide = np.zeros((10, 10, 40), np.uint8)
    data = as_tiff(wide, photometric="minisblack", planarconfig="contig")
    assert decoded(data, max_pixels=125).pixels().shape == wide.shape
    said = r"has 4000 bytes \(width=10 height=10, 40 bytes a pixel\); allowed are 3200, which is 32 times --max-pixels"
    with pytest.raises(PatchcliError, match=said):
        open_image(io.BytesIO(data), max_pixels=100).pixels()
    assert decoded(data, max_pixels=0).pixels().shape == wide.shape
    (tmp_path / "a.tif").write_bytes(data)
    call = ["extract", "a.tif", "-s", 4, "--margin", 3, "-o", "a.npz", "--max-pixels", 260]
    done(patchcli(*call))  # which reads it in bands
    (tmp_path / "a.tif").write_bytes(as_tiff(wide, photometric="minisblack", planarconfig="contig", extratags=[(274, "H", 1, 6)]))
    call += ["--overwrite"]
    refused(patchcli(*call), "needs a canvas of 10240 bytes (width=16 height=16, with margin and padding, 40 bytes", 1)
    refused(patchcli("crop", "a.tif", "--box", 0, 0, 10, 10, "--size", 16, "-o", "a.npy", "--max-pixels", 260), "10240 bytes", 1)


@pytest.mark.parametrize(("bits", "code"), [(12, "u2"), (16, "u2"), (10, "u2"), (8, "u1")])
def test_jpeg_of_more_bits_and_lossless_jpeg(bits: int, code: str) -> None:
    image = (np.add.outer(np.arange(40) * 23, np.arange(50) * 31) % (1 << bits)).astype(code)
    kinds = {
        "lossless": imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=bits),
        "ls": imagecodecs.jpegls_encode(image),
    }
    for data in kinds.values():
        got = decoded(data)
        assert np.array_equal(got.pixels(), image)
        with io.BytesIO(data) as file:
            seen = source.open_image(file)
        assert (seen.shape, seen.dtype) == (image.shape, image.dtype)
        with pytest.raises(PatchcliError, match=r"damaged|truncated|cannot be decoded|has 0 pixels"):
            decoded(data[: len(data) // 2])
    if bits == 12:
        smooth = np.add.outer(np.arange(40) * 50, np.arange(50) * 40).astype("u2")
        twelve = imagecodecs.jpeg8_encode(smooth, level=100, bitspersample=12)
        assert np.abs(decoded(twelve).pixels().astype(int) - smooth).max() <= 2
        with pytest.raises(PatchcliError, match=r"has no page 1; it has 1, counted from 0"):
            decoded(twelve, page=1)


def test_jpeg_of_other_kinds_is_named() -> None:
    data = bytearray(imagecodecs.jpeg8_encode(gray(), level=90))
    data[data.index(b"\xff\xc0") + 1] = 0xCB
    with pytest.raises(PatchcliError, match="is a JPEG image of the kind arithmetic-coded lossless with 8 bits and 1 channel;"):
        decoded(bytes(data))


def test_suffixes_that_people_have(patchcli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    image = gray()
    for name in ("a.jfif", "b.jpe"):
        PIL.Image.fromarray(image).save(folder / name, "JPEG")
    PIL.Image.fromarray(image).save(folder / "c.dib", "DIB")  # without the first of BMP's headers
    PIL.Image.fromarray(image).save(folder / "d.dib", "BMP")
    PIL.Image.fromarray(image).save(folder / "e.pnm", "PPM")
    PIL.Image.fromarray(image).save(folder / "f.apng", "PNG")
    for name in ("g.btf", "h.tf8", "i.svs", "j.lsm"):
        (folder / name).write_bytes(as_tiff(image, bigtiff=name != "j.lsm"))
    for name in ("notes.txt", "more.txt", "README"):
        (folder / name).touch()
    ran = patchcli("extract", "in", "-s", 8, "-d", "o", "-v")
    assert ran.returncode == 0
    assert ran.stderr.decode().splitlines()[0] == "3 files of folders passed over: 2 .txt, 1 without a suffix"
    assert len(list((tmp_path / "o/in").iterdir())) == 10
    for name in ("c.dib", "d.dib", "e.pnm", "f.apng", "g.btf", "h.tf8", "i.svs", "j.lsm"):
        assert np.array_equal(np.load(tmp_path / f"o/in/{name}.npz")["patches"][0], image[:8, :8])
    done(patchcli("extract", "in", "-s", 8, "-d", "p"))
    refused(patchcli("crop", "in/a.jfif", "--box", 0, 0, 8, 8, "-o", "x.svs"), "x.svs: suffix is '.svs'; for images use")
    done(patchcli("crop", "in/i.svs", "in/e.pnm", "--box", 0, 0, 8, 8, "-d", "q"))
    assert np.array_equal(read_image(tmp_path / "q/in/i.svs.tif"), image[:8, :8])
    assert (tmp_path / "q/in/e.pnm").read_bytes()[:2] == b"P5"


def test_a_gif_among_inputs_becomes_a_png(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    PIL.Image.fromarray(gray(seed=1)).save(tmp_path / "b.gif")
    done(patchcli("crop", "a.png", "b.gif", "--box", 1, 2, 9, 8, "-d", "o"))
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.png", "b.gif.png"]
    (tmp_path / "boxes.csv").write_text("x,y,width,height\n1,2,9,8\n")
    done(patchcli("crop", "b.gif", "--boxes", "boxes.csv", "-d", "p"))
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["b-0.gif.png"]
    assert [output_name(name, None) for name in ("a", "a.JPG", "a.lsm", "x.y")] == ["a.png", "a.JPG", "a.lsm.tif", "x.y.png"]
    assert output_name("a.jpg", None, lossless=True) == "a.jpg.png"


def test_a_bmp_among_inputs_becomes_a_png_where_it_must_say_how_it_was_made(patchcli: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp"):
        write_image(tmp_path / name, gray())
    for _ in range(2):
        done(patchcli("crop", "a.png", "b.bmp", "--box", 1, 2, 9, 8, "-d", "o", "--resume"))
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.png", "b.bmp.png"]


def test_several_images_in_a_pgm_are_refused() -> None:
    with pytest.raises(PatchcliError, match=r"holds data for \d+ images of the size in its header; allowed is one image"):
        decoded(b"P5 3 1 255 abcP5 3 1 255 defP5 3 1 255 ghi")


# -- values ------------------------------------------------------------------------------------------------------------


def test_patches_without_a_finite_pixel_are_dropped(patchcli: Run, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)
    image[:, 40:] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", image)
    done(patchcli("extract", "nan.tif", "-s", 16, "--min-std", 0.01, "-o", "a.npz"))
    assert np.load(tmp_path / "a.npz")["origins"][:, 1].max() == 32


def test_patches_of_too_few_valid_pixels_are_dropped(patchcli: Run, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)
    image[:, 40:] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", image)
    tifffile.imwrite(tmp_path / "nodata.tif", np.where(np.isnan(image), np.float32(-9999), image))
    for options in (["nan.tif"], ["nodata.tif", "--nodata", "-9999"]):
        for least, last in (("50%", 32), ("0.51", 16), ("0", 32)):
            done(patchcli("extract", *options, "-s", 16, "--min-valid", least, "-o", "a.npz", "--overwrite"))
            origins = np.load(tmp_path / "a.npz")["origins"]
            assert (origins[:, 1].max(), len(origins)) == (last, 4 * (last // 16 + 1))
    done(patchcli("extract", "nodata.tif", "-s", 16, "--min-std", 1, "-o", "a.npz", "--overwrite"))
    assert np.load(tmp_path / "a.npz")["origins"][:, 1].tolist() == [32] * 4  # half of which is -9999
    call = ["extract", "nodata.tif", "-s", 16, "--min-std", 1, "--nodata", "-9999", "-o", "b.npz"]
    refused(patchcli(*call), "none of the 24 patches has a standard deviation of 1; at least one is needed", code=1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gray.png", "255", None),
        ("gray.png", "300", "300 is not a value of uint8"),
        ("gray.png", "-1", "-1 is not a value of uint8"),
        ("gray.png", "2.5", "2.5 is not a value of uint8"),
        ("float.tif", "2.5", None),
        ("float.tif", "1e39", None),
    ],
)
def test_nodata_that_no_pixel_has_is_a_hint(patchcli: Run, tmp_path: Path, name: str, value: str, said: str | None) -> None:
    write_image(tmp_path / "gray.png", gray(64, 96))
    tifffile.imwrite(tmp_path / "float.tif", gray(64, 96).astype(np.float64))
    hint = f"patchcli: {name}: --nodata {said}, so no pixel counts as nodata\n" if said else ""
    for more in ((), ("-n",)):
        call = ["extract", name, "-s", 16, "--min-valid", "50%", "--nodata", value, "-o", "a.npz", "--overwrite", *more]
        done(patchcli(*call), hint)


def test_luma_has_no_nodata(patchcli: Run, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(20, 255, (64, 96, 3), np.uint8)
    image[:, 40:] = 7, 200, 90
    image[:, :16] = 7  # whose luma is 7
    nodata = [(42113, "s", 0, "7", True)]
    tifffile.imwrite(tmp_path / "rgb.tif", image, extratags=nodata, photometric="rgb", metadata=None)
    tifffile.imwrite(tmp_path / "gray.tif", image[:, :, 0], extratags=nodata, metadata=None)
    for how, nodata_of, columns in (
        (["gray.tif", "--color", "gray"], "7", {16, 32}),
        (["rgb.tif"], "7", {16, 32}),
        (["rgb.tif", "--color", "gray"], None, {0, 16, 32, 48, 64, 80}),
        (["rgb.tif", "--color", "gray", "--nodata", 7], None, {16, 32, 48, 64, 80}),
    ):
        done(patchcli("extract", *how, "-s", 16, "--min-valid", "1/2", "-o", "a.npz", "--overwrite"))
        held = read_stack(tmp_path / "a.npz")
        assert set(held.origins[:, 1].tolist()) == columns
        assert held.meta.metadata is not None
        assert held.meta.metadata.nodata == nodata_of


def test_large_values_have_a_spread_and_no_warning(patchcli: Run, tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(32, 32))
    image[:8, :8], image[:8, :4] = 1e308, -1e308
    image[8:16, :8] = 1e308
    tifffile.imwrite(tmp_path / "a.tif", image)
    for options in ([], ["-j", 2]):
        done(patchcli("extract", "a.tif", "-s", 8, "--min-std", 0.1, "-o", "a.npz", "--overwrite", *options))
        assert np.load(tmp_path / "a.npz")["origins"].tolist()[:2] == [[0, 0], [0, 8]]
        assert len(np.load(tmp_path / "a.npz")["origins"]) == 15


def test_many_channels_go_through_a_stack(patchcli: Run, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 20_000), np.uint8)
    (tmp_path / "a.tif").write_bytes(as_tiff(image, photometric="minisblack", planarconfig="contig"))
    done(patchcli("extract", "a.tif", "-s", 8, "-o", "a.npz"))
    done(patchcli("merge", "a.npz", "-o", "b.tif"))
    assert np.array_equal(read_image(tmp_path / "b.tif"), image)


def save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def stack(tmp_path: Path, patchcli: Run, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
    write_image(tmp_path / "a.png", image)
    done(patchcli("extract", "a.png", "-s", 32, "--stride", 16, "-o", "a.npz", "--overwrite"))
    return dict(np.load(tmp_path / "a.npz"))


def test_patches_cropped_by_one_pixel_are_no_scale(patchcli: Run, tmp_path: Path) -> None:
    held = stack(tmp_path, patchcli, gray(64, 96))
    save(tmp_path / "b.npz", {**held, "patches": held["patches"][:, 1:-1, 1:-1]})
    said = "patches have width=30 height=30 where width=32 height=32 was recorded; give that size, or one k"
    for options in ([], ["-n"]):
        refused(patchcli("merge", "b.npz", "-o", "b.png", *options), said, 1)


@pytest.mark.parametrize("layout", ["stack", "grid"])
def test_channels_that_come_first_are_recognised(patchcli: Run, tmp_path: Path, layout: str) -> None:
    image = np.dstack([gray(64, 96, seed=seed) for seed in range(3)])
    write_image(tmp_path / "a.png", image)
    done(patchcli("extract", "a.png", "-s", 32, "--stride", 16, "-o", "a.npz", "--layout", layout))
    held = dict(np.load(tmp_path / "a.npz"))
    first = np.moveaxis(held["patches"], -1, -3)
    hint = "patchcli: b.npz: its patches were taken as (N, channels, height, width), with 3 channels of width={0} height={0}\n"
    save(tmp_path / "b.npz", {**held, "patches": first})
    for reduce in ("mean", "median"):
        done(patchcli("merge", "b.npz", "-o", "b.png", "--reduce", reduce, "--overwrite"), hint.format(32))
        assert np.array_equal(read_image(tmp_path / "b.png"), image)
    shuffled = np.random.default_rng(0).permutation(15)
    if layout == "stack":
        save(tmp_path / "b.npz", {**held, "patches": first[shuffled], "origins": held["origins"][shuffled]})
        done(patchcli("merge", "b.npz", "-o", "b.png", "--overwrite"), hint.format(32))
        assert np.array_equal(read_image(tmp_path / "b.png"), image)
        assert np.array_equal(read_stack(tmp_path / "b.npz").patches, held["patches"][shuffled])
    save(tmp_path / "b.npz", {**held, "patches": first.repeat(2, -1).repeat(2, -2)})
    done(patchcli("merge", "b.npz", "-o", "b.png", "--overwrite"), hint.format(64))
    assert np.array_equal(read_image(tmp_path / "b.png"), image.repeat(2, 0).repeat(2, 1))


def test_patches_that_could_be_read_either_way_have_channels_last(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(8, 12))
    done(patchcli("extract", "a.png", "-s", 4, "-o", "a.npz"))
    held = dict(np.load(tmp_path / "a.npz"))
    values = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 4), np.uint8)
    save(tmp_path / "b.npz", {**held, "patches": values})
    hint = "its samples are rgb + unspecified, and PNG shows them as rgb + unassalpha; TIFF keeps what they are"
    done(patchcli("merge", "b.npz", "-o", "b.png"), f"patchcli: b.npz: {hint}\n")
    assert np.array_equal(read_image(tmp_path / "b.png")[:4, :4], values[0])


def test_values_of_both_signs_look_like_fractions_too(patchcli: Run, tmp_path: Path) -> None:
    held = stack(tmp_path, patchcli, gray(64, 96))
    signed = (held["patches"] / np.float32(127.5) - 1).astype(np.float32)
    save(tmp_path / "b.npz", {**held, "patches": signed})
    hint = (
        "patchcli: b.npz: values lie between -1 and 1 but the image is uint8; patches = (patches + 1) / 2 makes -1 to 1 "
        "fractions for --unit-range, --dtype float32 keeps them\n"
    )
    done(patchcli("merge", "b.npz", "-o", "b.png"), hint)
    save(tmp_path / "b.npz", {**held, "patches": (signed + 1) / 2})
    done(patchcli("merge", "b.npz", "-o", "b.png", "--unit-range", "--overwrite"))
    assert np.array_equal(read_image(tmp_path / "b.png"), gray(64, 96))


# -- boxes -------------------------------------------------------------------------------------------------------------


BOXES = {
    "corners.csv": (
        "input,x0,y0,x1,y1\na.png,10,20,42,52\n",
        "none is allowed; pixels are given as x,y,width,height, or as corners xmin,ymin,xmax,ymax",
    ),
    "corners.jsonl": (
        '{"input": "a.png", "normalized_box": [0, 0, 4.5, 1]}\n',
        "corners.jsonl:1: has x0,y0,x1,y1 0, 0, 4.5, 1, which are pixels",
    ),
    "bare.csv": (
        "a.png,10,20,42,52\n",
        "the names of the columns must stand, such as input,x,y,width,height; got a.png,10,20,42,52",
    ),
    "nested.json": (
        json.dumps({"images": [{"id": 7}], "boxes": []}, indent=1),
        "nested.json: is JSON over several lines, and no COCO file, which has images and annotations; give JSON Lines",
    ),
    "damaged.json": (
        '{"images": [],\n"annotations": [',
        "damaged.json: cannot be read as JSON (Expecting value: line 2 column 17",
    ),
    "none.json": (json.dumps({"images": [{"id": 7}], "annotations": []}, indent=1), "none.json: holds no box; give CSV"),
    "fractions.csv": ("input,cx,cy,width,height\na.png,0.5,0.5,1,1\n", "cx,cy,width,height 0.5, 0.5, 1, 1, which are fractions"),
    "semicolons.csv": ("x;y;width;height\n1;2;3;4\n", "semicolons.csv: has its columns apart by ';'; use commas"),
    "list.json": (json.dumps([{"box": [1, 2, 3, 4]}], indent=1), "list.json: begins with a JSON array"),
}


@pytest.mark.parametrize("name", BOXES)
def test_lists_that_mean_something_else_are_named(patchcli: Run, tmp_path: Path, name: str) -> None:
    content, sentence = BOXES[name]
    write_image(tmp_path / "a.png", gray(64, 96))
    (tmp_path / name).write_text(content)
    refused(patchcli("crop", "--boxes", name, "--size", 32, "-d", "o"), sentence)
    assert not (tmp_path / "o").exists()


def test_a_corner_just_outside_is_still_normalised(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(64, 96))
    (tmp_path / "b.csv").write_text("input,x0,y0,x1,y1\na.png,-4,-1,4,1\na.png,-4,-1,4.01,1\n")
    ran = patchcli("crop", "--boxes", "b.csv", "--size", 8, "-d", "o")
    assert ran.returncode == 1
    assert b"b.csv:3: has x0,y0,x1,y1 -4, -1, 4.01, 1, which are pixels" in ran.stderr
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a-0.png"]


def test_a_box_that_misses_its_image_is_a_hint_or_refused(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(64, 96))
    size = "the image of width=96 height=64"
    hint = f"patchcli: a.png: its box lies wholly outside {size} (x=5000 y=5000 width=9 height=9); --outside error refuses that\n"
    call = ["crop", "a.png", "--box", 5000, 5000, 9, 9, "-o", "b.png", "--overwrite"]
    done(patchcli(*call), hint)
    done(patchcli(*call, "-q"))
    done(patchcli(*call, "--outside", "zeros"))  # who says what lies outside knows that something does
    refused(patchcli(*call, "--outside", "error"), f"reaches outside {size}", 1)
    for box in ((-9, 0, 9, 9), (96, 0, 9, 9), (0, 64, 9, 9), (5, -3, 9, 3), (105, 3, -9, 9)):
        assert patchcli("crop", "a.png", "--box", *box, "-o", "b.png", "--overwrite").stderr.startswith(
            b"patchcli: a.png: its box"
        )
    done(patchcli("crop", "a.png", "--box", 95.5, 63.5, 9, 9, "-o", "b.png", "--overwrite"))
    (tmp_path / "b.csv").write_text("x,y,width,height\n1,2,9,8\n500,2,9,8\n1,200,9,8\n")
    for target in (["-d", "o"], ["-o", "o.npz"]):
        ran = patchcli("crop", "a.png", "--boxes", "b.csv", "--size", 5, *target)
        done(
            ran,
            f"patchcli: a.png: 2 of 3 boxes lie wholly outside {size} (x=500 y=2 width=9 height=8); --outside error refuses "
            "that\n",
        )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "JPG", "tif", "svs", "gif", "npy", "h5", "tar", "zarr"])
def test_a_stack_is_not_written_under_the_name_of_something_else(patchcli: Run, tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / "a.png", gray())
    said = f"a stack is a .npz file, and .{suffix.lower()} says that it is something else"
    refused(patchcli("extract", "a.png", "-s", 8, "-o", f"b.{suffix}"), f"b.{suffix}: {said}")
    refused(patchcli("extract", "a.png", "-s", 8, "-o", f"o/{{stem}}.{suffix}"), f"o/a.{suffix}: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    done(patchcli("extract", "a.png", "-s", 8, "-o", "stack"))


# -- alpha -------------------------------------------------------------------------------------------------------------


def cutout() -> NDArray[np.uint8]:
    """A red square on green that nobody sees."""
    image = np.zeros((64, 64, 4), np.uint8)
    image[..., 1] = 255
    image[20:44, 20:44] = 255, 0, 0, 255
    return image


@pytest.mark.parametrize(("how", "filter_"), [("area", PIL.Image.Resampling.BOX), ("lanczos", PIL.Image.Resampling.LANCZOS)])
def test_hidden_colours_do_not_bleed_in(patchcli: Run, tmp_path: Path, how: str, filter_: PIL.Image.Resampling) -> None:
    write_image(tmp_path / "a.png", cutout())
    done(patchcli("crop", "a.png", "--box", 0, 0, 64, 64, "--size", 23, "--resampling", how, "-o", "b.png"))
    theirs = np.asarray(PIL.Image.fromarray(cutout()).resize((23, 23), filter_)).astype(int)
    assert np.abs(read_image(tmp_path / "b.png") - theirs).max() <= 1
    (tmp_path / "b.csv").write_text("x,y,width,height\n0,0,64,64\n0,0,23,23\n")
    done(patchcli("crop", "a.png", "--boxes", "b.csv", "--size", 23, "--resampling", how, "-o", "b.npz"))
    first, second = np.load(tmp_path / "b.npz")["patches"]
    assert np.abs(first - theirs).max() <= 1
    assert np.array_equal(second, cutout()[:23, :23])  # whole pixels are copied, whatever their alpha
    (tmp_path / "bands.tif").write_bytes(as_tiff(cutout(), photometric="rgb", extrasamples=["unspecified"]))
    done(patchcli("crop", "bands.tif", "--box", 0, 0, 64, 64, "--size", 23, "--resampling", how, "-o", "c.tif"))
    plain = [np.asarray(PIL.Image.fromarray(band).resize((23, 23), filter_)).astype(int) for band in np.moveaxis(cutout(), -1, 0)]
    assert np.abs(read_image(tmp_path / "c.tif") - np.dstack(plain)).max() <= 1


# -- stacks ------------------------------------------------------------------------------------------------------------


def npy(shape: str, dtype: str, data: bytes) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def hostile(
    path: Path,
    origins: bytes = npy("(9, 2)", "<i8", np.mgrid[0:12:4, 0:12:4].reshape(2, 9).T.astype("<i8").tobytes()),
    patches: bytes = npy("(9, 4, 4)", "|u1", bytes(range(144))),
    deflate: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """A stack of nine patches of 4x4 pixels of an image of 12x12, with something changed."""
    image = {"shape": [12, 12], "dtype": "uint8", "source": None, "size": None, "mtime_ns": None, "page": 0, "rotated": False}
    grid = {"patch": [4, 4], "stride": [4, 4], "offset": [0, 0], "edge": "shift", "margin": 0, "pad_mode": "edge", "pad_value": 0}
    about: dict[str, Any] = {"format": "patchcli.stack", "version": 1, "layout": "stack", "pixel_order": "C"}
    about |= {"image": image | fields.get("image", {}), "grid": grid | fields.get("grid", {})}
    text = json.dumps(about)
    members = {
        "meta": npy("()", f"<U{len(text)}", text.encode("utf-32-le")),
        "origins": origins,
        "patches": patches,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data, zipfile.ZIP_DEFLATED if name in deflate else zipfile.ZIP_STORED)


def test_the_stack_that_hostile_ones_are_made_of_is_good(patchcli: Run, tmp_path: Path) -> None:
    hostile(tmp_path / "a.npz")
    done(patchcli("merge", "a.npz", "-o", "a.png"))
    assert read_image(tmp_path / "a.png").shape == (12, 12)


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "digits without an end": (
        {"patches": npy(f"({'1' * 60}X)", "|u1", bytes(144))},
        "member 'patches' has a .npy header that does not describe a plain array",
    ),
    "many numbers": ({"patches": npy(f"({'1, ' * 1200}1)", "|u1", b"0")}, "member 'patches' has a .npy header that"),
    "margin": ({"grid": {"margin": 6000}}, "needs a canvas of 144288144 pixels, with a margin of 6000 and padding"),
    "stride": ({"grid": {"stride": [1 << 30, 12], "edge": "pad"}}, "needs a canvas of"),
    "canvas": ({"image": {"shape": [12000, 12000]}}, "143999856 of 144000000 pixels or more are covered by no patch"),
    "origins": (
        {"origins": npy("(4000000, 2)", "<i8", bytes(64_000_000)), "deflate": ("origins",)},
        "stack has 9 patches but 4000000 origins; both must be the same",
    ),
    "channels": (
        {"image": {"shape": [12, 12, 1_000_000_000], "metadata": {"photometric": "rgb", "extrasamples": []}, "dtype": "x"}},
        "has image.dtype='x' in its meta",
    ),
    "dtype": ({"image": {"dtype": ",,,"}}, "has image.dtype=',,,' in its meta; allowed are real dtypes"),
    "long words": ({"image": {"dtype": "x" * 10_000}}, "has image.dtype='xxxx"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_stacks_are_refused_before_they_cost_anything(patchcli: Run, tmp_path: Path, kind: str) -> None:
    import resource

    changes, sentence = HOSTILE[kind]
    hostile(tmp_path / "a.npz", **changes)
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    most = 200 << 20

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    for options in ([], ["-n"]):
        ran = patchcli("merge", "a.npz", "-o", "a.png", *options, preexec_fn=limited)
        refused(ran, f"a.npz: {sentence}", 1)
        assert len(ran.stderr) <= LONGEST + len("patchcli: a.npz: \n")
    with pytest.raises(PatchcliError):
        _ = read_all(tmp_path / "a.npz") if kind not in ("margin", "stride", "canvas") else read_all(tmp_path / "missing")


def read_all(path: Path) -> Any:
    from patchcli import read_stack

    return read_stack(path)


def test_a_zip_of_a_million_members_is_refused(patchcli: Run, tmp_path: Path) -> None:
    hostile(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        for number in range(6000):
            archive.writestr(f"{number:0>20}", b"")
    said = "has a list of members of more than 262144 bytes; a stack has three members"
    refused(patchcli("merge", "a.npz", "-o", "a.png"), said, 1)


def test_what_fill_and_trim_ask_for_is_made(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(2100, 2100))
    done(patchcli("extract", "a.png", "-s", 8, "--max-patches", 3, "-o", "a.npz"))
    refused(patchcli("merge", "a.npz", "-o", "b.png"), "4409808 of 4410000 pixels or more are covered by no patch", 1)
    done(patchcli("merge", "a.npz", "-o", "b.png", "--fill", 7))
    assert (read_image(tmp_path / "b.png") == 7).mean() > 0.99
    done(patchcli("merge", "a.npz", "-o", "c.png", "--trim", "--fill", 7))


def test_messages_have_an_end() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    long = shortened("a" * 5000 + "b" * 5000)
    assert len(long) == LONGEST
    assert long.startswith("aaa")
    assert long.endswith("bbb")


def test_arrays_and_planes_of_stacks_are_images(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/gray.npy", gray())
    done(patchcli("extract", "in", "-s", 8, "--edge", "pad", "-d", "o"))
    done(patchcli("merge", "o/in/gray.npy.npz", "-o", "back.npy"))
    assert np.array_equal(np.load(tmp_path / "back.npy"), gray())
    planes = np.stack([gray() + number for number in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", planes, imagej=True, truncate=True)
    done(patchcli("extract", "stack.tif", "--page", 2, "-s", 8, "-o", "plane.npz"))
    assert np.array_equal(np.load(tmp_path / "plane.npz")["patches"][0], planes[2][:8, :8])
    refused(patchcli("extract", "stack.tif", "--page", 3, "-s", 8, "-o", "x.npz"), "has no page 3; it has 3, counted from 0", 1)
