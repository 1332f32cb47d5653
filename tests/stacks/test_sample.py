"""Some patches of a file are those of the whole stack, wherever they stand in it, and nothing else is read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli import Grid, Meta, Stack, extract, write_stack
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Part
from patchcli.stacks.file import write_pieces
from patchcli.stacks.layouts import LAYOUTS, ORDERS
from patchcli.stacks.sample import open_sampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair


def stack_of(layout: str, order: str, channels: tuple[int, ...], dtype: str = "u2") -> Stack:
    rng = np.random.default_rng(len(layout))
    image = rng.integers(0, 60_000, (23, 31, *channels)).astype(dtype)
    grid = Grid((23, 31), (5, 7), (3, 4), edge="pad", margin=2)
    return Stack(*extract(image, grid), Meta(grid, channels, image.dtype, layout=layout, pixel_order=order))


def packed(stack: Stack, *, compress: bool = False) -> io.BytesIO:
    file = io.BytesIO()
    if not compress:
        write_stack(file, stack)
    else:
        plain = io.BytesIO()
        write_stack(plain, stack)
        plain.seek(0)
        payload = np.load(plain)["patches"]
        write_pieces(
            file, stack.meta, stack.patches.dtype, [payload], Part(stack.meta.grid, 0, len(stack.patches)), compress=True
        )
    return file


@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    order=st.sampled_from(ORDERS),
    channels=st.sampled_from([(), (3,)]),
    compress=st.booleans(),
    numbers=st.sets(st.integers(0, 63), min_size=1, max_size=9),
)
def test_some_patches_are_those_of_all(
    layout: str, order: str, channels: tuple[int, ...], compress: bool, numbers: set[int]
) -> None:
    stack = stack_of(layout, order, channels)
    wanted = np.array(sorted(number % len(stack.patches) for number in numbers))
    wanted = np.unique(wanted)
    sampled = open_sampled(packed(stack, compress=compress))
    assert sampled.shape == stack.patches.shape
    np.testing.assert_array_equal(sampled.pick(wanted), stack.patches[wanted])
    np.testing.assert_array_equal(sampled.origins(wanted), stack.origins[wanted])
    assert sampled.placement().whole


def test_a_stack_of_some_patches_tells_where_they_lie() -> None:
    stack = stack_of("stack", "C", ())
    some = Stack(stack.patches[::3], stack.origins[::3], stack.meta)
    sampled = open_sampled(packed(some))
    np.testing.assert_array_equal(sampled.placement().origins(), some.origins)
    np.testing.assert_array_equal(sampled.pick(np.array([0, 4])), some.patches[[0, 4]])


def test_as_many_patches_as_the_grid_has_may_lie_elsewhere() -> None:
    stack = stack_of("stack", "C", ())
    origins = np.repeat(stack.origins[:1], len(stack.origins), axis=0)
    placement = open_sampled(packed(Stack(stack.patches, origins, stack.meta))).placement()
    np.testing.assert_array_equal(placement.origins(), origins)
    with pytest.raises(PatchcliError, match="patch 0 has its origin at"):
        open_sampled(packed(Stack(stack.patches, stack.origins + 10**6, stack.meta))).placement()


@pytest.mark.parametrize("size", [(5, 7), (10, 14)])
def test_channels_that_come_first(size: Pair) -> None:
    stack = stack_of("stack", "C", ())
    patches: NDArray[np.float32] = np.random.default_rng(0).random((len(stack.patches), 3, *size), np.float32)
    file = io.BytesIO()
    np.savez(file, meta=np.array(stack.meta.to_json()), origins=stack.origins, patches=patches)
    sampled = open_sampled(file)
    assert sampled.shape == (len(patches), *size, 3)
    np.testing.assert_array_equal(sampled.pick(np.array([1, 7])), np.moveaxis(patches[[1, 7]], 1, -1))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_arrays_of_other_programs(order: str, dtype: str) -> None:
    patches = np.asarray(np.random.default_rng(0).random((9, 4, 6)), dtype, order=order)  # type: ignore[call-overload]
    for bare in (True, False):
        file = io.BytesIO()
        if bare:
            np.save(file, patches)
        else:
            np.savez(file, processed=patches)
        sampled = open_sampled(file)
        assert sampled.dtype == np.dtype("f4")
        np.testing.assert_array_equal(sampled.pick(np.array([2, 8])), patches[[2, 8]])
        assert sampled.origins(np.array([2])) is None
        with pytest.raises(PatchcliError, match="without origins, so that it is not known where they lie"):
            sampled.placement()


def test_what_is_not_asked_for_is_not_read() -> None:
    stack = stack_of("stack", "C", ())
    data = bytearray(packed(stack).getvalue())
    at = data.index(stack.patches[20].tobytes())
    data[at : at + 8] = b"\xff" * 8
    sampled = open_sampled(io.BytesIO(data))
    np.testing.assert_array_equal(sampled.pick(np.array([3, 30])), stack.patches[[3, 30]])
    assert (sampled.pick(np.array([20]))[0] != stack.patches[20]).any()


def test_arrays_that_are_no_patches() -> None:
    file = io.BytesIO()
    np.savez(file, one=np.zeros((3, 3)))
    with pytest.raises(PatchcliError, match=r"has an array of shape \(3, 3\); expected patches \(N, h, w\)"):
        open_sampled(file)
