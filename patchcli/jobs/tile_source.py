"""The tiles of one image found, by an index or by their names, and which of them are missing."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import PatchcliError, counted
from patchcli.geometry.axis import CLIP
from patchcli.geometry.grid import Grid
from patchcli.images.formats import SUFFIXES
from patchcli.stacks.header import Meta
from patchcli.stacks.tile_files import TileFiles, TileHead, TileReader, common_kind
from patchcli.stacks.tile_index import TileIndex, read_index
from patchcli.stacks.tile_patterns import NamePattern
from patchcli.storage import files
from patchcli.storage.paths import WEB, full, is_remote, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.metadata import Metadata
    from patchcli.jobs.settings import MergeSettings
    from patchcli.jobs.task import MergeTask

TOLD = 3  # missing tiles that are told one by one


def tile_paths(task: MergeTask, settings: MergeSettings) -> tuple[str, ...]:
    """All files that the image of a task is made of, the index first; of an index that cannot be read it alone."""
    if task.tiles:
        return task.tiles
    try:
        paths = Listing(task.source, _instead(task, settings)).paths(_index(task.source).files)
    except (PatchcliError, OSError):
        return (task.source,)
    return (task.source, *(path for path in paths if path is not None))


def open_tiles(task: MergeTask, settings: MergeSettings) -> TileFiles:
    """Read the headers of the tiles of a task.

    Raises:
        PatchcliError: what is wrong with the index, a name or a tile; a tile that is missing, where nothing is to stand for it.
    """
    return _named(task.tiles, settings) if task.tiles else _indexed(task, settings)


def _index(path: str) -> TileIndex:
    with files.open_input(path) as file:
        return read_index(file)


def _instead(task: MergeTask, settings: MergeSettings) -> str | None:
    """The folder that tiles are taken from in place of their own; a tree of indexes has a tree of them."""
    folder = settings.tiles_from
    return folder if folder is None or task.below == os.curdir else os.path.join(folder, task.below)


def _indexed(task: MergeTask, settings: MergeSettings) -> TileFiles:
    """The tiles of an index."""
    index, instead = _index(task.source), _instead(task, settings)
    found = Listing(task.source, instead).paths(index.files)
    there = [at for at, tile in enumerate(found) if tile is not None]
    if not there:
        where = "there" if instead is None else f"in {instead}{_no_folder(instead)}"
        raise PatchcliError(f"names {counted(len(found), 'tile')}" + (f" of which none is {where}" if found else ""))
    lacking = (name for name, tile in zip(index.files, found, strict=True) if tile is None)
    missing = _missing(lacking, len(found) - len(there), len(found), settings)
    paths = [tile for tile in found if tile is not None]
    reader = reader_of(index.meta, paths[0], settings.max_pixels)
    meta = index.meta._replace(shard=None, layout="stack")
    return TileFiles(meta, reader.heads(paths), index.places[there], reader, missing, settings.halo)


def _no_folder(path: str) -> str:
    """What to say of the name of a folder where there is none."""
    if is_remote(path) or os.path.isdir(full(path)):
        return ""
    return ", which is not a folder" if os.path.lexists(full(path)) else ", which does not exist"


def reader_of(meta: Meta, path: str, max_pixels: int) -> TileReader:
    """How the tiles of an index are read, of which one has this path."""
    of_pages = meta.metadata is not None and meta.metadata.of_pages
    return TileReader(_color_of(meta, path, max_pixels), max_pixels, pages_are_channels=of_pages)


def _color_of(meta: Meta, path: str, max_pixels: int) -> str | None:
    """How tiles are read: those that were cut as indices as indices, unless colours were made of them."""
    of_table = meta.metadata is not None and meta.metadata.colormap is not None
    if not (of_table or meta.labels or (meta.record is not None and meta.record.settings.get("--color") == "indices")):
        return None
    try:
        TileReader("indices", max_pixels).heads([path])
    except PatchcliError:
        return None
    return "indices"


class Listing:
    """Where the tiles of an index are: each folder is listed once.

    Args:
        index: the path of the index, in whose folder the tiles lie.
        instead: another folder that holds tiles of the same names, whatever the suffix of their format; None for that one.
    """

    def __init__(self, index: str, instead: str | None = None) -> None:
        self._folder, self._instead = os.path.dirname(index) if instead is None else instead, instead is not None
        self._there: dict[str, set[str]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def paths(self, names: Sequence[str]) -> list[str | None]:
        """The path of each tile; None for one that is not there.

        Raises:
            PatchcliError: several files may be one tile.
        """
        return [self._path(name) for name in names]

    def _path(self, name: str) -> str | None:
        path = os.path.join(self._folder, name)
        folder, own = os.path.split(path)
        if scheme_of(path) in WEB:
            return path  # for the web has no folders that could be listed
        if folder not in self._there:
            self._there[folder] = files.store_of(folder).names(folder)
        if not self._instead and own in self._there[folder]:
            return path
        same = self._by_stem(folder).get(os.path.splitext(own)[0], [])
        if len(same) > 1:
            raise PatchcliError(f"has several files for one tile, {' and '.join(sorted(same)[:2])} in {folder or '.'}; leave one")
        return os.path.join(folder, same[0]) if same else None

    def _by_stem(self, folder: str) -> dict[str, list[str]]:
        """The names of image files in a folder, by their part before the suffix."""
        if folder not in self._stems:
            stems = self._stems[folder] = dict[str, list[str]]()
            for name in self._there[folder]:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in SUFFIXES:
                    stems.setdefault(stem, []).append(name)
        return self._stems[folder]


def _named(paths: Sequence[str], settings: MergeSettings) -> TileFiles:
    """The tiles of an image that lie where their names say."""
    pattern = NamePattern(str(settings.names))
    at = [_numbers(pattern, path) for path in paths]
    seen: dict[tuple[int, ...], str] = {}
    for numbers, path in zip(at, paths, strict=True):
        if (other := seen.setdefault(numbers, path)) is not path:
            raise PatchcliError(f"{other} and {path} are both the tile of {pattern.in_words(numbers)}; give one of them")
    missing = _missing_names(pattern, seen, settings)
    reader = TileReader(None, settings.max_pixels)
    heads = reader.heads(paths)
    cells = np.array([_cell(numbers, settings.across) for numbers in at], np.int64)
    sizes = np.array([head.shape[:2] for head in heads], np.int64)
    patch = _size_of(cells, sizes)
    places = cells if pattern.place == ("y", "x") else cells * (settings.stride or patch)
    (dtype, channels), grid = common_kind(heads), _grid_of(places, sizes, patch)
    metadata = _metadata_of(heads, places, channels, reader)
    meta = Meta(grid, (channels,) * (channels > 1), dtype, metadata=metadata)
    return TileFiles(meta, heads, places, reader, missing, settings.halo)


def _numbers(pattern: NamePattern, path: str) -> tuple[int, ...]:
    found = pattern.match(pattern.split(path)[1])
    assert found is not None, "which was looked at when its image was told"
    return found.numbers


def _cell(numbers: tuple[int, ...], across: int | None) -> Pair:
    """Row and column, or y and x, of a tile of such numbers."""
    return divmod(numbers[0], across) if across is not None else (numbers[0], numbers[1])


def _size_of(cells: NDArray[np.int64], sizes: NDArray[np.int64]) -> Pair:
    """The size of a whole patch: that of a tile that is not in the last row or column, where there is another."""
    before = cells < cells.max(axis=0)
    height, width = (int(sizes[before[:, axis], axis][0] if before[:, axis].any() else sizes[:, axis].max()) for axis in (0, 1))
    return height, width


def _metadata_of(heads: Sequence[TileHead], places: NDArray[np.int64], channels: int, reader: TileReader) -> Metadata:
    """What the image means, as its first tile says that lacks no channel."""
    first = np.lexsort((places[:, 1], places[:, 0])).tolist()
    at = next((at for at in first if heads[at].channels == channels), first[0])
    y, x = places[at].tolist()
    return reader.metadata(heads[at].path).moved(-x, -y)


def _grid_of(places: NDArray[np.int64], sizes: NDArray[np.int64], patch: Pair) -> Grid:
    """A grid in which patches lie at these places, or may lie there, of an image that ends with the last tiles."""
    ends = places.max(axis=0)
    height, width = (int(ends[axis] + sizes[places[:, axis] == ends[axis], axis].max()) for axis in (0, 1))
    starts = [np.unique(places[:, axis]) for axis in (0, 1)]
    even = tuple(int(each[1] - each[0]) if len(each) > 1 else size for each, size in zip(starts, patch, strict=True))
    offset = int(starts[0][0]), int(starts[1][0])
    regular = Grid((height, width), patch, (even[0], even[1]), offset=offset, edge=CLIP)
    axes = list(zip((regular.rows, regular.columns), starts, strict=True))
    # counts first, since starts are listed, which may be claimed to be any number
    if all(axis.count == len(each) and np.array_equal(axis.starts, each) for axis, each in axes):
        return regular
    last = tuple(max(1, int(each[-1])) for each in starts)
    return Grid((height, width), patch, (last[0], last[1]), edge=CLIP)


def _missing_names(pattern: NamePattern, seen: dict[tuple[int, ...], str], settings: MergeSettings) -> tuple[str, ...]:
    """What to say of places in rows and columns for which there is no name."""
    every: Iterator[tuple[int, ...]]
    if settings.across is not None:
        rows = max(number for (number,) in seen) // settings.across + 1
        count, every = rows * settings.across, ((number,) for number in itertools.count())
    else:
        down, across = (sorted({numbers[axis] for numbers in seen}) for axis in (0, 1))
        steps = (down, across) if pattern.place == ("y", "x") else (range(down[-1] + 1), range(across[-1] + 1))
        count, every = len(steps[0]) * len(steps[1]), ((row, column) for row in steps[0] for column in steps[1])
    lacking = (pattern.in_words(numbers) for numbers in every if numbers not in seen)
    return _missing(lacking, count - len(seen), count, settings)


def _missing(lacking: Iterator[str], count: int, total: int, settings: MergeSettings) -> tuple[str, ...]:
    """What to say of missing tiles, of which the first are named.

    Raises:
        PatchcliError: nothing is to stand for them.
    """
    if not count:
        return ()
    told = list(itertools.islice(lacking, min(count, TOLD)))
    names = ", ".join(told) + (f" and {count - len(told)} more" if count > len(told) else "")
    said = f"{count} of its {counted(total, 'tile')} {'is' if count == 1 else 'are'} missing ({names})"
    if settings.fill is None and not settings.trim:
        raise PatchcliError(f"{said}; give their pixels a value with --fill")
    return (said,)
