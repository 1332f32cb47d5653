"""Where the patches of a merge lie: all those of a grid, in order, or at origins of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError, counted
from patchcli.geometry.axis import EDGES
from patchcli.geometry.cover import BoxCover, Cover
from patchcli.geometry.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair


@dataclass(frozen=True, eq=False)
class Placement:
    """Where patches lie in the padded image of a grid; made by `whole_grid` or `at`.

    Attributes:
        grid: whose patch size the patches have.
        scattered: origins (row, column) in the image, int64 ``(N, 2)``, in any order, some missing or repeated; None for all
            patches of the grid, in order, which are then never all listed.
    """

    grid: Grid
    scattered: NDArray[np.int64] | None

    @classmethod
    def whole_grid(cls, grid: Grid) -> Placement:
        """All patches of a grid, in order."""
        return cls(grid, None)

    @classmethod
    def at(cls, grid: Grid, origins: NDArray[Any]) -> Placement:
        """Patches at origins ``(N, 2)`` of any integer dtype.

        Raises:
            PatchcliError: origins of another shape or dtype, or one that puts a patch outside the padded image.
        """
        if origins.dtype.kind not in "iu":
            raise PatchcliError(f"origins have dtype {origins.dtype}; allowed are integers")
        if origins.ndim != 2 or origins.shape[1] != 2:  # noqa: PLR2004
            raise PatchcliError(f"origins have shape {origins.shape}; expected (N, 2)")
        last = np.subtract(grid.padded, grid.patch) - grid.margin
        outside = np.flatnonzero(((origins < -grid.margin) | (origins > last)).any(axis=1))
        if len(outside):
            row, column = origins[outside[0]].tolist()
            raise PatchcliError(
                f"patch {outside[0]} has its origin at x={column} y={row}; allowed are x from {-grid.margin} to {last[1]} and "
                f"y from {-grid.margin} to {last[0]}"
            )
        return cls(grid, origins.astype(np.int64, copy=False))

    @classmethod
    def chosen(cls, grid: Grid, index: NDArray[np.int64] | None) -> Placement:
        """The patches of these numbers in a grid, or all of them for None."""
        return cls.whole_grid(grid) if index is None else cls.at(grid, grid.starts_of(index) - grid.margin)

    @classmethod
    def joined(cls, parts: Sequence[Placement]) -> Placement:
        """One after the other, placements in one grid; the whole grid where that is what they add up to."""
        if len(parts) == 1:
            return parts[0]
        grid = parts[0].grid
        origins = np.concatenate([part.origins() for part in parts])
        return cls(grid, None if len(origins) == grid.count and np.array_equal(origins, grid.origins()) else origins)

    @property
    def whole(self) -> bool:
        """Whether these are all patches of the grid, in order."""
        return self.scattered is None

    @property
    def count(self) -> int:
        """``N``, the number of patches."""
        return self.grid.count if self.scattered is None else len(self.scattered)

    @property
    def most(self) -> int:
        """No pixel of the padded image has more patches: exact for a whole grid, else just their number."""
        if self.scattered is not None:
            return len(self.scattered)
        return int(self.grid.rows.padded_cover.max() * self.grid.columns.padded_cover.max())

    def origins(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """Origins (row, column) in the image of the patches ``first`` to ``last`` (excluded), int64 ``(n, 2)``; maybe a view."""
        return self.grid.origins(first, last) if self.scattered is None else self.scattered[first:last]

    def starts(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """The same in the padded image: ``origins + margin``, a new array."""
        return self.origins(first, last) + self.grid.margin

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """Numbers of the patches in row-major order of origins, those of one origin in their own; None for just as they come."""
        if self.scattered is None:
            return None
        order = np.lexsort((self.scattered[:, 1], self.scattered[:, 0]))  # stable
        return None if (order[1:] > order[:-1]).all() else order

    @cached_property
    def ordered(self) -> NDArray[np.int64]:
        """The starts in the padded image in that order, int64 ``(N, 2)``."""
        starts = self.starts()
        return starts if self.order is None else starts[self.order]

    @cached_property
    def cover(self) -> Cover | BoxCover:
        """How many patches lie on each image pixel: a product of two axes for a whole grid."""
        grid = self.grid
        if self.scattered is None:
            return Cover(grid.rows.cover()[:, None], grid.columns.cover()[None])
        tops, lefts = np.ascontiguousarray(self.ordered.T) - grid.margin
        return BoxCover(tops, lefts, grid.patch, grid.image)

    @property
    def central(self) -> int:
        """Number of the patch whose middle is nearest to that of the image, the first of several."""
        grid = self.grid
        if self.scattered is None:
            away = (abs(2 * (axis.starts - axis.margin) + axis.patch - axis.length) for axis in (grid.rows, grid.columns))
            row, column = (int(distances.argmin()) for distances in away)
            return row * grid.columns.count + column
        return int(abs(2 * self.scattered + np.subtract(grid.patch, grid.image)).sum(axis=1).argmin())

    def check_size(self, patch: Pair) -> None:
        """Refuse patches of a size that cannot be merged, with whatever halo.

        Raises:
            PatchcliError: as `resized`.
        """
        if self.grid.scale_of(patch) is not None or not self.grid.takes(patch):
            self.resized(patch)

    def resized(self, patch: Pair, halo: int = 0) -> Placement:
        """The same placement where patches, image and all else are larger or smaller by a factor k or 1/k on both axes.

        Origins, margin and offset are multiplied by the factor, strides too, rounded up where 1/k leaves no whole pixels. Where
        the edge rule of the new grid puts a patch elsewhere than ``k * start``, the patches are scattered.

        Args:
            patch: ``(h, w)`` as they came.
            halo: pixels, of those that were cut, on each side of a patch that are not used, or which it lost; the patches of
                the new placement are without them.

        Raises:
            PatchcliError: a patch of any other size; where 1/k leaves no whole pixels; a halo that leaves none.
        """
        grid = self.grid
        if patch == grid.patch:
            return self._inside(halo)
        over, under = _scale(grid, patch, self.scattered, halo)
        if over == under:  # they lost their halo
            return self._inside(halo)
        size = grid.patch[0] * over // under, grid.patch[1] * over // under
        return self._scaled(size, over, under).resized(size, halo * over // under)

    def _scaled(self, patch: Pair, over: int, under: int) -> Placement:
        """The same placement of patches that are ``over / under`` times as large."""
        grid, origins = self.grid, self.scattered
        whole = *grid.image, *grid.offset, grid.margin
        height, width, row, column, margin = (number * over // under for number in whole)
        dy, dx = (-(-stride * over // under) for stride in grid.stride)
        new = Grid((height, width), patch, (dy, dx), offset=(row, column), edge=_filled(grid.edge), margin=margin)
        if origins is not None:
            return Placement(new, origins * over // under)
        rows, columns = (axis.starts * over // under for axis in (grid.rows, grid.columns))
        if np.array_equal(new.rows.starts, rows) and np.array_equal(new.columns.starts, columns):
            return Placement(new, None)
        return Placement(new, np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2) - new.margin)

    def _inside(self, halo: int) -> Placement:
        """The same patches without a halo of so many pixels: smaller, and their origins that much further inside.

        A margin of at least the halo becomes smaller by it: then the grid has as much room for its starts as it had, and so
        has the same ones, under any edge rule. From a smaller margin the first patches move into the image. As the room
        grows by as much, only the rules ``drop`` and ``pad`` may leave the starts as they are; else patches are scattered.
        """
        grid = self.grid
        patch, margin, inner = grid.inside(halo), max(grid.margin - halo, 0), max(halo - grid.margin, 0)
        if not halo:
            return self
        offset = grid.offset[0] + inner, grid.offset[1] + inner
        if any(first >= length + 2 * margin for first, length in zip(offset, grid.image, strict=True)):
            raise PatchcliError(f"a halo of {halo} moves the first patch of the grid out of the image")
        edge = "drop" if inner and EDGES[grid.edge].needs_room else _filled(grid.edge)
        new = Grid(grid.image, patch, grid.stride, offset=offset, edge=edge, margin=margin)
        moved = all(
            np.array_equal(now.starts, was.starts + inner) for now, was in ((new.rows, grid.rows), (new.columns, grid.columns))
        )
        return Placement(new, None if self.scattered is None and moved else self.origins() + halo)


def _filled(edge: str) -> str:
    """The rule of whole patches that start as those of another: what lies beyond the far sides is cut off in any case."""
    return edge if EDGES[edge].needs_room else "pad"


def _scale(grid: Grid, patch: Pair, origins: NDArray[np.int64] | None, halo: int) -> Pair:
    """``(over, under)``, the factor of `Grid.scale_of`, which must leave whole pixels."""
    scale = grid.scale_of(patch, halo)
    sizes = f"patches have width={patch[1]} height={patch[0]} where width={grid.patch[1]} height={grid.patch[0]} was recorded"
    if scale is None:
        inside = "that size" if not halo else "that size, or width={1} height={0} without the halo".format(*grid.inside(halo))
        lost = grid.lost_by(patch)
        fitting = "" if lost is None else f"; or --halo {lost} if they lost {counted(lost, 'pixel')} on each side"
        raise PatchcliError(f"{sizes}; give {inside}, or one k or 1/k times as large on both axes, k a whole number{fitting}")
    whole = [*grid.image, grid.margin, *grid.offset, halo]
    numbers = np.concatenate([whole, grid.rows.starts, grid.columns.starts, () if origins is None else origins.ravel()])
    if (numbers.astype(np.int64) % scale[1]).any():
        what = "image, margin, halo or origins" if halo else "image, margin or origins"
        raise PatchcliError(f"{sizes}; 1/{scale[1]} of it leaves no whole pixels of {what}")
    return scale
