"""Two runs into one folder at the same time: every output whole, what the other made alike is up to date, else it is named."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.loopback import Loopback, wait_for
from tests.helpers.runs import gray, tree, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUTS = 60
EXECUTORS = ["local", "-j 2", "dask"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and what runs with two sizes of patches make of them."""
    folder = tmp_path_factory.mktemp("overlap")
    (folder / "in").mkdir()
    for number in range(INPUTS):
        write_image(folder / f"in/{number:02}.png", gray(40 + number, 50, seed=number))
    for size in (8, 10):
        subprocess.run(command(folder / f"only{size}", size), cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("dask")
    started = Loopback(folder)
    started.add_workers(2)
    wait_for(started, 2)
    yield started
    started.close()


def command(out: Path, size: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "patchcli", "extract", "in", "-s", str(size), "-d", str(out), *options]


def where(executor: str, request: pytest.FixtureRequest) -> list[str]:
    if executor == "dask":
        return ["--executor", request.getfixturevalue("cluster").address]
    return executor.split() if executor != "local" else []


def pair(place: Path, out: Path, sizes: tuple[int, int], options: list[str], offset: float) -> list[tuple[int, bytes]]:
    """Two runs, one ``offset`` seconds after the other; exit code and standard error of each."""
    running = []
    for number, size in enumerate(sizes):
        time.sleep(number * offset)
        call = command(out, size, "--report", f"{out}.{number}", *options)
        running.append(subprocess.Popen(call, cwd=place, stderr=subprocess.PIPE))
    return [(one.communicate(timeout=60)[1], one.returncode)[::-1] for one in running]


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("seed", range(7))
def test_runs_that_do_the_same(seed: int, executor: str, place: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    offset = random.Random(seed).uniform(0, 0.7)  # noqa: S311
    resumed = ["--resume"] * (seed < 5)
    ended = pair(place, tmp_path / "o", (8, 8), [*where(executor, request), *resumed], offset)
    assert tree(tmp_path / "o") == tree(place / "only8")
    late = "already exists; use --overwrite to replace it"
    for code, said in ended:  # without --resume one that begins after the first output refuses it, before any work
        assert (code, said) == (0, b"") or (code == 2 and late in said.decode() and not resumed)
    for number in range(2 if resumed else 0):
        *records, last = map(json.loads, (tmp_path / f"o.{number}").read_text().splitlines())
        assert {record["status"] for record in records} <= {"done", "skipped"}
        assert last["summary"]["done"] + last["summary"]["skipped"] == INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("resumed", [True, False])
def test_runs_that_do_it_otherwise(
    executor: str, place: Path, tmp_path: Path, request: pytest.FixtureRequest, *, resumed: bool
) -> None:
    ended = pair(place, tmp_path / "o", (8, 10), [*where(executor, request), *["--resume"] * resumed], 0.0)
    made = tree(tmp_path / "o")
    ours = [tree(place / f"only{size}") for size in (8, 10)]
    assert made.keys() == ours[0].keys()
    assert all(data in (ours[0][name], ours[1][name]) for name, data in made.items())
    of_others = [sum(data != one[name] for name, data in made.items()) for one in ours]
    for (code, said), others in zip(ended, of_others, strict=True):
        if code == 2:  # it came late
            assert "already exists" in said.decode() or "was made with --patch-size" in said.decode()
            continue
        assert said.decode().count("it exists by now, made otherwise by another run or program") == others
        assert code == (1 if others else 0)


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_runs_that_overwrite_each_other(executor: str, place: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ended = pair(place, tmp_path / "o", (8, 10), [*where(executor, request), "--overwrite"], 0.1)
    made = tree(tmp_path / "o")
    ours = [tree(place / f"only{size}") for size in (8, 10)]
    assert ended == [(0, b""), (0, b"")]
    assert made.keys() == ours[0].keys()
    assert all(data in (ours[0][name], ours[1][name]) for name, data in made.items())
