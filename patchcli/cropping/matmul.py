"""Many taps at once: the taps of a few neighbouring output pixels as one small dense matrix, which BLAS multiplies.

Neighbouring output pixels read neighbouring input pixels. The weights of ``m`` of them fill an ``(m, K)`` matrix over the K
input pixels that they read in all; most of it is zeros, and still a matrix product does it in a fraction of the time that a
gather for each tap takes. Zeros times NaN or infinity would leak, so callers look for those in what comes out.

Letters: an image is ``(H, W, C)``, a crop ``(h, w, C)``; arrays here are matrices of lines ``(H, W*C)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_CHANNELS = 4  # up to here a matrix with each weight once per channel is faster than one product per line


class Bands(NamedTuple):
    """Consecutive blocks of m output positions along one axis of L input positions: a sparse matrix ``(n, L)`` as dense blocks.

    ``out[b*m + o] = sum_i matrices[b, o, i] * in[low[b] + i]``. Block b alone makes outputs b*m to b*m + m, so blocks never
    overlap in what they make; they do in what they read, which is why an adjoint adds (``+=``), one block after the other.
    ``low[b] + K <= L`` for every block, the last of which may be too wide for its outputs.

    Attributes:
        low: first input index of each block, ascending or descending, a list of ``nb``.
        reach: K, input positions of a block.
        matrices: ``(nb, m, K)``, the last block filled up with zeros.
        size: n, output positions in all.
    """

    low: list[int]
    reach: int
    matrices: NDArray[Any]
    size: int

    @property
    def block(self) -> int:
        """Output positions of a block."""
        return int(self.matrices.shape[1])

    def spans(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Blocks ``(number, first output, last output + 1)`` from ``start``, where one begins, to ``stop``."""
        return [(at // self.block, at, min(at + self.block, stop)) for at in range(start, stop, self.block)]

    def inputs(self, start: int, stop: int) -> tuple[int, int]:
        """The input positions that outputs ``start`` to ``stop`` read."""
        lows = self.low[start // self.block : -(-stop // self.block)]
        return min(lows), max(lows) + self.reach


def block_of(taps: int, step: float, least: int) -> int:
    """How many output positions share a matrix: more of them read more lines each, fewer make many small products."""
    return max(4, min(16, round(max(least, taps) / max(step, 0.5))))


def bands_of(index: NDArray[np.int64], weight: NDArray[np.float64], length: int, block: int, dtype: np.dtype[Any]) -> Bands:
    """Taps ``(n, k)`` along an axis of ``length`` as bands of ``block`` outputs."""
    size, taps = index.shape
    starts = np.arange(0, size, block)
    low = np.minimum.reduceat(index.min(axis=1), starts)
    high = np.maximum.reduceat(index.max(axis=1), starts) + 1
    reach = min(length, int((high - low).max()))
    low = np.minimum(low, length - reach)
    number, inside = np.divmod(np.arange(size), block)
    matrices = np.zeros((len(starts), block, reach), dtype)
    at = index - low[number][:, None]
    # ``at`` lies in 0 to K - 1: low is at most the block's least index, and low + K at least its greatest + 1
    for tap in range(taps):  # a tap at a time: at a border several taps of one output may read the same pixel
        matrices[number, inside, at[:, tap]] += weight[:, tap].astype(dtype)
    return Bands(low.tolist(), reach, matrices, size)


def over_channels(bands: Bands, channels: int) -> NDArray[Any]:
    """The matrices for interleaved channels, ``(nb, K*C, m*C)``: each weight stands once for every channel."""
    count, block, reach = bands.matrices.shape
    out = np.zeros((count, reach, channels, block, channels), bands.matrices.dtype)
    turned = bands.matrices.transpose(0, 2, 1)
    for channel in range(channels):
        out[:, :, channel, :, channel] = turned
    return out.reshape(count, reach * channels, block * channels)


class Columns:
    """The bands of columns, applied to lines of interleaved channels.

    Args:
        bands: of the columns.
        channels: C.
    """

    def __init__(self, bands: Bands, channels: int) -> None:
        self.bands, self.channels = bands, channels
        self._wide = over_channels(bands, channels) if 1 < channels <= FEW_CHANNELS else None

    def apply(self, lines: NDArray[Any], out: NDArray[Any]) -> None:
        """Lines ``(R, W*C)`` to ``out`` ``(R, w*C)``."""
        bands, channels = self.bands, self.channels
        for number, first, last in bands.spans(0, bands.size):
            low = bands.low[number] * channels
            part = lines[:, low : low + bands.reach * channels]
            into = out[:, first * channels : last * channels]
            if self._wide is not None:
                np.matmul(part, self._wide[number][:, : into.shape[1]], into)
            elif channels == 1:
                np.matmul(part, bands.matrices[number][: last - first].T, into)
            else:
                shape = (len(lines), bands.reach, channels)
                into[...] = np.matmul(bands.matrices[number][: last - first], part.reshape(shape)).reshape(into.shape)

    def spread(self, lines: NDArray[Any], out: NDArray[Any]) -> None:
        """The adjoint: lines ``(R, w*C)`` added to ``out`` ``(R, W*C)``, each to what it was made from."""
        bands, channels = self.bands, self.channels
        for number, first, last in bands.spans(0, bands.size):
            low = bands.low[number] * channels
            shape = (len(lines), last - first, channels)
            back = np.matmul(
                bands.matrices[number][: last - first].T, lines[:, first * channels : last * channels].reshape(shape)
            )
            out[:, low : low + bands.reach * channels] += back.reshape(len(lines), -1)


class Rows:
    """The bands of rows, applied to lines; as `Columns` for the other axis."""

    def __init__(self, bands: Bands) -> None:
        self.bands = bands

    def apply(self, lines: NDArray[Any], start: int, stop: int, top: int, out: NDArray[Any], *, add: bool = False) -> None:
        """Lines ``(R, N)``, the first of them line ``top`` of the image, to output lines ``start`` to ``stop``, ``(r, N)``.

        With ``add`` they may be some of the lines that these are made from, and what they make is added to ``out``.
        """
        bands = self.bands
        for number, first, last in bands.spans(start, stop):
            matrix, low, into = bands.matrices[number][: last - first], bands.low[number], out[first - start : last - start]
            if not add:
                np.matmul(matrix, lines[low - top : low - top + bands.reach], into)
                continue
            begin, end = max(low, top), min(low + bands.reach, top + len(lines))
            if begin < end:
                into += matrix[:, begin - low : end - low] @ lines[begin - top : end - top]

    def spread(self, lines: NDArray[Any], out: NDArray[Any]) -> None:
        """The adjoint: lines ``(h, N)`` added to ``out`` ``(H, N)``."""
        bands = self.bands
        for number, first, last in bands.spans(0, bands.size):
            low = bands.low[number]
            out[low : low + bands.reach] += bands.matrices[number][: last - first].T @ lines[first:last]
