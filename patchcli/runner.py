"""Many inputs, one after the other: what fails is said and counted, the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from patchcli.errors import OutputError, PatchcliError
from patchcli.files import name_of
from patchcli.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from patchcli.jobs import Said, Task, Tick

DONE, FAILED, STOPPED = 0, 1, 3


class Voice(NamedTuple):
    """How a run speaks: ``error`` always, ``hint`` unless quiet, ``done`` only where somebody looks, a progress bar likewise.

    ``result`` is for standard output, all else for standard error.
    """

    error: Callable[[str], None]
    result: Callable[[str], None]
    hint: Callable[[str], None] | None = None
    done: Callable[[str], None] | None = None
    progress: bool = False
    traceback: bool = False


class Policy(NamedTuple):
    """What a run does beside its work.

    Attributes:
        report: the file that says what became of each input; None for none.
        fail_fast: stop at the first input that fails.
    """

    report: str | None = None
    fail_fast: bool = False


def run(tasks: Sequence[Task], job: Callable[[Task, Tick], Said], voice: Voice, policy: Policy) -> int:
    """Run ``job`` for each task; the exit code."""
    with _Bar(len(tasks), shown=voice.progress) as bar, Report(policy.report, len(tasks)) as report:
        for task in tasks:
            name = name_of(task.source, "standard input")
            faults, stop = _one(task, name, job, voice, bar)
            report.add(name, name_of(task.target), faults)
            if stop or (faults and policy.fail_fast):
                bar.close()
                if not stop:
                    voice.error(f"stopped at the first failed input; {len(tasks) - report.done - report.failed} were not tried")
                return STOPPED
            bar.next(report.failed)
        if report.failed > 1 and voice.done:
            bar.close()
            voice.error(report.in_words())
    return FAILED if report.failed else DONE


def _one(task: Task, name: str, job: Callable[[Task, Tick], Said], voice: Voice, bar: _Bar) -> tuple[list[str], bool]:
    """Do one task and say so; what was wrong with it, and whether nothing more can be done."""
    try:
        said = job(task, bar.tick)
    except OutputError as error:
        bar.close()
        voice.error(str(error))
        return [str(error)], True
    except MemoryError:
        faults = ["needs more memory than there is"]
        voice.error(f"{name}: {faults[0]}")
    except PatchcliError as error:
        if voice.traceback:
            import traceback

            for line in traceback.format_exc().splitlines():
                voice.error(line)
        faults = [str(error)]
        voice.error(f"{name}: {error}")
    else:
        faults = list(said.faults)
        _tell(said, name, name_of(task.target), voice)
    return faults, False


def _tell(said: Said, name: str, target: str, voice: Voice) -> None:
    """Pass on what a job has to say."""
    if said.result:
        voice.result(said.result)
    for fault in said.faults:
        voice.error(f"{name}: {fault}")
    if said.hint and voice.hint:
        voice.hint(f"{name}: {said.hint}")
    if voice.done and said.done:
        voice.done(f"{name} -> {target}: {said.done}")


class _Bar:
    """A tqdm bar: over patches for one input, over inputs for several; nothing where it is not shown."""

    def __init__(self, inputs: int, *, shown: bool) -> None:
        self._inputs, self._shown = inputs, shown
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown and self._inputs > 1:
            self._open(self._inputs, "image")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, total: int, unit: str) -> None:
        import tqdm

        self._bar = tqdm.tqdm(total=total, unit=unit, unit_scale=unit == "patch", leave=False)

    def tick(self, now: int, total: int) -> None:
        """``now`` more of ``total`` patches of the only input are done."""
        if self._shown and self._inputs == 1:
            if self._bar is None:
                self._open(total, "patch")
            self._bar.update(now)

    def next(self, failed: int) -> None:
        """One more input is done; so many failed till now."""
        if self._bar is not None and self._inputs > 1:
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update(1)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
