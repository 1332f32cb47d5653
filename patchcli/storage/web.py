"""The web as fsspec reads it, with time limits, and with what it does not pass on: when a file was changed."""

from __future__ import annotations

import functools
from typing import Any

ANSWERS: list[dict[str, str]] = []  # what the servers told of the files, to the last request


def store(scheme: str, path: str, *, connect: float, read: float) -> Any:  # noqa: ANN401
    """The file system of web addresses.

    Args:
        scheme: of the address.
        path: the address.
        connect: seconds to wait for a connection.
        read: seconds to wait for more.
    """
    import aiohttp
    import fsspec

    client = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read),
        "trust_env": True,
        "headers": {"Accept-Encoding": "identity"},
        "trace_configs": [_listener()],
    }
    # quoted again, a signed address would lose its signature
    return fsspec.filesystem(scheme, client_kwargs=client, encoded=path.isascii() and " " not in path)


@functools.cache
def _listener() -> Any:  # noqa: ANN401
    import aiohttp

    async def note(_session: object, _context: object, answered: Any) -> None:  # noqa: ANN401
        headers = answered.response.headers
        ANSWERS.append({name: headers[name] for name in ("Last-Modified",) if name in headers})

    listener = aiohttp.TraceConfig()
    listener.on_request_end.append(note)
    return listener
