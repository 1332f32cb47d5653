"""What a task would make and need, told from headers: what the plans of all commands share.

Memory is an estimate: arrays that are in use together are added up, as measured on Linux with glibc. The numbers below are
bytes that were measured where they could not be told from the code.
"""

from __future__ import annotations

from patchcli.images.formats import FORMATS
from patchcli.jobs.reading import in_megabytes
from patchcli.jobs.task import Planned, Said, Task
from patchcli.storage import files
from patchcli.storage.outputs import check_name

BASE = 33_000_000  # interpreter, numpy, Click and this program
PIECES = 7  # pieces of a file that are made, wait or are written at once


def base(*formats: str) -> int:
    """Bytes of a process that has loaded what it needs for these image formats."""
    return BASE + max((FORMATS[name].library for name in formats), default=0)


def as_said(task: Task, planned: Planned, hints: tuple[str, ...] = ()) -> Said:
    """A plan as a line, and as it is for the report.

    Raises:
        PatchcliError: an output whose name is too long.
    """
    for name in planned.outputs:
        check_name(name)
    source, target = files.name_of(task.source, "standard input"), files.name_of(planned.outputs[0])
    if len(planned.outputs) > 1:
        target += f" and {len(planned.outputs) - 1} more"
    most = "" if planned.exact else "at most "
    size = f"{planned.bytes} bytes" + " uncompressed" * planned.packed
    parts = [f"{most}{planned.what}", f"{most}{size}", f"{in_megabytes(planned.memory)} memory"]
    if planned.uncovered is not None:
        parts.append(("" if planned.exact else "at least ") + f"{planned.uncovered} pixels uncovered")
    return Said("", hints, result=f"{source} -> {target}: {', '.join(parts)}", planned=planned)
