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
from patchcli.images.metadata import KEEP, METADATA
from patchcli.jobs.pages import PageRange
from patchcli.storage.files import STREAM, name_of
from patchcli.storage.paths import REMOTE, World, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions
    from patchcli.jobs.settings import Reading

Options = TypeVar("Options")
OUTPUT, MANY, MESSAGES, READING = "Output", "Many files", "Messages", "Reading"


def _follow(ctx: click.Context, _parameter: click.Parameter, remote: tuple[str, ...]) -> tuple[str, ...]:
    """Give names their meaning as soon as it is known, until the command ends."""
    if remote:
        from patchcli.storage.remote import check

        check(remote)
    ctx.with_resource(within(World(remote=remote)))
    return remote


list_options = together(
    option(
        MANY,
        "--files-from",
        type=types.File(),
        metavar="FILE",
        help="Read more inputs, one name a line; - is standard input.",
    ),
    option(MANY, "-0", "--null", is_flag=True, help="Names in --files-from end in NUL, as find -print0 writes them."),
)

remote_option = option(
    MANY,
    "--remote",
    type=click.Choice(REMOTE),
    multiple=True,
    callback=_follow,
    help="Take names that begin with this and :// as remote; repeatable. Without it every name is local.",
)

message_options = together(
    option(MESSAGES, "-q", "--quiet", is_flag=True, help="Print errors only."),
    option(
        MESSAGES,
        "-v",
        "--verbose",
        is_flag=True,
        help="Print what was done, in what time, at how many MB/s, and what came from the environment.",
    ),
    option(MESSAGES, "--debug", is_flag=True, help="Print the traceback of each error."),
)

output_options = together(
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
)

batch_options = together(
    click.argument("inputs", nargs=-1, type=types.File(), metavar="INPUTS..."),
    output_options,
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
    list_options,
    option(MANY, "--fail-fast", is_flag=True, help="Stop at the first input that fails; default: go on, and exit 1 at the end."),
    option(
        MANY,
        "--report",
        type=types.File(),
        metavar="FILE",
        help="Write a line of JSON for each input as it is done, and a summary; - is standard output.",
    ),
    remote_option,
    option(MANY, "--executor", metavar="tcp://HOST:PORT", help="Run the jobs on the Dask cluster of this scheduler; tls:// too."),
    message_options,
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
    option(
        READING,
        "--color",
        type=click.Choice(tuple(source.COLORS)),
        help="Read as gray (BT.601 luma), as RGB without alpha, or the indices behind a palette; default: as stored.",
    ),
    option(READING, "--gray", is_flag=True, hidden=True, help="The same as --color gray."),
    option(READING, "--channel", type=click.IntRange(min=0), metavar="N", help="Read one channel, from 0, as a gray image."),
    option(
        READING,
        "--page",
        type=types.Pages(),
        help="Page or frame of a file that holds several, from 0, or more of them, each an image of its own; default: 0.",
    ),
    option(
        READING,
        "--pages-as",
        type=click.Choice(("images", "channels")),
        default="images",
        show_default=True,
        help="Whether several pages are images, or the channels of one.",
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

metadata_option = option(
    OUTPUT,
    "--metadata",
    type=click.Choice(METADATA),
    default=KEEP,
    show_default=True,
    help="What becomes of ICC profile, georeference, nodata, resolution and colour table; none: dropped.",
)

creation_option = option(
    OUTPUT,
    "--co",
    type=types.KeyValue(),
    multiple=True,
    metavar="KEY=VALUE",
    help="How the image is written, as level=1 (png), quality=90 (jpeg, webp), tile=512, compression=zstd (tiff); repeatable.",
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

    color: str | None
    gray: bool
    channel: int | None
    page: PageRange | None
    pages_as: str
    exif_rotate: bool
    max_pixels: int

    @property
    def pages(self) -> PageRange | None:
        """The pages of which each is an image; None where they are the channels of one."""
        return None if self.pages_as == "channels" else self.page or PageRange()

    def reading(self) -> Reading:
        """How images are read."""
        from patchcli.jobs.settings import Reading

        color = "gray" if self.gray else self.color
        if self.gray and self.color not in (None, color):
            raise UsageError(f"use only one of --gray and --color {self.color}")
        if color is not None and self.channel is not None:
            raise UsageError(f"use only one of {'--gray' if self.gray else '--color'} and --channel")
        page = self.page or PageRange()
        stacked = page if self.pages is None else None
        if stacked is not None and not stacked.several:
            raise UsageError("--pages-as channels is for several pages; give --page A-B or --page all")
        return Reading(
            page=page.first,
            stacked=stacked,
            tell_pages=self.page is None,
            color=color,
            channel=self.channel,
            rotate=self.exif_rotate,
            max_pixels=self.max_pixels,
        )


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


def check_once(name: str, given: Sequence[tuple[str, str]]) -> None:
    """Refuse a key that was given twice to an option that takes ``KEY=VALUE``."""
    keys = [key for key, _ in given]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(f"{name} {twice} was given twice; give it once")


def check_formats(
    paths: Sequence[str], image_format: str | None, *, resume: bool, creation: Sequence[tuple[str, str]] = ()
) -> None:
    """Refuse, before any work, outputs whose suffix is no image format's, and what their formats do not have.

    That is a place for what --resume tells one from another by, and the keys of --co, each of which is given once.
    """
    check_once("--co", creation)
    try:
        first: dict[str, str] = {}
        for path in paths:
            first.setdefault(sink.format_of(path, image_format), path)
        for name in sorted(first):
            if fault := _creation_fault(name, creation):
                able = [] if image_format else [known for known in formats.WRITABLE if not _creation_fault(known, creation)]
                instead = f"; --image-format {able[0]} writes one that takes it" if able else ""
                raise UsageError(f"{name_of(first[name], 'standard output')}: {fault}{instead}")
        if resume:
            sink.check_notes(paths, image_format)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def _creation_fault(name: str, creation: Sequence[tuple[str, str]]) -> str:
    """What is wrong with --co for files of a format; empty where nothing is."""
    try:
        sink.check_creation([name], creation)
    except PatchcliError as error:
        return str(error)
    return ""


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
