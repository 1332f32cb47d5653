"""How far an image is from another: root mean square error, peak signal-to-noise ratio, the largest difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import limits
from patchcli.errors import PatchcliError, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPARED_TOGETHER = 1 << 16  # values that are compared at once, in cache
ROW = 256  # squares of 8-bit differences, of which so many add up exactly in float32: 256 * 255 ** 2 < 2 ** 24
EXACT_WHOLE = 1e15  # up to which whole numbers are said digit by digit


class Figures(NamedTuple):
    """How far an image is from its original.

    Attributes:
        rmse: root of the mean of squared differences, over all pixels and channels; nan where there is no value to compare.
        psnr: ``20 * log10(data_range / rmse)`` in dB; inf where nothing differs.
        largest: of the absolute differences.
        data_range: of the original: what its dtype spans for integers, 1 for bool, its own maximum - minimum for floats.
        left_out: values that are not finite in one or the other, and count for nothing.
    """

    rmse: float
    psnr: float
    largest: float
    data_range: float
    left_out: int

    def fields(self) -> dict[str, Any]:
        """The same for JSON, which has no infinity and no nan: null stands for them."""
        numbers = {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}
        return numbers | {"left_out": self.left_out}

    def in_words(self) -> str:
        """The same in a line.

        >>> Figures(2.5, 40.1720, 12.0, 255.0, 0).in_words()
        'RMSE 2.5, PSNR 40.17 dB, largest difference 12, of a data range of 255'
        """
        left = f", {counted(self.left_out, 'value')} left out that {'is' if self.left_out == 1 else 'are'} not finite"
        if math.isnan(self.rmse):
            return f"no values to compare{left}"
        words = f"RMSE {self.rmse:.4g}, PSNR {self.psnr:.2f} dB, largest difference {_in_digits(self.largest)}"
        words += f", of a data range of {_in_digits(self.data_range)}"
        return words + left * (self.left_out > 0)


class Differences:
    """The differences of two images, which are added piece by piece in any order and of any shape.

    Integers are subtracted as integers, exactly, and rounded to float64 once; those of unlike dtypes as their common integer
    dtype, or as float64 where there is none (int64 and uint64), as floats are, whose squares must be float64, too. These are
    added pairwise, and their sums without loss, so that the figures do not follow from the pieces.

    Args:
        original: dtype of the image that the other is compared with.
    """

    def __init__(self, original: np.dtype[Any]) -> None:
        self._dtype = original
        self._squares = _Sum()
        self._largest = 0.0
        self._low, self._high = math.inf, -math.inf
        self._count = self._left_out = 0

    def add(self, original: NDArray[Any], other: NDArray[Any]) -> None:
        """Compare some values of the original with those of the other image, of one shape; both may be views.

        Raises:
            ValueError: their shapes differ.
        """
        if original.shape != other.shape:
            raise ValueError(f"pieces of unlike shapes: {original.shape} and {other.shape}")
        common = np.result_type(original, other)
        compare = self._add_floats if common.kind == "f" else self._add_integers
        ours, theirs = original.reshape(-1), other.reshape(-1)
        for start in range(0, ours.size, COMPARED_TOGETHER):
            these = slice(start, start + COMPARED_TOGETHER)
            compare(*(_as(values[these], common) for values in (ours, theirs)))

    def _add_integers(self, original: NDArray[Any], other: NDArray[Any]) -> None:
        """Compare integers of one dtype: the larger - the smaller is right modulo its bits, whatever the sign."""
        apart = np.maximum(original, other)
        apart = np.subtract(apart, np.minimum(original, other), out=apart).view(f"u{apart.itemsize}")
        self._count += apart.size
        self._largest = max(self._largest, float(apart.max()))
        self._squares.add(_squares_of(apart.astype(np.float32 if apart.itemsize == 1 else np.float64)))

    def _add_floats(self, original: NDArray[Any], other: NDArray[Any]) -> None:
        """Compare float64, those that are finite in both."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._stretch(original)
            apart = np.abs(original - other)
            squares = _squares_of(apart)
            if not math.isfinite(squares):
                apart = apart[np.isfinite(original) & np.isfinite(other)]
                squares = _squares_of(apart)
        self._left_out += original.size - apart.size
        self._count += apart.size
        if apart.size:
            self._largest = max(self._largest, float(apart.max()))
            self._squares.add(squares)

    def _stretch(self, original: NDArray[Any]) -> None:
        """Know the finite extremes of a float original."""
        if self._dtype.kind != "f":
            return
        low, high = float(original.min()), float(original.max())
        if not math.isfinite(low) or not math.isfinite(high):
            finite = original[np.isfinite(original)]
            low, high = float(finite.min(initial=math.inf)), float(finite.max(initial=-math.inf))
        self._low, self._high = min(self._low, low), max(self._high, high)

    def figures(self) -> Figures:
        """Of all that was added so far."""
        low, high = (self._low, self._high) if self._dtype.kind == "f" else limits(self._dtype)
        data_range = float(high - low) if low <= high else math.nan
        if not self._count:
            return Figures(math.nan, math.nan, math.nan, data_range, self._left_out)
        rmse = math.sqrt(self._squares.total / self._count)
        return Figures(rmse, _psnr(rmse, data_range), self._largest, data_range, self._left_out)


def _psnr(rmse: float, data_range: float) -> float:
    """In dB; without a range, all that differs is noise."""
    if not rmse:
        return math.inf
    return 20 * (math.log10(data_range) - math.log10(rmse)) if data_range else -math.inf


class _Sum:
    """A sum of floats that keeps what it rounds off."""

    def __init__(self) -> None:
        self.total, self._rest = 0.0, 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        if not math.isfinite(self.total + value):
            self.total = math.inf
            return
        terms = self.total, self._rest, value
        self.total = math.fsum(terms)
        self._rest = math.fsum((*terms, -self.total))


def check_comparable(shape: tuple[int, ...], original: tuple[int, ...], called: str, *, what: str = "is an image of") -> None:
    """Refuse images ``(H, W[, C])`` that cannot be compared pixel by pixel.

    Args:
        shape: of the image that the sentence is about, and which begins with ``what``.
        original: of the image that it is compared with.
        called: the name of that.
        what: how it begins.

    Raises:
        PatchcliError: they are not of one size with as many channels.
    """
    if shape != original:
        got, wanted = map(_in_pixels, (shape, original))
        raise PatchcliError(f"{what} {got}, but {called} is one of {wanted}; compare images of the same size and channels")


def _in_pixels(shape: tuple[int, ...]) -> str:
    """Size and channels of an image."""
    return f"width={shape[1]} height={shape[0]} with {counted(math.prod(shape[2:]), 'channel')}"


def _as(values: NDArray[Any], common: np.dtype[Any]) -> NDArray[Any]:
    """Values as the dtype in which they are subtracted: bool as what it is stored as, floats of any kind as float64."""
    if common.kind == "b":
        return values.view(np.uint8)
    return values.astype(np.float64 if common.kind == "f" else common, copy=False)


def _squares_of(values: NDArray[Any]) -> float:
    """The sum of their squares, row by row, then pairwise."""
    whole = values.size - values.size % ROW
    rows = values[:whole].reshape(-1, ROW)
    sums = np.einsum("ij,ij->i", rows, rows)
    rest = values[whole:]
    return float(sums.sum(dtype=np.float64)) + float(np.einsum("i,i->", rest, rest))


def _in_digits(value: float) -> str:
    """A number as people write it."""
    return f"{value:.0f}" if value.is_integer() and value < EXACT_WHOLE else f"{value:.6g}"
