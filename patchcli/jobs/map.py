"""``map``: one image through a function to one image, in one process or, band by band, in several."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from patchcli.errors import counted
from patchcli.jobs.extract import chosen, padded_image
from patchcli.jobs.map_plan import Returned, opened_function, planned, worker_bands
from patchcli.jobs.merge import said_of_merged, write_merged
from patchcli.jobs.task import BandTask, Said
from patchcli.patches.merge import divisor_of, merge_from
from patchcli.patches.normalize import Divider, Merged, Tally
from patchcli.storage.outputs import Outputs
from patchcli.threads import reuse_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.jobs.map_plan import MapPlan
    from patchcli.jobs.merge_plan import MergePlan
    from patchcli.jobs.settings import MapSettings
    from patchcli.jobs.task import MapTask, Task, Tick


class Band(NamedTuple):
    """Some lines of an image, ``(n, W[, C])`` each piece, and what is worth saying of them."""

    returned: Returned
    lines: list[NDArray[Any]]
    tally: Tally


class Sharing(Protocol):
    """Workers of which each does its share of tasks: the first, and every so many after it.

    Attributes:
        workers: how many.
        keeps: whether a worker may keep what it opened until the next task.
    """

    workers: int
    keeps: bool

    def __enter__(self) -> Self:
        """Start them."""

    def __exit__(self, *_: object) -> None:
        """End them."""

    def each(self, tasks: Sequence[Task]) -> Iterator[Said]:
        """What became of each task, in order; raises what one of them raised."""


def map_one(task: MapTask, settings: MapSettings, tick: Tick, spread: Sharing | None = None) -> Said:
    """Cut an image, have a function make others of its patches, and put those together; a sentence on what was done."""
    reuse_memory()
    with Outputs(overwrite=settings.merging.overwrite or task.replace) as outputs, planned(task, settings) as plan:
        padded = padded_image(plan.cutting, 0)
        index = chosen(plan.cutting, padded)
        if index is not None and len(index) == plan.cutting.grid.count:
            index = None  # all of them, which are added up as those of a stack with all of them are
        if spread is None:
            with opened_function(settings) as function:
                mapped = plan.mapped(function, padded, index, None)
                merging = plan.merging(task, index, Returned(mapped.shape[1:], mapped.dtype), mapped)
                merged = merge_from(merging.source, merging.placement, merging.rule, wanted=merging.wanted, tick=tick)
                write_merged(outputs, task, merging, merged)
        else:
            del padded
            with spread:
                merging, merged = _spread_out(task, plan, index, spread, tick)
                write_merged(outputs, task, merging, merged)
        said = said_of_merged(merged, merging)
        size, comma, notes = said.done.partition(",")
        done = f"{size} from {counted(merging.placement.count, 'patch')}{comma}{notes}"
        return said._replace(done=done, hints=(*plan.cutting.hints, *said.hints))


def _spread_out(
    task: MapTask, plan: MapPlan, index: NDArray[np.int64] | None, spread: Sharing, tick: Tick
) -> tuple[MergePlan, Merged]:
    """How the image is merged, and the image, of which workers make the lines."""
    band = BandTask(source=task.source, target=task.target, page=task.page, of=task, index=index, lines=(0, 0), kept=spread.keeps)
    (first,) = spread.each([band])
    returned = first.part.returned
    merging = plan.merging(task, index, returned)
    divisor = divisor_of(merging.rule, merging.placement, merging.wanted)
    channels = merging.payload.shape[3:]
    divider = Divider(merging.placement, divisor, dtype=returned.dtype, channels=channels, wanted=merging.wanted)
    bands = worker_bands(merging, divider.shape, spread.workers)
    last = len(bands) - spread.workers  # from here on each worker has no other band
    tasks = [
        replace(band, lines=lines, returned=returned, kept=spread.keeps and number < last) for number, lines in enumerate(bands)
    ]
    return merging, Merged(divider, _lines_of(spread, tasks, divider, tick))


def _lines_of(spread: Sharing, tasks: Sequence[BandTask], divider: Divider, tick: Tick) -> Iterator[NDArray[Any]]:
    """The lines of the image, from those who make them."""
    height, count, done = divider.shape[0], divider.placement.count, 0
    for task, said in zip(tasks, spread.each(tasks), strict=True):
        yield from said.part.lines
        divider.tally.add(said.part.tally)
        before, done = done, count * task.lines[1] // height
        tick(done - before, count)


class _Opened:
    """An image and a function that are open, from one band to the next."""

    def __init__(self, task: BandTask, settings: MapSettings) -> None:
        self.made_for = (task.of, settings)
        self.opened = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self.plan = opened.enter_context(planned(task.of, settings))
            function = opened.enter_context(opened_function(settings))
            self.mapped = self.plan.mapped(function, padded_image(self.plan.cutting, 0), task.index, task.returned)
            self.opened = opened.pop_all()

    @property
    def returned(self) -> Returned:
        """What the function returns."""
        return Returned(self.mapped.shape[1:], self.mapped.dtype)


_OPENED: list[_Opened] = []  # of a worker: at most one


def map_band(task: BandTask, settings: MapSettings, _tick: Tick) -> Said:
    """Make some lines of an image; what is open for that stays open where the next band needs it."""
    reuse_memory()
    if _OPENED and _OPENED[0].made_for != (task.of, settings):
        _close(None)
    if not _OPENED:
        _OPENED.append(_Opened(task, settings))
    try:
        part = _made(task, _OPENED[0])
    except BaseException as error:
        _close(error)
        raise
    if not task.kept:
        _close(None)
    return Said("", part=part)


def _close(error: BaseException | None) -> None:
    """Close what is open; a command that failed is ended at once."""
    _OPENED.pop().opened.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def _made(task: BandTask, opened: _Opened) -> Band:
    """The lines of a band."""
    merging = opened.plan.merging(task.of, task.index, opened.returned, opened.mapped)
    if task.lines[0] == task.lines[1]:
        return Band(opened.returned, [], Tally())
    merged = merge_from(merging.source, merging.placement, merging.rule, wanted=merging.wanted, only=task.lines)
    return Band(opened.returned, list(merged.made), merged.tally)
