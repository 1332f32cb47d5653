"""Images of every dtype and number of channels that a format holds."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

from patchcli.images.formats import FORMATS, WRITABLE
from patchcli.images.sink import write
from patchcli.images.source import ImageSource, open_image
from tests.helpers.runs import gray

if TYPE_CHECKING:
    from pathlib import Path

HELD = [
    (name, code, channels)
    for name in WRITABLE
    for code, every in FORMATS[name].holds.items()
    for channels in (1, 2, 3, 4, 7)
    if channels in every
]


def picture(code: str, channels: int, height: int = 13, width: int = 17) -> NDArray[Any]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    rng = np.random.default_rng(channels)
    if code == "b1":
        return rng.random(shape) < 0.5
    if code[0] == "f":
        return (rng.standard_normal(shape) * 1000).astype(code)
    return np.frombuffer(rng.bytes(int(np.prod(shape)) * int(code[1])), code).reshape(shape)


def encoded(image: NDArray[Any], name: str) -> bytes:
    file = io.BytesIO()
    write(file, image, name)
    return file.getvalue()


def decoded(data: bytes | bytearray, **options: Any) -> ImageSource:
    image = open_image(io.BytesIO(data), **options)
    pixels = image.pixels()

    def again() -> NDArray[Any]:
        image.load = again
        return pixels

    image.load = again
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_palette(path: Path, table: NDArray[Any]) -> NDArray[Any]:
    """Class numbers in blobs, saved as a picture whose colours say nothing of them."""
    ids = np.kron(gray(8, 12) % np.uint8(21), np.ones((8, 8), np.uint8))
    if path.suffix == ".tif":
        tifffile.imwrite(path, ids, metadata=None, photometric="palette", colormap=table.T.astype(np.uint16) * 257)
        return ids
    image = PIL.Image.fromarray(ids % np.uint8(4) if path.stem == "ids2bit" else ids)
    image.putpalette(table[: 4 if path.stem == "ids2bit" else 256].astype(np.uint8).tobytes())
    options: dict[str, Any] = {"bits": 2} if path.stem == "ids2bit" else {"optimize": False}  # which would count anew
    image.save(path, **options)
    return np.asarray(image)
