"""Where the patches of a merge come from: an array, files, or what of other patches lies inside a halo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from patchcli.patches.extract import FOLD_BYTES
from patchcli.patches.planes import Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair


class PatchSource(Protocol):
    """Where the patches of a merge come from: an array, or files that are read as they are needed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, h, w[, C])``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Any real dtype."""

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches, in order, in pieces ``(n, h, w[, C])`` of ``counts``."""

    def planes(self) -> Iterator[Plane] | None:
        """All patches as planes, one pixel of many patches each; None where they come as patches."""

    @property
    def by_number(self) -> bool:
        """Whether some patches, in any order, cost no more than they do themselves."""

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that gives the patches of some numbers, ``(n, h, w[, C])``."""


class InMemory(NamedTuple):
    """The patches ``(N, h, w[, C])`` of an array, as a `PatchSource`."""

    stack: NDArray[Any]
    by_number: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, h, w[, C])``."""
        return self.stack.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the array."""
        return self.stack.dtype

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """Views of the array."""
        first = 0
        for count in counts:
            yield self.stack[first : first + count]
            first += count

    def planes(self) -> None:
        """None: they are patches."""

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """Picks copies."""
        return self.stack.__getitem__


class Inside:
    """The middle of all patches of a source, as a source of smaller patches.

    Of whole patches no more than `FOLD_BYTES` are held at a time, or one, however small a part of them is used.

    Args:
        source: of patches ``(h, w)``.
        size: ``(h - 2*n, w - 2*n)`` of what is used of each.
    """

    def __init__(self, source: PatchSource, size: Pair) -> None:
        self._source, (count, *patch) = source, source.shape
        self._halo = (patch[0] - size[0]) // 2
        self._step = max(1, FOLD_BYTES // (math.prod(patch) * source.dtype.itemsize))
        self.shape, self.dtype = (count, *size, *patch[2:]), source.dtype

    @property
    def by_number(self) -> bool:
        """As of the source."""
        return self._source.by_number

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches, in order, in new pieces ``(n, h', w'[, C])`` of ``counts``."""
        pieces = list(counts)
        taken = self._source.patches(some for count in pieces for some in self._steps(count))
        for count in pieces:
            yield self._joined(count, (next(taken) for _ in self._steps(count)))

    def planes(self) -> Iterator[Plane] | None:
        """Those of the planes that lie inside."""
        planes = self._source.planes()
        return None if planes is None else self._inner(planes)

    def _inner(self, planes: Iterator[Plane]) -> Iterator[Plane]:
        for (row, column, *channel), values, first in planes:
            offset = row - self._halo, column - self._halo, *channel
            if 0 <= offset[0] < self.shape[1] and 0 <= offset[1] < self.shape[2]:
                yield Plane(offset, values, first)

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that gives the patches of some numbers, new arrays ``(n, h', w'[, C])``."""
        pick = self._source.picker()
        if self._source.planes() is not None:  # all of which are read for each call
            return lambda numbers: self._cut(pick(numbers))

        def picked(numbers: NDArray[np.int64]) -> NDArray[Any]:
            parts = np.split(numbers, range(self._step, len(numbers), self._step))
            return self._joined(len(numbers), map(pick, parts))

        return picked

    def _steps(self, count: int) -> Iterator[int]:
        """So many patches as the source is asked for them."""
        return (min(self._step, count - first) for first in range(0, count, self._step))

    def _joined(self, count: int, pieces: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """The inside of whole patches that come in pieces."""
        out, first = np.empty((count, *self.shape[1:]), self.dtype), 0
        for piece in pieces:
            out[first : first + len(piece)] = self._cut(piece)
            first += len(piece)
        return out

    def _cut(self, patches: NDArray[Any]) -> NDArray[Any]:
        """The inside of whole patches, a view."""
        _, height, width = self.shape[:3]
        return patches[:, self._halo : self._halo + height, self._halo : self._halo + width]


def inside(source: PatchSource, size: Pair) -> PatchSource:
    """What is used of the patches of a source, ``size`` ``(h', w')`` each: the source itself where that is all of them."""
    return source if source.shape[1:3] == size else Inside(source, size)
