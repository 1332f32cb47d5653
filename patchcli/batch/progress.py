"""How a run speaks: in lines, and with a bar that makes room for them."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
USUAL_COLUMNS, USUAL_LINES = 80, 24


class Voice(NamedTuple):
    """How a run speaks: ``error`` always, ``hint`` unless quiet, ``done`` only where somebody looks, a progress bar likewise.

    ``result`` is for standard output, all else for standard error. ``verbose``: each input beside a bar,
    and how long it took. ``debug``: where errors came from.
    """

    error: Callable[[str], None]
    result: Callable[[str], None]
    hint: Callable[[str], None] | None = None
    done: Callable[[str], None] | None = None
    progress: bool = False
    verbose: bool = False
    debug: bool = False


class Bar:
    """A tqdm bar: over patches for one input, over inputs for several; nothing where it is not shown."""

    def __init__(self, inputs: int, *, shown: bool) -> None:
        self._inputs, self._shown = inputs, shown
        self.over_inputs = shown and inputs > 1  # which takes the place of a line for each that is done
        self._bar: Any = None
        self._hidden = False
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self.over_inputs:
            self._open(self._inputs, "image")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, total: int, unit: str) -> None:
        import tqdm

        tqdm.tqdm.monitor_interval = 0  # a thread that draws by itself would speak while libraries are listened to
        self._bar = tqdm.tqdm(total=total, unit=unit, unit_scale=unit == "patch", leave=False, miniters=1, **_room())

    def beside(self, voice: Voice) -> Voice:
        """The same voice, for which the bar makes room."""
        if not self._shown:
            return voice

        def clear(say: Callable[[str], None]) -> Callable[[str], None]:
            def said(line: str) -> None:
                if self._bar is None:
                    say(line)
                    return
                self._bar.clear()
                say(line)
                self._hidden = True

            return said

        return voice._replace(
            error=clear(voice.error),
            result=clear(voice.result),
            hint=voice.hint and clear(voice.hint),
            done=voice.done and clear(voice.done),
        )

    def tick(self, now: int, total: int) -> None:
        """``now`` more of ``total`` patches of the only input are done."""
        if self._shown and self._inputs == 1:
            if self._bar is None:
                self._open(total, "patch")
            self._bar.update(now)

    def next(self, failed: int) -> None:
        """One more input is done; so many failed till now."""
        if self._bar is not None and self._inputs > 1:
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update(1)
            now = time.monotonic()
            if self._hidden and now - self._drawn > self._bar.mininterval:  # a bar between any two of many lines would flicker
                self._bar.refresh()
                self._hidden, self._drawn = False, now

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _room() -> dict[str, Any]:
    """The usual size where a terminal does not know its own, which would leave the bar no room; else tqdm asks for it."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return {}
    usual = {} if size.columns else {"ncols": USUAL_COLUMNS}
    return usual if size.lines else {**usual, "nrows": USUAL_LINES}
