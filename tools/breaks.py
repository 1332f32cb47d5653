"""Runs that are killed or let down at every call, and within every limit: what is torn, lost, left over or claimed falsely.

`python -m tools.breaks` kills each scene before every call that changes an output, lets a sample of all calls fail, and climbs
the ladders of limits; with ``--all`` every call fails, which takes an hour. `make torture` runs it after the damaged files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.helpers import breaking
from tests.helpers.ladders import COMMANDS, LADDERS, Ladder
from tests.helpers.scenes import SCENES, Scene, failures, kills

if TYPE_CHECKING:
    from tests.helpers.breaking import Point

KINDS = ("torn", "lost", "odd", "leftover", "traceback", "wrong code", "says nothing", "hang", "false success")
SAMPLED = 37  # one of so many failures is tried; a prime, so that all kinds of calls and errors have their turn
CHUNK = 30
SHOWN = 3  # findings of a kind


class Result(NamedTuple):
    """What became of some points: their kind, how many were reached, each finding in words."""

    kind: str
    points: int
    findings: list[str]


def break_some(name: str, kind: str, points: list[Point], *, over: bool) -> Result:
    """Break a scene at some points, each in turn."""
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        scene = Scene(Path(folder) / "scene", name, over=over)
        found = [(point, (scene.killed if kind == "kills" else scene.failed)(point)) for point in points]
    reached = [(point, wrong) for point, wrong in found if wrong is not None]
    where = f"{name}, {'over older outputs' if over else 'new'}"
    return Result(kind, len(reached), [f"{one} ({where}: {point})" for point, wrong in reached for one in wrong])


def climb(limit: str, value: int) -> Result:
    """Run all commands within a limit."""
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        ladder = Ladder(Path(folder) / "ladder")
        tried = [(command, jobs) for command in COMMANDS for jobs in (1, 2)]
        found = [(call, ladder.climb(limit, value, *call)) for call in tried]
    findings = [f"{one} (ulimit {limit} {value}: {command} -j {jobs})" for (command, jobs), wrong in found for one in wrong]
    return Result(f"ulimit {limit}", len(tried), findings)


def work(*, every: bool) -> Iterator[Callable[[], Result]]:
    """All that is to be done, in pieces that can be done at the same time."""
    for limit, values in LADDERS.items():
        for value in values:
            yield lambda limit=limit, value=value: climb(limit, value)  # type: ignore[misc]
    if breaking.missing():
        print(f"nothing is killed, and no call fails: {breaking.missing()}")
        return
    for name in SCENES:
        for over in (False, True):
            with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
                scene = Scene(Path(folder) / "scene", name, over=over)
                points = {"kills": list(kills(scene, every=True)), "failures": list(failures(scene, every=True))}
            if not every:
                points["failures"] = points["failures"][::SAMPLED]
            for kind, all_of_it in points.items():
                for first in range(0, len(all_of_it), CHUNK):
                    some = all_of_it[first : first + CHUNK]
                    yield lambda name=name, kind=kind, some=some, over=over: break_some(name, kind, some, over=over)  # type: ignore[misc]


def breaks(*, every: bool) -> list[str]:
    """Do all, print a table of it and some of each kind of finding; the findings."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = [future.result() for future in [pool.submit(piece) for piece in work(every=every)]]
    print(f"| | points | {' | '.join(KINDS)} | other |")
    print(f"|---|{'---|' * (len(KINDS) + 2)}")
    for kind in dict.fromkeys(result.kind for result in results):
        some = [result for result in results if result.kind == kind]
        counts = Counter(kind_of(finding) for result in some for finding in result.findings)
        numbers = [sum(result.points for result in some), *(counts[one] for one in (*KINDS, "other"))]
        print(f"| {kind} | {' | '.join(map(str, numbers))} |")
    findings = [finding for result in results for finding in result.findings]
    for kind in (*KINDS, "other"):
        some_of_it = [finding for finding in findings if kind_of(finding) == kind]
        for finding in some_of_it[:SHOWN]:
            print(f"FOUND, {len(some_of_it)} times like it: {finding}")
    return findings


def kind_of(finding: str) -> str:
    """Which kind of finding one in words is."""
    return next((kind for kind in KINDS if finding.startswith(kind)), "other")


if __name__ == "__main__":
    sys.exit(1 if breaks(every="--all" in sys.argv) else 0)
