"""Shrinking against blocks that are looked at one by one."""

from __future__ import annotations

import math
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.pictures import shrink
from patchcli.pictures.shrink import shrunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DTYPES = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


def image_of(seed: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Any values that the dtype holds, few different ones, its ends among them; floats with NaN and infinity."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        values: list[Any] = [False, True]
    elif kind.kind == "f":
        values = [0, -1.5, 7, math.nan, math.inf, 100.25]
    else:
        info = np.iinfo(kind)
        values = [0, 1, info.max, info.min, 7]
    return np.array(values, kind)[rng.integers(0, len(values), shape)]


def pieces_of(image: NDArray[Any], cuts: list[int]) -> Iterator[NDArray[Any]]:
    """The image in parts whose numbers of lines repeat."""
    row = 0
    for number in range(len(image)):
        if row >= len(image):
            return
        lines = cuts[number % len(cuts)]
        yield image[row : row + lines]
        row += lines


def slow(image: NDArray[Any], factor: int, nodata: float | None) -> NDArray[np.float64]:
    """Means of valid values, block by block and channel by channel."""
    pixels = image if image.ndim == 3 else image[..., None]
    height, width, channels = pixels.shape
    out = np.full((-(-height // factor), -(-width // factor), channels), math.nan)
    for i, j, c in np.ndindex(out.shape):
        block = pixels[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor].reshape(-1, channels)
        values = [
            float(p[c]) for p in block if math.isfinite(p[c]) and not (nodata is not None and all(float(v) == nodata for v in p))
        ]
        if values:
            out[i, j, c] = math.fsum(values) / len(values)
    return out if image.ndim == 3 else out[..., 0]


shapes = st.tuples(st.integers(1, 23), st.integers(1, 23)) | st.tuples(st.integers(1, 13), st.integers(1, 13), st.integers(1, 4))


@settings(max_examples=300)
@given(
    st.integers(0, 99),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(2, 30),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.none() | st.sampled_from([0, 7, -1.5, 1e300]),
    st.integers(1, 60),
)
def test_means_are_those_of_blocks(
    seed: int, shape: tuple[int, ...], dtype: str, factor: int, cuts: list[int], nodata: float | None, at_once: int
) -> None:
    image = image_of(seed, shape, dtype)
    before = image.copy()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shrink, "VALUES_AT_ONCE", at_once)
        out = shrunk(pieces_of(image, cuts), shape, factor, nodata=nodata)
    assert out.dtype == (np.float64 if image.dtype.itemsize == 8 else np.float32)
    scale = 0 if dtype[0] == "f" else float(np.abs(before.astype(np.float64)).max())
    np.testing.assert_allclose(out, slow(image, factor, nodata), rtol=2e-7, atol=2e-15 * scale)
    np.testing.assert_array_equal(image, before)


@given(
    st.integers(0, 99), shapes, st.sampled_from(DTYPES), st.integers(1, 30), st.lists(st.integers(1, 9), min_size=1, max_size=4)
)
def test_labels_are_the_pixels_in_the_middle(seed: int, shape: tuple[int, ...], dtype: str, factor: int, cuts: list[int]) -> None:
    image = image_of(seed, shape, dtype)
    out = shrunk(pieces_of(image, cuts), shape, factor, labels=True)
    assert out.dtype == image.dtype
    assert out.shape == (-(-shape[0] // factor), -(-shape[1] // factor), *shape[2:])
    for i, j in np.ndindex(out.shape[:2]):
        block = image[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        np.testing.assert_array_equal(out[i, j], block[block.shape[0] // 2, block.shape[1] // 2])


@given(st.integers(0, 99), shapes, st.sampled_from(DTYPES), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_factor_of_one_changes_nothing(seed: int, shape: tuple[int, ...], dtype: str, cuts: list[int]) -> None:
    image = image_of(seed, shape, dtype)
    out = shrunk(pieces_of(image, cuts), shape, 1, nodata=0)
    assert out.dtype == image.dtype
    np.testing.assert_array_equal(out, image)


def test_sums_of_large_blocks_are_exact() -> None:
    image = np.full((600, 700), 65535, np.uint16)
    image[::2] = 65534
    assert shrunk([image], image.shape, 600).tolist() == [[65534.5, 65534.5]]


def test_sums_of_the_largest_floats_are_finite() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        most = np.finfo(dtype).max
        image = np.full((7, 8), most, dtype)
        np.testing.assert_allclose(shrunk([image], image.shape, 3), most, rtol=1e-7)
        assert (image == most).all()


def test_little_more_than_a_line_is_held() -> None:
    piece = np.zeros((256, 20000, 3), np.uint8)
    shape = (2560, 20000, 3)
    for nodata, most in ((None, 6e6), (7, 12e6)):
        tracemalloc.start()
        shrunk((piece for _ in range(10)), shape, 17, nodata=nodata)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most + 151 * 1177 * 3 * 4
