"""Colours that mean something: no value, no patch, class numbers, amounts and differences. All are RGB, uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MISSING = (255, 0, 200)  # of NaN, infinity and nodata
UNCOVERED = (235, 60, 50)  # of pixels without a patch
CHECKER = (225, 245)  # the two grays behind what is transparent
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: multiples of it are never close to each other soon
LIGHTNESS = np.array([0.3, 0.6, 0.4, 0.7, 0.5, 0.8])  # of class numbers, in turn
LARGEST_CLASS = 2.0**62  # among floats; it fits an integer
AMOUNTS = np.array([[38, 20, 95], [44, 95, 160], [45, 165, 130], [165, 210, 70], [255, 240, 110]], np.float64)
DIFFERENCES = np.array([[10, 40, 140], [70, 140, 215], [247, 247, 247], [235, 110, 70], [140, 10, 30]], np.float64)


def distinct_colours(numbers: ArrayLike) -> NDArray[np.uint8]:
    """A colour ``(n, 3)`` for each class number ``(n,)``, always the same: 0 is black, neighbours are far apart."""
    given = np.asarray(numbers)
    if given.dtype.kind == "f":
        given = np.clip(given.astype(np.float64), -LARGEST_CLASS, LARGEST_CLASS)
    whole = given.astype(np.int64 if given.dtype.kind != "u" else np.uint64).astype(np.uint64)
    hue = (whole * GOLDEN >> np.uint64(11)) / 2.0**53
    light = LIGHTNESS[(whole % np.uint64(len(LIGHTNESS))).astype(np.intp)]
    spread = 0.9 * np.minimum(light, 1 - light)
    # RGB of hue, saturation and lightness: https://en.wikipedia.org/wiki/HSL_and_HSV#HSL_to_RGB_alternative
    turn = (np.array([0, 8, 4]) + 12 * hue[:, None]) % 12
    rgb = light[:, None] - spread[:, None] * np.clip(np.minimum(turn - 3, 9 - turn), -1, 1)
    rgb[whole == 0] = 0
    colours: NDArray[np.uint8] = np.rint(255 * rgb).astype(np.uint8)
    return colours


def scale_colours(fractions: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours ``(..., 3)`` at ``fractions`` ``(...)`` of 0 to 1 along a scale ``(n, 3)``; `MISSING` where they are NaN."""
    known = np.isfinite(fractions)
    along = np.clip(np.where(known, fractions, 0), 0, 1)
    stops = np.linspace(0, 1, len(scale))
    rgb = np.stack([np.interp(along, stops, scale[:, channel]) for channel in range(3)], axis=-1)
    rgb[~known] = MISSING
    colours: NDArray[np.uint8] = np.rint(rgb).astype(np.uint8)
    return colours


def blend(under: NDArray[np.uint8], colour: ArrayLike, share: NDArray[Any] | float) -> NDArray[np.uint8]:
    """Pixels ``(..., 3)`` with a ``share`` of 0 to 1 ``(...)`` of a colour laid over them."""
    part = np.asarray(share, np.float32)[..., None]
    mixed: NDArray[np.uint8] = np.rint(under * (1 - part) + np.asarray(colour, np.float32) * part).astype(np.uint8)
    return mixed
