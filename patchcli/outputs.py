"""Outputs that appear under their names when they are whole, several of them together."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, Self

from patchcli import behind, unfinished
from patchcli.errors import OutputError, PatchcliError
from patchcli.files import STREAM, exists, is_special, name_of, reason
from patchcli.places import full, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

OF_THE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG)  # what is wrong with one output is wrong for its input alone
MOST_OPEN = 16  # files that wait to be flushed, of one piece of work


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
            try:
                finisher.add(self._publish_or_discard, self._discard)
            except BaseException:  # of an output before, which waited to be finished
                self._discard()
                raise
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
            for _, path, given in self._whole:  # a store refuses remote ones itself
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
                    if remote.send(temporary, path, overwrite=self._overwrite):
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


def remove(path: str) -> None:
    """Delete an output of before; that it is gone already is no fault."""
    if is_remote(path):
        from patchcli import remote

        remote.remove(path)
        return
    with contextlib.suppress(FileNotFoundError), _named(path):
        os.unlink(full(path))


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """What the system raises while an output is made, as one sentence that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError:  # it is in the way of this one, not of those that come after it
        raise PatchcliError(f"{name_of(path)}: cannot be written: it exists by now, made by another program") from None
    except OSError as error:
        said = f"{name_of(path)}: cannot be written: {reason(error)}"
        if error.errno in OF_THE_NAME:
            raise PatchcliError(said) from None
        raise OutputError(said) from None


def check_name(path: str) -> None:
    """Refuse the name of an output that is too long for its folder, as writing it would."""
    if path == STREAM:
        return
    if is_remote(path):
        from patchcli import remote

        with _named(path):
            remote.check_name(path)
        return
    folder, name = os.path.split(full(path))
    while folder and not os.path.isdir(folder):  # which is yet to be made
        folder = os.path.dirname(folder)
    with _named(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(os.path.join(folder, name))


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
