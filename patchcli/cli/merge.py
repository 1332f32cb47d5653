"""``patchcli merge``: processed patch stacks to images."""

from __future__ import annotations

from typing import Any

import click

from patchcli.batch import run, targets
from patchcli.batch.attempt import Job, Work
from patchcli.batch.targets import has_fields
from patchcli.cli import environment, options, types
from patchcli.errors import UsageError
from patchcli.images.formats import FORMATS
from patchcli.images.imagefile import format_of, output_name
from patchcli.jobs import merge as job
from patchcli.patches.reducers import REDUCERS
from patchcli.patches.windows import NAMES

STACKS = (".npz", ".npy")
DTYPES = (
    "keep",
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)


@click.command(cls=environment.Command, short_help="Rebuild images from patch stacks.")
@options.batch_options
@click.option(
    "--like",
    type=types.File(),
    metavar="STACK",
    help="The stack whose origins and image count, for patches in a bare .npy or .npz.",
)
@click.option("--key", metavar="NAME", help="The array that holds the patches; default: patches, or the only one.")
@click.option(
    "--reduce",
    type=click.Choice(tuple(REDUCERS)),
    default="mean",
    show_default=True,
    help="What becomes of the values of all patches on a pixel; first, last: in row-major order of origins.",
)
@click.option(
    "--window",
    type=types.WordOrFile(NAMES),
    metavar=f"{'|'.join(NAMES)}|FILE.npy",
    default="uniform",
    show_default=True,
    help="Weights over a patch, for --reduce mean.",
)
@click.option("--unit-range", is_flag=True, help="Floats from 0 to 1 stand for the full range of an integer image.")
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="keep", show_default=True, help="Dtype of the image; keep: the source image's."
)
@click.option(
    "--fill", type=float, metavar="VALUE", help="Value of pixels that no patch covers; with --trim, of those that remain."
)
@click.option("--trim", is_flag=True, help="Cut off the border that no patch covers.")
@click.option("--allow-nonfinite", is_flag=True, help="Let NaN and infinity through to float images.")
@click.option(
    "--cover",
    type=types.File(),
    metavar="PATH",
    help="Write how many patches lie on each pixel, as .npy or image; with --window how much weight, 1 being a patch's most.",
)
@options.image_format_option
@options.max_pixels_option
@click.pass_context
def merge(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Rebuild each image as the mean of all patches that lie on a pixel. The stack knows how it was cut.

    \b
    patchcli merge photo.npz -o back.png
    patchcli merge photo-*-of-*.npz -o back.png
    patchcli extract photo.png -s 8 --stride 1 -o - | patchcli merge - -o back.png

    With -o several inputs are shards of one image; with -d each is an image of its own.
    """
    found = options.find_inputs(ctx, given, STACKS)
    voice = options.make_voice(given)
    cover, image_format = given["cover"], options.image_format_of(given)
    if cover is not None and given["output"] is None and len(given["inputs"]) > 1:
        raise UsageError(f"--cover names one output but there are {len(given['inputs'])} inputs; allowed is one")
    _check_rule(given)
    covers = [cover] if cover is not None else []
    likes = [given["like"]] if given["like"] is not None else []
    windows = [given["window"]] if given["window"] not in NAMES else []
    whole = given["output"] is not None and not has_fields(given["output"])
    shards = tuple(given["inputs"][1:]) if whole else ()
    if shards and given["like"] is not None:
        raise UsageError("--like is for one input, not for shards; allowed with several is -d/--output-dir")
    if shards:
        given["inputs"] = given["inputs"][:1]
    tasks = targets.place_tasks(
        given,
        found,
        lambda path: _image_name(path, image_format, noted=given["resume"]),
        also_read=[*likes, *windows],
        complete=lambda task, _: task._replace(shards=shards, cover=cover),
    )
    options.check_formats(given, covers, None)
    options.check_formats(given, [task.target for task in tasks], image_format)
    if cover is not None and not FORMATS[format_of(cover)].lossless:
        raise UsageError(f"{cover}: would lose counts; allowed for --cover are lossless formats")
    if cover is not None and given["window"] != NAMES[0] and "f4" not in FORMATS[format_of(cover)].holds:
        raise UsageError(f"{cover}: cannot hold weights; allowed for --cover with --window are .npy and .tif, which hold float32")
    settings = job.MergeSettings(
        given["like"],
        given["key"],
        given["reduce"],
        given["window"],
        given["dtype"],
        given["unit_range"],
        given["fill"],
        given["trim"],
        given["allow_nonfinite"],
        image_format,
        given["max_pixels"],
        given["overwrite"],
        given["resume"],
    )
    ctx.exit(run.run_batch(given, found, tasks, Work(job.merge_one, settings, job.recipes, _planner), voice))


def _planner() -> Job:
    from patchcli.jobs.merge_plan import plan_one  # loaded for nobody else

    return plan_one


def _check_rule(given: dict[str, Any]) -> None:
    """Refuse options that mean nothing together."""
    reduce, window, dtype = given["reduce"], given["window"], given["dtype"]
    if window not in NAMES and not window.endswith(".npy"):
        raise UsageError(f"--window is {window!r}; allowed are {', '.join(NAMES)}, and the name of a .npy file")
    if window != NAMES[0] and not REDUCERS[reduce].weighted:
        weighted = " or ".join(name for name, reducer in REDUCERS.items() if reducer.weighted)
        raise UsageError(f"--window is for --reduce {weighted}, not for {reduce}")
    if given["unit_range"] and (dtype.startswith("float") or dtype == "bool"):
        raise UsageError(f"--unit-range is for integer images, not for --dtype {dtype}")
    if given["unit_range"] and not REDUCERS[reduce].keeps_range:
        raise UsageError(f"--unit-range is for values from 0 to 1, which {reduce}s are not; allowed is any other --reduce")
    if given["allow_nonfinite"] and not dtype.startswith("float") and dtype != "keep":
        raise UsageError(f"--allow-nonfinite is for float images, not for --dtype {dtype}")


def _image_name(path: str, image_format: str | None, *, noted: bool) -> str:
    """``a.png.npz`` becomes ``a.png`` again; a suffix that would lose something, or none, gets another behind it."""
    return output_name(path[:-4] if path.lower().endswith((".npz", ".npy")) else path, image_format, lossless=True, noted=noted)
