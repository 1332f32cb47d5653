"""Many inputs, one after the other: what fails is said and counted, the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from patchcli.errors import OutputError, PatchcliError
from patchcli.files import name_of

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


def run(tasks: Sequence[Task], job: Callable[[Task, Tick], Said], voice: Voice) -> int:
    """Run ``job`` for each task; the exit code."""
    code = DONE
    with _Bar(len(tasks), shown=voice.progress) as bar:
        for task in tasks:
            name = name_of(task.source, "standard input")
            try:
                said = job(task, bar.tick)
            except OutputError as error:
                bar.close()
                voice.error(str(error))
                return STOPPED
            except MemoryError:
                code = FAILED
                voice.error(f"{name}: needs more memory than there is")
            except PatchcliError as error:
                if voice.traceback:
                    import traceback

                    for line in traceback.format_exc().splitlines():
                        voice.error(line)
                code = FAILED
                voice.error(f"{name}: {error}")
            else:
                code = FAILED if said.faults else code
                _tell(said, name, name_of(task.target), voice)
            bar.next()
    return code


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

    def next(self) -> None:
        """One more input is done."""
        if self._bar is not None and self._inputs > 1:
            self._bar.update(1)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
