"""``patchcli extract``: images to patch stacks."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, expand, has_fields, place_tasks
from patchcli.cli import environment, options, types
from patchcli.cli.help import option
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.axis import EDGES, stride_from_overlap
from patchcli.images.formats import SUFFIXES
from patchcli.jobs.extract import extract_one
from patchcli.jobs.extract_plan import plan_one, recipes
from patchcli.jobs.settings import ExtractSettings, Reading
from patchcli.jobs.task import ExtractTask
from patchcli.patches.padded import PAD_MODES
from patchcli.patches.select import MAX_SEED, Choice
from patchcli.stacks.layouts import LAYOUTS, ORDERS, UNROLLED
from patchcli.storage import files
from patchcli.storage.listing import Folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

OTHERS = (  # suffixes of what a stack is not
    *SUFFIXES,
    *(".jp2", ".jxl", ".avif", ".heic", ".exr", ".hdr", ".tga", ".h5", ".hdf5", ".tar", ".gz", ".zarr", ".mat", ".pt"),
)
PATCHES, CHOOSING = "Patches", "Choosing patches"


@click.command(cls=environment.BatchCommand)
@option(PATCHES, "-s", "--patch-size", type=types.Size(), help="Size of a patch; required.")
@option(PATCHES, "--stride", type=types.Size(), help="Step from patch to patch; default: the patch size.")
@option(PATCHES, "--overlap", metavar="N|N%|a/b", help="Pixels that neighbours share, or an exact part of the patch size.")
@option(
    PATCHES, "--edge", type=click.Choice(tuple(EDGES)), default="shift", show_default=True, help="What happens at the far sides."
)
@option(PATCHES, "--offset", type=types.Point(), default="0,0", show_default=True, help="Corner of the first patch.")
@option(
    PATCHES,
    "--margin",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Pixels added on all four sides.",
)
@option(
    PATCHES,
    "--pad-mode",
    type=click.Choice(PAD_MODES),
    default="reflect",
    show_default=True,
    help="How margin and padding are filled.",
)
@option(PATCHES, "--pad-value", type=float, metavar="VALUE", help="Value of --pad-mode constant; default: 0.")
@option(
    PATCHES,
    "--companion",
    type=types.File(),
    multiple=True,
    metavar="FILE|TEMPLATE",
    help="Cut this image too, at the very same places; repeatable.",
)
@option(CHOOSING, "--max-patches", type=types.Amount(), help="Keep at most N patches of an image, drawn at random.")
@option(
    CHOOSING,
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    metavar="N",
    help="Random seed; the same seed selects the same patches; default: 0.",
)
@option(CHOOSING, "--min-std", type=click.FloatRange(min=0), metavar="T", help="Drop patches of a standard deviation below T.")
@option(
    CHOOSING,
    "--mask",
    type=types.File(),
    metavar="FILE|TEMPLATE",
    help="Keep patches inside the part of an image where this one is not 0.",
)
@option(CHOOSING, "--min-cover", type=types.Share(), help="Part of a patch that must be inside the mask; default: 1/2.")
@option(CHOOSING, "--min-valid", type=types.Share(), help="Drop patches of which less than this part is valid.")
@option(CHOOSING, "--nodata", type=types.Number(), help="Value that stands for no data; default: what the file says.")
@options.batch_options
@option(
    options.OUTPUT,
    "--layout",
    type=click.Choice(tuple(LAYOUTS)),
    default="stack",
    show_default=True,
    help="Array layout of the patches.",
)
@option(options.OUTPUT, "--pixel-order", type=click.Choice(ORDERS), help="How rows and columns unroll a patch; default: C.")
@option(
    options.OUTPUT,
    "--shard-patches",
    type=click.IntRange(min=1),
    metavar="N",
    help="Split the output into numbered files of at most N patches.",
)
@option(options.OUTPUT, "--compress", is_flag=True, help="Deflate the stack: smaller, and many times slower.")
@options.metadata_option
@options.reading_options
@click.pass_context
def extract(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Cut each image into overlapping patches and write them, with where each one lay, as a stack file (.npz).

    \b
    patchcli extract photo.png -s 8 --stride 1 -o photo.npz
    patchcli extract photos/*.jpg -s 64 --overlap 25% -d stacks
    patchcli extract photos/*.jpg -s 64 --companion 'masks/{stem}.png' -d stacks

    A TEMPLATE is a name with {stem}, {name}, {ext}, {parent}, {index} or {page} of the input in it.
    """
    batch = options.taken(BatchOptions, given)
    reading = options.taken(options.ReadingOptions, given)
    asked = options.taken(ExtractOptions, given)
    found = options.find_inputs(ctx, batch, SUFFIXES)
    settings = _settings(asked, reading.reading(), batch)
    voice = options.make_voice(batch)

    tasks = place_tasks(
        batch, found, lambda place: _task(place, asked, batch), rename=lambda path: f"{path}.npz", pages=reading.pages
    )
    _check_suffixes(tasks)
    if settings.shard_patches and not batch.overwrite and not batch.resume:
        _refuse_shards(tasks)
    ctx.exit(run_batch(found, tasks, Command(extract_one, plan_one, recipes, settings), options=batch, voice=voice))


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """The options of ``extract`` alone, as they were typed; None where they were not."""

    patch_size: tuple[int, int] | None
    stride: tuple[int, int] | None
    overlap: str | None
    offset: tuple[int, int]
    edge: str
    margin: int
    pad_mode: str
    pad_value: float | None
    layout: str
    pixel_order: str | None
    max_patches: int | Fraction | None
    seed: int | None
    min_std: float | None
    mask: str | None
    min_cover: Fraction | None
    min_valid: Fraction | None
    nodata: float | None
    companion: tuple[str, ...]
    shard_patches: int | None
    compress: bool
    metadata: str


def _check_suffixes(tasks: Sequence[ExtractTask]) -> None:
    """Refuse, before any work, stacks under names that say that they are something else."""
    for target in (target for task in tasks for target in task.targets()):
        suffix = os.path.splitext(target)[1].lower()
        if suffix in OTHERS and not files.is_special(target):
            raise UsageError(f"{target}: a stack is a .npz file, and {suffix} says that it is something else; name it .npz")


def _settings(asked: ExtractOptions, reading: Reading, batch: BatchOptions) -> ExtractSettings:
    if asked.patch_size is None:
        raise UsageError("Missing option '-s' / '--patch-size'; give W or WxH, as in 8 or 64x48")
    if asked.pad_value is not None and asked.pad_mode != "constant":
        raise UsageError(f"--pad-value is for --pad-mode constant, not for {asked.pad_mode}")
    if asked.pixel_order is not None and asked.layout not in UNROLLED:
        raise UsageError(f"--pixel-order is for --layout {' and '.join(UNROLLED)}, not for {asked.layout}")
    _check_choice(asked, batch)
    return ExtractSettings(
        patch=asked.patch_size,
        stride=_stride(asked.patch_size, asked.stride, asked.overlap),
        offset=asked.offset,
        edge=asked.edge,
        margin=asked.margin,
        pad_mode=asked.pad_mode,
        pad_value=asked.pad_value or 0,
        layout=asked.layout,
        pixel_order=asked.pixel_order or "C",
        choice=Choice(asked.max_patches, asked.seed or 0, asked.min_std or 0, asked.min_cover, asked.min_valid, asked.nodata),
        shard_patches=asked.shard_patches,
        compress=asked.compress,
        reading=reading,
        metadata=asked.metadata,
        overwrite=batch.overwrite,
        resume=batch.resume,
    )


def _check_choice(asked: ExtractOptions, batch: BatchOptions) -> None:
    """Refuse options on which patches to keep, and where, that mean nothing together."""
    if asked.seed is not None and asked.max_patches is None:
        raise UsageError("--seed is for --max-patches, which was not given")
    if asked.min_cover is not None and asked.mask is None:
        raise UsageError("--min-cover is for --mask, which was not given")
    if asked.nodata is not None and asked.min_std is None and asked.min_valid is None:
        raise UsageError("--nodata is for --min-valid and --min-std, and neither was given")
    if asked.min_std is not None and not math.isfinite(asked.min_std):
        raise UsageError(f"--min-std is {asked.min_std}; give a finite number from 0")
    if "" in (asked.mask, *asked.companion):
        raise UsageError("an empty name was given to --mask or --companion; give names of files")
    if asked.layout == "grid" and asked.shard_patches is not None:
        raise UsageError("--layout grid holds all patches of an image; --shard-patches would split them")
    chosen = {
        "--max-patches": asked.max_patches,
        "--min-std": asked.min_std,
        "--min-valid": asked.min_valid,
        "--mask": asked.mask,
    }
    for name, value in chosen.items():
        if asked.layout == "grid" and value is not None:
            raise UsageError(f"--layout grid holds all patches of an image; {name} would keep some of them")
    if asked.shard_patches and batch.output is not None and files.is_special(batch.output):
        raise UsageError("--shard-patches makes several files; give -o the name of a file, to be numbered")


def _stride(patch: tuple[int, int], stride: tuple[int, int] | None, overlap: str | None) -> tuple[int, int]:
    if overlap is None:
        return stride or patch
    if stride is not None:
        raise UsageError("use only one of --stride and --overlap")
    try:
        return stride_from_overlap(patch[0], overlap), stride_from_overlap(patch[1], overlap)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def _task(place: InputPage, asked: ExtractOptions, batch: BatchOptions) -> ExtractTask:
    """A task with its companions and its mask."""
    task = ExtractTask(source=place.source, target=place.target, page=place.own_page)
    masks = [] if asked.mask is None else [asked.mask]
    named = [*asked.companion, *masks]
    if not named:
        return task
    if task.source == files.STREAM and any(map(has_fields, named)):
        raise UsageError("standard input has no name to fill a template with; give the name of a file")
    if files.STREAM in named:
        raise UsageError("--companion and --mask are names of files; standard input (-) is not one")
    companions = [expand(template, place.source, place.number, page=place.page) for template in asked.companion]
    if companions and task.target == files.STREAM:
        raise UsageError("--companion makes several stacks; give -o the name of a file")
    if batch.output_dir is not None:
        names = [os.path.join(batch.output_dir, f"{place.below(path)}.npz") for path in companions]
    else:
        root, suffix = os.path.splitext(task.target)
        names = [f"{root}.companion{number or ''}{suffix}" for number in range(len(companions))]
    mask = next((expand(template, place.source, place.number, page=place.page) for template in masks), None)
    return replace(task, companions=tuple(zip(companions, names, strict=True)), mask=mask)


def _refuse_shards(tasks: Sequence[ExtractTask]) -> None:
    """Refuse, before any work, to put shards beside shards of the same name."""
    targets = [target for task in tasks for target in task.targets()]
    folders = Folders(targets)
    for target in targets:
        if found := folders.shards(target):
            raise UsageError(f"{found[0]}: already exists; use --overwrite to replace it")
