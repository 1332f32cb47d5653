"""What ``info`` tells of a file, fact by fact, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli.errors import counted, one_line, shortened
from patchcli.storage.files import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

CHECKED_BYTES = 1 << 24  # that are decoded, or read, at once where a file is checked


class Fact(NamedTuple):
    """What is told of a file.

    Attributes:
        label: what it is about, for people; empty for what they are not told.
        words: for people, in a line.
        fields: for programs: keys of the file's JSON object, and their values.
    """

    label: str
    words: str
    fields: dict[str, Any] = {}  # noqa: RUF012  never changed


def as_json(path: str, facts: Sequence[Fact]) -> str:
    """A line of JSON, in ASCII."""
    fields = {key: value for fact in facts for key, value in fact.fields.items()}
    return json.dumps({"file": path, **fields}, allow_nan=False)


def for_people(path: str, facts: Sequence[Fact]) -> str:
    """The name, and below it a line for each fact."""
    told = [fact for fact in facts if fact.label]
    width = max(len(fact.label) for fact in told)
    lines = [f"  {fact.label:<{width}}  {one_line(shortened(fact.words))}" for fact in told]
    return "\n".join([one_line(name_of(path, "standard input")), *lines])


def size_and_kind(width: int, height: int, channels: int, dtype: np.dtype[Any]) -> tuple[str, dict[str, Any]]:
    """Size and kind of an image or a patch, in words and as fields."""
    fields = {"width": width, "height": height, "channels": channels, "dtype": dtype.name}
    return f"width={width} height={height}, {counted(channels, 'channel')}, {dtype.name}", fields


def json_words(value: object) -> str:
    """A value of JSON, for people."""
    return value if isinstance(value, str) else json.dumps(value)
