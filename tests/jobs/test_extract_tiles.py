"""Tile files against slices of an image that numpy padded."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.images import sink, source
from patchcli.images.formats import FORMATS, WRITABLE
from patchcli.images.metadata import Metadata
from patchcli.jobs.extract_tiles import extract_tiles, plan_tiles
from patchcli.jobs.settings import ExtractSettings
from patchcli.jobs.task import Companion, ExtractTask
from patchcli.patches.extract import cut
from patchcli.patches.select import Choice
from patchcli.stacks.tile_index import read_index
from tests.helpers import references
from tests.helpers.runs import gray, read_image, write_image
from tests.helpers.strategies import grids, images_for, pad_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid

EXACT = [name for name in WRITABLE if FORMATS[name].lossless]


def no_tick(_now: int, _total: int) -> None:
    """Nobody looks."""


def chosen_for(grid: Grid, **others: Any) -> ExtractSettings:
    return ExtractSettings(patch=grid.patch, stride=grid.stride, offset=grid.offset, edge=grid.edge, margin=grid.margin, **others)


def task_of(folder: Path, suffix: str, name: str = "a.npy") -> ExtractTask:
    template = str(folder / "t" / f"{{x}}-{{y}}{suffix}")
    return ExtractTask(source=str(folder / name), target=str(folder / "t/a.tiles.jsonl"), tiles=(template,))


def cut_by_hand(image: NDArray[Any], grid: Grid, mode: str) -> list[NDArray[Any]]:
    """All tiles as slices."""
    far = (grid.rows.padding[1] - grid.margin, grid.columns.padding[1] - grid.margin)
    if grid.edge == "clip":
        far = (0, 0)
    padded = references.pad(image, far, grid.margin, mode, 0)
    (height, width), rows, columns = grid.patch, grid.rows.starts, grid.columns.starts
    return [padded[y : y + height, x : x + width] for y in rows for x in columns]


@settings(max_examples=150)
@given(data=st.data(), grid=grids(), mode=pad_modes, image_format=st.sampled_from(EXACT), draw=st.none() | st.integers(1, 5))
def test_tiles_are_slices_of_the_padded_image(
    data: st.DataObject, grid: Grid, mode: str, image_format: str, draw: int | None
) -> None:
    known = FORMATS[image_format]
    dtypes = tuple("?" if code == "b1" else code for code in known.holds)
    image = data.draw(images_for(grid, dtypes))
    channels = (*image.shape, 1)[2]
    if channels not in known.holds[f"{image.dtype.kind}{image.dtype.itemsize}"]:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "a.npy", image)
        task = task_of(folder, known.suffixes[0])
        chosen = chosen_for(grid, pad_mode=mode, choice=Choice(draw, 1) if draw else Choice())
        planned = plan_tiles(task, chosen, no_tick).planned
        extract_tiles(task, chosen, no_tick)
        with (folder / "t/a.tiles.jsonl").open("rb") as file:
            index = read_index(file)
        expected = cut_by_hand(image, grid, mode)
        starts = [(y, x) for y in grid.rows.starts.tolist() for x in grid.columns.starts.tolist()]
        got = [tuple(place) for place in index.places.tolist()]
        assert got == [place for place in starts if place in got]  # in grid order
        assert len(got) == min(grid.count, draw or grid.count)
        assert planned is not None
        assert planned.patches == len(got)
        for file_name, place in zip(index.files, got, strict=True):
            tile, wanted = read_image(folder / "t" / file_name), expected[starts.index(place)]
            assert tile.dtype == wanted.dtype.newbyteorder("=")
            if image_format == "webp" and tile.shape[2:] == (3,) and wanted.shape[2:] == (4,):  # which leaves out opaque alpha
                tile = np.concatenate([tile, np.full_like(tile[..., :1], 255)], axis=2)
            assert np.array_equal(tile.reshape(wanted.shape), wanted)
        assert {path.name for path in (folder / "t").iterdir()} == {*index.files, "a.tiles.jsonl"}
        if planned.exact:
            assert planned.bytes == sum(expected[starts.index(place)].nbytes for place in got)


def test_each_tile_lies_where_it_was_on_earth(tmp_path: Path) -> None:
    place = ((33550, (2.0, 2.0, 0.0)), (33922, (0.0, 0.0, 0.0, 1000.0, 5000.0, 0.0)), (34735, (1, 1, 0, 0)))
    metadata = Metadata(geotiff=place, nodata="7", resolution=(300.0, 300.0, "inch"))
    image = gray(40, 50)
    with (tmp_path / "a.tif").open("wb") as file:
        sink.write(file, image, "tiff", metadata=metadata)
    chosen = ExtractSettings(patch=(16, 16), stride=(16, 16), edge="clip", margin=3)
    extract_tiles(task_of(tmp_path, ".tif", "a.tif"), chosen, no_tick)
    with (tmp_path / "t/16-32.tif").open("rb") as file:
        got = source.open_image(file).metadata
    assert got == metadata.moved(16 - 3, 32 - 3)
    assert dict(got.geotiff)[33922][3:5] == (1000 + 2 * 13, 5000 - 2 * 29)


def test_companions_are_cut_at_the_same_places(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(30, 40))
    write_image(tmp_path / "m.png", gray(30, 40, seed=1))
    tiles = tuple(str(tmp_path / f"{role}/{{row}}/{{col}}.png") for role in ("image", "companion"))
    task = ExtractTask(
        source=str(tmp_path / "a.png"),
        target=str(tmp_path / "image/a.tiles.jsonl"),
        companions=(Companion(str(tmp_path / "m.png"), str(tmp_path / "companion/a.companion.tiles.jsonl")),),
        tiles=tiles,
    )
    extract_tiles(task, ExtractSettings(patch=(8, 8), stride=(8, 8), choice=Choice(3, 5)), no_tick)
    listed = [[json.loads(line) for line in (tmp_path / target).read_text().splitlines()[1:]] for target in task.targets()]
    assert listed[0] == listed[1]
    assert len(listed[0]) == 3
    for tile in listed[1]:
        part = gray(30, 40, seed=1)[tile["y"] : tile["y"] + 8, tile["x"] : tile["x"] + 8]
        assert np.array_equal(read_image(tmp_path / "companion" / tile["file"]), part)


def test_what_a_format_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 20), np.float32))
    task = task_of(tmp_path, ".png")
    for work in (extract_tiles, plan_tiles):
        with pytest.raises(PatchcliError, match=r"^PNG cannot hold float32 with 1 channel; allowed are tiff, npy"):
            work(task, ExtractSettings(patch=(8, 8), stride=(8, 8)), no_tick)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("keep", [False, True])
def test_an_image_that_is_damaged_halfway_leaves_tiles_only_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, keep: bool
) -> None:
    write_image(tmp_path / "a.npy", gray(64, 64))

    def broken(padded: Any) -> Any:
        for piece in cut(padded):
            yield piece[:7]
            raise PatchcliError("is damaged")

    task = task_of(tmp_path, ".png")
    chosen = ExtractSettings(patch=(8, 8), stride=(8, 8), resume=keep)
    with monkeypatch.context() as patched:
        patched.setattr("patchcli.jobs.extract_tiles.cut", broken)
        with pytest.raises(PatchcliError, match=r"^is damaged$"):
            extract_tiles(task, chosen, no_tick)
    names = {path.name for path in tmp_path.glob("t/*")}
    assert len(names) == (8 if keep else 0)
    assert (tmp_path / "t").exists() == keep
    assert (".a.tiles.jsonl.begun" in names) == keep
    extract_tiles(task, chosen, no_tick)
    assert len(list((tmp_path / "t").iterdir())) == 65
