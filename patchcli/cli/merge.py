"""``patchcli merge``: processed patch stacks to images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, has_fields, needs_name, place_tasks
from patchcli.cli import environment, merge_options, options, types
from patchcli.cli.help import option
from patchcli.errors import PatchcliError, UsageError, counted
from patchcli.images.formats import SUFFIXES
from patchcli.images.sink import output_name
from patchcli.jobs.merge import merge_one
from patchcli.jobs.merge_plan import plan_one, recipes
from patchcli.jobs.settings import MergeSettings
from patchcli.jobs.task import MergeTask
from patchcli.patches.windows import NAMES
from patchcli.stacks.tile_names import INDEX_SUFFIX, is_index
from patchcli.storage.files import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from patchcli.batch.inputs import Found
    from patchcli.stacks.tile_patterns import NamePattern

STACKS = (".npz", ".npy", INDEX_SUFFIX)
TILES = "Tile files"


@click.command(cls=environment.BatchCommand)
@merge_options.merging_options
@option(
    options.READING,
    "--like",
    type=types.File(),
    metavar="STACK",
    help="Take origins and image from this stack, for patches in a bare .npy or .npz.",
)
@option(options.READING, "--key", metavar="NAME", help="Array that holds the patches; default: patches, or the only one.")
@option(
    TILES,
    "--tiles-from",
    type=types.Folder(),
    metavar="DIR",
    help="Take the tiles of an index from this folder, by name, whatever their suffix.",
)
@option(
    TILES,
    "--names",
    metavar="PATTERN",
    help="INPUTS are tiles named like this, without an index: '{stem}-{x}-{y}.png', or {row} {col}, {row+1} {col+1}, {patch}.",
)
@option(TILES, "--stride", type=types.Size(), help="Step from tile to tile, for rows and columns; default: the size of a tile.")
@option(
    TILES, "--across", type=click.IntRange(1, types.MAX_SIDE), metavar="N", help="How many tiles lie side by side, for {patch}."
)
@options.batch_options
@option(
    options.OUTPUT,
    "--compare",
    type=types.File(),
    metavar="FILE|TEMPLATE",
    help="Say how far the image is from this original: RMSE, PSNR, largest difference, with -v and in --report.",
)
@merge_options.image_options
@options.max_pixels_option
@click.pass_context
def merge(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Rebuild each image as the mean of all patches that lie on a pixel. The stack knows how it was cut.

    \b
    patchcli merge photo.npz -o back.png
    patchcli merge photo-*-of-*.npz -o back.png
    patchcli extract photo.png -s 8 --stride 1 -o - | patchcli merge - -o back.png
    patchcli merge tiles/photo.tiles.jsonl -o back.png
    patchcli merge tiles/*.png --names '{stem}-{x}-{y}.png' -o '{stem}.png'

    With -o several inputs are shards of one image; with -d each is an image of its own.
    """
    batch = options.taken(BatchOptions, given)
    cover: str | None = given.pop("cover")
    compare: str | None = given.pop("compare")
    image_format = options.image_format_of(given.pop("image_format"), batch)
    settings = options.taken(
        MergeSettings,
        given,
        creation=given.pop("co"),
        image_format=image_format,
        overwrite=batch.overwrite,
        resume=batch.resume,
        unasked_format=image_format is None and batch.output is None,
    )
    found = options.find_inputs(ctx, batch, STACKS if settings.names is None else SUFFIXES)
    voice = options.make_voice(batch)
    if cover is not None and batch.output is None and len(found.paths) > 1:
        raise UsageError(f"--cover names one output but there are {len(found.paths)} inputs; give one input")
    merge_options.check_rule(settings)
    _check_tiles(settings, found.paths)
    tiles = {} if settings.names is None else _tiles_by_image(settings.names, found, settings, batch)
    shards = () if tiles else _shards(found, settings, batch.output)

    def make(place: InputPage) -> MergeTask:
        original = None if compare is None else place.fill_file(compare, "--compare")
        called, paths = tiles.get(place.source, (place.source, []))
        return MergeTask(
            source=called,
            target=place.target,
            shards=shards,
            tiles=tuple(paths),
            below=place.relative,
            cover=cover,
            compare=original,
        )

    windows = [settings.window] if settings.window not in NAMES else []
    tasks = place_tasks(
        batch,
        found,
        make,
        rename=lambda path: _image_name(path, image_format, noted=batch.resume, tiles=bool(tiles)),
        also_read=[*([] if settings.like is None else [settings.like]), *windows],
        named_in=_tiles_of(settings) if any(map(is_index, found.paths)) else None,
    )
    merge_options.check_cover_file(cover, settings)
    options.check_formats([task.target for task in tasks], image_format, resume=batch.resume, creation=settings.creation)
    ctx.exit(run_batch(found, tasks, Command(merge_one, plan_one, recipes, settings), options=batch, voice=voice))


def _shards(found: Found, settings: MergeSettings, output: str | None) -> tuple[str, ...]:
    """The inputs but the first, taken out, where all of them are one stack: for one output, and no indexes of tiles."""
    if output is None or has_fields(output) or any(map(is_index, found.paths)):
        return ()
    shards = tuple(found.paths[1:])
    del found.paths[1:]
    if shards and settings.like is not None:
        raise UsageError("--like is for one input, not for shards; with several use -d/--output-dir")
    return shards


def _tiles_of(settings: MergeSettings) -> Callable[[MergeTask], Sequence[str]]:
    """The function that tells the tiles which the index of a task names."""
    from patchcli.jobs.tile_source import tile_paths  # which stacks don't need

    return lambda task: tile_paths(task, settings) if is_index(task.source) else ()


def _check_tiles(settings: MergeSettings, paths: Sequence[str]) -> None:
    """Refuse options of tiles for what are none, and of stacks for tiles."""
    indexed = [path for path in paths if is_index(path)]
    if settings.names is None:
        if settings.across is not None or settings.stride is not None:
            raise UsageError(f"--{'across' if settings.across else 'stride'} is for tiles that --names tells of; give --names")
        if settings.tiles_from is not None and len(indexed) < len(paths):
            raise UsageError("--tiles-from is for an index of tiles (.tiles.jsonl), which says how they lie; give its name")
    elif settings.tiles_from is not None:
        raise UsageError("use only one of --names and --tiles-from")
    elif STREAM in paths:
        raise UsageError("standard input (-) has no name, which --names is about; give files")
    if (settings.like is not None or settings.key is not None) and (indexed or settings.names is not None):
        raise UsageError(f"--{'key' if settings.like is None else 'like'} is for stacks, not for tiles")


def _tiles_by_image(names: str, found: Found, settings: MergeSettings, batch: BatchOptions) -> dict[str, tuple[str, list[str]]]:
    """What the tiles of each image are called together, and their files; by a name that stands for them among the inputs."""
    from patchcli.stacks.tile_patterns import NamePattern  # loaded for nobody else

    try:
        pattern = NamePattern(names)
    except PatchcliError as error:
        raise UsageError(f"--names {error}") from None
    _check_pattern(pattern, settings, batch)
    images: dict[tuple[str, str], list[str]] = {}
    for path in found.paths:
        folder, name = pattern.split(path)
        try:
            matched = pattern.match(name)
        except PatchcliError as error:
            raise UsageError(f"{path}: {error}") from None
        if matched is not None:
            images.setdefault((folder, matched.stem), []).append(path)
        elif path in found.searched:
            found.passed[os.path.splitext(name)[1].lower()] += 1
        else:
            raise UsageError(f"{path}: does not match --names {names}; give tiles of such names alone, or another pattern")
    if found.paths and not images:
        raise UsageError(f"no file of the {counted(len(found.paths), 'input')} matches --names {names}; give another pattern")
    stand_ins = {
        os.path.join(folder, stem + os.path.splitext(paths[0])[1]): (os.path.join(folder, pattern.of_image(stem)), paths)
        for (folder, stem), paths in images.items()
    }
    found.paths[:] = stand_ins
    return stand_ins


def _check_pattern(pattern: NamePattern, settings: MergeSettings, batch: BatchOptions) -> None:
    """Refuse what does not go with names of a pattern."""
    if (pattern.place == ("patch",)) != (settings.across is not None):
        raise UsageError("--across N is for --names with {patch}, of which it says how many lie side by side; give both or none")
    if pattern.place == ("y", "x") and settings.stride is not None:
        raise UsageError("--stride is for --names with {row} and {col} or {patch}; {x} and {y} are pixels")
    if not pattern.has_stem and (batch.output_dir is not None or needs_name(str(batch.output))):
        raise UsageError(
            "--names has no {stem}, after which an output could be called; put it in, or give -o a name without fields"
        )


def _image_name(path: str, image_format: str | None, *, noted: bool, tiles: bool) -> str:
    """``a.png.npz`` becomes ``a.png`` again; a suffix that would lose something, or none, gets another behind it."""
    suffix = next((suffix for suffix in STACKS if path.lower().endswith(suffix) and not tiles), "")
    return output_name(path[: len(path) - len(suffix)], image_format, lossless=True, noted=noted)
