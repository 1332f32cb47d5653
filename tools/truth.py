"""What a damaged image file holds, by decoders other than the program: what `tools.torture` compares with.

The rules, for the first page of a file:

- The colours are gray or RGB, with or without alpha; a palette becomes RGB, with a transparent colour RGBA.
- Planes of a TIFF become the last axis. MINISWHITE counts unsigned samples down from the largest that its bits can hold.
- An orientation from 2 to 8 turns the image, be it a number, its digit, a byte, or the first of several; anything else leaves
  it as it is stored.
- All that a TIFF needs for its grid of strips or tiles must be there: an offset and a byte count for each, bytes inside the file,
  and as many samples in them. tifffile alone takes zeros for what is not.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
import zlib
from typing import Any

import imagecodecs
import netpbmfile
import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

from tools.damage import ORIENTATION, Directory

MODES = ("1", "L", "LA", "I;16", "I;16B", "RGB", "RGBA")
AXES = {"YX": None, "YXS": None, "SYX": 0}  # of tifffile; the axis of the planes
COLOURS = (0, 1, 2)  # photometric interpretations: gray, counted down or up, and RGB
YCBCR, JPEG, OLD_JPEG = 6, 7, 6
TURNS = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}  # quarter turns, then mirrored


UNPACKING = {5: imagecodecs.lzw_decode, 32773: imagecodecs.packbits_decode}


class DamagedError(ValueError):
    """A file that holds no whole image."""


def turned(pixels: NDArray[Any], orientation: object) -> NDArray[Any]:
    """An image as its orientation says."""
    if isinstance(orientation, tuple) and orientation:
        orientation = orientation[0]
    if isinstance(orientation, bytes):
        orientation = orientation[0] if len(orientation) == 1 and orientation < b"\x09" else orientation.decode("latin-1")
    if isinstance(orientation, str) and orientation.strip("\0").isdigit():
        orientation = int(orientation.strip("\0"))
    quarters, mirrored = TURNS.get(orientation, (0, 0)) if isinstance(orientation, int) else (0, 0)
    pixels = np.rot90(pixels, quarters)
    return pixels[:, ::-1] if mirrored else pixels


def by_pillow(data: bytes) -> NDArray[Any]:
    """The pixels of a JPEG, WebP, BMP or GIF, and of most others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: PIL.Image.Image = PIL.Image.open(io.BytesIO(data))
        orientation = image.getexif().get(ORIENTATION) if image.format != "TIFF" else None  # which Pillow turns itself
        image.load()
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode not in MODES:
        raise DamagedError(f"has colours of kind {image.mode}")
    return turned(np.asarray(image.convert("L")) > 0 if image.mode == "1" else np.asarray(image), orientation)


def by_netpbm(data: bytes) -> NDArray[Any]:
    """The pixels of a PGM or PPM."""
    pixels = np.asarray(netpbmfile.NetpbmFile(io.BytesIO(data)).asarray())
    return pixels.astype(pixels.dtype.newbyteorder("="))


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def by_tifffile(data: bytes) -> tuple[NDArray[Any], list[str]]:
    """The pixels of a TIFF, and what tifffile says of damage."""
    kept, logger = _Kept(), logging.getLogger("tifffile")
    logger.addHandler(kept)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            page = tifffile.TiffFile(io.BytesIO(data)).pages.first
            pixels = np.asarray(page.asarray())
    finally:
        logger.removeHandler(kept)
    if page.axes not in AXES or pixels.dtype.kind not in "buif":
        raise DamagedError(f"has pixels of another kind: {page.axes}, {pixels.dtype}")
    if page.photometric not in COLOURS and not (page.photometric == YCBCR and page.compression in (JPEG, OLD_JPEG)):
        raise DamagedError(f"has colours that are neither gray nor RGB: {page.photometric}")
    if page.is_tiled and not all(isinstance(size, int) and size > 0 for size in (page.tilewidth, page.tilelength)):
        raise DamagedError(f"has tiles of no size: {page.tilewidth}, {page.tilelength}")  # of which tifffile leaves
    if page.planarconfig not in (1, 2):  # and of these, too, pixels as the memory was
        raise DamagedError(f"has planes of an unknown kind: {page.planarconfig}")
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == 0 and pixels.dtype.kind in "bu":
        pixels = ~pixels if pixels.dtype.kind == "b" else ((1 << page.bitspersample) - 1 - pixels).astype(pixels.dtype)
    tag = page.tags.get(ORIENTATION)
    pixels = turned(pixels, tag.value if tag else 1)
    return pixels.astype(pixels.dtype.newbyteorder("=")), kept.lines


def lacks(data: bytes) -> str | None:  # noqa: PLR0911  one for each thing
    """What a TIFF lacks of its image, by its tags and bytes alone; None where nothing, or where tags are beyond telling."""
    directory = Directory(data)

    def one(tag: int, default: int | None = None) -> int:
        found = directory.numbers(tag)
        if found is None and (default is None or any(entry.tag == tag for entry in directory.entries)):
            raise LookupError
        return found[0] if found else int(default or 0)

    try:
        width, height, samples, planar = one(256), one(257), one(277, 1), one(284, 1)
        tiled = any(entry.tag == 322 for entry in directory.entries)
        across, down = (one(322), one(323)) if tiled else (width, min(one(278, height), height))
        compression, (bits, *others) = one(259, 1), directory.numbers(258) or (one(258, 1),)
    except LookupError:
        return None
    if any(bits != other for other in others):
        return None
    if min(across, down, width, height) < 1:
        return "has a size below 1"
    planes, together = (samples, 1) if planar == 2 else (1, samples)
    rows = math.ceil(height / down)
    needed = math.ceil(width / across) * rows * planes
    offsets, sizes = (directory.numbers(tag) or () for tag in ((324, 325) if tiled else (273, 279)))
    if len(offsets) < needed or len(sizes) < needed:
        return f"has {len(offsets)} offsets and {len(sizes)} byte counts of {needed}"
    for number, (offset, size) in enumerate(zip(offsets[:needed], sizes, strict=False)):
        if offset < 1 or size < 1 or offset + size > len(data):
            return f"has segment {number} outside of the file"
        lines = down if tiled or number % rows < rows - 1 else height - (rows - 1) * down
        if fault := _shortage(data[offset : offset + size], compression, (across, lines, together * bits)):
            return f"has segment {number} that {fault}"
    return None


def _shortage(raw: bytes, compression: int, size: tuple[int, int, int]) -> str | None:
    """What is wrong with a segment of ``size`` (columns, lines, bits of a pixel), of the compressions that are drawn."""
    across, lines, bits = size
    if compression == JPEG:
        with contextlib.suppress(OSError, SyntaxError):  # without a size in its header it is left to tifffile
            width, height = PIL.Image.open(io.BytesIO(raw)).size
            if width < across or height < lines:
                return "holds too few samples"
        return None if b"\xff\xd9" in raw[raw.find(b"\xff\xda") :] else "ends before its JPEG data do"
    unpacked: bytes | bytearray
    try:
        if compression in (8, 32946):
            unpacked = zlib.decompress(raw)
        elif compression in (1, 5, 32773):
            unpacked = raw if compression == 1 else UNPACKING[compression](raw)
        else:
            return None
    except (zlib.error, RuntimeError, ValueError) as error:
        return f"does not unpack: {error}"
    return "holds too few samples" if len(unpacked) < math.ceil(across * bits / 8) * lines else None
