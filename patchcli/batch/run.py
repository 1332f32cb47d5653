"""Many inputs, one after the other or several at once: what fails is said and counted, the rest goes on."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
import sys
from collections import Counter, deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from patchcli.batch import memory
from patchcli.batch.attempt import UP_TO_DATE, Outcome, Work, attempt, attempts, prepare_for_many
from patchcli.batch.chunking import Pace
from patchcli.batch.progress import Bar
from patchcli.batch.report import Report, kind_of
from patchcli.batch.spread import Spread
from patchcli.errors import DONE, FAILED, STOPPED, UsageError, one_line, shortened
from patchcli.jobs.task import PartFault, Said, in_megabytes
from patchcli.storage import paths, signals
from patchcli.storage.files import STREAM, file_size, name_of
from patchcli.storage.paths import is_remote
from patchcli.threads import memory_left, usable_cpus, usable_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from patchcli.batch.attempt import Command, Job
    from patchcli.batch.crew import Crew
    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions
    from patchcli.batch.progress import Voice
    from patchcli.jobs.task import Task


ADDRESS = re.compile(r"(tcp|tls)://[^\s:]+:\d{1,5}|(tcp|tls)://\[\S+\]:\d{1,5}")
HIGHEST_PORT = 65535
# with less, worker processes cannot be started, and one process does the work
LEAST_DESCRIPTORS, LEAST_ROOM = 32, 1 << 26


def run_tasks(
    tasks: Sequence[Task],
    work: Work,
    voice: Voice,
    *,
    options: BatchOptions,
    missing: Sequence[tuple[str, str]] = (),
    hear: Callable[[Said], None] = lambda _said: None,
) -> int:
    """Do the work on each task, here or elsewhere; the exit code. What is said comes in the order of the tasks.

    Args:
        tasks: all of the run.
        work: what is done with each.
        voice: how the run speaks.
        options: who does it, what is reported, when it stops.
        missing: inputs, folders most often, that no task came of, or lists that name them, each with what is wrong with it, those
            with several faults as often; they are told of first.
        hear: takes what each task has to say, in their order.
    """
    lost: dict[str, list[str]] = {}
    for name, fault in missing:
        lost.setdefault(name, []).append(fault)
    with (
        Report(options.report, len(tasks) + len(lost), overwrite=options.overwrite) as report,
        _interruptible(report, resume=options.resume),
        Bar(len(tasks), shown=voice.progress) as bar,
    ):
        voice = bar.beside(voice)
        for name, faults in lost.items():
            report.add(name, None, faults)
            _tell_lost(name, faults, voice)
            if options.fail_fast:
                return _stopped(report, voice, bar, early=True)
        hints = Hints()
        for task, outcome in _outcomes(tasks, work, options, bar):
            name = task.name
            faults, said = _told(task, name, outcome, voice, bar), outcome.said
            report.add(
                name_of(task.source, "standard input"),
                name_of(task.target),
                faults,
                said.hints if said else (),
                page=task.page,
                skipped=outcome.skipped,
                planned=said.planned if said else None,
                figures=said.figures if said else None,
                seconds=outcome.seconds,
            )
            if said:
                hear(said)
                hints.add(name, said.hints)
            if outcome.stop or (faults and options.fail_fast):
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


def _tell_lost(name: str, faults: Sequence[str], voice: Voice) -> None:
    """Say what is wrong with an input that no task came of."""
    for fault in faults:
        voice.error(fault if isinstance(fault, PartFault) else f"{name}: {fault}")


def _stopped(report: Report, voice: Voice, bar: Bar, *, early: bool) -> int:
    """Say how far it came, and whether the first failure ended it; the exit code."""
    bar.close()
    if early:
        voice.error(f"stopped at the first failed input; {report.left} were not tried")
    if bar.over_inputs and voice.done:
        voice.done(report.counts_in_words())
    return STOPPED


def _outcomes(tasks: Sequence[Task], work: Work, options: BatchOptions, bar: Bar) -> Iterator[tuple[Task, Outcome]]:
    """What becomes of each task, in their order, as soon as it is known."""
    todo = sum(not task.done for task in tasks)
    if options.executor is None and (options.jobs == 1 or todo < 2):  # noqa: PLR2004
        if todo > 1:
            prepare_for_many()
        yield from zip(tasks, attempts(list(tasks), lambda task: _here(work, task, options, bar)), strict=False)
        return
    work = work._replace(world=paths.anywhere())
    with _crew(work, options, todo) as crew:
        pace = Pace(todo, crew.workers)
        waiting: deque[tuple[list[Task], Future[list[Outcome]] | None]] = deque()

        def _next() -> Iterator[tuple[Task, Outcome]]:
            some, future = waiting.popleft()
            if future is None:
                return iter([(some[0], _here(work, some[0], options, bar))])
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


def _here(work: Work, task: Task, options: BatchOptions, bar: Bar) -> Outcome:
    """Do a task in this process, unless there is nothing left to do."""
    if not task.done:
        return attempt(work, task, bar.tick)
    said = Said("", result=f"{task.name} -> {task.target}: {UP_TO_DATE}") if options.dry_run else Said(UP_TO_DATE)
    return Outcome(said, skipped=True)


def _crew(work: Work, options: BatchOptions, todo: int) -> contextlib.AbstractContextManager[Crew]:
    """Worker processes, of which no more are started than there are tasks; or a cluster."""
    if options.executor is not None:
        from patchcli.batch.dask import Cluster

        return Cluster(options.executor, work)
    from patchcli.batch.processes import Processes

    return Processes(min(options.jobs, todo), work)


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
            assert voice.hint
            voice.hint(f"{line}{more}")


def _told(task: Task, name: str, outcome: Outcome, voice: Voice, bar: Bar) -> list[str]:
    """Say what became of a task; what was wrong with it."""
    if outcome.said is not None:
        _tell(outcome, name, name_of(task.target), voice, over_inputs=bar.over_inputs)
        return list(outcome.said.faults)
    assert outcome.fault is not None
    if outcome.stop:
        bar.close()
    if voice.debug:
        for line in outcome.trace.splitlines():
            voice.error(line)
    fault = shortened(one_line(outcome.fault))
    voice.error(fault if outcome.stop else f"{name}: {fault}")
    return [outcome.fault]


def _tell(outcome: Outcome, name: str, target: str, voice: Voice, *, over_inputs: bool) -> None:
    """Pass on what a job has to say; to those who asked for it, how long it took and how much that is a second."""
    said = outcome.said
    assert said is not None
    if said.result:
        voice.result(said.result)
    for fault in said.faults:
        voice.error(f"{name}: {shortened(one_line(fault))}")
    if said.done and voice.done and (voice.verbose or not over_inputs):
        pace = ""
        if voice.verbose and outcome.seconds:
            speed = f", {in_megabytes(said.nbytes / outcome.seconds)}/s" if said.nbytes else ""
            pace = f" ({outcome.seconds:.2f} s{speed})"
        voice.done(f"{name}{' -> ' * bool(target)}{target}: {said.done}{pace}")


@contextlib.contextmanager
def _interruptible(report: Report, *, resume: bool) -> Iterator[None]:
    """Inside, a signal that ends a run whose standard error is a terminal says how far it came."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    own, terminal = os.getpid(), os.dup(2)  # in place of standard error a pipe may stand while an image is decoded

    def tell() -> None:
        if os.getpid() == own:
            again = "; the same line goes on from there" if resume else ""
            with contextlib.suppress(OSError):  # a terminal that hung up
                os.write(terminal, f"\npatchcli: interrupted: {report.so_far_in_words()}{again}\n".encode())

    signals.at_end(signals.WORDS, tell)
    try:
        yield
    finally:
        signals.at_end(signals.WORDS, lambda: None)
        os.close(terminal)


def run_batch(
    found: Found,
    tasks: Sequence[Task],
    command: Command,
    *,
    options: BatchOptions,
    voice: Voice,
    hear: Callable[[Said], None] = lambda _said: None,
) -> int:
    """Do the work on each task; the exit code, folders that could not be searched included."""
    missing = list(found.missing)
    _check_executor(options)
    if options.resume:
        from patchcli.batch import resume  # loaded for nobody else

        tasks, own = resume.without_own(options.output, found, tasks, command)
        missing += own
        tasks = resume.left_to_do(tasks, command, overwrite=options.overwrite, tidy=not options.dry_run)
    found.tell(voice)
    jobs = (options.jobs or usable_cpus()) if _may_start_processes() else 1
    work = Work(command.plan if options.dry_run else command.run, command.settings)
    if jobs > 1 and voice.hint and not options.dry_run:
        _warn_of_memory(tasks, Work(command.plan, command.settings), jobs, voice.hint)
    options = replace(options, jobs=jobs)
    if command.band is not None and not options.dry_run and (several := _sharing(tasks, command.band, options, command.settings)):
        work, options = work._replace(job=partial(command.run, spread=several)), replace(options, jobs=1, executor=None)
    return run_tasks(tasks, work, voice, options=options, missing=missing, hear=hear)


def _sharing(tasks: Sequence[Task], band: Job, options: BatchOptions, settings: Any) -> Spread | None:  # noqa: ANN401
    """Several workers for the one task of a run that is left to do, unless it reads what no other process can."""
    todo = [task for task in tasks if not task.done]
    if len(todo) != 1 or STREAM in todo[0].sources() or (options.jobs == 1 and options.executor is None):
        return None
    work = Work(band, todo[0].own(settings), paths.anywhere())
    if options.executor is None:
        from patchcli.batch.processes import Processes

        return Spread([lambda: Processes(1, work)] * options.jobs, keeps=True)
    from patchcli.batch.dask import Cluster

    address = options.executor
    return Spread([lambda: Cluster(address, work)], keeps=False)


def _may_start_processes() -> bool:
    left = memory_left()
    return usable_descriptors() >= LEAST_DESCRIPTORS and (left is None or left >= LEAST_ROOM)


def _warn_of_memory(tasks: Sequence[Task], planning: Work, jobs: int, tell: Callable[[str], None]) -> None:
    """Say, before it starts, that a run may need more memory than there is: its largest inputs may be done at once."""
    free = memory.available()
    if free is None:
        return
    local = (task for task in tasks if not task.done and not task.streams() and not is_remote(task.source))
    largest = heapq.nlargest(jobs, local, key=lambda task: file_size(task.source))
    said = [attempt(planning, task).said for task in largest]
    needs = sorted((one.planned.memory for one in said if one is not None and one.planned is not None), reverse=True)
    if sum(needs) > free:
        fitting = max(1, sum(total <= free for total in itertools.accumulate(needs)))
        tell(f"{jobs} jobs may need {in_megabytes(sum(needs))} of memory but {in_megabytes(free)} are free; -j {fitting} fits")


def _check_executor(options: BatchOptions) -> None:
    address = options.executor
    if address is not None and (ADDRESS.fullmatch(address) is None or int(address.rpartition(":")[2]) > HIGHEST_PORT):
        raise UsageError(f"--executor is {address!r}; write tcp://HOST:PORT or tls://HOST:PORT")
    if address is not None and options.jobs != 1:
        raise UsageError("use only one of --executor and --jobs")
    if "memory" in options.remote and (address is not None or options.jobs != 1):
        raise UsageError("memory:// lives in one process; with --jobs and --executor use other places")
