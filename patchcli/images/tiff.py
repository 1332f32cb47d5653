"""TIFF through tifffile: every real dtype; what its tags claim is checked against the file before anything is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.arrays import parse_number
from patchcli.errors import PatchcliError, counted
from patchcli.images.codec import ORIENTATION, UNREADABLE, FromTo, Header, Opened, tiff_directories
from patchcli.images.metadata import EXTRA, MAX_SAMPLES, Metadata
from patchcli.images.tiff_pages import count_pages, find_page
from patchcli.images.tiff_segments import Segments, fill_of
from patchcli.images.tiff_tags import NODATA, tags_of
from patchcli.images.tiff_truncated import JPEG

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray

    from patchcli.images.tiff_pages import Page

AXES = ("YX", "YXS", "SYX")
# Numbers of TIFF 6.0 and its supplements
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, MASK, YCBCR, CFA, LINEAR_RAW, DEPTH_MAP = 0, 1, 2, 3, 4, 6, 32803, 34892, 51177
PLAIN = (WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, MASK, CFA, LINEAR_RAW, DEPTH_MAP)  # of which the samples are values as they are
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
COLOR_MAP = 320  # tag


def open_tiff(file: BinaryIO, page: int) -> Opened:
    """Read the tags of a page, and check them against the file."""
    found = find_page(file, page)
    one = found.page
    _check_page(one, file, page)
    channels = {"YX": (1,), "YXS": one.shape[-1:], "SYX": one.shape[:1]}[one.axes][0]
    dtype = np.dtype(one.dtype).newbyteorder("=")
    inverted = one.photometric == WHITE_IS_0 and dtype.kind in "bu"
    segments = _segments_of(found, file, channels, dtype)

    def read(rows: FromTo, columns: FromTo) -> NDArray[Any]:
        pixels = segments.read(rows, columns)
        if inverted:  # counted down from the most that so many bits hold, which may be less than their dtype does
            most = True if dtype.kind == "b" else dtype.type(2 ** _bits(one) - 1)
            np.bitwise_xor(pixels, most, out=pixels)
        return pixels

    def header() -> Header:
        segments.check()
        tag = one.tags.get(ORIENTATION)
        orientation = tag.value if tag else UNREADABLE if ORIENTATION in next(tiff_directories(file, one.offset)) else 1
        return Header(
            channels,
            dtype,
            orientation,
            segments.scratch,
            lambda: count_pages(file, found),
            read=read if segments.in_windows else None,
            lines=segments.lines,
            columns=1 if segments.by_rows else segments.columns * one.is_tiled,
            compression=getattr(one.compression, "name", str(one.compression)).lower(),
        )

    def decode() -> NDArray[Any]:
        return read((0, one.imagelength), (0, one.imagewidth))

    pixel = channels * dtype.itemsize
    return Opened(
        one.imagelength,
        one.imagewidth,
        header,
        decode,
        pixel,
        _metadata(one, channels, inverted=inverted)._replace(axes=found.axes),
    )


def _segments_of(found: Page, file: BinaryIO, channels: int, dtype: np.dtype[Any]) -> Segments:
    return Segments(
        page=found.page,
        file=file,
        offsets=found.offsets,
        counts=found.counts,
        height=found.page.imagelength,
        width=found.page.imagewidth,
        channels=channels,
        dtype=dtype,
        fill=fill_of(found.page.tags.valueof(NODATA), dtype),
    )


def _bits(page: tifffile.TiffPage) -> int:
    """Bits of a sample."""
    bits = page.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _metadata(page: tifffile.TiffPage, channels: int, *, inverted: bool) -> Metadata:
    """What the samples are, once decoded: JPEG's YCBCR has become RGB, and what counted down counts up."""
    kind = {RGB: "rgb", YCBCR: "rgb", LINEAR_RAW: "rgb", WHITE_IS_0: "minisblack" if inverted else "miniswhite"}
    extra = tuple(EXTRA[one] if one in range(len(EXTRA)) else EXTRA[0] for one in page.extrasamples)
    samples = Metadata.of(channels, kind.get(page.photometric, "minisblack"), extra)
    meant = tags_of(page, samples._replace(colormap=_colormap(page)))
    nodata = parse_number(meant.nodata or "") if inverted else None
    return meant if nodata is None else meant._replace(nodata=str(2 ** _bits(page) - 1 - nodata))


def _colormap(page: tifffile.TiffPage) -> tuple[tuple[int, int, int], ...] | None:
    """The colours of a palette, 16 bits each; None where there is none (TIFF 6.0, section 5).

    A table of values below 256 holds 8 bits, as libtiff takes it, too.
    """
    if page.photometric != PALETTE:
        return None
    bits, dtype = _bits(page), np.dtype(page.dtype)
    if page.samplesperpixel > 1 or dtype.kind not in "bu" or bits > 16:  # noqa: PLR2004
        what = f"{counted(page.samplesperpixel, 'sample')} a pixel of {dtype}"
        raise PatchcliError(f"has a palette and {what}; allowed is one unsigned integer of at most 16 bits")
    tag = page.tags.get(COLOR_MAP)
    values = np.asarray(None if tag is None else tag.value)
    if values.dtype.kind not in "iu" or values.size != 3 << bits or values.min() < 0 or values.max() >> 16:
        raise PatchcliError(f"is damaged: its tag ColorMap is missing, or does not hold {3 << bits} numbers of 16 bits")
    scale = 257 if values.max() >> 8 == 0 else 1
    return tuple(map(tuple, (values.reshape(3, -1).T.astype(int) * scale).tolist()))


def _check_page(one: tifffile.TiffPage, file: BinaryIO, page: int) -> None:
    """Refuse a page that is not gray or RGB, or damaged."""
    if one.dtype is None:
        raise PatchcliError(f"has a page {page} with samples of a kind that no dtype holds")
    _check_tags(one, file)
    if one.axes not in AXES:
        raise PatchcliError(f"has a page {page} with axes {one.axes}; allowed are rows, columns and samples")
    if one.photometric not in PLAIN and not (one.photometric == YCBCR and one.compression in JPEG):
        kind = getattr(one.photometric, "name", f"number {one.photometric}")
        raise PatchcliError(f"has colours of kind {kind}; convert it to gray or RGB, with or without alpha")


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


def note_of_tiff(file: BinaryIO) -> str | None:
    """The description of the first page."""
    import tifffile

    page = tifffile.TiffFile(tifffile.FileHandle(file, name="image")).pages[0]
    return page.description if isinstance(page, tifffile.TiffPage) else None
