"""A sheet of pixels to put pictures and text on, and text that fits where it is put."""

from __future__ import annotations

import math
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchcli.errors import one_line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair

Corners = tuple[int, int, int, int]  # top, left, bottom, right; the last two excluded

FONT_SIZE = 13
TEXT_HEIGHT = 16  # pixels from the top of the highest letter to the foot of the lowest
LINE_HEIGHT = TEXT_HEIGHT + 3  # pixels from one line of text to the next
PAPER, INK = 255, 20
ELLIPSIS = "..."


class Canvas:
    """A white sheet of ``(H, W)`` pixels.

    Attributes:
        texts: where text stands, in the order in which it was written.
    """

    def __init__(self, size: Pair) -> None:
        self._image = Image.new("RGB", (size[1], size[0]), (PAPER,) * 3)
        self._draw = ImageDraw.Draw(self._image)
        self.texts: list[Corners] = []
        self._taken = np.zeros(size, bool)

    @property
    def size(self) -> Pair:
        """``(H, W)``."""
        return self._image.height, self._image.width

    def paste(self, rgb: NDArray[np.uint8], top: int, left: int) -> None:
        """Put pixels ``(h, w, 3)`` at a place."""
        self._image.paste(Image.fromarray(np.ascontiguousarray(rgb)), (left, top))

    def outline(self, corners: Corners, colour: ArrayLike) -> None:
        """Draw the border of a box, one pixel wide, inside it."""
        top, left, bottom, right = corners
        self._draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=_rgb(colour))

    def write(self, text: str, top: int, left: int, *, on_picture: bool = False) -> None:
        """Write a line of text that was made to fit; dark, or, on a picture, light with a dark rim."""
        if not text:
            return
        bottom, right = top + TEXT_HEIGHT, left + text_width(text)
        self.texts.append((top, left, bottom, right))
        self._taken[max(0, top) : bottom, max(0, left) : right] = True
        colours: dict[str, Any] = {"fill": (INK,) * 3}
        if on_picture:
            colours = {"fill": (PAPER,) * 3, "stroke_width": 1, "stroke_fill": (0, 0, 0)}
        self._draw.text((left, top), text, font=_font(), **colours)

    def is_free(self, corners: Corners) -> bool:
        """Whether no text stands in a box."""
        top, left, bottom, right = corners
        return not self._taken[max(0, top) : bottom, max(0, left) : right].any()

    def pixels(self) -> NDArray[np.uint8]:
        """The sheet, uint8 ``(H, W, 3)``."""
        return np.array(self._image)


def _rgb(colour: ArrayLike) -> tuple[int, int, int]:
    red, green, blue = (int(one) for one in np.asarray(colour))
    return red, green, blue


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


@lru_cache(1 << 12)  # a legend asks again and again
def text_width(text: str) -> int:
    """Pixels that a line of text takes."""
    return math.ceil(_font().getlength(text))


def printable(text: str) -> str:
    """Text as one line that can be drawn: without control characters, and letters without the accents that the font lacks."""
    plain = unicodedata.normalize("NFKD", one_line(text))
    return "".join(char for char in plain if not unicodedata.combining(char)).strip()


def clipped(text: str, width: int) -> str:
    """Printable text of at most ``width`` pixels: of one that is longer, the middle is left out."""
    if len(text) <= width and text_width(text) <= width:
        return text
    least, most = 0, min(len(text), width)  # characters that are kept: no letter is narrower than a pixel
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if text_width(_without_middle(text, middle)) <= width else (least, middle - 1)
    short = _without_middle(text, least)
    return short if text_width(short) <= width else ""


def _without_middle(text: str, kept: int) -> str:
    return text[: kept - kept // 2] + ELLIPSIS + text[len(text) - kept // 2 :]


def wrapped(text: str, width: int, most: int) -> list[str]:
    """Printable text in at most so many lines of ``width`` pixels, broken between words where that is possible."""
    lines: list[str] = []
    rest = printable(text)
    while rest and len(lines) < most - 1:
        cut = _fitting(rest, width)
        if cut < len(rest):
            space = rest.rfind(" ", 0, cut + 1)
            cut = space if space > 0 else cut
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if rest and most > 0:
        lines.append(clipped(rest, width))
    return [line for line in lines if line]


def _fitting(text: str, width: int) -> int:
    """How many characters of a text fit into a line, at least one."""
    least, most = 1, min(len(text), width)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if text_width(text[:middle]) <= width else (least, middle - 1)
    return least
