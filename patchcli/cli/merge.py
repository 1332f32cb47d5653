"""``patchcli merge``: processed patch stacks to images."""

from __future__ import annotations

from typing import Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, has_fields, place_tasks
from patchcli.cli import environment, options, types
from patchcli.cli.help import option
from patchcli.errors import UsageError
from patchcli.images.formats import FORMATS
from patchcli.images.sink import format_of, output_name
from patchcli.jobs.merge import merge_one
from patchcli.jobs.merge_plan import plan_one, recipes
from patchcli.jobs.settings import MergeSettings
from patchcli.jobs.task import MergeTask
from patchcli.patches.reducers import REDUCERS
from patchcli.patches.windows import NAMES

STACKS = (".npz", ".npy")
MERGING = "Merging"
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


@click.command(cls=environment.BatchCommand)
@option(
    MERGING,
    "--reduce",
    type=click.Choice(tuple(REDUCERS)),
    default="mean",
    show_default=True,
    help="How overlapping values are combined; first, last: in row-major order of origins.",
)
@option(
    MERGING,
    "--window",
    type=types.WordOrFile(NAMES),
    metavar=f"{'|'.join(NAMES)}|FILE.npy",
    default="uniform",
    show_default=True,
    help="Weights over a patch, for --reduce mean.",
)
@option(MERGING, "--fill", type=float, metavar="VALUE", help="Value of pixels that no patch covers.")
@option(MERGING, "--trim", is_flag=True, help="Cut off the border that no patch covers.")
@option(MERGING, "--unit-range", is_flag=True, help="Scale floats from 0 to 1 to the full range of an integer image.")
@option(
    MERGING,
    "--dtype",
    type=click.Choice(DTYPES),
    default="keep",
    show_default=True,
    help="Dtype of the image; keep: the source image's.",
)
@option(MERGING, "--allow-nonfinite", is_flag=True, help="Let NaN and infinity through to float images.")
@option(
    options.READING,
    "--like",
    type=types.File(),
    metavar="STACK",
    help="Take origins and image from this stack, for patches in a bare .npy or .npz.",
)
@option(options.READING, "--key", metavar="NAME", help="Array that holds the patches; default: patches, or the only one.")
@options.batch_options
@option(
    options.OUTPUT,
    "--cover",
    type=types.File(),
    metavar="PATH",
    help="Write how many patches lie on each pixel, as .npy or image; with --window their weight, 1 being a patch's most.",
)
@options.image_format_option
@options.creation_option
@options.metadata_option
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
    batch = options.taken(BatchOptions, given)
    cover: str | None = given.pop("cover")
    image_format = options.image_format_of(given.pop("image_format"), batch)
    settings = options.taken(
        MergeSettings,
        given,
        creation=given.pop("co"),
        image_format=image_format,
        overwrite=batch.overwrite,
        resume=batch.resume,
        unasked_format=image_format is None and batch.output is None,
        tell_mixing=ctx.get_parameter_source("reduce") is click.core.ParameterSource.DEFAULT,
    )
    found = options.find_inputs(ctx, batch, STACKS)
    voice = options.make_voice(batch)
    if cover is not None and batch.output is None and len(found.paths) > 1:
        raise UsageError(f"--cover names one output but there are {len(found.paths)} inputs; give one input")
    _check_rule(settings)
    shards: tuple[str, ...] = ()
    if batch.output is not None and not has_fields(batch.output):
        shards = tuple(found.paths[1:])
        del found.paths[1:]
    if shards and settings.like is not None:
        raise UsageError("--like is for one input, not for shards; with several use -d/--output-dir")

    def make(place: InputPage) -> MergeTask:
        return MergeTask(source=place.source, target=place.target, shards=shards, cover=cover)

    windows = [settings.window] if settings.window not in NAMES else []
    tasks = place_tasks(
        batch,
        found,
        make,
        rename=lambda path: _image_name(path, image_format, noted=batch.resume),
        also_read=[*([] if settings.like is None else [settings.like]), *windows],
    )
    _check_cover(cover, settings)
    options.check_formats([task.target for task in tasks], image_format, resume=batch.resume, creation=settings.creation)
    ctx.exit(run_batch(found, tasks, Command(merge_one, plan_one, recipes, settings), options=batch, voice=voice))


def _check_cover(cover: str | None, settings: MergeSettings) -> None:
    """Refuse files that cannot hold the cover."""
    if cover is None:
        return
    options.check_formats([cover], None, resume=settings.resume)
    if not FORMATS[format_of(cover)].lossless:
        raise UsageError(f"{cover}: would lose counts; give --cover a lossless format")
    if settings.window != NAMES[0] and "f4" not in FORMATS[format_of(cover)].holds:
        raise UsageError(f"{cover}: cannot hold weights; with --window give --cover a .npy or .tif, which hold float32")


def _check_rule(settings: MergeSettings) -> None:
    """Refuse options that mean nothing together."""
    reduce, window, dtype = settings.reduce, settings.window, settings.dtype
    if window not in NAMES and not window.endswith(".npy"):
        raise UsageError(f"--window is {window!r}; choose {', '.join(NAMES)}, or give a .npy file")
    if window != NAMES[0] and not REDUCERS[reduce].weighted:
        weighted = " or ".join(name for name, reducer in REDUCERS.items() if reducer.weighted)
        raise UsageError(f"--window is for --reduce {weighted}, not for {reduce}")
    if settings.unit_range and (dtype.startswith("float") or dtype == "bool"):
        raise UsageError(f"--unit-range is for integer images, not for --dtype {dtype}")
    if settings.unit_range and not REDUCERS[reduce].keeps_range:
        raise UsageError(f"--unit-range is for values from 0 to 1, which {reduce}s are not; use another --reduce")
    if settings.allow_nonfinite and not dtype.startswith("float") and dtype != "keep":
        raise UsageError(f"--allow-nonfinite is for float images, not for --dtype {dtype}")


def _image_name(path: str, image_format: str | None, *, noted: bool) -> str:
    """``a.png.npz`` becomes ``a.png`` again; a suffix that would lose something, or none, gets another behind it."""
    return output_name(path[:-4] if path.lower().endswith((".npz", ".npy")) else path, image_format, lossless=True, noted=noted)
