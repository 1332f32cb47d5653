"""Lines that nothing else guards: many blocks, values and sizes at their limits, containers made to deceive.

`python -m tools.break_lines` breaks such lines, one at a time, and shows that a test here turns red.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import crop, crop_gradient
from patchcli.cropping.coordinates import base_of, positions, span_of
from patchcli.cropping.plan import Sampling, plan_of
from patchcli.errors import PatchcliError
from patchcli.geometry.axis import MAX_LENGTH, Axis, stride_from_overlap
from patchcli.geometry.box import normalized_box
from patchcli.geometry.cover import Cover
from patchcli.geometry.grid import Grid
from patchcli.patches.extract import CUT_BYTES, blocks, cut, cut_at, extract, view
from patchcli.patches.merge import merge
from patchcli.patches.merge_streaming import CHUNK_PATCHES, GridFold, PlaneFold, ScatteredFold
from patchcli.patches.normalize import Merged, Wanted
from patchcli.patches.padded import ArraySource, Padded
from patchcli.patches.planes import Plane, offsets
from patchcli.patches.select import CANDIDATES_TOGETHER, choose_patches
from patchcli.patches.windows import NOTHING, named, of_array
from patchcli.stacks.file import Stack, StackReader, read_stack, write_stack
from patchcli.stacks.header import Meta
from patchcli.stacks.npz import NpzReader, pieces
from patchcli.stacks.reader import PICK_BYTES, Payload, Picker, StackFile
from patchcli.strided import runs
from tests.helpers.merged import divider_of, streamed

if TYPE_CHECKING:
    from patchcli.patches.reducers import Rule

REDUCE = {"min": np.minimum, "max": np.maximum}


# -- merging ----------------------------------------------------------------------------------------------------------------


def in_blocks(grid: Grid, patches: NDArray[Any], rule: Rule, size: int, threads: int = 1) -> Merged:
    """Patches of a grid put together in blocks of about ``size`` bytes."""
    divider = divider_of(patches, grid, rule)
    parts = list(blocks(grid, int(np.prod(patches.shape[3:])), patches.itemsize, size))
    assert len(parts) > 1
    given = ((block, patches[block.first : block.first + block.count]) for block in parts)
    return Merged(divider, GridFold(divider, rule).lines(given, threads))


def one_by_one(grid: Grid, patches: NDArray[Any], reduce: str) -> NDArray[Any]:
    """The least or largest value on each pixel, patch after patch; every pixel has one."""
    padded = np.zeros((*grid.padded, *patches.shape[3:]), patches.dtype)
    seen = np.zeros(grid.padded, np.bool_)
    for patch, (row, column) in zip(patches, (grid.origins() + grid.margin).tolist(), strict=True):
        place = slice(row, row + grid.patch[0]), slice(column, column + grid.patch[1])
        below = seen[place].reshape(*grid.patch, *[1] * len(patches.shape[3:]))
        padded[place] = np.where(below, REDUCE[reduce](padded[place], patch), patch)
        seen[place] = True
    return padded[grid.margin : grid.margin + grid.image[0], grid.margin : grid.margin + grid.image[1]]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("reduce", ["min", "max"])
@pytest.mark.parametrize("dtype", ["i2", "f4", "u1"])
def test_min_and_max_in_many_blocks(dtype: str, reduce: str, threads: int) -> None:
    """Values that all lie on the same side of 0, or at the end of the dtype: what blank sums hold would show."""
    patch_rows = [((4, 4), (4, 4), 0), ((9, 5), (2, 3), 1), ((12, 8), (1, 2), 0)]
    for patch, stride, margin in patch_rows:
        grid = Grid((60, 31), patch, stride, edge="even", margin=margin)
        values = np.random.default_rng(1).integers(1, 5, (grid.count, *patch, 2))
        patches = {"min": values, "max": -values}[reduce].astype(dtype) if dtype != "u1" else ends(values, reduce)
        expected = one_by_one(grid, patches, reduce)
        for rows in (0.4, 1, 3, 11):
            size = int(rows * patches[: grid.shape[1]].nbytes)
            got = in_blocks(grid, patches, streamed(reduce), size, threads)
            assert np.array_equal(got.image(), expected)


def ends(values: NDArray[Any], reduce: str) -> NDArray[np.uint8]:
    """Values close to the end of 8 bits from which a rule leads away."""
    return (256 - values if reduce == "min" else values - 1).astype(np.uint8)


@pytest.mark.parametrize("reduce", ["min", "max"])
def test_min_and_max_of_a_large_image(reduce: str) -> None:
    grid = Grid((500, 560), 16, 4)
    patches = np.random.default_rng(2).integers(1, 30_000, (grid.count, 16, 16), np.int16)
    patches = patches if reduce == "min" else -patches
    assert len(list(blocks(grid, 1, 2))) > 1
    assert np.array_equal(merge(patches, grid, reduce=reduce), one_by_one(grid, patches, reduce))


@pytest.mark.parametrize("dtype", ["f8", "u2"])
def test_weights_of_zero_beside_real_ones_do_not_count(dtype: str) -> None:
    """Where a weight of zero meets a real one the real one alone decides, to the last bit."""
    grid = Grid((4, 10), (4, 4), 2)
    weights = np.tile([0.0, 2.0, 1.0, 0.0], (4, 1))
    patches = np.random.default_rng(3).integers(1, 9, (grid.count, 4, 4)).astype(dtype)
    expected = np.empty((4, 10))
    expected[:, 0], expected[:, 9] = patches[0, :, 0], patches[-1, :, 3]  # nothing else lies there
    expected[:, 1], expected[:, 8] = patches[0, :, 1], patches[-1, :, 2]
    for number in range(3):
        expected[:, 2 * number + 2] = patches[number, :, 2]  # patch number + 1 has its first column here: no weight
        expected[:, 2 * number + 3] = patches[number + 1, :, 1]
    order = np.array([2, 0, 3, 1])
    rule = streamed("mean", of_array(weights, (4, 4)))
    divider = divider_of(patches, grid, rule, wanted=Wanted(np.dtype("f8")))
    planes = PlaneFold(divider, rule)
    for offset in offsets((4, 4), "C"):
        planes.add(Plane(offset, np.ascontiguousarray(np.moveaxis(patches, 0, -1)[offset])))
    for got in (
        merge(patches, grid, window=weights, dtype="f8"),
        merge(patches[order], grid, origins=grid.origins()[order], window=weights, dtype="f8"),
        Merged(divider, planes.lines()).image(),
    ):
        assert got.tolist() == expected.tolist()


def test_weights_count_as_they_are_down_to_the_least() -> None:
    grid, patches = Grid((1, 5), (1, 3), 2), np.array([[[2.0, 4.0, 6.0]], [[9.0, 5.0, 3.0]]])
    for first, last, expected in (
        (2 * NOTHING, 4 * NOTHING, (6 * 2 + 9) / 3),
        (NOTHING, 3 * NOTHING, (6 * 3 + 9) / 4),
        (NOTHING / 4, NOTHING / 2, (6 + 9) / 2),
        (0.0, NOTHING / 2, (6 + 9) / 2),
    ):
        for scale in (1.0, 2.0**90, 2.0**-90):
            window = np.array([[first, 1.0, last]]) * scale
            assert merge(patches, grid, window=window).tolist() == [[2.0, 4.0, expected, 5.0, 3.0]]


def test_a_pixel_whose_only_weight_is_zero_keeps_its_value() -> None:
    """Beside pixels without a patch, too."""
    grid = Grid((1, 5), (1, 2), 3, edge="drop")
    for origins in (None, grid.origins()):
        for dtype in ("f8", "u1"):
            patches = np.array([[[7, 8]], [[9, 10]]], dtype)
            got = merge(patches, grid, origins=origins, window=[[0, 1]], fill=3)
            assert got.tolist() == [[7, 8, 3, 9, 10]]


def test_weights_of_more_patches_than_are_added_at_once() -> None:
    grid = Grid((132, 131), 2, 1)
    assert grid.count > CHUNK_PATCHES
    weights = np.array([[1.0, 2.0], [3.0, 5.0]])
    patches = np.random.default_rng(4).integers(0, 256, (grid.count, 2, 2)).astype(np.uint8)
    sums, counts = np.zeros((2, 132, 131))
    laid = patches.reshape(131, 130, 2, 2)
    for row, column in np.ndindex(2, 2):
        place = slice(row, row + 131), slice(column, column + 130)
        sums[place] += laid[:, :, row, column] * weights[row, column]
        counts[place] += weights[row, column]
    for origins in (None, grid.origins()):
        got = merge(patches, grid, origins=origins, window=weights, dtype="f8")
        assert np.abs(got - sums / counts).max() < 1e-12


@pytest.mark.parametrize(("dtype", "patch", "stride"), [("u1", (128, 4), 1), ("u2", (12, 9), (2, 3)), ("i2", (8, 8), 8)])
def test_windows_of_narrow_integers_are_exact(dtype: str, patch: tuple[int, int], stride: int) -> None:
    """Whole weights times values as large as the dtype has them, added up in integers."""
    grid = Grid((210, 11), patch, stride)
    most = int(np.iinfo(dtype).max)
    patches = np.random.default_rng(5).integers(most - 9, most, (grid.count, *patch), dtype, endpoint=True)
    weights = named("hann", patch).full.astype(np.int64)
    sums, counts = np.zeros((2, 210, 11), np.int64)
    for one, (row, column) in zip(patches, grid.origins().tolist(), strict=True):
        place = slice(row, row + patch[0]), slice(column, column + patch[1])
        sums[place] += one * weights
        counts[place] += weights
    assert np.array_equal(merge(patches, grid, window="hann", dtype="f8"), sums / counts)


def test_weighted_values_near_the_end_of_float32() -> None:
    """Products that leave float32 are made again in float64, with their weights."""
    grid = Grid((40, 24), 8, (1, 3))
    patches = np.random.default_rng(13).uniform(-3e38, 3e38, (grid.count, 8, 8)).astype(np.float32)
    expected = merge(patches.astype(np.float64), grid, window="hann")
    assert np.abs(merge(patches, grid, window="hann", dtype="f8") - expected).max() <= 3e38 * 1e-6


def test_a_window_barely_past_a_tie() -> None:
    patches = np.array([[[0, 1]], [[0, 1]]], np.uint8)
    for more, expected in ((1e-9, 1), (-1e-9, 0), (0, 0)):
        assert merge(patches, Grid((1, 3), (1, 2), 1), window=[[1, 1 + more]]).tolist() == [[0, expected, 1]]


@pytest.mark.parametrize("dtype", ["u2", "i2", "u1"])
def test_means_of_hundreds_of_large_values_are_exact(dtype: str) -> None:
    most = int(np.iinfo(dtype).max)
    grid = Grid((44, 43), 22, 1)
    patches = np.random.default_rng(6).integers(most - 3, most, (grid.count, 22, 22), dtype, endpoint=True)
    sums = np.zeros((44, 43), np.int64)
    for one, (row, column) in zip(patches, grid.origins().tolist(), strict=True):
        sums[row : row + 22, column : column + 22] += one
    expected = [
        [round(Fraction(int(total), int(count))) for total, count in zip(*both, strict=True)]
        for both in zip(sums, grid.cover(), strict=True)
    ]
    assert merge(patches, grid).tolist() == expected


def test_more_patches_on_a_line_than_16_bits_add_up() -> None:
    grid = Grid((1100, 2), (515, 1), (2, 1))
    patches = np.full((grid.count, 515, 1), 255, np.uint8)
    assert grid.cover().max() == 258
    assert (merge(patches, grid) == 255).all()


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_float_sums_do_not_depend_on_parts(dtype: str) -> None:
    """Where three patch rows lie on a line they reach it in increasing order, whichever parts they come in."""
    grid = Grid((40, 24), (6, 5), (2, 3), margin=1)
    patches = np.random.default_rng(12).standard_normal((grid.count, 6, 5)).astype(dtype)
    whole = merge(patches, grid)
    sums = np.zeros(grid.padded)
    for patch, (row, column) in zip(patches, (grid.origins() + 1).tolist(), strict=True):
        sums[row : row + 6, column : column + 5] += patch
    assert np.abs(whole - sums[1:-1, 1:-1] / grid.cover()).max() < (1e-14 if dtype == "f8" else 1e-6)
    for rows in (1, 2, 5):
        got = in_blocks(grid, patches, streamed(), rows * patches[: grid.shape[1]].nbytes)
        assert got.image().tobytes() == whole.tobytes()


def test_cover_of_different_sides() -> None:
    cover = Cover(np.array([[1.0], [2.5]]), np.array([[3.0, 0.5, 1.0]]))
    assert (cover.most, cover.shape, cover.uncovered) == (8, (2, 3), 0)


def test_sums_are_saturated_at_both_ends() -> None:
    grid, origins = Grid((1, 2), 1), np.array([[0, 0], [0, 0], [0, 1], [0, 1]])
    for dtype in ("i8", "i2", "u1"):
        low, high = (int(limit) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        patches = np.array([low, low, high, high], dtype).reshape(4, 1, 1)
        divider = divider_of(patches, grid, streamed("sum"), origins=origins)
        fold = ScatteredFold(divider, streamed("sum"))
        fold.add(patches, 0)
        made = Merged(divider, fold.lines())
        assert made.image().tolist() == [[low, high]]
        assert made.saturated == (2 if low else 1)
    negative = np.full((2, 1, 1), -(2**40) - 1, np.int64)
    assert merge(negative, Grid((1, 1), 1), origins=origins[:2], reduce="sum").tolist() == [[-(2**41) - 2]]


def test_allowed_nan_is_refused_where_integers_come_out() -> None:
    with pytest.raises(PatchcliError, match=r"^1 value of the image would be NaN or infinite; .* for uint8$"):
        merge(np.array([[[np.nan, 1.0]]]), Grid((1, 2), (1, 2)), dtype="u1", allow_nonfinite=True)


def test_origins_in_a_narrow_dtype() -> None:
    grid = Grid((300, 2), 2, margin=3, edge="drop")
    patches, origins = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.uint8), np.array([[254, 0], [255, 0]], np.uint8)
    got = merge(patches, grid, origins=origins, fill=0)
    assert got[253:258].tolist() == [[0, 0], [1, 2], [4, 5], [7, 8], [0, 0]]


def test_nan_anywhere_on_a_pixel_spoils_its_median() -> None:
    patches, grid, origins = np.array([5, np.nan, 7, 9, 1]).reshape(5, 1, 1), Grid((1, 1), 1), np.zeros((5, 2), int)
    with pytest.raises(PatchcliError, match=r"^1 value of the image would be NaN or infinite"):
        merge(patches, grid, origins=origins, reduce="median")
    assert np.isnan(merge(patches, grid, origins=origins, reduce="median", allow_nonfinite=True)[0, 0])
    patches[1] = np.inf
    assert merge(patches, grid, origins=origins, reduce="median")[0, 0] == 7


def test_means_of_float32_that_became_float64() -> None:
    """The two middle values of a median are added in float64: near the end of float32 as anywhere."""
    most = np.finfo(np.float32).max
    patches = np.array([most, most / 2], np.float32).reshape(2, 1, 1)
    got = merge(patches, Grid((1, 1), 1), origins=np.zeros((2, 2), int), reduce="median")
    assert got.tolist() == [[float(np.float32(float(most) * 0.75))]]


# -- cutting and choosing ---------------------------------------------------------------------------------------------------


def test_parts_of_a_stack_of_several_pieces() -> None:
    image = np.random.default_rng(7).integers(0, 256, (128, 128), np.uint8)
    grid = Grid((128, 128), 16, 1)
    patches = extract(image, grid)[0]
    assert patches.nbytes > CUT_BYTES
    padded = Padded(ArraySource(image), grid)
    step = CUT_BYTES // 256
    for first, last in ((0, None), (5, 9), (step - 90, step + 300), (step + 200, grid.count)):
        assert np.array_equal(np.concatenate(list(cut(padded, first, last))), patches[first:last])
    chosen = np.random.default_rng(8).permutation(grid.count)
    assert len(list(cut_at(padded, chosen))) > 1
    assert np.array_equal(np.concatenate(list(cut_at(padded, chosen))), patches[chosen])


def test_numbers_of_patches_in_a_narrow_dtype() -> None:
    image, index = np.arange(3 * 400).reshape(3, 400), np.array([3, 255, 0], np.uint8)
    patches, origins = extract(image, Grid((3, 400), 2, 1), index=index)
    assert origins.tolist() == [[0, 3], [0, 255], [0, 0]]
    assert patches[:, 0, 0].tolist() == [3, 255, 0]


def test_no_starts_are_no_runs() -> None:
    assert runs(np.empty(0, np.int64)) == []


def test_something_else_than_an_image_has_no_view() -> None:
    for odd in (np.zeros((4, 4), complex), np.zeros((4, 4, 2, 2)), np.zeros((4, 4), "M8[s]"), np.zeros(4), np.float64(4)):
        with pytest.raises(PatchcliError, match=r"^image has (dtype|shape) .*; allowed are"):
            view(odd, 2)


def test_view_from_an_offset() -> None:
    image = np.arange(8 * 9 * 2).reshape(8, 9, 2)
    got = view(image, (2, 3), (3, 2), offset=(1, 2))
    assert got.shape == (2, 3, 2, 3, 2)
    for row, column in np.ndindex(2, 3):
        top, left = 1 + 3 * row, 2 + 2 * column
        assert np.array_equal(got[row, column], image[top : top + 2, left : left + 3])


def test_choosing_among_very_many_patches() -> None:
    mask = np.random.default_rng(9).random((520, 515)) < 0.4
    assert mask.size > CANDIDATES_TOGETHER
    mask.ravel()[CANDIDATES_TOGETHER - 1 : CANDIDATES_TOGETHER + 2] = True
    chosen = choose_patches(np.zeros(mask.shape, np.uint8), Grid(mask.shape, 1), mask=mask)
    assert np.array_equal(chosen, np.flatnonzero(mask))


def test_a_mask_is_false_where_constants_are_padded() -> None:
    chosen = choose_patches(
        np.zeros((2, 2), np.uint8), Grid((2, 2), 2, margin=2), mask=-np.ones((2, 2)), pad_mode="constant", pad_value=7
    )
    assert chosen.tolist() == [4]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"min_std": float("inf")}, r"min_std is inf; allowed are finite numbers from 0"),
        ({"seed": 2**64}, r"seed is 18446744073709551616; allowed are whole numbers from 0"),
        ({"max_patches": Fraction(3, 2)}, r"max_patches is Fraction\(3, 2\); allowed are whole numbers from 1, and fractions"),
        ({"mask": np.ones((4, 4)), "min_cover": 1.01}, r"min_cover is 1\.01; allowed are parts from 0 to 1"),
    ],
)
def test_choices_just_out_of_range(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        choose_patches(np.zeros((4, 4)), Grid((4, 4), 2), **options)


def test_choices_just_in_range() -> None:
    image, grid = np.zeros((4, 4)), Grid((4, 4), 2)
    three: Any = np.int64(3)
    assert len(choose_patches(image, grid, max_patches=three, seed=2**64 - 1)) == 3
    assert len(choose_patches(image, grid, max_patches=Fraction(1))) == 4
    for least in (0, 1):
        assert len(choose_patches(image, grid, mask=np.ones((4, 4)), min_cover=least)) == 4


def test_truth_is_no_number_of_pixels() -> None:
    with pytest.raises(PatchcliError, match="patch is True; allowed are a whole number or a pair"):
        Grid((8, 8), patch=True)
    with pytest.raises(PatchcliError, match="margin is True; allowed is a whole number"):
        Grid((8, 8), 2, margin=True)


@pytest.mark.parametrize(("room", "stride", "gaps"), [(3, 2, 2), (5, 3, 2), (82, 3, 28), (225, 17, 14), (2**39 + 1, 2**38, 3)])
def test_even_starts_are_rounded_as_fractions(room: int, stride: int, gaps: int) -> None:
    axis = Axis("width", room + 4, 4, stride, 0, "even", 0)
    assert axis.starts.tolist() == [round(Fraction(i * room, gaps)) for i in range(gaps + 1)]


def test_a_percentage_is_no_float() -> None:
    assert stride_from_overlap(500, "64.6%") == 500 - 323
    assert stride_from_overlap(1000, "32.3%") == 1000 - 323


def test_the_longest_axis() -> None:
    assert Axis("width", MAX_LENGTH, 1, MAX_LENGTH, 0, "drop", 0).count == 1
    for sizes in ((MAX_LENGTH + 1, 1, 1), (8, 1, MAX_LENGTH + 1)):
        with pytest.raises(PatchcliError, match=r"allowed are whole numbers from 1 to 2\*\*40"):
            Axis("width", *sizes, 0, "drop", 0)


# -- cropping ---------------------------------------------------------------------------------------------------------------


def linear(count: int, start: float, extent: float, length: int) -> NDArray[np.float64]:
    """Bilinear weights ``(count, length)`` of a span in pixels."""
    place = start + (np.arange(count) + 0.5) * extent / count - 0.5
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(length))))


def lanczos(count: int, start: float, extent: float, length: int) -> NDArray[np.float64]:
    """Lanczos weights ``(count, length)`` of a span inside the image: a windowed sinc as wide as the step, of sum 1."""
    step = extent / count
    away = (np.arange(length) + 0.5 - (start + (np.arange(count) + 0.5) * step)[:, None]) / max(1, step)
    weight = np.where(np.abs(away) < 3, np.sinc(away) * np.sinc(away / 3), 0)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def by_matrices(rows: NDArray[np.float64], columns: NDArray[np.float64], image: NDArray[Any]) -> NDArray[np.float64]:
    """A crop ``(h, w, C)`` from whole matrices of weights."""
    made: NDArray[np.float64] = np.einsum("ij,jkc,lk->ilc", rows, image.astype(np.float64), columns, optimize=True)
    return made


WAYS = {"bilinear": linear, "lanczos": lanczos}


@pytest.mark.parametrize(
    ("how", "dtype", "shape", "size"),
    [
        ("bilinear", "f8", (40, 50, 3), (700, 400)),  # lines, in parts
        ("bilinear", "u2", (40, 50, 3), (700, 400)),
        ("bilinear", "f8", (40, 3000, 2), (500, 150)),  # so sparse that pixels are gathered
        ("lanczos", "f8", (60, 1500, 4), (140, 60)),  # matrices, columns first
        ("lanczos", "u2", (60, 1500, 4), (140, 60)),
        ("lanczos", "f8", (300, 400, 2), (250, 3000)),  # rows first
        ("lanczos", "u2", (300, 400, 2), (250, 3000)),
    ],
)
def test_large_crops_in_parts(how: str, dtype: str, shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    image = (np.random.default_rng(10).random(shape) * 40_000 + 10_000).astype(dtype)
    spans = [(1.25, length - 3.5) for length in shape[:2]]
    box = spans[1][0], spans[0][0], spans[1][1], spans[0][1]
    rows, columns = (WAYS[how](n, *span, length) for n, span, length in zip(size, spans, shape[:2], strict=True))
    got, expected = crop(image, box, size, normalized=False, resampling=how), by_matrices(rows, columns, image)
    if dtype == "f8":
        assert np.abs(got - expected).max() < 1e-6
    else:
        assert np.abs(got - expected.clip(0, 65535)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("size", [(7, 5), (7, 90), (257, 1024)])
def test_nearest_pixels_far_apart_and_in_parts(size: tuple[int, int]) -> None:
    """Columns that are left out, columns close together, and more lines than are picked at once."""
    image = np.arange(30 * 400 * 2).reshape(30, 400, 2)
    got = crop(image, (1.25, 2.25, 397.3, 26.7), size, normalized=False, resampling="nearest")
    rows, columns = (
        np.rint(start + (np.arange(n) + 0.5) * extent / n - 0.5).astype(int)
        for n, start, extent in ((size[0], 2.25, 26.7), (size[1], 1.25, 397.3))
    )
    assert np.array_equal(got, image[rows][:, columns])


@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_pixel_without_weight_does_not_count(how: str, dtype: str) -> None:
    """Output pixels on the centres of input pixels, beside some that are NaN or infinite."""
    image = np.random.default_rng(15).random((8, 16, 2)).astype(dtype)
    image[:, 8:11], image[:, 11:] = np.nan, np.inf
    for size in ((8, 8), (4, 8)):
        got = crop(image, (-1, -1, 0, 1), size, resampling=how)
        assert np.isfinite(got).all()
    assert np.array_equal(crop(image, (-1, -1, 0, 1), (8, 8), resampling=how), image[:, :8])


def test_rows_between_pixels_are_no_copy() -> None:
    image = np.arange(30.0).reshape(6, 5) ** 2
    got = crop(image, (1, 2.5, 3, 2), normalized=False)
    assert got == pytest.approx(((image[2:4, 1:4] + image[3:5, 1:4]) / 2), rel=1e-14)
    got = crop(image, (1.5, 2, 3, 2), normalized=False)
    assert got == pytest.approx(((image[2:4, 1:4] + image[2:4, 2:5]) / 2), rel=1e-14)
    got = crop(image, (1, 2, 4, 2), (2, 2), normalized=False)
    assert got == pytest.approx(((image[2:4, 1:4:2] + image[2:4, 2:5:2]) / 2), rel=1e-14)


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "area", "lanczos"])
def test_an_axis_of_one_pixel_has_no_scale(how: str) -> None:
    """With align_corners any coordinate on it means that pixel."""
    image, options = np.arange(6.0)[None] ** 2, {"resampling": how, "align_corners": True, "normalized": False}
    for top, height in ((0, 1), (2.5, 4), (-7, -3)):
        got = crop(image, (1, top, 4, height), (2, 4), **options)  # type: ignore[arg-type]
        assert got == pytest.approx(image[[0, 0], 1:5], abs=1e-12)


@pytest.mark.parametrize("box", [(2, 0, -3, 1), (5, 0, -1, 1), (0, 1, 1, -2), (0, 3, 1, 2), (0, 5, 1, -1)])
def test_mirrored_boxes_outside_are_refused(box: tuple[int, ...]) -> None:
    image = np.zeros((4, 4))
    with pytest.raises(PatchcliError, match=r"reaches outside the image of width=4 height=4; use outside zeros"):
        crop(image, box, normalized=False, outside="error")
    assert crop(image, (4, 4, -4, -4), normalized=False, outside="error").shape == (4, 4)


@pytest.mark.parametrize(
    ("images", "box", "options", "sentence"),
    [
        (1, [(0, 0, 2, 2), (0, 0, 2, 3)], {}, r"boxes are of different sizes \(width=2 height=2, number 1 width=2 height=3\)"),
        (3, [(0, 0, 2, 2)] * 2, {}, "there are 3 images and 2 boxes; allowed are one box, or one for each image"),
        (3, [(0, 0, 2, 2)] * 4, {}, "there are 3 images and 4 boxes"),
        (1, (0, 0, 2, 2), {"size": (1, 2**20 + 1)}, r"crop size is width=1048577 height=1; allowed are 1 to 1048576"),
        (1, (0, 0, 2, 0), {}, "box is empty: width=2 height=0"),
        (1, (0, 0, 2.0**31, 1), {"size": 1}, r"box is \(0\.0, 0\.0, 2147483648\.0, 1\.0\); allowed are four finite numbers"),
        (1, [(0, 0, 1, 1), (0, 0, 2.0**31, 1)], {"size": 1}, r"box is \(0\.0, 0\.0, 2147483648\.0, 1\.0\)"),
    ],
)
def test_boxes_just_out_of_range(images: int, box: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        crop(np.zeros((images, 4, 4, 1)), box, normalized=False, **options)


def test_a_box_as_wide_as_a_filter_reaches() -> None:
    sampling, image = Sampling(normalized=False, resampling="area"), (1, 4)
    for extent in (2**20, -(2**20)):
        assert plan_of(image, (0, 0, extent, 1), 1, sampling).shape == (1, 1)
    with pytest.raises(PatchcliError, match=r"^box is 1\.04858e\+06 pixels wide or high, all of which area and lanczos would"):
        plan_of(image, (0, 0, -(2**20) - 1, 1), 1, sampling)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than double here")
@pytest.mark.parametrize("length", [7, 699])
def test_positions_are_rounded_once(length: int) -> None:
    span = span_of(-np.ones(1), np.ones(1), 331, length, normalized=True, align_corners=False)
    expected = [float(Fraction(length, 2) * Fraction(float(at) + 1) - Fraction(1, 2)) for at in base_of(span)]
    assert positions(span)[0].tolist() == expected


def test_pixel_boxes_in_normalized_coordinates() -> None:
    """Mirrored ones with align_corners, and an axis of one pixel."""
    assert normalized_box((1, 0, 3, 5), (5, 5), align_corners=True) == (-0.5, -1.0, 0.5, 1.0)
    assert normalized_box((4, 5, -3, -5), (5, 5), align_corners=True) == (0.5, 1.0, -0.5, -1.0)
    assert normalized_box((7, -3, 2, -9), (1, 1), align_corners=True) == (-1.0, -1.0, 1.0, 1.0)


def test_one_image_of_a_batch_stays_a_batch() -> None:
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    assert crop(image, (0, 0, 2, 2), normalized=False).shape == (1, 2, 2, 1)
    back, moved = crop_gradient(image, (0, 0, 2, 2), np.ones((1, 2, 2, 1)), normalized=False)
    assert (back.shape, moved.shape) == ((1, 4, 4, 1), (1, 4))


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_gradient_of_an_image_in_several_bands(channels: int) -> None:
    """More output pixels than one matrix holds, each way."""
    towards = np.random.default_rng(11).standard_normal((50, 41, channels))
    image = np.zeros((23, 31, channels))
    for how, weigh in WAYS.items():
        rows, columns = weigh(50, 2.5, 17, 23), weigh(41, 3.25, 22, 31)
        back, _ = crop_gradient(image, (3.25, 2.5, 22, 17), towards, normalized=False, resampling=how)
        assert np.abs(back - by_matrices(rows.T, columns.T, towards)).max() < 1e-12


def test_the_border_holds_its_outermost_centres() -> None:
    """Output pixels exactly on the outermost centres do not move; those between take the slope on their right."""
    image = np.array([[1.0, 4.0, 9.0, 16.0]])
    for number, slope in enumerate((0.0, 5.0, 7.0, 0.0)):
        _, moved = crop_gradient(image, (-1, -1, 1, 1), np.eye(4)[None, number], outside="border")
        base = (2 * number + 1) / 4 - 1
        assert moved.tolist() == [slope * (1 - base), 0.0, slope * (1 + base), 0.0]


@pytest.mark.parametrize("near", [3e-4, -7e-4, 0.0, 2e-3])
def test_lanczos_close_to_a_centre(near: float) -> None:
    """The derivative where it is taken from a series, against differences."""
    image, options = np.eye(9)[4:5] + 0.1 * np.arange(9), {"normalized": False, "resampling": "lanczos"}
    box, step = np.array([4.25 + near, 0, 1.0, 1.0]), np.array([1e-5, 0, 0, 0])
    _, moved = crop_gradient(image, box, [[1.0, 0.0]], **options)  # type: ignore[arg-type]
    before, after = (crop(image, box + by * step, (1, 2), **options)[0, 0] for by in (-1, 1))  # type: ignore[arg-type]
    assert moved[0] == pytest.approx((after - before) / 2e-5, abs=1e-6)


def test_lanczos_at_a_step_of_one_pixel() -> None:
    """Its slope is that of narrower steps."""
    image, options = np.arange(12.0)[None] ** 2, {"normalized": False, "resampling": "lanczos"}
    box = np.array([4.3, 0, 3.0, 1.0])
    _, moved = crop_gradient(image, box, [[1.0, 0.0, 2.0]], **options)  # type: ignore[arg-type]
    at = [(crop(image, box - [0, 0, by, 0], (1, 3), **options)[0] * [1, 0, 2]).sum() for by in (0, 1e-6)]  # type: ignore[arg-type]
    assert moved[2] == pytest.approx((at[0] - at[1]) / 1e-6, rel=1e-4)


# -- the container ----------------------------------------------------------------------------------------------------------

PLAIN = b"{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }\n"
MEMBER = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(PLAIN)) + PLAIN + b"abcd"
FLAGS, CRC, PACKED, SIZE, PLACE = 8, 16, 20, 24, 42  # where the directory of a zip file has them


def zipped(*members: bytes, method: int = zipfile.ZIP_STORED) -> bytearray:
    """A zip file of a.npy, b.npy, ..."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, member in zip("ab", members, strict=False):
            archive.writestr(f"{name}.npy", member)
    return bytearray(file.getvalue())


def claim(data: bytearray, field: int, value: int) -> bytearray:
    """The same file, whose directory says something else of its last member."""
    struct.pack_into("<H" if field == FLAGS else "<L", data, data.rfind(b"PK\x01\x02") + field, value)
    return data


def load(data: bytes | bytearray, name: str = "a") -> NDArray[Any]:
    return NpzReader(io.BytesIO(bytes(data))).open(name).load()


def bent(data: bytearray, place: int) -> bytearray:
    data[place] ^= 1
    return data


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            claim(claim(zipped(MEMBER + b"more", method=8), SIZE, len(MEMBER)), CRC, zlib.crc32(MEMBER)),
            "^member 'a' is longer than its header says",
        ),
        (claim(zipped(MEMBER, method=8), SIZE, 2**20), "^member 'a.npy' claims 1048576 bytes, more than it can unpack to"),
        (claim(zipped(MEMBER, MEMBER), PLACE, 0), "^member '[ab].npy' overlaps another; the file is damaged"),
        (
            claim(claim(zipped(MEMBER), PACKED, len(MEMBER) + 50), SIZE, len(MEMBER) + 50),
            "^member 'a.npy' reaches beyond the file",
        ),
        (claim(zipped(MEMBER), FLAGS, 1), "^member 'a.npy' is encrypted or compressed"),
        (claim(zipped(MEMBER), PACKED, len(MEMBER) - 1), "^member 'a.npy' is encrypted or compressed"),
        (claim(zipped(MEMBER, method=8), PACKED, 20), "^ends before its data do"),
        (bent(zipped(MEMBER), 2), "^member 'a' has no header where the directory says; the file is damaged"),
        (claim(zipped(MEMBER), CRC, 5), "^member 'a' is damaged: its checksum is .*, recorded is 00000005"),
    ],
)
def test_a_directory_that_lies(data: bytearray, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        load(data)


def test_the_longest_header() -> None:
    for more, sentence in ((0, None), (1, "no .npy header of version 1.0 or 2.0 and at most 4096 bytes")):
        header = PLAIN[:-1].ljust(4095 + more) + b"\n"
        member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"abcd"
        with contextlib.nullcontext() if sentence is None else pytest.raises(PatchcliError, match=sentence):
            assert load(zipped(member)).tobytes() == b"abcd"


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def text_of(array: NDArray[Any]) -> str:
    """An array saved by numpy, read as the text of a member."""
    return NpzReader(io.BytesIO(zipped(npy(array)))).open("a").load_text()


def test_text_of_either_byte_order_up_to_a_length() -> None:
    for dtype in ("<U9", ">U9"):
        assert text_of(np.array("grün \U0001f33f", dtype)) == "grün \U0001f33f"
    most = 2**22 + 2**18
    assert len(text_of(np.array("x" * most))) == most
    with pytest.raises(PatchcliError, match=rf"^member 'a' is <U{most + 1} of shape \(\); expected a string of at most {most}"):
        text_of(np.array("x" * (most + 1)))
    with pytest.raises(PatchcliError, match=rf"is <U1 of shape \(1,\); expected a string of at most {most}"):
        text_of(np.array(["x"]))
    with pytest.raises(PatchcliError, match=r"^member 'a' is not text$"):
        text_of(np.array([0xFFFFFFFF], "<u4").view("<U1")[0:1].reshape(()))


def test_members_that_are_no_arrays_have_no_name() -> None:
    data = io.BytesIO(bytes(zipped(MEMBER)))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("notes.txt", "for whom it may concern")
    assert NpzReader(data).names() == ["a"]


def test_pieces_of_arrays_in_either_order() -> None:
    arrays = [np.arange(5 * 6).reshape(5, 2, 3), 100 + np.arange(4 * 6).reshape(4, 2, 3), np.arange(6).reshape(1, 2, 3)]
    for turned in np.ndindex(2, 2, 2):
        kept = [np.asfortranarray(one) if turn else one for one, turn in zip(arrays, turned, strict=True)]
        streams = [NpzReader(io.BytesIO(npy(one))).open("") for one in kept]
        got = list(pieces(streams, [2, 2, 4, 1, 1], (2, 3)))
        assert [len(piece) for piece in got] == [2, 2, 4, 1, 1]
        assert np.array_equal(np.concatenate(got), np.concatenate(arrays))


# -- stacks -----------------------------------------------------------------------------------------------------------------


def written(stack: Stack, **changed: NDArray[Any]) -> io.BytesIO:
    """A stack file, with members as they are given."""
    file = io.BytesIO()
    write_stack(file, stack)
    file.seek(0)
    if changed:
        arrays = {**np.load(file), **changed}
        file = io.BytesIO()
        np.savez(file, **arrays)
    return file


def test_patches_are_picked_in_any_order() -> None:
    """Of a payload of several pieces, forwards and back again."""
    grid = Grid((512, 10_012), 512, (512, 500))
    patches = np.zeros((grid.count, 512, 512), np.uint32)
    patches[:, ::7, ::9] = np.arange(grid.count)[:, None, None]
    reader = StackReader(written(Stack(patches, grid.origins(), Meta(grid, (), np.dtype("u4")))))
    picker = Picker(Payload([StackFile("a", lambda: contextlib.nullcontext(reader))]))
    assert patches.nbytes > 2 * PICK_BYTES
    for numbers in ([0, 1, 2], [19, 2, 17, 7], [9], [19, 0, 3, 3], [], [1]):
        assert np.array_equal(picker(np.array(numbers, np.int64)), patches[numbers])


def small(**meta: Any) -> Stack:
    grid = Grid((5, 6), (2, 3), 2, offset=(1, 0), margin=1)
    image = np.arange(5 * 6 * 3, dtype=np.uint16).reshape(5, 6, 3)
    patches, origins = extract(image, grid)
    return Stack(patches, origins, Meta(grid, (3,), image.dtype)._replace(**meta))


def test_origins_of_other_dtypes_and_orders() -> None:
    stack = small()
    other = stack.origins[::-1].copy()
    for dtype in ("i8", ">i8", "i2", ">i4"):
        for order in ("C", "F"):
            for origins in (stack.origins, other):
                again = read_stack(written(stack, origins=origins.astype(dtype).copy(order)))
                assert again.origins.dtype == np.int64
                assert again.origins.dtype.isnative
                assert np.array_equal(again.origins, origins)


def test_origins_are_checked_wherever_they_differ() -> None:
    stack = small()
    for place in (0, len(stack.origins) - 1):
        origins = stack.origins.copy()
        origins[place, 1] = 99
        for given in (origins, origins.astype("i4")):
            with pytest.raises(PatchcliError, match=rf"^patch {place} has its origin at x=99"):
                read_stack(written(stack, origins=given))
    with pytest.raises(PatchcliError, match=r"has origins of dtype int64 and shape \(\d+, 3\); expected int64 \(N, 2\)"):
        read_stack(written(stack, origins=np.zeros((len(stack.origins), 3), int)))


def test_the_only_array_is_the_patches_whatever_its_name() -> None:
    stack = small()
    other, both = io.BytesIO(), io.BytesIO()
    np.savez(other, denoised=stack.patches)
    np.savez(both, denoised=stack.patches, noise=stack.patches)
    like = StackReader(written(stack))
    assert np.array_equal(StackReader(other, like=like).patches().load(), stack.patches)
    assert np.array_equal(StackReader(both, "noise", like).patches().load(), stack.patches)
    with pytest.raises(PatchcliError, match=r"has no array 'patches'; it has denoised, noise"):
        StackReader(both, like=like).patches()
    with pytest.raises(PatchcliError, match=r"is a \.npy, whose one array has no name; --key is for \.npz"):
        StackReader(io.BytesIO(npy(stack.patches)), "noise", like)


def test_patches_of_a_size_that_does_not_fit_are_refused() -> None:
    stack = small()
    odd = np.zeros((len(stack.patches), 3, 3, 3), np.uint16)
    with pytest.raises(PatchcliError, match=r"patches have width=3 height=3 where width=3 height=2 was recorded"):
        read_stack(written(stack, patches=odd))
    with pytest.raises(PatchcliError, match=r"patches have width=3 height=3 where width=3 height=2 was recorded"):
        write_stack(io.BytesIO(), stack._replace(patches=odd))
    with pytest.raises(PatchcliError, match="stack has 3 patches but"):
        read_stack(written(stack, patches=stack.patches[:3]))


def changed(text: str, **fields: Any) -> str:
    return json.dumps({**json.loads(text), **fields})


@pytest.mark.parametrize("shard", [[2, 2, 0], [True, 2, 0], [0, 2**48, 0], [0, 2, -1]])
def test_bad_numbers_of_shards(shard: list[int]) -> None:
    with pytest.raises(PatchcliError, match=r"^has shard=\[.*\] in its meta; allowed are (numbers below|3 whole numbers)"):
        Meta.from_json(changed(small().meta.to_json(), shard=shard))


def test_fields_just_out_of_range() -> None:
    read = json.loads(small().meta.to_json())
    for part, name, value, allowed in (
        ("image", "rotated", 1, "true or false"),
        ("image", "page", True, "a whole number"),
        ("grid", "pad_value", "1", "numbers, nan, inf, -inf"),
        ("grid", "pad_value", None, "a whole number or a number or a string"),
    ):
        text = changed(json.dumps(read), **{part: {**read[part], name: value}})
        with pytest.raises(PatchcliError, match=rf"^has {part}\.{name}=.* in its meta; allowed (is|are) {allowed}$"):
            Meta.from_json(text)


def test_numbers_that_are_allowed() -> None:
    text = changed(small(pad_value=2**60 + 1).meta.to_json(), shard=[1, 2, 2**32 - 1])
    meta = Meta.from_json(text)
    assert (meta.shard, meta.pad_value) == ((1, 2, 2**32 - 1), 2**60 + 1)
