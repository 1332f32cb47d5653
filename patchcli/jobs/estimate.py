"""What a task would make and need, told from headers: what the plans of all commands share.

Memory is a bound: the largest arrays that are in use together are added up. The numbers below are bytes that were measured, on
Linux with glibc, where they could not be told from the code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

BASE = 33_000_000  # interpreter, numpy, Click and this program
LIBRARY = {"tiff": 2_500_000, "jpeg": 9_000_000, "webp": 9_000_000, "bmp": 9_000_000, "gif": 9_000_000}  # more than for PNG
PIECES = 7  # pieces of a file that are made, wait or are written at once
# While an image is encoded, what is held beside it: bytes a pixel in the library's own memory, and times the image's bytes.
ENCODING: dict[str, tuple[float, float]] = {
    "png": (0, 1.3),
    "tiff": (0, 2),
    "jpeg": (4, 0.5),
    "webp": (40, 1),
    "bmp": (4, 2),
    "pgm": (0, 3),
    "ppm": (0, 3),
    "pnm": (0, 3),
    "pbm": (0, 3),
}
NPY_BYTES = 1 << 24  # an array is written in parts of this size


def base(*formats: str) -> int:
    """Bytes of a process that has loaded what it needs for these image formats."""
    return BASE + max((LIBRARY.get(name, 0) for name in formats), default=0)


def encoding(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that are held beside an image ``(H, W[, C])`` while it is written."""
    nbytes = math.prod(shape) * dtype.itemsize
    if name == "npy":
        return min(nbytes, NPY_BYTES)
    pixel, times = ENCODING[name]
    pixel = 1 if pixel and len(shape) == 2 else pixel  # noqa: PLR2004
    return int(pixel * shape[0] * shape[1] + times * nbytes)
