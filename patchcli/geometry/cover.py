"""How many patches lie on each pixel, without a second array of patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair


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
            raise PatchcliError("no pixel is covered by a patch, so that trimming would leave nothing; use --fill without --trim")
        rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
        return rows, columns


def cover_at(starts: NDArray[np.int64], size: Pair, shape: Pair) -> NDArray[np.int64]:
    """How many boxes of ``size`` ``(h, w)`` at ``starts`` ``(n, 2)`` lie on each pixel of ``shape``, int64 ``(H, W)``.

    Boxes may reach beyond the pixels. A box is the sum over its quadrant of +1 at its first corner and (h, w) behind it, -1 at
    the two others, so that the cover is the running sum along both axes of these four points for each box.
    """
    change = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    tops, bottoms = (np.clip(starts[:, 0] + ahead, 0, shape[0]) for ahead in (0, size[0]))
    lefts, rights = (np.clip(starts[:, 1] + ahead, 0, shape[1]) for ahead in (0, size[1]))
    for rows, columns, step in ((tops, lefts, 1), (tops, rights, -1), (bottoms, lefts, -1), (bottoms, rights, 1)):
        np.add.at(change, (rows, columns), step)
    return change.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
