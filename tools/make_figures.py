"""``make figures``: draw every picture in ``docs/`` and ``README.md``, with the program itself.

Most are what command lines draw, run in an empty folder beside ``sample_images`` and ``examples``. Those of three pages are laid
out by a tool of their own, which prints a table as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
SMALL = "--max-size 480x520"  # of pictures that stand side by side on a page
GRID = "preview sample_images/cells.png --grid -s 96 --stride 80"
DENOISED = ("extract sample_images/noisy.png -s 8 --stride 1 -o noisy.npz", "python examples/denoise.py noisy.npz clean.npz")

# of each picture, what is run before it, and what draws it
LINES: dict[str, tuple[str, ...]] = {
    "grid": ("preview sample_images/scene.png --grid -s 64 --overlap 25% --margin 8 -o grid.png",),
    "cover": ("preview sample_images/scene.png --cover -s 64 --stride 50 --edge drop -o cover.png",),
    "sheet": (
        "extract sample_images/noisy.png -s 8 --stride 1 -o noisy.npz",
        "preview noisy.npz --max-size 900x700 -o sheet.png",
    ),
    "compare": ("preview --compare sample_images/scene.png sample_images/noisy.png -o compare.png",),
    "triple": (*DENOISED, "preview --triple sample_images/scene.png clean.npz -o triple.png"),
    "denoised": (
        *DENOISED,
        "merge clean.npz -o clean.png",
        "preview --compare sample_images/scene.png clean.png -o denoised.png",
    ),
    "labels": ("preview sample_images/cells_mask.png --color indices --grid -s 80 --overlap 16 -o labels.png",),
    **{f"edge-{edge}": (f"{GRID} --edge {edge} {SMALL} -o edge-{edge}.png",) for edge in ("drop", "shift", "even", "pad")},
    **{
        f"overlap-{name}": (f"preview sample_images/cells.png --cover -s 80 --overlap {overlap} {SMALL} -o overlap-{name}.png",)
        for name, overlap in (("none", "0"), ("half", "50%"), ("margin", "50% --margin 40"))
    },
    "margin": (f"preview sample_images/cells.png --grid -s 80 --overlap 50% --margin 20 {SMALL} -o margin.png",),
    **{
        f"halo-{margin}": (
            f"extract sample_images/cells.png -s 80 --overlap 50% --margin {margin} -o halo.npz",
            "merge halo.npz --halo 20 --fill 0 --cover halo.npy -o back.png",
            f"preview halo.npy --range 0 4 {SMALL} -o halo-{margin}.png",
        )
        for margin in (0, 20)
    },
    **{
        f"window-{window}": (
            "crop sample_images/cells.png --box 80 80 64 64 -o patch.png",
            "extract patch.png -s 64 -o patch.npz",
            f"merge patch.npz --window {window} --cover window.npy -o back.png",
            f"preview window.npy --range 0 1 --max-size 320x320 -o window-{window}.png",
        )
        for window in ("uniform", "triangle", "hann", "gaussian")
    },
    "align-four": (
        "crop four.npy --size 224 --resampling nearest -o four-224.npy",
        f"preview four-224.npy {SMALL} -o align-four.png",
    ),
    **{
        f"align-corners{end}": (
            f"crop four.npy --size 28 --{no}align-corners --outside border -o four-28.npy",
            f"preview four-28.npy {SMALL} -o align-corners{end}.png",
        )
        for end, no in (("", ""), ("-not", "no-"))
    },
}
TOOLS = {"seam": "tools.make_seam", "functions": "tools.make_functions", "growth": "tools.make_growth"}


def prepare(folder: Path) -> None:
    """Put into a folder what the lines read."""
    for name in ("sample_images", "examples"):
        (folder / name).symlink_to(ROOT / name)
    np.save(folder / "four.npy", np.eye(4, dtype=np.uint8) * 255)


def draw(name: str, folder: Path) -> Path:
    """Run the lines of a picture in a folder; the file that it becomes there."""
    for line in LINES[name]:
        words = line.split()
        script = words[1:] if words[0] == "python" else ["-m", "patchcli", *words, "--overwrite"]
        subprocess.run([sys.executable, *script], cwd=folder, check=True)
    return folder / f"{name}.png"


def main() -> None:
    """Draw all of them, or those whose names are given."""
    asked = sys.argv[1:] or [*LINES, *TOOLS]
    FIGURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder)
        for name in asked:
            if name in LINES:
                shutil.copyfile(draw(name, folder), FIGURES / f"{name}.png")
            else:
                subprocess.run([sys.executable, "-m", TOOLS[name]], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
