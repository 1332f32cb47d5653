"""Things made ahead of their use."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from patchcli.threads import AHEAD_BYTES, ahead


class Held:
    """Something that a maker holds, as a file."""


def test_what_a_maker_held_is_let_go_when_its_error_was_told() -> None:
    held: list[weakref.ref[Held]] = []

    def failing() -> Iterator[int]:
        one = Held()
        held.append(weakref.ref(one))
        yield 1
        raise ValueError("damaged")

    gc.disable()  # which would find a circle, in any order
    try:
        with pytest.raises(ValueError, match=r"^damaged$") as raised:
            list(ahead(failing(), AHEAD_BYTES))
        del raised
        assert held[0]() is None
    finally:
        gc.enable()
