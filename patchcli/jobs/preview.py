"""``preview``: one file, or two, drawn as a picture to look at; nothing is read that is not drawn, and no checksum compared."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from patchcli.errors import PatchcliError
from patchcli.images import sink
from patchcli.images.difference import check_comparable
from patchcli.images.metadata import DROP
from patchcli.jobs.content import content_of
from patchcli.jobs.drawing import (
    Framing,
    InsidePadded,
    draw_comparison,
    draw_cover,
    draw_grid,
    draw_image,
    draw_round_trip,
    draw_sheet,
    draw_triple,
    left_out_in_words,
)
from patchcli.jobs.reading import blamed, blamed_lines, image_in, open_input_image
from patchcli.jobs.seen import opened_patches, seen_image, title_of
from patchcli.jobs.settings import COMPARE, COVER, GRID, TRIPLE, Reading
from patchcli.jobs.task import Said
from patchcli.storage import files
from patchcli.storage.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from patchcli.jobs.drawing import Drawn
    from patchcli.jobs.extract_plan import ExtractPlan
    from patchcli.jobs.seen import PatchSet, Seen
    from patchcli.jobs.settings import PreviewSettings
    from patchcli.jobs.task import PreviewTask, Tick


def preview_one(task: PreviewTask, settings: PreviewSettings, _tick: Tick) -> Said:
    """Draw one file; what is said of it, the figures too where it is compared with something."""
    drawn, hints = draw_file(task, settings)
    if task.target:
        with Outputs(overwrite=settings.overwrite) as outputs, outputs.create(task.target, whole=True) as file:
            sink.write(file, drawn.rgb, sink.format_of(task.target, settings.image_format))
    height, width = drawn.rgb.shape[:2]
    said = Said(f"picture of width={width} height={height}", hints, nbytes=drawn.rgb.nbytes)
    if drawn.figures is None:
        return said
    words = drawn.figures.in_words()
    if settings.in_json:
        return said._replace(result=json.dumps({"file": task.source, "other": task.other, **drawn.figures.fields()}))
    if task.target == files.STREAM:  # where words have no place
        return said._replace(done=f"{said.done}, {words}")
    told = task.name if settings.show == TRIPLE else f"{task.other} against {task.name}"
    return said._replace(result=f"{told}: {words}")


Hinted = tuple["Drawn", tuple[str, ...]]


def draw_file(task: PreviewTask, settings: PreviewSettings) -> Hinted:
    """The picture of a file, and what is odd about it."""
    return _DRAWING.get(settings.show or "", _draw)(task, settings, Framing(settings.max_size, settings.value_range))


def _draw(task: PreviewTask, settings: PreviewSettings, frame: Framing) -> Hinted:
    """An image, or a contact sheet of the patches in a file."""
    with files.open_input(task.source) as file:
        content = content_of(file, task.source)
        if content != "image" or settings.numbers:
            with _patches_in(file, task.source, settings) as patches:
                return draw_sheet(patches, settings.numbers, frame), ()
        given = image_in(file, task.source, settings.reading)
        seen = seen_image(given.image, _base(task.source), labels=_indices(settings))
        return draw_image(seen, frame), given.hints


def _draw_grid(task: PreviewTask, settings: PreviewSettings, frame: Framing) -> Hinted:
    """An image, and where its patches lie."""
    from patchcli.jobs.extract import chosen, padded_image

    with _cut(task, settings) as plan:
        padded = padded_image(plan, 0)
        index = chosen(plan, padded)
        seen = seen_image(plan.images[0].image, _base(task.source), labels=_indices(settings))
        return draw_grid(seen, padded, index, frame), plan.hints


def _draw_cover(task: PreviewTask, settings: PreviewSettings, frame: Framing) -> Hinted:
    """How many patches lie on each pixel: those of a file, or those that would be cut of an image."""
    if settings.cutting is None:
        with files.open_input(task.source) as file, _patches_in(file, task.source, settings) as patches:
            return draw_cover(patches.placement(), _base(task.source), frame), ()
    from patchcli.geometry.placement import Placement
    from patchcli.jobs.extract import chosen, padded_image

    with _cut(task, settings) as plan:
        index = chosen(plan, padded_image(plan, 0)) if plan.chooses else None
        return draw_cover(Placement.chosen(plan.grid, index), _base(task.source), frame), plan.hints


def _draw_comparison(task: PreviewTask, settings: PreviewSettings, frame: Framing) -> Hinted:
    """Two images, and how far one is from the other."""
    assert task.other is not None
    with _opened_image(task.source, settings) as (before, hints):
        label = f"{task.other} "
        with contextlib.ExitStack() as opened:
            with blamed(label):
                after, more = opened.enter_context(_opened_image(task.other, settings))
            check_comparable(after.pixels.shape, before.pixels.shape, task.source, what=f"{label}is an image of")
            drawn = draw_comparison(before, after._replace(label=label), _apart(task.source, task.other), frame)
        return drawn, (*hints(), *(label + hint for hint in more()))


def _draw_triple(task: PreviewTask, settings: PreviewSettings, frame: Framing) -> Hinted:
    """An image, the patch in the middle of those that are cut of it, and what they are merged to."""
    if task.other is not None:
        return _draw_triple_of_stack(task, task.other, settings, frame)
    from patchcli.jobs.extract import chosen, padded_image
    from patchcli.jobs.seen import Seen

    with _cut(task, settings) as plan:
        padded = padded_image(plan, 0)
        look = seen_image(plan.images[0].image, "", labels=_indices(settings)).look
        before = Seen(InsidePadded(padded), look, _base(task.source))
        return draw_round_trip(before, padded, chosen(plan, padded), frame), plan.hints


def _draw_triple_of_stack(task: PreviewTask, stack: str, settings: PreviewSettings, frame: Framing) -> Hinted:
    """An image, the patch in the middle of a stack that was made of it, and what that is merged to.

    The image is read as that of the stack was, unless options say how.
    """
    import numpy as np

    from patchcli.jobs.compare import opened_original
    from patchcli.jobs.merge_plan import planned
    from patchcli.jobs.settings import MergeSettings
    from patchcli.jobs.task import MergeTask
    from patchcli.patches.merge import merge_from

    max_pixels = settings.reading.max_pixels
    merging = MergeSettings(fill=0, image_format="npy", metadata=DROP, max_pixels=max_pixels)
    of_stack = replace(settings, reading=Reading(max_pixels=max_pixels))
    label = f"{stack} "
    with contextlib.ExitStack() as opened:
        with blamed(label):
            patches = opened.enter_context(_patches_in(opened.enter_context(files.open_input(stack)), stack, of_stack))
            placement, labels = patches.placement(), patches.look.labels
            number = placement.central
            (patch,) = patches.pick(np.array([number]))
            merging = replace(merging, reduce="mode" if labels else None)  # class numbers are not mixed
            plan = opened.enter_context(planned(MergeTask(source=stack, target="merged.npy"), merging))
            wanted = plan.wanted._replace(allow_nonfinite=plan.wanted.dtype.kind == "f")
            merged = merge_from(plan.source, plan.placement, plan.rule, wanted=wanted)
        if settings.reading.options() == Reading().options():  # then as that of the stack was read
            given = opened.enter_context(opened_original(task.source, plan.payload.meta, merged.shape, max_pixels))
        else:
            given, labels = opened.enter_context(open_input_image(task.source, settings.reading)), _indices(settings)
        before = seen_image(given.image, _base(task.source), labels=labels)
        check_comparable(merged.shape, before.pixels.shape, task.source, what=f"{label}becomes an image of")
        title, look = f"{before.name} and {title_of(patches)}{left_out_in_words(placement)}", patches.look.like(merged.dtype)
        drawn = draw_triple(before, (number, patch), (blamed_lines(label, merged.lines()), look), title, frame)
        return drawn, (*given.hints, *(label + hint for hint in plan.hints))


_DRAWING = {GRID: _draw_grid, COVER: _draw_cover, TRIPLE: _draw_triple, COMPARE: _draw_comparison}


@contextlib.contextmanager
def _opened_image(path: str, settings: PreviewSettings) -> Iterator[tuple[Seen, Callable[[], tuple[str, ...]]]]:
    """An image, and what turned out to be odd about it, once it was read."""
    with open_input_image(path, settings.reading) as given:
        yield seen_image(given.image, _base(path), labels=_indices(settings)), lambda: given.hints


@contextlib.contextmanager
def _patches_in(file: BinaryIO, path: str, settings: PreviewSettings) -> Iterator[PatchSet]:
    """The patches of a stack, an index of tiles, or another file of arrays that is open.

    Raises:
        PatchcliError: an image; options that are for images alone.
    """
    content = content_of(file, path)
    if content == "image" and not settings.numbers:
        raise PatchcliError("is an image, not patches; say how they would be cut with -s")
    if settings.reading.options() != Reading().options():
        raise PatchcliError("holds patches; --page, --pages-as, --color, --channel and --exif-rotate are for images")
    with opened_patches(path, content, file, settings.reading.max_pixels) as patches:
        yield patches


def _cut(task: PreviewTask, settings: PreviewSettings) -> AbstractContextManager[ExtractPlan]:
    """The image of a task, open, with the grid that ``extract`` lays."""
    from patchcli.jobs.extract_plan import planned
    from patchcli.jobs.task import ExtractTask

    assert settings.cutting is not None, "which the command line checked"
    return planned(ExtractTask(source=task.source, target="preview.npz", mask=task.mask), settings.cutting)


def _indices(settings: PreviewSettings) -> bool:
    """Whether values are class numbers."""
    return settings.reading.color == "indices"


def _base(path: str) -> str:
    """The name of a file without its folder."""
    return os.path.basename(files.name_of(path, "standard input"))


def _apart(first: str, second: str) -> tuple[str, str]:
    """The names of two files without their folders, unless they are the same then."""
    short = _base(first), _base(second)
    return short if short[0] != short[1] else (first, second)
