"""Remote requests that are made again after a while where that can help."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from patchcli.storage.remote_errors import ATTEMPTS, explained, is_known, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between attempts

Result = TypeVar("Result")


def tried(scheme: str, operation: Callable[[], Result]) -> Result:
    """Do something remote, again after a while if that can help.

    Raises:
        OSError: it fails for good; the error is one sentence.
    """
    import tenacity

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
