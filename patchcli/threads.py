"""Use the second core: make things ahead of their use, map in order. Results never depend on the number of threads.

numpy's copies and sums and zlib's checksums release the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from queue import Queue, SimpleQueue

Item = TypeVar("Item")
Made = TypeVar("Made")

CGROUPS = "/sys/fs/cgroup"
MOST_THREADS = 4  # more of them wait for memory, not for a core
WORTH_BYTES = 1 << 25
AHEAD_BYTES = 1 << 21
THREAD_ROOM = 1 << 25
_OWN = threading.local()


def usable_threads(work: int) -> int:
    """Threads worth starting for ``work`` bytes: CPUs that this process may use, within reason; one for little work.

    Below some size threads lose more by handing the interpreter's lock to each other than they gain. One of several threads
    starts no more: the CPUs are in use already.
    """
    if work < WORTH_BYTES or getattr(_OWN, "one_of_several", False):
        return 1
    return min(usable_cpus(), MOST_THREADS)


def usable_cpus() -> int:
    """CPUs that this process may use: those it may run on, and no more than the quota of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def usable_descriptors() -> int:
    """How many files this process may have open at once."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
    except ImportError:  # not on this system
        return 1 << 10
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return soft if soft != RLIM_INFINITY else 1 << 20


@functools.cache
def _quota() -> float | None:
    """How much CPU time control groups leave in each second, in seconds; None where they set no limit.

    Version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html) has "quota period" in a file, version 1 has a file for each.
    A group may have less than it says, where one above it has.
    """
    quotas = []
    for line in system_file("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS if number == "0" else f"{CGROUPS}/{controllers}"
        parts = path.strip("/").split("/")
        for depth in range(len(parts) + 1):
            folder = "/".join([root, *parts[:depth]])
            files = ("cpu.max",) if number == "0" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = " ".join(system_file(f"{folder}/{name}") for name in files).split()
            if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):  # noqa: PLR2004
                quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def system_file(path: str) -> str:
    """What the system tells in a file; nothing where there is none."""
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        return file.read()
    return ""


def map_in_order(function: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[Made]:
    """``function`` of each item, in the order of the items, a few of them computed at the same time."""
    if threads < 2:  # noqa: PLR2004
        yield from map(function, items)
        return
    import queue
    from concurrent.futures import Future

    given: queue.SimpleQueue[tuple[Future[Made], contextvars.Context, Item] | None] = queue.SimpleQueue()
    workers = [threading.Thread(target=_keep_making, args=(function, given), daemon=True) for _ in range(threads)]
    workers = [worker for worker in workers if started(worker)]
    if not workers:
        yield from map(function, items)
        return
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            future: Future[Made] = Future()
            given.put((future, contextvars.copy_context(), item))
            waiting.append(future)
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for _ in workers:
            given.put(None)
        for worker in workers:
            worker.join()


def _keep_making(
    function: Callable[[Item], Made], given: SimpleQueue[tuple[Future[Made], contextvars.Context, Item] | None]
) -> None:
    """What a thread does until it is given None.

    A pool of the standard library, where one of its threads cannot start, does what it was asked for, and does not tell.
    """
    _OWN.one_of_several = True
    while (one := given.get()) is not None:
        future, context, item = one
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(context.run(function, item))
            except BaseException as error:  # noqa: BLE001  raised again where the result is wanted
                future.set_exception(error)
        del one, future, context, item  # which may be large, while the next is waited for


def memory_left() -> int | None:
    """Bytes of memory that this process may still ask for; None where nothing limits that."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getpagesize, getrlimit
    except ImportError:  # not on this system
        return None
    most, used = getrlimit(RLIMIT_AS)[0], system_file("/proc/self/statm").split()
    return None if most == RLIM_INFINITY or not used else most - int(used[0]) * getpagesize()


def has_room() -> bool:
    """Whether there is memory for a thread to start and to do something."""
    left = memory_left()
    return left is None or left >= THREAD_ROOM


def started(thread: threading.Thread) -> bool:
    """Start a thread, where there is room for it: its stack is of the memory that a process may have.

    With hardly more room than for the stack it would begin, fail without a word, and be waited for without end.
    """
    if not has_room():
        return False
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return False
    return True


LARGEST_KEPT = (1 << 25) - (1 << 16)  # bytes; glibc has no higher limit
_KEPT = [0]


def reuse_memory(largest: int = LARGEST_KEPT) -> None:
    """Have the C library keep the memory of arrays that are freed, up to ``largest`` bytes each, for work that makes many.

    glibc takes arrays of more than 128 kB from the system and gives them back, so that each is paged in again, unless one
    as large was freed before: from then on it keeps up to twice its size (mallopt(3), M_MMAP_THRESHOLD). That one is never
    touched and costs nothing. Two threads ran twice as fast for it.
    """
    if largest > _KEPT[0]:
        import numpy as np

        with contextlib.suppress(MemoryError):  # then less is kept, and it takes longer
            _KEPT[0] = np.empty(largest, np.uint8).size


class _Failure:
    """What a maker's thread raised, on its way to the user."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def _put(made: Queue[object], thing: object, stop: threading.Event) -> bool:
    """Put a thing into a queue as soon as there is room; whether there was, before nobody wanted it any more."""
    import queue

    while not stop.is_set():
        try:
            made.put(thing, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def ahead(items: Iterable[Item], nbytes: int, depth: int = 2) -> Generator[Item]:
    """The items, made in a thread of their own, at most ``depth`` of them before they are asked for.

    Without a thread where all of them have fewer ``nbytes`` than are made while one starts.
    """
    return _ahead(items, depth) if nbytes >= AHEAD_BYTES else (item for item in items)


def _ahead(items: Iterable[Item], depth: int) -> Generator[Item]:
    import queue

    made: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                if not _put(made, item, stop):
                    return
            _put(made, _END, stop)
        except BaseException as error:  # noqa: BLE001  raised again where the item was wanted
            _put(made, _Failure(error), stop)

    # in the context of the caller, where names of files have their meaning
    maker = threading.Thread(target=contextvars.copy_context().run, args=(make,), name="patchcli-ahead", daemon=True)
    if not started(maker):
        yield from items
        return
    try:
        while (thing := made.get()) is not _END:
            if isinstance(thing, _Failure):
                try:
                    raise thing.error
                finally:
                    del thing  # which the error leads back to: a circle that would keep the files that were being read open
            yield thing  # type: ignore[misc]
    finally:
        stop.set()
        maker.join()
