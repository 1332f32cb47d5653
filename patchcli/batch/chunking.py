"""How many tasks are sent to a worker at once."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 0.2  # of work that is sent at once: sending costs a few milliseconds, but what is done is heard of when all is
MOST = 64
SHARES = 4  # a worker gets no more at once than this part of its share of what is left, so that all end together
LOOK_BACK = 16


class Pace:
    """How many tasks make about `SECONDS` of work, by how fast the last ones were done; one by one until that is known.

    Args:
        todo: tasks in all.
        workers: that do them.
        clock: seconds.

    >>> pace = Pace(1000, 2)
    >>> pace.next()
    1
    """

    def __init__(self, todo: int, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._left, self._workers, self._clock = todo, workers, clock
        self._done = 0
        self._seen: deque[tuple[float, int]] = deque(maxlen=LOOK_BACK)  # when so many were done

    def next(self) -> int:
        """How many to send now."""
        most = min(MOST, self._left // (SHARES * self._workers))
        if len(self._seen) > 1:
            (begun, before), (now, done) = self._seen[0], self._seen[-1]
            each = (now - begun) * self._workers / (done - before)
            most = min(most, int(SECONDS / max(each, SECONDS / MOST)))
        else:
            most = 1
        return max(1, most)

    def sent(self, count: int) -> None:
        """So many were sent."""
        self._left -= count

    def done(self, count: int) -> None:
        """So many were done, at least one."""
        self._done += count
        self._seen.append((self._clock(), self._done))
