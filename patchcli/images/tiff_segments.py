"""The strips or tiles of a page of a TIFF: checked against the file, and the pixels of a window of those that meet it."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.arrays import nodata_in, parse_number
from patchcli.errors import PatchcliError
from patchcli.images.codec import KEPT_BYTES, guarded
from patchcli.images.stored_rows import RUN_BYTES, StoredRows
from patchcli.images.tiff_truncated import JPEG, Filled, is_cut_short
from patchcli.threads import map_in_order, usable_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile
    from numpy.typing import NDArray

    from patchcli.images.codec import FromTo

# How much longer than what is stored pixels can be at most, by compression: none, LZW (a code of 12 bits for a string of 3840
# bytes), deflate, PackBits (128 bytes by 2)
RATIOS = {1: 1, 5: 2600, 8: 1032, 32946: 1032, 32773: 64}
MOST_SEGMENTS, FEW_SEGMENTS, LEAST_PIXELS = 1 << 20, 1 << 16, 16
SEGMENT = 1 << 24  # pixels that a strip or tile may have, however small its image is
DECODING = 16  # about how many times as long as a copy decoding takes, by which threads are worth starting


@dataclass(kw_only=True, eq=False)
class Segments:
    """The strips or tiles of a page, numbered plane by plane, row by row.

    Attributes:
        page: whose tags say how they are stored.
        file: where they lie; several threads may read windows at the same time.
        offsets, counts: where each begins in the file, and of how many bytes it is; both 0 for one that is missing.
        height, width, channels: of the image.
        dtype: of the pixels, in native byte order.
        fill: stands for the pixels of missing strips and tiles.
    """

    page: tifffile.TiffPage
    file: BinaryIO
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    fill: int | float
    rows: int = field(init=False)
    columns: int = field(init=False)

    def __post_init__(self) -> None:
        page = self.page
        self.rows, self.columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._row_pages: dict[int, tifffile.TiffPage] = {}

    @property
    def in_planes(self) -> bool:
        """Whether each channel has strips or tiles of its own."""
        return self.page.axes == "SYX"

    @property
    def across(self) -> int:
        """How many lie side by side."""
        return -(-self.width // self.columns)

    @property
    def down(self) -> int:
        """How many lie one below the other."""
        return -(-self.height // self.rows)

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.channels if self.in_planes else 1) * self.down * self.across

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile, not compressed."""
        bits = self.page.bitspersample
        pixel = sum(bits) if isinstance(bits, tuple) else bits * (1 if self.in_planes else self.channels)
        return -(-self.columns * pixel // 8)

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded strip or tile."""
        return self.rows * self.columns * (1 if self.in_planes else self.channels) * self.dtype.itemsize

    @property
    def by_rows(self) -> bool:
        """Whether any rows can be read without others: of strips that are not compressed, or tiles that lie like one."""
        page = self.page
        return self.contiguous or (page.compression == 1 and not page.is_tiled and isinstance(page.bitspersample, int))

    @property
    def contiguous(self) -> bool:
        """Whether all pixels follow on each other from the first offset, not compressed, so that no other offset counts."""
        return self.page.is_contiguous

    @property
    def in_windows(self) -> bool:
        """Whether less than the image can be decoded: not if a compressed strip or tile holds all of it."""
        return self.by_rows or self.rows < self.height or self.columns < self.width

    @property
    def lines(self) -> int:
        """Rows that are decoded together."""
        return 1 if self.by_rows else self.rows

    @property
    def scratch(self) -> int:
        """About how many bytes decoding holds beside the pixels that come out."""
        if self.by_rows:
            return RUN_BYTES * 4
        if self.count == 1:  # what is stored, what it becomes, and some more
            return max(self.counts) + max(self.nbytes * 3 // 2, RUN_BYTES)
        return 6 * max(self.nbytes, RUN_BYTES)

    def place(self, number: int) -> str:
        """Which strip or tile it is, for a message."""
        top, left = self.corner(number)
        return f"strip or tile {number} of {self.count} (x={left} y={top})"

    def corner(self, number: int) -> tuple[int, int]:
        """Row and column of the first pixel of a strip or tile."""
        return number // self.across % self.down * self.rows, number % self.across * self.columns

    def inside(self, number: int) -> tuple[int, int]:
        """Rows and columns of a strip or tile that lie inside the image."""
        top, left = self.corner(number)
        return min(self.rows, self.height - top), min(self.columns, self.width - left)

    def check(self) -> None:
        """Check, before anything is allocated, that all strips or tiles are there, and lie inside the file.

        One at 0 of 0 bytes is missing: https://gdal.org/en/stable/drivers/raster/gtiff.html#sparse-files
        """
        size, page, count = self.file.seek(0, 2), self.page, self.count
        if count > FEW_SEGMENTS and count * LEAST_PIXELS > self.height * self.width:
            raise PatchcliError(
                f"has {count} strips or tiles of less than {LEAST_PIXELS} pixels; allowed are {FEW_SEGMENTS} of these"
            )
        if not len(self.offsets) == len(self.counts) == count:
            raise PatchcliError(
                f"is truncated or damaged: it has {len(self.offsets)} offsets and {len(self.counts)} sizes of {count} strips "
                "or tiles"
            )
        starts = np.array(self.offsets, np.float64)  # 64 bits of a tag could wrap as integers
        sizes = np.array(self.counts, np.float64)
        bad = np.flatnonzero(((starts <= 0) | (sizes <= 0) | (starts + sizes > size)) & ~((starts == 0) & (sizes == 0)))
        if len(bad):
            first, length = self.offsets[bad[0]], self.counts[bad[0]]
            raise PatchcliError(
                f"is truncated or damaged: {self.place(int(bad[0]))} has {length} bytes at {first} of a file of {size} bytes"
            )
        if self.contiguous and self.offsets[0] + page.nbytes > size:
            raise PatchcliError(
                f"is truncated: its pixels need {page.nbytes} bytes at {self.offsets[0]} of a file of {size} bytes"
            )
        if self.rows * self.columns > max(SEGMENT, 4 * self.height * self.width):
            raise PatchcliError(
                f"has strips or tiles of {self.rows * self.columns} pixels; allowed are {SEGMENT}, or 4 times as many as the "
                "image has"
            )
        if page.compression in RATIOS and not page.is_lsm:
            needed = self._bytes_of_all()
            bad = np.flatnonzero((sizes * RATIOS[page.compression] < needed) & (sizes > 0))
            if len(bad):
                raise PatchcliError(
                    f"is truncated or damaged: {self.place(int(bad[0]))} has {self.counts[bad[0]]} bytes for "
                    f"{needed[bad[0]]:.0f} bytes of pixels"
                )

    def _bytes_of_all(self) -> NDArray[np.float64]:
        """How many bytes of pixels each holds, ``(count,)``; the last strip of a plane can be lower than others."""
        lines = np.full(self.count, float(self.rows))
        if not self.page.is_tiled:
            lines[self.down - 1 :: self.down] = self.height - (self.down - 1) * self.rows
        return lines * self.row_bytes

    def read(self, rows: FromTo, columns: FromTo) -> NDArray[Any]:
        """The pixels of some rows and columns, ``(h, w, C)``, a new array; only what meets them is read and decoded.

        Raises:
            PatchcliError: a damaged or truncated strip or tile, which is named.
        """
        if self.page.is_final and not self.in_planes:
            with self._lock:
                stored = self._stored
            return stored.read(rows, columns)
        window = np.empty((rows[1] - rows[0], columns[1] - columns[0], self.channels), self.dtype)
        if self.by_rows:
            for plane in range(self.channels if self.in_planes else 1):
                for first, last in self._runs(rows):
                    target = self._plane(window, plane)[first - rows[0] : last - rows[0]]
                    target[...] = self._stored_rows(plane, first, last, columns)
            return window
        with self._lock:
            self._coded.decode  # noqa: B018  made here, because it is not made by several threads at once
        met = list(self._meeting(rows, columns))
        each = max(1, RUN_BYTES // max(1, self.nbytes))
        parts = [met[start : start + each] for start in range(0, len(met), each)]

        def decode(numbers: list[int]) -> None:
            for number in numbers:
                self._put(window, number, rows, columns)

        threads = usable_threads(DECODING * len(met) * self.nbytes * (self.page.compression != 1))
        for _ in map_in_order(decode, parts, min(threads, len(parts))):
            pass
        return window

    @cached_property
    def _stored(self) -> StoredRows:
        """Pixels that are in the file as they are in memory."""
        stored = self.dtype.newbyteorder(self.page.parent.byteorder)
        return StoredRows(self.file, self.offsets[0], (self.height, self.width, self.channels), stored)

    @cached_property
    def _coded(self) -> tifffile.TiffPage:
        """The page as its decoder takes it: planes of colour that are JPEG are gray images each, and not RGB without JFIF."""
        if not self.in_planes or self.page.compression not in JPEG:
            return self.page
        return _page_like(self.page, photometric=1)

    def _plane(self, window: NDArray[Any], plane: int) -> NDArray[Any]:
        """What of a window ``(h, w, C)`` the strips or tiles of a plane hold."""
        return window[..., plane : plane + 1] if self.in_planes else window

    def _meeting(self, rows: FromTo, columns: FromTo) -> Iterator[int]:
        """Numbers of the strips or tiles that meet a window."""
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            return
        for plane in range(self.channels if self.in_planes else 1):
            for row in range(rows[0] // self.rows, -(-rows[1] // self.rows)):
                start = (plane * self.down + row) * self.across
                yield from range(start + columns[0] // self.columns, start + -(-columns[1] // self.columns))

    def _runs(self, rows: FromTo) -> Iterator[FromTo]:
        """Some rows in runs that are read at once, each of one strip."""
        most, first = max(1, RUN_BYTES // self.row_bytes), rows[0]
        while first < rows[1]:
            end = self.height if self.contiguous else (first // self.rows + 1) * self.rows
            last = min(first + most, end, rows[1])
            yield first, last
            first = last

    def _stored_rows(self, plane: int, first: int, last: int, columns: FromTo) -> NDArray[Any] | int | float:
        """Rows that are not compressed, ``(rows, columns, samples)``; those of a missing strip are one value.

        They are decoded as the only strip of a page of so many rows.
        """
        number, rows = plane * self.down + first // self.rows, last - first
        if self.contiguous:
            offset = self.offsets[0] + (plane * self.height + first) * self.row_bytes
        elif self.counts[number]:
            offset = self.offsets[number] + first % self.rows * self.row_bytes
        else:
            return self.fill
        data = self._bytes(offset, rows * self.row_bytes, number)
        if rows not in self._row_pages:
            self._row_pages[rows] = _page_of_rows(self.page, rows)
        decoded = self._row_pages[rows].decode(data, 0)[0]
        assert decoded is not None
        return decoded[0, :, slice(*columns)]

    def _put(self, window: NDArray[Any], number: int, rows: FromTo, columns: FromTo) -> None:
        """Put what a strip or tile holds of a window there."""
        top, left = self.corner(number)
        height, width = self.inside(number)
        first, last = max(rows[0], top), min(rows[1], top + height)
        start, stop = max(columns[0], left), min(columns[1], left + width)
        plane = self._plane(window, number // (self.down * self.across))
        target = plane[first - rows[0] : last - rows[0], start - columns[0] : stop - columns[0]]
        if not self.counts[number]:
            target[...] = self.fill
            return
        pixels = self._decoded(number, keep=(last - first, stop - start) != (height, width))
        target[...] = pixels[first - top : last - top, start - left : stop - left]

    def _decoded(self, number: int, *, keep: bool) -> NDArray[Any]:
        """The pixels of a strip or tile, ``(rows, columns, samples)``; kept for a neighbouring window, if asked to."""
        with self._lock:
            pixels = self._kept.pop(number, None)
        if pixels is None:
            pixels = self._decode(number)
        if keep:
            with self._lock:
                self._kept[number] = pixels
                while len(self._kept) > max(KEPT_BYTES // self.nbytes, self.count // self.down):
                    self._kept.popitem(last=False)
        return pixels

    def _decode(self, number: int) -> NDArray[Any]:
        """Read and decode a strip or tile."""
        data, page = self._bytes(self.offsets[number], self.counts[number], number), self._coded
        rows, columns = self.inside(number)
        part = Filled(self.rows if page.is_tiled else rows, self.columns, (rows, columns), self.row_bytes)
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in JPEG else {}
        try:
            if guarded("tiff", lambda: is_cut_short(data, page, part)):
                raise PatchcliError("is truncated or damaged: its data end before its pixels do")
            pixels: NDArray[Any] = guarded("tiff", lambda: page.decode(data, number, **tables)[0])[0]
        except PatchcliError as error:
            raise PatchcliError(f"{error}, in {self.place(number)}") from None
        if pixels.shape[0] < rows or pixels.shape[1] < columns:
            raise PatchcliError(f"is truncated or damaged: it holds fewer pixels than its header says, in {self.place(number)}")
        return pixels

    def _bytes(self, offset: int, count: int, number: int) -> bytes:
        """So many bytes of the file."""
        with self._lock:
            self.file.seek(offset)
            data = self.file.read(count)
        if len(data) < count:
            raise PatchcliError(f"is truncated: it ends within {self.place(number)}")
        return data


def fill_of(text: object, dtype: np.dtype[Any]) -> int | float:
    """What stands in missing strips and tiles: the nodata value of a file, as GDAL writes it, or 0 where no pixel could have it.

    >>> fill_of("-9999", np.dtype("i2")), fill_of("-9999", np.dtype("u2")), fill_of("1e39", np.dtype("f4"))
    (-9999, 0, 0)
    """
    number = parse_number(text.strip(" \0").replace(",", ".")) if isinstance(text, str) else None
    value = nodata_in(dtype, number)
    return 0 if value is None else value.item()


def _page_of_rows(page: tifffile.TiffPage, rows: int) -> tifffile.TiffPage:
    """A page of so many rows in one strip, stored as those of another."""
    shaped = (page.shaped[0], 1, rows, *page.shaped[3:])
    return _page_like(page, imagelength=rows, rowsperstrip=rows, tilewidth=0, tilelength=0, shaped=shaped)


def _page_like(page: tifffile.TiffPage, **other: Any) -> tifffile.TiffPage:  # noqa: ANN401  values of tags
    """A page as another, but for these of its attributes."""
    like = copy.copy(page)
    for name in ("hash", "decode"):  # which tifffile keeps once they were asked for
        like.__dict__.pop(name, None)
    for name, value in other.items():
        setattr(like, name, value)
    return like
