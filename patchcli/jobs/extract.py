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
from patchcli.patches.extract import cut, cut_at, pad
from patchcli.patches.planes import planes, planes_at
from patchcli.patches.select import choose
from patchcli.stacks.file import write_pieces
from patchcli.stacks.layouts import unroll
from patchcli.storage.listing import Folders
from patchcli.storage.outputs import Outputs, delete
from patchcli.storage.shards import shard_name
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.jobs.extract_plan import ExtractPlan
    from patchcli.jobs.settings import ExtractSettings
    from patchcli.jobs.task import ExtractTask, Tick
    from patchcli.stacks.header import Meta


def extract_one(task: ExtractTask, settings: ExtractSettings, tick: Tick) -> Said:
    """Cut one image, and its companions at the same places, into stack files; a sentence on what was done."""
    with planned(task, settings) as plan:
        grid, sharded = plan.grid, settings.sharded
        padded = _padded(plan, 0)
        index = choose(padded, grid, settings.choice, None if plan.mask is None else _inside(task, plan))
        count = grid.count if index is None else len(index)
        most = settings.shard_patches or count
        parts = [Part(grid, first, min(first + most, count), index) for first in range(0, count, most)]
        mark = mark_of(Part(grid, 0, count, index)) if sharded else 0
        with Outputs(overwrite=settings.overwrite or task.replace) as outputs:
            for number, target in enumerate(plan.targets):
                if number:
                    with blamed(f"its companion {task.companions[number - 1][0]} "):
                        padded = _padded(plan, number)
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


def _padded(plan: ExtractPlan, number: int) -> NDArray[Any]:
    """The image, or a companion, decoded and padded."""
    return pad(plan.images[number].image.pixels(), plan.grid, plan.settings.pad_mode, plan.settings.pad_value)


def _inside(task: ExtractTask, plan: ExtractPlan) -> NDArray[Any]:
    """Where the padded image is inside its mask: where any colour is not 0; what a constant pads lies outside."""
    assert plan.mask is not None
    with blamed(f"its mask {task.mask} "):
        colours = convert.without_alpha(plan.mask.image.pixels(), plan.mask.image.metadata)
    return pad(np.any(colours.reshape(*plan.grid.image, -1), axis=2), plan.grid, plan.settings.pad_mode)


def _remove_others(task: ExtractTask, count: int) -> None:
    """Remove shards that were made before, when there were more or fewer of them."""
    folders = Folders(task.targets())
    for target in task.targets():
        now = {shard_name(target, number, count) for number in range(count)}
        for path in folders.shards(target):
            if path not in now:
                delete(path)


def _payload(padded: NDArray[Any], meta: Meta, part: Part) -> Iterator[NDArray[Any]]:
    """The payload of some patches of a padded image, piece by piece, each a new array."""
    grid, whole = meta.grid, part.count == meta.grid.count
    if meta.layout == "columns" and not whole:
        yield from planes_at(padded, part.origins() + grid.margin, (*grid.patch, *padded.shape[2:]), meta.pixel_order)
    elif meta.layout == "columns":
        yield from planes(padded, grid, meta.pixel_order)
    else:
        index = part.index
        pieces = cut(padded, grid, part.first, part.last) if index is None else cut_at(padded, grid, index)
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
