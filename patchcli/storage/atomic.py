"""Outputs in the making: temporary files, and how a finished one gets its name, whatever signal comes meanwhile."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, BinaryIO

from patchcli.storage import signals
from patchcli.storage.files import locked
from patchcli.storage.paths import full, is_remote
from patchcli.storage.shards import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_NAME = 200  # bytes of a name that its temporary name keeps
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp", re.DOTALL)
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
UNFINISHED: set[str] = set()  # temporary files there are now
FOLDERS: set[str] = set()  # folders that were made for what is unfinished

WORTH_ALL = 4  # files from which on one call for all of a file system is cheaper
TELLING = (5, 8)  # Linux from which on that call fails if something could not be written
# magic numbers of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, ZFS, overlayfs, tmpfs
LOCAL_FILE_SYSTEMS = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x794C7630, 0x01021994})

_PUBLISHING = threading.Lock()  # outputs are getting their names; a signal waits for the last
_waiting: list[int] = []  # signals that wait
_MAKING = threading.RLock()  # held while a temporary file is made, and by a process that ends, after which none is


def temporary_name(name: str) -> str:
    """A new name for a file in the making that will be called ``name``, in the same folder."""
    return f".{_kept(name)}.{os.urandom(6).hex()}.tmp"


def _kept(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:MAX_NAME])


@contextlib.contextmanager
def beside(path: str) -> Iterator[tuple[BinaryIO, str]]:
    """A temporary file in the folder of ``path`` and its name; whole, or gone, when the block ends, but not yet on disk."""
    number, temporary = _created(*os.path.split(path))
    with _gone_by_error(temporary), os.fdopen(number, "w+b") as file:
        with contextlib.suppress(OSError, AttributeError):  # the mode of the file that it replaces
            os.fchmod(number, stat.S_IMODE(os.stat(path).st_mode))
        yield file, temporary


@contextlib.contextmanager
def elsewhere() -> Iterator[tuple[BinaryIO, str]]:
    """A temporary file in the system's folder for such, and its name; gone if the block does not end well."""
    import tempfile

    with _MAKING:
        number, temporary = tempfile.mkstemp(prefix=".patchcli.", suffix=".tmp")
        UNFINISHED.add(temporary)
    with _gone_by_error(temporary), os.fdopen(number, "w+b") as file:
        yield file, temporary


def _created(folder: str, name: str) -> tuple[int, str]:
    """A new temporary file, open and claimed, and its name.

    Whoever tidies up may lock it first, as what a dead process left, and remove it; then another is made.
    """
    while True:
        temporary = os.path.join(folder, temporary_name(name))
        with _gone_by_error(temporary):
            number = _opened(temporary)
            if claim(number):
                return number, temporary
            os.close(number)
        remove_temporary(temporary)


def claim(number: int) -> bool:
    """Mark an open temporary file as one that a living process writes, for as long as it is open; whether it still has a name.

    Where the system knows no such marks the file counts as living for ever, and is never removed by another process.
    """
    return locked(number) and os.fstat(number).st_nlink > 0


def _opened(temporary: str) -> int:
    try:
        return make_temporary(temporary)
    except FileNotFoundError:
        make_folder(os.path.dirname(temporary))
        return make_temporary(temporary)
    except OSError as error:
        if error.errno == errno.EINVAL:  # as FAT answers to a name with a colon
            raise OSError(errno.EILSEQ, "its file system takes no such name") from None
        raise


def make_temporary(temporary: str) -> int:
    """Make a temporary file that has this name, and open it; other threads of a process that is ending do not come back."""
    with _MAKING:
        UNFINISHED.add(temporary)
        return os.open(temporary, NEW, 0o666)


def make_folder(folder: str) -> list[str]:
    """Make a folder, and those above it, where it is missing; those that were."""
    missing, above = [], folder
    while above and not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    return missing


def remove_empty(folders: Iterable[str]) -> None:
    """Remove those of some folders in which nothing is, or nothing but others of them."""
    for folder in sorted(folders, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    FOLDERS.difference_update(folders)


@contextlib.contextmanager
def _gone_by_error(temporary: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        remove_temporary(temporary)
        raise


def remove_temporary(temporary: str) -> None:
    """Remove a temporary file, if it is still there."""
    with contextlib.suppress(OSError):
        os.unlink(temporary)
    UNFINISHED.discard(temporary)


def remove(path: str) -> None:
    """Remove a file; that it is gone already is no fault."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def discard_unfinished() -> None:
    """Remove the temporary files of outputs in the making, and their folders; for a process that ends at once.

    Other threads go on until it does, but make no more of them.
    """
    _MAKING.acquire()  # of which the main thread, where this runs, may be the holder
    for temporary in list(UNFINISHED):
        remove_temporary(temporary)
    remove_empty(list(FOLDERS))


def remove_leftovers(targets: Iterable[str]) -> None:
    """Remove what killed processes left of these outputs, where they are local; each folder is read once."""
    folders: dict[str, set[str]] = defaultdict(set)
    for target in targets:
        if not is_remote(target):
            folder, name = os.path.split(os.path.realpath(full(target)))
            folders[folder].add(_kept(name))
    for folder, names in folders.items():
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                found = TEMPORARY.fullmatch(entry.name)
                if found and (found[1] in names or whole(found[1]) in names):
                    remove_dead(entry.path)


def remove_dead(path: str) -> None:
    """Remove a temporary file that no living process has locked; where nothing is known of locks it stays."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        number = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(number)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A signal that comes meanwhile is raised at the end: of several outputs all get their names or none."""
    try:
        with _PUBLISHING:
            yield
    finally:
        if _waiting:
            signals.send_to_main_thread(_waiting.pop())


def put_off(number: int) -> bool:
    """Whether a signal has to wait for outputs that are getting their names; it is raised again after that.

    If not, no output gets its name from now on: the process is to end.
    """
    _waiting.append(number)  # before the lock is tried: whoever has it looks here when it is free again
    if not _PUBLISHING.acquire(blocking=False):
        return True
    _waiting.clear()
    return False


signals.not_now(put_off)
signals.at_end(signals.FILES, discard_unfinished)


def flush(numbers: Sequence[int], of_all: Sequence[int] = ()) -> None:
    """Bring open files to disk: several on one file system by a single call, where that promises the same.

    syncfs(2) writes all of a file system, and since Linux 5.8 it fails if anything could not be written since the descriptor
    was opened. Others than local file systems may not hand it on.

    Args:
        numbers: of open files.
        of_all: of open files, one of each file system all of which is brought to disk, as `flushes_all` said it can be.
    """
    known = {os.fstat(number).st_dev: number for number in of_all}
    for number in known.values():
        if not _sync_all(number):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
    together: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        together[os.fstat(number).st_dev].append(number)
    for device, several in together.items():
        if device not in known and (len(several) < WORTH_ALL or not _sync_all(several[0])):
            for number in several:
                os.fsync(number)


def _sync_all(number: int) -> bool:
    """Bring all of the file system of an open file to disk; whether it is one that does that in one call, and nothing failed.

    What fails may be a file of anybody: a flush of each tells whose.
    """
    return flushes_all(number) and not _system().syncfs(number)


def flushes_all(number: int) -> bool:
    """Whether all of the file system of an open file is brought to disk in one call."""
    library = _system()
    if library is None:
        return False
    import ctypes

    told = (ctypes.c_long * 64)()  # struct statfs, which begins with the kind
    return not library.fstatfs(number, told) and told[0] in LOCAL_FILE_SYSTEMS


@functools.cache
def _system() -> Any:  # noqa: ANN401
    """The C library, where its syncfs tells of errors; None elsewhere."""
    if not sys.platform.startswith("linux") or tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < TELLING:
        return None
    try:
        import ctypes
    except ImportError:
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "syncfs") and hasattr(library, "fstatfs") else None


def flush_folder(folder: str) -> None:
    """Make new names in a folder as durable as the data, where the system can."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def put_in_place(temporary: str, path: str, *, overwrite: bool) -> None:
    """Give a finished file its name; a file that came into being meanwhile is kept unless it may be overwritten."""
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # which, unlike a rename, fails where something is
    except FileExistsError:
        if not os.path.samefile(temporary, path):  # as it is where a network repeats what it had done
            raise
    except (OSError, AttributeError):  # a file system, or a system, without links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(temporary, path)
        return
    os.unlink(temporary)
