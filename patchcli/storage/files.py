"""What is read and asked of a name, wherever it leads: standard input, a file of this machine, or a server."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from patchcli.errors import PatchcliError, reason
from patchcli.storage import local
from patchcli.storage.paths import is_remote, plain

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = "-"


class Store(Protocol):
    """Where files lie: this machine (the module `local`) or servers (`remote`). What fails there is an `OSError`."""

    def open_file(self, path: str) -> BinaryIO:
        """Open a file to read all of it. Raises `PatchcliError` for what is not a regular file."""

    def open_head(self, path: str) -> BinaryIO:
        """Open a file to read a little of it; of a remote one no more is fetched than is asked for."""

    def exists(self, path: str) -> bool:
        """Whether something has this name."""

    def names(self, folder: str) -> set[str]:
        """What lies directly in a folder; nothing where there is none."""

    def identity(self, path: str) -> tuple[int, int] | None:
        """By what a file is known whatever its name; None for what is not there, or known by its name alone."""

    def is_special(self, path: str) -> bool:
        """Whether it is written to, and never replaced."""

    def stamp(self, path: str, file: BinaryIO | None = None) -> tuple[int | None, int | None]:
        """``(size, mtime_ns)`` of a file, which may be open; None for what is not known."""

    def delete(self, path: str) -> None:
        """Delete a file; that it is gone already is no fault."""

    def check_name(self, path: str) -> None:
        """Refuse a name that is too long to be written."""


def store_of(path: str) -> Store:
    """The store of a name; that of servers is loaded where the first remote name occurs."""
    if not is_remote(path):
        return local
    from patchcli.storage import remote

    return remote


def open_input(path: str) -> BinaryIO:
    """Open a regular file for reading, or standard input for ``-``.

    What comes through a pipe or from a server is copied into an unnamed temporary file first.

    Raises:
        PatchcliError: no such file, a directory, a FIFO or a device, no permission; a server that does not answer.
        OutputError: there is no room for a temporary file.
    """
    return _opened(lambda: _standard_input() if path == STREAM else store_of(path).open_file(path))


def open_head(path: str) -> BinaryIO:
    """Open a file, local or remote, to read a little of it."""
    return _opened(lambda: store_of(path).open_head(path))


def _opened(opening: Callable[[], BinaryIO]) -> BinaryIO:
    try:
        return opening()
    except OSError as error:
        raise PatchcliError(f"cannot be read: {reason(error)}") from None


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise PatchcliError("is closed: nothing can be read from standard input")
    source = sys.stdin.buffer
    try:
        if stat.S_ISREG(os.fstat(source.fileno()).st_mode) and source.tell() == 0:
            return os.fdopen(os.dup(source.fileno()), "rb")
    except (OSError, ValueError):
        pass  # no file below it; copy
    return local.spooled("standard input", lambda spool: _copy(source, spool))


def _copy(source: BinaryIO, spool: BinaryIO) -> None:
    """Copy to the end. A pipe that somebody made non-blocking gives None while nothing is in it."""
    import select

    while (data := cast("bytes | None", source.read(1 << 20))) != b"":
        if data is None:
            select.select([source], [], [])
        else:
            spool.write(data)


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a local file, by which it is known whatever its name; None for what is not there."""
    return None if path == STREAM else store_of(path).identity(path)


def is_special(path: str) -> bool:
    """Whether a path is standard output, a device or a FIFO: written to, never replaced."""
    return path == STREAM or store_of(path).is_special(path)


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


def name_of(path: str, stream: str = "standard output") -> str:
    """How a path is called in messages."""
    return stream if path == STREAM else path


def file_size(path: str) -> int:
    """Bytes of a file; 0 where that is not known."""
    return stamp_of(path)[1] or 0


def stamp_of(path: str) -> tuple[str, int | None, int | None]:
    """``(name, size, mtime_ns)`` of a file by its path, the last two None where they are not known."""
    try:
        return _name_in_records(path), *store_of(path).stamp(path)
    except OSError:
        return _name_in_records(path), None, None


def stamp(path: str, file: BinaryIO) -> tuple[str | None, int | None, int | None]:
    """``(name, size, mtime_ns)`` of an open input, the name without its folder; None for what is not known.

    Of standard input nothing is kept, of remote files the time that their server told, if it did.
    """
    return (None, None, None) if path == STREAM else (_name_in_records(path), *store_of(path).stamp(path, file))


def _name_in_records(path: str) -> str:
    """The name of a file without its folder, from its bytes, so that it does not depend on the locale."""
    return os.fsencode(os.path.basename(plain(path))).decode("utf-8", "surrogateescape")
