"""One offset within all patches at a time: the planes of the layout ``columns``, cut and added back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.strided import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid

Shape = tuple[int, ...]
Offset = tuple[int, ...]  # (row, column[, channel]) of a pixel in its patch


class Plane(NamedTuple):
    """One pixel of neighbouring patches of a payload.

    Attributes:
        offset: (row, column[, channel]) of the pixel in its patch.
        values: ``(n,)``.
        first: number of the first of these patches in the payload.
    """

    offset: Offset
    values: NDArray[Any]
    first: int = 0


def offsets(patch: Shape, order: str) -> Iterator[Offset]:
    """The pixels of a patch ``(h, w[, C])`` in the order in which it is unrolled.

    >>> list(offsets((2, 2), "F"))
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    if order == "F":
        yield from (index[::-1] for index in np.ndindex(*patch[::-1]))
    else:
        yield from np.ndindex(*patch)


def planes(padded: NDArray[Any], grid: Grid, order: str) -> Iterator[NDArray[Any]]:
    """The rows of the layout ``columns``: one pixel of all patches of a grid, ``(N,)`` each, cut from a padded image."""
    patch = (*grid.patch, *padded.shape[2:])
    for offset in offsets(patch, order):
        plane = np.empty(grid.shape, padded.dtype)
        for inside, index in _places(padded, grid, offset):
            plane[index] = inside
        yield plane.ravel()


def planes_at(padded: NDArray[Any], starts: NDArray[np.int64], patch: Shape, order: str) -> Iterator[NDArray[Any]]:
    """As `planes`, for patches ``(h, w[, C])`` at any ``starts`` ``(n, 2)`` of a padded image, ``(n,)`` each."""
    for row, column, *channel in offsets(patch, order):
        yield padded[(starts[:, 0] + row, starts[:, 1] + column, *channel)]


def fold_plane(sums: NDArray[Any], plane: NDArray[Any], grid: Grid, offset: Offset, ufunc: np.ufunc = np.add) -> None:
    """Add one pixel of all patches of a grid, ``(N,)``, to sums ``(H', W'[, C])``."""
    values = plane.reshape(grid.shape)
    for inside, index in _places(sums, grid, offset):
        ufunc(inside, values[index], out=inside)


def _places(image: NDArray[Any], grid: Grid, offset: Offset) -> Iterator[tuple[NDArray[Any], tuple[slice, slice]]]:
    """Views of the pixels at ``offset`` in the patches of a grid, with the patch rows and columns that they belong to."""
    row, column, *channel = offset
    for vertical in runs(grid.rows.starts):
        lines = slice(vertical.start + row, vertical.start + row + vertical.step * (vertical.count - 1) + 1, vertical.step)
        for across in runs(grid.columns.starts):
            span = slice(across.start + column, across.start + column + across.step * (across.count - 1) + 1, across.step)
            inside = image[lines, span]
            yield inside[..., channel[0]] if channel else inside, (vertical.index, across.index)
