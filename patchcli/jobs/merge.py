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
from patchcli.layouts import offsets, roll
from patchcli.mean import MeanFold, Merged, PlaneMeanFold, ScatteredMeanFold, chunk_patches
from patchcli.parallel import ahead
from patchcli.patches import blocks
from patchcli.stack import StackReader, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.meta import Meta
    from patchcli.npz import ArrayStream


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
    grid, meta = reader.meta.grid, reader.meta
    check_pixels(grid, settings.max_pixels)
    origins = reader.other_origins()
    count = grid.count if origins is None else len(origins)
    stream = reader.patches()
    shape = reader.stack_shape(stream, count)
    images.check_holds(image_format, (*grid.image, *shape[3:]), wanted.dtype, ", or another --dtype")
    given = grid, stream.dtype, shape[3:], wanted
    if meta.layout == "columns":
        planes = PlaneMeanFold(*given, origins)
        read = ahead(pieces(stream, [1] * stream.shape[0], (count,)))
        for offset, plane in zip(offsets(shape[1:], meta.pixel_order), read, strict=True):
            planes.add(plane[0], offset)
        return planes.finish()
    if origins is None:
        cut = grid, math.prod(shape[3:]), stream.dtype.itemsize
        fold = MeanFold(*given)
        # One thread folds: the one that reads and checks keeps a second core busy.
        read = _patches(stream, (block.count for block in blocks(*cut)), shape, meta)
        for block in fold.add_rows(zip(blocks(*cut), read, strict=True), 1):
            tick(block.count, count)
        return fold.finish()
    scattered = ScatteredMeanFold(*given, origins)
    step = chunk_patches(stream.dtype.itemsize * math.prod(shape[1:]))
    firsts = range(0, count, step)
    read = _patches(stream, (min(step, count - first) for first in firsts), shape, meta)
    for first, patches in zip(firsts, read, strict=True):
        scattered.add(patches, origins[first : first + step])
        tick(len(patches), count)
    return scattered.finish()


def _patches(stream: ArrayStream, counts: Iterable[int], shape: tuple[int, ...], meta: Meta) -> Iterator[NDArray[Any]]:
    """A payload of patch after patch in pieces ``(n, h, w[, C])``, read ahead."""
    unrolled = meta.layout == "rows"
    for piece in ahead(pieces(stream, counts, stream.shape[1:] if unrolled else shape[1:])):
        yield roll(piece, shape[1:], meta.pixel_order) if unrolled else piece


def _cover_image(cover: NDArray[np.int64]) -> NDArray[Any]:
    """Cover in the narrowest unsigned dtype that holds it."""
    return cover.astype(np.min_scalar_type(int(cover.max(initial=0))))
