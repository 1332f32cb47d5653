"""How many patches lie on each pixel, without a second array of patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid


class Cover(NamedTuple):
    """How many patches lie on each pixel: ``rows * columns``, ``(H, 1)`` and ``(1, W)`` or ``(H, W)`` and ``(1, 1)``."""

    rows: NDArray[Any]
    columns: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.rows.shape[0], max(self.rows.shape[1], self.columns.shape[1])

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def uncovered(self) -> int:
        """Number of pixels that no patch covers."""
        return self.size - int(np.count_nonzero(self.rows)) * int(np.count_nonzero(self.columns))

    @property
    def most(self) -> int:
        """Most patches, or weight, on one pixel."""
        return math.ceil(float(self.rows.max() * self.columns.max()))

    def dense(self) -> NDArray[Any]:
        """The product ``(H, W)``: int64 for patches, float64 for weights."""
        product: NDArray[Any] = self.rows * self.columns
        return product

    def lines(self, these: slice) -> NDArray[Any]:
        """Some lines of the product."""
        product: NDArray[Any] = self.rows[these] * self.columns
        return product

    def divisors(self, these: slice, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Some lines of the product as floats, 1 for 0, to divide by."""
        counts: NDArray[Any] = self.rows[these].astype(dtype) * self.columns.astype(dtype)
        if self.uncovered:
            counts[counts == 0] = 1
        return counts

    def crop(self, rows: slice, columns: slice) -> Cover:
        """The cover of a box."""
        return Cover(
            *(part[rows if len(part) > 1 else slice(None), columns if part.shape[1] > 1 else slice(None)] for part in self)
        )

    def box(self) -> tuple[slice, slice]:
        """The smallest box that holds every covered pixel.

        Raises:
            PatchcliError: there is none.
        """
        dense = self.dense()
        spans = [np.flatnonzero(dense.any(axis=axis)) for axis in (1, 0)]
        if not len(spans[0]):
            raise PatchcliError("no pixel is covered by a patch, so that trimming would leave nothing; allowed is --fill alone")
        rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        return rows, columns


def cover_of(grid: Grid, origins: NDArray[np.int64] | None = None) -> Cover:
    """Cover of an image by all patches of a grid, which is a product, or by patches at ``origins`` ``(N, 2)``."""
    if origins is None:
        return Cover(grid.rows.cover()[:, None], grid.columns.cover()[None])
    height, width, margin = *grid.image, grid.margin
    starts = np.zeros(grid.padded, np.int64)
    np.add.at(starts, (origins[:, 0] + margin, origins[:, 1] + margin), 1)
    dense = _box_sum(starts, grid.patch)[margin : margin + height, margin : margin + width]
    return Cover(dense, np.ones((1, 1), np.int64))


def _box_sum(counts: NDArray[np.int64], patch: Pair) -> NDArray[np.int64]:
    """From how many patches start at each pixel to how many lie on it: a box sum by two running sums."""
    cover = counts
    for axis, size in enumerate(patch):
        total = np.cumsum(cover, axis=axis)
        cover = total.copy()
        late, early = [slice(None)] * 2, [slice(None)] * 2
        late[axis], early[axis] = slice(size, None), slice(None, -size)
        cover[tuple(late)] -= total[tuple(early)]
    return cover
