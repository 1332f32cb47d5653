"""``crop`` planned: the crops that an image makes, and what they take, from its header."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import nodata_in, parse_number, work_dtype
from patchcli.cropping.plan import Sampling, plan_of, spans_of
from patchcli.cropping.resample import MID_BYTES
from patchcli.cropping.taps import WIDE
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.box import FARTHEST, check_boxes, describe, pixel_box
from patchcli.images import sink, source
from patchcli.images.formats import FORMATS
from patchcli.jobs.crop_windows import in_pixels, in_windows, window_of
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.settings import UNMIXED, CropSettings, size_in_words
from patchcli.jobs.task import BoxRow, CropTask, Planned, Said, Tick, as_said
from patchcli.storage.provenance import Recipe, Records, differing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from patchcli.cropping.coordinates import Span
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.metadata import Metadata
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


def meaning_of(image: ImageSource, row: BoxRow, size: Pair, settings: CropSettings) -> Metadata:
    """What a crop of a box means that has this size ``(rows, columns)``."""
    length = image.shape[0], image.shape[1]
    x, y, width, height = in_pixels(row, length, settings)
    axes = [_corner_and_factor(*axis, settings) for axis in ((x, width, size[1]), (y, height, size[0]))]
    if any(factor is None for _, factor in axes):
        return image.metadata.anywhere()
    (left, by_x), (top, by_y) = axes
    return image.metadata.moved(left, top).scaled(by_x or 1, by_y or 1)


def _corner_and_factor(start: float, extent: float, size: int, settings: CropSettings) -> tuple[float, float | None]:
    """Where the first pixel of a crop begins on an axis, and how many pixels lie on one of the image; None for no end of them.

    With align_corners the outermost pixels lie in the middle of the box's own outermost pixels.
    """
    if not settings.align_corners or size == 1:
        return start, _finite(size, extent)
    inward = math.copysign(1, extent)
    step = (extent - inward) / (size - 1)
    return start + (inward - step) / 2, _finite(1, step)


def _finite(part: float, whole: float) -> float | None:
    """A ratio; None where there is none, or none that a float holds."""
    ratio = part / whole if whole else math.inf
    return ratio if math.isfinite(ratio) else None


def check_crop(size: Pair, pixel_bytes: int, most: int) -> None:
    """Refuse a size ``(rows, columns)`` of more than so many pixels; 0 is no limit."""
    source.check_size(size, pixel_bytes, most, "crop would have")


def check_alike(got: tuple[tuple[int, ...], np.dtype[Any]], wanted: tuple[tuple[int, ...], np.dtype[Any]]) -> None:
    """Refuse a crop of another shape or dtype than those that were put into the same file."""
    if got == wanted:
        return
    way_out = "--size" if got[0][:2] != wanted[0][:2] else "--color or --channel"
    raise PatchcliError(
        f"crop is {got[0]} {got[1]} but those before it are {wanted[0]} {wanted[1]}; in one file all are equal: use {way_out}"
    )


def hints_of(targets: Sequence[str], image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> tuple[str, ...]:
    """What is odd about an image, the boxes that were cropped of it, and the files that these become."""
    names = {sink.format_of(target, settings.image_format) for target in targets if not is_stack(target)}
    kept = sorted(names) if settings.keeps_metadata else ()
    hints = [
        *image.hints,
        *(image.lost if settings.keeps_metadata else ()),
        *(hint for name in kept for hint in sink.hints_of_loss(name, image.metadata, image.shape, image.dtype)),
    ]
    length = image.shape[0], image.shape[1]
    outside = [box for box in (in_pixels(row, length, settings) for row in rows) if _misses(box, length)]
    if outside and settings.tell_outside:
        many = "its box lies" if len(rows) == 1 else f"{len(outside)} of {len(rows)} boxes lie"
        hints.append(
            f"{many} wholly outside the image of width={length[1]} height={length[0]} ({describe(outside[0])}); "
            "--outside error refuses that"
        )
        if any(row.normalized and max(map(abs, row.box)) > FARTHEST for row in rows):
            hints[-1] += "; corners of -1..1 are in the image, pixels are for --box"
    return (*hints, *_hints_of_nodata(image, rows, settings))


def _hints_of_nodata(image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> Iterator[str]:
    """What to say where crops of an image that has a nodata value hold others that were made of it, or in its place."""
    nodata, length = image.metadata.nodata, (image.shape[0], image.shape[1])
    value = None if nodata is None else nodata_in(image.dtype, parse_number(nodata))
    if value is None:  # no pixel has it
        return
    if settings.tell_mixing and settings.resampling != UNMIXED and not all(_copied(row, length, settings) for row in rows):
        yield f"its nodata value ({nodata}) is mixed into the pixels beside it; --resampling {UNMIXED} keeps it apart"
    zeros = settings.tell_outside and settings.outside == "zeros" and value != 0
    if zeros and any(_reaches_out(in_pixels(row, length, settings), length) for row in rows):
        yield f"what lies outside the image becomes 0, not its nodata value ({nodata}); --outside error refuses such boxes"


def _copied(row: BoxRow, image: Pair, settings: CropSettings) -> bool:
    """Whether the crop of a box is whole pixels of an image ``(H, W)``, as they are."""
    sampling = Sampling(row.normalized, settings.resampling, settings.align_corners, settings.outside)
    return bool(plan_of(image, row.box, row.size, sampling).whole[0])


def _reaches_out(box: Box, image: Pair) -> bool:
    """Whether a box ``(x, y, width, height)`` has a part outside an image ``(H, W)``."""
    ends = ((at, at + extent, length) for at, extent, length in zip(box[:2], box[2:], image[::-1], strict=True))
    return any(min(first, last) < 0 or max(first, last) > length for first, last, length in ends)


def _misses(box: Box, image: Pair) -> bool:
    """Whether a box ``(x, y, width, height)`` has no pixel in common with an image ``(H, W)``."""
    ends = ((at, at + extent, length) for at, extent, length in zip(box[:2], box[2:], image[::-1], strict=True))
    return any(max(first, last) <= 0 or min(first, last) >= length for first, last, length in ends)


def plan_one(task: CropTask, settings: CropSettings, _tick: Tick) -> Said:
    """Say what crops would be made of one image, each in its own file."""
    with planned(task, settings) as plan:
        windows = in_windows(plan.image, task.boxes, settings)

        def one(row: BoxRow) -> Planned:
            return plan_file(row.target, plan.image, held_for(plan.image, row, settings, windows=windows), settings)

        return said_of(task, plan.image, settings, one)


class Held(NamedTuple):
    """What a crop takes.

    Attributes:
        shape: of the crop.
        read: bytes that are held while its image, or a window of it, is decoded.
        beside: and beside the crop, while that is sampled.
        lines: of the crop that are made at once.
    """

    shape: tuple[int, ...]
    read: int
    beside: int
    lines: int


def plan_file(target: str, image: ImageSource, held: Held, settings: CropSettings) -> Planned:
    """The plan of a crop in a file of its own."""
    name, shape = sink.format_of(target, settings.image_format), held.shape
    sink.check_holds(name, shape, image.dtype)
    nbytes = math.prod(shape) * image.dtype.itemsize
    encoding = nbytes + FORMATS[name].encoding(shape, image.dtype, settings.creation)
    if FORMATS[name].by_lines:
        encoding = nbytes * min(2 * held.lines, shape[0]) // shape[0]  # some are written while the next are made
    most = max(held.read, held.beside + encoding)
    what = f"crop of width={shape[1]} height={shape[0]}"
    return Planned(what, shape, nbytes, base(image.format, name) + most, (target,))


def held_for(image: ImageSource, row: BoxRow, settings: CropSettings, *, windows: bool) -> Held:
    """What the crop of a box takes, out of the whole image or from windows of it."""
    length = image.shape[0], image.shape[1]
    check_cut(image, row.box, row.size, settings, normalized=row.normalized)
    sampling = Sampling(row.normalized, settings.resampling, settings.align_corners, settings.outside)
    spans = spans_of(np.atleast_2d(check_boxes(row.box)), length, row.size, sampling)
    lines, seen, read, beside = spans[0].size, length, image.memory, image.nbytes
    deep = min(LINES_OF_A_STEP * max(1.0, abs(float(spans[0].extent[0])) / lines), length[0])
    if windows:
        window = window_of(image, row, settings)
        lines, seen, deep = window.lines, window.read, window.weighed
        pixels = math.prod((*seen, *image.shape[2:])) * image.dtype.itemsize
        # strips and tiles that may be kept, and what their decoders leave behind, as measured
        read = beside = pixels + (image.band_memory(*seen) + PARTS if image.lines > 1 else 0)
        if window.cut.copied:
            return Held(window.shape, read, beside, lines)
    shape = (spans[0].size, spans[1].size, *image.shape[2:])
    return Held(shape, read, beside + _sampling(image, spans, seen, deep, settings), lines)


def _sampling(image: ImageSource, spans: tuple[Span, Span], seen: Pair, deep: float, settings: CropSettings) -> int:
    """A bound on the bytes that sampling takes where so many rows and columns are seen, and ``deep`` rows weighed at once."""
    rows, columns = spans
    channels, work = math.prod(image.shape[2:]), work_dtype(image.dtype)
    if settings.resampling not in WIDE:
        return 0 if settings.resampling == "nearest" else min(PARTS, 4 * rows.size * columns.size * channels * work.itemsize)
    wide = min(abs(float(columns.extent[0])) + 1, seen[1]) * channels * work.itemsize
    weighed = 2 * math.prod(seen) * channels * work.itemsize if image.metadata.alpha is not None else 0
    return int(2 * max(MID_BYTES, deep * wide * (image.dtype != work))) + weighed


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
    together = planned_together(plans, listed=bool(task.boxes[0].label))
    together = together._replace(memory=together.memory + image.kept * (len(plans) > 1))
    return as_said(task, together, hints)._replace(faults=tuple(faults))


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
