"""How a process ends by a signal: at once, nothing unfinished left behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def end_by_signals(*names: str) -> None:
    """From now on these signals, where they are not ignored (as nohup does), end the process cleanly."""
    for name in names:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    """End worker processes, remove what is unfinished and end by the signal itself, so that a shell loop stops too.

    Nothing is raised: an exception can come up between any two steps of any library, and not all survive it.
    """
    # What was never imported has nothing to end; a command line that only shows its help imports neither.
    unfinished, pool = (sys.modules.get(f"patchcli.{name}") for name in ("unfinished", "pool"))
    if unfinished is not None and unfinished.put_off(number):
        return
    if pool is not None:
        pool.end_workers()
    if unfinished is not None:
        unfinished.discard_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
