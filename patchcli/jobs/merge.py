"""``merge``: one stack file to one image."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli import files, images
from patchcli.divide import Wanted
from patchcli.errors import PatchcliError
from patchcli.jobs import Task, Tick, check_pixels
from patchcli.mean import MeanFold, Merged, ScatteredMeanFold, chunk_patches
from patchcli.parallel import ahead
from patchcli.patches import blocks, check_stack
from patchcli.stack import StackReader, pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MergeSettings(NamedTuple):
    """The options of ``merge``."""

    like: str | None
    key: str | None
    dtype: str
    fill: float | None
    trim: bool
    allow_nonfinite: bool
    cover: str | None
    image_format: str | None
    max_pixels: int
    overwrite: bool


def merge_one(task: Task, settings: MergeSettings, tick: Tick) -> str:
    """Rebuild one image from a stack file; a sentence on what was done."""
    with contextlib.ExitStack() as opened:
        like = None
        if settings.like is not None:
            like = StackReader(opened.enter_context(_open_like(settings.like)))
        reader = StackReader(opened.enter_context(files.open_input(task.source)), settings.key, like)
        recorded = reader.meta.dtype
        dtype = recorded if settings.dtype == "keep" else np.dtype(settings.dtype)
        name = images.format_of(task.target, settings.image_format)
        merged = _fold(reader, Wanted(dtype, settings.fill, settings.trim, settings.allow_nonfinite), name, settings, tick)
    with contextlib.ExitStack() as outputs:
        if settings.cover is not None:
            cover = _cover_image(merged.cover.dense())
            cover_format = images.format_of(settings.cover)
            images.check_holds(cover_format, cover.shape, cover.dtype)
            file = outputs.enter_context(files.create(settings.cover, overwrite=settings.overwrite))
            images.write(file, cover, cover_format)
        file = outputs.enter_context(files.create(task.target, overwrite=settings.overwrite))
        images.write(file, merged.image, name)
    height, width = merged.image.shape[:2]
    notes = f"image of width={width} height={height}"
    if merged.saturated:
        notes += f", {merged.saturated} values saturated to fit {dtype}"
    if merged.cover.uncovered:
        notes += f", {merged.cover.uncovered} pixels filled"
    return notes


def _open_like(path: str) -> Any:  # noqa: ANN401  an open file
    try:
        return files.open_input(path)
    except PatchcliError as error:
        raise PatchcliError(f"--like {path} {error}") from None


def _fold(reader: StackReader, wanted: Wanted, image_format: str, settings: MergeSettings, tick: Tick) -> Merged:
    """Stream the payload of a stack into an image, checking all of it."""
    grid = reader.meta.grid
    check_pixels(grid, settings.max_pixels)
    origins = reader.other_origins()
    count = grid.count if origins is None else len(origins)
    stream = reader.patches()
    check_stack(stream.shape, stream.dtype, grid, count)
    images.check_holds(image_format, (*grid.image, *stream.shape[3:]), wanted.dtype, ", or another --dtype")
    channels = math.prod(stream.shape[3:])
    if origins is None:
        cut = grid, channels, stream.dtype.itemsize
        fold = MeanFold(grid, stream.dtype, stream.shape[3:], wanted)
        # One thread folds: the one that reads and checks keeps a second core busy.
        read = ahead(pieces(stream, (block.count for block in blocks(*cut))))
        for block in fold.add_rows(zip(blocks(*cut), read, strict=True), 1):
            tick(block.count, count)
        return fold.finish()
    scattered = ScatteredMeanFold(grid, stream.dtype, stream.shape[3:], wanted, origins)
    step = chunk_patches(stream.dtype.itemsize * channels * math.prod(grid.patch))
    firsts = range(0, count, step)
    for first, patches in zip(firsts, ahead(pieces(stream, (min(step, count - first) for first in firsts))), strict=True):
        scattered.add(patches, origins[first : first + step])
        tick(len(patches), count)
    return scattered.finish()


def _cover_image(cover: NDArray[np.int64]) -> NDArray[Any]:
    """Cover in the narrowest unsigned dtype that holds it."""
    return cover.astype(np.min_scalar_type(int(cover.max(initial=0))))
