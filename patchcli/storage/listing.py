"""What lies in the folders that a run reads and writes, each looked at once: a hundred thousand files lie in a few of them."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

from patchcli.errors import OutputError
from patchcli.storage import files
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
        self._remote: dict[str, set[str]] = {}
        self._local: dict[str, _Local] = {}
        self._shards: dict[str, dict[str, list[str]]] = {}

    def place(self, path: str) -> str:
        """The real path of a file, which need not exist; a remote name as it is."""
        if is_remote(path):
            return path
        folder, name = os.path.split(path)
        known = self._known(folder)
        if name in ("", os.curdir, os.pardir) or known.has_link(name):
            return os.path.realpath(full(path))
        return known.prefix + name

    def holds(self, target: str) -> bool:
        """Whether an output exists.

        Raises:
            OutputError: the server cannot be asked.
        """
        folder, name = os.path.split(target)
        if not is_remote(target):
            return self._known(folder).there and files.exists(target)
        with _looked_for(target):
            if self._expected[folder] < 2:  # noqa: PLR2004
                return files.exists(target)
            if folder not in self._remote:
                self._remote[folder] = files.names(folder)
        return name in self._remote[folder]

    def shards(self, target: str) -> list[str]:
        """Files that are named as shards of an output are, sorted."""
        folder, name = os.path.split(target)
        if folder not in self._shards:
            with _looked_for(folder):
                self._shards[folder] = shards_by_output(files.names(folder))
        return [os.path.join(folder, found) for found in self._shards[folder].get(name, ())]

    def _known(self, folder: str) -> _Local:
        known = self._local.get(folder)
        if known is None:
            known = self._local[folder] = _Local(full(folder) or os.curdir)
        return known


class _Local:
    """What is known of a folder of this machine."""

    def __init__(self, folder: str) -> None:
        self.prefix = os.path.join(os.path.realpath(folder), "")  # of the real path of what lies in it
        self.there = os.path.lexists(folder)
        self._asked = 0
        self._links: set[str] | None = None if self.there else set()

    def has_link(self, name: str) -> bool:
        """Whether a symbolic link of this name lies in it."""
        if self._links is not None:
            return name in self._links
        self._asked += 1
        if self._asked > FEW:
            with contextlib.suppress(OSError), os.scandir(self.prefix) as entries:  # one that cannot be listed may be read from
                self._links = {entry.name for entry in entries if entry.is_symlink()}
        return os.path.islink(self.prefix + name)


@contextlib.contextmanager
def _looked_for(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot be looked for: {files.reason(error)}") from None
