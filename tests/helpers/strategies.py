"""Hypothesis strategies that several test files share."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
from numpy.typing import NDArray

from patchcli.geometry.axis import EDGES
from patchcli.geometry.grid import Grid
from patchcli.patches.padded import PAD_MODES

INTEGERS = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i4")
FLOATS = ("f2", "f4", "f8", ">f4")


@st.composite
def grids(draw: st.DrawFn, largest: int = 14, edges: tuple[str, ...] = tuple(EDGES)) -> Grid:
    """Grids of every rule on small images, patches that fit or are padded."""
    edge, margin = draw(st.sampled_from(edges)), draw(st.integers(0, 3))
    sides = []
    for _ in range(2):
        length, stride, offset = draw(st.integers(1, largest)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
        total = length + 2 * margin
        offset = min(offset, total - 1)
        most = 8 if edge in ("pad", "clip") else min(8, total - offset)
        sides.append((length, draw(st.integers(1, most)), stride, offset))
    image, patch, stride2, offset2 = ((rows, columns) for rows, columns in zip(*sides, strict=True))
    return Grid(image, patch, stride2, offset=offset2, edge=edge, margin=margin)


@st.composite
def images_for(draw: st.DrawFn, grid: Grid, dtypes: tuple[str, ...] = INTEGERS) -> NDArray[Any]:
    """An image of a grid's shape, gray or with channels, of any dtype, with every bit pattern of integers."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    channels = draw(st.sampled_from([(), (1,), (2,), (3,), (4,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (*grid.image, *channels)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 100).astype(dtype)
    return np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


pad_modes = st.sampled_from(PAD_MODES)
