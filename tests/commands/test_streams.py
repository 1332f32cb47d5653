"""Standard streams that are closed, full, gone or slow, and inputs that fail at any call: only they are lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchcli.batch.attempt import Work, attempt, attempt_all
from patchcli.jobs.task import Said, Task
from patchcli.storage import paths
from tests.helpers.runs import Run, gray, refused, write_image

PROGRAM = [sys.executable, "-m", "patchcli"]


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """A line in a real shell, in which $P is the program."""
    command = line.replace("$P", " ".join(PROGRAM))
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=False, timeout=60)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two good images and one that is none."""
    write_image(tmp_path / "a.png", gray())
    write_image(tmp_path / "b.png", gray(seed=1))
    (tmp_path / "bad.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>/proc/self/mem"])
@pytest.mark.parametrize("options", ["", "-j 2", "-v", "--progress"])
def test_standard_error_changes_nothing(mixed: Path, where: str, options: str) -> None:
    ran = shell(mixed, f"$P extract bad.png a.png b.png -s 8 -d o --report r.jsonl {options} {where}; echo $?")
    assert ran.stdout.splitlines()[-1] == b"1"
    assert sorted(path.name for path in (mixed / "o").iterdir()) == ["a.png.npz", "b.png.npz"]
    records = [json.loads(line) for line in (mixed / "r.jsonl").read_text().splitlines()]
    assert [one.get("status") for one in records] == ["failed", "done", "done", None]


def test_standard_error_whose_reader_is_gone_changes_nothing(mixed: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    call = [*PROGRAM, "extract", "bad.png", "a.png", "b.png", "-s", "8", "-d", "o"]
    ran = subprocess.run(call, cwd=mixed, stdout=subprocess.PIPE, stderr=writer, check=False, timeout=60)
    os.close(writer)
    assert (ran.returncode, len(list((mixed / "o").iterdir()))) == (1, 2)


# each with whether it writes to standard output; standard input, where it is read, holds an image
TABLE = {
    "extract a.png -s 8 -o o/x.npz": False,
    "merge a.npz -o o/x.png": False,
    "crop a.png --box 0 0 9 9 -o o/x.png": False,
    "extract a.png -s 8 -d o -v": False,
    "completion bash": True,
    "--help": True,
    "extract --help": True,
    "--version": True,
    "extract a.png -s 8 -d o -n": True,
    "extract a.png -s 8 -d o --report -": True,
    "extract a.png -s 8 -o -": True,
}
REASONS = {"closed": "bad file descriptor", "unfit": "bad file descriptor", "full": "no space left on device"}


def beside(number: int, state: str, folder: Path, call: str) -> tuple[int, bytes, bytes, dict[str, bytes]]:
    """Run a call with a standard stream in some state; exit code, what it said on the other two, and its outputs."""
    shutil.rmtree(folder / "o", ignore_errors=True)
    (folder / "o").mkdir()
    own: list[Any] = [subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE]
    opened: list[int] = []
    if state == "full":
        opened = [os.open("/dev/full", os.O_WRONLY)]
    elif state == "unfit":  # for its direction
        opened = [os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)]
    elif state in ("gone", "non-blocking"):
        opened = list(os.pipe())[:: -1 if number else 1]
        os.set_blocking(opened[0], state == "gone")
        if state == "gone":
            os.close(opened.pop())
    if opened:
        own[number] = opened[0]
    line = f'exec "$@" {number}{">" if number else "<"}&-' if state == "closed" else 'exec "$@"'
    command = ["sh", "-c", line, "sh", *PROGRAM, *call.split()]
    ran = subprocess.run(command, cwd=folder, stdin=own[0], stdout=own[1], stderr=own[2], check=False, timeout=60)
    for one in opened:
        os.close(one)
    return ran.returncode, ran.stdout or b"", ran.stderr or b"", {path.name: path.read_bytes() for path in folder.glob("o/*")}


TIME = re.compile(rb" \(\d+\.\d\d s, \d+ MB/s\)")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["closed", "full", "gone", "non-blocking", "unfit"])
def test_a_standard_stream_in_any_state_changes_nothing_else(tmp_path: Path, state: str) -> None:
    write_image(tmp_path / "a.png", gray())
    assert shell(tmp_path, "$P extract a.png -s 8 -o a.npz").returncode == 0
    for call, speaks in TABLE.items():
        _, out, said, outputs = beside(0, "fine", tmp_path, call)
        for number in range(3):
            got = beside(number, state, tmp_path, call)
            if number == 1 and speaks and state in REASONS:
                sentence = f"patchcli: standard output: cannot be written: {REASONS[state]}\n".encode()
                assert got[:3] == (3, b"", sentence), call
            elif number == 1 and speaks and state == "gone":
                assert got[:3] == (141, b"", b""), call
            else:
                same_out = number == 1 or "--report -" in call or got[1] == out  # which tells of seconds
                assert (got[0], same_out, TIME.sub(b"", got[2])) == (0, True, b"" if number == 2 else TIME.sub(b"", said)), (
                    call,
                    number,
                )
            assert got[3] == outputs, (call, number)


def test_python_itself_refuses_a_folder_as_a_standard_stream(mixed: Path) -> None:
    for number in range(3):
        ran = shell(mixed, f"$P extract a.png -s 8 -d o {number}<.")
        assert ran.returncode == 1
        assert not (mixed / "o").exists()


def test_a_slow_writer_of_a_pipe_that_does_not_block_is_waited_for(mixed: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    call = [*PROGRAM, "extract", "-", "-s", "8", "-o", "x.npz"]
    with subprocess.Popen(call, cwd=mixed, stdin=reader, stderr=subprocess.PIPE) as running:
        os.close(reader)
        data = (mixed / "a.png").read_bytes()
        for part in (data[:100], data[100:]):
            time.sleep(0.5)
            os.write(writer, part)
        os.close(writer)
        assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == 0
    assert len(np.load(mixed / "x.npz")["patches"]) == 12


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1"])
def test_an_output_that_does_not_fit_is_an_error(mixed: Path, unbuffered: str) -> None:
    write_image(mixed / "large.png", gray(200, 200))
    ran = shell(mixed, f"ulimit -f 20; {unbuffered} $P crop large.png --box 0 0 200 200 -o - > y.png")
    assert (ran.returncode, ran.stderr) == (3, b"patchcli: standard output: cannot be written: file too large\n")
    ran = shell(mixed, f"ulimit -f 20; {unbuffered} $P crop large.png --box 0 0 200 200 -o y.png --overwrite")
    said = b"patchcli: large.png: y.png: cannot be written: file too large\n"
    assert (ran.returncode, ran.stderr) == (1, said)  # of this output, not of the disk


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_all(tmp_path: Path, unbuffered: str) -> None:
    write_image(tmp_path / "a.png", gray(600, 700))
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, fcntl.fcntl(writer, fcntl.F_GETFL) | os.O_NONBLOCK)
    call = [*PROGRAM, "extract", "a.png", "-s", "8", "-o", "-"]
    variables = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(call, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, env=variables) as running:
        os.close(writer)
        time.sleep(1.5)
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        assert running.wait(30) == 0
    (tmp_path / "got.npz").write_bytes(data)
    assert np.load(tmp_path / "got.npz")["patches"].shape == (75 * 88, 8, 8)


def test_names_beyond_the_encoding_are_escaped(tmp_path: Path) -> None:
    write_image(tmp_path / "\u65e5\u672c.png", gray())
    ran = shell(tmp_path, "PYTHONIOENCODING=latin-1 $P extract *.png -s 8 -d o -n")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"\\u65e5\\u672c.png -> o/\\u65e5\\u672c.png.npz: ")


# -- one input's trouble -----------------------------------------------------------------------------------------------


def _faulty(task: Task, error: Any, _tick: Any) -> Said:
    if task.source == "bad":
        raise error
    return Said("done")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), "cannot be read: input/output error"),
        (OSError(errno.ESTALE, os.strerror(errno.ESTALE)), "cannot be read: stale file handle"),
        (MemoryError(), "needs more memory than there is"),
        (KeyError("x"), "met a fault of patchcli itself (KeyError: 'x'); --debug shows where, please report it"),
        (RecursionError(), "met a fault of patchcli itself (RecursionError); --debug shows where, please report it"),
    ],
)
def test_whatever_an_input_raises_is_its_own_failure(error: Exception, sentence: str) -> None:
    work = Work(_faulty, error, world=paths.world())
    outcomes = attempt_all(work, [Task(source=name, target=made) for name, made in (("bad", "a"), ("good", "b"), ("bad", "c"))])
    assert [one.fault for one in outcomes] == [sentence, None, sentence]
    assert not any(one.stop for one in outcomes)
    assert "_faulty" in outcomes[0].trace
    with pytest.raises(BrokenPipeError, match="gone"):
        attempt(Work(_faulty, BrokenPipeError("gone")), Task(source="bad", target="a"))


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs Linux's /proc")
def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(mixed: Path) -> None:
    ran = shell(mixed, "$P extract a.png -s 8 -o a.npz && $P merge /proc/self/mem a.npz -d o")
    assert ran.returncode == 1
    assert ran.stderr == b"patchcli: /proc/self/mem: cannot be read: invalid argument\n"
    assert [path.name for path in (mixed / "o").rglob("*.png")] == ["a.png"]
    ran = shell(mixed, "$P extract /proc/self/mem a.png -s 8 -d p")
    assert (ran.returncode, ran.stderr) == (1, b"patchcli: /proc/self/mem: cannot be read: input/output error\n")


@pytest.mark.parametrize("options", [[], ["-j", 2], ["-n"]])
def test_a_name_that_is_too_long_is_its_input_alone(mixed: Path, patchcli: Run, options: list[object]) -> None:
    name = f"{'x' * 249}.png"
    write_image(mixed / name, gray())
    ran = patchcli("extract", name, "a.png", "-s", 8, "-d", "o", *options)
    assert ran.returncode == 1
    assert ran.stderr.decode() == f"patchcli: {name}: o/{name}.npz: cannot be written: file name too long\n"
    assert [path.name for path in mixed.glob("o/*")] == ([] if "-n" in options else ["a.png.npz"])
    assert list(mixed.glob("o/.*")) == []


def test_no_folder_for_temporary_files_is_named(mixed: Path) -> None:
    line = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']; from patchcli.__main__ import main; main()"
    ran = shell(mixed, f'cat a.png | {sys.executable} -c "{line}" extract - -s 8 -o a.npz')
    assert ran.returncode == 3
    said = (
        "patchcli: standard input: needs a temporary file, and no folder for it can be written to; set TMPDIR to one that can\n"
    )
    assert ran.stderr.decode() == said


def test_many_crops_without_room_for_a_temporary_file(mixed: Path) -> None:
    write_image(mixed / "large.png", gray(300, 300))
    (mixed / "list.csv").write_text("input,x,y,width,height\n" + "large.png,0,0,300,300\n" * 800)  # 72 MB
    before = sorted(mixed.iterdir())
    ran = shell(mixed, "ulimit -f 60000; $P crop --boxes list.csv -o a.npz")
    assert ran.returncode == 3
    said = f"--boxes: cannot be kept in a temporary file in {tempfile.gettempdir()}: file too large; TMPDIR names another"
    assert ran.stderr.decode() == f"patchcli: {said}\n"
    assert sorted(mixed.iterdir()) == before


def test_few_crops_need_no_temporary_file(mixed: Path) -> None:
    (mixed / "list.csv").write_text("input,x,y,width,height\na.png,0,0,4,4\na.png,1,2,4,4\n")
    line = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']; from patchcli.__main__ import main; main()"
    ran = shell(mixed, f'{sys.executable} -c "{line}" crop --boxes list.csv -o a.npz')
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert np.load(mixed / "a.npz")["patches"].shape[:3] == (2, 4, 4)


# -- one file, several names -------------------------------------------------------------------------------------------


def test_a_second_name_of_an_input_is_never_written(mixed: Path, patchcli: Run) -> None:
    content = (mixed / "a.png").read_bytes()
    for name in ("hard.png", "hard.npz"):
        os.link(mixed / "a.png", mixed / name)
    (mixed / "list").write_text("a.png\n")
    os.link(mixed / "list", mixed / "list.jsonl")
    for call, sentence in (
        (["extract", "a.png", "-s", 8, "-o", "h.npz", "--report", "hard.png"], "hard.png: is the same file as the input a.png"),
        (["extract", "a.png", "-s", 8, "-o", "hard.npz"], "hard.npz: is the same file as the input a.png"),
        (["extract", "b.png", "-s", 8, "-o", "hard.npz", "--mask", "a.png"], "hard.npz: is the same file as the input a.png"),
        (["crop", "a.png", "--box", 0, 0, 4, 4, "-o", "hard.png"], "hard.png: is the same file as the input a.png"),
        (["extract", "--files-from", "list", "-s", 8, "-d", "o", "--report", "list.jsonl"], "is the same file as the input list"),
    ):
        refused(patchcli(*call, "--overwrite"), sentence)
        assert (mixed / "a.png").read_bytes() == content
    assert (mixed / "list").read_text() == "a.png\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_mount_is_no_second_file(mixed: Path, patchcli: Run) -> None:
    (mixed / "there").mkdir()
    if subprocess.run(["mount", "--bind", mixed, mixed / "there"], check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        call = ["crop", "a.png", "--box", 0, 0, 4, 4, "-o", "there/a.png", "--overwrite"]
        refused(patchcli(*call), "there/a.png: is the same file as the input a.png")
    finally:
        subprocess.run(["umount", mixed / "there"], check=True)


def test_two_names_of_one_output_are_refused(mixed: Path, patchcli: Run) -> None:
    (mixed / "o").mkdir()
    (mixed / "o/a.png.npz").write_bytes(b"old")
    os.link(mixed / "o/a.png.npz", mixed / "o/b.png.npz")
    said = "o/b.png.npz: is the same file as the output o/a.png.npz"
    refused(patchcli("extract", "a.png", "b.png", "-s", 8, "-d", "o", "--overwrite"), said)


def test_two_inputs_may_be_one_file(mixed: Path, patchcli: Run) -> None:
    os.link(mixed / "a.png", mixed / "c.png")
    assert patchcli("extract", "a.png", "c.png", "-s", 8, "-d", "o").returncode == 0
    said = "o/a.png.npz: two outputs have this name, because a.png was given 2 times; give it once"
    refused(patchcli("extract", "a.png", "./a.png", "-s", 8, "-d", "o", "--overwrite"), said)


# -- lists and folders -------------------------------------------------------------------------------------------------


def test_lists_with_a_byte_order_mark(mixed: Path, patchcli: Run) -> None:
    (mixed / "list").write_bytes(b"\xef\xbb\xbfa.png\nb.png\n")
    assert patchcli("extract", "--files-from", "list", "-s", 8, "-d", "o").returncode == 0
    (mixed / "list").write_text("a.png\n", encoding="utf-16")
    refused(patchcli("extract", "--files-from", "list", "-s", 8, "-d", "p"), "list: is UTF-16 text; convert it to names")


def test_deep_folders_are_searched_and_links_to_folders_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "in.png", gray())
    lines = (
        "mkdir in; ln -s .. in/up.png; cp in.png in/a.png",
        "mkdir -p in/$(printf 'd/%.0s' $(seq 1100))",
        "$P extract in -s 8 -d o; echo $?; ls o/in; rm -rf in",
    )
    ran = shell(tmp_path, "\n".join(lines))
    assert ran.stderr == b""
    assert ran.stdout == b"0\na.png.npz\n"


def test_a_link_that_leads_nowhere_is_its_input_alone(mixed: Path) -> None:
    lines = (
        "mkdir in; cp a.png b.png in; ln -s loop.png in/loop.png; ln -s loop in/loop; ln -s nowhere.png in/gone.png",
        "$P extract in -s 8 -d o --report r; echo $?; ls o/in",
    )
    ran = shell(mixed, "\n".join(lines))
    assert ran.stdout == b"1\na.png.npz\nb.png.npz\n"
    assert ran.stderr.splitlines()[:2] == [
        b"patchcli: in/gone.png: cannot be read: no such file or directory",
        b"patchcli: in/loop.png: cannot be read: too many levels of symbolic links",
    ]


def test_a_socket_is_no_input(mixed: Path, patchcli: Run) -> None:
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(mixed / "s.png"))
        refused(patchcli("extract", "s.png", "-s", 8, "-d", "o"), "s.png: is a socket; give a regular file", code=1)


# -- scarcity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descriptors", [8, 10, 12, 16, 20, 24, 32, 40])
def test_few_descriptors_are_enough_or_told(mixed: Path, descriptors: int) -> None:
    ran = shell(mixed, f"ulimit -n {descriptors}; $P extract a.png b.png -s 8 -d o -j 2")
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_no_shared_memory_is_told(mixed: Path) -> None:
    line = "mount -t tmpfs -o ro none /dev/shm && $P extract a.png b.png -s 8 -d o -j 2"
    ran = shell(mixed, f"unshare -m sh -c '{line}'")
    if b"unshare" in ran.stderr or b"mount" in ran.stderr:
        pytest.skip("this container may not mount")
    assert ran.stderr == b"patchcli: worker processes cannot be started: read-only file system; -j 1 needs none\n"
    assert ran.returncode == 3


# -- containers --------------------------------------------------------------------------------------------------------


def test_a_quota_of_cpu_time_counts() -> None:
    """With a real control group, where there is a place for one."""
    from patchcli.threads import usable_cpus

    if usable_cpus() < 2:
        pytest.skip("needs two CPUs")
    for root, limits in (
        (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "60000"}),
        (Path("/sys/fs/cgroup"), {"cpu.max": "60000 100000"}),
    ):
        group = root / f"patchcli-test-{os.getpid()}"
        try:
            group.mkdir()
            for name, value in limits.items():
                (group / name).write_text(value)
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        try:
            program = "from patchcli.threads import usable_cpus; print(usable_cpus())"
            line = f"echo $$ > {group}/cgroup.procs && exec {sys.executable} -c '{program}'"
            ran = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=60)
        finally:
            group.rmdir()
        assert (ran.stdout, ran.stderr) == (b"1\n", b"")
        return
    pytest.skip("this machine lets nobody make control groups")
