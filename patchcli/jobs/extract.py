"""``extract``: one image, and what belongs to it, to stack files."""

from __future__ import annotations

import math
import os
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli import files, images
from patchcli.errors import PatchcliError
from patchcli.grid import Grid, Part
from patchcli.items import pixel_bytes
from patchcli.jobs import Reading, Said, Task, Tick, blamed, check_pixels, read_image
from patchcli.layouts import planes, planes_at, unroll
from patchcli.meta import Meta, Source
from patchcli.parallel import ahead
from patchcli.patches import CUT_BYTES, cut, cut_at, pad
from patchcli.select import Choice, choose
from patchcli.stack import ORIGINS_AT_ONCE, write_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.axis import Pair


class ExtractSettings(NamedTuple):
    """The options of ``extract``; sizes are (rows, columns)."""

    patch: Pair
    stride: Pair
    offset: Pair
    edge: str
    margin: int
    pad_mode: str
    pad_value: float
    layout: str
    pixel_order: str
    choice: Choice
    shard_patches: int | None
    compress: bool
    reading: Reading
    overwrite: bool


def extract_one(task: Task, settings: ExtractSettings, tick: Tick) -> Said:
    """Cut one image, and its companions at the same places, into stack files; a sentence on what was done."""
    image, source = read_image(task.source, settings.reading)
    grid = Grid(
        (image.shape[0], image.shape[1]),
        settings.patch,
        settings.stride,
        offset=settings.offset,
        edge=settings.edge,
        margin=settings.margin,
    )
    check_pixels(grid, settings.reading.max_pixels)
    padded = pad(image, grid, settings.pad_mode, settings.pad_value)
    mask = None if task.mask is None else _belonging(task.mask, grid, settings, "mask")[0]
    index = choose(padded, grid, settings.choice, mask)
    count = grid.count if index is None else len(index)
    most = settings.shard_patches or count
    parts = [Part(grid, first, min(first + most, count), index) for first in range(0, count, most)]
    mark = _mark(Part(grid, 0, count, index)) if settings.shard_patches else 0
    with files.Outputs(overwrite=settings.overwrite) as outputs:
        for number, (path, target) in enumerate([(task.source, task.target), *task.companions]):
            if number:
                padded, source = _belonging(path, grid, settings, "companion")
            for shard, part in enumerate(parts):
                numbered = (shard, len(parts), mark) if settings.shard_patches else None
                meta = Meta(
                    grid,
                    padded.shape[2:],
                    padded.dtype,
                    settings.pad_mode,
                    settings.pad_value,
                    source,
                    settings.layout,
                    settings.pixel_order,
                    numbered,
                )
                name = target if numbered is None else shard_name(target, shard, len(parts))
                several = part.count * grid.patch[0] * grid.patch[1] * pixel_bytes(padded) > CUT_BYTES
                cutting = _payload(padded, meta, part)
                with outputs.create(name) as file:
                    pieces = _ticking(ahead(cutting) if several else cutting, meta, tick, count * (1 + len(task.companions)))
                    write_pieces(file, meta, padded.dtype, pieces, part, compress=settings.compress)
    height, width = grid.patch
    notes = f"{count} patches of width={width} height={height}"
    if index is not None:
        notes += f" of {grid.count}"
    return Said(notes + (f" in {len(parts)} shards" if settings.shard_patches else ""))


def _mark(part: Part) -> int:
    """CRC-32 of the origins of patches."""
    mark = 0
    for first in range(0, part.count, ORIGINS_AT_ONCE):
        mark = zlib.crc32(part.origins(first, min(first + ORIGINS_AT_ONCE, part.count)).astype("<i8").tobytes(), mark)
    return mark


def shard_name(target: str, number: int, count: int) -> str:
    """``a.npz`` as the name of one of its shards, ``a-00002-of-00005.npz``."""
    root, suffix = os.path.splitext(target)
    return f"{root}-{number:05}-of-{count:05}{suffix}"


def _belonging(path: str, grid: Grid, settings: ExtractSettings, what: str) -> tuple[NDArray[Any], Source]:
    """Read an image that lies over another pixel by pixel, and pad it as that was."""
    reading = Reading(rotate=settings.reading.rotate, max_pixels=settings.reading.max_pixels)
    with blamed(f"its {what} {path} "):
        image, source = read_image(path, reading)
        if image.shape[:2] != grid.image:
            raise PatchcliError(
                f"has width={image.shape[1]} height={image.shape[0]}; expected width={grid.image[1]} height={grid.image[0]}, "
                "as the image has"
            )
        if what == "mask":  # inside is where any colour is not 0; what a constant pads lies outside
            inside = np.any(images.without_alpha(image).reshape(*grid.image, -1), axis=2)
            return pad(inside, grid, settings.pad_mode), source
        return pad(image, grid, settings.pad_mode, settings.pad_value), source


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
