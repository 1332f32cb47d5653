"""The errors that a file, a disk or a user can cause.

Each one is a single sentence: what is wrong, what was got, what is allowed. Inner code states the fact; a job
names files beside its input; the run puts the input's name in front, once.
"""

from __future__ import annotations

import errno

DONE, FAILED, USAGE, STOPPED, READER_GONE = 0, 1, 2, 3, 141  # exit codes; the last is as if by SIGPIPE
LONGEST = 300  # characters of a message, behind the name of its file


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "patch"), counted(2, "patch"), counted(3, "input")
    ('1 patch', '2 patches', '3 inputs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"


def one_line(text: str) -> str:
    """Text as one line that a terminal can show: a name in it may hold anything."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)


def shortened(text: str) -> str:
    """Text of at most `LONGEST` characters: what a file holds can be of any length; beginning and end say most."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 105]} ... {text[-100:]}"


def reason(error: OSError) -> str:
    """What the system says of a failure, in lower case, without the number."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


# how a loader, and an interpreter that has no memory left for an exception, say that memory is short
LACKING = ("failed to map segment", "cannot allocate memory", "without exception set", "without setting an exception")


def shortage(error: BaseException) -> str | None:
    """What there is too little of, where an error tells of that in one of Python's ways; None where it tells of anything else."""
    said = str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return "memory"
    if isinstance(error, MemoryError) or (isinstance(error, ImportError | SystemError) and any(part in said for part in LACKING)):
        return "memory"
    if isinstance(error, RuntimeError) and said == "can't start new thread":
        return "memory or threads"
    return None


def fault_of(error: Exception) -> str:
    """Why an input failed, in a sentence, whatever was raised: what an input causes, what the system says, a bug."""
    if isinstance(error, PatchcliError):
        return shortened(str(error))
    if shortage(error):
        return "needs more memory than there is"
    if isinstance(error, OSError):  # of outputs it would be an OutputError
        return f"cannot be read: {reason(error)}"
    said = shortened(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": "))
    return f"met a fault of patchcli itself ({said}); --debug shows where, please report it"


class PatchcliError(ValueError):
    """An input, a stack or an argument that cannot be used. The command line answers with exit code 1."""


class UsageError(PatchcliError):
    """A call that can never work, whatever the files hold. Nothing was read or written; exit code 2."""


class OutputError(PatchcliError):
    """An output that cannot be written (disk full, no permission). The run stops; exit code 3."""
