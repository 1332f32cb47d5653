"""``patchcli preview``: pictures of images, grids, stacks and differences, to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, place_tasks
from patchcli.cli import environment, options, patch_options, types
from patchcli.cli.help import option, version_option
from patchcli.cli.patch_options import PatchOptions
from patchcli.errors import PatchcliError, UsageError
from patchcli.images import sink
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.jobs.drawing import Framing
from patchcli.jobs.preview import preview_one
from patchcli.jobs.settings import COMPARE, GRID, PICTURES, TRIPLE, PreviewSettings
from patchcli.jobs.task import PreviewTask
from patchcli.stacks.tile_names import INDEX_SUFFIX, is_index
from patchcli.storage.files import STREAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.batch.inputs import Found
    from patchcli.jobs.settings import ExtractSettings, Reading

PICTURE = "Picture"
PATCH_FILES = (".npz", INDEX_SUFFIX)


@click.command(cls=environment.BatchCommand)
@click.argument("inputs", nargs=-1, type=types.File(), metavar="FILES...")
@option(
    PICTURE, "--grid", is_flag=True, help="Draw where patches of an image would lie, numbered; with -s and what else places them."
)
@option(PICTURE, "--cover", is_flag=True, help="Draw how many patches lie on each pixel, of a stack, or of an image with -s.")
@option(
    PICTURE,
    "--triple",
    is_flag=True,
    help="Draw an image, its central patch and its reconstruction: of patches cut with -s, or of a stack given behind the image.",
)
@option(PICTURE, "--compare", is_flag=True, help="Draw two images and their difference, and print how far they are apart.")
@option(PICTURE, "--patches", type=types.NumberList(), help="Draw these patches, numbered from 0; default: some, evenly chosen.")
@option(
    PICTURE,
    "--range",
    type=types.BoxNumber(),
    nargs=2,
    metavar="LOW HIGH",
    help="Values that are black and white; default: 0 and 255 for uint8, else the least and the largest drawn.",
)
@option(
    PICTURE,
    "--max-size",
    type=types.Size(),
    default="1280",
    show_default=True,
    help="Largest size of the picture; small images are enlarged, at most 8 times.",
)
@option(PICTURE, "--json", is_flag=True, help="Print the figures of --compare and --triple as a line of JSON.")
@patch_options.placing_options
@patch_options.choosing_options
@options.output_options
@options.image_format_option
@options.reading_options
@options.list_options
@options.remote_option
@options.message_options
@version_option
@click.pass_context
def preview(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Draw files as pictures to look at: an image as it is, a stack or an index of tiles as a contact sheet.

    \b
    patchcli preview photo.tif -o look.png
    patchcli preview photo.png --grid -s 64 --overlap 25% --margin 8 -o grid.png
    patchcli preview photo.npz --patches 3,17 -o patches.png
    patchcli preview photo.npz --cover -o cover.png
    patchcli preview photo.png --triple -s 8 --stride 1 -o triple.png
    patchcli preview --compare before.png after.png -o difference.png
    """
    batch = options.taken(
        BatchOptions,
        given,
        resume=False,
        fail_fast=False,
        jobs=1,
        executor=None,
        report=None,
        dry_run=False,
        progress=None,
    )
    reading = options.taken(options.ReadingOptions, given)
    patches = options.taken(PatchOptions, given)
    asked = options.taken(PictureOptions, given, json=given.pop("json"), image_format=given.pop("image_format"))
    placed = [one.name for one in fields(PatchOptions) if ctx.get_parameter_source(one.name) is ParameterSource.COMMANDLINE]
    show = _checked(asked, placed, patches, batch)
    _check_range(asked, reading.color)
    settings = PreviewSettings(
        show=show,
        cutting=_cutting(show, patches, reading.reading()),
        numbers=asked.patches or (),
        value_range=asked.range,
        max_size=asked.max_size,
        image_format=options.image_format_of(asked.image_format, batch),
        in_json=asked.json,
        reading=reading.reading(),
        overwrite=batch.overwrite,
    )
    found = options.find_inputs(ctx, batch, (*SUFFIXES, *PATCH_FILES))
    other = _second(found, show, cut=settings.cutting is not None)
    nameless = batch.output is None and batch.output_dir is None and show in (COMPARE, TRIPLE)
    if (nameless or other is not None) and reading.pages is not None and reading.pages.several:
        raise UsageError(f"--page {reading.pages.in_words()} is several pages; give --{show} one number")
    voice = options.make_voice(batch)
    if nameless:
        tasks = [_task(InputPage(path, number), patches.mask, other) for number, path in enumerate(found.paths)]
    else:
        tasks = place_tasks(
            batch,
            found,
            lambda place: _task(place, patches.mask, other),
            rename=lambda path: path + FORMATS[settings.image_format or "png"].suffixes[0],
            pages=None if other is not None else reading.pages,
            also_read=[] if other is None else [other],
            named_in=_tiles_of if any(map(is_index, (*found.paths, other or ""))) else None,
        )
    _check_pictures([task.target for task in tasks if task.target], settings)
    ctx.exit(run_batch(found, tasks, Command(preview_one, preview_one, lambda *_: {}, settings), options=batch, voice=voice))


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """The options of ``preview`` alone, as they were typed; None where they were not."""

    grid: bool
    cover: bool
    triple: bool
    compare: bool
    patches: tuple[int, ...] | None
    range: tuple[float, float] | None
    max_size: tuple[int, int]
    json: bool
    image_format: str | None


def _checked(asked: PictureOptions, placed: Sequence[str], patches: PatchOptions, batch: BatchOptions) -> str | None:
    """What is drawn; options that mean nothing together are refused."""
    shown = [name for name in PICTURES if getattr(asked, name)]
    if len(shown) > 1:
        raise UsageError(f"use only one of --{shown[0]} and --{shown[1]}")
    show = shown[0] if shown else None
    if asked.patches is not None and show is not None:
        raise UsageError(f"use only one of --{show} and --patches")
    if placed and (show is None or show == COMPARE):
        raise UsageError(f"--{placed[0].replace('_', '-')} is for --grid, --cover and --triple; give one of them")
    if patches.patch_size is None and (show == GRID or placed):
        raise UsageError(f"--{show} needs -s/--patch-size; give W or WxH, as in 8 or 64x48")
    if asked.json and show not in (COMPARE, TRIPLE):
        raise UsageError("--json is for the figures of --compare and --triple; info --json tells what is in a file")
    if asked.json and batch.output == STREAM:
        raise UsageError("--json goes to standard output, so the picture cannot go there; give -o FILE, or neither -o nor -d")
    try:
        Framing(asked.max_size).check()
    except PatchcliError as error:
        raise UsageError(f"--max-size: {error}") from None
    return show


def _check_range(asked: PictureOptions, color: str | None) -> None:
    """Refuse a range that is none, or that means nothing."""
    if asked.range is None:
        return
    low, high = asked.range
    if not -math.inf < low < high < math.inf:
        what = "the lower value first" if math.isfinite(low) and math.isfinite(high) else "two finite numbers"
        raise UsageError(f"--range is {low:g} {high:g}; give {what}")
    if asked.cover or color == "indices":
        raise UsageError(f"--range is for values of pixels, not for {'--cover' if asked.cover else '--color indices'}")


def _cutting(show: str | None, patches: PatchOptions, reading: Reading) -> ExtractSettings | None:
    """How patches of an image lie, where that is asked for."""
    return None if show is None or patches.patch_size is None else patches.settings(reading)


def _second(found: Found, show: str | None, *, cut: bool) -> str | None:
    """The second of two files, taken out of the inputs; None where each is drawn by itself."""
    if show == COMPARE or (show == TRIPLE and not cut):
        if len(found.paths) != 2:  # noqa: PLR2004
            what = "two images" if show == COMPARE else "an image and a stack, or images and -s"
            raise UsageError(f"--{show} takes {what}; {len(found.paths)} given")
        if show == TRIPLE and found.paths[1] == STREAM:
            raise UsageError("--triple reads the stack twice, and standard input (-) is read once; save it to a file")
        return found.paths.pop()
    return None


def _task(place: InputPage, mask: str | None, other: str | None) -> PreviewTask:
    """A task with its mask."""
    task = PreviewTask(source=place.source, target=place.target, page=place.own_page, other=other)
    return task if mask is None else replace(task, mask=place.fill_file(mask, "--mask"))


def _tiles_of(task: PreviewTask) -> Sequence[str]:
    """The tiles that the indexes of a task name."""
    from patchcli.jobs.settings import MergeSettings
    from patchcli.jobs.task import MergeTask
    from patchcli.jobs.tile_source import tile_paths  # which others don't need

    indexes = filter(is_index, task.sources())
    return [path for index in indexes for path in tile_paths(MergeTask(source=index, target=""), MergeSettings())]


def _check_pictures(targets: Sequence[str], settings: PreviewSettings) -> None:
    """Refuse formats that hold no colours of 8 bits, and pictures that hold nothing."""
    import numpy as np

    options.check_formats(targets, settings.image_format, resume=False)
    try:
        settings.check_size()
        for target in targets:
            sink.check_holds(sink.format_of(target, settings.image_format), (1, 1, 3), np.dtype(np.uint8))
    except PatchcliError as error:
        raise UsageError(str(error)) from None
