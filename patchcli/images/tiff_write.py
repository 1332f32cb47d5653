"""TIFF written line by line: strips or tiles, compressed in threads or not, with all that `Metadata` has a tag for.

The bytes follow from the image and what is asked for alone: there is no date.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.images.codec import ORIENTATION, lines_at_most, lines_in_parts, rows_at_once
from patchcli.images.metadata import GEO_DOUBLES, GEO_KEYS, GEO_TEXT, PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, Metadata
from patchcli.threads import map_in_order, usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding

BIG_FROM = (1 << 32) - (1 << 25)  # bytes of pixels from which offsets of 32 bits may be too short
STRIP_BYTES = 1 << 18  # of a strip that is compressed
PACKED_MOST = 1 << 26  # bytes of an image of one bit a pixel that is one strip
MOST_RATIONAL = 1e9  # of two numbers of 32 bits
NODATA_TAG = 42113
TYPES = {PIXEL_SCALE: "d", TIE_POINTS: "d", TRANSFORMATION: "d", GEO_KEYS: "H", GEO_DOUBLES: "d", GEO_TEXT: "s"}
PREDICTED = "iu"  # kinds of samples of which differences are compressed (TIFF 6.0, section 14)
COMPRESSIONS = ("none", "deflate", "lzw", "zstd")


def write_tiff(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a TIFF image; one bit a pixel for bool. Uncompressed strips go to the file as they come."""
    import tifffile

    if made.meaning.of_pages:
        _write_pages(file, lines, made)
        return
    handle = tifffile.FileHandle(file, name="image")  # it takes the name of an unnamed file, a number, for a path
    shape = made.shape[:2] if made.channels == 1 else made.shape
    native = made.dtype.newbyteorder("<")
    tile = int(made.asked("tile") or 0)
    compression = made.asked("compression") or "none"
    lines = (some.reshape(len(some), *shape[1:]) for some in lines)
    options = _tags(made, shape)
    if _is_big(made):
        options["bigtiff"] = True
    if tile:
        options["tile"] = (tile, tile)
    if compression == "none" and not tile and made.dtype.kind != "b":
        place = tifffile.imwrite(handle, None, shape=shape, dtype=native, returnoffset=True, **options)
        assert place is not None
        file.seek(place[0])
        file.writelines(np.ascontiguousarray(some, native).data for some in lines_at_most(lines, rows_at_once(made)))
        return
    rows = tile or _rows_of_strip(made, compression)
    if not tile:
        options["rowsperstrip"] = rows
    if compression != "none":
        options["compression"] = compression
        options["predictor"] = 2 if made.dtype.kind in PREDICTED else None
    encode = _encoder(made, compression, native)
    parts = lines_in_parts(lines, rows)
    threads = usable_threads(math.prod(shape) * made.dtype.itemsize) if compression != "none" else 1
    chunks = (chunk for part in parts for chunk in (_tiles(part, tile) if tile else [part]))
    if threads > 1:  # while one is compressed the next lines are made, maybe in the same place
        chunks = (chunk.copy() for chunk in chunks)
    tifffile.imwrite(handle, map_in_order(encode, chunks, threads), shape=shape, dtype=native, **options)


def _write_pages(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write each channel as a page of its own, gray, with all tags.

    Uncompressed strips go to their places in the file as they come; what is compressed, or in tiles, is held until the last.
    """
    import tifffile

    (height, width, count), native = made.shape, made.dtype.newbyteorder("<")
    page = made._replace(shape=(height, width), metadata=made.meaning.matching(1)._replace(axes=None))
    tile, compression = int(made.asked("tile") or 0), made.asked("compression") or "none"
    options = _tags(page, page.shape)
    options |= {"extratags": [(*tag[:4], False) for tag in options["extratags"]], "bigtiff": _is_big(made)}
    handle = tifffile.FileHandle(file, name="image")
    if compression == "none" and not tile:
        place = tifffile.imwrite(handle, None, shape=(count, height, width), dtype=native, returnoffset=True, **options)
        assert place is not None
        at = place[0]
        for some in lines:
            for number in range(count):
                file.seek(at + number * height * width * native.itemsize)
                file.write(np.ascontiguousarray(some[:, :, number], native).data)
            at += len(some) * width * native.itemsize
        file.seek(0, 2)
        return
    rows = tile or _rows_of_strip(page, compression)
    encode = _encoder(page, compression, native)
    planes: list[list[bytes]] = [[] for _ in range(count)]
    for part in lines_in_parts(lines, rows):
        for number in range(count):
            channel = part[:, :, number]
            planes[number] += map(encode, _tiles(channel, tile) if tile else [channel])
    options |= {"tile": (tile, tile)} if tile else {"rowsperstrip": rows}
    if compression != "none":
        options |= {"compression": compression, "predictor": 2 if native.kind in PREDICTED else None}
    tifffile.imwrite(handle, itertools.chain(*planes), shape=(count, height, width), dtype=native, **options)


def _is_big(made: Encoding) -> bool:
    """Whether offsets of 32 bits may be too short."""
    return math.prod(made.shape) * made.dtype.itemsize > BIG_FROM


def _rows_of_strip(made: Encoding, compression: str) -> int:
    """How many rows a strip has that is held as a whole: an image of bits that is not too large is one strip."""
    packed = made.shape[0] * -(-made.shape[1] // 8)
    return (
        made.shape[0] if compression == "none" and packed <= PACKED_MOST else min(made.shape[0], rows_at_once(made, STRIP_BYTES))
    )


def _tiles(part: NDArray[Any], tile: int) -> Iterator[NDArray[Any]]:
    """The tiles of a row of them ``(n, W[, C])``, filled up with zeros at the right and below."""
    for left in range(0, part.shape[1], tile):
        inside = part[:, left : left + tile]
        if inside.shape[:2] == (tile, tile):
            yield inside
        else:
            filled = np.zeros((tile, tile, *part.shape[2:]), part.dtype)
            filled[: inside.shape[0], : inside.shape[1]] = inside
            yield filled


def _encoder(made: Encoding, compression: str, native: np.dtype[Any]) -> Callable[[NDArray[Any]], bytes]:
    """What makes the bytes of a strip or tile."""
    import imagecodecs

    compress: Callable[[Any], bytes | bytearray] = {
        "none": bytes,
        "deflate": lambda data: imagecodecs.deflate_encode(data, level=6),
        "lzw": imagecodecs.lzw_encode,
        "zstd": imagecodecs.zstd_encode,
    }[compression]
    predicted = compression != "none" and made.dtype.kind in PREDICTED

    def encode(chunk: NDArray[Any]) -> bytes:
        if made.dtype.kind == "b":
            chunk = np.packbits(chunk, axis=1)
        elif predicted:
            chunk = imagecodecs.delta_encode(np.ascontiguousarray(chunk), axis=1)
        return bytes(compress(np.ascontiguousarray(chunk, native if made.dtype.kind != "b" else np.uint8).tobytes()))

    return encode


def _tags(made: Encoding, shape: tuple[int, ...]) -> dict[str, Any]:
    """What tifffile is told of an image."""
    meant = made.meaning
    kind = meant.photometric
    if kind == "miniswhite" and made.dtype.kind in "bu":  # which would be counted down
        kind = "minisblack"
    options: dict[str, Any] = {
        "photometric": kind,
        "planarconfig": "contig" if len(shape) == 3 else None,  # noqa: PLR2004
        "extrasamples": meant.extrasamples or None,
        "description": made.note or None,
        "metadata": None,
        "software": None,
        "byteorder": "<",
        "iccprofile": meant.icc or None,
        "extratags": list(_extra_tags(meant)),
        **_resolution(meant),
    }
    if meant.colormap is not None and made.channels == 1 and made.dtype in (np.uint8, np.uint16):
        table = np.zeros((3, 1 << 8 * made.dtype.itemsize), np.uint16)
        colours = np.array(meant.colormap[: table.shape[1]], np.uint16)
        table[:, : len(colours)] = colours.T
        options.update(photometric="palette", colormap=table)
    return options


def _resolution(meant: Metadata) -> dict[str, Any]:
    """The resolution; where there is none, the size of a pixel, if it is a length, as pixels on a centimeter."""
    own = meant.resolution
    density, unit = (own[:2], own[2]) if own is not None else (meant.density("cm"), "centimeter")
    fits = density is not None and all(1 / MOST_RATIONAL < one < MOST_RATIONAL for one in density)
    return {"resolution": density, "resolutionunit": unit} if fits else {}


def _extra_tags(meant: Metadata) -> Iterator[tuple[int, str, int, Any, bool]]:
    """The tags for which tifffile has no option: number, type, count, value, and that they are of the first page."""
    for tag, value in meant.geotiff:
        yield tag, TYPES[tag], 0 if isinstance(value, str) else len(value), value, True
    if meant.nodata is not None and meant.nodata.isascii():
        yield NODATA_TAG, "s", 0, meant.nodata, True
    if meant.orientation is not None:
        yield ORIENTATION, "H", 1, meant.orientation, True
