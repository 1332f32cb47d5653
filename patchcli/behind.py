"""Outputs that get their names in a thread, while the next are made: waiting for the disk is the longest part of a small one."""

from __future__ import annotations

import contextlib
import contextvars
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from patchcli.errors import OutputError, PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

MOST_WAITING = 8  # outputs, each with an open file
_BEHIND: contextvars.ContextVar[Behind] = contextvars.ContextVar("patchcli_behind")

Item = TypeVar("Item")
Result = TypeVar("Result")


class Behind:
    """A thread that finishes outputs in the order given; where nothing more can be written it finishes no other."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def add(self, finish: Callable[[], None], discard: Callable[[], None]) -> None:
        """Have an output finished, or discarded if nothing more can be written; an error of an earlier one is raised here."""
        from concurrent.futures import ThreadPoolExecutor

        while len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft().result()
        self._pool = self._pool or ThreadPoolExecutor(1, "patchcli-finisher")
        self._waiting.append(self._pool.submit(contextvars.copy_context().run, self._finish, finish, discard))

    def _finish(self, finish: Callable[[], None], discard: Callable[[], None]) -> None:
        if self._failed:
            discard()
            return
        try:
            finish()
        except PatchcliError as error:
            self._failed = isinstance(error, OutputError)
            raise
        except BaseException:
            self._failed = True
            raise

    def taken(self) -> list[Future[None]]:
        """All that were added since this was asked last."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def close(self) -> None:
        """Wait for the rest."""
        if self._pool is not None:
            self._pool.shutdown()


def current() -> Behind | None:
    """What finishes outputs behind the work that is being done, if anything does."""
    return _BEHIND.get(None)


def each(items: list[Item], do: Callable[[Item], Result], failed: Callable[[Exception], Result]) -> Iterator[Result]:
    """The result of each item, in order, once all outputs that it made have their names.

    Args:
        items: what is to be done.
        do: does one; its outputs are finished while the next is done.
        failed: makes a result of an error with which an output was finished.
    """
    if len(items) < 2:  # noqa: PLR2004
        yield from map(do, items)
        return
    behind = Behind()
    with contextlib.closing(behind):
        held: list[tuple[Result, list[Future[None]]]] = []
        for item in items:
            token = _BEHIND.set(behind)
            try:
                result = do(item)
            finally:
                _BEHIND.reset(token)
            pending = behind.taken()
            yield from (_settled(*one, failed) for one in held)
            held = [(result, pending)] if pending else []
            if not pending:
                yield result
        yield from (_settled(*one, failed) for one in held)


def _settled(result: Result, pending: list[Future[None]], failed: Callable[[Exception], Result]) -> Result:
    try:
        for future in pending:
            future.result()
    except Exception as error:  # noqa: BLE001  told apart by `failed`
        return failed(error)
    return result
