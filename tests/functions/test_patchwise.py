"""Pieces of patches, laid along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli.functions import patchwise as module
from patchcli.functions.patchwise import patchwise, rows_and_columns


@pytest.mark.parametrize(("count", "shape"), [(3000, (8, 8)), (5, (300, 400)), (900, (8, 12, 3)), (1, (1, 1)), (70000, (1, 2))])
def test_pieces_make_up_the_batch(count: int, shape: tuple[int, ...]) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    seen: list[tuple[int, ...]] = []

    def negative(piece: NDArray[Any]) -> NDArray[Any]:
        assert piece.flags.c_contiguous
        assert piece.flags.writeable
        seen.append(piece.shape)
        piece *= -1
        return piece

    assert np.array_equal(patchwise(patches, negative, np.float32), -patches.astype(np.float32))
    assert {one[:-1] for one in seen} == {shape}
    assert sum(one[-1] for one in seen) == count
    assert max(np.prod(one) for one in seen) <= module.VALUES + 16 * np.prod(shape)


def test_rows_then_columns() -> None:
    piece = np.arange(24.0).reshape(2, 3, 4)
    found = rows_and_columns(piece, lambda lines: np.cumsum(lines, axis=0))
    assert np.array_equal(found.swapaxes(0, 1), piece.cumsum(axis=0).cumsum(axis=1))
