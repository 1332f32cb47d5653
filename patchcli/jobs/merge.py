"""``merge``: one stack file, or the shards of one, to one image."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images import imagefile
from patchcli.jobs.reading import blamed, check_pixels
from patchcli.jobs.records import Recipe, Records
from patchcli.jobs.task import Said, Task, Tick
from patchcli.patches.merge import merge_from
from patchcli.patches.normalize import Wanted
from patchcli.patches.reducers import REDUCERS, rule_of
from patchcli.patches.windows import NAMES, as_window
from patchcli.stacks.file import StackReader
from patchcli.stacks.npz import MAGIC, NpzReader
from patchcli.stacks.reader import Payload, StackFile
from patchcli.storage import files
from patchcli.storage.outputs import Outputs
from patchcli.storage.paths import is_remote
from patchcli.storage.provenance import differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement
    from patchcli.patches.normalize import Merged
    from patchcli.patches.windows import Window


FREE_PIXELS = 1 << 22  # a canvas up to this size is made whatever the patches cover
SIGNED = -0.5  # fractions of a full range that lie below are of -1 to 1


class MergeSettings(NamedTuple):
    """The options of ``merge``."""

    like: str | None = None
    key: str | None = None
    reduce: str = "mean"
    window: str = NAMES[0]
    dtype: str = "keep"
    unit: bool = False
    fill: float | None = None
    trim: bool = False
    allow_nonfinite: bool = False
    image_format: str | None = None
    max_pixels: int = imagefile.MAX_PIXELS
    overwrite: bool = False
    resume: bool = False

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            "--like": self.like is not None,
            "--key": self.key,
            "--reduce": self.reduce,
            "--window": self.window,
            "--dtype": self.dtype,
            "--unit-range": self.unit,
            "--fill": self.fill,
            "--trim": self.trim,
            "--allow-nonfinite": self.allow_nonfinite,
            "--image-format": self.image_format,
        }


def recipes(task: Task, settings: MergeSettings) -> dict[str, Recipe]:
    """What the image of a task, and its cover, depend on."""
    inputs: dict[str, str | tuple[str, ...]] = {"stack": (task.source, *task.shards) if task.shards else task.source}
    if settings.like is not None:
        inputs["like"] = settings.like
    if settings.window not in NAMES:
        inputs["window"] = settings.window
    targets = [task.target, *([] if task.cover is None else [task.cover])]
    return dict.fromkeys(targets, Recipe("merge", differing(settings.options(), MergeSettings().options()), inputs))


def merge_one(task: Task, settings: MergeSettings, tick: Tick) -> Said:
    """Rebuild one image from a stack file or from shards; a sentence on what was done."""
    records = Records(recipes(task, settings), in_images=settings.resume)
    with contextlib.ExitStack() as opened:
        payload = payload_of(task, settings, opened)
        wanted = wanted_of(payload, settings)
        name = imagefile.format_of(task.target, settings.image_format)
        merged, window = _fold(payload, wanted, name, settings, tick)
    with Outputs(overwrite=settings.overwrite or task.replace) as outputs:
        if task.cover is not None:
            cover = _cover_image(merged, window)
            check_cover(task.cover, cover.shape, cover.dtype)
            with outputs.create(task.cover) as file:
                imagefile.write(file, cover, imagefile.format_of(task.cover), records.note(task.cover))
        with outputs.create(task.target) as file:
            imagefile.write(file, merged.image, name, records.note(task.target), payload.meta.metadata)
    said = _said(merged, payload, wanted.dtype, name)
    return said._replace(hints=(*said.hints, *records.hints()))


def payload_of(task: Task, settings: MergeSettings, opened: contextlib.ExitStack) -> Payload:
    """The patches of a task's stack or shards: headers and origins are read and checked."""
    like = None
    if settings.like is not None:
        with blamed(f"--like {settings.like} "):
            like = StackReader(opened.enter_context(files.open_input(settings.like)))
    return Payload(
        [_stack_file(path, settings, like, opened, one_of=1 + len(task.shards)) for path in (task.source, *task.shards)]
    )


def wanted_of(payload: Payload, settings: MergeSettings) -> Wanted:
    """The image that is asked for."""
    recorded = payload.meta.dtype
    dtype = recorded if settings.dtype == "keep" else np.dtype(settings.dtype)
    if settings.allow_nonfinite and dtype.kind != "f":
        raise PatchcliError(f"becomes an image of {dtype}; --allow-nonfinite is for float images, allowed with --dtype float32")
    return Wanted(dtype, settings.fill, settings.trim, settings.allow_nonfinite, settings.unit)


def check_cover(path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a cover that its format cannot hold."""
    with blamed(f"--cover {path} "):
        imagefile.check_holds(imagefile.format_of(path), shape, dtype)


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


def _fold(
    payload: Payload, wanted: Wanted, image_format: str, settings: MergeSettings, tick: Tick
) -> tuple[Merged, Window | None]:
    """Stream a payload into an image, checking all of it; with the window that its patches were weighed by."""
    placement = laid_out(payload, wanted, image_format, settings)
    window = window_of(settings.window, placement.grid)
    # One thread folds: the one that reads and checks keeps a second core busy.
    return merge_from(payload, placement, rule_of(REDUCERS[settings.reduce], window), wanted=wanted, tick=tick), window


def laid_out(payload: Payload, wanted: Wanted, image_format: str, settings: MergeSettings) -> Placement:
    """Where the patches of a payload lie, as large as they came, in an image that may be made and written."""
    check_pixels(payload.meta.grid, 0, settings.max_pixels)
    _check_covered(payload, wanted)
    placement = payload.placement.resized((payload.shape[1], payload.shape[2]))
    grid = placement.grid
    check_pixels(grid, math.prod(payload.shape[3:]) * wanted.dtype.itemsize, settings.max_pixels)
    imagefile.check_holds(image_format, (*grid.image, *payload.shape[3:]), wanted.dtype, ", or another --dtype")
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


def window_of(window: str, grid: Grid) -> Window | None:
    """A window by name, or from an array file."""
    if window in NAMES:
        return as_window(window, grid.patch)
    with blamed(f"--window {window} "), files.open_input(window) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise PatchcliError("is no array file; allowed is a .npy")
        return as_window(NpzReader(file).open("").load(), grid.patch)


def _said(merged: Merged, payload: Payload, dtype: np.dtype[Any], image_format: str) -> Said:
    """What was done, and what is probably not as it was meant."""
    height, width = merged.image.shape[:2]
    notes = f"image of width={width} height={height}"
    shard = payload.meta.shard
    if shard is not None:
        notes += f" from {payload.shards} of {shard[1]} shards"
    if merged.saturated:
        notes += f", {merged.saturated} values saturated to fit {dtype}"
    if merged.cover.uncovered:
        notes += f", {merged.cover.uncovered} pixels filled"
    hints = list(hints_of(payload))
    if merged.unit_like:
        hints.append(_hint_of_range(*merged.unit_like, dtype))
    channels = (*merged.image.shape, 1)[2]
    if lost := imagefile.hint_of_samples(image_format, payload.meta.metadata, channels):
        hints.append(lost)
    return Said(notes, tuple(hints))


def _hint_of_range(low: float, high: float, dtype: np.dtype[Any]) -> str:
    """What to say where values look like fractions of the range of an integer image."""
    said = f"values lie between {low:.3g} and {high:.3g} but the image is {dtype}; "
    if low < SIGNED:
        return f"{said}patches = (patches + 1) / 2 makes -1 to 1 fractions for --unit-range, --dtype float32 keeps them"
    return f"{said}--unit-range takes 0 to 1 for its full range, --dtype float32 keeps them"


def hints_of(payload: Payload) -> tuple[str, ...]:
    """What to say where some of several shards are missing, or patches stand in an order of axes of their own."""
    shard, hints = payload.meta.shard, []
    if shard is not None and 1 < payload.shards < shard[1]:
        hints.append(f"{payload.shards} of {shard[1]} shards were given")
    if payload.channels_first:
        _, height, width, channels = payload.shape
        hints.append(
            f"its patches were taken as (N, channels, height, width), with {channels} channels of width={width} height={height}"
        )
    return tuple(hints)


def _cover_image(merged: Merged, window: Window | None) -> NDArray[Any]:
    """How many patches lie on each pixel, in the narrowest unsigned dtype; or their weights as float32, of a patch at most 1."""
    if window is not None and merged.divisor is not None:
        weights: NDArray[Any] = (merged.divisor.dense() / window.full.max()).astype(np.float32)
        return weights
    cover = merged.cover.dense()
    return cover.astype(np.min_scalar_type(int(cover.max(initial=0))))
