"""What an output depends on, and its record."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from patchcli.storage import files
from patchcli.storage.paths import is_remote
from patchcli.storage.provenance import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from patchcli.jobs.task import Recipe


class Records:
    """The records of outputs; standard output has none.

    To be made before anything is read: what changes from then on is seen by the next run. Of remote inputs it counts what
    their server tells when they are read, or when they are asked for.

    Args:
        recipes: of the outputs.
        in_images: whether images say, too, how they were made: only where somebody will ask them, as they would tell others
            the name and the time of a source.
    """

    def __init__(self, recipes: Mapping[str, Recipe], *, in_images: bool) -> None:
        self._recipes, self._in_images = recipes, in_images
        self._stamps = {path: files.stamp_of(path) for path in self._paths() if not is_remote(path)}

    def _paths(self) -> set[str]:
        parts = [paths for recipe in self._recipes.values() for paths in recipe.inputs.values()]
        return {path for paths in parts for path in ([paths] if isinstance(paths, str) else paths)}

    def hints(self) -> list[str]:
        """What to say of inputs whose size and time the system does not tell."""
        mute = [path for path, stamp in self._stamps.items() if None in stamp and path != files.STREAM and not is_remote(path)]
        return [f"size and time of {path} could not be asked for; --resume will make the output again" for path in mute]

    def of(self, target: str) -> Record | None:
        """The record of an output."""
        if target == files.STREAM:
            return None
        command, settings, inputs = self._recipes[target]
        return Record(command, dict(settings), {part: self._stamped(paths) for part, paths in inputs.items()})

    def _stamped(self, paths: str | tuple[str, ...]) -> Any:  # noqa: ANN401  what JSON holds
        """Name, size and time of a file; of several a digest, so that a record has an end; None where a time is not known."""
        if isinstance(paths, str):
            if paths not in self._stamps:
                self._stamps[paths] = files.stamp_of(paths)
            return list(self._stamps[paths])
        stamps = [self._stamped(path) for path in paths]
        return None if any(None in stamp for stamp in stamps) else hashlib.sha256(json.dumps(stamps).encode()).hexdigest()

    def note(self, target: str) -> str:
        """The same as text, for an image; empty where there is none."""
        record = self.of(target) if self._in_images else None
        return "" if record is None else record.to_json()
