"""Many inputs, one after the other or several at once: what fails is said and counted, the rest goes on."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from patchcli.batch import memory
from patchcli.batch.attempt import UP_TO_DATE, Outcome, attempt, attempts, prepare_for_many
from patchcli.batch.chunking import Pace
from patchcli.batch.inputs import OWN
from patchcli.batch.progress import Bar
from patchcli.batch.report import Report, kind_of
from patchcli.batch.targets import expand
from patchcli.errors import PatchcliError, UsageError, one_line, shortened
from patchcli.jobs.reading import in_megabytes
from patchcli.jobs.task import Said
from patchcli.storage import paths
from patchcli.storage.files import STREAM, file_size, is_special, name_of
from patchcli.storage.paths import is_remote
from patchcli.threads import room, usable_cpus, usable_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from patchcli.batch.attempt import Work
    from patchcli.batch.inputs import Found
    from patchcli.batch.progress import Voice
    from patchcli.jobs.task import Task

DONE, FAILED, STOPPED = 0, 1, 3


class Policy(NamedTuple):
    """What a run does beside its work.

    Attributes:
        report: the file that says what became of each input; None for none.
        fail_fast: stop at the first input that fails.
        jobs: worker processes; 1 works in this one.
        executor: address of a Dask scheduler whose workers do the work instead; None for none.
        hear: takes what each task has to say, in their order.
        plans: the work only says what would be made, so what needs not be made is said likewise.
        overwrite: whether a report that exists may be replaced.
    """

    report: str | None = None
    fail_fast: bool = False
    jobs: int = 1
    executor: str | None = None
    hear: Callable[[Said], None] = lambda _said: None
    plans: bool = False
    overwrite: bool = False


class Crew(Protocol):
    """Those who do tasks elsewhere."""

    ahead: int  # how often something is sent before the first of it is asked for
    workers: int

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        """Have some tasks done."""

    def outcomes(self, future: Future[list[Outcome]]) -> list[Outcome]:
        """What became of them, once all are done."""


def run_tasks(tasks: Sequence[Task], work: Work, voice: Voice, policy: Policy, missing: Sequence[tuple[str, str]] = ()) -> int:
    """Do the work on each task, here or elsewhere; the exit code. What is said comes in the order of the tasks.

    Args:
        tasks: all of the run.
        work: what is done with each.
        voice: how the run speaks.
        policy: what it does beside that.
        missing: inputs, folders most often, that no task came of, each with what is wrong with it; they are told of first.
    """
    with (
        Bar(len(tasks), shown=voice.progress) as bar,
        Report(policy.report, len(tasks) + len(missing), overwrite=policy.overwrite) as report,
    ):
        voice = bar.beside(voice)
        for name, fault in missing:
            report.add(name, None, [fault])
            voice.error(f"{name}: {fault}")
            if policy.fail_fast:
                return _stopped(report, voice, bar, early=True)
        hints = Hints()
        for task, outcome in _outcomes(tasks, work, policy, bar):
            name = name_of(task.source, "standard input")
            faults, said = _told(task, name, outcome, voice, bar), outcome.said
            report.add(
                name,
                name_of(task.target),
                faults,
                said.hints if said else (),
                skipped=outcome.skipped,
                planned=said.planned if said else None,
                seconds=outcome.seconds,
            )
            if said:
                policy.hear(said)
                hints.add(name, said.hints)
            if outcome.stop or (faults and policy.fail_fast):
                hints.tell(voice)
                return _stopped(report, voice, bar, early=not outcome.stop)
            bar.next(report.failed)
        bar.close()
        hints.tell(voice)
        if bar.over_inputs and voice.done and not report.planned:
            voice.done(report.counts_in_words())
        if report.failed > 1 and voice.done:
            voice.error(report.in_words())
        if report.planned and len(tasks) > 1:
            voice.result(report.plans_in_words())
    return FAILED if report.failed else DONE


def _stopped(report: Report, voice: Voice, bar: Bar, *, early: bool) -> int:
    """Say how far it came, and whether the first failure ended it; the exit code."""
    bar.close()
    if early:
        voice.error(f"stopped at the first failed input; {report.left} were not tried")
    if bar.over_inputs and voice.done:
        voice.done(report.counts_in_words())
    return STOPPED


def _outcomes(tasks: Sequence[Task], work: Work, policy: Policy, bar: Bar) -> Iterator[tuple[Task, Outcome]]:
    """What becomes of each task, in their order, as soon as it is known."""
    todo = sum(not task.done for task in tasks)
    if policy.executor is None and (policy.jobs == 1 or todo < 2):  # noqa: PLR2004
        if todo > 1:
            prepare_for_many()
        yield from zip(tasks, attempts(list(tasks), lambda task: _here(work, task, policy, bar)), strict=False)
        return
    work = work._replace(recipes=None, planner=None, world=paths.anywhere())  # what is not needed there is not imported there
    with _crew(work, policy, todo) as crew:
        pace = Pace(todo, crew.workers)
        waiting: deque[tuple[list[Task], Future[list[Outcome]] | None]] = deque()

        def _next() -> Iterator[tuple[Task, Outcome]]:
            some, future = waiting.popleft()
            if future is None:
                return iter([(some[0], _here(work, some[0], policy, bar))])
            outcomes = crew.outcomes(future)
            pace.done(len(some))
            return zip(some, outcomes, strict=False)

        for some in _groups(tasks, pace):
            waiting.append((some, crew.submit(some) if _goes(some[0]) else None))
            if len(waiting) > crew.ahead:
                yield from _next()
        while waiting:
            yield from _next()


def _goes(task: Task) -> bool:
    """Whether a task can be sent elsewhere, and needs to be."""
    return not task.done and not task.streams()


def _groups(tasks: Sequence[Task], pace: Pace) -> Iterator[list[Task]]:
    """Tasks that are sent together; those that stay are each by itself."""
    held: list[Task] = []
    for task in tasks:
        if held and (len(held) >= pace.next() or not _goes(task)):
            pace.sent(len(held))
            yield held
            held = []
        if _goes(task):
            held.append(task)
        else:
            yield [task]
    if held:
        yield held


def _here(work: Work, task: Task, policy: Policy, bar: Bar) -> Outcome:
    """Do a task in this process, unless there is nothing left to do."""
    if not task.done:
        return attempt(work, task, bar.tick)
    said = Said("", result=f"{task.source} -> {task.target}: {UP_TO_DATE}") if policy.plans else Said(UP_TO_DATE)
    return Outcome(said, skipped=True)


def _crew(work: Work, policy: Policy, todo: int) -> contextlib.AbstractContextManager[Crew]:
    """Worker processes, of which no more are started than there are tasks; or a cluster."""
    if policy.executor is not None:
        from patchcli.batch.dask import Cluster

        return Cluster(policy.executor, work)
    from patchcli.batch.processes import Processes

    return Processes(min(policy.jobs, todo), work)


class Hints:
    """What the inputs of a run are probably not meant to be: a line for each kind of it, with the first input."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def add(self, name: str, hints: Sequence[str]) -> None:
        """Take what is to be said of an input."""
        for hint in hints:
            kind = kind_of(hint)
            self._first.setdefault(kind, f"{name}: {shortened(one_line(hint))}")
            self._count[kind] += 1

    def tell(self, voice: Voice) -> None:
        """Say all of it, unless nobody wants to hear it."""
        for kind, line in self._first.items() if voice.hint else ():
            others = self._count[kind] - 1
            more = f" (and {others} more input{'s' * (others > 1)})" if others else ""
            if voice.hint:
                voice.hint(f"{line}{more}")


def _told(task: Task, name: str, outcome: Outcome, voice: Voice, bar: Bar) -> list[str]:
    """Say what became of a task; what was wrong with it."""
    if outcome.said is not None:
        _tell(outcome.said, name, name_of(task.target), voice, over_inputs=bar.over_inputs)
        return list(outcome.said.faults)
    assert outcome.fault is not None
    if outcome.stop:
        bar.close()
    if voice.verbose:
        for line in outcome.trace.splitlines():
            voice.error(line)
    fault = shortened(one_line(outcome.fault))
    voice.error(fault if outcome.stop else f"{name}: {fault}")
    return [outcome.fault]


def _tell(said: Said, name: str, target: str, voice: Voice, *, over_inputs: bool) -> None:
    """Pass on what a job has to say."""
    if said.result:
        voice.result(said.result)
    for fault in said.faults:
        voice.error(f"{name}: {shortened(one_line(fault))}")
    if said.done and voice.done and (voice.verbose or not over_inputs):
        voice.done(f"{name} -> {target}: {said.done}")


ADDRESS = re.compile(r"(tcp|tls)://[^\s:]+:\d{1,5}|(tcp|tls)://\[\S+\]:\d{1,5}")
HIGHEST_PORT = 65535
# with less, worker processes cannot be started, and one process does the work
LEAST_DESCRIPTORS, LEAST_ROOM = 32, 1 << 26


def run_batch(
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
    policy = Policy(
        given["report"], given["fail_fast"], jobs, given["executor"], hear, plans=given["dry_run"], overwrite=given["overwrite"]
    )
    return run_tasks(tasks, work, voice, policy, missing)


def _may_start_processes() -> bool:
    left = room()
    return usable_descriptors() >= LEAST_DESCRIPTORS and (left is None or left >= LEAST_ROOM)


def _warn_of_memory(tasks: Sequence[Task], work: Work, jobs: int, tell: Callable[[str], None]) -> None:
    """Say, before it starts, that a run may need more memory than there is: its largest inputs may be done at once."""
    free = memory.available()
    if free is None:
        return
    local = (task for task in tasks if not task.done and not task.streams() and not is_remote(task.source))
    largest = heapq.nlargest(jobs, local, key=lambda task: file_size(task.source))
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
    from patchcli.batch import resume

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
    from patchcli.batch import resume

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
