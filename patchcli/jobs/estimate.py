"""What the plans of all commands share: bounds on memory.

The largest arrays that are in use together are added up. The numbers below were measured, on Linux with glibc, where they could
not be told from the code.
"""

from __future__ import annotations

from patchcli.images.formats import FORMATS

BASE = 33_000_000  # bytes: interpreter, numpy, Click and this program
NUMBER_BYTES = 8  # of a sum, an origin, a number of a patch
PIECES = 7  # pieces of a file that are made, wait or are written at once


def base(*formats: str) -> int:
    """Bytes of a process that has loaded what it needs for these image formats."""
    return BASE + max((FORMATS[name].library for name in formats), default=0)
