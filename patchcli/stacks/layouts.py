"""How patches stand in the payload of a stack: four layouts, and the order in which a patch is unrolled into a row.

In the layout ``columns`` the neighbours in memory are not the pixels of a patch but one pixel of all patches: a plane. It
is cut and folded plane by plane, each a slice of the image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid
    from patchcli.patches.planes import Shape

ORDERS = ("C", "F")

# The shape of the payload, from the grid, the number of patches and the shape (h, w[, C]) of one.
LAYOUTS: dict[str, Callable[[Grid, int, Shape], Shape]] = {
    "stack": lambda _grid, count, patch: (count, *patch),
    "grid": lambda grid, _count, patch: (*grid.shape, *patch),
    "rows": lambda _grid, count, patch: (count, math.prod(patch)),
    "columns": lambda _grid, count, patch: (math.prod(patch), count),
}
UNROLLED = ("rows", "columns")


def stack_shape(layout: str, grid: Grid, channels: Shape, count: int, shape: Shape) -> tuple[Shape, bool]:
    """The shape ``(N, h, w[, C])`` of the patches in a payload of ``shape``, and whether their channels come first in it.

    They may have other channels than the image and, in the layouts stack and grid, another size than was recorded: in the
    others one could not be told from the other. Channels come first, as PyTorch has them, where ``(C, h, w)`` has a size
    that the grid can take and the same numbers read as ``(h, w, C)`` have none.

    Raises:
        PatchcliError: a payload that is not ``count`` patches of the grid in this layout.
    """
    patch: Shape = grid.patch
    given, first = shape, False
    if layout in UNROLLED and len(shape) == 2:  # noqa: PLR2004
        inner = math.prod(patch)
        values = shape[1 if layout == "rows" else 0]
        new = values // inner
        channels = channels if new == math.prod(channels) else (new,) if new > 1 else ()
    elif layout not in UNROLLED:
        lead = 2 if layout == "grid" else 1
        patch, channels = shape[lead : lead + 2], shape[lead + 2 :]
        first = channels_first(grid, shape[lead:])
        if first:
            channels, patch = shape[lead : lead + 1], shape[lead + 1 :]
            shape = (*shape[:lead], *patch, *channels)
    if len(patch) < 2 or len(channels) > 1 or 0 in shape or shape != LAYOUTS[layout](grid, count, (*patch, *channels)):  # noqa: PLR2004
        height, width = grid.patch
        raise PatchcliError(
            f"patches have shape {given}; expected {LAYOUTS[layout](grid, count, grid.patch)} or more channels, the layout "
            f"{layout} of {count} patches of width={width} height={height}"
        )
    return (count, *patch, *channels), first


def channels_first(grid: Grid, patch: Shape) -> bool:
    """Whether the shape of a patch can only be ``(C, h, w)``.

    >>> from patchcli import Grid
    >>> channels_first(Grid((8, 8), 4), (3, 4, 4)), channels_first(Grid((8, 8), 4), (4, 4, 4))
    (True, False)
    >>> channels_first(Grid((8, 8), 6), (3, 4, 4)), channels_first(Grid((8, 8), 6), (4, 4, 3))
    (True, False)
    """
    if len(patch) != 3:  # noqa: PLR2004
        return False
    last, first = (patch[0], patch[1]), (patch[1], patch[2])
    if grid.scale_of(last) is not None or grid.scale_of(first) is not None:
        return grid.scale_of(last) is None
    return grid.takes(first) and not grid.takes(last)


def unroll(patches: NDArray[Any], order: str) -> NDArray[Any]:
    """Patches ``(n, h, w[, C])`` as rows ``(n, h*w[*C])``, each unrolled in ``order`` as `numpy.ravel` does it; maybe a view."""
    if order == "F":
        patches = patches.transpose(0, *range(patches.ndim - 1, 0, -1))
    return patches.reshape(len(patches), -1)


def roll(rows: NDArray[Any], patch: Shape, order: str) -> NDArray[Any]:
    """Rows ``(n, h*w[*C])`` as patches ``(n, h, w[, C])``, the inverse of `unroll`; maybe a view."""
    if order == "F":
        return rows.reshape(len(rows), *patch[::-1]).transpose(0, *range(len(patch), 0, -1))
    return rows.reshape(len(rows), *patch)
