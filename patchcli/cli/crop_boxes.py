"""``crop --boxes``: a list of boxes becomes tasks, one for each image, and files or one stack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.batch.attempt import Command
from patchcli.batch.inputs import Found, find
from patchcli.batch.run import run_batch
from patchcli.batch.targets import below, expand, leave_out_outputs, refuse_losses
from patchcli.cli import options
from patchcli.cli.box_table import BadRow, Row, rows_of
from patchcli.errors import FAILED, STOPPED, OutputError, PatchcliError, UsageError, reason
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.images.sink import format_of, output_name
from patchcli.jobs.crop import crop_one
from patchcli.jobs.crop_plan import is_stack, plan_one, recipes
from patchcli.jobs.task import BoxRow, CropTask, Task
from patchcli.storage import files
from patchcli.storage.files import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from patchcli.batch.options import BatchOptions
    from patchcli.geometry.axis import Pair
    from patchcli.jobs.settings import CropSettings


class _List(NamedTuple):
    """A list of boxes and what it is to become.

    Attributes:
        name: of the list, for messages.
        rows: its lines.
        inputs: images that were named in the call; each is cropped by every row.
        size: of crops whose row names none.
        settings: how crops are made.
        batch: where they go.
        stack: all go to one file.
    """

    name: str
    rows: Sequence[Row | BadRow]
    inputs: Sequence[str]
    size: Pair | None
    settings: CropSettings
    batch: BatchOptions
    stack: bool


def run_boxes(boxes: str, size: Pair | None, settings: CropSettings, *, batch: BatchOptions, image_format: str | None) -> int:
    """Crop every box of a list; the exit code."""
    _check(boxes, batch)
    name = files.name_of(boxes, "standard input")
    found = Found.nothing()
    if batch.inputs or batch.files_from is not None or batch.null:
        found = find(batch, SUFFIXES)
    options.say_waiting([boxes], batch)
    rows = _read(boxes, name)
    stack = is_stack(batch.output)
    if stack:
        _check_stack(batch, image_format)
        if settings.creation:
            raise UsageError("--co is for images, not for a stack")
    listed = _List(name, rows, found.paths, size, settings, batch, stack)
    by_source, bad = _by_source(listed)
    if leave_out_outputs(found, ((source, row.target) for source, of in by_source.items() for row in of)):
        by_source, bad = _by_source(listed)
    tasks = [CropTask(source=source, target=of[0].target, boxes=tuple(of)) for source, of in by_source.items()]
    if sum(len(task.boxes) for task in tasks) > 1 and batch.output == STREAM:
        raise UsageError("--boxes makes several crops; give -o TEMPLATE, -o FILE.npz or -d DIR")
    # all crops of a stack have one output, and those of an image one input
    written: Sequence[Task] = [Task(source=tasks[0].source, target=tasks[0].target)] if stack else tasks
    refuse_losses(batch, written, also_read=[*by_source, boxes])
    if not stack:
        names = [name for task in tasks for name in task.targets()]
        options.check_formats(names, settings.image_format, resume=batch.resume, creation=settings.creation)
    voice = options.make_voice(batch)
    for one in bad:
        voice.error(f"{name}:{one.line}: {one.reason}")
    if stack:
        from patchcli.jobs.crop_stack import Collector, StackPlan

        with Collector(len(rows) * max(1, len(found.paths)), settings) as collector:
            command = Command(collector.take, StackPlan().take, recipes, settings)
            code = run_batch(found, tasks, command, options=batch, voice=voice)
            if collector.count and code != STOPPED:
                collector.write(str(batch.output))
    else:
        code = run_batch(found, tasks, Command(crop_one, plan_one, recipes, settings), options=batch, voice=voice)
    return code or (FAILED if bad else code)


def _check(boxes: str, batch: BatchOptions) -> None:
    """Refuse options that a list of boxes leaves without a meaning."""
    if boxes == "":
        raise UsageError("--boxes is an empty name; give a file, or - for standard input")
    if batch.output is not None and batch.output_dir is not None:
        raise UsageError("use only one of -o and -d")
    if [*batch.inputs, batch.files_from, boxes].count(STREAM) > 1:
        raise UsageError("standard input (-) was given twice; give it once")


def _check_stack(batch: BatchOptions, image_format: str | None) -> None:
    """Refuse options that one file for all crops leaves without a meaning."""
    if image_format is not None:
        raise UsageError("--image-format is for images, not for .npz")
    for name, asked in (("--jobs", batch.jobs != 1), ("--executor", batch.executor is not None), ("--resume", batch.resume)):
        if asked:
            raise UsageError(f"-o .npz makes one file of all crops at once; with {name} use -d or -o TEMPLATE")


def _read(path: str, name: str) -> list[Row | BadRow]:
    """All rows of a list, good ones and bad ones."""
    try:
        with files.open_input(path) as file:
            return list(rows_of(_lines(file), name))
    except (UsageError, OutputError):
        raise
    except PatchcliError as error:
        raise UsageError(f"{name}: {error}") from None
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {reason(error)}") from None


def _lines(file: Any) -> Iterator[str]:  # noqa: ANN401
    for line in file:
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise PatchcliError("is not UTF-8 text; give JSON Lines or CSV in UTF-8") from None


def _by_source(listed: _List) -> tuple[dict[str, list[BoxRow]], list[BadRow]]:
    """The rows of each image, in the order in which images first appear, and the bad ones.

    What is wrong with every row is wrong with the call.
    """
    found: dict[str, list[BoxRow]] = {}
    lines: dict[str, int] = {}
    bad: list[BadRow] = []
    for number, row in enumerate(listed.rows):
        try:
            if isinstance(row, BadRow):
                raise PatchcliError(row.reason)
            for source, one in _of_row(listed, row, number):
                if not listed.stack and one.target in lines and one.target != STREAM:
                    raise UsageError(
                        f"{listed.name}:{row.line}: {one.target} is an output of line {lines[one.target]} too; give each its own"
                    )
                lines[one.target] = row.line
                found.setdefault(source, []).append(one)
        except UsageError:
            raise
        except PatchcliError as error:
            bad.append(BadRow(row.line, str(error)))
    if bad and not found:
        raise UsageError(f"{listed.name}:{bad[0].line}: {bad[0].reason}")
    return found, bad


def _of_row(listed: _List, row: Row, number: int) -> Iterator[tuple[str, BoxRow]]:
    """What a row asks for: of its own image, or of each of INPUTS."""
    inputs, batch = listed.inputs, listed.batch
    if row.source is not None and inputs:
        raise PatchcliError("names an input, and INPUTS are given too; use only one of them")
    if row.source is None and not inputs:
        raise PatchcliError("names no input; name one, or give INPUTS on the command line")
    if listed.stack and row.output is not None:
        raise PatchcliError("names an output, and -o is one file for all; use only one of them")
    for turn, source in enumerate(inputs or [str(row.source)]):
        place = number * max(1, len(inputs)) + turn
        target = str(batch.output) if listed.stack else _target(listed, row, source, place)
        if not listed.stack and listed.settings.image_format is None:
            format_of(target)
        label, size = f"{listed.name}:{row.line}", row.size or listed.size
        yield source, BoxRow(row.box, row.normalized, size, target, label, row.line, place)


def _target(listed: _List, row: Row, source: str, place: int) -> str:
    """Where the crop of a row goes: its own name, else that of ``-o``, else one made from its image's."""
    output, folder, image_format = listed.batch.output, listed.batch.output_dir, listed.settings.image_format
    reading = listed.settings.reading
    if row.output is not None:
        if row.output.endswith("/"):
            raise PatchcliError(f"has output {row.output}, the name of a folder; give the name of a file")
        return os.path.join(folder, below(row.output)) if folder is not None else row.output
    if output is not None:
        return expand(output, source, place, page=None if reading.stacked else reading.page)
    if folder is None:
        raise PatchcliError("names no output; name one, or give -o TEMPLATE, -o FILE.npz or -d DIR")
    if source == STREAM:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    stem, suffix = os.path.splitext(below(source))
    if image_format:
        return os.path.join(folder, f"{stem}-{place}{FORMATS[image_format].suffixes[0]}")
    return os.path.join(folder, output_name(f"{stem}-{place}{suffix}", None, noted=listed.batch.resume))
