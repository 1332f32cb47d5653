"""Tasks on the workers of a Dask cluster that already exists."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from typing import TYPE_CHECKING, Any, Self

from patchcli.batch.attempt import Outcome, attempt_all
from patchcli.errors import UsageError
from patchcli.storage import atomic
from patchcli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from patchcli.batch.attempt import Work
    from patchcli.jobs.task import Task

SECONDS_TO_CONNECT = 10
SECONDS_TO_LOOK = 1  # whether the scheduler is still there
FEWEST_AHEAD = 32
LOST = "the workers that did it were killed, time and again; most often for lack of memory"


class Cluster:
    """The workers of a cluster; they see the same files under the same names.

    Args:
        address: of the scheduler.
        work: what they do.

    Raises:
        UsageError: no scheduler there, none of its workers has this version of the program, no library for it.
    """

    def __init__(self, address: str, work: Work) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("--executor needs the extra dask: pip install 'patchcli[dask]'") from None
        logging.disable(logging.CRITICAL)  # what is lost is said by this program, once
        self._address, self._work = address, work
        self._check_scheduler(distributed)
        client: Any = distributed.Client
        self._client = client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        self._check_workers()
        self._executor = self._client.get_executor(pure=False)
        self._targets: list[str] = []
        self._waiting: dict[Future[list[Outcome]], Sequence[Task]] = {}
        self._killed: type[Exception] = distributed.KilledWorker
        self.workers = sum(self._client.nthreads().values())
        self.ahead = max(FEWEST_AHEAD, 4 * self.workers)

    def _check_scheduler(self, distributed: Any) -> None:  # noqa: ANN401
        """See that a scheduler answers: a client waits for ever where something else does."""

        async def greet() -> None:
            arguments = distributed.Security().get_connection_args("client")
            connection = distributed.comm.connect(self._address, timeout=SECONDS_TO_CONNECT, **arguments)
            (await asyncio.wait_for(connection, SECONDS_TO_CONNECT)).abort()

        try:
            asyncio.run(greet())
        except Exception as error:  # noqa: BLE001  what is there instead may answer anything
            fault = str(error) or "what is there does not speak as one"
            raise UsageError(f"--executor {self._address}: no scheduler answers: {fault}") from None

    def _check_workers(self) -> None:
        versions = self._client.run(_version, on_error="return")
        if not versions:
            self._leave(f"--executor {self._address}: has no workers; allowed are clusters with at least one")
        for worker, version in versions.items():
            if version != __version__:
                got = f"has patchcli {version}" if isinstance(version, str) else "has no patchcli"
                self._leave(
                    f"--executor {self._address}: worker {worker} {got}; needed is patchcli {__version__} on every worker"
                )

    def _leave(self, fault: str) -> None:
        self._client.close()
        raise UsageError(fault)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()  # tasks that no client waits for are forgotten; running ones end by themselves
        atomic.remove_leftovers(self._targets)

    def submit(self, tasks: Sequence[Task]) -> Future[list[Outcome]]:
        """Have some tasks done; ask `outcomes` what became of them."""
        future: Future[list[Outcome]] = self._executor.submit(attempt_all, self._work, tasks)
        self._waiting[future] = tasks
        self._targets += [target for task in tasks for target in task.targets()]
        return future

    def outcomes(self, future: Future[list[Outcome]]) -> list[Outcome]:
        """What became of some tasks, once they are done."""
        tasks = self._waiting.pop(future)
        alone_since = None
        while True:
            try:
                return future.result(SECONDS_TO_LOOK)
            except self._killed:
                if len(tasks) == 1:
                    return [Outcome(None, LOST)]
                # one of them was the cause
                return [outcome for task in tasks for outcome in self.outcomes(self.submit([task]))]
            except concurrent.futures.CancelledError:
                break
            except TimeoutError:
                now = time.monotonic()
                alone_since = None if self._client.status == "running" else alone_since or now
                if alone_since is not None and now - alone_since > SECONDS_TO_CONNECT:
                    break
        return [Outcome(None, f"--executor {self._address}: the scheduler went away", stop=True)]


def _version() -> Any:  # noqa: ANN401  what crosses the wire
    """The version of this program on a worker."""
    return __version__
