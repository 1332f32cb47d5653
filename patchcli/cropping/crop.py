"""Crop boxes of images at a chosen size, sampled as PyTorch's affine_grid and grid_sample do.

A box maps the crop to the image by the affine Theta with rows ((x1-x0)/2, 0, (x1+x0)/2) and (0, (y1-y0)/2, (y1+y0)/2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.arrays import work_dtype
from patchcli.cropping.alpha import premultiplied, unpremultiplied
from patchcli.cropping.coordinates import OUTSIDE, Span
from patchcli.cropping.plan import Plan, Sampling, as_images, plan_of, taps_of
from patchcli.cropping.resample import Read, Sampler, resample
from patchcli.cropping.taps import WIDE, Taps
from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from patchcli.geometry.axis import Pair


def crop(
    image: ArrayLike,
    box: ArrayLike,
    size: int | Pair | None = None,
    *,
    normalized: bool = True,
    resampling: str = "bilinear",
    align_corners: bool = False,
    outside: str = "zeros",
    alpha: int | None = None,
) -> NDArray[Any]:
    """Crop boxes of images and sample them at a size: ``affine_grid`` followed by ``grid_sample``.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any real dtype; or a batch ``(B, H, W, C)``.
        box: corners ``(x0, y0, x1, y1)`` in normalised coordinates, or, with ``normalized=False``, ``(x, y, width,
            height)`` in pixels. It may reach outside the image; x1 < x0 or a negative width mirrors. Several boxes
            ``(B, 4)`` make a batch: of one image, or each of its own.
        size: ``(h, w)`` of the crop, or one number for both; the box's own size in pixels, rounded, if not given.
        normalized: how a box is given.
        resampling: ``nearest``, ``bilinear`` and ``bicubic`` as grid_sample has them; ``area`` and ``lanczos`` widen with
            the step from pixel to pixel, so that nothing aliases, and equal Pillow's ``resize(size, BOX or LANCZOS, box=...,
            reducing_gap=None)`` on float images.
        align_corners: whether -1 and 1 are the centres of the corner pixels instead of the edges of the image.
        outside: what is read outside the image: ``zeros``, ``border`` or ``reflection``; ``error`` refuses such a box.
            ``area`` and ``lanczos`` end at a border of the image that the box does not cross.
        alpha: number of the channel, from 0, that says how opaque a pixel is, by which ``area`` and ``lanczos`` then weigh the
            other ones, as Pillow does with RGBA; None where there is none.

    Returns:
        A new array ``(h, w[, C])``, or ``(B, h, w[, C])`` of a batch, in the image's dtype. 8-bit numbers, float16 and
        float32 are computed in float32, others in float64; integers are rounded to nearest, ties to even, and saturated. A
        pixel box of whole numbers with its own size is an exact copy.

    Raises:
        PatchcliError: an empty or not finite box, a size out of range, boxes of different own sizes without a size, an
            unknown word, a channel that there is not.

    >>> crop(np.arange(16).reshape(4, 4), (1, 1, 2, 2), normalized=False)
    array([[ 5,  6],
           [ 9, 10]])
    >>> crop(np.zeros((4, 4, 3)), [(-1, -1, 0, 0), (0, 0, 1, 1)], 8).shape
    (2, 8, 8, 3)
    """
    sampling = Sampling(normalized, resampling, align_corners, outside)
    images = as_images(image)
    plan = plan_of(np.shape(image), box, size, sampling)
    if plan.whole.all():
        return _copies(images, plan, sampling).reshape(plan.shape)
    if alpha is not None and not (isinstance(alpha, (int, np.integer)) and 0 <= alpha < images.shape[3]):
        raise PatchcliError(f"alpha is {alpha!r:.40}; allowed are None and numbers of channels, 0 to {images.shape[3] - 1}")
    if resampling in WIDE:  # boxes of different sizes have different numbers of taps
        each = (_some(plan, one) for one in np.eye(len(plan.which), dtype=np.bool_))
        made = [LineCrop(one, images.dtype, sampling, alpha).of(images[one.which[0]]) for one in each]
        return (made[0] if len(made) == 1 else np.stack(made)).reshape(plan.shape)
    out = resample(images, plan.which, taps_of(plan.rows, sampling), taps_of(plan.columns, sampling))
    if plan.whole.any():
        out[plan.whole] = _copies(images, _some(plan, plan.whole), sampling)
    return out.reshape(plan.shape)


class LineCrop:
    """The crop of one box of an image that is known by its shape, made some lines at a time from the pixels that they read.

    Lines are those of `crop`, bit for bit, whatever part of the image they are made from.

    Args:
        plan: of one box.
        dtype: of the image.
        sampling: how the box is sampled.
        alpha: as in `crop`.

    Attributes:
        shape: of the crop, ``(h, w[, C])``.
        step: lines that are made together: parts of the crop begin at a multiple of it.
        deep: rows of the image that are read at once, at most; more only where NaN or infinity lie in them.
        copied: whether its pixels are those of the image.
    """

    def __init__(self, plan: Plan, dtype: np.dtype[Any], sampling: Sampling, alpha: int | None) -> None:
        wide = sampling.resampling in WIDE and not plan.whole[0]
        rows, columns = (
            (_whole_taps(span, sampling.outside) if plan.whole[0] else taps_of(span, sampling)).of(0)
            for span in (plan.rows, plan.columns)
        )
        self.shape, self._alpha = plan.shape, alpha if wide else None
        self._dtype, self.copied = dtype, bool(plan.whole[0])
        sampled = dtype if self._alpha is None or dtype == np.uint8 else work_dtype(dtype)
        saturate = wide and sampling.resampling == "lanczos" and dtype == np.uint8
        self._sampler = Sampler(plan.image[1:], sampled, rows, columns, saturate=saturate)
        self.step, self.deep = self._sampler.step, self._sampler.deep

    def window(self, start: int, stop: int) -> tuple[Pair, Pair]:
        """The rows and columns of the image that lines ``start`` to ``stop`` are made from."""
        return self._sampler.window(start, stop)

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The whole crop ``(h, w, C)`` of an image ``(H, W, C)``, C-contiguous, that is all there."""
        if self._alpha is None:
            return self._sampler.of(image)
        return self.lines(lambda rows, columns: image[slice(*rows), slice(*columns)], 0, self.shape[0])

    def lines(self, read: Read, start: int, stop: int) -> NDArray[Any]:
        """Lines ``start``, a multiple of ``step``, to ``stop``, which is one too, or h: ``(stop - start, w[, C])``.

        Args:
            read: gives rows and columns of the image, ``(h', w'[, C])``, all of the lines' `window`.
            start: first line.
            stop: the line behind the last.

        Returns:
            A new array, or what was read where that is the crop.
        """

        def seen(rows: Pair, columns: Pair) -> NDArray[Any]:
            pixels = read(rows, columns)
            pixels = pixels.reshape(*pixels.shape[:2], -1)
            return pixels if self._alpha is None else premultiplied(pixels, self._alpha)

        made = self._sampler.lines(seen, start, stop)
        if self._alpha is not None:
            made = unpremultiplied(made, self._alpha, self._dtype)
        return made.reshape(-1, *self.shape[1:])


def _some(plan: Plan, which: NDArray[np.bool_]) -> Plan:
    """The crops of a plan that are marked."""
    rows, columns = (
        span._replace(low=span.low[which], high=span.high[which], start=span.start[which], extent=span.extent[which])
        for span in (plan.rows, plan.columns)
    )
    shape = rows.size, columns.size, plan.image[3]
    return plan._replace(which=plan.which[which], rows=rows, columns=columns, whole=plan.whole[which], shape=shape)


def _copies(images: NDArray[Any], plan: Plan, sampling: Sampling) -> NDArray[Any]:
    """Boxes of whole pixels at their own size, pixel by pixel."""
    rows, columns = (_whole_taps(span, sampling.outside) for span in (plan.rows, plan.columns))
    return resample(images, plan.which, rows, columns)


def _whole_taps(span: Span, outside: str) -> Taps:
    count = np.arange(span.size, dtype=np.float64)
    mirrored = (span.extent < 0)[:, None]
    start = span.start[:, None]
    place, _ = OUTSIDE[outside](np.where(mirrored, start - 1 - count, start + count), span)
    inside = (place >= 0) & (place < span.length)
    index = np.clip(np.rint(place), 0, span.length - 1).astype(np.int64)
    return Taps(index[..., None], np.where(inside, 1.0, 0.0)[..., None])
