"""How images are opened: what their headers tell, and how they are decoded.

With `formats` the one place for image libraries, which are imported when a file needs them. A depth is kept or refused, never
halved.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import tifffile
    from numpy.typing import NDArray

ORIENTATION = 274
PILLOW_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes in its memory; 4 in other modes
WEBP_PIXEL = 11  # bytes that the WebP decoder holds, as measured
MODES = ("1", "L", "LA", "I;16", "I;16B", "P", "RGB", "RGBA")  # of Pillow
PNG_DEPTH, PNG_COLOUR, PNG_INTERLACE = 24, 25, 28  # bytes of a PNG file that hold them
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type


class Header(NamedTuple):
    """What more a header tells of an image.

    Attributes:
        channels: 1 for gray.
        dtype: of the pixels, in native byte order.
        orientation: of EXIF, 1 to 8.
        scratch: about how many bytes decoding holds at its peak, beside the image that comes out.
    """

    channels: int
    dtype: np.dtype[Any]
    orientation: int
    scratch: int


class Opened(NamedTuple):
    """An image whose header was read: its size, how to decode it and its EXIF orientation, 1 to 8, and what else is known."""

    height: int
    width: int
    decode: Callable[[], tuple[NDArray[Any], int]]
    header: Callable[[], Header]


def open_png(file: BinaryIO, page: int) -> Opened:
    """PNG through libpng: exact at every depth, where Pillow halves 16-bit colour; bool for one bit, as Pillow has it."""
    if page:
        raise PatchcliError(f"has no page {page}; it has 1, counted from 0")
    head = file.read(PNG_COLOUR + 1)
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    one_bit = head[PNG_DEPTH:] == b"\1\0"

    def decode() -> tuple[NDArray[Any], int]:
        import imagecodecs

        file.seek(0)
        data = file.read()
        with _no_stderr() if data[PNG_INTERLACE] else contextlib.nullcontext():  # libpng then warns its caller there
            pixels = np.asarray(imagecodecs.png_decode(data))
        return pixels > 0 if one_bit and pixels.ndim == 2 else pixels, _png_orientation(io.BytesIO(data))  # noqa: PLR2004

    def header() -> Header:
        channels = PNG_CHANNELS[head[PNG_COLOUR]]
        if channels % 2 and any(kind == b"tRNS" for kind, _, _ in _png_chunks(file)):  # one colour is clear
            channels += 1
        bits = one_bit and channels == 1
        dtype = np.dtype(bool if bits else np.uint16 if head[PNG_DEPTH] == 16 else np.uint8)  # noqa: PLR2004
        scratch = file.seek(0, 2) + height * width * bits
        return Header(channels, dtype, _png_orientation(file), scratch)

    return Opened(height, width, decode, header)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Send what C code prints to standard error nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of the chunks of a PNG file, none of them read."""
    place, end = 8, file.seek(0, 2)
    while place + 12 <= end:
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[:4])
        yield head[4:], place + 8, size
        place += size + 12


def _png_orientation(file: BinaryIO) -> int:
    """Orientation in the eXIf chunk (https://www.w3.org/TR/png-3/#eXIf), 1 where there is none."""
    for kind, place, size in _png_chunks(file):
        if kind == b"eXIf":
            import PIL.Image

            file.seek(place)
            exif = PIL.Image.Exif()
            exif.load(b"Exif\0\0" + file.read(size))
            return int(exif.get(ORIENTATION, 1))
    return 1


def open_pillow(file: BinaryIO, page: int) -> Opened:
    """JPEG, WebP, BMP and GIF through Pillow."""
    import imageio.v3 as iio
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # read() has its own limit, without the warning below it
    opened = iio.imopen(file, "r", plugin="pillow")
    shape = opened.properties(index=0).shape

    def metadata() -> dict[str, Any]:
        try:
            about: dict[str, Any] = opened.metadata(index=page, exclude_applied=False)
        except EOFError:
            raise PatchcliError(f"has no page {page}; pages count from 0") from None
        if about["mode"] not in MODES:
            raise PatchcliError(
                f"has colour mode {about['mode']}; allowed are gray and RGB, with or without alpha: convert it first"
            )
        return about

    def decode() -> tuple[NDArray[Any], int]:
        about = metadata()
        pixels = opened.read(index=page, mode="RGBA") if _is_clear(about) else opened.read(index=page)
        return np.asarray(pixels), int(about.get("Orientation", 1))

    def header() -> Header:
        about, found = metadata(), opened.properties(index=page)
        channels = 4 if _is_clear(about) else (*found.shape, 1)[2]
        held = PILLOW_PIXEL.get(about["mode"], 4) + 4 * (about["mode"] == "P") + channels * found.dtype.itemsize
        size = file.seek(0, 2)
        webp = WEBP_PIXEL * shape[0] * shape[1] + size if _is_webp(file) else 0
        return Header(channels, found.dtype, int(about.get("Orientation", 1)), held * shape[0] * shape[1] + webp)

    return Opened(shape[0], shape[1], decode, header)


def _is_clear(about: dict[str, Any]) -> bool:
    """Whether a palette has a transparent colour."""
    return about["mode"] == "P" and "transparency" in about


def _is_webp(file: BinaryIO) -> bool:
    file.seek(8)
    return file.read(4) == b"WEBP"


def open_tiff(file: BinaryIO, page: int) -> Opened:
    """TIFF through tifffile: every real dtype."""
    import tifffile

    one, axes = _tiff_page(file, page)
    inverted = one.photometric == tifffile.PHOTOMETRIC.MINISWHITE

    def decode() -> tuple[NDArray[Any], int]:
        pixels = np.asarray(one.asarray())
        if axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if inverted and pixels.dtype.kind in "bu":
            pixels = np.invert(pixels)
        return pixels, orientation()

    def orientation() -> int:
        tag = one.tags.get(ORIENTATION)
        return int(tag.value) if tag else 1

    def header() -> Header:
        channels = {"YX": (1,), "YXS": one.shape[-1:], "SYX": one.shape[:1]}[axes][0]
        copied = axes == "SYX" or inverted
        return Header(channels, np.dtype(one.dtype).newbyteorder("="), orientation(), copied * int(one.nbytes))

    return Opened(one.imagelength, one.imagewidth, decode, header)


def _tiff_page(file: BinaryIO, page: int) -> tuple[tifffile.TiffPage, str]:
    """A page of gray or RGB, and its axes."""
    import logging

    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports damage there before it raises
    # a name, because it takes that of an unnamed file, a number, for a path
    pages = tifffile.TiffFile(tifffile.FileHandle(file, name="image")).pages
    try:
        one = pages[page]
    except IndexError:
        raise PatchcliError(f"has no page {page}; it has {len(pages)}, counted from 0") from None
    if not isinstance(one, tifffile.TiffPage) or one.dtype is None:
        raise PatchcliError(f"has a page {page} with samples of a kind that no dtype holds")
    if one.axes not in ("YX", "YXS", "SYX"):
        raise PatchcliError(f"has a page {page} with axes {one.axes}; allowed are rows, columns and samples")
    kinds = tifffile.PHOTOMETRIC
    other = [kinds.PALETTE, kinds.SEPARATED, kinds.CIELAB]
    if one.compression not in (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG):
        other.append(kinds.YCBCR)  # which only the JPEG decoder turns into RGB
    if one.photometric in other:
        kind = kinds(one.photometric).name
        raise PatchcliError(f"has colours of kind {kind}; allowed are gray and RGB, with or without alpha: convert it first")
    return one, one.axes


def open_netpbm(file: BinaryIO, page: int) -> Opened:
    """PGM and PPM through netpbmfile."""
    import netpbmfile

    if page:
        raise PatchcliError(f"has no page {page}; it has 1, counted from 0")
    image = netpbmfile.NetpbmFile(file)
    if not 0 < image.maxval < 1 << 16:
        raise PatchcliError(f"has samples up to {image.maxval}; allowed are 1 to 65535")

    def header() -> Header:
        swapped = image.dtype.itemsize > 1 or image.magicnumber in ("P2", "P3")
        pixels = image.height * image.width * image.depth * image.dtype.itemsize
        return Header(image.depth, image.dtype.newbyteorder("="), 1, pixels * swapped)

    return Opened(image.height, image.width, lambda: (np.asarray(image.asarray(copy=True)), 1), header)


def open_nothing(_file: BinaryIO, _page: int) -> Opened:
    """An array is written as an image, never read as one."""
    raise PatchcliError("is a numpy array; allowed are image files")
