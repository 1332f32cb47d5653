"""A file written by a thread of its own while the next bytes are made."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar

from patchcli.threads import started

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")
SMALL = 1 << 22  # bytes that are written before a thread for it would have started and ended
FLUSH_BYTES = 1 << 25


class WriteBehind:
    """A binary file that is written in a thread of its own, so that the next bytes are made meanwhile.

    What was given to `write` must not change afterwards. An error of the file is raised by a later call. Used as a context,
    it ends with everything written.

    Args:
        file: an open binary file, unbuffered or not; only this object touches it.
    """

    def __init__(self, file: BinaryIO) -> None:
        import queue

        self._file = file
        self._given: queue.Queue[bytes | memoryview | None] = queue.Queue(2)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drain()

    def seekable(self) -> bool:
        """Whether the file can seek."""
        return self._file.seekable()

    def write(self, data: bytes | memoryview) -> None:
        """Have ``data`` written after all that was given before."""
        self._complain()
        if self._thread is None and len(data) >= SMALL:
            thread = threading.Thread(target=self._work, name="patchcli-writer", daemon=True)
            self._thread = thread if started(thread) else None
        if self._thread is None:
            self._file.write(data)
        else:
            self._given.put(data)

    def seek(self, place: int) -> None:
        """Write all that was given, then move."""
        self._drain()
        self._file.seek(place)

    def _drain(self) -> None:
        if self._thread is not None:
            self._given.put(None)
            self._thread.join()
            self._thread = None
        self._complain()

    def _complain(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        start = place = self._file.tell() if self.seekable() else 0
        while (data := self._given.get()) is not None:
            if self._error is not None:
                continue  # take the rest, so that the maker is not left waiting
            try:
                self._file.write(data)
                place += len(data)
                if place - start >= FLUSH_BYTES:
                    start_flushing(self._file, start, place)
                    start = place
            except BaseException as error:  # noqa: BLE001  raised again by the next call
                self._error = error


def flushing(items: Iterable[Item], file: BinaryIO) -> Iterator[Item]:
    """The items; what is written to a file meanwhile is on its way to disk."""
    start = 0
    for item in items:
        yield item
        if file.seekable() and (place := file.tell()) - start >= FLUSH_BYTES:
            start_flushing(file, start, place)
            start = place


def start_flushing(file: BinaryIO, start: int, stop: int) -> None:
    """Have the system begin to write a finished part of a file to disk, so that the flush at the end has little to do.

    Linux starts writing dirty pages that it is told will not be needed (mm/fadvise.c); it can't drop them before.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file.fileno(), start, stop - start, os.POSIX_FADV_DONTNEED)
