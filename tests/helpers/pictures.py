"""Images of every dtype and number of channels that a format holds."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcli.images.formats import FORMATS, WRITABLE
from patchcli.images.sink import write
from patchcli.images.source import ImageSource, open_image

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
