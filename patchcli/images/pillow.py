"""WebP, BMP, GIF and usual JPEG through Pillow; imageio writes them; a note of WebP is its EXIF description."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import ORIENTATION, Header, Opened, exif_orientation, sized

if TYPE_CHECKING:
    import PIL.Image
    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata

PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes in Pillow's memory; 4 in other modes
WEBP_PIXEL = 11  # bytes that the WebP decoder holds, as measured
MODES = {"1": 1, "L": 1, "LA": 2, "I;16": 1, "I;16B": 1, "P": 3, "RGB": 3, "RGBA": 4}  # of Pillow, and the channels they give
DESCRIPTION = 270  # EXIF tag


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
        return np.asarray(image.convert("RGBA" if clear else "RGB") if image.mode == "P" else image)

    def header() -> Header:
        channels = 4 if clear else MODES[image.mode]
        dtype = np.dtype({"1": np.bool_, "I;16": np.uint16, "I;16B": np.uint16}.get(image.mode, np.uint8))
        held = PIXEL.get(image.mode, 4) + 4 * (image.mode == "P") + channels * dtype.itemsize
        webp = WEBP_PIXEL * height * width + sized(file) if image.format == "WEBP" else 0
        return Header(channels, dtype, orientation(), held * height * width + webp)

    return Opened(height, width, header, decode)


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


def by_pillow(image: NDArray[Any], kind: str, **options: Any) -> bytes:  # noqa: ANN401
    """An image as a file of this kind."""
    import imageio.v3 as iio

    return bytes(iio.imwrite("<bytes>", image, extension=f".{kind}", plugin="pillow", is_batch=False, **options))


def write_bmp(file: BinaryIO, image: NDArray[Any], _note: str, _metadata: Metadata) -> None:
    """Write a BMP image."""
    file.write(by_pillow(image, "bmp"))


def write_webp(file: BinaryIO, image: NDArray[Any], note: str, _metadata: Metadata) -> None:
    """Write a WebP image, lossless, colours of clear pixels kept."""
    import PIL.Image

    exif = PIL.Image.Exif()
    if note:
        exif[DESCRIPTION] = note
    file.write(by_pillow(image, "webp", lossless=True, exact=True, exif=exif.tobytes() if note else b""))


def note_of_webp(file: BinaryIO) -> str | None:
    """The note in a WebP file."""
    import PIL.Image

    note = PIL.Image.open(file, formats=["WEBP"]).getexif().get(DESCRIPTION)
    return note if isinstance(note, str) else None
