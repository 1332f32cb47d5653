"""Files of this machine; a `files.Store`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, cast

from patchcli.errors import OutputError, PatchcliError, reason
from patchcli.storage.paths import full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_MEMORY = 1 << 25
NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})  # that only writing runs into
NOT_REGULAR = "is {}; give a regular file, or - for standard input"


def open_file(path: str) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        PatchcliError: a directory, a FIFO, a socket or a device.
        OSError: no such file, no permission.
    """
    try:
        number = without_waiting(full(path), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise PatchcliError(NOT_REGULAR.format("a socket")) from None
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode):
        return open(number, "rb")
    os.close(number)
    raise PatchcliError(NOT_REGULAR.format("a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"))


open_head = open_file


def without_waiting(path: str, flags: int) -> int:
    """Open a file, and a FIFO that may be in its place without waiting for a writer; its number."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def spooled(name: str, copy: Callable[[BinaryIO], object]) -> BinaryIO:
    """An unnamed temporary file that was filled by ``copy``, at its beginning.

    Raises:
        OutputError: there is no room for it.
        OSError: ``copy`` failed.
    """
    spool = temporary_file(name)
    try:
        with keeping(name, NO_ROOM):
            copy(spool)
            spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return spool


@contextlib.contextmanager
def keeping(name: str, only: frozenset[int] | None = None) -> Iterator[None]:
    """What the system raises while something goes to a temporary file, in a sentence; ``only`` errors of these numbers."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        import tempfile

        place = tempfile.gettempdir()
        raise OutputError(
            f"{name}: cannot be kept in a temporary file in {place}: {reason(error)}; TMPDIR names another"
        ) from None


def temporary_file(name: str) -> BinaryIO:
    """An unnamed temporary file for what is read of ``name``."""
    import tempfile

    try:
        return cast("BinaryIO", tempfile.TemporaryFile())
    except FileNotFoundError:
        raise OutputError(
            f"{name}: needs a temporary file, and no folder for it can be written to; set TMPDIR to one that can"
        ) from None
    except OSError as error:
        raise OutputError(f"{name}: needs a temporary file, which cannot be made: {reason(error)}") from None


def kept_beside() -> BinaryIO:
    """An unnamed file for what is written: in memory up to `IN_MEMORY` bytes, then a temporary one."""
    import tempfile

    return cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY))


def exists(path: str) -> bool:
    """Whether something has this name."""
    return os.path.lexists(full(path))


def names(folder: str) -> set[str]:
    """What lies directly in a folder; nothing where there is none."""
    try:
        return set(os.listdir(full(folder) or os.curdir))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; None for what is not there."""
    try:
        status = os.stat(full(path))
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_special(path: str) -> bool:
    """Whether a path is a device, a FIFO or a folder."""
    try:
        return not stat.S_ISREG(os.stat(full(path)).st_mode)
    except OSError:
        return False


def stamp(path: str, file: BinaryIO | None = None) -> tuple[int, int]:
    """``(size, mtime_ns)`` of a file, by its name unless it is open as ``file``."""
    status = os.fstat(file.fileno()) if file else _status(full(path))
    return status.st_size, status.st_mtime_ns


def _status(path: str) -> os.stat_result:
    """What the system tells of a file, by its name or else of the open file."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise
    except OSError:
        number = without_waiting(path, os.O_RDONLY)
        try:
            return os.fstat(number)
        finally:
            os.close(number)


def delete(path: str) -> None:
    """Delete a file; that it is gone already is no fault."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(full(path))


def check_name(path: str) -> None:
    """Refuse a name that is too long for its folder, as writing would.

    Raises:
        OSError: it is.
    """
    folder, name = os.path.split(full(path))
    while folder and not os.path.isdir(folder):  # which is yet to be made
        folder = os.path.dirname(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(os.path.join(folder, name))
