"""Worker processes: the same outputs as without, a killed one costs one input, none outlives its run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from patchcli.batch.attempt import Work
from patchcli.batch.options import BatchOptions
from patchcli.batch.processes import KILLED, Processes
from patchcli.batch.progress import Voice
from patchcli.batch.run import run_tasks
from patchcli.jobs.task import Said, Task, Tick
from tests.helpers.late import come_late
from tests.helpers.runs import Run, children, gray, mixed, tree, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = (1, 2, 4)


def test_the_same_outputs_words_and_order_for_any_number(patchcli: Run, tmp_path: Path) -> None:
    mixed(tmp_path / "in")
    seen = []
    for jobs in JOBS:
        out = f"out{jobs}"
        done = patchcli("extract", "in", "-s", 12, "-d", out, "-j", jobs, "--report", "-", "--edge", "drop")
        assert done.returncode == 1
        records = [json.loads(line) for line in done.stdout.splitlines()]
        for record in (*records[:-1], records[-1]["summary"]):
            assert record.pop("seconds") >= 0
        told = [json.dumps(record).replace(out, "out") for record in records]
        seen.append((tree(tmp_path / out), told, done.stderr))
    assert len(seen[0][0]) == 21
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("command", ["merge", "crop"])
def test_other_commands(patchcli: Run, tmp_path: Path, command: str) -> None:
    names = mixed(tmp_path / "in")[4:10]
    boxes = "".join(f"{name},{left},0,20,20\n" for name in names for left in (0, 3))
    (tmp_path / "boxes.csv").write_text(f"input,x,y,w,h\n{boxes}")
    if command == "merge":
        assert patchcli("extract", *names, "-s", 5, "-d", "stacks").returncode == 0
        arguments = ["stacks"]
    else:
        arguments = ["--boxes", "boxes.csv", "--size", "9"]
    for jobs in JOBS:
        assert patchcli(command, *arguments, "-d", f"out{jobs}", "-j", jobs).returncode == 0
    trees = [tree(tmp_path / f"out{jobs}") for jobs in JOBS]
    assert len(trees[0]) == len(names) * (2 if command == "crop" else 1)
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.slow
def test_fit_with_jobs_keeps_its_results_in_order(patchcli: Run, tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", gray(40, 40, seed=number))
    arguments = ["--box", 9.0, 9.0, 12.0, 12.0, "--fit", "0.png", "--size", 5, "--report", "r", "--overwrite"]
    outs = []
    for jobs in JOBS[:2]:
        done = patchcli("crop", "0.png", "1.png", "2.png", *arguments, "-d", f"o{jobs}", "-j", jobs, "--fit-report", "f")
        outs.append((done.stdout.replace(b"o2/", b"o1/"), (tmp_path / "f").read_bytes()))
    assert [json.loads(line)["input"] for line in outs[0][0].splitlines()] == ["0.png", "1.png", "2.png"]
    assert outs[0] == outs[1]


def deadly(task: Task, folder: str, _tick: Tick) -> Said:
    """A job that ends its process for some tasks, always or only once."""
    if task.source == "always":
        os.kill(os.getpid(), signal.SIGKILL)
    once = Path(folder, task.source)
    if task.source.startswith("once") and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with Path(folder, task.target).open("a") as file:
        file.write("done\n")
    return Said(task.source)


@pytest.mark.parametrize("count", [20, 400])  # sent one by one, and several together
def test_a_killed_worker_costs_the_input_that_killed_it(tmp_path: Path, count: int) -> None:
    names = [f"{number}" for number in range(count)]
    names[3], names[count // 2 + 5] = "always", "once"  # the second is under way when the first has been seen to
    errors: list[str] = []
    said: list[str] = []
    tasks = [Task(source=name, target=f"{name}.out") for name in names]
    voice = Voice(errors.append, print)
    work = Work(deadly, str(tmp_path))
    code = run_tasks(tasks, work, voice, options=BatchOptions(jobs=2), hear=lambda one: said.append(one.done))
    assert code == 1
    assert errors == [f"always: {KILLED}"]
    assert said == [name for name in names if name != "always"]
    assert sorted(path.stem for path in tmp_path.glob("*.out")) == sorted(said)


def test_a_worker_that_its_pool_does_not_know_when_another_is_killed_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, terminate, is_alive = SpawnProcess.start, SpawnProcess.terminate, SpawnProcess.is_alive
    started: list[SpawnProcess] = []

    def start_one(worker: SpawnProcess) -> None:
        started.append(worker)
        start(worker)

    def overlooked(worker: SpawnProcess) -> bool:  # by the thread of the first pool, as one that is just being started is
        return worker in started[:2] and threading.current_thread() is not threading.main_thread()

    monkeypatch.setattr(SpawnProcess, "start", start_one)
    monkeypatch.setattr(SpawnProcess, "terminate", lambda one: None if overlooked(one) else terminate(one))
    monkeypatch.setattr(SpawnProcess, "is_alive", lambda one: not overlooked(one) and is_alive(one))

    def kill_all() -> None:
        for worker in started:
            worker.kill()

    rescue = threading.Timer(12, kill_all)
    rescue.start()
    errors: list[str] = []
    tasks = [Task(source=name, target=f"{name}.out") for name in ("always", "a", "b", "c")]
    run_tasks(tasks, Work(deadly, str(tmp_path)), Voice(errors.append, print), options=BatchOptions(jobs=2))
    assert rescue.is_alive()
    rescue.cancel()
    assert errors == [f"always: {KILLED}"]


def slowly(task: Task, folder: str, tick: Tick) -> Said:
    """The same, but not at once."""
    time.sleep(0.02)
    return deadly(task, folder, tick)


@pytest.mark.slow
def test_after_a_killed_worker_there_are_no_more_of_them_than_before(tmp_path: Path) -> None:
    names = ["always", *map(str, range(100))]
    most = [0]
    ended = threading.Event()

    def count() -> None:
        while not ended.is_set():
            most[0] = max(most[0], len(children(os.getpid())))

    watching = threading.Thread(target=count)
    watching.start()
    try:
        errors: list[str] = []
        tasks = [Task(source=name, target=f"{name}.out") for name in names]
        assert run_tasks(tasks, Work(slowly, str(tmp_path)), Voice(errors.append, print), options=BatchOptions(jobs=2)) == 1
    finally:
        ended.set()
        watching.join()
    assert errors == [f"always: {KILLED}"]
    assert most[0] == 3  # the third does again what was under way


def test_leaving_early_leaves_no_worker(tmp_path: Path) -> None:
    with Processes(2, Work(deadly, str(tmp_path))) as crew:
        futures = [crew.submit([Task(source=str(number), target=f"{number}.out")]) for number in range(8)]
        assert [outcome.said for outcome in crew.outcomes(futures[0])] == [Said("0")]
    assert children(os.getpid()) == []


def late(task: Task, _: str, _tick: Tick) -> Said:
    """A job after which its process waits for the next, and gets a signal that came just before it waited."""
    coming = threading.Timer(0.2, come_late, [signal.SIGTERM])
    coming.daemon = True
    coming.start()
    return Said(task.source)


def test_a_signal_just_before_a_worker_waits_ends_it(tmp_path: Path) -> None:
    with Processes(1, Work(late, str(tmp_path))) as crew:
        assert [outcome.said for outcome in crew.outcomes(crew.submit([Task(source="a", target="a.out")]))] == [Said("a")]
        assert gone(children(os.getpid()))


@contextlib.contextmanager
def busy(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A run with two workers that has begun to write, and the workers' process numbers."""
    for number in range(40):
        write_image(tmp_path / f"{number:02}.png", gray(500, 500, seed=number))
    command = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "32", "--stride", "3", "-d", "out", "-j", "2"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while not list(tmp_path.glob("out/*.npz")):
            time.sleep(0.01)
            assert running.poll() is None
        workers = children(running.pid)
        assert len(workers) == 2
        yield running, workers
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def gone(workers: list[int]) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("group", [True, False])
def test_a_signal_ends_all_of_it_within_a_second(tmp_path: Path, number: signal.Signals, *, group: bool) -> None:
    with busy(tmp_path) as (running, workers):
        begun = time.monotonic()
        (os.killpg if group and number != signal.SIGTERM else os.kill)(running.pid, number)
        _, said = running.communicate(timeout=10)
        assert time.monotonic() - begun < 1
        assert running.returncode == -number
        assert said == b""
        assert gone(workers)
        assert list(tmp_path.glob("out/.*")) == []
        assert 0 < len(list(tmp_path.glob("out/*.npz"))) < 40


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.04, 0.1, 0.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_while_workers_start_ends_them_without_a_word(
    tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    for seed in range(16):  # more than is done before the signal comes
        write_image(tmp_path / f"{seed}.png", gray(500, 500, seed=seed))
    command = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "32", "--stride", "3", "-d", "out", "-j", "2"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    while not (workers := children(running.pid)):
        assert running.poll() is None
    time.sleep(delay)
    os.killpg(running.pid, number)
    assert running.communicate(timeout=10)[1] == b""
    assert running.returncode == -number
    assert gone(workers)
    assert list(tmp_path.glob("out/.*")) == []


@pytest.mark.parametrize("module", ["batch.processes", "storage.atomic"])
def test_a_signal_while_a_module_is_imported_ends_it_without_a_word(module: str) -> None:
    code = f"""
import os, signal, sys, types
from patchcli.storage import signals
signals.end_by_signals("SIGTERM")
sys.modules["patchcli.{module}"] = types.ModuleType("begun")
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, b"")


@pytest.mark.slow
def test_workers_do_not_outlive_a_run_that_is_killed(tmp_path: Path) -> None:
    with busy(tmp_path) as (running, workers):
        running.kill()
        assert gone(workers)
        assert list(tmp_path.glob("out/.*")) == []


@pytest.mark.slow
def test_killing_workers_costs_nothing_but_time(tmp_path: Path) -> None:
    with busy(tmp_path) as (running, workers):
        os.kill(workers[0], signal.SIGKILL)
        _, said = running.communicate(timeout=60)
        assert (running.returncode, said) == (0, b"")
        assert len(list(tmp_path.glob("out/*.npz"))) == 40
        assert list(tmp_path.glob("out/.*")) == []
