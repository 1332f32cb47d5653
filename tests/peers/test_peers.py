"""Against the real packages that do a part of the same; without them, the references of the other tests stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli import Grid, crop, crop_gradient, extract, merge, view
from patchcli.images.difference import Differences
from patchcli.stacks.layouts import unroll
from tests.helpers.runs import Run, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

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


def test_scikit_learn_colour() -> None:
    module = peer("sklearn.feature_extraction.image")
    source = np.random.default_rng(3).integers(0, 256, (24, 31, 3)).astype(np.uint8)
    grid = Grid((24, 31), (4, 9), 1)
    patches, _ = extract(source, grid)
    assert np.array_equal(patches, module.extract_patches_2d(source, (4, 9)))
    changed = np.sin(patches / 40)
    assert np.abs(merge(changed, grid) - module.reconstruct_from_patches_2d(changed, source.shape)).max() < 1e-12


# fewer patches along an axis than the patch has pixels, and than half the image has
@pytest.mark.parametrize(("shape", "patch"), [((8, 9), (6, 7)), ((20, 20), (16, 16)), ((9, 40), (8, 8)), ((7, 8), (7, 8))])
def test_scikit_learn_sizes_whose_counts_older_versions_have_wrong(shape: tuple[int, int], patch: tuple[int, int]) -> None:
    module = peer("sklearn.feature_extraction.image")
    source = image(*shape)
    grid = Grid(shape, patch, 1)
    patches, _ = extract(source, grid)
    assert np.array_equal(patches, module.extract_patches_2d(source, patch))
    assert np.abs(merge(patches, grid) - source).max() < 1e-12
    if np.abs(module.reconstruct_from_patches_2d(patches, shape) - source).max() > 1e-6:
        pytest.skip("this scikit-learn divides by wrong counts at these sizes")
    changed = np.sin(patches)
    assert np.abs(merge(changed, grid) - module.reconstruct_from_patches_2d(changed, shape)).max() < 1e-12


@pytest.mark.parametrize("step", [1, 3, 7])
def test_scikit_image_windows(step: int) -> None:
    module = peer("skimage.util")
    windows = module.view_as_windows(image(), (7, 5), step)
    patches, _ = extract(image(), Grid((40, 47), (7, 5), step, edge="drop"))
    assert np.array_equal(patches.reshape(windows.shape), windows)
    assert np.array_equal(view(image(), (7, 5), step), windows)


@pytest.mark.parametrize("step", [1, 4])
def test_scikit_image_windows_of_colour(step: int) -> None:
    module = peer("skimage.util")
    source = np.random.default_rng(4).integers(0, 65536, (21, 26, 3)).astype(np.uint16)
    windows = module.view_as_windows(source, (6, 8, 3), (step, step, 3))  # (ny, nx, 1, 6, 8, 3)
    assert np.array_equal(view(source, (6, 8), step), windows[:, :, 0])


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


@pytest.mark.parametrize("channels", [(), (3,)])
def test_torch_columns_of_the_command_line(patchcli: Run, tmp_path: Path, channels: tuple[int, ...]) -> None:
    torch = peer("torch")
    functional = torch.nn.functional
    source = np.random.default_rng(5).standard_normal((23, 31, *channels)).astype(np.float32)
    write_image(tmp_path / "a.tif", source)
    options = ("-s", "7x4", "--stride", 3, "--layout", "columns")
    assert patchcli("extract", "a.tif", *options, "--edge", "drop", "-o", "a.npz").returncode == 0
    with np.load(tmp_path / "a.npz") as file:
        stack = dict(file)
    depth, count = source.size // (23 * 31), stack["patches"].shape[1]

    def by_channel(columns: NDArray[Any]) -> NDArray[Any]:
        """A column is row, column, channel here and channel, row, column in PyTorch."""
        return columns.reshape(4 * 7, depth, count).transpose(1, 0, 2).reshape(columns.shape)

    tensor = torch.from_numpy(source.reshape(23, 31, depth)).permute(2, 0, 1)[None]
    columns = functional.unfold(tensor, (4, 7), stride=3)[0].numpy()
    assert columns.dtype == stack["patches"].dtype == np.float32
    assert np.array_equal(by_channel(stack["patches"]), columns)
    if not channels:
        assert np.array_equal(stack["patches"], columns)

    changed = np.cos(stack["patches"])
    np.savez(tmp_path / "b.npz", **{**stack, "patches": changed})
    assert patchcli("merge", "b.npz", "-o", "b.tif", "--fill", 0).returncode == 0
    laid = torch.from_numpy(by_channel(changed))[None]
    folded = functional.fold(laid, (23, 31), (4, 7), stride=3)[0].permute(1, 2, 0).numpy().reshape(source.shape)
    counts = functional.fold(torch.ones(1, 4 * 7, count), (23, 31), (4, 7), stride=3)[0, 0].numpy()
    expected = folded / np.maximum(counts, 1).reshape(23, 31, *(1 for _ in channels))
    merged = read_image(tmp_path / "b.tif")
    assert merged.dtype == np.float32
    assert np.abs(merged - expected).max() < 1e-6


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 3)])
def test_unrolled_in_both_orders_as_ravel_does(shape: tuple[int, ...]) -> None:
    patches = np.random.default_rng(6).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(unroll(patches, "F"), [patch.ravel(order="F") for patch in patches])
    assert np.array_equal(unroll(patches, "C"), [patch.ravel() for patch in patches])


# some end with a patch that is shifted back, some need none; square patches are all that EMPatches cuts
EMPATCHES = [((40, 47), 8, 3), ((40, 40, 3), 8, 8), ((33, 29), 7, 2), ((12, 50), 12, 5), ((30, 41, 4), 10, 9), ((9, 9), 9, 1)]


def column_by_column(origins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which EMPatches cuts."""
    return np.lexsort((origins[:, 0], origins[:, 1]))


@pytest.mark.parametrize(("shape", "size", "stride"), EMPATCHES)
def test_empatches_cuts(shape: tuple[int, ...], size: int, stride: int) -> None:
    module = peer("empatches")
    source = np.random.default_rng(7).integers(0, 256, shape).astype(np.uint8)
    theirs, indices = module.EMPatches().extract_patches(source, patchsize=size, stride=stride)
    patches, origins = extract(source, Grid((shape[0], shape[1]), size, stride))
    order = column_by_column(origins)
    assert np.array_equal(patches[order], theirs)
    row, column = origins[order].T
    assert np.array_equal(np.stack([row, row + size, column, column + size], axis=1), indices)


@pytest.mark.parametrize(("theirs", "ours"), [("overwrite", "last"), ("min", "min"), ("max", "max")])
@pytest.mark.parametrize(("shape", "size", "stride"), EMPATCHES)
def test_empatches_merges(shape: tuple[int, ...], size: int, stride: int, theirs: str, ours: str) -> None:
    module = peer("empatches")
    rng = np.random.default_rng(8)
    grid = Grid((shape[0], shape[1]), size, stride)
    order = column_by_column(grid.origins())
    changed = rng.uniform(1, 9, (grid.count, size, size, *shape[2:])).astype(np.float32)  # its max starts from 0: none below
    indices = [(row, row + size, column, column + size) for row, column in grid.origins()[order].tolist()]
    expected = module.EMPatches().merge_patches(list(changed[order]), indices, mode=theirs)
    assert expected.dtype == np.float32
    assert np.array_equal(merge(changed, grid, reduce=ours), expected)
    as_given = np.array(indices)[:, [0, 2]]
    assert np.array_equal(merge(changed[order], grid, origins=as_given, reduce=ours), expected)


def test_empatches_average_where_no_more_than_two_patches_meet() -> None:
    module = peer("empatches")
    grid = Grid((8, 40), 8, 4)
    changed = np.random.default_rng(9).uniform(1, 9, (grid.count, 8, 8)).astype(np.float32)
    indices = [(row, row + 8, column, column + 8) for row, column in grid.origins().tolist()]
    expected = module.EMPatches().merge_patches(list(changed), indices, mode="avg")
    assert grid.cover().max() == 2
    assert np.abs(merge(changed, grid) - expected).max() < 1e-6


@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_patchify_cuts_and_rebuilds_where_the_step_divides(step: int) -> None:
    module = peer("patchify")
    source = image(40, 48)
    theirs = module.patchify(source, (8, 8), step)
    grid = Grid((40, 48), 8, step)
    patches, _ = extract(source, grid)
    assert np.array_equal(patches.reshape(theirs.shape), theirs)
    assert np.array_equal(merge(patches, grid, reduce="last"), module.unpatchify(theirs, (40, 48)))
    assert np.abs(merge(patches, grid) - source).max() < 1e-12
    if step == 8:
        changed = np.sin(patches)
        assert np.array_equal(merge(changed, grid), module.unpatchify(changed.reshape(theirs.shape), (40, 48)))


@pytest.mark.parametrize("step", [1, 3, 5])
def test_patchify_drops_what_does_not_fill_a_patch(step: int) -> None:
    module = peer("patchify")
    source = np.random.default_rng(10).integers(0, 256, (22, 31, 3)).astype(np.uint8)
    theirs = module.patchify(source, (9, 5, 3), step)  # (ny, nx, 1, 9, 5, 3)
    patches, _ = extract(source, Grid((22, 31), (9, 5), step, edge="drop"))
    assert np.array_equal(patches.reshape(theirs.shape), theirs)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (130, 250), (64, 64)])
@pytest.mark.parametrize(("overlap", "shared"), [(0.25, 16), (0.2, 12), (0.0, 0)])
def test_sahi_slices(height: int, width: int, overlap: float, shared: int, patchcli: Run, tmp_path: Path) -> None:
    module = peer("sahi.slicing")
    source = np.random.default_rng(11).integers(0, 256, (height, width, 3)).astype(np.uint8)
    write_image(tmp_path / "a.png", source)
    boxes = module.get_slice_bboxes(height, width, 64, 64, overlap_height_ratio=overlap, overlap_width_ratio=overlap)
    patches, origins = extract(source, Grid((height, width), 64, 64 - shared))
    assert np.array_equal(np.array(boxes)[:, 1::-1], origins)
    where = {"output_file_name": "a", "output_dir": str(tmp_path / "theirs")}
    sides = {"slice_height": 64, "slice_width": 64, "overlap_height_ratio": overlap, "overlap_width_ratio": overlap}
    module.slice_image(str(tmp_path / "a.png"), **where, **sides)
    for (x0, y0, x1, y1), patch in zip(boxes, patches, strict=True):
        assert np.array_equal(read_image(tmp_path / "theirs" / f"a_{x0}_{y0}_{x1}_{y1}.png"), patch)
    assert patchcli("extract", "a.png", "-s", 64, "--overlap", shared, "-o", "ours/{patch}.png").returncode == 0
    ours = sorted((tmp_path / "ours").glob("*.png"))
    assert np.array_equal([read_image(path) for path in ours], patches)


corner = st.floats(-3, 3) | st.integers(-12, 12).map(lambda quarter: quarter / 4)  # where ties are


@settings(max_examples=500)
@given(
    st.tuples(corner, corner, corner, corner).filter(lambda box: abs(box[0] - box[2]) > 1e-3 and abs(box[1] - box[3]) > 1e-3),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Since version 1.3.0:UserWarning")
def test_torch_affine_grid_and_grid_sample(
    box: tuple[float, float, float, float], shape: tuple[int, int], size: tuple[int, int], outside: str, how: str, align: bool
) -> None:
    against_torch(box, (*shape, 2), size, outside, how, align=align)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic"])
@pytest.mark.filterwarnings("ignore:Since version 1.3.0:UserWarning")
def test_torch_at_sizes_up_to_300(how: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, down, across = (int(side) for side in rng.integers(1, 301, 4))
    inside, anywhere, far = rng.uniform(-1, 1, 4), rng.uniform(-3, 3, 4), rng.uniform(-1, 1, 4) + rng.uniform(-9, 9)
    box = (inside, anywhere, far, np.round(anywhere * 4) / 4 + [0, 0, 0.125, 0.125])[seed % 4]
    outside = ("zeros", "border", "reflection")[seed % 3]
    against_torch(tuple(box.tolist()), (height, width, 1 + seed % 3), (down, across), outside, how, align=seed % 2 == 0)


def against_torch(
    box: tuple[float, ...], shape: tuple[int, ...], size: tuple[int, int], outside: str, how: str, *, align: bool
) -> None:
    """Values, the image's gradient and the box's, in float64."""
    torch = peer("torch")
    rng = np.random.default_rng(2)
    source, towards = rng.standard_normal(shape), rng.standard_normal((*size, shape[2]))
    image, corners = torch.from_numpy(source).requires_grad_(), torch.tensor(box, dtype=torch.float64, requires_grad=True)
    x0, y0, x1, y1 = corners
    theta = torch.stack([(x1 - x0) / 2, 0 * x0, (x1 + x0) / 2, 0 * y0, (y1 - y0) / 2, (y1 + y0) / 2]).reshape(1, 2, 3)
    flow = torch.nn.functional.affine_grid(theta, (1, shape[2], *size), align_corners=align)
    options = {"mode": how, "padding_mode": outside, "align_corners": align}
    sampled = torch.nn.functional.grid_sample(image.permute(2, 0, 1)[None], flow, **options)[0].permute(1, 2, 0)
    (sampled * torch.from_numpy(towards)).sum().backward()
    got = crop(source, box, size, outside=outside, resampling=how, align_corners=align)
    error = np.abs(got - sampled.detach().numpy()).max()
    assert error == 0 if how == "nearest" else error < 1e-9
    to_image, to_box = crop_gradient(source, box, towards, outside=outside, resampling=how, align_corners=align)
    assert np.abs(to_image - image.grad.numpy()).max() < 1e-8
    assert np.abs(to_box - corners.grad.numpy()).max() < 1e-8 * max(1, np.abs(to_box).max())


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(61, 47), (61, 47, 3)])
def test_scikit_image_figures_of_difference(dtype: str, shape: tuple[int, ...]) -> None:
    metrics = peer("skimage.metrics")
    rng = np.random.default_rng(1)
    original = rng.normal(100, 30, shape).astype(dtype)
    other = (original + rng.normal(0, 5, shape)).astype(dtype)
    differences = Differences(original.dtype)
    for top in range(0, len(original), 9):
        differences.add(original[top : top + 9], other[top : top + 9])
    found = differences.figures()
    wide = original.astype("f8"), other.astype("f8")  # as it computes floats of 32 bits in theirs
    data_range = float(np.ptp(wide[0])) if dtype[0] == "f" else float(np.iinfo(dtype).max - np.iinfo(dtype).min)
    assert found.data_range == data_range
    assert abs(found.rmse**2 - metrics.mean_squared_error(*wide)) < 1e-9
    assert abs(found.psnr - metrics.peak_signal_noise_ratio(*wide, data_range=data_range)) < 1e-9
