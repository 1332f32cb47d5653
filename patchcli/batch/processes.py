"""Tasks in worker processes. A worker that is killed costs the task that it was killed by, and no other."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import reduction, resource_tracker
from typing import TYPE_CHECKING, Any, Self

from patchcli.batch.attempt import Outcome, attempt_all
from patchcli.errors import OutputError, reason, shortage
from patchcli.storage import atomic, paths, signals, streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from multiprocessing.process import BaseProcess

    from patchcli.batch.attempt import Work
    from patchcli.jobs.task import Task

# which reach every process of a terminal: the first of them ends the others
OF_A_TERMINAL = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}
GRACE, REMOTE_GRACE = 0.5, 10  # seconds for a worker to end by itself; an upload is aborted at its server
_OWN: list[Work] = []  # of a worker: what it does
ALONE = "-j 1 needs none"
KILLED = "its worker process was killed, most often for lack of memory; fewer jobs with -j need less"


class Processes:
    """Worker processes on this machine.

    Args:
        jobs: how many.
        work: what they do.
    """

    def __init__(self, jobs: int, work: Work) -> None:
        self._jobs, self._work = jobs, work
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._single: concurrent.futures.ProcessPoolExecutor | None = None  # for tasks that are done again
        self._waiting: dict[Future[list[Outcome]], tuple[Sequence[Task], concurrent.futures.ProcessPoolExecutor]] = {}
        self._asked: set[Future[list[Outcome]]] = set()  # not done yet, of both
        self._started: dict[concurrent.futures.ProcessPoolExecutor, list[BaseProcess]] = {}  # the workers of each
        self._lost = ""  # what was short when a thread of a pool ended
        self._works = False  # workers are known to live until they are asked for something
        self.ahead = 4 * jobs  # one slow task must not leave the others without work
        self.workers = jobs

    def __enter__(self) -> Self:
        threading.excepthook = self._lose
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._waiting or kind is not None:  # stopped early
            end_workers()
        for pool in (self._pool, self._single):
            if pool is not None:
                with contextlib.suppress(RuntimeError):  # its thread, for which it waits, was never started
                    pool.shutdown(cancel_futures=True)
        threading.excepthook = threading.__excepthook__

    def _lose(self, ended: threading.ExceptHookArgs) -> None:
        """What is done when a thread ended by an error: one of a pool will never tell what became of its tasks."""
        error = ended.exc_value or MemoryError()
        self._lost = shortage(error) or repr(error)
        for future in list(self._asked):
            _break(future)
        if shortage(error) is None:
            threading.__excepthook__(ended)

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        """Have some tasks done; ask `outcomes` what became of them.

        Raises:
            OutputError: no process can be started.
        """
        with _starting():
            pool = self._pool = self._pool or self._start(self._jobs)
            future = self._ask(pool, tasks)
        self._waiting[future] = (tasks, pool)
        return future

    def _ask(self, pool: concurrent.futures.ProcessPoolExecutor, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        before = multiprocessing.active_children()
        try:
            future = pool.submit(_do, tasks)
            self._started[pool] += [worker for worker in multiprocessing.active_children() if worker not in before]
        except BrokenProcessPool:  # the others that were under way are seen to when they are asked for
            future = concurrent.futures.Future()
            _break(future)
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        if self._lost:  # before this was among those that are asked
            _break(future)
        return future

    def outcomes(self, future: Future[list[Outcome]]) -> list[Outcome]:
        """What became of some tasks, once they are done."""
        tasks, pool = self._waiting[future]
        try:
            outcomes = future.result()
            self._works = True
        except BrokenProcessPool:
            self._refuse_lost()
            if self._pool is pool:  # and not yet another, for what came after it
                self._pool = None
            self._give_up(pool)  # no other worker of it may still write what is done again
            return [self._alone(task) for task in tasks]
        else:
            return outcomes
        finally:
            del self._waiting[future]

    def _give_up(self, pool: concurrent.futures.ProcessPoolExecutor) -> None:
        """End the workers of a pool of which one was killed.

        It has told those to end that it knew of then, and waits for all: for ever, for one that was just being started.
        """
        _end_all(self._started.pop(pool, []))
        pool.shutdown()

    def _refuse_lost(self) -> None:
        if self._lost:
            raise OutputError(f"worker processes cannot be had for lack of {self._lost}; {ALONE}")

    def _alone(self, task: Task) -> Outcome:
        """Do a task again that was under way when a worker was killed: if it was the cause, it is killed again."""
        try:
            return self._by_one([task])[0]
        except BrokenProcessPool:
            self._refuse_dead()
            return Outcome(None, KILLED)
        finally:
            with paths.within(self._work.world or paths.world()):
                atomic.remove_leftovers(task.targets())

    def _by_one(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Have tasks done by a worker that does nothing else meanwhile."""
        with _starting():
            self._single = self._single or self._start(1)
            future = self._ask(self._single, tasks)
        try:
            return future.result()
        except BrokenProcessPool:
            self._refuse_lost()
            self._give_up(self._single)
            self._single = None
            raise

    def _refuse_dead(self) -> None:
        """Where workers may have died of nothing that they were asked for, ask one for nothing.

        Raises:
            OutputError: it died too.
        """
        if not self._works:
            try:
                self._by_one([])
            except BrokenProcessPool:
                raise OutputError(f"worker processes end as they start, most often for lack of memory; {ALONE}") from None
            self._works = True

    def _start(self, jobs: int) -> concurrent.futures.ProcessPoolExecutor:
        """New worker processes, not forked: threads and locks of this one would be copied in any state."""
        _quiet_tracker()
        begin: Any = _begin  # to which a number comes for what is sent
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(jobs, context, begin, (self._work, _Hearing()))
        self._started[pool] = []
        return pool


def _break(future: Future[list[Outcome]]) -> None:
    """Let a future end as if its worker had been killed, if it has not ended."""
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        future.set_exception(BrokenProcessPool())


def _quiet_tracker() -> None:
    """Start the process that removes what processes share and leave behind, without its word on each run that a signal ended."""
    variable, said = "PYTHONWARNINGS", "ignore:resource_tracker"
    before = os.environ.get(variable)
    os.environ[variable] = said if before is None else f"{before},{said}"
    with contextlib.suppress(ImportError):  # where there is none
        resource_tracker.ensure_running()
    if before is None:
        del os.environ[variable]
    else:
        os.environ[variable] = before


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """What is needed to start worker processes in the block.

    No signal comes between a worker and what it is given to start with, of which it would complain: this process ends once
    the worker is one that it knows of. What a terminal sends to all of its processes is held back from the worker too, which
    inherits that, until it is able to ignore it. Nor does a worker say by itself what it lacks to start.

    Raises:
        OutputError: what the system lacks to start one.
    """
    try:
        with _silence(), _patience():
            yield
    except OSError as error:  # descriptors, semaphores, processes or memory are short
        raise OutputError(f"worker processes cannot be started: {reason(error)}; {ALONE}") from None
    except (MemoryError, ImportError, RuntimeError, SystemError) as error:
        lack = shortage(error)
        if lack is None:
            raise
        raise OutputError(f"worker processes cannot be started for lack of {lack}; {ALONE}") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What starts in the block has the null device as its standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
        finally:
            os.close(null)
        _HEARD[:] = [kept]
        yield
    finally:
        _HEARD.clear()
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with atomic.undisturbed():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Hearing:
    """The standard error of this process on its way to a worker, where it is a number of a descriptor, or None.

    It is for the code of a user, which a worker runs, and for nothing else that a worker has to say.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        if not _HEARD or not hasattr(reduction, "DupFd"):
            return _received, (None,)
        return _received, (reduction.DupFd(_HEARD[0]),)


_HEARD: list[int] = []  # while workers are started: the standard error of this process


def _received(descriptor: Any) -> int | None:  # noqa: ANN401  what the library of processes makes of it
    return None if descriptor is None else descriptor.detach()


def _begin(work: Work, speaking: int | None) -> None:
    """What a worker does first."""
    _OWN.append(work)
    if speaking is not None:
        streams.speak_to(speaking)
    for number in OF_A_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signals.end_by_signals("SIGTERM")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(tasks: Sequence[Task]) -> list[Outcome]:
    """What a worker does then, again and again."""
    return attempt_all(_OWN[0], tasks)


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone, be it by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signals.send_to_main_thread(signal.SIGTERM)


def end_workers() -> None:
    """End all workers."""
    _end_all(multiprocessing.active_children())


def _end_all(workers: Sequence[BaseProcess]) -> None:
    """End some workers: by themselves, so that they remove what is unfinished, or by force."""
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + (REMOTE_GRACE if paths.world().remote else GRACE)
    for worker in workers:
        worker.join(max(0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()


signals.at_end(signals.WORKERS, end_workers)
