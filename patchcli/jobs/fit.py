"""``crop --fit``: the box of an image whose crop matches a template, found and cropped."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from patchcli.cropping.fit import check_template, fit_box, not_found
from patchcli.geometry.box import normalized_box
from patchcli.jobs.crop import Cropped, cut_boxes, save
from patchcli.jobs.crop_plan import Held, hints_of, meaning_of, plan_file
from patchcli.jobs.reading import blamed, open_input_image
from patchcli.jobs.settings import CropSettings, FitSettings, size_in_words
from patchcli.jobs.task import BoxRow, Said, Task, Tick, as_said
from patchcli.storage import files
from patchcli.storage.provenance import Recipe, Records, differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.cropping.levenberg_marquardt import Fit
    from patchcli.geometry.axis import Pair
    from patchcli.images.source import ImageSource

# Bytes a pixel, and a value, while a box is fitted, and more a pixel while it is searched for, in gray; as measured.
FITTED, FITTED_EACH, SEARCHED = 14, 11, 70


class FitPlan(NamedTuple):
    """An image and the template that is sought in it, their headers read; the size of the crop; how it comes to be."""

    image: ImageSource
    template: ImageSource
    size: Pair
    records: Records


def recipes(task: Task, settings: FitSettings) -> dict[str, Recipe]:
    """What the crop of a task depends on."""
    box = {"--normalized-box" if settings.normalized else "--box": settings.box, "--size": size_in_words(settings.size)}
    own = differing({**box, "--fit": True, **settings.options()}, {"--box": None, "--size": None, **CropSettings().options()})
    return {task.target: Recipe("crop", own, {"image": task.source, "template": settings.template})}


@contextlib.contextmanager
def planned(task: Task, settings: FitSettings) -> Iterator[FitPlan]:
    """Open the image of a task and the template; one that cannot lie in the other is refused."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        image = opened.enter_context(open_input_image(task.source, settings.reading)).image
        with blamed(label := f"its template {settings.template} "):
            template = opened.enter_context(
                open_input_image(settings.template, replace(settings.reading, page=0, stacked=None), label)
            ).image
        check_template(*((*one.shape, 1)[:3] for one in (image, template)))
        yield FitPlan(image, template, settings.size or (template.shape[0], template.shape[1]), records)


def plan_one(task: Task, settings: FitSettings, _tick: Tick) -> Said:
    """Say what crop would be made; its box is not searched for."""
    with planned(task, settings) as plan:
        image = plan.image
        image.check_whole()
        height, width, channels = (*image.shape, 1)[:3]
        each = FITTED + FITTED_EACH * channels + (SEARCHED if settings.box is None else 0)
        beside = image.nbytes + each * height * width
        made = plan_file(task.target, image, Held((*plan.size, *image.shape[2:]), image.memory, beside, plan.size[0]), settings)
        rows = [] if settings.box is None else [BoxRow(settings.box, settings.normalized, plan.size, task.target)]
        hints = hints_of(task.targets(), image, rows, settings)
        return as_said(task, made._replace(what=f"{made.what}, its box to be found"), hints)


def fit_one(task: Task, settings: FitSettings, _tick: Tick) -> Said:
    """Find the box that matches a template and crop it; what was found is the result, be it good or not."""
    with planned(task, settings) as plan:
        pixels = plan.image.pixels()
        with blamed(f"its template {settings.template} "):
            template = plan.template.pixels()
        found = fit_box(
            pixels,
            template,
            settings.box,
            normalized=settings.normalized,
            resampling=settings.resampling,
            align_corners=settings.align_corners,
            outside="zeros" if settings.outside == "error" else settings.outside,
        )
        of = {"input": files.name_of(task.source, "standard input"), **({} if task.page is None else {"page": task.page})}
        curve = tuple(json.dumps({**of, **step._asdict()}) for step in found.curve)
        if not found.converged:
            return Said("", result=_result(of, None, found, plan, settings), faults=(not_found(found),), curve=curve)
        row = BoxRow(found.box, normalized=False, size=plan.size, target=task.target)
        (cropped,) = cut_boxes(pixels, plan.image, [row], settings)
        meaning = meaning_of(plan.image, row, cropped.shape[:2], settings)
        save(task.target, Cropped(cropped.shape, cropped.dtype, [cropped]), meaning, settings, plan.records, replace=task.replace)
        said = f"crop of width={cropped.shape[1]} height={cropped.shape[0]}, fitted in {found.iterations} steps"
        result = _result(of, files.name_of(task.target), found, plan, settings)
        hints = (*hints_of(task.targets(), plan.image, [], settings), *plan.records.hints())
        return Said(said, hints, result=result, curve=curve, nbytes=cropped.nbytes)


def _result(of: dict[str, object], target: str | None, found: Fit, plan: FitPlan, settings: FitSettings) -> str:
    """What a fit found, as a line of JSON."""
    length = plan.image.shape[0], plan.image.shape[1]
    corners = normalized_box(found.box, length, align_corners=settings.align_corners)
    return json.dumps(
        {
            **of,
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
