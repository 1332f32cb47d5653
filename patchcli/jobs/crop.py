"""``crop``: one image to a box of it, given or found by a template."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli import files, images
from patchcli.box import check_boxes, normalized_box, pixel_box
from patchcli.cropping import crop
from patchcli.errors import PatchcliError
from patchcli.jobs import Reading, Said, Task, Tick, blamed, read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.axis import Pair
    from patchcli.box import Box
    from patchcli.descent import Fit


class CropSettings(NamedTuple):
    """The options of ``crop``; ``box`` is in pixels or, if ``normalized``, in the coordinates of grid_sample.

    ``box`` is None where it is searched for. ``fit`` is the template to match, None for a plain crop.
    """

    box: Box | None
    normalized: bool
    size: Pair | None
    resampling: str
    align_corners: bool
    outside: str
    fit: str | None
    image_format: str | None
    reading: Reading
    overwrite: bool


def crop_one(task: Task, settings: CropSettings, _tick: Tick) -> Said:
    """Crop one image; a sentence on what was done."""
    image, _ = read_image(task.source, settings.reading)
    if settings.fit is not None:
        return _fit_one(task, image, settings, settings.fit)
    assert settings.box is not None
    cropped = cut(image, settings.box, settings.size, settings)
    save(task.target, cropped, settings)
    return Said(f"crop of width={cropped.shape[1]} height={cropped.shape[0]}")


def cut(image: NDArray[Any], box: Box, size: Pair | None, settings: CropSettings) -> NDArray[Any]:
    """Crop a box as the settings say."""
    check_size(image, box, size, settings)
    return crop(
        image,
        box,
        size,
        normalized=settings.normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside=settings.outside,
    )


def save(target: str, cropped: NDArray[Any], settings: CropSettings) -> None:
    """Write a crop as an image."""
    name = images.format_of(target, settings.image_format)
    images.check_holds(name, cropped.shape, cropped.dtype)
    with files.create(target, overwrite=settings.overwrite) as file:
        images.write(file, cropped, name)


def check_size(image: NDArray[Any], box: Box, size: Pair | None, settings: CropSettings) -> None:
    """Refuse a crop of more pixels than an image may have."""
    check_boxes(box)
    length = image.shape[0], image.shape[1]
    own = pixel_box(box, length, align_corners=settings.align_corners) if settings.normalized else box
    height, width = size or (max(1, round(abs(own[3]))), max(1, round(abs(own[2]))))
    most = settings.reading.max_pixels
    if most and height * width > most:
        raise PatchcliError(
            f"crop would have {height * width} pixels (width={width} height={height}); "
            f"allowed are {most}, or more with --max-pixels"
        )


def _fit_one(task: Task, image: NDArray[Any], settings: CropSettings, path: str) -> Said:
    """Find the box that matches a template and crop it; what was found is the result, be it good or not."""
    from patchcli.fit import fit_box, not_found  # a quarter of the time that a plain crop takes to start

    with blamed(f"its template {path} "):
        template, _ = read_image(path, settings.reading._replace(page=0))
    found = fit_box(
        image,
        template,
        settings.box,
        normalized=settings.normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside="zeros" if settings.outside == "error" else settings.outside,
    )
    source = files.name_of(task.source, "standard input")
    curve = tuple(json.dumps({"input": source, **step._asdict()}) for step in found.curve)
    length = image.shape[0], image.shape[1]
    if not found.converged:
        return Said("", result=_result(source, None, found, length, settings), faults=(not_found(found),), curve=curve)
    cropped = cut(image, found.box, settings.size or (template.shape[0], template.shape[1]), settings._replace(normalized=False))
    save(task.target, cropped, settings)
    said = f"crop of width={cropped.shape[1]} height={cropped.shape[0]}, fitted in {found.iterations} steps"
    return Said(said, result=_result(source, files.name_of(task.target), found, length, settings), curve=curve)


def _result(source: str, target: str | None, found: Fit, image: Pair, settings: CropSettings) -> str:
    """What a fit found, as a line of JSON."""
    corners = normalized_box(found.box, image, align_corners=settings.align_corners)
    return json.dumps(
        {
            "input": source,
            "output": target,
            "box": {"pixels": list(found.box), "normalized": [float(corner) for corner in corners]},
            "error": found.error,
            "explained": found.explained,
            "gain": found.gain,
            "offset": found.offset,
            "iterations": found.iterations,
            "deviation": found.deviation if math.isfinite(found.deviation) else None,
            "converged": found.converged,
        }
    )
