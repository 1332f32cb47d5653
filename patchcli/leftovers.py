"""Temporary files of processes that were killed: told from those of living ones, and removed."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from patchcli.files import locked
from patchcli.places import full, is_remote
from patchcli.shards import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAME = 200  # bytes of a name that its temporary name keeps
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp", re.DOTALL)


def temporary_name(name: str) -> str:
    """A new name for a file in the making that will be called ``name``, in the same folder."""
    return f".{_kept(name)}.{os.urandom(6).hex()}.tmp"


def _kept(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:MAX_NAME])


def claim(number: int) -> bool:
    """Mark an open temporary file as one that a living process writes, for as long as it is open; whether it still has a name.

    Where the system knows no such marks the file counts as living for ever, and is never removed by another process.
    """
    return locked(number) and os.fstat(number).st_nlink > 0


def remove(targets: Iterable[str]) -> None:
    """Remove what killed processes left of these outputs, where they are local; each folder is read once."""
    folders: dict[str, set[str]] = defaultdict(set)
    for target in targets:
        if is_remote(target):
            continue
        folder, name = os.path.split(os.path.realpath(full(target)))
        folders[folder].add(_kept(name))
    for folder, names in folders.items():
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                found = TEMPORARY.fullmatch(entry.name)
                if found and (found[1] in names or whole(found[1]) in names):
                    _remove_dead(entry.path)


def _remove_dead(path: str) -> None:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(number)
