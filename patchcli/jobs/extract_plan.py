"""``extract --dry-run``: how many patches an image has, and what they take, from its header."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from patchcli.arrays import exact_scalar
from patchcli.geometry.grid import Part
from patchcli.jobs.estimate import PIECES, as_said, base, peek_image, size_of
from patchcli.jobs.extract import ExtractSettings, check_beside, grid_of, mark_of, meta_of, reading_beside, recipes
from patchcli.jobs.reading import blamed
from patchcli.jobs.records import Records
from patchcli.jobs.task import Planned, Said, Task, Tick
from patchcli.patches.extract import CUT_BYTES
from patchcli.patches.select import CANDIDATES_TOGETHER
from patchcli.stacks.file import ORIGINS_AT_ONCE, file_size
from patchcli.storage import files
from patchcli.storage.shards import shard_name

if TYPE_CHECKING:
    from patchcli.geometry.grid import Grid
    from patchcli.images.imagefile import Peeked
    from patchcli.stacks.header import Source
    from patchcli.storage.provenance import Record

LAST_MARK = 2**32 - 1
CANDIDATE = 40  # bytes of a patch among those that a draw is from: numbers, keys and copies of both
FLOAT, COUNT = 8, 8  # bytes


class _Input(NamedTuple):
    """An image that is cut, as its header tells of it."""

    seen: Peeked
    source: Source
    target: str


def plan_one(task: Task, settings: ExtractSettings, _tick: Tick) -> Said:
    """Say what would be made of one image."""
    return as_said(task, *_plan(task, settings))


def plan_extract(task: Task, settings: ExtractSettings) -> Planned:
    """What `extract_one` would make of one image, and of its companions.

    Raises:
        PatchcliError: what a header shows to be wrong, as `extract_one` says it.
    """
    return _plan(task, settings)[0]


def _plan(task: Task, settings: ExtractSettings) -> tuple[Planned, tuple[str, ...]]:
    """The plan, and what is odd about the files."""
    seen, source = peek_image(task.source, settings.reading)
    grid = grid_of(seen, settings)
    _check_padding(seen, settings)
    mask = None if task.mask is None else _beside(task.mask, grid, settings, "mask")[0]
    inputs = [_Input(seen, source, task.target)]
    for path, target in task.companions:
        inputs.append(_Input(*_beside(path, grid, settings, "companion"), target))
        _check_padding(inputs[-1].seen, settings)
    count, exact = _count(grid, settings, masked=mask is not None)
    most = settings.shard_patches or count
    sharded = settings.shard_patches is not None
    whole = count == grid.count
    mark = mark_of(Part(grid, 0, count)) if sharded and whole and exact else LAST_MARK
    records = Records(recipes(task, settings), in_images=settings.resume)
    counts = [min(first + most, count) - first for first in range(0, count, most)]
    names = [
        shard_name(one.target, shard, len(counts)) if sharded else one.target for one in inputs for shard in range(len(counts))
    ]
    height, width = grid.patch
    planned = Planned(
        f"{count} patches of width={width} height={height}" + (f" in {len(counts)} shards" if sharded else ""),
        (*grid.patch, *seen.shape[2:]),
        sum(_bytes(one, grid, settings, counts, mark, records.of(one.target)) for one in inputs),
        _memory(inputs, mask, grid, settings, count),
        tuple(names),
        count,
        max(grid.uncovered, math.prod(grid.image) - count * height * width),
        # the mark of drawn patches, a number in each shard, is not known
        exact=exact and (whole or not sharded),
        packed=settings.compress,
    )
    return planned, seen.hints


def _beside(path: str, grid: Grid, settings: ExtractSettings, what: str) -> tuple[Peeked, Source]:
    """The header of an image that lies over another pixel by pixel."""
    with blamed(f"its {what} {path} "):
        found = peek_image(path, reading_beside(settings))
        check_beside(found[0].shape, grid)
        return found


def _check_padding(seen: Peeked, settings: ExtractSettings) -> None:
    if settings.pad_mode == "constant":
        exact_scalar(settings.pad_value, seen.dtype)


def _count(grid: Grid, settings: ExtractSettings, *, masked: bool) -> tuple[int, bool]:
    """How many patches are kept, and whether that is known: what lies in the pixels can only make them fewer."""
    choice = settings.choice
    unknown = bool(choice.min_std) or masked
    if choice.most is None:
        return grid.count, not unknown
    most = choice.most if isinstance(choice.most, int) else max(1, int(grid.count * choice.most))
    return min(most, grid.count), not unknown


def _bytes(one: _Input, grid: Grid, settings: ExtractSettings, counts: list[int], mark: int, record: Record | None) -> int:
    """Bytes of the stack file of an image, or of all its shards: equally long numbers make equally long files."""
    seekable = not files.is_special(one.target)
    known: dict[tuple[int, int], int] = {}
    total = 0
    for shard, count in enumerate(counts):
        key = count, len(str(shard))
        if key not in known:
            numbered = (shard, len(counts), mark) if settings.shard_patches else None
            about = one.seen.shape[2:], one.seen.dtype, one.seen.metadata
            meta = meta_of(grid, about, one.source, settings, numbered, record)
            known[key] = file_size(meta, one.seen.dtype, count, seekable=seekable)
        total += known[key]
    return total


def _memory(inputs: list[_Input], mask: Peeked | None, grid: Grid, settings: ExtractSettings, count: int) -> int:
    """The most that is in use at once: while images are decoded, padded, patches chosen, cut and written.

    The image itself stays beside what it was padded to, and the first of both while a companion is read.
    """
    first = inputs[0].seen
    pixels = math.prod(grid.padded)
    image = size_of(first)
    padded = _padded(first, grid)
    chosen = COUNT * count if count < grid.count or settings.choice.min_std or mask else 0
    inside = pixels if mask else 0
    steps = [first.memory, image + padded, image + padded + _choosing(first, mask, grid, settings)]
    held = image + padded + inside + chosen  # in place of what the image was padded to, companions come
    steps.append(held + _cutting(first, grid, settings, count))
    for before, one in pairwise(one.seen for one in inputs):
        left = _cutting(before, grid, settings, count)  # what pieces took is kept for the next
        steps.append(held + left + max(one.memory, size_of(one) + _padded(one, grid)))
        held += (_padded(one, grid) or size_of(one)) - padded
        padded = _padded(one, grid) or size_of(one)
        steps.append(held + _cutting(one, grid, settings, count))
    seen = [one.seen for one in inputs] + ([mask] if mask else [])
    return base(*(one.format for one in seen)) + max(steps)


def _padded(seen: Peeked, grid: Grid) -> int:
    """Bytes of a padded image; 0 where it is the image itself."""
    return 0 if grid.padded == grid.image else math.prod((*grid.padded, *seen.shape[2:])) * seen.dtype.itemsize


def _choosing(seen: Peeked, mask: Peeked | None, grid: Grid, settings: ExtractSettings) -> int:
    """Bytes while patches are chosen."""
    choice, pixels = settings.choice, math.prod(grid.padded)
    at_once = min(grid.count, CANDIDATES_TOGETHER)
    step = 0
    if choice.min_std:
        piece = max(CUT_BYTES, _patch(seen, grid))
        step = min(piece, grid.count * _patch(seen, grid)) // seen.dtype.itemsize * 2 * FLOAT
    drawn = 0
    if choice.most is not None:
        alone = isinstance(choice.most, int)
        drawn = CANDIDATE * (min(int(choice.most) + at_once, grid.count) if alone else grid.count)
    elif choice.min_std or mask:
        drawn = 2 * COUNT * grid.count
    if mask is None:
        return step + drawn
    sums = COUNT * pixels
    boxes = 12 * COUNT * at_once  # of the patches looked at together
    return max(mask.memory + pixels, pixels + 2 * sums, pixels + sums + max(boxes, step) + drawn)


def _patch(seen: Peeked, grid: Grid) -> int:
    return math.prod((*grid.patch, *seen.shape[2:])) * seen.dtype.itemsize


def _cutting(seen: Peeked, grid: Grid, settings: ExtractSettings, count: int) -> int:
    """Bytes while patches are cut and written, piece by piece."""
    payload = count * _patch(seen, grid)
    origins = min(count, max(ORIGINS_AT_ONCE, grid.columns.count)) * 2 * COUNT
    if settings.layout == "columns":
        piece, starts = count * seen.dtype.itemsize, 0 if count == grid.count else 4 * COUNT * count
        return int(min(PIECES * piece, payload) + starts + origins)
    row = grid.columns.count * _patch(seen, grid)
    piece = max(CUT_BYTES // row * row, min(CUT_BYTES, row), _patch(seen, grid))
    return int(min(PIECES * piece, payload) + origins)
