"""WebP, BMP, GIF and usual JPEG through Pillow; imageio writes them; a note of WebP is its EXIF description."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import ORIENTATION, Header, Indices, Opened, exif_orientation, sized, whole_image
from patchcli.images.metadata import Metadata, as_icc, as_pair

if TYPE_CHECKING:
    from collections.abc import Iterable

    import PIL.Image
    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding

PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes in Pillow's memory; 4 in other modes
WEBP_PIXEL = 11  # bytes that the WebP decoder holds, as measured
MODES = {"1": 1, "L": 1, "LA": 2, "I;16": 1, "I;16B": 1, "P": 3, "RGB": 3, "RGBA": 4}  # of Pillow, and the channels they give
DESCRIPTION = 270  # EXIF tag
MOST_DPI = range(1, 1 << 16)
SCREEN_DPI = (3780 / 39.3701, 3780 / 39.3701)  # of BMP, where nobody said anything, as Pillow reads it
EXIF_DPI = (72, 72)  # of Pillow, where EXIF says nothing


def open_pillow(file: BinaryIO, page: int) -> Opened:
    """Read the header of an image."""
    image = _at_page(file, page)
    width, height = image.size
    clear = image.mode == "P" and "transparency" in image.info  # a palette with a transparent colour

    def orientation() -> object:
        exif = image.info.get("exif")
        said = exif_orientation(exif) if isinstance(exif, bytes) else None
        if said is not None:
            return said
        with contextlib.suppress(Exception):  # Pillow looks for it in XMP, too
            return image.getexif().get(ORIENTATION, 1)
        return 1

    def decode() -> NDArray[Any]:
        pixels = np.asarray(image.convert("RGBA" if clear else "RGB") if image.mode == "P" else image)
        return pixels.view(np.uint8) > 0 if image.mode == "1" else pixels  # whose bytes are 0 and 255

    def header() -> Header:
        channels = 4 if clear else MODES[image.mode]
        dtype = np.dtype({"1": np.bool_, "I;16": np.uint16, "I;16B": np.uint16}.get(image.mode, np.uint8))
        held = (image.mode == "1") + PIXEL.get(image.mode, 4) + 4 * (image.mode == "P") + channels * dtype.itemsize
        webp = WEBP_PIXEL * height * width + sized(file) if image.format == "WEBP" else 0
        indices = (
            (lambda: Indices(lambda: np.asarray(image), np.dtype(np.uint8), _colormap(image))) if image.mode == "P" else None
        )
        return Header(channels, dtype, orientation(), held * height * width + webp, lambda: _count_frames(file), indices=indices)

    return Opened(height, width, header, decode, metadata=_metadata(image.info, 4 if clear else MODES[image.mode]))


def _metadata(info: dict[Any, Any], channels: int) -> Metadata | None:
    """What Pillow found in a file beside the pixels; None for nothing."""
    icc, dpi = as_icc(info.get("icc_profile")), info.get("dpi")
    guessed = dpi == SCREEN_DPI or (dpi == EXIF_DPI and "exif" in info and not info.get("jfif_unit"))
    resolution = as_pair((*dpi, "inch")) if isinstance(dpi, tuple) and len(dpi) == 2 and not guessed else None  # noqa: PLR2004
    if icc is None and resolution is None:
        return None
    return Metadata.usual(channels)._replace(icc=icc or b"", resolution=resolution).sensible()


def _colormap(image: PIL.Image.Image) -> tuple[tuple[int, int, int], ...]:
    """The colours of a palette, 16 bits each, of an image that was not decoded."""
    assert image.palette is not None
    order, data = image.palette.getdata()  # in RGB, BGR or BGRX
    red, green, blue = (data[order.index(colour) :: len(order)] for colour in "RGB")
    return tuple((257 * r, 257 * g, 257 * b) for r, g, b in zip(red, green, blue, strict=True))


def _at_page(file: BinaryIO, page: int) -> PIL.Image.Image:
    """An image of which no pixel was decoded, at a page."""
    import PIL.Image
    from PIL import GifImagePlugin

    PIL.Image.MAX_IMAGE_PIXELS = None  # there is a limit of our own, without the warning below it
    # a frame has its own mode only where it needs one
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    image = PIL.Image.open(file)
    try:
        if page:
            image.seek(page)
    except EOFError:
        raise PatchcliError(f"has no page {page}; pages count from 0") from None
    if image.mode not in MODES:
        raise PatchcliError(f"has colour mode {image.mode}; convert it to gray or RGB, with or without alpha")
    return image


def _count_frames(file: BinaryIO) -> int:
    """How many frames a file has; through another image than that whose pixels are decoded, for it walks from one to the next."""
    import PIL.Image

    file.seek(0)
    return int(getattr(PIL.Image.open(file), "n_frames", 1))


def by_pillow(image: NDArray[Any], kind: str, **options: Any) -> bytes:  # noqa: ANN401
    """An image as a file of this kind."""
    import imageio.v3 as iio

    return bytes(iio.imwrite("<bytes>", image, extension=f".{kind}", plugin="pillow", is_batch=False, **options))


def colours_used(image: NDArray[Any], made: Encoding) -> tuple[tuple[int, ...], ...]:
    """The colour table of an image of 8-bit indices, 8 bits a colour, black for those beyond it; empty where it has none."""
    if image.ndim != 2 or image.dtype != np.uint8:  # noqa: PLR2004
        return ()
    return colours_of(made.meaning, int(image.max(initial=0)))


def colours_of(meant: Metadata, largest: int) -> tuple[tuple[int, ...], ...]:
    """The colour table of 8-bit indices of which one is the largest, as `colours_used` gives it."""
    table = meant.colormap or ()
    beyond = ((0, 0, 0),) * (largest + 1 - len(table)) if table else ()
    return tuple(tuple(value >> 8 for value in colour) for colour in (*table[:256], *beyond))


def dots_per_inch(meant: Metadata) -> dict[str, Any]:
    """The resolution as Pillow takes it, if there is one, and of a size that files have a place for."""
    density = meant.density("inch")
    return {} if density is None or not all(round(one) in MOST_DPI for one in density) else {"dpi": density}


def write_bmp(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a BMP image."""
    image = whole_image(lines, made)
    colours = colours_used(image, made)
    if colours:
        import PIL.Image

        indexed = PIL.Image.fromarray(image).convert("L")
        indexed.putpalette(bytes(value for colour in colours for value in colour))
        indexed.save(file, "BMP", **dots_per_inch(made.meaning))
    else:
        file.write(by_pillow(image, "bmp", **dots_per_inch(made.meaning)))


def write_webp(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a WebP image: lossless, colours of clear pixels kept, unless a quality is asked for."""
    import PIL.Image

    exif, meant, quality = PIL.Image.Exif(), made.meaning, made.asked("quality")
    if made.note:
        exif[DESCRIPTION] = made.note
    if meant.orientation is not None:
        exif[ORIENTATION] = meant.orientation
    coding: dict[str, Any] = {"lossless": True, "exact": True} if quality is None else {"quality": int(quality)}
    if meant.icc:
        coding["icc_profile"] = meant.icc
    file.write(by_pillow(whole_image(lines, made), "webp", exif=exif.tobytes() if len(exif) else b"", **coding))


def note_of_webp(file: BinaryIO) -> str | None:
    """The note in a WebP file."""
    import PIL.Image

    note = PIL.Image.open(file, formats=["WEBP"]).getexif().get(DESCRIPTION)
    return note if isinstance(note, str) else None
