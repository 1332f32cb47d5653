"""``extract``: one image, and what belongs to it, to stack files."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid, Part
from patchcli.images import convert
from patchcli.jobs.reading import Reading, blamed, check_pixels, read_image, size_in_words
from patchcli.jobs.records import Recipe, Records
from patchcli.jobs.task import Said, Task, Tick
from patchcli.patches.extract import cut, cut_at, pad
from patchcli.patches.planes import planes, planes_at
from patchcli.patches.select import Choice, choose
from patchcli.stacks.file import ORIGINS_AT_ONCE, write_pieces
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.layouts import unroll
from patchcli.storage.listing import Folders
from patchcli.storage.outputs import Outputs, delete
from patchcli.storage.provenance import Record, differing
from patchcli.storage.shards import shard_name
from patchcli.strided import pixel_bytes
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.imagefile import Peeked, Picture
    from patchcli.images.metadata import Metadata


class ExtractSettings(NamedTuple):
    """The options of ``extract``; sizes are (rows, columns)."""

    patch: Pair
    stride: Pair
    offset: Pair = (0, 0)
    edge: str = "shift"
    margin: int = 0
    pad_mode: str = "reflect"
    pad_value: float = 0
    layout: str = "stack"
    pixel_order: str = "C"
    choice: Choice = Choice()
    shard_patches: int | None = None
    compress: bool = False
    reading: Reading = Reading()
    overwrite: bool = False
    resume: bool = False

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        choice = self.choice
        return {
            "--patch-size": size_in_words(self.patch),
            "--stride": size_in_words(self.stride),
            "--offset": (self.offset[1], self.offset[0]),
            "--edge": self.edge,
            "--margin": self.margin,
            "--pad-mode": self.pad_mode,
            "--pad-value": self.pad_value,
            "--layout": self.layout,
            "--pixel-order": self.pixel_order,
            "--max-patches": choice.most,
            "--seed": choice.seed,
            "--min-std": choice.min_std,
            "--min-cover": choice.min_cover,
            "--shard-patches": self.shard_patches,
            "--compress": self.compress,
            **self.reading.options(),
        }


def recipes(task: Task, settings: ExtractSettings) -> dict[str, Recipe]:
    """What each stack of a task depends on."""
    options = differing(settings.options(), ExtractSettings((0, 0), (0, 0)).options())
    of_all: dict[str, str | tuple[str, ...]] = {"image": task.source}
    if task.mask is not None:
        options["--mask"] = True
        of_all["mask"] = task.mask
    made = {target: Recipe("extract", options, {**of_all, "companion": path}) for path, target in task.companions}
    return {task.target: Recipe("extract", options, of_all), **made}


def extract_one(task: Task, settings: ExtractSettings, tick: Tick) -> Said:
    """Cut one image, and its companions at the same places, into stack files; a sentence on what was done."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    picture, source = read_image(task.source, settings.reading)
    grid = grid_of(picture.pixels, settings)
    padded = pad(picture.pixels, grid, settings.pad_mode, settings.pad_value)
    hints = [*picture.hints, *records.hints()]
    mask = None if task.mask is None else _mask(task.mask, grid, settings, hints)
    index = choose(padded, grid, settings.choice, mask)
    count = grid.count if index is None else len(index)
    most = settings.shard_patches or count
    parts = [Part(grid, first, min(first + most, count), index) for first in range(0, count, most)]
    mark = mark_of(Part(grid, 0, count, index)) if settings.shard_patches else 0
    with Outputs(overwrite=settings.overwrite or task.replace) as outputs:
        for number, (path, target) in enumerate([(task.source, task.target), *task.companions]):
            if number:
                picture, source = _belonging(path, grid, settings, "companion", hints)
                padded = pad(picture.pixels, grid, settings.pad_mode, settings.pad_value)
            for shard, part in enumerate(parts):
                numbered = (shard, len(parts), mark) if settings.shard_patches else None
                about = padded.shape[2:], padded.dtype, picture.metadata
                meta = meta_of(grid, about, source, settings, numbered, records.of(target))
                name = target if numbered is None else shard_name(target, shard, len(parts))
                nbytes = part.count * grid.patch[0] * grid.patch[1] * pixel_bytes(padded)
                cutting = ahead(_payload(padded, meta, part), nbytes)
                with outputs.create(name) as file:
                    pieces = _ticking(cutting, meta, tick, count * (1 + len(task.companions)))
                    write_pieces(file, meta, padded.dtype, pieces, part, compress=settings.compress)
    if settings.shard_patches and task.replace:
        _remove_others(task, len(parts))
    height, width = grid.patch
    notes = f"{count} patches of width={width} height={height}"
    if index is not None:
        notes += f" of {grid.count}"
    return Said(notes + (f" in {len(parts)} shards" if settings.shard_patches else ""), tuple(hints))


def _remove_others(task: Task, count: int) -> None:
    """Remove shards that were made before, when there were more or fewer of them."""
    folders = Folders(task.targets())
    for target in task.targets():
        now = {shard_name(target, number, count) for number in range(count)}
        for path in folders.shards(target):
            if path not in now:
                delete(path)


def grid_of(image: NDArray[Any] | Peeked, settings: ExtractSettings) -> Grid:
    """The grid of an image, or of what its header says, which margin and padding must not make too large."""
    length = image.shape[0], image.shape[1]
    grid = Grid(length, settings.patch, settings.stride, offset=settings.offset, edge=settings.edge, margin=settings.margin)
    check_pixels(grid, math.prod(image.shape[2:]) * image.dtype.itemsize, settings.reading.max_pixels)
    return grid


def meta_of(
    grid: Grid,
    about: tuple[tuple[int, ...], np.dtype[Any], Metadata],
    source: Source,
    settings: ExtractSettings,
    shard: tuple[int, int, int] | None,
    record: Record | None,
) -> Meta:
    """What a stack will say of itself; ``about`` are channels, dtype and metadata of the image."""
    channels, dtype, metadata = about
    return Meta(
        grid,
        channels,
        dtype,
        settings.pad_mode,
        settings.pad_value,
        source,
        settings.layout,
        settings.pixel_order,
        shard,
        record,
        metadata,
    )


def mark_of(part: Part) -> int:
    """CRC-32 of the origins of patches."""
    mark = 0
    for first in range(0, part.count, ORIGINS_AT_ONCE):
        mark = zlib.crc32(part.origins(first, min(first + ORIGINS_AT_ONCE, part.count)).astype("<i8").tobytes(), mark)
    return mark


def _belonging(path: str, grid: Grid, settings: ExtractSettings, what: str, hints: list[str]) -> tuple[Picture, Source]:
    """Read an image that lies over another pixel by pixel."""
    label = f"its {what} {path} "
    with blamed(label):
        picture, source = read_image(path, reading_beside(settings))
        check_beside(picture.pixels.shape, grid)
    hints += [label + hint for hint in picture.hints]
    return picture, source


def _mask(path: str, grid: Grid, settings: ExtractSettings, hints: list[str]) -> NDArray[Any]:
    """Where the padded image is inside its mask: where any colour is not 0; what a constant pads lies outside."""
    picture, _ = _belonging(path, grid, settings, "mask", hints)
    inside = np.any(convert.without_alpha(picture.pixels, picture.metadata).reshape(*grid.image, -1), axis=2)
    return pad(inside, grid, settings.pad_mode)


def reading_beside(settings: ExtractSettings) -> Reading:
    """How a mask and companions are read: gray, channel and page are the image's own."""
    return Reading(rotate=settings.reading.rotate, max_pixels=settings.reading.max_pixels)


def check_beside(shape: tuple[int, ...], grid: Grid) -> None:
    """Refuse a mask or companion of another size than the image."""
    if shape[:2] != grid.image:
        raise PatchcliError(
            f"has width={shape[1]} height={shape[0]}; expected width={grid.image[1]} height={grid.image[0]}, as the image has"
        )


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
