"""Slow, obvious references, written from the definitions and from nothing in the package."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray


def starts(length: int, patch: int, stride: int, offset: int, edge: str, margin: int) -> list[int] | None:
    """Starts in the padded axis by the table of the design; None where the patch does not fit."""
    total = length + 2 * margin
    if offset >= total:
        return None
    if edge in ("pad", "clip"):
        count = max(1, math.ceil(Fraction(total - offset - patch, stride)) + 1)
        return [start for start in range(offset, offset + count * stride, stride) if edge == "pad" or start < total]
    if offset + patch > total:
        return None
    if edge == "even":
        room = total - offset - patch
        count = math.ceil(Fraction(room, stride)) + 1
        return [offset + round(Fraction(i * room, max(count - 1, 1))) for i in range(count)]
    found, start = [], offset
    while start + patch <= total:
        found.append(start)
        start += stride
    if edge == "shift" and found[-1] + patch < total:
        found.append(total - patch)
    return found


def pad(image: NDArray[Any], far: tuple[int, int], margin: int, mode: str, value: float) -> NDArray[Any]:
    """Numpy's own padding of both axes."""
    widths = [(margin, margin + far[0]), (margin, margin + far[1]), (0, 0)][: image.ndim]
    if mode == "constant":
        return np.pad(image, widths, mode="constant", constant_values=np.asarray(value).astype(image.dtype))
    return np.pad(image, widths, mode=mode)  # type: ignore[call-overload,no-any-return]


def cut(padded: NDArray[Any], rows: list[int], columns: list[int], patch: tuple[int, int]) -> NDArray[Any]:
    """Patches by slicing, one at a time."""
    return np.stack([padded[r : r + patch[0], c : c + patch[1]] for r in rows for c in columns])


def mean(patches: NDArray[Any], origins: NDArray[np.int64], shape: tuple[int, int], fill: float) -> NDArray[Any]:
    """Average pixel by pixel: exact for integers (fractions, ties to even), float64 sums for floats."""
    image = np.full((*shape, *patches.shape[3:]), fill, patches.dtype)
    exact = patches.dtype.kind != "f"
    for place in np.ndindex(*shape):
        values = []
        for patch, (row, column) in zip(patches, origins.tolist(), strict=True):
            i, j = place[0] - row, place[1] - column
            if 0 <= i < patch.shape[0] and 0 <= j < patch.shape[1]:
                values.append(np.atleast_1d(patch[i, j]))
        if values:
            means = [
                round(Fraction(sum(map(int, channel)), len(values))) if exact else sum(map(float, channel)) / len(values)
                for channel in zip(*values, strict=True)
            ]
            image[place] = means if patches.ndim == 4 else means[0]
    return image


def cover(origins: NDArray[np.int64], patch: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Count patches over each pixel."""
    counts = np.zeros(shape, np.int64)
    for row, column in origins.tolist():
        counts[max(row, 0) : max(row + patch[0], 0), max(column, 0) : max(column + patch[1], 0)] += 1
    return counts


def _unfold_outside(position: float, length: int, outside: str, *, align: bool) -> float:
    if outside == "reflection":
        low, high = (0.0, length - 1.0) if align else (-0.5, length - 0.5)
        if low == high:
            return 0.0
        while position < low or position > high:
            position = 2 * low - position if position < low else 2 * high - position
    return min(max(position, 0.0), length - 1.0) if outside != "zeros" else position


def _keys(x: float, a: float = -0.75) -> float:
    """The kernel of cubic convolution."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _bicubic(image: NDArray[np.float64], position: list[float], outside: str, *, align: bool) -> float:
    total = 0.0
    for r in range(math.floor(position[0]) - 1, math.floor(position[0]) + 3):
        for c in range(math.floor(position[1]) - 1, math.floor(position[1]) + 3):
            u, v = (round(_unfold_outside(at, end, outside, align=align)) for at, end in zip((r, c), image.shape, strict=True))
            if 0 <= u < image.shape[0] and 0 <= v < image.shape[1]:
                total += float(image[u, v]) * _keys(position[0] - r) * _keys(position[1] - c)
    return total


def crop(
    image: NDArray[np.float64], box: tuple[float, ...], size: tuple[int, int], resampling: str, outside: str, *, align: bool
) -> NDArray[np.float64]:
    """affine_grid and grid_sample, output pixel by output pixel, from their documentation."""
    height, width = image.shape
    out = np.zeros(size)
    for i, j in np.ndindex(*size):
        place, unplaced = [], []
        for index, count, length, low, high in ((i, size[0], height, box[1], box[3]), (j, size[1], width, box[0], box[2])):
            base = (-1 + 2 * index / (count - 1) if count > 1 else 0.0) if align else -1 + (2 * index + 1) / count
            at = base * (high - low) / 2 + (high + low) / 2
            pixel = (at + 1) / 2 * (length - 1) if align else ((at + 1) * length - 1) / 2
            unplaced.append(pixel)
            place.append(_unfold_outside(pixel, length, outside, align=align))
        y, x = place
        if resampling == "nearest":
            r, c = round(y), round(x)
            out[i, j] = image[r, c] if 0 <= r < height and 0 <= c < width else 0
            continue
        if resampling == "bicubic":
            out[i, j] = _bicubic(image, unplaced, outside, align=align)
            continue
        for r in (math.floor(y), math.floor(y) + 1):
            for c in (math.floor(x), math.floor(x) + 1):
                if 0 <= r < height and 0 <= c < width:
                    out[i, j] += image[r, c] * (1 - abs(y - r)) * (1 - abs(x - c))
    return out
