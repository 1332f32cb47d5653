"""One axis of a grid on a picture: where patches lie in its pixels, which are in it, how much of each pixel they cover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Axis, Pair

CLOSEST, CLOSEST_PART = 20, 4  # pixels, and the part of their own size, that all patches must be apart to be outlined
APART = 32  # pixels that those are apart, at least, that are outlined where not all of them can be


@dataclass(frozen=True)
class PictureAxis:
    """One axis of the picture.

    Attributes:
        axis: of the grid.
        first: where in the padded image the picture begins.
        scale: pixels of the picture for one of the image.
        length: pixels of the picture.
    """

    axis: Axis
    first: int
    scale: float
    length: int

    def at(self, places: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """Where places in the padded image lie, to the nearest pixel, and not outside the picture."""
        return np.clip(np.floor((places - np.float64(self.first)) * self.scale + 0.5), 0, self.length).astype(np.int64)

    def image(self) -> Pair:
        """Where the image itself begins and ends."""
        return int(self.at(self.axis.margin)), int(self.at(self.axis.margin + self.axis.length))

    def ends(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the patches of these numbers along the axis begin and end, at least a pixel apart."""
        starts = self.axis.starts[numbers]
        begin = np.minimum(self.at(starts), self.length - 1)
        return begin, np.maximum(self.at(starts + self.axis.cut_lengths(starts)), begin + 1)

    def inside(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these patches lie in the picture."""
        starts = self.axis.starts[numbers]
        found: NDArray[np.bool_] = (starts + self.axis.patch > self.first) & (starts < self.first + self.length / self.scale)
        return found

    def outlined(self) -> tuple[NDArray[np.int64], int]:
        """Patches far enough from each other to be told apart, and the last; every how many-th these are."""
        stride, patch = self.axis.stride * self.scale, self.axis.patch * self.scale
        step = 1 if stride >= max(CLOSEST, patch / CLOSEST_PART) else math.ceil(max(APART, patch) / stride)
        numbers = np.append(np.arange(0, self.axis.count - 1, step), self.axis.count - 1)
        return numbers[self.inside(numbers)], 1 if len(numbers) == self.axis.count else step

    def steps(self) -> NDArray[np.int64]:
        """How far patches are from each other, the least and the largest: under edge ``even`` less than was asked for."""
        even = self.axis.edge == "even" and self.axis.count > 1
        steps: NDArray[np.int64] = np.unique(np.diff(self.axis.starts)) if even else np.array([self.axis.stride])
        return steps

    def covered(self) -> NDArray[Any]:
        """How much of each pixel of the picture, 0 to 1, the patches of the whole grid cover."""
        edges = np.clip(self.first + np.arange(self.length + 1) / self.scale, 0, self.axis.padded)
        before = np.concatenate([[0], np.cumsum(self.axis.padded_cover > 0)])
        below = np.interp(edges, np.arange(len(before)), before)
        part: NDArray[Any] = np.diff(below) / np.maximum(np.diff(edges), 1e-9)
        return part
