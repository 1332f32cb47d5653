"""The patches of one or several stack files as one payload, streamed as often as it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.layouts import offsets, roll
from patchcli.npz import pieces
from patchcli.parallel import ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.npz import ArrayStream
    from patchcli.stack import StackReader

AT_ONCE = 1 << 23  # bytes read at once where patches are picked


class Plane(NamedTuple):
    """One pixel of all patches of a file.

    Attributes:
        offset: (row, column[, channel]) of the pixel in its patch.
        values: ``(n,)``.
        first: number of the first of these patches in the payload.
        origins: of the patches, int64 ``(n, 2)``; None where they are those of the grid, in order.
    """

    offset: tuple[int, ...]
    values: NDArray[Any]
    first: int
    origins: NDArray[np.int64] | None


class Payload:
    """All patches of some stack files, which were cut from the same image.

    Attributes:
        shape: ``(N, h, w[, C])``.
        dtype: of the patches.
        origins: int64 ``(N, 2)``; None where they are those of the grid, in order.

    Args:
        readers: of the files, with their names; shards are put in the order of their numbers.

    Raises:
        PatchcliError: files that don't belong together, a shard given twice.
    """

    def __init__(self, readers: Sequence[tuple[str, StackReader]]) -> None:
        self._readers = [reader for _, reader in _in_order(readers)]
        self.shards = len(readers)
        self.meta = self._readers[0].meta
        self.origins = self._joined_origins()
        counts = [len(part) if part is not None else self.meta.grid.count for part in self._parts]
        shapes = [reader.stack_shape(reader.patches(), count) for reader, count in zip(self._readers, counts, strict=True)]
        dtypes = {reader.patches().dtype for reader in self._readers}
        if len({shape[1:] for shape in shapes}) > 1 or len(dtypes) > 1:
            raise PatchcliError("is not like its other shards: patches differ in size, channels or dtype; allowed are equal ones")
        self.shape = (sum(counts), *shapes[0][1:])
        self.dtype = dtypes.pop()

    def _joined_origins(self) -> NDArray[np.int64] | None:
        self._parts = [reader.other_origins() for reader in self._readers]
        if len(self._parts) == 1:
            return self._parts[0]
        grid = self.meta.grid
        joined = np.concatenate([grid.origins() if part is None else part for part in self._parts])
        return None if len(joined) == grid.count and np.array_equal(joined, grid.origins()) else joined

    def _streams(self) -> Iterator[ArrayStream]:
        return (reader.patches() for reader in self._readers)

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches in pieces ``(n, h, w[, C])`` of ``counts``, read ahead; not for the layout ``columns``."""
        unrolled = self.meta.layout == "rows"
        item = (int(np.prod(self.shape[1:])),) if unrolled else self.shape[1:]
        for piece in ahead(pieces(self._streams(), counts, item)):
            yield roll(piece, self.shape[1:], self.meta.pixel_order) if unrolled else piece

    def planes(self) -> Iterator[Plane]:
        """The planes of the layout ``columns``, file after file, read ahead."""
        first = 0
        for stream, part in zip(self._streams(), self._parts, strict=True):
            origins = part if part is not None or self.origins is None else self.meta.grid.origins()
            read = ahead(pieces([stream], [1] * stream.shape[0], stream.shape[1:]))
            for offset, values in zip(offsets(self.shape[1:], self.meta.pixel_order), read, strict=True):
                yield Plane(offset, values[0], first, origins)
            first += stream.shape[1]


class Picker:
    """Gives patches by number: from one pass over the payload while numbers only grow, else from a new pass each time.

    Args:
        payload: where the patches are.
    """

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._pass: Iterator[NDArray[Any]] | None = None
        self._begin, self._piece = 0, np.empty((0, *payload.shape[1:]), payload.dtype)

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """The patches of these numbers, in their order, ``(n, h, w[, C])``."""
        out = np.empty((len(numbers), *self._payload.shape[1:]), self._payload.dtype)
        if self._payload.meta.layout == "columns":
            self._pick_planes(numbers, out)
            return out
        order = np.argsort(numbers, kind="stable")
        wanted = numbers[order]
        done = 0
        if len(wanted) and (self._pass is None or wanted[0] < self._begin):
            self._restart()
        while done < len(wanted):
            stop = int(np.searchsorted(wanted, self._begin + len(self._piece)))
            out[order[done:stop]] = self._piece[wanted[done:stop] - self._begin]
            done = stop
            if done < len(wanted) and self._pass is not None:
                self._begin += len(self._piece)
                self._piece = next(self._pass)
        return out

    def _restart(self) -> None:
        count, patch = self._payload.shape[0], self._payload.shape[1:]
        step = max(1, AT_ONCE // (int(np.prod(patch)) * self._payload.dtype.itemsize))
        self._pass = self._payload.patches(min(step, count - first) for first in range(0, count, step))
        self._begin, self._piece = 0, np.empty((0, *patch), self._payload.dtype)

    def _pick_planes(self, numbers: NDArray[np.int64], out: NDArray[Any]) -> None:
        for plane in self._payload.planes():
            here = np.flatnonzero((numbers >= plane.first) & (numbers < plane.first + len(plane.values)))
            index: tuple[Any, ...] = (here, *plane.offset)
            out[index] = plane.values[numbers[here] - plane.first]


def _in_order(readers: Sequence[tuple[str, StackReader]]) -> list[tuple[str, StackReader]]:
    """Shards by number; an error names the file that does not belong."""
    if len(readers) == 1:
        return list(readers)
    first, reference = readers[0]
    seen: dict[int, str] = {}
    for name, reader in readers:
        shard, expected = reader.meta.shard, reference.meta.shard
        if shard is None:
            raise PatchcliError(
                f"{name} is no shard, and several inputs for one output must be those of one image; "
                "allowed for several images is -d/--output-dir"
            )
        if reader.meta._replace(shard=None) != reference.meta._replace(shard=None) or shard[1] != (expected or shard)[1]:
            raise PatchcliError(f"{name} is a shard of something else than {first}; allowed are the shards of one image")
        if shard[0] in seen:
            raise PatchcliError(f"{name} and {seen[shard[0]]} are the same shard, {shard[0]} of {shard[1]}; allowed is each once")
        seen[shard[0]] = name
    return sorted(readers, key=lambda one: one[1].meta.shard or (0, 0))
