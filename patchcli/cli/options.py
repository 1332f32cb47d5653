"""What the commands share: option types, groups of options, where outputs go, how a run speaks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch import inputs as searching
from patchcli.batch.progress import Voice
from patchcli.cli import types
from patchcli.errors import PatchcliError, UsageError, one_line
from patchcli.images import formats, imagefile
from patchcli.jobs.reading import Reading
from patchcli.storage.files import STREAM
from patchcli.storage.paths import REMOTE, World, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from patchcli.batch.inputs import Found


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several decorators as one, in the order in which help shows their options."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def world_of(given: dict[str, Any]) -> World:
    """What names mean in a call: what `places.within` needs wherever its work is done."""
    return World(remote=tuple(given["remote"]))


def _follow(ctx: click.Context, _parameter: click.Parameter, remote: tuple[str, ...]) -> tuple[str, ...]:
    """Give names their meaning as soon as it is known, until the command ends."""
    if remote:
        from patchcli.storage.remote import check

        check(remote)
    ctx.with_resource(within(world_of({"remote": remote})))
    return remote


batch_options = together(
    click.argument("inputs", nargs=-1, type=types.File(), metavar="INPUTS..."),
    click.option(
        "--files-from", type=types.File(), metavar="FILE", help="More inputs: their names, one a line; - is standard input."
    ),
    click.option("-0", "--null", is_flag=True, help="The names of --files-from end in NUL, as find -print0 has them."),
    click.option(
        "-o",
        "--output",
        type=types.File(),
        metavar="PATH|TEMPLATE",
        help="Output of the one input, or of each by its name; - is standard output.",
    ),
    click.option(
        "-d",
        "--output-dir",
        type=types.Folder(),
        metavar="DIR",
        help="Folder for the outputs; the path of each input is kept below it.",
    ),
    click.option("--overwrite", is_flag=True, allow_from_autoenv=False, help="Replace outputs that exist."),
    click.option(
        "--resume",
        is_flag=True,
        help="Skip outputs made from the same inputs with the same settings; make those of changed inputs again.",
    ),
    click.option(
        "--remote",
        type=click.Choice(REMOTE),
        multiple=True,
        callback=_follow,
        help="Names that begin with this and :// are remote; may be given again. Without it every name is local.",
    ),
    click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails; default: go on, and exit 1 at the end."),
    click.option(
        "-j", "--jobs", type=click.IntRange(min=0), default=1, show_default=True, help="Worker processes; 0: one a usable CPU."
    ),
    click.option(
        "--executor", metavar="tcp://HOST:PORT", help="Have the work done by a Dask cluster, of which this is the scheduler."
    ),
    click.option(
        "--report",
        type=types.File(),
        metavar="FILE",
        help="Write a line of JSON for each input as it is done, and a summary; - is standard output.",
    ),
    click.option("-n", "--dry-run", is_flag=True, help="Print what would be made of each input, write nothing."),
    click.option("--progress/--no-progress", default=None, help="Show a bar; default: on a terminal."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option(
        "-v", "--verbose", is_flag=True, help="Say what was done, and what came from the environment; tracebacks with errors."
    ),
)

max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    default=imagefile.MAX_PIXELS,
    show_default=True,
    help="Refuse larger images; 0: no limit.",
)

reading_options = together(
    click.option("--gray", is_flag=True, help="Turn colour into gray (BT.601 luma); alpha is dropped."),
    click.option("--channel", type=click.IntRange(min=0), metavar="N", help="Take one channel, from 0, as a gray image."),
    click.option(
        "--page", type=click.IntRange(min=0), default=0, show_default=True, help="Page or frame of a file that has several."
    ),
    click.option(
        "--exif-rotate/--no-exif-rotate", default=True, show_default=True, help="Turn the image as its EXIF orientation says."
    ),
    max_pixels_option,
)

image_format_option = click.option(
    "--image-format",
    type=click.Choice(formats.WRITABLE),
    help="Format of the image; default: by the suffix of the output, png for standard output.",
)


def reading_of(given: dict[str, Any]) -> Reading:
    """The group `reading_options` as what jobs take."""
    if given["gray"] and given["channel"] is not None:
        raise UsageError("--gray and --channel exclude each other")
    return Reading(given["page"], given["gray"], given["channel"], given["exif_rotate"], given["max_pixels"])


def image_format_of(given: dict[str, Any]) -> str | None:
    """The format asked for; None where the suffix of the output decides."""
    asked: str | None = given["image_format"]
    return "png" if asked is None and given["output"] == STREAM else asked


def check_formats(given: dict[str, Any], paths: Sequence[str], image_format: str | None) -> None:
    """Refuse, before any work, outputs whose suffix is no image format's, and formats that --resume cannot tell from others."""
    try:
        for path in paths:
            imagefile.format_of(path, image_format)
        if given["resume"]:
            imagefile.check_notes(paths, image_format)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def make_voice(given: dict[str, Any]) -> Voice:
    """How the run speaks: results are none of its business, all of it goes to standard error."""
    quiet, verbose, progress = given["quiet"], given["verbose"], given["progress"]
    if quiet and verbose:
        raise UsageError("-q and -v exclude each other")
    terminal = sys.stderr is not None and sys.stderr.isatty()

    def say(line: str) -> None:
        click.echo(line, err=True)

    return Voice(
        error=lambda line: say(f"patchcli: {one_line(line)}"),
        # with the records of a dry run there, its lines would be in their way
        result=(lambda _: None) if given["dry_run"] and given["report"] == STREAM else lambda line: click.echo(one_line(line)),
        hint=None if quiet else lambda line: say(f"patchcli: {one_line(line)}"),
        done=(lambda line: say(one_line(line))) if verbose or (terminal and not quiet) else None,
        progress=(terminal and not quiet) if progress is None else progress,
        verbose=verbose,
    )


def find_inputs(ctx: click.Context, given: dict[str, Any], suffixes: Sequence[str]) -> Found:
    """Put the files of all inputs, folders searched and lists read, into ``given``.

    Without inputs: help where somebody sits at a terminal, else one line; exit code 2 either way.
    """
    if not given["inputs"] and given["files_from"] is None:
        if sys.stdin is not None and sys.stdin.isatty():
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        raise UsageError("no INPUTS; allowed are files, folders, --files-from, and - for standard input")
    found = searching.find(given, suffixes)
    given["inputs"] = tuple(found.paths)
    return found
