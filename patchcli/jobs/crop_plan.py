"""``crop --dry-run``: the crops that an image makes, and what they take, from its header."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import work_dtype
from patchcli.cropping.plan import Sampling, spans_of
from patchcli.cropping.resample import MID_BYTES
from patchcli.cropping.taps import WIDE
from patchcli.errors import PatchcliError
from patchcli.geometry.box import check_boxes
from patchcli.images import imagefile
from patchcli.images.formats import FORMATS
from patchcli.jobs.crop import CropSettings, check_cut, hints_of
from patchcli.jobs.crop_stack import check_alike
from patchcli.jobs.estimate import as_said, base
from patchcli.jobs.reading import blamed, peek_image
from patchcli.jobs.task import Planned, Said, Task, Tick

if TYPE_CHECKING:
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.imagefile import ImageFile

PARTS = 12_000_000  # bytes of the lines of an image that are weighed at once
LOBES = 6  # lines and columns that a wide filter reads for each step from pixel to pixel
# Bytes a pixel, and a value, while a box is fitted, and more a pixel while it is searched for, in gray; as measured.
FITTED, FITTED_EACH, SEARCHED = 14, 11, 70


def plan_one(task: Task, settings: CropSettings, _tick: Tick) -> Said:
    """Say what crop would be made of one image."""
    seen, _ = peek_image(task.source, settings.reading)
    boxes = [] if settings.box is None else [(settings.box, settings.normalized)]
    return as_said(task, _plan_one(task, seen, settings), hints_of(task, seen.shape, seen, boxes, settings))


def plan_crop(task: Task, settings: CropSettings) -> Planned:
    """What `crop_one` would make; a box is not searched for.

    Raises:
        PatchcliError: what a header shows to be wrong, as `crop_one` says it.
    """
    return _plan_one(task, peek_image(task.source, settings.reading)[0], settings)


def _plan_one(task: Task, seen: ImageFile, settings: CropSettings) -> Planned:
    if settings.fit is not None:
        return _plan_fit(task, seen, settings, settings.fit)
    assert settings.box is not None
    shape, scratch = _cropped(seen, settings.box, settings.size, settings)
    return _plan(task, seen, shape, scratch, settings)


def _plan(task: Task, seen: ImageFile, shape: tuple[int, ...], scratch: int, settings: CropSettings) -> Planned:
    """The plan of a crop of this shape that takes so many bytes beside the image and itself."""
    name = imagefile.format_of(task.target, settings.image_format)
    imagefile.check_holds(name, shape, seen.dtype)
    nbytes = math.prod(shape) * seen.dtype.itemsize
    most = max(seen.memory, seen.nbytes + nbytes + scratch + FORMATS[name].encoding(shape, seen.dtype))
    what = f"crop of width={shape[1]} height={shape[0]}"
    return Planned(what, shape, nbytes, base(seen.format, name) + most, (task.target,))


def _cropped(seen: ImageFile, box: Box, size: Pair | None, settings: CropSettings) -> tuple[tuple[int, ...], int]:
    """The shape of a crop, and the bytes that sampling takes."""
    length = seen.shape[0], seen.shape[1]
    check_cut(seen, box, size, settings)
    sampling = Sampling(settings.normalized, settings.resampling, settings.align_corners, settings.outside)
    rows, columns = spans_of(np.atleast_2d(check_boxes(box)), length, size, sampling)
    shape = (rows.size, columns.size, *seen.shape[2:])
    work = work_dtype(seen.dtype)
    scratch = 0 if settings.resampling == "nearest" else min(PARTS, 4 * math.prod(shape) * work.itemsize)
    if settings.resampling in WIDE:
        step = max(1.0, abs(float(rows.extent[0])) / rows.size)
        wide = min(abs(float(columns.extent[0])) + 1, length[1]) * math.prod(seen.shape[2:]) * work.itemsize
        lines = min((LOBES + 4 if settings.resampling == "lanczos" else 4) * step, length[0])
        weighed = seen.nbytes // seen.dtype.itemsize * 2 * work.itemsize if seen.metadata.alpha is not None else 0
        scratch = int(2 * max(MID_BYTES, lines * wide * (seen.dtype != work))) + weighed
    return shape, scratch


def _plan_fit(task: Task, seen: ImageFile, settings: CropSettings, path: str) -> Planned:
    """The plan of a crop whose box is found first."""
    from patchcli.cropping.fit import check_template

    with blamed(f"its template {path} "):
        template, _ = peek_image(path, settings.reading._replace(page=0))
    both = [(*one.shape, 1)[:3] for one in (seen, template)]
    check_template(*both)
    size = settings.size or (template.shape[0], template.shape[1])
    height, width, channels = both[0]
    each = FITTED + FITTED_EACH * channels + (SEARCHED if settings.box is None else 0)
    scratch = each * height * width
    planned = _plan(task, seen, (*size, *seen.shape[2:]), scratch, settings)
    return planned._replace(what=f"{planned.what}, its box to be found")


def plan_rows(task: Task, settings: CropSettings, _tick: Tick) -> Said:
    """Say what crops would be made of one image, each in its own file."""
    seen, _ = peek_image(task.source, settings.reading)
    plans: list[Planned] = []
    faults, made = [], []
    for row in task.boxes:
        try:
            shape, scratch = _cropped(seen, row.box, row.size, settings._replace(normalized=row.normalized))
            plans.append(_plan(Task(task.source, row.target), seen, shape, scratch, settings))
            made.append((row.box, row.normalized))
        except PatchcliError as error:
            faults.append(f"{row.label}: {error}")
    return _said(task, seen, plans, faults, hints_of(task, seen.shape, seen, made, settings))


class StackPlan:
    """Plans of crops that go to one file, which must be alike."""

    def __init__(self) -> None:
        self._first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._held = 0  # bytes of all crops till now, kept in a file that is mapped into memory

    def take(self, task: Task, settings: CropSettings, _tick: Tick) -> Said:
        """Say what crops would be made of one image."""
        seen, _ = peek_image(task.source, settings.reading)
        plans: list[Planned] = []
        faults, made = [], []
        for row in task.boxes:
            try:
                shape, scratch = _cropped(seen, row.box, row.size, settings._replace(normalized=row.normalized))
                self._first = self._first or (shape, seen.dtype)
                check_alike((shape, seen.dtype), self._first)
            except PatchcliError as error:
                faults.append(f"{row.label}: {error}")
                continue
            nbytes = math.prod(shape) * seen.dtype.itemsize
            self._held += nbytes
            memory = base(seen.format) + max(seen.memory, seen.nbytes + 2 * nbytes + scratch)
            plans.append(Planned("", shape, nbytes, memory, (task.target,)))
            made.append((row.box, row.normalized))
        said = _said(task, seen, plans, faults, hints_of(task, seen.shape, seen, made, settings))
        if said.planned is None:
            return said
        planned = said.planned._replace(memory=said.planned.memory + self._held, packed=False)
        return as_said(task, planned, said.hints)._replace(faults=said.faults)


def _said(task: Task, seen: ImageFile, plans: list[Planned], faults: list[str], hints: tuple[str, ...]) -> Said:
    """The plans of all crops of an image together; nothing is planned where all failed."""
    if not plans:
        return Said("", hints, faults=tuple(faults))
    shapes = {one.shape for one in plans}
    height, width = plans[0].shape[:2]
    what = f"{len(plans)} crops" + (f" of width={width} height={height}" if len(shapes) == 1 else "")
    planned = Planned(
        what,
        plans[0].shape if len(shapes) == 1 else (),
        sum(one.bytes for one in plans),
        max(base(seen.format), *(one.memory for one in plans)),
        tuple(dict.fromkeys(name for one in plans for name in one.outputs)),
    )
    return as_said(task, planned, hints)._replace(faults=tuple(faults))
