"""``merge`` planned: the image that a stack makes, and what that takes, from headers and origins."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError, counted
from patchcli.images import sink
from patchcli.images.formats import FORMATS
from patchcli.jobs.estimate import NUMBER_BYTES, PIECES, base
from patchcli.jobs.reading import blamed, check_pixels
from patchcli.jobs.settings import MergeSettings
from patchcli.jobs.task import MergeTask, Planned, Said, Tick, as_said
from patchcli.patches.extract import FOLD_BYTES
from patchcli.patches.merge_ranked import BAND_BYTES, RankFold, Ranking
from patchcli.patches.normalize import Divider, Wanted
from patchcli.patches.reducers import REDUCERS, Rule, rule_of
from patchcli.patches.windows import NAMES, Window, as_window
from patchcli.stacks.file import StackReader
from patchcli.stacks.npz import MAGIC, NpzReader
from patchcli.stacks.reader import Payload, StackFile
from patchcli.storage import files
from patchcli.storage.paths import is_remote
from patchcli.storage.provenance import Recipe, Records, differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement

FREE_PIXELS = 1 << 22  # a canvas up to this size is made whatever the patches cover


class MergePlan(NamedTuple):
    """What is merged, its files open, its headers and origins checked.

    Attributes:
        settings: how it is merged.
        payload: the patches.
        wanted: the image that is asked for.
        image_format: of its file.
        placement: where the patches lie, as large as they came.
        window: by which they are weighed; None for equal weights.
        rule: by which values of one pixel become one.
        records: how each output comes to be.
    """

    settings: MergeSettings
    payload: Payload
    wanted: Wanted
    image_format: str
    placement: Placement
    window: Window | None
    rule: Rule | Ranking
    records: Records

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the stack, and what the image cannot hold."""
        channels = (*self.payload.shape[3:], 1)[0]
        lost = sink.hint_of_samples(self.image_format, self.payload.meta.metadata, channels)
        return (*_hints_of(self.payload), *([lost] if lost else []), *self.records.hints())


def recipes(task: MergeTask, settings: MergeSettings) -> dict[str, Recipe]:
    """What the image of a task, and its cover, depend on."""
    inputs: dict[str, str | tuple[str, ...]] = {"stack": (task.source, *task.shards) if task.shards else task.source}
    if settings.like is not None:
        inputs["like"] = settings.like
    if settings.window not in NAMES:
        inputs["window"] = settings.window
    return dict.fromkeys(task.targets(), Recipe("merge", differing(settings.options(), MergeSettings().options()), inputs))


@contextlib.contextmanager
def planned(task: MergeTask, settings: MergeSettings) -> Iterator[MergePlan]:
    """Open the stack of a task, or its shards, and lay out its patches; what headers show to be wrong is refused."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        payload = _payload_of(task, settings, opened)
        opened.enter_context(_missing_shards_named(payload))
        wanted = _wanted_of(payload, settings)
        name = sink.format_of(task.target, settings.image_format)
        placement = _laid_out(payload, wanted, name, settings)
        window = _window_of(settings.window, placement.grid)
        yield MergePlan(settings, payload, wanted, name, placement, window, rule_of(REDUCERS[settings.reduce], window), records)


def _payload_of(task: MergeTask, settings: MergeSettings, opened: contextlib.ExitStack) -> Payload:
    """The patches of a task's stack or shards: headers and origins are read and checked."""
    like = None
    if settings.like is not None:
        with blamed(f"--like {settings.like} "):
            like = StackReader(opened.enter_context(files.open_input(settings.like)))
    return Payload(
        [_stack_file(path, settings, like, opened, one_of=1 + len(task.shards)) for path in (task.source, *task.shards)]
    )


def _wanted_of(payload: Payload, settings: MergeSettings) -> Wanted:
    """The image that is asked for."""
    recorded = payload.meta.dtype
    dtype = recorded if settings.dtype == "keep" else np.dtype(settings.dtype)
    if settings.allow_nonfinite and dtype.kind != "f":
        raise PatchcliError(f"becomes an image of {dtype}; --allow-nonfinite is for float images, allowed with --dtype float32")
    return Wanted(dtype, settings.fill, settings.trim, settings.allow_nonfinite, settings.unit_range)


def check_cover(path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a cover that its format cannot hold."""
    with blamed(f"--cover {path} "):
        sink.check_holds(sink.format_of(path), shape, dtype)


def _stack_file(
    path: str, settings: MergeSettings, like: StackReader | None, opened: contextlib.ExitStack, one_of: int
) -> StackFile:
    """A stack file, open until the end if it is the only one, standard input or remote, else whenever it is read."""
    if one_of == 1:
        kept = StackReader(opened.enter_context(files.open_input(path)), settings.key, like)
        return StackFile(path, lambda: contextlib.nullcontext(kept))
    label = f"its shard {files.name_of(path, 'standard input')} "
    spooled = None
    if path == files.STREAM or is_remote(path):
        with blamed(label):
            spooled = opened.enter_context(files.open_input(path))

    @contextlib.contextmanager
    def read() -> Iterator[StackReader]:
        with blamed(label), contextlib.nullcontext(spooled) if spooled else files.open_input(path) as file:
            yield StackReader(file, settings.key, None, label)

    return StackFile(files.name_of(path, "standard input"), read)


def _laid_out(payload: Payload, wanted: Wanted, image_format: str, settings: MergeSettings) -> Placement:
    """Where the patches of a payload lie, as large as they came, in an image that may be made and written."""
    check_pixels(payload.meta.grid, 0, settings.max_pixels)
    _check_covered(payload, wanted)
    placement = payload.placement.resized((payload.shape[1], payload.shape[2]))
    grid = placement.grid
    check_pixels(grid, math.prod(payload.shape[3:]) * wanted.dtype.itemsize, settings.max_pixels)
    sink.check_holds(image_format, (*grid.image, *payload.shape[3:]), wanted.dtype, ", or another --dtype")
    return placement


def _check_covered(payload: Payload, wanted: Wanted) -> None:
    """Refuse, before anything is allocated, a large canvas that a few numbers claim and no patches can fill.

    What ``fill`` or ``trim`` ask for may be larger than the patches, but a margin and the padding behind the last patch, which
    are only added up in, may not.
    """
    grid = payload.meta.grid
    (height, width), patch = grid.image, grid.patch
    covered = payload.shape[0] * patch[0] * patch[1]
    pixels, canvas = height * width, grid.padded[0] * grid.padded[1]
    if pixels > max(FREE_PIXELS, covered) and wanted.fill is None and not wanted.trim:
        raise PatchcliError(
            f"{pixels - covered} of {pixels} pixels or more are covered by no patch; give them a value with --fill or cut the "
            "border off with --trim"
        )
    if canvas > max(FREE_PIXELS, (height + 2 * patch[0]) * (width + 2 * patch[1]) + 4 * covered):
        raise PatchcliError(
            f"needs a canvas of {canvas} pixels, with a margin of {grid.margin} and padding, but its {payload.shape[0]} patches "
            f"cover at most {covered}"
        )


def _window_of(window: str, grid: Grid) -> Window | None:
    """A window by name, or from an array file."""
    if window in NAMES:
        return as_window(window, grid.patch)
    with blamed(f"--window {window} "), files.open_input(window) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise PatchcliError("is not an array file; give a .npy")
        return as_window(NpzReader(file).open("").load(), grid.patch)


@contextlib.contextmanager
def _missing_shards_named(payload: Payload) -> Iterator[None]:
    """What is wrong with an image of which shards are missing may come of that."""
    try:
        yield
    except PatchcliError as error:
        count = payload.meta.shard[1] if payload.meta.shard else 1
        if payload.shards == count:
            raise
        raise PatchcliError(f"{error}; only {payload.shards} of {counted(count, 'shard')} were given") from None


def _hints_of(payload: Payload) -> tuple[str, ...]:
    """What to say where some of several shards are missing, or patches stand in an order of axes of their own."""
    shard, hints = payload.meta.shard, []
    if shard is not None and 1 < payload.shards < shard[1]:
        hints.append(f"{payload.shards} of {counted(shard[1], 'shard')} were given")
    if payload.channels_first:
        _, height, width, channels = payload.shape
        hints.append(
            f"its patches were taken as (N, channels, height, width), with {channels} channels of width={width} height={height}"
        )
    return tuple(hints)


def plan_one(task: MergeTask, settings: MergeSettings, _tick: Tick) -> Said:
    """Say what image would be made."""
    with planned(task, settings) as plan:
        return as_said(task, estimate(task, plan), plan.hints)


def estimate(task: MergeTask, plan: MergePlan) -> Planned:
    """What a plan makes; what adds up to more than 64 bits is refused."""
    payload, wanted, channels = plan.payload, plan.wanted, plan.payload.shape[3:]
    divider = Divider(plan.placement, None, dtype=payload.dtype, channels=channels, wanted=wanted)
    cover = divider.cover
    shape = *cover.shape, *channels
    total = nbytes = math.prod(shape) * wanted.dtype.itemsize
    formats, writing = [plan.image_format], FORMATS[plan.image_format].encoding(shape, wanted.dtype)
    if task.cover is not None:
        counts = np.dtype(np.float32) if plan.window is not None else np.min_scalar_type(cover.most)
        check_cover(task.cover, cover.shape, counts)
        formats.append(sink.format_of(task.cover))
        shown = cover.size * counts.itemsize
        # all of the cover at once, as numbers, then as an image
        writing = max(writing, shown + max(NUMBER_BYTES * cover.size, FORMATS[formats[1]].encoding(cover.shape, counts)))
        total += shown
    pieces = _pieces(plan)  # of which the C library keeps about half to the end
    folding = pieces + _folding(plan, divider)
    memory = base(*formats) + nbytes + max(folding, pieces // 2 + writing)
    height, width = shape[:2]
    what = f"image of width={width} height={height} from {counted(payload.shape[0], 'patch')}"
    return Planned(what, shape, total, memory, tuple(task.targets()), payload.shape[0], cover.uncovered)


def _pieces(plan: MergePlan) -> int:
    """A bound on the bytes of the pieces that are read ahead and folded."""
    payload = plan.payload
    patch = math.prod(payload.shape[1:]) * payload.dtype.itemsize
    return min(PIECES * max(FOLD_BYTES, patch * plan.placement.grid.columns.count), 2 * payload.shape[0] * patch)


def _folding(plan: MergePlan, divider: Divider) -> int:
    """A bound on what is in use beside the image and the pieces while patches become one: sums, covers."""
    payload, placement, rule = plan.payload, plan.placement, plan.rule
    grid, scattered = placement.grid, not placement.whole
    patch = math.prod(payload.shape[1:]) * payload.dtype.itemsize
    pixels, channels = math.prod(grid.padded), math.prod(payload.shape[3:])
    dense = NUMBER_BYTES * pixels * (1 + scattered) if divider.cover.uncovered or plan.settings.trim else 0
    if isinstance(rule, Ranking):
        bands = list(RankFold(divider, rule).bands())
        held = max(last - first for _, _, first, last in bands) * patch
        values = max(stop - top for top, stop, _, _ in bands) * grid.columns.padded * channels
        return dense + 3 * held + (BAND_BYTES + 4 * NUMBER_BYTES * values if rule.holds_all else NUMBER_BYTES * values)
    sums = sum(rule.sums_dtype(part, placement.most).itemsize for part in rule.parts_of(payload.dtype))
    if scattered:
        covers = NUMBER_BYTES * pixels * (1 + (rule.window is not None)) + 6 * NUMBER_BYTES * placement.count
        return pixels * channels * sums + dense + covers
    if payload.meta.layout == "columns":
        return pixels * channels * sums + dense
    lines = grid.patch[0] + grid.stride[0] * max(1, FOLD_BYTES // max(1, patch * grid.columns.count))
    weighed = 2 * NUMBER_BYTES * max(FOLD_BYTES, patch) // payload.dtype.itemsize if rule.window is not None else 0
    return 2 * lines * grid.columns.padded * channels * sums + weighed + dense
