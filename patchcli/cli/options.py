"""The options that commands share, as Click declares them and as the program takes them; how a run speaks."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from patchcli.batch import inputs as searching
from patchcli.batch.progress import Voice
from patchcli.cli import types
from patchcli.cli.help import option, together, version_option
from patchcli.errors import PatchcliError, UsageError, one_line
from patchcli.images import formats, sink, source
from patchcli.jobs.settings import Reading
from patchcli.storage.files import STREAM
from patchcli.storage.paths import REMOTE, World, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions

Options = TypeVar("Options")
OUTPUT, MANY, MESSAGES, READING = "Output", "Many files", "Messages", "Reading"


def _follow(ctx: click.Context, _parameter: click.Parameter, remote: tuple[str, ...]) -> tuple[str, ...]:
    """Give names their meaning as soon as it is known, until the command ends."""
    if remote:
        from patchcli.storage.remote import check

        check(remote)
    ctx.with_resource(within(World(remote=remote)))
    return remote


batch_options = together(
    click.argument("inputs", nargs=-1, type=types.File(), metavar="INPUTS..."),
    option(
        OUTPUT,
        "-o",
        "--output",
        type=types.File(),
        metavar="PATH|TEMPLATE",
        help="Output of the one input, or a name made from that of each; - is standard output.",
    ),
    option(
        OUTPUT,
        "-d",
        "--output-dir",
        type=types.Folder(),
        metavar="DIR",
        help="Folder for the outputs; the path of each input is kept below it.",
    ),
    option(OUTPUT, "--overwrite", is_flag=True, allow_from_autoenv=False, help="Replace outputs that exist."),
    option(
        OUTPUT,
        "--resume",
        is_flag=True,
        help="Skip outputs made from the same inputs with the same settings; make those of changed inputs again.",
    ),
    option(OUTPUT, "-n", "--dry-run", is_flag=True, help="Print what would be made of each input, write nothing."),
    option(
        MANY,
        "-j",
        "--jobs",
        type=click.IntRange(min=0),
        default=1,
        show_default=True,
        metavar="N",
        help="Worker processes; 0 = one per available CPU.",
    ),
    option(
        MANY,
        "--files-from",
        type=types.File(),
        metavar="FILE",
        help="Read more inputs, one name a line; - is standard input.",
    ),
    option(MANY, "-0", "--null", is_flag=True, help="Names in --files-from end in NUL, as find -print0 writes them."),
    option(MANY, "--fail-fast", is_flag=True, help="Stop at the first input that fails; default: go on, and exit 1 at the end."),
    option(
        MANY,
        "--report",
        type=types.File(),
        metavar="FILE",
        help="Write a line of JSON for each input as it is done, and a summary; - is standard output.",
    ),
    option(
        MANY,
        "--remote",
        type=click.Choice(REMOTE),
        multiple=True,
        callback=_follow,
        help="Take names that begin with this and :// as remote; repeatable. Without it every name is local.",
    ),
    option(MANY, "--executor", metavar="tcp://HOST:PORT", help="Run the jobs on the Dask cluster of this scheduler; tls:// too."),
    option(MESSAGES, "-q", "--quiet", is_flag=True, help="Print errors only."),
    option(
        MESSAGES,
        "-v",
        "--verbose",
        is_flag=True,
        help="Print what was done, in what time, at how many MB/s, and what came from the environment.",
    ),
    option(MESSAGES, "--debug", is_flag=True, help="Print the traceback of each error."),
    option(MESSAGES, "--progress/--no-progress", default=None, help="Show a progress bar; default: on a terminal."),
    version_option,
)

max_pixels_option = option(
    READING,
    "--max-pixels",
    type=click.IntRange(min=0),
    default=source.MAX_PIXELS,
    show_default=True,
    metavar="N",
    help="Refuse larger images; 0 = no limit.",
)

reading_options = together(
    option(READING, "--gray", is_flag=True, help="Convert colour to gray (BT.601 luma); alpha is dropped."),
    option(READING, "--channel", type=click.IntRange(min=0), metavar="N", help="Read one channel, from 0, as a gray image."),
    option(
        READING,
        "--page",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="N",
        help="Page or frame of a file that holds several.",
    ),
    option(
        READING,
        "--exif-rotate/--no-exif-rotate",
        default=True,
        show_default=True,
        help="Rotate the image as its EXIF orientation says.",
    ),
    max_pixels_option,
)

image_format_option = option(
    OUTPUT,
    "--image-format",
    type=click.Choice(formats.WRITABLE),
    help="Format of the image; default: by the suffix of the output, png for standard output.",
)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """The group `reading_options`."""

    gray: bool
    channel: int | None
    page: int
    exif_rotate: bool
    max_pixels: int

    def reading(self) -> Reading:
        """How images are read."""
        if self.gray and self.channel is not None:
            raise UsageError("use only one of --gray and --channel")
        return Reading(page=self.page, gray=self.gray, channel=self.channel, rotate=self.exif_rotate, max_pixels=self.max_pixels)


def taken(kind: type[Options], given: dict[str, Any], **known: Any) -> Options:  # noqa: ANN401
    """The options for which a dataclass has fields, but for those ``known`` already, taken out of what Click gives.

    Nothing else sees Click's dictionary.
    """
    assert dataclasses.is_dataclass(kind)
    asked = {field.name: given.pop(field.name) for field in dataclasses.fields(kind) if field.name not in known}
    return kind(**asked, **known)


def image_format_of(asked: str | None, batch: BatchOptions) -> str | None:
    """The format asked for; None where the suffix of the output decides."""
    return "png" if asked is None and batch.output == STREAM else asked


def check_formats(paths: Sequence[str], image_format: str | None, *, resume: bool) -> None:
    """Refuse, before any work, outputs whose suffix is no image format's, and formats that --resume cannot tell from others."""
    try:
        for path in paths:
            sink.format_of(path, image_format)
        if resume:
            sink.check_notes(paths, image_format)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def make_voice(batch: BatchOptions) -> Voice:
    """How the run speaks: results go to standard output, all else to standard error."""
    quiet, verbose = batch.quiet, batch.verbose
    if quiet and verbose:
        raise UsageError("use only one of -q and -v")
    terminal = sys.stderr is not None and sys.stderr.isatty()

    def say(line: str) -> None:
        click.echo(line, err=True)

    return Voice(
        error=lambda line: say(f"patchcli: {one_line(line)}"),
        # with the records of a dry run there, its lines would be in their way
        result=(lambda _: None) if batch.dry_run and batch.report == STREAM else lambda line: click.echo(one_line(line)),
        hint=None if quiet else lambda line: say(f"patchcli: {one_line(line)}"),
        done=(lambda line: say(one_line(line))) if verbose or (terminal and not quiet) else None,
        progress=(terminal and not quiet) if batch.progress is None else batch.progress,
        verbose=verbose,
        debug=batch.debug,
    )


def find_inputs(ctx: click.Context, batch: BatchOptions, suffixes: Sequence[str]) -> Found:
    """The files of all inputs, folders searched and lists read.

    Without inputs: help where somebody sits at a terminal, else one line; exit code 2 either way.
    """
    if not batch.inputs and batch.files_from is None:
        if _at_a_terminal():
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        raise UsageError("no INPUTS; give files, folders, --files-from, or - for standard input")
    say_waiting([*batch.inputs, batch.files_from], batch)
    return searching.find(batch, suffixes)


def say_waiting(names: Sequence[str | None], batch: BatchOptions) -> None:
    """Say, where standard input is to be read and is a terminal, that it is waited for."""
    if STREAM in names and _at_a_terminal() and not batch.quiet:
        click.echo("patchcli: waiting for standard input, which is a terminal; Ctrl-D ends it, Ctrl-C the run", err=True)


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
