"""How an output was made, kept in the output itself: enough to tell whether making it again would give it again."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD_FORMAT = "patchcli.record"
ITS_DEFAULT = "its default"


class Record(NamedTuple):
    """What an output depends on.

    Attributes:
        command: that made it.
        settings: options that were not at their defaults, as JSON has them.
        inputs: by their part, ``[name, size, mtime_ns]`` of the file, or a digest of those of several.
    """

    command: str
    settings: dict[str, Any]
    inputs: dict[str, Any]

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
    if isinstance(value, Fraction) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value


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
