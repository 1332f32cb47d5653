"""How an output was made, kept in the output itself: enough to tell whether making it again would give it again."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.storage import files
from patchcli.storage.paths import is_remote

if TYPE_CHECKING:
    from collections.abc import Mapping


RECORD_FORMAT = "patchcli.record"
ITS_DEFAULT = "its default"


class Record(NamedTuple):
    """How an output was made: a recipe whose inputs are stamped.

    Attributes:
        command: that made it.
        settings: options that were not at their defaults, as JSON has them.
        inputs: by their part, ``[name, size, mtime_ns]`` of the file, or a digest of those of several.
    """

    command: str
    settings: dict[str, Any]
    inputs: dict[str, Any]

    @property
    def is_stamped(self) -> bool:
        """Whether it is known of all inputs when they changed; some web servers don't tell."""
        return all(isinstance(stamp, str) or (stamp is not None and None not in stamp) for stamp in self.inputs.values())

    def fields(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {"format": RECORD_FORMAT, **self._asdict()}

    def to_json(self) -> str:
        """The record as ASCII text."""
        return json.dumps(self.fields(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_fields(cls, fields: Any) -> Record | None:  # noqa: ANN401  whatever JSON holds
        """Read a record; None where it is something else."""
        try:
            if fields["format"] != RECORD_FORMAT:
                return None
            return cls(str(fields["command"]), dict(fields["settings"]), dict(fields["inputs"]))
        except (ValueError, TypeError, KeyError):
            return None

    @classmethod
    def from_json(cls, text: str) -> Record | None:
        """Read a record; None where the text is something else."""
        try:
            return cls.from_fields(json.loads(text))
        except (ValueError, RecursionError):
            return None


def differing(settings: Mapping[str, object], usual: Mapping[str, object]) -> dict[str, Any]:
    """The settings, by option, that are not at their defaults, as they are after a way through JSON."""
    return {name: _plain(value) for name, value in settings.items() if name not in usual or value != usual[name]}


def _plain(value: object) -> Any:  # noqa: ANN401
    """A value as JSON has it, which knows neither tuples nor numbers that are not finite."""
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    plain = value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)


def difference(old: Record, new: Record) -> str | None:
    """The first setting in which two records differ, in words; None where only inputs do."""
    if old.command != new.command:
        return f"was made by {old.command}, not by {new.command}"
    for name in [*new.settings, *old.settings]:
        before, now = (record.settings.get(name, ITS_DEFAULT) for record in (old, new))
        if before != now:
            return f"was made with {name} at {_said(before)}, not at {_said(now)}"
    return None


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Recipe(NamedTuple):
    """What an output depends on: a command, its settings, the files that it reads.

    Attributes:
        command: that makes it.
        settings: the options that change it, by name, but for those at their defaults.
        inputs: by their part, the path of a file or of several.
    """

    command: str
    settings: Mapping[str, object]
    inputs: dict[str, str | tuple[str, ...]]


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
        import hashlib  # which takes some milliseconds

        stamps = [self._stamped(path) for path in paths]
        return None if any(None in stamp for stamp in stamps) else hashlib.sha256(json.dumps(stamps).encode()).hexdigest()

    def note(self, target: str) -> str:
        """The same as text, for an image; empty where there is none."""
        record = self.of(target) if self._in_images else None
        return "" if record is None else record.to_json()
