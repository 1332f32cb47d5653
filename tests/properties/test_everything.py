"""All options of extract and merge together, drawn at random, on real files: against loops over pixels."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli import read_stack
from patchcli.jobs.extract import extract_one
from patchcli.jobs.merge import merge_one
from patchcli.jobs.settings import ExtractSettings, MergeSettings
from patchcli.jobs.task import Companion, ExtractTask, MergeTask
from patchcli.patches.select import Choice
from patchcli.patches.windows import named
from patchcli.stacks.file import Stack, write_stack
from tests.helpers import references
from tests.helpers.merged import RULES, reference
from tests.helpers.runs import read_image, write_image
from tests.helpers.strategies import grids, pad_modes

if TYPE_CHECKING:
    from patchcli.geometry.grid import Grid


def no_tick(_now: int, _total: int) -> None:
    """Nobody looks."""


@settings(max_examples=500)
@given(
    grid=grids(largest=10),
    pad_mode=pad_modes,
    layout=st.sampled_from(["stack", "grid", "rows", "columns"]),
    pixel_order=st.sampled_from(["C", "F"]),
    choice=st.builds(
        Choice, st.none() | st.integers(1, 9) | st.just(Fraction(1, 2)), st.integers(0, 5), st.sampled_from([0, 30.0])
    ),
    masked=st.sampled_from([False, False, True]),
    shards=st.sampled_from([None, 1, 2, 3, 7]),
    compress=st.booleans(),
    channels=st.sampled_from([(), (3,)]),
    dtype=st.sampled_from(["u1", "u2", "i2", "f4"]),
    rule=st.sampled_from([*RULES, "hann", "triangle"]),
    data=st.data(),
)
def test_everything(
    grid: Grid,
    pad_mode: str,
    layout: str,
    pixel_order: str,
    choice: Choice,
    *,
    masked: bool,
    shards: int | None,
    compress: bool,
    channels: tuple[int, ...],
    dtype: str,
    rule: str,
    data: st.DataObject,
) -> None:
    if rule == "mode" and dtype == "f4":
        dtype = "i2"
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    if layout == "grid":
        choice, masked, shards = Choice(), False, None
    pixels = rng.integers(0, 200, (*grid.image, *channels)).astype(dtype)
    inside = np.ones(grid.image, np.uint8)
    inside[grid.image[0] // 2 + 1 :] = 0
    extracting = ExtractSettings(
        patch=grid.patch, stride=grid.stride, offset=grid.offset, edge=grid.edge, margin=grid.margin, pad_mode=pad_mode,
        layout=layout, pixel_order=pixel_order, choice=choice, shard_patches=shards, compress=compress,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "a.tif", pixels)
        write_image(place / "m.png", inside)
        companions = (Companion(str(place / "m.png"), str(place / "m.npz")),)
        mask = str(place / "m.png") if masked else None
        task = ExtractTask(source=str(place / "a.tif"), target=str(place / "a.npz"), companions=companions, mask=mask)
        try:
            extract_one(task, extracting, no_tick)
        except ValueError as error:
            assert "at least one is needed" in str(error)  # noqa: PT017  whether it fails depends on what was drawn
            assert sorted(path.name for path in place.iterdir()) == ["a.tif", "m.png"]
            return
        files = sorted(place.glob("a*.npz"))
        stacks = [read_stack(path) for path in files]
        beside = [read_stack(path) for path in sorted(place.glob("m*.npz"))]
        patches = np.concatenate([stack.patches for stack in stacks])
        origins = np.concatenate([stack.origins for stack in stacks])
        assert np.array_equal(origins, np.concatenate([stack.origins for stack in beside]))
        far = grid.padded[0] - grid.image[0] - 2 * grid.margin, grid.padded[1] - grid.image[1] - 2 * grid.margin
        padded = references.pad(pixels, far, grid.margin, pad_mode, 0)
        for patch, (row, column) in zip(patches, origins + grid.margin, strict=True):
            assert np.array_equal(patch, padded[row : row + grid.patch[0], column : column + grid.patch[1]])

        processed = [stack.patches // 2 + rng.integers(0, 50, stack.patches.shape).astype(dtype) for stack in stacks]
        for path, stack, changed in zip(files, stacks, processed, strict=True):
            order = np.arange(len(changed)) if layout == "grid" else rng.permutation(len(changed))
            write_stack(path, Stack(changed[order], stack.origins[order], stack.meta))
        merging = MergeSettings(
            reduce="mean" if rule not in RULES else rule, window=rule if rule not in RULES else "uniform", dtype="float64",
            fill=0, max_pixels=0, overwrite=True,
        )  # fmt: skip
        shuffled: list[Any] = [str(files[number]) for number in rng.permutation(len(files))]
        task_of_b = MergeTask(source=shuffled[0], target=str(place / "b.npy"), shards=tuple(shuffled[1:]))
        merge_one(task_of_b, merging, no_tick)
        weights = None if rule in RULES else named(rule, grid.patch).full
        expected = reference(np.concatenate(processed), origins, grid.image, rule, weights)
        assert np.allclose(np.load(place / "b.npy"), expected, rtol=1e-6, atol=1e-5 if dtype == "f4" else 1e-9)
        if dtype != "f4" and rule in RULES and rule != "sum":
            again = replace(task_of_b, target=str(place / "b.tif"))
            merge_one(again, replace(merging, dtype="keep"), no_tick)
            assert np.array_equal(read_image(place / "b.tif"), np.rint(expected).astype(dtype))
