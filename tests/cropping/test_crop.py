"""Crops against a loop over output pixels, against slices, and against Pillow."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from patchcli.arrays import limits
from patchcli.cropping import resample
from patchcli.cropping.coordinates import OUTSIDE
from patchcli.cropping.crop import LineCrop, crop
from patchcli.cropping.gather import gather_taps, lines
from patchcli.cropping.plan import Sampling, plan_of
from patchcli.cropping.resample import Matrices
from patchcli.cropping.taps import RESAMPLING, Taps
from patchcli.errors import PatchcliError
from patchcli.geometry.box import Box, normalized_box, pixel_box
from tests.helpers import references

corner = st.floats(-3, 3, allow_subnormal=False).map(lambda value: round(value, 3))
boxes = st.tuples(corner, corner, corner, corner).filter(lambda box: abs(box[0] - box[2]) > 0.01 and abs(box[1] - box[3]) > 0.01)
sides = st.integers(1, 9)


class Asked(NamedTuple):
    """What a crop of an image of some shape is asked for, whatever the resampling."""

    shape: tuple[int, int]
    box: Box
    size: tuple[int, int]
    outside: str
    align: bool


asked = st.builds(
    Asked, st.tuples(sides, sides), boxes, st.tuples(sides, sides), st.sampled_from(list(OUTSIDE)[:3]), st.booleans()
)


@given(asked)
def test_bilinear_and_bicubic_equal_the_loop(one: Asked) -> None:
    shape, box, size, outside, align = one
    image = np.random.default_rng(3).standard_normal(shape)
    for how in ("bilinear", "bicubic"):
        got = crop(image, box, size, resampling=how, outside=outside, align_corners=align)
        assert np.abs(got - references.crop(image, box, size, how, outside, align=align)).max() < 1e-11


@given(asked)
def test_nearest_takes_a_nearest_pixel(one: Asked) -> None:
    shape, box, size, outside, align = one
    image = np.arange(1.0, shape[0] * shape[1] + 1).reshape(shape)
    got = crop(image, box, size, resampling="nearest", outside=outside, align_corners=align)
    shifted = [
        references.crop(image, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy), size, "nearest", outside, align=align)
        for dx in (-1e-9, 0, 1e-9)
        for dy in (-1e-9, 0, 1e-9)
    ]
    assert np.any([got == one for one in shifted], axis=0).all()


@given(
    st.sampled_from(["?", "u1", "i2", "u4", "i8", "f2", "f4", "f8", ">u2"]),
    st.sampled_from([(), (1,), (3,)]),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(list(RESAMPLING)),
    st.booleans(),
)
def test_whole_pixel_box_is_the_slice(
    dtype: str,
    channels: tuple[int, ...],
    x: int,
    y: int,
    width: int,
    height: int,
    how: str,
    align: bool,
) -> None:
    image = np.random.default_rng(4).integers(0, 2**16 - 100, (17, 17, *channels)).astype(dtype)
    got = crop(image, (x, y, width, height), normalized=False, resampling=how, align_corners=align)
    assert got.dtype == image.dtype
    assert np.array_equal(got, image[y : y + height, x : x + width])
    assert np.array_equal(got, crop(image, (x, y, width, height), (height, width), normalized=False))


@pytest.mark.parametrize("how", list(RESAMPLING))
def test_a_mirrored_whole_pixel_box_is_the_mirrored_slice(how: str) -> None:
    image = np.random.default_rng(4).integers(-(2**62), 2**62, (9, 11))
    got = crop(image, (10, 3, -8, 5), normalized=False, resampling=how)
    assert np.array_equal(got, image[3:8, 2:10][:, ::-1])
    assert np.array_equal(crop(image, (2, 8, 8, -5), normalized=False, resampling=how), image[3:8, 2:10][::-1])
    lonely = np.full((9, 11), np.nan)
    lonely[3:8, 2:10] = 1
    assert crop(lonely, (10, 8, -8, -5), normalized=False, resampling=how).tolist() == np.ones((5, 8)).tolist()


@pytest.mark.parametrize(("outside", "row"), [("zeros", [0, 0, 1, 2, 3, 0]), ("border", [1, 1, 1, 2, 3, 3])])
def test_whole_pixel_box_across_the_border(outside: str, row: list[int]) -> None:
    image = np.array([[1, 2, 3]], np.uint8)
    assert crop(image, (-2, 0, 6, 1), normalized=False, outside=outside).tolist() == [row]


def test_whole_image_is_the_image_in_normalized_coordinates() -> None:
    image = np.random.default_rng(5).integers(0, 255, (9, 12, 3), np.uint8)
    assert np.array_equal(crop(image, (-1, -1, 1, 1)), image)
    assert np.array_equal(crop(image, (-1, -1, 1, 1), align_corners=True), image)
    assert np.array_equal(crop(image, (1, -1, -1, 1)), image[:, ::-1])


def test_nan_outside_the_box_does_not_leak() -> None:
    image = np.array([[1.0, np.nan], [2.0, np.nan]])
    assert crop(image, (0, 0, 1, 2), normalized=False).tolist() == [[1.0], [2.0]]
    assert crop(image, (-3, 0, 1, 2), (2, 2), normalized=False).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("how", list(RESAMPLING))
@pytest.mark.parametrize("size", [(7, 9), (40, 50), (400, 300)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_pixel_spoils_only_what_it_counts_for(how: str, size: tuple[int, int], bad: float) -> None:
    image = np.random.default_rng(0).random((60, 70, 2))
    clean = crop(image, (-0.9, -0.8, 0.7, 0.9), size, resampling=how)
    image[30, 40, 1] = bad
    got = crop(image, (-0.9, -0.8, 0.7, 0.9), size, resampling=how)
    assert np.allclose(got[..., 0], clean[..., 0], rtol=0, atol=1e-12)
    rows, columns = np.nonzero(~np.isfinite(got[..., 1]))
    reach = {"nearest": 1, "bilinear": 1, "bicubic": 2, "area": 1, "lanczos": 3}[how]
    centres = 60 * (1 + (-0.8 + 1.7 * (rows + 0.5) / size[0])) / 2, 70 * (1 + (-0.9 + 1.6 * (columns + 0.5) / size[1])) / 2
    steps = (max(1, 51 / size[0]), max(1, 56 / size[1])) if how in ("area", "lanczos") else (1, 1)
    assert np.all(np.abs(centres[0] - 30.5) <= reach * steps[0] + 1e-9)
    assert np.all(np.abs(centres[1] - 40.5) <= reach * steps[1] + 1e-9)
    sound = np.isfinite(got[..., 1])
    assert np.allclose(got[..., 1][sound], clean[..., 1][sound], rtol=0, atol=1e-12)


@pytest.mark.slow
@given(st.data())
def test_every_way_of_sampling_gives_the_same(data: st.DataObject) -> None:
    height, width, channels = (data.draw(st.integers(1, most)) for most in (60, 60, 6))
    dtype = np.dtype(data.draw(st.sampled_from(["f8", "u1", "u2", "f4"])))
    images = (np.random.default_rng(1).random((1, height, width, channels)) * 250).astype(dtype)
    size = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    count = data.draw(st.integers(1, 4))
    bounds = [data.draw(boxes) for _ in range(count)]
    how = data.draw(st.sampled_from(["bilinear", "bicubic", "area", "lanczos"]))
    outside = data.draw(st.sampled_from(list(OUTSIDE)[:3]))
    plan = plan_of(images[0].shape, bounds, size, Sampling(resampling=how, outside=outside))
    rows, columns = (RESAMPLING[how](span, outside, moving=False) for span in (plan.rows, plan.columns))
    shape = (count, *size, channels)
    out = [np.empty(shape, dtype) for _ in range(3)]
    lines(images, plan.which, rows, columns, out[0], np.arange(count))
    for number in range(count):
        gather_taps(images[0], rows.of(number), columns.of(number), out[1][number])
        matrices = Matrices(images[0].shape, dtype, rows.of(number), columns.of(number), saturate=False)
        across = columns.pixel[number].min(), columns.pixel[number].max() + 1
        out[2][number] = matrices.multiply(lambda some, of: images[0][slice(*some), slice(*of)], across, 0, size[0])
    slow = np.stack([dense(images[0], rows.of(number), columns.of(number)) for number in range(count)])
    tolerance = {"f8": 1e-9, "f4": 1e-3, "u1": 0.502, "u2": 0.5 + 1e-9}[dtype.str[1:]]
    if dtype.kind == "u":
        slow = np.clip(slow, 0, limits(dtype)[1])
    for one in out:
        assert np.abs(one - slow).max() <= tolerance


def dense(image: NDArray[Any], rows: Taps, columns: Taps) -> NDArray[np.float64]:
    """Both axes as whole matrices."""
    matrices = []
    for taps, length in ((rows, image.shape[0]), (columns, image.shape[1])):
        matrix = np.zeros((len(taps.pixel), length))
        for output, (pixels, weights) in enumerate(zip(taps.pixel, taps.weight, strict=True)):
            for pixel, weight in zip(pixels, weights, strict=True):
                matrix[output, pixel] += weight
        matrices.append(matrix)
    return np.asarray(np.einsum("ij,jkc,lk->ilc", matrices[0], image.astype(float), matrices[1]))


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[Any]:
    """Images of any dtype, high or wide or a single line, of floats some with NaN and infinity in them."""
    shape = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    channels = draw(st.sampled_from([(), (1,), (2,), (4,), (6,)]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    image = (rng.random((*shape, *channels)) * 250).astype(draw(st.sampled_from(["?", "u1", "i2", "u4", "i8", "f2", "f4", "f8"])))
    if image.dtype.kind == "f":
        for bad in draw(st.lists(st.sampled_from([np.nan, np.inf, -0.0]), max_size=2)):
            image[rng.integers(shape[0]), rng.integers(shape[1])] = bad
    return image


class Windows(NamedTuple):
    """An image of which only some rows and columns may be asked for, and so many rows at once."""

    image: NDArray[Any]
    rows: tuple[int, int]
    columns: tuple[int, int]
    deep: int

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[Any]:
        assert 0 <= self.rows[0] <= rows[0] < rows[1] <= min(self.rows[1], self.image.shape[0])
        assert 0 <= self.columns[0] <= columns[0] < columns[1] <= min(self.columns[1], self.image.shape[1])
        assert rows[1] - rows[0] <= self.deep
        return self.image[slice(*rows), slice(*columns)].copy()


pixel_boxes = st.one_of(
    st.tuples(*[st.integers(-40, 120)] * 4), st.tuples(*[st.floats(-40, 120).map(lambda value: round(value, 2))] * 4)
).filter(lambda box: abs(box[2]) > 0.01 and abs(box[3]) > 0.01)


@pytest.mark.slow
@settings(max_examples=400)
@given(
    image=pictures(),
    box=st.tuples(st.sampled_from([True]), boxes) | st.tuples(st.sampled_from([False]), pixel_boxes),
    size=st.none() | st.tuples(st.integers(1, 70), st.integers(1, 70)),
    how=st.sampled_from(list(RESAMPLING)),
    outside=st.sampled_from(list(OUTSIDE)[:3]),
    align=st.booleans(),
    data=st.data(),
)
def test_lines_are_the_same_from_the_pixels_that_they_read(
    image: NDArray[Any],
    box: tuple[bool, Box],
    size: tuple[int, int] | None,
    how: str,
    outside: str,
    align: bool,
    data: st.DataObject,
) -> None:
    sampling = Sampling(box[0], how, align, outside)
    alpha = data.draw(st.none() | st.integers(0, image.shape[2] - 1)) if image.ndim == 3 else None
    words: dict[str, Any] = {"normalized": box[0], "resampling": how, "align_corners": align, "outside": outside, "alpha": alpha}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ROWS_AT_ONCE", "MID_BYTES"):
            patch.setattr(resample, name, data.draw(st.sampled_from([1 << 10, getattr(resample, name)])))
        try:
            whole = crop(image, box[1], size, **words)
        except PatchcliError:  # colours over little alpha are too large for float16
            assume(image.dtype != np.float16)
            raise
        cut = LineCrop(plan_of(image.shape, box[1], size, sampling), image.dtype, sampling, alpha)
    assert cut.shape == whole.shape
    deep = cut.deep if np.isfinite(image).all() else len(image)
    ends = [*range(0, len(whole), data.draw(st.integers(1, 9)) * cut.step), len(whole)]
    for some in ([0, len(whole)], ends):
        parts = itertools.pairwise(some)
        made = [cut.lines(Windows(image, *cut.window(*part), deep).read, *part) for part in parts]
        got = np.concatenate(made)
        assert got.dtype == whole.dtype
        assert got.tobytes() == whole.tobytes()


@pytest.mark.parametrize("how", list(RESAMPLING))
def test_a_window_is_about_as_large_as_its_box(how: str) -> None:
    sampling = Sampling(normalized=False, resampling=how)
    cut = LineCrop(plan_of((50_000, 40_000, 3), (30_000.5, 20_000, 40, 30), None, sampling), np.dtype("u1"), sampling, None)
    rows, columns = cut.window(0, 30)
    assert 20_000 - 3 <= rows[0] < rows[1] <= 20_030 + 16  # the last block of lines may read more
    assert 30_000 - 3 <= columns[0] < columns[1] <= 30_041 + 3
    shrunk = LineCrop(plan_of((50_000, 40_000), (0, 0, 40_000, 50_000), 100, sampling), np.dtype("u1"), sampling, None)
    ends = [*range(0, 100, shrunk.step), 100]
    read = [np.ptp(shrunk.window(start, stop)[0]) for start, stop in itertools.pairwise(ends)]
    assert max(read) < 10_000


@given(st.data())
def test_a_batch_is_its_crops(data: st.DataObject) -> None:
    image = np.random.default_rng(6).integers(0, 256, (3, 20, 30, 3), np.uint8)
    bounds = [data.draw(boxes) for _ in range(3)]
    options: dict[str, Any] = {
        "resampling": data.draw(st.sampled_from(list(RESAMPLING))),
        "outside": data.draw(st.sampled_from(list(OUTSIDE)[:3])),
    }
    size = data.draw(st.tuples(sides, sides))
    each = crop(image, bounds, size, **options)
    one = crop(image[1], bounds, size, **options)
    same = crop(image, bounds[0], size, **options)
    assert each.shape == one.shape == same.shape == (3, *size, 3)
    for number in range(3):
        assert np.array_equal(each[number], crop(image[number], bounds[number], size, **options))
        assert np.array_equal(one[number], crop(image[1], bounds[number], size, **options))
        assert np.array_equal(same[number], crop(image[number], bounds[0], size, **options))
    assert crop(image[0, ..., 0], bounds, size, **options).shape == (3, *size)


def test_many_small_crops_equal_single_ones() -> None:
    image = np.random.default_rng(7).random((300, 400, 3), np.float32)
    rng = np.random.default_rng(8)
    corners = rng.uniform(-1.1, 0.8, (200, 2))
    bounds = np.concatenate([corners, corners + rng.uniform(0.05, 0.5, (200, 2))], axis=1)
    many = crop(image, bounds, (64, 48))
    for number in range(0, 200, 17):
        assert np.allclose(many[number], crop(image, bounds[number], (64, 48)), rtol=0, atol=1e-6)


def test_whole_and_fractional_pixel_boxes_in_one_batch() -> None:
    image = np.random.default_rng(9).integers(0, 2**62, (9, 9), np.int64)
    got = crop(image, [(1, 2, 4, 4), (1.5, 2, 4, 4)], normalized=False)
    assert np.array_equal(got[0], image[2:6, 1:5])


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.sampled_from(["area", "lanczos"]), st.booleans(), st.booleans())
def test_a_mirrored_filter_is_the_mirror_image(
    shape: tuple[int, int], size: tuple[int, int], how: str, align: bool, upside: bool
) -> None:
    image = np.random.default_rng(10).standard_normal(shape)
    x0, y0, x1, y1 = -0.8123, -0.7071, 0.6180, 0.9191  # area has no ties here, whose sides would change
    straight = crop(image, (x0, y0, x1, y1), size, resampling=how, align_corners=align)
    turned = crop(image, (x1, y1, x0, y0) if upside else (x1, y0, x0, y1), size, resampling=how, align_corners=align)
    assert np.allclose(turned, straight[::-1, ::-1] if upside else straight[:, ::-1], rtol=0, atol=1e-12)


eighths = st.integers(0, 800).map(lambda eighth: eighth / 8)  # numbers that Pillow's single precision holds


@settings(max_examples=400)
@given(st.data())
def test_area_and_lanczos_are_those_of_pillow(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 80))
    size = data.draw(st.tuples(st.integers(1, 80), st.integers(1, 80)))
    x, y = data.draw(eighths) % width, data.draw(eighths) % height
    across, down = max(0.125, data.draw(eighths) % (width - x)), max(0.125, data.draw(eighths) % (height - y))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    real = rng.random((height, width)).astype(np.float32)
    small = (
        rng.choice([0, 255], (height, width, 3)).astype(np.uint8)
        if height % 2
        else rng.integers(0, 256, (height, width, 3), np.uint8)
    )
    for how, filter_ in (("area", Image.Resampling.BOX), ("lanczos", Image.Resampling.LANCZOS)):
        for image, most in ((real, 1e-5), (small, 1)):
            theirs = Image.fromarray(image).resize(size[::-1], filter_, box=(x, y, x + across, y + down), reducing_gap=None)
            ours = crop(image, (x, y, across, down), size, normalized=False, resampling=how)
            assert np.abs(ours.astype(float) - np.asarray(theirs, float)).max() <= most


@pytest.mark.parametrize(("outside", "mode"), [("zeros", "constant"), ("border", "edge"), ("reflection", "symmetric")])
@pytest.mark.parametrize("how", ["area", "lanczos"])
def test_filters_beyond_the_border_read_the_padded_image(outside: str, mode: Any, how: str) -> None:
    image = np.random.default_rng(11).random((20, 24)).astype(np.float32)
    wide = np.pad(image, 20, mode=mode)
    got = crop(image, (-6.5, -5, 40, 37), (9, 11), normalized=False, resampling=how, outside=outside)
    filter_ = Image.Resampling.BOX if how == "area" else Image.Resampling.LANCZOS
    theirs = Image.fromarray(wide).resize((11, 9), filter_, box=(13.5, 15, 53.5, 52))
    inner = (slice(1, -1), slice(1, -1))  # outermost pixels reach further than the padding does
    assert np.abs(got - np.asarray(theirs))[inner].max() < 1e-5


@given(st.tuples(sides, sides), boxes, st.booleans())
def test_boxes_convert_both_ways(shape: tuple[int, int], box: tuple[float, ...], align: bool) -> None:
    x0, y0, x1, y1 = box
    ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if align and 1 in shape:
        return
    pixels = pixel_box(ordered, shape, align_corners=align)
    assert normalized_box(pixels, shape, align_corners=align) == pytest.approx(ordered, abs=1e-12)


def test_default_size_is_the_rounded_box() -> None:
    image = np.zeros((10, 20))
    assert crop(image, (0, 0, 2.6, 3.4), normalized=False).shape == (3, 3)
    assert crop(image, (-0.5, -0.5, 0.5, 0.5)).shape == (5, 10)
    assert crop(image, (0, 0, 0.2, 0.2), normalized=False).shape == (1, 1)


@pytest.mark.parametrize(
    ("box", "options", "sentence"),
    [
        ((0, 0, 0, 1), {}, "box is empty: width=0"),
        ((0, 0, float("nan"), 1), {}, "allowed are four finite numbers"),
        (None, {}, "box is None; allowed are four finite numbers"),
        ((10**400, 0, 1, 1), {}, "allowed are four finite numbers"),
        ((0, 0, 1, 1), {"size": 2.5}, "crop size is 2.5; allowed are a whole number or a pair"),
        ((0, 0, 1), {}, r"box is \(0, 0, 1\); allowed are four finite numbers"),
        ([(0, 0, 1, 1), (0, 0, np.inf, 1)], {}, r"box is \(0.0, 0.0, inf, 1.0\); allowed are four finite numbers"),
        ([(0, 0, 1, 1), (0, 1, 1, 1)], {"size": 3}, "box is empty: width=2 height=0"),
        ([(0, 0, 1, 1), (0, 0, 0.5, 1)], {}, r"boxes are of different sizes \(width=2 height=2, number 1 width=1 height=2\)"),
        (np.zeros((0, 4)), {}, "allowed are four finite numbers"),
        ((0, 0, 1, 1), {"resampling": []}, r"resampling is \[\]; allowed are nearest"),
        ((0, 0, 1, 1), {"outside": {}}, r"outside is \{\}; allowed are zeros"),
        ((0, 0, 1, 1), {"align_corners": "no"}, "align_corners is 'no'; allowed are True and False"),
        ((0, 0, 1, 1), {"normalized": np.array([1, 2])}, "normalized is array"),
        ((0, 0, 1e7, 1), {"size": 4, "resampling": "lanczos"}, "box is 2e.07 pixels wide or high, all of which area and lanczos"),
        ((0, 0, 1, 1), {"size": 0}, "crop size is width=0 height=0; allowed are 1 to 1048576"),
        ((0, 0, 1, 1), {"resampling": "cubic"}, "resampling is 'cubic'; allowed are nearest, bilinear, bicubic, area, lanczos"),
        ((0, 0, 1, 1), {"outside": "wrap"}, "outside is 'wrap'; allowed are zeros, border, reflection, error"),
        ((-1.2, -1, 1, 1), {"outside": "error"}, "reaches outside the image of width=4 height=4; use outside zeros"),
        ((-1e300, -1, 1, 1), {}, "allowed are four finite numbers below"),
    ],
)
def test_bad_box(box: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        crop(np.zeros((4, 4)), box, **options)


def test_a_ragged_image_and_a_size_that_is_an_array() -> None:
    with pytest.raises(PatchcliError, match="image has rows of different lengths"):
        crop([[1, 2], [1]], (-1, -1, 1, 1), 8)
    assert crop(np.eye(4), (-1, -1, 1, 1), np.array(8)).shape == (8, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["u1", "u2", "f4", "f8", "i2"])
@pytest.mark.parametrize("how", ["area", "lanczos"])
@pytest.mark.parametrize("alpha", [0, 3])
def test_colours_weigh_as_much_as_they_show(code: str, how: str, alpha: int) -> None:
    rng = np.random.default_rng(alpha)
    image = (rng.random((24, 30, 4)) * (1 if code[0] == "f" else np.iinfo(code).max)).astype(code)
    image[:8, :9, alpha] = 0
    box, size, full = (1.5, 0, 26, 22.25), (7, 9), 1 if code[0] == "f" else np.iinfo(code).max
    got = crop(image, box, size, normalized=False, resampling=how, alpha=alpha)
    part = image[..., [alpha]].astype(np.float64)
    weighed = np.where(np.arange(4) == alpha, image, image * (part / full))
    made = crop(weighed, box, size, normalized=False, resampling=how)
    with np.errstate(all="ignore"):
        colours = np.where(made[..., [alpha]] > 0, made * full / made[..., [alpha]], 0)
    expected = np.where(np.arange(4) == alpha, made, colours)
    if code[0] != "f":
        expected = np.clip(np.rint(expected), np.iinfo(code).min, full)
    opaque = made[..., alpha] > 0.3 * full  # where alpha is small, uint8 is coarse
    assert np.abs(got - expected)[opaque].max() <= {"u1": 8, "u2": 1, "i2": 1, "f4": 1e-5, "f8": 1e-12}[code]
    several = crop(image, [box, (0, 0, 9, 7)], size, normalized=False, resampling=how, alpha=alpha)
    assert np.array_equal(several[0], got)
    for plain in ("nearest", "bilinear", "bicubic"):
        same = crop(image, box, size, normalized=False, resampling=plain)
        assert np.array_equal(crop(image, box, size, normalized=False, resampling=plain, alpha=alpha), same)


def test_alpha_is_a_channel() -> None:
    for wrong in (4, -1, 1.0, "a"):
        with pytest.raises(PatchcliError, match=r"alpha is .*; allowed are None and numbers of channels, 0 to 3"):
            crop(np.zeros((4, 4, 4)), (-1, -1, 1, 1), 2, resampling="area", alpha=wrong)  # type: ignore[arg-type]
