"""What the commands share: option types, groups of options, where outputs go, how a run speaks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from patchcli import formats, images
from patchcli.errors import PatchcliError, UsageError, one_line
from patchcli.files import STREAM, is_special
from patchcli.jobs import Reading, Task
from patchcli.runner import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several decorators as one, in the order in which help shows their options."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


batch_options = together(
    click.argument("inputs", nargs=-1, metavar="INPUTS..."),
    click.option("-o", "--output", metavar="PATH", help="Output of the one input; - is standard output."),
    click.option("-d", "--output-dir", metavar="DIR", help="Folder for the outputs; the path of each input is kept below it."),
    click.option("--overwrite", is_flag=True, allow_from_autoenv=False, help="Replace outputs that exist."),
    click.option("--progress/--no-progress", default=None, help="Show a bar; default: on a terminal."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say what was done; tracebacks with errors."),
)

max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    default=images.MAX_PIXELS,
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


def check_suffixes(paths: Sequence[str]) -> None:
    """Refuse, before any work, outputs whose suffix is no image format's."""
    try:
        for path in paths:
            images.format_of(path)
    except PatchcliError as error:
        raise UsageError(str(error)) from None


def place_tasks(
    given: dict[str, Any],
    rename: Callable[[str], str],
    also_written: Sequence[str] = (),
    also_read: Sequence[str] = (),
    complete: Callable[[Task, int], Task] = lambda task, _index: task,
) -> list[Task]:
    """Give each input its output, and refuse what could lose a file, before any work.

    Args:
        given: the group `batch_options`.
        rename: from an input's path, relative to ``output_dir``, to its output's.
        also_written: further files that the run writes.
        also_read: further files that it reads.
        complete: gives a task, the how-manieth it is, what else belongs to it.

    Raises:
        UsageError: no input or output, two outputs of one name, an output that is an input or that exists.
    """
    inputs, output, output_dir = given["inputs"], given["output"], given["output_dir"]
    if (output is None) == (output_dir is None):
        raise UsageError("one of -o/--output and -d/--output-dir is needed" if output is None else "-o and -d exclude each other")
    if "" in (output, output_dir, *inputs):
        raise UsageError("an empty name was given; allowed are names of files and folders")
    if output is not None and output.endswith(os.sep):
        raise UsageError(f"{output}: is the name of a folder; allowed for -o is a file, for folders there is -d/--output-dir")
    if output is not None and len(inputs) > 1:
        raise UsageError(f"-o names one output but there are {len(inputs)} inputs; allowed with several is -d/--output-dir")
    if [*inputs, *also_read].count(STREAM) > 1:
        raise UsageError("standard input (-) was given twice; it can be read once")
    if output_dir is not None and STREAM in inputs:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    if output_dir is not None:
        tasks = [Task(path, os.path.join(output_dir, rename(below(path)))) for path in inputs]
    else:
        tasks = [Task(path, str(output)) for path in inputs]
    tasks = [complete(task, index) for index, task in enumerate(tasks)]
    refuse_losses(tasks, also_written, also_read, overwrite=given["overwrite"])
    return tasks


def refuse_losses(tasks: Sequence[Task], also_written: Sequence[str], also_read: Sequence[str], *, overwrite: bool) -> None:
    """Refuse outputs that would meet each other, an input, or a file that exists."""
    pairs = [pair for task in tasks for pair in ((task.source, task.target), *task.companions)]
    targets = [*(target for _, target in pairs), *also_written]
    if targets.count(STREAM) > 1:
        raise UsageError("standard output (-) was given twice; it can be written once")
    if STREAM in targets and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal and the output is binary; redirect it or give -o FILE")
    masks = [task.mask for task in tasks if task.mask is not None]
    read = {os.path.realpath(path) for path in (*(source for source, _ in pairs), *masks, *also_read) if path != STREAM}
    written: set[str] = set()
    for target in targets:
        if os.path.isdir(target):
            raise UsageError(f"{target}: is a directory; allowed for -o is a file, for folders there is -d/--output-dir")
        if is_special(target):
            continue
        place = os.path.realpath(target)
        if place in written:
            raise UsageError(f"{target}: two outputs have this name")
        if place in read:
            raise UsageError(f"{target}: is an input too; allowed are outputs that are no input")
        if not overwrite and os.path.lexists(target):
            raise UsageError(f"{target}: exists already; allowed with --overwrite")
        written.add(place)


def below(path: str) -> str:
    """A path as it is kept below another folder: without root and without steps upwards."""
    parts = os.path.normpath(os.path.splitdrive(path)[1]).split(os.sep)
    return os.path.join(*(part for part in parts if part not in ("", os.pardir)))


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
        result=click.echo,
        hint=None if quiet else lambda line: say(f"patchcli: {one_line(line)}"),
        done=(lambda line: say(one_line(line))) if verbose or (terminal and not quiet) else None,
        progress=(terminal and not quiet) if progress is None else progress,
        traceback=verbose,
    )


def need_inputs(ctx: click.Context, inputs: Sequence[str]) -> None:
    """Without inputs: help where somebody sits at a terminal, else one line; exit code 2 either way."""
    if inputs:
        return
    if sys.stdin is not None and sys.stdin.isatty():
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)
    raise UsageError("no INPUTS; allowed are files, and - for standard input")
