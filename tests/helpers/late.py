"""A signal that comes at the worst moment."""

from __future__ import annotations

import signal
import threading
import time


def come_late(number: int) -> None:
    """Send the main thread, from another, a signal as if it came between its last step of Python and the call it waits in.

    The handler of the C library runs, and the call goes on: no step follows in which Python's own could run. By chance that is
    a matter of microseconds; here the system goes on with the call, as it is asked to.
    """
    signal.siginterrupt(number, False)  # noqa: FBT003  it has no name
    signal.pthread_kill(threading.main_thread().ident or 0, number)
    time.sleep(0.02)
    signal.siginterrupt(number, True)  # noqa: FBT003
