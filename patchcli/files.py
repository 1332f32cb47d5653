"""How files are opened and how an output comes to exist: only whole, under its name at once, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from patchcli import behind, unfinished
from patchcli.errors import OutputError, PatchcliError
from patchcli.places import full, is_remote, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

STREAM = "-"
MOST_OPEN = 16  # files that wait to be flushed, of one piece of work


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
        raise PatchcliError(f"cannot be read: {reason(error)}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        what = "a directory" if stat.S_ISDIR(mode) else "a FIFO, socket or device"
        raise PatchcliError(f"is {what}; allowed are regular files, and - for standard input")
    return os.fdopen(number, "rb")


def open_head(path: str) -> BinaryIO:
    """Open a file to read a little of it; of a remote one no more is fetched than is asked for."""
    if is_remote(path):
        from patchcli import remote

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
    import shutil

    return _spooled("standard input", lambda spool: shutil.copyfileobj(source, spool, 1 << 20))


def _fetched(path: str) -> BinaryIO:
    """A copy of a remote file; it tells of its change what the server told, or the beginning of time; see `stamp`."""
    from patchcli import remote

    def fetch(spool: BinaryIO) -> None:
        changed = remote.fetch(path, spool) or 0
        spool.flush()
        if os.utime in os.supports_fd:
            os.utime(spool.fileno(), ns=(changed, changed))

    return _spooled(path, fetch)


def _spooled(name: str, copy: Callable[[BinaryIO], None]) -> BinaryIO:
    """An unnamed temporary file that was filled by ``copy``, at its beginning."""
    import tempfile

    spool = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  handed to the caller, who closes it
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


def exists(path: str) -> bool:
    """Whether something has this name."""
    if is_remote(path):
        from patchcli import remote

        return remote.exists(path)
    return os.path.lexists(full(path))


def names(folder: str) -> set[str]:
    """What lies directly in a folder; nothing where there is none."""
    if is_remote(folder):
        from patchcli import remote

        return remote.names(folder)
    try:
        return set(os.listdir(full(folder) or os.curdir))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def remove(path: str) -> None:
    """Delete an output of before; that it is gone already is no fault."""
    if is_remote(path):
        from patchcli import remote

        remote.remove(path)
        return
    with contextlib.suppress(FileNotFoundError), _named(path):
        os.unlink(full(path))


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


class Outputs:
    """Outputs of one piece of work: all of them appear under their names when the block ends without an exception, or none.

    Remote ones are sent before local ones get their names. Where one fails, those sent are deleted again; only what they
    replaced does not come back.

    Args:
        overwrite: replace files that exist.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._whole: list[tuple[str, str, str]] = []  # (temporary name, name, name given)
        self._remote: list[tuple[str, str, str]] = []  # likewise
        self._numbers: list[int] = []  # of temporary files that are to be flushed to disk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._discard()
        elif self._whole and (finisher := behind.current()) is not None:
            finisher.add(self._publish_or_discard, self._discard)
        else:
            self._publish_or_discard()

    def _publish_or_discard(self) -> None:
        try:
            self._publish()
        finally:
            self._discard()

    def _discard(self) -> None:
        for temporary, _, _ in [*self._whole, *self._remote]:
            unfinished.remove(temporary)
        for number in self._numbers:
            os.close(number)
        self._numbers.clear()

    def _publish(self) -> None:
        if not self._overwrite:  # refused for one, refused for all
            for _, path, given in [*self._whole, *self._remote]:
                with _named(given):
                    if exists(path):
                        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        for number in self._numbers:
            with _named(self._whole[0][2]):
                os.fsync(number)
        with self._sent(), unfinished.undisturbed():
            self._put_in_place()

    @contextlib.contextmanager
    def _sent(self) -> Iterator[None]:
        """Send the remote outputs; they stay if the block ends well too."""
        if not self._remote:
            yield
            return
        from patchcli import remote

        sent = []
        try:
            for temporary, path, given in self._remote:
                with _named(given):
                    remote.send(temporary, path, overwrite=self._overwrite)
                sent.append(path)
            yield
        except BaseException:
            for path in sent if not self._overwrite else ():
                remote.remove(path)
            raise

    def _put_in_place(self) -> None:
        folders = set()
        while self._whole:
            temporary, path, given = self._whole.pop()
            try:
                with _named(given):
                    unfinished.put_in_place(temporary, path, overwrite=self._overwrite)
            except BaseException:
                unfinished.remove(temporary)
                raise
            unfinished.UNFINISHED.discard(temporary)
            folders.add(os.path.dirname(path))
        for folder in folders:
            unfinished.flush_folder(folder)

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open an output for writing.

        A regular file is written beside its place, flushed to disk, and renamed at the end; its folder is made if missing.
        A remote one is written to a temporary file, and sent at the end. Standard output (``-``), devices and FIFOs are
        written to directly.

        Raises:
            OutputError: the disk is full, or the place is not writable.
            PatchcliError: the output exists by the end of the block and may not be overwritten.
            BrokenPipeError: the reader of a pipe went away.
        """
        with _named(path):
            if is_special(path):
                with _special(path if path == STREAM else full(path)) as file:
                    yield file
                return
            if is_remote(path):
                with unfinished.apart() as (file, temporary):
                    yield file
                self._remote.append((temporary, path, path))
                return
            place = os.path.realpath(full(path))
            with unfinished.beside(place) as (file, temporary):
                yield file
                file.flush()
                self._flush(file)
            self._whole.append((temporary, place, path))

    def _flush(self, file: BinaryIO) -> None:
        """Bring a file to disk: at once, or, where that is done behind the work, as soon as the outputs are published."""
        if behind.current() is not None and len(self._numbers) < MOST_OPEN:
            self._numbers.append(os.dup(file.fileno()))
        else:
            os.fsync(file.fileno())


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
    except FileExistsError:  # it is in the way of this one, not of those that come after it
        raise PatchcliError(f"{name_of(path)}: cannot be written: it exists by now; allowed with --overwrite") from None
    except OSError as error:
        raise OutputError(f"{name_of(path)}: cannot be written: {reason(error)}") from None


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


def stamp_of(path: str) -> tuple[str, int | None, int | None]:
    """``(name, size, mtime_ns)`` of a file by its path, the last two None where they are not known."""
    name = os.path.basename(plain(path))
    try:
        if is_remote(path):
            from patchcli import remote

            return name, *remote.stamp(path)
        status = os.stat(full(path))
    except OSError:
        return name, None, None
    return name, status.st_size, status.st_mtime_ns


def stamp(path: str, file: BinaryIO) -> tuple[str | None, int | None, int | None]:
    """``(name, size, mtime_ns)`` of an open input, the name without its folder; None for what is not known.

    Of standard input nothing is kept, of remote files the time that their server told, if it did.
    """
    if path == STREAM:
        return None, None, None
    status = os.fstat(file.fileno())
    told = not is_remote(path) or (status.st_mtime_ns != 0 and os.utime in os.supports_fd)
    return os.path.basename(plain(path)), status.st_size, status.st_mtime_ns if told else None
