"""Whole processes, from start to end, on files: against numpy saving and loading the ready-made stack."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Table, compare

PROGRAM = str(Path(sys.executable).with_name("patchcli"))

SAVE = """
import os, sys, time
import numpy as np, tifffile
source, target, patch, stride, members = sys.argv[1:]
patch, stride = int(patch), int(stride)
image = tifffile.imread(source)
view = np.lib.stride_tricks.sliding_window_view(image, (patch, patch))[::stride, ::stride]
arrays = {"patches": np.ascontiguousarray(view).reshape(-1, patch, patch)}
if members == "all":
    steps = [np.arange(0, side - patch + 1, stride) for side in image.shape]
    arrays = {"meta": np.array("x" * 600), "origins": np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 2), **arrays}
start = time.perf_counter()
with open(target, "wb") as file:
    np.savez(file, **arrays)
    file.flush()
    os.fsync(file.fileno())
print(time.perf_counter() - start)
"""
LOAD = "import sys, numpy as np; np.load(sys.argv[1])['patches']"


def sample(path: Path, side: int) -> Path:
    """A gray picture with structure and noise as an uncompressed TIFF."""
    import tifffile

    noise = np.random.default_rng(0).integers(0, 16, (side, side))
    tifffile.imwrite(path, (np.add.outer(np.arange(side), np.arange(side)) // 32 + noise).astype(np.uint8))
    return path


def process(*command: str | Path) -> None:
    """Run to the end; an error is an error."""
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def fresh(path: Path) -> Path:
    """A path where nothing is, with nothing left to be written to disk from before."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.sync()
    return path


def measured(command: list[str], target: Path) -> float:
    """Seconds of one process that writes ``target``, cleaning up not counted."""
    fresh(target)
    start = time.perf_counter()
    process(*command)
    return time.perf_counter() - start


def run(table: Table, folder: Path, *, quick: bool) -> None:
    """Measure start-up and whole extractions and merges."""
    seconds = 1.0 if quick else 4.0
    python = sys.executable
    small = sample(folder / "small.tif", 64)
    from PIL import Image

    Image.open(small).save(folder / "small.png")
    out = folder / "small.npz"
    table.add(
        compare(
            "start",
            "patchcli --help",
            'python -c "import click"',
            lambda: process(PROGRAM, "--help"),
            lambda: process(python, "-c", "import click"),
            limit=1.3,
            seconds=seconds,
            least=21,
        )
    )
    table.add(
        compare(
            "start",
            "extract, 64x64 PNG",
            'python -c "import numpy, imageio.v3"',
            lambda: measured([PROGRAM, "extract", str(folder / "small.png"), "-s", "8", "-o", str(out)], out),
            lambda: process(python, "-c", "import numpy, imageio.v3"),
            limit=1.3,
            seconds=seconds,
            least=21,
        )
    )
    image = sample(folder / "large.tif", 4096)
    stack, merged, ready = folder / "large.npz", folder / "merged.tif", folder / "ready.npz"
    for patch, stride in ((8, 1), (256, 128)):
        name = f"4096x4096 uint8 {patch}/{stride}"
        cut = [PROGRAM, "extract", str(image), "-s", str(patch), "--stride", str(stride), "-o", str(stack)]
        for members, limit in (("all", 1.0), ("patches", 1.0)):
            table.add(
                compare(
                    "process",
                    f"extract, {name}",
                    "np.savez of the ready stack, fsync" + (", its patches alone" if members == "patches" else ""),
                    partial(measured, cut, stack),
                    partial(save, image, ready, patch, stride, members),
                    limit=limit,
                    seconds=seconds,
                    least=3 if quick else 7,
                )
            )
        ready.unlink(missing_ok=True)
        measured(cut, stack)
        put = [PROGRAM, "merge", str(stack), "-o", str(merged)]
        for what, other in (
            ("python: np.load of its patches", [python, "-c", LOAD, str(stack)]),
            ("cat of the same bytes", ["cat", str(stack)]),
        ):
            table.add(
                compare(
                    "process",
                    f"merge, {name}",
                    what,
                    partial(measured, put, merged),
                    partial(process, *other),
                    limit=1.0 if patch == 8 and what.startswith("python") else None,
                    seconds=seconds,
                    least=3 if quick else 9,
                )
            )
        stack.unlink()


def save(image: Path, target: Path, patch: int, stride: int, members: str) -> float:
    """Seconds that np.savez and fsync take in a process of its own, start and making of the stack not counted."""
    fresh(target)
    command = [sys.executable, "-c", SAVE, str(image), str(target), str(patch), str(stride), members]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


PEAK = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def peak(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a process, started by a small one: a child begins with its parent's peak."""
    done = subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def growth(table: Table, folder: Path, *, quick: bool) -> list[dict[str, float]]:
    """Time and memory from 10 MB to 16 GB of stack, of one image size in each half."""
    points = []
    plan = [(512, 8, 2), (1024, 8, 1), (2048, 8, 1), (4096, 8, 1), (4096, 16, 1), (4096, 32, 1)]
    for side, patch, stride in plan[: 4 if quick else None]:
        image, stack, merged = sample(folder / "grow.tif", side), fresh(folder / "grow.npz"), fresh(folder / "grown.tif")
        cut = peak([PROGRAM, "extract", str(image), "-s", str(patch), "--stride", str(stride), "-o", str(stack)])
        put = peak([PROGRAM, "merge", str(stack), "-o", str(merged)])
        size = stack.stat().st_size
        points.append(
            {"bytes": size, "side": side, "extract_s": cut[0], "extract_mb": cut[1], "merge_s": put[0], "merge_mb": put[1]}
        )
        name = f"{side}x{side} uint8 {patch}/{stride}, {size / 1e9:.2f} GB"
        print(f"  {name}: extract {cut[0]:.2f} s {cut[1]:.0f} MB, merge {put[0]:.2f} s {put[1]:.0f} MB", flush=True)
        fresh(stack)
    sizes = np.array([point["bytes"] / 1e9 for point in points])
    for what in ("extract", "merge"):
        seconds = np.array([point[f"{what}_s"] for point in points])
        line = np.polyval(np.polyfit(sizes, seconds, 1), sizes)
        off = float(((seconds - line) ** 2).sum() / ((seconds - seconds.mean()) ** 2).sum())
        table.add(Row("growth", f"{what}, seconds = a + b * GB", "1 - R^2 of that line", math.nan, math.nan, off, 0, 0.01))
    large = [point for point in points if point["side"] == 4096]
    for what in ("extract", "merge"):
        peaks = [point[f"{what}_mb"] for point in large]
        table.add(
            Row(
                "memory",
                f"{what}, 1 to 16 GB of one image",
                "its own least",
                max(peaks),
                min(peaks),
                max(peaks) / min(peaks),
                0,
                1.1,
            )
        )
        table.add(Row("memory", f"{what}, most", "350 MB", max(peaks), 350, max(peaks) / 350, 0, 1.0))
    return points
