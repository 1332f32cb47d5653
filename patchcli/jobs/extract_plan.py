"""``extract`` planned from headers: the grid of an image, what is cut and written, what that takes."""

from __future__ import annotations

import contextlib
import functools
import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

from patchcli.arrays import exact_scalar, nodata_in, parse_number
from patchcli.errors import PatchcliError, counted
from patchcli.geometry.grid import CACHED_LENGTH, Grid, Part
from patchcli.images.source import check_size
from patchcli.jobs.estimate import NUMBER_BYTES, PIECES, base
from patchcli.jobs.reading import blamed, check_pixels, open_input_image
from patchcli.jobs.task import LABELS, ExtractTask, Planned, Said, Tick, as_said
from patchcli.patches.extract import CUT_BYTES
from patchcli.patches.padded import LINES_BYTES
from patchcli.stacks.file import ORIGINS_AT_ONCE, stack_file_size
from patchcli.stacks.header import Meta
from patchcli.stacks.tile_names import split_template
from patchcli.storage import files
from patchcli.storage.provenance import Recipe, Records
from patchcli.storage.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.images.source import ImageSource
    from patchcli.jobs.reading import ImageInput
    from patchcli.jobs.settings import ExtractSettings
    from patchcli.patches.select import Choice

LAST_MARK = 2**32 - 1
DRAWN = 40  # bytes of a patch among those that a draw is from: numbers, keys and copies of both
COUNTED = 4  # bytes of a column for each patch row whose pixels are counted
_grid = functools.lru_cache(8)(Grid)  # which the images of a folder mostly have in common


class ExtractPlan(NamedTuple):
    """What is cut, its files open and its headers checked.

    Attributes:
        settings: how it is cut.
        grid: of the image, which its companions share.
        images: the image and its companions.
        targets: the stack file of each.
        labels: the number of the image of class numbers, if there is one.
        mask: the image that says which part counts.
        records: how each output comes to be.
    """

    settings: ExtractSettings
    grid: Grid
    images: list[ImageInput]
    targets: list[str]
    labels: int | None
    mask: ImageInput | None
    records: Records

    def meta(self, number: int, shard: tuple[int, int, int] | None) -> Meta:
        """What the stack of an image, or one shard of it, says of itself."""
        (image, source, _), chosen = self.images[number], self.settings
        return Meta(
            self.grid,
            image.shape[2:],
            image.dtype,
            *self.padding(number),
            source,
            chosen.layout,
            chosen.pixel_order,
            shard,
            self.records.of(self.targets[number]),
            chosen.kept(image.metadata),
            labels=number == self.labels,
        )

    def padding(self, number: int) -> tuple[str, float]:
        """What margin and padding of an image hold: the mode, and the value of a constant."""
        if number == self.labels and self.settings.label_pad is not None:
            return "constant", self.settings.label_pad
        return self.settings.pad_mode, self.settings.pad_value

    @property
    def choice(self) -> Choice:
        """Which patches are kept; the file's own nodata counts where none was given."""
        given, nodata = self.settings.choice, self.images[0].image.metadata.nodata
        return given if given.nodata is not None or nodata is None else given._replace(nodata=parse_number(nodata))

    @property
    def chooses(self) -> bool:
        """Whether some patches may be dropped."""
        choice = self.settings.choice
        return choice.most is not None or bool(choice.min_std or choice.min_valid is not None or self.mask)

    def is_banded(self, given: ImageInput) -> bool:
        """Whether an image is read in bands."""
        return _in_bands(given.image, self.settings)

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the files."""
        given = [*self.images, *([] if self.mask is None else [self.mask])]
        large = [(one.label, one.image.metadata.too_large()) for one in self.images if self.settings.keeps_metadata]
        gone = (f"{label}has metadata too large for a stack; left out: {', '.join(names)}" for label, names in large if names)
        lost = (hint for one in self.images if self.settings.keeps_metadata for hint in one.image.lost)
        hints = (hint for one in given for hint in one.hints)
        return *hints, *self._hints_of_nodata(), *dict.fromkeys(lost), *gone

    def _hints_of_nodata(self) -> Iterator[str]:
        """What to say of a value for no data that no pixel can have."""
        nodata, dtype = self.settings.choice.nodata, self.images[0].image.dtype
        if nodata is not None and nodata_in(dtype, nodata) is None:
            yield f"--nodata {nodata} is not a value of {dtype}, so no pixel counts as nodata"

    def patch_bytes(self, image: ImageSource) -> int:
        """Bytes of a patch of one of the images."""
        return math.prod((*self.grid.patch, *image.shape[2:])) * image.dtype.itemsize


def recipes(task: ExtractTask, settings: ExtractSettings) -> dict[str, Recipe]:
    """What each stack of a task depends on."""
    options, of_all = settings.changed, dict[str, str | tuple[str, ...]](image=task.source)
    if task.mask is not None:
        options = {**options, "--mask": True}
        of_all["mask"] = task.mask
    inputs = [of_all, *({**of_all, one.role: one.path} for one in task.companions)]
    names = [{"--output": split_template(template)[1]} for template in task.tiles] or [{}] * len(inputs)
    return {
        target: Recipe("extract", {**options, **own}, read)
        for target, own, read in zip(task.targets(), names, inputs, strict=True)
    }


@contextlib.contextmanager
def planned(task: ExtractTask, settings: ExtractSettings) -> Iterator[ExtractPlan]:
    """Open the images of a task and lay the grid; what headers show to be wrong is refused."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(open_input_image(task.source, settings.reading))
        grid = grid_of(first.image, settings)
        others = [opened.enter_context(_beside(one.path, grid, settings, one.role)) for one in task.companions]
        mask = None if task.mask is None else opened.enter_context(_beside(task.mask, grid, settings, "mask"))
        labels = next((number for number, one in enumerate(task.companions, 1) if one.role == LABELS), None)
        plan = ExtractPlan(settings, grid, [first, *others], task.targets(), labels, mask, records)
        for number, one in enumerate(plan.images):
            mode, value = plan.padding(number)
            if mode == "constant":
                with blamed(one.label and f"{one.label}cannot be padded: "):
                    exact_scalar(value, one.image.dtype)
        yield plan


def _in_bands(image: ImageSource, settings: ExtractSettings) -> bool:
    """Whether an image is read in bands: one pixel of all patches, as ``columns`` has them, needs all of it at once."""
    return image.in_bands and settings.layout != "columns"


def grid_of(image: ImageSource, settings: ExtractSettings) -> Grid:
    """The grid of an image, which margin and padding must not make too large."""
    length = image.shape[0], image.shape[1]
    make = _grid if max(length) <= CACHED_LENGTH else Grid
    grid = make(length, settings.patch, settings.stride, offset=settings.offset, edge=settings.edge, margin=settings.margin)
    pixel, most = math.prod(image.shape[2:]) * image.dtype.itemsize, settings.reading.max_pixels
    if _in_bands(image, settings):  # of which some lines are there at a time
        lines = min(grid.patch[0] + image.lines, grid.padded[0]), grid.padded[1]
        check_size(lines, pixel, most, "needs lines of", ", of a patch and a band")
    else:
        image.check_whole()
        check_pixels(grid, pixel, most)
    return grid


@contextlib.contextmanager
def _beside(path: str, grid: Grid, settings: ExtractSettings, what: str) -> Iterator[ImageInput]:
    """An image that lies over another pixel by pixel; of its pages, if it has several, the same."""
    label = f"its {what} {path} "
    with contextlib.ExitStack() as opened:
        with blamed(label):
            reading = settings.reading.of_labels() if what == LABELS else settings.reading.beside()
            beside = opened.enter_context(open_input_image(path, reading, label))
            image = beside.image
            if what != "mask" and settings.layout == "columns":
                image.check_whole()
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
    count, known = count_of(plan)
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
        memory_of(plan, count),
        tuple(names),
        count,
        max(grid.uncovered, math.prod(grid.image) - count * height * width),
        # the mark of drawn patches, a number in each shard, is not known
        exact=known and (whole or not sharded),
        packed=settings.compress,
    )


def count_of(plan: ExtractPlan) -> tuple[int, bool]:
    """How many patches are kept, and whether that is known: what lies in the pixels can only make them fewer."""
    choice, count = plan.settings.choice, plan.grid.count
    if choice.most is not None:
        count = min(choice.most if isinstance(choice.most, int) else max(1, int(count * choice.most)), count)
    return count, not choice.min_std and choice.min_valid is None and plan.mask is None


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


def _reading(plan: ExtractPlan, given: ImageInput) -> int:
    """What reading an image takes: decoded whole, or old lines beside new ones, and what is decoded for them."""
    image, (height, width) = given.image, plan.grid.padded
    line = width * math.prod(image.shape[2:]) * image.dtype.itemsize
    together = max(plan.grid.patch[0], LINES_BYTES // line)
    if plan.is_banded(given):
        return 2 * line * min(together + image.lines, height) + image.band_memory(together)
    padding = line * (height if plan.settings.layout == "columns" else min(together, height))
    return image.memory + padding * (plan.grid.padded != plan.grid.image)


def memory_of(plan: ExtractPlan, count: int) -> int:
    """A bound on what is in use at once: pixels, whole or some lines of them, and patches that are chosen, or cut and written."""
    grid, images = plan.grid, [one.image for one in plan.images]
    patch = max(map(plan.patch_bytes, images))
    reading = reading_of(plan)
    piece = count * images[0].dtype.itemsize if plan.settings.layout == "columns" else max(CUT_BYTES, patch)
    cutting = min(PIECES * piece, count * patch) + 2 * NUMBER_BYTES * min(count, max(ORIGINS_AT_ONCE, grid.columns.count))
    if count < grid.count:
        reading += max(image.kept for image in images)  # few of the patches: windows, not lines
        cutting += (4 * NUMBER_BYTES if plan.settings.layout == "columns" else NUMBER_BYTES) * count
    formats = [one.image.format for one in (*plan.images, *([plan.mask] if plan.mask else []))]
    return base(*formats) + reading + max(choosing_of(plan), cutting)


def reading_of(plan: ExtractPlan) -> int:
    """A bound on what reading takes at once: one of the images, and the mask."""
    return max(_reading(plan, one) for one in plan.images) + sum(_reading(plan, one) for one in [plan.mask] if one)


def choosing_of(plan: ExtractPlan) -> int:
    """A bound on what choosing patches takes beside that."""
    grid, choice, image = plan.grid, plan.settings.choice, plan.images[0].image
    choosing = (DRAWN if choice.most is not None else 2 * NUMBER_BYTES) * grid.count * plan.chooses
    if plan.mask or choice.min_valid is not None:
        choosing += COUNTED * grid.padded[1] * (2 + grid.patch[0] // grid.stride[0])
    if choice.min_std:
        choosing += 2 * NUMBER_BYTES * max(CUT_BYTES, plan.patch_bytes(image)) // image.dtype.itemsize
    return choosing
