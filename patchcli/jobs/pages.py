"""Which pages of a file are read."""

from __future__ import annotations

from typing import NamedTuple


class PageRange(NamedTuple):
    """Pages of a file, from 0: the first and the last of them; without a last one all that there are.

    A range of one page, as in ``2-2``, is a range as others are.
    """

    first: int = 0
    last: int | None = 0
    ranged: bool = False

    @property
    def several(self) -> bool:
        """Whether a range of pages is asked for, be there several or not."""
        return self.ranged or self.first != self.last

    def of(self, count: int) -> range:
        """Those of a file of so many pages; the first that it lacks, if it lacks any, is the last, and fails for all of them.

        >>> PageRange(1, 3).of(5), PageRange(0, None).of(5), PageRange(3, 1000).of(5)
        (range(1, 4), range(0, 5), range(3, 6))
        """
        last = count - 1 if self.last is None else self.last
        return range(self.first, max(self.first, min(last, count)) + 1)

    def in_words(self) -> str:
        """As ``--page`` has it."""
        return "all" if self.last is None else f"{self.first}-{self.last}" if self.several else str(self.first)
