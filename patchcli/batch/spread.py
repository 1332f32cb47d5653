"""One task shared by several workers, each of which makes parts of it."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Self

from patchcli.errors import OutputError, PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from patchcli.batch.attempt import Outcome
    from patchcli.batch.crew import Crew
    from patchcli.jobs.task import Said, Task

AHEAD = 2  # parts for each worker that are sent before the first of them is asked for: more would be held when they are done


class Spread:
    """Workers of which each does its share of the parts of a task: the first, and every so many after it.

    Args:
        crews: make those who do parts; of several, each is one worker.
        keeps: whether a worker may keep what it opened until its next part.

    Attributes:
        workers: how many, once they were started.
    """

    def __init__(self, crews: Sequence[Callable[[], Crew]], *, keeps: bool) -> None:
        self._make, self.keeps = crews, keeps
        self._crews: list[Crew] = []
        self._open = contextlib.ExitStack()
        self.workers = len(crews)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._crews = [opened.enter_context(make()) for make in self._make]
            if self.keeps:  # they start together, not each with its first part
                for crew, begun in [(crew, crew.submit([])) for crew in self._crews]:
                    crew.outcomes(begun)
            self._open = opened.pop_all()
        self.workers = sum(crew.workers for crew in self._crews)
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.__exit__(*raised)  # type: ignore[arg-type]

    def each(self, tasks: Sequence[Task]) -> Iterator[Said]:
        """What became of each part, in order.

        Raises:
            PatchcliError: one failed.
            OutputError: no more can be done.
        """
        waiting: deque[tuple[Crew, Future[list[Outcome]]]] = deque()
        for number, task in enumerate(tasks):
            crew = self._crews[number % len(self._crews)]
            waiting.append((crew, crew.submit([task])))
            if len(waiting) >= AHEAD * self.workers:
                yield _said(*waiting.popleft())
        while waiting:
            yield _said(*waiting.popleft())


class _Trace(Exception):  # noqa: N818  where an error was raised, for those who look for the cause
    """What another process says of an error."""


def _said(crew: Crew, future: Future[list[Outcome]]) -> Said:
    """What became of a part that was sent."""
    (outcome,) = crew.outcomes(future)
    if outcome.said is None:
        raise (OutputError if outcome.stop else PatchcliError)(str(outcome.fault)) from _Trace(outcome.trace)
    return outcome.said
