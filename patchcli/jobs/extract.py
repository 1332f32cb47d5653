"""``extract``: one image, and what belongs to it, to stack files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import counted
from patchcli.geometry.grid import Part
from patchcli.images import convert
from patchcli.jobs.extract_plan import mark_of, planned
from patchcli.jobs.reading import blamed
from patchcli.jobs.task import Said
from patchcli.patches.extract import cut, cut_at
from patchcli.patches.padded import ArraySource, Padded
from patchcli.patches.planes import planes, planes_at
from patchcli.patches.select import choose
from patchcli.stacks.file import write_pieces
from patchcli.stacks.layouts import unroll
from patchcli.storage.listing import Folders
from patchcli.storage.outputs import Outputs, delete
from patchcli.storage.shards import shard_name
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.jobs.extract_plan import ExtractPlan
    from patchcli.jobs.reading import ImageInput
    from patchcli.jobs.settings import ExtractSettings
    from patchcli.jobs.task import ExtractTask, Tick
    from patchcli.patches.padded import PixelSource
    from patchcli.stacks.header import Meta


def extract_one(task: ExtractTask, settings: ExtractSettings, tick: Tick) -> Said:
    """Cut one image, and its companions at the same places, into stack files; a sentence on what was done."""
    with planned(task, settings) as plan:
        grid, sharded = plan.grid, settings.sharded
        padded = padded_image(plan, 0)
        index = chosen(plan, padded)
        count = grid.count if index is None else len(index)
        most = settings.shard_patches or count
        parts = [Part(grid, first, min(first + most, count), index) for first in range(0, count, most)]
        mark = mark_of(Part(grid, 0, count, index)) if sharded else 0
        with Outputs(overwrite=settings.overwrite or task.replace) as outputs:
            for number, target in enumerate(plan.targets):
                if number:
                    del padded  # before another is decoded
                    padded = padded_image(plan, number)
                for shard, part in enumerate(parts):
                    meta = plan.meta(number, (shard, len(parts), mark) if sharded else None)
                    name = shard_name(target, shard, len(parts)) if sharded else target
                    cutting = ahead(_payload(padded, meta, part), part.count * plan.patch_bytes(plan.images[number].image))
                    with outputs.create(name) as file:
                        pieces = _ticking(cutting, meta, tick, count * len(plan.images))
                        write_pieces(file, meta, padded.dtype, pieces, part, compress=settings.compress)
        if sharded and task.replace:
            _remove_others(task, len(parts))
        height, width = grid.patch
        notes = f"{counted(count, 'patch')} of width={width} height={height}" + (f" of {grid.count}" if index is not None else "")
        hints = *plan.hints, *plan.records.hints()
        nbytes = sum(count * plan.patch_bytes(one.image) for one in plan.images)
        return Said(notes + (f" in {counted(len(parts), 'shard')}" if sharded else ""), hints, nbytes=nbytes)


class _Bands:
    """An image that is read in bands, its errors under its name; ``change`` makes other pixels of those that are read."""

    in_bands = True

    def __init__(self, given: ImageInput, change: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> None:
        self._given, self._change = given, change
        image = given.image
        self.shape, self.dtype, self.lines = image.shape, image.dtype, image.lines
        if change is not None:
            made = change(np.empty((1, 1, *image.shape[2:]), image.dtype))
            self.shape, self.dtype = (*image.shape[:2], *made.shape[2:]), made.dtype

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """The pixels of some rows and columns."""
        with blamed(self._given.label):
            pixels = self._given.image.read(rows, columns)
        return pixels if self._change is None else self._change(pixels)


def padded_image(plan: ExtractPlan, number: int) -> Padded:
    """The image, or a companion, padded: as it is read, or decoded whole where that cannot be, or all of it is needed at once."""
    given = plan.images[number]
    source: PixelSource
    if plan.is_banded(given):
        source = _Bands(given)
    else:
        with blamed(given.label):
            source = ArraySource(given.image.pixels())
    return Padded(source, plan.grid, *plan.padding(number))


def chosen(plan: ExtractPlan, padded: Padded) -> NDArray[np.int64] | None:
    """The numbers of the patches that are kept, sorted; None for all."""
    return choose(padded, plan.choice, None if plan.mask is None else _inside(plan, plan.mask))


def _inside(plan: ExtractPlan, mask: ImageInput) -> Padded:
    """Where the padded image is inside its mask: where any colour is not 0; what a constant pads lies outside."""

    def inside(pixels: NDArray[Any]) -> NDArray[Any]:
        colours = convert.without_alpha(pixels, mask.image.metadata)
        return np.asarray(np.any(colours.reshape(*pixels.shape[:2], -1), axis=2))

    source: PixelSource
    if mask.image.in_bands:
        source = _Bands(mask, inside)
    else:
        with blamed(mask.label):
            source = ArraySource(inside(mask.image.pixels()))
    return Padded(source, plan.grid, plan.settings.pad_mode)


def _remove_others(task: ExtractTask, count: int) -> None:
    """Remove shards that were made before, when there were more or fewer of them."""
    folders = Folders(task.targets())
    for target in task.targets():
        now = {shard_name(target, number, count) for number in range(count)}
        for path in folders.shards(target):
            if path not in now:
                delete(path)


def _payload(padded: Padded, meta: Meta, part: Part) -> Iterator[NDArray[Any]]:
    """The payload of some patches of a padded image, piece by piece, each a new array."""
    grid, whole, index = meta.grid, part.count == meta.grid.count, part.index
    if meta.layout == "columns":
        pixels = padded.region((0, grid.padded[0]), (0, grid.padded[1])).pixels
        patch = (*grid.patch, *pixels.shape[2:])
        starts = None if whole else part.origins() + grid.margin
        yield from (
            planes(pixels, grid, meta.pixel_order) if starts is None else planes_at(pixels, starts, patch, meta.pixel_order)
        )
    else:
        pieces = cut(padded, part.first, part.last) if index is None else cut_at(padded, index)
        for piece in pieces:
            yield unroll(piece, meta.pixel_order) if meta.layout == "rows" else piece


def _ticking(parts: Iterator[NDArray[Any]], meta: Meta, tick: Tick, count: int) -> Iterator[NDArray[Any]]:
    """The same parts, each counted when the next is asked for."""
    values = math.prod((*meta.grid.patch, *meta.channels))
    done = 0
    for part in parts:
        yield part
        before, done = done, done + part.size
        tick(done // values - before // values, count)
