"""Files on servers, through fsspec: fetched whole, sent whole, and tried again where trying again can help.

Whatever a server or the way to it can cause is an `OSError` of one sentence. Imported only where a remote name is met.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import errno
import functools
import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from patchcli import web
from patchcli.errors import UsageError
from patchcli.faults import ATTEMPTS, CutOffError, explained, is_known, is_transient
from patchcli.places import WEB, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Result = TypeVar("Result")

LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp", "memory": "fsspec"}
LOGGERS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs", "google", "asyncio")
HEAD = 1 << 16  # bytes in which the head of a file mostly is
PIECE = 1 << 24  # bytes asked for, or sent, at once
PARTS, UNIT = 10_000, 1 << 18  # S3 takes so many parts of a file, Google parts that are a multiple of this
CONNECT_SECONDS, READ_SECONDS = 10, 30
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between attempts
MOST_FETCHED = 1 << 10
_fetched: dict[str, tuple[int, int | None]] = {}  # sizes and times of the last files
EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def check(schemes: Iterable[str]) -> None:
    """Refuse schemes whose library is not installed.

    Raises:
        UsageError: the extra is missing.
    """
    for scheme in schemes:
        for library in ("fsspec", "tenacity", LIBRARIES[scheme]):
            if importlib.util.find_spec(library) is None:
                raise UsageError(f"--remote {scheme} needs the extra: pip install 'patchcli[remote]' ({library} is missing)")


def fetch(path: str, file: BinaryIO) -> int | None:
    """Copy a remote file into an open one, piece by piece; when it was changed, in ns, where the server tells."""
    changed = _fetch_web(path, file) if scheme_of(path) in WEB else _fetch_stored(path, file)
    while len(_fetched) >= MOST_FETCHED:
        del _fetched[next(iter(_fetched))]
    _fetched[path] = file.tell(), changed
    return changed


def _fetch_web(path: str, file: BinaryIO) -> int | None:
    """From beginning to end, for want of anything better."""

    def get() -> None:
        file.seek(0)
        file.truncate()
        web.ANSWERS.clear()
        _store(path).get_file(path, file)

    _tried(path, get)
    return _changed(web.ANSWERS[-1])


def stamp(path: str) -> tuple[int | None, int | None]:
    """Size of a file and when it was changed, in ns, where the server tells; of a file just fetched, what it told then."""
    if path not in _fetched:
        told = _info(path)
        return told.get("size"), _changed(told)
    return _fetched[path]


def open_head(path: str) -> BinaryIO:
    """A remote file to read a little of: pieces are fetched as they are asked for."""
    opened: BinaryIO = _tried(path, lambda: _store(path).open(_bare(path), "rb", block_size=HEAD, cache_type="readahead"))
    return opened


def exists(path: str) -> bool:
    """Whether there is a file of this name."""
    try:
        return bool(_info(path)["type"] == "file")
    except FileNotFoundError:
        return False


def is_folder(path: str) -> bool:
    """Whether names begin with this one and a slash; a web address never is a folder."""
    if scheme_of(path) in WEB:
        return False
    try:
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
    """All files below a folder, as local ones are found: files by name, then subfolders by name, hidden ones left out."""
    root = _bare(folder)
    found = _tried(folder, lambda: _store(folder).find(root, detail=False))
    below = [name.strip("/").removeprefix(root).lstrip("/").split("/") for name in found if not name.endswith("/")]
    shown = [parts for parts in below if not any(part.startswith(".") or not part for part in parts)]
    shown.sort(key=lambda parts: [*((1, part) for part in parts[:-1]), (0, parts[-1])])
    return [f"{scheme_of(folder)}://{'/'.join([*([root] if root else []), *parts])}" for parts in shown]


def send(temporary: str, path: str, *, overwrite: bool) -> None:
    """Upload a finished file; it appears whole under its name or not at all.

    Raises:
        FileExistsError: something is there and may not be overwritten.
    """
    size = os.path.getsize(temporary)
    piece = max(PIECE, (size // PARTS // UNIT + 1) * UNIT)
    attempts = 0

    def put(mode: str) -> None:
        _store(path).put_file(temporary, _bare(path), mode=mode, chunksize=piece, max_concurrency=2)

    def put_new() -> None:
        nonlocal attempts
        attempts += 1
        try:
            put("create")
        except FileExistsError:
            if attempts == 1 or _store(path).info(_bare(path))["size"] != size:
                raise
            # an attempt before this one arrived, though its answer did not
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            put("overwrite")  # a store without conditional writes; that nothing was there has been seen just before

    _tried(path, (lambda: put("overwrite")) if overwrite else put_new)


def remove(path: str) -> None:
    """Delete a file that was sent, as far as that can be."""
    with contextlib.suppress(OSError):
        _tried(path, lambda: _store(path).rm_file(_bare(path)))


def _fetch_stored(path: str, file: BinaryIO) -> int | None:
    """Piece by piece, each tried again for itself."""
    told = _info(path)
    if told["type"] != "file":
        raise IsADirectoryError(errno.EISDIR, "is a folder; allowed are files")
    size, bare = told["size"], _bare(path)

    def piece(start: int) -> bytes:
        stop = min(size, start + PIECE)
        data: bytes = _store(path).cat_file(bare, start=start, end=stop)
        if len(data) != stop - start:
            raise CutOffError(start + len(data), size)
        return data

    file.writelines(_tried(path, functools.partial(piece, start)) for start in range(0, size, PIECE))
    if size > PIECE and _version(_info(path)) != _version(told):
        raise OSError("changed while it was read")
    return _changed(told)


def _info(path: str) -> dict[str, Any]:
    return _tried(path, lambda: _store(path).info(_bare(path)))


def _version(told: dict[str, Any]) -> list[Any]:
    return [told.get(name) for name in ("size", "ETag", "generation", "created")]


def _changed(told: dict[str, Any]) -> int | None:
    """When a file was changed, in ns; each store has its own word for it."""
    if "Last-Modified" in told:
        with contextlib.suppress(ValueError):
            told = {"mtime": email.utils.parsedate_to_datetime(told["Last-Modified"])}
    when = next((told[name] for name in ("LastModified", "mtime", "created") if told.get(name) is not None), None)
    return (when - EPOCH) // MICROSECOND * 1000 if isinstance(when, dt.datetime) else None


def _bare(path: str) -> str:
    """A name as its store has it: ``bucket/folder/name``; on the web all of it."""
    if scheme_of(path) in WEB:
        return path
    return path.partition("://")[2].strip("/")


def _tried(path: str, operation: Callable[[], Result]) -> Result:
    """Do something remote, again after a while if that can help."""
    import tenacity

    scheme = str(scheme_of(path))
    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT) + tenacity.wait_random(0, FIRST_WAIT),
        retry=tenacity.retry_if_exception(lambda error: is_transient(error, scheme)),
        reraise=True,
    )
    try:
        return again(operation)
    except Exception as error:
        if not is_known(error):
            raise
        raise explained(error, scheme) from None


def _store(path: str) -> Any:  # noqa: ANN401
    """The file system of a name; fsspec keeps one for each process, thread and kind."""
    import fsspec

    for name in LOGGERS:  # what is wrong is said once, in a line
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    scheme = str(scheme_of(path))
    if scheme in WEB:
        return web.store(scheme, path, connect=CONNECT_SECONDS, read=READ_SECONDS)
    if scheme == "s3":
        once = {"retries": {"total_max_attempts": 1}, "connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        store = fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=once)
        store.retries = 1  # one place tries again, `_tried`
        return store
    if scheme == "gs":
        # else it asks first what kind of bucket each one is, which takes a right of its own
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        return fsspec.filesystem("gs", use_listings_cache=False)
    return fsspec.filesystem("memory")
