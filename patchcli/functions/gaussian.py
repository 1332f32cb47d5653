"""The Gaussian filter: a mean of the pixels around each, weighed by exp(-d^2 / 2 sigma^2) at distance d.

It is a filter of the rows, then one of the columns, because exp(-(y^2 + x^2)) is a product: D. Marr, E. Hildreth, Theory of edge
detection, Proc. R. Soc. Lond. B 207 (1980), 187-217. Cut off at some sigmas, the weights are divided by their sum.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.functions.patchwise import check_parameter, float_dtype, patchwise, reflected, rows_and_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray


def gaussian_filter(patches: NDArray[Any], *, sigma: float = 1.0, truncate: float = 4.0) -> NDArray[Any]:
    """Patches smoothed by a Gaussian; each channel by itself.

    Beyond its border a patch goes on as in a mirror that stands on the outermost pixels, as ``--pad-mode reflect`` has it. Where
    patches overlap by twice the radius, ``truncate * sigma`` rounded, merging with that halo gives the filter of the whole image.

    Args:
        patches: ``(B, h, w[, C])``, any real dtype.
        sigma: standard deviation in pixels, above 0.
        truncate: where the Gaussian is cut off, in sigmas, above 0.

    Returns:
        ``(B, h, w[, C])``: float32 for bool, integers of 8 and 16 bits, float16 and float32, else float64. NaN spreads as far as
        the filter reaches.

    Raises:
        PatchcliError: a parameter out of its range, or an array that is not a batch of patches.

    >>> gaussian_filter(np.array([[[0, 0, 8, 0, 0]]]), sigma=0.5).round(2).tolist()
    [[[0.0, 0.85, 6.29, 0.85, 0.0]]]
    """
    check_parameter("sigma", sigma, "a finite number above 0", holds=0 < sigma < math.inf)
    check_parameter("truncate", truncate, "a finite number above 0", holds=0 < truncate < math.inf)
    dtype = float_dtype(patches.dtype)
    smooth = partial(smoothed, weights=half_of_kernel(sigma, truncate).astype(dtype))
    return patchwise(patches, lambda piece: rows_and_columns(piece, smooth).swapaxes(0, 1), dtype)


def half_of_kernel(sigma: float, truncate: float) -> NDArray[np.float64]:
    """The weights at distance 0, 1, ..., radius; with those at the other side their sum is 1."""
    weights: NDArray[np.float64] = np.exp(-0.5 * (np.arange(int(truncate * sigma + 0.5) + 1) / sigma) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    return weights


def smoothed(lines: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Lines ``(h, ...)`` filtered along the first axis."""
    length, radius = len(lines), len(weights) - 1
    wide = lines[reflected(length, radius)]
    found: NDArray[Any] = wide[radius : radius + length] * weights[0]
    for distance in range(1, radius + 1):
        near, far = radius - distance, radius + distance
        found += (wide[near : near + length] + wide[far : far + length]) * weights[distance]
    return found
