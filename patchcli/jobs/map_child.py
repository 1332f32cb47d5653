"""A command as the function of a map: batches go to its standard input as ``.npy`` records, and one comes back for each.

It runs in a session of its own, so that all that it starts ends with it. `docs/exec.md` has the protocol as its authors see it.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from subprocess import PIPE
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError, UsageError, counted, one_line, reason, shortened
from patchcli.npy_header import NPY_MAGIC, read_npy_header
from patchcli.storage import atomic, signals
from patchcli.storage.paths import full, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from numpy.typing import NDArray

LEAVING_SECONDS = 10.0  # for a child to end once its input has ended
TERM_SECONDS = 2.0  # from SIGTERM to SIGKILL
HASTE = 0.2  # the same when a run is broken off: a worker process itself has little longer than that
SOON = 1.0  # in which what is as good as over shows how it ended
TURN = 0.5  # after which a child that does nothing is looked at
PIPE_BYTES = 1 << 20  # three times as fast as the 64 KiB that a pipe has
LINE_BYTES = 4096  # of each end of a line of standard error; far more than is shown
MOST_TIMES = 4096  # how much larger than its batch an answer may be: 16 times on both sides in float64 for uint8, twice
SHOWN_BYTES = 40  # bytes of what is no record
MOST_BEHIND = 1 << 20  # bytes behind the last record that are counted
UNREAD = "closed its standard input before it had read all of a batch"
Buffer = bytearray | memoryview
_LIVE: set[Child] = set()


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell splits them; nothing in them is expanded.

    Raises:
        UsageError: there are none, a quote has no end, or the first is not the name of a program that can be run; or this
            system has no groups of processes.
    """
    if not hasattr(os, "killpg"):
        raise UsageError("a command as the function needs Linux, macOS or another Unix; give a function in Python")
    try:
        words = shlex.split(command)
    except ValueError:
        raise UsageError(f"the command {_quoted(command)} has a quote or a backslash without an end") from None
    if not words or not words[0]:
        raise UsageError("the command is empty; give a program and its arguments")
    program = full(words[0]) if os.sep in words[0] else words[0]
    if "\0" in command or shutil.which(program) is None:
        raise UsageError(f"the command {_quoted(command)} names no program that can be run; is it installed and executable?")
    return words


class Child:
    """A running command, called with one batch of patches after the other; use it in a ``with`` block.

    Whatever way the block ends, nothing of the command is left: neither a process of its session nor a descriptor.

    Args:
        command: a program and its arguments, as `words_of` has them.
        tell: is given each line of its standard error, on one line, escaped and shortened.

    Raises:
        PatchcliError: there is no such program, or the system cannot start it.
    """

    def __init__(self, command: str, tell: Callable[[str], None]) -> None:
        words = words_of(command)
        self._name, self._tell = f"the command {_quoted(command)}", tell
        self._selector = selectors.DefaultSelector()
        try:
            with atomic.undisturbed():  # a signal comes before there is a child, or when it is known to be ended
                self._process = subprocess.Popen(  # noqa: S603  the user's own command
                    words, bufsize=0, cwd=world().folder or None, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
                )
                _LIVE.add(self)
        except (OSError, ValueError) as error:
            self._selector.close()
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise PatchcliError(f"{self._name} cannot be started: {why}") from None
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = (pipe for pipe in pipes if pipe is not None)
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)
        for pipe in (self._stdin, self._stdout):
            _enlarge(pipe.fileno())
        for pipe in (self._stdout, self._stderr):
            self._selector.register(pipe, selectors.EVENT_READ)
        self._unsent: list[memoryview] = []  # of the batch that is under way
        self._line = b""  # of standard error, of which the end has not come
        self._batches = 0  # that were answered
        self._got = 0  # bytes of the answer that is under way
        self._quiet = 0  # how often the child was found dead and its output still open, but without anything in it
        self._refused = math.inf  # when it closed its input, while it had still to read
        self._behind = memoryview(bytearray(1 << 16))  # for what nobody asked for

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Have a batch changed. How long that takes is the command's own affair.

        Args:
            batch: patches ``(B, h, w)`` or ``(B, h, w, C)`` of any real dtype; copied only where it is not C-contiguous.

        Returns:
            A new array of ``B`` patches in the shape, the dtype (in native byte order) and the order that the command gave them.

        Raises:
            PatchcliError: the command ended, or gave what is not one record of ``B`` patches of real numbers.
        """
        batch = np.ascontiguousarray(batch)
        self._refuse_more(0)
        self._unsent = [memoryview(_header_of(batch)), batch.reshape(-1).view(np.uint8).data]
        self._selector.register(self._stdin, selectors.EVENT_WRITE)
        answer = self._record(batch)
        self._batches, self._got = self._batches + 1, 0
        while self._unsent:  # it answered before it had read everything
            self._refuse_more(TURN)
        if self._refused < math.inf:
            raise self._fault(UNREAD)
        return answer

    def _record(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The answer to a batch; memory for it fills as it comes."""
        begun = bytearray()

        def take(count: int) -> bytes:
            part = bytearray(count)
            self._fill(memoryview(part), begun)
            begun.extend(part)
            return bytes(part)

        try:
            _, dtype, fortran, shape = read_npy_header(take, f"{self._name} sent a record that ")
        except PatchcliError as error:
            raise self._blamed(error) from None
        check_real(dtype, f"what {self._name} gave")
        if shape[:1] != batch.shape[:1]:
            given = counted(shape[0], "patch") if shape else "a single number"
            raise self._fault(f"gave {given} for {len(batch)}; one is expected for each")
        if math.prod(max(side, 1) for side in shape) * dtype.itemsize > MOST_TIMES * (batch.nbytes + LINE_BYTES):
            raise self._fault(
                f"gave shape {shape} of {dtype} for {batch.shape} of {batch.dtype}, over {MOST_TIMES} times as much"
            )
        stored: NDArray[Any] = np.empty(shape[::-1] if fortran else shape, dtype)
        self._fill(stored.reshape(-1).view(np.uint8).data)
        native = stored if dtype.isnative else stored.byteswap(inplace=True).view(dtype.newbyteorder("="))
        return native.transpose() if fortran else native

    def _fill(self, into: memoryview, begun: bytearray | None = None) -> None:
        """Read so many bytes of an answer; those of a header, of which ``begun`` came before, are looked at as they come."""
        done = 0
        while done < len(into):
            done += self._turn(into[done:], TURN)
            if begun is not None and _is_foreign(said := begun + into[:done]):
                raise self._foreign(said + self._behind[: self._turn(self._behind, 0)])
            if self._gone() and done < len(into):
                raise self._lost()

    def _refuse_more(self, wait: float) -> None:
        """Refuse what comes while no answer is due."""
        got = self._turn(self._behind, wait)
        if got and not self._batches and _is_foreign(self._behind[:got]):
            raise self._foreign(self._behind[:got])
        if got:
            raise self._fault(f"sent more than {counted(self._batches, 'record')}; one is expected for each batch")
        if self._gone():
            raise self._lost()

    def _turn(self, into: memoryview, wait: float) -> int:
        """Wait once, at most so many seconds, and move what can be moved; how many bytes came ``into`` there."""
        got, moved = 0, False
        for key, _ in self._selector.select(min(wait, HASTE) if self._quiet else wait):
            if key.fileobj is self._stderr:
                self._hear()
                continue
            moved = True
            if key.fileobj is self._stdin:
                self._send()
            else:
                got = self._receive(into)
        self._got += got
        if moved or self._process.poll() is None:
            self._quiet = 0
        else:
            self._quiet += 1
        if time.monotonic() > self._refused + LEAVING_SECONDS:
            raise self._fault(f"{UNREAD}, and then gave no whole answer within {LEAVING_SECONDS:g} s")
        return got

    def _gone(self) -> bool:
        """Whether nothing more comes: the end of output, or a child that is dead and left nothing in it.

        Twice, because what it wrote last may have come after the first time that was looked for it.
        """
        return self._stdout.closed or self._quiet > 1

    def _send(self) -> None:
        try:
            sent = os.writev(self._stdin.fileno(), self._unsent)
        except BlockingIOError:
            return
        except BrokenPipeError:  # why shows in its output, which may end, too
            self._unsent = []
            self._refused = time.monotonic()
            self._drop(self._stdin)
            return
        while self._unsent and sent >= len(self._unsent[0]):
            sent -= len(self._unsent.pop(0))
        if self._unsent:
            self._unsent[0] = self._unsent[0][sent:]
        else:
            self._selector.unregister(self._stdin)

    def _receive(self, into: memoryview) -> int:
        got = os.readv(self._stdout.fileno(), [into])
        if not got:
            self._drop(self._stdout)
        return got

    def _hear(self) -> None:
        """Pass on what the child says, by lines; the last may have no end."""
        said = os.read(self._stderr.fileno(), 1 << 16)
        *lines, rest = (self._line + said).split(b"\n")
        for line in lines:
            self._say(line)
        self._line = _clipped(rest)
        if not said:
            self._say_rest()
            self._drop(self._stderr)

    def _say_rest(self) -> None:
        if self._line:
            self._say(self._line)
        self._line = b""

    def _say(self, line: bytes) -> None:
        text = _clipped(line.removesuffix(b"\r")).decode("utf-8", "backslashreplace")
        self._tell(shortened(one_line(text)))

    def _listen(self, wait: float) -> bool:
        """Pass on what the child says within so many seconds; whether it said anything."""
        said = any(key.fileobj is self._stderr for key, _ in self._selector.select(wait))
        if said:
            self._hear()
        return said

    def _fault(self, fact: str) -> PatchcliError:
        return self._blamed(PatchcliError(f"{self._name} {fact}"))

    def _blamed(self, error: PatchcliError) -> PatchcliError:
        """An error, before which stands what the child says of it."""
        until = time.monotonic() + SOON
        while self._listen(0) and time.monotonic() < until:
            pass
        self._say_rest()
        return error

    def _foreign(self, said: Buffer) -> PatchcliError:
        more = " ..." if len(said) > SHOWN_BYTES else ""
        return self._fault(f"sent no .npy record but {bytes(said[:SHOWN_BYTES])!r}{more}; one record is expected for each batch")

    def _lost(self) -> PatchcliError:
        """Why there is no answer."""
        self._drop(self._stdin, self._stdout)
        code = self._code(time.monotonic() + SOON)
        fate = "closed its standard output" if code is None else fate_of(code)
        torn = f" and {counted(self._got, 'byte')} of the next record" if self._got else ""
        return self._fault(f"{fate} after {counted(self._batches, 'batch')}{torn}")

    def _code(self, until: float) -> int | None:
        """The exit status of the child once it has ended and all was heard; None where it has not by then."""
        while True:
            code, left = self._process.poll(), until - time.monotonic()
            said = self._listen(0 if code is not None else max(0, min(left, 0.005)))
            if left <= 0 or (code is not None and not said):
                return code

    def close(self) -> None:
        """Send no more batches, and wait for the command to end. Once is enough.

        Raises:
            PatchcliError: it sent more than it should, did not end in time, or not well.
        """
        if self in _LIVE:
            try:
                self._finish()
            finally:
                self._end(TERM_SECONDS if self._process.poll() is None else HASTE)

    def _finish(self) -> None:
        self._drop(self._stdin)
        until, behind = time.monotonic() + LEAVING_SECONDS, 0
        while not self._gone() and time.monotonic() < until and behind < MOST_BEHIND:
            got = self._turn(self._behind, min(TURN, max(0, until - time.monotonic())))
            if got and not behind:
                until = min(until, time.monotonic() + SOON)
            behind += got
        if behind:
            least = "" if self._gone() else "at least "
            raise self._fault(f"sent {least}{counted(behind, 'byte')} behind its last record; one is expected for each batch")
        self._drop(self._stdout)
        code = self._code(until)
        if code is None:
            raise self._fault(f"did not end within {LEAVING_SECONDS:g} s of the end of its input; it was killed")
        self._say_rest()
        if code:
            raise self._fault(f"{fate_of(code)} after its last record")

    def _end(self, grace: float) -> None:
        """End what is left of the command, and forget it."""
        self._drop(self._stdin, self._stdout, self._stderr)
        self._selector.close()
        _end_sessions([self._process], grace)
        _LIVE.discard(self)

    def _drop(self, *pipes: IO[bytes]) -> None:
        for pipe in pipes:
            if not pipe.closed:
                with contextlib.suppress(KeyError):  # as it is while nothing is to be written
                    self._selector.unregister(pipe)
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif self in _LIVE:
            self._end(HASTE)


def fate_of(code: int) -> str:
    """How a process ended, by what `subprocess` has as its return code.

    >>> fate_of(3), fate_of(-11)
    ('ended with exit status 3', 'was killed by SIGSEGV')
    """
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"was killed by {name}{', most often for lack of memory,' if name == 'SIGKILL' else ''}"


def _quoted(command: str) -> str:
    """A command as messages show it.

    >>> _quoted("python3 f.py")
    "'python3 f.py'"
    """
    text = one_line(command)
    return f"'{text if len(text) <= 2 * SHOWN_BYTES else f'{text[: 2 * SHOWN_BYTES]}...'}'"


def _is_foreign(said: Buffer) -> bool:
    """Whether these cannot be the first bytes of a record."""
    return not NPY_MAGIC.startswith(bytes(said[: len(NPY_MAGIC)]))


def _clipped(line: bytes) -> bytes:
    """A line of which no more is kept than is ever shown."""
    return line if len(line) <= 2 * LINE_BYTES else line[:LINE_BYTES] + line[-LINE_BYTES:]


def _header_of(array: NDArray[Any]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return header.getvalue()


def _enlarge(pipe: int) -> None:
    """Make a pipe as large as the system lets it be, up to `PIPE_BYTES`."""
    with contextlib.suppress(ImportError, AttributeError):  # only Linux has this
        import fcntl

        size = PIPE_BYTES
        while size > 1 << 16:
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
                return
            size //= 2


def _end_sessions(leaders: Iterable[subprocess.Popen[bytes]], grace: float) -> None:
    """End commands with all that they started: by SIGTERM, and those that live on so many seconds later by SIGKILL."""
    living = [leader for leader in leaders if _lives(leader)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for leader in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, number)
        until = time.monotonic() + grace
        while living and time.monotonic() < until:
            time.sleep(0.002)
            living = [leader for leader in living if _lives(leader)]


def _lives(leader: subprocess.Popen[bytes]) -> bool:
    """Whether a command or anything that it started in its session is there."""
    if leader.poll() is None:
        return True
    try:
        os.killpg(leader.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def end_children() -> None:
    """End all commands that run, without a word."""
    _end_sessions([child._process for child in list(_LIVE)], HASTE)  # noqa: SLF001


signals.at_end(signals.CHILDREN, end_children)
