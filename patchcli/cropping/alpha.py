"""Colours weighed by alpha, so that those of clear pixels do not show in the mean of several.

Kernels: arrays in, arrays out. Letters: images ``(S, H, W, C)``, crops ``(B, h, w, C)``; ``alpha`` is the number of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import convert, limits, work_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.cropping.taps import Taps

OPAQUE = 255


def premultiplied(images: NDArray[Any], alpha: int, rows: Taps, columns: Taps) -> NDArray[Any]:
    """Images whose colours are multiplied by alpha, as a part of its largest value; only where taps read them.

    uint8 stays uint8, each product rounded as Pillow does it: ``(t + t/256)/256``, ``t = colour*alpha + 128``. Others become
    floats, alpha as it is.
    """
    down, across = (slice(int(taps.pixel.min()), int(taps.pixel.max()) + 1) for taps in (rows, columns))
    here = images[:, down, across]
    coverage = here[..., alpha : alpha + 1]
    if images.dtype == np.uint8:
        product = here.astype(np.uint16) * coverage + np.uint16(128)
        weighed = (product + (product >> 8)) >> 8
    else:
        weighed = here.astype(work_dtype(images.dtype)) * (coverage / _full(images.dtype))
    weighed[..., alpha] = here[..., alpha]
    out = np.empty(images.shape, np.uint8 if images.dtype == np.uint8 else weighed.dtype)
    out[:, down, across] = weighed
    return out


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
        colours = np.where(clear, 0, crops * (_full(dtype) / np.where(clear, 1, coverage)))
    colours[..., alpha] = crops[..., alpha]
    out = np.empty(crops.shape, dtype)
    convert(colours, out)
    return out


def _full(dtype: np.dtype[Any]) -> float:
    """Alpha of a pixel that hides what is behind it."""
    return 1.0 if dtype.kind == "f" else float(limits(dtype)[1])
