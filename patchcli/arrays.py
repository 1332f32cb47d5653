"""What callers give as arrays and images, checked and normalised once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.dtypes import check_real
from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def as_array(given: ArrayLike, name: str) -> NDArray[Any]:
    """An array of real numbers; rows of different lengths are refused in one sentence."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise PatchcliError(f"{name} has rows of different lengths; allowed is an array") from None
    check_real(array.dtype, name)
    return array


def as_image(image: ArrayLike, *, several: bool = False) -> NDArray[Any]:
    """Check that an array is an image of real numbers, and return it C-contiguous.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, no side of it 0.
        several: whether images ``(B, H, W, C)`` are allowed too.
    """
    array = np.asarray(image)
    check_real(array.dtype, "image")
    if array.ndim not in ((2, 3, 4) if several else (2, 3)) or array.size == 0:
        allowed = "(H, W), (H, W, C) and (B, H, W, C)" if several else "(H, W) and (H, W, C)"
        raise PatchcliError(f"image has shape {array.shape}; allowed are {allowed} with every size at least 1")
    return np.ascontiguousarray(array)
