"""Some patches of a file, to look at: what is asked for is read, without the checksum of all else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.placement import Placement
from patchcli.patches.planes import Plane, offsets
from patchcli.stacks.file import StackReader, channels_last
from patchcli.stacks.layouts import roll
from patchcli.stacks.npz import NpzReader, pieces
from patchcli.stacks.reader import PICK_BYTES, pick_planes, read_places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.stacks.header import Meta
    from patchcli.stacks.npz import ArrayStream

PROBED = 1000  # origins, evenly chosen, that tell whether a stack is that of a whole grid
MOST_READS = 1 << 16  # of a single value, before all of a file is read in order


class Sampled(NamedTuple):
    """Patches in a file, of which only headers were read.

    Attributes:
        reader: opens its arrays again, as often as they are needed; None for patches without origins.
        npz: the same.
        key: the array of the patches.
        meta: how they were cut; None where that is not known.
        shape: of the patches, ``(N, h, w[, C])``.
        dtype: of them, in native byte order.
        channels_first: whether they stand in the file as ``(N, C, h, w)``.
    """

    reader: StackReader | None
    npz: NpzReader
    key: str
    meta: Meta | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channels_first: bool

    def pick(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """The patches of these numbers, increasing, in the order of the file, ``(n, h, w[, C])``."""
        stream = self.npz.open(self.key) if self.reader is None else self.reader.patches()
        out = np.empty((len(numbers), *self.shape[1:]), stream.dtype)
        layout, order = ("stack", "C") if self.meta is None else (self.meta.layout, self.meta.pixel_order)
        if layout == "columns":
            pick_planes(_planes(stream, self.shape, order, numbers), np.arange(len(numbers)), out)
            return out.astype(self.dtype, copy=False)
        item = self.shape[1:] if layout != "rows" else (math.prod(self.shape[1:]),)
        if self.channels_first:
            item = item[2], *item[:2]
        some = _items(stream, self.shape[0], item, numbers)
        if self.channels_first:
            some = channels_last(some)
        return (roll(some, self.shape[1:], order) if layout == "rows" else some).astype(self.dtype, copy=False)

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where patches lie in the image, ``(n, 2)`` (row, column); None where that is not known."""
        if self.reader is None:
            return None
        return _items(self.reader.open_origins(), self.shape[0], (2,), numbers).astype(np.int64, copy=False)

    def placement(self) -> Placement:
        """Where all of them lie: where those of the grid do, if they are as many and some of them do; else all origins are read.

        Raises:
            PatchcliError: that is not known.
        """
        if self.reader is None or self.meta is None:
            raise PatchcliError("has patches without origins, so that it is not known where they lie")
        grid = self.meta.grid
        if self.shape[0] == grid.count:
            some = np.unique(np.linspace(0, grid.count - 1, PROBED).round().astype(np.int64))
            if np.array_equal(np.asarray(self.origins(some)), grid.starts_of(some) - grid.margin):
                return Placement.whole_grid(grid)
        return Placement.at(grid, self.reader.open_origins().load())


def open_sampled(file: BinaryIO) -> Sampled:
    """Read the headers of a stack, or of any ``.npz`` or ``.npy`` of patches ``(N, h, w[, C])``.

    Raises:
        PatchcliError: a damaged file, or one without patches.
    """
    npz = NpzReader(file)
    if "meta" in npz.names() and "origins" in npz.names():
        reader = StackReader(file)
        stream, shape, first = reader.headers()
        return Sampled(reader, npz, "", reader.meta, shape, stream.dtype.newbyteorder("="), first)
    names = [name for name in npz.names() if name != "meta"]
    key = "patches" if "patches" in names or len(names) != 1 else names[0]
    stream = npz.open(key)
    if len(stream.shape) not in (3, 4):
        raise PatchcliError(f"has an array of shape {stream.shape}; expected patches (N, h, w) or (N, h, w, channels)")
    return Sampled(None, npz, key, None, stream.shape, stream.dtype.newbyteorder("="), channels_first=False)


def _items(stream: ArrayStream, count: int, item: tuple[int, ...], numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Items of a shape by their numbers, increasing: where they stand, or from one pass over what must be unpacked."""
    out = np.empty((len(numbers), *item), stream.dtype)
    if stream.by_place:
        read_places(stream, numbers, np.arange(len(numbers)), out)
        return out
    values = math.prod(item)
    step = max(1, PICK_BYTES // max(1, values * stream.dtype.itemsize))
    first = 0
    for piece in pieces([stream], (min(step, count - at) for at in range(0, count, step)), item):
        here = slice(*np.searchsorted(numbers, [first, first + len(piece)]))
        out[here] = piece[numbers[here] - first]
        first += len(piece)
        if not len(numbers) or first > numbers[-1]:
            break
    return out


def _planes(stream: ArrayStream, shape: tuple[int, ...], order: str, numbers: NDArray[np.int64]) -> Iterator[Plane]:
    """The values of these patches alone in each plane of the layout ``columns``."""
    count, values = shape[0], math.prod(shape[1:])
    if stream.by_place and values * len(numbers) <= MOST_READS:
        for number, offset in enumerate(offsets(shape[1:], order)):
            plane = np.empty(len(numbers), stream.dtype)
            read_places(stream, numbers + number * count, np.arange(len(numbers)), plane)
            yield Plane(offset, plane, 0)
        return
    for offset, whole in zip(offsets(shape[1:], order), pieces([stream], [1] * values, (count,)), strict=True):
        yield Plane(offset, whole[0][numbers], 0)
