"""Those who do tasks elsewhere: worker processes, or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from patchcli.batch.attempt import Outcome
    from patchcli.jobs.task import Task


class Crew(Protocol):
    """Those who do tasks elsewhere.

    Attributes:
        ahead: how often something is sent before the first of it is asked for.
        workers: how many they are.
    """

    ahead: int
    workers: int

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End, whatever is under way."""

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        """Have some tasks done."""

    def outcomes(self, future: Future[list[Outcome]]) -> list[Outcome]:
        """What became of them, once all are done."""
