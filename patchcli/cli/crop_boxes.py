"""``crop --boxes``: lists of boxes become tasks, one for each image, and files or one stack."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.batch.attempt import Command
from patchcli.batch.inputs import Found, find
from patchcli.batch.run import run_batch
from patchcli.batch.targets import as_name, below, expand, has_field, has_fields, leave_out_outputs, refuse_losses
from patchcli.cli import options
from patchcli.cli.box_table import BadRow, Row, rows_of
from patchcli.errors import STOPPED, OutputError, PatchcliError, UsageError, counted, reason
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.images.sink import format_of, output_name
from patchcli.jobs.crop import crop_one
from patchcli.jobs.crop_plan import is_stack, plan_one, recipes
from patchcli.jobs.crop_rows import known_size
from patchcli.jobs.task import BoxRow, CropTask, PartFault, Task
from patchcli.storage import files
from patchcli.storage.files import STREAM
from patchcli.storage.paths import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from patchcli.batch.options import BatchOptions
    from patchcli.batch.progress import Voice
    from patchcli.geometry.axis import Pair
    from patchcli.jobs.settings import CropSettings

CATEGORY = "category"


class _List(NamedTuple):
    """A list of boxes.

    Attributes:
        path: of it.
        rows: its boxes, the bad ones too.
        inputs: images that each of them is cropped of; empty where they name their own.
        folder: below which the names of images are; empty for the current one.
        missing: it is that of an image, and there is none.
    """

    path: str
    rows: Sequence[Row | BadRow]
    inputs: Sequence[str]
    folder: str = ""
    missing: bool = False

    @property
    def name(self) -> str:
        """How the list is called in messages."""
        return files.name_of(self.path, "standard input")

    def where(self, row: Row | BadRow) -> str:
        """How a box is called in messages."""
        name = self.name
        return f"{name}: {row.called}" if row.called else f"{name}:{row.line}" if row.line else name


class _Lists(NamedTuple):
    """All lists of a run, the images that were given with them, and where crops go.

    Attributes:
        lists: one for all images, or one for each.
        found: the images.
        size: of crops whose box names none.
        settings: how crops are made.
        batch: where they go.
        stack: all go to one file.
    """

    lists: list[_List]
    found: Found
    size: Pair | None
    settings: CropSettings
    batch: BatchOptions
    stack: bool


def run_boxes(boxes: str, size: Pair | None, settings: CropSettings, *, batch: BatchOptions, image_format: str | None) -> int:
    """Crop every box of a list, or of a list of each image; the exit code."""
    _check(boxes, batch)
    options.say_waiting([boxes], batch)
    stack = is_stack(batch.output)
    voice = options.make_voice(batch)
    lists, found = _lists_of_each(boxes, batch) if has_fields(boxes) else _list_of_all(boxes, batch)
    if stack:
        _check_stack(batch, image_format)
        if settings.creation:
            raise UsageError("--co is for images, not for a stack")
    listed = _Lists(lists, found, size, settings, batch, stack)
    by_source, bad = _by_source(listed)
    if leave_out_outputs(found, ((source, row.target) for source, of in by_source.items() for row in of)):
        kept = set(found.paths)
        listed = listed._replace(lists=[one for one in lists if not has_fields(boxes) or one.inputs[0] in kept])
        by_source, bad = _by_source(listed)
    tasks = [CropTask(source=source, target=of[0].target, boxes=tuple(of)) for source, of in by_source.items()]
    if stack:
        _check_equal([row for task in tasks for row in task.boxes], settings)
    if sum(len(task.boxes) for task in tasks) > 1 and batch.output == STREAM:
        raise UsageError("--boxes makes several crops; give -o TEMPLATE, -o FILE.npz or -d DIR")
    # all crops of a stack have one output, and those of an image one input
    written: Sequence[Task] = [Task(source=tasks[0].source, target=tasks[0].target)] if stack and tasks else tasks
    refuse_losses(batch, written, also_read=[*by_source, *dict.fromkeys(one.path for one in lists)])
    if not stack:
        names = [name for task in tasks for name in task.targets()]
        options.check_formats(names, settings.image_format, resume=batch.resume, creation=settings.creation)
    _tell_missing(listed.lists, voice)
    listed = listed._replace(found=found._replace(faults=[*found.faults, *bad]))
    run = _run_to_stack if stack else _run_to_files
    return run(listed, tasks, voice)


def _tell_missing(lists: Sequence[_List], voice: Voice) -> None:
    """Say which images have no list, once for all."""
    missing = [one.path for one in lists if one.missing]
    if missing and voice.hint:
        more = f" (and {counted(len(missing) - 1, 'more list')})" if missing[1:] else ""
        voice.hint(f"{missing[0]}: is not there, and nothing is cropped of its image{more}")


def _run_to_files(listed: _Lists, tasks: Sequence[CropTask], voice: Voice) -> int:
    """Write each crop to a file of its own; the exit code."""
    command = Command(crop_one, plan_one, recipes, listed.settings)
    return run_batch(listed.found, tasks, command, options=listed.batch, voice=voice)


def _run_to_stack(listed: _Lists, tasks: Sequence[CropTask], voice: Voice) -> int:
    """Write all crops to one file; the exit code."""
    from patchcli.jobs.crop_stack import Collector, StackPlan

    count = sum(len(one.rows) * max(1, len(one.inputs)) for one in listed.lists)
    with Collector(str(listed.batch.output), count, listed.settings) as collector:
        command = Command(collector.take, StackPlan(count).take, recipes, listed.settings)
        code = run_batch(listed.found, tasks, command, options=listed.batch, voice=voice)
        if collector.complete and code != STOPPED:
            collector.write()
    return code


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


def _check_equal(rows: Sequence[BoxRow], settings: CropSettings) -> None:
    """Refuse crops of several sizes in one file, as far as their images need not be known for that."""
    firsts: dict[Pair, BoxRow] = {}
    for row in rows:
        size = known_size(row, settings)
        if size is not None:
            firsts.setdefault(size, row)
    if len(firsts) > 1:
        some = [f"{width}x{height} ({row.label})" for (height, width), row in itertools.islice(firsts.items(), 2)]
        raise UsageError(
            f"boxes have {len(firsts)} sizes, such as {' and '.join(some)}, and crops in one file have one; give --size, or -d "
            "DIR for a file each"
        )


def _list_of_all(boxes: str, batch: BatchOptions) -> tuple[list[_List], Found]:
    """The list of all images. Where it names them, INPUTS are the one folder that they lie below, or nothing."""
    rows = _read(boxes)
    if not rows:
        raise UsageError(
            f"{files.name_of(boxes, 'standard input')}: holds no box; give CSV (a line of column names, then a box a line), JSON "
            "Lines, COCO's JSON, or YOLO's lines"
        )
    own = any(isinstance(row, Row) and row.source is not None for row in rows)
    if own and len(batch.inputs) == 1 and batch.files_from is None and not batch.null and _is_folder(batch.inputs[0]):
        return [_List(boxes, rows, (), batch.inputs[0])], Found.nothing()
    found = Found.nothing()
    if batch.inputs or batch.files_from is not None or batch.null:
        found = find(batch, SUFFIXES)
    return [_List(boxes, rows, found.paths)], found


def _is_folder(name: str) -> bool:
    """Whether an input is a folder; a remote name that does not end as images do is one."""
    return not name.lower().endswith(SUFFIXES) if is_remote(name) else os.path.isdir(name)


def _lists_of_each(boxes: str, batch: BatchOptions) -> tuple[list[_List], Found]:
    """The list of each image.

    One that is not there, or empty, has no box, as where YOLO's lists are of images that show nothing. One that cannot be used
    is wrong for its image alone, unless all are.
    """
    if not batch.inputs and batch.files_from is None:
        raise UsageError(f"{boxes}: is made of names of images; give these as INPUTS")
    found = find(batch, SUFFIXES)
    if STREAM in found.paths:
        raise UsageError(f"{boxes}: is made of names of images, and standard input (-) has none; give names of files")
    known: dict[str, Sequence[Row | BadRow] | None] = {}  # a list may be that of several images
    lists: list[_List] = []
    for index, source in enumerate(found.paths):
        path = expand(boxes, source, index, relative=found.relative(source))
        if path not in known:
            known[path] = _read_if_there(path)
        lists.append(_List(path, known[path] or (), [source], missing=known[path] is None))
    if found.paths and not any(one.rows for one in lists):
        missing = [one.path for one in lists if one.missing]
        some = f"{len(missing)} of {len(lists)} are not there, such as {missing[0]}" if missing else f"{lists[0].path} holds none"
        raise UsageError(f"{boxes}: no list has a box: {some}")
    return lists, found


def _read_if_there(path: str) -> Sequence[Row | BadRow] | None:
    """All rows of the list of an image; None where it has none."""
    try:
        return _read(path)
    except UsageError as error:
        with contextlib.suppress(OSError):  # of a server that does not answer: what it was asked for is wrong
            if not files.store_of(path).exists(path):
                return None
        return [BadRow(0, str(error).removeprefix(f"{path}: "))]


def _read(path: str) -> list[Row | BadRow]:
    """All rows of a list, good ones and bad ones."""
    name = files.name_of(path, "standard input")
    try:
        with files.open_input(path) as file:
            return rows_of(_lines(file))
    except (UsageError, OutputError):
        raise
    except PatchcliError as error:
        raise UsageError(f"{name}: {error}") from None
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {reason(error)}") from None


def _lines(file: Any) -> Iterator[str]:  # noqa: ANN401
    """The lines of a list, which end as those of any system do, a single CR included."""
    for line in itertools.chain.from_iterable(piece.splitlines(keepends=True) for piece in file):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise PatchcliError("is not UTF-8 text; give the list in UTF-8") from None


def _by_source(listed: _Lists) -> tuple[dict[str, list[BoxRow]], list[tuple[str, str]]]:
    """The rows of each image, in the order in which images first appear; the bad ones, each with its list.

    What is wrong with every row is wrong with the call.
    """
    found: dict[str, list[BoxRow]] = {}
    makers: dict[str, tuple[_List, Row]] = {}
    bad: list[tuple[str, str]] = []  # lists, each with a fault of it
    places = itertools.count()
    for of, row in ((one, row) for one in listed.lists for row in one.rows):
        own = [next(places) for _ in of.inputs or (None,)]
        try:
            if isinstance(row, BadRow):
                raise PatchcliError(row.reason)
            for source, box in _of_row(listed, of, row, own):
                if not listed.stack and box.target in makers and box.target != STREAM:
                    before, first = makers[box.target]
                    other = f"line {first.line}" if before is of and not first.called else before.where(first)
                    raise UsageError(f"{of.where(row)}: {box.target} is an output of {other} too; give each its own")
                makers[box.target] = of, row
                found.setdefault(source, []).append(box)
        except UsageError:
            raise
        except PatchcliError as error:
            bad.append((of.name, PartFault(of.where(row), str(error))))
    if bad and not found:
        raise UsageError(bad[0][1])
    return found, bad


def _of_row(listed: _Lists, of: _List, row: Row, places: Sequence[int]) -> Iterator[tuple[str, BoxRow]]:
    """What a row asks for: of its own image, or of each of those of its list."""
    if row.source is not None and of.inputs:
        raise PatchcliError("names an input, and INPUTS are given too; give one folder, below which the names lie, or no INPUTS")
    if row.source is None and not of.inputs:
        raise PatchcliError("names no input; name one, or give INPUTS on the command line")
    if listed.stack and row.output is not None:
        raise PatchcliError("names an output, and -o is one file for all; use only one of them")
    own = () if row.source is None else (os.path.join(of.folder, row.source),)
    for place, source in zip(places, own or of.inputs, strict=True):
        target = str(listed.batch.output) if listed.stack else _target(listed, row, source, place)
        if not listed.stack and listed.settings.image_format is None:
            format_of(target)
        size = row.size or listed.size
        yield source, BoxRow(row.box, row.normalized, size, target, of.where(row), row.line, place, row.fractions)


def _target(listed: _Lists, row: Row, source: str, place: int) -> str:
    """Where the crop of a row goes: its own name, else that of ``-o``, else one made from its image's."""
    output, folder, image_format = listed.batch.output, listed.batch.output_dir, listed.settings.image_format
    if row.output is not None:
        if row.output.endswith("/"):
            raise PatchcliError(f"has output {row.output}, the name of a folder; give the name of a file")
        return os.path.join(folder, below(row.output)) if folder is not None else row.output
    if output is not None:
        return _filled(listed, output, row, source, place)
    if folder is None:
        raise PatchcliError("names no output; name one, or give -o TEMPLATE, -o FILE.npz or -d DIR")
    if source == STREAM:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    stem, suffix = os.path.splitext(below(source))
    if image_format:
        return os.path.join(folder, f"{stem}-{place}{FORMATS[image_format].suffixes[0]}")
    return os.path.join(folder, output_name(f"{stem}-{place}{suffix}", None, noted=listed.batch.resume))


def _filled(listed: _Lists, output: str, row: Row, source: str, place: int) -> str:
    """The template of ``-o`` with the fields of a row and its image."""
    if row.category is None and has_field(output, CATEGORY):
        raise PatchcliError(f"{row.uncategorized}, and -o asks for {{category}}; give it one, or another template")
    reading = listed.settings.reading
    relative = listed.found.relative(source) if row.source is None else below(os.path.dirname(row.source)) or os.curdir
    category = None if row.category is None else as_name(row.category)
    page = None if reading.stacked else reading.page
    return expand(output, source, place, page=page, relative=relative, category=category)
