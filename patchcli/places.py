"""Where names of files lead: below the folder that the call was made in, whichever process follows them."""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class World(NamedTuple):
    """What names mean in a call; goes along with its work to other processes and machines.

    Attributes:
        folder: what relative names are relative to; empty for the working folder of the process.
    """

    folder: str = ""


HERE = World()
_WORLD: ContextVar[World] = ContextVar("patchcli_world")


@contextlib.contextmanager
def within(world: World) -> Iterator[None]:
    """Names have the meaning of ``world`` in the block, and in this thread alone."""
    token = _WORLD.set(world)
    try:
        yield
    finally:
        _WORLD.reset(token)


def world() -> World:
    """What names mean now."""
    return _WORLD.get(HERE)


def full(path: str) -> str:
    """A name as the system takes it.

    >>> with within(World("/data")):
    ...     full("a/b.png")
    '/data/a/b.png'
    """
    return os.path.join(world().folder, path)
