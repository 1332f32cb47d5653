"""Against the real packages that do a part of the same; without them, the references of the other tests stand in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli import Grid, crop, extract, merge
from patchcli.layouts import unroll

REASON = "not installed; make .venv/peers.stamp installs what is only compared with"


def peer(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is {REASON}")


def image(height: int = 40, width: int = 47, dtype: str = "f8") -> NDArray[Any]:
    return np.random.default_rng(0).standard_normal((height, width)).astype(dtype)


def test_scikit_learn_patches_and_reconstruction() -> None:
    module = peer("sklearn.feature_extraction.image")
    source = image()
    grid = Grid((40, 47), (7, 5), 1)
    patches, _ = extract(source, grid)
    assert np.array_equal(patches, module.extract_patches_2d(source, (7, 5)))
    changed = np.sin(patches)
    assert np.abs(merge(changed, grid) - module.reconstruct_from_patches_2d(changed, (40, 47))).max() < 1e-12


@pytest.mark.parametrize("step", [1, 3, 7])
def test_scikit_image_windows(step: int) -> None:
    module = peer("skimage.util")
    windows = module.view_as_windows(image(), (7, 5), step)
    patches, _ = extract(image(), Grid((40, 47), (7, 5), step, edge="drop"))
    assert np.array_equal(patches.reshape(windows.shape), windows)


@pytest.mark.parametrize("stride", [1, 3, 6])
def test_torch_unfold_and_fold(stride: int) -> None:
    torch = peer("torch")
    functional = torch.nn.functional
    source = np.random.default_rng(1).standard_normal((40, 46, 3))
    grid = Grid((40, 46), (10, 4), stride, edge="drop")
    patches, _ = extract(source, grid)
    tensor = torch.from_numpy(source).permute(2, 0, 1)[None]
    columns = functional.unfold(tensor, (10, 4), stride=stride)[0].numpy()
    assert np.array_equal(unroll(patches.transpose(0, 3, 1, 2), "C").T, columns)
    changed = np.cos(patches)
    laid = torch.from_numpy(np.ascontiguousarray(changed.transpose(0, 3, 1, 2).reshape(grid.count, -1).T))[None]
    folded = functional.fold(laid, (40, 46), (10, 4), stride=stride)[0].permute(1, 2, 0).numpy()
    cover = np.maximum(grid.cover(), 1)[..., None]
    assert np.abs(merge(changed, grid, fill=0) - folded / cover).max() < 1e-12


corner = st.floats(-3, 3) | st.integers(-12, 12).map(lambda quarter: quarter / 4)  # where ties are


@settings(max_examples=600)
@given(
    st.tuples(corner, corner, corner, corner).filter(lambda box: abs(box[0] - box[2]) > 1e-3 and abs(box[1] - box[3]) > 1e-3),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.sampled_from(["bilinear", "nearest"]),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Since version 1.3.0:UserWarning")
def test_torch_affine_grid_and_grid_sample(
    box: tuple[float, float, float, float], shape: tuple[int, int], size: tuple[int, int], outside: str, how: str, align: bool
) -> None:
    torch = peer("torch")
    functional = torch.nn.functional
    source = np.random.default_rng(2).standard_normal(shape)
    x0, y0, x1, y1 = box
    theta = torch.tensor([[[(x1 - x0) / 2, 0, (x1 + x0) / 2], [0, (y1 - y0) / 2, (y1 + y0) / 2]]], dtype=torch.float64)
    flow = functional.affine_grid(theta, (1, 1, *size), align_corners=align)
    options = {"mode": how, "padding_mode": outside, "align_corners": align}
    sampled = functional.grid_sample(torch.from_numpy(source)[None, None], flow, **options)
    got = crop(source, box, size, outside=outside, resampling=how, align_corners=align)
    assert np.abs(got - sampled[0, 0].numpy()).max() < 1e-9
