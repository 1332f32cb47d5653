"""The grid: the rule that places patches, from integers alone.

Row and column axis are independent, so that a grid is the product of two of them and everything about it (number of
patches, origins, cover) follows from two short lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.axis import Axis, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Block:
    """Neighbouring patches of a grid: patch rows ``rows``, patch columns ``columns``; `first` is the index of the first."""

    __slots__ = ("columns", "count", "first", "rows")

    def __init__(self, rows: slice, columns: slice, first: int, count: int) -> None:
        self.rows, self.columns, self.first, self.count = rows, columns, first, count


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


_axis = lru_cache(8)(Axis)  # the images of a folder mostly have a grid in common
CACHED_LENGTH = 1 << 16  # pixels of an axis that is kept
MOST_LOST = 16  # the largest ratio that patches which lost a halo may be known by without it


@dataclass(frozen=True, init=False)
class Grid:
    """Where the patches of an image of shape ``(H, W)`` lie.

    Args:
        image: ``(H, W)`` of the image.
        patch: ``(h, w)`` of a patch, or one number for both.
        stride: ``(rows, columns)`` from one patch to the next, or one number; the patch itself if not given.
        offset: ``(row, column)`` of the first patch, counted from the corner of the margin.
        edge: what happens at the far sides: one of `EDGES`. ``drop`` leaves uncovered what does not fill a patch,
            ``shift`` moves one more patch back to the border, ``even`` spreads the patches, ``pad`` enlarges the image, and
            ``clip`` does, too, but cuts the tile files of what it added.
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
        make = _axis if isinstance(self.edge, str) and sizes[0] <= CACHED_LENGTH else Axis
        return make(name, *sizes, self.edge, self.margin)

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

    def starts_of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the patches ``index`` ``(n,)`` start in the padded image, int64 ``(n, 2)``, row-major order of patches."""
        row, column = np.divmod(index, self.columns.count)
        return np.stack([self.rows.starts[row], self.columns.starts[column]], axis=1)

    def scale_of(self, patch: Pair, halo: int = 0) -> Pair | None:
        """``(over, under)``: how often larger patches of another size are, k or 1/k on both axes; None for any other ratio.

        With a halo that holds too for patches that lost so many pixels (of those of this grid) on each side. Of several ratios
        that of a size as it was cut, or as it is without its halo, comes first, then that to the former.

        >>> Grid((8, 8), 4).scale_of((8, 8)), Grid((8, 8), 4).scale_of((2, 2)), Grid((8, 8), 4).scale_of((6, 6))
        ((2, 1), (1, 2), None)
        >>> Grid((8, 8), 4).scale_of((2, 2), halo=1), Grid((8, 8), 4).scale_of((6, 6), halo=1)
        ((1, 1), (3, 1))
        """
        sizes = [self.patch, self.inside(halo)]
        if patch in sizes:
            return 1, 1
        return next((ratio for size in sizes if (ratio := _ratio(patch, size)) is not None), None)

    def inside(self, halo: int) -> Pair:
        """``(h, w)`` of what a patch has that lies so many pixels inside it.

        Raises:
            PatchcliError: nothing is left.
        """
        height, width = self.patch
        if not 0 <= 2 * _whole("halo", halo) < min(self.patch):
            raise PatchcliError(
                f"halo is {halo}; allowed are 0 to {(min(self.patch) - 1) // 2}, so that something is left of patches of "
                f"width={width} height={height}"
            )
        return height - 2 * halo, width - 2 * halo

    def lost_by(self, patch: Pair) -> int | None:
        """How many pixels patches of this size lost on each side, the same number on all of them, at least 1; None otherwise.

        >>> Grid((8, 8), 4).lost_by((2, 2)), Grid((8, 8), 4).lost_by((3, 3)), Grid((8, 8), 4).lost_by((2, 4))
        (1, None, None)
        """
        down, across = self.patch[0] - patch[0], self.patch[1] - patch[1]
        return down // 2 if down == across > 0 == down % 2 and min(patch) > 0 else None

    def takes(self, patch: Pair) -> bool:
        """Whether patches of this size can be placed: of the size that they were cut in, times a ratio, or less some halo.

        >>> [Grid((8, 8), 4).takes(size) for size in ((8, 8), (2, 2), (1, 1), (6, 6), (3, 4))]
        [True, True, True, True, False]
        """
        height, width = patch
        if self.scale_of(patch) is not None:
            return True
        larger = ((height * k, width * k) for k in range(1, MOST_LOST + 1))
        smaller = ((height // k, width // k) for k in range(2, MOST_LOST + 1) if height % k == width % k == 0)
        return any(self.lost_by(size) is not None for size in (*larger, *smaller))

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

    def rectangles(self, first: int, last: int) -> Iterator[Block]:
        """The patches ``first`` to ``last`` (excluded) as few blocks: the rest of a row, whole rows, the beginning of one."""
        nx = self.columns.count
        while first < last:
            row, column = divmod(first, nx)
            rows = 1 if column else max(1, (last - first) // nx)
            stop = min(nx, column + last - first) if rows == 1 else nx
            block = Block(slice(row, row + rows), slice(column, stop), first, rows * (stop - column))
            yield block
            first += block.count


def _ratio(patch: Pair, size: Pair) -> Pair | None:
    """``(k, 1)`` or ``(1, k)``: how often larger than ``size`` a patch is on both axes; None for any other ratio."""
    height, width = patch
    if min(patch) < 1 or height * size[1] != width * size[0]:
        return None
    if height % size[0] == 0:
        return height // size[0], 1
    return None if size[0] % height else (1, size[0] // height)


class Part:
    """Some patches of a grid: the ``first`` to ``last`` (excluded) of all of them, or of those in ``chosen``.

    Args:
        grid: the whole.
        first: of the part.
        last: of the part, excluded.
        chosen: sorted indices into the grid, int64 ``(n,)``; None for all of it.
    """

    __slots__ = ("chosen", "first", "grid", "last")

    def __init__(self, grid: Grid, first: int, last: int, chosen: NDArray[np.int64] | None = None) -> None:
        self.grid, self.first, self.last, self.chosen = grid, first, last, chosen

    @property
    def count(self) -> int:
        """Number of patches."""
        return self.last - self.first

    @property
    def index(self) -> NDArray[np.int64] | None:
        """Indices into the grid, int64 ``(count,)``; None where they are just ``first`` to ``last``."""
        return None if self.chosen is None else self.chosen[self.first : self.last]

    def origins(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """Origins ``(row, column)`` of the patches ``first`` to ``last`` (excluded) of the part, int64 ``(n, 2)``."""
        index = self.index
        if index is None:
            return self.grid.origins(self.first + first, self.last if last is None else self.first + last)
        return self.grid.starts_of(index[first:last]) - self.grid.margin
