"""``crop``: the boxes of one image, each to an image of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.cropping.crop import crop
from patchcli.errors import OutputError, PatchcliError, counted
from patchcli.images import sink
from patchcli.jobs.crop_plan import check_cut, hints_of, planned
from patchcli.jobs.task import Said
from patchcli.storage.outputs import create

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings
    from patchcli.jobs.task import BoxRow, CropTask, Tick
    from patchcli.storage.provenance import Records


def crop_one(task: CropTask, settings: CropSettings, _tick: Tick) -> Said:
    """Crop each box of one image, which is decoded once; a sentence on what was done. A box of a list fails alone."""
    faults, made, nbytes = [], [], 0
    done = ""
    with planned(task, settings) as plan:
        pixels = plan.image.pixels()
        for row in task.boxes:
            try:
                cropped = cut_boxes(pixels, plan.image, row.box, row.size, settings, normalized=row.normalized)
                save(row.target, cropped, plan.image, settings, plan.records, replace=task.replace)
            except OutputError:
                raise
            except PatchcliError as error:
                if not row.label:
                    raise
                faults.append(f"{row.label}: {error}")
                continue
            made.append(row)
            nbytes += cropped.nbytes
            done = f"crop of width={cropped.shape[1]} height={cropped.shape[0]}"
        hints = (*hints_of(task.targets(), plan.image, made, settings), *plan.records.hints())
    return Said(crops_in_words(task, made) if task.boxes[0].label else done, hints, faults=tuple(faults), nbytes=nbytes)


def crops_in_words(task: CropTask, made: Sequence[BoxRow]) -> str:
    """How many boxes of a list were cropped."""
    return f"{len(made)} of {counted(len(task.boxes), 'crop')}"


def cut_boxes(
    pixels: NDArray[Any],
    image: ImageSource,
    box: Box | Sequence[Box],
    size: Pair | None,
    settings: CropSettings,
    *,
    normalized: bool,
) -> NDArray[Any]:
    """Crop a box, or several at once, as the settings say."""
    for one in np.atleast_2d(box):
        check_cut(image, one, size, settings, normalized=normalized)
    return crop(
        pixels,
        box,
        size,
        normalized=normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside=settings.outside,
        alpha=image.metadata.alpha,
    )


def save(
    target: str, cropped: NDArray[Any], image: ImageSource, settings: CropSettings, records: Records, *, replace: bool
) -> None:
    """Write a crop as an image, whose samples mean what those of its source do."""
    name = sink.format_of(target, settings.image_format)
    sink.check_holds(name, cropped.shape, cropped.dtype)
    with create(target, overwrite=settings.overwrite or replace) as file:
        sink.write(file, cropped, name, records.note(target), image.metadata)
