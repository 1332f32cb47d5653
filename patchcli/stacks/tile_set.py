"""Tile files in the making: each gets its name when those made with it are whole, the index of them its own when all have theirs.

Up to then there is a hidden file beside the place of the index, its beginning: the lines that the index will have, that of a tile
before it has its name, and between them ``{"old": NAME}`` for tiles that runs before had made, and ``{"whole": N}`` once the
first N tiles are on disk. It tells the next run which tiles are ours, and which of them need not be made again, and it is locked
as long as somebody makes them. Where tiles may be replaced, none gets its name before all are on disk. Then, in one go that no
signal interrupts, the old index is removed, the tiles get their names, and the index its own: so a run that fails or is stopped
leaves the old set as it was, and never is there an index without its tiles. A beginning that tells of tiles that a killed run
left stays until a run ends well: nothing else does.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from patchcli.errors import PatchcliError, reason
from patchcli.images.formats import FORMATS, WRITABLE
from patchcli.stacks.tile_index import check_tile_name, first_line, read_index, tile_line
from patchcli.stacks.tile_names import INDEX_SUFFIX
from patchcli.storage import atomic
from patchcli.storage.files import locked
from patchcli.storage.outputs import blaming, real_folder
from patchcli.storage.paths import full
from patchcli.threads import started

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from patchcli.stacks.header import Meta
    from patchcli.storage.outputs import Outputs

CHECKPOINT_SECONDS = 5.0  # after which what there is by then is brought to disk
TILE_LINE, BEGUN = b'{"file"', ".begun"
IMAGES = tuple(suffix for name in WRITABLE for suffix in FORMATS[name].suffixes)


class KnownTiles(NamedTuple):
    """What is told of tiles by an index, or by the beginning of one.

    Attributes:
        first: the first line, with its end.
        files: their names.
        whole: of those that were on disk while the rest was made.
    """

    first: bytes = b""
    files: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()


def beginning_of(path: str) -> str:
    """The name of the hidden beginning of an index."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{BEGUN}")


def known_tiles(path: str) -> frozenset[str]:
    """The tiles that are ours: those of an index, and of its beginning; only names of images, relative to its folder.

    A damaged index names none.

    Raises:
        PatchcliError: one of the two is there and cannot be read.
    """
    names = _begun(path).files
    data = _content(path)
    with contextlib.suppress(PatchcliError):
        names |= frozenset(read_index(io.BytesIO(data)).files)
    return frozenset(name for name in names if name.lower().endswith(IMAGES))


def has_all_tiles(path: str) -> bool:
    """Whether all tiles of an index are there; true of what is no index."""
    if not path.endswith(INDEX_SUFFIX):
        return True
    try:
        with open(full(path), "rb") as file:
            names = read_index(file).files
    except (OSError, PatchcliError):
        return False
    folder = os.path.dirname(full(path))
    return all(os.path.lexists(os.path.join(folder, name)) for name in names)


def remove_beginning(path: str) -> None:
    """Remove the beginning of an index that is there, unless somebody is making that anew."""
    atomic.remove_dead(full(beginning_of(path)))


def is_being_made(path: str) -> bool:
    """Whether a living process makes the tiles of an index."""
    with contextlib.suppress(OSError):
        number = os.open(full(beginning_of(path)), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            return not locked(number)
        finally:
            os.close(number)
    return False


def _begun(path: str) -> KnownTiles:
    """What the beginning of an index tells; nothing where there is none. Its last line may be torn."""
    first, *lines = _content(beginning_of(path)).splitlines(keepends=True) or [b""]
    files: list[str] = []
    old: set[str] = set()
    whole = 0
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError, TypeError, AttributeError, KeyError):
            told = json.loads(line)
            if "whole" in told:
                whole = int(told["whole"])
                continue
            name = str(told["old"] if "old" in told else told["file"])
            check_tile_name(name)
            old.add(name) if "old" in told else files.append(name)
    return KnownTiles(first, frozenset(files) | old, frozenset(files[:whole]))


def _content(path: str) -> bytes:
    """All of a file; nothing where there is none."""
    try:
        with open(full(path), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise PatchcliError(f"{path}: cannot be read: {reason(error)}") from None


class TileSet:
    """The tiles of one image, being made; a context manager, in whose block all are made.

    What was made is removed again if the block ends by an exception, unless it is kept for the next run.

    Args:
        path: of the index.
        meta: what the index says of image and grid.
        overwrite: replace tiles, and an index, that exist.
        keep: tiles of a run before that was broken off, and that had the same settings and inputs, are kept; and those of this
            one if it fails.

    Raises:
        PatchcliError: another process is making them.
        OutputError: the folder cannot be written to.
    """

    def __init__(self, path: str, meta: Meta, *, overwrite: bool, keep: bool) -> None:
        self._given, self._keep = path, keep
        folder, self._name = os.path.split(full(path))
        self._folder = real_folder(folder or os.curdir)
        self._begun_path = beginning_of(os.path.join(self._folder, self._name))
        self._meta, self._overwrite = meta, overwrite
        self._ours: set[str] = set()  # of runs before, and not of this one
        self._whole: frozenset[str] = frozenset()  # which need not be made again
        self._lines = self._done = 0  # tiles that were begun, and that have their names
        self._placed: list[str] = []
        self._waiting: list[tuple[str, str]] = []  # temporary names and names of those that replace others
        self._made: set[str] = set()  # folders
        self._checkpoint: threading.Thread | None = None
        self._published = self._closed = False
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        with blaming(self._given):
            self._make_folder(self._folder)
            first, path = first_line(self._meta), os.path.join(self._folder, self._name)
            if is_being_made(self._given):
                raise PatchcliError(f"{self._given}: another run is making these tiles; wait for its end")
            before = _begun(self._given)
            self._ours = set(known_tiles(self._given))
            record = self._meta.record
            again = self._keep and before.first == first and record is not None and record.is_stamped
            again = again and not os.path.lexists(path)
            self._whole = before.whole if again else frozenset()
            self._replacing = self._overwrite and not again
            self._told = any(os.path.lexists(os.path.join(self._folder, name)) for name in before.files)
            with atomic.beside(path) as (file, temporary):  # named as what is tidied up
                file.write(b"".join([first, *(_said("old", name) for name in sorted(self._ours))]))
                file.flush()
                atomic.put_in_place(temporary, self._begun_path, overwrite=True)
                atomic.UNFINISHED.discard(temporary)
                if not self._keep and not self._told:
                    atomic.UNFINISHED.add(self._begun_path)
                self._number = os.dup(file.fileno())  # which keeps the lock
            self._together = atomic.flushes_all(self._number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.discard()

    def begin(self, tiles: Sequence[tuple[str, int, int]]) -> None:
        """Say which tiles come next: their names, and rows and columns in the padded image."""
        with blaming(self._given):
            _write(self._number, b"".join(tile_line(name, y, x) for name, y, x in tiles))
        self._lines += len(tiles)

    def has(self, name: str) -> bool:
        """Whether a tile was made by a run before and need not be made again."""
        return name in self._whole and os.path.lexists(os.path.join(self._folder, name))

    def put(self, names: Iterable[str], files: Iterable[bytes | memoryview]) -> None:
        """Write some tiles, and give them their names, when they are written or, where they may replace others, at the end.

        Several threads may do so.
        """
        written: list[tuple[str, str]] = []  # temporary names and names
        try:
            for name, data in zip(names, files, strict=True):
                temporary = os.path.join(self._folder, atomic.temporary_name(self._name))
                written.append((temporary, name))
                with self._blaming(name):
                    self._write_tile(temporary, data)
                    if self._replacing:
                        self._check_place(name)
            if self._replacing:
                self._waiting += written
                return
            with atomic.undisturbed():  # else a signal could come before it is known that a tile is there
                for temporary, name in written:
                    with self._blaming(name):
                        self._place(temporary, name)
        except BaseException:
            for temporary, _ in written:
                atomic.remove_temporary(temporary)
            raise

    def _blaming(self, name: str) -> contextlib.AbstractContextManager[None]:
        return blaming(os.path.join(os.path.dirname(self._given), name))

    def _write_tile(self, temporary: str, data: bytes | memoryview) -> None:
        number = atomic.make_temporary(temporary)
        try:
            _write(number, data)
            if not self._together:
                os.fsync(number)
        finally:
            os.close(number)

    def _check_place(self, name: str) -> None:
        """Find what would stop a tile that waits from getting its name, while the old set is still there.

        Raises:
            OSError: a folder is in its place, a file in that of its folder, or its name is too long.
        """
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(os.path.join(self._folder, name)).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _make_folder(self, folder: str) -> None:
        made = atomic.make_folder(folder)
        self._made.update(made)
        atomic.FOLDERS.update(made)

    def _place(self, temporary: str, name: str) -> None:
        path = os.path.join(self._folder, name)
        overwrite = self._overwrite or name in self._ours
        try:
            atomic.put_in_place(temporary, path, overwrite=overwrite)
        except FileNotFoundError:  # no tile was in its folder yet, or another run has removed it, empty as it was
            self._make_folder(os.path.dirname(path))
            atomic.put_in_place(temporary, path, overwrite=overwrite)
        atomic.UNFINISHED.discard(temporary)
        if not self._keep and not self._replacing:  # only what was not there before
            atomic.UNFINISHED.add(path)
            self._placed.append(path)

    def done(self, count: int) -> None:
        """Count tiles that were put, in the order in which they were begun; from time to time they are brought to disk."""
        self._done += count
        if self._replacing or not self._keep or time.monotonic() - self._since < CHECKPOINT_SECONDS:
            return
        if self._checkpoint is not None and self._checkpoint.is_alive():
            return
        self._since, whole = time.monotonic(), self._done
        self._checkpoint = threading.Thread(target=self._flush_up_to, args=(whole,), name="patchcli-flush", daemon=True)
        if not started(self._checkpoint):
            self._checkpoint = None

    def _flush_up_to(self, whole: int) -> None:
        with contextlib.suppress(OSError):  # which the last flush will tell of
            self._flush()
            _write(self._number, _said("whole", whole))

    def _flush(self) -> None:
        """Bring to disk what is written."""
        if self._together:
            atomic.flush([], [self._number])

    def finish(self, outputs: Outputs) -> None:
        """Hand the index on, and with it what is done when it gets its name.

        Args:
            outputs: that publish the index, once all tiles are on disk.
        """
        assert self._done == self._lines
        if self._checkpoint is not None:
            self._checkpoint.join()
        outputs.follow(self, self._number if self._together else None)
        with blaming(self._given), outputs.create(self._given) as file, open(self._begun_path, "rb") as begun:
            file.write(next(begun))
            file.writelines(line for line in begun if line.startswith(TILE_LINE))

    def before(self) -> None:
        """Give tiles their names that have none yet, in the place of others, and remove those that no longer belong.

        From here on there is no way back, and the next run goes on.
        """
        with blaming(self._given):
            stale = list(self._stale())
            if self._replacing:
                self._keep = True
                atomic.UNFINISHED.discard(self._begun_path)
                atomic.remove(os.path.join(self._folder, self._name))
        while self._waiting:
            temporary, name = self._waiting[-1]
            with self._blaming(name):
                self._place(temporary, name)
            self._waiting.pop()
        with blaming(self._given):
            if self._replacing:
                _write(self._number, _said("whole", self._lines))
            for name in stale:
                atomic.remove(os.path.join(self._folder, name))
        atomic.remove_empty({os.path.join(self._folder, above) for name in stale for above in _folders_above(name)})

    def after(self) -> None:
        """Let all stay that was made: the index tells of it from here on."""
        self._published = True
        atomic.UNFINISHED.difference_update(self._placed)
        atomic.FOLDERS.difference_update(self._made)
        atomic.remove_temporary(self._begun_path)

    def discard(self) -> None:
        """Remove what was made, unless it is published or kept for the next run, and let others make these tiles."""
        if self._closed:
            return
        self._closed = True
        if self._checkpoint is not None:
            self._checkpoint.join()
        if not self._published:
            for temporary, _ in self._waiting:
                atomic.remove_temporary(temporary)
            own = [] if self._told else [self._begun_path]
            for path in [] if self._keep else [*self._placed, *own]:
                atomic.remove_temporary(path)
            atomic.remove_empty(self._made)
        with contextlib.suppress(OSError):
            os.close(self._number)

    def _stale(self) -> Iterator[str]:
        """Tiles of runs before that are not of this one."""
        if not self._ours:
            return
        with open(self._begun_path, "rb") as begun:
            self._ours.difference_update(json.loads(line)["file"] for line in begun if line.startswith(TILE_LINE))
        yield from sorted(self._ours)


def _folders_above(name: str) -> Iterator[str]:
    """The folders that a relative name leads through."""
    while name := os.path.dirname(name):
        yield name


def _said(what: str, value: object) -> bytes:
    """A line of a beginning that is not one of the index."""
    return json.dumps({what: value}).encode("ascii") + b"\n"


def _write(number: int, data: bytes | memoryview) -> None:
    """Write all to an open file."""
    left = memoryview(data)
    while left:
        count = os.write(number, left)
        if not count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        left = left[count:]
