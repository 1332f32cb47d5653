"""From sums to an image, ``image[y, x] = sums[y, x] / divisor[y, x]``: divided, rounded into a dtype, uncovered pixels filled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.arrays import convert, exact_scalar, limits
from patchcli.errors import PatchcliError
from patchcli.geometry.cover import Cover, LineCover

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.cover import BoxCover
    from patchcli.geometry.placement import Placement

UNIT_LIKE = -1.5, 1.5  # values between that are not whole look like fractions of a full range
DIVIDED_BYTES = 1 << 22  # of sums, or of counts, of the lines that are given at once
BLOCK_VALUES = 1 << 16  # sums that are divided at once: what is made of them stays in a core's cache
COUNT_BYTES = 8
HALF = 32  # 64-bit integers are added as two halves of this many bits


class Wanted(NamedTuple):
    """The image that is asked for.

    Attributes:
        dtype: of the image; integers are rounded to nearest, ties to even, and saturated.
        fill: value for pixels that no patch covers; without it they are an error.
        trim: cut the image to the smallest box that holds all covered pixels.
        allow_nonfinite: let NaN and infinity through to a float image; without it they are an error.
        unit: floats from 0 to 1 stand for the full range of an integer image.
    """

    dtype: np.dtype[Any]
    fill: float | None = None
    trim: bool = False
    allow_nonfinite: bool = False
    unit: bool = False


class Tally:
    """What is worth saying of the values of an image, or of some of its lines.

    Attributes:
        saturated: how many were cut to fit its dtype.
        nonfinite: how many would be NaN or infinite.
        low, high, whole: of floats that became integers, the smallest and the largest, and whether all were whole numbers.
    """

    def __init__(self) -> None:
        self.saturated = self.nonfinite = 0
        self.low, self.high, self.whole = math.inf, -math.inf, True

    def notice(self, values: NDArray[Any]) -> None:
        """Remember how floats that become integers look."""
        if values.size:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            self.whole = self.whole and bool((values == np.rint(values)).all())

    def add(self, other: Tally) -> None:
        """Take what is to be said of other lines."""
        self.saturated += other.saturated
        self.nonfinite += other.nonfinite
        self.low, self.high, self.whole = min(self.low, other.low), max(self.high, other.high), self.whole and other.whole


class Divider:
    """Makes the image line by line from sums that are complete.

    Args:
        placement: where the patches lie; sums come in lines of the padded image of its grid, from the top to the bottom.
        divisor: of the sums, as whole numbers or weights; None for nothing: they are sums, or values of patches.
        dtype: of the patches.
        channels: ``()`` or ``(C,)``.
        wanted: the image asked for.
        only: the lines of the image that are made, first and last (excluded); None for all.

    Attributes:
        cover: how many patches lie on each pixel of the image.
        shape: of the image, ``(H, W[, C])``.
        only: as given.
        padded_lines: first and last (excluded) of the padded lines that become those that are made.
        tally: what is worth saying of the values so far.
        into: the image, where it is to be held; else lines are new arrays.

    Raises:
        PatchcliError: pixels without cover that are to have no value, or a value that the dtype cannot hold.
    """

    def __init__(
        self,
        placement: Placement,
        divisor: Cover | BoxCover | LineCover | None,
        *,
        dtype: np.dtype[Any],
        channels: tuple[int, ...],
        wanted: Wanted,
        only: Pair | None = None,
    ) -> None:
        dtype, grid, cover = dtype.newbyteorder("="), placement.grid, placement.cover
        self.placement, self.dtype, self.channels, self.wanted = placement, dtype, channels, wanted
        if wanted.unit and (dtype.kind != "f" or wanted.dtype.kind == "f"):
            raise PatchcliError(
                f"patches are {dtype} and the image {wanted.dtype}; --unit-range is for floats that become integers"
            )
        self._filling = exact_scalar(0 if wanted.fill is None else wanted.fill, wanted.dtype)
        height, width = grid.image
        rows, columns = cover.box() if wanted.trim else (slice(0, height), slice(0, width))
        self.cover = cover.crop(rows, columns)
        self.shape: tuple[int, ...] = (*self.cover.shape, *channels)
        self._uncovered = self.cover.uncovered
        if self._uncovered and wanted.fill is None:
            raise PatchcliError(
                f"{self._uncovered} of {math.prod(self.cover.shape)} pixels are covered by no patch; give them a value with "
                + ("--fill" if wanted.trim else "--fill or cut the border off with --trim")
            )
        self._divisor = self.cover if divisor is cover else divisor.crop(rows, columns) if isinstance(divisor, Cover) else divisor
        self._first, self.only = grid.margin + rows.start, only
        self._made = (0, self.shape[0]) if only is None else only
        self.padded_lines = self._first + self._made[0], self._first + self._made[1]
        self._columns = slice(grid.margin + columns.start, grid.margin + columns.stop)
        most = 1 if divisor is None or isinstance(divisor, LineCover) else divisor.most
        self._limit = math.inf if dtype.kind == "f" else max(map(abs, limits(dtype))) * most
        self.into: NDArray[Any] | None = None
        self.tally = Tally()

    def take(self, sums: list[NDArray[Any]], line: int) -> Iterator[NDArray[Any]]:
        """The image lines of complete sums ``(n, W'[, C])``, or high and low half sums, of padded lines from ``line`` on."""
        for these in self._spans(line, line + len(sums[0]), sums[0].strides[0]):
            inner = slice(these.start + self._first - line, these.stop + self._first - line)
            yield self._lines([part[inner, self._columns] for part in sums], these)

    def laid(self, lone: NDArray[Any], crowd: NDArray[Any], line: int) -> Iterator[NDArray[Any]]:
        """The image lines of padded lines from ``line`` on that are as they will be, but for their last columns.

        Args:
            lone: ``(n, W'[, C])``, where one patch lies on a pixel; of the dtype of the patches, `filler` where none does.
            crowd: sums of the last columns, ``(n, k[, C])``.
            line: the padded line of the first of them.
        """
        # padded column from which on there are sums
        left = min(max(lone.shape[1] - crowd.shape[1], self._columns.start), self._columns.stop)
        sides = slice(left - self._columns.start), slice(left - self._columns.start, None)
        for these in self._spans(line, line + len(lone), lone.strides[0], crowd.shape[1]):
            inner = slice(these.start + self._first - line, these.stop + self._first - line)
            cover = self.cover.band(these) if self._uncovered else None
            bare = [None if cover is None else cover.crop(slice(None), side) for side in sides]
            out, alone = lone[inner, self._columns], lone[inner, self._columns.start : left]
            if self.filler is None or self.into is not None:
                out = self._room(these)
                if self.filler is None:
                    self._blocks([alone], out[:, sides[0]], None, bare[0])
                else:
                    out[:, sides[0]] = alone
            if out[:, sides[1]].size:
                divisor = self._divided_by(these)
                own = None if divisor is None else divisor.crop(slice(None), sides[1])
                first = left - lone.shape[1] + crowd.shape[1]
                self._blocks([crowd[inner, first : first + out.shape[1] - sides[1].start]], out[:, sides[1]], own, bare[1])
            yield out

    @property
    def filler(self) -> Any:  # noqa: ANN401  a number of the image's dtype
        """What stands where no patch lies, where the value of one patch is that of the image; None where it is converted."""
        return self._filling if self.dtype.kind != "f" and self.wanted.dtype == self.dtype else None

    def blank(self, line: int, stop: int) -> Iterator[NDArray[Any]]:
        """The image lines of padded lines that no patch lies on."""
        for these in self._spans(line, stop, 0):
            out = self._room(these)
            out[...] = self._filling
            yield out

    def _spans(self, line: int, stop: int, line_bytes: int, counted: int | None = None) -> Iterator[slice]:
        """Padded lines as lines of the image, those that lie in it, some at a time; ``counted``: pixels of each, if not all."""
        first, last = max(line - self._first, self._made[0]), min(stop - self._first, self._made[1])
        step = max(1, DIVIDED_BYTES // max(line_bytes, COUNT_BYTES * (self.shape[1] if counted is None else counted)))
        for top in range(first, last, step):
            yield slice(top, min(top + step, last))

    def _room(self, these: slice) -> NDArray[Any]:
        """Where some lines of the image go."""
        if self.into is not None:
            return self.into[these]
        return np.empty((these.stop - these.start, *self.shape[1:]), self.wanted.dtype)

    def _lines(self, sums: list[NDArray[Any]], these: slice) -> NDArray[Any]:
        """Divide some lines."""
        out = self._room(these)
        self._blocks(sums, out, self._divided_by(these), self.cover.band(these) if self._uncovered else None)
        return out

    def _divided_by(self, these: slice) -> Cover | None:
        """By what some lines are divided."""
        if self._divisor is None or self._divisor is self.cover:
            return None if self._divisor is None else self.cover.band(these)
        return self._divisor.band(these)

    def _blocks(self, sums: list[NDArray[Any]], out: NDArray[Any], divisor: Cover | None, cover: Cover | None) -> None:
        """Divide some lines, block by block; ``cover`` of those that may have pixels without a patch."""
        step = max(1, BLOCK_VALUES // sums[0][0].size)
        for top in range(0, len(out), step):
            block = slice(top, top + step)
            bare = None if cover is None else cover.lines(block) == 0
            self._divide([part[block] for part in sums], out[block], None if divisor is None else divisor.band(block), bare)

    def check(self) -> None:
        """To be called once all lines were taken.

        Raises:
            PatchcliError: values that are not finite.
        """
        target, nonfinite = self.wanted.dtype, self.tally.nonfinite
        if nonfinite and (not self.wanted.allow_nonfinite or target.kind != "f"):
            values = "1 value" if nonfinite == 1 else f"{nonfinite} values"
            patches = "patches of finite values" + (", or add --allow-nonfinite" if target.kind == "f" else f" for {target}")
            raise PatchcliError(f"{values} of the image would be NaN or infinite; give {patches}")

    @property
    def unit_like(self) -> tuple[float, float] | None:
        """Smallest and largest of floats of about -1 to 1, as networks give them, that became integers as they were."""
        low, high = self.tally.low, self.tally.high
        near = low > UNIT_LIKE[0] and high < UNIT_LIKE[1] and not self.tally.whole and not self.wanted.unit
        return (low, high) if near else None

    def _divide(self, sums: list[NDArray[Any]], out: NDArray[Any], divisor: Cover | None, bare: NDArray[np.bool_] | None) -> None:
        """Divide some lines into the image; count the values that were saturated or are not finite."""
        values = self._joined(sums) if divisor is None else self._mean(sums, divisor)
        if bare is not None:
            values[bare] = 0  # which might be saturated, or infinite, before it is filled
        if self.dtype.kind == "f":
            lost = ~np.isfinite(values)
            self.tally.nonfinite += int(np.count_nonzero(lost))
            if out.dtype.kind != "f":
                values[lost] = 0  # counted; check() refuses
                self.tally.notice(values)
                if self.wanted.unit:
                    values = values * float(limits(out.dtype)[1])
        mean = out.dtype == self.dtype and divisor is not None  # which lies between the values that it is of
        if mean and values.dtype == np.float64 and out.dtype in (np.int64, np.uint64):
            convert(values, out)  # but for what a float64 next to the end of 64 bits is rounded up to
        elif mean or out.dtype == values.dtype:
            np.copyto(out, values, casting="unsafe")
        else:
            self.tally.saturated += convert(values, out)
        if bare is not None:
            out[bare] = self._filling

    def _joined(self, sums: list[NDArray[Any]]) -> NDArray[Any]:
        """Sums that are not divided, in one array; halves of 64 bits in a dtype of 64 bits, saturated and counted.

        ``high * 2**32 + low`` fits if ``high + (low >> 32)``, to which the low half carries, lies within the upper half of the
        dtype's limits.
        """
        if len(sums) == 1:
            return sums[0]
        if self.wanted.dtype.kind == "f":
            return np.asarray(sums[0] * 2.0**HALF + sums[1])
        wide = np.dtype(f"{self.dtype.kind}8")
        low, high = limits(wide)
        lower = sums[1].astype(wide)
        upper = sums[0].astype(wide) + (lower >> HALF)
        below, above = upper < low >> HALF, upper > high >> HALF
        total: NDArray[Any] = (upper << HALF) + (lower & (2**HALF - 1))
        total[below], total[above] = low, high
        self.tally.saturated += int(np.count_nonzero(below)) + int(np.count_nonzero(above))
        return total

    def _mean(self, sums: list[NDArray[Any]], divisor: Cover) -> NDArray[Any]:
        """Mean in a dtype from which the wanted one follows by one rounding: whole numbers of integers for integers, or float64.

        Whole numbers are rounded to nearest, ties to even. Lemma: if ``|sum| < 2**m`` for a float of ``m`` mantissa bits, the
        float quotient ``sum / divisor`` rounds to the same whole number as the true one does. For a half-way point ``k + 1/2``
        that is not the quotient is at least ``1 / (2 divisor)`` away from it, as ``|2 sum - (2k + 1) divisor|`` is a whole
        number, and the error of the quotient is at most ``2**-(m + 1) * |sum| / divisor``, which is less.
        """
        whole = self.dtype.kind != "f" and self.wanted.dtype.kind != "f"
        exact = [floating for floating in (np.float32, np.float64) if self._limit < 2.0 ** np.finfo(floating).nmant]
        # Weights that are not whole, and so sums that are not, need all of float64.
        weighted = sums[0].dtype.kind == "f"
        floating = exact[0] if whole and exact and not weighted else np.float64
        counts = divisor.divisors(floating)
        counts = counts.reshape(*counts.shape, *([1] * len(self.channels)))
        if whole and not exact and not weighted:
            return _rounded_mean(sums, counts, self.dtype)
        total = sums[0] if len(sums) == 1 else sums[0] * 2.0**HALF + sums[1]
        if weighted:
            mean: NDArray[Any] = np.divide(total, counts, out=counts if counts.shape == total.shape else None, dtype=floating)
        else:  # widened first, which is faster
            mean = total.astype(floating)
            mean /= counts
        if whole:
            np.rint(mean, out=mean)
        return mean


class Merged:
    """An image that is made from the top to the bottom as it is asked for, and what is worth saying about it then.

    Args:
        divider: what makes it.
        made: its lines, all of them in order, as the divider gives them.

    Attributes:
        shape: ``(H, W[, C])``.
        dtype: of the image.
        cover: how many patches lie on each pixel.
        made: the lines, none of which is checked.
    """

    def __init__(self, divider: Divider, made: Iterator[NDArray[Any]]) -> None:
        self._divider, self.made = divider, made
        self.shape, self.dtype, self.cover = divider.shape, divider.wanted.dtype, divider.cover

    def lines(self) -> Iterator[NDArray[Any]]:
        """The lines, some at a time, ``(n, W[, C])`` each; once.

        Raises:
            PatchcliError: behind the last of them: values that are not finite.
        """
        yield from self.made
        self._divider.check()

    def image(self) -> NDArray[Any]:
        """All of it, ``(H, W[, C])``, into which the lines are made directly; instead of `lines`."""
        image = self._divider.into = np.empty(self.shape, self.dtype)
        for _ in self.lines():
            pass
        return image

    @property
    def tally(self) -> Tally:
        """What is worth saying of the lines that were made."""
        return self._divider.tally

    @property
    def saturated(self) -> int:
        """How many values were cut to fit its dtype; known once all lines were taken."""
        return self._divider.tally.saturated

    @property
    def unit_like(self) -> tuple[float, float] | None:
        """Smallest and largest of floats that became integers, where they look like fractions of a full range; known likewise."""
        return self._divider.unit_like


def _rounded_mean(sums: list[NDArray[Any]], counts: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Exact integer mean, ties to even, of sums or of high and low half sums, in a 64-bit integer dtype like ``dtype``.

    Long division: from ``high = divisor * q + rest`` follows
    ``high * 2**32 + low = divisor * q * 2**32 + (rest * 2**32 + low)``, and the last bracket is divided in turn.
    """
    wide = np.dtype(f"{dtype.kind}8")
    divisor = counts.astype(wide)
    quotient, rest = np.divmod(sums[0].astype(wide), divisor)
    if len(sums) > 1:
        # rest < count < 2**31 and low half sum < count * 2**32: the sum of both stays below 2**63
        low, rest = np.divmod((rest << HALF) + sums[1].astype(wide), divisor)
        quotient = (quotient << HALF) + low
    up = (2 * rest > divisor) | ((2 * rest == divisor) & (quotient % 2 == 1))
    quotient += up.astype(wide)
    return quotient
