"""Figures of difference against exact sums of fractions, whatever the dtypes and the pieces."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images.difference import COMPARED_TOGETHER, Differences, Figures, check_comparable

INTEGERS = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
DTYPES = (*INTEGERS, "f2", "f4", "f8")
SAME = 1e-12  # relative


def as_fraction(value: Any) -> Fraction | None:
    number = value.item()
    return Fraction(number) if math.isfinite(number) else None


def reference(original: NDArray[Any], other: NDArray[Any]) -> Figures:
    """The same, slowly and without rounding before the end."""
    pairs = [(as_fraction(a), as_fraction(b)) for a, b in zip(original.reshape(-1), other.reshape(-1), strict=True)]
    apart = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    finite = [a for a, _ in pairs if a is not None]
    if original.dtype.kind == "f":
        data_range = float(max(finite) - min(finite)) if finite else math.nan
    else:
        data_range = 1.0 if original.dtype.kind == "b" else float(2 ** (8 * original.dtype.itemsize) - 1)
    left_out = len(pairs) - len(apart)
    if not apart:
        return Figures(math.nan, math.nan, math.nan, data_range, left_out)
    rmse = math.sqrt(sum(one * one for one in apart) / len(apart))
    psnr = math.inf if not rmse else 20 * math.log10(data_range / rmse) if data_range else -math.inf
    return Figures(rmse, psnr, float(max(apart)), data_range, left_out)


def figures_of(original: NDArray[Any], other: NDArray[Any], *cuts: int) -> Figures:
    differences = Differences(original.dtype)
    for ours, theirs in zip(np.split(original.reshape(-1), cuts), np.split(other.reshape(-1), cuts), strict=True):
        differences.add(ours, theirs)
    return differences.figures()


def values_of(dtype: str, size: int) -> st.SearchStrategy[NDArray[Any]]:
    """Any values; of float64 those whose squares are floats and whose differences are not lost."""
    if dtype == "f8":
        large = st.floats(-1e100, 1e100).filter(lambda value: abs(value) > 1e-100 or value == 0)
        return arrays(dtype, size, elements=large | st.sampled_from([math.nan, math.inf, -math.inf]))
    return arrays(dtype, size, elements=from_dtype(np.dtype(dtype), allow_subnormal=False))


@given(data=st.data(), dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)), size=st.integers(0, 40))
def test_figures_are_those_of_exact_sums(data: st.DataObject, dtypes: tuple[str, str], size: int) -> None:
    original, other = (data.draw(values_of(dtype, size)) for dtype in dtypes)
    if np.result_type(original, other).kind == "f":  # which integers become before they are subtracted
        near = [values.astype("f8") if values.dtype.kind in "iu" else values for values in (original, other)]
        expected = reference(*near)
        kept = reference(original, other).data_range
        expected = expected._replace(
            data_range=kept, psnr=20 * math.log10(kept / expected.rmse) if expected.rmse > 0 < kept else expected.psnr
        )
    else:
        expected = reference(original, other)
    cuts = data.draw(st.lists(st.integers(0, size), max_size=4).map(sorted))
    found = figures_of(original, other, *cuts)
    assert found.left_out == expected.left_out
    for name in ("rmse", "psnr", "largest", "data_range"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        if name == "psnr" and math.isfinite(theirs):
            assert abs(ours - theirs) < 1e-9
        else:
            assert ours == theirs or (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) <= SAME * abs(theirs), name


@pytest.mark.parametrize("dtype", [*INTEGERS[1:], "f2", "f4", "f8", ">u2", ">f4"])
def test_pieces_of_any_size_and_views_are_alike(dtype: str) -> None:
    rng = np.random.default_rng(0)
    low, high = (0, 1000) if np.dtype(dtype).kind == "f" else (0, min(np.iinfo(dtype).max, 1 << 40))
    shape = 2 * COMPARED_TOGETHER // 300 + 7, 300, 3
    original, other = (rng.integers(low, high, shape).astype(dtype) for _ in range(2))
    apart = original.astype("f8") - other.astype("f8")
    whole = figures_of(original, other)
    assert abs(whole.rmse - math.sqrt(math.fsum((apart * apart).reshape(-1)) / apart.size)) <= SAME * whole.rmse
    assert whole.largest == abs(apart).max()
    for cuts in ([1], [COMPARED_TOGETHER], [5, 700, 701, 100_000], range(257, original.size, 257)):
        found = figures_of(original, other, *cuts)
        assert found[2:] == whole[2:]
        assert abs(found.rmse - whole.rmse) <= SAME * whole.rmse
    views = Differences(original.dtype)
    views.add(original[::-1, :, ::-1], other[::-1, :, ::-1])
    assert abs(views.figures().rmse - whole.rmse) <= SAME * whole.rmse


def test_nothing_of_a_long_sum_is_lost() -> None:
    """Behind a large square each small one is less than half of the sum's last digit."""
    differences, ones, zeros = Differences(np.dtype("f8")), np.ones(1), np.zeros(1)
    differences.add(np.array([1e8]), zeros)
    small = 40_000
    for _ in range(small):
        differences.add(ones, zeros)
    exact = math.sqrt((10**16 + small) / (1 + small))
    assert abs(differences.figures().rmse - exact) < 1e-15 * exact


def test_64_bit_integers_are_subtracted_exactly() -> None:
    original = np.array([2**63 + 1, 2**64 - 1, 0], "u8")
    assert figures_of(original, original - np.array([1, 2, 0], "u8")).largest == 2
    low, high = np.iinfo("i8").min, np.iinfo("i8").max
    assert figures_of(np.array([low]), np.array([high])).largest == float(2**64 - 1)
    assert figures_of(np.array([high]), np.array([high - 1])).rmse == 1


def test_what_is_not_finite_is_left_out() -> None:
    original = np.array([1, np.nan, np.inf, 3, 5, np.nan], "f4")
    other = np.array([2, np.nan, np.inf, np.inf, 5, 1], "f4")
    assert figures_of(original, other) == Figures(math.sqrt(0.5), 20 * math.log10(4 / math.sqrt(0.5)), 1, 4, 4)
    none = figures_of(np.full(3, np.nan), np.zeros(3))
    assert none.fields() == {"rmse": None, "psnr": None, "largest": None, "data_range": None, "left_out": 3}
    assert none.in_words() == "no values to compare, 3 values left out that are not finite"


def test_what_is_equal_and_what_has_no_range() -> None:
    equal = figures_of(np.full(4, 7, "u2"), np.full(4, 7, "u2"))
    assert equal == Figures(0, math.inf, 0, 65535, 0)
    assert equal.in_words() == "RMSE 0, PSNR inf dB, largest difference 0, of a data range of 65535"
    assert json.dumps(equal.fields(), allow_nan=False) == (
        '{"rmse": 0.0, "psnr": null, "largest": 0.0, "data_range": 65535.0, "left_out": 0}'
    )
    flat = figures_of(np.full(4, 0.5), np.array([0.5, 0.5, 0.5, 1.5]))
    assert flat == Figures(0.5, -math.inf, 1, 0, 0)
    assert flat.fields()["psnr"] is None
    assert figures_of(np.array([True, False]), np.array([True, True])).data_range == 1


def test_words() -> None:
    said = figures_of(np.array([0.25, np.nan, 1.5]), np.array([0.5, 1.0, 1.5])).in_words()
    assert (
        said
        == "RMSE 0.1768, PSNR 16.99 dB, largest difference 0.25, of a data range of 1.25, 1 value left out that is not finite"
    )
    assert (
        "largest difference 4294967295, of a data range of 4294967295"
        in figures_of(np.array([0], "u4"), np.array([2**32 - 1], "u4")).in_words()
    )


def test_pieces_of_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pieces of unlike shapes: \(2, 3\) and \(3, 2\)"):
        Differences(np.dtype("u1")).add(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("shape", "original", "got", "wanted"),
    [
        ((4, 5), (5, 4), "width=5 height=4 with 1 channel", "width=4 height=5 with 1 channel"),
        ((4, 5, 3), (4, 5), "width=5 height=4 with 3 channels", "width=5 height=4 with 1 channel"),
    ],
)
def test_images_of_other_shapes_are_refused(shape: Any, original: Any, got: str, wanted: str) -> None:
    check_comparable(shape, shape, "a.png")
    sentence = f"^is an image of {got}, but a.png is one of {wanted}; compare images of the same size and channels$"
    with pytest.raises(PatchcliError, match=sentence):
        check_comparable(shape, original, "a.png")
