"""``crop`` planned: the crops that an image makes, and what they take, from its header."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import nodata_in, parse_number, work_dtype
from patchcli.cropping.plan import plan_of, spans_of
from patchcli.cropping.resample import MID_BYTES
from patchcli.cropping.taps import WIDE
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.box import FARTHEST, WHOLE, check_boxes, describe
from patchcli.images import sink, source
from patchcli.images.formats import FORMATS
from patchcli.jobs.crop_rows import boxes_on, in_pixels, sampling_of
from patchcli.jobs.crop_windows import in_windows, window_of
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.settings import UNMIXED, CropSettings, size_in_words
from patchcli.jobs.task import BoxRow, CropTask, PartFault, Planned, Said, Tick, as_said
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
ALIASES = 2  # times that a box is larger than its crop, from which on a filter of fixed width skips pixels
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
    given = "--normalized-box" if row.normalized else "--boxes" if row.fractions else "--box"
    box = None if row.fractions and row.box == WHOLE else row.box
    if row.size is not None and settings.max_size is not None:  # which is for boxes without a size of their own
        settings = replace(settings, max_size=None)
    own = {given: box, "--size": size_in_words(row.size), **settings.options()}
    usual = {"--box": None, "--boxes": None, "--size": None, **CropSettings().options()}
    return Recipe("crop", differing(own, usual), {"image": source})


@contextlib.contextmanager
def planned(task: CropTask, settings: CropSettings) -> Iterator[CropPlan]:
    """Open the image of a task."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with open_input_image(task.source, settings.reading) as opened:
        yield CropPlan(settings, opened.image, records)


def check_cut(image: ImageSource, row: BoxRow, settings: CropSettings) -> None:
    """Refuse a crop of more pixels, or bytes, than an image may have."""
    check_boxes(row.box)
    own = in_pixels(row, (image.shape[0], image.shape[1]), settings)
    rows, columns = row.size or (max(1, round(abs(own[3]))), max(1, round(abs(own[2]))))
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


def format_for(target: str, shape: tuple[int, ...], dtype: np.dtype[Any], settings: CropSettings) -> str:
    """The format of a crop in a file of its own.

    Raises:
        PatchcliError: it cannot hold the crop, or changes indices.
    """
    name = sink.format_of(target, settings.image_format)
    if settings.reading.color == "indices":
        sink.check_keeps_classes(name, settings.creation)
    sink.check_holds(name, shape, dtype)
    return name


def check_alike(got: tuple[tuple[int, ...], np.dtype[Any]], wanted: tuple[tuple[int, ...], np.dtype[Any]]) -> None:
    """Refuse a crop of another shape or dtype than those that were put into the same file."""
    if got == wanted:
        return
    sized = got[0][:2] == wanted[0][:2]
    way_out = "all are equal: use --color or --channel" if sized else "all have one size, and nothing is written: use --size"
    raise UnlikeError(f"crop is unlike those before it: {got[0]} {got[1]}, not {wanted[0]} {wanted[1]}; in one file {way_out}")


class UnlikeError(PatchcliError):
    """A crop that is not as those before it, which go to the same file."""


Failed = list[tuple[BoxRow, PatchcliError]]  # boxes, each with what is wrong with it


def made_of(task: CropTask, failed: Failed) -> list[BoxRow]:
    """The boxes that did not fail."""
    places = {row.place for row, _ in failed}
    return [row for row in task.boxes if row.place not in places]


def faults_of(failed: Failed) -> tuple[str, ...]:
    """What is wrong with boxes of a list, in its order: each by itself, but those told once that are unlike others."""
    faults: list[str] = []
    inorder = sorted(failed, key=lambda one: one[0].place)
    unlike = sum(isinstance(error, UnlikeError) for _, error in inorder)
    for row, error in inorder:
        if not isinstance(error, UnlikeError):
            faults.append(PartFault(row.label, str(error)))
        elif unlike:
            more = f" and {unlike - 1} more" if unlike > 1 else ""
            faults.append(PartFault(row.label + more, str(error)))
            unlike = 0
    return tuple(faults)


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
    return (*hints, *_hints_of_aliasing(image, rows, settings), *_hints_of_nodata(image, rows, settings))


def _hints_of_aliasing(image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> Iterator[str]:
    """What to say where crops are so much smaller than their boxes that pixels between those that are read are lost."""
    if not settings.tell_resampling or settings.resampling == UNMIXED or settings.resampling in WIDE:
        return
    shrinks = [_shrink(row, (image.shape[0], image.shape[1]), settings) for row in rows if not row.resampling and row.size]
    most = max(shrinks, default=0.0)
    if most > ALIASES:
        count = sum(one > ALIASES for one in shrinks)
        many = "its box is" if len(rows) == 1 else f"{count} of {len(rows)} boxes are"
        yield (
            f"{many} shrunk {most:.3g} times by {settings.resampling}, which skips pixels (aliasing); --resampling area weighs "
            "all of them"
        )


def _shrink(row: BoxRow, length: Pair, settings: CropSettings) -> float:
    """How many times larger a box is than its crop, along the side where that is most."""
    _, _, width, height = in_pixels(row, length, settings)
    rows, columns = row.size or (height, width)
    return max(abs(height) / rows, abs(width) / columns)


def _hints_of_nodata(image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> Iterator[str]:
    """What to say where crops of an image that has a nodata value hold others that were made of it, or in its place."""
    nodata, length = image.metadata.nodata, (image.shape[0], image.shape[1])
    value = None if nodata is None else nodata_in(image.dtype, parse_number(nodata))
    if value is None:  # no pixel has it
        return
    if settings.tell_resampling and settings.resampling != UNMIXED and not all(_copied(row, length, settings) for row in rows):
        yield f"its nodata value ({nodata}) is mixed into the pixels beside it; --resampling {UNMIXED} keeps it apart"
    zeros = settings.tell_outside and settings.outside == "zeros" and value != 0
    if zeros and any(_reaches_out(in_pixels(row, length, settings), length) for row in rows):
        yield f"what lies outside the image becomes 0, not its nodata value ({nodata}); --outside error refuses such boxes"


def _copied(row: BoxRow, image: Pair, settings: CropSettings) -> bool:
    """Whether the crop of a box is whole pixels of an image ``(H, W)``, as they are."""
    return bool(plan_of(image, row.box, row.size, sampling_of(row, settings)).whole[0])


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
        task = boxes_on(task, plan.image, settings)
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
    shape = held.shape
    name = format_for(target, shape, image.dtype, settings)
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
    check_cut(image, row, settings)
    sampling = sampling_of(row, settings)
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
    return Held(shape, read, beside + _sampling(image, spans, seen, deep, sampling.resampling), lines)


def _sampling(image: ImageSource, spans: tuple[Span, Span], seen: Pair, deep: float, resampling: str) -> int:
    """A bound on the bytes that sampling takes where so many rows and columns are seen, and ``deep`` rows weighed at once."""
    rows, columns = spans
    channels, work = math.prod(image.shape[2:]), work_dtype(image.dtype)
    if resampling not in WIDE:
        return 0 if resampling == "nearest" else min(PARTS, 4 * rows.size * columns.size * channels * work.itemsize)
    wide = min(abs(float(columns.extent[0])) + 1, seen[1]) * channels * work.itemsize
    weighed = 2 * math.prod(seen) * channels * work.itemsize if image.metadata.alpha is not None else 0
    return int(2 * max(MID_BYTES, deep * wide * (image.dtype != work))) + weighed


def said_of(task: CropTask, image: ImageSource, settings: CropSettings, plan: Callable[[BoxRow], Planned]) -> Said:
    """The plans of all boxes of an image planned_together; a box of a list fails alone, and nothing is planned where all did."""
    plans: list[Planned] = []
    failed: Failed = []
    for row in task.boxes:
        try:
            plans.append(plan(row))
        except PatchcliError as error:
            if not row.label:
                raise
            failed.append((row, error))
    hints = hints_of(task.targets(), image, made_of(task, failed), settings)
    faults = faults_of(failed)
    if not plans:
        return Said("", hints, faults=faults)
    together = planned_together(plans, listed=bool(task.boxes[0].label))
    together = together._replace(memory=together.memory + image.kept * (len(plans) > 1))
    return as_said(task, together, hints)._replace(faults=faults)


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
