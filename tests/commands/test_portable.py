"""What Linux alone has, or Unix alone, has a substitute: each is hidden, and runs are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

import pytest

from patchcli.batch import memory, processes
from patchcli.storage import atomic, outputs, signals
from patchcli.storage.outputs import create
from patchcli.storage.write_behind import FLUSH_BYTES, SMALL, WriteBehind
from tests.helpers.runs import gray, tree, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_SYSTEM_FILES = """
real_open = builtins.open
def hiding(file, *more, **named):
    if str(file).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory")
    return real_open(file, *more, **named)
builtins.open = hiding
"""
NO_FLUSH_OF_FOLDERS = """
real_os_open = os.open
def refusing(path, *more, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return real_os_open(path, *more, **named)
os.open = refusing
"""
OLD_KERNEL = """
told = os.uname()
os.uname = lambda: os.uname_result((told.sysname, told.nodename, "4.19.0", told.version, told.machine))
"""
# what is missing: how it is hidden, in every process of a run
HIDDEN = {
    "flock": "sys.modules['fcntl'] = None",
    "RLIMIT_AS": "import resource; del resource.RLIMIT_AS",
    "resource": "sys.modules['resource'] = None",
    "ctypes": "sys.modules['ctypes'] = None",
    "O_NONBLOCK": "del os.O_NONBLOCK",
    "O_NOFOLLOW": "del os.O_NOFOLLOW",
    "link": "del os.link",
    "fchmod": "del os.fchmod",
    "posix_fadvise": "del os.posix_fadvise",
    "sched_getaffinity": "del os.sched_getaffinity",
    "set_blocking": "del os.set_blocking",
    "pthread_kill": "del signal.pthread_kill",
    "pthread_sigmask": "del signal.pthread_sigmask",
    "SIGHUP": "del signal.SIGHUP",
    "syncfs": OLD_KERNEL,
    "proc": NO_SYSTEM_FILES,
    "folders": NO_FLUSH_OF_FOLDERS,
}
WORKERS = ("flock", "resource", "pthread_kill", "pthread_sigmask", "SIGHUP", "all")  # of which workers have a use of their own
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hides what Linux has")


def hide(folder: Path, *names: str) -> dict[str, str]:
    """The environment of a process that does not have these things, nor do those that it starts."""
    folder.mkdir()
    program = "\n".join(["import builtins, os, signal, sys", *(HIDDEN[name] for name in names)])
    (folder / "sitecustomize.py").write_text(program)
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": str(folder) if before is None else f"{folder}{os.pathsep}{before}"}


def call(folder: Path, environment: dict[str, str] | None, *arguments: str) -> None:
    command = [sys.executable, "-m", "patchcli", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and what is made of them where nothing is missing."""
    folder = tmp_path_factory.mktemp("usual")
    (folder / "in").mkdir()
    for number in range(3):
        write_image(folder / "in" / f"{number}.png", gray(seed=number))
    call(folder, None, "extract", "in", "-s", "8", "-d", "out")
    call(folder, None, "merge", "out", "-d", "back")
    return folder


@pytest.mark.parametrize("missing", [*HIDDEN, "all"])
def test_what_is_missing_changes_no_output(missing: str, usual: Path, tmp_path: Path) -> None:
    environment = hide(tmp_path / "hidden", *(HIDDEN if missing == "all" else [missing]))
    jobs = "2" if missing in WORKERS else "1"
    call(tmp_path, environment, "extract", str(usual / "in"), "-s", "8", "-d", "out", "-j", jobs)
    made = {name.rpartition("/")[2]: data for name, data in tree(tmp_path / "out").items()}
    assert made == tree(usual / "out" / "in")
    with_report = ("--report", "r.jsonl", "--overwrite")
    call(tmp_path, environment, "merge", str(usual / "out" / "in"), "-d", "back", *with_report)
    assert sorted(tree(tmp_path / "back").values()) == sorted(tree(usual / "back").values())


def test_an_output_that_exists_is_refused_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "link")
    for name in ("new", "old"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(FileExistsError, match="File exists"):
        atomic.put_in_place(str(tmp_path / "new"), str(tmp_path / "old"), overwrite=False)
    atomic.put_in_place(str(tmp_path / "new"), str(tmp_path / "other"), overwrite=False)
    assert tree(tmp_path) == {"old": b"old", "other": b"new"}


def test_without_locks_nobody_removes_what_another_process_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / atomic.temporary_name("a.bin")
    left.write_bytes(b"half")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    atomic.remove_leftovers([str(tmp_path / "a.bin")])
    assert left.exists()
    monkeypatch.undo()
    monkeypatch.delattr(os, "O_NOFOLLOW")
    atomic.remove_leftovers([str(tmp_path / "a.bin")])
    assert not left.exists()


def test_a_large_file_without_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    pieces = FLUSH_BYTES // SMALL + 1
    with (tmp_path / "a.bin").open("wb") as file, WriteBehind(file) as written:
        for _ in range(pieces):
            written.write(bytes(SMALL))
    assert (tmp_path / "a.bin").stat().st_size == pieces * SMALL


def test_where_open_files_cannot_be_renamed_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = atomic.put_in_place

    def put_in_place(temporary: str, path: str, *, overwrite: bool) -> None:
        opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
        assert os.path.realpath(temporary) not in opened
        real(temporary, path, overwrite=overwrite)

    monkeypatch.setattr(outputs, "OPEN_CAN_BE_RENAMED", False)
    monkeypatch.setattr(atomic, "put_in_place", put_in_place)
    with create(str(tmp_path / "a.bin")) as file:
        file.write(b"whole")
    assert tree(tmp_path) == {"a.bin": b"whole"}


def test_memory_is_not_known_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEMINFO", "CGROUP", "CGROUPS"):
        monkeypatch.setattr(memory, name, str(tmp_path / "none"))
    assert memory.available() is None


def test_workers_start_where_nothing_tracks_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)

    def missing() -> None:
        raise ImportError("No module named '_posixsubprocess'")

    monkeypatch.setattr(resource_tracker, "ensure_running", missing)
    processes._quiet_tracker()  # noqa: SLF001
    assert dict(os.environ) == before


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Signals that come to this process."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_signal_that_waited_is_raised_again(hidden: bool, heard: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    if hidden:
        monkeypatch.delattr(signal, "pthread_kill")
    signals.send_to_main_thread(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    with atomic.undisturbed():
        assert atomic.put_off(signal.SIGTERM)
    assert heard == [signal.SIGTERM] * 2


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_a_run_that_lacks_all_of_it(jobs: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(400):
        write_image(tmp_path / "in" / f"{number}.png", gray(60, 60))
    environment = hide(tmp_path / "hidden", *HIDDEN)
    command = [sys.executable, "-m", "patchcli", "extract", "in", "-s", "4", "--stride", "1", "-d", "out", "-j", jobs]
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    while not any((tmp_path / "out").rglob("*.npz")):  # of which none is read, as they get their names just now
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == -signal.SIGTERM
    assert all(name.endswith(".npz") for name in tree(tmp_path / "out"))
