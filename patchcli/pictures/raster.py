"""What is drawn: an image, or a part of one, that is small enough already, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.pictures.shrink import are_nodata, shrunk
from patchcli.strided import channels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

MOST_ENLARGED = 8  # times, of images of a few pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Raster:
    """An image, or a part of one, as it is drawn: shrunk already.

    Attributes:
        pixels: ``(h, w[, C])``, values as the file has them, or means of them.
        dtype: of the source; decides whether values are stretched.
        factor: pixels of the source along a side of one of these.
        photometric: as `Metadata` has it; ``miniswhite`` inverts one channel, anything else goes by the number of channels.
        alpha: the channel that is alpha.
        labels: whether values are class numbers.
        colours: ``(n, 3)`` uint8, the table of an indexed image, in place of distinct colours for labels.
        nodata: the value that stands for no data.
    """

    pixels: NDArray[Any]
    dtype: np.dtype[Any]
    factor: int = 1
    photometric: str = "minisblack"
    alpha: int | None = None
    labels: bool = False
    colours: NDArray[np.uint8] | None = None
    nodata: float | None = None

    @property
    def shape(self) -> Pair:
        """``(h, w)`` of the pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> list[int]:
        """The channels that are drawn: the first three that are not alpha, or the first; of class numbers always the first."""
        count = channels_of(self.pixels)
        colours = [channel for channel in range(count) if channel != self.alpha] or [0]
        return colours[:3] if len(colours) >= 3 and not self.labels else colours[:1]  # noqa: PLR2004

    @property
    def unseen(self) -> str:
        """Which channels are drawn, in words; empty where all are."""
        count = channels_of(self.pixels)
        if len(self.channels) + (self.alpha is not None) >= count:
            return ""
        return f"first {len(self.channels)} of {count} channels" if len(self.channels) > 1 else f"first of {count} channels"

    def missing(self) -> NDArray[np.bool_]:
        """Pixels ``(h, w)`` without a value that could be drawn: NaN or infinite in a channel that is, or nodata in all."""
        shown = self.values()
        found: NDArray[np.bool_] = ~np.isfinite(shown).all(axis=2)
        if self.nodata is not None and (self.factor == 1 or self.labels):  # means leave nodata out, and could meet it by chance
            found |= are_nodata(self.pixels, self.nodata)
        return found

    def values(self) -> NDArray[Any]:
        """``(h, w, 1 or 3)``: the channels that are drawn."""
        planes = self.pixels[..., None] if self.pixels.ndim == 2 else self.pixels  # noqa: PLR2004
        return planes[..., self.channels]

    def opacity(self) -> NDArray[np.float64] | None:
        """``(h, w)`` of 0 to 1; None without an alpha channel."""
        if self.alpha is None or self.pixels.ndim == 2 or self.labels:  # noqa: PLR2004
            return None
        full = 1.0 if self.dtype.kind in "fb" else float(np.iinfo(self.dtype).max)
        alpha = self.pixels[..., self.alpha]
        return np.clip(np.where(np.isfinite(alpha), alpha, 0).astype(np.float64) / full, 0, 1)


def fit(size: Pair, room: Pair, *, most: int = MOST_ENLARGED) -> Pair:
    """``(shrink, enlarge)``: whole factors that bring ``size`` ``(rows, columns)`` inside ``room``; one of them is 1.

    >>> fit((1000, 300), (400, 400)), fit((10, 30), (400, 100)), fit((1, 1), (400, 400))
    ((3, 1), (1, 3), (1, 8))
    """
    shrink = max(1, *(-(-length // limit) for length, limit in zip(size, room, strict=True)))
    return shrink, min(most, *(limit // length for length, limit in zip(size, room, strict=True))) if shrink == 1 else 1


def brought_inside(raster: Raster, room: Pair, size: Pair | None = None, *, most: int = MOST_ENLARGED) -> tuple[Raster, int]:
    """A raster that is no larger than ``room``, and how often each of its pixels may be repeated along both axes.

    The factors are those of ``size``, where that is given: of the largest of several rasters that are drawn at one scale.
    ``most``: how often a pixel is repeated along an axis, at most.
    """
    shrink, enlarge = fit(size or raster.shape, room, most=most)
    if shrink == 1:
        return raster, enlarge
    nodata = raster.nodata if raster.factor == 1 else None
    pixels = shrunk([raster.pixels], raster.pixels.shape, shrink, labels=raster.labels, nodata=nodata)
    return replace(raster, pixels=pixels, factor=raster.factor * shrink), 1


def enlarged(rgb: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Each pixel ``times`` by ``times`` times."""
    return rgb if times == 1 else rgb.repeat(times, axis=0).repeat(times, axis=1)
