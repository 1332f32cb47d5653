"""In memory: crops against grid_sample and Pillow, and how well fits find boxes that are known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import patchcli
from benchmarks.measure import Table, compare
from benchmarks.peers import optional
from patchcli.cropping.template_match import corners_apart
from patchcli.images import source
from tests.helpers.fitting import Case, draw

LARGE = (2160, 3840, 3)
BOX = (-0.87, -0.88, 0.93, 0.92)
SAMPLES = Path(__file__).parent.parent / "sample_images"
NAMES = ("cells.png", "leaf.png", "noisy.png", "scene.png", "terrain.tif", "texture.png", "upright.jpg")
PHOTOGRAPHS = ("astronaut", "camera", "coffee", "coins", "brick", "grass", "gravel", "text", "page", "rocket", "moon", "clock")
FILTERS = (
    ("bilinear", Image.Resampling.BILINEAR),
    ("bicubic", Image.Resampling.BICUBIC),
    ("area", Image.Resampling.BOX),
    ("lanczos", Image.Resampling.LANCZOS),
)


def run(table: Table, *, quick: bool) -> None:
    """Measure crops."""
    seconds = 0.5 if quick else 2.0
    image = np.random.default_rng(0).random(LARGE, dtype=np.float32)
    _against_torch(table, image, seconds)
    _against_pillow(table, seconds)


def _against_torch(table: Table, image: NDArray[np.float32], seconds: float) -> None:
    torch = optional("torch")
    if torch is None:
        table.missing("torch is not installed")
        return
    torch.set_num_threads(2)
    functional = torch.nn.functional
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]

    def work(boxes: NDArray[np.float64], size: tuple[int, int]) -> tuple[Any, Any]:
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        theta = np.zeros((len(boxes), 2, 3), np.float32)
        theta[:, [0, 1], [0, 1]], theta[:, :, 2] = half, boxes[:, :2] + half
        shape, held = (len(boxes), LARGE[2], *size), torch.from_numpy(theta)
        source = planes.expand(len(boxes), -1, -1, -1)
        flow = functional.affine_grid(held, shape, align_corners=False)

        def both() -> Any:  # noqa: ANN401
            return functional.grid_sample(source, functional.affine_grid(held, shape, align_corners=False), align_corners=False)

        return both, lambda: functional.grid_sample(source, flow, align_corners=False)

    for size, limit in (((1080, 1920), 0.6), ((256, 256), 0.6)):
        ours = lambda size=size: patchcli.crop(image, BOX, size)  # noqa: E731
        both, alone = work(np.array([BOX]), size)
        name = f"2160x3840x3 float32 to {size[1]}x{size[0]}"
        table.add(compare("crop", name, "affine_grid and grid_sample, 2 threads", ours, both, limit=limit, seconds=seconds))
        table.add(compare("crop", name, "grid_sample alone", ours, alone, seconds=seconds))
    rng = np.random.default_rng(1)
    half, middle = rng.uniform(50, 150, (1000, 2)) / [LARGE[1], LARGE[0]], rng.uniform(-0.9, 0.9, (1000, 2))
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    both, alone = work(boxes, (64, 64))
    many = lambda: patchcli.crop(image, boxes, 64)  # noqa: E731
    name = "1000 crops of 64x64 from 50 to 150 pixels"
    table.add(compare("crop", name, "affine_grid and grid_sample, 2 threads", many, both, limit=0.5, seconds=seconds))
    table.add(compare("crop", name, "grid_sample alone", many, alone, seconds=seconds))


def _against_pillow(table: Table, seconds: float) -> None:
    data = optional("skimage.data")
    if data is None:
        table.missing("scikit-image is not installed")
        return
    photograph = np.asarray(data.astronaut())
    large = np.tile(photograph, (4, 7, 1))[:2000, :3000]
    for name, pixels, sizes in (
        ("512x512", photograph, ((224, 224), (700, 700))),
        ("2000x3000", large, ((1000, 1500), (256, 256))),
    ):
        theirs = Image.fromarray(np.ascontiguousarray(pixels))
        height, width = pixels.shape[:2]
        box = (width * 0.05 + 0.25, height * 0.04 + 0.5, width * 0.9, height * 0.91)
        ends = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        for how, filter_ in FILTERS:
            for size in sizes:
                ours = lambda pixels=pixels, size=size, how=how, box=box: patchcli.crop(  # noqa: E731
                    pixels, box, size, normalized=False, resampling=how
                )
                other = lambda theirs=theirs, size=size, filter_=filter_, ends=ends: theirs.resize(size[::-1], filter_, ends)  # noqa: E731
                work = f"{name} uint8 to {size[1]}x{size[0]}, {how}"
                table.add(compare("crop", work, f"Pillow, {filter_.name}", ours, other, limit=1.5, seconds=seconds / 2))


def fits(*, quick: bool) -> None:
    """Print how many of 200 boxes are found again, from nearby and from nothing."""
    count = 40 if quick else 200
    sets = {"sample images": [_sample(name) for name in NAMES]}
    data = optional("skimage.data")
    if data is not None:
        sets["photographs"] = [np.asarray(getattr(data, name)()).astype(np.float64) for name in PHOTOGRAPHS]
    print("\n| fits of | start | boxes | within 0.05 | within 0.1 | noise lets tell | of those, 0.05 | 0.1 | s each |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, pixels in sets.items():
        rng = np.random.default_rng(5)
        cases = [(image, draw(image, rng)) for _ in range(-(-count // len(pixels))) for image in pixels][:count]
        for start in (True, False):
            _fit_all(name, cases, start=start)


def _sample(name: str) -> NDArray[np.float64]:
    with (SAMPLES / name).open("rb") as file:
        return source.open_image(file).pixels().astype(np.float64)


def _fit_all(name: str, cases: list[tuple[NDArray[np.float64], Case]], *, start: bool) -> None:
    begun = time.perf_counter()
    boxes = [patchcli.fit_box(image, case.template, case.start if start else None, normalized=False).box for image, case in cases]
    each = (time.perf_counter() - begun) / len(cases)
    off = np.array([corners_apart(box, case.box) for box, (_, case) in zip(boxes, cases, strict=True)])
    clear = np.array([case.bound for _, case in cases]) < 0.02  # two and a half deviations within 0.05
    parts = [off < 0.05, off < 0.1]
    shares = [f"{part.mean():.1%}" for part in parts] + [f"{clear.mean():.0%}"] + [f"{part[clear].mean():.1%}" for part in parts]
    print(f"| {name} | {'nearby' if start else 'none'} | {len(cases)} | {' | '.join(shares)} | {each:.2f} |", flush=True)
