"""How a process ends by a signal: at once, nothing unfinished left behind."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

WORDS, CHILDREN, WORKERS, UPLOADS, FILES = range(5)  # who is told of the end, in this order
_ENDINGS: dict[int, Callable[[], None]] = {}
_PUTTING_OFF: list[Callable[[int], bool]] = []
AGAIN = 0.05  # seconds after which a signal that has not ended the process is sent again
LEAST_FILES = 32  # that may be open, of which two are for this
_begun: list[int] = []  # the signal by which the process is ending


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
    _insist()
    for name in names:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


@functools.cache
def _insist() -> None:
    """From now on send a signal again until it ends the process, where the system can and has what that takes.

    Python's handler runs between two steps of the main thread. A signal that comes after the last step before a system call,
    and before that has begun, does not interrupt it: a read of what nobody will ever write would last forever.
    """
    if not (hasattr(signal, "pthread_kill") and hasattr(os, "set_blocking")) or _something_is_short():
        return
    with contextlib.suppress(OSError):  # descriptors are short
        heard, told = os.pipe()
        try:
            _thread.start_new_thread(_send_again, (heard,))  # one of `threading` is waited for, which costs as much again
        except (RuntimeError, MemoryError):
            os.close(heard)
            os.close(told)
            return
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_forget)


def _something_is_short() -> bool:
    """Whether addresses are limited, of which a thread takes 72 MB (its stack, and what glibc sets aside), or descriptors few."""
    with contextlib.suppress(OSError), open("/proc/self/limits", "rb") as limits:  # the module for them takes as long as all else
        soft = {line[:16]: line.split()[3] for line in limits if line.startswith((b"Max address space", b"Max open files "))}
        files = soft.get(b"Max open files  ", b"unlimited")
        return soft.get(b"Max address spac", b"unlimited") != b"unlimited" or (files.isdigit() and int(files) < LEAST_FILES)
    return False


def _send_again(heard: int) -> None:
    """What the thread does that hears of signals from the system's side of their handler, which is never late."""
    with contextlib.suppress(OSError, MemoryError):  # closed by code of a user
        while told := os.read(heard, 1):
            while signal.getsignal(told[0]) == _end:
                time.sleep(AGAIN)
                if not _begun:
                    send_to_main_thread(told[0])


def _forget() -> None:
    """In a process that code of a user forked: its signals are not those of the run, whose files are not its own."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) == _end:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    """End worker processes, remove what is unfinished and end by the signal itself, so that a shell loop stops too.

    Nothing is raised: an exception can come up between any two steps of any library, and not all survive it.
    """
    if _begun or any(put_off(number) for put_off in _PUTTING_OFF):
        return
    _begun.append(number)
    for _, ending in sorted(_ENDINGS.items()):
        ending()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is not killed by its own signal
