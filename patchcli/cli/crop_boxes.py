"""``crop --boxes``: a list of boxes becomes tasks, one for each image, and files or one stack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from patchcli.batch import run, targets
from patchcli.batch.attempt import Job, Work
from patchcli.batch.inputs import Found, find
from patchcli.batch.targets import expand
from patchcli.cli import options
from patchcli.cli.box_table import BadRow, Row, rows_of
from patchcli.errors import OutputError, PatchcliError, UsageError, reason
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.images.imagefile import format_of, output_name
from patchcli.jobs import crop as job
from patchcli.jobs.crop_stack import Collector, crop_rows, recipes
from patchcli.jobs.task import BoxRow, Task
from patchcli.storage import files
from patchcli.storage.files import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STACK = ".npz"


def run_boxes(given: dict[str, Any]) -> int:
    """Crop every box of a list; the exit code."""
    _check(given)
    name = files.name_of(given["boxes"], "standard input")
    found = Found.nothing()
    if given["inputs"] or given["files_from"] is not None or given["null"]:
        found = find(given, SUFFIXES)
        given["inputs"] = tuple(found.paths)
    rows = _read(given["boxes"], name)
    stack = given["output"] is not None and given["output"].lower().endswith(STACK)
    if stack:
        _check_stack(given)
    image_format = None if stack else options.image_format_of(given)
    planned = _plan(given, rows, name, image_format, stack=stack)
    made = ((source, row.target) for source, of in planned[0].items() for row in of)
    if targets.leave_out_outputs(given, found, made):
        planned = _plan(given, rows, name, image_format, stack=stack)
    by_source, bad = planned
    pairs = [Task(source, row.target) for source, of in by_source.items() for row in of]
    targets.refuse_losses(given, pairs[:1] if stack else pairs, [], [*by_source, given["boxes"]])
    if not stack:
        options.check_formats(given, [row.target for of in by_source.values() for row in of], image_format)
    tasks = [Task(source, of[0].target, boxes=tuple(of)) for source, of in by_source.items()]
    settings = settings_of(given, image_format)
    voice = options.make_voice(given)
    for one in bad:
        voice.error(f"{name}:{one.line}: {one.reason}")
    if stack:
        with Collector(len(rows) * max(1, len(given["inputs"])), settings) as collector:
            work = Work(collector.take, settings, planner=_stack_planner)
            code = run.run_batch(given, found, tasks, work, voice)
            if collector.count and code != run.STOPPED:
                collector.write(given["output"])
    else:
        code = run.run_batch(given, found, tasks, Work(crop_rows, settings, recipes, _planner), voice)
    return code or (run.FAILED if bad else code)


def _planner() -> Job:
    from patchcli.jobs.crop_plan import plan_rows  # loaded for nobody else

    return plan_rows


def _stack_planner() -> Job:
    from patchcli.jobs.crop_plan import StackPlan

    return StackPlan().take


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


def _check_stack(given: dict[str, Any]) -> None:
    """Refuse options that one file for all crops leaves without a meaning."""
    if given["image_format"] is not None:
        raise UsageError("--image-format is for images, not for .npz")
    for option, usual in (("jobs", 1), ("executor", None), ("resume", False)):
        if given[option] != usual:
            raise UsageError(f"-o .npz makes one file of all crops at once; allowed with --{option} are -d and -o TEMPLATE")


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
            raise PatchcliError("is no UTF-8 text; allowed are JSON Lines and CSV in UTF-8") from None


def _plan(
    given: dict[str, Any], rows: Sequence[Row | BadRow], name: str, image_format: str | None, *, stack: bool
) -> tuple[dict[str, list[BoxRow]], list[BadRow]]:
    """The rows of each image, in the order in which images first appear, and the bad ones.

    What is wrong with every row is wrong with the call.
    """
    found: dict[str, list[BoxRow]] = {}
    lines: dict[str, int] = {}
    bad: list[BadRow] = []
    for number, row in enumerate(rows):
        try:
            if isinstance(row, BadRow):
                raise PatchcliError(row.reason)
            for source, one in _of_row(given, row, number, name, image_format, stack=stack):
                if not stack and one.target in lines and one.target != STREAM:
                    raise UsageError(
                        f"{name}:{row.line}: {one.target} is an output of line {lines[one.target]} too; "
                        "allowed are outputs of different names"
                    )
                lines[one.target] = row.line
                found.setdefault(source, []).append(one)
        except UsageError:
            raise
        except PatchcliError as error:
            bad.append(BadRow(row.line, str(error)))
    if bad and not found:
        raise UsageError(f"{name}:{bad[0].line}: {bad[0].reason}")
    return found, bad


def _of_row(
    given: dict[str, Any], row: Row, number: int, name: str, image_format: str | None, *, stack: bool
) -> Iterator[tuple[str, BoxRow]]:
    """What a row asks for: of its own image, or of each of INPUTS."""
    inputs = given["inputs"]
    if row.source is not None and inputs:
        raise PatchcliError("names an input, and INPUTS are given too; allowed is one of the two")
    if row.source is None and not inputs:
        raise PatchcliError("names no input; allowed without one are INPUTS on the command line")
    if stack and row.output is not None:
        raise PatchcliError("names an output, and -o is one file for all; allowed is one of the two")
    for turn, source in enumerate(inputs or [str(row.source)]):
        place = number * max(1, len(inputs)) + turn
        target = str(given["output"]) if stack else _target(given, row, source, place, image_format)
        if not stack and image_format is None:
            format_of(target)
        yield source, BoxRow(f"{name}:{row.line}", row.line, place, row.box, row.normalized, row.size or given["size"], target)


def _target(given: dict[str, Any], row: Row, source: str, place: int, image_format: str | None) -> str:
    """Where the crop of a row goes: its own name, else that of ``-o``, else one made from its image's."""
    output, folder = given["output"], given["output_dir"]
    if row.output is not None:
        if row.output.endswith("/"):
            raise PatchcliError(f"has output {row.output}, the name of a folder; allowed is the name of a file")
        return os.path.join(folder, targets.below(row.output)) if folder is not None else row.output
    if output is not None:
        return expand(output, source, place)
    if folder is None:
        raise PatchcliError("names no output; allowed without one are -o TEMPLATE, -o FILE.npz or -d DIR")
    if source == STREAM:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    stem, suffix = os.path.splitext(targets.below(source))
    if image_format:
        return os.path.join(folder, f"{stem}-{place}{FORMATS[image_format].suffixes[0]}")
    return os.path.join(folder, output_name(f"{stem}-{place}{suffix}", None, noted=given["resume"]))


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
        given["resume"],
        given["tell_outside"],
    )
