"""Names of the shards of one output: ``a.npz`` becomes ``a-00000-of-00002.npz`` and ``a-00001-of-00002.npz``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERED = re.compile(r"-(\d{5,})-of-(\d{5,})(\.[^.]*|)$")


def shard_name(target: str, number: int, count: int) -> str:
    """The name of one of ``count`` shards, numbered from 0.

    >>> shard_name("a.npz", 2, 5)
    'a-00002-of-00005.npz'
    """
    root, suffix = os.path.splitext(target)
    return f"{root}-{number:05}-of-{count:05}{suffix}"


def whole(name: str) -> str:
    """The name of the output that a shard is of; another name is returned as it is.

    >>> whole("a-00002-of-00005.npz"), whole("a.npz")
    ('a.npz', 'a.npz')
    """
    return NUMBERED.sub(r"\3", name)


def shards_by_output(names: Iterable[str]) -> dict[str, list[str]]:
    """Those of ``names`` that are shards, of any count: for each output its own, sorted.

    >>> shards_by_output(["a-00001-of-00002.npz", "b-00001-of-00002.npz", "a.npz"])
    {'a.npz': ['a-00001-of-00002.npz'], 'b.npz': ['b-00001-of-00002.npz']}
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        output = whole(name)
        if output != name:
            found.setdefault(output, []).append(name)
    return found


def complete(names: list[str]) -> bool:
    """Whether these, sorted, are all shards of one output."""
    return bool(names) and names == sorted(shard_name(whole(names[0]), number, len(names)) for number in range(len(names)))
