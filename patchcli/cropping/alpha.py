"""Colours weighed by alpha, so that those of clear pixels do not show in the mean of several.

Kernels: arrays in, arrays out. Letters: images ``(H, W, C)``, crops ``(h, w, C)``; ``alpha`` is the number of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import convert, limits, work_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPAQUE = 255


def premultiplied(pixels: NDArray[Any], alpha: int) -> NDArray[Any]:
    """An image whose colours are multiplied by alpha, as a part of its largest value; a new array.

    uint8 stays uint8, each product rounded as Pillow does it: ``(t + t/256)/256``, ``t = colour*alpha + 128``. Others become
    floats, alpha as it is.
    """
    coverage = pixels[..., alpha : alpha + 1]
    if pixels.dtype == np.uint8:
        product = np.multiply(pixels, coverage, dtype=np.uint16, order="C") + np.uint16(128)
        weighed: NDArray[Any] = ((product + (product >> 8)) >> 8).astype(np.uint8)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            weighed = pixels.astype(work_dtype(pixels.dtype), order="C") * (coverage / _full(pixels.dtype))
    weighed[..., alpha] = pixels[..., alpha]
    return weighed


def unpremultiplied(crops: NDArray[Any], alpha: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Crops of premultiplied images, colours divided by alpha again, in the dtype of the image.

    Of uint8 the quotient is rounded down and at most 255, and colours of clear pixels stay, as Pillow does it; others are
    rounded and saturated, and 0 where alpha is 0 or less.
    """
    coverage = crops[..., alpha : alpha + 1]
    if dtype == np.uint8:
        divisor = np.where(coverage == 0, OPAQUE, coverage).astype(np.uint16)
        colours = np.minimum(crops.astype(np.uint16) * np.uint16(OPAQUE) // divisor, OPAQUE)
    else:
        clear = coverage <= 0
        with np.errstate(invalid="ignore", over="ignore"):
            colours = np.where(clear, 0, crops * (_full(dtype) / np.where(clear, 1, coverage)))
    colours[..., alpha] = crops[..., alpha]
    out = np.empty(crops.shape, dtype)
    convert(colours, out)
    return out


def _full(dtype: np.dtype[Any]) -> float:
    """Alpha of a pixel that hides what is behind it."""
    return 1.0 if dtype.kind == "f" else float(limits(dtype)[1])
