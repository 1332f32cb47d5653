"""A grid on its image: outlines and numbers of the patches, the border that was added, and what no patch covers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import counted
from patchcli.geometry.axis import CLIP
from patchcli.geometry.cover import BoxCover
from patchcli.pictures.canvas import TEXT_HEIGHT, text_width
from patchcli.pictures.grid_axis import PictureAxis
from patchcli.pictures.image import scale_in_words
from patchcli.pictures.legend import Legend, legend_of, swatch
from patchcli.pictures.page import Panel, arranged, lay_out
from patchcli.pictures.palette import UNCOVERED, blend
from patchcli.pictures.raster import brought_inside, enlarged
from patchcli.pictures.tones import rgb_of, tones_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.grid import Grid
    from patchcli.pictures.canvas import Canvas, Corners
    from patchcli.pictures.raster import Raster

OUTLINES = ((255, 205, 0), (0, 215, 255), (110, 245, 80), (255, 135, 205))  # of even and odd rows and columns of patches
DARK, LIGHT, MIDDLE_GRAY = (0, 0, 0), (255, 255, 255), (128, 128, 128)
DIMMED, HATCHED = 0.45, 0.8  # how much of the border that was added is gray
HATCH = 4  # pixels that its stripes are wide
TINT, FILL = 0.5, 0.35  # how much of a pixel that no patch covers, and of a patch that is filled, is colour
AROUND_TEXT = 16  # pixels between numbers
RIMMED = 12  # pixels of a patch from which on its outline has a dark line beside it; from twice as many it is two wide
MOST_CHOSEN = 500  # of patches that were chosen, those that are outlined


@dataclass(frozen=True)
class _View:
    """What of a grid is drawn, and where: all patches, or those of ``index``, on two axes of the picture."""

    grid: Grid
    index: NDArray[np.int64] | None
    down: PictureAxis
    across: PictureAxis

    def corners(self, row: int, column: int) -> Corners:
        """The box of a patch in the picture."""
        (top, bottom), (left, right) = (
            (int(end[0]) for end in side.ends(np.array([number]))) for side, number in ((self.down, row), (self.across, column))
        )
        return top, left, bottom, right

    def has(self, row: int, column: int) -> bool:
        """Whether a patch is one of those that are drawn."""
        rows, columns = self.grid.shape
        if row >= rows or column >= columns:
            return False
        number = row * columns + column
        place = 0 if self.index is None else int(np.searchsorted(self.index, number))
        return self.index is None or (place < len(self.index) and int(self.index[place]) == number)

    @property
    def bordered(self) -> bool:
        """Whether the picture shows more than the image."""
        return self.grid.padded != self.grid.image and (self.grid.edge != CLIP or self.grid.margin > 0)

    @property
    def uncovered(self) -> int:
        """Number of pixels of the image that no patch covers."""
        if self.index is None:
            return self.grid.uncovered
        tops, lefts = (self.grid.starts_of(self.index) - self.grid.margin).T
        return BoxCover(tops, lefts, self.grid.patch, self.grid.image).uncovered


@dataclass(frozen=True)
class _Marks:
    """Patches with an outline, row and column of each int64 ``(n,)``: whether it has a number, its colour; what is left out."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    numbered: NDArray[np.bool_]
    colours: NDArray[np.int64]
    note: str


def grid_picture(
    raster: Raster,
    *,
    grid: Grid,
    index: NDArray[np.int64] | None,
    title: str,
    max_size: Pair,
    top_left: Pair = (0, 0),
    value_range: tuple[float, float] | None = None,
    pad_mode: str = "",
    lines: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """A grid on its image: RGB uint8 ``(H, W, 3)``, at most ``max_size``.

    One patch and its right and lower neighbours are filled, so that their overlap is seen.

    Args:
        raster: the padded image, inside ``room("grid", max_size, lines=len(lines))`` or else shrunk once more.
        grid: where the patches lie.
        index: the patches that were chosen, int64 ``(n,)``; None for all.
        title: the text above it.
        max_size: ``(rows, columns)`` of the picture, at least 240 x 320.
        top_left: ``(row, column)`` of the padded image where the raster begins.
        value_range: what black and white stand for; the least and largest value if not given.
        pad_mode: how the border was filled, in a word.
        lines: more text, below it.

    Raises:
        PatchcliError: ``max_size`` is too small, or ``value_range`` is not a range.
    """
    tones = tones_of([raster], value_range)
    plan = arranged("grid", max_size, lines=len(lines))
    drawn, times = brought_inside(_without_cut_off(raster, grid, top_left), plan.room)
    rgb = enlarged(rgb_of(drawn, tones), times)
    axes = zip((grid.rows, grid.columns), top_left, rgb.shape[:2], strict=True)
    down, across = (PictureAxis(axis, first, times / drawn.factor, length) for axis, first, length in axes)
    view = _View(grid, None if index is None else np.unique(index).astype(np.int64), down, across)
    marks, uncovered = _marks_of(view), view.uncovered
    filled = _to_fill(view, marks)
    facts = [*_facts(view, pad_mode, uncovered), marks.note, _filled_in_words(filled, grid), scale_in_words(drawn, times)]
    canvas, corners = lay_out(
        plan,
        [Panel(_tinted(rgb, view, filled))],
        legend=legend_of([drawn], tones) + _legend_of_grid(uncovered, bordered=view.bordered),
        lines=[", ".join(filter(None, [*facts, raster.unseen])), *lines],
        title=title,
    )
    _draw_marks(canvas, corners[0], view, marks, filled)
    return canvas.pixels()


def _without_cut_off(raster: Raster, grid: Grid, top_left: Pair) -> Raster:
    """The raster as far as tile files reach: edge ``clip`` cuts off what lies beyond the image and its margin."""
    if grid.edge != CLIP:
        return raster
    ends = (length + 2 * grid.margin - first for length, first in zip(grid.image, top_left, strict=True))
    height, width = (max(1, -(-end // raster.factor)) for end in ends)
    return replace(raster, pixels=raster.pixels[:height, :width])


def _marks_of(view: _View) -> _Marks:
    """Which patches have an outline, and which of them a number: as many as can be told apart and read."""
    if view.index is not None:
        step = max(1, -(-len(view.index) // MOST_CHOSEN))
        rows, columns = np.divmod(view.index[::step], view.grid.columns.count)
        note = f"every {_ordinal(step)} outlined" if step > 1 else ""
        return _Marks(rows, columns, np.ones(len(rows), bool), rows % 2 * 2 + columns % 2, note)
    widest = text_width(str(view.grid.count - 1)) + AROUND_TEXT
    sides = []
    for side, extent in ((view.down, TEXT_HEIGHT + AROUND_TEXT), (view.across, widest)):
        numbers, step = side.outlined()
        every = math.ceil(extent / (step * side.axis.stride * side.scale))
        sides.append((numbers, step, step * max(1, every) if side.axis.count > 2 else 1))  # noqa: PLR2004  else the first and last
    (rows, step_down, number_down), (columns, step_across, number_across) = sides
    row, column = _pairs(rows, columns)
    numbered = np.logical_and(*_pairs(_numbered(rows, number_down), _numbered(columns, number_across)))
    colours = np.add(*_pairs(np.arange(len(rows)) % 2 * 2, np.arange(len(columns)) % 2))
    notes = [_every(step_down, step_across, "outlined")] if (step_down, step_across) != (1, 1) else []
    if (number_down, number_across) != (step_down, step_across):
        notes.append(_every(number_down, number_across, "numbered"))
    return _Marks(row, column, numbered, colours, ", ".join(notes))


def _pairs(rows: NDArray[Any], columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each of the rows with each of the columns."""
    return np.repeat(rows, len(columns)), np.tile(columns, len(rows))


def _numbered(numbers: NDArray[np.int64], step: int) -> NDArray[np.bool_]:
    """Which of some rows or columns have numbers: every so many-th, and the last where there is room."""
    found: NDArray[np.bool_] = numbers % step == 0
    found[-1:] = True
    return found


def _every(down: int, across: int, what: str) -> str:
    """Of how many patches one has something.

    >>> _every(8, 8, "numbered"), _every(1, 3, "outlined")
    ('every 8th row and column, and the last, numbered', 'every row and 3rd column, and the last, outlined')
    """
    if down == across:
        return f"every {_ordinal(down)} row and column, and the last, {what}"
    rows, columns = (f"{_ordinal(step)} " if step > 1 else "" for step in (down, across))
    return f"every {rows}row and {columns or 'every '}column, and the last, {what}"


def _ordinal(number: int) -> str:
    teen = number % 100 // 10 == 1
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _to_fill(view: _View, marks: _Marks) -> list[Pair]:
    """A patch near the middle that has an outline, and its right and lower neighbours, as far as they are drawn."""
    if not len(marks.rows):
        return []
    away = abs(marks.rows - np.median(marks.rows)) + abs(marks.columns - np.median(marks.columns))
    nearest = np.argsort(away, kind="stable")[:MOST_CHOSEN]
    places = zip(marks.rows[nearest].tolist(), marks.columns[nearest].tolist(), strict=True)
    threes = ([(r, c), (r, c + 1), (r + 1, c)] for r, c in places)
    drawn = [[place for place in three if view.has(*place)] for three in threes]
    return max(drawn, key=len)


def _tinted(rgb: NDArray[np.uint8], view: _View, filled: list[Pair]) -> NDArray[np.uint8]:
    """The image with what no patch covers in a colour, hatched where it was added, and with the filled patches."""
    (top, bottom), (left, right) = view.down.image(), view.across.image()
    share = TINT * (1 - _covered(view))
    out = blend(rgb, UNCOVERED, share)
    rows, columns = (np.arange(length) for length in rgb.shape[:2])
    stripes = (rows[:, None] + columns) // HATCH % 3 == 0
    added = blend(rgb, MIDDLE_GRAY, np.where(stripes, HATCHED, DIMMED))
    added[top:bottom, left:right] = out[top:bottom, left:right]
    for row, column in filled:
        a, b, c, d = view.corners(row, column)
        added[a:c, b:d] = blend(added[a:c, b:d], _colour(row, column), FILL)
    return added


def _covered(view: _View) -> NDArray[np.float64]:
    """How much of each pixel of the picture is covered, 0 to 1, ``(h, w)``."""
    if view.index is None:
        of_grid: NDArray[np.float64] = view.down.covered()[:, None] * view.across.covered()
        return of_grid
    rows, columns = np.divmod(view.index, view.grid.columns.count)
    (top, bottom), (left, right) = view.down.ends(rows), view.across.ends(columns)
    change = np.zeros((view.down.length + 1, view.across.length + 1), np.int64)
    for y, x, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(change, (y, x), sign)
    counts = change.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    covered: NDArray[np.float64] = (counts > 0).astype(np.float64)
    return covered


def _colour(row: int, column: int) -> tuple[int, int, int]:
    return OUTLINES[row % 2 * 2 + column % 2]


def _draw_marks(canvas: Canvas, corner: Pair, view: _View, marks: _Marks, filled: list[Pair]) -> None:
    """Outlines of patches, those of the filled ones last, then that of the image in what was added, and numbers over all."""
    rows, columns = view.down.ends(marks.rows), view.across.ends(marks.columns)
    boxes = np.stack([rows[0], columns[0], rows[1], columns[1]], axis=1).tolist()
    places = list(zip(marks.rows.tolist(), marks.columns.tolist(), strict=True))
    for number, box in zip(marks.colours.tolist(), boxes, strict=True):
        _outline(canvas, corner, view, box, OUTLINES[number], rim=True)
    for row, column in filled:
        _outline(canvas, corner, view, view.corners(row, column), _colour(row, column), rim=True)
    if view.bordered:
        (top, bottom), (left, right) = view.down.image(), view.across.image()
        for more, colour in ((3, DARK), (2, LIGHT), (1, LIGHT)):
            _outline(canvas, corner, view, (top - more, left - more, bottom + more, right + more), colour)
    for (row, column), box, numbered in zip(places, boxes, marks.numbered.tolist(), strict=True):
        if numbered:
            _write_number(canvas, corner, view, row * view.grid.columns.count + column, box)


def _outline(
    canvas: Canvas, corner: Pair, view: _View, box: Sequence[int], colour: tuple[int, int, int], *, rim: bool = False
) -> None:
    """A line inside a box of the picture, as far as it is in it, and a dark one inside that line if there is room for it."""
    top, left = (max(0, end) for end in box[:2])
    bottom, right = min(view.down.length, box[2]), min(view.across.length, box[3])
    y, x = corner
    size = min(bottom - top, right - left) if rim else 0
    width = sum(size >= least for least in (1, RIMMED, 2 * RIMMED))
    for inset in reversed(range(max(1, width))):
        place = y + top + inset, x + left + inset, y + bottom - inset, x + right - inset
        canvas.outline(place, DARK if inset and inset == width - 1 else colour)


def _write_number(canvas: Canvas, corner: Pair, view: _View, number: int, box: Sequence[int]) -> None:
    """The number of a patch at its middle, or as near as the picture goes, if it meets no other."""
    words = str(number)
    width = text_width(words)
    most_down, most_across = view.down.length - TEXT_HEIGHT - 1, view.across.length - width - 1
    if min(most_down, most_across) < 1:
        return
    top = corner[0] + min(max((box[0] + box[2] - TEXT_HEIGHT) // 2, 1), most_down)
    left = corner[1] + min(max((box[1] + box[3] - width) // 2, 1), most_across)
    if canvas.is_free((top - 1, left - 2, top + TEXT_HEIGHT + 1, left + width + 2)):
        canvas.write(words, top, left, on_picture=True)


def _facts(view: _View, pad_mode: str, uncovered: int) -> list[str]:
    """The grid in words."""
    grid = view.grid
    (rows, columns), (height, width), (top, left) = grid.shape, grid.patch, grid.offset
    down, across = view.down.steps(), view.across.steps()
    count = counted(grid.count, "patch")
    if view.index is not None:
        count = f"{len(view.index) or 'no patches, 0'} of {count}"
    return [
        f"{count} of {width}x{height}",
        f"{columns} across",
        f"{rows} down",
        f"stride x={_span(across)} y={_span(down)}",
        f"overlap x={_span(width - across)} y={_span(height - down)}" if across[-1] <= width and down[-1] <= height else "",
        f"offset x={left} y={top}" if top or left else "",
        f"edge {grid.edge}",
        f"margin {grid.margin}" if grid.margin else "",
        f"filled by {pad_mode}" if pad_mode and view.bordered else "",
        f"{counted(uncovered, 'pixel')} uncovered" if uncovered else "",
    ]


def _span(values: NDArray[np.int64]) -> str:
    """Some whole numbers in a word, from the least to the largest."""
    least, most = int(values.min()), int(values.max())
    return f"{least}" if least == most else f"{least}-{most}"


def _filled_in_words(filled: list[Pair], grid: Grid) -> str:
    if len(filled) < 2:  # noqa: PLR2004
        return ""
    *first, last = (str(row * grid.columns.count + column) for row, column in sorted(filled))
    return f"{', '.join(first)} and {last} in colour"


def _legend_of_grid(uncovered: int, *, bordered: bool) -> Legend:
    keys: list[tuple[str | NDArray[np.uint8], ...]] = []
    if uncovered:
        keys.append((swatch(UNCOVERED), "uncovered"))
    if bordered:
        stripes = np.where(np.add.outer(np.arange(12), np.arange(12)) // HATCH % 3 == 0, MIDDLE_GRAY[0], 200)
        keys.append((swatch(stripes[..., None].repeat(3, axis=2)), "border that was added"))
    return Legend(tuple(keys))
