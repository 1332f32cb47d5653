"""Path resolution: relative to the caller's folder, whichever process follows a name, or a URL."""

from __future__ import annotations

import contextlib
import os
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = ("https", "http")  # files alone, and read-only
REMOTE = ("s3", "gs", *WEB, "memory")


class World(NamedTuple):
    """What names mean in a call; goes along with its work to other processes and machines.

    Attributes:
        folder: what relative names are relative to; empty for the working folder of the process.
        remote: the schemes of names that lead to a server; all other names are local, whatever they look like.
    """

    folder: str = ""
    remote: tuple[str, ...] = ()


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


def anywhere() -> World:
    """What names mean now, for a process that works in another folder."""
    return world()._replace(folder=os.path.abspath(full("")))


def full(path: str) -> str:
    """A local name as the system takes it.

    Raises:
        PatchcliError: a name that no system takes.

    >>> with within(World("/data")):
    ...     full("a/b.png")
    '/data/a/b.png'
    """
    if "\0" in path:
        raise PatchcliError(f"{path!r:.60} is no name: it holds a NUL byte")
    folder = world().folder
    return os.path.join(folder, path) if folder else path


def scheme_of(path: str) -> str | None:
    """The scheme of a remote name; None if the name is local.

    >>> with within(World(remote=("s3",))):
    ...     scheme_of("s3://bucket/a.png"), scheme_of("https://host/a.png")
    ('s3', None)
    """
    remote = world().remote
    if not remote:
        return None
    scheme, found, _ = path.partition("://")
    return scheme if found and scheme in remote else None


def is_remote(path: str) -> bool:
    """Whether a name leads to a server."""
    return scheme_of(path) is not None


def plain(path: str) -> str:
    """A name as names are made from it: without the query of a web address and without a password in it.

    >>> with within(World(remote=("https",))):
    ...     plain("https://host/x/a.png?token=1")
    'https://host/x/a.png'
    """
    if scheme_of(path) not in WEB:
        return path
    scheme, _, rest = re.split(r"[?#]", path, maxsplit=1)[0].partition("://")
    host, slash, rest = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{rest}"


def absolute(path: str) -> str:
    """A name of which two spellings are the same; a remote one as it is."""
    return path if is_remote(path) else os.path.abspath(path)
