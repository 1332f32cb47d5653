"""Standard streams: what is written to standard output is written whole, or an error; standard error is in nobody's way."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "standard output"  # file name of its errors
CLOSED = -1  # a descriptor of nothing: the null device has the number of a standard stream that is closed


def write_all(number: int, data: Any) -> None:  # noqa: ANN401
    """Write all of a buffer to a descriptor: a system call may take a part, or nothing of it yet."""
    view = memoryview(data).cast("B")
    while view:
        try:
            taken = os.write(number, view)
        except BlockingIOError:  # of a pipe that somebody made non-blocking
            select.select([], [number], [])
            continue
        if not taken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        view = view[taken:]


class _Whole(io.RawIOBase):
    """A descriptor to which all is written that is given."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number, self.gone = number, False

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  any buffer
        if not self.gone:
            try:
                write_all(self._number, data)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OSError(error.errno, error.strerror, NAME) from None
        return memoryview(data).nbytes


class _Heard(_Whole):
    """As long as somebody takes it; then nothing is said any more."""

    def write(self, data: Any) -> int:  # noqa: ANN401
        try:
            return super().write(data)
        except OSError:
            self.gone = True
            return super().write(data)


def mend() -> None:
    """Put streams that keep these promises in the place of `sys.stdout` and `sys.stderr`; what they cannot encode is escaped."""
    sys.stdout = _text(_Whole(1 if sys.stdout is not None else CLOSED), sys.stdout)
    sys.stderr = _text(_Heard(2), sys.stderr)


def _text(raw: _Whole, like: object) -> io.TextIOWrapper:
    encoding = getattr(like, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=raw.isatty() or raw.fileno() > 1)


_SPEAKING: list[TextIO] = []  # of a worker, whose own standard error is the null device


def speak_to(number: int) -> None:
    """From now on the code of a user speaks to this descriptor."""
    _SPEAKING[:] = [_text(_Heard(number), sys.stderr)]


def speaking() -> TextIO:
    """Where the code of a user speaks: standard error, in a worker that of the process that started it."""
    return _SPEAKING[0] if _SPEAKING else sys.stderr


@contextlib.contextmanager
def user_speaks() -> Iterator[None]:
    """In the block what is printed, by whatever means, is said and is no result: standard output may be an image."""
    with contextlib.redirect_stdout(speaking()), contextlib.redirect_stderr(speaking()), contextlib.ExitStack() as after:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no descriptors, as in a worker of a cluster
            number, kept = speaking().fileno(), os.dup(1)
            after.callback(os.close, kept)
            os.dup2(number, 1)
            after.callback(os.dup2, kept, 1)
        yield


def give_up() -> None:
    """Write nothing more to standard output, not what waits to be written either: it takes nothing."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Whole):
        raw.gone = True
