"""``crop``: one image to a box of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from patchcli import files, images
from patchcli.jobs import Reading, Task, Tick, read_image
from patchcli.resample import crop

if TYPE_CHECKING:
    from patchcli.grid import Pair
    from patchcli.resample import Box


class CropSettings(NamedTuple):
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


def crop_one(task: Task, settings: CropSettings, _tick: Tick) -> str:
    """Crop one image; a sentence on what was done."""
    image, _ = read_image(task.source, settings.reading)
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
