"""Make ``docs/figures/functions.png`` and print the tables of ``docs/functions.md``: what functions for ``map`` do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import patchcli
from patchcli import functions
from patchcli.images.source import open_image

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_images"
PICTURE = ROOT / "docs" / "figures" / "functions.png"
PART = (slice(40, 160), slice(170, 290))
Pixels = NDArray[Any]


def mapped(image: Pixels, function: Callable[[Pixels], Pixels], size: int, stride: int, margin: int = 0) -> Pixels:
    """The image merged from its patches, each as the function has it; ``margin`` is the halo, too."""
    grid = patchcli.Grid((image.shape[0], image.shape[1]), size, stride, edge="pad", margin=margin)
    return patchcli.merge(function(patchcli.extract(image, grid)[0]), grid, halo=margin, dtype=np.uint8)


def psnr(image: Pixels, truth: Pixels) -> str:
    """Peak signal to noise in dB, of 255."""
    error = np.square(image.astype(np.float64) - truth).mean()
    return f"{10 * math.log10(255**2 / error):.1f}" if error else "inf"


def plot(rows: list[list[tuple[str, Pixels]]]) -> None:
    """Write a part of each picture, a row for each kind of damage."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), 4, figsize=(8, 2.15 * len(rows)), layout="constrained")
    for panel, (name, image) in zip(axes.flat, [one for row in rows for one in row], strict=True):
        panel.imshow(image[PART], interpolation="nearest", cmap="gray")
        panel.set_title(name, fontsize=8)
        panel.set_axis_off()
    figure.savefig(PICTURE, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Write the picture and print the table."""
    truth, noisy = (open_image((SAMPLES / name).open("rb")).pixels() for name in ("scene.png", "noisy.png"))
    wrong = np.random.default_rng(0).random(truth.shape[:2])
    spotted = truth.copy()
    spotted[wrong < 0.05], spotted[wrong > 0.95] = 0, 255
    works: dict[str, Callable[[Pixels], Pixels]] = {
        "dct_denoise": lambda image: mapped(image, partial(functions.dct_denoise, sigma=18), 8, 1),
        "gaussian_filter": lambda image: mapped(image, functions.gaussian_filter, 64, 56, 4),
        "median_filter": lambda image: mapped(image, functions.median_filter, 64, 62, 1),
        "identity": lambda image: mapped(image, functions.identity, 8, 1),
    }
    print("| function | noise, dB | wrong pixels, dB |\n|---|---|---|")
    print(f"| before | {psnr(noisy, truth)} | {psnr(spotted, truth)} |")
    made = {name: (work(noisy), work(spotted)) for name, work in works.items()}
    for name, pair in made.items():
        print(f"| `{name}` | " + " | ".join(psnr(image, truth) for image in pair) + " |")
    level = partial(functions.normalize, mean=128, deviation=45)
    levelled = [(f"normalize, {size}x{size}", mapped(truth, level, size, 4)) for size in (32, 64)]
    plot(
        [
            [("source", truth), ("noise", noisy), *((name, made[name][0]) for name in ("dct_denoise", "gaussian_filter"))],
            [
                ("source", truth),
                ("wrong pixels", spotted),
                *((name, made[name][1]) for name in ("median_filter", "gaussian_filter")),
            ],
            [("source", truth), ("identity", made["identity"][0]), *levelled],
        ]
    )


if __name__ == "__main__":
    main()
