"""TIFF through tifffile: every real dtype; what its tags claim is checked against the file before anything is allocated."""

from __future__ import annotations

import io
import itertools
import math
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import ORIENTATION, UNREADABLE, Header, Opened, has_jpeg_end, tiff_directories
from patchcli.images.jpeg import frame_of
from patchcli.images.metadata import COLOURS, EXTRA, MAX_SAMPLES, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    import tifffile
    from numpy.typing import NDArray

AXES = ("YX", "YXS", "SYX")
# Numbers of TIFF 6.0 and its supplements
WHITE_IS_0, BLACK_IS_0, RGB, MASK, YCBCR, CFA, LINEAR_RAW, DEPTH_MAP = 0, 1, 2, 4, 6, 32803, 34892, 51177
PLAIN = (WHITE_IS_0, BLACK_IS_0, RGB, MASK, CFA, LINEAR_RAW, DEPTH_MAP)  # of which the samples are values as they are
CCITT, LZW, JPEG, JPEG_XR = (2, 3, 4), (5,), (6, 7, 33007, 34892), (22610, 34934)
LZW_END = re.compile("100000001(?=0{0,7}$)")
# How much longer than what is stored pixels can be at most, by compression: none, LZW (a code of 12 bits for a string of 3840
# bytes), deflate, PackBits (128 bytes by 2)
RATIOS = {1: 1, 5: 2600, 8: 1032, 32946: 1032, 32773: 64}
INTEGER_TYPES = (3, 4, 8, 9, 13, 16, 17, 18)  # types of a tag that are whole numbers, and come as such from tifffile
# What pixels depend on, each with its tag; all are whole numbers, but for JPEGTables
NEEDED = {
    "ImageWidth": 256,
    "ImageLength": 257,
    "BitsPerSample": 258,
    "Compression": 259,
    "PhotometricInterpretation": 262,
    "FillOrder": 266,
    "StripOffsets": 273,
    "SamplesPerPixel": 277,
    "RowsPerStrip": 278,
    "StripByteCounts": 279,
    "PlanarConfiguration": 284,
    "T4Options": 292,
    "Predictor": 317,
    "TileWidth": 322,
    "TileLength": 323,
    "TileOffsets": 324,
    "TileByteCounts": 325,
    "ExtraSamples": 338,
    "SampleFormat": 339,
    "JPEGTables": 347,
    "YCbCrSubSampling": 530,
    "ImageDepth": 32997,
}
SEVERAL = (
    "BitsPerSample",
    "StripOffsets",
    "StripByteCounts",
    "TileOffsets",
    "TileByteCounts",
    "ExtraSamples",
    "SampleFormat",
    "JPEGTables",
    "YCbCrSubSampling",
)
FAX_3, FAX_4, FAX_4_END = 3, 4, 2 * "000000000001"
TRIES = 32  # different bytes behind the data of a fax
PLACES = (273, 279, 324, 325)  # tags of where strips and tiles are, and how long
MOST_SEGMENTS, FEW_SEGMENTS, LEAST_PIXELS = 1 << 20, 1 << 16, 16
SEGMENT = 1 << 24  # pixels that a strip or tile may have, however small its image is


def open_tiff(file: BinaryIO, page: int) -> Opened:
    """Read the tags of a page, and check them against the file."""
    one = _page(file, page)
    channels = {"YX": (1,), "YXS": one.shape[-1:], "SYX": one.shape[:1]}[one.axes][0]
    dtype = np.dtype(one.dtype).newbyteorder("=")
    inverted = one.photometric == WHITE_IS_0 and dtype.kind in "bu"

    def decode() -> NDArray[Any]:
        _check_data(one, file)
        pixels = np.asarray(one.asarray())
        if one.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if inverted:  # counted down from the most that so many bits hold, which may be less than their dtype does
            most = True if dtype.kind == "b" else dtype.type(2 ** _bits(one) - 1)
            pixels = np.bitwise_xor(pixels, most)
        return pixels

    def header() -> Header:
        _check_segments(one, file)
        tag = one.tags.get(ORIENTATION)
        orientation = tag.value if tag else UNREADABLE if ORIENTATION in next(tiff_directories(file, one.offset)) else 1
        copied = one.axes == "SYX" or inverted
        return Header(channels, dtype, orientation, copied * int(one.nbytes))

    pixel = channels * dtype.itemsize
    return Opened(one.imagelength, one.imagewidth, header, decode, pixel, _metadata(one, channels, inverted=inverted))


def _bits(page: tifffile.TiffPage) -> int:
    """Bits of a sample."""
    bits = page.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _metadata(page: tifffile.TiffPage, channels: int, *, inverted: bool) -> Metadata:
    """What the samples are, once decoded: JPEG's YCBCR has become RGB, and what counted down counts up."""
    kind = {RGB: "rgb", YCBCR: "rgb", LINEAR_RAW: "rgb", WHITE_IS_0: "minisblack" if inverted else "miniswhite"}
    extra = tuple(EXTRA[one] if one in range(len(EXTRA)) else EXTRA[0] for one in page.extrasamples)
    return Metadata.of(channels, kind.get(page.photometric, "minisblack"), extra)


def _page(file: BinaryIO, page: int) -> tifffile.TiffPage:
    """A page of gray or RGB."""
    import logging

    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports damage there before it raises
    _check_counts(file, page)
    file.seek(0)
    # a name, because it takes that of an unnamed file, a number, for a path
    pages = tifffile.TiffFile(tifffile.FileHandle(file, name="image")).pages
    try:
        one = pages[page]
    except IndexError:
        what = f"page {page}; it has {len(pages)}, counted from 0" if len(pages) else "image in it"
        raise PatchcliError(f"has no {what}") from None
    if not isinstance(one, tifffile.TiffPage) or one.dtype is None:
        raise PatchcliError(f"has a page {page} with samples of a kind that no dtype holds")
    _check_tags(one, file)
    if one.axes not in AXES:
        raise PatchcliError(f"has a page {page} with axes {one.axes}; allowed are rows, columns and samples")
    if one.photometric not in PLAIN and not (one.photometric == YCBCR and one.compression in JPEG):
        kind = getattr(one.photometric, "name", f"number {one.photometric}")
        raise PatchcliError(f"has colours of kind {kind}; convert it to gray or RGB, with or without alpha")
    return one


def _check_counts(file: BinaryIO, page: int) -> None:
    """Refuse directories up to that of a page with more strips or tiles than any image has, whose places are all to be read."""
    for tags in itertools.islice(tiff_directories(file), page + 1):
        for code in PLACES:
            if tags.get(code, 0) > MOST_SEGMENTS:
                raise PatchcliError(f"has {tags[code]} strips or tiles; allowed are {MOST_SEGMENTS}")


def _check_tags(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Refuse a tag that pixels depend on if it cannot be read, for its default then counts, or is no whole number.

    A tag can have any type and count.
    """
    present = next(tiff_directories(file, page.offset))
    for name, code in NEEDED.items():
        tag = page.tags.get(code)
        if code in present and (tag is None or (int(tag.dtype) not in INTEGER_TYPES and name != "JPEGTables")):
            raise PatchcliError(f"is damaged: its tag {name} cannot be read, or has a type that it must not have")
        if tag is not None and tag.count != 1 and name not in SEVERAL:
            raise PatchcliError(f"is damaged: its tag {name} holds {tag.count} values; allowed is 1")
    sizes = ("imagewidth", "imagelength", "samplesperpixel", "rowsperstrip", "tilewidth", "tilelength")
    for name in (*sizes, "compression", "photometric", "planarconfig", "predictor", "fillorder", "sampleformat"):
        value = getattr(page, name)
        if not isinstance(value, int) or value < (name in sizes[:3]):
            least = " from 1" if name in sizes[:3] else ""
            raise PatchcliError(f"has the {name} {value!r:.40}; allowed is one whole number{least}")
    if page.samplesperpixel > MAX_SAMPLES:
        raise PatchcliError(f"has {page.samplesperpixel} samples a pixel; allowed are 1 to {MAX_SAMPLES}")
    if page.planarconfig not in (1, 2):
        raise PatchcliError(f"has the planar configuration {page.planarconfig}; allowed are 1 and 2")
    if page.is_tiled and not (page.tilewidth and page.tilelength):
        raise PatchcliError("has tiles of no pixels")


def _check_segments(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Check, before anything is allocated, that all strips or tiles of a page are there, and lie inside the file.

    One at 0 of 0 bytes is missing, and holds zeros: https://gdal.org/en/stable/drivers/raster/gtiff.html#sparse-files
    """
    size = file.seek(0, 2)
    count = math.prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    if count > FEW_SEGMENTS and count * LEAST_PIXELS > page.imagelength * page.imagewidth:
        raise PatchcliError(
            f"has {count} strips or tiles of less than {LEAST_PIXELS} pixels; allowed are {FEW_SEGMENTS} of these"
        )
    if not len(offsets) == len(counts) == count:
        raise PatchcliError(
            f"is truncated or damaged: it has {len(offsets)} offsets and {len(counts)} sizes of {count} strips or tiles"
        )
    starts, sizes = np.array(offsets, np.float64), np.array(counts, np.float64)  # 64 bits of a tag could wrap as integers
    bad = np.flatnonzero(((starts <= 0) | (sizes <= 0) | (starts + sizes > size)) & ~((starts == 0) & (sizes == 0)))
    if len(bad):
        first, length = offsets[bad[0]], counts[bad[0]]
        raise PatchcliError(
            f"is truncated or damaged: strip or tile {bad[0]} of {count} has {length} bytes at {first} of a file of {size} bytes"
        )
    if page.is_contiguous and offsets[0] + page.nbytes > size:
        raise PatchcliError(f"is truncated: its pixels need {page.nbytes} bytes at {offsets[0]} of a file of {size} bytes")
    rows, columns = _segment(page)
    if rows * columns > max(SEGMENT, 4 * page.imagelength * page.imagewidth):
        raise PatchcliError(
            f"has strips or tiles of {rows * columns} pixels; allowed are {SEGMENT}, or 4 times as many as the image has"
        )
    if page.compression in RATIOS and not page.is_lsm:
        needed = _bytes_of_segments(page, count)
        bad = np.flatnonzero((sizes * RATIOS[page.compression] < needed) & (sizes > 0))
        if len(bad):
            raise PatchcliError(
                f"is truncated or damaged: strip or tile {bad[0]} of {count} has {counts[bad[0]]} bytes for {needed[bad[0]]:.0f} "
                "bytes of pixels"
            )


def _segment(page: tifffile.TiffPage) -> tuple[int, int]:
    """Rows and columns of a strip or tile."""
    rows, columns = page.chunks[:2] if page.axes != "SYX" else page.chunks[-2:]
    return rows, columns


def _inside(page: tifffile.TiffPage, number: int) -> tuple[int, int]:
    """Rows and columns of the strip or tile ``number`` that lie inside the image."""
    rows, columns = _segment(page)
    across, down = -(-page.imagewidth // columns), -(-page.imagelength // rows)
    top, left = number // across % down * rows, number % across * columns
    return min(rows, page.imagelength - top), min(columns, page.imagewidth - left)


def _rows(page: tifffile.TiffPage, number: int) -> int:
    """Rows of the strip or tile ``number``: tiles are all of one size, and the last strip ends with the image."""
    return _segment(page)[0] if page.is_tiled else _inside(page, number)[0]


def _row_bytes(page: tifffile.TiffPage) -> int:
    """Bytes of a row of a strip or tile, not compressed."""
    bits = page.bitspersample
    pixel = sum(bits) if isinstance(bits, tuple) else bits * (page.samplesperpixel if page.axes == "YXS" else 1)
    return int(-(-_segment(page)[1] * pixel // 8))


def _bytes_of_segments(page: tifffile.TiffPage, count: int) -> NDArray[np.float64]:
    """How many bytes of pixels each strip or tile holds, ``(count,)``; the last strip of a plane can be lower than others."""
    rows, _ = _segment(page)
    lines = np.full(count, float(rows))
    if not page.is_tiled:
        strips = -(-page.imagelength // rows)
        lines[strips - 1 :: strips] = page.imagelength - (strips - 1) * rows
    return lines * _row_bytes(page)


def _check_data(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Refuse strips and tiles that end too early, of compressions whose decoders fill up what is missing."""
    short = next((check for kinds, check in CUT_OFF.items() if page.compression in kinds), None)
    if short is None or page.jpegheader is not None:  # whose segments lie within one JPEG image
        return
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if not count:
            continue
        file.seek(offset)
        if short(file.read(count), page, number):
            raise PatchcliError(f"is truncated or damaged: the data of strip or tile {number} end before its pixels do")


def _jpeg_is_short(data: bytes, page: tifffile.TiffPage, number: int) -> bool:
    """Whether a JPEG image has no end, or is smaller than what it must fill."""
    frame, (rows, columns) = frame_of(io.BytesIO(data)), _inside(page, number)
    return frame is None or not has_jpeg_end(data, frame.place) or frame.height < rows or frame.width < columns


def _lzw_is_short(data: bytes, page: tifffile.TiffPage, number: int) -> bool:
    """Whether the last code of an LZW stream is cut: other bytes behind it make other pixels.

    Most streams end with a code for that (TIFF 6.0, section 13), of 9 to 12 bits, behind which less than a byte is left over.
    """
    import imagecodecs

    if LZW_END.search(_in_bits(data[-3:])):
        return False
    size = _rows(page, number) * _row_bytes(page)
    found = imagecodecs.lzw_decode(data, out=size)
    return any(imagecodecs.lzw_decode(data + other, out=size) != found for other in (b"\x55" * 8, b"\xff" * 8, b"\x2a" * 8))


def _jpeg_xr_is_short(data: bytes, _page: tifffile.TiffPage, _number: int) -> bool:
    """Whether the pixels, of which tags say where they lie, reach beyond the end (ITU-T T.832, A.7)."""
    place = int.from_bytes(data[4:8], "little")
    entries = (
        data[at : at + 12] for at in range(place + 2, place + 2 + 12 * int.from_bytes(data[place : place + 2], "little"), 12)
    )
    values = {int.from_bytes(entry[:2], "little"): int.from_bytes(entry[8:], "little") for entry in entries}
    return values.get(0xBCC0, len(data)) + values.get(0xBCC1, 1) > len(data)


def _ccitt_is_short(data: bytes, page: tifffile.TiffPage, number: int) -> bool:
    """Whether pixels depend on what stands behind the data: other bytes there make other pixels.

    Lines of fax 3 begin with a mark of eleven zeros and a one, of which there must be enough (ITU-T T.4, 4.1.2); two such marks
    end fax 4 (ITU-T T.6, 2.4.1.1).
    """
    import random

    import imagecodecs

    if page.fillorder == 2:  # noqa: PLR2004  bits from the lowest
        data = bytes(imagecodecs.bitorder_decode(data))
    rows, width = _rows(page, number), _segment(page)[1]
    kind = int(page.compression)
    decode: Callable[[bytes], NDArray[Any]] = {
        2: lambda data: imagecodecs.ccittrle_decode(data, rows, width),
        FAX_3: lambda data: imagecodecs.ccittfax3_decode(data, rows, width, t4options=page.tags.valueof(292) or 0),
        FAX_4: lambda data: imagecodecs.ccittfax4_decode(data, rows, width),
    }[kind]
    if kind == FAX_3 and len(re.findall("0{11,}1", _in_bits(data))) < rows:
        return True
    if kind == FAX_4 and FAX_4_END in _in_bits(data[-8:]):
        return False
    pixels, draw = decode(data), random.Random(0)  # noqa: S311
    marks = (b"\0" + bytes([1 << number % 8]) if number % 2 else b"" for number in range(TRIES))
    others = (mark + draw.randbytes(64) for mark in marks)
    return any(not np.array_equal(decode(data + other), pixels) for other in others)


def _in_bits(data: bytes) -> str:
    return "".join(map("{:08b}".format, data))


CUT_OFF: dict[tuple[int, ...], Callable[[bytes, tifffile.TiffPage, int], bool]] = {
    JPEG: _jpeg_is_short,
    JPEG_XR: _jpeg_xr_is_short,
    CCITT: _ccitt_is_short,
    LZW: _lzw_is_short,
}


def note_of_tiff(file: BinaryIO) -> str | None:
    """The description of the first page."""
    import tifffile

    page = tifffile.TiffFile(tifffile.FileHandle(file, name="image")).pages[0]
    return page.description if isinstance(page, tifffile.TiffPage) else None


def write_tiff(file: BinaryIO, image: NDArray[Any], note: str, metadata: Metadata) -> None:
    """Write a TIFF image; one bit a pixel for bool."""
    import tifffile

    samples = image.shape[2] if image.ndim == 3 else 1  # noqa: PLR2004
    kind = metadata.photometric
    if kind == "miniswhite" and image.dtype.kind in "bu":  # which would be counted down
        kind = "minisblack"
    if samples == COLOURS[kind] == 1:
        image = image.reshape(image.shape[:2])
    held = io.BytesIO()
    tifffile.imwrite(
        held,
        image,
        photometric=kind,
        planarconfig="contig" if samples > 1 else None,
        extrasamples=metadata.extrasamples or None,
        description=note or None,
        metadata=None,
        software=None,
        byteorder="<",
    )
    file.write(held.getbuffer())
