"""How files are opened, and what there is of a name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from patchcli.errors import OutputError, PatchcliError
from patchcli.storage.paths import full, is_remote, plain

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = "-"
NO_FILE = "is {}; allowed are regular files, and - for standard input"


def reason(error: OSError) -> str:
    """What the system says of a failure, in lower case, without the number."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def open_input(path: str) -> BinaryIO:
    """Open a regular file for reading, or standard input for ``-``.

    What comes through a pipe or from a server is copied into an unnamed temporary file first.

    Raises:
        PatchcliError: no such file, a directory, a FIFO or a device, no permission; a server that does not answer.
    """
    if path == STREAM:
        return _standard_input()
    if is_remote(path):
        return _fetched(path)
    try:
        # O_NONBLOCK: a FIFO put in the place of a file must not block for ever
        number = os.open(full(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise PatchcliError(NO_FILE.format("a socket")) from None
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    try:
        mode = os.fstat(number).st_mode
    except OSError as error:
        os.close(number)
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise PatchcliError(NO_FILE.format(what))
    return os.fdopen(number, "rb")


def open_head(path: str) -> BinaryIO:
    """Open a file to read a little of it; of a remote one no more is fetched than is asked for."""
    if is_remote(path):
        from patchcli.storage import remote

        return remote.open_head(path)
    return open_input(path)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise PatchcliError("is closed: nothing can be read from standard input")
    source = sys.stdin.buffer
    try:
        if stat.S_ISREG(os.fstat(source.fileno()).st_mode) and source.tell() == 0:
            return os.fdopen(os.dup(source.fileno()), "rb")
    except (OSError, ValueError):
        pass  # no file below it; copy
    return _spooled("standard input", lambda spool: _copy(source, spool))


def _copy(source: BinaryIO, spool: BinaryIO) -> None:
    """Copy to the end. A pipe that somebody made non-blocking gives None while nothing is in it."""
    import select

    while (data := cast("bytes | None", source.read(1 << 20))) != b"":
        if data is None:
            select.select([source], [], [])
        else:
            spool.write(data)


def _fetched(path: str) -> BinaryIO:
    """A copy of a remote file; it tells of its change what the server told, or the beginning of time; see `stamp`."""
    from patchcli.storage import remote

    def fetch(spool: BinaryIO) -> None:
        changed = remote.fetch(path, spool) or 0
        spool.flush()
        if os.utime in os.supports_fd:
            os.utime(spool.fileno(), ns=(changed, changed))

    return _spooled(path, fetch)


def _spooled(name: str, copy: Callable[[BinaryIO], None]) -> BinaryIO:
    """An unnamed temporary file that was filled by ``copy``, at its beginning."""
    spool = temporary_file(name)
    try:
        copy(spool)
        spool.seek(0)
    except BaseException as error:
        spool.close()
        if not isinstance(error, OSError):
            raise
        if error.errno == errno.ENOSPC:
            raise OutputError(f"{name}: cannot be kept in a temporary file: {reason(error)}") from None
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    return spool


def temporary_file(name: str) -> BinaryIO:
    """An unnamed temporary file for what is read of ``name``."""
    import tempfile

    try:
        return cast("BinaryIO", tempfile.TemporaryFile())
    except OSError as error:
        raise OutputError(
            f"{name}: needs a temporary file, and there is no folder for it ({reason(error):.60}); set TMPDIR to one"
        ) from None


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a local file, by which it is known whatever its name; None for what is not there."""
    if path == STREAM or is_remote(path):
        return None
    try:
        status = os.stat(full(path))
    except OSError:
        return None
    return status.st_dev, status.st_ino


def locked(number: int) -> bool:
    """Lock an open file for as long as it is open; False where another process has locked it.

    Where the system, or the file's own, knows no locks, nobody has locked it.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def exists(path: str) -> bool:
    """Whether something has this name."""
    if is_remote(path):
        from patchcli.storage import remote

        return remote.exists(path)
    return os.path.lexists(full(path))


def names(folder: str) -> set[str]:
    """What lies directly in a folder; nothing where there is none."""
    if is_remote(folder):
        from patchcli.storage import remote

        return remote.names(folder)
    try:
        return set(os.listdir(full(folder) or os.curdir))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def is_special(path: str) -> bool:
    """Whether a path is standard output, a device or a FIFO: written to, never replaced."""
    if path == STREAM:
        return True
    if is_remote(path):
        return False
    try:
        return not stat.S_ISREG(os.stat(full(path)).st_mode)
    except OSError:
        return False


def name_of(path: str, stream: str = "standard output") -> str:
    """How a path is called in messages."""
    return stream if path == STREAM else path


def size_of(path: str) -> int:
    """Bytes of a local file; 0 where that is not known."""
    try:
        return os.stat(full(path)).st_size
    except OSError:
        return 0


def stamp_of(path: str) -> tuple[str, int | None, int | None]:
    """``(name, size, mtime_ns)`` of a file by its path, the last two None where they are not known."""
    name = _name_in_records(path)
    try:
        if is_remote(path):
            from patchcli.storage import remote

            return name, *remote.stamp(path)
        status = _status(full(path))
    except OSError:
        return name, None, None
    return name, status.st_size, status.st_mtime_ns


def _status(path: str) -> os.stat_result:
    """What the system tells of a file, by its name or else of the open file."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise
    except OSError:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            return os.fstat(number)
        finally:
            os.close(number)


def stamp(path: str, file: BinaryIO) -> tuple[str | None, int | None, int | None]:
    """``(name, size, mtime_ns)`` of an open input, the name without its folder; None for what is not known.

    Of standard input nothing is kept, of remote files the time that their server told, if it did.
    """
    if path == STREAM:
        return None, None, None
    status = os.fstat(file.fileno())
    told = not is_remote(path) or (status.st_mtime_ns != 0 and os.utime in os.supports_fd)
    return _name_in_records(path), status.st_size, status.st_mtime_ns if told else None


def _name_in_records(path: str) -> str:
    """The name of a file without its folder, from its bytes, so that it does not depend on the locale."""
    return os.fsencode(os.path.basename(plain(path))).decode("utf-8", "surrogateescape")
