"""``crop``: one image to a box of it, given or found by a template."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli import files, images
from patchcli.box import check_boxes, normalized_box, pixel_box
from patchcli.cropping import crop
from patchcli.errors import PatchcliError
from patchcli.jobs import Reading, Recipe, Records, Said, Task, Tick, blamed, read_image, size_in_words
from patchcli.outputs import create
from patchcli.record import differing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.axis import Pair
    from patchcli.box import Box
    from patchcli.descent import Fit


class CropSettings(NamedTuple):
    """The options of ``crop``; ``box`` is in pixels or, if ``normalized``, in the coordinates of grid_sample.

    ``box`` is None where it is searched for. ``fit`` is the template to match, None for a plain crop.
    """

    box: Box | None
    normalized: bool = False
    size: Pair | None = None
    resampling: str = "bilinear"
    align_corners: bool = False
    outside: str = "zeros"
    fit: str | None = None
    image_format: str | None = None
    reading: Reading = Reading()
    overwrite: bool = False

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            "--normalized-box" if self.normalized else "--box": self.box,
            "--size": size_in_words(self.size),
            "--resampling": self.resampling,
            "--align-corners": self.align_corners,
            "--outside": self.outside,
            "--fit": self.fit is not None,
            "--image-format": self.image_format,
            **self.reading.options(),
        }


def recipes(task: Task, settings: CropSettings) -> dict[str, Recipe]:
    """What the crop of a task depends on."""
    inputs: dict[str, str | tuple[str, ...]] = {"image": task.source}
    if settings.fit is not None:
        inputs["template"] = settings.fit
    return {task.target: Recipe("crop", differing(settings.options(), CropSettings(None).options()), inputs)}


def crop_one(task: Task, settings: CropSettings, _tick: Tick) -> Said:
    """Crop one image; a sentence on what was done."""
    records = Records(recipes(task, settings))
    image, _ = read_image(task.source, settings.reading)
    if settings.fit is not None:
        return _fit_one(task, image, settings, records)
    assert settings.box is not None
    cropped = cut(image, settings.box, settings.size, settings)
    save(task.target, cropped, settings, records.note(task.target), overwrite=settings.overwrite or task.replace)
    return Said(f"crop of width={cropped.shape[1]} height={cropped.shape[0]}")


def cut(image: NDArray[Any], box: Box | Sequence[Box], size: Pair | None, settings: CropSettings) -> NDArray[Any]:
    """Crop a box, or several at once, as the settings say."""
    for one in np.atleast_2d(box):
        check_size((image.shape[0], image.shape[1]), one, size, settings)
    return crop(
        image,
        box,
        size,
        normalized=settings.normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside=settings.outside,
    )


def save(target: str, cropped: NDArray[Any], settings: CropSettings, note: str, *, overwrite: bool) -> None:
    """Write a crop as an image."""
    name = images.format_of(target, settings.image_format)
    images.check_holds(name, cropped.shape, cropped.dtype)
    with create(target, overwrite=overwrite) as file:
        images.write(file, cropped, name, note)


def check_size(length: Pair, box: Box, size: Pair | None, settings: CropSettings) -> None:
    """Refuse a crop of more pixels than an image may have."""
    check_boxes(box)
    own = pixel_box(box, length, align_corners=settings.align_corners) if settings.normalized else box
    check_crop(size or (max(1, round(abs(own[3]))), max(1, round(abs(own[2])))), settings.reading.max_pixels)


def check_crop(size: Pair, most: int) -> None:
    """Refuse a size ``(rows, columns)`` of more than so many pixels; 0 is no limit."""
    height, width = size
    if most and height * width > most:
        raise PatchcliError(
            f"crop would have {height * width} pixels (width={width} height={height}); "
            f"allowed are {most}, or more with --max-pixels"
        )


def _fit_one(task: Task, image: NDArray[Any], settings: CropSettings, records: Records) -> Said:
    """Find the box that matches a template and crop it; what was found is the result, be it good or not."""
    from patchcli.fit import fit_box, not_found  # a quarter of the time that a plain crop takes to start

    assert settings.fit is not None
    with blamed(f"its template {settings.fit} "):
        template, _ = read_image(settings.fit, settings.reading._replace(page=0))
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
    save(task.target, cropped, settings, records.note(task.target), overwrite=settings.overwrite or task.replace)
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
