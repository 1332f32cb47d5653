"""A source that makes only what it is asked for, out of an array, and counts it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.source import ImageSource


class Bands:
    """An array as a source in bands of ``lines`` rows; ``counts``: how often each row was made, ``pixels``: how many in all."""

    in_bands = True

    def __init__(self, array: NDArray[Any], lines: int = 1) -> None:
        self.array, self.lines = array, lines
        self.shape, self.dtype = array.shape, array.dtype
        self.counts, self.largest, self.pixels = np.zeros(len(array), int), 0, 0

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """A copy of a window, which must lie inside and hold something; whole bands are made for it."""
        assert 0 <= rows[0] < rows[1] <= self.shape[0]
        assert 0 <= columns[0] < columns[1] <= self.shape[1]
        first, last = rows[0] // self.lines * self.lines, -(-rows[1] // self.lines) * self.lines
        self.counts[first:last] += 1
        self.largest = max(self.largest, rows[1] - rows[0])
        self.pixels += (min(last, self.shape[0]) - first) * (columns[1] - columns[0])
        return self.array[slice(*rows), slice(*columns)].copy()


class Tall:
    """An image of any height that is nowhere: pixels are made of their place when they are asked for."""

    in_bands, dtype = True, np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, int], lines: int) -> None:
        self.shape, self.lines = shape, lines

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """The low byte of a sum, ``(h, w)``."""
        row, column = np.arange(*rows, dtype=np.uint32), np.arange(*columns, dtype=np.uint32)
        return np.add.outer((row * 7).astype(np.uint8), column.astype(np.uint8))


def banded(opened: ImageSource, lines: int = 1, *, whole: bool = False, nodata: str | None = None) -> ImageSource:
    """The same image, read in bands of so many rows, and never whole unless that is allowed; its file may say what is no data."""
    bands, said = Bands(opened.pixels(), lines), opened.metadata._replace(nodata=nodata)

    def load() -> NDArray[Any]:
        assert whole, "decoded whole"
        return bands.array

    return dataclasses.replace(opened, load=load, window=bands.read, lines=lines, metadata=said)
