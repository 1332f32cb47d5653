"""``crop``: one image to a box of it, given or found by a template."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.cropping.crop import crop
from patchcli.geometry.box import FARTHEST, check_boxes, describe, normalized_box, pixel_box
from patchcli.images import imagefile
from patchcli.jobs.reading import Reading, blamed, read_image, size_in_words
from patchcli.jobs.records import Recipe, Records
from patchcli.jobs.task import Said, Task, Tick
from patchcli.storage import files
from patchcli.storage.outputs import create
from patchcli.storage.provenance import differing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.cropping.levenberg_marquardt import Fit
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.imagefile import ImageFile
    from patchcli.images.metadata import Metadata


STACK = ".npz"  # which takes all crops of a list


class CropSettings(NamedTuple):
    """The options of ``crop``; ``box`` is in pixels or, if ``normalized``, in the coordinates of grid_sample.

    ``box`` is None where it is searched for. ``fit`` is the template to match, None for a plain crop. ``tell_outside``: a box
    that misses its image is worth a hint.
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
    resume: bool = False
    tell_outside: bool = True

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
    records = Records(recipes(task, settings), in_images=settings.resume)
    picture, _ = read_image(task.source, settings.reading)
    if settings.fit is not None:
        return _fit_one(task, picture, settings, records)
    assert settings.box is not None
    cropped = cut(picture, settings.box, settings.size, settings)
    save(task, cropped, picture.metadata, settings, records)
    hints = hints_of(task, picture.shape, picture, [(settings.box, settings.normalized)], settings)
    return Said(f"crop of width={cropped.shape[1]} height={cropped.shape[0]}", (*hints, *records.hints()))


def cut(picture: ImageFile, box: Box | Sequence[Box], size: Pair | None, settings: CropSettings) -> NDArray[Any]:
    """Crop a box, or several at once, as the settings say."""
    image = picture.pixels()
    for one in np.atleast_2d(box):
        check_cut(image, one, size, settings)
    return crop(
        image,
        box,
        size,
        normalized=settings.normalized,
        resampling=settings.resampling,
        align_corners=settings.align_corners,
        outside=settings.outside,
        alpha=picture.metadata.alpha,
    )


def save(task: Task, cropped: NDArray[Any], metadata: Metadata, settings: CropSettings, records: Records) -> None:
    """Write the crop of a task as an image, whose samples mean what those of its source do."""
    name = imagefile.format_of(task.target, settings.image_format)
    imagefile.check_holds(name, cropped.shape, cropped.dtype)
    with create(task.target, overwrite=settings.overwrite or task.replace) as file:
        imagefile.write(file, cropped, name, records.note(task.target), metadata)


def hints_of(
    task: Task,
    shape: tuple[int, ...],
    picture: ImageFile,
    boxes: Sequence[tuple[Box, bool]],
    settings: CropSettings,
) -> tuple[str, ...]:
    """What is odd about an image of a shape, its boxes (each with whether it is normalised) and the files that these become."""
    targets = [row.target for row in task.boxes] or [task.target]
    names = {imagefile.format_of(target, settings.image_format) for target in targets if not target.endswith(STACK)}
    lost = (imagefile.hint_of_samples(name, picture.metadata, (*shape, 1)[2]) for name in sorted(names))
    hints = [*picture.hints, *(hint for hint in lost if hint)]
    length = shape[0], shape[1]
    pixels = [pixel_box(box, length, align_corners=settings.align_corners) if normalized else box for box, normalized in boxes]
    outside = [box for box in pixels if _misses(box, length)]
    if outside and settings.tell_outside:
        many = "its box lies" if len(boxes) == 1 else f"{len(outside)} of {len(boxes)} boxes lie"
        hints.append(
            f"{many} wholly outside the image of width={length[1]} height={length[0]} ({describe(outside[0])}); "
            "--outside error refuses that"
        )
        if any(normalized and max(map(abs, box)) > FARTHEST for box, normalized in boxes):
            hints[-1] += "; corners of -1..1 are in the image, pixels are for --box"
    return tuple(hints)


def _misses(box: Box, image: Pair) -> bool:
    """Whether a box ``(x, y, width, height)`` has no pixel in common with an image ``(H, W)``."""
    ends = ((at, at + extent, length) for at, extent, length in zip(box[:2], box[2:], image[::-1], strict=True))
    return any(max(first, last) <= 0 or min(first, last) >= length for first, last, length in ends)


def check_cut(image: NDArray[Any] | ImageFile, box: Box, size: Pair | None, settings: CropSettings) -> None:
    """Refuse a crop of more pixels, or bytes, than an image may have."""
    check_boxes(box)
    length = image.shape[0], image.shape[1]
    own = pixel_box(box, length, align_corners=settings.align_corners) if settings.normalized else box
    rows, columns = size or (max(1, round(abs(own[3]))), max(1, round(abs(own[2]))))
    check_crop((rows, columns), math.prod(image.shape[2:]) * image.dtype.itemsize, settings.reading.max_pixels)


def check_crop(size: Pair, pixel_bytes: int, most: int) -> None:
    """Refuse a size ``(rows, columns)`` of more than so many pixels; 0 is no limit."""
    imagefile.check_size(size, pixel_bytes, most, "crop would have")


def _fit_one(task: Task, picture: ImageFile, settings: CropSettings, records: Records) -> Said:
    """Find the box that matches a template and crop it; what was found is the result, be it good or not."""
    from patchcli.cropping.fit import fit_box, not_found  # a quarter of the time that a plain crop takes to start

    assert settings.fit is not None
    with blamed(f"its template {settings.fit} "):
        template = read_image(settings.fit, settings.reading._replace(page=0))[0].pixels()
    image = picture.pixels()
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
    size = settings.size or (template.shape[0], template.shape[1])
    cropped = cut(picture, found.box, size, settings._replace(normalized=False))
    save(task, cropped, picture.metadata, settings, records)
    said = f"crop of width={cropped.shape[1]} height={cropped.shape[0]}, fitted in {found.iterations} steps"
    result = _result(source, files.name_of(task.target), found, length, settings)
    hints = hints_of(task, image.shape, picture, [], settings)
    return Said(said, (*hints, *records.hints()), result=result, curve=curve)


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
