"""``crop --boxes``: a list of boxes becomes tasks, one for each image, and files or one stack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from patchcli import files, options, placing, runner
from patchcli.boxlist import BadRow, Row, rows_of
from patchcli.errors import OutputError, PatchcliError, UsageError
from patchcli.files import STREAM
from patchcli.formats import FORMATS, SUFFIXES
from patchcli.inputs import Found, find
from patchcli.jobs import Task
from patchcli.jobs import crop as job
from patchcli.jobs.crops import BoxRow, Collector, crop_rows
from patchcli.templates import expand, has_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STACK = ".npz"


def run(given: dict[str, Any]) -> int:
    """Crop every box of a list; the exit code."""
    _check(given)
    name = files.name_of(given["boxes"], "standard input")
    found = Found([], [], [])
    if given["inputs"] or given["files_from"] is not None or given["null"]:
        found = find(given, SUFFIXES)
        given["inputs"] = tuple(found.paths)
    rows = _read(given["boxes"], name)
    bad = [row for row in rows if isinstance(row, BadRow)]
    stack = given["output"] is not None and given["output"].lower().endswith(STACK)
    if stack and given["image_format"] is not None:
        raise UsageError("--image-format is for images, not for .npz")
    image_format = None if stack else options.image_format_of(given)
    tasks = _tasks(given, rows, name, image_format, stack=stack)
    settings = settings_of(given, image_format)
    voice = options.make_voice(given)
    for one in bad:
        voice.error(f"{name}:{one.line}: {one.reason}")
    by_source = {task.source: of for task, of in tasks}
    if not stack:
        code = placing.run(
            given,
            found,
            [task for task, _ in tasks],
            lambda task, tick: crop_rows(task, by_source[task.source], settings, tick),
            voice,
        )
        return code or (runner.FAILED if bad else code)
    with Collector(len(rows) * max(1, len(given["inputs"])), settings) as collector:
        code = placing.run(
            given,
            found,
            [task for task, _ in tasks],
            lambda task, tick: collector.take(task, by_source[task.source], tick),
            voice,
        )
        if collector.count and code != runner.STOPPED:
            collector.write(given["output"])
    return code or (runner.FAILED if bad else code)


def _check(given: dict[str, Any]) -> None:
    """Refuse options that a list of boxes leaves without a meaning."""
    for option in ("box", "normalized_box", "fit", "fit_report"):
        if given[option] is not None:
            raise UsageError(f"--boxes and --{option.replace('_', '-')} exclude each other")
    if given["boxes"] == "":
        raise UsageError("--boxes is an empty name; allowed is a file, and - for standard input")
    if given["output"] is not None and given["output_dir"] is not None:
        raise UsageError("-o and -d exclude each other")
    if [*given["inputs"], given["files_from"], given["boxes"]].count(STREAM) > 1:
        raise UsageError("standard input (-) was given twice; it can be read once")


def _read(path: str, name: str) -> list[Row | BadRow]:
    """All rows of a list, good ones and bad ones."""
    try:
        with files.open_input(path) as file:
            return list(rows_of(_lines(file), name))
    except (UsageError, OutputError):
        raise
    except PatchcliError as error:
        raise UsageError(f"{name}: {error}") from None


def _lines(file: Any) -> Iterator[str]:  # noqa: ANN401
    for line in file:
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise PatchcliError("is no UTF-8 text; allowed are JSON Lines and CSV in UTF-8") from None


def _tasks(
    given: dict[str, Any], rows: Sequence[Row | BadRow], name: str, image_format: str | None, *, stack: bool
) -> list[tuple[Task, list[BoxRow]]]:
    """A task for each image, with its rows, in the order in which images first appear; losses refused."""
    inputs = given["inputs"]
    found: dict[str, list[BoxRow]] = {}
    for number, row in enumerate(rows):
        if isinstance(row, BadRow):
            continue
        if row.source is not None and inputs:
            raise UsageError(f"{name}:{row.line}: names an input, and INPUTS are given too; allowed is one of the two")
        if row.source is None and not inputs:
            raise UsageError(f"{name}:{row.line}: names no input; allowed without one are INPUTS on the command line")
        for turn, source in enumerate(inputs or [str(row.source)]):
            place = number * max(1, len(inputs)) + turn
            target = str(given["output"]) if stack else _target(given, row, source, place, name, image_format)
            size = row.size or given["size"]
            of = BoxRow(f"{name}:{row.line}", row.line, place, row.box, row.normalized, size, target)
            found.setdefault(source, []).append(of)
    tasks = [(Task(source, of[0].target), of) for source, of in found.items()]
    if stack:
        tasks_to_check = [Task(source, str(given["output"])) for source in list(found)[:1]]
        also_read = [*list(found)[1:], given["boxes"]]
    else:
        tasks_to_check = [Task(source, row.target) for source, of in found.items() for row in of]
        also_read = [given["boxes"]]
        if image_format is None:
            options.check_suffixes([task.target for task in tasks_to_check])
    placing.refuse_losses(given, tasks_to_check, [], also_read)
    return tasks


def _target(given: dict[str, Any], row: Row, source: str, place: int, name: str, image_format: str | None) -> str:
    """Where the crop of a row goes."""
    output, folder = given["output"], given["output_dir"]
    if row.output is not None and output is not None:
        raise UsageError(f"{name}:{row.line}: names an output, and -o is given too; allowed is one of the two")
    if row.output is not None:
        return os.path.join(folder, placing.below(row.output)) if folder is not None else row.output
    if output is not None:
        if not has_fields(output) and place:
            raise UsageError(
                f"{output}: is one name for several crops; allowed are names with {{index}}, and .npz for all in one"
            )
        return expand(output, source, place)
    if folder is None:
        raise UsageError(f"{name}:{row.line}: names no output; allowed without one are -o TEMPLATE, -o FILE.npz or -d DIR")
    if source == STREAM:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    stem, suffix = os.path.splitext(placing.below(source))
    suffix = FORMATS[image_format].suffixes[0] if image_format else suffix
    return os.path.join(folder, f"{stem}-{place}{suffix}")


def settings_of(given: dict[str, Any], image_format: str | None) -> job.CropSettings:
    """The options as what the job takes."""
    return job.CropSettings(
        given["box"] or given["normalized_box"],
        given["box"] is None and given["normalized_box"] is not None,
        given["size"],
        given["resampling"],
        given["align_corners"],
        given["outside"],
        given["fit"],
        image_format,
        options.reading_of(given),
        given["overwrite"],
    )
