"""A run as it was asked for: what is done already, who does the rest, what is said of it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
from typing import TYPE_CHECKING, Any

from patchcli import memory, runner
from patchcli.errors import PatchcliError, UsageError
from patchcli.files import STREAM, is_special, name_of, size_of
from patchcli.inputs import OWN
from patchcli.jobs import in_megabytes
from patchcli.parallel import room, usable_cpus, usable_descriptors
from patchcli.places import is_remote
from patchcli.templates import expand
from patchcli.work import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from patchcli.inputs import Found
    from patchcli.jobs import Said, Task
    from patchcli.voice import Voice
    from patchcli.work import Work

ADDRESS = re.compile(r"(tcp|tls)://[^\s:]+:\d{1,5}|(tcp|tls)://\[\S+\]:\d{1,5}")
HIGHEST_PORT = 65535
# with less, worker processes cannot be started, and one process does the work
LEAST_DESCRIPTORS, LEAST_ROOM = 32, 1 << 26


def run(
    given: dict[str, Any],
    found: Found,
    tasks: Sequence[Task],
    work: Work,
    voice: Voice,
    hear: Callable[[Said], None] = lambda _said: None,
) -> int:
    """Do the work on each task; the exit code, folders that could not be searched included."""
    missing = list(found.faults)
    if not found.paths:  # nothing at all to do is rather a folder that is not mounted
        missing += found.empty
    elif voice.hint:
        for folder, why in found.empty:
            voice.hint(f"{folder}: {why}")
    _check_executor(given)
    if given["resume"]:
        tasks, own = _without_own(given, found, tasks, work)
        missing += own
        tasks = _resumed(given, tasks, work)
    if voice.verbose and voice.done and found.passed:
        voice.done(found.passed_in_words())
    assert work.planner is not None
    jobs = (given["jobs"] or usable_cpus()) if _may_start_processes() else 1
    if given["dry_run"]:
        work = work._replace(job=work.planner())
    elif jobs > 1 and voice.hint:
        _warn_of_memory(tasks, work, jobs, voice.hint)
    policy = runner.Policy(
        given["report"], given["fail_fast"], jobs, given["executor"], hear, plans=given["dry_run"], overwrite=given["overwrite"]
    )
    return runner.run(tasks, work, voice, policy, missing)


def _may_start_processes() -> bool:
    left = room()
    return usable_descriptors() >= LEAST_DESCRIPTORS and (left is None or left >= LEAST_ROOM)


def _warn_of_memory(tasks: Sequence[Task], work: Work, jobs: int, tell: Callable[[str], None]) -> None:
    """Say, before it starts, that a run may need more memory than there is: its largest inputs may be done at once."""
    free = memory.available()
    if free is None:
        return
    local = (task for task in tasks if not task.done and not task.streams() and not is_remote(task.source))
    largest = heapq.nlargest(jobs, local, key=lambda task: size_of(task.source))
    assert work.planner is not None
    planning = work._replace(job=work.planner())
    said = [attempt(planning, task).said for task in largest]
    needs = sorted((one.planned.memory for one in said if one is not None and one.planned is not None), reverse=True)
    if sum(needs) > free:
        fitting = max(1, sum(total <= free for total in itertools.accumulate(needs)))
        tell(f"{jobs} jobs may need {in_megabytes(sum(needs))} of memory but {in_megabytes(free)} are free; -j {fitting} fits")


def _without_own(
    given: dict[str, Any], found: Found, tasks: Sequence[Task], work: Work
) -> tuple[Sequence[Task], list[tuple[str, str]]]:
    """The tasks without those of inputs that were found in a folder and were made as this run makes its outputs.

    They are outputs of inputs that are gone. If nothing else is there, that is the second, with where they lie.
    """
    from patchcli import resume

    assert work.recipes is not None
    folders = _folders_of_outputs(given["output"], tasks)
    own = {
        task.source
        for task in tasks
        if task.source in found.searched
        and _folder(task.source) in folders
        and resume.made_alike(task, work.settings, work.recipes)
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
                if _folder(expand(str(template), os.path.join(above, "x.png"), 0)) == folder:
                    folders.add(folder)
    return folders


def _folder(path: str) -> str:
    return os.path.dirname(path if is_remote(path) else os.path.abspath(path))


def _resumed(given: dict[str, Any], tasks: Sequence[Task], work: Work) -> list[Task]:
    """The tasks, those marked that are done already."""
    from patchcli import resume

    for task in tasks:
        mute = [STREAM] if task.streams() else list(filter(is_special, task.targets()))
        if mute:
            raise UsageError(
                f"{name_of(mute[0], 'a standard stream')}: is no file; --resume looks at what files say of how they were made"
            )
    assert work.recipes is not None
    return resume.sort_out(tasks, work.settings, work.recipes, overwrite=given["overwrite"], tidy=not given["dry_run"])


def _check_executor(given: dict[str, Any]) -> None:
    address = given["executor"]
    if address is not None and (ADDRESS.fullmatch(address) is None or int(address.rpartition(":")[2]) > HIGHEST_PORT):
        raise UsageError(f"--executor is {address!r}; allowed are tcp://HOST:PORT and tls://HOST:PORT")
    if address is not None and given["jobs"] != 1:
        raise UsageError("--executor and --jobs exclude each other")
    if "memory" in given["remote"] and (address is not None or given["jobs"] != 1):
        raise UsageError("memory:// lives in one process; allowed with --jobs and --executor are all other places")
