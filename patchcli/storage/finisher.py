"""Outputs that get their names in a thread, in groups, while the next are made: one flush of the disk serves a whole group."""

from __future__ import annotations

import contextvars
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from patchcli.storage import outputs
from patchcli.threads import has_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from patchcli.storage.outputs import Outputs

GROUP_BYTES = 1 << 25
GROUP_SECONDS = 0.1  # after which what there is makes a group, if none is being published

Item = TypeVar("Item")
Result = TypeVar("Result")


class Finisher:
    """Publishes groups of outputs in the order given; behind one that cannot be written it publishes no other.

    While it publishes one group the next is collected.

    Args:
        threaded: in a thread of its own; else in that of the caller, who waits.
    """

    def __init__(self, *, threaded: bool) -> None:
        self._threaded = threaded
        self._pool: ThreadPoolExecutor | None = None
        self._running: deque[Future[None]] = deque()
        self._group: list[Outputs] = []
        self._added: list[Outputs] = []
        self._files = self._bytes = 0
        self._since = time.monotonic()
        self._failed: Exception | None = None

    def add(self, written: Outputs) -> None:
        """Take outputs to publish."""
        self._group.append(written)
        self._added.append(written)
        self._files += max(1, len(written.numbers))
        self._bytes += written.nbytes
        if self._files >= outputs.most_open() or self._bytes >= GROUP_BYTES:
            self._hand_over()

    def taken(self) -> list[Outputs]:
        """What was added since this was asked last."""
        added, self._added = self._added, []
        return added

    def look(self) -> None:
        """Publish what has waited for long, if nothing is being published."""
        if time.monotonic() - self._since >= GROUP_SECONDS and all(future.done() for future in self._running):
            self._hand_over()

    def finish(self) -> None:
        """Publish all that was added, and wait for it."""
        self._hand_over()
        while self._running:
            self._running.popleft().result()

    def close(self) -> None:
        """The same, and end the thread."""
        self.finish()
        if self._pool is not None:
            self._pool.shutdown()

    def _hand_over(self) -> None:
        group, self._group = self._group, []
        self._files = self._bytes = 0
        self._since = time.monotonic()
        if not group or not self._has_thread():
            self._publish(group)
            return
        assert self._pool is not None
        while len(self._running) > 1:
            self._running.popleft().result()
        self._running.append(self._pool.submit(contextvars.copy_context().run, self._publish, group))

    def _has_thread(self) -> bool:
        """Whether a thread can be had, which is tried once."""
        if self._threaded and self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "patchcli-finisher")
            try:
                self._threaded = has_room() and self._pool.submit(bool).result() is False
            except RuntimeError:
                self._threaded = False
        return self._threaded

    def _publish(self, group: list[Outputs]) -> None:
        self._failed = outputs.publish(group, self._failed)


def each(
    items: list[Item],
    do: Callable[[Item], Result],
    settled: Callable[[Result, list[Outputs]], Result],
    urgent: Callable[[Result], bool],
) -> Iterator[Result]:
    """The result of each item, in order, once all outputs that it made have their names.

    Args:
        items: what is to be done.
        do: does one; its outputs get their names while the next are done.
        settled: makes the result of what ``do`` returned and of what became of the outputs.
        urgent: whether a result is not to wait for others that come after it.
    """
    finisher = Finisher(threaded=len(items) > 1)
    outputs.real_folder.cache_clear()  # of before: links may lead elsewhere by now
    held: deque[tuple[Result, list[Outputs]]] = deque()
    try:
        for item in items:
            with outputs.given_to(finisher.add):
                result = do(item)
            held.append((result, finisher.taken()))
            if urgent(result):
                finisher.finish()
            else:
                finisher.look()
            while held and all(one.done for one in held[0][1]):
                yield settled(*held.popleft())
        finisher.finish()
        while held:
            yield settled(*held.popleft())
    finally:
        finisher.close()
