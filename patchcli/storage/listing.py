"""What lies in the folders that a run reads and writes, each looked at once: a hundred thousand files lie in a few of them."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

from patchcli.errors import OutputError, reason
from patchcli.storage.files import store_of
from patchcli.storage.paths import full, is_remote
from patchcli.storage.shards import shards_by_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FEW = 64  # files of a folder are looked at one by one; for more, the folder is listed


class Folders:
    """Which outputs there are, and where names lead.

    Args:
        targets: all outputs. A remote folder that is to hold several of them is listed, for one alone its server is asked.
    """

    def __init__(self, targets: Sequence[str] = ()) -> None:
        self._expected = Counter(os.path.dirname(target) for target in targets if is_remote(target))
        self._folders: dict[
            str, _Local | _Remote
        ] = {}  # by all of a name but its last part, of which thousands have it in common
        self._shards: dict[str, dict[str, list[str]]] = {}

    def place(self, path: str) -> str:
        """The real path of a file, which need not exist; a remote name as it is."""
        return self._folder(path).place(path)

    def holds(self, target: str) -> bool:
        """Whether an output exists.

        Raises:
            OutputError: the server cannot be asked.
        """
        with _looked_for(target):
            return self._folder(target).holds(target)

    def shards(self, target: str) -> list[str]:
        """Files that are named as shards of an output are, sorted."""
        folder, name = os.path.split(target)
        if folder not in self._shards:
            with _looked_for(folder):
                self._shards[folder] = shards_by_output(store_of(folder).names(folder))
        return [os.path.join(folder, found) for found in self._shards[folder].get(name, ())]

    def _folder(self, path: str) -> _Local | _Remote:
        before = path[: max(path.rfind("/"), path.rfind(os.sep)) + 1]
        known = self._folders.get(before)
        if known is None:
            folder = os.path.dirname(path)
            known = _Remote(folder, self._expected[folder]) if is_remote(path) else _Local(full(folder) or os.curdir)
            self._folders[before] = known
        return known


class _Remote:
    """A folder of a server, in which ``expected`` outputs are looked for."""

    def __init__(self, folder: str, expected: int) -> None:
        self._folder, self._expected = folder, expected
        self._names: set[str] | None = None

    def place(self, path: str) -> str:
        return path

    def holds(self, path: str) -> bool:
        store = store_of(path)
        if self._expected < 2:  # noqa: PLR2004
            return store.exists(path)
        if self._names is None:
            self._names = store.names(self._folder)
        return os.path.basename(path) in self._names


class _Local:
    """A folder of this machine."""

    def __init__(self, folder: str) -> None:
        self._prefix = os.path.join(os.path.realpath(folder), "")  # of the real path of what lies in it
        self._there = os.path.lexists(folder)
        self._asked = 0
        self._links: set[str] | None = None if self._there else set()

    def place(self, path: str) -> str:
        name = os.path.basename(path)
        if name in ("", os.curdir, os.pardir) or self._has_link(name):
            return os.path.realpath(full(path))
        return self._prefix + name

    def holds(self, path: str) -> bool:
        return self._there and store_of(path).exists(path)

    def _has_link(self, name: str) -> bool:
        """Whether a symbolic link of this name lies in it."""
        if self._links is not None:
            return name in self._links
        self._asked += 1
        if self._asked > FEW:
            with contextlib.suppress(OSError), os.scandir(self._prefix) as entries:  # which may be read from, but not listed
                self._links = {entry.name for entry in entries if entry.is_symlink()}
        return os.path.islink(self._prefix + name)


@contextlib.contextmanager
def _looked_for(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot be looked for: {reason(error)}") from None
