"""What all functions keep to: shape, dtype, an untouched batch, and bits that follow from the patch alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli import Grid, extract, functions, merge
from patchcli.errors import PatchcliError
from tests.helpers.pages import page

Batch = NDArray[Any]
Function = Callable[[Batch], Batch]
FUNCTIONS: dict[str, Function] = {
    "identity": functions.identity,
    "median_filter": functions.median_filter,
    "gaussian_filter": functions.gaussian_filter,
    "dct_denoise": partial(functions.dct_denoise, sigma=12),
    "normalize": functions.normalize,
}
KEEP = ("identity", "median_filter")  # the dtype
DTYPES = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
WIDE = ("u4", "i4", "u8", "i8", "f8")  # what float32 does not hold

every = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
computed = pytest.mark.parametrize("function", [FUNCTIONS[name] for name in FUNCTIONS if name != "identity"])


def batch(count: int, shape: tuple[int, ...], dtype: str, seed: int = 0) -> Batch:
    values = np.random.default_rng(seed).integers(0, 100, (count, *shape))
    patches = (values > 49 if dtype == "?" else values).astype(dtype)
    patches.flags.writeable = False
    return patches


def bits(patches: Batch) -> list[bytes]:
    return [patch.tobytes() for patch in patches]


def test_these_are_all() -> None:
    assert sorted(FUNCTIONS) == sorted(functions.__all__)


@every
@pytest.mark.parametrize("shape", [(8, 8), (5, 9, 3)])
@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">f8"])
def test_shape_and_dtype(function: Function, shape: tuple[int, ...], dtype: str) -> None:
    patches = batch(7, shape, dtype)
    before = patches.tobytes()
    found = function(patches)
    assert found.shape == patches.shape
    assert patches.tobytes() == before
    name = next(name for name, one in FUNCTIONS.items() if one is function)
    expected = patches.dtype if name in KEEP else np.dtype("f8" if dtype.strip(">") in WIDE else "f4")
    assert np.can_cast(found.dtype, expected, "equiv")
    assert function(patches[:0]).shape == (0, *shape)


# sizes with factors of 2 and without, a channel or more, and more patches than a piece holds
@every
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize(("count", "shape"), [(3000, (8, 8)), (900, (8, 12, 3)), (700, (15, 7)), (9000, (4, 4)), (90, (39, 39))])
def test_a_patch_gives_the_same_bits_in_any_company(function: Function, dtype: str, count: int, shape: tuple[int, ...]) -> None:
    patches = batch(count, shape, dtype)
    if dtype != "u1":
        patches = (patches + np.random.default_rng(1).standard_normal(patches.shape)).astype(dtype)
    whole = bits(function(patches))
    for size in (1, 2, 7, 31, 500):
        chosen = range(0, min(count, 40 * size), size)
        assert [one for start in chosen for one in bits(function(patches[start : start + size]))] == whole[
            : min(count, 40 * size)
        ]
    order = np.random.default_rng(2).permutation(count)
    assert bits(function(patches[order])) == [whole[k] for k in order]
    assert len(set(bits(function(np.repeat(patches[:1], count, axis=0))))) == 1


@computed
@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)) | st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    start=st.integers(0, 30),
    size=st.integers(1, 40),
    shift=st.integers(0, 16),
    seed=st.integers(0, 99),
)
def test_neither_place_nor_alignment_matters(
    function: Function, shape: tuple[int, ...], start: int, size: int, shift: int, seed: int
) -> None:
    patches = np.random.default_rng(seed).standard_normal((40, *shape)).astype(np.float32)
    raw = np.empty(patches.nbytes + 64, np.uint8)
    moved = raw[shift * 4 : shift * 4 + patches.nbytes].view(np.float32).reshape(patches.shape)
    moved[...] = patches
    part = slice(start, start + size)
    assert bits(function(moved[part])) == bits(function(patches))[part]
    assert bits(function(patches[::-3])) == bits(function(patches))[::-3]


@computed
def test_channels_do_not_mix(function: Function) -> None:
    patches = batch(6, (8, 8, 3), "u1")
    if function is functions.normalize:
        pytest.skip("normalises all channels together")
    apart = [function(np.ascontiguousarray(patches[..., k])) for k in range(3)]
    assert np.array_equal(function(patches), np.stack(apart, axis=-1))


@computed
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_bad_patch_spoils_no_other(function: Function, bad: float) -> None:
    patches = batch(5, (8, 8), "f4").copy()
    clean = function(patches)
    patches[2, 3, 3] = bad
    found = function(patches)
    others = [0, 1, 3, 4]
    assert np.array_equal(found[others], clean[others])
    if np.isnan(bad):
        assert np.isnan(found[2, 3, 3])


@pytest.mark.parametrize(("radius", "function"), [(2, partial(functions.median_filter, size=5)), (4, functions.gaussian_filter)])
@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_with_the_halo_it_is_the_filter_of_the_image(radius: int, function: Function, dtype: str) -> None:
    image = np.random.default_rng(5).integers(0, 256, (61, 47, 3)).astype(dtype)
    grid = Grid((61, 47), (20, 16), (20 - 2 * radius, 16 - 2 * radius), edge="pad", margin=radius)
    patches, _ = extract(image, grid)
    merged = merge(function(patches), grid, halo=radius)
    assert np.allclose(merged, function(image[None])[0], rtol=1e-6)


def test_identity_is_the_same_array() -> None:
    patches = batch(3, (4, 4), "u2")
    assert functions.identity(patches) is patches


@computed
@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8, 3, 1), (2, 0, 8)])
def test_what_is_not_a_batch_is_refused(function: Function, shape: tuple[int, ...]) -> None:
    with pytest.raises(PatchcliError, match=r"batch of patches has shape .*; allowed are \(B, h, w\) and \(B, h, w, C\)"):
        function(np.zeros(shape))


@computed
def test_complex_numbers_are_refused(function: Function) -> None:
    with pytest.raises(PatchcliError, match="batch of patches has dtype complex128; allowed are bool, integers and floats"):
        function(np.zeros((2, 8, 8), complex))


BAD = {
    functions.dct_denoise: ({"sigma": -1}, {"sigma": np.nan}, {"sigma": np.inf}, {"sigma": 1, "threshold": -3}),
    functions.median_filter: ({"size": 0}, {"size": 4}, {"size": -3}, {"size": 2.5}),
    functions.gaussian_filter: ({"sigma": 0}, {"sigma": np.nan}, {"truncate": 0}, {"sigma": np.inf}),
    functions.normalize: ({"epsilon": 0}, {"epsilon": np.nan}, {"mean": np.nan}, {"deviation": np.inf}),
}


@pytest.mark.parametrize(("function", "given"), [(function, one) for function, every in BAD.items() for one in every])
def test_bad_parameters_are_refused(function: Callable[..., Batch], given: dict[str, float]) -> None:
    name, value = list(given.items())[-1]
    with pytest.raises(ValueError, match=rf"^{name}={value} is not possible; allowed is an? "):
        function(batch(2, (8, 8), "u1"), **given)


@pytest.mark.parametrize("name", functions.__all__)
def test_parameters_are_keywords_that_the_command_line_can_set_and_the_page_names(name: str) -> None:
    _, *parameters = inspect.signature(getattr(functions, name)).parameters.values()
    section = page("functions.md").partition(f"## `{name}`")[2].partition("\n## ")[0]
    assert section
    for one in parameters:
        assert one.kind is inspect.Parameter.KEYWORD_ONLY
        assert one.annotation in {"int", "float", "str", "bool"}
        default = "" if one.default is inspect.Parameter.empty else f"{one.default:g}"
        assert f"| `{one.name}` | {default} |".replace("  ", " ") in section
