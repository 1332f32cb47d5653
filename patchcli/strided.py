"""Items: the neighbouring pixels of a patch row taken as one, which numpy copies at close to the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Run:
    """Neighbours ``index`` of a list of starts that are ``step`` apart, the first at ``start``."""

    __slots__ = ("index", "start", "step")  # and no dataclass: making one takes a millisecond of every start

    def __init__(self, index: slice, start: int, step: int) -> None:
        self.index, self.start, self.step = index, start, step

    @property
    def count(self) -> int:
        """Number of starts in the run."""
        return int(self.index.stop) - int(self.index.start)


def runs(starts: NDArray[np.int64]) -> list[Run]:
    """Split increasing starts into runs of equal steps; a regular axis is one run, a shifted last patch a second.

    >>> [(run.start, run.step, run.count) for run in runs(np.array([0, 4, 8, 9]))]
    [(0, 4, 3), (9, 1, 1)]
    """
    found, begin = [], 0
    steps = starts[1:] - starts[:-1]  # and not by diff, which takes longer than all else here
    bends = np.flatnonzero(steps[1:] != steps[:-1]) + 1
    for bend in [*bends.tolist(), len(starts) - 1]:
        if bend < begin:
            continue
        step = int(steps[begin]) if begin < len(steps) else 1
        found.append(Run(slice(begin, bend + 1), int(starts[begin]), step))
        begin = bend + 1
    return found


def channels_of(image: NDArray[Any]) -> int:
    """``C`` of an image ``(H, W, C)``, 1 of an image ``(H, W)``."""
    return int(image.shape[2]) if image.ndim == 3 else 1  # noqa: PLR2004


def pixel_bytes(image: NDArray[Any]) -> int:
    """Bytes of one pixel of an image ``(H, W[, C])``, channels included."""
    return image.itemsize * channels_of(image)


def item_dtype(size: int) -> np.dtype[Any]:
    """The dtype of an item of ``size`` bytes: an unsigned integer where there is one, as numpy copies those faster."""
    return np.dtype(f"u{size}" if size in (1, 2, 4, 8) else f"V{size}")


def row_windows(image: NDArray[Any], width: int) -> NDArray[Any]:
    """Every run of ``width`` neighbouring pixels as one item: ``(H, W - width + 1)`` overlapping items of an image's memory."""
    pixel = pixel_bytes(image)
    shape = (image.shape[0], image.shape[1] - width + 1)
    return np.ndarray(shape, item_dtype(width * pixel), image, strides=(image.strides[0], pixel))


def items_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Each patch row ``(..., width)`` as one item ``(...)``: a view, or of a copy where its pixels don't lie side by side."""
    if pixels.strides[-1] != pixels.itemsize:  # as of patches that were unrolled by columns, or of channels that came first
        pixels = np.ascontiguousarray(pixels)
    return pixels.view(item_dtype(pixels.shape[-1] * pixels.itemsize))[..., 0]
