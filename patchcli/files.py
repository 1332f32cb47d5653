"""How files are opened and how an output comes to exist: only whole, under its name at once, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from patchcli.errors import OutputError, PatchcliError
from patchcli.places import full

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

STREAM = "-"
UNFINISHED: set[str] = set()  # temporary files there are now
_publishing = 0  # outputs are getting their names; a signal waits for the last
_waiting: list[int] = []  # signals that wait
MAX_NAME = 200  # bytes of a name that its temporary name keeps


def reason(error: OSError) -> str:
    """What the system says of a failure, in lower case, without the number."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def open_input(path: str) -> BinaryIO:
    """Open a regular file for reading, or standard input for ``-`` (from a pipe: by way of an unnamed temporary file).

    Raises:
        PatchcliError: no such file, a directory, a FIFO or a device, no permission.
    """
    if path == STREAM:
        return _standard_input()
    try:
        # O_NONBLOCK: a FIFO put in the place of a file must not block for ever
        number = os.open(full(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise PatchcliError(f"is {what}; allowed are regular files, and - for standard input")
    return os.fdopen(number, "rb")


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise PatchcliError("is closed: nothing can be read from standard input")
    source = sys.stdin.buffer
    try:
        if stat.S_ISREG(os.fstat(source.fileno()).st_mode) and source.tell() == 0:
            return os.fdopen(os.dup(source.fileno()), "rb")
    except (OSError, ValueError):
        pass  # no file below it; copy
    import shutil
    import tempfile

    spool = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  handed to the caller, who closes it
    try:
        shutil.copyfileobj(source, spool, 1 << 20)
        spool.seek(0)
    except OSError as error:
        spool.close()
        if error.errno == errno.ENOSPC:
            raise OutputError(f"standard input: cannot be kept in a temporary file: {reason(error)}") from None
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    return spool


def is_special(path: str) -> bool:
    """Whether a path is standard output, a device or a FIFO: written to, never replaced."""
    if path == STREAM:
        return True
    try:
        return not stat.S_ISREG(os.stat(full(path)).st_mode)
    except OSError:
        return False


class Outputs:
    """Outputs of one piece of work: all of them appear under their names when the block ends without an exception, or none.

    Args:
        overwrite: replace files that exist.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._whole: list[tuple[str, str, str]] = []  # (temporary name, name, name given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                with _undisturbed():
                    self._publish()
        finally:
            for temporary, _, _ in self._whole:
                _remove(temporary)

    def _publish(self) -> None:
        folders = set()
        if not self._overwrite:  # refused for one, refused for all
            for _, path, given in self._whole:
                with _named(given):
                    if os.path.lexists(path):
                        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        while self._whole:
            temporary, path, given = self._whole.pop()
            try:
                with _named(given):
                    _put_in_place(temporary, path, overwrite=self._overwrite)
            except BaseException:
                _remove(temporary)
                raise
            UNFINISHED.discard(temporary)
            folders.add(os.path.dirname(path))
        for folder in folders:
            _flush_folder(folder)

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open an output for writing.

        A regular file is written beside its place, flushed to disk, and renamed at the end; its folder is made if missing.
        Standard output (``-``), devices and FIFOs are written to directly.

        Raises:
            OutputError: the disk is full, the place is not writable, or the output exists and may not be overwritten.
            BrokenPipeError: the reader of a pipe went away.
        """
        with _named(path):
            if is_special(path):
                with _special(path if path == STREAM else full(path)) as file:
                    yield file
                return
            place = os.path.realpath(full(path))
            with _beside(place) as (file, temporary):
                yield file
            self._whole.append((temporary, place, path))


@contextlib.contextmanager
def create(path: str, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a single output for writing; see `Outputs`."""
    with Outputs(overwrite=overwrite) as outputs, outputs.create(path) as file:
        yield file


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """What the system raises while an output is made, as one sentence that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{name_of(path)}: cannot be written: {reason(error)}") from None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A signal that comes meanwhile is raised at the end: of several outputs all get their names or none."""
    global _publishing  # noqa: PLW0603  a signal handler has no other way to know
    _publishing += 1
    try:
        yield
    finally:
        _publishing -= 1
        if not _publishing and _waiting:
            signal.raise_signal(_waiting.pop())


def put_off(number: int) -> bool:
    """Whether a signal has to wait for outputs that are getting their names; it is raised again after that."""
    if _publishing:
        _waiting.append(number)
    return _publishing > 0


def _remove(temporary: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary)
    UNFINISHED.discard(temporary)


def discard_unfinished() -> None:
    """Remove the temporary files of outputs in the making; for a process that ends at once."""
    for temporary in list(UNFINISHED):
        _remove(temporary)


def name_of(path: str, stream: str = "standard output") -> str:
    """How a path is called in messages."""
    return stream if path == STREAM else path


@contextlib.contextmanager
def _special(path: str) -> Iterator[BinaryIO]:
    if path != STREAM:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with open(path, "wb") as special:
            yield special
        return
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _beside(path: str) -> Iterator[tuple[BinaryIO, str]]:
    """A temporary file in the folder of ``path`` and its name; on disk, or gone, when the block ends."""
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    temporary = os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:MAX_NAME])}.{os.urandom(6).hex()}.tmp")
    UNFINISHED.add(temporary)
    try:
        number = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(number, "w+b") as file:
            _same_mode(number, path)
            yield file, temporary
            file.flush()
            os.fsync(number)
    except BaseException:
        _remove(temporary)
        raise


def _put_in_place(temporary: str, path: str, *, overwrite: bool) -> None:
    """Give a finished file its name; a file that came into being meanwhile is kept unless it may be overwritten."""
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # which, unlike a rename, fails where something is
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _same_mode(number: int, path: str) -> None:
    """Give a temporary file the mode of the file that it replaces."""
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(number, stat.S_IMODE(os.stat(path).st_mode))


def _flush_folder(folder: str) -> None:
    """Make the new name as durable as the data, where the system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def stamp(path: str, file: BinaryIO) -> tuple[str | None, int | None, int | None]:
    """``(name, size, mtime_ns)`` of an open input, the name without its folder; of standard input nothing is kept."""
    if path == STREAM:
        return None, None, None
    status = os.fstat(file.fileno())
    return os.path.basename(path), status.st_size, status.st_mtime_ns
