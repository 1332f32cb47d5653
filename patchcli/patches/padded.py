"""Padding as an index: the padded image of a grid, made line by line of a source of pixels.

Each row and column of the padded image is one of the source, or the constant: ``padded[i, j] = source[rows[i], columns[j]]``,
where ``rows`` and ``columns`` are `numpy.pad` of ``0, 1, ... length - 1``. So no rule of padding is written down twice, and none
needs a copy of the image.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from patchcli.arrays import exact_scalar
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import CACHED_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Axis, Pair
    from patchcli.geometry.grid import Grid

PAD_MODES = ("reflect", "symmetric", "edge", "wrap", "constant")
LINES_BYTES = 1 << 21  # of lines that are made together, where patches need no more
CONSTANT = -1  # in place of a row or column of the source


class PixelSource(Protocol):
    """Pixels ``(H, W[, C])`` that can be read by windows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)`` or ``(H, W, C)``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""

    @property
    def in_bands(self) -> bool:
        """Whether `read` makes what it is asked for alone; else all is there, and it returns views."""

    @property
    def lines(self) -> int:
        """Rows that are made together by `read`."""

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """The pixels of some rows and columns, ``(h, w[, C])``."""


class ArraySource:
    """An array ``(H, W[, C])``, C-contiguous, as a source of which every window is a view."""

    in_bands, lines = False, 1

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.shape: tuple[int, ...] = pixels.shape
        self.dtype: np.dtype[Any] = pixels.dtype

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """A view of some rows and columns."""
        return self._pixels[slice(*rows), slice(*columns)]


class Region(NamedTuple):
    """Some of a padded image: ``pixels[0, 0]``, C-contiguous, lie in its row ``top`` and its column ``left``."""

    pixels: NDArray[Any]
    top: int
    left: int


class Padded:
    """The padded image of a grid, made of a source as it is asked for.

    Of a source in memory to which nothing is added all is a view. Of a source in bands lines are kept while requests go down,
    so that what neighbours share is read once, and read on to the end of a band, so that no band is decoded twice.

    Args:
        source: of the grid's ``(H, W)``.
        grid: whose padding is added.
        mode: of `numpy.pad`, one of `PAD_MODES`.
        value: what ``constant`` fills with; it must be a value of the source's dtype.

    Raises:
        PatchcliError: an unknown mode, a value that the dtype cannot hold, or a source of another size.
    """

    def __init__(self, source: PixelSource, grid: Grid, mode: str = "reflect", value: float = 0) -> None:
        if mode not in PAD_MODES:
            raise PatchcliError(f"pad mode is {mode!r}; allowed are {', '.join(PAD_MODES)}")
        if grid.image != source.shape[:2]:
            raise PatchcliError(f"image has shape {source.shape[:2]} but the grid is for {grid.image}")
        self._source, self.mode = source, mode
        self._value = exact_scalar(value, source.dtype) if mode == "constant" else None
        self.grid, self.dtype = grid, source.dtype
        self.shape = (*grid.padded, *source.shape[2:])
        self._held, self._first = np.empty((0, *self.shape[1:]), self.dtype), 0

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel, channels included."""
        return math.prod(self.shape[2:]) * self.dtype.itemsize

    @cached_property
    def whole(self) -> NDArray[Any] | None:
        """All of it, C-contiguous, where it is in memory: a view where nothing is added, or a small copy; else None."""
        (height, width), nbytes = self.grid.padded, math.prod(self.shape) * self.dtype.itemsize
        if self._source.in_bands:
            return None
        if self.grid.padded == self.grid.image:
            return self._source.read((0, height), (0, width))
        if nbytes > LINES_BYTES:
            return None
        sides = self.grid.rows.padding, self.grid.columns.padding, *[(0, 0)] * (len(self.shape) - 2)
        return _pad(self._source.read((0, self.grid.image[0]), (0, self.grid.image[1])), sides, self.mode, self._value)

    @property
    def reach(self) -> int:
        """How many rows to ask for at once: those of a patch, or more where they are short; all of a view."""
        together = LINES_BYTES // (self.shape[1] * self.pixel_bytes)
        return self.shape[0] if self.whole is not None else max(self.grid.patch[0], together)

    def region(self, rows: Pair, columns: Pair) -> Region:
        """What holds some rows and columns, first and last (excluded); a view where `whole` is there, and not to be changed."""
        if self.whole is not None:
            return Region(self.whole, 0, 0)
        return self._lines(*rows) if self._source.in_bands else self.window(rows, columns)

    def window(self, rows: Pair, columns: Pair) -> Region:
        """Some rows and columns alone, made of nothing that is held."""
        out = np.empty((rows[1] - rows[0], columns[1] - columns[0], *self.shape[2:]), self.dtype)
        self._fill(out, rows[0], columns[0])
        return Region(out, rows[0], columns[0])

    def bands_of(self, tops: NDArray[np.int64]) -> tuple[NDArray[np.int64], int] | None:
        """How many bands of the source the patches of each of the rows ``tops``, increasing, meet, and all of them together.

        None where the source is in memory.
        """
        if not self._source.in_bands:
            return None
        first = (tops - self.grid.margin) // self._source.lines
        last = (tops - self.grid.margin + self.grid.patch[0] - 1) // self._source.lines
        new = last - np.maximum(first, np.concatenate([first[:1], last[:-1] + 1])) + 1
        return last - first + 1, int(new.sum())

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        return _index_of(self.grid.rows, self.mode)

    @cached_property
    def _columns(self) -> NDArray[np.int64]:
        return _index_of(self.grid.columns, self.mode)

    def _lines(self, top: int, bottom: int) -> Region:
        """Lines in their whole width, from those that are held and new ones behind them."""
        last = self._first + len(self._held)
        if not self._first <= top <= last:
            last = top
        if bottom > last or top < self._first:
            lines = np.empty((self._end(bottom) - top, *self.shape[1:]), self.dtype)
            lines[: last - top] = self._held[top - self._first :][: last - top]
            self._held = lines[:0]  # the old ones are let go before more is read
            self._fill(lines[last - top :], last, 0)
            self._held, self._first = lines, top
        return Region(self._held, self._first, 0)

    def _end(self, bottom: int) -> int:
        """Where to end when lines up to ``bottom`` are made: at the end of a band, and behind a far side that is close."""
        height, lines, margin = self.grid.image[0], self._source.lines, self.grid.margin
        row = bottom + LINES_BYTES // (self.shape[1] * self.pixel_bytes) - margin
        if 0 < row < height:
            row = min(-(-row // lines) * lines, height)
        return min(row + lines * (row == height) + margin, self.shape[0])

    def _fill(self, out: NDArray[Any], top: int, left: int) -> None:
        """Make ``out`` ``(h, w[, C])``, whose corner lies at (top, left) of the padded image."""
        rows, columns = self._rows[top : top + out.shape[0]], self._columns[left : left + out.shape[1]]
        if self._value is not None:
            out[rows == CONSTANT] = self._value
            out[:, columns == CONSTANT] = self._value
        # above..below and begin..end are the image itself; what lies around it repeats some of it, or is constant
        above, below = _inside(self.grid.rows, top, len(rows))
        begin, end = _inside(self.grid.columns, left, len(columns))
        used = columns if self._value is None else columns[begin:end]
        if not len(used):
            return
        low, high = int(used.min()), int(used.max()) + 1
        around = np.concatenate([np.arange(above), np.arange(below, len(rows))]) if self._value is None else np.empty(0, int)
        for first, last in _spans(rows[above:below], rows[around]):
            block = self._source.read((first, last), (low, high))
            beside = around[(rows[around] >= first) & (rows[around] < last)]
            places: list[tuple[Any, Any]] = [(beside, rows[beside] - first)] if len(beside) else []
            if above < below and first <= rows[above] < last:
                places.append((slice(above, below), slice(rows[above] - first, rows[below - 1] + 1 - first)))
            for here, picked in places:
                lines = block[picked]
                if begin < end:
                    out[here, begin:end] = lines[:, columns[begin] - low : columns[end - 1] + 1 - low]
                if self._value is None:
                    out[here, :begin] = lines[:, columns[:begin] - low]
                    out[here, end:] = lines[:, columns[end:] - low]


def _inside(axis: Axis, start: int, length: int) -> Pair:
    """First and last (excluded) of so many places from ``start`` of a padded axis that are of the image itself."""
    first, last = (min(max(at - start, 0), length) for at in (axis.margin, axis.margin + axis.length))
    return first, last


def _spans(inner: NDArray[np.int64], around: NDArray[np.int64]) -> Iterator[Pair]:
    """First and last (excluded) of the stretches of neighbours that rows are, each once; ``inner`` is one of them."""
    if len(inner) and (not len(around) or inner[0] <= around.min() <= around.max() <= inner[-1]):
        yield int(inner[0]), int(inner[-1]) + 1
        return
    known = np.unique(np.concatenate([inner, around]))
    for part in np.split(known, np.flatnonzero(np.diff(known) != 1) + 1):
        if len(part):
            yield int(part[0]), int(part[-1]) + 1


def _index_of(axis: Axis, mode: str) -> NDArray[np.int64]:
    return (_kept_index if axis.padded <= CACHED_LENGTH else _index)(axis, mode)


def _index(axis: Axis, mode: str) -> NDArray[np.int64]:
    """Which row or column of the source each one of a padded axis is, or `CONSTANT`; read-only."""
    index = _pad(np.arange(axis.length, dtype=np.int64), [axis.padding], mode, CONSTANT)
    index.flags.writeable = False
    return index


def _pad(pixels: NDArray[Any], sides: Sequence[Pair], mode: str, value: Any) -> NDArray[Any]:  # noqa: ANN401  of their dtype
    """What `numpy.pad` makes, with ``value`` for a constant."""
    options: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}
    padded: NDArray[Any] = np.pad(pixels, sides, mode=mode, **options)  # type: ignore[call-overload]
    return padded


_kept_index = lru_cache(8)(_index)  # the images of a folder mostly have a grid in common
