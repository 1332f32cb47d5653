"""The patches of one or several stack files as one payload, streamed as often as it is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.patches.planes import offsets
from patchcli.stacks.file import channels_last
from patchcli.stacks.layouts import roll
from patchcli.stacks.npz import pieces
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from patchcli.stacks.file import Laid, StackReader
    from patchcli.stacks.header import Meta
    from patchcli.stacks.npz import ArrayStream

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


class StackFile(NamedTuple):
    """A stack file that a payload comes from.

    Attributes:
        name: of the file.
        open: a context in which it can be read; entered as often as needed.
    """

    name: str
    open: Callable[[], AbstractContextManager[StackReader]]


class _Shard(NamedTuple):
    """What a payload keeps of a file while it is closed."""

    file: StackFile
    meta: Meta
    about: Laid
    dtype: np.dtype[Any]


class Payload:
    """All patches of some stack files, which were cut from the same image.

    Attributes:
        shape: ``(N, h, w[, C])``.
        channels_first: whether they stand in the files as ``(N, C, h, w)``.
        dtype: of the patches.
        origins: int64 ``(N, 2)``; None where they are those of the grid, in order.

    Args:
        files: the stack, or its shards, which are put in the order of their numbers. Of several, one is open at a time.

    Raises:
        PatchcliError: files that don't belong together, a shard given twice.
    """

    def __init__(self, files: Sequence[StackFile]) -> None:
        self._shards = _in_order([_look(one) for one in files])
        first = self._shards[0]
        self.meta, self.dtype = first.meta, first.dtype
        self.origins = self._joined_origins()
        self.shape = (sum(one.about.shape[0] for one in self._shards), *first.about.shape[1:])
        self.channels_first = first.about.channels_first

    @property
    def shards(self) -> int:
        """How many files there are."""
        return len(self._shards)

    def _joined_origins(self) -> NDArray[np.int64] | None:
        parts = [one.about.origins for one in self._shards]
        if len(parts) == 1:
            return parts[0]
        grid = self.meta.grid
        joined = np.concatenate([grid.origins() if part is None else part for part in parts])
        return None if len(joined) == grid.count and np.array_equal(joined, grid.origins()) else joined

    def _streams(self) -> Iterator[ArrayStream]:
        for one in self._shards:
            with one.file.open() as reader:
                stream = reader.patches()
                if reader.stack_shape(stream, one.about.shape[0]) != one.about[:2] or stream.dtype != one.dtype:
                    raise PatchcliError(f"{one.file.name} changed while it was read")
                yield stream

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches in pieces ``(n, h, w[, C])`` of ``counts``, read ahead; not for the layout ``columns``."""
        unrolled = self.meta.layout == "rows"
        patch = self.shape[1:]
        item = (int(np.prod(patch)),) if unrolled else (patch[2], *patch[:2]) if self.channels_first else patch
        for piece in ahead(pieces(self._streams(), counts, item), math.prod(self.shape) * self.dtype.itemsize):
            if self.channels_first:
                yield channels_last(piece)
            else:
                yield roll(piece, patch, self.meta.pixel_order) if unrolled else piece

    def planes(self) -> Iterator[Plane]:
        """The planes of the layout ``columns``, file after file, read ahead."""
        first = 0
        for stream, shard in zip(self._streams(), self._shards, strict=True):
            own = shard.about.origins
            origins = own if own is not None or self.origins is None else self.meta.grid.origins()
            read = ahead(pieces([stream], [1] * stream.shape[0], stream.shape[1:]), math.prod(stream.shape) * self.dtype.itemsize)
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


def _look(file: StackFile) -> _Shard:
    """Open a file and keep what is needed of it."""
    with file.open() as reader:
        stream, about = reader.lay_out()
        return _Shard(file, reader.meta, about, stream.dtype)


def _in_order(shards: list[_Shard]) -> list[_Shard]:
    """Shards by number; an error names the file that does not belong."""
    if len(shards) == 1:
        return shards
    first = shards[0]
    seen: dict[int, str] = {}
    for one in shards:
        name, own, expected = one.file.name, one.meta.shard, first.meta.shard
        if own is None or expected is None:
            raise PatchcliError(
                f"{name} is no shard, and several inputs for one output must be those of one image; "
                "allowed for several images is -d/--output-dir"
            )
        if one.meta._replace(shard=None) != first.meta._replace(shard=None) or own[1:] != expected[1:]:
            raise PatchcliError(f"{name} is a shard of something else than {first.file.name}; allowed are those of one extract")
        if own[0] in seen:
            raise PatchcliError(f"{name} and {seen[own[0]]} are the same shard, {own[0]} of {own[1]}; allowed is each once")
        seen[own[0]] = name
        own_shape, first_shape = one.about.shape[1:], first.about.shape[1:]
        if (own_shape, one.about.channels_first, one.dtype) != (first_shape, first.about.channels_first, first.dtype):
            raise PatchcliError(
                f"{name} holds patches of shape {own_shape} and dtype {one.dtype}, but {first.file.name} of shape "
                f"{first_shape} and dtype {first.dtype}; allowed are equal ones"
            )
    return sorted(shards, key=lambda one: one.meta.shard or (0, 0, 0))
