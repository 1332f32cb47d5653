"""Outputs that are finished in a thread: in order, each result only when its own outputs are there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from patchcli import behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def run(items: Iterable[int], do: Callable[[int], str]) -> Iterator[str]:
    return behind.each(list(items), do, lambda error: f"failed: {error}")


def leave(finish: Callable[[], None], discard: Callable[[], None] = lambda: None) -> None:
    finisher = behind.current()
    assert finisher is not None
    finisher.add(finish, discard)


class Log:
    """Tasks that leave something to finish, which fails for one of them, and what became of it."""

    def __init__(self, *, fails: int | None = None) -> None:
        self.finished: list[int] = []
        self.discarded: list[int] = []
        self.threads: set[str] = set()
        self.fails = fails

    def do(self, item: int) -> str:
        leave(lambda: self._finish(item), lambda: self.discarded.append(item))
        return f"result {item}"

    def _finish(self, item: int) -> None:
        if item == self.fails:
            message = f"disk full at {item}"
            raise OSError(message)
        self.finished.append(item)
        self.threads.add(threading.current_thread().name)


def test_results_come_in_order_and_each_after_its_outputs() -> None:
    log = Log()
    for number, result in enumerate(run(range(20), log.do)):
        assert result == f"result {number}"
        assert number in log.finished
    assert log.finished == list(range(20))
    assert [name.rpartition("_")[0] for name in log.threads] == ["patchcli-finisher"]


def test_tasks_without_outputs_keep_their_place() -> None:
    log = Log()
    results = run(range(9), lambda item: log.do(item) if item % 3 else f"nothing {item}")
    assert list(results) == [f"result {item}" if item % 3 else f"nothing {item}" for item in range(9)]


def test_after_one_that_failed_no_other_gets_its_name() -> None:
    log = Log(fails=3)
    results = run(range(8), log.do)
    assert [next(results) for _ in range(4)] == ["result 0", "result 1", "result 2", "failed: disk full at 3"]
    results.close()  # type: ignore[attr-defined]
    assert log.finished == [0, 1, 2]
    assert log.discarded == [4]


def test_an_error_of_a_task_waits_for_the_outputs_before_it() -> None:
    log = Log()

    def do(item: int) -> str:
        if item == 2:
            raise ValueError("task two")
        return log.do(item)

    with pytest.raises(ValueError, match="task two"):
        list(run(range(5), do))
    assert log.finished == [0, 1]


def test_a_single_item_needs_no_thread() -> None:
    assert list(run([7], lambda item: f"{item} {behind.current()}")) == ["7 None"]


def test_what_consumes_the_results_is_not_behind() -> None:
    assert [behind.current() for _ in run(range(3), Log().do)] == [None, None, None]


def test_many_outputs_of_one_task_wait_for_one_another() -> None:
    finished: list[tuple[int, int]] = []
    parts = range(3 * behind.MOST_WAITING)

    def one(item: int, part: int) -> None:
        leave(lambda: finished.append((item, part)))

    def do(item: int) -> str:
        for part in parts:
            one(item, part)
        return str(item)

    assert list(run(range(2), do)) == ["0", "1"]
    assert finished == [(item, part) for item in range(2) for part in parts]
