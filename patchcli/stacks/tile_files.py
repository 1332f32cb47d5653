"""Tile files as the patches of a merge: the headers of all are read first, each tile is decoded when its lines are made."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.arrays import limits
from patchcli.errors import OutputError, PatchcliError, counted, reason
from patchcli.geometry.placement import Placement
from patchcli.images import source
from patchcli.storage import files
from patchcli.storage.paths import WEB, is_remote, scheme_of
from patchcli.threads import ahead, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid
    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource
    from patchcli.stacks.header import Meta

DECODED_AT_ONCE = 2  # tiles
FETCHED_AT_ONCE = 8  # remote ones
MOST_COLOURS = 4  # channels of colours with alpha
ALIKE = "the tiles of an image are alike, but for smaller ones at the far sides"


class TileHead(NamedTuple):
    """What is kept of the header of a tile.

    Attributes:
        path: its name.
        shape: ``(h, w[, C])``.
        dtype: of its pixels.
        photometric: what its colours are; empty where its channels are pages, and no colours.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    photometric: str

    @property
    def channels(self) -> int:
        """How many samples a pixel has."""
        return (*self.shape, 1)[2]

    def size_in_words(self) -> str:
        """Its name and its size."""
        return f"{self.path} has width={self.shape[1]} height={self.shape[0]}"

    def kind_in_words(self) -> str:
        """Its name, its dtype and its channels."""
        return f"{self.path} is {self.dtype} of {counted(self.channels, 'channel')}"


class TileReader(NamedTuple):
    """How tiles are read: as they are stored, not turned upright, because they lie in the image as they are stored.

    Attributes:
        color: as `patchcli.images.source.open_image` takes it.
        max_pixels: of a tile; 0 for no limit.
        pages_are_channels: whether gray pages of a tile are the channels of its image; else only the first is read.
    """

    color: str | None
    max_pixels: int
    pages_are_channels: bool = False

    def heads(self, paths: Sequence[str]) -> list[TileHead]:
        """The headers of tiles."""

        def read(path: str) -> TileHead:
            with self._open(path, files.open_head) as image:
                meant = image.metadata
                return TileHead(path, image.shape, image.dtype, "" if meant.of_pages else meant.photometric)

        return list(map_in_order(read, paths, _threads(paths[0], 1)))

    def metadata(self, path: str) -> Metadata:
        """What a tile means."""
        with self._open(path, files.open_head) as image:
            return image.metadata

    def pixels(self, head: TileHead) -> tuple[NDArray[Any], tuple[str, ...]]:
        """The pixels of a tile, ``(h, w[, C])``, and what is odd about it, in a sentence each."""
        with self._open(head.path, files.open_input) as image:
            if (image.shape, image.dtype) != (head.shape, head.dtype):
                raise PatchcliError("changed while it was read")
            pages = 1 if image.metadata.of_pages else image.pages
            more = (f"has {pages} pages, of which page 0 was read",) if pages > 1 else ()
            return image.pixels(), (*more, *image.hints)

    @contextlib.contextmanager
    def _open(self, path: str, opening: Callable[[str], BinaryIO]) -> Iterator[ImageSource]:
        """A tile while it is open; what is wrong with it is told with its name."""
        try:
            with opening(path) as file:
                open_tile = source.open_joined if self.pages_are_channels else source.open_image
                yield open_tile(file, rotate=False, max_pixels=self.max_pixels, color=self.color)
        except OutputError:  # no room for what a server sends
            raise
        except PatchcliError as error:
            raise PatchcliError(f"{path} {error}") from None
        except OSError as error:
            raise PatchcliError(f"{path} cannot be read: {reason(error)}") from None


def _threads(path: str, local: int) -> int:
    """How many files like this one are read at the same time; from the web, whose reader has one place for headers, one."""
    return local if not is_remote(path) else 1 if scheme_of(path) in WEB else FETCHED_AT_ONCE


class TileFiles:
    """Tiles of one image as a `PatchSource`, in row-major order of their places.

    A tile at a far side may be smaller, where the grid's edge rule is ``clip``: the rest of its patch, which is zero, lies
    outside the image. Tiles that a program wrote in fewer channels, or in one bit, because their pixels need no more, become
    as the others are.

    Attributes:
        shape: ``(N, h, w[, C])``, as large as the tiles came.
        dtype: of the patches.
        meta: of the image, as in a stack.
        placement: where the patches lie, of the recorded size.
        channels_first: False; as of a stack.
        shards: 1; as of a stack.
        by_number: True: each tile is a file of its own.

    Args:
        meta: of the image and its grid.
        heads: of the tiles, at least one.
        places: where they lie in the padded image of the grid, int64 ``(N, 2)`` (row, column), in any order.
        reader: opens them.
        missing: what to say of tiles that are not there.
        halo: pixels, of those that were cut, on each side of a tile that are not used, or which it lost.

    Raises:
        PatchcliError: tiles that are not alike, or lie outside the image.
    """

    channels_first, shards, by_number = False, 1, True

    def __init__(
        self,
        meta: Meta,
        heads: Sequence[TileHead],
        places: NDArray[np.int64],
        reader: TileReader,
        missing: tuple[str, ...] = (),
        halo: int = 0,
    ) -> None:
        order = np.lexsort((places[:, 1], places[:, 0]))
        self._heads, places = [heads[at] for at in order.tolist()], places[order]
        self._reader, self.meta, self._missing = reader, meta, missing
        self._odd: dict[str, str] = {}  # hints, and the first tile of each
        self.placement = _placement(meta.grid, places)  # first of all: by it all of them have a pixel of the image
        self.dtype, channels = common_kind(self._heads)
        cut = _cut_off(meta.grid, places)
        sizes = np.array([head.shape[:2] for head in self._heads], np.int64)
        patch = _patch_of(meta.grid, sizes, cut, halo)
        self._check_sizes(sizes, patch, cut, halo)
        self.shape = (len(heads), *patch, *((channels,) if channels > 1 else ()))

    def _check_sizes(self, sizes: NDArray[np.int64], patch: Pair, cut: NDArray[np.int64], halo: int) -> None:
        """Refuse a tile that is neither a whole patch nor, along an axis, what the image leaves of it."""
        over, under = self.meta.grid.scale_of(patch, halo) or (1, 1)
        bad = np.flatnonzero(((sizes != patch) & (sizes != patch - cut * over // under)).any(axis=1))
        if len(bad):
            like = np.flatnonzero((sizes == patch).all(axis=1))
            other = self._heads[int(like[0]) if len(like) else int(bad[0] == 0)]
            raise PatchcliError(f"{self._heads[bad[0]].size_in_words()} but {other.size_in_words()}; {ALIKE}")

    @property
    def hints(self) -> tuple[str, ...]:
        """Which tiles are missing, and what is odd about those that were decoded, a sentence for each kind."""
        return (*self._missing, *(f"{path}: {hint}" for hint, path in self._odd.items()))

    def planes(self) -> None:
        """None: they are patches."""

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """All patches, in order, in pieces ``(n, h, w[, C])`` of ``counts``, made ahead."""
        yield from ahead(self._pieces(counts), math.prod(self.shape) * self.dtype.itemsize, depth=1)

    def _pieces(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        with contextlib.closing(self._decoded(self._heads)) as decoded:
            for count in counts:
                yield self._stacked(itertools.islice(decoded, count), count)

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """A function that decodes the tiles of some numbers."""
        return lambda numbers: self._stacked(self._decoded([self._heads[at] for at in numbers.tolist()]), len(numbers))

    def _stacked(self, tiles: Iterable[NDArray[Any]], count: int) -> NDArray[Any]:
        """Tiles as patches ``(n, h, w[, C])``."""
        out = np.empty((count, *self.shape[1:]), self.dtype)
        for patch, tile in zip(out, tiles, strict=True):
            height, width = tile.shape[:2]
            patch[:height, :width] = tile
            patch[height:] = 0
            patch[:height, width:] = 0
        return out

    def _decoded(self, heads: Sequence[TileHead]) -> Generator[NDArray[Any]]:
        """The pixels of tiles, in order."""
        decoded = map_in_order(self._reader.pixels, heads, _threads(heads[0].path, DECODED_AT_ONCE))
        for head, (pixels, hints) in zip(heads, decoded, strict=True):
            for hint in hints:
                self._odd.setdefault(hint, head.path)
            yield widened(pixels, self.dtype, (*self.shape, 1)[3])


def common_kind(heads: Sequence[TileHead]) -> tuple[np.dtype[Any], int]:
    """Dtype and channels of which all tiles are, or can be without loss: as black and white and gray are colours, too."""
    kinds = {(head.dtype, head.channels): head for head in heads}
    if len(kinds) == 1:
        return next(iter(kinds))
    dtypes, channels = {dtype for dtype, _ in kinds}, {count for _, count in kinds}
    dtype = max(dtypes, key=lambda one: one.itemsize if one.kind != "b" else 0)
    # programs leave out what a PNG does not need: colour, alpha, all bits but one
    colours = all(head.photometric in ("minisblack", "rgb") for head in kinds.values()) and dtype.kind in "bu"
    if len(channels) > 1 and not (colours and max(channels) <= MOST_COLOURS):
        dtypes = set()
    if dtypes not in ({dtype}, {dtype, np.dtype(bool)}) or (len(dtypes) > 1 and dtype != np.uint8):
        first, other, *_ = kinds.values()
        raise PatchcliError(f"{first.kind_in_words()} but {other.kind_in_words()}; {ALIKE}")
    colour = 3 if max(channels) > 2 else 1  # noqa: PLR2004
    return dtype, max(channels) if len(channels) == 1 else colour + any(count % 2 == 0 for count in channels)


def widened(pixels: NDArray[Any], dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """Pixels ``(h, w[, C])`` in more channels, gray repeated and alpha opaque, one bit as 0 and the most that ``dtype`` holds."""
    most = limits(dtype)[1] if dtype.kind != "f" else 1
    if pixels.dtype != dtype:
        pixels = pixels * dtype.type(most)
    planes = pixels if pixels.ndim > 2 else pixels[..., None]  # noqa: PLR2004
    if planes.shape[2] == channels:
        return pixels
    colour = planes.shape[2] - (planes.shape[2] % 2 == 0)
    wide = np.full((*planes.shape[:2], channels), most, dtype)
    wide[..., : channels - (channels % 2 == 0)] = planes[..., :colour]
    if planes.shape[2] > colour:
        wide[..., -1] = planes[..., -1]
    return wide


def _cut_off(grid: Grid, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """How much of patches at some places the edge rule cuts off, int64 ``(N, 2)``."""
    axes = zip((grid.rows, grid.columns), places.T, strict=True)
    return np.subtract(grid.patch, np.stack([axis.cut_lengths(starts) for axis, starts in axes], axis=1))


def _patch_of(grid: Grid, sizes: NDArray[np.int64], cut: NDArray[np.int64], halo: int) -> Pair:
    """The size of whole patches of which tiles of these sizes are, and of which so much is ``cut`` in patches as recorded.

    Where the image is smaller than a patch, and so is every tile of it, the first that fits is taken of: the size as it was cut,
    that without the halo, k or 1/k of either, as `Grid.scale_of` does.
    """
    patch = []
    for axis in (0, 1):
        whole = np.flatnonzero(cut[:, axis] == 0)
        at = int(whole[0]) if len(whole) else 0
        size, off, recorded = int(sizes[at, axis]), int(cut[at, axis]), grid.patch[axis]
        bases = [recorded - lost for lost in (0, 2 * halo) if recorded - off > lost]
        factors = [(*_factor(size, base - off), base) for base in bases]
        over, under, base = min((one for one in factors if one[0]), key=lambda one: one[:2] != (1, 1), default=(0, 1, 0))
        patch.append(base * over // under if over else size + off)
    return patch[0], patch[1]


def _factor(size: int, of: int) -> Pair:
    """``(over, under)``, k or 1/k; an ``over`` of 0 for any other ratio."""
    return (size // of, 1) if size % of == 0 else (1, of // size) if of % size == 0 else (0, 1)


def _placement(grid: Grid, places: NDArray[np.int64]) -> Placement:
    """Where patches at sorted places of the padded image lie; the whole grid where that is what they are."""
    origins = places - grid.margin
    if len(places) == grid.count and np.array_equal(origins, grid.origins()):
        return Placement.whole_grid(grid)
    return Placement.at(grid, origins)
