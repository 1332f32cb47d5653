"""What is drawn, once it is open: an image by its lines, of patches those that are asked for, from files or from memory."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from patchcli.arrays import nodata_in, parse_number
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.placement import Placement
from patchcli.images.metadata import Metadata
from patchcli.jobs.reading import blamed_lines, decoded_bands
from patchcli.pictures.raster import Raster
from patchcli.pictures.shrink import shrunk
from patchcli.storage.files import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.source import ImageSource
    from patchcli.patches.padded import PixelSource
    from patchcli.stacks.file import Stack
    from patchcli.stacks.header import Meta
    from patchcli.stacks.sample import Sampled
    from patchcli.stacks.tile_files import TileReader
    from patchcli.stacks.tile_index import TileIndex

TABLE_STEP = 257  # from 8 bits of a colour to 16


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of values beside them.

    Attributes:
        dtype: of the source.
        photometric: what its colours are, a key of `patchcli.images.metadata.COLOURS`.
        alpha: the channel that is alpha.
        labels: values are class numbers.
        colours: of a table, uint8 ``(n, 3)``.
        nodata: the value that stands for no data.
    """

    dtype: np.dtype[Any]
    photometric: str = "minisblack"
    alpha: int | None = None
    labels: bool = False
    colours: NDArray[np.uint8] | None = None
    nodata: float | None = None

    @classmethod
    def of(cls, metadata: Metadata | None, channels: int, dtype: np.dtype[Any], *, labels: bool) -> Look:
        """That of pixels of so many channels; a channel of which nothing is known may be anything, but a second or fourth one."""
        meant = Metadata.usual(channels) if metadata is None else metadata.matching(channels)
        nodata = nodata_in(dtype, parse_number(meant.nodata or ""))
        table = meant.colormap
        return cls(
            dtype=dtype,
            photometric=meant.photometric,
            alpha=meant.alpha,
            labels=labels or table is not None,
            colours=None if table is None else (np.asarray(table) // TABLE_STEP).astype(np.uint8),
            nodata=None if nodata is None else float(nodata),
        )

    def raster(self, lines: Iterable[NDArray[Any]], shape: tuple[int, ...], factor: int) -> Raster:
        """An image that comes line by line, so many times smaller."""
        return self.as_raster(shrunk(lines, shape, factor, labels=self.labels, nodata=self.nodata), factor)

    def as_raster(self, pixels: NDArray[Any], factor: int) -> Raster:
        """Pixels that are so many times smaller already."""
        return Raster(
            pixels=pixels,
            dtype=self.dtype,
            factor=factor,
            photometric=self.photometric,
            alpha=self.alpha,
            labels=self.labels,
            colours=self.colours,
            nodata=self.nodata,
        )

    def like(self, dtype: np.dtype[Any]) -> Look:
        """The same of another dtype, in which nodata may have no place."""
        nodata = nodata_in(dtype, self.nodata)
        return replace(self, dtype=dtype, nodata=None if nodata is None else float(nodata))


class Seen(NamedTuple):
    """An image that is drawn.

    Attributes:
        pixels: of it.
        look: what is known of them.
        name: of its file; empty for an array.
        label: what errors of its file begin with, if that is not the input itself.
    """

    pixels: PixelSource
    look: Look
    name: str = ""
    label: str = ""

    @property
    def size(self) -> Pair:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def lines(self) -> Iterator[NDArray[Any]]:
        """All of its lines, from the top."""
        yield from blamed_lines(self.label, decoded_bands(self.pixels))

    def raster(self, factor: int) -> Raster:
        """All of it, so many times smaller."""
        return self.look.raster(self.lines(), self.pixels.shape, factor)

    @property
    def title(self) -> str:
        """Its name, its size and its kind."""
        return f"{self.name}: {self.kind}" if self.name else self.kind

    @property
    def kind(self) -> str:
        """Its size, its channels and its dtype."""
        height, width, *channels = self.pixels.shape
        return f"width={width} height={height}, {counted((*channels, 1)[0], 'channel')}, {self.look.dtype}"


def title_of(patches: PatchSet) -> str:
    """The name of a file of patches, how many they are, and their kind."""
    count, height, width, *channels = patches.shape
    named = f"{patches.name}: " if patches.name else ""
    channel = counted((*channels, 1)[0], "channel")
    return f"{named}{counted(count, 'patch')} of width={width} height={height}, {channel}, {patches.look.dtype}"


def seen_image(image: ImageSource, name: str, *, labels: bool) -> Seen:
    """An image file; ``labels``: its values are class numbers."""
    channels = (*image.shape, 1)[2]
    return Seen(image, Look.of(image.metadata, channels, image.dtype, labels=labels), name)


class PatchSet(Protocol):
    """Patches that are drawn.

    Attributes:
        name: of their file; empty for arrays.
        shape: ``(N, h, w[, C])``, of the largest.
        look: what is known of their values.
    """

    name: str
    shape: tuple[int, ...]
    look: Look

    def pick(self, numbers: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """The patches of these numbers, increasing, ``(h, w[, C])`` each."""

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where they lie in the image, ``(n, 2)`` (row, column); None where that is not known."""

    def placement(self) -> Placement:
        """Where all of them lie."""


def _of_cut(meta: Meta | None, channels: int, dtype: np.dtype[Any], *, labels: bool = False) -> Look:
    """What is known of patches: what the image was, where they have its channels."""
    if meta is None:
        return Look.of(None, channels, dtype, labels=labels)
    indices = meta.record is not None and meta.record.settings.get("--color") == "indices"
    known = meta.metadata if dtype.kind in "iub" or meta.metadata is None else meta.metadata._replace(colormap=None)
    return Look.of(known, channels, dtype, labels=labels or ((meta.labels or indices) and dtype.kind in "iub"))


class StackSet:
    """The patches of a stack, or of another file of arrays."""

    def __init__(self, sampled: Sampled, name: str) -> None:
        self._sampled, self.name, self.shape = sampled, name, sampled.shape
        self.look = _of_cut(sampled.meta, (*sampled.shape, 1)[3], sampled.dtype)

    def pick(self, numbers: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """As `PatchSet` has it."""
        return list(self._sampled.pick(numbers))

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """As `PatchSet` has it."""
        return self._sampled.origins(numbers)

    def placement(self) -> Placement:
        """As `PatchSet` has it."""
        return self._sampled.placement()


class TileSetSeen:
    """The tiles of an index."""

    def __init__(self, index: TileIndex, path: str, max_pixels: int) -> None:
        from patchcli.jobs.tile_source import Listing, reader_of

        if not index.files:
            raise PatchcliError("names no tiles, so there is nothing to draw")
        self._index, self._listing = index, Listing(path)
        self._reader: TileReader = reader_of(index.meta, self._path(0), max_pixels)
        self._first = head = self._reader.heads([self._path(0)])[0]
        self.name = path
        axes = index.meta.grid.rows, index.meta.grid.columns
        self.shape = (len(index.files), *(int(axis.cut_lengths(axis.starts).max()) for axis in axes), *head.shape[2:])
        self.look = _of_cut(index.meta, head.channels, head.dtype, labels=self._reader.color == "indices")

    def _path(self, number: int) -> str:
        name = self._index.files[number]
        (path,) = self._listing.paths([name])
        if path is None:
            raise PatchcliError(f"names the tile {name}, which is missing")
        return path

    def pick(self, numbers: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """As `PatchSet` has it."""
        from patchcli.stacks.tile_files import common_kind, widened  # loaded for tiles alone

        heads = self._reader.heads([self._path(number) for number in numbers.tolist()])
        kind = common_kind([self._first, *heads])  # refuses what is no tile of this image
        return [widened(self._reader.pixels(head)[0], *kind) for head in heads]

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """As `PatchSet` has it."""
        return self._index.places[numbers] - self._index.meta.grid.margin

    def placement(self) -> Placement:
        """As `PatchSet` has it."""
        grid = self._index.meta.grid
        return Placement.at(grid, self._index.places - grid.margin)


class ArraySet:
    """Patches in memory, ``(N, h, w[, C])``, at origins if those are known."""

    name = ""

    def __init__(self, patches: NDArray[Any], placement: Placement | None, *, labels: bool = False) -> None:
        self._patches, self._placement, self.shape = patches, placement, patches.shape
        self.look = Look.of(None, (*patches.shape, 1)[3], patches.dtype, labels=labels)

    @classmethod
    def of_stack(cls, stack: Stack) -> ArraySet:
        """Those of a stack in memory."""
        made = cls(stack.patches, Placement.at(stack.meta.grid, np.asarray(stack.origins)))
        made.look = _of_cut(stack.meta, (*stack.patches.shape, 1)[3], stack.patches.dtype)
        return made

    def pick(self, numbers: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """As `PatchSet` has it."""
        return list(self._patches[numbers])

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """As `PatchSet` has it."""
        return None if self._placement is None else self._placement.origins()[numbers]

    def placement(self) -> Placement:
        """As `PatchSet` has it."""
        if self._placement is None:
            raise PatchcliError("it is not known where the patches lie; give their grid")
        return self._placement


@contextlib.contextmanager
def opened_patches(path: str, content: str, file: BinaryIO, max_pixels: int) -> Iterator[PatchSet]:
    """The patches in an open file of a content that `content_of` told; what is asked for is read while it is open."""
    name = os.path.basename(name_of(path, "standard input"))
    if content == "tiles":
        from patchcli.stacks.tile_index import read_index

        file.seek(0)
        tiles = TileSetSeen(read_index(file), path, max_pixels)
        tiles.name = name
        yield tiles
        return
    from patchcli.stacks.sample import open_sampled

    yield StackSet(open_sampled(file), name)
