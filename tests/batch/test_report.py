"""What a run says of its inputs: the report, the summary, stopping early."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from patchcli.batch.report import kind_of
from patchcli.jobs.task import PartFault
from tests.helpers.runs import Run, gray, refused, write_image

if TYPE_CHECKING:
    from pathlib import Path


def batch(folder: Path) -> list[str]:
    """Good files and bad ones, in turn."""
    names = []
    for number in range(6):
        names.append(f"{number}.png")
        if number % 2:
            (folder / names[-1]).write_bytes(b"no image" if number < 5 else b"")
        else:
            write_image(folder / names[-1], gray(seed=number))
    return [*names, "missing.png"]


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_record_for_each_input_and_a_summary(patchcli: Run, tmp_path: Path) -> None:
    names = batch(tmp_path)
    done = patchcli("extract", *names, "-s", 8, "-d", "out", "--report", "r.jsonl")
    assert done.returncode == 1
    *each, last = records((tmp_path / "r.jsonl").read_text())
    assert [record["input"] for record in each] == names
    assert [record["status"] for record in each] == ["done", "failed", "done", "failed", "done", "failed", "failed"]
    assert each[0]["output"] == "out/0.png.npz"
    assert set(each[0]) == {"input", "output", "status", "errors", "hints", "seconds"}
    assert each[6]["errors"] == ["cannot be read: no such file or directory"]
    told = done.stderr.decode().splitlines()
    assert told == [f"patchcli: {record['input']}: {record['errors'][0]}" for record in each if record["errors"]]
    summary = last["summary"]
    assert {key: summary[key] for key in ("inputs", "done", "failed", "left")} == {"inputs": 7, "done": 3, "failed": 4, "left": 0}
    assert sum(summary["errors"].values()) == 4
    assert summary["errors"]["cannot be read"] == 1
    refused(patchcli("extract", names[0], "-s", 8, "-d", "two", "--report", "r.jsonl"), "r.jsonl: already exists")
    retry = "\n".join(record["input"] for record in each if record["status"] == "failed")
    again = patchcli("extract", "-s", 8, "--files-from", "-", "-d", "two", "--report", "-", stdin=retry.encode())
    assert [record.get("status") for record in records(again.stdout.decode())] == ["failed"] * 4 + [None]


def test_records_come_as_they_are_made(tmp_path: Path) -> None:
    for number in range(300):
        write_image(tmp_path / f"{number:03}.png", gray(64, 64, seed=number))
    command = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "4", "--stride", "1", "-d", "out", "--report", "r"]
    running = subprocess.Popen(command, cwd=tmp_path)
    seen = 0
    while running.poll() is None and not seen:
        time.sleep(0.01)
        seen = len((tmp_path / "r").read_text().splitlines()) if (tmp_path / "r").exists() else 0
    assert running.wait() == 0
    assert 0 < seen < 300


def test_fail_fast_stops_at_the_first(patchcli: Run, tmp_path: Path) -> None:
    names = batch(tmp_path)
    done = patchcli("extract", *names, "-s", 8, "-d", "out", "--report", "-", "--fail-fast")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[1:] == ["patchcli: stopped at the first failed input; 5 were not tried"]
    *each, last = records(done.stdout.decode())
    assert [record["status"] for record in each] == ["done", "failed"]
    assert last["summary"]["left"] == 5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png.npz"]


def test_errors_are_grouped_for_those_who_look(patchcli: Run, tmp_path: Path) -> None:
    names = batch(tmp_path)
    done = patchcli("extract", *names, "-s", 8, "-d", "out", "-v")
    assert done.stderr.decode().splitlines()[-1].startswith("patchcli: 4 of 7 inputs failed: ")
    assert b"inputs failed" not in patchcli("extract", *names, "-s", 8, "-d", "two").stderr


def test_bad_rows_of_a_list_are_errors_of_their_image(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    rows = "x,y,w,h\n0,0,5,5\n0,0,0,5\n0,0,0,5\n"
    done = patchcli("crop", "a.png", "--boxes", "-", "-o", "{index}.png", "--report", "r", stdin=rows.encode())
    assert done.returncode == 1
    record, last = records((tmp_path / "r").read_text())
    assert (record["status"], len(record["errors"])) == ("failed", 2)
    assert last["summary"]["failed"] == 1


def test_reports_that_cannot_be(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    refused(patchcli("extract", "a.png", "-s", 8, "-o", "-", "--report", "-"), "standard output (-) was given twice")
    refused(patchcli("extract", "a.png", "-s", 8, "-o", "x", "--report", "x"), "x: two outputs have this name")
    refused(patchcli("extract", "a.png", "-s", 8, "-o", "x", "--report", "a.png"), "a.png: is an input too")
    refused(patchcli("extract", "a.png", "-s", 8, "-o", "x", "--report", "no/r"), "no/r: cannot be written: no such file", 3)
    refused(patchcli("extract", "a.png", "-s", 8, "-o", "x", "--report", "/dev/full"), "/dev/full: cannot be written", 3)
    refused(patchcli("crop", "a.png", "--fit", "a.png", "-o", "x.png", "--report", "-"), "so the report cannot go there")


def test_kinds_of_errors() -> None:
    assert kind_of("has suffix '.xyz' where 3 were; allowed are none") == "has suffix '...' where N were"
    assert kind_of("in: out/a.npz: cannot be written: it exists by now, made otherwise") == "cannot be written"
    assert kind_of('has bbox "five"; give four numbers') == "has bbox '...'"
    fault = copy.copy(PartFault("mix.json: annotation 2", "box is empty: width=0"))  # made anew, as in other processes
    assert (fault, kind_of(fault)) == ("mix.json: annotation 2: box is empty: width=0", "box is empty")


def test_an_output_that_cannot_be_written_is_counted_as_that(patchcli: Run, tmp_path: Path) -> None:
    names = batch(tmp_path)
    (tmp_path / "out").write_bytes(b"in the way")
    assert patchcli("extract", *names, "-s", 8, "-d", "out/9", "--report", "r").returncode == 3
    record, last = records((tmp_path / "r").read_text())
    assert record["errors"] == ["out/9/0.png.npz: cannot be written: not a directory"]
    assert last["summary"]["errors"] == {"cannot be written": 1}


def test_one_that_is_made_by_another_run_meanwhile_fails_alone(tmp_path: Path) -> None:
    for number in range(9):
        write_image(tmp_path / f"{number}.png", gray(*((1500, 1500) if number == 0 else (20, 30)), seed=number))
    call = [sys.executable, "-m", "patchcli", "extract", ".", "-s", "8", "--stride", "2", "-d", "out", "--report", "r"]
    running = subprocess.Popen(call, cwd=tmp_path, stderr=subprocess.PIPE)
    while not (tmp_path / "out").exists():  # the first, which takes a while; by then all others have been looked for
        assert running.poll() is None
    (tmp_path / "out/3.png.npz").write_bytes(b"of another")
    assert running.communicate()[1] == (
        b"patchcli: ./3.png: out/3.png.npz: cannot be written: it exists by now, made otherwise by another run or program\n"
    )
    assert running.returncode == 1
    assert (tmp_path / "out/3.png.npz").read_bytes() == b"of another"
    assert [record["status"] for record in records((tmp_path / "r").read_text())[:-1]] == [*3 * ["done"], "failed", *5 * ["done"]]
    assert len(list((tmp_path / "out").iterdir())) == 9
