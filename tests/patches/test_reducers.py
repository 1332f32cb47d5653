"""Every rule of merging against loops over pixels; order, parts and layout change nothing."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.arrays import limits
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.geometry.placement import Placement
from patchcli.patches import merge_ranked
from patchcli.patches.extract import blocks, extract
from patchcli.patches.merge import merge, merge_from
from patchcli.patches.merge_ranked import Ranking
from patchcli.patches.merge_streaming import PlaneFold
from patchcli.patches.normalize import Merged, Wanted
from patchcli.patches.planes import Plane, offsets
from patchcli.patches.reducers import REDUCERS, rule_of
from patchcli.patches.sources import InMemory
from patchcli.patches.windows import NAMES, PEAK, named, of_array
from tests.helpers.merged import OF_FLOATS, RULES, covering, divider_of, mode, reference, streamed
from tests.helpers.strategies import FLOATS, INTEGERS, grids, images_for

if TYPE_CHECKING:
    from collections.abc import Callable

merge_module = sys.modules[merge.__module__]  # whose name in its package is that of the function
COVERING = ("shift", "pad", "even")
RANKED = [name for name, reducer in REDUCERS.items() if isinstance(reducer.how, Ranking)]


def random_patches(grid: Grid, dtype: str, seed: int, channels: tuple[int, ...], count: int | None = None) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    shape = (grid.count if count is None else count, *grid.patch, *channels)
    if np.dtype(dtype).kind == "f":
        return (rng.standard_normal(shape) * 50).astype(dtype)
    return rng.integers(0, 2 if dtype == "?" else 120, shape).astype(dtype)


def few_classes(grid: Grid, dtype: str, seed: int, channels: tuple[int, ...], count: int | None = None) -> NDArray[Any]:
    """Patches of up to five values, the least and the largest of a dtype among them, so that some are equal on many pixels."""
    rng = np.random.default_rng(seed)
    low, high = limits(np.dtype(dtype))
    some = np.array(sorted({low, min(low + 1, high), 0, max(high - 1, low), high}), dtype)
    return rng.choice(some[: rng.integers(1, len(some) + 1)], (grid.count if count is None else count, *grid.patch, *channels))


@settings(max_examples=250)
@given(
    grids(largest=9), st.sampled_from(INTEGERS), st.sampled_from([(), (2,)]), st.integers(0, 1000), st.integers(0, 1), st.data()
)
def test_the_mode_against_a_dict(
    grid: Grid, dtype: str, channels: tuple[int, ...], seed: int, most: int, data: st.DataObject
) -> None:
    """Over a whole grid and anywhere, sorted by comparing neighbours or not; only values that were there, or the fill."""
    patches, origins = few_classes(grid, dtype, seed, channels), grid.origins()
    whole = data.draw(st.booleans())
    if not whole:
        chosen = np.random.default_rng(seed).integers(0, grid.count, seed % 9 + 1)
        patches, origins = patches[chosen], origins[chosen]
    expected = np.ones((*grid.image, *channels), patches.dtype)
    for place in np.ndindex(*grid.image):
        if found := covering(patches, origins, place):
            expected[place] = mode(np.array([value for value, _ in found]), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_ranked, "SORTED_BYTES", most * merge_ranked.SORTED_BYTES)
        patch.setattr(merge_ranked, "LEAST_TOGETHER", 5)
        patch.setattr(merge_ranked, "BLOCK_BYTES", 1)
        for given_origins in (origins, None) if whole else (origins,):
            got = merge(patches, grid, origins=given_origins, reduce="mode", fill=1)
            assert got.dtype == expected.dtype
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8"])
def test_few_integers_are_sorted_as_numpy_does(dtype: str) -> None:
    for count in range(1, 12):
        layers = random_patches(Grid((6, 7), (6, 7)), dtype, count, (2,), count)
        expected = np.sort(layers, axis=0)
        merge_ranked._sort(layers)  # noqa: SLF001
        assert np.array_equal(layers, expected)


def test_21_classes_give_only_those_that_were_there() -> None:
    grid = Grid((90, 120), 32, 16, edge="pad")
    labels = np.random.default_rng(0).integers(0, 21, grid.image, np.uint8)
    patches = extract(labels, grid)[0]
    rng = np.random.default_rng(1)
    wrong = rng.random(patches.shape) < 0.2
    patches = np.where(wrong, rng.integers(0, 21, patches.shape), patches).astype(np.uint8)
    merged = merge(patches, grid, reduce="mode")
    for place in np.ndindex(*grid.image):
        assert merged[place] in [value for value, _ in covering(patches, grid.origins(), place)]


@settings(max_examples=250)
@given(
    grids(largest=9),
    st.sampled_from([*RULES, *NAMES[1:], "array"]),
    st.sampled_from((*INTEGERS, *FLOATS)),
    st.sampled_from([(), (2,)]),
    st.integers(0, 1000),
)
def test_every_rule_against_loops(grid: Grid, rule: str, dtype: str, channels: tuple[int, ...], seed: int) -> None:
    if rule == "mode" and dtype in FLOATS:
        dtype = "i2"
    patches = random_patches(grid, dtype, seed, channels)
    weights: Any = None
    options: dict[str, Any] = {"reduce": rule} if rule in RULES else {"window": rule}
    if rule == "array":
        weights = np.random.default_rng(seed).random(grid.patch) + 0.1
        options = {"window": weights}
    elif rule not in RULES:
        weights = named(rule, grid.patch).full
    expected = reference(patches, grid.origins(), grid.image, options.get("reduce", "mean"), weights)
    got = merge(patches, grid, fill=0, dtype="f8", **options)
    tolerance = 1e-6 if dtype[-2:] in ("f2", "f4") else 1e-12
    assert np.allclose(got, expected, rtol=tolerance, atol=tolerance * 50)


@settings(max_examples=250)
@given(
    grids(largest=9),
    st.sampled_from([*RULES, "hann", "triangle"]),
    st.sampled_from(INTEGERS),
    st.sampled_from([(), (3,)]),
    st.integers(0, 1000),
    st.data(),
)
def test_order_parts_and_layout_change_no_integer(
    grid: Grid, rule: str, dtype: str, channels: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    patches = random_patches(grid, dtype, seed, channels)
    options: dict[str, Any] = {"reduce": rule} if rule in RULES else {"window": rule}
    got = merge(patches, grid, fill=0, **options)
    order = data.draw(st.permutations(range(grid.count)))
    assert np.array_equal(merge(patches[order], grid, origins=grid.origins()[order], fill=0, **options), got)
    if rule in RANKED:
        return
    combined = streamed(rule) if rule in RULES else streamed("mean", named(rule, grid.patch))
    for origins in (None, grid.origins()[order]):
        divider = divider_of(patches, grid, combined, origins=origins, wanted=Wanted(patches.dtype, 0))
        planes = PlaneFold(divider, combined)
        given = patches if origins is None else patches[order]
        for offset in offsets(patches.shape[1:], "C"):
            values, half = np.moveaxis(given, 0, -1)[offset], grid.count // 2 if channels else 0
            for first, part in ((0, values[:half]), (half, values[half:])):
                planes.add(Plane(offset, part, first))
        assert np.array_equal(Merged(divider, planes.lines()).image(), got)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("rule", [*RULES, "hann"])
def test_how_patches_lie_in_memory_changes_nothing(rule: str, channels: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """As those that were unrolled by columns, or have their channels first: ``axes`` from the slowest to the fastest."""
    options: dict[str, Any] = {"window": rule} if rule == "hann" else {"reduce": rule}
    axes = axes if channels else tuple(axis for axis in axes if axis < 3)
    for stride, dtype in itertools.product((2, 3, 4, 6), ("u1", ">i2") if rule == "mode" else ("u1", ">i2", "f4")):
        grid = Grid((13, 17), 4, stride)
        order = np.random.default_rng(0).permutation(grid.count)
        patches = random_patches(grid, dtype, 1, channels)
        odd = np.ascontiguousarray(patches.transpose(axes)).transpose(np.argsort(axes))
        backwards = patches[:, :, ::-1].copy()[:, :, ::-1]
        for index, origins in ((slice(None), None), (order, grid.origins()[order])):
            expected = merge(patches[index], grid, origins=origins, fill=0, **options)
            for other in (odd, backwards):
                assert np.array_equal(merge(other[index], grid, origins=origins, fill=0, **options), expected)


@given(st.data(), grids(edges=COVERING), st.sampled_from([*RULES[:1], *RULES[2:], *NAMES]))
def test_unchanged_patches_give_the_image_back(data: st.DataObject, grid: Grid, rule: str) -> None:
    image = data.draw(images_for(grid, (*INTEGERS, "f4", "f2") if rule != "mode" else INTEGERS))
    patches, _ = extract(image, grid)
    options: dict[str, Any] = {"reduce": rule} if rule in RULES else {"window": rule}
    whole = not (patches.dtype.itemsize > 2 and patches.dtype.kind in "iu" and rule in NAMES[1:])  # beyond 16 bits: float64
    fill = None if not (grid.cover() == 0).any() else 0
    got = merge(patches, grid, fill=fill, **options)
    expected = np.where(grid.cover().reshape(*grid.image, *[1] * (image.ndim - 2)) > 0, image, np.zeros((), image.dtype))
    if whole and not (rule in NAMES[1:] and image.dtype.kind == "f"):
        assert np.array_equal(got, expected)
    else:
        assert np.allclose(got.astype(float), expected.astype(float), rtol=1e-6 if image.dtype != np.float16 else 1e-3)


@given(grids(largest=9), st.sampled_from([*RULES, "hann"]), st.integers(0, 99))
def test_a_subset_merges_alike_where_it_covers(grid: Grid, rule: str, seed: int) -> None:
    """A subset, with repeats, in any order, against the loop: and the loop is told only of the subset."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, grid.count, rng.integers(1, 6))
    patches, origins = random_patches(grid, "i2", seed, (), len(chosen)), grid.origins()[chosen]
    weights = named("hann", grid.patch).full if rule == "hann" else None
    options: dict[str, Any] = {"window": rule} if rule == "hann" else {"reduce": rule}
    got = merge(patches, grid, origins=origins, fill=0, dtype="f8", **options)
    assert np.allclose(got, reference(patches, origins, grid.image, options.get("reduce", "mean"), weights), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 300, 1 << 25])
@pytest.mark.parametrize("rule", RANKED)
def test_bands_change_nothing(rule: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_ranked, "BAND_BYTES", size)
    grid = Grid((23, 17), (6, 5), (2, 3), margin=2)
    patches = random_patches(grid, "f4", 1, (2,)) if rule in OF_FLOATS else few_classes(grid, "i4", 1, (2,))
    expected = reference(patches, grid.origins(), grid.image, rule, None)
    assert np.allclose(merge(patches, grid, reduce=rule), expected, rtol=1e-6)
    order = np.random.default_rng(0).permutation(grid.count)
    assert np.allclose(merge(patches[order], grid, origins=grid.origins()[order], reduce=rule), expected, rtol=1e-6)


@settings(max_examples=250)
@given(
    grids(largest=12),
    st.sampled_from(("first", "last")),
    st.sampled_from(("?", "u1", ">i2", "f4", ">f8")),
    st.sampled_from([(), (3,)]),
    st.sampled_from((1, 60, 500, 1 << 20)),
    st.integers(0, 1000),
)
def test_what_is_seen_of_all_patches_of_a_grid(
    grid: Grid, rule: str, dtype: str, channels: tuple[int, ...], nbytes: int, seed: int
) -> None:
    """In blocks of any size, of whole patch rows or parts of one, against painting them one over the other."""
    patches = random_patches(grid, dtype, seed, channels)
    order = np.random.default_rng(seed).permutation(grid.count)
    expected = merge(patches[order], grid, origins=grid.origins()[order], reduce=rule, fill=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_module, "blocks", functools.partial(blocks, block_bytes=nbytes))
        got = merge(patches, grid, reduce=rule, fill=1)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_rules_of_64_bits_are_exact(dtype: str) -> None:
    low, high = (int(limit) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    grid, origins = Grid((1, 1), 1), np.zeros((3, 2), int)
    patches = np.array([high, high - 3, low + 1], dtype).reshape(3, 1, 1)
    expected = {"min": low + 1, "max": high, "median": high - 3, "first": high, "last": low + 1}
    expected["sum"] = min(2 * high - 2 + low, high)
    for rule, value in expected.items():
        assert int(merge(patches, grid, origins=origins, reduce=rule)[0, 0]) == value
    assert int(merge(patches[:2], grid, origins=origins[:2], reduce="median")[0, 0]) == round(Fraction(2 * high - 3, 2))
    small = np.array([2**40 + 1, 2**41 + 3], dtype).reshape(2, 1, 1)
    assert int(merge(small, grid, origins=origins[:2], reduce="sum")[0, 0]) == 2**40 + 2**41 + 4


@pytest.mark.parametrize("rule", OF_FLOATS)
def test_nan_is_an_error_or_goes_through(rule: str) -> None:
    grid = Grid((2, 3), (2, 2), 1)
    patches = np.ones((2, 2, 2), np.float32)
    patches[1, 0, 0] = np.nan
    if rule == "first":
        assert np.array_equal(merge(patches, grid, reduce=rule), np.ones((2, 3)))
        return
    with pytest.raises(PatchcliError, match="1 value of the image would be NaN or infinite"):
        merge(patches, grid, reduce=rule)
    got = merge(patches, grid, reduce=rule, allow_nonfinite=True)
    assert np.isnan(got[0, 1])
    assert np.isfinite(np.delete(got.ravel(), 1)).all()


@pytest.mark.parametrize("rule", OF_FLOATS)
def test_infinities_go_through(rule: str) -> None:
    patches = np.array([np.inf, np.inf, np.inf], np.float32).reshape(3, 1, 1)
    got = merge(patches, Grid((1, 1), 1), origins=np.zeros((3, 2), int), reduce=rule, allow_nonfinite=True)
    assert got[0, 0] == np.inf


@pytest.mark.parametrize("rule", [*RULES, "hann"])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_uncovered_pixels_are_filled(rule: str, dtype: str) -> None:
    grid = Grid((5, 7), 2, 3, edge="drop")
    patches = random_patches(grid, dtype if rule != "mode" else "i2", 0, (2,))
    options: dict[str, Any] = {"window": rule} if rule == "hann" else {"reduce": rule}
    for origins in (None, grid.origins()):
        got = merge(patches, grid, origins=origins, fill=77, **options)
        assert (got[grid.cover() == 0] == 77).all()
        with pytest.raises(PatchcliError, match="covered by no patch"):
            merge(patches, grid, origins=origins, **options)


@pytest.mark.parametrize("rule", RULES)
def test_uncovered_pixels_are_not_saturated(rule: str) -> None:
    """What stands on them, the largest or smallest value there is, becomes the fill and counts for nothing."""
    grid = Grid((5, 7), 2, 3, edge="drop")
    for placement in (Placement.whole_grid(grid), Placement.at(grid, grid.origins())):
        patches = InMemory(np.ones((grid.count, 2, 2), np.int16))
        got = merge_from(patches, placement, rule_of(REDUCERS[rule]), wanted=Wanted(np.dtype(np.uint8), 7))
        assert got.saturated == 0
        assert np.array_equal(got.image(), np.where(grid.cover() > 0, 1, 7))


@given(grids(edges=COVERING), st.sampled_from(NAMES), st.sampled_from(["u1", "i2", "u2", "f4", "f8"]), st.integers(0, 120))
def test_windows_keep_a_constant(grid: Grid, window: str, dtype: str, value: int) -> None:
    if (grid.cover() == 0).any():
        return
    patches = np.full((grid.count, *grid.patch), value, dtype)
    got = merge(patches, grid, window=window)
    assert np.array_equal(got, np.full(grid.image, value, dtype)) or (
        got.dtype.kind == "f" and np.allclose(got, value, rtol=2e-7 if dtype == "f4" else 1e-15)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 8, 64, 255])
def test_windows_as_defined(size: int) -> None:
    shapes: dict[str, Callable[[float], float]] = {
        "triangle": lambda t: 1 - abs(t),
        "hann": lambda t: (1 + math.cos(math.pi * t)) / 2,
        "hamming": lambda t: 0.54 + 0.46 * math.cos(math.pi * t),
        "gaussian": lambda t: math.exp(-(t**2) / (2 * 0.25**2)),
    }
    for name, shape in shapes.items():
        rows = named(name, (size, 1)).rows
        expected = [shape((2 * i + 1) / size - 1) for i in range(size)]
        assert (rows == np.rint(rows)).all()
        assert rows.min() >= 1
        assert np.abs(rows / PEAK - expected).max() <= 1 / PEAK
        assert np.array_equal(rows, rows[::-1])
        assert named(name, (size, 1)).columns.tolist() == [PEAK]


def test_a_window_with_zeros_leaves_no_rim() -> None:
    grid = Grid((9, 9), 5, 4)
    weights = np.zeros((5, 5))
    weights[1:4, 1:4] = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    patches = random_patches(grid, "f8", 3, ())
    got = merge(patches, grid, window=weights)
    for place in np.ndindex(9, 9):
        found = covering(patches, grid.origins(), place)
        own = np.array([weights[inside] for _, inside in found])
        own = own if own.any() else np.ones(len(found))
        assert got[place] == pytest.approx(np.dot(own, [value for value, _ in found]) / own.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones((3, 2)), r"window has shape \(3, 2\); expected \(2, 2\)"),
        (np.zeros((2, 2)), "all 0"),
        (np.array([[1, -1], [1, 1]]), "negative"),
        (np.array([[1, np.nan], [1, 1]]), "NaN"),
        (np.array([["1", "2"], ["3", "4"]]), "window has dtype <U1"),
        (np.array([[1, None], [1, 1]]), "window has dtype object"),
        ("nosuch", "window is 'nosuch'; allowed are uniform, triangle"),
    ],
)
def test_bad_windows(weights: Any, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        merge(np.ones((4, 2, 2)), Grid((4, 4), 2), window=weights)
    assert of_array(np.eye(2), (2, 2)).full.shape == (2, 2)


def test_bad_rules() -> None:
    with pytest.raises(PatchcliError, match="reduce is 'vote'; allowed are mean, sum"):
        merge(np.ones((4, 2, 2)), Grid((4, 4), 2), reduce="vote")
    with pytest.raises(PatchcliError, match="patches are float64, and mode is for integers; give class numbers"):
        merge(np.ones((4, 2, 2)), Grid((4, 4), 2), reduce="mode")
    with pytest.raises(PatchcliError, match="dtype is 'x'; allowed are bool"):
        merge(np.ones((4, 2, 2)), Grid((4, 4), 2), dtype="x")
    with pytest.raises(PatchcliError, match="a window is for a mean, not for median"):
        merge(np.ones((4, 2, 2)), Grid((4, 4), 2), reduce="median", window="hann")


@pytest.mark.parametrize("low", [-300, -60, -20])
def test_windows_of_any_range_give_integers_back(low: int) -> None:
    grid = Grid((40, 40), 8, 4)
    image = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    weights = np.logspace(low, -low, 64).reshape(8, 8)
    for origins in (None, grid.origins()):
        assert np.array_equal(merge(extract(image, grid)[0], grid, origins=origins, window=weights), image)


@given(st.data(), grids(largest=8, edges=COVERING), st.integers(2, 3))
def test_upscaled_patches_merge_to_the_upscaled_image(data: st.DataObject, grid: Grid, ratio: int) -> None:
    image = data.draw(images_for(grid))
    if (grid.cover() == 0).any():
        return
    patches, origins = extract(image, grid)
    larger = patches.repeat(ratio, axis=1).repeat(ratio, axis=2)
    expected = image.repeat(ratio, axis=0).repeat(ratio, axis=1)
    assert np.array_equal(merge(larger, grid), expected)
    assert np.array_equal(merge(larger[::-1], grid, origins=origins[::-1]), expected)
    assert np.array_equal(merge(larger, grid, reduce="median"), expected)


def test_smaller_patches_merge_where_the_grid_stays_whole() -> None:
    image = np.arange(12 * 18).reshape(12, 18).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint16)
    grid = Grid((24, 36), (8, 12), (4, 6), margin=2)
    patches = extract(image, grid)[0][:, ::2, ::2]
    assert np.array_equal(merge(patches, grid), image[::2, ::2])
    for wrong, odd in ((patches[:, :3], grid), (patches, Grid((24, 36), (8, 12), (3, 6), margin=2)), (patches[:, :, :5], grid)):
        with pytest.raises(PatchcliError, match=r"patches have width=.* where width=12 height=8 was recorded; (give|1/2) "):
            merge(wrong[: odd.count] if len(wrong) >= odd.count else np.zeros((odd.count, 4, 6)), odd)


@pytest.mark.parametrize(
    ("size", "fits"), [((32, 32), True), ((64, 64), True), ((16, 16), True), ((48, 48), False), ((30, 30), False)]
)
def test_only_whole_factors_place_themselves(size: tuple[int, int], *, fits: bool) -> None:
    grid = Grid((64, 96), 32, 16)
    patches = np.zeros((grid.count, *size), np.uint8)
    if fits:
        assert merge(patches, grid).shape == (64 * size[0] // 32, 96 * size[0] // 32)
        return
    sizes = f"patches have width={size[1]} height={size[0]} where width=32 height=32 was recorded"
    with pytest.raises(PatchcliError, match=rf"{sizes}; give that size, or one k or 1/k times as large"):
        merge(patches, grid)
