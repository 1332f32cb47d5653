"""What colours mean, in lines below a picture: gray ramps with the values at their ends, scales, and a swatch for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.pictures.canvas import LINE_HEIGHT, TEXT_HEIGHT, clipped, printable, text_width
from patchcli.pictures.palette import MISSING
from patchcli.pictures.tones import MIDDLE, class_colours, number_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from patchcli.pictures.canvas import Canvas
    from patchcli.pictures.raster import Raster
    from patchcli.pictures.tones import Tones

Key = tuple["str | NDArray[np.uint8]", ...]  # words and colours that belong together, in order; a colour is pixels (h, w, 3)

SWATCH = 12  # pixels of a side
RAMP = 72  # pixels that a scale is long
SHORTEST_RAMP = 16
INSIDE, BETWEEN = 5, 16  # pixels between the parts of a key, and between keys
MOST_KEYS = 400  # more have no room anywhere


def swatch(colour: ArrayLike) -> NDArray[np.uint8]:
    """A square of one colour with a dark border, so that white is seen on paper."""
    return _bordered(np.broadcast_to(np.asarray(colour, np.uint8), (SWATCH, SWATCH, 3)))


def ramp(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A bar of colours ``(n, 3)`` from left to right."""
    return _bordered(np.broadcast_to(colours, (SWATCH, *colours.shape)))


def _bordered(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = np.full_like(rgb, 90)
    out[1:-1, 1:-1] = rgb[1:-1, 1:-1]
    return out


@dataclass(frozen=True)
class Legend:
    """Keys in order; ``more`` classes have none."""

    keys: tuple[Key, ...] = ()
    more: int = 0

    def __add__(self, other: Legend) -> Legend:
        return Legend(self.keys + other.keys, self.more + other.more)

    def lines(self, width: int, most: int) -> list[list[Key]]:
        """The keys in at most so many lines of ``width`` pixels; how many had no room is said at the end."""
        lines: list[list[Key]] = [[]]
        for key in (_narrowed(key, width) for key in self.keys):
            if lines[-1] and _line_width([*lines[-1], key]) > width:
                lines.append([])
            lines[-1].append(key)
        kept = lines[:most]
        left = self.more + sum(map(len, lines[most:]))
        while kept and left and kept[-1] and _line_width([*kept[-1], _rest(left)]) > width:
            kept[-1].pop()
            left += 1
        if kept and left:
            kept[-1].append(_narrowed(_rest(left), width))
        return [line for line in kept if line]


def _rest(count: int) -> Key:
    return (f"and {count} more",)


def _part_width(part: str | NDArray[np.uint8]) -> int:
    return text_width(part) if isinstance(part, str) else part.shape[1]


def _key_width(key: Key) -> int:
    return sum(map(_part_width, key)) + INSIDE * (len(key) - 1)


def _line_width(line: Sequence[Key]) -> int:
    return sum(map(_key_width, line)) + BETWEEN * (len(line) - 1)


def _narrowed(key: Key, width: int) -> Key:
    """A key that is no wider: first its scales become shorter, then its words."""
    over = _key_width(key) - width
    if over <= 0:
        return key
    scales = sum(not isinstance(part, str) and part.shape[1] > SHORTEST_RAMP for part in key)
    if scales:
        return _narrowed(tuple(part if isinstance(part, str) else _shorter(part, -(-over // scales)) for part in key), width)
    words = sum(isinstance(part, str) for part in key)
    room = max(0, width - _key_width(tuple("" if isinstance(part, str) else part for part in key))) // max(1, words)
    return tuple(clipped(part, room) if isinstance(part, str) else part for part in key)


def _shorter(scale: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    length = scale.shape[1]
    if length <= SHORTEST_RAMP:
        return scale
    return scale[:, np.linspace(0, length - 1, max(SHORTEST_RAMP, length - by)).round().astype(np.intp)]


def draw_legend(canvas: Canvas, lines: Sequence[Sequence[Key]], top: int, left: int) -> None:
    """Draw lines that `Legend.lines` made."""
    for number, line in enumerate(lines):
        at = left
        for key in line:
            for part in key:
                if isinstance(part, str):
                    canvas.write(part, top + number * LINE_HEIGHT, at)
                else:
                    canvas.paste(part, top + number * LINE_HEIGHT + (TEXT_HEIGHT - part.shape[0]) // 2 + 1, at)
                at += _part_width(part) + INSIDE
            at += BETWEEN - INSIDE


def legend_of(rasters: Sequence[Raster], tones: Tones, name: str = "") -> Legend:
    """What the colours of rasters with the same tones mean; none for 8 bits that are as they are. ``name`` stands in front."""
    keys: list[Key] = []
    more = 0
    if tones.labels:
        keys, more = _keys_of_classes(rasters)
    elif tones.stretched and tones.low <= tones.high:
        keys = [_key_of_tones(tones, inverted=rasters[0].photometric == "miniswhite")]
    if any(raster.missing().any() for raster in rasters):
        keys.append((swatch(MISSING), _missing_in_words(rasters)))
    if keys and name:
        keys[0] = (printable(name) + ":", *keys[0])
    return Legend(tuple(keys), more)


def _key_of_tones(tones: Tones, *, inverted: bool) -> Key:
    low, high = (number_in_words(end, whole=tones.whole) for end in (tones.low, tones.high))
    if tones.low == tones.high:
        return swatch((MIDDLE,) * 3), f"all values are {low}"
    grays = np.linspace(255, 0, RAMP) if inverted else np.linspace(0, 255, RAMP)
    return low, ramp(grays.astype(np.uint8)[:, None].repeat(3, axis=1)), high


def _keys_of_classes(rasters: Sequence[Raster]) -> tuple[list[Key], int]:
    """A swatch for each class that is present, at most `MOST_KEYS`, and how many more there are."""
    numbers: NDArray[Any] = np.unique(np.concatenate([raster.values()[..., 0][~raster.missing()] for raster in rasters]))
    shown = numbers[:MOST_KEYS]
    colours = class_colours(rasters[0], shown)
    words = (number_in_words(number, whole=True) for number in shown.tolist())
    return [(swatch(colour), word) for colour, word in zip(colours, words, strict=True)], len(numbers) - len(shown)


def _missing_in_words(rasters: Sequence[Raster]) -> str:
    words = ["NaN or infinite"] if any(raster.dtype.kind == "f" for raster in rasters) else []
    nodata = next((raster.nodata for raster in rasters if raster.nodata is not None), None)
    if nodata is not None:
        words.append(f"nodata {number_in_words(nodata, whole=False)}")
    return ", ".join(words) or "no value"
