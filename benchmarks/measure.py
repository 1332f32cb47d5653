"""Pairs measured in turn in one run, and the table that they make."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Work = Callable[[], Any]


@dataclass
class Row:
    """One claim: what ours takes over what something else takes."""

    group: str
    work: str
    reference: str
    ours: float
    other: float
    ratio: float
    spread: float
    limit: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the claim held."""
        return "" if self.limit is None else "ok" if self.ratio <= self.limit else "over"


@dataclass
class Table:
    """Rows in the order measured, printed as they come."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row) -> Row:
        """Keep and print a row."""
        self.rows.append(row)
        print(line(row), flush=True)
        return row

    def missing(self, what: str) -> None:
        """Say that something was not there to be compared with."""
        self.notes.append(what)
        print(f"not measured: {what}", flush=True)

    def mean_of(self, group: str, reference: str, limit: float, rows: list[Row]) -> None:
        """The geometric mean of some rows as a row of its own."""
        ratio = math.exp(statistics.fmean(math.log(row.ratio) for row in rows))
        self.add(Row(group, f"geometric mean of {len(rows)}", reference, math.nan, math.nan, ratio, 0.0, limit))

    def as_json(self) -> dict[str, Any]:
        """Everything measured."""
        return {"rows": [asdict(row) | {"verdict": row.verdict} for row in self.rows], "missing": self.notes}


def compare(
    group: str,
    work: str,
    reference: str,
    ours: Work,
    other: Work,
    *,
    limit: float | None = None,
    seconds: float = 1.0,
    least: int = 5,
) -> Row:
    """Time ``ours`` and ``other`` in turn for about ``seconds``; the ratio of medians and the spread of the pairs' ratios."""
    ours(), other()
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(pairs) < least or (time.perf_counter() < end and len(pairs) < 301):
        pairs.append((timed(ours), timed(other)))
    first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    spread = (ratios[len(ratios) * 3 // 4] - ratios[len(ratios) // 4]) / 2
    return Row(group, work, reference, first, second, first / second, spread, limit)


def timed(work: Work) -> float:
    """Seconds of one call; a work that returns a float has measured itself."""
    start = time.perf_counter()
    result = work()
    return result if isinstance(result, float) else time.perf_counter() - start


def line(row: Row) -> str:
    """A row of the Markdown table."""
    limit = "" if row.limit is None else f"{row.limit:g}"
    ratio = f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.3f}"
    unit = UNITS.get(row.group, span)
    times = "" if math.isnan(row.ours) else f"{unit(row.ours)} / {unit(row.other)}"
    return f"| {row.group} | {row.work} | {row.reference} | {times} | {ratio} ± {row.spread:.2f} | {limit} | {row.verdict} |"


HEAD = "| group | work | over | ours / other | ratio | at most | |\n|---|---|---|---|---|---|---|"


UNITS: dict[str, Callable[[float], str]] = {"memory": "{:.0f} MB".format, "requests": "{:.2f}".format}


def span(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def machine() -> str:
    """The machine in a line."""
    import os
    import platform

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(entry.split(":")[1].strip() for entry in file if entry.startswith("model name"))
    except (OSError, StopIteration):
        pass
    import numpy as np

    return f"{model}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {np.__version__}"
