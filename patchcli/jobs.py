"""One input to one output: what each command does with a single file, without a word on how many there are."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli import files, images
from patchcli.errors import PatchcliError
from patchcli.grid import Grid
from patchcli.mean import MeanFold, check_origins, check_stack, chunk_patches
from patchcli.parallel import ahead, usable_threads
from patchcli.patches import blocks, channels_of, gather, pad
from patchcli.resample import crop
from patchcli.stack import Meta, Source, StackReader, pieces, write_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from patchcli.grid import Pair
    from patchcli.resample import Box

    Tick = Callable[[int, int], None]  # (patches done now, patches in all)


@dataclass(frozen=True)
class Task:
    """One input and the output that it becomes; ``-`` is standard input or output."""

    source: str
    target: str


@dataclass(frozen=True)
class Reading:
    """How images are read."""

    page: int = 0
    gray: bool = False
    rotate: bool = True
    max_pixels: int = images.MAX_PIXELS


@dataclass(frozen=True)
class ExtractSettings:
    """The options of ``extract``; sizes are (rows, columns)."""

    patch: Pair
    stride: Pair
    offset: Pair
    edge: str
    margin: int
    pad_mode: str
    pad_value: float
    reading: Reading
    overwrite: bool


@dataclass(frozen=True)
class MergeSettings:
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


@dataclass(frozen=True)
class CropSettings:
    """The options of ``crop``; ``box`` is in pixels or, if ``normalized``, in the coordinates of grid_sample."""

    box: Box
    normalized: bool
    size: Pair | None
    resampling: str
    align_corners: bool
    outside: str
    image_format: str | None
    reading: Reading
    overwrite: bool


def _read_image(path: str, reading: Reading) -> tuple[NDArray[Any], Source]:
    with files.open_input(path) as file:
        name, size, mtime_ns = files.stamp(path, file)
        image, rotated = images.read(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
    if reading.gray:
        image = images.to_gray(image)
    return image, Source(name, size, mtime_ns, page=reading.page, rotated=rotated)


def _check_pixels(grid: Grid, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    height, width = grid.padded
    if max_pixels and height * width > max_pixels:
        raise PatchcliError(
            f"needs a canvas of {height * width} pixels (width={width} height={height}, with margin and padding); "
            f"allowed are {max_pixels}, or more with --max-pixels"
        )


def extract_one(task: Task, settings: ExtractSettings, tick: Tick) -> str:
    """Cut one image into a stack file; a sentence on what was done."""
    image, source = _read_image(task.source, settings.reading)
    grid = Grid(
        (image.shape[0], image.shape[1]),
        settings.patch,
        settings.stride,
        offset=settings.offset,
        edge=settings.edge,
        margin=settings.margin,
    )
    _check_pixels(grid, settings.reading.max_pixels)
    meta = Meta(grid, image.shape[2:], image.dtype, settings.pad_mode, settings.pad_value, source)
    padded = pad(image, grid, settings.pad_mode, settings.pad_value)
    with files.create(task.target, overwrite=settings.overwrite) as file:
        write_pieces(file, meta, image.dtype, _cut(padded, grid, tick))
    height, width = grid.patch
    return f"{grid.count} patches of width={width} height={height}"


def _cut(padded: NDArray[Any], grid: Grid, tick: Tick) -> Iterator[NDArray[Any]]:
    """All patches of a padded image, block by block, each a new array."""
    for block in blocks(grid, channels_of(padded), padded.itemsize):
        part = np.empty((block.count, *grid.patch, *padded.shape[2:]), padded.dtype)
        gather(padded, grid, block, part)
        yield part
        tick(block.count, grid.count)


def merge_one(task: Task, settings: MergeSettings, tick: Tick) -> str:
    """Rebuild one image from a stack file; a sentence on what was done."""
    with contextlib.ExitStack() as opened:
        like = None
        if settings.like is not None:
            like = StackReader(opened.enter_context(_open_like(settings.like)))
        reader = StackReader(opened.enter_context(files.open_input(task.source)), settings.key, like)
        fold = _fold(reader, settings, tick)
    recorded = reader.meta.dtype
    dtype = recorded if settings.dtype == "keep" else np.dtype(settings.dtype)
    name = images.format_of(task.target, settings.image_format)
    grid = reader.meta.grid
    images.check_holds(name, (*grid.image, *fold.channels), dtype)
    merged = fold.finish(dtype, fill=settings.fill, trim=settings.trim, allow_nonfinite=settings.allow_nonfinite)
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


def _fold(reader: StackReader, settings: MergeSettings, tick: Tick) -> MeanFold:
    """Stream the payload of a stack into sums, checking all of it."""
    grid = reader.meta.grid
    _check_pixels(grid, settings.max_pixels)
    origins = reader.other_origins()
    count = grid.count if origins is None else len(origins)
    stream = reader.patches()
    check_stack(stream.shape, stream.dtype, grid, count)
    channels = math.prod(stream.shape[3:])
    if origins is None:
        fold = MeanFold(grid, stream.dtype, stream.shape[3:])
        plan = list(blocks(grid, channels, stream.dtype.itemsize))
        read = ahead(pieces(stream, (block.count for block in plan)))
        for block in fold.add_rows(zip(plan, read, strict=True), min(usable_threads(), len(plan))):
            tick(block.count, count)
        return fold
    check_origins(origins, grid)
    fold = MeanFold(grid, stream.dtype, stream.shape[3:], scattered=count)
    step = chunk_patches(stream.dtype.itemsize * channels * math.prod(grid.patch))
    firsts = range(0, count, step)
    for first, patches in zip(firsts, ahead(pieces(stream, (min(step, count - first) for first in firsts))), strict=True):
        fold.add_at(patches, origins[first : first + step])
        tick(len(patches), count)
    return fold


def _cover_image(cover: NDArray[np.int64]) -> NDArray[Any]:
    """Cover in the narrowest unsigned dtype that holds it."""
    return cover.astype(np.min_scalar_type(int(cover.max(initial=0))))


def crop_one(task: Task, settings: CropSettings, _tick: Tick) -> str:
    """Crop one image; a sentence on what was done."""
    image, _ = _read_image(task.source, settings.reading)
    cropped = crop(
        image,
        settings.box,
        settings.size,
        normalized=settings.normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside=settings.outside,
    )
    name = images.format_of(task.target, settings.image_format)
    images.check_holds(name, cropped.shape, cropped.dtype)
    with files.create(task.target, overwrite=settings.overwrite) as file:
        images.write(file, cropped, name)
    return f"crop of width={cropped.shape[1]} height={cropped.shape[0]}"
