"""``extract`` planned from headers: the grid of an image, what is cut and written, what that takes."""

from __future__ import annotations

import contextlib
import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

from patchcli.arrays import exact_scalar
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.grid import Grid, Part
from patchcli.jobs.estimate import NUMBER_BYTES, PIECES, base
from patchcli.jobs.reading import blamed, check_pixels, open_input_image
from patchcli.jobs.settings import ExtractSettings, Reading
from patchcli.jobs.task import ExtractTask, Planned, Said, Tick, as_said
from patchcli.patches.extract import CUT_BYTES
from patchcli.stacks.file import ORIGINS_AT_ONCE, stack_file_size
from patchcli.stacks.header import Meta
from patchcli.storage import files
from patchcli.storage.provenance import Recipe, Records, differing
from patchcli.storage.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.images.source import ImageSource
    from patchcli.jobs.reading import ImageInput

LAST_MARK = 2**32 - 1
DRAWN = 40  # bytes of a patch among those that a draw is from: numbers, keys and copies of both
MASKED = 18  # bytes a pixel of a mask while it is summed


class ExtractPlan(NamedTuple):
    """What is cut, its files open and its headers checked.

    Attributes:
        settings: how it is cut.
        grid: of the image, which its companions share.
        images: the image and its companions.
        targets: the stack file of each.
        mask: the image that says which part counts.
        records: how each output comes to be.
    """

    settings: ExtractSettings
    grid: Grid
    images: list[ImageInput]
    targets: list[str]
    mask: ImageInput | None
    records: Records

    def meta(self, number: int, shard: tuple[int, int, int] | None) -> Meta:
        """What the stack of an image, or one shard of it, says of itself."""
        (image, source, _), chosen = self.images[number], self.settings
        return Meta(
            self.grid,
            image.shape[2:],
            image.dtype,
            chosen.pad_mode,
            chosen.pad_value,
            source,
            chosen.layout,
            chosen.pixel_order,
            shard,
            self.records.of(self.targets[number]),
            image.metadata,
        )

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the files."""
        given = [*self.images, *([] if self.mask is None else [self.mask])]
        return tuple(hint for one in given for hint in one.hints)

    def patch_bytes(self, image: ImageSource) -> int:
        """Bytes of a patch of one of the images."""
        return math.prod((*self.grid.patch, *image.shape[2:])) * image.dtype.itemsize


def recipes(task: ExtractTask, settings: ExtractSettings) -> dict[str, Recipe]:
    """What each stack of a task depends on."""
    options = differing(settings.options(), ExtractSettings(patch=(0, 0), stride=(0, 0)).options())
    of_all: dict[str, str | tuple[str, ...]] = {"image": task.source}
    if task.mask is not None:
        options["--mask"] = True
        of_all["mask"] = task.mask
    made = {target: Recipe("extract", options, {**of_all, "companion": path}) for path, target in task.companions}
    return {task.target: Recipe("extract", options, of_all), **made}


@contextlib.contextmanager
def planned(task: ExtractTask, settings: ExtractSettings) -> Iterator[ExtractPlan]:
    """Open the images of a task and lay the grid; what headers show to be wrong is refused."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(open_input_image(task.source, settings.reading))
        grid = grid_of(first.image, settings)
        beside = [("companion", path) for path, _ in task.companions]
        others = [opened.enter_context(_beside(path, grid, settings, what)) for what, path in beside]
        mask = None if task.mask is None else opened.enter_context(_beside(task.mask, grid, settings, "mask"))
        if settings.pad_mode == "constant":
            for one in (first, *others):
                exact_scalar(settings.pad_value, one.image.dtype)
        yield ExtractPlan(settings, grid, [first, *others], task.targets(), mask, records)


def grid_of(image: ImageSource, settings: ExtractSettings) -> Grid:
    """The grid of an image, which margin and padding must not make too large."""
    length = image.shape[0], image.shape[1]
    grid = Grid(length, settings.patch, settings.stride, offset=settings.offset, edge=settings.edge, margin=settings.margin)
    check_pixels(grid, math.prod(image.shape[2:]) * image.dtype.itemsize, settings.reading.max_pixels)
    return grid


@contextlib.contextmanager
def _beside(path: str, grid: Grid, settings: ExtractSettings, what: str) -> Iterator[ImageInput]:
    """An image that lies over another pixel by pixel; gray, channel and page are the other's own."""
    label = f"its {what} {path} "
    reading = Reading(rotate=settings.reading.rotate, max_pixels=settings.reading.max_pixels)
    with contextlib.ExitStack() as opened:
        with blamed(label):
            beside = opened.enter_context(open_input_image(path, reading, label))
            image = beside.image
            if image.shape[:2] != grid.image:
                raise PatchcliError(
                    f"has width={image.shape[1]} height={image.shape[0]}; expected width={grid.image[1]} height={grid.image[0]}, "
                    "as the image has"
                )
        yield beside


def mark_of(part: Part) -> int:
    """CRC-32 of the origins of patches."""
    mark = 0
    for first in range(0, part.count, ORIGINS_AT_ONCE):
        mark = zlib.crc32(part.origins(first, min(first + ORIGINS_AT_ONCE, part.count)).astype("<i8").tobytes(), mark)
    return mark


def plan_one(task: ExtractTask, settings: ExtractSettings, _tick: Tick) -> Said:
    """Say what would be made of one image."""
    with planned(task, settings) as plan:
        return as_said(task, estimate(plan), plan.hints)


def estimate(plan: ExtractPlan) -> Planned:
    """What a plan makes."""
    grid, settings = plan.grid, plan.settings
    count, known = _count(plan)
    sharded, whole = settings.sharded, count == grid.count
    most = settings.shard_patches or count
    counts = [min(first + most, count) - first for first in range(0, count, most)]
    mark = mark_of(Part(grid, 0, count)) if sharded and whole and known else LAST_MARK
    names = [shard_name(name, shard, len(counts)) if sharded else name for name in plan.targets for shard in range(len(counts))]
    height, width = grid.patch
    shards = f" in {counted(len(counts), 'shard')}" if sharded else ""
    return Planned(
        f"{counted(count, 'patch')} of width={width} height={height}{shards}",
        (*grid.patch, *plan.images[0].image.shape[2:]),
        sum(_file_bytes(plan, number, counts, mark) for number in range(len(plan.images))),
        _memory(plan, count),
        tuple(names),
        count,
        max(grid.uncovered, math.prod(grid.image) - count * height * width),
        # the mark of drawn patches, a number in each shard, is not known
        exact=known and (whole or not sharded),
        packed=settings.compress,
    )


def _count(plan: ExtractPlan) -> tuple[int, bool]:
    """How many patches are kept, and whether that is known: what lies in the pixels can only make them fewer."""
    choice, count = plan.settings.choice, plan.grid.count
    if choice.most is not None:
        count = min(choice.most if isinstance(choice.most, int) else max(1, int(count * choice.most)), count)
    return count, not choice.min_std and plan.mask is None


def _file_bytes(plan: ExtractPlan, number: int, counts: list[int], mark: int) -> int:
    """Bytes of the stack file of an image, or of all its shards: equally long numbers make equally long files."""
    seekable = not files.is_special(plan.targets[number])
    known: dict[tuple[int, int], int] = {}
    total = 0
    for shard, count in enumerate(counts):
        key = count, len(str(shard))
        if key not in known:
            meta = plan.meta(number, (shard, len(counts), mark) if plan.settings.shard_patches else None)
            known[key] = stack_file_size(meta, plan.images[number].image.dtype, count, seekable=seekable)
        total += known[key]
    return total


def _memory(plan: ExtractPlan, count: int) -> int:
    """A bound on what is in use at once: an image beside what it was padded to, patches chosen, pieces cut and written."""
    choice, pixels = plan.settings.choice, math.prod(plan.grid.padded)
    images = [one.image for one in plan.images]
    decoding = max(image.memory for image in (*images, *([plan.mask.image] if plan.mask else [])))
    copies = 2 if len(images) > 1 else int(plan.grid.padded != plan.grid.image)  # a companion comes while another is there
    padding = copies * max(pixels * math.prod(image.shape[2:]) * image.dtype.itemsize for image in images)
    choosing = (MASKED * pixels if plan.mask else 0) + (DRAWN * plan.grid.count if choice.most is not None else 0)
    patch = max(map(plan.patch_bytes, images))
    if choice.min_std:
        choosing += 2 * NUMBER_BYTES * max(CUT_BYTES, patch) // images[0].dtype.itemsize + 2 * NUMBER_BYTES * plan.grid.count
    piece = count * images[0].dtype.itemsize if plan.settings.layout == "columns" else max(CUT_BYTES, patch)
    cutting = min(PIECES * piece, count * patch) + 2 * NUMBER_BYTES * min(count, max(ORIGINS_AT_ONCE, plan.grid.columns.count))
    if count < plan.grid.count:
        cutting += (4 * NUMBER_BYTES if plan.settings.layout == "columns" else NUMBER_BYTES) * count
    return base(*(image.format for image in images)) + decoding + padding + max(choosing, cutting)
