"""``extract``: one image to one stack file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli import files
from patchcli.grid import Grid
from patchcli.jobs import Reading, Task, Tick, check_pixels, read_image
from patchcli.layouts import planes, unroll
from patchcli.meta import Meta
from patchcli.parallel import ahead
from patchcli.patches import CUT_BYTES, cut_blocks, gather, pad, pixel_bytes
from patchcli.stack import write_pieces

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
    reading: Reading
    overwrite: bool


def extract_one(task: Task, settings: ExtractSettings, tick: Tick) -> str:
    """Cut one image into a stack file; a sentence on what was done."""
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
    meta = Meta(
        grid,
        image.shape[2:],
        image.dtype,
        settings.pad_mode,
        settings.pad_value,
        source,
        settings.layout,
        settings.pixel_order,
    )
    padded = pad(image, grid, settings.pad_mode, settings.pad_value)
    cut = _cut(padded, meta)
    several = grid.count * grid.patch[0] * grid.patch[1] * pixel_bytes(padded) > CUT_BYTES
    with files.create(task.target, overwrite=settings.overwrite) as file:
        write_pieces(file, meta, image.dtype, _ticking(ahead(cut) if several else cut, meta, tick))
    height, width = grid.patch
    return f"{grid.count} patches of width={width} height={height}"


def _cut(padded: NDArray[Any], meta: Meta) -> Iterator[NDArray[Any]]:
    """The payload of all patches of a padded image, piece by piece, each a new array."""
    grid = meta.grid
    if meta.layout == "columns":
        yield from planes(padded, grid, meta.pixel_order)
        return
    for block in cut_blocks(grid, pixel_bytes(padded)):
        part = np.empty((block.count, *grid.patch, *padded.shape[2:]), padded.dtype)
        gather(padded, grid, block, part)
        yield unroll(part, meta.pixel_order) if meta.layout == "rows" else part


def _ticking(parts: Iterator[NDArray[Any]], meta: Meta, tick: Tick) -> Iterator[NDArray[Any]]:
    """The same parts, each counted when the next is asked for."""
    values = math.prod((*meta.grid.patch, *meta.channels))
    done = 0
    for part in parts:
        yield part
        before, done = done, done + part.size
        tick(done // values - before // values, meta.grid.count)
