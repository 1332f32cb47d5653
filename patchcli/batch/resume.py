"""What of a run is done already: told by what existing outputs say of how they were made, never by their existence."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from patchcli.batch.inputs import OWN
from patchcli.batch.targets import expand
from patchcli.errors import PatchcliError, UsageError, reason
from patchcli.images import sink
from patchcli.stacks.header import Meta
from patchcli.stacks.npz import NpzReader
from patchcli.stacks.tile_index import MAX_META_BYTES
from patchcli.stacks.tile_names import INDEX_SUFFIX
from patchcli.stacks.tile_set import has_all_tiles, is_being_made, remove_beginning
from patchcli.storage import atomic, files
from patchcli.storage.files import STREAM, is_special, name_of
from patchcli.storage.listing import Folders
from patchcli.storage.paths import absolute, is_remote
from patchcli.storage.provenance import Record, Records, difference
from patchcli.storage.shards import complete
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from patchcli.batch.attempt import Command
    from patchcli.batch.inputs import Found
    from patchcli.jobs.task import Task

ZIP = b"PK"
PAGE = "--page"  # the setting that differs between the pages of an input
AT_ONCE = 8  # remote outputs that are looked at together
WAY_OUT = "another place for the outputs, or --overwrite to make it anew"


def left_to_do(tasks: Sequence[Task], command: Command, *, overwrite: bool, tidy: bool) -> list[Task]:
    """Mark the tasks that are done, and those whose outputs may be replaced.

    Args:
        tasks: all of a run.
        command: what is done with them.
        overwrite: outputs that were made in another way are made anew.
        tidy: remove what killed runs left.

    Raises:
        UsageError: an output that is not a file, was made in another way, or not by this program.
    """
    for task in tasks:
        mute = [STREAM] if task.streams() else list(filter(is_special, task.targets()))
        if mute:
            name = name_of(mute[0], "a standard stream")
            raise UsageError(f"{name}: is not a file; give one, of which --resume can read how it was made")
    sharded = command.settings.sharded
    targets = [target for task in tasks for target in task.targets()]
    folders = Folders(targets)

    several = AT_ONCE if any(map(is_remote, targets)) else 1

    def with_outputs() -> Iterator[tuple[Task, dict[str, list[str]]]]:
        """Each task and those of its outputs that exist."""
        for task in tasks:
            yield task, {name: folders.shards(name) if sharded else [name] * folders.holds(name) for name in task.targets()}

    def sorted_out(given: tuple[Task, dict[str, list[str]]]) -> Task:
        task, there = given
        if not any(there.values()):
            return task
        records = Records(command.recipes(task, task.own(command.settings)), in_images=True)
        done = {
            target
            for target, paths in there.items()
            if _is_up_to_date(paths, records.of(target), overwrite=overwrite) and (not sharded or complete(paths))
        }
        return task.left(done)

    result = list(map_in_order(sorted_out, with_outputs(), several))
    if tidy:
        _tidy(result)
    return result


def _tidy(tasks: Sequence[Task]) -> None:
    """Remove what killed runs left: temporary files, and beginnings of indexes that are there."""
    targets = {target: task.done for task in tasks for target in task.targets()}
    indexes = [name for name in targets if name.endswith(INDEX_SUFFIX)]
    atomic.remove_leftovers(targets.keys() - {name for name in indexes if is_being_made(name)})
    for name in indexes:
        if targets[name]:
            remove_beginning(name)


def without_own(
    template: str | None, found: Found, tasks: Sequence[Task], command: Command
) -> tuple[Sequence[Task], list[tuple[str, str]]]:
    """The tasks without those of inputs that were found in a folder and were made as this run makes its outputs.

    They are outputs of inputs that are gone. If no other input is left, the second result names their folder and says so.
    """
    folders = _folders_of_outputs(template, tasks)
    own = {
        task.source
        for task in tasks
        if task.source in found.searched and _folder(task.source) in folders and made_alike(task, command)
    }
    if not own:
        return tasks, []
    found.passed[OWN] += len(own)
    kept = [task for task in tasks if task.source not in own]
    return kept, [] if kept else [(os.path.dirname(min(own)), "holds nothing but outputs of this run")]


def _folders_of_outputs(template: str | None, tasks: Sequence[Task]) -> set[str]:
    """Where outputs of the run go, and those of inputs that may have been in a folder above those that are there now."""
    folders = {_folder(target) for task in tasks for target in task.targets()}
    for folder in {_folder(task.source) for task in tasks} - folders if template is not None else ():
        above = folder
        while above != (above := os.path.dirname(above)):
            with contextlib.suppress(PatchcliError):
                if _folder(expand(str(template), os.path.join(above, "x.png"), 0, page=0, relative=os.curdir)) == folder:
                    folders.add(folder)
    return folders


def _folder(path: str) -> str:
    return os.path.dirname(absolute(path))


def made_alike(task: Task, command: Command) -> bool:
    """Whether the input of a task was made by the same command with the same settings as an output of the task will be."""
    try:
        record = read_record(task.source)
    except PatchcliError:
        return False
    if record is None:
        return False
    own = {} if task.page is None else {PAGE: None}  # an output of any page of its input
    before = record._replace(settings={**record.settings, **own})
    made = command.recipes(task, command.settings).values()
    return any(difference(before, Record(one.command, {**one.settings, **own}, {})) is None for one in made)


def _is_up_to_date(paths: Sequence[str], record: Record | None, *, overwrite: bool) -> bool:
    """Whether an output, or its shards, exists and is what would be made.

    Raises:
        UsageError: it was made in another way, or not by this program, and may not be replaced.
    """
    assert record is not None
    same = bool(paths)
    for path in paths:
        fault: str | None = "exists and does not say how it was made: without --resume, or by another program"
        try:
            got = read_record(path)
        except PatchcliError as error:
            got, fault = None, f"exists but {error}"
        if got is not None:
            fault = difference(got, record)
            same = same and got.inputs == record.inputs and record.is_stamped and has_all_tiles(path)
        if fault is not None:
            if not overwrite:
                settings = "" if got is None else "the same settings, "
                raise UsageError(f"{path}: {fault}; use {settings}{WAY_OUT}")
            same = False
    return same


def read_record(path: str) -> Record | None:
    """How a stack or an image was made; None where it does not say.

    Raises:
        PatchcliError: the file cannot be read, is empty or a damaged stack.
    """
    try:
        with files.open_head(path) as file:
            start = file.read(len(ZIP))
            file.seek(0)
            if not start:
                raise PatchcliError("is empty")
            if start == ZIP:
                reader = NpzReader(file)
                return _record_in(lambda: reader.open("meta").load_text())
            if path.endswith(INDEX_SUFFIX):
                return _record_in(lambda: file.readline(MAX_META_BYTES).decode("utf-8", "replace"))
            note = sink.note_of(file)
    except OSError as error:
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    try:
        return None if note is None else Record.from_json(note)
    except PatchcliError:
        return None


def _record_in(meta: Callable[[], str]) -> Record | None:
    """The record in the meta of a stack, or of an index of tile files; None where there is none."""
    try:
        return Meta.from_json(meta()).record
    except PatchcliError:
        return None
