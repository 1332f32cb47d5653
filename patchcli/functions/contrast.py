"""Each patch at the same mean and contrast, so that what remains is its structure.

A. Coates, A. Y. Ng, Learning feature representations with K-means, Neural Networks: Tricks of the Trade (2012), 561-580: a patch
x becomes (x - mean(x)) / sqrt(var(x) + epsilon), where epsilon, which keeps flat patches from being all noise, is 10 for pixels
of 0 to 255.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.functions.patchwise import check_parameter, float_dtype, patchwise

if TYPE_CHECKING:
    from numpy.typing import NDArray


def normalize(patches: NDArray[Any], *, mean: float = 0.0, deviation: float = 1.0, epsilon: float = 10.0) -> NDArray[Any]:
    """Patches brought to one mean and standard deviation; all channels of a patch together, so that its colours stay.

    Args:
        patches: ``(B, h, w[, C])``, any real dtype.
        mean: mean of each result; 128 for a picture to look at.
        deviation: standard deviation of each result, but for epsilon; 45 for a picture to look at.
        epsilon: added to the variance, above 0: 10 for pixels of 0 to 255, 10 / 255^2 for those of 0 to 1.

    Returns:
        ``(B, h, w[, C])``: float32 for bool, integers of 8 and 16 bits, float16 and float32, else float64. A patch with NaN in it
        becomes NaN.

    Raises:
        PatchcliError: a parameter out of its range, or an array that is not a batch of patches.

    >>> normalize(np.array([[[10, 20], [20, 10]]]), epsilon=1e-9).round(3).tolist()
    [[[-1.0, 1.0], [1.0, -1.0]]]
    """
    check_parameter("mean", mean, "a finite number", holds=math.isfinite(mean))
    check_parameter("deviation", deviation, "a finite number", holds=math.isfinite(deviation))
    check_parameter("epsilon", epsilon, "a finite number above 0", holds=0 < epsilon < math.inf)
    level = partial(levelled, mean=mean, deviation=deviation, epsilon=epsilon)
    return patchwise(patches, level, float_dtype(patches.dtype))


def levelled(piece: NDArray[Any], mean: float, deviation: float, epsilon: float) -> NDArray[Any]:
    """A piece ``(h, w[, C], n)`` normalised in place."""
    piece -= mean_of(piece)
    scale = deviation / np.sqrt(mean_of(piece * piece) + piece.dtype.type(epsilon))
    piece *= scale
    piece += mean
    return piece


def mean_of(piece: NDArray[Any]) -> NDArray[Any]:
    """The mean of each patch of ``(h, w[, C], n)``: ``(n,)``, summed axis by axis in the order of the pixels."""
    sums = piece
    for _ in piece.shape[:-1]:
        total = sums[0].copy()
        for values in sums[1:]:
            total += values
        sums = total
    return sums / math.prod(piece.shape[:-1])
