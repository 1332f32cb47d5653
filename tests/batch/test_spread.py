"""One task shared by several workers: each keeps what it opened, what one raises is raised."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from patchcli.batch.attempt import Work
from patchcli.batch.processes import Processes
from patchcli.batch.spread import Spread
from patchcli.errors import OutputError, PatchcliError
from patchcli.jobs.task import Said, Task
from tests.helpers.runs import children

if TYPE_CHECKING:
    from patchcli.jobs.task import Tick


def work_of(task: Task, faulty: str, _tick: Tick) -> Said:
    """Says which process did which task."""
    if task.source == faulty:
        raise PatchcliError("has a fault")
    if task.source == "full":
        raise OutputError("the disk is full")
    return Said(task.source, part=os.getpid())


def spread_of(workers: int, faulty: str = "none") -> Spread:
    return Spread([lambda: Processes(1, Work(work_of, faulty))] * workers, keeps=True)


def test_each_worker_has_its_share_in_turn() -> None:
    with spread_of(3) as spread:
        assert spread.workers == 3
        said = list(spread.each([Task(source=str(number), target="") for number in range(20)]))
        assert len(children(os.getpid())) == 3
    assert [one.done for one in said] == [str(number) for number in range(20)]
    assert len({one.part for one in said}) == 3
    assert all(said[number].part == said[number % 3].part for number in range(20))
    assert children(os.getpid()) == []


def test_what_one_raises_is_raised_and_all_end() -> None:
    with pytest.raises(PatchcliError, match="has a fault") as caught, spread_of(2, "5") as spread:
        for number, said in enumerate(spread.each([Task(source=str(number), target="") for number in range(20)])):
            assert said.done == str(number)
            assert number < 5
    assert "in work_of" in str(caught.value.__cause__)
    assert children(os.getpid()) == []


def test_where_no_more_can_be_done() -> None:
    with pytest.raises(OutputError, match="the disk is full"), spread_of(2) as spread:
        list(spread.each([Task(source="full", target="")]))
    assert children(os.getpid()) == []
