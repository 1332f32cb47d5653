"""The gradient of a crop with respect to its image and its box: what autograd computes behind affine_grid and grid_sample.

A crop is ``R X C``: the taps of rows times the image times the taps of columns. With G = d loss / d crop the image's gradient
is ``R' G C'`` (transposed); weights that move with the box give its own. Letters as in `patchcli.plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import as_array
from patchcli.cropping.matmul import Columns, Rows, bands_of
from patchcli.cropping.plan import Plan, Sampling, as_images, plan_of, taps_of
from patchcli.errors import PatchcliError
from patchcli.geometry.box import check_boxes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from patchcli.cropping.taps import Taps

LARGEST = 1e100
BLOCK = 16  # output pixels of a band


def crop_gradient(
    image: ArrayLike,
    box: ArrayLike,
    gradient: ArrayLike,
    *,
    normalized: bool = True,
    resampling: str = "bilinear",
    align_corners: bool = False,
    outside: str = "zeros",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gradient of a loss with respect to image and box, given its gradient with respect to the crop.

    What autograd computes behind ``affine_grid`` and ``grid_sample``: the adjoint of `crop`.

    Args:
        image: as `crop` takes it; integers are differentiated as if nothing were rounded or saturated.
        box: as `crop` takes it, in the same way.
        gradient: d loss / d crop, in the shape that `crop` returns, which also says the size; finite.
        normalized: as in `crop`.
        resampling: as in `crop`. ``nearest`` and ``area`` do not change with the box except in jumps: its gradient is 0.
        align_corners: as in `crop`.
        outside: as in `crop`.

    Returns:
        d loss / d image, in the shape of the image, and d loss / d box, ``(4,)`` or ``(B, 4)``, with respect to the four
        numbers as they were given; both float64. Of one image and several boxes the image's gradients are added up.

        ``bilinear`` has kinks where an output pixel lies on the centre of an input pixel, and takes the slope on its right,
        as PyTorch does; beyond the outermost centres the box's gradient is 0 under ``border`` and ``reflection``'s clipped
        half pixel. ``lanczos`` has a kink where a step is exactly one pixel (it takes that of narrower steps) and jumps where a
        box begins to cross the border.

    Raises:
        PatchcliError: as `crop`; a gradient of another shape.

    >>> back, moved = crop_gradient(np.arange(4.0).reshape(1, 4), (-0.5, -1, 0.5, 1), [[1.0, 1.0]], outside="border")
    >>> back
    array([[0., 1., 1., 0.]])
    >>> moved
    array([2., 0., 2., 0.])
    """
    sampling = Sampling(normalized, resampling, align_corners, outside)
    given = _gradient_of(gradient)
    images = as_images(image)
    batch = np.ndim(image) == 4 or check_boxes(box).ndim == 2  # noqa: PLR2004
    if given.ndim < 2 + batch:
        raise PatchcliError(f"gradient has shape {given.shape}; allowed is that of the crop, ([B, ]h, w[, C])")
    plan = plan_of(np.shape(image), box, (given.shape[batch], given.shape[batch + 1]), sampling)
    if given.shape != plan.shape:
        raise PatchcliError(f"gradient has shape {given.shape} but the crop {plan.shape}; allowed are equal shapes")
    check_range(images, "image")
    to_image = np.zeros(images.shape)
    to_box = np.zeros((len(plan.which), 4))
    lines = given.reshape(len(plan.which), plan.rows.size, -1)
    for number, axes in enumerate(axes_of(plan, sampling)):
        source = plan.which[number]
        axes.spread(lines[number], to_image[source])
        for ends, moved, low, high in axes.derivatives(images[source]):
            product = lines[number] * moved
            to_box[number, list(ends)] += (product * low).sum(), (product * high).sum()
    if not normalized:
        to_box = to_box @ by_pixels(plan)
    return to_image.reshape(np.shape(image)), to_box if batch else to_box[0]


def _gradient_of(gradient: ArrayLike) -> NDArray[np.float64]:
    """A gradient as finite float64."""
    given = as_array(gradient, "gradient").astype(np.float64)
    check_range(given, "gradient")
    return given


def check_range(values: NDArray[Any], name: str) -> None:
    """Refuse values that are not finite, or so large that their squares would not be."""
    if values.dtype.kind == "f" and not (np.abs(values) < LARGEST).all():
        raise PatchcliError(f"{name} holds NaN, infinite or huge values; allowed are finite ones below {LARGEST:g}")


def by_pixels(plan: Plan) -> NDArray[np.float64]:
    """How the corners ``(x0, y0, x1, y1)`` follow a pixel box ``(x, y, width, height)``: ``(4, 4)``, corners down."""
    out = np.zeros((4, 4))
    for first, span in ((0, plan.columns), (1, plan.rows)):
        scale = 2 / max(1, span.length - 1) if span.align_corners else 2 / span.length
        if span.align_corners and span.length == 1:
            scale = 0.0  # any number means the one pixel
        out[first, first] = out[first + 2, first] = out[first + 2, first + 2] = scale
    return out


def axes_of(plan: Plan, sampling: Sampling) -> Iterator[Axes]:
    """The two axes of each crop of a plan, with their motions."""
    rows, columns = taps_of(plan.rows, sampling, moving=True), taps_of(plan.columns, sampling, moving=True)
    for number in range(len(plan.which)):
        yield Axes(rows.of(number), columns.of(number), plan.image[3])


class Axes:
    """The taps of one crop as matrices, what they make, and how that follows the box; all in float64.

    Args:
        rows: taps ``(h, k)``.
        columns: taps ``(w, k)``.
        channels: C.
    """

    def __init__(self, rows: Taps, columns: Taps, channels: int) -> None:
        self._rows, self._columns, self._channels = rows, columns, channels
        self._top, self._left = int(rows.pixel.min()), int(columns.pixel.min())
        self._height, self._width = (int(np.ptp(taps.pixel)) + 1 for taps in (rows, columns))

    def _down(self, weight: NDArray[np.float64]) -> Rows:
        index = self._rows.pixel - self._top
        return Rows(bands_of(index, weight, self._height, BLOCK, np.dtype(np.float64)))

    def _across(self, weight: NDArray[np.float64]) -> Columns:
        index = self._columns.pixel - self._left
        return Columns(bands_of(index, weight, self._width, BLOCK, np.dtype(np.float64)), self._channels)

    def _apply(self, down: Rows, across: Columns, image: NDArray[Any]) -> NDArray[np.float64]:
        """``R X C`` of the part of an image ``(H, W, C)`` that is read: ``(h, w*C)``."""
        part = image[self._top : self._top + self._height, self._left : self._left + self._width]
        lines = part.astype(np.float64).reshape(self._height, -1)
        height, width = len(self._rows.pixel), len(self._columns.pixel)
        middle, out = np.empty((height, lines.shape[1])), np.empty((height, width * self._channels))
        down.apply(lines, 0, height, 0, middle)
        across.apply(middle, out)
        return out

    def values(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """The crop ``(h, w*C)`` of an image ``(H, W, C)``, not rounded."""
        return self._apply(self._down(self._rows.weight), self._across(self._columns.weight), image)

    def derivatives(self, image: NDArray[Any]) -> Iterator[Derivative]:
        """How the crop of an image ``(H, W, C)`` follows the corners of the box."""
        down, across = self._down(self._rows.weight), self._across(self._columns.weight)
        for one in self._rows.motions:
            moved = self._apply(self._down(one.slope), across, image)
            yield Derivative((1, 3), moved, one.by_low[:, None], one.by_high[:, None])
        for one in self._columns.motions:
            moved = self._apply(down, self._across(one.slope), image)
            yield Derivative((0, 2), moved, *(np.repeat(by, self._channels) for by in (one.by_low, one.by_high)))

    def spread(self, lines: NDArray[np.float64], image: NDArray[np.float64]) -> None:
        """The adjoint of `values`: lines ``(h, w*C)`` added to ``image`` ``(H, W, C)``."""
        middle = np.zeros((len(lines), self._width * self._channels))
        self._across(self._columns.weight).spread(lines, middle)
        part = np.zeros((self._height, middle.shape[1]))
        self._down(self._rows.weight).spread(middle, part)
        into = image[self._top : self._top + self._height, self._left : self._left + self._width]
        into += part.reshape(into.shape)


class Derivative(NamedTuple):
    """One way in which a crop moves: d crop / d corner is ``moved * low`` for the first of ``ends``.

    Attributes:
        ends: places of the corner's numbers in (x0, y0, x1, y1).
        moved: ``(h, w*C)``.
        low: broadcasts to that.
        high: likewise, for the other end.
    """

    ends: tuple[int, int]
    moved: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
