"""Make ``docs/figures/seam.png`` and print the table of ``docs/seams.md``: what merging does about seams between patches.

Every patch of a picture is brought to the same contrast by itself, as a method does that sees one patch at a time. The patches
are merged without overlap, and with half of it under every window.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import patchcli
from patchcli.images.source import open_image
from patchcli.patches.windows import NAMES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "sample_images" / "scene.png"
PICTURE = ROOT / "docs" / "figures" / "seam.png"
PATCH, STRIDE, MARGIN = 64, 32, 16
ZOOM_SIZE = 100
ZOOM = (slice(40, 40 + ZOOM_SIZE), slice(190, 190 + ZOOM_SIZE))
SHOWN = ("source", "no overlap", "uniform", "hann")
Floats = NDArray[np.float32]


def equalized(patches: NDArray[np.uint8]) -> Floats:
    """Patches ``(N, h, w, C)`` half way to mean 128 and standard deviation 45, each by its own mean and deviation.

    The deviation counts as at least 12, so that a flat patch is not all noise afterwards.
    """
    values = patches.astype(np.float32)
    mean = values.mean(axis=(1, 2, 3), keepdims=True)
    deviation = np.maximum(values.std(axis=(1, 2, 3), keepdims=True), 12)
    return np.asarray(0.5 * values + 0.5 * (128 + 45 * (values - mean) / deviation), np.float32)


def steps(image: Floats, grid: patchcli.Grid) -> tuple[float, float]:
    """Mean step from a pixel to the next across borders of patches, and everywhere else, over rows and columns.

    A border is where a patch of the grid begins or ends.
    """
    across: list[Floats] = []
    inside: list[Floats] = []
    for axis, starts in enumerate((grid.rows.starts, grid.columns.starts)):
        lines = np.moveaxis(np.abs(np.diff(image, axis=axis)), axis, 0)  # lines[k] is from line k to line k + 1
        borders = np.concatenate([starts, starts + PATCH]) - MARGIN
        at_border = np.isin(np.arange(1, len(lines) + 1), borders)
        across.append(lines[at_border].ravel())
        inside.append(lines[~at_border].ravel())
    return float(np.concatenate(across).mean()), float(np.concatenate(inside).mean())


def merged(source: NDArray[np.uint8]) -> dict[str, tuple[Floats, patchcli.Grid]]:
    """The processed patches as images, by name, with the grid of their patches."""
    shape = (source.shape[0], source.shape[1])
    apart = patchcli.Grid(shape, PATCH, edge="pad", margin=MARGIN)
    overlapping = patchcli.Grid(shape, PATCH, STRIDE, edge="pad", margin=MARGIN)
    alone = equalized(patchcli.extract(source, apart)[0])
    patches = equalized(patchcli.extract(source, overlapping)[0])
    found = {"no overlap": (patchcli.merge(alone, apart), apart)}
    return found | {name: (patchcli.merge(patches, overlapping, window=name), overlapping) for name in NAMES}


def plot(pictures: dict[str, Floats]) -> None:
    """Write the picture: whole images above, a part of each below, four times as large."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, axes = plt.subplots(2, len(SHOWN), figsize=(15, 7.2), height_ratios=(3, 4), layout="constrained")
    rows, columns = ZOOM
    for (above, below), name in zip(axes.T, SHOWN, strict=True):
        image = np.clip(np.rint(pictures[name]), 0, 255).astype(np.uint8)
        above.imshow(image)
        above.add_patch(Rectangle((columns.start, rows.start), ZOOM_SIZE, ZOOM_SIZE, fill=False, color="w"))
        below.imshow(image[ZOOM], interpolation="nearest")
        above.set_title(name if name in SHOWN[:2] else f"overlap of half, {name}")
        for panel in (above, below):
            panel.set_axis_off()
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Write the picture and print the table."""
    with SOURCE.open("rb") as file:
        source = open_image(file).pixels()
    original = source.astype(np.float32)
    found = merged(source)
    print("| merged | step across borders | step elsewhere | the source's step across the same borders | and elsewhere |")
    print("|---|---|---|---|---|")
    for name, (image, grid) in found.items():
        print(f"| {name} | " + " | ".join(f"{step:.2f}" for step in steps(image, grid) + steps(original, grid)) + " |")
    plot({"source": original} | {name: image for name, (image, _) in found.items()})


if __name__ == "__main__":
    main()
