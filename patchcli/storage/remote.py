"""Files on servers, through fsspec; a `files.Store`. Fetched whole, sent whole, and tried again where that can help.

Whatever a server or the way to it can cause is an `OSError` of one sentence. Imported only where a remote name is met.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import email.utils
import errno
import functools
import hashlib
import importlib.util
import io
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from patchcli.errors import UsageError
from patchcli.storage import s3
from patchcli.storage.local import spooled
from patchcli.storage.paths import WEB, scheme_of
from patchcli.storage.remote_errors import ATTEMPTS, CutOffError, EndedError, tried
from patchcli.storage.s3 import CONNECT_SECONDS, READ_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Result = TypeVar("Result")

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp", "memory": "fsspec"}
LOGGERS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs", "google", "asyncio")
HEAD = 1 << 16  # bytes in which the head of a file mostly is
PIECE_BYTES = 1 << 24  # bytes asked for, or sent, at once
MOST_PARTS, UNIT = 10_000, 1 << 18  # S3 takes so many parts of a file, Google parts that are a multiple of this
LONGEST_KEY = 1024  # bytes of a name in a bucket, for S3 and Google alike
MOST_FETCHED = 1 << 10
_fetched: dict[str, tuple[int, int | None]] = {}  # sizes and times of the last files
_listed: dict[str, tuple[int, int | None]] = {}  # those that a folder's list told, until the file is fetched
_fetching = threading.Lock()  # threads may fetch at the same time, but from the web, whose headers stand in one place
_headers: list[dict[str, str]] = []  # what web servers told of files, to the last request
EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def check(schemes: Iterable[str]) -> None:
    """Refuse schemes whose library is not installed.

    Raises:
        UsageError: the extra is missing.
    """
    for scheme in schemes:
        for library in ("fsspec", "tenacity", PACKAGES[scheme]):
            if importlib.util.find_spec(library) is None:
                raise UsageError(f"--remote {scheme} needs the extra: pip install 'patchcli[remote]' ({library} is missing)")


def open_file(path: str) -> BinaryIO:
    """A copy of a file, unnamed."""
    return spooled(path, lambda spool: _fetch(path, spool))


def _fetch(path: str, file: BinaryIO) -> None:
    """Copy a file into an open one, and remember its size and when it was changed."""
    changed = _fetch_web(path, file) if scheme_of(path) in WEB else _fetch_stored(path, file)
    _listed.pop(path, None)
    with _fetching:
        while len(_fetched) >= MOST_FETCHED:
            del _fetched[next(iter(_fetched))]
        _fetched[path] = file.tell(), changed


def _fetch_web(path: str, file: BinaryIO) -> int | None:
    """From beginning to end, for want of anything better."""

    def get() -> None:
        file.seek(0)
        file.truncate()
        _headers.clear()
        _store(path).get_file(path, file)

    _tried(path, get)
    return _changed(_headers[-1])


def stamp(path: str, _file: BinaryIO | None = None) -> tuple[int | None, int | None]:
    """Size of a file and when it was changed, in ns, where the server tells; of a file just fetched, what it told then.

    Of one that a folder's list told of, and that was not fetched since, what it told.
    """
    for known in (_fetched, _listed):
        if path in known:
            return known[path]
    told = _info(path)
    return told.get("size"), _changed(told)


def open_head(path: str) -> BinaryIO:
    """A remote file to read a little of: of a small one all is fetched, of others pieces as they are asked for."""
    if scheme_of(path) == "s3":
        data, told = s3.get(path, 0, HEAD)
        if told["size"] == len(data):
            return io.BytesIO(data)
    opened: BinaryIO = _tried(path, lambda: _store(path).open(_bare(path), "rb", block_size=HEAD, cache_type="readahead"))
    return opened


def exists(path: str) -> bool:
    """Whether there is a file of this name."""
    try:
        return bool(_info(path)["type"] == "file")
    except FileNotFoundError:
        return False


def identity(_path: str) -> None:
    """Files of servers are known by their names alone."""


def is_special(_path: str) -> bool:
    """No file of a server is."""
    return False


def is_folder(path: str) -> bool:
    """Whether names begin with this one and a slash, or it ends in one itself; a web address never is a folder."""
    if scheme_of(path) in WEB or path.endswith("/"):
        return scheme_of(path) not in WEB
    try:
        if scheme_of(path) == "s3":
            return not exists(path) and next(s3.objects(path, most=1), None) is not None
        return bool(_info(path)["type"] == "directory")
    except FileNotFoundError:
        return False


def names(folder: str) -> set[str]:
    """What lies directly in a folder."""
    try:
        found = _tried(folder, lambda: _store(folder).ls(_bare(folder), detail=False))
    except FileNotFoundError:
        return set()
    return {name.rstrip("/").rpartition("/")[2] for name in found}


def search(folder: str) -> list[str]:
    """All files below a folder, as local ones are found: files by name, then subfolders by name, hidden ones left out.

    Names in a store may have parts that name no folder of a disk: nothing between two slashes, ``.`` and ``..``.
    """
    root = _bare(folder)
    base = f"{scheme_of(folder)}://{root}/" if root else f"{scheme_of(folder)}://"
    found = {}
    for name, told in _objects(base):
        parts = tuple(name.split("/"))
        if parts[-1] and not any(part.startswith(".") and part not in (os.curdir, os.pardir) for part in parts):
            found[parts] = told["size"], _changed(told)
    paths = []
    for parts in sorted(found, key=lambda parts: [*((1, part) for part in parts[:-1]), (0, parts[-1])]):
        paths.append(base + "/".join(parts))
        if None not in found[parts]:
            _listed[paths[-1]] = found[parts]
    return paths


def _objects(base: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names that begin with ``base``, without it, each with what is told of it."""
    if scheme_of(base) == "s3":
        yield from s3.objects(base)
        return
    root = _bare(base)
    for name, told in _tried(base, lambda: _store(base).find(root, detail=True)).items():
        yield name.removeprefix("/" if scheme_of(base) == "memory" else "").removeprefix(root).removeprefix("/"), told


def check_name(path: str) -> None:
    """Refuse a name that is longer than a store allows.

    Raises:
        OSError: it is.
    """
    size = len(path.partition("://")[2].partition("/")[2].encode(errors="surrogateescape"))
    if scheme_of(path) in ("s3", "gs") and size > LONGEST_KEY:
        raise OSError(errno.ENAMETOOLONG, f"its name has {size} bytes in its bucket; use at most {LONGEST_KEY}")


def send(temporary: str, path: str, *, overwrite: bool) -> bool:
    """Upload a finished file; it appears whole under its name or not at all.

    Returns:
        Whether it was made now for certain: not if it was there when its turn came, be it of an attempt whose answer was lost
        or of another program that made the same.

    Raises:
        FileExistsError: something else is there and may not be overwritten.
    """
    check_name(path)
    size = os.path.getsize(temporary)
    piece = max(PIECE_BYTES, (size // MOST_PARTS // UNIT + 1) * UNIT)
    put = s3.put if scheme_of(path) == "s3" else _put
    for attempt in range(ATTEMPTS):
        try:
            put(temporary, path, piece, overwrite=overwrite)
        except (FileExistsError, EndedError) as error:
            if _holds(path, temporary, piece):
                return False
            if isinstance(error, FileExistsError) or attempt == ATTEMPTS - 1:
                raise
        else:
            break
    return True


def _put(temporary: str, path: str, piece: int, *, overwrite: bool) -> None:
    if not overwrite and exists(path):  # not all that speak like Google know the condition
        raise FileExistsError(errno.EEXIST, "file exists")
    mode = "overwrite" if overwrite else "create"
    _tried(path, lambda: _store(path).put_file(temporary, _bare(path), mode=mode, chunksize=piece))


def _holds(path: str, temporary: str, piece: int) -> bool:
    """Whether a name holds what a file does: by the checksum that its server tells, else byte by byte."""
    try:
        told = _info(path)
    except FileNotFoundError:
        return False
    if told["size"] != os.path.getsize(temporary):
        return False
    md5 = functools.partial(hashlib.md5, usedforsecurity=False)
    whole, parts = md5(), []
    for data in _pieces(temporary, piece):
        whole.update(data)
        parts.append(md5(data).digest())
    sums = {whole.hexdigest(), f"{md5(b''.join(parts)).hexdigest()}-{len(parts)}", base64.b64encode(whole.digest()).decode()}
    if sums & {str(told.get("ETag")).strip('"'), told.get("md5Hash")}:
        return True
    # what is there may be encrypted, or have come in other parts
    mine = zip(range(0, told["size"], piece), _pieces(temporary, piece), strict=True)
    return all(_read(path, start, start + len(data), told) == data for start, data in mine)


def _pieces(temporary: str, piece: int) -> Iterator[bytes]:
    with open(temporary, "rb") as file:
        while data := file.read(piece):
            yield data


def delete(path: str) -> None:
    """Delete a file, as far as that can be."""
    with contextlib.suppress(OSError):
        if scheme_of(path) == "s3":
            s3.delete(path)
        else:
            _tried(path, lambda: _store(path).rm_file(_bare(path)))


def _fetch_stored(path: str, file: BinaryIO) -> int | None:
    """Piece by piece, each tried again for itself, all of one version."""
    told: dict[str, Any]
    if scheme_of(path) == "s3":
        try:
            first, told = s3.get(path, 0, PIECE_BYTES)
        except FileNotFoundError:
            if is_folder(path):
                raise IsADirectoryError(errno.EISDIR, "is a folder; give a file") from None
            raise
        file.write(first)
    else:
        told = _info(path)
        if told["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "is a folder; give a file")
    while (start := file.tell()) < told["size"]:
        file.write(_read(path, start, min(start + PIECE_BYTES, told["size"]), told))
    return _changed(told)


def _read(path: str, start: int, stop: int, told: dict[str, Any]) -> bytes:
    """Bytes of a file that is still the one that ``told`` is of."""
    if scheme_of(path) == "s3":
        return s3.get(path, start, stop, told["ETag"])[0]
    version = {name: told[name] for name in ("generation",) if told.get(name)}

    def ask() -> bytes:
        data: bytes = _store(path).cat_file(_bare(path), start=start, end=stop, **version)
        if len(data) != stop - start:
            raise CutOffError(start + len(data), told["size"])
        return data

    try:
        return _tried(path, ask)
    except FileNotFoundError:  # which it was a moment ago
        raise OSError("changed while it was read") from None


def _info(path: str) -> dict[str, Any]:
    if scheme_of(path) == "s3":
        return s3.described(path)
    told: dict[str, Any] = _tried(path, lambda: _store(path).info(_bare(path)))
    return told


def _changed(told: dict[str, Any]) -> int | None:
    """When a file was changed, in ns; each store has its own word for it."""
    if "Last-Modified" in told:
        with contextlib.suppress(ValueError):
            told = {"mtime": email.utils.parsedate_to_datetime(told["Last-Modified"])}
    when = next((told[name] for name in ("LastModified", "mtime", "created") if told.get(name) is not None), None)
    if isinstance(when, dt.datetime) and "LastModified" in told:
        when = when.replace(microsecond=0)  # which lists of some servers have, and answers don't
    return (when - EPOCH) // MICROSECOND * 1000 if isinstance(when, dt.datetime) else None


def _bare(path: str) -> str:
    """A name as its store has it: ``bucket/folder/name``; on the web all of it."""
    if scheme_of(path) in WEB:
        return path
    return path.partition("://")[2].strip("/")


def _tried(path: str, operation: Callable[[], Result]) -> Result:
    return tried(str(scheme_of(path)), operation)


def _store(path: str) -> Any:  # noqa: ANN401
    """The file system of a name; fsspec keeps one for each process, thread and kind."""
    import fsspec

    scheme = str(scheme_of(path))
    if scheme in WEB:
        return _web(scheme, path)
    if scheme == "s3":
        return s3.store()
    if scheme == "gs":
        # else it asks first what kind of bucket each one is, which takes a right of its own
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        return fsspec.filesystem("gs", use_listings_cache=False)
    return fsspec.filesystem(scheme)


def _web(scheme: str, path: str) -> Any:  # noqa: ANN401
    """The file system of web addresses, with time limits."""
    import aiohttp
    import fsspec

    client = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
        "trust_env": True,
        "headers": {"Accept-Encoding": "identity"},
        "trace_configs": [_listener()],
    }
    # quoted again, a signed address would lose its signature
    return fsspec.filesystem(scheme, client_kwargs=client, encoded=path.isascii() and " " not in path)


@functools.cache
def _listener() -> Any:  # noqa: ANN401
    """What notes when a file was changed, which fsspec does not pass on."""
    import aiohttp

    async def note(_session: object, _context: object, answered: Any) -> None:  # noqa: ANN401
        headers = answered.response.headers
        _headers.append({name: headers[name] for name in ("Last-Modified",) if name in headers})

    listener = aiohttp.TraceConfig()
    listener.on_request_end.append(note)
    return listener


for _name in LOGGERS:  # what is wrong is said once, in a line
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
