"""Pictures of what is open: an image, its grid, some patches, cover, a comparison. As much is read as each of them needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError, counted
from patchcli.geometry.axis import CLIP
from patchcli.geometry.cover import COUNTS_TOGETHER
from patchcli.geometry.placement import Placement
from patchcli.images.difference import Differences, Figures, check_comparable
from patchcli.jobs.seen import title_of
from patchcli.pictures.compare import comparison, side_by_side
from patchcli.pictures.contact import contact_sheet, sheet_layout
from patchcli.pictures.cover import cover_picture
from patchcli.pictures.grid import grid_picture
from patchcli.pictures.image import image_picture
from patchcli.pictures.page import largest, room
from patchcli.pictures.raster import fit
from patchcli.pictures.shrink import Peaks, Shrinker, shrunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.cover import BoxCover, Cover
    from patchcli.jobs.seen import Look, PatchSet, Seen
    from patchcli.patches.padded import Padded
    from patchcli.pictures.raster import Raster

CELL_PIXELS = 180 * 200  # of a patch among those that are evenly chosen, so that its origin has a place below it
PICKED_BYTES = 1 << 24  # of patches that are read at once


class Framing(NamedTuple):
    """How large a picture may be, (rows, columns), and what black and white stand for; None for what the values say."""

    max_size: Pair
    value_range: tuple[float, float] | None = None

    def check(self) -> None:
        """Check that there is room for a picture.

        Raises:
            PatchcliError: it is too small.
        """
        room("image", self.max_size)


class Drawn(NamedTuple):
    """A picture, uint8 ``(H, W, 3)``, and the figures that stand on it."""

    rgb: NDArray[np.uint8]
    figures: Figures | None = None


def draw_image(seen: Seen, frame: Framing) -> Drawn:
    """An image."""
    factor, _ = fit(seen.size, room("image", frame.max_size))
    raster = seen.raster(factor)
    return Drawn(image_picture(raster, title=seen.title, max_size=frame.max_size, value_range=frame.value_range))


def draw_grid(seen: Seen, padded: Padded, index: NDArray[np.int64] | None, frame: Framing) -> Drawn:
    """Where the patches of a grid lie on an image that is padded for it; ``index``: those that were chosen."""
    grid = padded.grid
    height, width = (length + 2 * grid.margin for length in grid.image) if grid.edge == CLIP else grid.padded  # that is drawn
    factor, _ = fit((height, width), room("grid", frame.max_size))
    raster = seen.look.raster(_lines_of_padded(padded), padded.shape, factor)
    rgb = grid_picture(
        raster,
        grid=grid,
        index=index,
        title=seen.title,
        pad_mode=padded.mode,
        max_size=frame.max_size,
        value_range=frame.value_range,
    )
    return Drawn(rgb)


def _lines_of_padded(padded: Padded) -> Iterator[NDArray[Any]]:
    height, width = padded.shape[:2]
    for top in range(0, height, padded.reach):
        bottom = min(top + padded.reach, height)
        region = padded.region((top, bottom), (0, width))
        yield region.pixels[top - region.top : bottom - region.top]


def draw_sheet(patches: PatchSet, numbers: Sequence[int], frame: Framing) -> Drawn:
    """Patches beside each other: those of these numbers, in their order, or some, evenly chosen of all.

    Raises:
        PatchcliError: a number that no patch has; more of them than have a place.
    """
    count, patch = patches.shape[0], (patches.shape[1], patches.shape[2])
    wrong = [number for number in numbers if not 0 <= number < count]
    if wrong:
        raise PatchcliError(f"has {counted(count, 'patch')}, numbered from 0, and none is number {wrong[0]}")
    asked = len(numbers) or min(count, max(1, math.prod(frame.max_size) // CELL_PIXELS))
    most, size = sheet_layout(asked, patch, frame.max_size)
    if len(numbers) > most:
        raise PatchcliError(f"of {len(numbers)} patches {most} have a place in the picture; give fewer, or a larger --max-size")
    wanted = list(numbers) or sorted({round(place) for place in np.linspace(0, count - 1, most).tolist()})
    drawn = {}
    for some in _in_groups(sorted(set(wanted)), patches):
        for number, pixels in zip(some.tolist(), patches.pick(some), strict=True):
            factor, _ = fit(largest([patch, pixels.shape]), size)  # of one scale, those that were cut smaller, too
            drawn[number] = patches.look.raster([pixels], pixels.shape, factor)
    origins = patches.origins(np.array(wanted, np.int64)) if wanted else None
    rgb = contact_sheet(
        [drawn[number] for number in wanted],
        numbers=wanted,
        origins=None if origins is None else [(int(row), int(column)) for row, column in origins],
        title=title_of(patches),
        max_size=frame.max_size,
        value_range=frame.value_range,
    )
    return Drawn(rgb)


def _in_groups(numbers: list[int], patches: PatchSet) -> Iterator[NDArray[np.int64]]:
    """Numbers, as many at a time as are read together."""
    each = int(np.prod(patches.shape[1:])) * patches.look.dtype.itemsize
    step = max(1, PICKED_BYTES // max(1, each))
    for first in range(0, len(numbers), step):
        yield np.array(numbers[first : first + step], np.int64)


def draw_cover(placement: Placement, name: str, frame: Framing) -> Drawn:
    """How many patches lie on each pixel of an image."""
    cover, size = placement.cover, placement.grid.image
    factor, _ = fit(size, room("cover", frame.max_size))
    rgb = cover_picture(
        shrunk(_lines_of_cover(cover), size, factor).astype(np.float64),
        factor=factor,
        weights=False,
        most=cover.most,
        uncovered=cover.uncovered,
        title=f"{name}{': ' * bool(name)}{counted(placement.count, 'patch')} on width={size[1]} height={size[0]}",
        max_size=frame.max_size,
    )
    return Drawn(rgb)


def _lines_of_cover(cover: Cover | BoxCover) -> Iterator[NDArray[Any]]:
    height, width = cover.shape
    step = max(1, COUNTS_TOGETHER // width)
    for top in range(0, height, step):
        yield cover.lines(slice(top, min(top + step, height)))


def draw_comparison(before: Seen, after: Seen, names: Sequence[str], frame: Framing) -> Drawn:
    """An image, another one of its size, and what differs.

    Raises:
        PatchcliError: they are not of one size, with as many channels.
    """
    check_comparable(after.pixels.shape, before.pixels.shape, "the first image", what="the second image is one of")
    factor, _ = fit(before.size, room("comparison", frame.max_size, panels=3, lines=1, size=before.size))
    compared = _Compared(before, after.look, factor)
    differences = Peaks(before.pixels.shape, factor)
    for mine, other in compared.walk(after.lines()):
        differences.add(_apart(mine, other))
    figures = compared.figures()
    rgb = comparison(
        compared.before(),
        compared.after(),
        differences.result(),
        factor=factor,
        lines=[figures.in_words()],
        title=f"{names[0]} and {names[1]}: {before.kind}",
        max_size=frame.max_size,
        value_range=frame.value_range,
    )
    return Drawn(rgb, figures)


def _apart(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        apart: NDArray[np.float64] = np.subtract(after, before, dtype=np.float64)
    return apart


def draw_triple(
    before: Seen, centre: tuple[int, NDArray[Any]], merged: tuple[Iterable[NDArray[Any]], Look], title: str, frame: Framing
) -> Drawn:
    """An image, one of its patches, and the image that they were merged to, and how far that is from the first.

    Args:
        before: the image.
        centre: the number of the patch, and its pixels ``(h, w[, C])``.
        merged: the lines of the other image, and what is known of its values.
        title: of the picture.
        frame: its size.
    """
    room_of = room("side", frame.max_size, panels=3, lines=1, size=before.size)
    factor, _ = fit(before.size, room_of)
    number, patch = centre
    small = merged[1].raster([patch], patch.shape, fit(patch.shape[:2], room_of)[0])
    compared = _Compared(before, merged[1], factor)
    for _ in compared.walk(merged[0]):
        pass
    figures = compared.figures()
    height, width = patch.shape[:2]
    rgb = side_by_side(
        [compared.before(), small, compared.after()],
        names=["source", f"patch {number}, {width}x{height}", "reconstruction"],
        lines=[figures.in_words()],
        title=title,
        max_size=frame.max_size,
        value_range=frame.value_range,
    )
    return Drawn(rgb, figures)


def draw_round_trip(before: Seen, padded: Padded, index: NDArray[np.int64] | None, frame: Framing) -> Drawn:
    """The same of the patches of an image as they are, all of a grid or those of ``index``; what they leave out is 0."""
    from patchcli.patches.extract import cut_at  # which no other picture needs
    from patchcli.patches.map import Mapped
    from patchcli.patches.merge import merge_from
    from patchcli.patches.normalize import Wanted
    from patchcli.patches.reducers import REDUCERS, rule_of

    grid = padded.grid
    if grid.edge == CLIP:
        raise PatchcliError("edge is clip, which is for tile files; for patches that are merged choose pad")
    placement = Placement.chosen(grid, index)
    number = placement.central if index is None else int(index[placement.central])
    patch = next(iter(cut_at(padded, np.array([number]))))[0]
    mapped = Mapped(padded, index, lambda patches, _origins: patches, known=(patch.shape, padded.dtype))
    rule = rule_of(REDUCERS["mode" if before.look.labels else "mean"])
    wanted = Wanted(padded.dtype, fill=0, allow_nonfinite=padded.dtype.kind == "f")
    merged = merge_from(mapped, placement, rule, wanted=wanted)
    height, width = grid.patch
    title = f"{before.name}{': ' * bool(before.name)}{counted(placement.count, 'patch')} of width={width} height={height}"
    title += left_out_in_words(placement)
    return draw_triple(before, (number, patch), (merged.lines(), before.look), title, frame)


def left_out_in_words(placement: Placement) -> str:
    """What of an image its patches leave out, to be added to a title: where it is merged, that is 0, and counts as such."""
    uncovered = placement.cover.uncovered
    return f"; {counted(uncovered, 'pixel')} uncovered, 0 in the reconstruction" if uncovered else ""


class _Compared:
    """Two images that go by line by line, each on its way to a raster, and the figures of their difference.

    Args:
        before: the first.
        look: what is known of the values of the second.
        factor: by which both become smaller.
    """

    def __init__(self, before: Seen, look: Look, factor: int) -> None:
        self._source, self._looks, self._factor = before.pixels, (before.look, look), factor
        self._differences = Differences(before.look.dtype)
        shape = before.pixels.shape
        self._small = [Shrinker(shape, factor, labels=one.labels, nodata=one.nodata) for one in self._looks]

    def walk(self, lines: Iterable[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The lines of the second with those of the first beside them."""
        top, width = 0, self._source.shape[1]
        for other in lines:
            mine = self._source.read((top, top + len(other)), (0, width))
            self._differences.add(mine, other)
            for small, pixels in zip(self._small, (mine, other), strict=True):
                small.add(pixels)
            yield mine, other
            top += len(other)

    def figures(self) -> Figures:
        """Of all lines."""
        return self._differences.figures()

    def before(self) -> Raster:
        """The first image."""
        return self._looks[0].as_raster(self._small[0].result(), self._factor)

    def after(self) -> Raster:
        """The second image."""
        return self._looks[1].as_raster(self._small[1].result(), self._factor)


class InsidePadded:
    """The image itself, read through its padded one, which holds what was read of it."""

    in_bands = True

    def __init__(self, padded: Padded) -> None:
        self._padded, self.dtype = padded, padded.dtype
        self.shape = (*padded.grid.image, *padded.shape[2:])
        self.lines = 1

    def read(self, rows: Pair, columns: Pair) -> NDArray[Any]:
        """The pixels of some rows and columns."""
        margin = self._padded.grid.margin
        window = (rows[0] + margin, rows[1] + margin), (columns[0] + margin, columns[1] + margin)
        if (whole := self._padded.whole) is not None:
            return whole[slice(*window[0]), slice(*window[1])]
        return self._padded.window(*window).pixels
