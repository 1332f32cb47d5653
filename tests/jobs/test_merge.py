"""Merging as processes do it: what it holds, what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchcli import read_stack, write_stack
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.jobs import merge_plan
from patchcli.jobs.merge import merge_one
from patchcli.jobs.settings import MergeSettings
from patchcli.jobs.task import MergeTask
from patchcli.stacks.file import Stack
from patchcli.stacks.header import Meta
from tests.helpers.runs import MEASURE, Run, gray, read_image, refused, tree, write_image

if TYPE_CHECKING:
    from pathlib import Path


def no_tick(_now: int, _total: int) -> None:
    """Nobody looks."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
@pytest.mark.parametrize("options", [[], ["--window", "hann"], ["--cover", "cover.npy"], ["--reduce", "last"]])
def test_a_tall_image_of_shuffled_patches_is_never_held(options: list[str], tmp_path: Path) -> None:
    """Its peak is that of a small image, and some megabytes."""
    side, tall = 200, 600_000
    grid = Grid((tall, side), side)
    values = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    patches = np.broadcast_to(values, (grid.count, side, side)) + np.arange(grid.count, dtype=np.uint8)[:, None, None]
    order = np.random.default_rng(1).permutation(grid.count)
    write_stack(tmp_path / "tall.npz", Stack(patches[order], grid.origins()[order], Meta(grid, (), np.dtype("u1"))))
    small = Grid((side, side), side)
    write_stack(tmp_path / "small.npz", Stack(patches[:1], small.origins(), Meta(small, (), np.dtype("u1"))))
    peaks = []
    for name in ("small", "tall"):
        command = [sys.executable, "-m", "patchcli", "merge", f"{name}.npz", "-o", f"{name}.npy", "--overwrite", *options]
        measured = [sys.executable, "-S", "-c", MEASURE, *command]
        done = subprocess.run(measured, cwd=tmp_path, check=True, capture_output=True, text=True)
        code, peak = map(int, done.stdout.split())
        assert code == 0
        peaks.append(peak * 1024)
    assert np.array_equal(np.load(tmp_path / "tall.npy", mmap_mode="r"), patches.reshape(tall, side))
    assert peaks[1] - peaks[0] < 0.8 * tall * side


@pytest.mark.parametrize("options", [[], ["--cover", "c.npy"], ["--cover", "c.tif", "--window", "hann"]])
@pytest.mark.parametrize("suffix", ["tif", "npy", "png", "pgm"])
def test_a_damaged_stack_leaves_nothing(suffix: str, options: list[str], patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(300, 200))
    assert patchcli("extract", "a.png", "-s", 8, "--overlap", "50%", "-o", "s.npz").returncode == 0
    stack = read_stack(tmp_path / "s.npz")
    order = np.random.default_rng(0).permutation(len(stack.patches))
    write_stack(tmp_path / "t.npz", stack._replace(patches=stack.patches[order], origins=stack.origins[order]))
    for name in ("s.npz", "t.npz"):
        data = bytearray((tmp_path / name).read_bytes())
        data[data.find(b"PK\x01\x02") - 900] ^= 1
        (tmp_path / name).write_bytes(data)
    before = tree(tmp_path)
    for name in ("s.npz", "t.npz"):
        refused(patchcli("merge", name, "-o", f"b.{suffix}", *options), "member 'patches' is damaged", 1)
        piped = patchcli("merge", name, "-o", "-", "--image-format", {"tif": "tiff"}.get(suffix, suffix))
        refused(piped, "member 'patches' is damaged", 1)
        assert piped.stdout == b""
        assert tree(tmp_path) == before


def test_values_that_are_not_finite_leave_nothing(patchcli: Run, tmp_path: Path) -> None:
    grid = Grid((500, 100), 10)
    patches = np.zeros((grid.count, 10, 10), np.float32)
    patches[-1, -1, -1] = np.nan
    write_stack(tmp_path / "s.npz", Stack(patches, grid.origins(), Meta(grid, (), np.dtype("f4"))))
    refused(patchcli("merge", "s.npz", "-o", "b.tif", "--cover", "c.tif"), "1 value of the image would be NaN or infinite", 1)
    assert set(tree(tmp_path)) == {"s.npz"}


def test_what_is_held_whole_is_bound_and_said(tmp_path: Path) -> None:
    """Sums of patches that can only be had in an order of their own, and images that are encoded whole."""
    write_image(tmp_path / "a.png", gray(60, 50))
    settings = MergeSettings(max_pixels=1000)
    grid = Grid((60, 50), 10)
    order = np.random.default_rng(0).permutation(grid.count)
    patches = np.ones((grid.count, 10, 10), np.uint8)
    meta = Meta(grid, (), np.dtype("u1"))
    write_stack(tmp_path / "s.npz", Stack(patches, grid.origins(), meta))
    write_stack(tmp_path / "t.npz", Stack(patches, grid.origins()[order], meta))
    write_stack(tmp_path / "c.npz", Stack(patches, grid.origins(), meta._replace(layout="columns")))
    bound = r"^needs a canvas of 3000 pixels \(width=50 height=60, with margin and padding\); allowed are 1000, or more with"
    for stack, target, cover, free in (
        ("s.npz", "b.npy", None, True),
        ("t.npz", "b.tif", "c.npy", True),
        ("s.npz", "b.png", None, False),
        ("s.npz", "b.npy", "c.png", False),
        ("c.npz", "b.npy", None, False),
    ):
        over = str(tmp_path / cover) if cover else None
        task = MergeTask(source=str(tmp_path / stack), target=str(tmp_path / target), cover=over)
        if free:
            merge_one(task, MergeSettings(max_pixels=1000, overwrite=True), no_tick)
            assert (tmp_path / target).exists()
            continue
        with pytest.raises(PatchcliError, match=bound):
            merge_one(task, settings, no_tick)
    for stack, said in (("t.npz", "from 30 patches"), ("c.npz", "from 30 patches, its sums held whole")):
        task = MergeTask(source=str(tmp_path / stack), target=str(tmp_path / "d.npy"))
        planned = merge_plan.plan_one(task, MergeSettings(), no_tick).planned
        assert planned is not None
        assert planned.what == f"image of width=50 height=60 {said}"


def test_sides_that_no_patch_covers_are_bound(tmp_path: Path) -> None:
    """A few bytes may claim sides whose numbers alone fill the memory."""
    grid = Grid((2**39, 4), 4, 2**39, edge="drop")
    write_stack(tmp_path / "s.npz", Stack(np.ones((1, 4, 4), np.uint8), grid.origins(), Meta(grid, (), np.dtype("u1"))))
    for options in ({"fill": 0}, {"trim": True}):
        task = MergeTask(source=str(tmp_path / "s.npz"), target=str(tmp_path / "b.npy"))
        with pytest.raises(PatchcliError, match=r"^needs a canvas of 2199023255552 pixels"):
            merge_one(task, MergeSettings(**options), no_tick)


def test_a_name_whose_format_nobody_chose_says_how_to_choose_one(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "float.npy", gray().astype(np.float32))
    assert patchcli("extract", "float.npy", "-s", 8, "-o", "float.npz").returncode == 0
    allowed = "PNG cannot hold float32 with 1 channel; allowed are tiff, npy"
    refused(patchcli("merge", "float.npz", "-d", "d"), f"{allowed} (as in --image-format tiff), or another --dtype", 1)
    for asked in (["-d", "d", "--image-format", "png"], ["-o", "a.png"]):
        refused(patchcli("merge", "float.npz", *asked), f"{allowed}, or another --dtype", 1)
    assert patchcli("merge", "float.npz", "-d", "d", "--image-format", "tiff").returncode == 0


def test_patches_of_a_pipe_stand_in_any_order(patchcli: Run, tmp_path: Path) -> None:
    grid = Grid((90, 70), 9, 4)
    order = np.random.default_rng(2).permutation(grid.count)
    patches = np.random.default_rng(1).integers(0, 256, (grid.count, 9, 9), np.uint8)
    write_stack(tmp_path / "s.npz", Stack(patches[order], grid.origins()[order], Meta(grid, (), np.dtype("u1"))))
    write_stack(tmp_path / "t.npz", Stack(patches, grid.origins(), Meta(grid, (), np.dtype("u1"))))
    assert patchcli("merge", "-", "-o", "a.png", stdin=(tmp_path / "s.npz").read_bytes()).returncode == 0
    assert patchcli("merge", "t.npz", "-o", "b.png").returncode == 0
    assert np.array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png"))
