"""Functions for ``patchcli map``, to use and to learn from: patches in, as many patches out, each from its own patch alone.

A function is called with a batch ``(B, h, w)`` or ``(B, h, w, C)``, read-only, and gives back one patch for each, in order.
Which patches share a batch is not its affair, so a patch must give the same bits in any company and at any place: see `patchwise`
for how these do it. Parameters are keywords with an annotation (int, float, str, bool), which ``--arg name=value`` sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchcli.functions.contrast import normalize
from patchcli.functions.dct import dct_denoise
from patchcli.functions.gaussian import gaussian_filter
from patchcli.functions.median import median_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dct_denoise", "gaussian_filter", "identity", "median_filter", "normalize"]


def identity(patches: NDArray[Any]) -> NDArray[Any]:
    """The patches as they are, the same array: what merging makes of patches that nothing was done to.

    Args:
        patches: ``(B, h, w[, C])``, any dtype.
    """
    return patches
