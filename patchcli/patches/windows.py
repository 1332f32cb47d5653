"""Weights over a patch, for merging: what lies near a patch's border counts less.

A named window is the product of a weight for each row and one for each column. Weights are whole numbers from 1 to `PEAK`, so
that weighted sums of integers are exact, whatever their order. They are taken at the middles of the pixels, half a pixel inside
the patch, where no window ends in zero: every pixel that a patch covers has a weight, up to the very border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

PEAK = 4095
NOTHING = 2.0**-60  # of the largest weight; stands for all that are less

# Height of a window at t, from -1 at one end of a patch to 1 at the other. Hann and Hamming:
# F. J. Harris, On the use of windows for harmonic analysis with the discrete Fourier transform, Proc. IEEE 66 (1978), 51-83.
# Gaussian: standard deviation an eighth of the patch, as nnU-Net has it (F. Isensee et al., Nature Methods 18 (2021), 203-211).
SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "uniform": np.ones_like,
    "triangle": lambda t: 1 - np.abs(t),
    "hann": lambda t: 0.5 + 0.5 * np.cos(np.pi * t),
    "hamming": lambda t: 0.54 + 0.46 * np.cos(np.pi * t),
    "gaussian": lambda t: np.exp(-8 * t**2),
}
NAMES = tuple(SHAPES)


class Window(NamedTuple):
    """Weights over a patch.

    Attributes:
        rows: weight of each row, float64 ``(h,)``; whole numbers.
        columns: weight of each column, float64 ``(w,)``; whole numbers.
        dense: float64 ``(h, w)``, where the window is no such product; rows and columns are then not used.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    dense: NDArray[np.float64] | None = None

    @property
    def full(self) -> NDArray[np.float64]:
        """Weight of each pixel, ``(h, w)``."""
        return np.multiply.outer(self.rows, self.columns) if self.dense is None else self.dense


def named(name: str, patch: tuple[int, int]) -> Window:
    """The window ``name`` of `NAMES` over a patch of ``(h, w)`` pixels.

    >>> named("triangle", (1, 4)).columns.tolist()
    [1024.0, 3071.0, 3071.0, 1024.0]
    """
    if name not in SHAPES:
        raise PatchcliError(f"window is {name!r}; allowed are {', '.join(NAMES)}, and arrays (h, w)")
    sides = []
    for size in patch:
        height = SHAPES[name]((2 * np.arange(size) + 1) / size - 1)
        sides.append(np.maximum(np.rint(PEAK * height), 1) if name != "uniform" else height)
    return Window(*sides)


def as_window(window: ArrayLike | str, patch: tuple[int, int]) -> Window | None:
    """A window by name or as weights ``(h, w)``; None for equal weights."""
    if isinstance(window, str):
        return None if window == NAMES[0] else named(window, patch)
    return of_array(np.asarray(window), patch)


def of_array(weights: NDArray[Any], patch: tuple[int, int]) -> Window:
    """A window of any weights ``(h, w)`` from 0.

    Weights of less than `NOTHING` times the largest, 0 among them, count as that much. Where all patches on a pixel have such
    weights, their plain mean remains; beside a weight ``w``, as a part of the largest, they change a mean by ``NOTHING / w`` of
    the values' difference: nothing that shows where w is more than 1e-9.

    Raises:
        PatchcliError: weights of another shape, no real numbers, negative, not finite, or all 0.
    """
    check_real(weights.dtype, "window")
    if weights.shape != patch:
        raise PatchcliError(f"window has shape {weights.shape}; expected {patch}, the height and width of the patches")
    dense = weights.astype(np.float64)
    if not np.isfinite(dense).all() or (dense < 0).any() or not dense.any():
        raise PatchcliError("window has weights that are negative, NaN or infinite, or all 0; allowed are finite numbers from 0")
    dense /= dense.max()
    np.maximum(dense, NOTHING, out=dense)
    return Window(np.ones(patch[0]), np.ones(patch[1]), dense)
