"""``merge`` planned: the image that a stack makes, and what that takes, from headers and origins."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from patchcli.arrays import nodata_in, parse_number
from patchcli.errors import PatchcliError, counted
from patchcli.images import sink
from patchcli.images.formats import FORMATS
from patchcli.jobs.estimate import NUMBER_BYTES, PIECES, base
from patchcli.jobs.merge_cover import CoverFile
from patchcli.jobs.reading import FREE_PIXELS, blamed, check_canvas, check_pixels
from patchcli.jobs.task import MapTask, MergeTask, Planned, Said, Tick, as_said
from patchcli.npy_header import NPY_MAGIC
from patchcli.patches.extract import FOLD_BYTES
from patchcli.patches.merge import in_bands, paints
from patchcli.patches.merge_ranked import BAND_BYTES, RankFold, Ranking
from patchcli.patches.merge_streaming import CHUNK_BYTES, SUMS_BYTES
from patchcli.patches.normalize import DIVIDED_BYTES, Divider, Wanted
from patchcli.patches.reducers import REDUCERS, Rule, check_values, rule_of
from patchcli.patches.sources import PatchSource, inside
from patchcli.patches.windows import NAMES, Window, as_window
from patchcli.stacks.file import StackReader
from patchcli.stacks.npz import NpzReader
from patchcli.stacks.reader import Payload, StackFile
from patchcli.stacks.tile_names import is_index
from patchcli.storage import files
from patchcli.storage.paths import is_remote
from patchcli.storage.provenance import Recipe, Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.cover import BoxCover, Cover
    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement
    from patchcli.images.metadata import Metadata
    from patchcli.jobs.compare import Comparison
    from patchcli.jobs.settings import MergeSettings
    from patchcli.stacks.header import Meta
    from patchcli.stacks.tile_files import TileFiles

READ_AHEAD = 4  # pieces that are read, wait or are laid at once, where none are folded in threads
LINES_AHEAD = 4  # times the bytes of lines that are made at once: those that wait, and are written
SUMMED_DOWN = 2  # times the bytes of patches, what their rows weigh, added up down the image
PLACE_NUMBERS = (
    9  # numbers for each patch that lies anywhere: its origin, in its place and in order, its place there, for two covers
)


class Patches(PatchSource, Protocol):
    """Patches, and what is known of them: of a stack file or its shards, of tile files, or of a function."""

    @property
    def meta(self) -> Meta:
        """How they were cut."""

    @property
    def placement(self) -> Placement:
        """Where they lie, as they were cut."""

    @property
    def shards(self) -> int:
        """How many files they come from."""

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about those."""

    @property
    def channels_first(self) -> bool:
        """Whether they stood as ``(N, C, h, w)``."""


class MergePlan(NamedTuple):
    """What is merged, its files open, its headers and origins checked.

    Attributes:
        settings: how it is merged.
        payload: the patches.
        wanted: the image that is asked for.
        formats: of its file, and of that of its cover.
        placement: where the patches lie, as large as they came, or as what is used of them.
        reduce: by which values of one pixel become one, a key of `REDUCERS`.
        window: by which they are weighed; None for equal weights.
        rule: how that is done.
        records: how each output comes to be.
        compared: the image beside its original, where there is one.
    """

    settings: MergeSettings
    payload: Patches
    wanted: Wanted
    formats: list[str]
    placement: Placement
    reduce: str
    window: Window | None
    rule: Rule | Ranking
    records: Records
    compared: Comparison | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image, ``(H, W[, C])``, before anything is trimmed."""
        return (*self.placement.grid.image, *self.payload.shape[3:])

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns of it that are made."""
        height, width = self.placement.grid.image
        return self.placement.cover.box() if self.wanted.trim else (slice(0, height), slice(0, width))

    def cover_file(self, cover: Cover | BoxCover) -> CoverFile:
        """The file of what lies on the image."""
        return CoverFile(self.formats[1], cover, self.placement, self.window, self.wanted.trim)

    @property
    def source(self) -> PatchSource:
        """The patches, or what is used of them."""
        return inside(self.payload, self.placement.grid.patch)

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the stack, and what the image cannot hold."""
        lost: tuple[str, ...] = ()
        if self.settings.keeps_metadata:
            lost = sink.hints_of_loss(self.formats[0], self.metadata, self.shape, self.wanted.dtype)
        mixing = *self._hints_of_mixing(), *self._hints_of_halo()
        original = () if self.compared is None else self.compared.hints
        return (*_hints_of(self.payload), *mixing, *lost, *self._lost_nodata(), *original, *self.records.hints())

    def _hints_of_halo(self) -> Iterator[str]:
        """What to say where patches that were taken for smaller ones may as well have lost a halo, as a margin provides for."""
        _, height, width, *_ = self.payload.shape
        grid = self.payload.meta.grid
        lost = grid.lost_by((height, width))
        if lost is not None and lost == grid.margin and not self.settings.halo:
            yield (
                f"its patches of width={width} height={height} were taken for 1/{grid.patch[0] // height} of what was cut; "
                f"if they lost {counted(lost, 'pixel')} on each side, as many as the margin has, add --halo {lost}"
            )

    def _hints_of_mixing(self) -> Iterator[str]:
        """What to say where values may be numbers of classes, and the rule, or the format, makes others of them."""
        meta = self.payload.meta
        of_table = meta.metadata is not None and meta.metadata.colormap is not None
        if not (of_table or (meta.record is not None and meta.record.settings.get("--color") == "indices")):
            return
        what = "indices of a colour table" if of_table else "indices (--color indices)"
        if self.settings.reduce is None and REDUCERS[self.reduce].mixes and self.placement.cover.most > 1:
            keeping = _unmixed(self.payload.dtype)
            yield f"its values are {what}, which {self.reduce} mixes; --reduce {keeping} keeps them"
        name = self.formats[0]
        if len(self.shape) == 2 and not sink.keeps_values(name, self.settings.creation):  # noqa: PLR2004  else they are colours
            yield f"its values are {what}, which {name.upper()} changes; a lossless format, as .png or .tif, keeps them"

    def _lost_nodata(self) -> tuple[str, ...]:
        """Where the stack's dtype can hold the value that stands for no data, and that of the image cannot."""
        said, was, now = self.payload.meta.metadata, self.payload.meta.dtype, self.wanted.dtype
        if said is None or said.nodata is None or "nodata" not in FORMATS[self.formats[0]].keeps:
            return ()  # of the last, `hints_of_loss` tells
        nodata, number = said.nodata, parse_number(said.nodata)
        if not self.settings.keeps_metadata or nodata_in(was, number) is None or nodata_in(now, number) is not None:
            return ()
        return (f"its nodata value {nodata} is no value of {now}; --dtype {was} keeps it",)

    @property
    def metadata(self) -> Metadata | None:
        """What the image means, which is trimmed or has another size than that of the stack, as its patches have."""
        metadata, now, was = self.payload.meta.metadata, self.placement.grid.image, self.payload.meta.grid.image
        if metadata is None:
            return None
        kept = self.settings.kept(metadata).scaled(now[1] / was[1], now[0] / was[0])
        if not self.wanted.trim:
            return kept
        rows, columns = self.box
        return kept.moved(columns.start, rows.start)


def recipes(task: MergeTask, settings: MergeSettings) -> dict[str, Recipe]:
    """What the image of a task, and its cover, depend on."""
    inputs: dict[str, str | tuple[str, ...]]
    if _has_tiles(task):  # of which all are looked at for those who ask how it was made, and for nobody else
        from patchcli.jobs.tile_source import tile_paths  # which stacks don't need

        inputs = {"tiles": tile_paths(task, settings) if settings.resume else task.sources()[0]}
    else:
        inputs = {"stack": (task.source, *task.shards) if task.shards else task.source}
    if settings.like is not None:
        inputs["like"] = settings.like
    if settings.window not in NAMES:
        inputs["window"] = settings.window
    return dict.fromkeys(task.targets(), Recipe("merge", settings.changed, inputs))


def _has_tiles(task: MergeTask) -> bool:
    """Whether a task merges tile files, not a stack."""
    return bool(task.tiles) or is_index(task.source)


@contextlib.contextmanager
def planned(task: MergeTask, settings: MergeSettings) -> Iterator[MergePlan]:
    """Open the stack of a task, or its shards, and lay out its patches; what headers show to be wrong is refused."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        payload: Patches = _tiles_of(task, settings) if _has_tiles(task) else _payload_of(task, settings, opened)
        opened.enter_context(_missing_shards_named(payload))
        plan = merging_plan(payload, task.targets(), settings, records)
        if task.compare is not None:
            from patchcli.jobs.compare import compared_with  # loaded for nobody else

            original = compared_with(task.compare, payload.meta, plan.shape, plan.box, settings.max_pixels)
            plan = plan._replace(compared=opened.enter_context(original))
        yield plan


def merging_plan(payload: Patches, targets: list[str], settings: MergeSettings, records: Records) -> MergePlan:
    """How patches become the image, and the cover, of these names."""
    wanted = _wanted_of(payload, settings)
    formats = [sink.format_of(targets[0], settings.image_format), *map(sink.format_of, targets[1:])]
    placement = _laid_out(payload, wanted, formats, settings)
    reduce = _reducer_of(payload, settings)
    window = _window_of(settings.window, placement.grid)
    return MergePlan(settings, payload, wanted, formats, placement, reduce, window, rule_of(REDUCERS[reduce], window), records)


def _tiles_of(task: MergeTask, settings: MergeSettings) -> TileFiles:
    """The patches of a task's tiles: their headers are read and checked."""
    from patchcli.jobs.tile_source import open_tiles

    return open_tiles(task, settings)


def _payload_of(task: MergeTask, settings: MergeSettings, opened: contextlib.ExitStack) -> Payload:
    """The patches of a task's stack or shards: headers and origins are read and checked."""
    like = None
    if settings.like is not None:
        with blamed(f"--like {settings.like} "):
            like = StackReader(opened.enter_context(files.open_input(settings.like)))
    return Payload(
        [_stack_file(path, settings, like, opened, one_of=1 + len(task.shards)) for path in (task.source, *task.shards)]
    )


def _unmixed(dtype: np.dtype[Any]) -> str:
    """The reducers that give no value but those of patches of a dtype, the one that counts them first."""
    names = [name for name, one in REDUCERS.items() if not one.mixes and not (one.counts and dtype.kind == "f")]
    *most, last = sorted(names, key=lambda name: not REDUCERS[name].counts)
    return f"{', '.join(most)} or {last}"


def _reducer_of(payload: Patches, settings: MergeSettings) -> str:
    """The reducer that was asked for, or the usual one; labels are not mixed, and what is not of integers is not counted."""
    labels = payload.meta.labels
    reduce = settings.reduce or ("mode" if labels else "mean")
    if labels and REDUCERS[reduce].mixes:
        raise PatchcliError(f"holds labels, whose class numbers {reduce} mixes; use --reduce {_unmixed(payload.dtype)}")
    if labels and settings.window != NAMES[0]:
        raise PatchcliError("holds labels, whose class numbers a window mixes; merge it without --window")
    check_values(reduce, payload.dtype)
    return reduce


def _wanted_of(payload: Patches, settings: MergeSettings) -> Wanted:
    """The image that is asked for."""
    recorded = payload.meta.dtype
    dtype = recorded if settings.dtype == "keep" else np.dtype(settings.dtype)
    if settings.allow_nonfinite and dtype.kind != "f":
        raise PatchcliError(f"becomes an image of {dtype}; --allow-nonfinite is for float images, allowed with --dtype float32")
    return Wanted(dtype, settings.fill, settings.trim, settings.allow_nonfinite, settings.unit_range)


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


def _laid_out(payload: Patches, wanted: Wanted, formats: list[str], settings: MergeSettings) -> Placement:
    """Where the patches of a payload lie, as large as they came, in an image that may be made and written."""
    most = settings.max_pixels if _held(payload, formats, settings) else 0
    check_pixels(payload.meta.grid, 0, most)
    _check_covered(payload, wanted)
    placement = payload.placement.resized((payload.shape[1], payload.shape[2]), settings.halo)
    grid = placement.grid
    if settings.halo > payload.meta.grid.margin and wanted.fill is None and not wanted.trim and placement.cover.uncovered:
        raise PatchcliError(
            f"--halo {settings.halo} leaves {placement.cover.uncovered} of {math.prod(grid.image)} pixels covered by no patch; "
            f"cut with --margin {settings.halo} to cover the border, or add --fill or --trim"
        )
    check_pixels(grid, math.prod(payload.shape[3:]) * wanted.dtype.itemsize, most)
    shape, unasked = (*grid.image, *payload.shape[3:]), settings.unasked_format
    sink.check_holds(formats[0], shape, wanted.dtype, ", or another --dtype", unasked=unasked)
    _refuse_losses(payload, formats, settings)
    return placement


def _refuse_losses(payload: Patches, formats: list[str], settings: MergeSettings) -> None:
    """Refuse to write class numbers where they change."""
    if payload.meta.labels:
        sink.check_keeps_classes(formats[0], settings.creation)


def _held(payload: Patches, formats: list[str], settings: MergeSettings) -> bool:
    """Whether all of an image, or of its sums, is held at once; or of its sides, where they are longer than all its patches."""
    covered = math.prod(payload.shape[:3])
    sides = sum(payload.meta.grid.padded) > max(FREE_PIXELS, covered)
    in_lines = all(FORMATS[name].by_lines for name in formats)
    return sides or not in_lines or not in_bands(payload, payload.placement, rule_of(REDUCERS[_reducer_of(payload, settings)]))


def _check_covered(payload: Patches, wanted: Wanted) -> None:
    """Refuse, before anything is allocated, a large canvas that a few numbers claim and no patches can fill.

    What ``fill`` or ``trim`` ask for may be larger than the patches, but a margin and the padding behind the last patch, which
    are only added up in, may not.
    """
    grid, count = payload.meta.grid, payload.shape[0]
    covered = count * math.prod(grid.patch)
    pixels = math.prod(grid.image)
    if pixels > max(FREE_PIXELS, covered) and wanted.fill is None and not wanted.trim:
        raise PatchcliError(
            f"{pixels - covered} of {pixels} pixels or more are covered by no patch; give them a value with --fill or cut the "
            "border off with --trim"
        )
    check_canvas(grid, count)


def _window_of(window: str, grid: Grid) -> Window | None:
    """A window by name, or from an array file."""
    if window in NAMES:
        return as_window(window, grid.patch)
    with blamed(f"--window {window} "), files.open_input(window) as file:
        if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
            raise PatchcliError("is not an array file; give a .npy")
        return as_window(NpzReader(file).open("").load(), grid.patch)


@contextlib.contextmanager
def _missing_shards_named(payload: Patches) -> Iterator[None]:
    """What is wrong with an image of which shards are missing may come of that."""
    try:
        yield
    except PatchcliError as error:
        count = payload.meta.shard[1] if payload.meta.shard else 1
        if payload.shards == count:
            raise
        raise PatchcliError(f"{error}; only {payload.shards} of {counted(count, 'shard')} were given") from None


def _hints_of(payload: Patches) -> tuple[str, ...]:
    """What to say where some of several shards are missing, patches stand in an order of axes of their own, or files are odd."""
    shard, hints = payload.meta.shard, list(payload.hints)
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


def estimate(task: MergeTask | MapTask, plan: MergePlan, pieces: int | None = None) -> Planned:
    """What a plan makes; what adds up to more than 64 bits is refused.

    Args:
        task: what is made.
        plan: how.
        pieces: bytes of the patches that are there at once; None for those of files, which are read ahead, as lines are made.
    """
    payload, wanted, channels = plan.payload, plan.wanted, plan.payload.shape[3:]
    divider = Divider(plan.placement, None, dtype=payload.dtype, channels=channels, wanted=wanted)
    images, cover = [(divider.shape, wanted.dtype)], divider.cover
    if task.cover is not None:
        images.append((cover.shape, plan.cover_file(cover).dtype))
    total = sum(math.prod(shape) * dtype.itemsize for shape, dtype in images)
    # the cover is written before the image is begun
    made = zip(plan.formats, images, (plan.settings.creation, ()), strict=False)
    writing = max(_held_by(name, *image, creation) for name, image, creation in made)
    ahead = _pieces(plan) + LINES_AHEAD * DIVIDED_BYTES if pieces is None else pieces
    loaded, original = plan.formats, 0
    if plan.compared is not None:
        loaded, original = [*loaded, plan.compared.format], plan.compared.memory
    memory = base(*loaded) + ahead + _folding(plan, divider) + writing + original
    height, width = divider.shape[:2]
    held = "" if in_bands(payload, plan.placement, plan.rule) else ", its sums held whole"
    what = f"image of width={width} height={height} from {counted(payload.shape[0], 'patch')}{held}"
    return Planned(what, divider.shape, total, memory, tuple(task.targets()), payload.shape[0], cover.uncovered)


def _held_by(image_format: str, shape: tuple[int, ...], dtype: np.dtype[Any], creation: tuple[tuple[str, str], ...]) -> int:
    """Bytes that are held while an image is written, beside the lines that come and go."""
    known = FORMATS[image_format]
    return known.encoding(shape, dtype, creation) + (0 if known.by_lines else math.prod(shape) * dtype.itemsize)


def _pieces(plan: MergePlan) -> int:
    """A bound on the bytes of the pieces that are read ahead and folded, and, with a halo, of what is used of them."""
    payload, used = plan.payload, _used_bytes(plan)
    patch = math.prod(payload.shape[1:]) * payload.dtype.itemsize
    if payload.meta.layout == "columns":
        return PIECES * payload.shape[0] * payload.dtype.itemsize
    painted = isinstance(plan.rule, Ranking) and paints(payload, plan.placement, plan.rule)
    many = READ_AHEAD if painted else PIECES
    pieces = min(many * max(FOLD_BYTES, patch), 2 * payload.shape[0] * patch)
    return pieces + (min(max(FOLD_BYTES, used), payload.shape[0] * used) if used < patch else 0)


def _used_bytes(plan: MergePlan) -> int:
    """Bytes of what is used of a patch."""
    return math.prod((*plan.placement.grid.patch, *plan.payload.shape[3:])) * plan.payload.dtype.itemsize


def _folding(plan: MergePlan, divider: Divider) -> int:
    """A bound on what is in use beside the pieces while patches become lines: places, patches or sums of a band, lines."""
    payload, placement, rule = plan.payload, plan.placement, plan.rule
    grid, patch = placement.grid, _used_bytes(plan)
    line = grid.columns.padded * math.prod(divider.channels)
    used = 0 if placement.whole else PLACE_NUMBERS * NUMBER_BYTES * placement.count
    if isinstance(rule, Ranking):
        if paints(payload, placement, rule):
            return 2 * line * payload.dtype.itemsize * _lines_of_block(grid, patch)
        return used + _ranked(plan, divider, rule, line)
    line *= sum(rule.sums_dtype(part, placement.most).itemsize for part in rule.parts_of(payload.dtype))
    if not in_bands(payload, placement, rule):
        return used + line * grid.rows.padded
    lines = _lines_of_block(grid, patch) if placement.whole else grid.patch[0] + max(grid.patch[0], SUMS_BYTES // line)
    together = max(2 * FOLD_BYTES if placement.whole else CHUNK_BYTES, patch)
    weighed = 0
    if rule.window is not None:  # which is a product, or makes floats of all values
        whole = placement.whole and rule.window.dense is None
        weighed = SUMMED_DOWN * together if whole else NUMBER_BYTES * together // payload.dtype.itemsize
    return used + 2 * line * min(lines, grid.rows.padded) + weighed


def _lines_of_block(grid: Grid, patch: int) -> int:
    """Lines on which the patches of a block of a grid lie, of so many bytes each."""
    rows = max(1, FOLD_BYTES // (patch * grid.columns.count))
    return min(grid.patch[0] + grid.stride[0] * (rows - 1), grid.rows.padded)


def _ranked(plan: MergePlan, divider: Divider, rule: Ranking, line: int) -> int:
    """A bound on the patches that touch a band of lines of so many values, and what is made of them."""
    payload, bands = plan.payload, list(RankFold(divider, rule).bands())
    held = max(last - first for _, _, first, last in bands)
    held *= math.prod(payload.shape[1:]) * payload.dtype.itemsize if payload.meta.layout == "columns" else _used_bytes(plan)
    values = max(stop - top for top, stop, _, _ in bands) * line
    layers = BAND_BYTES + payload.dtype.itemsize * values if rule.holds_all else 0
    return 3 * held + layers + rule.numbers * NUMBER_BYTES * values
