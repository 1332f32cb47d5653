"""``map`` planned: how an image is cut, what is made of its patches, and the image that they become."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import counted, one_line
from patchcli.geometry.placement import Placement
from patchcli.jobs import extract_plan, merge_plan
from patchcli.jobs.settings import ExtractSettings, MapSettings, MergeSettings
from patchcli.jobs.task import ExtractTask, MapTask, Said, Tick, as_said
from patchcli.patches.map import Batches, Mapped, returned_array
from patchcli.patches.normalize import DIVIDED_BYTES
from patchcli.patches.windows import NAMES
from patchcli.stacks.file import channels_last
from patchcli.stacks.layouts import channels_first
from patchcli.storage.provenance import Recipe, Records, differing
from patchcli.storage.streams import speaking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.jobs.extract_plan import ExtractPlan
    from patchcli.jobs.merge_plan import MergePlan
    from patchcli.patches.map import Function
    from patchcli.patches.padded import Padded
    from patchcli.patches.planes import Plane
    from patchcli.stacks.header import Meta

LEAST_SHARE = 8  # a band has as many times the lines that it shares with the next, whose patches are made for both
HELD_BATCHES = 2  # what the function gets, and what it returns
BANDS = 4  # for each worker, so that all end together
WORKER_BYTES = 1 << 23  # of lines, as long as they are that many


class Returned(NamedTuple):
    """What a function returns.

    Attributes:
        shape: of what it makes of a patch, ``(h', w'[, C'])``.
        dtype: of it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class MappedPatches:
    """What a function returns, as `merge` plans it; where other processes call it, nothing but its shape and dtype."""

    hints: tuple[str, ...] = ()
    shards, by_number, channels_first = 1, True, False

    def __init__(self, meta: Meta, index: NDArray[np.int64] | None, returned: Returned, mapped: Mapped | None = None) -> None:
        self.meta = meta
        self.placement = Placement.chosen(meta.grid, index)
        self.shape, self.dtype = (self.placement.count, *returned.shape), returned.dtype
        self._mapped = mapped

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        """As `Mapped` has it."""
        assert self._mapped is not None
        return self._mapped.patches(counts)

    def planes(self) -> Iterator[Plane] | None:
        """None: they are patches."""
        return None

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        """As `Mapped` has it."""
        assert self._mapped is not None
        return self._mapped.picker()


def with_channels_last(function: Function, grid: Grid) -> Function:
    """A function that may return ``(B, C, h, w)``, where that can be nothing else, as one that returns ``(B, h, w, C)``."""

    def called(patches: NDArray[Any], origins: NDArray[np.int64]) -> NDArray[Any]:
        made = returned_array(function(patches, origins))
        return channels_last(made) if channels_first(grid, made.shape[1:]) else made

    return called


class MapPlan(NamedTuple):
    """An image that is cut, its file open, its header checked.

    Attributes:
        settings: how it is mapped.
        cutting: how it is cut.
        records: how each output comes to be.
    """

    settings: MapSettings
    cutting: ExtractPlan
    records: Records

    def mapped(self, function: Function, padded: Padded, index: NDArray[np.int64] | None, known: Returned | None) -> Mapped:
        """What a function makes of the patches."""
        called = with_channels_last(function, self.cutting.grid)
        return Mapped(padded, index, called, batch=self.settings.batch, known=known)

    def merging(
        self, task: MapTask, index: NDArray[np.int64] | None, returned: Returned, mapped: Mapped | None = None
    ) -> MergePlan:
        """How what a function returns becomes an image."""
        payload = MappedPatches(self.cutting.meta(0, None), index, returned, mapped)
        return merge_plan.merging_plan(payload, task.targets(), self.settings.merging, self.records)


def recipes(task: MapTask, settings: MapSettings) -> dict[str, Recipe]:
    """What the image of a task, and its cover, depend on."""
    inputs: dict[str, str | tuple[str, ...]] = {"image": task.source}
    usual = MapSettings(cutting=ExtractSettings(patch=(0, 0), stride=(0, 0)), merging=MergeSettings())
    options = differing(settings.options(), usual.options())
    if task.mask is not None:
        options["--mask"], inputs["mask"] = True, task.mask
    if settings.merging.window not in NAMES:
        inputs["window"] = settings.merging.window
    if settings.function is not None and settings.merging.resume:  # to find it may take a while
        from patchcli.jobs.map_function import file_of

        if (path := file_of(settings.function)) is not None:
            inputs["function"] = path
    return dict.fromkeys(task.targets(), Recipe("map", options, inputs))


@contextlib.contextmanager
def planned(task: MapTask, settings: MapSettings) -> Iterator[MapPlan]:
    """Open the image of a task and lay the grid; what headers show to be wrong is refused."""
    inner = ExtractTask(source=task.source, target=task.target, page=task.page, mask=task.mask)
    with extract_plan.planned(inner, settings.cutting) as cutting:
        yield MapPlan(settings, cutting, Records(recipes(task, settings), in_images=settings.merging.resume))


@contextlib.contextmanager
def opened_function(settings: MapSettings) -> Iterator[Function]:
    """The function, or a command that stands for it, which has to end well when the block does."""
    if settings.command is None:
        from patchcli.jobs.map_function import load_function

        yield load_function(str(settings.function), settings.arguments)
        return
    from patchcli.jobs.map_child import Child

    with Child(settings.command, _pass_on) as child:
        yield lambda patches, _origins: child(patches)


def _pass_on(line: str) -> None:
    """Say what a command says."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a standard error that is gone, closed or none
        speaking().write(f"{one_line(line)}\n")
        speaking().flush()


def worker_bands(plan: MergePlan, shape: tuple[int, ...], workers: int) -> list[tuple[int, int]]:
    """First and last (excluded) lines of the bands in which several workers make an image of a shape ``(H, W[, C])``.

    Patches that touch two bands are made for both, so that each line is the sum of all of its patches in the order of the grid,
    whoever makes it.
    """
    grid, height, line_bytes = plan.placement.grid, shape[0], math.prod(shape[1:]) * plan.wanted.dtype.itemsize
    shared = max(grid.patch[0] - grid.stride[0], 1)
    lines = max(LEAST_SHARE * shared, min(-(-height // (BANDS * workers)), WORKER_BYTES // line_bytes))
    return [(top, min(top + lines, height)) for top in range(0, height, lines)]


def plan_one(task: MapTask, settings: MapSettings, _tick: Tick) -> Said:
    """Say what image would be made, of a function that returns patches as it got them."""
    with planned(task, settings) as plan:
        cutting = plan.cutting
        count, known = extract_plan.count_of(cutting)
        grid, image = cutting.grid, cutting.images[0].image
        index = None if count == grid.count else np.arange(count)
        made = plan.merging(task, index, Returned((*grid.patch, *image.shape[2:]), image.dtype))
        batch, patch = Batches(grid, count, cutting.patch_bytes(image), settings.batch).size, cutting.patch_bytes(image)
        said = merge_plan.estimate(task, made, HELD_BATCHES * min(batch, count) * patch + DIVIDED_BYTES)
        height, width = grid.patch
        what = (
            f"{said.what.partition(' from ')[0]} from {counted(count, 'patch')} of width={width} height={height} in batches of "
            f"{min(batch, count)}"
        )
        memory = said.memory + extract_plan.reading_of(cutting) + extract_plan.choosing_of(cutting)
        return as_said(task, said._replace(what=what, memory=memory, exact=known), cutting.hints)
