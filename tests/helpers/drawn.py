"""What was drawn on a picture, beside its pixels: where text stands, and which."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest

from patchcli.pictures import page
from patchcli.pictures.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.axis import Pair


class Recorded(Canvas):
    """A canvas that remembers its words."""

    def __init__(self, size: Pair) -> None:
        super().__init__(size)
        self.words: list[str] = []

    def write(self, text: str, top: int, left: int, *, on_picture: bool = False) -> None:
        if text:
            self.words.append(text)
        super().write(text, top, left, on_picture=on_picture)

    @property
    def said(self) -> str:
        """All words in a line."""
        return " ".join(self.words)

    def check(self) -> None:
        """No text is cut off by the border or by other text."""
        height, width = self.size
        assert all(top >= 0 and left >= 0 and bottom <= height and right <= width for top, left, bottom, right in self.texts)
        for one, other in itertools.combinations(self.texts, 2):
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


@contextlib.contextmanager
def recorded() -> Iterator[list[Recorded]]:
    """The canvases that are made meanwhile."""
    made: list[Recorded] = []

    def make(size: Pair) -> Recorded:
        made.append(Recorded(size))
        return made[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "Canvas", make)
        yield made
