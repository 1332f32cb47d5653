"""Outputs that are published in groups behind the work: in order, each result only when its own outputs are there."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from patchcli.errors import OutputError, PatchcliError
from patchcli.storage import atomic, finisher, outputs
from patchcli.storage.outputs import create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def run(items: Iterable[int], do: Callable[[int], str], urgent: Callable[[str], bool] = lambda _result: False) -> Iterator[str]:
    def settled(result: str, waiting: list[outputs.Outputs]) -> str:
        error = next((one.error for one in waiting if one.error is not None), None)
        if error is not None:
            return f"failed: {error}"
        return result if all(one.made for one in waiting) else f"{result} is there"

    return finisher.each(list(items), do, settled, urgent)


class Folder:
    """Tasks that write a file each, or several, into a folder."""

    def __init__(self, path: Path, files: int = 1) -> None:
        self.path, self.files = path, files
        self.done: list[int] = []

    def do(self, item: int) -> str:
        for part in range(self.files):
            with create(str(self.path / f"{item:03}.{part}")) as file:
                file.write(b"%d" % item)
        self.done.append(item)
        return str(item)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


@pytest.fixture(params=["one flush for all", "a flush for each"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """On a system that can flush all of a file system, and on one that cannot."""
    if request.param == "a flush for each":
        monkeypatch.setattr(atomic, "_system", lambda: None)
    return Folder(tmp_path)


def test_results_come_in_order_and_each_after_its_outputs(folder: Folder) -> None:
    for number, result in enumerate(run(range(200), folder.do)):
        assert result == str(number)
        assert (folder.path / f"{number:03}.0").read_bytes() == b"%d" % number
    assert len(folder.names()) == 200


def test_a_group_is_published_before_many_wait(folder: Folder) -> None:
    results = run(range(outputs.MOST_OPEN * 4), folder.do)
    assert next(results) == "0"
    assert len(folder.done) <= outputs.MOST_OPEN
    assert len(list(results)) == outputs.MOST_OPEN * 4 - 1


def test_slow_tasks_do_not_wait_for_each_other(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finisher, "GROUP_SECONDS", 0.01)

    def slow(item: int) -> str:
        time.sleep(0.05)
        return folder.do(item)

    next(run(range(20), slow))
    assert len(folder.done) < 20


def test_what_is_urgent_waits_for_nothing_behind_it(folder: Folder) -> None:
    results = run(range(9), lambda item: folder.do(item) if item != 3 else "bad", lambda result: result == "bad")
    assert [next(results) for _ in range(4)] == ["0", "1", "2", "bad"]
    assert folder.done == [0, 1, 2]
    assert list(results) == ["4", "5", "6", "7", "8"]


def test_one_flush_serves_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is on disk before the first of its group has its name, however slow the machine."""
    calls: list[int] = []
    folder = Folder(tmp_path)

    def sync_all(_number: int) -> bool:
        calls.append(sum(name[0] != "." for name in folder.names()))
        return True

    monkeypatch.setattr(atomic, "_sync_all", sync_all)
    monkeypatch.setattr(finisher, "GROUP_SECONDS", 1e9)
    assert len(list(run(range(3 * outputs.MOST_OPEN), folder.do))) == 3 * outputs.MOST_OPEN
    assert calls[:2] == [0, outputs.MOST_OPEN]


def test_folders_are_brought_to_disk_once_a_group_before_its_results_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut can take is at most what was not told yet."""
    flushed: list[tuple[str, int]] = []

    def flush_folder(folder: str) -> None:
        flushed.append((os.path.basename(folder), len(os.listdir(folder))))

    def do(item: int) -> str:
        with create(str(tmp_path / "ab"[item % 2] / f"{item:03}")) as file:
            file.write(b"x")
        return str(item)

    monkeypatch.setattr(atomic, "flush_folder", flush_folder)
    monkeypatch.setattr(atomic, "temporary_name", lambda name: f"../{name}.tmp")
    monkeypatch.setattr(finisher, "GROUP_SECONDS", 1e9)
    told = [(result, len(flushed)) for result in run(range(2 * outputs.MOST_OPEN), do)]
    half = outputs.MOST_OPEN // 2
    assert sorted(flushed) == [("a", half), ("a", 2 * half), ("b", half), ("b", 2 * half)]
    assert all(count >= (2 if int(result) < outputs.MOST_OPEN else 4) for result, count in told)


@pytest.mark.parametrize(("files", "fails", "each"), [(3, False, 3), (8, False, 0), (8, True, 8)])
def test_files_are_flushed_together_where_that_is_worth_it_and_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, fails: bool, each: int
) -> None:
    library, calls, flushed = atomic._system(), list[int](), list[int]()  # noqa: SLF001
    if library is None:
        pytest.skip("needs Linux 5.8")

    def syncfs(number: int) -> int:
        calls.append(number)
        return -1 if fails else library.syncfs(number)

    monkeypatch.setattr(atomic, "_system", lambda: SimpleNamespace(fstatfs=library.fstatfs, syncfs=syncfs))
    monkeypatch.setattr(os, "fsync", flushed.append)
    opened = [(tmp_path / str(number)).open("wb") for number in range(files)]
    atomic.flush([file.fileno() for file in opened])
    for file in opened:
        file.close()
    assert len(calls) == (files > 3)
    assert len(flushed) == each


def test_behind_one_that_cannot_be_written_no_other_gets_its_name(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = atomic.put_in_place

    def full(temporary: str, path: str, *, overwrite: bool) -> None:
        if path.endswith("003.0"):
            raise OSError(28, os.strerror(28))
        real(temporary, path, overwrite=overwrite)

    monkeypatch.setattr(atomic, "put_in_place", full)
    results = list(run(range(100), folder.do))
    fault = f"failed: {folder.path}/003.0: cannot be written: no space left on device"
    assert results == ["0", "1", "2", *[fault] * 97]
    assert folder.names() == ["000.0", "001.0", "002.0"]
    assert not atomic.UNFINISHED


def test_a_flush_that_fails_leaves_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_numbers: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(atomic, "flush", fails)
    results = list(run(range(100), folder.do))
    assert results == [f"failed: {folder.path}/000.0: cannot be written: input/output error"] * 100
    assert not folder.names()
    assert not atomic.UNFINISHED


def test_what_exists_fails_alone_unless_it_is_the_same(folder: Folder) -> None:
    (folder.path / "002.0").write_bytes(b"other")
    (folder.path / "004.0").write_bytes(b"4")
    said = "cannot be written: it exists by now, made otherwise by another run or program"
    assert list(run(range(6), folder.do)) == ["0", "1", f"failed: {folder.path}/002.0: {said}", "3", "4 is there", "5"]
    assert (folder.path / "002.0").read_bytes() == b"other"
    assert len(folder.names()) == 6


def test_what_is_no_file_is_never_the_same(folder: Folder) -> None:
    os.mkfifo(folder.path / "fifo")
    (folder.path / "folder").mkdir()
    (folder.path / "own").write_bytes(b"")
    assert not outputs._alike(str(folder.path / "own"), str(folder.path / "folder"))  # noqa: SLF001
    assert not outputs._alike(str(folder.path / "own"), str(folder.path / "fifo"))  # noqa: SLF001


def test_an_error_of_a_task_waits_for_the_outputs_before_it(folder: Folder) -> None:
    def do(item: int) -> str:
        if item == 2:
            raise ValueError("task two")
        return folder.do(item)

    with pytest.raises(ValueError, match="task two"):
        list(run(range(5), do))
    assert folder.names() == ["000.0", "001.0"]


def test_many_outputs_of_one_task(tmp_path: Path) -> None:
    folder = Folder(tmp_path, files=3 * outputs.MOST_OPEN)
    assert list(run(range(2), folder.do)) == ["0", "1"]
    assert len(folder.names()) == 6 * outputs.MOST_OPEN


def test_outside_of_a_run_an_output_is_published_at_once(tmp_path: Path) -> None:
    Folder(tmp_path).do(7)
    assert (tmp_path / "007.0").read_bytes() == b"7"
    with pytest.raises(PatchcliError, match=r"exists by now, made otherwise"), create(str(tmp_path / "007.0")) as file:
        file.write(b"8")
    with create(str(tmp_path / "007.0")) as file:  # the same
        file.write(b"7")
    assert [path.name for path in tmp_path.iterdir()] == ["007.0"]
    with pytest.raises(OutputError, match="not a directory"), create(str(tmp_path / "007.0" / "x")):
        pass
