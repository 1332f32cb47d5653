"""Two thousand inputs, sixty of them bad in ten ways: the same outputs, words and report whoever does the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers.runs import gray, tree, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.loopback import Loopback

COUNT, BAD_EACH = 2000, 6


def spoil(path: Path, way: int) -> None:
    """Make an image bad, in one of ten ways."""
    whole = path.read_bytes()
    path.unlink()
    if way == 0:
        path.write_bytes(b"")
    elif way == 1:
        path.write_bytes(b"These are not pixels.")
    elif way == 2:
        path.write_bytes(whole[: len(whole) // 2])
    elif way == 3:
        path.write_bytes(whole[:30])
    elif way == 4:  # one byte of the pixels
        path.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    elif way == 5:
        path.symlink_to("gone.png")
    elif way == 6:
        os.mkfifo(path)
    elif way == 7:
        with path.open("wb") as file:
            np.save(file, np.zeros(20))  # no image
    elif way == 8:  # smaller than a patch
        write_image(path, gray(7, 30))
    else:
        path.write_bytes(whole[:16] + (1 << 20).to_bytes(4) * 2 + whole[24:])  # a header of 10^12 pixels


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    (folder / "in").mkdir()
    rng = np.random.default_rng(6)
    for number in range(COUNT):
        write_image(folder / f"in/{number:04}.png", gray(12 + number % 5, 20, seed=number))
    bad = rng.choice(COUNT, 10 * BAD_EACH, replace=False)
    for turn, number in enumerate(bad):
        spoil(folder / f"in/{number:04}.png", turn % 10)
    (folder / "list").write_text("".join(f"in/{number:04}.png\n" for number in range(COUNT)))
    return folder


def batch(folder: Path, out: str, *further: object) -> tuple[int, dict[str, bytes], list[object], list[str]]:
    """Exit code, outputs, report without times, and what was said."""
    call = ["extract", "--files-from", "list", "-s", 8, "--edge", "drop", "-d", out, "--report", "-", *further]
    command = [sys.executable, "-m", "patchcli", *map(str, call)]
    ran = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300)
    records = [json.loads(line.replace(out, "out")) for line in ran.stdout.decode().splitlines()]
    for record in (*records[:-1], records[-1]["summary"]):
        del record["seconds"]
    return ran.returncode, tree(folder / out), records, ran.stderr.decode().splitlines()


@pytest.fixture(scope="module")
def alone(inputs: Path) -> tuple[int, dict[str, bytes], list[object], list[str]]:
    return batch(inputs, "out1")


def test_what_is_good_is_done_and_what_is_bad_is_named(
    inputs: Path, alone: tuple[int, dict[str, bytes], list[Any], list[str]]
) -> None:
    code, outputs, records, said = alone
    *each, last = records
    failed = [record for record in each if record["status"] == "failed"]
    assert code == 1
    assert [record["input"] for record in each] == (inputs / "list").read_text().split()
    assert (len(outputs), len(failed)) == (COUNT - 10 * BAD_EACH, 10 * BAD_EACH)
    assert said == [f"patchcli: {record['input']}: {record['errors'][0]}" for record in failed]
    assert last["summary"] == {
        "inputs": COUNT,
        "done": COUNT - 10 * BAD_EACH,
        "skipped": 0,
        "failed": 10 * BAD_EACH,
        "left": 0,
        "errors": last["summary"]["errors"],
    }
    kinds = Counter(line.split(": ", 2)[2] for line in said)
    assert len(kinds) == 9  # cut off in the header or behind it is told in the same words
    assert sum(last["summary"]["errors"].values()) == 10 * BAD_EACH


@pytest.mark.parametrize("jobs", [2, 4])
def test_any_number_of_jobs_makes_the_same(
    inputs: Path, alone: tuple[int, dict[str, bytes], list[object], list[str]], jobs: int
) -> None:
    assert batch(inputs, f"out{jobs}", "-j", jobs) == alone


def test_a_cluster_makes_the_same(
    inputs: Path,
    alone: tuple[int, dict[str, bytes], list[object], list[str]],
    cluster: Loopback,
) -> None:
    assert batch(inputs, "out-dask", "--executor", cluster.address) == alone
