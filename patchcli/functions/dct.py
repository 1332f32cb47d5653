"""Denoising by a hard threshold in the DCT domain.

The picture in a patch has few large coefficients; white noise of standard deviation sigma has sigma in each. What is below a few
sigma is set to 0. Merged at stride 1, each pixel is the mean of all patches on it. G. Yu, G. Sapiro, DCT image denoising: a
simple and effective image denoising algorithm, Image Processing On Line 1 (2011), 292-296; why that mean: R. R. Coifman,
D. L. Donoho, Translation-invariant de-noising, Wavelets and Statistics (1995), 125-150.

The DCT-II of length N (N. Ahmed, T. Natarajan, K. R. Rao, IEEE Trans. Computers 23 (1974), 90-93), here with the factors left out

    y[0] = sum x[n],    y[k] = 2 sum x[n] cos(pi k (2n + 1) / 2N)

halves itself for even N (C. W. Kok, IEEE Trans. Signal Processing 45 (1997), 757-760): with s[n] = x[n] + x[N-1-n] and
d[n] = (x[n] - x[N-1-n]) 2 cos(pi (2n + 1) / 2N), n < N/2, and S, D their transforms,

    y[2k] = S[k],    y[1] = D[0],    y[2k + 1] = D[k] - y[2k - 1]

which takes 41 operations for N = 8, where the definition takes 120. What is left of N when it is odd is done by the definition.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.functions.patchwise import check_parameter, float_dtype, patchwise, rows_and_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dct_denoise(patches: NDArray[Any], *, sigma: float, threshold: float = 3.0) -> NDArray[Any]:
    """Patches without the DCT coefficients that noise alone may have made; each channel by itself.

    Args:
        patches: ``(B, h, w[, C])``, any real dtype, any sizes; fastest where h and w have many factors of 2.
        sigma: standard deviation of the noise, in pixel values, at least 0.
        threshold: coefficients of the orthonormal DCT whose size is below ``threshold * sigma`` become 0, all but the first,
            which is the mean of the patch.

    Returns:
        ``(B, h, w[, C])``: float32 for bool, integers of 8 and 16 bits, float16 and float32, else float64. A channel of a patch
        with NaN in it becomes NaN.

    Raises:
        PatchcliError: a parameter out of its range, or an array that is not a batch of patches.

    >>> patch = np.array([[[10, 11, 9, 10], [30, 29, 31, 30]]])  # two even rows, and a noise of about 1
    >>> np.rint(dct_denoise(patch, sigma=1)).tolist()
    [[[10.0, 10.0, 10.0, 10.0], [30.0, 30.0, 30.0, 30.0]]]
    """
    check_parameter("sigma", sigma, "a finite number from 0", holds=0 <= sigma < math.inf)
    check_parameter("threshold", threshold, "a finite number from 0", holds=0 <= threshold < math.inf)
    return patchwise(patches, partial(thresholded, least=threshold * sigma), float_dtype(patches.dtype))


def thresholded(piece: NDArray[Any], least: float) -> NDArray[Any]:
    """A piece ``(h, w[, C], n)`` without the coefficients below ``least``; the piece itself is lost.

    The orthonormal ones are those of `forward`, the first of each line and column times sqrt 2, over 2 sqrt(hw). One number for
    all values is a few times as fast as one for each line of them.
    """
    scale = 2 * math.sqrt(piece.shape[0] * piece.shape[1])
    found = rows_and_columns(piece, forward)
    _enlarge_first(found)
    mean = found[0, 0].copy()
    found *= ~(np.abs(found) < least * scale)  # so that NaN stays
    found[0, 0] = mean
    found *= 1 / scale**2
    _enlarge_first(found)
    return rows_and_columns(found, backward)


def _enlarge_first(found: NDArray[Any]) -> None:
    found[0] *= math.sqrt(2)
    found[:, 0] *= math.sqrt(2)


@lru_cache
def order(size: int) -> tuple[int, ...]:
    """The frequencies in the order in which `forward` leaves them: even ones in the first half, so halved again.

    >>> order(8), order(6)
    ((0, 4, 2, 6, 1, 5, 3, 7), (0, 2, 4, 1, 3, 5))
    """
    if size % 2:
        return tuple(range(size))
    half = order(size // 2)
    return (*(2 * k for k in half), *(2 * k + 1 for k in half))


@lru_cache
def places(size: int) -> tuple[int, ...]:
    """Where each frequency lies: the inverse of `order`."""
    return tuple(np.argsort(order(size)).tolist())


@lru_cache
def cosines(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The factors of the odd half: 2 cos(pi (2n + 1) / 2N), ``(size / 2, 1)``."""
    return (2 * np.cos(np.pi * (2 * np.arange(size // 2) + 1) / (2 * size))).astype(dtype)[:, None]


@lru_cache
def matrix(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The transform by its definition, for an odd size: ``y = matrix @ x``."""
    k = np.arange(size)
    found = 2 * np.cos(np.pi * np.outer(k, 2 * k + 1) / (2 * size))
    found[0] = 1
    return found.astype(dtype)


def product(factors: NDArray[Any], lines: NDArray[Any]) -> NDArray[Any]:
    """``factors @ lines[g]`` for each g, as a chain of sums: ``(N, N)`` with ``(groups, N, m)``."""
    found: NDArray[Any] = factors[:, :1] * lines[:, :1]
    for k in range(1, lines.shape[1]):
        found += factors[:, k, None] * lines[:, k, None]
    return found


def forward(lines: NDArray[Any]) -> NDArray[Any]:
    """The transform y along the first axis, in the order of `order`; ``lines``, which are lost, are C-contiguous."""
    shape, size, groups = lines.shape, len(lines), 1
    spare = np.empty_like(lines)
    while size % 2 == 0:
        half = size // 2
        whole, halves = lines.reshape(groups, size, -1), spare.reshape(groups, 2, half, -1)
        low, high = whole[:, :half], whole[:, : half - 1 : -1]
        np.add(low, high, out=halves[:, 0])
        np.subtract(low, high, out=halves[:, 1])
        halves[:, 1] *= cosines(size, lines.dtype)
        lines, spare = spare, lines
        groups, size = 2 * groups, half
    if size > 1:
        lines = product(matrix(size, lines.dtype), lines.reshape(groups, size, -1)).reshape(shape)
    while groups > 1:  # halves become wholes: in the odd ones y[2k + 1] = D[k] - y[2k - 1]
        groups //= 2
        odd, place = lines.reshape(groups, 2, size, -1)[:, 1], places(size)
        for k in range(1, size):
            odd[:, place[k]] -= odd[:, place[k - 1]]
        size *= 2
    return lines


def backward(lines: NDArray[Any]) -> NDArray[Any]:
    """The transpose of `forward`, its steps the other way round; ``lines``, which are lost, are C-contiguous."""
    shape, size, groups = lines.shape, len(lines), 1
    while size % 2 == 0:
        size //= 2
        odd, place = lines.reshape(groups, 2, size, -1)[:, 1], places(size)
        for k in range(size - 1, 0, -1):
            odd[:, place[k - 1]] -= odd[:, place[k]]
        groups *= 2
    if size > 1:
        lines = product(matrix(size, lines.dtype).T, lines.reshape(groups, size, -1)).reshape(shape)
    spare = np.empty_like(lines)
    while groups > 1:
        groups //= 2
        halves, whole = lines.reshape(groups, 2, size, -1), spare.reshape(groups, 2 * size, -1)
        halves[:, 1] *= cosines(2 * size, lines.dtype)
        np.add(halves[:, 0], halves[:, 1], out=whole[:, :size])
        np.subtract(halves[:, 0], halves[:, 1], out=whole[:, : size - 1 : -1])
        lines, spare = spare, lines
        size *= 2
    return lines
