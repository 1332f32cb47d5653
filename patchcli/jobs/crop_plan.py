"""``crop`` planned: the crops that an image makes, and what they take, from its header."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import work_dtype
from patchcli.cropping.plan import Sampling, spans_of
from patchcli.cropping.resample import MID_BYTES
from patchcli.cropping.taps import WIDE
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.box import FARTHEST, check_boxes, describe, pixel_box
from patchcli.images import sink, source
from patchcli.images.formats import FORMATS
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.settings import CropSettings, size_in_words
from patchcli.jobs.task import BoxRow, CropTask, Planned, Said, Tick, as_said
from patchcli.storage.provenance import Recipe, Records, differing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.source import ImageSource

STACK = ".npz"  # which takes all crops of a list
PARTS = 12_000_000  # bytes of the lines of an image that are weighed at once
LINES_OF_A_STEP = 10  # lines that a wide filter reads for each step from pixel to pixel


def is_stack(target: str | None) -> bool:
    """Whether an output takes all crops of a list."""
    return target is not None and target.lower().endswith(STACK)


class CropPlan(NamedTuple):
    """What is cropped, its file open and its header read; and how each output comes to be."""

    settings: CropSettings
    image: ImageSource
    records: Records


def recipes(task: CropTask, settings: CropSettings) -> dict[str, Recipe]:
    """What each crop of a task depends on."""
    return {row.target: recipe_of(row, task.source, settings) for row in task.boxes}


def recipe_of(row: BoxRow, source: str, settings: CropSettings) -> Recipe:
    """What the crop of one box depends on."""
    own = {"--normalized-box" if row.normalized else "--box": row.box, "--size": size_in_words(row.size), **settings.options()}
    return Recipe("crop", differing(own, {"--box": None, "--size": None, **CropSettings().options()}), {"image": source})


@contextlib.contextmanager
def planned(task: CropTask, settings: CropSettings) -> Iterator[CropPlan]:
    """Open the image of a task."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with open_input_image(task.source, settings.reading) as opened:
        yield CropPlan(settings, opened.image, records)


def check_cut(image: ImageSource, box: Box, size: Pair | None, settings: CropSettings, *, normalized: bool) -> None:
    """Refuse a crop of more pixels, or bytes, than an image may have."""
    check_boxes(box)
    length = image.shape[0], image.shape[1]
    own = pixel_box(box, length, align_corners=settings.align_corners) if normalized else box
    rows, columns = size or (max(1, round(abs(own[3]))), max(1, round(abs(own[2]))))
    check_crop((rows, columns), math.prod(image.shape[2:]) * image.dtype.itemsize, settings.reading.max_pixels)


def check_crop(size: Pair, pixel_bytes: int, most: int) -> None:
    """Refuse a size ``(rows, columns)`` of more than so many pixels; 0 is no limit."""
    source.check_size(size, pixel_bytes, most, "crop would have")


def check_alike(got: tuple[tuple[int, ...], np.dtype[Any]], wanted: tuple[tuple[int, ...], np.dtype[Any]]) -> None:
    """Refuse a crop of another shape or dtype than those that were put into the same file."""
    if got == wanted:
        return
    way_out = "--size" if got[0][:2] != wanted[0][:2] else "--gray or --channel"
    raise PatchcliError(
        f"crop is {got[0]} {got[1]} but those before it are {wanted[0]} {wanted[1]}; in one file all are equal: use {way_out}"
    )


def hints_of(targets: Sequence[str], image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> tuple[str, ...]:
    """What is odd about an image, the boxes that were cropped of it, and the files that these become."""
    names = {sink.format_of(target, settings.image_format) for target in targets if not is_stack(target)}
    lost = (sink.hint_of_samples(name, image.metadata, (*image.shape, 1)[2]) for name in sorted(names))
    hints = [*image.hints, *(hint for hint in lost if hint)]
    length = image.shape[0], image.shape[1]
    outside = [box for box in (_in_pixels(row, length, settings) for row in rows) if _misses(box, length)]
    if outside and settings.tell_outside:
        many = "its box lies" if len(rows) == 1 else f"{len(outside)} of {len(rows)} boxes lie"
        hints.append(
            f"{many} wholly outside the image of width={length[1]} height={length[0]} ({describe(outside[0])}); "
            "--outside error refuses that"
        )
        if any(row.normalized and max(map(abs, row.box)) > FARTHEST for row in rows):
            hints[-1] += "; corners of -1..1 are in the image, pixels are for --box"
    return tuple(hints)


def _in_pixels(row: BoxRow, length: Pair, settings: CropSettings) -> Box:
    return pixel_box(row.box, length, align_corners=settings.align_corners) if row.normalized else row.box


def _misses(box: Box, image: Pair) -> bool:
    """Whether a box ``(x, y, width, height)`` has no pixel in common with an image ``(H, W)``."""
    ends = ((at, at + extent, length) for at, extent, length in zip(box[:2], box[2:], image[::-1], strict=True))
    return any(max(first, last) <= 0 or min(first, last) >= length for first, last, length in ends)


def plan_one(task: CropTask, settings: CropSettings, _tick: Tick) -> Said:
    """Say what crops would be made of one image, each in its own file."""
    with planned(task, settings) as plan:

        def one(row: BoxRow) -> Planned:
            return plan_file(row.target, plan.image, *cropped(plan.image, row, settings), settings)

        return said_of(task, plan.image, settings, one)


def plan_file(target: str, image: ImageSource, shape: tuple[int, ...], scratch: int, settings: CropSettings) -> Planned:
    """The plan of a crop of this shape that takes so many bytes beside the image and itself."""
    name = sink.format_of(target, settings.image_format)
    sink.check_holds(name, shape, image.dtype)
    nbytes = math.prod(shape) * image.dtype.itemsize
    most = max(image.memory, image.nbytes + nbytes + scratch + FORMATS[name].encoding(shape, image.dtype))
    what = f"crop of width={shape[1]} height={shape[0]}"
    return Planned(what, shape, nbytes, base(image.format, name) + most, (target,))


def cropped(image: ImageSource, row: BoxRow, settings: CropSettings) -> tuple[tuple[int, ...], int]:
    """The shape of a crop, and a bound on the bytes that sampling takes."""
    length = image.shape[0], image.shape[1]
    check_cut(image, row.box, row.size, settings, normalized=row.normalized)
    sampling = Sampling(row.normalized, settings.resampling, settings.align_corners, settings.outside)
    rows, columns = spans_of(np.atleast_2d(check_boxes(row.box)), length, row.size, sampling)
    shape = (rows.size, columns.size, *image.shape[2:])
    work = work_dtype(image.dtype)
    if settings.resampling not in WIDE:
        return shape, 0 if settings.resampling == "nearest" else min(PARTS, 4 * math.prod(shape) * work.itemsize)
    lines = min(LINES_OF_A_STEP * max(1.0, abs(float(rows.extent[0])) / rows.size), length[0])
    wide = min(abs(float(columns.extent[0])) + 1, length[1]) * math.prod(image.shape[2:]) * work.itemsize
    weighed = 2 * math.prod(image.shape) * work.itemsize if image.metadata.alpha is not None else 0
    return shape, int(2 * max(MID_BYTES, lines * wide * (image.dtype != work))) + weighed


def said_of(task: CropTask, image: ImageSource, settings: CropSettings, plan: Callable[[BoxRow], Planned]) -> Said:
    """The plans of all boxes of an image planned_together; a box of a list fails alone, and nothing is planned where all did."""
    plans: list[Planned] = []
    faults, made = [], []
    for row in task.boxes:
        try:
            plans.append(plan(row))
            made.append(row)
        except PatchcliError as error:
            if not row.label:
                raise
            faults.append(f"{row.label}: {error}")
    hints = hints_of(task.targets(), image, made, settings)
    if not plans:
        return Said("", hints, faults=tuple(faults))
    return as_said(task, planned_together(plans, listed=bool(task.boxes[0].label)), hints)._replace(faults=tuple(faults))


def planned_together(plans: Sequence[Planned], *, listed: bool) -> Planned:
    """One plan of several crops; ``listed``: their boxes came in a list, be it of one."""
    if not listed:
        return plans[0]
    shapes = {one.shape for one in plans}
    height, width = plans[0].shape[:2]
    return Planned(
        counted(len(plans), "crop") + (f" of width={width} height={height}" if len(shapes) == 1 else ""),
        plans[0].shape if len(shapes) == 1 else (),
        sum(one.bytes for one in plans),
        max(one.memory for one in plans),
        tuple(dict.fromkeys(name for one in plans for name in one.outputs)),
        packed=plans[0].packed,
    )
