"""The grid: the rule that places patches, from integers alone.

An axis of length ``D`` gets starts for patches of ``p`` pixels at stride ``s`` from offset ``o``, after a margin ``m`` was
added at both ends. Row and column axis are independent, so that a grid is the product of two of them and everything
about it (number of patches, origins, cover) follows from 2 short lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pair = tuple[int, int]

OVERLAP = re.compile(r"(?P<over>\d{1,9}(\.\d{1,9}(?=%))?)((?P<percent>%)|/(?P<under>\d{1,9}))?", re.ASCII)
MAX_LENGTH = 2**40  # pixels of one padded axis; keeps every product of grid numbers inside int64


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True)
class EdgeRule:
    """How many patches fit and where patch ``i`` starts, for ``room = D - o - p`` pixels of play."""

    count: Callable[[int, int], int]
    start: Callable[[NDArray[np.int64], int, int], NDArray[np.int64]]
    needs_room: bool = True


def _even_start(i: NDArray[np.int64], room: int, stride: int) -> NDArray[np.int64]:
    """``round(i * room / gaps)`` in integers, ties to even as `numpy.round` has them."""
    gaps = max(_ceil_div(room, stride), 1)
    nearest, twice_rest = np.divmod(2 * i * room + gaps, 2 * gaps)
    start: NDArray[np.int64] = nearest - ((twice_rest == 0) & (nearest % 2 == 1))
    return start


EDGES: dict[str, EdgeRule] = {
    "shift": EdgeRule(lambda room, s: _ceil_div(room, s) + 1, lambda i, room, s: np.minimum(i * s, room)),
    "pad": EdgeRule(lambda room, s: max(1, _ceil_div(room, s) + 1), lambda i, _room, s: i * s, needs_room=False),
    "drop": EdgeRule(lambda room, s: room // s + 1, lambda i, _room, s: i * s),
    "even": EdgeRule(lambda room, s: _ceil_div(room, s) + 1, _even_start),
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
        if self.offset >= whole:
            raise PatchcliError(f"offset {self.offset} lies outside image {self.name}={whole}")
        if self._rule.needs_room and self.room < 0:
            where = f" behind offset {self.offset}" if self.offset else ""
            raise PatchcliError(
                f"patch {self.name}={self.patch} is larger than image {self.name}={whole - self.offset}{where}; "
                f"allowed are patches up to that {self.name}, or any with --edge pad"
            )

    @property
    def _rule(self) -> EdgeRule:
        return EDGES[self.edge]

    @property
    def room(self) -> int:
        """Pixels by which the last start may lie behind the first; negative where the patch does not fit."""
        return self.length + 2 * self.margin - self.offset - self.patch

    @property
    def count(self) -> int:
        """Number of patches along this axis."""
        return self._rule.count(self.room, self.stride)

    @property
    def padded(self) -> int:
        """Length with both margins and, for edge ``pad``, with what the far side needs."""
        length = self.length + 2 * self.margin
        if self._rule.needs_room:
            return length
        return max(length, self.offset + (self.count - 1) * self.stride + self.patch)

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

    def padded_cover(self) -> NDArray[np.int64]:
        """How many patches lie on each position of the padded axis, int64 of shape ``(padded,)``."""
        change = np.zeros(self.padded + 1, np.int64)
        change[self.starts] += 1  # starts are distinct, hence so are ends
        change[self.starts + self.patch] -= 1
        return np.cumsum(change[:-1])

    def cover(self) -> NDArray[np.int64]:
        """How many patches lie on each image pixel, int64 of shape ``(length,)``."""
        return self.padded_cover()[self.margin : self.margin + self.length]


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring patches of a grid: patch rows ``rows``, patch columns ``columns``; `first` is the index of the first."""

    rows: slice
    columns: slice
    first: int
    count: int


def pair(name: str, value: int | Pair) -> Pair:
    """``value`` as a pair (rows, columns) of ints; one number stands for both."""
    both = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(both) != 2 or not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in both):  # noqa: PLR2004
        raise PatchcliError(f"{name} is {value!r}; allowed are a whole number or a pair (rows, columns)")
    return int(both[0]), int(both[1])


def _whole(name: str, value: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise PatchcliError(f"{name} is {value!r}; allowed is a whole number")
    return int(value)


@dataclass(frozen=True, init=False)
class Grid:
    """Where the patches of an image of shape ``(H, W)`` lie.

    Args:
        image: ``(H, W)`` of the image.
        patch: ``(h, w)`` of a patch, or one number for both.
        stride: ``(rows, columns)`` from one patch to the next, or one number; the patch itself if not given.
        offset: ``(row, column)`` of the first patch, counted from the corner of the margin.
        edge: what happens at the far sides: a key of `EDGES`. ``drop`` leaves uncovered what does not fill a patch,
            ``shift`` moves one more patch back to the border, ``even`` spreads the patches, ``pad`` enlarges the image.
        margin: pixels added on all four sides before the grid is laid.

    Raises:
        PatchcliError: a number out of range, or a patch that does not fit.

    >>> grid = Grid((5, 7), 3, stride=2)
    >>> grid.shape, grid.count
    ((2, 3), 6)
    >>> grid.origins()[:4].tolist()
    [[0, 0], [0, 2], [0, 4], [2, 0]]
    """

    image: Pair
    patch: Pair
    stride: Pair
    offset: Pair
    edge: str
    margin: int

    def __init__(
        self,
        image: Pair,
        patch: int | Pair,
        stride: int | Pair | None = None,
        *,
        offset: int | Pair = (0, 0),
        edge: str = "shift",
        margin: int = 0,
    ) -> None:
        fields = {
            "image": pair("image shape", image),
            "patch": pair("patch", patch),
            "stride": pair("stride", patch if stride is None else stride),
            "offset": pair("offset", offset),
            "edge": edge,
            "margin": _whole("margin", margin),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self.rows, self.columns  # noqa: B018  an axis checks itself when it is made

    def _axis(self, name: str, which: int) -> Axis:
        sizes = (self.image[which], self.patch[which], self.stride[which], self.offset[which])
        return Axis(name, *sizes, self.edge, self.margin)

    @cached_property
    def rows(self) -> Axis:
        """The vertical axis."""
        return self._axis("height", 0)

    @cached_property
    def columns(self) -> Axis:
        """The horizontal axis."""
        return self._axis("width", 1)

    @property
    def shape(self) -> Pair:
        """``(ny, nx)``: patches along rows and columns."""
        return self.rows.count, self.columns.count

    @property
    def count(self) -> int:
        """``N = ny * nx``, the number of patches."""
        return self.rows.count * self.columns.count

    @property
    def padded(self) -> Pair:
        """``(H, W)`` of the image with margin and padding."""
        return self.rows.padded, self.columns.padded

    @property
    def uncovered(self) -> int:
        """Number of image pixels that no patch covers."""
        rows, columns = (int(np.count_nonzero(axis.cover())) for axis in (self.rows, self.columns))
        return self.image[0] * self.image[1] - rows * columns

    def origins(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """Origins ``(row, column)`` of the patches ``first`` to ``last`` (excluded), int64 ``(n, 2)``, row-major.

        They count in pixels of the source image, hence are negative inside a margin.
        """
        stop, nx = self.count if last is None else last, self.columns.count
        if not 0 <= first <= stop <= self.count:
            raise PatchcliError(f"patches {first} to {stop} were asked for; allowed are 0 to {self.count}")
        rows = self.rows.starts[first // nx : -(-stop // nx)]
        whole = np.empty((len(rows), nx, 2), np.int64)
        whole[..., 0] = rows[:, None] - self.margin
        whole[..., 1] = self.columns.starts - self.margin
        return whole.reshape(-1, 2)[first % nx : first % nx + stop - first]

    def cover(self) -> NDArray[np.int64]:
        """How many patches lie on each image pixel, int64 ``(H, W)``."""
        return np.multiply.outer(self.rows.cover(), self.columns.cover())

    def blocks(self, rows_at_once: int, columns_at_most: int) -> Iterator[Block]:
        """Cut the grid, in order, into blocks of whole patch rows, or of parts of one where a row has too many patches."""
        ny, nx = self.shape
        if nx <= columns_at_most:
            for i in range(0, ny, rows_at_once):
                stop = min(i + rows_at_once, ny)
                yield Block(slice(i, stop), slice(0, nx), i * nx, (stop - i) * nx)
            return
        for i in range(ny):
            for j in range(0, nx, columns_at_most):
                stop = min(j + columns_at_most, nx)
                yield Block(slice(i, i + 1), slice(j, stop), i * nx + j, stop - j)
