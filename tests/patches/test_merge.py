"""Merging against averages taken pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.geometry.axis import EDGES, Pair
from patchcli.geometry.grid import Grid
from patchcli.geometry.placement import Placement
from patchcli.patches import merge_streaming
from patchcli.patches.extract import blocks, extract
from patchcli.patches.merge import merge
from patchcli.patches.merge_streaming import GridFold
from patchcli.patches.normalize import Merged, Wanted
from patchcli.patches.windows import named
from tests.helpers import references
from tests.helpers.merged import divider_of, streamed
from tests.helpers.strategies import FLOATS, INTEGERS, grids, images_for, pad_modes

COVERING = tuple(edge for edge in EDGES if edge != "drop")


def folded(grid: Grid, patches: NDArray[Any], wanted: Wanted, threads: int = 1, size: int = 1 << 18) -> Merged:
    divider = divider_of(patches, grid, streamed(), wanted=wanted)
    fold = GridFold(divider, streamed())
    parts = blocks(grid, int(np.prod(patches.shape[3:])), patches.itemsize, size)
    given = ((block, patches[block.first : block.first + block.count]) for block in parts)
    return Merged(divider, fold.lines(given, threads))


@given(st.data(), grids(), pad_modes)
def test_round_trip_is_exact(data: st.DataObject, grid: Grid, mode: str) -> None:
    image = data.draw(images_for(grid, (*INTEGERS, "f2", "f4", ">f4")))
    patches, origins = extract(image, grid, pad_mode=mode)
    covered = grid.cover().reshape(*grid.image, *[1] * (image.ndim - 2)) > 0
    expected = np.where(covered, image, np.ones((), image.dtype))
    order = data.draw(st.permutations(range(len(patches))))
    for merged in (
        merge(patches, grid, fill=1),
        merge(patches, grid, origins=origins, fill=1),
        merge(patches[order], grid, origins=origins[order], fill=1),
    ):
        assert merged.dtype == image.dtype
        assert np.array_equal(merged, expected)


@given(st.data(), grids(largest=8))
def test_processed_patches_are_averaged(data: st.DataObject, grid: Grid) -> None:
    image = data.draw(images_for(grid, (*INTEGERS, *FLOATS)))
    patches = extract(image, grid)[0]
    rng = np.random.default_rng(1)
    patches = rng.permutation(patches.ravel()).reshape(patches.shape)
    expected = references.mean(patches, grid.origins(), grid.image, 1)
    got = merge(patches, grid, fill=1)
    shuffled = rng.permutation(len(patches))
    other = merge(patches[shuffled], grid, origins=grid.origins()[shuffled], fill=1)
    if image.dtype.kind == "f":
        scale = float(np.abs(patches.astype(float)).max())
        tolerance = scale * (1e-3 if image.dtype.itemsize == 2 else 1e-6 if image.dtype.itemsize == 4 else 1e-13)
        assert np.allclose(got, expected, rtol=0, atol=tolerance)
        assert np.allclose(other, expected, rtol=0, atol=tolerance)
    else:
        assert np.array_equal(got, expected)
        assert np.array_equal(other, expected)


@st.composite
def apart(draw: st.DrawFn) -> Grid:
    """Grids of which most patches overlap no other: they touch, or have gaps between them."""
    both = st.tuples(st.integers(1, 5), st.integers(1, 5))
    patch, gap = draw(both), draw(st.tuples(*2 * [st.sampled_from((0, 0, 1, 3))]))
    image = patch[0] * draw(st.integers(1, 9)) + draw(st.integers(0, 4)), patch[1] * draw(st.integers(1, 9))
    offset = draw(st.integers(0, image[0] - patch[0])), draw(st.integers(0, image[1] - patch[1]))
    stride = patch[0] + gap[0], patch[1] + gap[1]
    edge, margin = draw(st.sampled_from(tuple(EDGES))), draw(st.integers(0, 2))
    return Grid(image, patch, stride, offset=offset, edge=edge, margin=margin)


@given(
    st.data(),
    apart(),
    st.sampled_from(("mean", "sum", "min", "max")),
    st.sampled_from(("u1", "i2", "?", "f4", "f2", "i8", ">u2")),
    st.sampled_from(("u1", "i4", "f4")),
    st.integers(1, 2),
)
def test_patches_that_overlap_no_other(
    data: st.DataObject, grid: Grid, reduce: str, dtype: str, wanted: str, threads: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    channels = data.draw(st.sampled_from(((), (1,), (3,))))
    patches = rng.integers(0, 2 if dtype == "?" else 120, (grid.count, *grid.patch, *channels)).astype(dtype)
    for target in (np.dtype(dtype).newbyteorder("="), np.dtype(wanted)):
        expected = merge(patches, grid, origins=grid.origins(), reduce=reduce, dtype=target, fill=1)
        assert np.array_equal(merge(patches, grid, reduce=reduce, dtype=target, fill=1), expected)
        if reduce == "mean":
            in_parts = folded(grid, patches, Wanted(target, fill=1), threads, size=data.draw(st.integers(1, 2000)))
            assert np.array_equal(in_parts.image(), expected)
            rows, columns = np.nonzero(grid.cover())
            if not len(rows):
                continue
            box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            assert np.array_equal(folded(grid, patches, Wanted(target, 1, trim=True), threads).image(), expected[box])


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("window", ["hann", "triangle", "gaussian"])
def test_weighted_means_of_64_bits_end_where_their_dtype_does(dtype: str, window: str) -> None:
    grid, most, least = Grid((20, 20), 8, 3), np.iinfo(dtype).max, np.iinfo(dtype).min
    for value in (most, most - 300, least):
        image = np.full(grid.image, value, dtype)
        back = merge(extract(image, grid)[0], grid, window=window)
        assert np.abs(back.astype(float) - float(value)).max() <= 2.0**11


@pytest.mark.parametrize("window", ["hann", "hamming"])
@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2"])
@pytest.mark.parametrize(
    ("size", "patch", "stride", "edge"),
    [
        (64, 32, 16, "shift"),
        (67, 32, 16, "shift"),
        (40, 8, 1, "shift"),
        (53, 16, 12, "shift"),
        (40, 6, 9, "drop"),
        (90, 90, 90, "pad"),
    ],
)
def test_weighted_means_of_integers_are_exact(dtype: str, window: str, size: int, patch: int, stride: int, edge: str) -> None:
    """Also where sums fill the integers of 32 bits that hold them, or just not: white patches, and a few black ones."""
    grid = Grid((size, size), patch, stride, edge=edge)
    low, high = (0, 1) if dtype == "?" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    rng = np.random.default_rng(3)
    patches = np.full((grid.count, patch, patch), high, dtype)
    for few in (0.0, 0.01, 0.5):
        patches[rng.random(patches.shape) < few] = low
        weights, sums = named(window, grid.patch).full.astype(int), np.zeros((2, *grid.padded), int)
        for (top, left), one in zip(grid.origins() + grid.margin, patches.astype(int), strict=True):
            sums[:, top : top + patch, left : left + patch] += np.stack([one * weights, weights])
        total, weight = sums[:, :size, :size]
        covered = weight > 0
        back = merge(patches, grid, window=window, fill=0)[covered].astype(int)
        assert (2 * np.abs(back * weight[covered] - total[covered]) <= weight[covered]).all()
        ties = 2 * np.abs(back * weight[covered] - total[covered]) == weight[covered]
        assert (back[ties] % 2 == 0).all()


def test_values_of_one_patch_are_looked_at() -> None:
    grid, patches = Grid((4, 7), 2), np.zeros((8, 2, 2), np.float32)
    patches[0, 0, 0] = np.nan
    with pytest.raises(PatchcliError, match="1 value of the image would be NaN"):
        merge(patches, grid)
    assert np.isnan(merge(patches, grid, allow_nonfinite=True)).sum() == 1
    patches[0, 0, 0] = 300.4
    assert merge(patches, grid, dtype=np.uint8)[0, 0] == 255


@given(st.data(), grids())
def test_subsets_and_repeats_anywhere(data: st.DataObject, grid: Grid) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    room = np.subtract(grid.padded, grid.patch) + 1
    count = data.draw(st.integers(1, 9))
    origins = rng.integers(0, room, (count, 2)) - grid.margin
    patches = rng.integers(0, 256, (count, *grid.patch), np.uint8)
    got = merge(patches, grid, origins=origins, fill=7)
    assert np.array_equal(got, references.mean(patches, origins, grid.image, 7))
    assert np.array_equal(
        Placement.at(grid, origins).cover.lines(slice(0, grid.image[0])), references.cover(origins, grid.patch, grid.image)
    )


@given(grids(), st.integers(1, 3000), st.sampled_from(INTEGERS))
def test_block_size_changes_no_integer(grid: Grid, size: int, dtype: str) -> None:
    patches = np.random.default_rng(5).integers(0, 2, (grid.count, *grid.patch, 2)).astype(dtype)
    got = folded(grid, patches, Wanted(patches.dtype, fill=0), 1, size)
    assert got.image().tobytes() == merge(patches, grid, fill=0).tobytes()


@given(grids(), st.integers(1, 3000), st.integers(2, 3), st.sampled_from(FLOATS[:3]))
def test_threads_change_no_bit(grid: Grid, size: int, threads: int, dtype: str) -> None:
    patches = (np.random.default_rng(5).standard_normal((grid.count, *grid.patch, 2)) * 9).astype(dtype)
    one, many = (folded(grid, patches, Wanted(patches.dtype, fill=0), count, size) for count in (1, threads))
    assert one.image().tobytes() == many.image().tobytes()


@settings(max_examples=200)
@given(st.data(), grids(), st.integers(1, 2), st.sampled_from(["mean", "sum", "median", "mode", "last", "hann"]))
def test_a_halo_is_as_if_it_had_never_been(data: st.DataObject, grid: Grid, ratio: int, rule: str) -> None:
    """Whole patches with a halo of anything, and those that lost it, are what their middles are at origins of their own."""
    halo = data.draw(st.integers(0, (min(grid.patch) - 1) // 2))
    image = data.draw(images_for(grid, ("u1", "i2", "f8") if rule != "mode" else ("u1", "i8")))
    patches, origins = extract(image, grid)
    patches = patches.repeat(ratio, axis=1).repeat(ratio, axis=2)
    height, width = (side - 2 * halo for side in grid.patch)
    assume(grid.scale_of((height * ratio, width * ratio), halo) == (ratio, 1))
    inner = patches[:, halo * ratio : (halo + height) * ratio, halo * ratio : (halo + width) * ratio]
    spoiled = np.full_like(patches, 1)
    spoiled[:, halo * ratio : (halo + height) * ratio, halo * ratio : (halo + width) * ratio] = inner
    options: dict[str, Any] = {"window": rule} if rule == "hann" else {"reduce": rule}
    # a grid with so large a margin that patches may lie anywhere
    size, around = (grid.image[0] * ratio, grid.image[1] * ratio), 50
    anywhere = Grid(size, (height * ratio, width * ratio), 1, margin=around)
    expected = merge(inner, anywhere, origins=(origins + halo) * ratio, fill=1, **options)
    if not Placement.at(anywhere, (origins + halo) * ratio).cover.most:
        return
    order = data.draw(st.permutations(range(len(patches))))
    for given_patches in (spoiled, inner):
        whole = merge(given_patches, grid, halo=halo, fill=1, **options)
        listed = merge(given_patches[order], grid, origins=origins[order], halo=halo, fill=1, **options)
        for got in (whole, listed):
            assert got.dtype == expected.dtype
            assert np.array_equal(got, expected) or (image.dtype.kind == "f" and np.allclose(got, expected, rtol=1e-12))


def test_a_margin_of_the_halo_covers_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    for edge in COVERING:
        grid = Grid((70, 90), 40, 16, edge=edge, margin=8)
        patches, _ = extract(image, grid)
        assert np.array_equal(merge(patches[:, 8:-8, 8:-8], grid, halo=8), image)
        assert np.array_equal(merge(patches, grid, halo=8), image)
        with pytest.raises(PatchcliError, match="pixels are covered by no patch"):
            merge(patches, grid, halo=9)


DEEP = [
    ((30, 41), 8, 1),
    ((40, 23), (13, 5), 1),
    ((44, 31), (20, 7), (3, 2)),
    ((90, 50), 39, 2),
    ((25, 24), 24, 1),
    ((33, 9), (17, 9), 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "patch", "stride"), DEEP)
@pytest.mark.parametrize("edge", ["shift", "pad", "even"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f2", "f4", "f8"])
def test_many_patches_on_a_line(shape: Pair, patch: int | Pair, stride: int | Pair, edge: str, dtype: str) -> None:
    grid = Grid(shape, patch, stride, edge=edge)
    rng = np.random.default_rng(3)
    image = (rng.random((*shape, 2)) * 200 - (dtype != "u1") * 100).astype(dtype)
    patches, origins = extract(image, grid)
    assert np.array_equal(merge(patches, grid), image) or (dtype == "f8" and np.allclose(merge(patches, grid), image, 1e-14, 0))
    patches = (rng.random(patches.shape) * 200).astype(dtype)
    tolerance = {"f2": 0.1, "f4": 1e-4, "f8": 1e-11}.get(dtype, 0)
    assert np.allclose(merge(patches, grid), references.mean(patches, origins, shape, 0), 0, tolerance)


@pytest.mark.parametrize("patch", [2, 8, 13])
def test_values_near_the_end_of_float32(patch: int) -> None:
    image = np.full((40, 40), np.finfo(np.float32).max, np.float32)
    image[::3] *= -1
    grid = Grid((40, 40), patch, 1)
    assert np.array_equal(merge(extract(image, grid)[0], grid), image)


def test_means_of_integers_tie_to_even_and_never_overflow() -> None:
    grid = Grid((1, 1), 1, margin=0)
    for dtype in ("u1", "i2", "u4", "i8", "u8"):
        low, high = (int(limit) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        for values, expected in (
            ((0, 1), 0),
            ((1, 2), 2),
            ((high, high - 1), high - 1),
            ((high, high, high), high),
            ((low, high, high, high), round((low + 3 * high) / 4) if dtype in ("u1", "i2") else None),
        ):
            patches = np.array(values, dtype).reshape(-1, 1, 1)
            got = merge(patches, grid, origins=np.zeros((len(values), 2), int))[0, 0]
            wanted = references.mean(patches, np.zeros((len(values), 2), np.int64), (1, 1), 0)[0, 0]
            assert got == wanted
            assert expected is None or got == expected


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("u1", [-3.0, 300.0, 0.5, 1.5, 254.6], [0, 255, 0, 2, 255]),
        ("?", [0.2, 0.6, 7.0], [False, True, True]),
        ("i8", [1e30, -1e30, 3.0], [2**63 - 1, -(2**63), 3]),
        ("u8", [1e30, -1.0, 3.0], [2**64 - 1, 0, 3]),
        ("f4", [1.5, -2.0], [1.5, -2.0]),
    ],
)
def test_other_dtype_is_rounded_and_saturated(dtype: str, values: list[float], expected: list[Any]) -> None:
    grid = Grid((1, len(values)), 1)
    merged = folded(grid, np.array(values).reshape(-1, 1, 1), Wanted(np.dtype(dtype)))
    image = merged.image()
    assert image.dtype == merged.dtype == np.dtype(dtype)
    assert image[0].tolist() == expected
    low, high = (0, 1) if dtype == "?" else (0, 255)
    if dtype in ("?", "u1"):
        assert merged.saturated == sum(not low <= round(value) <= high for value in values)


def test_trim_and_fill() -> None:
    grid = Grid((5, 7), 2, 3, offset=(1, 2), edge="drop")
    patches = extract(np.arange(35, dtype=np.uint8).reshape(5, 7), grid)[0]
    with pytest.raises(PatchcliError, match=r"^27 of 35 pixels are covered by no patch; .* --fill .* --trim$"):
        merge(patches, Grid((5, 7), 2, 3, offset=(1, 2), edge="drop"))
    with pytest.raises(PatchcliError, match=r"^2 of 10 pixels are covered by no patch; give them a value with --fill$"):
        folded(grid, patches, Wanted(patches.dtype, trim=True))
    merged = folded(grid, patches, Wanted(patches.dtype, fill=99, trim=True))
    assert merged.image().tolist() == [[9, 10, 99, 12, 13], [16, 17, 99, 19, 20]]


def test_trim_where_no_patch_touches_the_image() -> None:
    grid = Grid((3, 3), 1, 9, margin=1, edge="drop")
    with pytest.raises(PatchcliError, match=r"^no pixel is covered by a patch"):
        folded(grid, np.zeros((1, 1, 1), np.uint8), Wanted(np.dtype("u1"), trim=True))


@pytest.mark.parametrize(
    ("patches", "options", "sentence"),
    [
        (np.zeros((3, 2, 2)), {}, "stack has 3 patches but 4 origins; both must be the same"),
        (np.zeros((4, 2, 3)), {}, "patches have width=3 height=2 where width=2 height=2 was recorded; give that size"),
        (np.zeros((4, 4)), {}, r"patches have shape \(4, 4\)"),
        (np.zeros((0, 2, 2)), {"origins": np.zeros((0, 2), int)}, "stack has no patches; at least one is needed"),
        (np.zeros((4, 2, 2), complex), {}, "stack of patches has dtype complex128"),
        (np.zeros((4, 2, 2)), {"origins": [[0, 0]] * 3}, "stack has 4 patches but 3 origins"),
        (np.zeros((1, 2, 2)), {"origins": [[0, 3]]}, "patch 0 has its origin at x=3 y=0; allowed are x from 0 to 2"),
        (np.zeros((1, 2, 2)), {"origins": [[-1, 0]]}, "patch 0 has its origin at x=0 y=-1"),
        (np.zeros((2, 2, 2)), {"origins": [1, 2]}, r"origins have shape \(2,\); expected \(N, 2\)"),
        (np.full((4, 2, 2), np.nan), {}, "16 values of the image would be NaN or infinite; .* --allow-nonfinite"),
        (np.full((4, 2, 2), np.inf), {"dtype": "u1"}, "16 values of the image would be NaN or infinite; .* for uint8"),
        (np.zeros((4, 2, 2), "f4"), {"fill": 1e300}, "value 1e\\+300 does not fit dtype float32"),
        (np.zeros((4, 2, 2), "u1"), {"fill": 300}, "value 300 does not fit dtype uint8"),
        (np.full((4, 2, 2), 1e300), {"dtype": "f4"}, "16 values are too large for float32"),
        (np.zeros((1, 2, 2), "u1"), {"origins": [[0, 0]], "fill": 300}, "value 300 does not fit dtype uint8"),
    ],
)
def test_bad_patches(patches: NDArray[Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        merge(patches, Grid((4, 4), 2), **options)


def test_sums_that_overflow_are_an_error_without_a_warning() -> None:
    with pytest.raises(PatchcliError, match="12 values of the image would be NaN or infinite"):
        merge(np.full((9, 2, 2), 1.7e308), Grid((4, 4), 2, 1))


def test_nonfinite_values_can_be_let_through() -> None:
    patches = np.array([1.0, np.nan, np.inf, -np.inf]).reshape(4, 1, 1)
    assert np.array_equal(merge(patches, Grid((2, 2), 1), allow_nonfinite=True).ravel(), patches.ravel(), equal_nan=True)


def test_float32_sums_stay_within_a_millionth() -> None:
    rng = np.random.default_rng(3)
    grid = Grid((60, 60), 25, 1)
    for patches in (rng.random((grid.count, 25, 25), np.float32), np.full((grid.count, 25, 25), 0.1, np.float32)):
        exact = merge(patches.astype(float), grid)
        assert (np.abs(merge(patches, grid) - exact) <= 1e-6 * exact).all()


def test_chunks_of_scattered_patches() -> None:
    assert merge_streaming.chunk_patches(1) == merge_streaming.CHUNK_PATCHES
    assert merge_streaming.chunk_patches(1 << 40) == 1
    grid = Grid((300, 300), 2, 1)
    patches, origins = extract(np.random.default_rng(2).integers(0, 255, (300, 300), np.uint8), grid)
    assert len(patches) > merge_streaming.CHUNK_PATCHES
    assert np.array_equal(merge(patches[::-1], grid, origins=origins[::-1]), merge(patches, grid))


def test_a_sum_of_64_bits_as_floats_is_not_cut() -> None:
    for dtype, value in ((np.uint64, 2**63), (np.int64, -(2**62))):
        grid = Grid((4, 4), 2, stride=1)
        patches, _ = extract(np.full((4, 4), value, dtype), grid)
        assert merge(patches, grid, reduce="sum", dtype=np.float64)[1, 1] == 4 * float(value)
