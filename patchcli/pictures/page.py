"""A page: a title, pictures beside and below each other, what their colours mean, and lines of text. It never leaves its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchcli.errors import PatchcliError
from patchcli.pictures.canvas import LINE_HEIGHT, Canvas, clipped, printable, text_width, wrapped
from patchcli.pictures.legend import Legend, draw_legend
from patchcli.pictures.raster import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

SMALLEST_PAGE = (240, 320)  # rows, columns
BORDER, GAP = 8, 8
FRAME = (190, 190, 190)
TITLE_LINES = 2
WIDTH_OF_TEXT = 640  # pixels, for text below a picture that is not as wide
SMALLEST_PANEL = 16  # pixels of a side


@dataclass(frozen=True)
class Kind:
    """What is on a page: lines of its legend and of its own caption, names of its pictures, and how many these are at least."""

    legend: int
    caption: int
    named: bool = False
    panels: int = 1


KINDS = {
    "image": Kind(3, 2),
    "grid": Kind(3, 5),
    "contact": Kind(3, 2),
    "cover": Kind(2, 2),
    "side": Kind(4, 1, named=True),
    "comparison": Kind(3, 1, named=True, panels=3),
}


@dataclass(frozen=True)
class Panel:
    """A picture on a page, RGB ``(h, w, 3)``, what stands above it, and whether a thin line is around it."""

    rgb: NDArray[np.uint8]
    name: str = ""
    framed: bool = True


@dataclass(frozen=True)
class Arrangement:
    """How a page is divided.

    Attributes:
        across: pictures beside each other.
        room: ``(rows, columns)`` that each may have.
        legend: most lines of the legend.
        text: most lines of all text below the pictures.
        named: whether a line stands above each picture.
        width: most columns of the page.
    """

    across: int
    room: Pair
    legend: int
    text: int
    named: bool
    width: int


def room(kind: str, max_size: Pair, *, panels: int = 1, lines: int = 0, size: Pair | None = None) -> Pair:
    """``(rows, columns)`` that each picture may have on a page: what `fit` brings inside is drawn as it is.

    Args:
        kind: a key of `KINDS`.
        max_size: ``(rows, columns)`` of the page, at least 240 x 320.
        panels: number of pictures; of a comparison there are three.
        lines: number of lines of text that the caller adds.
        size: ``(rows, columns)`` of the largest picture; several are then arranged so that it is drawn as large as can be.

    Raises:
        PatchcliError: a page that is too small.
    """
    return arranged(kind, max_size, panels=panels, lines=lines, size=size).room


def check_page(max_size: Pair) -> None:
    """Refuse a page on which nothing has room.

    Raises:
        PatchcliError: it is smaller than 240 x 320.
    """
    height, width = max_size
    if height < SMALLEST_PAGE[0] or width < SMALLEST_PAGE[1]:
        smallest = f"width={SMALLEST_PAGE[1]} height={SMALLEST_PAGE[0]}"
        raise PatchcliError(f"a picture of width={width} height={height} is too small to be drawn; allowed is {smallest} or more")


def arranged(kind: str, max_size: Pair, *, panels: int = 1, lines: int = 0, size: Pair | None = None) -> Arrangement:
    """How the page is divided: so that pictures of this size are as large as can be, or that their room has long sides.

    What fits under any arrangement is not made smaller under that for its size, as that is the one with the best scale.
    """
    check_page(max_size)
    (height, width), of = max_size, KINDS[kind]
    panels = max(panels, of.panels)
    inside = height - 2 * BORDER - TITLE_LINES * LINE_HEIGHT - 2 * GAP
    text = min(of.legend + of.caption + 2 * lines, inside // 2 // LINE_HEIGHT)  # the lines of a caller may need two each
    left, name = inside - text * LINE_HEIGHT, LINE_HEIGHT if of.named else 0
    rooms = {}
    for across in range(1, panels + 1):
        down = -(-panels // across)
        rooms[across] = ((left + GAP) // down - GAP - name, (width - 2 * BORDER + GAP) // across - GAP)
    rooms = {across: place for across, place in rooms.items() if min(place) >= SMALLEST_PANEL}
    if not rooms:
        raise PatchcliError(f"{panels} pictures beside each other do not fit width={width} height={height}; use a larger size")
    best = max(rooms, key=lambda across: (min(rooms[across]), -across) if size is None else (_scale(size, rooms[across]), across))
    return Arrangement(best, rooms[best], max(1, min(of.legend, text - 1 - lines)), text, of.named, width)


def _scale(size: Pair, place: Pair) -> float:
    shrink, enlarge = fit(size, place)
    return enlarge / shrink


def lay_out(
    plan: Arrangement, panels: Sequence[Panel], *, legend: Legend, lines: Sequence[str], title: str
) -> tuple[Canvas, list[Pair]]:
    """Draw a page, and say where the top left pixel of each of its pictures is.

    Args:
        plan: of the page.
        panels: its pictures, none larger than their room.
        legend: what their colours mean.
        lines: text below them.
        title: text above them.
    """
    cell, name = _cell(plan, panels), LINE_HEIGHT if plan.named else 0
    down = -(-len(panels) // plan.across)
    drawn = plan.across * (cell[1] + GAP) - GAP
    width = min(plan.width, max(drawn + 2 * BORDER, WIDTH_OF_TEXT))
    heads = wrapped(title, width - 2 * BORDER, TITLE_LINES)
    keys = legend.lines(width - 2 * BORDER, plan.legend)
    feet = _feet(lines, width - 2 * BORDER, plan.text - len(keys))
    top = BORDER + len(heads) * LINE_HEIGHT + (GAP if heads else 0)
    below = top + down * (cell[0] + name + GAP)
    canvas = Canvas((below + (len(keys) + len(feet)) * LINE_HEIGHT + BORDER - (0 if keys or feet else GAP), width))
    for number, line in enumerate(heads):
        canvas.write(line, BORDER + number * LINE_HEIGHT, BORDER)
    corners = []
    for number, panel in enumerate(panels):
        row, column = divmod(number, plan.across)
        corner = top + row * (cell[0] + name + GAP) + name, (width - drawn) // 2 + column * (cell[1] + GAP)
        if plan.named:
            canvas.write(clipped(printable(panel.name), cell[1]), corner[0] - name, corner[1])
        canvas.paste(panel.rgb, *corner)
        if panel.framed:
            frame(canvas, corner, panel.rgb)
        corners.append(corner)
    draw_legend(canvas, keys, below, BORDER)
    for number, line in enumerate(feet):
        canvas.write(line, below + (len(keys) + number) * LINE_HEIGHT, BORDER)
    return canvas, corners


def frame(canvas: Canvas, corner: Pair, rgb: NDArray[np.uint8]) -> None:
    """Draw a thin line around a picture, which may be as white as the page."""
    (top, left), (height, width) = corner, rgb.shape[:2]
    canvas.outline((top - 1, left - 1, top + height + 1, left + width + 1), FRAME)


def largest(sizes: Sequence[tuple[int, ...]]) -> Pair:
    """``(rows, columns)`` that hold pictures of all of these sizes."""
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def _cell(plan: Arrangement, panels: Sequence[Panel]) -> Pair:
    """The size of the place of each picture: of the largest, and as wide as its name where there is room."""
    height, width = largest([panel.rgb.shape[:2] for panel in panels])
    names = [text_width(clipped(printable(panel.name), plan.room[1])) for panel in panels if plan.named]
    return height, max([width, *names])


def _feet(lines: Sequence[str], width: int, most: int) -> list[str]:
    """Lines of text in at most so many, broken where one is left for each that follows; the first count most."""
    feet: list[str] = []
    for number, line in enumerate(lines):
        left = most - len(feet)
        feet += wrapped(line, width, min(left, max(1, left - (len(lines) - 1 - number))))
    return feet
