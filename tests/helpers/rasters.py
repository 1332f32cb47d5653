"""Rasters of every odd kind, for pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from patchcli.pictures.raster import Raster

DTYPES = ("?", "u1", "i1", "u2", "u8", "i8", "f2", "f4", "f8")
PAGE = (300, 420)


def raster_of(pixels: Any, **more: Any) -> Raster:
    """A raster of an array as it is."""
    array = np.asarray(pixels)
    return Raster(pixels=array, dtype=array.dtype, **more)


def pixels_of(seed: int, shape: tuple[int, ...], dtype: str) -> Any:
    """Any values that a dtype holds."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    return raw.view(dtype)[..., 0] if dtype != "?" else raw[..., 0] > 99


@st.composite
def rasters(draw: st.DrawFn, sides: tuple[int, int] = (90, 90)) -> Raster:
    """Any dtype, number of channels, and meaning of its values."""
    shape: tuple[int, ...] = tuple(draw(st.integers(1, side)) for side in sides)
    channels = draw(st.sampled_from([0, 0, 1, 2, 3, 4, 6]))
    shape = (*shape, channels) if channels else shape
    dtype = draw(st.sampled_from(DTYPES))
    pixels = pixels_of(draw(st.integers(0, 9)), shape, dtype)
    if draw(st.booleans()) and draw(st.booleans()):
        pixels[...] = draw(st.sampled_from([0, 1, np.nan, np.inf])) if dtype[0] == "f" else pixels.flat[0]
    return Raster(
        pixels=pixels,
        dtype=np.dtype(dtype),
        factor=draw(st.sampled_from([1, 1, 2, 17, 40000])),
        photometric=draw(st.sampled_from(["minisblack", "miniswhite", "rgb", "separated"])),
        alpha=channels - 1 if channels > 1 and draw(st.booleans()) else None,
        labels=draw(st.booleans()),
        nodata=draw(st.sampled_from([None, None, 0, -9999, 1e300])),
    )
