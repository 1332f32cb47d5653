"""Crops of one shape, by their number, held until all were made: in memory, or on disk where they are many."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.storage.local import keeping, temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HELD_BYTES = 1 << 26  # of crops in memory


class HeldCrops:
    """Room for crops, each of which is put there, in any order, before it is taken.

    On disk they are written and read, not mapped: a full disk stops a process that writes to a map without a word.

    Attributes:
        shape, dtype, nbytes: of each.

    Args:
        count: how many there are at most.
        shape: of each, ``(h, w[, C])``.
        dtype: of each.

    Raises:
        OutputError: from any call: no room for a temporary file.
    """

    def __init__(self, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.nbytes = shape, dtype, math.prod(shape) * dtype.itemsize
        self._file: BinaryIO | None = None
        self._array: NDArray[Any] = np.empty((0, *shape), dtype)
        if count * self.nbytes > HELD_BYTES:
            self._file = temporary_file("--boxes")
        else:
            self._array = np.empty((count, *shape), dtype)

    def close(self) -> None:
        """Let go of them."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of what did not fit before
                self._file.close()

    def put(self, numbers: NDArray[np.int64], crops: NDArray[Any]) -> None:
        """Put crops ``(n, h, w[, C])`` of some numbers there."""
        if self._file is None:
            self._array[numbers] = crops
            return
        for run in _runs_of(numbers):
            self._write(int(numbers[run.start]) * self.nbytes, crops[run])

    def put_lines(self, number: int, first: int, lines: NDArray[Any]) -> None:
        """Put lines ``(n, w[, C])`` of one crop there, from its line ``first`` on."""
        if self._file is None:
            self._array[number, first : first + len(lines)] = lines
        else:
            self._write(number * self.nbytes + first * (self.nbytes // self.shape[0]), lines)

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """New array ``(n, h, w[, C])`` of crops."""
        if self._file is None:
            return self._array[numbers]
        crops = np.empty((len(numbers), *self.shape), self.dtype)
        for run in _runs_of(numbers):
            with keeping("--boxes"):
                self._file.seek(int(numbers[run.start]) * self.nbytes)
                self._file.readinto(crops[run].reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return crops

    def _write(self, place: int, values: NDArray[Any]) -> None:
        assert self._file is not None
        with keeping("--boxes"):
            self._file.seek(place)
            self._file.write(np.ascontiguousarray(values, self.dtype).reshape(-1).view(np.uint8).data)
            self._file.flush()


def _runs_of(numbers: NDArray[np.int64]) -> Iterator[slice]:
    """Where numbers follow on each other."""
    bounds = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    return (slice(begin, end) for begin, end in itertools.pairwise(bounds) if begin < end)
