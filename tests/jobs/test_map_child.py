"""Commands as functions of a map, each a real process: what they answer, how they fail, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError, UsageError
from patchcli.jobs import map_child
from patchcli.jobs.map_child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
BEGIN = """
import io, os, signal, sys, time
import numpy as np
source, out = sys.stdin.buffer, sys.stdout.buffer
def take():
    if not source.peek(1):
        return None
    assert np.lib.format.read_magic(source) == (1, 0)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(source)
    assert not fortran
    return np.frombuffer(source.read(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)
def give(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    out.write(file.getbuffer())
    out.flush()
"""


def program(code: str) -> str:
    """A command that runs Python code, behind what reads and writes arrays."""
    return shlex.join([sys.executable, "-c", BEGIN + textwrap.dedent(code)])


def answering(expression: str) -> str:
    """A command that answers each batch with an expression of it."""
    return program(f"while (batch := take()) is not None:\n    give({expression})")


def sending(data: bytes, then: str = "") -> str:
    """A command that reads one batch and sends bytes."""
    return program(f"take()\nout.write({data!r})\nout.flush()\n{then}")


def record(shape: str, descr: str = "|u1", version: bytes = b"\1\0", end: str = "\n") -> bytes:
    """The beginning of an array, whatever it says."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}{end}".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text


LONG = f"4321.{os.getpid()}"  # seconds of sleeping, by which it is found among all processes
OTHER = f"stubborn-{os.getpid()}"
TORN = record("(4, 3, 2)") + bytes(17)
GIANT = f"(4, {10**19}, 1)"


def processes() -> set[int]:
    """All that this process started and that it still has, zombies too."""
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in found.splitlines()]
    return {pid for pid, parent in rows if parent == os.getpid() and os.path.exists(f"/proc/{pid}")}


def runs(mark: str) -> bool:
    """Whether a process is there, and no zombie, that has a mark among its arguments."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
            if mark.encode() in file.read().split(b"\0"):
                return True
    return False


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd")), processes()
    yield
    assert (set(os.listdir("/proc/self/fd")), processes()) == before
    assert not map_child._LIVE  # noqa: SLF001


def failing(command: str, batches: int = 3) -> tuple[str, list[str], float]:
    """What is said of a command that cannot be used, what it said itself, and how many seconds it took."""
    said: list[str] = []
    begun = time.monotonic()
    with pytest.raises(PatchcliError, match="the command ") as caught, Child(command, said.append) as child:
        for _ in range(batches):
            child(BATCH)
    return str(caught.value).partition("' ")[2] or str(caught.value), said, time.monotonic() - begun


def identity(batches: int = 2) -> None:
    with Child("cat", print) as child:
        for _ in range(batches):
            assert np.array_equal(child(BATCH), BATCH)


# what is right


@settings(max_examples=60)
@given(
    st.sampled_from(["?", "u1", "i1", "<u2", ">u2", "i4", "u8", "<f2", ">f4", "f8"]),
    st.lists(st.integers(1, 9), min_size=3, max_size=4),
    st.sampled_from(["C", "F"]),
    st.booleans(),
)
def test_cat_is_the_identity(dtype: str, shape: list[int], order: Any, every_other: bool) -> None:
    batch = np.random.default_rng(0).integers(0, 200, shape).astype(dtype, order=order)
    batch = batch[:, ::2] if every_other else batch
    with Child("cat", print) as child:
        for given in (batch, batch[:1], batch):
            got = child(given)
            assert got.dtype == given.dtype.newbyteorder("=")
            assert np.array_equal(got, given)


def test_batches_larger_than_all_pipes_together() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (40, 400, 500), dtype=np.uint8)
    with Child("cat", print) as child:
        for given in (batch, batch[:7], batch):
            assert np.array_equal(child(given), given)


def test_the_batch_is_sent_as_numpy_writes_it(tmp_path: Path) -> None:
    kept = tmp_path / "sent"
    with Child(f"tee {shlex.quote(str(kept))}", print) as child:
        child(BATCH)
        child(BATCH[1:].astype("<f4"))
    expected = io.BytesIO()
    np.lib.format.write_array(expected, BATCH, version=(1, 0))
    np.lib.format.write_array(expected, BATCH[1:].astype("<f4"), version=(1, 0))
    assert kept.read_bytes() == expected.getvalue()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("np.asfortranarray(batch)", BATCH),
        ("batch.astype('>f4') / 2", (BATCH / 2).astype("f4")),
        ("np.asfortranarray(batch.astype('>i8'))", BATCH.astype("i8")),
        ("batch[:, ::2, ::2, None].repeat(3, 3)", BATCH[:, ::2, ::2, None].repeat(3, 3)),
        ("batch.mean((1, 2))", BATCH.mean((1, 2))),
        ("batch[:, :0]", BATCH[:, :0]),
        ("batch > 7", BATCH > 7),
    ],
)
def test_answers_of_other_orders_dtypes_and_shapes(expression: str, expected: NDArray[Any]) -> None:
    with Child(answering(expression), print) as child:
        for _ in range(2):
            got = child(BATCH)
            assert got.dtype == expected.dtype
            assert got.dtype.isnative
            assert np.array_equal(got, expected)
            got[...] = 1  # the caller's own


@pytest.mark.parametrize("data", [record("(4, 1, 2,)"), record("(4, 1, 2)", end=""), record("(4, 1, 2)", version=b"\2\0")])
def test_headers_of_other_writers(data: bytes) -> None:
    with Child(sending(data + bytes(range(8))), print) as child:
        assert np.array_equal(child(BATCH), np.arange(8).reshape(4, 1, 2))


def test_an_answer_in_drips() -> None:
    drips = """
    while (batch := take()) is not None:
        file = io.BytesIO()
        np.save(file, batch)
        for byte in file.getvalue():
            os.write(1, bytes([byte]))
    """
    with Child(program(drips), print) as child:
        assert np.array_equal(child(BATCH), BATCH)


def test_an_answer_before_the_batch_was_read() -> None:
    early = """
    for _ in range(2):
        np.lib.format.read_magic(source)
        shape, _, dtype = np.lib.format.read_array_header_1_0(source)
        give(np.ones(shape, dtype))
        time.sleep(0.05)
        left = int(np.prod(shape))
        while left:
            left -= len(source.read(min(left, 100_000)))
    """
    batch = np.zeros((9, 1000, 1000), np.uint8)
    with Child(program(early), print) as child:
        for _ in range(2):
            assert child(batch).all()


def test_much_on_standard_error_stops_nobody() -> None:
    loud = """
    while (batch := take()) is not None:
        sys.stderr.write("word " * 7 + "\\n" * 2)
        sys.stderr.write(("x" * 99 + "\\n") * 20_000)
        sys.stderr.flush()
        give(batch)
    """
    said: list[str] = []
    with Child(program(loud), said.append) as child:
        for _ in range(2):
            assert np.array_equal(child(BATCH), BATCH)
    assert said == ["word " * 7, "", *["x" * 99] * 20_000] * 2


def test_what_it_says_is_passed_on_in_safe_lines() -> None:
    saying = r"""
    while (batch := take()) is not None:
        os.write(2, b"one\ntw")
        give(batch)
    os.write(2, b"o\r\nred \033[31m, \xff, \xc3\xa9\n" + b"a" * 20000 + b"b" * 200 + b"\nlast")
    """
    said: list[str] = []
    with Child(program(saying), said.append) as child:
        child(BATCH)
    assert said[:3] == ["one", "two", "red \\x1b[31m, \\xff, \u00e9"]
    assert len(said[3]) <= 300
    assert said[3].startswith("a" * 150)
    assert said[3].endswith(" ... " + "b" * 100)
    assert said[4:] == ["last"]


def test_no_batch_at_all_and_closing_twice() -> None:
    child = Child("cat", print)
    child.close()
    child.close()
    with Child("cat", print) as child:
        pass


def test_words_are_a_shells_and_nothing_is_expanded() -> None:
    assert map_child.words_of("""sh -c 'a | b' "c d" e\\ f $HOME *""") == ["sh", "-c", "a | b", "c d", "e f", "$HOME", "*"]


# what is wrong


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "the command is empty"),
        ("   ", "the command is empty"),
        ("'' a", "the command is empty"),
        ("cat 'a", "has a quote or a backslash without an end"),
        ("no-such-program-at-all x", "the command 'no-such-program-at-all x' names no program that can be run"),
        ("/etc/passwd", "names no program that can be run"),
        ("/", "names no program that can be run"),
        ("cat \0", "names no program that can be run"),
    ],
)
def test_what_is_no_command(command: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Child(command, print)


def test_a_system_without_groups_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(UsageError, match="needs Linux, macOS or another Unix"):
        Child("cat", print)


def test_pipes_that_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refusing(_pipe: int, _what: int, size: int) -> int:
        asked.append(size)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(fcntl, "fcntl", refusing)
    identity()
    assert asked == [1 << 20, 1 << 19, 1 << 18, 1 << 17] * 2
    monkeypatch.delattr(fcntl, "F_SETPIPE_SZ")
    identity()


def test_a_program_that_the_system_refuses(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter is named")
    script.chmod(0o755)
    with pytest.raises(PatchcliError, match=r"script' cannot be started: exec format error"):
        Child(str(script), print)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("true", "ended with exit status 0 after 0 batches"),
        ("sh -c 'exit 3'", "ended with exit status 3 after 0 batches"),
        (program("give(take()); sys.exit(3)"), "ended with exit status 3 after 1 batch"),
        (program("give(take()); give(take()); give(take()); sys.exit(3)"), "ended with exit status 3 after its last record"),
        (
            program("give(take()); give(take()); give(take()); os.kill(os.getpid(), 9)"),
            "was killed by SIGKILL, most often for lack of memory, after its last record",
        ),
        (program("give(take()); give(take()); os.kill(os.getpid(), signal.SIGSEGV)"), "was killed by SIGSEGV after 2 batches"),
        (program("os.kill(os.getpid(), signal.SIGRTMIN + 1)"), f"was killed by signal {signal.SIGRTMIN + 1} after 0 batches"),
        (program("take(); os.close(1); time.sleep(60)"), "closed its standard output after 0 batches"),
        (sending(TORN), f"ended with exit status 0 after 0 batches and {len(TORN)} bytes of the next record"),
        (sending(b"\x93NUM"), "ended with exit status 0 after 0 batches and 4 bytes of the next record"),
        (
            sending(record("(4, 3)") + bytes(12 + 17), "give(take()); give(take())"),
            "sent more than 1 record; one is expected for each batch",
        ),
        (
            program("a = take(); give(a); b = take(); give(b); give(take()); out.write(b'x' * 17)"),
            "sent 17 bytes behind its last record; one is",
        ),
        (sending(b"hi\n", "time.sleep(60)"), r"sent no .npy record but b'hi\n'; one record is expected for each batch"),
        (sending(b"x" * 999, "time.sleep(60)"), f"sent no .npy record but b'{'x' * 40}' ...; one record"),
        ("yes", "sent no .npy record but b'y\\ny\\n"),
        (
            sending(b"\x93NUMPY\3\0" + bytes(60)),
            "sent a record that has no .npy header of version 1.0 or 2.0 and at most 4096 bytes",
        ),
        (sending(b"\x93NUMPY\2\0\0\0\0\x7f", "time.sleep(60)"), "sent a record that has no .npy header of version 1.0"),
        (sending(record("(4, -3)")), "sent a record that has a .npy header that does not describe a plain array of real numbers"),
        (sending(record("(4, 3)", "<c8")), "sent a record that has a .npy header that does not describe a plain array"),
        (answering("batch.astype(object)"), "sent a record that has a .npy header that does not describe a plain array"),
        (sending(record("(4, 3)", "<U1")), "gave has dtype <U1; allowed are bool"),
        (sending(record("(4, 3)", "<f16")), "gave has dtype float128; allowed are bool"),
        (sending(record("(4, 3)", "<u3")), "has the unknown dtype <u3"),
        (answering("batch[:3]"), "gave 3 patches for 4; one is expected for each"),
        (answering("batch[0, 0]"), "gave 5 patches for 4; one is expected for each"),
        (answering("np.array(4)"), "gave a single number for 4; one is expected for each"),
        (
            sending(record(GIANT), "time.sleep(60)"),
            f"gave shape {GIANT} of uint8 for (4, 6, 5) of uint8, over 4096 times as much",
        ),
        (sending(record(f"(4, {10**19}, 0)"), "time.sleep(60)"), "over 4096 times as much"),
        (sending(record("(4, 5000000)"), "time.sleep(60)"), "over 4096 times as much"),
    ],
)
def test_what_goes_wrong_is_one_sentence_in_bounded_time(command: str, sentence: str) -> None:
    said, own, seconds = failing(command)
    assert sentence in said
    assert said.isprintable()
    assert own == []
    assert seconds < 5


def test_what_comes_before_the_first_batch() -> None:
    for command, sentence in (
        (program("give(np.zeros(3)); take()"), "sent more than 0 records; one is expected for each batch"),
        (program("print('hello', flush=True); take()"), r"sent no .npy record but b'hello\\n'; one record"),
    ):
        with pytest.raises(PatchcliError, match=sentence), Child(command, print) as child:
            _until(lambda: bool(child._selector.select(0)))  # noqa: SLF001
            child(BATCH)


def test_death_while_a_large_batch_is_written() -> None:
    said: list[str] = []
    with (
        pytest.raises(PatchcliError, match=r"^the command '.*' ended with exit status 1 after 0 batches$"),
        Child(program("os.read(0, 4096); sys.exit('no such weights')"), said.append) as child,
    ):
        child(np.zeros((50, 400, 500), np.uint8))
    assert said == ["no such weights"]


def test_a_traceback_comes_before_the_error() -> None:
    fault, said, _ = failing(answering("batch.no_such_thing"))
    assert fault == "ended with exit status 1 after 0 batches"
    assert said[0].startswith("Traceback")
    assert said[-1].startswith("AttributeError")


def test_input_that_is_closed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.zeros((9, 1000, 1000), np.uint8)
    answers = program("give(np.zeros((9, 2))); os.close(0); time.sleep(60)")
    with (
        pytest.raises(PatchcliError, match=r"closed its standard input before it had read all of a batch$"),
        Child(answers, print) as child,
    ):
        child(large)
    monkeypatch.setattr(map_child, "LEAVING_SECONDS", 0.3)
    silent = program("os.close(0); time.sleep(60)")
    with (
        pytest.raises(PatchcliError, match=r"all of a batch, and then gave no whole answer within 0\.3 s"),
        Child(silent, print) as child,
    ):
        child(large)


def test_too_much_while_a_batch_is_written() -> None:
    doubled = program("give(np.zeros((9, 2))); out.write(bytes(9_000_000))")
    with pytest.raises(PatchcliError, match="sent more than 1 record; one is expected"), Child(doubled, print) as child:
        child(np.zeros((9, 1000, 1000), np.uint8))


@pytest.mark.parametrize("ignoring", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_one_that_does_not_end(monkeypatch: pytest.MonkeyPatch, ignoring: str) -> None:
    monkeypatch.setattr(map_child, "LEAVING_SECONDS", 0.4)
    monkeypatch.setattr(map_child, "TERM_SECONDS", 0.4)
    said, own, seconds = failing(
        program(f"{ignoring}give(take()); sys.stderr.write('done'); sys.stderr.flush(); time.sleep(60)"), 1
    )
    assert said == "did not end within 0.4 s of the end of its input; it was killed"
    assert own == ["done"]
    assert 0.4 < seconds < (2.5 if ignoring else 0.75)


@pytest.mark.slow
def test_one_that_does_not_end_has_ten_seconds() -> None:
    said, _, seconds = failing(program("signal.signal(signal.SIGTERM, signal.SIG_IGN); give(take()); time.sleep(60)"), 1)
    assert said == "did not end within 10 s of the end of its input; it was killed"
    assert 12 <= seconds < 13.5
    with Child(program("give(take()); time.sleep(8)"), print) as child:
        child(BATCH)


def test_output_without_end_behind_the_last_record() -> None:
    said, _, seconds = failing(program("give(take())\nwhile True: out.write(bytes(1 << 20))"), 1)
    assert said.startswith("sent at least ")
    assert "bytes behind its last record" in said
    assert seconds < 3


# what is left


def test_what_it_started_ends_with_it() -> None:
    with pytest.raises(KeyError, match="ours"), Child(f"sh -c 'sleep {LONG} & cat'", print) as child:
        child(BATCH)
        _until(lambda: runs(LONG))
        raise KeyError("ours")
    assert not runs(LONG)


def test_a_pipeline_is_a_function_and_ends_whole() -> None:
    with Child("sh -c 'cat | cat'", print) as child:
        assert np.array_equal(child(BATCH), BATCH)
    with (
        pytest.raises(PatchcliError, match="ended with exit status 0 after 0 batches"),
        Child("sh -c 'cat & wait'", print) as child,
    ):
        child(BATCH)  # a shell gives what is behind & no input


def test_a_leader_that_dies_before_what_holds_its_pipes() -> None:
    said, _, seconds = failing(f"sh -c 'sleep {LONG} & exit 3'")
    assert said == "ended with exit status 3 after 0 batches"
    assert seconds < 4
    assert not runs(LONG)


def test_one_that_ends_well_but_leaves_others() -> None:
    with Child(f"sh -c 'sleep {LONG} & cat'", print) as child:
        child(BATCH)
    assert not runs(LONG)


def test_many_one_after_the_other() -> None:
    for _ in range(30):
        identity()


OURS = """
import sys, time
import numpy as np
from patchcli.jobs.map_child import Child
from patchcli.storage import signals
signals.end_by_signals("SIGINT", "SIGTERM", "SIGHUP")
with Child(sys.argv[1], print) as child:
    child(np.zeros((2, 3, 4)))
    print("ready", flush=True)
    child(np.zeros((2, 3, 4)))
"""
STUBBORN = f"""
import time
give(take())
take()
if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.system("sleep {LONG}")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignoring", ["", " ignoring"])
def test_our_signals_end_it(number: int, ignoring: str) -> None:
    command = f"{program(STUBBORN)} {OTHER}{ignoring}"
    ours = subprocess.Popen([sys.executable, "-c", OURS, command], stdout=subprocess.PIPE)
    assert ours.stdout
    assert ours.stdout.readline() == b"ready\n"
    _until(lambda: runs(LONG))
    begun = time.monotonic()
    ours.send_signal(number)
    assert ours.wait(10) == -number
    ours.stdout.close()
    assert time.monotonic() - begun < 1
    assert not runs(LONG)
    assert not runs(OTHER)


def test_our_death_is_the_end_of_its_input() -> None:
    ours = subprocess.Popen(
        [sys.executable, "-c", OURS, f"{program(STUBBORN.replace(f'sleep {LONG}', 'cat'))} {OTHER}"], stdout=subprocess.PIPE
    )
    assert ours.stdout
    assert ours.stdout.readline() == b"ready\n"
    ours.kill()
    ours.wait()
    ours.stdout.close()
    _until(lambda: not runs(OTHER))


OF_WORKERS = """
import sys, time
import numpy as np
from patchcli.batch.attempt import Work
from patchcli.batch.processes import Processes
from patchcli.jobs.map_child import Child
from patchcli.jobs.task import Task
from patchcli.storage import signals
def job(task, command, tick):
    with Child(command, print) as child:
        child(np.zeros((2, 3, 4)))
        open(task.target, "w").close()
        child(np.zeros((2, 3, 4)))
if __name__ == "__main__":
    signals.end_by_signals("SIGINT", "SIGTERM", "SIGHUP")
    with Processes(2, Work(job, sys.argv[1])) as workers:
        for future in [workers.submit([Task(source="in", target=name)]) for name in sys.argv[2:]]:
            workers.outcomes(future)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_those_of_workers_end_with_the_run(number: int, tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(OF_WORKERS)
    command = f"{program(STUBBORN)} {OTHER} ignoring"
    ours = subprocess.Popen([sys.executable, "ours.py", command, "a", "b"], cwd=tmp_path)
    _until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    _until(lambda: runs(LONG))
    ours.send_signal(number)
    assert ours.wait(10) == -number
    _until(lambda: not runs(LONG) and not runs(OTHER))


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)
