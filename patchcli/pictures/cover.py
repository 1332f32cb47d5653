"""The picture of how many patches, or how much weight of their window, lie on each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import counted
from patchcli.pictures.image import scale_in_words
from patchcli.pictures.legend import RAMP, Legend, ramp, swatch
from patchcli.pictures.page import Panel, arranged, lay_out
from patchcli.pictures.palette import AMOUNTS, MISSING, UNCOVERED, scale_colours
from patchcli.pictures.raster import Raster, brought_inside, enlarged
from patchcli.pictures.tones import number_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair

FEW_PATCHES = 8  # patches on a pixel, up to which each number has a swatch instead of a place on a scale


def cover_picture(
    cover: NDArray[Any],
    *,
    factor: int,
    weights: bool,
    most: float,
    uncovered: int | None,
    title: str,
    max_size: Pair,
    lines: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """A cover in colours, with a scale: RGB uint8 ``(H, W, 3)``, at most ``max_size``.

    Args:
        cover: ``(h, w)``, means over ``factor`` times ``factor`` pixels; 0 has a colour of its own.
        factor: pixels of the image along a side of one of these.
        weights: whether these are weights of a window, not numbers of patches.
        most: the largest value of the cover itself.
        uncovered: number of pixels that no patch covers; None if it is not known.
        title: the text above it.
        max_size: ``(rows, columns)`` of the picture, at least 240 x 320.
        lines: more text, below it.

    Raises:
        PatchcliError: ``max_size`` is too small.
    """
    raster = Raster(pixels=cover.astype(np.float64), dtype=np.dtype(np.float64), factor=factor)
    plan = arranged("cover", max_size, lines=len(lines))
    drawn, times = brought_inside(raster, plan.room)
    amounts = drawn.pixels
    rgb = scale_colours(amounts / most if most > 0 else amounts, AMOUNTS)
    rgb[amounts == 0] = UNCOVERED
    caption = ", ".join(
        filter(
            None,
            (
                scale_in_words(drawn, times),
                None if uncovered is None else f"{counted(uncovered, 'pixel')} uncovered",
            ),
        )
    )
    canvas, _ = lay_out(
        plan, [Panel(enlarged(rgb, times))], legend=_scale(amounts, most, weights=weights), lines=[caption, *lines], title=title
    )
    return canvas.pixels()


def _scale(amounts: NDArray[Any], most: float, *, weights: bool) -> Legend:
    """Swatches for few numbers of patches, a bar for many and for weights."""
    what = "weight on a pixel" if weights else "patches on a pixel"
    keys: list[tuple[str | NDArray[np.uint8], ...]] = []
    if not weights and most <= FEW_PATCHES:
        stops = np.arange(1, int(most) + 1)
        colours = scale_colours(stops / max(most, 1), AMOUNTS)
        keys = [(swatch(colour), str(stop)) for stop, colour in zip(stops.tolist(), colours, strict=True)]
        keys[-1:] = [(*key, what) for key in keys[-1:]]
    elif most > 0:
        bar = ramp(scale_colours(np.linspace(0, 1, 2 * RAMP), AMOUNTS))
        keys = [("0", bar, number_in_words(most, whole=not weights), what)]
    if (amounts == 0).any():
        keys.append((swatch(UNCOVERED), "0: uncovered"))
    if not np.isfinite(amounts).all():
        keys.append((swatch(MISSING), "NaN"))
    return Legend(tuple(keys))
