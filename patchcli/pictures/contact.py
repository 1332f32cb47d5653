"""A contact sheet: patches in rows, each with its number and its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchcli.errors import counted
from patchcli.pictures.canvas import LINE_HEIGHT, PAPER, clipped, text_width
from patchcli.pictures.legend import Legend, legend_of
from patchcli.pictures.page import GAP, Panel, arranged, frame, largest, lay_out, room
from patchcli.pictures.raster import brought_inside, enlarged, fit
from patchcli.pictures.tones import rgb_of, tones_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.pictures.raster import Raster

NARROWEST = 72  # pixels of the place of a patch: a number of nine digits
MOST_PATCHES = 1000  # on one sheet


def sheet_layout(count: int, patch: Pair, max_size: Pair, *, lines: int = 0) -> tuple[int, Pair]:
    """``(number of patches that a sheet holds, (rows, columns) that each may have)``: what `fit` brings inside is drawn as it is.

    Patches are as large as they can be while all of them have a place; where there are too many, as small as is sensible.

    Args:
        count: number of patches.
        patch: ``(h, w)`` of one.
        max_size: ``(rows, columns)`` of the sheet, at least 240 x 320.
        lines: number of lines of text that the caller adds.

    Raises:
        PatchcliError: a sheet that is too small.
    """
    held, _, place = _sheet(count, patch, room("contact", max_size, lines=lines))
    return min(held, count), place


def _sheet(count: int, patch: Pair, area: Pair) -> tuple[int, int, Pair]:
    """``(patches, columns, room of each)`` of a sheet of ``area`` pixels."""
    best = (0, 1, (1, 1))
    for across in range(1, max(1, (area[1] + GAP) // (NARROWEST + GAP)) + 1):
        place = area[0] - LINE_HEIGHT, (area[1] + GAP) // across - GAP
        shrink, enlarge = fit(patch, place)
        height = -(-patch[0] // shrink) * enlarge
        held = min(across * ((area[0] + GAP) // (height + LINE_HEIGHT + GAP)), MOST_PATCHES)
        if held > best[0]:
            best = held, across, place
        if held >= min(count, MOST_PATCHES):
            break
    return best


def contact_sheet(
    patches: Sequence[Raster],
    *,
    numbers: Sequence[int],
    origins: Sequence[Pair] | None,
    title: str,
    max_size: Pair,
    value_range: tuple[float, float] | None = None,
    lines: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Patches in rows, all with the same tones: RGB uint8 ``(H, W, 3)``, at most ``max_size``.

    Args:
        patches: as many and as large as `sheet_layout` says, or else left out and shrunk; all are drawn at one scale.
        numbers: the number of each, below it.
        origins: ``(row, column)`` of each, below it where there is room; None if they are not known.
        title: the text above the sheet.
        max_size: ``(rows, columns)`` of the sheet, at least 240 x 320.
        value_range: what black and white stand for; the least and largest value of all patches if not given.
        lines: more text, below it.

    Raises:
        PatchcliError: ``max_size`` is too small, or ``value_range`` is not a range.
    """
    plan = arranged("contact", max_size, lines=len(lines))
    tones = tones_of(patches, value_range)
    size = largest([(1, 1), *(raster.shape for raster in patches)])
    held, across, place = _sheet(len(patches), size, plan.room)
    drawn = [brought_inside(raster, place, size) for raster in patches[:held]]
    pictures = [enlarged(rgb_of(raster, tones), times) for raster, times in drawn]
    words = _words(numbers[:held], origins, place[1])
    cell = largest([(1, 1), *(picture.shape[:2] for picture in pictures), *((1, text_width(word)) for word in words)])
    sheet, places = _sheet_of(pictures, cell, min(across, len(pictures)) or 1)
    left_out = len(patches) - len(drawn)
    notes = [f"and {counted(left_out, 'patch')} more" if left_out else "", patches[0].unseen] if patches else ["no patches"]
    canvas, corners = lay_out(
        plan,
        [Panel(sheet, framed=False)],
        legend=legend_of([raster for raster, _ in drawn], tones) if drawn else Legend(),
        lines=[", ".join(filter(None, notes)), *lines],
        title=title,
    )
    for picture, word, (top, left) in zip(pictures, words, places, strict=True):
        frame(canvas, (corners[0][0] + top, corners[0][1] + left), picture)
        canvas.write(word, corners[0][0] + top + cell[0] + 1, corners[0][1] + left)
    return canvas.pixels()


def _words(numbers: Sequence[int], origins: Sequence[Pair] | None, width: int) -> list[str]:
    """What stands below each patch: its number, and where it comes from if that fits below all of them."""
    short = [f"{number}" for number in numbers]
    if origins is not None:
        long = [f"{number}: x={left} y={top}" for number, (top, left) in zip(numbers, origins, strict=False)]
        if all(text_width(word) <= width for word in long):
            return long
    return [clipped(word, width) for word in short]


def _sheet_of(pictures: Sequence[NDArray[np.uint8]], cell: Pair, across: int) -> tuple[NDArray[np.uint8], list[Pair]]:
    """Pictures in rows of so many, a line of text free below each, and where each of them is."""
    down, right = cell[0] + LINE_HEIGHT + GAP, cell[1] + GAP
    rows = max(1, -(-len(pictures) // across))
    sheet = np.full((rows * down - GAP, across * right - GAP, 3), PAPER, np.uint8)
    places = [(number // across * down, number % across * right) for number in range(len(pictures))]
    for picture, (top, left) in zip(pictures, places, strict=True):
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet, places
