"""The median of the pixels around each pixel: takes out single wrong pixels and keeps edges.

J. W. Tukey, Exploratory Data Analysis (1977). It is found by forgetting: of any (n + 3) / 2 of n values neither the smallest nor
the largest can be the median, so these two go and the next value comes in, until one is left (A. W. Paeth, Median finding on a
3 x 3 grid, Graphics Gems (1990), 171-175). That takes minima and maxima alone, which numpy has for whole arrays.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.functions.patchwise import check_parameter, patchwise, reflected

if TYPE_CHECKING:
    from numpy.typing import NDArray


def median_filter(patches: NDArray[Any], *, size: int = 3) -> NDArray[Any]:
    """The median of ``size`` x ``size`` pixels around each; each channel by itself.

    Beyond its border a patch goes on as in a mirror that stands on the outermost pixels, as ``--pad-mode reflect`` has it. Where
    patches overlap by twice the radius, ``size // 2``, merging with that halo gives the median filter of the whole image.

    Args:
        patches: ``(B, h, w[, C])``, any real dtype.
        size: odd, at least 1.

    Returns:
        ``(B, h, w[, C])`` of the same dtype. The median of values with a NaN among them is NaN, and -0 counts as 0.

    Raises:
        PatchcliError: a size that is not possible, or an array that is not a batch of patches.

    >>> median_filter(np.array([[[1, 1, 1], [1, 9, 2], [2, 2, 2]]])).tolist()
    [[[1, 1, 2], [2, 2, 2], [2, 2, 2]]]
    """
    check_parameter("size", size, "an odd whole number from 1", holds=size > 0 and size % 2 == 1)
    return patchwise(patches, partial(filtered, size=int(size)), patches.dtype.newbyteorder("="))


def filtered(piece: NDArray[Any], size: int) -> NDArray[Any]:
    """Medians of a piece ``(h, w[, C], n)``."""
    height, width = piece.shape[:2]
    if piece.dtype.kind == "f":
        piece += 0  # no -0: which of two zeros is the smaller is not defined
    wide = piece[np.ix_(reflected(height, size // 2), reflected(width, size // 2))]
    around = [wide[i : i + height, j : j + width] for i, j in product(range(size), repeat=2)]
    found = median_of(around)
    if piece.dtype.kind == "f" and np.isnan(piece).any():
        found = np.where(np.logical_or.reduce([np.isnan(values) for values in around]), np.nan, found).astype(piece.dtype)
    return found


def median_of(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """The median of an odd number of arrays of one shape, value by value; where there is no NaN."""
    enough = (len(arrays) + 3) // 2
    pool, others = arrays[:enough], arrays[enough:]

    def sort(low: int, high: int) -> None:
        pool[low], pool[high] = np.minimum(pool[low], pool[high]), np.maximum(pool[low], pool[high])

    while len(pool) > 1:
        count = len(pool)
        for i in range(count // 2):  # now the smallest is in the lower half, the largest in the upper
            sort(i, count - 1 - i)
        for i in range(1, (count + 1) // 2):
            sort(0, i)
        for i in range(count // 2, count - 1):
            sort(i, count - 1)
        pool[:] = pool[1:-1] + others[:1]
        del others[:1]
    return pool[0]
