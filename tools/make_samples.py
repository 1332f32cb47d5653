"""Make the pictures of ``sample_images/``: the same bytes each time, from integers and a few formulas."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patchcli.images import sink
from patchcli.images.codec import ORIENTATION

FOLDER = Path(__file__).parent.parent / "sample_images"
Plane = NDArray[np.float64]


def noise(height: int, width: int, scale: int, seed: int) -> Plane:
    """Smooth value noise in 0..1 with cells of ``scale`` pixels."""
    rng = np.random.Generator(np.random.PCG64(seed))
    cells = rng.random((height // scale + 3, width // scale + 3))
    y, x = np.arange(height) / scale, np.arange(width) / scale
    i, j = y.astype(int), x.astype(int)
    v, u = y - i, x - j
    v, u = (v * v * (3 - 2 * v))[:, None], (u * u * (3 - 2 * u))[None]
    corner = [cells[np.ix_(i + a, j + b)] for a in (0, 1) for b in (0, 1)]
    top = corner[0] * (1 - u) + corner[1] * u
    return np.asarray(top * (1 - v) + (corner[2] * (1 - u) + corner[3] * u) * v)


def fractal(height: int, width: int, scale: int, seed: int) -> Plane:
    """Noise over noise of half the scale, in 0..1."""
    parts = [noise(height, width, max(scale >> k, 1), seed + k) / 2**k for k in range(4)]
    return np.asarray(sum(parts) / sum(1 / 2**k for k in range(4)))


def to_bytes(plane: Plane) -> NDArray[np.uint8]:
    """0..1 to 0..255."""
    return np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)


def coordinates(height: int, width: int) -> tuple[Plane, Plane]:
    """Rows and columns in 0..1."""
    return np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]


def texture() -> NDArray[np.uint8]:
    """Woven cloth: two waves that pass over and under each other, worn by noise."""
    height, width = 256, 320
    y, x = np.mgrid[:height, :width] / 10.0
    over = (np.floor(y) + np.floor(x)) % 2
    warp, weft = np.sin(np.pi * (x % 1)), np.sin(np.pi * (y % 1))
    cloth = np.where(over == 0, 0.35 + 0.5 * warp * (0.7 + 0.3 * weft), 0.25 + 0.5 * weft * (0.7 + 0.3 * warp))
    return to_bytes(cloth * (0.75 + 0.4 * fractal(height, width, 64, 1)))


def scene(height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    """Hills under an evening sky with a sun, and their light on a lake."""
    y, x = coordinates(height, width)
    image = np.stack([0.95 - 0.55 * (1 - y) + 0 * x, 0.55 + 0.1 * y + 0 * x, 0.45 + 0.4 * (1 - y) + 0 * x], axis=-1)
    sun = (y - 0.36) ** 2 * 0.6 + (x - 0.68) ** 2 < 0.0035
    image[sun] = (1.0, 0.93, 0.7)
    hills = ((0.42, 11, (0.5, 0.42, 0.5)), (0.52, 12, (0.34, 0.32, 0.36)), (0.62, 13, (0.2, 0.24, 0.2)))
    for depth, (base, seed, colour) in enumerate(hills):
        ridge = base + 0.22 * (fractal(1, width, 90 - 20 * depth, seed)[0] - 0.5)
        hill = y > ridge
        image[hill] = np.asarray(colour) * (0.8 + 0.4 * fractal(height, width, 16, seed + 5)[hill][:, None])
    lake = np.broadcast_to(y > 0.72, (height, width))
    ripple = 0.06 * np.sin(y * 260 + 5 * noise(height, width, 30, 20)) * noise(height, width, 12, 21)
    image[lake] = (image[::-1][lake] * 0.35 + np.array([0.25, 0.3, 0.42])) + ripple[lake][:, None]
    return to_bytes(image)


def ramp() -> NDArray[np.uint16]:
    """A 16-bit ramp over the full range, with detail far below what 8 bits show."""
    height, width = 192, 256
    y, x = coordinates(height, width)
    detail = 400 * np.sin(40 * np.pi * x * x) * np.sin(24 * np.pi * y) + 120 * (fractal(height, width, 24, 30) - 0.5)
    return np.rint(np.clip(65535 * (0.02 + 0.94 * (0.8 * x + 0.2 * y)) + detail, 0, 65535)).astype(np.uint16)


def cut_out() -> NDArray[np.uint8]:
    """A leaf with soft edges on nothing: RGBA."""
    height, width = 200, 240
    y, x = coordinates(height, width)
    u, v = 2 * x - 1, 2 * y - 1
    leaf = 0.62 * (1 - u * u) - np.abs(v + 0.12 * np.sin(3 * u))
    veins = 0.18 * np.exp(-((v + 0.12 * np.sin(3 * u)) ** 2) * 900) + 0.08 * (np.cos(30 * (np.abs(v) - 0.6 * u)) > 0.93)
    green = 0.45 + 0.25 * fractal(height, width, 40, 40) + veins
    return to_bytes(np.stack([green * 0.55, green, green * 0.25, np.clip(leaf * 12, 0, 1)], axis=-1))


def heights() -> NDArray[np.float32]:
    """A terrain in metres, some of it below 0: float32."""
    return (1800 * fractal(160, 224, 80, 50) ** 2 - 120).astype(np.float32)


def cells() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Round cells under a microscope, and their mask (255 inside)."""
    height, width = 240, 240
    rng = np.random.Generator(np.random.PCG64(60))
    y, x = np.mgrid[:height, :width].astype(float)
    shade, mask = 0.12 + 0.1 * fractal(height, width, 60, 61), np.zeros((height, width), bool)
    for cy, cx, radius in zip(rng.uniform(15, 225, 26), rng.uniform(15, 225, 26), rng.uniform(9, 19, 26), strict=True):
        distance = np.hypot(y - cy, x - cx) / radius
        shade += np.where(distance < 1, 0.45 * (1 - distance**2) + 0.12, 0.0)
        mask |= distance < 1
    return to_bytes(shade + 0.05 * (noise(height, width, 2, 62) - 0.5)), np.where(mask, 255, 0).astype(np.uint8)


def lying_photo() -> bytes:
    """The scene as a camera held upright stores it: turned, with EXIF orientation 6."""
    upright = scene(320, 240)
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    file = io.BytesIO()
    PIL.Image.fromarray(np.rot90(upright)).save(file, "jpeg", quality=92, subsampling=0, exif=exif.tobytes())
    return file.getvalue()


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    cell_image, cell_mask = cells()
    shown = scene()
    grain = np.random.Generator(np.random.PCG64(70)).normal(0, 18, shown.shape)
    pictures: dict[str, NDArray[Any]] = {
        "texture.png": texture(),
        "scene.png": shown,
        "noisy.png": np.clip(np.rint(shown + grain), 0, 255).astype(np.uint8),
        "ramp16.png": ramp(),
        "leaf.png": cut_out(),
        "terrain.tif": heights(),
        "cells.png": cell_image,
        "cells_mask.png": cell_mask,
    }
    for name, picture in pictures.items():
        file = io.BytesIO()
        sink.write(file, picture, sink.format_of(name))
        (FOLDER / name).write_bytes(file.getvalue())
    (FOLDER / "upright.jpg").write_bytes(lying_photo())
    total = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{len(list(FOLDER.iterdir()))} files, {total} bytes in {FOLDER.name}/", file=sys.stderr)


if __name__ == "__main__":
    main()
