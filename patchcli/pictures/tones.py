"""From values to colours: what black and white stand for, and what is said of it beside the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.pictures.palette import CHECKER, MISSING, blend, distinct_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.pictures.raster import Raster

SQUARE = 8  # pixels of a square of the board behind what is transparent
MIDDLE = 128  # the gray of an image whose values are all the same
MOST_WHOLE = 1e9  # from where on whole numbers are shortened, too


@dataclass(frozen=True)
class Tones:
    """What black and white stand for.

    Attributes:
        low: the value that is black; NaN where no value is known.
        high: the value that is white.
        labels: whether values are class numbers, each with a colour of its own.
        stretched: whether this is said beside the picture.
        whole: whether the values of the source are integers.
    """

    low: float
    high: float
    labels: bool = False
    stretched: bool = False
    whole: bool = True


def tones_of(rasters: Sequence[Raster], value_range: tuple[float, float] | None = None) -> Tones:
    """The tones that some rasters have in common, so that equal values look equal.

    8 bits without sign are as they are, bool is 0 and 1, class numbers have no tones. Of anything else the least value that is
    finite and valid is black, the largest white, of all rasters together; alpha does not count.

    Raises:
        PatchcliError: ``value_range`` is not two finite numbers, the lower first.
    """
    whole = all(raster.dtype.kind != "f" for raster in rasters)
    if rasters and all(raster.labels for raster in rasters):
        return Tones(0, 0, labels=True)
    if value_range is not None:
        low, high = value_range
        if not -math.inf < low < high < math.inf:
            raise PatchcliError(f"value range is {low:g} to {high:g}; allowed are two finite numbers, the lower one first")
        return Tones(low, high, stretched=True, whole=whole)
    if all(raster.dtype == np.uint8 for raster in rasters):
        return Tones(0, 255)
    if all(raster.dtype.kind == "b" for raster in rasters):
        return Tones(0, 1)
    ends = [end for raster in rasters if not raster.labels for end in _ends(raster)]
    if not ends:
        return Tones(math.nan, math.nan, stretched=True, whole=whole)
    return Tones(min(ends), max(ends), stretched=True, whole=whole)


def _ends(raster: Raster) -> tuple[float, ...]:
    """The least and the largest value; empty where none is valid."""
    values = raster.values()[~raster.missing()]
    return (float(values.min()), float(values.max())) if values.size else ()


def rgb_of(raster: Raster, tones: Tones) -> NDArray[np.uint8]:
    """A raster in colours, uint8 ``(h, w, 3)``: `MISSING` where a value is, alpha over a board of two light grays."""
    missing = raster.missing()
    rgb = _classes(raster, missing) if raster.labels else _shades(raster, tones, missing)
    opacity = raster.opacity()
    if opacity is not None:
        rows, columns = (np.arange(length) // SQUARE for length in raster.shape)
        board = np.array(CHECKER, np.uint8)[(rows[:, None] + columns) % 2][..., None].repeat(3, axis=2)
        return blend(board, rgb, opacity)
    return rgb


def _shades(raster: Raster, tones: Tones, missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    values = raster.values()
    if values.dtype == np.uint8 and (tones.low, tones.high) == (0, 255):
        gray = values.copy()
    else:
        gray = np.rint(255 * _along(np.where(missing[..., None], 0, values).astype(np.float64), tones)).astype(np.uint8)
    if raster.photometric == "miniswhite" and gray.shape[2] == 1:
        gray = 255 - gray
    rgb = gray if gray.shape[2] == 3 else gray.repeat(3, axis=2)  # noqa: PLR2004
    rgb[missing] = MISSING
    return rgb


def _along(values: NDArray[np.float64], tones: Tones) -> NDArray[np.float64]:
    """Where values lie from black, 0, to white, 1; by halves, as no float64 holds how far two can be apart."""
    if not tones.low < tones.high:
        return np.full(values.shape, MIDDLE / 255)
    low, high = tones.low / 2, tones.high / 2
    return np.clip((np.clip(values, tones.low, tones.high) / 2 - low) / (high - low), 0, 1)


def _classes(raster: Raster, missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    numbers, where = np.unique(np.where(missing, 0, raster.values()[..., 0]), return_inverse=True)
    rgb = class_colours(raster, numbers)[where.reshape(raster.shape)]
    rgb[missing] = MISSING
    return rgb


def class_colours(raster: Raster, numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours ``(n, 3)`` of class numbers ``(n,)``: of the table of the image, as far as it goes."""
    colours = distinct_colours(numbers)
    if raster.colours is not None:
        inside = (numbers >= 0) & (numbers < len(raster.colours))
        colours[inside] = raster.colours[numbers[inside].astype(np.intp)]
    return colours


def number_in_words(value: float, *, whole: bool) -> str:
    """A value as it is written beside a picture: integers as integers, others to four digits.

    >>> [number_in_words(value, whole=False) for value in (0.0, -9999.0, 1 / 3, 123456.7, 1e300)]
    ['0', '-9999', '0.3333', '1.235e+05', '1e+300']
    >>> number_in_words(65534.7, whole=True), number_in_words(2**64, whole=True)
    ('65535', '1.845e+19')
    """
    rounded = round(value) if math.isfinite(value) else value
    return f"{rounded:d}" if (whole or rounded == value) and abs(value) < MOST_WHOLE else f"{value:.4g}"
