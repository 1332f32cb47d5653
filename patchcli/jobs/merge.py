"""``merge``: one stack file, or the shards of one, to one image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.images import sink
from patchcli.jobs.merge_plan import check_cover, planned
from patchcli.jobs.task import Said
from patchcli.patches.merge import merge_from
from patchcli.storage.outputs import Outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.jobs.merge_plan import MergePlan
    from patchcli.jobs.settings import MergeSettings
    from patchcli.jobs.task import MergeTask, Tick
    from patchcli.patches.normalize import Merged
    from patchcli.patches.windows import Window

SIGNED = -0.5  # fractions of a full range that lie below are of -1 to 1


def merge_one(task: MergeTask, settings: MergeSettings, tick: Tick) -> Said:
    """Rebuild one image from a stack file or from shards; a sentence on what was done."""
    with planned(task, settings) as plan:
        # One thread folds: the one that reads and checks keeps a second core busy.
        merged = merge_from(plan.payload, plan.placement, plan.rule, wanted=plan.wanted, tick=tick)
    with Outputs(overwrite=settings.overwrite or task.replace) as outputs:
        if task.cover is not None:
            cover = _cover_image(merged, plan.window)
            check_cover(task.cover, cover.shape, cover.dtype)
            with outputs.create(task.cover) as file:
                sink.write(file, cover, sink.format_of(task.cover), plan.records.note(task.cover))
        with outputs.create(task.target) as file:
            note = plan.records.note(task.target)
            sink.write(file, merged.image, plan.image_format, note, plan.payload.meta.metadata)
    return _said(merged, plan)


def _said(merged: Merged, plan: MergePlan) -> Said:
    """What was done, and what is probably not as it was meant."""
    height, width = merged.image.shape[:2]
    notes, payload, dtype = f"image of width={width} height={height}", plan.payload, plan.wanted.dtype
    shard = payload.meta.shard
    if shard is not None:
        notes += f" from {payload.shards} of {shard[1]} shards"
    if merged.saturated:
        notes += f", {merged.saturated} values saturated to fit {dtype}"
    if merged.cover.uncovered:
        notes += f", {merged.cover.uncovered} pixels filled"
    range_hint = (_hint_of_range(*merged.unit_like, dtype),) if merged.unit_like else ()
    return Said(notes, (*plan.hints, *range_hint), nbytes=math.prod(payload.shape) * payload.dtype.itemsize)


def _hint_of_range(low: float, high: float, dtype: np.dtype[Any]) -> str:
    """What to say where values look like fractions of the range of an integer image."""
    said = f"values lie between {low:.3g} and {high:.3g} but the image is {dtype}; "
    if low < SIGNED:
        return f"{said}patches = (patches + 1) / 2 makes -1 to 1 fractions for --unit-range, --dtype float32 keeps them"
    return f"{said}--unit-range takes 0 to 1 for its full range, --dtype float32 keeps them"


def _cover_image(merged: Merged, window: Window | None) -> NDArray[Any]:
    """How many patches lie on each pixel, in the narrowest unsigned dtype; or their weights as float32, of a patch at most 1."""
    if window is not None and merged.divisor is not None:
        weights: NDArray[Any] = (merged.divisor.dense() / window.full.max()).astype(np.float32)
        return weights
    cover = merged.cover.dense()
    return cover.astype(np.min_scalar_type(int(cover.max(initial=0))))
