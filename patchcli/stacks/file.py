"""The stack file, version 1: a ``.npz`` of ``meta``, ``origins`` and ``patches``, in that order.

``meta`` is JSON that holds all that undoing needs. A published version never changes its meaning.
"""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.placement import Placement
from patchcli.patches.extract import check_stack
from patchcli.stacks.header import Meta
from patchcli.stacks.layouts import LAYOUTS, UNROLLED, channels_first, roll, stack_shape, unroll
from patchcli.stacks.npz import NpzReader, NpzWriter, npz_size, pieces
from patchcli.storage.files import open_input
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Part
    from patchcli.stacks.npz import ArrayStream
    from patchcli.storage.write_behind import WriteBehind

ORIGINS_AT_ONCE = 1 << 16
IN_MEMORY_BYTES = 1 << 18  # of patches, up to which a file is put together in memory: one call instead of twenty
SUMMED_BYTES = 1 << 22  # of a stack in memory that are summed up while those before are written


class Stack(NamedTuple):
    """A stack in memory.

    Attributes:
        patches: ``(N, h, w[, C])``, whatever the layout in the file, which ``meta.layout`` says.
        origins: int64 ``(N, 2)``: (row, column) of each patch's top left pixel in the image.
        meta: all else that merging needs.
    """

    patches: NDArray[Any]
    origins: NDArray[np.int64]
    meta: Meta


class Laid(NamedTuple):
    """What a stack file holds, of which only headers and origins were read.

    Attributes:
        shape: of the patches, ``(N, h, w[, C])``.
        channels_first: whether they stand in the file as ``(N, C, h, w)``.
        placement: where they lie, of the recorded size.
    """

    shape: tuple[int, ...]
    channels_first: bool
    placement: Placement


def write_pieces(
    file: BinaryIO, meta: Meta, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]], part: Part, *, compress: bool = False
) -> None:
    """Write the stack of some patches; ``pieces`` make up its payload, in the layout of ``meta``, never all in memory.

    Args:
        file: an open binary file.
        meta: what undoing needs.
        dtype: of the patches.
        pieces: C-contiguous arrays, not changed afterwards.
        part: which of the grid of ``meta`` they are.
        compress: deflate the members.
    """
    shape = LAYOUTS[meta.layout](meta.grid, part.count, (*meta.grid.patch, *meta.channels))
    with _sink(file, math.prod(shape) * dtype.itemsize) as sink, NpzWriter(sink, compress=compress) as writer:
        write_meta(writer, meta.to_json())
        origins = (part.origins(first, last) for first, last in _steps(part.count, meta.grid.columns.count))
        writer.write("origins", (part.count, 2), np.dtype(np.int64), origins)
        writer.write("patches", shape, dtype, pieces)


def _sink(file: BinaryIO, nbytes: int) -> _AtOnce | WriteBehind:
    """What a stack of so many bytes is written to: at once where it is small, else while the rest is made and summed up."""
    from patchcli.storage.write_behind import WriteBehind

    return _AtOnce(file) if nbytes < IN_MEMORY_BYTES and file.seekable() else WriteBehind(file)


class _AtOnce(io.BytesIO):
    """A file that is put together in memory, and written by a single call."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._file.write(self.getbuffer())


def stack_file_size(meta: Meta, dtype: np.dtype[Any], count: int, *, seekable: bool = True) -> int:
    """How many bytes the stack file of ``count`` patches has, not compressed."""
    shape = LAYOUTS[meta.layout](meta.grid, count, (*meta.grid.patch, *meta.channels))
    text = np.array(meta.to_json()).dtype
    members = [("meta", (), text), ("origins", (count, 2), np.dtype(np.int64)), ("patches", shape, dtype)]
    return npz_size(members, seekable=seekable)


def _to_payload(patches: NDArray[Any], meta: Meta) -> NDArray[Any]:
    """Patches ``(N, h, w[, C])`` in the layout of ``meta``."""
    if meta.layout in UNROLLED:
        rows = unroll(patches, meta.pixel_order)
        return np.ascontiguousarray(rows.T) if meta.layout == "columns" else rows
    if meta.layout == "grid" and len(patches) != meta.grid.count:
        raise PatchcliError(f"stack has {len(patches)} patches of {meta.grid.count}; the layout grid needs all of them")
    return patches.reshape(LAYOUTS[meta.layout](meta.grid, len(patches), patches.shape[1:]))


def _from_payload(payload: NDArray[Any], about: Laid, meta: Meta) -> NDArray[Any]:
    """A payload as patches ``(N, h, w[, C])``."""
    shape = about.shape
    if about.channels_first:
        return channels_last(payload.reshape(-1, shape[3], shape[1], shape[2]))
    if meta.layout in UNROLLED:
        rows = payload.T if meta.layout == "columns" else payload
        return np.ascontiguousarray(roll(rows, shape[1:], meta.pixel_order))
    return payload.reshape(shape)


def channels_last(patches: NDArray[Any]) -> NDArray[Any]:
    """Patches ``(n, C, h, w)`` as ``(n, h, w, C)``, a C-contiguous copy."""
    return np.ascontiguousarray(np.moveaxis(patches, 1, -1))


def _steps(count: int, nx: int) -> Iterator[tuple[int, int]]:
    """First and last (excluded) of ``count`` patches in pieces, whole patch rows of ``nx`` where they are not too long."""
    step = max(1, ORIGINS_AT_ONCE // nx) * nx if nx <= ORIGINS_AT_ONCE else ORIGINS_AT_ONCE
    for first in range(0, count, step):
        yield first, min(first + step, count)


def write_meta(writer: NpzWriter, meta: str) -> None:
    """Write the member ``meta``: a 0-d unicode array of JSON."""
    text = np.array(meta)
    writer.write("meta", (), text.dtype, [text.reshape(1).view(np.uint8)])


def write_stack(file: BinaryIO | str | os.PathLike[str], stack: Stack) -> None:
    """Write a stack in memory as a stack file.

    Args:
        file: a path, which appears or is replaced once the stack is whole, or an open binary file.
        stack: patches, their origins and what they were cut from.

    Raises:
        PatchcliError: patches that are not ``(N, h, w[, C])`` for N origins; a path that cannot be written.
    """
    if isinstance(file, (str, os.PathLike)):
        from patchcli.storage.outputs import create

        with create(os.fspath(file), overwrite=True) as opened:
            write_stack(opened, stack)
        return
    patches, origins = np.asarray(stack.patches), np.asarray(stack.origins)
    check_stack(patches.shape, patches.dtype, stack.meta.grid, len(origins) if origins.ndim else 0)
    placement = Placement.at(stack.meta.grid, origins)
    placement.check_size((patches.shape[1], patches.shape[2]))
    origins = placement.origins()
    payload = _to_payload(patches, stack.meta)
    step = max(1, SUMMED_BYTES // max(1, payload[:1].nbytes))
    with _sink(file, payload.nbytes) as sink, NpzWriter(sink) as writer:
        write_meta(writer, stack.meta.to_json())
        writer.write("origins", origins.shape, origins.dtype, [origins])
        pieces = (payload[at : at + step] for at in range(0, len(payload), step))
        writer.write("patches", payload.shape, payload.dtype, pieces)


def read_stack(file: BinaryIO | str | os.PathLike[str]) -> Stack:
    """Read a whole stack file into memory, every byte checked.

    Args:
        file: a path or an open binary file that can seek.

    Raises:
        PatchcliError: a damaged file, or one that is no stack.
    """
    if isinstance(file, (str, os.PathLike)):
        with open_input(os.fspath(file)) as opened:
            return read_stack(opened)
    reader = StackReader(file)
    stream, about, meta = *reader.lay_out(), reader.meta
    about.placement.check_size((about.shape[1], about.shape[2]))
    return Stack(_from_payload(stream.load(), about, meta), about.placement.origins(), meta)


class StackReader:
    """A stack file, read member by member.

    Args:
        file: an open binary file that can seek: a stack, or, with ``like``, any ``.npz`` or ``.npy`` with patches.
        key: the array that holds the patches; ``patches``, or the only array there is, if not given.
        like: the stack whose meta and origins count.
        label: what errors in the data begin with.
    """

    def __init__(self, file: BinaryIO, key: str | None = None, like: StackReader | None = None, label: str = "") -> None:
        self._npz = NpzReader(file, label)
        if key is not None and self._npz.bare:
            raise PatchcliError("is a .npy, whose one array has no name; --key is for .npz")
        self._key = key
        self._like = like
        if like is None and "meta" not in self._npz.names():
            what = "is an array without origins" if self._npz.bare else "is not a patch stack (no 'meta')"
            raise PatchcliError(f"{what}; if it holds processed patches, add --like ORIGINAL.npz")
        self.meta: Meta = Meta.from_json(self._npz.open("meta").load_text()) if like is None else like.meta

    def headers(self) -> tuple[ArrayStream, tuple[int, ...], bool]:
        """The payload, the shape ``(N, h, w[, C])`` of its patches, whether channels come first in it: from headers alone."""
        stream = self.patches()
        return stream, *self.stack_shape(stream, self.open_origins().shape[0])

    def lay_out(self) -> tuple[ArrayStream, Laid]:
        """The payload, ready to be streamed, and where its patches lie.

        Origins are read only once the payload is known to hold as many patches; where they are just those of the grid, in
        order, they are never all held.
        """
        stream, origins = self.patches(), self.open_origins()
        shape, channels_first = self.stack_shape(stream, origins.shape[0])
        grid = self.meta.grid
        if origins.shape[0] == grid.count and origins.dtype == np.int64 and not origins.fortran_order:
            return stream, Laid(shape, channels_first, self._compare(origins))
        return stream, Laid(shape, channels_first, Placement.at(grid, origins.load()))

    def open_origins(self) -> ArrayStream:
        """The origins, of which only the header was read."""
        stream = (self._like or self)._npz.open("origins")  # noqa: SLF001  another of this class
        if stream.dtype.kind not in "iu" or len(stream.shape) != 2 or stream.shape[1] != 2:  # noqa: PLR2004
            raise PatchcliError(f"has origins of dtype {stream.dtype} and shape {stream.shape}; expected int64 (N, 2)")
        return stream

    def _compare(self, stream: ArrayStream) -> Placement:
        """Stream origins against those of the grid; from the first difference on, keep them."""
        grid = self.meta.grid
        kept: list[NDArray[np.int64]] = []
        steps = list(_steps(grid.count, grid.columns.count))
        read = ahead(pieces([stream], (last - first for first, last in steps), (2,)), 16 * grid.count)
        for (first, last), got in zip(steps, read, strict=True):
            expected = grid.origins(first, last)
            if not kept and not np.array_equal(got, expected):
                kept = [grid.origins(0, first)]
            if kept:
                kept.append(got)
        return Placement.at(grid, np.concatenate(kept)) if kept else Placement.whole_grid(grid)

    def patches(self) -> ArrayStream:
        """The payload, ready to be streamed.

        Raises:
            PatchcliError: no such array.
        """
        names = [name for name in self._npz.names() if name not in ("meta", "origins")]
        key = self._key
        if key is None:
            key = "patches" if "patches" in names or len(names) != 1 else names[0]
        return self._npz.open(key)

    def stack_shape(self, stream: ArrayStream, count: int) -> tuple[tuple[int, ...], bool]:
        """The shape ``(N, h, w[, C])`` of the patches in a payload, and whether channels come first in it.

        There must be ``count`` of them in the layout recorded. Their size and channels may be others than were cut.

        Raises:
            PatchcliError: another number of patches, another shape or no real dtype.
        """
        meta, shape, first = self.meta, stream.shape, False
        if meta.layout != "stack" or channels_first(meta.grid, shape[1:]):
            shape, first = stack_shape(meta.layout, meta.grid, meta.channels, count, shape)
        check_stack(shape, stream.dtype, meta.grid, count)
        return shape, first
