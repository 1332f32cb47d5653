"""Patches through a function: the same as cutting, calling, merging, in whatever batches and bands it is done."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, reject, settings

from patchcli import Grid, PatchcliError, extract, map_patches, merge
from patchcli.geometry.placement import Placement
from patchcli.patches import extract as extracting
from patchcli.patches import map as mapping
from patchcli.patches import merge_ranked, merge_streaming
from patchcli.patches.map import Batches, Mapped
from patchcli.patches.merge import checked_rule, merge_from
from patchcli.patches.normalize import Wanted
from patchcli.patches.padded import ArraySource, Padded
from patchcli.patches.reducers import REDUCERS
from patchcli.patches.sources import inside
from patchcli.patches.windows import as_window
from tests.helpers.strategies import FLOATS, grids, images_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
GRID = Grid((20, 30), 6, 4)
FUNCTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda patches: patches,
    "float": lambda patches: np.sqrt(np.abs(patches.astype(np.float32))),
    "double": lambda patches: patches.repeat(2, axis=1).repeat(2, axis=2),
    "one channel": lambda patches: patches if patches.ndim == 3 else patches[..., 0],
    "sum of each": lambda patches: np.broadcast_to(
        patches.reshape(len(patches), -1).astype(np.float64).mean(axis=1)[:, None, None], patches.shape[:3]
    ),
}


@contextlib.contextmanager
def small(nbytes: int) -> Iterator[None]:
    """Blocks, chunks and bands so small that few patches make up several of them."""
    with (
        mock.patch.object(extracting, "FOLD_BYTES", nbytes),
        mock.patch.object(extracting.blocks, "__defaults__", (nbytes,)),
        mock.patch.object(mapping, "FOLD_BYTES", nbytes),
        mock.patch.object(merge_streaming, "CHUNK_BYTES", nbytes),
        mock.patch.object(merge_streaming, "SUMS_BYTES", nbytes),
        mock.patch.object(merge_ranked, "BAND_BYTES", nbytes * 4),
    ):
        yield


def by_stack(
    image: NDArray[Any], grid: Grid, function: Callable[[NDArray[Any]], NDArray[Any]], batch: int, **options: Any
) -> NDArray[Any]:
    """The same by way of a stack: each patch cut, batches through the function, all of it merged."""
    index = options.pop("index", None)
    patches, origins = extract(image, grid, index=index)
    made = np.concatenate([function(patches[first : first + batch]) for first in range(0, len(patches), batch)])
    return merge(made, grid, origins=None if index is None else origins, **({"dtype": image.dtype} | options))


@given(st.data())
def test_it_is_extract_and_merge_without_the_stack(data: st.DataObject) -> None:
    grid = data.draw(grids(edges=("drop", "shift", "even", "pad")))
    image = data.draw(images_for(grid, ("u1", "i2", "u4", "i8", "?", *FLOATS)))
    function = FUNCTIONS[data.draw(st.sampled_from([*FUNCTIONS]))]
    batch = data.draw(st.integers(1, 40))
    reduce = data.draw(st.sampled_from([*REDUCERS]))
    options: dict[str, Any] = {"reduce": reduce, "fill": 0, "allow_nonfinite": True}
    if REDUCERS[reduce].weighted and data.draw(st.booleans()):
        options["window"] = "hann"
    if data.draw(st.booleans()):
        options["index"] = sorted(data.draw(st.sets(st.integers(0, grid.count - 1), min_size=1)))
    if data.draw(st.booleans()) or image.dtype.kind != "f":
        options["dtype"] = data.draw(st.sampled_from(["u1", "f8", "i4"] if image.dtype.kind != "f" else ["f4", "f8"]))
    with small(data.draw(st.sampled_from([1, 100, 1000, 1 << 23]))), np.errstate(all="ignore"):
        try:
            expected = by_stack(image, grid, function, batch, **options)
        except PatchcliError as error:
            with pytest.raises(PatchcliError, match=r"^.") as caught:
                map_patches(image, grid, function, batch=batch, **options)
            assert str(caught.value) == str(error)  # noqa: PT017  both say the same
        else:
            got = map_patches(image, grid, function, batch=batch, **options)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


@settings(max_examples=200)
@given(st.data())
def test_each_line_is_the_same_in_whatever_band_it_is_made(data: st.DataObject) -> None:
    grid = data.draw(grids(largest=20, edges=("drop", "shift", "even", "pad")))
    image = data.draw(images_for(grid, ("u1", "f4", "f8", "i8")))
    reduce = data.draw(st.sampled_from([*REDUCERS]))
    if reduce == "mode":
        image = (image * 0 + 3).astype(np.uint8)
    window = as_window("hann" if REDUCERS[reduce].weighted and data.draw(st.booleans()) else "uniform", grid.patch)
    some = sorted(data.draw(st.sets(st.integers(0, grid.count - 1), min_size=1))) if data.draw(st.booleans()) else None
    index = None if some is None else np.array(some)
    placement = Placement.whole_grid(grid) if index is None else Placement.at(grid, grid.starts_of(index) - grid.margin)
    wanted = Wanted(image.dtype, 0, trim=data.draw(st.booleans()), allow_nonfinite=True)
    halo = data.draw(st.integers(0, (min(grid.patch) - 1) // 2))
    with small(data.draw(st.sampled_from([1, 100, 1000, 1 << 23]))), np.errstate(all="ignore"):
        rule = checked_rule(reduce, None if halo else window, image.dtype)

        def lines(only: tuple[int, int] | None) -> tuple[NDArray[Any], Any]:
            mapped = Mapped(Padded(ArraySource(image), grid), index, lambda patches, _: patches, batch=batch)
            merged = merge_from(inside(mapped, placement.grid.patch), placement, rule, wanted=wanted, only=only)
            pieces = list(merged.made)
            return np.concatenate([np.empty((0, *merged.shape[1:]), merged.dtype), *pieces]), merged

        batch = data.draw(st.one_of(st.none(), st.integers(1, 50)))
        try:
            placement = placement.resized(grid.patch, halo)
            whole, merged = lines(None)
        except PatchcliError:
            reject()  # nothing is left of the patches, or of the image
        step = data.draw(st.integers(1, merged.shape[0]))
        cuts = range(0, merged.shape[0], step)
        made = [lines((top, min(top + step, merged.shape[0]))) for top in cuts]
        np.testing.assert_array_equal(np.concatenate([part for part, _ in made]), whole)
        assert sum(one.tally.saturated for _, one in made) == merged.tally.saturated
        assert sum(one.tally.nonfinite for _, one in made) == merged.tally.nonfinite


def test_batches_are_of_the_grid_alone() -> None:
    for size in (None, 1, 7, 1000):
        for nbytes in (1, 1 << 16, 1 << 21, 1 << 24):
            batches = Batches(Grid((400, 300), 8, 1), 393 * 293, nbytes, size)
            first, seen = 0, []
            while first < batches.count:
                begin, last = batches.of(first)
                assert begin == first < last <= batches.count
                assert all(batches.of(number) == (begin, last) for number in (first, (first + last) // 2, last - 1))
                seen.append(last - first)
                first = last
            assert max(seen) <= batches.size
            assert size is None or set(seen[:-1]) <= {size}


def test_what_the_function_gets() -> None:
    seen: list[tuple[NDArray[Any], NDArray[np.int64]]] = []

    def watching(patches: NDArray[Any], origins: NDArray[np.int64]) -> NDArray[Any]:
        seen.append((patches, origins))
        with pytest.raises(ValueError, match="read-only"):
            patches[0] = 0
        return patches

    map_patches(IMAGE, Grid((20, 30), 6, 4, margin=2), watching, batch=7)
    patches, origins = extract(IMAGE, Grid((20, 30), 6, 4, margin=2))
    np.testing.assert_array_equal(np.concatenate([one for one, _ in seen]), patches)
    np.testing.assert_array_equal(np.concatenate([one for _, one in seen]), origins)
    assert [len(one) for one, _ in seen] == [7] * (len(patches) // 7) + [len(patches) % 7] * (len(patches) % 7 > 0)
    assert seen[0][1].dtype == np.int64


def test_each_patch_is_given_once() -> None:
    for reduce in REDUCERS:
        counts = np.zeros(GRID.count, int)

        def counting(patches: NDArray[Any], origins: NDArray[np.int64]) -> NDArray[Any]:
            counts[[GRID.origins().tolist().index(one) for one in origins.tolist()]] += 1  # noqa: B023
            return patches

        with small(1000):
            map_patches(IMAGE, GRID, counting, reduce=reduce)
        assert (counts == 1).all(), reduce


def test_no_more_than_a_batch_and_what_is_asked_for_is_held() -> None:
    alive: list[Any] = []
    import weakref

    def watching(patches: NDArray[Any]) -> NDArray[Any]:
        alive[:] = [one for one in alive if one() is not None]
        assert len(alive) <= 2
        alive.append(weakref.ref(patches))
        return patches * 2

    with small(2000):
        map_patches(np.zeros((300, 40), np.uint8), Grid((300, 40), 8, 2), watching)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda _: None, "returned NoneType, not an array; is a return missing"),
        (lambda patches: patches.astype(object), "has dtype object"),
        (lambda _: [[1], [1, 2]], "returned list, of which numpy makes no array: setting an array element"),
        (lambda patches: patches[:-1], r"returned an array of shape \(34, 6, 6, 3\) for 35 patches \(35, 6, 6, 3\)"),
        (lambda patches: patches[..., 0, 0], r"shape \(35, 6\) for 35 patches"),
        (lambda patches: patches.astype(complex), "has dtype complex128"),
        (lambda patches: patches[:, :5], "patches have width=6 height=5 where width=6 height=6 was recorded"),
        (lambda patches: patches[:, 1:-1, 1:-1], "or --halo 1 if they lost 1 pixel on each side"),
        (lambda patches: patches * 1.0 / 0 * 0, "would be NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_function_may_not_return(function: Callable[[NDArray[Any]], Any], said: str) -> None:
    with pytest.raises(PatchcliError, match=said):
        map_patches(IMAGE, GRID, function)


def test_equal_patches_each_time() -> None:
    def growing(patches: NDArray[Any], origins: NDArray[np.int64]) -> NDArray[Any]:
        return patches if origins[0, 0] == 0 else patches.astype(np.int16)

    said = r"of shape \(6, 6, 3\) and int16, and of shape \(6, 6, 3\) and uint8 before; return equal ones each time; given were "
    with pytest.raises(PatchcliError, match=said + r"the patches 8 to 11, with origins from x=4 y=4 to x=16 y=4"):
        map_patches(IMAGE, GRID, growing, batch=4)


def test_what_a_function_raises_is_its_own() -> None:
    def failing(_patches: NDArray[Any]) -> NDArray[Any]:
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        map_patches(IMAGE, GRID, failing)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(PatchcliError, match="batch is 0; give a whole number of patches from 1"):
        map_patches(IMAGE, GRID, lambda patches: patches, batch=0)
    with pytest.raises(PatchcliError, match="give whole numbers from 0 to 34"):
        map_patches(IMAGE, GRID, lambda patches: patches, index=[35], fill=0)


def test_functions_that_are_not_written_in_python() -> None:
    np.testing.assert_array_equal(map_patches(IMAGE, GRID, np.positive), IMAGE)
    np.testing.assert_array_equal(map_patches(IMAGE, GRID, np.asarray), IMAGE)
