"""What goes wrong on the way to a server: which of it passes, and each in a sentence.

The libraries' errors are known by name, so that none has to be loaded.
"""

from __future__ import annotations

import errno
from typing import Any

ATTEMPTS = 5
TOO_MANY, FIRST_SERVER_FAULT, NOT_IMPLEMENTED = 429, 500, 501
REQUEST_TIMEOUT = 408
NOT_FOUND, DENIED = (404, 410), (401, 403, 407)
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
LONGEST = 300  # characters of what a server says that are passed on


class CutOffError(OSError):
    """A server told more bytes than it sent."""

    def __init__(self, got: int, told: int) -> None:
        super().__init__(f"is cut off: {got} bytes came, {told} were told")


def is_known(error: BaseException) -> bool:
    """Whether an error can come from a server or the way to it; anything else is a bug, and loud."""
    return isinstance(error, OSError | ValueError) or bool({kind.partition(".")[0] for kind in _kinds(error)} & LIBRARIES)


def is_transient(error: BaseException, scheme: str) -> bool:
    """Whether the same may well work a moment later."""
    if isinstance(error, CutOffError):
        return True
    if scheme == "gs":
        return False  # gcsfs tries each request six times itself
    if _status(error) is not None:
        status = _status(error)
        return status in (TOO_MANY, REQUEST_TIMEOUT) or (
            status is not None and status >= FIRST_SERVER_FAULT and status != NOT_IMPLEMENTED
        )
    kinds = _kinds(error)
    if kinds & LASTING:
        return False
    return bool(kinds & PASSING) or isinstance(error, TimeoutError | ConnectionError)


def explained(error: Exception, scheme: str) -> OSError:
    """The error as one of a sentence, with its number where that says more; what the own disk says stays as it is."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return error
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, "file exists")
    sentence = _sentence(error, scheme)
    if is_transient(error, scheme):
        sentence += f" ({ATTEMPTS} attempts)"
    missing = isinstance(error, FileNotFoundError) or _status(error) in NOT_FOUND
    return FileNotFoundError(errno.ENOENT, sentence) if missing else OSError(sentence)


def _sentence(error: Exception, scheme: str) -> str:
    kinds, status = _kinds(error), _status(error)
    text = " ".join(str(error.__cause__ or error).split())[:LONGEST]
    missing = isinstance(error, FileNotFoundError) or status in NOT_FOUND
    denied = isinstance(error, PermissionError) or status in DENIED or text.startswith("Forbidden")
    cut = bool(kinds & (PASSING | LASTING)) or isinstance(error, ConnectionError)
    cases = (
        (isinstance(error, CutOffError), str(error)),
        ("aiohttp.TooManyRedirects" in kinds, "its address leads to others without end"),
        ("aiohttp.InvalidURL" in kinds, "is no web address; allowed are https://host/name and http://host/name"),
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
