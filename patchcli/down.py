"""Add up patches that lie one below the other: the first half of folding, where many patch rows lie on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.combine import ADD, Combine
from patchcli.items import items_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TOGETHER = 8  # values of float32 added up before they are widened


def fold_down(
    pixels: NDArray[Any], step: int, dtype: np.dtype[Any], combine: Combine, weights: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Add up patches that lie one below the other: ``(rows, m, h, width)`` to ``(1, lines, m, width)`` of ``dtype``.

    Row ``i`` of the patches of a patch row are laid side by side, each an item; they stay where they are in their patches
    and so need no shift. Slices of ``step`` such lines of all patch rows then lie one below the other.
    """
    rows, count, height, width = pixels.shape
    laid = _laid(pixels, weights)
    sums = np.full(((rows - 1) * step + height, count * width), combine.blank, dtype)
    if dtype == np.float64 and laid.dtype == np.float32:
        _add_in_pairs(sums, laid, step)
        if not np.isfinite(sums).all():  # a sum of float32 overflowed, perhaps
            sums.fill(0)
            _add_slices(sums, _laid(pixels, None if weights is None else weights.astype(dtype)), step, combine)
    else:
        _add_slices(sums, laid, step, combine)
    return sums.reshape(1, -1, count, width)


def _laid(pixels: NDArray[Any], weights: NDArray[Any] | None) -> NDArray[Any]:
    """Patches ``(rows, m, h, width)`` with their rows side by side, ``(rows, h, m * width)``, each times its weight."""
    rows, count, height, width = pixels.shape
    laid = np.empty((rows, height, count * width), pixels.dtype)
    items = items_of(pixels)
    laid.view(items.dtype)[...] = items.transpose(0, 2, 1)
    return laid if weights is None else np.multiply(laid, weights[:, None], dtype=weights.dtype)


def _add_slice(sums: NDArray[Any], part: NDArray[Any], line: int, step: int, combine: Combine = ADD) -> None:
    """Add ``part`` ``(rows, lines, n)`` to lines ``line + i*step + j`` of ``sums`` ``(L, n)``."""
    target: NDArray[Any] = np.ndarray(
        part.shape, sums.dtype, sums, offset=line * sums.strides[0], strides=(step * sums.strides[0], *sums.strides)
    )
    combine.ufunc(target, part, out=target)


def _add_slices(sums: NDArray[Any], laid: NDArray[Any], step: int, combine: Combine) -> None:
    """Add laid patch rows ``(rows, h, n)`` to ``sums`` ``(lines, n)``, a slice of ``step`` lines of all of them at a time."""
    for top in range(0, laid.shape[1], step):
        _add_slice(sums, laid[:, top : top + step], top, step, combine)


def _add_in_pairs(sums: NDArray[Any], laid: NDArray[Any], step: int) -> None:
    """Like `_add_slices`, but slices of float32 are added up by twos, fours and eights before they are widened.

    Widening is the slow step. Adding eight values costs three roundings, 2e-7 of their sum, and none where all are equal, as
    their number is a power of two: patches that were not changed give back their image bit for bit. Lines on which a
    slice has no partner are widened as they are. ``laid`` is overwritten.
    """
    rows, height, _ = laid.shape
    # Slice `top` holds line i*step + top for i from `low` on; all slices of a level start with the same i.
    low, apart = 0, 1
    slices = list(range(0, height // step * step, step))
    for top in range(height // step * step, height, step):
        _add_slice(sums, laid[:, top:], top, step)
    while len(slices) > 1 and apart < MOST_TOGETHER and rows - low > apart:
        paired = []
        for upper, lower in zip(slices[::2], slices[1::2], strict=False):
            above, below = laid[:, upper : upper + step], laid[:, lower : lower + step]
            _add_slice(sums, above[low : low + apart], upper + low * step, step)
            _add_slice(sums, below[rows - apart :], lower + (rows - apart) * step, step)
            np.add(above[low + apart :], below[low : rows - apart], out=above[low + apart :])
            paired.append(upper)
        if len(slices) % 2:
            odd = slices[-1]
            _add_slice(sums, laid[low:, odd : odd + step], odd + low * step, step)
        slices, low, apart = paired, low + apart, 2 * apart
    for top in slices:
        _add_slice(sums, laid[low:, top : top + step], top + low * step, step)
