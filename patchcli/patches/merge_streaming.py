"""Put patches together to an image, in any of the ways in which they come: patch rows in order, anywhere, pixel by pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.geometry.grid import Block
from patchcli.patches.overlap_add import RowFolder, add_lines, fold_across, fold_at
from patchcli.patches.planes import fold_plane
from patchcli.patches.reducers import split
from patchcli.strided import items_of, runs
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.patches.normalize import Divider
    from patchcli.patches.planes import Plane
    from patchcli.patches.reducers import Rule
    from patchcli.patches.windows import Window

CHUNK_PATCHES = 1 << 14  # patches folded at once where they lie anywhere; fixed, as the order of float sums depends on it
CHUNK_BYTES = 1 << 22  # and the bytes they may have
SUMS_BYTES = 1 << 22  # of the lines in which they start, or as many lines as a patch has


def chunk_patches(patch_bytes: int) -> int:
    """How many patches of some size are folded at once where they lie anywhere."""
    return max(1, min(CHUNK_PATCHES, CHUNK_BYTES // patch_bytes))


class _Sums:
    """Sums of the padded lines on which patches come to lie, in increasing order of their rows.

    Lines that no later patch lies on are divided, while they are in cache, and given: no more are held than the last patches
    reach over.

    Invariant: ``sums[k]`` holds padded line ``top + k``, of which all patches so far were added; all lines above were given.

    Args:
        divider: makes the image.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._divider, placement = divider, divider.placement
        self._height = placement.grid.rows.padded
        self._shape = (placement.grid.columns.padded, *divider.channels)
        self.parts = rule.parts_of(divider.dtype)
        self.combine = [rule.combine(part) for part in self.parts]
        line = math.prod(self._shape)
        self.sums = [np.empty((0, line), rule.sums_dtype(part, placement.most)) for part in self.parts]
        self.top = 0

    @property
    def shaped(self) -> list[NDArray[Any]]:
        """Views of the sums, ``(n, W'[, C])``."""
        return [part.reshape(len(part), *self._shape) for part in self.sums]

    def move(self, first: int, stop: int) -> Iterator[NDArray[Any]]:
        """Give the lines of the image above ``first``, which no later patch lies on, and make room for those up to ``stop``."""
        held = len(self.sums[0])
        done = min(first - self.top, held)
        yield from self._given(done, first)
        for which, (sums, combine) in enumerate(zip(self.sums, self.combine, strict=True)):
            kept = held - done
            if stop - first > held:
                moved = np.empty((stop - first, sums.shape[1]), sums.dtype)
                moved[:kept], moved[kept:] = sums[done:], combine.blank
                self.sums[which] = moved
            elif done:
                sums[:kept] = sums[done:]
                sums[kept:] = combine.blank
        self.top = first

    def skip(self, first: int, stop: int) -> Iterator[NDArray[Any]]:
        """Give the lines above ``first``, on which nothing lies; those up to ``stop`` are made elsewhere, and no sums before."""
        yield from self._divider.blank(self.top, first)
        self.top = stop

    def finish(self) -> Iterator[NDArray[Any]]:
        """Give all other lines."""
        yield from self._given(len(self.sums[0]), self._height)

    def _given(self, done: int, stop: int) -> Iterator[NDArray[Any]]:
        """The lines of the image of the first sums, and of padded lines below them, up to ``stop``, on which nothing lies."""
        if done:
            yield from self._divider.take([part[:done] for part in self.shaped], self.top)
        yield from self._divider.blank(self.top + len(self.sums[0]), stop)


class _Strip:
    """Lines of a padded image under patch rows that overlap no other; of their patches only the last may overlap.

    What does not overlap is laid where it belongs, which is the image already; sums are made of the last columns alone.

    Args:
        divider: makes the image.
        folder: adds up patches that overlap.
        block: of the patch rows, which are equally far apart.
        alone: how many patches of each do not overlap.
        terms: most patches on a pixel.
    """

    def __init__(self, divider: Divider, folder: RowFolder, block: Block, alone: int, terms: int) -> None:
        self._divider, self._folder, self._alone = divider, folder, alone
        grid, blank = folder.grid, folder.combine.blank
        starts, width = grid.columns.starts, grid.columns.padded
        self._tops, (height, across) = grid.rows.starts[block.rows], grid.patch
        self._left = int(starts[alone]) if alone < len(starts) else width  # of the first patch that overlaps
        step = int(self._tops[1] - self._tops[0]) if len(self._tops) > 1 else height
        shape, dtype = (len(self._tops), step), folder.combine.dtype(folder.dtype, terms)
        self._lone = np.empty((*shape, width * folder.channels), folder.dtype)
        self._lone[:, 0 if alone * across < self._left else height :] = divider.filler or 0
        self._crowd = np.full((*shape, (width - self._left) * folder.channels), blank, dtype)

    def lay(self, patches: NDArray[Any], block: Block) -> NDArray[Any] | None:
        """Lay the patches of a block ``(block.count, h, w[, C])``; the sums of those that overlap, ``(n, h, span)``."""
        (height, width), folder = self._folder.grid.patch, self._folder
        rows = patches.reshape(len(self._tops), -1, height, width * folder.channels)
        first, stop = block.columns.start, block.columns.stop
        many, items = max(0, min(self._alone, stop) - first), items_of(rows)
        pixel, pitch = folder.channels * self._lone.itemsize, self._lone.strides
        starts = folder.grid.columns.starts
        for run in runs(starts[first : first + many]) if many else ():
            place: NDArray[Any] = np.ndarray(
                (len(rows), height, run.count),
                items.dtype,
                self._lone,
                offset=run.start * pixel,
                strides=(*pitch[:2], run.step * pixel),
            )
            place[...] = items[:, run.index].transpose(0, 2, 1)
        if first + many == stop:
            return None
        plan = folder.plan(first + many, stop)
        return fold_across(rows[:, many:].transpose(0, 2, 1, 3), plan, self._crowd.dtype, folder.combine)

    def add(self, sums: NDArray[Any] | None, block: Block) -> None:
        """Add the sums of a block, as `lay` gave them."""
        if sums is not None:
            start = int(self._folder.grid.columns.starts[max(block.columns.start, self._alone)]) - self._left
            place = self._crowd[:, : sums.shape[1], start * self._folder.channels :][:, :, : sums.shape[2]]
            self._folder.combine.ufunc(place, sums, out=place)

    def lines(self) -> Iterator[NDArray[Any]]:
        """The lines of the image, once all patches of the rows were laid."""
        (rows, step), height, channels = self._lone.shape[:2], self._folder.grid.patch[0], self._divider.channels
        shapes = ((rows * step, one.shape[2] // self._folder.channels, *channels) for one in (self._lone, self._crowd))
        lone, crowd = (one.reshape(shape) for one, shape in zip((self._lone, self._crowd), shapes, strict=True))
        stop = (rows - 1) * step + height
        yield from self._divider.laid(lone[:stop], crowd[:stop], int(self._tops[0]))


class GridFold:
    """The image of all patches of a grid, in order.

    Patch rows that overlap no other, which are all but two of most grids whose patches just touch, are laid, not added.

    Args:
        divider: makes the image; its placement is a whole grid.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._grid, self._sums = divider.placement.grid, _Sums(divider, rule)
        self._channels = math.prod(divider.channels)
        product = None if rule.window is None or rule.window.dense is not None else rule.window
        self._dense = None if rule.window is None or product is not None else rule.window.full[..., None]
        self._folders = [RowFolder(self._grid, self._channels, part, rule.combine(part), product) for part in self._sums.parts]
        rows, columns = self._grid.rows, self._grid.columns
        self._alone = rows.alone, columns.alone
        mostly = 2 * columns.patch * columns.alone >= columns.padded and rule.window is None
        if not mostly or self._sums.parts != [divider.dtype]:
            self._alone = 0, 0
        self._divider = divider

    def _with_strips(self, patches: Iterable[tuple[Block, NDArray[Any]]]) -> Iterator[tuple[Block, NDArray[Any], _Strip | None]]:
        """The blocks, those of patch rows that overlap no other with the lines that they are laid into."""
        strip = None
        for block, pixels in self._apart(patches):
            if block.columns.start == 0:
                lone = block.rows.stop <= self._alone[0]
                strip = (
                    _Strip(self._divider, self._folders[0], block, self._alone[1], self._divider.placement.most) if lone else None
                )
            yield block, pixels, strip
            del pixels  # before the next are made, as in `_apart`

    def _apart(self, patches: Iterable[tuple[Block, NDArray[Any]]]) -> Iterator[tuple[Block, NDArray[Any]]]:
        """The blocks, parted where patch rows begin to overlap, and above that where they are not equally far apart."""
        tops, alone = self._grid.rows.starts, self._alone[0]
        for block, pixels in patches:
            rows, each = block.rows, block.count // (block.rows.stop - block.rows.start)
            middle = min(max(alone, rows.start), rows.stop)
            lone = [run.index for run in runs(tops[rows.start : middle])] if rows.start < middle else []
            for part in (*lone, slice(middle - rows.start, rows.stop - rows.start)):
                if count := (part.stop - part.start) * each:
                    first, own = part.start * each, slice(rows.start + part.start, rows.start + part.stop)
                    yield Block(own, block.columns, block.first + first, count), pixels[first : first + count]
            del pixels

    def lines(self, patches: Iterable[tuple[Block, NDArray[Any]]], threads: int = 1) -> Iterator[NDArray[Any]]:
        """Put all patches of the grid together, block by block; the lines of the image.

        Args:
            patches: the blocks of the grid, in order, each with its patches ``(block.count, h, w[, C])``.
            threads: how many blocks are folded at once; it changes no bit of the result.

        Raises:
            PatchcliError: values that are too large.
        """

        def fold(given: tuple[Block, NDArray[Any], _Strip | None]) -> tuple[Block, _Strip | None, list[Any]]:
            block, pixels, strip = given
            if strip is not None:
                return block, strip, [strip.lay(split(pixels, self._sums.parts)[0], block)]
            if self._dense is not None:
                pixels = (pixels if pixels.ndim > 3 else pixels[..., None]) * self._dense  # noqa: PLR2004
            parts = zip(self._folders, split(pixels, self._sums.parts), strict=True)
            return block, None, [folder.fold(part, block) for folder, part in parts]

        for block, strip, folded in map_in_order(fold, self._with_strips(patches), threads):
            starts = self._grid.rows.starts[block.rows]
            if strip is not None:
                strip.add(folded[0], block)
                if block.columns.stop == self._grid.columns.count:
                    yield from self._sums.skip(int(starts[0]), int(starts[-1]) + self._grid.patch[0])
                    yield from strip.lines()
                continue
            yield from self._sums.move(int(starts[0]), int(starts[-1]) + self._grid.patch[0])
            left = int(self._grid.columns.starts[block.columns.start]) * self._channels
            for sums, folder, parts in zip(self._sums.sums, self._folders, folded, strict=True):
                for lines in parts:
                    add_lines(sums, lines, self._sums.top, left, folder.combine)
        yield from self._sums.finish()


class BandFold:
    """The image of patches anywhere, some repeated or missing, each asked for when its lines are made.

    Args:
        divider: makes the image; knows where all patches lie.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._placement, self._sums = divider.placement, _Sums(divider, rule)
        self._window, self._lines = _shaped(rule.window, divider), divider.padded_lines
        self._patch_bytes = math.prod((*self._placement.grid.patch, *divider.channels)) * divider.dtype.itemsize

    def steps(self) -> Iterator[tuple[int, int]]:
        """``first, last``: patches, in row-major order of origins, that are added at once and start near each other.

        Where only some lines are made, from the first to the last of the steps that touch them.
        """
        tops, line = np.ascontiguousarray(self._placement.ordered[:, 0]), self._sums.sums[0]
        line_bytes = line.shape[1] * line.itemsize
        within, step = max(self._placement.grid.patch[0], SUMS_BYTES // line_bytes), chunk_patches(self._patch_bytes)
        first = 0
        while first < len(tops):
            last = min(first + step, int(np.searchsorted(tops, tops[first] + within)))
            if tops[first] >= self._lines[1]:
                return
            if tops[last - 1] + self._placement.grid.patch[0] > self._lines[0]:
                yield first, last
            first = last

    def lines(self, pick: Callable[[NDArray[np.int64]], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Add all patches; the lines of the image.

        Args:
            pick: gives the patches of some numbers, ``(n, h, w[, C])``; each number is asked for once, in row-major order of
                origins.

        Raises:
            PatchcliError: values that are too large.
        """
        placement, order = self._placement, self._placement.order
        for first, last in self.steps():
            patches = pick(np.arange(first, last) if order is None else order[first:last])
            starts = placement.ordered[first:last]
            yield from self._sums.move(int(starts[0, 0]), int(starts[-1, 0]) + placement.grid.patch[0])
            parts = zip(self._sums.shaped, split(patches, self._sums.parts), self._sums.combine, strict=True)
            for sums, part, combine in parts:
                fold_at(sums, part if self._window is None else part * self._window, starts - (self._sums.top, 0), combine)
        yield from self._sums.finish()


def _shaped(window: Window | None, divider: Divider) -> NDArray[Any] | None:
    """A window as patches ``(h, w[, C])`` are multiplied by it."""
    return None if window is None else window.full.reshape(*divider.placement.grid.patch, *[1] * len(divider.channels))


class _WholeFold:
    """Sums of a whole padded image, divided at the end.

    Args:
        divider: makes the image; knows where all patches that will come lie.
        rule: how values become one.

    Raises:
        PatchcliError: sums that no dtype holds.
    """

    def __init__(self, divider: Divider, rule: Rule) -> None:
        self._divider, self._placement = divider, divider.placement
        grid, channels = self._placement.grid, divider.channels
        self._parts = rule.parts_of(divider.dtype)
        self._window = _shaped(rule.window, divider)
        self._combine = [rule.combine(part) for part in self._parts]
        self._sums = [
            np.full((*grid.padded, *channels), combine.blank, rule.sums_dtype(part, self._placement.most))
            for part, combine in zip(self._parts, self._combine, strict=True)
        ]

    def lines(self) -> Iterator[NDArray[Any]]:
        """The lines of the image, once all patches were added.

        Raises:
            PatchcliError: values that are too large.
        """
        yield from self._divider.take(self._sums, 0)


class ScatteredFold(_WholeFold):
    """The image of patches anywhere, some repeated or missing, in the order in which they come."""

    def add(self, patches: NDArray[Any], first: int) -> None:
        """Add the patches ``first`` to ``first + n`` of the placement, ``(n, h, w[, C])``."""
        starts = self._placement.starts(first, first + len(patches))
        for sums, part, combine in zip(self._sums, split(patches, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window
            fold_at(sums, values, starts, combine)


class PlaneFold(_WholeFold):
    """The image of patches that come as planes: one pixel of all patches at a time, as the layout ``columns`` has them."""

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted at the end
    def add(self, plane: Plane) -> None:
        """Add one pixel of some patches of the placement."""
        placement, (offset, pixels, first) = self._placement, plane
        for sums, part, combine in zip(self._sums, split(pixels, self._parts), self._combine, strict=True):
            values = part if self._window is None else part * self._window[offset[:2]]
            if placement.whole and len(values) == placement.count:
                fold_plane(sums, values, placement.grid, offset, combine.ufunc)
            else:
                shift = placement.grid.margin + np.array(offset[:2])
                rows, columns = (placement.origins(first, first + len(values)) + shift).T
                inside = sums[..., offset[2]] if len(offset) > 2 else sums  # noqa: PLR2004
                combine.ufunc.at(inside, (rows, columns), values)
