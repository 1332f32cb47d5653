"""Tasks in worker processes. A worker that is killed costs the task that it was killed by, and no other."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Self

from patchcli import endings, leftovers
from patchcli.work import Outcome, attempt

if TYPE_CHECKING:
    from concurrent.futures import Future

    from patchcli.jobs import Task
    from patchcli.work import Work

GRACE = 0.5  # seconds for a worker to end by itself
KILLED = "its worker process was killed, most often for lack of memory; fewer jobs with -j need less"


class Processes:
    """Worker processes on this machine.

    Args:
        jobs: how many.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._single: concurrent.futures.ProcessPoolExecutor | None = None  # for tasks that are done again
        self._waiting: dict[Future[Outcome], tuple[Work, Task]] = {}
        self.ahead = 4 * jobs  # one slow task must not leave the others without work

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting:  # stopped early
            end_workers()
        for pool in (self._pool, self._single):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def submit(self, work: Work, task: Task) -> Future[Outcome]:
        """Have a task done; ask `outcome` what became of it."""
        if self._pool is None:
            self._pool = _start(self._jobs)
        try:
            future = self._pool.submit(attempt, work, task)
        except BrokenProcessPool:  # the others that were under way are seen to when they are asked for
            future = concurrent.futures.Future()
            future.set_exception(BrokenProcessPool())
        self._waiting[future] = work, task
        return future

    def outcome(self, future: Future[Outcome]) -> Outcome:
        """What became of a task, once it is done."""
        work, task = self._waiting[future]
        try:
            return future.result()
        except BrokenProcessPool:
            self._pool = None
            return self._alone(work, task)
        finally:
            del self._waiting[future]

    def _alone(self, work: Work, task: Task) -> Outcome:
        """Do a task again that was under way when a worker was killed: if it was the cause, it is killed again."""
        self._single = self._single or _start(1)
        try:
            # What it had written before is its own: its outputs had been seen to be free.
            return self._single.submit(attempt, work, task._replace(replace=True)).result()
        except BrokenProcessPool:
            self._single = None
            return Outcome(None, KILLED)
        finally:
            leftovers.remove(task.targets())


def _start(jobs: int) -> concurrent.futures.ProcessPoolExecutor:
    """New worker processes, not forked: threads and locks of this one would be copied in any state."""
    _quiet_tracker()
    return concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)


def _quiet_tracker() -> None:
    """Start the process that removes what processes share and leave behind, without its word on each run that a signal ended."""
    variable, said = "PYTHONWARNINGS", "ignore:resource_tracker"
    before = os.environ.get(variable)
    os.environ[variable] = said if before is None else f"{before},{said}"
    resource_tracker.ensure_running()
    if before is None:
        del os.environ[variable]
    else:
        os.environ[variable] = before


def _begin() -> None:
    """What a worker does first."""
    # Ctrl-C and hanging up reach every process of a terminal: the first of them ends the others.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    endings.end_by_signals("SIGTERM")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone, be it by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # which then interrupts what that waits for


def end_workers() -> None:
    """End all workers: by themselves, so that they remove what is unfinished, or by force."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + GRACE
    for worker in workers:
        worker.join(max(0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()
