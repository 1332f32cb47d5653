"""``patchcli extract``: images to patch stacks."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, place_tasks
from patchcli.cli import environment, options, patch_options, types
from patchcli.cli.help import option
from patchcli.cli.patch_options import PATCHES, PatchOptions
from patchcli.errors import UsageError
from patchcli.geometry.axis import CLIP
from patchcli.images.formats import FORMATS, SUFFIXES, WRITABLE
from patchcli.jobs.extract import extract_one
from patchcli.jobs.extract_plan import plan_one, recipes
from patchcli.jobs.task import COMPANION, LABELS, Companion, ExtractTask
from patchcli.stacks.layouts import LAYOUTS, ORDERS, UNROLLED
from patchcli.stacks.tile_names import IMAGE_ROLE, fields_in_words, has_position, index_path, of_role
from patchcli.storage import files
from patchcli.storage.listing import Folders
from patchcli.storage.paths import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.jobs.settings import ExtractSettings, Reading

OTHERS = (  # suffixes of what a stack is not
    *SUFFIXES,
    *(".jp2", ".jxl", ".avif", ".heic", ".exr", ".hdr", ".tga", ".h5", ".hdf5", ".tar", ".gz", ".zarr", ".mat", ".pt"),
)
WRITTEN = {suffix for name in WRITABLE for suffix in FORMATS[name].suffixes}


@click.command(cls=environment.BatchCommand)
@patch_options.placing_options
@option(
    PATCHES,
    "--companion",
    type=types.File(),
    multiple=True,
    metavar="FILE|TEMPLATE",
    help="Cut this image too, at the very same places; repeatable.",
)
@option(
    PATCHES,
    "--labels",
    type=types.File(),
    metavar="FILE|TEMPLATE",
    help="Cut this image of class numbers too: indices, not colours.",
)
@option(
    PATCHES,
    "--label-pad",
    type=int,
    metavar="CLASS",
    help="Class number that margin and padding of --labels hold; default: as the image is padded.",
)
@patch_options.choosing_options
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
@options.creation_option
@options.metadata_option
@options.reading_options
@click.pass_context
def extract(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Cut each image into overlapping patches and write them, with where each one lay, as a stack file (.npz) or as images.

    \b
    patchcli extract photo.png -s 8 --stride 1 -o photo.npz
    patchcli extract photos/*.jpg -s 64 --overlap 25% -d stacks
    patchcli extract photos/*.jpg -s 64 --labels 'masks/{stem}.png' -d stacks
    patchcli extract photos/*.jpg -s 256 --edge clip -o 'tiles/{stem}-{x}-{y}.png'

    A TEMPLATE is a name with {stem}, {name}, {ext}, {parent}, {relative}, {index} or {page} of the input in it. With {x}, {y},
    {row}, {col}, {row+1}, {col+1} or {patch} of each patch, and the suffix of an image, it names tile files; {role} is image,
    labels, companion ...
    """
    batch = options.taken(BatchOptions, given)
    reading = options.taken(options.ReadingOptions, given)
    patches = options.taken(PatchOptions, given)
    asked = options.taken(ExtractOptions, given)
    found = options.find_inputs(ctx, batch, SUFFIXES)
    tiled = batch.output is not None and has_position(batch.output)
    _check_tiled(ctx, asked, patches.edge, tiled=tiled)
    settings = _settings(asked, patches, reading.reading(), batch)
    voice = options.make_voice(batch)

    def make(place: InputPage) -> ExtractTask:
        return _task(place, asked, patches.mask, batch, tiled=tiled)

    if tiled:
        from patchcli.cli.extract_tiles import run_tiles  # loaded for nobody else

        ctx.exit(run_tiles(make, found, settings, batch=batch, pages=reading.pages, voice=voice))
    tasks = place_tasks(batch, found, make, rename=lambda path: f"{path}.npz", pages=reading.pages)
    _check_suffixes(tasks)
    if settings.shard_patches and not batch.overwrite and not batch.resume:
        _refuse_shards(tasks)
    ctx.exit(run_batch(found, tasks, Command(extract_one, plan_one, recipes, settings), options=batch, voice=voice))


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """The options of ``extract`` alone, as they were typed; None where they were not."""

    layout: str
    pixel_order: str | None
    companion: tuple[str, ...]
    labels: str | None
    label_pad: int | None
    shard_patches: int | None
    compress: bool
    co: tuple[tuple[str, str], ...]
    metadata: str


OF_STACKS = ("layout", "pixel_order", "shard_patches", "compress")  # options that tile files leave without a meaning


def _check_tiled(ctx: click.Context, asked: ExtractOptions, edge: str, *, tiled: bool) -> None:
    """Refuse options of stacks where tile files are made, and of tile files where stacks are."""
    for name in OF_STACKS if tiled else ():
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise UsageError(f"--{name.replace('_', '-')} is for stacks; -o names tile files, of which each is an image")
    for name, given in () if tiled else (("--edge clip", edge == CLIP), ("--co", asked.co)):
        if given:
            raise UsageError(f"{name} is for tile files; give -o the name of an image with position fields: {fields_in_words()}")


def _check_suffixes(tasks: Sequence[ExtractTask]) -> None:
    """Refuse, before any work, stacks under names that say that they are something else."""
    for target in (target for task in tasks for target in task.targets()):
        suffix = os.path.splitext(target)[1].lower()
        if suffix in OTHERS and not files.is_special(target):
            instead = f", or for tile files put {{x}} and {{y}} into the name ({fields_in_words()})" if suffix in WRITTEN else ""
            raise UsageError(
                f"{target}: a stack is a .npz file, and {suffix} says that it is something else; name it .npz{instead}"
            )


def _settings(asked: ExtractOptions, patches: PatchOptions, reading: Reading, batch: BatchOptions) -> ExtractSettings:
    if asked.label_pad is not None and asked.labels is None:
        raise UsageError("--label-pad is for --labels, which was not given")
    if asked.pixel_order is not None and asked.layout not in UNROLLED:
        raise UsageError(f"--pixel-order is for --layout {' and '.join(UNROLLED)}, not for {asked.layout}")
    if asked.layout == "grid":
        if asked.shard_patches is not None:
            raise UsageError("--layout grid holds all patches of an image; --shard-patches would split them")
        for name in patches.choosing:
            raise UsageError(f"--layout grid holds all patches of an image; {name} would keep some of them")
    if asked.shard_patches and batch.output is not None and files.is_special(batch.output):
        raise UsageError("--shard-patches makes several files; give -o the name of a file, to be numbered")
    return replace(
        patches.settings(reading),
        layout=asked.layout,
        pixel_order=asked.pixel_order or "C",
        shard_patches=asked.shard_patches,
        compress=asked.compress,
        label_pad=asked.label_pad,
        creation=asked.co,
        metadata=asked.metadata,
        overwrite=batch.overwrite,
        resume=batch.resume,
    )


def _task(place: InputPage, asked: ExtractOptions, mask: str | None, batch: BatchOptions, *, tiled: bool) -> ExtractTask:
    """A task with its labels, its companions and its mask."""
    beside = [*([] if asked.labels is None else [(LABELS, asked.labels)]), *((COMPANION, name) for name in asked.companion)]
    if beside and place.target == files.STREAM:
        raise UsageError(f"--{beside[0][0]} makes several stacks; give -o the name of a file")
    companions: list[Companion] = []
    for role, template in beside:
        path, number = place.fill_file(template, f"--{role}"), sum(one.role == role for one in companions)
        own = f".{role}{number or ''}".join(os.path.splitext(place.target))
        target = own if batch.output_dir is None else os.path.join(batch.output_dir, f"{place.below(path)}.npz")
        companions.append(Companion(path, target, role))
    masked = None if mask is None else place.fill_file(mask, "--mask")
    task = ExtractTask(source=place.source, target=place.target, page=place.own_page, companions=tuple(companions), mask=masked)
    return in_tiles(task, place) if tiled else task


def in_tiles(task: ExtractTask, place: InputPage) -> ExtractTask:
    """The same task, whose outputs are indexes of tile files."""
    kinds = [one.role for one in task.companions]
    roles = [IMAGE_ROLE, *(f"{role}{kinds[:number].count(role) or ''}" for number, role in enumerate(kinds))]
    stem = os.path.splitext(os.path.basename(plain(place.source)))[0] if place.source != files.STREAM else "stdin"
    tiles = [of_role(place.target, role) for role in roles]
    indexes = [index_path(names, stem + place.suffix, role) for names, role in zip(tiles, roles, strict=True)]
    companions = tuple(one._replace(target=index) for one, index in zip(task.companions, indexes[1:], strict=True))
    return replace(task, target=indexes[0], companions=companions, tiles=tuple(tiles))


def _refuse_shards(tasks: Sequence[ExtractTask]) -> None:
    """Refuse, before any work, to put shards beside shards of the same name."""
    targets = [target for task in tasks for target in task.targets()]
    folders = Folders(targets)
    for target in targets:
        if found := folders.shards(target):
            raise UsageError(f"{found[0]}: already exists; use --overwrite to replace it")
