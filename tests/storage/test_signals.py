"""How a process ends by a signal, at whatever moment that comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LATE = "import os, signal, threading, time\nfrom tests.helpers.late import come_late\n"
ENDING = """
import os, signal, sys, time
from patchcli.storage import signals
signals.end_by_signals("SIGINT", "SIGTERM", "SIGHUP")
"""


def run_code(code: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of a Python program whose standard input never ends."""
    command = [sys.executable, "-c", code]
    running = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert running.stdin is not None
    running.stdin.write(given)
    try:
        running.wait(timeout=10)
    finally:
        running.kill()
        said, errors = running.communicate()
    return running.returncode, said, errors


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_just_before_a_system_call_ends_what_waits(name: str) -> None:
    late = "threading.Timer(0.1, come_late, [number]).start()\nos.read(0, 1)\nprint('read')"
    assert run_code(f"{LATE}{ENDING}number = signal.{name}\n{late}") == (-signal.Signals[name], b"", b"")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_just_before_a_read_of_standard_input_ends_a_command(name: str) -> None:
    late = f"""
import fcntl, termios
from patchcli.cli.main import main
def begin():
    while fcntl.ioctl(0, termios.FIONREAD, bytes(4)) != bytes(4):
        time.sleep(0.01)
    time.sleep(0.2)
    come_late(signal.{name})
threading.Thread(target=begin, daemon=True).start()
main(["info", "-"])
"""
    assert run_code(LATE + late, b"\x89PNG") == (-signal.Signals[name], b"", b"")


def test_a_signal_waits_for_outputs_that_get_their_names_however_often_it_comes() -> None:
    code = """
from patchcli.storage import atomic
with atomic.undisturbed():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(6 * signals.AGAIN)
    os.write(1, b"published")
os.write(1, b"went on")
"""
    assert run_code(ENDING + code) == (-signal.SIGTERM, b"published", b"")


def test_what_ends_a_process_is_done_once_however_often_a_signal_comes() -> None:
    code = """
def end():
    os.write(1, b"ended ")
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(6 * signals.AGAIN)
signals.at_end(signals.WORDS, end)
signals.at_end(signals.FILES, lambda: os.write(1, b"tidied"))
os.kill(os.getpid(), signal.SIGTERM)
os.write(1, b"went on")
"""
    assert run_code(ENDING + code) == (-signal.SIGTERM, b"ended tidied", b"")


def test_signals_of_others_come_once() -> None:
    code = """
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"usr1 "))
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"int "))
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(4 * signals.AGAIN)
"""
    assert run_code(ENDING + code) == (0, b"usr1 int ", b"")


def test_a_process_that_was_forked_ends_alone() -> None:
    code = """
signals.at_end(signals.FILES, lambda: os.write(1, b"tidied"))
child = os.fork()
if child == 0:
    os.write(1, b"forked ")
    os.read(0, 1)
    os._exit(0)
time.sleep(0.2)  # Python forgets signals that come as it forks
os.kill(child, signal.SIGTERM)
os.write(1, b"%d" % os.waitpid(child, 0)[1])
time.sleep(4 * signals.AGAIN)
"""
    assert run_code(ENDING + code) == (0, b"forked %d" % signal.SIGTERM, b"")


SHORT = {
    "descriptors": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))",
    "threads": "def refuse(*_): raise RuntimeError\nsignals._thread.start_new_thread = refuse",
    "memory": "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))",
}


@pytest.mark.parametrize("short", SHORT)
def test_where_something_is_short_a_signal_ends_a_process_as_well(short: str) -> None:
    code = f"""
import os, signal, threading
from patchcli.storage import signals
{SHORT[short]}
signals.end_by_signals("SIGTERM")
assert signal.set_wakeup_fd(-1) == -1
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert run_code(code) == (-signal.SIGTERM, b"", b"")


def test_a_thread_makes_no_more_files_once_they_are_removed(tmp_path: Path) -> None:
    """Tiles and images are written by several threads, which go on while the main one removes what is unfinished."""
    making = f"""
import threading
from patchcli.storage import atomic
def make():
    while True:
        os.close(atomic.make_temporary(os.path.join({str(tmp_path)!r}, atomic.temporary_name("a"))))
for _ in range(2):
    threading.Thread(target=make, daemon=True).start()
while len(os.listdir({str(tmp_path)!r})) < 500:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
"""
    assert run_code(ENDING + making) == (-signal.SIGTERM, b"", b"")
    assert list(tmp_path.iterdir()) == []
