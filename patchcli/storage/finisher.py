"""Outputs that get their names in groups, behind the work: one flush of the disk serves a whole group."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from patchcli.storage import outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from patchcli.storage.outputs import Outputs

GROUP_BYTES = 1 << 25
GROUP_SECONDS = 0.1  # after which what there is makes a group

Item = TypeVar("Item")
Result = TypeVar("Result")


class Finisher:
    """Publishes groups of outputs in the order given; behind one that cannot be written it publishes no other."""

    def __init__(self) -> None:
        self._group: list[Outputs] = []
        self._files = self._bytes = 0
        self._since = time.monotonic()
        self._failed: Exception | None = None

    def add(self, written: Outputs) -> None:
        """Take outputs to publish."""
        self._group.append(written)
        self._files += max(1, len(written.numbers))
        self._bytes += written.nbytes
        if self._files >= outputs.most_open() or self._bytes >= GROUP_BYTES:
            self.publish()

    @property
    def due(self) -> bool:
        """Whether the first of a group has waited for long."""
        return time.monotonic() - self._since >= GROUP_SECONDS

    def publish(self) -> None:
        """Give all that was added its names."""
        group, self._group = self._group, []
        self._files = self._bytes = 0
        self._failed = outputs.publish(group, self._failed)
        self._since = time.monotonic()


def each(
    items: list[Item],
    do: Callable[[Item], Result],
    settled: Callable[[Result, list[Outputs]], Result],
    urgent: Callable[[Result], bool],
) -> Iterator[Result]:
    """The result of each item, in order, once all outputs that it made have their names.

    Args:
        items: what is to be done.
        do: does one; its outputs get their names together with those of others.
        settled: makes the result of what ``do`` returned and of what became of the outputs.
        urgent: whether a result is not to wait for others that come after it.
    """
    finisher = Finisher()
    outputs.real_folder.cache_clear()  # of before: links may lead elsewhere by now
    held: deque[tuple[Result, list[Outputs]]] = deque()
    try:
        for item in items:
            added: list[Outputs] = []

            def take(written: Outputs, added: list[Outputs] = added) -> None:
                added.append(written)
                finisher.add(written)

            with outputs.given_to(take):
                result = do(item)
            held.append((result, added))
            if finisher.due or urgent(result):
                finisher.publish()
            while held and all(one.done for one in held[0][1]):
                yield settled(*held.popleft())
    finally:
        finisher.publish()
    while held:
        yield settled(*held.popleft())
