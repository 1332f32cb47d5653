"""What of a run is done already: told by what existing outputs say of how they were made, never by their existence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchcli.errors import PatchcliError, UsageError, reason
from patchcli.images import imagefile
from patchcli.stacks.header import Meta
from patchcli.stacks.npz import NpzReader
from patchcli.storage import atomic, files
from patchcli.storage.listing import Folders
from patchcli.storage.paths import is_remote
from patchcli.storage.provenance import Record, Records, difference
from patchcli.storage.shards import complete
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from patchcli.jobs.task import Task
    from patchcli.storage.provenance import Recipe

ZIP = b"PK"
AT_ONCE = 8  # remote outputs that are looked at together
WAY_OUT = "use the same settings, another place for the outputs, or --overwrite, which makes them anew"


def sort_out(
    tasks: Sequence[Task],
    settings: Any,  # noqa: ANN401
    recipes: Callable[[Task, Any], dict[str, Recipe]],
    *,
    overwrite: bool,
    tidy: bool,
) -> list[Task]:
    """Mark the tasks that are done, and those whose outputs may be replaced.

    Args:
        tasks: all of a run.
        settings: of their job.
        recipes: of a task, what each of its outputs depends on.
        overwrite: outputs that were made in another way are made anew.
        tidy: remove what killed runs left.

    Raises:
        UsageError: an output that was made in another way, or not by this program.
    """
    sharded = getattr(settings, "shard_patches", None) is not None
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
        records = Records(recipes(task, settings), in_images=True)
        done = {
            target
            for target, paths in there.items()
            if _same(paths, records.of(target), overwrite=overwrite) and (not sharded or complete(paths))
        }
        return task.left(done)

    result = list(map_in_order(sorted_out, with_outputs(), several))
    if tidy:
        atomic.remove_leftovers(targets)
    return result


def made_alike(task: Task, settings: Any, recipes: Callable[[Task, Any], dict[str, Recipe]]) -> bool:  # noqa: ANN401
    """Whether the input of a task was made by the same command with the same settings as an output of the task will be."""
    try:
        record = read_record(task.source)
    except PatchcliError:
        return False
    made = recipes(task, settings).values()
    return record is not None and any(difference(record, Record(one.command, dict(one.settings), {})) is None for one in made)


def _same(paths: Sequence[str], record: Record | None, *, overwrite: bool) -> bool:
    """Whether an output, or its shards, exists and is what would be made."""
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
            same = same and got.inputs == record.inputs and _known(record.inputs)
        if fault is not None:
            if not overwrite:
                raise UsageError(f"{path}: {fault}; {WAY_OUT}")
            same = False
    return same


def _known(inputs: dict[str, Any]) -> bool:
    """Whether it is known of all inputs when they changed; some web servers don't tell."""
    return all(isinstance(stamp, str) or (stamp is not None and None not in stamp) for stamp in inputs.values())


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
                return _record_of_stack(NpzReader(file))
            note = imagefile.note_of(file)
    except OSError as error:
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    try:
        return None if note is None else Record.from_json(note)
    except PatchcliError:
        return None


def _record_of_stack(reader: NpzReader) -> Record | None:
    try:
        return Meta.from_json(reader.open("meta").load_text()).record
    except PatchcliError:
        return None
