"""Which outputs there are already."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

from patchcli import files
from patchcli.errors import OutputError
from patchcli.places import is_remote
from patchcli.shards import shards_among

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Existing:
    """Which outputs exist; a remote folder that is to hold several is asked once, and each where shards are looked for.

    Args:
        targets: all outputs.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self._expected = Counter(os.path.dirname(target) for target in targets if is_remote(target))
        self._names: dict[str, set[str]] = {}

    def __call__(self, target: str) -> bool:
        """Whether an output exists.

        Raises:
            OutputError: the server cannot be asked.
        """
        folder, name = os.path.split(target)
        if is_remote(target) and self._expected[folder] > 1:
            return name in self._in(folder)
        with _looked_for(target):
            return files.exists(target)

    def shards(self, target: str) -> list[str]:
        """Files that are named as shards of an output are, sorted."""
        return shards_among(target, self._in(os.path.dirname(target)))

    def _in(self, folder: str) -> set[str]:
        if folder not in self._names:
            with _looked_for(folder):
                self._names[folder] = files.names(folder)
        return self._names[folder]


@contextlib.contextmanager
def _looked_for(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot be looked for: {files.reason(error)}") from None
