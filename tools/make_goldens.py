"""Write the golden stack and tile files of the version in force. A golden file, once published, is never written again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import patchcli
from patchcli.stacks.header import STACK_VERSION

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / f"v{STACK_VERSION}"
RNG = np.random.Generator(np.random.PCG64(1))
GRIDS = {
    "gray8_shift": ("u1", (), patchcli.Grid((11, 13), 4, 3)),
    "rgb16_pad_margin": ("u2", (3,), patchcli.Grid((9, 8), (3, 5), (2, 4), edge="pad", margin=2)),
    "float_even": ("f4", (), patchcli.Grid((10, 17), 5, 4, edge="even")),
    "rgba8_overlap": ("u1", (4,), patchcli.Grid((6, 7), 2, 1)),
    "bool_shift": ("?", (), patchcli.Grid((6, 7), 3)),
    "gray8_grid_C": ("u1", (), patchcli.Grid((7, 9), 3, 2)),
    "rgb8_rows_C": ("u1", (3,), patchcli.Grid((7, 9), (3, 2), 2)),
    "rgb8_rows_F": ("u1", (3,), patchcli.Grid((7, 9), (3, 2), 2)),
    "gray16_columns_C": ("u2", (), patchcli.Grid((7, 9), (3, 2), 2)),
    "rgb8_columns_F": ("u1", (3,), patchcli.Grid((7, 9), (3, 2), 2)),
    "labels8_margin": ("u1", (), patchcli.Grid((7, 9), 4, 2, margin=1)),
}


def main() -> None:
    """Write what is missing; say what is there already."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (dtype, channels, grid) in GRIDS.items():
        path = FOLDER / f"{name}.npz"
        if path.exists():
            print(f"{path.name} exists and stays as it is", file=sys.stderr)
            continue
        image = RNG.integers(0, 2 if dtype == "?" else 256, (*grid.image, *channels)).astype(dtype)
        patches, origins = patchcli.extract(image, grid, pad_mode="symmetric")
        source = patchcli.Source(f"{name}.png", 1, 2, 0, rotated=False)
        *_, layout, order = ("stack", "C") if name.count("_") < 2 or name.startswith("rgb16") else name.split("_")
        meta = patchcli.Meta(grid, channels, image.dtype, "symmetric", 0, source, layout, order, labels=name.startswith("labels"))
        np.save(path.with_suffix(".npy"), image)
        patchcli.write_stack(path, patchcli.Stack(patches, origins, meta))
    if not (FOLDER / "tiles").exists():
        _write_tiles(FOLDER / "tiles")


def _write_tiles(folder: Path) -> None:
    """Tile files of an image, and their index."""
    folder.mkdir()
    np.save(folder / "gray16.npy", RNG.integers(0, 1 << 16, (11, 14), np.uint16))
    words = ("-s", "5x4", "--stride", "4x3", "--margin", "1", "--edge", "clip", "-o", "{stem}-{row+1}-{col}.png")
    subprocess.run([sys.executable, "-m", "patchcli", "extract", "gray16.npy", *words], cwd=folder, check=True)


if __name__ == "__main__":
    main()
