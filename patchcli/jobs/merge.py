"""``merge``: one stack file, or the shards of one, to one image."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from patchcli.images import sink
from patchcli.images.sink import Encoding
from patchcli.jobs.merge_plan import planned
from patchcli.jobs.task import Said
from patchcli.patches.merge import merge_from
from patchcli.storage.outputs import Outputs
from patchcli.storage.write_behind import flushing
from patchcli.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.jobs.compare import Comparison
    from patchcli.jobs.merge_plan import MergePlan
    from patchcli.jobs.settings import MergeSettings
    from patchcli.jobs.task import MapTask, MergeTask, Tick
    from patchcli.patches.normalize import Merged

SIGNED = -0.5  # fractions of a full range that lie below are of -1 to 1


def merge_one(task: MergeTask, settings: MergeSettings, tick: Tick) -> Said:
    """Rebuild one image from a stack file or from shards; a sentence on what was done."""
    with Outputs(overwrite=settings.overwrite or task.replace) as outputs, planned(task, settings) as plan:
        # One thread folds: the one that reads and checks keeps a second core busy.
        merged = merge_from(plan.source, plan.placement, plan.rule, wanted=plan.wanted, tick=tick)
        write_merged(outputs, task, plan, merged, together=True)
    return said_of_merged(merged, plan)


def write_merged(outputs: Outputs, task: MergeTask | MapTask, plan: MergePlan, merged: Merged, *, together: bool = False) -> None:
    """Write the cover of a merged image, where it is asked for, and the image; ``together``: lines while the next are made."""
    if task.cover is not None:
        shown = plan.cover_file(merged.cover)
        place = None if plan.metadata is None else plan.metadata.only_place()
        made = Encoding(merged.cover.shape, shown.dtype, plan.records.note(task.cover), place)
        _write(outputs, task.cover, shown.image_format, shown.lines(), made, together=together)
    made = Encoding(merged.shape, merged.dtype, plan.records.note(task.target), plan.metadata, plan.settings.creation)
    _write(outputs, task.target, plan.formats[0], merged.lines(), made, together=together, compared=plan.compared)


def _write(
    outputs: Outputs,
    path: str,
    image_format: str,
    lines: Iterator[NDArray[Any]],
    made: Encoding,
    *,
    together: bool,
    compared: Comparison | None = None,
) -> None:
    """Encode lines, ``together`` with the making of the next, in another thread; ``compared``: with an original.

    Nothing of them goes down a pipe before the last is there: up to then the stack may turn out to be damaged.
    """
    nbytes = math.prod(made.shape) * made.dtype.itemsize if together else 0
    with outputs.create(path, whole=True) as file, contextlib.closing(ahead(lines, nbytes)) as coming:
        watched = coming if compared is None else compared.watched(coming)
        sink.write_lines(file, flushing(watched, file), image_format, made)


def said_of_merged(merged: Merged, plan: MergePlan) -> Said:
    """What was done, and what is probably not as it was meant."""
    height, width = merged.shape[:2]
    notes, payload, dtype = f"image of width={width} height={height}", plan.payload, plan.wanted.dtype
    shard = payload.meta.shard
    if shard is not None:
        notes += f" from {payload.shards} of {shard[1]} shards"
    if merged.saturated:
        notes += f", {merged.saturated} values saturated to fit {dtype}"
    if merged.cover.uncovered:
        notes += f", {merged.cover.uncovered} pixels filled"
    if plan.compared is not None:
        notes += f"; {plan.compared.in_words()}"
    range_hint = (_hint_of_range(*merged.unit_like, dtype),) if merged.unit_like else ()
    figures = None if plan.compared is None else plan.compared.fields()
    nbytes = math.prod(payload.shape) * payload.dtype.itemsize
    return Said(notes, (*plan.hints, *range_hint), nbytes=nbytes, figures=figures)


def _hint_of_range(low: float, high: float, dtype: np.dtype[Any]) -> str:
    """What to say where values look like fractions of the range of an integer image."""
    said = f"values lie between {low:.3g} and {high:.3g} but the image is {dtype}; "
    if low < SIGNED:
        return f"{said}patches = (patches + 1) / 2 makes -1 to 1 fractions for --unit-range, --dtype float32 keeps them"
    return f"{said}--unit-range takes 0 to 1 for its full range, --dtype float32 keeps them"
