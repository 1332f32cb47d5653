"""``extract``: one image, and what belongs to it, to tile files: each patch an image, and an index of them."""

from __future__ import annotations

import contextlib
import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import counted
from patchcli.images import sink
from patchcli.images.formats import FORMATS
from patchcli.jobs.estimate import base
from patchcli.jobs.extract import chosen, padded_image
from patchcli.jobs.extract_plan import count_of, memory_of, planned
from patchcli.jobs.reading import blamed
from patchcli.jobs.task import Planned, Said, as_said
from patchcli.patches.extract import cut, cut_at
from patchcli.stacks.tile_names import TileNames, pattern_of, split_template
from patchcli.stacks.tile_set import TileSet
from patchcli.storage.outputs import Outputs, check_name
from patchcli.threads import ahead, map_in_order, usable_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata
    from patchcli.jobs.extract_plan import ExtractPlan
    from patchcli.jobs.settings import ExtractSettings
    from patchcli.jobs.task import ExtractTask, Tick
    from patchcli.patches.padded import Padded

GROUP_BYTES_OF_TILES = 1 << 18  # that a thread encodes before it looks for more


class TilePlan(NamedTuple):
    """Tile files of an image, or of a companion.

    Attributes:
        names: of its tiles.
        image_format: of each.
        metadata: what the image means, of which each tile gets its part; None where it is dropped.
    """

    names: TileNames
    image_format: str
    metadata: Metadata


def extract_tiles(task: ExtractTask, settings: ExtractSettings, tick: Tick) -> Said:
    """Cut one image, and its companions at the same places, into tile files; a sentence on what was done."""
    with planned(task, settings) as plan:
        grid, kinds = plan.grid, _tile_plans(task, plan)
        padded = padded_image(plan, 0)
        index = chosen(plan, padded)
        count = grid.count if index is None else len(index)
        overwrite = settings.overwrite or task.replace
        with Outputs(overwrite=overwrite) as outputs, contextlib.ExitStack() as opened:
            sets = []
            for number, (target, kind) in enumerate(zip(plan.targets, kinds, strict=True)):
                if number:
                    del padded  # before another is decoded
                    padded = padded_image(plan, number)
                made = TileSet(target, plan.meta(number, None), overwrite=overwrite, keep=settings.resume)
                sets.append(opened.enter_context(made))
                nbytes = count * plan.patch_bytes(plan.images[number].image)
                groups = _groups(made, kind.names, ahead(_pieces(padded, index), nbytes))
                writer = _TileWriter(made, kind, settings.creation)
                for done in map_in_order(writer, groups, usable_threads(nbytes)):
                    made.done(done)
                    tick(done, count * len(kinds))
            for made in sets:
                made.finish(outputs)
        hints = *_hints(plan, kinds), *plan.records.hints()
        return Said(_in_words(plan, count), hints, nbytes=sum(count * plan.patch_bytes(one.image) for one in plan.images))


def _in_words(plan: ExtractPlan, count: int) -> str:
    (height, width), some = plan.grid.patch, f" of {plan.grid.count}" if count < plan.grid.count else ""
    return f"{counted(count, 'tile')} of width={width} height={height}{some}"


def _tile_plans(task: ExtractTask, plan: ExtractPlan) -> list[TilePlan]:
    """How the tiles of each image are named and written.

    Raises:
        PatchcliError: two of them would have one name, or their format cannot hold them, or changes what must not change.
    """
    kinds = []
    for number, (template, (image, _, label)) in enumerate(zip(task.tiles, plan.images, strict=True)):
        name = sink.format_of(template)
        with blamed(label):
            if number == plan.labels or plan.settings.reading.color == "indices":
                sink.check_keeps_classes(name, plan.settings.creation)
            sink.check_holds(name, (*plan.grid.patch, *image.shape[2:]), image.dtype)
        kinds.append(TilePlan(TileNames(template, plan.grid), name, plan.settings.kept(image.metadata)))
    return kinds


def _hints(plan: ExtractPlan, kinds: list[TilePlan]) -> tuple[str, ...]:
    """What is odd about the files, and what their tiles cannot hold."""
    lost = (
        f"{one.label.rstrip()}: {hint}" if one.label else hint
        for one, kind in zip(plan.images, kinds, strict=True)
        if plan.settings.keeps_metadata
        for hint in sink.hints_of_loss(kind.image_format, kind.metadata, one.image.shape, one.image.dtype)
    )
    return *plan.hints, *dict.fromkeys(lost)


def _pieces(padded: Padded, index: NDArray[np.int64] | None) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Patches and their numbers in the grid, piece by piece."""
    first = 0
    for piece in cut(padded) if index is None else cut_at(padded, index):
        last = first + len(piece)
        yield np.arange(first, last) if index is None else index[first:last], piece
        first = last


class _Tile(NamedTuple):
    """A patch that becomes a file: its name, row and column in the padded image, its pixels."""

    name: str
    y: int
    x: int
    pixels: NDArray[Any]


def _groups(made: TileSet, names: TileNames, pieces: Iterator[tuple[NDArray[np.int64], NDArray[Any]]]) -> Iterator[list[_Tile]]:
    """Tiles that are encoded one after the other, cut where the image ends if the edge rule says so."""
    grid = names.grid
    for numbers, piece in pieces:
        starts = grid.starts_of(numbers)
        heights, widths = grid.rows.cut_lengths(starts[:, 0]).tolist(), grid.columns.cut_lengths(starts[:, 1]).tolist()
        tiles = [
            _Tile(name, y, x, patch[:height, :width])
            for name, (y, x), patch, height, width in zip(names.of(numbers), starts.tolist(), piece, heights, widths, strict=True)
        ]
        made.begin([tile[:3] for tile in tiles])
        step = max(1, GROUP_BYTES_OF_TILES // piece[0].nbytes)
        yield from (tiles[at : at + step] for at in range(0, len(tiles), step))


class _TileWriter:
    """Encodes and writes groups of tiles, several of them at once.

    Args:
        made: the set that they are of.
        kind: how they are written.
        creation: keys and values of ``--co``.
    """

    def __init__(self, made: TileSet, kind: TilePlan, creation: tuple[tuple[str, str], ...]) -> None:
        self._made, self._kind, self._creation = made, kind, creation
        self._margin = kind.names.grid.margin
        self._placed = "geotiff" in FORMATS[kind.image_format].keeps

    def __call__(self, tiles: list[_Tile]) -> int:
        """Write some tiles; how many."""
        missing = [tile for tile in tiles if not self._made.has(tile.name)]
        files = sink.encoded([tile.pixels for tile in missing], self._kind.image_format, [*map(self._encoding, missing)])
        self._made.put([tile.name for tile in missing], files)
        return len(tiles)

    def _encoding(self, tile: _Tile) -> sink.Encoding:
        """How a tile is written."""
        metadata = self._kind.metadata
        if self._placed:
            metadata = metadata.moved(tile.x - self._margin, tile.y - self._margin)
        return sink.Encoding(tile.pixels.shape, tile.pixels.dtype, "", metadata, self._creation)


def plan_tiles(task: ExtractTask, settings: ExtractSettings, _tick: Tick) -> Said:
    """Say what tile files would be made of one image."""
    with planned(task, settings) as plan:
        kinds = _tile_plans(task, plan)
        for target, kind in zip(plan.targets, kinds, strict=True):
            check_name(os.path.join(os.path.dirname(target), kind.names.of(np.zeros(1, np.int64))[0]))
        return as_said(task, _estimate(plan, kinds), _hints(plan, kinds))


def _estimate(plan: ExtractPlan, kinds: list[TilePlan]) -> Planned:
    """What a plan makes; of tiles that are chosen, and cut at the far sides, it is not known how large they are."""
    grid = plan.grid
    count, known = count_of(plan)
    heights, widths = (axis.cut_lengths(axis.starts) for axis in (grid.rows, grid.columns))
    pixels = int(heights.sum()) * int(widths.sum())
    if count < grid.count:
        pixels = min(pixels, count * grid.patch[0] * grid.patch[1])
    encoding, nbytes = 0, 0
    for one, kind in zip(plan.images, kinds, strict=True):
        image = one.image
        shape, nbytes_of_pixel = (*grid.patch, *image.shape[2:]), math.prod(image.shape[2:]) * image.dtype.itemsize
        threads = usable_threads(count * plan.patch_bytes(image))
        held = 2 * plan.patch_bytes(image) + FORMATS[kind.image_format].encoding(shape, image.dtype, plan.settings.creation)
        encoding = max(encoding, threads * held)
        nbytes += pixels * nbytes_of_pixel
    library = base(*(kind.image_format for kind in kinds)) - base()
    return Planned(
        _in_words(plan, count),
        (*grid.patch, *plan.images[0].image.shape[2:]),
        nbytes,
        memory_of(plan, count) + library + encoding,
        tuple(plan.targets),
        count,
        max(grid.uncovered, math.prod(grid.image) - count * grid.patch[0] * grid.patch[1]),
        exact=known and count == grid.count,
    )


def tile_pattern(task: ExtractTask, settings: ExtractSettings, number: int) -> re.Pattern[str]:
    """What matches the names of the tiles of an image, or of a companion; names of any grid where its header cannot be read."""
    template = task.tiles[number]
    try:
        with planned(task, settings) as plan:
            return TileNames(template, plan.grid).pattern
    except Exception:  # noqa: BLE001  one input's trouble ends that input alone, later
        return pattern_of(split_template(template)[1])
