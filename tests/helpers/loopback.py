"""A Dask cluster on the loopback: a real scheduler and real workers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Loopback:
    """A scheduler and workers, each a process of its own, working elsewhere than the caller."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--port", self.address.rpartition(":")[2], "--no-dashboard", "--no-show")

    def add_workers(self, count: int) -> list[subprocess.Popen[bytes]]:
        arguments = [self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self._folder)]
        return [self._start("worker", *arguments) for _ in range(count)]

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        process = subprocess.Popen(command, cwd=self._folder, stdout=self._log, stderr=self._log)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        self._log.close()


def wait_for(loopback: Loopback, count: int) -> None:
    """Until so many workers are there."""
    program = (
        "import sys, distributed\n"
        "client = distributed.Client(sys.argv[1], timeout=30)\n"
        "int(sys.argv[2]) and client.wait_for_workers(int(sys.argv[2]), timeout=60)\n"
        "client.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, loopback.address, str(count)], check=True)
