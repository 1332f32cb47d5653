"""``crop``: one image to a box of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli import files, images
from patchcli.errors import PatchcliError
from patchcli.jobs import Reading, Said, Task, Tick, read_image
from patchcli.resample import crop, pixel_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.axis import Pair
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


def crop_one(task: Task, settings: CropSettings, _tick: Tick) -> Said:
    """Crop one image; a sentence on what was done."""
    image, _ = read_image(task.source, settings.reading)
    _check_size(image, settings)
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
    return Said(f"crop of width={cropped.shape[1]} height={cropped.shape[0]}")


def _check_size(image: NDArray[Any], settings: CropSettings) -> None:
    """Refuse a crop of more pixels than an image may have."""
    length = image.shape[0], image.shape[1]
    box = pixel_box(settings.box, length, align_corners=settings.align_corners) if settings.normalized else settings.box
    height, width = settings.size or (round(abs(box[3])), round(abs(box[2])))
    most = settings.reading.max_pixels
    if most and height * width > most:
        raise PatchcliError(
            f"crop would have {height * width} pixels (width={width} height={height}); "
            f"allowed are {most}, or more with --max-pixels"
        )
