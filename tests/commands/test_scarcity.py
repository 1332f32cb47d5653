"""Memory, threads, descriptors and room for files that do not suffice: a run is done, or says so in a line."""

from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from patchcli.batch.attempt import Work
from patchcli.batch.processes import Processes
from patchcli.errors import OutputError, shortage
from patchcli.jobs.task import Said, Task
from patchcli.storage import finisher, outputs
from patchcli.storage.write_behind import SMALL, WriteBehind
from patchcli.threads import AHEAD_BYTES, ahead, map_in_order, started
from tests.helpers.ladders import Ladder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")


@pytest.fixture
def no_threads() -> Iterator[None]:
    """No thread can start: there is no memory for its stack."""
    before = threading.stack_size(1 << 46)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("no_threads")
def test_where_no_thread_can_start_its_work_is_done_without(tmp_path: Path) -> None:
    assert not started(threading.Thread(target=print))
    assert list(ahead(iter(range(5)), AHEAD_BYTES)) == list(range(5))
    here = threading.get_ident()
    assert list(map_in_order(lambda item: (item, threading.get_ident()), range(5), 3)) == [(item, here) for item in range(5)]
    publisher = finisher.Finisher()
    with outputs.given_to(publisher.add), outputs.create(str(tmp_path / "a")) as file:
        file.write(b"1")
    publisher.publish()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]
    file = io.BytesIO()
    with WriteBehind(file) as written:
        for _ in range(3):
            written.write(bytes(SMALL))
    assert file.getvalue() == bytes(3 * SMALL)


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    def odd(item: int) -> int:
        if item == 7:
            raise KeyError(item)
        return 2 * item

    made = map_in_order(odd, range(20), 3)
    assert [next(made) for _ in range(7)] == [0, 2, 4, 6, 8, 10, 12]
    before = threading.active_count()
    with pytest.raises(KeyError, match="7"):
        next(made)
    assert threading.active_count() == before - 3


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), "memory"),
        (OSError(12, "Cannot allocate memory", "patchcli/jobs"), "memory"),
        (ImportError("x.so: failed to map segment from shared object"), "memory"),
        (SystemError("error return without exception set"), "memory"),
        (RuntimeError("can't start new thread"), "memory or threads"),
        (ImportError("No module named 'x'"), None),
        (RuntimeError("else"), None),
    ],
)
def test_shortage_is_told_from_bugs(error: Exception, lack: str | None) -> None:
    assert shortage(error) == lack


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "values"), [("-v", [107520, 122880, 126976, 131072]), ("-n", [5, 6, 9, 32]), ("-f", [1, 4])])
def test_a_run_within_limits_is_done_or_says_in_a_line_what_is_short(tmp_path: Path, limit: str, values: list[int]) -> None:
    ladder = Ladder(tmp_path / "ladder")
    for value in values:
        for jobs in (1, 2):
            assert ladder.climb(limit, value, "extract", jobs) == [], (value, jobs)


def test_memory_that_is_not_there_is_not_kept() -> None:
    program = (
        "import resource, numpy\nfrom patchcli.threads import LARGEST_KEPT, reuse_memory\n"
        "used = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + LARGEST_KEPT // 2,) * 2)\nreuse_memory()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_thread_is_not_started_that_would_have_no_memory_but_its_stack() -> None:
    program = (
        "import resource, threading\nfrom patchcli.threads import THREAD_ROOM, memory_left, started\n"
        "from patchcli.batch.run import LEAST_ROOM, _may_start_processes\n"
        "assert memory_left() is None and _may_start_processes()\n"
        "used = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + LEAST_ROOM - 8192, -1))\n"
        "assert not _may_start_processes() and started(threading.Thread(target=int))\n"
        "used = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + THREAD_ROOM - 8192, -1))\n"
        "assert not started(threading.Thread(target=int))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")


def _cannot_be_made() -> None:
    raise MemoryError


class Heavy:
    """What no worker has the memory for."""

    def __reduce__(self) -> Any:
        return _cannot_be_made, ()


def test_workers_that_die_as_they_start_end_the_run_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with Processes(2, Work(_never, Heavy())) as crew:
        future = crew.submit([Task(source="a", target="b")])
        with pytest.raises(
            OutputError, match="worker processes end as they start, most often for lack of memory; -j 1 needs none"
        ):
            crew.outcomes(future)
    assert capfd.readouterr().err == ""


def _never(_task: Task, _settings: object, _tick: object) -> Said:
    raise AssertionError


@pytest.mark.usefixtures("no_threads")
def test_where_a_pool_has_no_thread_its_workers_are_ended() -> None:
    with (
        pytest.raises(OutputError, match="worker processes cannot be started for lack of memory or threads; -j 1 needs none"),
        Processes(2, Work(_never, None)) as crew,
    ):
        crew.submit([Task(source="a", target="b")])
    assert multiprocessing.active_children() == []


def test_a_thread_of_a_pool_that_ends_by_an_error_takes_what_it_was_asked_with_it() -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    with (
        pytest.raises(OutputError, match="worker processes cannot be had for lack of memory or threads; -j 1 needs none"),
        Processes(1, Work(_sleep, None)) as crew,
    ):
        future = crew.submit([Task(source="a", target="b")])
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        crew.outcomes(future)
    assert multiprocessing.active_children() == []


def _sleep(_task: Task, _settings: object, _tick: object) -> Said:
    time.sleep(60)
    return Said("")
