"""A program that is broken off, or whose call fails, at one chosen call on files below a folder; see `breaking.c`."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE = Path(__file__).with_suffix(".c")
PROGRAM = [sys.executable, "-P", "-m", "patchcli"]  # -P: Python itself looks for no module in the folder of a run
SECONDS = 30  # after which a run counts as one that hangs
CALLS = [
    *("create", "write", "copy", "fsync", "syncfs", "rename", "link", "unlink", "close", "mkdir", "truncate", "allocate"),
    *("lock", "mode", "times", "open", "read", "seek", "stat", "list", "advise", "dup", "link to"),
]
WRITING = CALLS[: CALLS.index("open")]  # after which an output is another than before
FAIL_ONCE, FAIL_ON, KILL_ONE, KILL_ALL = range(4)


class _Row(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 16), ("seen", ctypes.c_int32))


class _Page(ctypes.Structure):
    _fields_ = (
        ("root", ctypes.c_char * 4096),
        ("broken", ctypes.c_char * 4096),
        ("chosen", ctypes.c_int32),
        ("place", ctypes.c_int32),
        ("manner", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("rows", _Row * 40),
    )


class Point(NamedTuple):
    """Where a run is broken, and how.

    Attributes:
        call: kind of call, one of `CALLS`.
        place: which of the calls of this kind; 1 is the first.
        manner: `FAIL_ONCE`, `FAIL_ON` (it and all after it), `KILL_ONE` (the process that calls), `KILL_ALL` (all of the run).
        error: number of the error with which it fails.
    """

    call: str
    place: int
    manner: int
    error: int = 0

    def __str__(self) -> str:
        how = f"fails with {os.strerror(self.error)}" if self.error else "kills"
        to_whom = ("once", "from then on", "the process", "the run")[self.manner]
        return f"{self.call} {self.place} {how} {to_whom}"


class Ran(NamedTuple):
    """What became of a run.

    Attributes:
        code: its exit code; None where it hung and was killed.
        said: its standard error.
        out: its standard output.
        seen: how often each kind of call was made.
        reached: whether it came to the point; True where none was given.
        file: the file of the call that was broken.
    """

    code: int | None
    said: str
    out: bytes
    seen: dict[str, int]
    reached: bool
    file: str


def compiler() -> list[str] | None:
    """A C compiler: the system's, or the one that comes as a package; None where there is neither."""
    if shutil.which("cc"):
        return ["cc"]
    return [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else None


def missing() -> str | None:
    """What is missing here to break programs off; None where nothing is."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or platform.libc_ver()[0] != "glibc":
        return "only for 64-bit Linux with glibc"
    return None if compiler() else "no C compiler: neither cc nor the package ziglang is installed"


@functools.cache
def library() -> str:
    """The compiled `breaking.c`; built once in a process, and gone with it."""
    folder = tempfile.TemporaryDirectory(prefix="breaking-")
    built = os.path.join(folder.name, "breaking.so")
    subprocess.run([*(compiler() or []), "-shared", "-fPIC", "-O2", "-o", built, str(SOURCE)], check=True)
    _KEPT.append(folder)
    return built


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def limited(arguments: Sequence[str], folder: Path, limit: str, value: int) -> Ran:
    """Run the program in ``folder`` within a limit of the shell's ``ulimit``, such as ``-n``."""
    line = 'ulimit "$0" "$1" && shift && exec "$@"'
    return _ended(["bash", "-c", line, limit, str(value), *PROGRAM, *arguments], folder, _plain(), None)


def _plain() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PATCHCLI_")}
    return plain | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(SOURCE.parents[2])}


def run(arguments: Sequence[str], folder: Path, root: Path | None = None, point: Point | None = None) -> Ran:
    """Run the program in ``folder``; with ``root`` its calls on files below that are counted, and broken at ``point``."""
    command = [*PROGRAM, *arguments]
    variables = _plain()
    if root is None:
        return _ended(command, folder, variables, None)
    page = _Page(root=os.fsencode(os.path.realpath(root)), chosen=-1)
    for row, call in zip(page.rows, CALLS, strict=False):
        row.name = call.encode()
    if point is not None:
        page.chosen, page.place, page.manner, page.error = CALLS.index(point.call), *point[1:]
    with tempfile.NamedTemporaryFile(prefix="breaking-") as file:
        file.write(bytes(page))
        file.flush()
        ran = _ended(command, folder, variables | {"BREAKING": file.name, "LD_PRELOAD": library()}, file.name)
    return ran if point is None else ran._replace(reached=ran.seen[point.call] >= point.place)


def _ended(command: list[str], folder: Path, variables: dict[str, str], page: str | None) -> Ran:
    running = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    code: int | None
    try:
        out, said = running.communicate(timeout=SECONDS)
        code = running.returncode
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, 9)
        out, said = running.communicate()
        code = None
    seen, file = {}, ""
    if page is not None:
        read = _Page.from_buffer_copy(Path(page).read_bytes())
        seen = {row.name.decode(): row.seen for row in read.rows if row.name}
        file = os.fsdecode(read.broken)
    return Ran(code, said.decode(errors="replace"), out, seen, reached=True, file=file)
