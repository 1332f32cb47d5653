"""What a task would make and need, told from headers: what the plans of all commands share.

Memory is an estimate: arrays that are in use together are added up, as measured on Linux with glibc. The numbers below are
bytes that were measured where they could not be told from the code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from patchcli.jobs.reading import in_megabytes
from patchcli.jobs.task import Planned, Said, Task
from patchcli.storage import files
from patchcli.storage.outputs import check_name

if TYPE_CHECKING:
    import numpy as np

BASE = 33_000_000  # interpreter, numpy, Click and this program
LIBRARY = {"tiff": 2_500_000, "jpeg": 9_000_000, "webp": 9_000_000, "bmp": 9_000_000, "gif": 9_000_000}  # more than for PNG
PIECES = 7  # pieces of a file that are made, wait or are written at once
# While an image is encoded, what is held beside it: bytes a pixel in the library's own memory, and times the image's bytes.
ENCODING: dict[str, tuple[float, float]] = {
    "png": (0, 1.3),
    "tiff": (0, 2),
    "jpeg": (4, 0.5),
    "webp": (40, 1),
    "bmp": (4, 2),
    "pgm": (0, 3),
    "ppm": (0, 3),
    "pnm": (0, 3),
    "pbm": (0, 3),
}
NPY_BYTES = 1 << 24  # an array is written in parts of this size


def base(*formats: str) -> int:
    """Bytes of a process that has loaded what it needs for these image formats."""
    return BASE + max((LIBRARY.get(name, 0) for name in formats), default=0)


def encoding(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that are held beside an image ``(H, W[, C])`` while it is written."""
    nbytes = math.prod(shape) * dtype.itemsize
    if name == "npy":
        return min(nbytes, NPY_BYTES)
    pixel, times = ENCODING[name]
    pixel = 1 if pixel and len(shape) == 2 else pixel  # noqa: PLR2004
    return int(pixel * shape[0] * shape[1] + times * nbytes)


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
