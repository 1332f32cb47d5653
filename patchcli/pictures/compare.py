"""Images beside each other: what belongs together, and before and after with their difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.pictures.legend import RAMP, Legend, legend_of, ramp, swatch
from patchcli.pictures.page import Panel, arranged, largest, lay_out
from patchcli.pictures.palette import DIFFERENCES, MISSING, scale_colours
from patchcli.pictures.raster import MOST_ENLARGED, Raster, brought_inside, enlarged
from patchcli.pictures.tones import number_in_words, rgb_of, tones_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

PANEL_NAMES = ("before", "after", "after - before")


def side_by_side(
    rasters: Sequence[Raster],
    *,
    names: Sequence[str],
    lines: Sequence[str],
    title: str,
    max_size: Pair,
    value_range: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Images beside each other, with the same tones and each as large as there is room: RGB uint8 ``(H, W, 3)``.

    Args:
        rasters: the images, of any sizes, inside `room` of that kind, or else shrunk.
        names: what stands above each.
        lines: text below all.
        title: text above all.
        max_size: ``(rows, columns)`` of the picture, at least 240 x 320.
        value_range: what black and white stand for.

    Raises:
        PatchcliError: ``max_size`` is too small for so many, or ``value_range`` is not a range.
    """
    size = largest([raster.shape for raster in rasters])
    plan = arranged("side", max_size, panels=len(rasters), lines=len(lines), size=size)
    tones = tones_of(rasters, value_range)
    # a small one is drawn about as large as the others
    most = [max(MOST_ENLARGED, min(size[0] // raster.shape[0], size[1] // raster.shape[1])) for raster in rasters]
    shown = [brought_inside(raster, plan.room, most=times) for raster, times in zip(rasters, most, strict=True)]
    panels = [Panel(enlarged(rgb_of(drawn, tones), times), name) for (drawn, times), name in zip(shown, names, strict=True)]
    legend = legend_of([drawn for drawn, _ in shown], tones)
    notes = [", ".join(f"{name}: {raster.unseen}" for raster, name in zip(rasters, names, strict=True) if raster.unseen)]
    canvas, _ = lay_out(plan, panels, legend=legend, lines=[*notes, *lines], title=title)
    return canvas.pixels()


def comparison(
    before: Raster,
    after: Raster,
    difference: NDArray[Any],
    *,
    factor: int,
    lines: Sequence[str],
    title: str,
    max_size: Pair,
    value_range: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Before, after, and their difference in colours that show its sign: RGB uint8 ``(H, W, 3)``, at most ``max_size``.

    Args:
        before: an image, inside `room` of that kind, or else shrunk.
        after: another, with the same tones.
        difference: ``after - before``, ``(h, w[, C])``; of several channels the one with the largest magnitude is drawn.
        factor: pixels of the images along a side of one of the difference.
        lines: text below them.
        title: text above them.
        max_size: ``(rows, columns)`` of the picture, at least 240 x 320.
        value_range: what black and white stand for.

    Raises:
        PatchcliError: ``max_size`` is too small, or ``value_range`` is not a range.
    """
    size = largest([before.shape, after.shape, difference.shape])
    plan = arranged("comparison", max_size, lines=len(lines), size=size)
    tones = tones_of([before, after], value_range)
    drawn = [brought_inside(raster, plan.room) for raster in (before, after)]
    change, times = brought_inside(
        Raster(pixels=_largest(difference), dtype=np.dtype(np.float64), factor=factor, photometric=""), plan.room
    )
    known = np.abs(change.pixels[np.isfinite(change.pixels)])
    most = float(known.max()) if known.size else 0.0
    rgb = scale_colours(change.pixels / most / 2 + 0.5 if most else change.pixels * 0 + 0.5, DIFFERENCES)
    pictures = [enlarged(rgb_of(raster, tones), scale) for raster, scale in drawn] + [enlarged(rgb, times)]
    whole = before.dtype.kind != "f" and factor == change.factor == 1
    legend = _scale_of_difference(change.pixels, most, whole=whole)
    legend += legend_of([raster for raster, _ in drawn], tones, "before, after")
    canvas, _ = lay_out(
        plan,
        [Panel(picture, name) for picture, name in zip(pictures, PANEL_NAMES, strict=True)],
        legend=legend,
        lines=[before.unseen, *lines],
        title=title,
    )
    return canvas.pixels()


def _largest(difference: NDArray[Any]) -> NDArray[np.float64]:
    """The value of the channel with the largest magnitude, ``(h, w)``; NaN if one is not finite."""
    values = np.where(np.isfinite(difference), difference, np.nan).astype(np.float64)
    if values.ndim == 2:  # noqa: PLR2004
        return values
    where = np.abs(values).argmax(axis=2, keepdims=True)  # the first NaN, where there is one
    largest: NDArray[np.float64] = np.take_along_axis(values, where, axis=2)[..., 0]
    return largest


def _scale_of_difference(values: NDArray[np.float64], most: float, *, whole: bool) -> Legend:
    keys: list[tuple[str | NDArray[np.uint8], ...]] = []
    if most:
        words = number_in_words(most, whole=whole)
        halves = [ramp(scale_colours(np.linspace(start, start + 0.5, RAMP), DIFFERENCES)) for start in (0, 0.5)]
        keys.append((f"{PANEL_NAMES[2]}:", f"-{words}", halves[0], "0", halves[1], f"+{words}"))
    elif np.isfinite(values).any():
        keys.append((swatch(scale_colours(np.array(0.5), DIFFERENCES)), "no difference"))
    if not np.isfinite(values).all():
        keys.append((swatch(MISSING), "no difference known"))
    return Legend(tuple(keys))
