"""How a process ends by a signal: at once, nothing unfinished left behind."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

WORDS, CHILDREN, WORKERS, UPLOADS, FILES = range(5)  # who is told of the end, in this order
_ENDINGS: dict[int, Callable[[], None]] = {}
_PUTTING_OFF: list[Callable[[int], bool]] = []


def at_end(order: int, ending: Callable[[], None]) -> None:
    """From now on call ``ending`` when a signal ends the process, those of a smaller ``order`` before it."""
    _ENDINGS[order] = ending


def not_now(put_off: Callable[[int], bool]) -> None:
    """From now on ask ``put_off`` of each signal whether it has to wait; who says so raises it again later."""
    _PUTTING_OFF.append(put_off)


def send_to_main_thread(number: int) -> None:
    """Raise a signal where its handler runs, so that what that thread waits for is interrupted, where the system can."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


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
    if any(put_off(number) for put_off in _PUTTING_OFF):
        return
    for _, ending in sorted(_ENDINGS.items()):
        ending()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is not killed by its own signal
