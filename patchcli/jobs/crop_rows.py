"""What the boxes of an image ask for, once its size is known: pixels, the size of the crop, how it is sampled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from patchcli.cropping.plan import Sampling
from patchcli.geometry.box import BOX_LIMIT, fraction_box, pixel_box, size_within

if TYPE_CHECKING:
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings
    from patchcli.jobs.task import BoxRow, CropTask


def boxes_on(task: CropTask, image: ImageSource, settings: CropSettings) -> CropTask:
    """A task whose image is known: no box in fractions, and those that ``--max-size`` shrinks with their size and resampling."""
    if settings.max_size is None and not any(row.fractions for row in task.boxes):
        return task
    length = image.shape[0], image.shape[1]
    return replace(task, boxes=tuple(_on(length, row, settings) for row in task.boxes))


def _on(length: Pair, row: BoxRow, settings: CropSettings) -> BoxRow:
    if row.fractions:
        row = row._replace(box=fraction_box(row.box, length), fractions=False)
    if settings.max_size is None or row.size is not None:
        return row
    width, height = map(abs, in_pixels(row, length, settings)[2:])
    if not (0 < width < BOX_LIMIT and 0 < height < BOX_LIMIT):
        return row  # which is refused where it is cropped
    size = size_within((height, width), settings.max_size)
    return row if size is None else row._replace(size=size, resampling=settings.shrinking)


def known_size(row: BoxRow, settings: CropSettings) -> Pair | None:
    """The size ``(h, w)`` of a crop, where its image needs not be known for that and the box is one; else None."""
    if row.size is not None or row.normalized or row.fractions or settings.max_size is not None:
        return row.size
    width, height = map(abs, row.box[2:])
    good = all(abs(number) < BOX_LIMIT for number in row.box) and width and height
    return (max(1, round(height)), max(1, round(width))) if good else None


def in_pixels(row: BoxRow, length: Pair, settings: CropSettings) -> Box:
    """The box of a row as ``(x, y, width, height)`` in pixels of an image ``(H, W)``."""
    return pixel_box(row.box, length, align_corners=settings.align_corners) if row.normalized else row.box


def sampling_of(row: BoxRow, settings: CropSettings) -> Sampling:
    """How the box of a row is sampled."""
    return Sampling(row.normalized, row.resampling or settings.resampling, settings.align_corners, settings.outside)
