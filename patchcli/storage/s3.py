"""What S3 can do and fsspec does not pass on.

Keys as they are, whatever their parts; what an answer tells beside its bytes; uploads that are known, so that they can be ended.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from patchcli.storage import signals
from patchcli.storage.remote_errors import REFUSED, CutOffError, is_empty_range, tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT_SECONDS, READ_SECONDS = 10, 30
PARTS_AT_ONCE = 2
ABORT_SECONDS = 5  # how long the end of a process waits for the end of an upload
IF_NEW = {"IfNoneMatch": "*"}  # the condition that nothing has this name
OPEN_UPLOADS: list[dict[str, str]] = []  # those in parts that are neither complete nor aborted
HEEDING: set[str] = set()  # buckets that were seen to heed the condition
UNAWARE: set[str] = set()  # buckets that do not know it


def store() -> Any:  # noqa: ANN401
    """The file system of S3, one for all threads of a process."""
    return made_in(os.getpid())


@functools.cache
def made_in(_process: int) -> Any:  # noqa: ANN401
    """The file system of a process; another begins with one of its own."""
    import fsspec

    once = {"retries": {"total_max_attempts": 1}, "connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    made = fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=once)
    made.retries = 1  # one place tries again, `tried`
    return made


def split_name(path: str) -> tuple[str, str]:
    """Bucket and key of a name; the bucket may be an access point, which has a slash."""
    bare = path.partition("://")[2].lstrip("/")
    bucket: str = store().split_path(bare)[0]
    return bucket, bare[len(bucket) :].removeprefix("/")


def _call(path: str, method: str, **what: Any) -> dict[str, Any]:  # noqa: ANN401
    """Ask something of an object, again if that can help."""
    bucket, key = split_name(path)
    answer: dict[str, Any] = tried("s3", lambda: store().call_s3(method, Bucket=bucket, Key=key, **what))
    return answer


def described(path: str) -> dict[str, Any]:
    """What is told of an object.

    Raises:
        FileNotFoundError: there is none.
    """
    if not split_name(path)[1]:
        raise FileNotFoundError(errno.ENOENT, "is a bucket; give a file")
    told = _call(path, "head_object")
    return {**told, "size": told["ContentLength"], "type": "file"}


def get(path: str, start: int, stop: int, version: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """Bytes of an object, and what is told of all of it: one request.

    Args:
        path: its name.
        start: first byte.
        stop: byte after the last, or anything beyond the end.
        version: the ETag that it must still have; None takes any.

    Raises:
        OSError: it is another by now.
    """
    from fsspec.asyn import sync

    bucket, key = split_name(path)
    if not key:
        raise IsADirectoryError(errno.EISDIR, "is a bucket; give a file")
    what = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{stop - 1}", **({"IfMatch": version} if version else {})}

    def ask() -> tuple[bytes, dict[str, Any]]:
        try:
            told = store().call_s3("get_object", **what)
        except OSError as error:
            if start == 0 and is_empty_range(error):  # which an empty object has none of
                return b"", {"size": 0}
            raise
        size = int(str(told.get("ContentRange", "")).rpartition("/")[2] or told["ContentLength"])
        data = sync(store().loop, told["Body"].read)
        if len(data) != min(stop, size) - start:
            raise CutOffError(start + len(data), size)
        return data, {**told, "size": size, "type": "file"}

    try:
        data, told = tried("s3", ask)
    except FileExistsError:  # as a condition that does not hold is called
        raise OSError("changed while it was read") from None
    return (data, told) if told["size"] else (data, described(path))


def objects(folder: str, most: int = 1000) -> Iterator[tuple[str, dict[str, Any]]]:
    """All keys of a folder, without the folder itself, with what is told of each; up to ``most`` a request."""
    bucket, key = split_name(folder)
    prefix = key if not key or key.endswith("/") else f"{key}/"
    what: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": most}
    while True:
        page = tried("s3", lambda: store().call_s3("list_objects_v2", **what))
        for one in page.get("Contents", ()):
            yield one["Key"].removeprefix(prefix), {**one, "size": one["Size"]}
        if not page.get("IsTruncated"):
            return
        what["ContinuationToken"] = page["NextContinuationToken"]


def delete(path: str) -> None:
    """Delete an object."""
    _call(path, "delete_object")


def put(temporary: str, path: str, piece: int, *, overwrite: bool) -> None:
    """Upload a file, in parts of ``piece`` bytes if it has several.

    Whether something has the name is left to the store, in the one request that gives it, wherever it was seen to refuse.
    A bucket that was not yet seen to is asked before, and tried after: sent a second time, the file has to be refused.

    Raises:
        FileExistsError: something has this name, perhaps this file: of an attempt before.
        EndedError: the upload is no more, perhaps because it was completed.
    """
    bucket = split_name(path)[0]
    upload = functools.partial(
        _put_in_parts if is_in_parts(os.path.getsize(temporary), piece) else _put_whole, temporary, path, piece
    )
    if overwrite:
        upload({})
        return
    if bucket not in HEEDING:
        with contextlib.suppress(FileNotFoundError):
            described(path)
            raise FileExistsError(errno.EEXIST, "file exists")
    if bucket not in UNAWARE:
        try:
            _put_new(upload, bucket)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            UNAWARE.add(bucket)
        else:
            if bucket not in HEEDING and upload.func is _put_whole:
                with contextlib.suppress(OSError):
                    _put_new(upload, bucket)
            return
    upload({})


def _put_new(upload: Callable[[dict[str, str]], None], bucket: str) -> None:
    try:
        upload(IF_NEW)
    except FileExistsError:
        HEEDING.add(bucket)
        raise


def is_in_parts(size: int, piece: int) -> bool:
    """Whether a file goes in parts."""
    return size >= 2 * piece


def _put_whole(temporary: str, path: str, _piece: int, condition: dict[str, str]) -> None:
    with open(temporary, "rb") as file:
        data = file.read()
    with _blamed(path):
        _call(path, "put_object", Body=data, **condition)


def _put_in_parts(temporary: str, path: str, piece: int, condition: dict[str, str]) -> None:
    bucket, key = split_name(path)

    def send(number: int) -> dict[str, Any]:
        with open(temporary, "rb") as file:
            file.seek((number - 1) * piece)
            data = file.read(piece)
        told = _call(path, "upload_part", UploadId=upload["UploadId"], PartNumber=number, Body=data)
        return {"PartNumber": number, "ETag": told["ETag"]}

    with _blamed(path):
        upload = {"Bucket": bucket, "Key": key, "UploadId": _call(path, "create_multipart_upload")["UploadId"]}
        OPEN_UPLOADS.append(upload)
        try:
            with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                parts = list(pool.map(send, range(1, -(-os.path.getsize(temporary) // piece) + 1)))
            told = {"UploadId": upload["UploadId"], "MultipartUpload": {"Parts": parts}}
            _call(path, "complete_multipart_upload", **told, **condition)
        except BaseException:
            _abort(upload)
            raise
        finally:
            OPEN_UPLOADS.remove(upload)


def _abort(upload: dict[str, str], seconds: float | None = None) -> None:
    """End an upload, so that its parts, which are paid for, don't stay; as far as that can be."""
    with contextlib.suppress(Exception):  # what stays is what a rule of the bucket is for
        store().call_s3("abort_multipart_upload", **upload, timeout=seconds)


def abort_uploads() -> None:
    """End all uploads, for a process that ends at once."""
    for upload in OPEN_UPLOADS[:]:
        _abort(upload, ABORT_SECONDS)


signals.at_end(signals.UPLOADS, abort_uploads)


@contextlib.contextmanager
def _blamed(path: str) -> Iterator[None]:
    """What is refused of this object alone, where others of its folder are taken, is said to be wrong with its name."""
    try:
        yield
    except OSError as error:
        if error.errno != REFUSED or not _takes_another(path):
            raise
        raise OSError(errno.EILSEQ, error.strerror) from None


def _takes_another(path: str) -> bool:
    """Whether an empty object can be made beside one that was refused; it is deleted again."""
    other = f"{path.rpartition('/')[0]}/.patchcli.{uuid.uuid4().hex}.tmp"
    try:
        _call(other, "put_object", Body=b"")
        delete(other)
    except OSError:
        return False
    return True
