"""Tile files as extract writes them, by slicing and from nothing but the index's own lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.stacks.header import Meta
from patchcli.stacks.tile_index import first_line, tile_line
from tests.helpers.references import pad
from tests.helpers.runs import write_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from patchcli.geometry.grid import Grid


def cut_tiles(image: NDArray[Any], grid: Grid) -> list[tuple[tuple[int, int], NDArray[Any]]]:
    """Place and pixels of each tile, in row-major order."""
    far = (grid.rows.padding[1] - grid.margin, grid.columns.padding[1] - grid.margin)
    padded = pad(image, far, grid.margin, "edge", 0)
    if grid.edge == "clip":
        padded = padded[: image.shape[0] + 2 * grid.margin, : image.shape[1] + 2 * grid.margin]
    height, width = grid.patch
    places = [(y, x) for y in grid.rows.starts.tolist() for x in grid.columns.starts.tolist()]
    return [((y, x), np.ascontiguousarray(padded[y : y + height, x : x + width])) for y, x in places]


def write_tiles(
    folder: Path,
    image: NDArray[Any],
    grid: Grid,
    suffix: str = ".png",
    stem: str = "poster",
    seed: int | None = None,
    change: Callable[[NDArray[Any]], NDArray[Any]] = lambda tile: tile,
    **meta: Any,
) -> Path:
    """Tiles and their index, shuffled by a seed; the index."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for (y, x), tile in cut_tiles(image, grid):
        name = f"{stem}-{x:03}-{y:03}{suffix}"
        write_image(folder / name, change(tile))
        lines.append(tile_line(name, y, x))
    if seed is not None:
        lines = [lines[at] for at in np.random.default_rng(seed).permutation(len(lines)).tolist()]
    index = folder / f"{stem}.tiles.jsonl"
    index.write_bytes(first_line(Meta(grid, image.shape[2:], image.dtype, **meta)) + b"".join(lines))
    return index
