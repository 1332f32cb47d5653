"""Use the second core: make things ahead of their use, map in order. Results never depend on the number of threads.

numpy's copies and sums and zlib's checksums release the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Made = TypeVar("Made")

MOST_THREADS = 4  # more of them wait for memory, not for a core


def usable_threads() -> int:
    """Threads worth starting: CPUs that this process may use, within reason."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MOST_THREADS)


def map_in_order(function: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[Made]:
    """``function`` of each item, in the order of the items, a few of them computed at the same time."""
    if threads < 2:  # noqa: PLR2004
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Failure:
    """What a maker's thread raised, on its way to the user."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items, made in a thread of their own, at most ``depth`` of them before they are asked for."""
    import queue

    made: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()

    def put(thing: object) -> bool:
        while not stop.is_set():
            try:
                made.put(thing, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # noqa: BLE001  raised again where the item was wanted
            put(_Failure(error))

    maker = threading.Thread(target=make, name="patchcli-ahead", daemon=True)
    maker.start()
    try:
        while (thing := made.get()) is not _END:
            if isinstance(thing, _Failure):
                raise thing.error
            yield thing  # type: ignore[misc]
    finally:
        stop.set()
        maker.join()
