"""A piece of work that can be sent anywhere: a job, its settings, a task; and what comes back."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.errors import OutputError, fault_of
from patchcli.jobs.task import Said, Task, Tick
from patchcli.storage import finisher, paths
from patchcli.threads import reuse_memory

if TYPE_CHECKING:
    from patchcli.storage.outputs import Outputs
    from patchcli.storage.provenance import Recipe


MOST_KEPT = 1 << 23  # bytes of an array of which each of many tasks makes several
UP_TO_DATE = "is up to date"
Job = Callable[[Any, Any, Tick], Said]  # of a task of its command, its settings


class Work(NamedTuple):
    """What is done to each task of a run. A job that is a function of a module can be sent to other processes.

    Attributes:
        job: of a task, ``settings`` and a function that hears of progress.
        settings: the options of the job.
        world: what names of files mean; None for what they mean here.
    """

    job: Job
    settings: Any
    world: paths.World | None = None


class Command(NamedTuple):
    """A command as a run knows it.

    Attributes:
        run: the job.
        plan: the job that only says what would be made.
        recipes: what each output of a task depends on.
        settings: the options of all of them.
        band: the job of a part of a task, where several workers can share one; ``run`` then takes them as ``spread``.
    """

    run: Callable[..., Said]
    plan: Job
    recipes: Callable[[Any, Any], dict[str, Recipe]]
    settings: Any
    band: Job | None = None


class Outcome(NamedTuple):
    """What became of a task.

    Attributes:
        said: what the job has to say; None where it failed.
        fault: why it failed, in a sentence.
        stop: nothing more can be written; the run is over.
        skipped: nothing was left to do.
        trace: where it failed, for those who look for the cause.
        seconds: that its work took.
    """

    said: Said | None
    fault: str | None = None
    stop: bool = False
    skipped: bool = False
    trace: str = ""
    seconds: float = 0.0


def attempt_all(work: Work, tasks: Sequence[Task]) -> list[Outcome]:
    """Do several tasks one after the other, up to the first after which nothing more can be written."""
    prepare_for_many()
    outcomes = []
    for outcome in attempts(list(tasks), lambda task: attempt(work, task)):
        outcomes.append(outcome)
        if outcome.stop:
            break
    return outcomes


def prepare_for_many() -> None:
    """Prepare this process for many tasks."""
    reuse_memory(MOST_KEPT)


def attempts(tasks: list[Task], do: Callable[[Task], Outcome]) -> Iterator[Outcome]:
    """What becomes of each task; while some are done, the outputs of those before get their names."""
    return finisher.each(tasks, do, _settled, lambda outcome: outcome.said is None)


def _settled(outcome: Outcome, outputs: list[Outputs]) -> Outcome:
    """What became of a task whose outputs were published: one of the same content is what the task would make."""
    error = next((one.error for one in outputs if one.error is not None), None)
    if error is not None:
        return _failed(error)._replace(seconds=outcome.seconds)
    there = bool(outputs) and not any(one.made for one in outputs)
    return outcome._replace(said=Said(UP_TO_DATE), skipped=True) if there else outcome


def _failed(error: Exception) -> Outcome:
    """What became of a task that raised an error."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    return Outcome(None, fault_of(error), stop=isinstance(error, OutputError), trace=trace)


def attempt(work: Work, task: Task, tick: Tick = lambda _now, _total: None) -> Outcome:
    """Do one task; whatever comes of it, a bug too, is an outcome of this task alone, and no library warns beside it."""
    with warnings.catch_warnings(), paths.within(work.world or paths.world()):
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        begun = time.monotonic()
        try:
            outcome = Outcome(work.job(task, task.own(work.settings), tick))
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  one input's trouble ends that input alone
            outcome = _failed(error)
        return outcome._replace(seconds=time.monotonic() - begun)
