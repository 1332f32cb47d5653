"""The image formats: how each is told by content, opened, decoded and written, and which dtypes and channels it holds.

The one module that uses image libraries, and they are imported when a file needs them. A depth is kept or refused, never
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

    from numpy.typing import NDArray

SNIFF = 32
ORIENTATION = 274
MODES = ("1", "L", "LA", "I;16", "I;16B", "P", "RGB", "RGBA")  # of Pillow
PNG_DEPTH, PNG_COLOUR, PNG_INTERLACE = 24, 25, 28  # bytes of a PNG file that hold them


class Opened(NamedTuple):
    """An image whose header was read: its size, and how to decode it and its EXIF orientation, 1 to 8."""

    height: int
    width: int
    decode: Callable[[], tuple[NDArray[Any], int]]


class Format(NamedTuple):
    """A file format: how to tell it, open it, write it, and how many channels of which dtypes it holds."""

    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO, int], Opened]
    write: Callable[[BinaryIO, NDArray[Any]], None] | None
    holds: dict[str, range]
    suffixes: tuple[str, ...]
    lossless: bool = True


def _open_png(file: BinaryIO, page: int) -> Opened:
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
        return pixels > 0 if one_bit and pixels.ndim == 2 else pixels, _png_orientation(data)  # noqa: PLR2004

    return Opened(height, width, decode)


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


def _png_orientation(data: bytes) -> int:
    """Orientation in the eXIf chunk (https://www.w3.org/TR/png-3/#eXIf), 1 where there is none."""
    place = 8
    while place + 12 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        if kind == b"eXIf":
            import PIL.Image

            exif = PIL.Image.Exif()
            exif.load(b"Exif\0\0" + data[place + 8 : place + 8 + size])
            return int(exif.get(ORIENTATION, 1))
        place += size + 12
    return 1


def _open_pillow(file: BinaryIO, page: int) -> Opened:
    import imageio.v3 as iio
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # read() has its own limit, without the warning below it
    opened = iio.imopen(file, "r", plugin="pillow")
    shape = opened.properties(index=0).shape

    def decode() -> tuple[NDArray[Any], int]:
        try:
            about = opened.metadata(index=page, exclude_applied=False)
        except EOFError:
            raise PatchcliError(f"has no page {page}; pages count from 0") from None
        if about["mode"] not in MODES:
            raise PatchcliError(
                f"has colour mode {about['mode']}; allowed are gray and RGB, with or without alpha: convert it first"
            )
        clear = about["mode"] == "P" and "transparency" in about
        pixels = opened.read(index=page, mode="RGBA") if clear else opened.read(index=page)
        return np.asarray(pixels), int(about.get("Orientation", 1))

    return Opened(shape[0], shape[1], decode)


def _open_tiff(file: BinaryIO, page: int) -> Opened:
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
    axes = one.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise PatchcliError(f"has a page {page} with axes {axes}; allowed are rows, columns and samples")
    kinds = tifffile.PHOTOMETRIC
    other = [kinds.PALETTE, kinds.SEPARATED, kinds.CIELAB]
    if one.compression not in (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG):
        other.append(kinds.YCBCR)  # which only the JPEG decoder turns into RGB
    if one.photometric in other:
        kind = kinds(one.photometric).name
        raise PatchcliError(f"has colours of kind {kind}; allowed are gray and RGB, with or without alpha: convert it first")

    def decode() -> tuple[NDArray[Any], int]:
        pixels = np.asarray(one.asarray())
        if axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if one.photometric == kinds.MINISWHITE and pixels.dtype.kind in "bu":
            pixels = np.invert(pixels)
        tag = one.tags.get(ORIENTATION)
        return pixels, int(tag.value) if tag else 1

    return Opened(one.imagelength, one.imagewidth, decode)


def _open_netpbm(file: BinaryIO, page: int) -> Opened:
    import netpbmfile

    if page:
        raise PatchcliError(f"has no page {page}; it has 1, counted from 0")
    image = netpbmfile.NetpbmFile(file)
    if not 0 < image.maxval < 1 << 16:
        raise PatchcliError(f"has samples up to {image.maxval}; allowed are 1 to 65535")
    return Opened(image.height, image.width, lambda: (np.asarray(image.asarray(copy=True)), 1))


def _write_pillow(plugin_format: str, **options: Any) -> Callable[[BinaryIO, NDArray[Any]], None]:  # noqa: ANN401
    def write(file: BinaryIO, image: NDArray[Any]) -> None:
        import imageio.v3 as iio

        data = iio.imwrite("<bytes>", image, extension=f".{plugin_format}", plugin="pillow", is_batch=False, **options)
        file.write(data)

    return write


def _write_png(file: BinaryIO, image: NDArray[Any]) -> None:
    if image.dtype.kind == "b":  # one bit a pixel
        _write_pillow("png")(file, image)
        return
    import imagecodecs

    file.write(imagecodecs.png_encode(image, level=6))


def _write_tiff(file: BinaryIO, image: NDArray[Any]) -> None:
    import tifffile

    samples = image.shape[2] if image.ndim == 3 else 1  # noqa: PLR2004
    colour = samples in (3, 4)
    extra = {2: 1, 4: 1}.get(samples, samples - 1)
    held = io.BytesIO()
    tifffile.imwrite(
        held,
        image,
        photometric="rgb" if colour else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=(["unassalpha"] if samples in (2, 4) else ["unspecified"] * extra) if samples not in (1, 3) else None,
        metadata=None,
        software=None,
        byteorder="<",
    )
    file.write(held.getbuffer())


def _write_netpbm(kind: str) -> Callable[[BinaryIO, NDArray[Any]], None]:
    def write(file: BinaryIO, image: NDArray[Any]) -> None:
        import netpbmfile

        held = io.BytesIO()
        netpbmfile.imwrite(held, image, magicnumber=kind, maxval=np.iinfo(image.dtype).max)  # type: ignore[arg-type]
        file.write(held.getbuffer())

    return write


def _write_npy(file: BinaryIO, image: NDArray[Any]) -> None:
    np.lib.format.write_array(file, image, version=(1, 0), allow_pickle=False)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _no_open(_file: BinaryIO, _page: int) -> Opened:
    raise PatchcliError("is a numpy array; allowed are image files")


REAL = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
ONE, THREE, MANY = range(1, 2), range(3, 4), range(1, 1 << 16)
TO_FOUR = range(1, 5)
FORMATS: dict[str, Format] = {
    "png": Format(_starts(b"\x89PNG\r\n\x1a\n"), _open_png, _write_png, {"b1": ONE, "u1": TO_FOUR, "u2": TO_FOUR}, (".png",)),
    "tiff": Format(
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _open_tiff, _write_tiff, dict.fromkeys(REAL[1:], MANY), (".tif", ".tiff")
    ),
    "jpeg": Format(
        _starts(b"\xff\xd8\xff"),
        _open_pillow,
        _write_pillow("jpeg", quality=95, subsampling=0),
        {"u1": range(1, 4, 2)},
        (".jpg", ".jpeg"),
        lossless=False,
    ),
    "webp": Format(
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        _open_pillow,
        _write_pillow("webp", lossless=True, exact=True),
        {"u1": range(3, 5)},
        (".webp",),
    ),
    "bmp": Format(_starts(b"BM"), _open_pillow, _write_pillow("bmp"), {"u1": range(1, 4, 2)}, (".bmp",)),
    "pgm": Format(_starts(b"P2", b"P5"), _open_netpbm, _write_netpbm("P5"), {"u1": ONE, "u2": ONE}, (".pgm",)),
    "ppm": Format(_starts(b"P3", b"P6"), _open_netpbm, _write_netpbm("P6"), {"u1": THREE, "u2": THREE}, (".ppm",)),
    "gif": Format(_starts(b"GIF87a", b"GIF89a"), _open_pillow, None, {}, (".gif",), lossless=False),
    "npy": Format(_starts(b"\x93NUMPY"), _no_open, _write_npy, dict.fromkeys(REAL, MANY), (".npy",)),
}
READABLE = tuple(name for name in FORMATS if name != "npy")
SUFFIXES = tuple(suffix for name in READABLE for suffix in FORMATS[name].suffixes)  # of files that count in a folder
WRITABLE = tuple(name for name, held in FORMATS.items() if held.write)
