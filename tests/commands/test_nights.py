"""What a job that runs every night meets: its own outputs, its own report, a log that is rotated, another locale."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchcli.batch.report import Report
from patchcli.errors import OutputError, UsageError
from patchcli.storage.files import stamp_of
from patchcli.storage.provenance import Recipe, Records
from tests.helpers.runs import Run, gray, refused, write_image


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_image(tmp_path / f"in/{number}.png", gray(seed=number))
    return tmp_path


# -- outputs between inputs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--box", 0, 0, 8, 8, "-o", "{parent}/crops/{name}"),
        ("--box", 0, 0, 8, 8, "-o", "{parent}/{stem}.crop.png"),
        ("--box", 0, 0, 8, 8, "-d", "in/../in/crops"),
        ("--boxes", "list", "-o", "{parent}/crops/{name}"),
    ],
)
def test_outputs_of_the_run_are_no_inputs_of_the_next(photographs: Path, patchcli: Run, options: tuple[object, ...]) -> None:
    (photographs / "list").write_text("x,y,w,h\n0,0,8,8\n")
    call = ("crop", "in", *options, "--resume", "-v")
    first, second = patchcli(*call), patchcli(*call)
    assert first.stderr.count(b" of width=8") + first.stderr.count(b"1 of 1 crop") == 3
    assert second.returncode == 0
    assert second.stderr.count(b"is up to date") == 3
    if "-d" not in options:  # the folder of -d is not searched in any case
        assert b"3 files of folders passed over: 3 outputs of this run\n" in second.stderr
    assert patchcli(*call[:-2]).returncode == 2  # without --resume they are in the way


def test_an_output_that_is_named_is_an_input(photographs: Path, patchcli: Run) -> None:
    (photographs / "in/crops").mkdir()
    write_image(photographs / "in/crops/0.png", gray())
    call = ["crop", "in/0.png", "in/crops/0.png", "--box", 0, 0, 8, 8, "-o", "{parent}/crops/{name}", "--overwrite"]
    refused(patchcli(*call), "in/crops/0.png: is an input too")


def test_an_output_of_what_is_left_out_is_an_input(photographs: Path, patchcli: Run) -> None:
    for folder in ("in/crops", "in/crops/crops"):
        (photographs / folder).mkdir()
        write_image(photographs / folder / "0.png", gray())
    done = patchcli("crop", "in", "--box", 0, 0, 8, 8, "-o", "{parent}/crops/{name}", "--overwrite", "-v")
    assert (done.returncode, done.stderr.count(b" -> ")) == (0, 4)
    assert b"in/crops/crops/0.png -> in/crops/crops/crops/0.png: " in done.stderr


@pytest.mark.parametrize("options", [("--box", 0, 0, 8, 8), ("--boxes", "list")])
def test_outputs_of_inputs_that_are_gone_are_no_inputs(photographs: Path, patchcli: Run, options: tuple[object, ...]) -> None:
    (photographs / "list").write_text("x,y,w,h\n0,0,8,8\n")
    call = ("crop", "in", *options, "-o", "{parent}/crops/{name}", "--resume", "-v")
    patchcli(*call)
    (photographs / "in/1.png").unlink()
    for _ in range(2):
        done = patchcli(*call)
        assert (done.returncode, done.stderr.count(b"is up to date")) == (0, 2)
        assert b"3 files of folders passed over: 3 outputs of this run\n" in done.stderr
    assert sorted(path.name for path in (photographs / "in/crops").iterdir()) == ["0.png", "1.png", "2.png"]
    other = patchcli("crop", "in/crops", "--box", 0, 0, 4, 4, "-o", "{parent}/{stem}.small.png", "--resume")
    assert other.returncode == 0  # another step of the work
    assert len(list((photographs / "in/crops").glob("*.small.png"))) == 3
    for number in (0, 2):
        (photographs / f"in/{number}.png").unlink()
    shutil.rmtree(photographs / "in/crops/crops", ignore_errors=True)
    for path in (photographs / "in/crops").glob("*.small.png"):
        path.unlink()
    refused(patchcli(*call[:-1]), "in/crops: holds nothing but outputs of this run", code=1)


# -- reports -----------------------------------------------------------------------------------------------------------


def test_a_report_that_is_being_written_is_refused(photographs: Path, patchcli: Run) -> None:
    call = ("extract", "in", "-s", 8, "--report", "r", "--overwrite", "-d")
    assert patchcli(*call, "a").returncode == 0
    before = (photographs / "r").read_bytes()
    with (photographs / "r").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(patchcli(*call, "b"), "r: is being written by another run; give each its own --report")
    assert (photographs / "r").read_bytes() == before
    assert not (photographs / "b").exists()
    assert patchcli(*call, "b").returncode == 0


def test_two_runs_with_one_report(tmp_path: Path) -> None:
    for number in range(200):
        write_image(tmp_path / f"{number:03}.png", gray(seed=number))
    call = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "8", "--report", "r", "--overwrite", "-d"]
    running = [subprocess.Popen([*call, out], cwd=tmp_path, stderr=subprocess.PIPE) for out in ("a", "b")]
    ended = sorted((one.communicate(timeout=60)[1], one.returncode)[::-1] for one in running)
    records = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert len(records) == 201
    assert records[-1]["summary"]["inputs"] == 200
    if ended[1][0]:  # or the second began when the first had ended
        assert ended[1] == (2, b"patchcli: r: is being written by another run; give each its own --report\n")


def test_a_report_that_came_to_exist_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"of another")
    with (
        pytest.raises(UsageError, match=r"r: already exists; use --overwrite to replace it"),
        Report(str(path), 1, overwrite=False),
    ):
        pass
    assert path.read_bytes() == b"of another"
    with Report(str(path), 1, overwrite=True) as report:
        report.add("a", "b", [])
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("way", ["renamed", "truncated"])
def test_a_report_survives_being_rotated(tmp_path: Path, way: str) -> None:
    """As logrotate does it, with ``create`` and with ``copytruncate``: all lines are in one of the two files."""
    now, old = tmp_path / "r", tmp_path / "r.1"
    with Report(str(now), 4) as report:
        for number in range(4):
            report.add(str(number), "out", [])
            if number == 1 and way == "renamed":
                now.rename(old)
                now.touch()
            elif number == 1:
                shutil.copyfile(now, old)
                os.truncate(now, 0)
    lines = [json.loads(line) for path in (old, now) for line in path.read_text().splitlines()]
    assert [line.get("input") for line in lines] == ["0", "1", "2", "3", None]
    assert b"\0" not in now.read_bytes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_report_that_is_full_ends_with_a_whole_line(photographs: Path) -> None:
    lines = (
        "mount -t tmpfs -o size=4096 none full && for i in 1 2 3; do $P extract in -s 8 -d o$i --report full/r$i; echo $?; done"
    )
    ran = _in_namespace(photographs, f"mkdir full; {lines}; cat full/r*")
    if b"mount" in ran.stderr:
        pytest.skip("this container may not mount")
    codes, records = ran.stdout.split()[:3], ran.stdout.splitlines()[3:]
    assert codes[-1] == b"3"
    assert ran.stderr.splitlines()[-1] == b"patchcli: full/r3: cannot be written: no space left on device"
    assert all(json.loads(line) for line in records)


def _in_namespace(folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell that may mount without anybody else seeing it; $P is the program."""
    command = ["unshare", "-m", "sh", "-c", line.replace("$P", f"{sys.executable} -m patchcli")]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)


def test_a_line_of_a_report_is_written_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from patchcli.batch import report as module

    def half(number: int, line: bytes) -> None:
        os.write(number, line[: len(line) // 2])
        raise OSError(28, os.strerror(28))

    with (
        pytest.raises(OutputError, match="r: cannot be written: no space left on device"),
        Report(str(tmp_path / "r"), 2) as report,
    ):
        report.add("a", "b", [])
        monkeypatch.setattr(module, "write_all", half)
        report.add("c", "d", [])
    assert [json.loads(line)["input"] for line in (tmp_path / "r").read_text().splitlines()] == ["a"]


def test_a_report_may_be_a_pipe(photographs: Path) -> None:
    os.mkfifo(photographs / "fifo")
    call = [sys.executable, "-m", "patchcli", "extract", "in", "-s", "8", "-d", "o", "--report", "fifo"]
    with subprocess.Popen(call, cwd=photographs, stderr=subprocess.PIPE) as running:
        lines = (photographs / "fifo").read_text().splitlines()
        assert running.wait(30) == 0
    assert len(lines) == 4


# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may make a namespace of processes")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_process_of_a_container_ends_by_signals(tmp_path: Path, number: signal.Signals, jobs: str) -> None:
    """The system keeps from it the signals that it sends itself."""
    if subprocess.run(["unshare", "-p", "-f", "--mount-proc", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this container may not make namespaces")
    for place in range(3):
        write_image(tmp_path / f"{place}.png", gray(1500, 1500, seed=place))
    call = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "32", "--stride", "2", "-d", "o", "-j", jobs]
    with subprocess.Popen(["unshare", "-p", "-f", "--mount-proc", *call], cwd=tmp_path, stderr=subprocess.PIPE) as running:
        while not list(tmp_path.glob("o/.*")):
            assert running.poll() is None
            time.sleep(0.01)
        first = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()[0]
        os.kill(int(first), number)
        said = running.communicate(timeout=30)[1]
    assert (running.returncode, said) == (128 + number, b"")
    assert list(tmp_path.glob("o/.*")) == []


# -- locales -----------------------------------------------------------------------------------------------------------


def test_a_record_does_not_depend_on_the_locale(tmp_path: Path) -> None:
    if shutil.which("localedef") is None:
        pytest.skip("needs localedef to make a locale")
    made = subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", tmp_path / "en_US.ISO-8859-1"], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("this system has no sources of locales")
    (tmp_path / "in").mkdir()
    names = [b"h\xc3\xa9.png", b"latin-\xe9.png"]
    for name in names:
        write_image(tmp_path / "in" / os.fsdecode(name), gray())
    call = [sys.executable, "-m", "patchcli", "extract", "in", "-s", "8", "-d", "o", "--resume", "--report", "-"]
    other = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "en_US.ISO-8859-1"}
    first = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, env=other)
    then = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert json.loads(first.stdout.splitlines()[-1])["summary"]["done"] == len(names)
    assert json.loads(then.stdout.splitlines()[-1])["summary"]["skipped"] == len(names)


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_source_that_changes_while_it_is_read_is_done_again(photographs: Path, patchcli: Run) -> None:
    call = ("extract", "in", "-s", 8, "-d", "o", "--resume", "--report", "-")
    patchcli(*call)
    time.sleep(0.01)
    write_image(photographs / "in/1.png", gray(seed=9))
    status = [json.loads(line).get("status") for line in patchcli(*call).stdout.splitlines()]
    assert status == ["skipped", "done", "skipped", None]


def test_a_source_of_which_the_system_tells_nothing_is_hinted_at(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time its name is asked for; of what is open it is told."""
    real, asked = os.stat, [0]

    def fails(path: object, *rest: object, **options: object) -> os.stat_result:
        if str(path).endswith("0.png"):
            asked[0] += 1
            raise OSError(5, os.strerror(5))
        return real(path, *rest, **options)  # type: ignore[arg-type]

    name = str(photographs / "in/0.png")
    told = stamp_of(name)
    monkeypatch.setattr(os, "stat", fails)
    assert stamp_of(name) == told
    assert asked == [1]
    with monkeypatch.context() as closed:
        closed.setattr(os, "fstat", fails_always)
        mute = stamp_of(name)
        hints = Records({"a.npz": Recipe("extract", {}, {"image": name})}, in_images=False).hints()
    assert mute == ("0.png", None, None)
    assert hints == [f"size and time of {name} could not be asked for; --resume will make the output again"]


def fails_always(*_: object) -> os.stat_result:
    raise OSError(5, os.strerror(5))
