"""How a process ends by a signal: at once, nothing unfinished left behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
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
    if (put_off := _imported("unfinished", "put_off")) and put_off(number):
        return
    for module, name in (("pool", "end_workers"), ("s3", "abort_uploads"), ("unfinished", "discard_unfinished")):
        if end := _imported(module, name):
            end()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is not killed by its own signal


def _imported(module: str, name: str) -> Callable[..., bool | None] | None:
    """A function, if there can be anything for it to do: it cannot if its module was not yet imported as far as to it."""
    return getattr(sys.modules.get(f"patchcli.{module}"), name, None)
