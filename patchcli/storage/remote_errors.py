"""What goes wrong on the way to a server: what passes is tried again, what lasts is told in a sentence.

The libraries' errors are known by name, so that none has to be loaded.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

ATTEMPTS = 5
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between attempts
TOO_MANY, FIRST_SERVER_FAULT, NOT_IMPLEMENTED = 429, 500, 501
BAD_REQUEST, TOO_LARGE = 400, 413
REQUEST_TIMEOUT, CONDITION_FAILED, EMPTY_RANGE = 408, 412, 416
NOT_FOUND, DENIED = (404, 410), (401, 403, 407)
REFUSED = errno.EPERM  # of what is sent: the place refuses all, or this one alone, which its number does not say
LIBRARIES = {"aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "requests"}
PASSING = {
    "aiohttp.ClientConnectionError",
    "aiohttp.ClientPayloadError",
    "botocore.ConnectionError",
    "botocore.HTTPClientError",
    "botocore.IncompleteReadError",
    "botocore.ResponseStreamingError",
}
LASTING = {"aiohttp.ClientSSLError", "aiohttp.InvalidURL", "botocore.SSLError"}
NO_CREDENTIALS = {
    "botocore.NoCredentialsError",
    "botocore.PartialCredentialsError",
    "botocore.CredentialRetrievalError",
    "google.DefaultCredentialsError",
    "google.RefreshError",
}
PASSING_CODES = {  # of S3, below a status that would last
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "XAmzContentSHA256Mismatch",
}
NUMBERS = {  # of what is wrong with a name or what is sent under it; those that do not say so are `REFUSED`
    "KeyTooLong": errno.ENAMETOOLONG,
    "KeyTooLongError": errno.ENAMETOOLONG,
    "InvalidURI": errno.EILSEQ,
    "XMinioInvalidObjectName": errno.EILSEQ,
    "EntityTooLarge": errno.EFBIG,
}
LONGEST_ANSWER = 300  # characters of what a server says that are passed on


class CutOffError(OSError):
    """A server told more bytes than it sent."""

    def __init__(self, got: int, told: int) -> None:
        super().__init__(f"is cut off: {got} bytes came, {told} were told")


class EndedError(OSError):
    """An upload in parts is no more: it was completed, and the answer lost, or somebody ended it."""

    def __init__(self) -> None:
        super().__init__("its upload was ended by another program")


def tried(scheme: str, operation: Callable[[], Result]) -> Result:
    """Do something remote, again after a while if that can help.

    Raises:
        OSError: it fails for good; the error is one sentence.
    """
    import tenacity

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT) + tenacity.wait_random(0, FIRST_WAIT),
        retry=tenacity.retry_if_exception(lambda error: _is_transient(error, scheme)),
        reraise=True,
    )
    try:
        return again(operation)
    except Exception as error:
        if not _is_known(error):
            raise
        raise _explained(error, scheme) from None


def _is_known(error: BaseException) -> bool:
    """Whether an error can come from a server or the way to it; anything else is a bug, and loud."""
    return isinstance(error, OSError | ValueError) or bool({kind.partition(".")[0] for kind in _kinds(error)} & LIBRARIES)


def _is_transient(error: BaseException, scheme: str) -> bool:
    """Whether the same may well work a moment later."""
    if isinstance(error, CutOffError):
        return True
    if scheme == "gs":
        return False  # gcsfs tries each request six times itself
    status = _status(error)
    if status is not None:
        lasting = status < FIRST_SERVER_FAULT or status == NOT_IMPLEMENTED
        return status in (TOO_MANY, REQUEST_TIMEOUT) or _code(error) in PASSING_CODES or not lasting
    kinds = _kinds(error)
    if kinds & LASTING:
        return False
    return bool(kinds & PASSING) or isinstance(error, TimeoutError | ConnectionError)


def _explained(error: Exception, scheme: str) -> OSError:
    """The error as one of a sentence, with its number where that says more; what the own disk says stays as it is."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return error
    status, code = _status(error), _code(error)
    if isinstance(error, FileExistsError) or status == CONDITION_FAILED:
        return FileExistsError(errno.EEXIST, "file exists")
    if code == "NoSuchUpload":
        return EndedError()
    sentence = _sentence(error, scheme)
    if _is_transient(error, scheme):
        sentence += f" ({ATTEMPTS} attempts)"
    if isinstance(error, FileNotFoundError) or status in NOT_FOUND:
        return FileNotFoundError(errno.ENOENT, sentence)
    return OSError(_number(error, scheme), sentence)


def is_empty_range(error: BaseException) -> bool:
    """Whether a file has no such bytes as were asked for."""
    return _status(error) == EMPTY_RANGE


def _number(error: Exception, scheme: str) -> int:
    """What the system would call it; `errno.EIO` for all that is not of an output."""
    status, code = _status(error), _code(error)
    if code in NUMBERS:
        return NUMBERS[code]
    if status == NOT_IMPLEMENTED:
        return errno.ENOSYS
    if status == TOO_LARGE:
        return errno.EFBIG
    if scheme == "gs" and (status == BAD_REQUEST or isinstance(error, ValueError)):
        return errno.EILSEQ  # as gcsfs has answers with "invalid" in them
    if not _is_transient(error, scheme) and status is not None and BAD_REQUEST <= status < FIRST_SERVER_FAULT:
        return REFUSED
    return errno.EIO


def _sentence(error: Exception, scheme: str) -> str:
    kinds, status = _kinds(error), _status(error)
    text = " ".join(str(error.__cause__ or error).split())[:LONGEST_ANSWER]
    missing = isinstance(error, FileNotFoundError) or status in NOT_FOUND
    denied = isinstance(error, PermissionError) or status in DENIED or text.startswith("Forbidden")
    cut = bool(kinds & (PASSING | LASTING)) or isinstance(error, ConnectionError)
    cases = (
        (isinstance(error, CutOffError), str(error)),
        ("aiohttp.TooManyRedirects" in kinds, "its address leads to others without end"),
        ("aiohttp.InvalidURL" in kinds, "is not a web address; write https://host/name"),
        (
            bool(kinds & NO_CREDENTIALS),
            f"no credentials for {scheme} were found where its library looks for them, in the environment first",
        ),
        (_code(error) == "NoSuchBucket", "no such bucket"),
        (missing, "no such file or bucket" if scheme == "gs" else "no such file"),
        (denied, f"access is denied: {text}"),
        (isinstance(error, TimeoutError) or any("Timeout" in kind for kind in kinds), "no answer in time"),
        (status is not None, f"the server answers {status}: {getattr(error, 'message', '') or text}"),
        (cut, f"the connection failed: {text or type(error).__name__}"),
    )
    plain = (error.strerror if isinstance(error, OSError) else None) or text or type(error).__name__
    return next((sentence for applies, sentence in cases if applies), plain)


def _kinds(error: BaseException) -> set[str]:
    """The classes of an error and of what caused it, each with the library that it is from."""
    found = [*type(error).__mro__, *(type(error.__cause__).__mro__ if error.__cause__ else ())]
    return {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in found}


def _response(error: BaseException) -> dict[str, Any]:
    """What botocore keeps of an answer."""
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def _code(error: BaseException) -> str | None:
    code: str | None = _response(error).get("Error", {}).get("Code")
    return code


def _status(error: BaseException) -> int | None:
    """The status of the answer, if there was one: aiohttp, gcsfs and botocore each keep it elsewhere."""
    told = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    for status in (told, getattr(error, "status", None), getattr(error, "code", None)):
        if isinstance(status, int | str) and str(status).isdigit():
            return int(status)
    return None
