"""Outputs that appear under their names when they are whole, several of them together."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import sys
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from patchcli.errors import OutputError, PatchcliError, reason
from patchcli.storage import atomic
from patchcli.storage.files import STREAM, is_special, name_of, store_of
from patchcli.storage.local import kept_beside
from patchcli.storage.paths import full, is_remote, within, world
from patchcli.threads import usable_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

# what is wrong with a name, or too large, is wrong for its input alone
OF_ONE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG)
OPEN_CAN_BE_RENAMED = os.name != "nt"
COPIED = 1 << 20  # bytes at once
MOST_OPEN, SHARE_OPEN = 64, 16  # files that wait to be flushed, at most so many and such a part of those that may be open


_TAKER: ContextVar[Callable[[Outputs], None] | None] = ContextVar("patchcli_taker", default=None)


@contextlib.contextmanager
def given_to(taker: Callable[[Outputs], None]) -> Iterator[None]:
    """Outputs whose blocks end in this one are given to ``taker``, which has them published later, several together."""
    token = _TAKER.set(taker)
    try:
        yield
    finally:
        _TAKER.reset(token)


def publish(several: Sequence[Outputs], failed: Exception | None = None) -> Exception | None:
    """Give the outputs of several pieces of work their names, those of each together or not at all.

    The data of all are on disk before the first of them has its name, and the names are when this ends. Behind one that cannot
    be written no other gets its own.

    Args:
        several: each says afterwards what went wrong with it.
        failed: what stopped outputs before these, and stops these.

    Returns:
        What is to stop those that come after these.
    """
    try:
        if failed is None:
            for one in several:
                one.error = _error_of(one.check)
            failed = _error_of(lambda: _flush_all([one for one in several if one.error is None]))
        for one in several:
            if one.error is None:
                one.error = failed or _error_of(one.commit)
                if isinstance(one.error, OutputError):
                    failed = one.error
    finally:
        for one in several:
            one.discard()
    for folder in {folder for one in several for folder in one.folders}:
        atomic.flush_folder(folder)
    for one in several:
        one.done = True
    return failed if isinstance(failed, OutputError) else None


def most_open() -> int:
    """How many files may wait to be flushed: each stays open, and by that locked against those who tidy up."""
    return min(MOST_OPEN, max(1, usable_descriptors() // SHARE_OPEN)) if OPEN_CAN_BE_RENAMED else 0


def _error_of(step: Callable[[], None]) -> Exception | None:
    try:
        step()
    except Exception as error:  # noqa: BLE001  handed on to whoever waits for it
        return error
    return None


def _flush_all(several: Sequence[Outputs]) -> None:
    """Bring to disk what is written; a failure is told of the first that has anything on its way there."""
    given = next((one.given for one in several if one.numbers or one.of_all), "")
    with blaming(given):
        atomic.flush([number for one in several for number in one.numbers], [number for one in several for number in one.of_all])


class Follower(Protocol):
    """What is published together with outputs: `before` them, `after` them, in one go that no signal interrupts."""

    def before(self) -> None:
        """Do what is to be done before the outputs, which are on disk, get their names."""

    def after(self) -> None:
        """Do what is to be done once they have their names."""

    def discard(self) -> None:
        """Let go of what is open, in any case, and remove what was made, unless all ended well; called once or more."""


class Outputs:
    """Outputs of one piece of work: all of them appear under their names when the block ends without an exception, or none.

    Remote ones are sent before local ones get their names. Where one fails, those sent are deleted again; only what they
    replaced does not come back.

    Args:
        overwrite: replace files that exist.

    Attributes:
        numbers: descriptors of those that are yet to be flushed to disk.
        of_all: descriptors of files whose file systems are to be flushed as a whole before any output gets its name.
        nbytes: their size.
        folders: in which any of them got its name.
        done: whether they are published, or have failed by ``error``.
        made: whether any of them is new, once they are published: what exists with the same content is left as it is.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._whole: list[tuple[str, str, str]] = []  # (temporary name, name, name given)
        self._remote: list[tuple[str, str, str]] = []  # likewise
        self._world = world()  # published later, perhaps, in another thread
        if _TAKER.get() is None:
            real_folder.cache_clear()  # links may lead elsewhere by now
        self.numbers: list[int] = []
        self.of_all: list[int] = []
        self._followers: list[Follower] = []
        self.nbytes = 0
        self.folders: set[str] = set()
        self.made = self.done = False
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.discard()
        elif (taker := _TAKER.get()) is not None and (self._whole or self._remote):
            taker(self)
        else:
            publish([self])
            if self.error is not None:
                raise self.error

    @property
    def given(self) -> str:
        """The name of the first of them, as it was given."""
        return next((given for _, _, given in [*self._whole, *self._remote]), "")

    def discard(self) -> None:
        """Remove those that have no name yet."""
        for temporary, _, _ in [*self._whole, *self._remote]:
            atomic.remove_temporary(temporary)
        self._whole.clear()
        self._remote.clear()
        for number in self.numbers:
            with contextlib.suppress(OSError):  # what was written is on disk, or its flush has failed
                os.close(number)
        self.numbers.clear()
        while self._followers:
            self._followers.pop().discard()
        self.of_all.clear()

    def follow(self, follower: Follower, on: int | None) -> None:
        """Publish something together with the outputs; ``on``: an open file, all of whose file system is on disk before that."""
        self._followers.append(follower)
        if on is not None:
            self.of_all.append(on)

    def check(self) -> None:
        """Refuse to replace a file that came to exist; one of the same content is as good as the own, which is left out then.

        A store does that for remote ones itself.
        """
        if not self._overwrite:
            for one in [one for one in self._whole if os.path.lexists(one[1])]:
                _leave_out(*one)
                self._whole.remove(one)

    @contextlib.contextmanager
    def _sent(self) -> Iterator[None]:
        """Send the remote outputs; they stay if the block ends well too."""
        if not self._remote:
            yield
            return
        from patchcli.storage import remote

        sent = []
        try:
            for temporary, path, given in self._remote:
                with blaming(given):
                    if remote.send(temporary, path, overwrite=self._overwrite):
                        sent.append(path)
            yield
        except BaseException:
            for path in sent if not self._overwrite else ():
                remote.delete(path)
            raise

    def commit(self) -> None:
        """Send the remote ones, and give the local ones, which are on disk, their names."""
        with within(self._world), self._sent(), atomic.undisturbed():
            for follower in self._followers:
                follower.before()
            while self._whole:
                temporary, path, given = self._whole[-1]
                with blaming(given):
                    try:
                        atomic.put_in_place(temporary, path, overwrite=self._overwrite)
                    except FileExistsError:  # since it was looked for
                        _leave_out(temporary, path, given)
                    else:
                        self.folders.add(os.path.dirname(path))
                atomic.UNFINISHED.discard(temporary)
                self._whole.pop()
            for follower in self._followers:
                follower.after()
            self.made = bool(self.folders or self._remote)

    @contextlib.contextmanager
    def create(self, path: str, *, whole: bool = False) -> Iterator[BinaryIO]:
        """Open an output for writing.

        A regular file is written beside its place, flushed to disk, and renamed at the end; its folder is made if missing.
        A remote one is written to a temporary file, and sent at the end. Standard output (``-``), devices and FIFOs are
        written to directly, or, with ``whole``, at the end of the block, up to which the writer may seek.

        Raises:
            OutputError: the disk is full, or the place is not writable.
            PatchcliError: the output exists by the end of the block and may not be overwritten.
            BrokenPipeError: the reader of a pipe went away.
        """
        with blaming(path):
            if is_special(path):
                with (
                    _special(path if path == STREAM else full(path)) as file,
                    _seekable(file) if whole else nullcontext(file) as own,
                ):
                    yield own
                return
            if is_remote(path):
                with atomic.elsewhere() as (file, temporary):
                    yield file
                self._remote.append((temporary, path, path))
                return
            place = _place(full(path))
            with atomic.beside(place) as (file, temporary):
                yield file
                file.flush()
                self._flush(file)
            self._whole.append((temporary, place, path))

    def _flush(self, file: BinaryIO) -> None:
        """Have a file brought to disk before it is published; at once, where files that are open are many or may be few."""
        self.nbytes += file.tell()
        if len(self.numbers) < most_open():
            with contextlib.suppress(OSError):
                self.numbers.append(os.dup(file.fileno()))
                return
        os.fsync(file.fileno())


def _place(path: str) -> str:
    """Where an output lies, symbolic links followed: those of its folder once for all that are made together."""
    folder, name = os.path.split(path)
    place = os.path.join(real_folder(folder), name)
    return os.path.realpath(place) if os.path.islink(place) else place


real_folder = functools.lru_cache(64)(os.path.realpath)


def _leave_out(temporary: str, path: str, given: str) -> None:
    """Remove an output that exists already as it was made here; if it exists otherwise, that is refused."""
    with blaming(given):
        if not _alike(temporary, path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    atomic.remove_temporary(temporary)


def _alike(temporary: str, path: str) -> bool:
    """Whether something that exists is a file of the same content."""
    import filecmp

    try:
        return filecmp.cmp(temporary, path, shallow=False)
    except OSError:
        return False


@contextlib.contextmanager
def create(path: str, *, overwrite: bool = False, whole: bool = False) -> Iterator[BinaryIO]:
    """Open a single output for writing; see `Outputs`."""
    with Outputs(overwrite=overwrite) as outputs, outputs.create(path, whole=whole) as file:
        yield file


def delete(path: str) -> None:
    """Delete an output of before; that it is gone already is no fault."""
    with blaming(path):
        store_of(path).delete(path)


@contextlib.contextmanager
def blaming(path: str) -> Iterator[None]:
    """What the system raises while an output is made, as one sentence that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError:  # it is in the way of this one, not of those that come after it
        raise PatchcliError(
            f"{name_of(path)}: cannot be written: it exists by now, made otherwise by another run or program"
        ) from None
    except OSError as error:
        said = f"{name_of(path)}: cannot be written: {reason(error)}"
        if error.errno in OF_ONE and path != STREAM:
            raise PatchcliError(said) from None
        raise OutputError(said) from None


def check_name(path: str) -> None:
    """Refuse the name of an output that is too long for its folder, as writing it would."""
    if path != STREAM:
        with blaming(path):
            store_of(path).check_name(path)


@contextlib.contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """A file that can seek in the place of one that cannot: in memory, a large one on disk; sent there when it is whole."""
    with kept_beside() as held:
        yield held
        held.seek(0)
        shutil.copyfileobj(held, file, COPIED)


@contextlib.contextmanager
def _special(path: str) -> Iterator[BinaryIO]:
    if path != STREAM:
        with open(path, "wb") as special:
            yield special
        return
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()
