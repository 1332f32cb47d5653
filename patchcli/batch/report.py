"""What became of each input: a line of JSON as soon as it is known, and a summary as the last."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Self

from patchcli.errors import OutputError, UsageError, counted, reason
from patchcli.jobs.task import PartFault, in_megabytes
from patchcli.storage.files import STREAM, is_special, locked
from patchcli.storage.streams import write_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from patchcli.jobs.task import Planned

MANY_KINDS = 20
PLAN = ("patches", "bytes", "memory", "uncovered", "exact")  # what a record has of a plan


class Report:
    """A report that is being written; without a path it only counts.

    Args:
        path: of the file; ``-`` is standard output; None writes nothing.
        inputs: how many there are.
        overwrite: whether it may replace a report that exists.
    """

    def __init__(self, path: str | None, inputs: int, *, overwrite: bool = True) -> None:
        self._path, self._inputs, self._overwrite = path, inputs, overwrite
        self._file: IO[bytes] | None = None
        self._kinds: Counter[str] = Counter()
        self._begun = time.monotonic()
        self.done = self.failed = self.skipped = 0
        self.planned: list[Planned] = []

    def __enter__(self) -> Self:
        if self._path == STREAM:
            self._file = sys.stdout.buffer
        elif self._path is not None:
            self._file = self._open(self._path)
        return self

    def _open(self, path: str) -> IO[bytes]:
        """Open the file to append to it, so that it may be truncated or renamed meanwhile, and lock it; then empty it.

        Raises:
            UsageError: another run writes it, or it came to exist.
            OutputError: it cannot be written.
        """
        new = 0 if self._overwrite or is_special(path) else os.O_EXCL
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | new | getattr(os, "O_BINARY", 0), 0o666)
            file = os.fdopen(number, "wb", buffering=0)
            if not is_special(path):
                if not locked(number):
                    file.close()
                    raise UsageError(f"{path}: is being written by another run; give each its own --report")
                os.ftruncate(number, 0)
        except FileExistsError:
            raise UsageError(f"{path}: already exists; use --overwrite to replace it") from None
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {reason(error)}") from None
        return file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write({"summary": self.summary()})
        finally:
            if self._file is not None and self._path != STREAM:
                try:
                    self._file.close()
                except OSError as failed:  # some file systems tell only now that a write failed
                    if kind is None:
                        raise OutputError(f"{self._path}: cannot be written: {reason(failed)}") from None

    @property
    def left(self) -> int:
        """How many inputs were not tried."""
        return self._inputs - self.done - self.failed - self.skipped - len(self.planned)

    def add(
        self,
        source: str,
        target: str | None,
        faults: list[str],
        hints: Sequence[str] = (),
        *,
        page: int | None = None,
        skipped: bool = False,
        planned: Planned | None = None,
        figures: dict[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Note what became of an input: what is wrong with it, or nothing, or that nothing was left to do, or what would.

        ``figures``: how far what was made is from another image.
        """
        status = "failed" if faults else "planned" if planned else "skipped" if skipped else "done"
        if status != "planned":
            setattr(self, status, getattr(self, status) + 1)
        self._kinds.update(kind_of(fault) for fault in faults)
        record: dict[str, object] = {
            "input": source,
            **({} if page is None else {"page": page}),
            "output": target,
            "status": status,
            "errors": faults,
            "hints": list(hints),
            "seconds": round(seconds, 4),
        }
        if figures is not None:
            record["compare"] = figures
        if planned is not None:
            self.planned.append(planned)
            record |= {name: getattr(planned, name) for name in PLAN}
        self._write(record)

    def summary(self) -> dict[str, object]:
        """All inputs counted, and how often each kind of error came up."""
        counts = {status: getattr(self, status) for status in ("done", "skipped", "failed", "left")}
        seconds = round(time.monotonic() - self._begun, 4)
        plans = {"planned": len(self.planned), **self.plans()} if self.planned else {}
        kinds = dict(self._kinds.most_common(MANY_KINDS))
        return {"inputs": self._inputs, **counts, **plans, "seconds": seconds, "errors": kinds}

    def plans(self) -> dict[str, int]:
        """All that is planned together: patches and bytes of all inputs, memory of the one that needs most."""
        patches, nbytes = (sum(getattr(one, name) or 0 for one in self.planned) for name in PLAN[:2])
        return {"patches": patches, "bytes": nbytes, "memory": max(one.memory for one in self.planned)}

    def plans_in_words(self) -> str:
        """The same in a line."""
        plans = self.plans()
        patches = f"{counted(plans['patches'], 'patch')}, " if any(one.patches is not None for one in self.planned) else ""
        most = "" if all(one.exact for one in self.planned) else "at most "
        of = "" if len(self.planned) == self._inputs else f" of {self._inputs}"
        size = f"{plans['bytes']} bytes, up to {in_megabytes(plans['memory'])} memory each"
        return f"{len(self.planned)}{of} input{'s' * (self._inputs != 1)}: {most}{patches}{size}"

    def counts_in_words(self) -> str:
        """What became of the inputs, in a line."""
        counts = ((self.done, "done"), (self.skipped, "up to date"), (self.failed, "failed"), (self.left, "not tried"))
        return f"{counted(self._inputs, 'input')}: {', '.join(f'{count} {what}' for count, what in counts if count)}"

    def so_far_in_words(self) -> str:
        """How far a run came that ends now: outputs may be there of which it does not know yet."""
        if self._inputs == 1:
            return "the input is not finished"
        failed = f" and {self.failed} failed" if self.failed else ""
        return f"at least {self.done + self.skipped} of {self._inputs} inputs are done{failed}"

    def in_words(self) -> str:
        """How many failed, and of what, in a line."""
        kinds = "; ".join(f"{count} x {kind}" for kind, count in self._kinds.most_common(MANY_KINDS))
        return f"{self.failed} of {self._inputs} inputs failed: {kinds}"

    def _write(self, record: dict[str, object]) -> None:
        if self._file is None:
            return
        try:
            line = f"{json.dumps(record)}\n".encode()
            if self._path == STREAM:
                self._file.write(line)
                self._file.flush()
            else:
                self._append(self._file.fileno(), line)
        except BrokenPipeError:
            raise
        except OSError as error:
            name = "standard output" if self._path == STREAM else self._path
            raise OutputError(f"{name}: cannot be written: {reason(error)}") from None

    def _append(self, number: int, line: bytes) -> None:
        """Write a line, or nothing of it."""
        size = os.fstat(number).st_size
        try:
            write_all(number, line)
        except OSError:
            with contextlib.suppress(OSError):  # of a pipe or a device nothing can be taken back
                os.ftruncate(number, size)
            raise


def kind_of(fault: str) -> str:
    """What kind of error a sentence tells of: its first clause, without numbers and names.

    >>> kind_of("a 3.npz: cannot be written: no space left on device")
    'cannot be written'
    >>> kind_of("has 600 pixels (width=30 height=20); allowed are 100, or more with --max-pixels")
    'has N pixels'
    >>> kind_of(PartFault("boxes.json: annotation 7", "box is empty: width=0 height=4"))
    'box is empty'
    """
    if isinstance(fault, PartFault):
        fault = fault.why
    unnamed = re.sub(r"^.*: (?=cannot be written: )", "", fault)  # which is said of an output, and names it
    clause = re.split(r"[;:(]", unnamed, maxsplit=1)[0]
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", clause)).strip()
