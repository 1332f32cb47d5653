"""The picture of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchcli.pictures.legend import legend_of
from patchcli.pictures.page import Panel, arranged, lay_out
from patchcli.pictures.raster import brought_inside, enlarged
from patchcli.pictures.tones import rgb_of, tones_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.pictures.raster import Raster


def image_picture(
    raster: Raster,
    *,
    title: str,
    max_size: Pair,
    value_range: tuple[float, float] | None = None,
    lines: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """An image, and what its grays or colours mean: RGB uint8 ``(H, W, 3)``, at most ``max_size``.

    Args:
        raster: the image, inside ``room("image", max_size, lines=len(lines))`` or else shrunk once more.
        title: the text above it.
        max_size: ``(rows, columns)`` of the picture, at least 240 x 320.
        value_range: what black and white stand for; the least and largest value if not given.
        lines: more text, below it.

    Raises:
        PatchcliError: ``max_size`` is too small, or ``value_range`` is not a range.
    """
    tones = tones_of([raster], value_range)
    plan = arranged("image", max_size, lines=len(lines))
    drawn, times = brought_inside(raster, plan.room)
    panel = Panel(enlarged(rgb_of(drawn, tones), times))
    caption = ", ".join(filter(None, (scale_in_words(drawn, times), raster.unseen)))
    canvas, _ = lay_out(plan, [panel], legend=legend_of([drawn], tones), lines=[caption, *lines], title=title)
    return canvas.pixels()


def scale_in_words(raster: Raster, times: int) -> str:
    """How much smaller or larger than its source something is drawn; empty if it is not.

    >>> import numpy as np
    >>> from patchcli.pictures.raster import Raster
    >>> scale_in_words(Raster(pixels=np.zeros((2, 2)), dtype=np.dtype("f8"), factor=17), 1)
    'drawn at 1/17'
    """
    if raster.factor > 1 and times > 1:
        return f"drawn at {times}/{raster.factor}"
    return f"drawn at 1/{raster.factor}" if raster.factor > 1 else f"drawn at {times}x" if times > 1 else ""
