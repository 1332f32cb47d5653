"""``crop``: the boxes of one image, each to an image of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.cropping.crop import crop
from patchcli.errors import OutputError, PatchcliError, counted
from patchcli.images import sink
from patchcli.jobs.crop_plan import check_cut, faults_of, format_for, hints_of, made_of, meaning_of, planned
from patchcli.jobs.crop_rows import boxes_on, sampling_of
from patchcli.jobs.crop_windows import from_the_top, in_windows, lines_of, window_of
from patchcli.jobs.task import Said
from patchcli.storage.outputs import create
from patchcli.storage.write_behind import flushing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings
    from patchcli.jobs.task import BoxRow, CropTask, Tick
    from patchcli.storage.provenance import Records


def crop_one(task: CropTask, settings: CropSettings, _tick: Tick) -> Said:
    """Crop each box of one image; a sentence on what was done. A box of a list fails alone."""
    failed: list[tuple[BoxRow, PatchcliError]] = []
    nbytes, done = 0, ""
    with planned(task, settings) as plan:
        task = boxes_on(task, plan.image, settings)
        windows = in_windows(plan.image, task.boxes, settings)
        pixels = None if windows else plan.image.pixels()
        for row in from_the_top(task.boxes, plan.image, settings) if windows else task.boxes:
            try:
                made = cropped(pixels, plan.image, row, settings)
                meaning = meaning_of(plan.image, row, (made.shape[0], made.shape[1]), settings)
                save(row.target, made, meaning, settings, plan.records, replace=task.replace)
            except OutputError:
                raise
            except PatchcliError as error:
                if not row.label:
                    raise
                failed.append((row, error))
                continue
            nbytes += math.prod(made.shape) * plan.image.dtype.itemsize
            done = f"crop of width={made.shape[1]} height={made.shape[0]}"
        rows = made_of(task, failed)
        hints = (*hints_of(task.targets(), plan.image, rows, settings), *plan.records.hints())
    said = crops_in_words(task, rows) if task.boxes[0].label else done
    return Said(said, hints, faults=faults_of(failed), nbytes=nbytes)


class Cropped(NamedTuple):
    """A crop ``(h, w[, C])`` of this shape and dtype, which comes some lines ``(n, w[, C])`` at a time."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    lines: Iterable[NDArray[Any]]


def cropped(pixels: NDArray[Any] | None, image: ImageSource, row: BoxRow, settings: CropSettings) -> Cropped:
    """The crop of a box: of the decoded image, or, where there is none, from windows of it."""
    if pixels is None:
        check_cut(image, row, settings)
        window = window_of(image, row, settings)
        lines = lines_of(image, window)
        return Cropped(window.shape, image.dtype, lines if window.lines < window.shape[0] else list(lines))
    made = cut_boxes(pixels, image, [row], settings)[0]
    return Cropped(made.shape, made.dtype, [made])


def crops_in_words(task: CropTask, made: Sequence[BoxRow]) -> str:
    """How many boxes of a list were cropped."""
    return f"{len(made)} of {counted(len(task.boxes), 'crop')}"


def cut_boxes(pixels: NDArray[Any], image: ImageSource, rows: Sequence[BoxRow], settings: CropSettings) -> NDArray[Any]:
    """The crops ``(B, h, w[, C])`` of boxes that are given, sized and sampled alike."""
    for row in rows:
        check_cut(image, row, settings)
    sampling = sampling_of(rows[0], settings)._asdict()
    return crop(pixels, [row.box for row in rows], rows[0].size, **sampling, alpha=image.metadata.alpha)


def save(target: str, made: Cropped, metadata: Metadata, settings: CropSettings, records: Records, *, replace: bool) -> None:
    """Write a crop, which means this, as an image."""
    name = format_for(target, made.shape, made.dtype, settings)
    encoding = sink.Encoding(made.shape, made.dtype, records.note(target), settings.kept(metadata), settings.creation)
    with create(target, overwrite=settings.overwrite or replace, whole=True) as file:
        sink.write_lines(file, flushing(made.lines, file), name, encoding)
