"""One axis of a grid, from integers alone: where patches start, how many there are, how often they cover a pixel.

An axis of length ``D`` gets starts for patches of ``p`` pixels at stride ``s`` from offset ``o``, after a margin ``m`` was
added at both ends. The rules for its far end are the table `EDGES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Pair = tuple[int, int]

OVERLAP = re.compile(r"(?P<over>\d{1,9}(\.\d{1,9}(?=%))?)((?P<percent>%)|/(?P<under>\d{1,9}))?", re.ASCII)
CLIP = "clip"  # the rule of which tile files are as small as the image leaves them
MAX_LENGTH = 2**40  # pixels of one padded axis; keeps every product of grid numbers inside int64


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True)
class EdgeRule:
    """How many patches of ``p`` pixels fit and where patch ``i`` starts, for ``room = D - o - p`` pixels of play."""

    count: Callable[[int, int, int], int]
    start: Callable[[NDArray[np.int64], int, int], NDArray[np.int64]]
    needs_room: bool = True


def _even_start(i: NDArray[np.int64], room: int, stride: int) -> NDArray[np.int64]:
    """``round(i * room / gaps)`` in integers, ties to even as `numpy.round` has them."""
    gaps = max(_ceil_div(room, stride), 1)
    nearest, twice_rest = np.divmod(2 * i * room + gaps, 2 * gaps)
    start: NDArray[np.int64] = nearest - ((twice_rest == 0) & (nearest % 2 == 1))
    return start


EDGES: dict[str, EdgeRule] = {
    "shift": EdgeRule(lambda room, s, _p: _ceil_div(room, s) + 1, lambda i, room, s: np.minimum(i * s, room)),
    "pad": EdgeRule(lambda room, s, _p: max(1, _ceil_div(room, s) + 1), lambda i, _room, s: i * s, needs_room=False),
    "drop": EdgeRule(lambda room, s, _p: room // s + 1, lambda i, _room, s: i * s),
    "even": EdgeRule(lambda room, s, _p: _ceil_div(room, s) + 1, _even_start),
    # as pad, but a patch that has no pixel of the image, which wide strides make, could not be cut
    CLIP: EdgeRule(
        lambda room, s, p: max(1, min(_ceil_div(room, s) + 1, _ceil_div(room + p, s))),
        lambda i, _room, s: i * s,
        needs_room=False,
    ),
}


def stride_from_overlap(patch: int, overlap: str) -> int:
    """Stride of a patch of ``patch`` pixels for an overlap written ``N``, ``N%`` or ``a/b``.

    A percentage or fraction is exact: the overlap is ``floor(patch * fraction)``, so 29% of 100 is 29 pixels.

    >>> stride_from_overlap(100, "29%"), stride_from_overlap(8, "3"), stride_from_overlap(9, "1/3")
    (71, 5, 6)
    """
    from fractions import Fraction

    matched = OVERLAP.fullmatch(overlap)
    if not matched or (matched["under"] and not int(matched["under"])):
        raise PatchcliError(f"overlap is {overlap!r}; allowed are pixels (3), a percentage (25%) or a fraction (1/3)")
    fraction = Fraction(matched["over"])
    if matched["percent"]:
        pixels = int(patch * fraction / 100 // 1)
    else:
        pixels = int(patch * fraction / int(matched["under"]) // 1) if matched["under"] else int(fraction)
    if not 0 <= pixels < patch:
        raise PatchcliError(f"overlap {overlap} is {pixels} pixels of a patch of {patch}; allowed are 0 to {patch - 1}")
    return patch - pixels


@dataclass(frozen=True)
class Axis:
    """One axis of a grid: where patches start along ``length`` pixels. `name` ("width") is for messages."""

    name: str
    length: int
    patch: int
    stride: int
    offset: int
    edge: str
    margin: int

    def __post_init__(self) -> None:
        for what, value, least in (
            (f"image {self.name}", self.length, 1),
            (f"patch {self.name}", self.patch, 1),
            (f"stride along the {self.name}", self.stride, 1),
            (f"offset along the {self.name}", self.offset, 0),
            ("margin", self.margin, 0),
        ):
            if not least <= value <= MAX_LENGTH:
                raise PatchcliError(f"{what} is {value}; allowed are whole numbers from {least} to 2**40")
        if not isinstance(self.edge, str) or self.edge not in EDGES:
            raise PatchcliError(f"edge rule is {self.edge!r}; allowed are {', '.join(EDGES)}")
        whole = self.length + 2 * self.margin
        margins = f" with margins of {self.margin}" if self.margin else ""
        if self.offset >= whole:
            raise PatchcliError(f"offset {self.offset} lies outside image {self.name}={self.length}{margins}")
        if self._rule.needs_room and self.room < 0:
            where = margins + (f" behind offset {self.offset}" if self.offset else "")
            raise PatchcliError(
                f"patch {self.name}={self.patch} is larger than image {self.name}={self.length}{where}; "
                f"use a patch of at most {self.name}={whole - self.offset}, or --edge pad"
            )

    @property
    def _rule(self) -> EdgeRule:
        return EDGES[self.edge]

    @property
    def room(self) -> int:
        """Pixels by which the last start may lie behind the first; negative where the patch does not fit."""
        return self.length + 2 * self.margin - self.offset - self.patch

    @cached_property
    def count(self) -> int:
        """Number of patches along this axis."""
        return self._rule.count(self.room, self.stride, self.patch)

    @cached_property
    def padded(self) -> int:
        """Length with both margins and, for edges ``pad`` and ``clip``, with what the far side needs."""
        length = self.length + 2 * self.margin
        if self._rule.needs_room:
            return length
        return max(length, self.offset + (self.count - 1) * self.stride + self.patch)

    def cut_lengths(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How long tile files at ``starts`` are, int64 of their shape: edge ``clip`` cuts them where image and margin end."""
        if self.edge != CLIP:
            return np.full_like(starts, self.patch)
        return np.minimum(self.length + 2 * self.margin - starts, self.patch)

    @property
    def padding(self) -> Pair:
        """Pixels added (before, after) the image along this axis."""
        return self.margin, self.padded - self.length - self.margin

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Starts in the padded image, strictly increasing, read-only int64 of shape ``(count,)``."""
        starts = self.offset + self._rule.start(np.arange(self.count, dtype=np.int64), self.room, self.stride)
        starts.flags.writeable = False
        return starts

    @cached_property
    def alone(self) -> int:
        """How many first patches overlap no other."""
        starts = self.starts
        touching = np.flatnonzero(starts[1:] - starts[:-1] < self.patch)
        return int(touching[0]) if len(touching) else self.count

    @cached_property
    def padded_cover(self) -> NDArray[np.int64]:
        """How many patches lie on each position of the padded axis, read-only int64 of shape ``(padded,)``."""
        change = np.zeros(self.padded + 1, np.int64)
        change[self.starts] += 1  # starts are distinct, hence so are ends
        change[self.starts + self.patch] -= 1
        cover = np.cumsum(change[:-1])
        cover.flags.writeable = False
        return cover

    def cover(self) -> NDArray[np.int64]:
        """How many patches lie on each image pixel, read-only int64 of shape ``(length,)``."""
        return self.padded_cover[self.margin : self.margin + self.length]
