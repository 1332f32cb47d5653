"""``python -m benchmarks.against TREE [--only PART,...] [--pairs N]``: every row's own side, here against another checkout.

Both checkouts make the same rows ready in processes of their own, which then work in turn, so that whatever the machine does
meets both. A process may be lucky with its memory, and a row differ by a tenth for as long as it lives: rows that are over the
limit in the first pair of processes are measured in further pairs, and the median of all pairs counts. The rows are those that
both checkouts have; of other programs nothing is measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTS = ("kernels", "crops", "processes", "batches")
WHOLE = ("processes", "batches")  # rows that are whole processes, each of which is measured by itself
SECONDS = 0.05  # of a short row, repeated at least as long
LIMIT = 1.05
END = None


class Side:
    """One checkout, whose process offers its rows one after the other and works at them as often as it is told to.

    Args:
        tree: the folder of the checkout.
        part: whose rows.
    """

    def __init__(self, tree: Path, part: str) -> None:
        # -P: of the modules only those of the checkout, and not what lies beside this file
        command = [sys.executable, "-P", __file__, "--serve", part]
        # as the command has it: threads of a library for matrices would spin on while the other side works
        environment = os.environ | {"PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1"}
        options: dict[str, Any] = {"cwd": tree, "env": environment, "text": True}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        self.row = self._answer()

    def _answer(self) -> Any:  # noqa: ANN401  of JSON
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else END

    def _ask(self, seconds: float | None) -> Any:  # noqa: ANN401  of JSON
        assert self._process.stdin is not None
        print(json.dumps(seconds), file=self._process.stdin, flush=True)
        return self._answer()

    def next(self) -> None:
        """Make the next row ready."""
        self.row = self._ask(None)

    def work(self, seconds: float) -> float:
        """Seconds that its row takes, repeated for so long."""
        return float(self._ask(seconds))

    def end(self) -> None:
        """Leave out what is left."""
        self._process.kill()
        self._process.communicate()


def in_step(sides: tuple[Side, Side], names: set[str]) -> Iterator[str]:
    """The rows that both have, in the order of both, each while it is ready."""
    while END not in (sides[0].row, sides[1].row):
        for side in sides:
            while side.row is not END and side.row not in names:
                side.next()
        if sides[0].row != sides[1].row or sides[0].row is END:
            return
        yield str(sides[0].row)
        for side in sides:
            side.next()


def names_of(tree: Path, part: str) -> list[str]:
    """The rows that a checkout has."""
    side, found = Side(tree, part), []
    while side.row is not END:
        found.append(str(side.row))
        side.next()
    side.end()
    return found


def measure(trees: tuple[Path, Path], part: str, names: set[str], rounds: int) -> dict[str, tuple[float, float]]:
    """Medians of each row in two new processes."""
    here, there = sides = Side(trees[0], part), Side(trees[1], part)
    seconds, found = 0.0 if part in WHOLE else SECONDS, {}
    for name in in_step(sides, names):
        times: dict[Side, list[float]] = {here: [], there: []}
        for side in (here, there, there, here) * rounds:  # each as often behind the other
            times[side].append(side.work(seconds))
        found[name] = statistics.median(times[here]), statistics.median(times[there])
    for side in sides:
        side.end()
    return found


def main() -> None:
    """Measure and print."""
    from benchmarks.measure import span

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path, help="the other checkout, with what it needs installed here")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run")
    parser.add_argument("--pairs", type=int, default=5, help="of processes, for rows that are over in the first")
    parser.add_argument("--rounds", type=int, default=4, help="in each pair, of two measurements of both")
    parser.add_argument("--match", default="", metavar="TEXT", help="only rows whose names have it")
    options = parser.parse_args()
    trees = Path.cwd(), options.tree.resolve()
    print("| row | here / there | ratio | pairs | |\n|---|---|---|---|---|")
    every: list[float] = []
    for part in options.only.split(","):
        shared = {name for name in names_of(trees[0], part) if options.match in name} & set(names_of(trees[1], part))
        pairs = [measure(trees, part, shared, options.rounds)]
        over = {name for name, (here, there) in pairs[0].items() if here > LIMIT * there}
        pairs += [measure(trees, part, over, options.rounds) for _ in range(options.pairs - 1) if over]
        for name in pairs[0]:
            both = [one[name] for one in pairs if name in one]
            ratio = statistics.median(here / there for here, there in both)
            every.append(ratio)
            times = " / ".join(span(statistics.median(pair[side] for pair in both)) for side in (0, 1))
            print(f"| {name} | {times} | {ratio:.2f} | {len(both)} | {'over' if ratio > LIMIT else 'ok'} |", flush=True)
    failed = sum(ratio > LIMIT for ratio in every)
    print(f"\n{len(every)} rows, geometric mean {statistics.geometric_mean(every):.2f}, {failed} over {LIMIT}")


def serve(part: str) -> None:
    """Offer the rows of a part, of which nothing but ours is ever run."""
    from benchmarks import measure as measuring

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed
    offered: set[str] = set()

    def say(thing: object) -> None:
        print(json.dumps(thing), file=out, flush=True)

    def offer(
        group: str, work: str, reference: str, ours: measuring.Work, _other: measuring.Work, **_limits: float | None
    ) -> measuring.Row:
        name = f"{group}: {work}"
        if name not in offered:
            offered.add(name)
            say(name)
            while (seconds := json.loads(sys.stdin.readline())) is not None:
                say(repeated(ours, seconds))
        return measuring.Row(group, work, reference, 1.0, 1.0, 1.0, 0.0)

    def repeated(work: measuring.Work, seconds: float) -> float:
        count, own, begun = 0, 0.0, time.perf_counter()
        while not count or time.perf_counter() - begun < seconds:
            result = work()
            own, count = own + (result if isinstance(result, float) else 0), count + 1
        return (own or time.perf_counter() - begun) / count

    measuring.Table.add = lambda self, row: self.rows.append(row) or row  # type: ignore[method-assign,func-returns-value]
    module: Any = importlib.import_module(f"benchmarks.{part}")
    module.compare = offer
    if part in WHOLE:
        with tempfile.TemporaryDirectory() as folder:
            module.run(measuring.Table(), Path(folder), quick=part == "batches")
    else:
        module.run(measuring.Table(), quick=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
