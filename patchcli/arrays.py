"""What callers give as arrays and images, checked and normalised once."""

from __future__ import annotations

import contextlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

REAL_KINDS = "biuf"
SINGLE = ("b1", "u1", "i1", "f2", "f4")


def check_real(dtype: np.dtype[Any], what: str) -> None:
    """Refuse a dtype that is not bool, integer or real float."""
    if dtype.kind not in REAL_KINDS or dtype.itemsize > 8:  # noqa: PLR2004
        raise PatchcliError(f"{what} has dtype {dtype}; allowed are bool, integers and floats of at most 64 bits")


@lru_cache(len(REAL_KINDS) * 8)
def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest value of a bool or integer dtype.

    >>> limits(np.dtype("i1")), limits(np.dtype("?"))
    ((-128, 127), (0, 1))
    """
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def sum_dtype(dtype: np.dtype[Any], terms: int) -> np.dtype[Any]:
    """The narrowest dtype in which ``terms`` values of ``dtype`` add up exactly; float64 for floats.

    >>> sum_dtype(np.dtype("u1"), 257), sum_dtype(np.dtype("u1"), 258)
    (dtype('uint16'), dtype('uint32'))
    """
    if dtype.kind == "f":
        return np.dtype(np.float64)
    low, high = limits(dtype)
    kind = "i" if low else "u"
    for size in (2, 4, 8):
        least, most = limits(np.dtype(f"{kind}{size}"))
        if high * terms <= most and low * terms >= least:
            return np.dtype(f"{kind}{size}")
    raise PatchcliError(f"{terms} patches of {dtype} on one pixel add up to more than 64 bits")


def exact_scalar(value: float, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  a scalar of a dtype known at run time
    """``value`` as a scalar of ``dtype``; an error where the dtype cannot hold it."""
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        if most < abs(value) < math.inf:
            raise PatchcliError(f"value {value:g} does not fit dtype {dtype}, which ends at {most:g}")
        return dtype.type(value)
    low, high = limits(dtype)
    if not low <= value <= high or value != int(value):
        raise PatchcliError(f"value {value:g} does not fit dtype {dtype}; allowed are whole numbers from {low} to {high}")
    return dtype.type(int(value))


def parse_number(text: str) -> float | None:
    """A number that is written as Python or GDAL do, whole ones exact; None if it is none.

    >>> parse_number("-9999"), parse_number("1e3"), parse_number("nan"), parse_number("none")
    (-9999, 1000, nan, None)
    """
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            number = kind(text)
            return int(number) if math.isfinite(number) and number == int(number) else number
    return None


def nodata_in(dtype: np.dtype[Any], nodata: float | None) -> Any:  # noqa: ANN401  a scalar of a dtype known at run time
    """The value that stands for no data as a dtype has it; None where no pixel can have it.

    >>> nodata_in(np.dtype("i2"), -9999), nodata_in(np.dtype("u2"), -9999), nodata_in(np.dtype("f4"), 1e39)
    (np.int16(-9999), None, None)
    """
    if nodata is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)
        return value if np.isfinite(value) or not math.isfinite(nodata) else None
    low, high = limits(dtype)
    return dtype.type(int(nodata)) if low <= nodata <= high and nodata == int(nodata) else None


def convert(values: NDArray[Any], out: NDArray[Any]) -> int:
    """Write real values into ``out``, rounded to nearest, ties to even, and saturated where it holds integers.

    Returns:
        How many values were saturated.

    Raises:
        PatchcliError: NaN or infinity for integers; values beyond the range of a float dtype.
    """
    if out.dtype.kind == "f":
        with np.errstate(over="ignore"):
            np.copyto(out, values, casting="unsafe")
        if out.itemsize < values.itemsize and values.dtype.kind == "f":
            large = int(np.count_nonzero(np.isinf(out) & np.isfinite(values)))
            if large:
                raise PatchcliError(f"{large} values are too large for {out.dtype}, which ends at {np.finfo(out.dtype).max:g}")
        return 0
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # whose range holds the limits below
    whole = np.rint(values) if values.dtype.kind == "f" else values
    low, high = limits(out.dtype)
    # high + 1 is a power of two and low is one or 0: exact as floats, where high itself may not be
    below, above = whole < low, (whole >= float(high + 1) if whole.dtype.kind == "f" else whole > high)
    if whole.dtype.kind == "f" and not np.isfinite(whole).all():
        bad = int(np.count_nonzero(~np.isfinite(whole)))
        raise PatchcliError(f"{bad} values are NaN or infinite, which {out.dtype} cannot hold")
    with np.errstate(invalid="ignore"):
        np.copyto(out, whole, casting="unsafe")
    out[below], out[above] = low, high
    return int(np.count_nonzero(below)) + int(np.count_nonzero(above))


def work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which values of ``dtype`` are weighted: float32 where its 24 bits are enough, else float64."""
    return np.dtype(np.float32 if dtype.str[1:] in SINGLE else np.float64)


def settle(values: NDArray[Any], out: NDArray[Any]) -> None:
    """Write finite floats into ``out`` as `convert` does, faster; ``values`` themselves may be lost."""
    if out.dtype == values.dtype:
        np.copyto(out, values)
    elif out.dtype.kind != "f" and out.itemsize < 8:  # noqa: PLR2004  whose limits a float64 cannot hold
        np.rint(values, values)
        np.clip(values, *limits(out.dtype), out=values)
        np.copyto(out, values, casting="unsafe")
    else:
        convert(values, out)


def all_finite(values: NDArray[Any]) -> bool:
    """Whether floats hold neither NaN nor infinity; by their sum, which costs less than asking each.

    A sum that leaves the range of the dtype counts as infinite: callers then take the way that is slower and always right.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum(dtype=np.float32 if values.itemsize < 4 else None)))  # noqa: PLR2004


def as_array(given: ArrayLike, name: str) -> NDArray[Any]:
    """An array of real numbers; rows of different lengths are refused in one sentence."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise PatchcliError(f"{name} has rows of different lengths; allowed is an array") from None
    check_real(array.dtype, name)
    return array


def as_image(image: ArrayLike, *, several: bool = False) -> NDArray[Any]:
    """Check that an array is an image of real numbers, and return it C-contiguous.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, no side of it 0.
        several: whether images ``(B, H, W, C)`` are allowed too.
    """
    array = np.asarray(image)
    check_real(array.dtype, "image")
    if array.ndim not in ((2, 3, 4) if several else (2, 3)) or array.size == 0:
        allowed = "(H, W), (H, W, C) and (B, H, W, C)" if several else "(H, W) and (H, W, C)"
        raise PatchcliError(f"image has shape {array.shape}; allowed are {allowed} with every size at least 1")
    return np.ascontiguousarray(array)
