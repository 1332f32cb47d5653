"""``patchcli extract``: images to patch stacks."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch import run, targets
from patchcli.batch.attempt import Job, Work
from patchcli.batch.targets import expand, has_fields
from patchcli.cli import environment, options, types
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.axis import EDGES, stride_from_overlap
from patchcli.images.formats import SUFFIXES
from patchcli.jobs import extract as job
from patchcli.patches.extract import PAD_MODES
from patchcli.patches.select import MAX_SEED, Choice
from patchcli.stacks.layouts import LAYOUTS, ORDERS, UNROLLED
from patchcli.storage import files
from patchcli.storage.listing import Folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.jobs.task import Task

OTHERS = (  # suffixes of what a stack is not
    *SUFFIXES,
    *(".jp2", ".jxl", ".avif", ".heic", ".exr", ".hdr", ".tga", ".npy", ".h5", ".hdf5", ".tar", ".gz", ".zarr", ".mat", ".pt"),
)


@click.command(cls=environment.Command, short_help="Cut images into patch stacks.")
@options.batch_options
@click.option("-s", "--patch-size", type=types.Size(), help="Size of a patch; required.")
@click.option("--stride", type=types.Size(), help="Steps from patch to patch; default: the patch size.")
@click.option("--overlap", metavar="N|N%|a/b", help="Pixels that neighbours share, or an exact part of the patch size.")
@click.option("--offset", type=types.Point(), default="0,0", show_default=True, help="Corner of the first patch.")
@click.option(
    "--edge", type=click.Choice(tuple(EDGES)), default="shift", show_default=True, help="What happens at the far sides."
)
@click.option("--margin", type=click.IntRange(min=0), default=0, show_default=True, help="Pixels added on all four sides.")
@click.option(
    "--pad-mode", type=click.Choice(PAD_MODES), default="reflect", show_default=True, help="How margin and padding are filled."
)
@click.option("--pad-value", type=float, help="The value for --pad-mode constant; default: 0.")
@click.option(
    "--layout", type=click.Choice(tuple(LAYOUTS)), default="stack", show_default=True, help="How the patches stand in the file."
)
@click.option("--pixel-order", type=click.Choice(ORDERS), help="How rows and columns unroll a patch; default: C.")
@click.option("--max-patches", type=types.Amount(), help="Keep at most so many patches of an image, drawn at random.")
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), metavar="N", help="Of the draw: the same, the same patches; default: 0."
)
@click.option("--min-std", type=click.FloatRange(min=0), metavar="T", help="Drop patches whose values deviate less than this.")
@click.option(
    "--mask",
    type=types.File(),
    metavar="FILE|TEMPLATE",
    help="Keep patches inside the part of an image where this one is not 0.",
)
@click.option("--min-cover", type=types.Share(), help="Part of a patch that must be inside the mask; default: 1/2.")
@click.option(
    "--companion",
    type=types.File(),
    multiple=True,
    metavar="FILE|TEMPLATE",
    help="Cut this image, too, at the very same places.",
)
@click.option(
    "--shard-patches", type=click.IntRange(min=1), metavar="N", help="Several files, numbered, of so many patches each."
)
@click.option("--compress", is_flag=True, help="Deflate the stack: smaller, and many times slower.")
@options.reading_options
@click.pass_context
def extract(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Cut each image into overlapping patches and write them, with where each one lay, as a stack file (.npz).

    \b
    patchcli extract photo.png -s 8 --stride 1 -o photo.npz
    patchcli extract photos/*.jpg -s 64 --overlap 25% -d stacks
    patchcli extract photos/*.jpg -s 64 --companion 'masks/{stem}.png' -d stacks

    A TEMPLATE is a name with {stem}, {name}, {ext}, {parent} or {index} of the input in it.
    """
    found = options.find_inputs(ctx, given, SUFFIXES)
    settings = _settings(given)
    voice = options.make_voice(given)
    tasks = targets.place_tasks(
        given, found, lambda path: f"{path}.npz", complete=lambda task, index: _complete(given, task, index)
    )
    _check_suffixes(tasks)
    if settings.shard_patches and not settings.overwrite and not given["resume"]:
        _refuse_shards(tasks)
    ctx.exit(run.run_batch(given, found, tasks, Work(job.extract_one, settings, job.recipes, _planner), voice))


def _check_suffixes(tasks: Sequence[Task]) -> None:
    """Refuse, before any work, stacks under names that say that they are something else."""
    for target in (target for task in tasks for target in task.targets()):
        suffix = os.path.splitext(target)[1].lower()
        if suffix in OTHERS and not files.is_special(target):
            raise UsageError(f"{target}: a stack is a .npz file, and {suffix} says that it is something else; allowed is .npz")


def _planner() -> Job:
    from patchcli.jobs.extract_plan import plan_one  # loaded for nobody else

    return plan_one


def _settings(given: dict[str, Any]) -> job.ExtractSettings:
    if given["patch_size"] is None:
        raise UsageError("Missing option '-s' / '--patch-size'; allowed are W or WxH, as in 8 or 64x48")
    if given["pad_value"] is not None and given["pad_mode"] != "constant":
        raise UsageError(f"--pad-value is for --pad-mode constant, not for {given['pad_mode']}")
    if given["pixel_order"] is not None and given["layout"] not in UNROLLED:
        raise UsageError(f"--pixel-order is for --layout {' and '.join(UNROLLED)}, not for {given['layout']}")
    _check_choice(given)
    return job.ExtractSettings(
        given["patch_size"],
        _stride(given),
        given["offset"],
        given["edge"],
        given["margin"],
        given["pad_mode"],
        given["pad_value"] or 0,
        given["layout"],
        given["pixel_order"] or "C",
        Choice(given["max_patches"], given["seed"] or 0, given["min_std"] or 0, given["min_cover"]),
        given["shard_patches"],
        given["compress"],
        options.reading_of(given),
        given["overwrite"],
        given["resume"],
    )


def _check_choice(given: dict[str, Any]) -> None:
    """Refuse options on which patches to keep, and where, that mean nothing together."""
    if given["seed"] is not None and given["max_patches"] is None:
        raise UsageError("--seed is for --max-patches, which was not given")
    if given["min_cover"] is not None and given["mask"] is None:
        raise UsageError("--min-cover is for --mask, which was not given")
    if given["min_std"] is not None and not math.isfinite(given["min_std"]):
        raise UsageError(f"--min-std is {given['min_std']}; allowed are finite numbers from 0")
    if "" in (given["mask"], *given["companion"]):
        raise UsageError("an empty name was given to --mask or --companion; allowed are names of files")
    if given["layout"] == "grid" and given["shard_patches"] is not None:
        raise UsageError("--layout grid holds all patches of an image; --shard-patches would split them")
    chosen = [name for name in ("max_patches", "min_std", "mask") if given[name] is not None]
    if given["layout"] == "grid" and chosen:
        raise UsageError(f"--layout grid holds all patches of an image; --{chosen[0].replace('_', '-')} would keep some of them")
    if given["shard_patches"] and given["output"] is not None and files.is_special(given["output"]):
        raise UsageError("--shard-patches makes several files; allowed for -o is the name of a file, to be numbered")


def _stride(given: dict[str, Any]) -> tuple[int, int]:
    patch, stride, overlap = given["patch_size"], given["stride"], given["overlap"]
    if overlap is None:
        return stride or patch  # type: ignore[no-any-return]
    if stride is not None:
        raise UsageError("--stride and --overlap exclude each other")
    try:
        return stride_from_overlap(patch[0], overlap), stride_from_overlap(patch[1], overlap)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def _complete(given: dict[str, Any], task: Task, index: int) -> Task:
    """Give a task its companions and its mask."""
    if not given["companion"] and given["mask"] is None:
        return task
    named = [*given["companion"], *([] if given["mask"] is None else [given["mask"]])]
    if task.source == files.STREAM and any(map(has_fields, named)):
        raise UsageError("standard input has no name to fill a template with; allowed is the name of a file")
    if files.STREAM in named:
        raise UsageError("--companion and --mask are names of files; standard input (-) is not allowed")
    companions = [expand(template, task.source, index) for template in given["companion"]]
    if companions and task.target == files.STREAM:
        raise UsageError("--companion makes several stacks; allowed for -o is the name of a file")
    if given["output"] is None:
        names = [os.path.join(given["output_dir"], f"{targets.below(path)}.npz") for path in companions]
    else:
        root, suffix = os.path.splitext(task.target)
        names = [f"{root}.companion{number or ''}{suffix}" for number in range(len(companions))]
    mask = None if given["mask"] is None else expand(given["mask"], task.source, index)
    return task._replace(companions=tuple(zip(companions, names, strict=True)), mask=mask)


def _refuse_shards(tasks: Sequence[Task]) -> None:
    """Refuse, before any work, to put shards beside shards of the same name."""
    targets = [target for task in tasks for target in task.targets()]
    folders = Folders(targets)
    for target in targets:
        if found := folders.shards(target):
            raise UsageError(f"{found[0]}: exists already; allowed with --overwrite")
