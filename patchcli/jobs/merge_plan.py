"""``merge --dry-run``: the image that a stack makes, and what that takes, from headers and origins."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.geometry.cover import cover_of
from patchcli.images import imagefile
from patchcli.images.formats import FORMATS
from patchcli.jobs.estimate import PIECES, as_said, base
from patchcli.jobs.merge import MergeSettings, check_cover, hints_of, laid_out, payload_of, wanted_of, window_of
from patchcli.jobs.task import Planned, Said, Task, Tick
from patchcli.patches.extract import FOLD_BYTES, blocks
from patchcli.patches.merge_ranked import BAND_BYTES, RANKED, RankFold
from patchcli.patches.normalize import Divider, Wanted
from patchcli.patches.reducers import Rule
from patchcli.stacks.reader import AT_ONCE

if TYPE_CHECKING:
    from patchcli.geometry.cover import Cover
    from patchcli.geometry.grid import Grid
    from patchcli.stacks.reader import Payload

COUNT = 8  # bytes of a number
READ = 5  # pieces of a stack that are read ahead, or folded
PICKED = 6  # and of one from which patches are picked
RANKS = 4  # numbers of each pixel of a band


class _Band(NamedTuple):
    """The largest band of lines that is put together at once: patches that touch it, lines; and whether values are ranked."""

    patches: int
    lines: int
    ranked: bool


class _Work(NamedTuple):
    """A merge that was laid out.

    Attributes:
        payload: the patches.
        grid: where they lie.
        scattered: whether they lie anywhere.
        shape: of the image.
        dtype: of the image.
        cover: of the image.
        rule: how values become one; None for those of `RANKED`.
        band: of those, the largest band.
    """

    payload: Payload
    grid: Grid
    scattered: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    cover: Cover
    rule: Rule | None
    band: _Band | None

    @property
    def image(self) -> int:
        """Bytes of the image."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def patch(self) -> int:
        """Bytes of a patch."""
        return math.prod(self.payload.shape[1:]) * self.payload.dtype.itemsize


def plan_one(task: Task, settings: MergeSettings, _tick: Tick) -> Said:
    """Say what image would be made."""
    with contextlib.ExitStack() as opened:
        payload = payload_of(task, settings, opened)
        planned, name = _plan(task, settings, payload), imagefile.format_of(task.target, settings.image_format)
        lost = imagefile.hint_of_samples(name, payload.meta.metadata, (*planned.shape, 1)[2])
        return as_said(task, planned, (*hints_of(payload), *([lost] if lost else [])))


def plan_merge(task: Task, settings: MergeSettings) -> Planned:
    """What `merge_one` would make.

    Raises:
        PatchcliError: what headers and origins show to be wrong, as `merge_one` says it.
    """
    with contextlib.ExitStack() as opened:
        return _plan(task, settings, payload_of(task, settings, opened))


def _plan(task: Task, settings: MergeSettings, payload: Payload) -> Planned:
    wanted = wanted_of(payload, settings)
    name = imagefile.format_of(task.target, settings.image_format)
    work = _laid(payload, wanted, name, settings)
    formats, written, outputs = [name], [FORMATS[name].encoding(work.shape, work.dtype)], [task.target]
    total = work.image
    if task.cover is not None:
        weighted = work.rule is not None and work.rule.window is not None
        dtype = np.dtype(np.float32) if weighted else np.min_scalar_type(work.cover.most)
        check_cover(task.cover, work.cover.shape, dtype)
        formats.append(imagefile.format_of(task.cover))
        shown = work.cover.size * dtype.itemsize
        # all of the cover at once, as numbers, then as an image
        written.append(shown + max(COUNT * work.cover.size, FORMATS[formats[1]].encoding(work.cover.shape, dtype)))
        outputs.insert(0, task.cover)
        outputs.reverse()
        total += shown
    folding = _folding(work, wanted)
    memory = base(*formats) + max(folding, work.image + _kept(work) // 2 + max(written))
    height, width = work.shape[:2]
    count = payload.shape[0]
    what = f"image of width={width} height={height} from {count} patches"
    return Planned(what, work.shape, total, memory, tuple(outputs), count, work.cover.uncovered)


def _laid(payload: Payload, wanted: Wanted, name: str, settings: MergeSettings) -> _Work:
    """Lay out and check all but the values of patches."""
    grid, origins = laid_out(payload, wanted, name, settings)
    dtype, channels = payload.dtype.newbyteorder("="), payload.shape[3:]
    rule, band = None, None
    if settings.reduce in RANKED:
        fold = RankFold(grid, dtype, channels, wanted, origins, settings.reduce)
        bands = list(fold.bands())
        sizes = (max(last - first for _, _, first, last in bands), max(stop - top for top, stop, _, _ in bands))
        band = _Band(*sizes, settings.reduce == "median")
    else:
        rule = Rule(settings.reduce, window_of(settings.window, grid))
    cover = cover_of(grid, origins)
    divider = Divider(grid, cover, None, dtype, channels, wanted)
    work = _Work(payload, grid, origins is not None, (*divider.cover.shape, *channels), wanted.dtype, divider.cover, rule, band)
    _sums(work)  # refuses what adds up to more than 64 bits
    return work


def _sums(work: _Work) -> int:
    """Bytes of what stands for one value while patches are added up."""
    if work.rule is None:
        return work.payload.dtype.itemsize
    rows, columns = (int(axis.padded_cover.max()) for axis in (work.grid.rows, work.grid.columns))
    terms = work.payload.shape[0] if work.scattered else rows * columns
    rule = work.rule
    return sum(rule.sums_dtype(part, terms).itemsize for part in rule.parts_of(work.payload.dtype))


def _folding(work: _Work, wanted: Wanted) -> int:
    """Bytes while patches become an image."""
    pixels = math.prod(work.grid.padded)
    origins = 3 * 2 * COUNT * work.payload.shape[0] if work.scattered else 0
    covering = 4 * COUNT * pixels if work.scattered else 0
    dense = COUNT * math.prod(work.grid.image)
    if wanted.trim:
        covering = max(covering, dense)
    held = COUNT * pixels if work.scattered else 0  # the cover
    if work.scattered and work.rule is not None and work.rule.window is not None:
        held += COUNT * pixels
    filling = dense + dense // COUNT if work.cover.uncovered else 0
    if work.rule is None:
        steps = _ranking(work)
    elif work.scattered or work.payload.meta.layout == "columns":
        values = pixels * math.prod(work.payload.shape[3:])
        steps = values * _sums(work) + max(filling, _kept(work))
        filling = 0
    else:
        steps = _kept(work)
    return origins + max(covering, held + work.image + max(steps, filling))


def _kept(work: _Work) -> int:
    """Bytes of the pieces in which patches are read and added up; the C library keeps about half of it to the end."""
    payload, grid, rule = work.payload, work.grid, work.rule
    total = payload.shape[0] * work.patch
    if rule is None:
        return min(PICKED * AT_ONCE, total)
    if payload.meta.layout == "columns":
        return min(PIECES * payload.shape[0] * payload.dtype.itemsize, total)
    if work.scattered:
        return min(READ * FOLD_BYTES // 2, total)
    most = max(block.count for block in blocks(grid, math.prod(payload.shape[3:]), payload.dtype.itemsize))
    block = most * work.patch
    rows = max(1, most // grid.columns.count)
    lines = (rows - 1) * grid.stride[0] + grid.patch[0]
    sums = 2 * lines * grid.columns.padded * math.prod(payload.shape[3:]) * _sums(work)
    weighed = 1.6 * block * COUNT / payload.dtype.itemsize if rule.window is not None else 0
    return int(min(READ * block, total) + block + sums + weighed)


def _ranking(work: _Work) -> int:
    """Bytes while patches are painted over each other or ranked: patches held, twice while new ones come, and a band's values."""
    payload, band = work.payload, work.band
    assert band is not None
    channels, itemsize = math.prod(payload.shape[3:]), payload.dtype.itemsize
    values = band.lines * work.grid.columns.padded * channels
    held = band.patches * work.patch
    coming = 3 * held + _kept(work)
    if not band.ranked:
        return coming + values * itemsize
    layers = min(BAND_BYTES, work.cover.most * values * itemsize)
    numbers = RANKS * COUNT * values // channels + COUNT * values * (channels > 1)
    return max(coming, 2 * held + _kept(work) + layers + numbers)
