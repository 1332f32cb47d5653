"""Tile files as a source of patches: whole ones, in order or by number, of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.stacks.header import Meta
from patchcli.stacks.tile_files import TileFiles, TileHead, TileReader, common_kind
from tests.helpers.runs import gray, write_image
from tests.helpers.tiles import cut_tiles

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid((50, 70), 20, edge="clip")
READER = TileReader(None, 0)


def opened(folder: Path, seed: int = 0) -> tuple[TileFiles, NDArray[Any]]:
    """Tiles given in any order, and the patches that they are."""
    tiles = cut_tiles(gray(50, 70), GRID)
    patches = np.zeros((len(tiles), 20, 20), np.uint8)
    paths = []
    for number, (_, tile) in enumerate(tiles):
        patches[number, : tile.shape[0], : tile.shape[1]] = tile
        paths.append(str(write_image(folder / f"{number}.npy", tile)))
    order = np.random.default_rng(seed).permutation(len(tiles))
    heads = READER.heads([paths[at] for at in order])
    places = np.array([tiles[at][0] for at in order])
    return TileFiles(Meta(GRID, (), np.dtype("u1")), heads, places, READER), patches


def test_tiles_are_whole_patches_in_order(tmp_path: Path) -> None:
    source, patches = opened(tmp_path)
    assert source.shape == patches.shape
    assert source.placement.whole
    assert np.array_equal(np.concatenate(list(source.patches([5, 1, 6]))), patches)


def test_tiles_by_number(tmp_path: Path) -> None:
    source, patches = opened(tmp_path)
    numbers = np.array([11, 0, 3, 3])
    assert np.array_equal(source.picker()(numbers), patches[numbers])


def test_a_tile_that_changed_since_its_header_was_read(tmp_path: Path) -> None:
    source, _ = opened(tmp_path)
    write_image(tmp_path / "6.npy", gray(20, 20, "u2"))
    with pytest.raises(PatchcliError, match=r"6\.npy changed while it was read"):
        list(source.patches([12]))


def head(dtype: str, channels: int, photometric: str | None = None) -> TileHead:
    shape = (8, 8) if channels == 1 else (8, 8, channels)
    return TileHead(f"{dtype}x{channels}", shape, np.dtype(dtype), photometric or ("rgb" if channels > 2 else "minisblack"))


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        ([("f8", 7)], ("f8", 7)),
        ([("u1", 1), ("u1", 3)], ("u1", 3)),
        ([("u1", 2), ("u1", 3)], ("u1", 4)),
        ([("u2", 1), ("u2", 2)], ("u2", 2)),
        ([("?", 1), ("u1", 1)], ("u1", 1)),
        ([("u1", 4), ("?", 1)], ("u1", 4)),
        ([("u1", 1), ("u2", 1)], None),
        ([("?", 1), ("u2", 1)], None),
        ([("f4", 1), ("f4", 3)], None),
        ([("i2", 1), ("i2", 3)], None),
        ([("u1", 1), ("u1", 5)], None),
        ([("u1", 1), ("u1", 3, "cielab")], None),
    ],
)
def test_what_kinds_of_tiles_are_of_one_image(kinds: list[Any], kind: tuple[str, int] | None) -> None:
    for order in (kinds, kinds[::-1]):
        heads = [head(*one) for one in order]
        if kind is not None:
            assert common_kind(heads) == (np.dtype(kind[0]), kind[1])
            continue
        with pytest.raises(PatchcliError, match=r"is \w+ of \d channels? but .* the tiles of an image are alike"):
            common_kind(heads)
