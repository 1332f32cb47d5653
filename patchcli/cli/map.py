"""``patchcli map``: images through a function of patches to images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, place_tasks
from patchcli.cli import environment, merge_options, options, patch_options, types
from patchcli.cli.help import option
from patchcli.cli.patch_options import PatchOptions
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.axis import CLIP
from patchcli.images.formats import SUFFIXES
from patchcli.images.sink import output_name
from patchcli.jobs.map import map_band, map_one
from patchcli.jobs.map_function import load_function, parse_function
from patchcli.jobs.map_plan import plan_one, recipes
from patchcli.jobs.settings import MapSettings, MergeSettings
from patchcli.jobs.task import MapTask
from patchcli.patches.windows import NAMES

if TYPE_CHECKING:
    from patchcli.jobs.settings import Reading

FUNCTION = "Function"


@click.command(cls=environment.BatchCommand)
@option(
    FUNCTION,
    "--func",
    type=types.File(),
    metavar="MODULE:NAME|FILE.py:NAME",
    help="Python function that gets patches (B, h, w[, C]) and returns as many.",
)
@option(
    FUNCTION,
    "--arg",
    type=types.Keyword(),
    multiple=True,
    help="Keyword of the function, of the type of its annotation; repeatable.",
)
@option(
    FUNCTION,
    "--exec",
    metavar="COMMAND",
    help="Program that gets patches as .npy records on its standard input, and returns as many on its output.",
)
@option(
    FUNCTION,
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Patches that it gets at once; default: about 8 MiB of them.",
)
@patch_options.placing_options
@patch_options.choosing_options
@merge_options.merging_options
@options.batch_options
@merge_options.image_options
@options.reading_options
@click.pass_context
def map(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401, A001  the command's name
    """Cut each image into overlapping patches, give them to a function, and rebuild the image of what it returns.

    \b
    patchcli map noisy.png -s 8 --stride 1 --func patchcli.functions:dct_denoise --arg sigma=25 -o clean.png
    patchcli map photos/*.jpg -s 64 --overlap 50% --window hann --func net.py:sharpen -d sharp
    patchcli map scene.tif -s 256 --margin 16 --halo 16 -j 0 --func net.py:predict -o map.tif
    patchcli map photo.png -s 64 --exec './invert' -o inverted.png

    In one pass, band by band: the patches are never stored, and memory follows the width of an image. The result for a patch
    must depend on that patch alone.
    """
    batch = options.taken(BatchOptions, given)
    reading = options.taken(options.ReadingOptions, given)
    patches = options.taken(PatchOptions, given)
    asked = options.taken(FunctionOptions, given)
    cover: str | None = given.pop("cover")
    settings = _settings(asked, patches, given, reading.reading(), batch)
    found = options.find_inputs(ctx, batch, SUFFIXES)
    voice = options.make_voice(batch)
    if cover is not None and len(found.paths) > 1:
        raise UsageError(f"--cover names one output but there are {len(found.paths)} inputs; give one input")
    if batch.executor is None:  # whose workers may have what is not here
        _check_loaded(settings)
    tasks = place_tasks(
        batch,
        found,
        lambda place: _task(place, patches.mask, cover),
        rename=lambda path: output_name(path, settings.merging.image_format, lossless=True, noted=batch.resume),
        pages=reading.pages,
        also_read=[settings.merging.window] if settings.merging.window not in NAMES else [],
    )
    merge_options.check_cover_file(cover, settings.merging)
    creation = settings.merging.creation
    options.check_formats([task.target for task in tasks], settings.merging.image_format, resume=batch.resume, creation=creation)
    command = Command(map_one, plan_one, recipes, settings, map_band)
    ctx.exit(run_batch(found, tasks, command, options=batch, voice=voice))


@dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """The options of ``map`` alone, as they were typed; None where they were not."""

    func: str | None
    arg: tuple[tuple[str, str], ...]
    exec: str | None
    batch: int | None


def _settings(
    asked: FunctionOptions, patches: PatchOptions, given: dict[str, Any], reading: Reading, batch: BatchOptions
) -> MapSettings:
    """All that the job is told; what can never work is refused."""
    if (asked.func is None) == (asked.exec is None):
        raise UsageError("use only one of --func and --exec" if asked.func else "give a function: --func NAME, or --exec COMMAND")
    options.check_once("--arg", asked.arg)
    if asked.exec is not None and asked.arg:
        raise UsageError("--arg is for --func; write arguments of a command into --exec")
    if asked.func is not None:
        parse_function(asked.func)
    elif batch.executor is None:
        from patchcli.jobs.map_child import words_of  # which functions in Python don't need

        words_of(str(asked.exec))
    image_format = options.image_format_of(given.pop("image_format"), batch)
    merging = options.taken(
        MergeSettings,
        given,
        like=None,
        key=None,
        tiles_from=None,
        names=None,
        stride=None,
        across=None,
        max_pixels=reading.max_pixels,
        creation=given.pop("co"),
        image_format=image_format,
        overwrite=batch.overwrite,
        resume=batch.resume,
        unasked_format=image_format is None and batch.output is None,
    )
    merge_options.check_rule(merging)
    cutting = replace(patches.settings(reading), metadata=merging.metadata, creation=merging.creation)
    if cutting.edge == CLIP:
        raise UsageError("--edge clip is for tile files; give --edge pad")
    return MapSettings(
        cutting=cutting,
        merging=merging,
        function=asked.func,
        arguments=asked.arg,
        command=asked.exec,
        batch=asked.batch,
        overwrite=batch.overwrite,
        resume=batch.resume,
        metadata=merging.metadata,
    )


def _check_loaded(settings: MapSettings) -> None:
    """Refuse, before any work, a function that cannot be had."""
    if settings.function is not None:
        try:
            load_function(settings.function, settings.arguments)
        except PatchcliError as error:
            raise UsageError(str(error)) from None


def _task(place: InputPage, mask: str | None, cover: str | None) -> MapTask:
    """A task with its mask."""
    task = MapTask(source=place.source, target=place.target, page=place.own_page, cover=cover)
    return task if mask is None else replace(task, mask=place.fill_file(mask, "--mask"))
