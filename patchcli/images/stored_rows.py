"""Pixels that lie in a file row by row, not compressed: any rows and columns of them, read without the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import sized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.images.codec import FromTo

RUN_BYTES = 1 << 18  # of rows that are read before their columns are taken


class StoredRows:
    """Rows ``(H, W, C)`` of a file from ``offset`` on, of a dtype in any byte order; several threads may read at once."""

    def __init__(self, file: BinaryIO, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._file, self._offset, self._shape, self._dtype = file, offset, shape, dtype
        self._row_bytes = shape[1] * shape[2] * dtype.itemsize
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse a file that ends before its rows do."""
        size, needed = sized(self._file), self._shape[0] * self._row_bytes
        if self._offset + needed > size:
            raise PatchcliError(f"is truncated: its pixels need {needed} bytes at {self._offset} of a file of {size} bytes")

    def read(self, rows: FromTo, columns: FromTo) -> NDArray[Any]:
        """Some rows and columns, ``(h, w, C)``, a new array in native byte order."""
        (first, last), (_, width, channels) = rows, self._shape
        pixels = np.empty((last - first, columns[1] - columns[0], channels), self._dtype)
        if pixels.shape[1] == width:
            self._fill(pixels, first)
        else:
            run = np.empty((min(last - first, max(1, RUN_BYTES // self._row_bytes)), width, channels), self._dtype)
            for top in range(first, last, max(1, len(run))):
                part = run[: last - top]
                self._fill(part, top)
                pixels[top - first : top - first + len(part)] = part[:, slice(*columns)]
        return pixels if pixels.dtype.isnative else pixels.byteswap(inplace=True).view(pixels.dtype.newbyteorder("="))

    def _fill(self, rows: NDArray[Any], first: int) -> None:
        """Read whole rows from ``first`` to where they are wanted."""
        data, done = rows.reshape(-1).view(np.uint8).data, 0
        with self._lock:
            self._file.seek(self._offset + first * self._row_bytes)
            while done < len(data):
                got = self._file.readinto(data[done:])  # type: ignore[attr-defined]
                if not got:
                    raise PatchcliError(f"is truncated: it ends within row {first + done // self._row_bytes} of {self._shape[0]}")
                done += got
