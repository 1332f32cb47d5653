"""The patches of one or several stack files as one payload, streamed as often as it is needed."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.placement import Placement
from patchcli.patches.planes import Plane, offsets
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

PICK_BYTES = 1 << 23  # of patches that are read at once where some are picked


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
    by_place: bool


class Payload:
    """All patches of some stack files, which were cut from the same image.

    Attributes:
        shape: ``(N, h, w[, C])``.
        channels_first: whether they stand in the files as ``(N, C, h, w)``.
        dtype: of the patches.
        hints: what is odd about the files, in a sentence each.
        placement: where they lie, of the recorded size.

    Args:
        files: the stack, or its shards, which are put in the order of their numbers. Of several, one is open at a time.

    Raises:
        PatchcliError: files that don't belong together, a shard given twice.
    """

    hints: tuple[str, ...] = ()

    def __init__(self, files: Sequence[StackFile]) -> None:
        self._shards = _in_order([_look(one) for one in files])
        first = self._shards[0]
        self.meta, self.dtype = first.meta, first.dtype
        self.placement = Placement.joined([one.about.placement for one in self._shards])
        self.shape = (sum(one.about.shape[0] for one in self._shards), *first.about.shape[1:])
        self.channels_first = first.about.channels_first

    @property
    def shards(self) -> int:
        """How many files there are."""
        return len(self._shards)

    @contextlib.contextmanager
    def _stream(self, one: _Shard) -> Iterator[ArrayStream]:
        with one.file.open() as reader:
            stream = reader.patches()
            if reader.stack_shape(stream, one.about.shape[0]) != one.about[:2] or stream.dtype != one.dtype:
                raise PatchcliError(f"{one.file.name} changed while it was read")
            yield stream

    def _streams(self) -> Iterator[ArrayStream]:
        for one in self._shards:
            with self._stream(one) as stream:
                yield stream

    @property
    def _item(self) -> tuple[int, ...]:
        """The shape of a patch as it stands in the files."""
        patch = self.shape[1:]
        if self.meta.layout == "rows":
            return (math.prod(patch),)
        return (patch[2], *patch[:2]) if self.channels_first else patch

    def _arranged(self, piece: NDArray[Any]) -> NDArray[Any]:
        """Patches as they stand in the files, as ``(n, h, w[, C])``."""
        if self.channels_first:
            return channels_last(piece)
        return roll(piece, self.shape[1:], self.meta.pixel_order) if self.meta.layout == "rows" else piece

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches in pieces ``(n, h, w[, C])`` of ``counts``, read ahead; not for the layout ``columns``."""
        for piece in ahead(pieces(self._streams(), counts, self._item), math.prod(self.shape) * self.dtype.itemsize):
            yield self._arranged(piece)

    def planes(self) -> Iterator[Plane] | None:
        """The planes of the layout ``columns``, file after file, read ahead; None for any other."""
        return self._planes() if self.meta.layout == "columns" else None

    def _planes(self) -> Iterator[Plane]:
        first = 0
        for stream in self._streams():
            read = ahead(pieces([stream], [1] * stream.shape[0], stream.shape[1:]), math.prod(stream.shape) * self.dtype.itemsize)
            for offset, values in zip(offsets(self.shape[1:], self.meta.pixel_order), read, strict=True):
                yield Plane(offset, values[0], first)
            first += stream.shape[1]

    @property
    def by_number(self) -> bool:
        """Whether each patch is stored in one piece, as it is."""
        return self.meta.layout != "columns" and all(one.by_place for one in self._shards)

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that gives the patches of some numbers, from wherever they stand if they are not in row-major order."""
        return self._placed() if self.by_number and self.placement.order is not None else Picker(self)

    def _placed(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that reads the patches of some numbers where they stand; all bytes are verified before the first is read."""
        verified = False
        ends = np.cumsum([one.about.shape[0] for one in self._shards])

        def read(numbers: NDArray[np.int64]) -> NDArray[Any]:
            nonlocal verified
            for stream in self._streams() if not verified else ():
                stream.verify()
            verified = True
            out, where = np.empty((len(numbers), *self._item), self.dtype), np.searchsorted(ends, numbers, side="right")
            for shard in np.unique(where).tolist():
                here = np.flatnonzero(where == shard)
                with self._stream(self._shards[shard]) as stream:
                    read_places(stream, numbers[here] - (ends[shard] - self._shards[shard].about.shape[0]), here, out)
            return self._arranged(out)

        return read


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
        if (planes := self._payload.planes()) is not None:
            pick_planes(planes, numbers, out)
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
        step = max(1, PICK_BYTES // (int(np.prod(patch)) * self._payload.dtype.itemsize))
        self._pass = self._payload.patches(min(step, count - first) for first in range(0, count, step))
        self._begin, self._piece = 0, np.empty((0, *patch), self._payload.dtype)


def read_places(stream: ArrayStream, numbers: NDArray[np.int64], places: NDArray[np.intp], out: NDArray[Any]) -> None:
    """Read the patches of these numbers into places of ``out``, those at once that follow on each other in both."""
    size = math.prod(out.shape[1:])
    apart = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(places) != 1)) + 1
    for first, last in itertools.pairwise([0, *apart.tolist(), len(numbers)]):
        stream.read_at(int(numbers[first]) * size, out[places[first] : places[first] + last - first])


def pick_planes(planes: Iterator[Plane], numbers: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Fill ``out`` with the patches of these numbers."""
    for plane in planes:
        here = np.flatnonzero((numbers >= plane.first) & (numbers < plane.first + len(plane.values)))
        index: tuple[Any, ...] = (here, *plane.offset)
        out[index] = plane.values[numbers[here] - plane.first]


def _look(file: StackFile) -> _Shard:
    """Open a file and keep what is needed of it."""
    with file.open() as reader:
        stream, about = reader.lay_out()
        return _Shard(file, reader.meta, about, stream.dtype, stream.by_place)


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
                f"{name} is not a shard, and several inputs for one output must be those of one image; "
                "use -d/--output-dir for several images"
            )
        if one.meta._replace(shard=None) != first.meta._replace(shard=None) or own[1:] != expected[1:]:
            raise PatchcliError(f"{name} is a shard of something else than {first.file.name}; give those of one extract")
        if own[0] in seen:
            raise PatchcliError(f"{name} and {seen[own[0]]} are the same shard, {own[0]} of {own[1]}; give each once")
        seen[own[0]] = name
        own_shape, first_shape = one.about.shape[1:], first.about.shape[1:]
        if (own_shape, one.about.channels_first, one.dtype) != (first_shape, first.about.channels_first, first.dtype):
            raise PatchcliError(
                f"{name} holds patches of shape {own_shape} and dtype {one.dtype}, but {first.file.name} of shape "
                f"{first_shape} and dtype {first.dtype}; give equal ones"
            )
    return sorted(shards, key=lambda one: one.meta.shard or (0, 0, 0))
