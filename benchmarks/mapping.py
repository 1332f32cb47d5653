"""``map``: 10^8 patches by whole processes, and the same function in memory; other ways beside it, as far as they go."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import patchcli
from benchmarks import peers
from benchmarks.measure import Row, Table, compare, timed
from benchmarks.processes import PROGRAM, fresh
from patchcli.functions import identity

PATCH, SIDE = 39, 10_038  # 10^8 patches at stride 1
IDENTITY = "patchcli.functions:identity"
EACH_WAY = 0.6e9  # bytes of patches a second through a command
LOOK = 0.05  # seconds from one look at what processes hold to the next
EXTRAPOLATED = ((300, "first seed"), (160, "second seed"), (400, "PyTorch unfold and fold"))


def noise(path: Path, height: int, width: int) -> Path:
    """An uncompressed TIFF of noise, made some rows at a time."""
    import tifffile

    rng, rows = np.random.default_rng(0), 256
    parts = (rng.integers(0, 256, (min(rows, height - top), width), np.uint8) for top in range(0, height, rows))
    tifffile.imwrite(path, parts, shape=(height, width), dtype=np.uint8, rowsperstrip=rows, metadata=None)
    return path


def mapped(image: Path, out: Path, *options: object) -> tuple[float, float]:
    """Seconds of one run, and the most megabytes that all its processes held, what they share counted once."""
    fresh(out)
    words = [PROGRAM, "map", image, "-o", out, *options]
    begun = time.perf_counter()
    running = subprocess.Popen([str(word) for word in words])
    most, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK):
            most[0] = max(most[0], held_by(running.pid))

    watching = threading.Thread(target=look)
    watching.start()
    code = running.wait()
    seconds = time.perf_counter() - begun
    ended.set()
    watching.join()
    assert code == 0, words
    return seconds, most[0]


def held_by(pid: int) -> float:
    """Megabytes that a process and all below it hold: their proportional set sizes, as Linux counts them."""
    total = 0
    with contextlib.suppress(OSError, StopIteration):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    below: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            below += task.read_text().split()
    return total / 1000 + sum(held_by(int(child)) for child in below)


def equal(one: Path, other: Path) -> None:
    """An error where two images differ."""
    import tifffile

    assert np.array_equal(tifffile.memmap(one), tifffile.memmap(other)), f"{one} differs from {other}"


def hundred_million(table: Table, folder: Path, side: int, limits: Callable[[float], float | None]) -> None:
    """10^8 patches of 39x39: several processes over one, memory, and what others would take."""
    image = noise(folder / "patches.tif", side, side)
    count, options = (side - PATCH + 1) ** 2, ("-s", PATCH, "--stride", 1, "--func", IDENTITY)
    name, most, outs = f"map identity, {count:.3g} patches of {PATCH}x{PATCH}", 0.0, [folder / f"{j}.tif" for j in (1, 2)]
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for jobs, out in enumerate(outs, 1):
            seconds, held = mapped(image, out, *options, "-j", jobs)
            times[jobs].append(seconds)
            most = max(most, held)
    for out in outs:
        equal(out, image)
        fresh(out)
    two, one = statistics.median(times[2]), statistics.median(times[1])
    ratios = sorted(a / b for a, b in zip(times[2], times[1], strict=True))
    table.add(Row("map", f"{name}, -j 2", "-j 1", two, one, two / one, (ratios[-1] - ratios[0]) / 2, limits(0.65)))
    table.add(Row("memory", f"{name}, all processes", "400 MB", most, 400, most / 400, 0.0, limits(1.0)))
    for what, seconds, size in other_ways():
        print(
            f"  {what}: {seconds / size:.3g} s a patch of {size}, the most that it can do here, so {seconds / size * count:.3g} s"
        )
    each(table, folder, (one, count), options, limits)
    fresh(image)


def each(
    table: Table, folder: Path, largest: tuple[float, int], options: tuple[object, ...], limits: Callable[[float], float | None]
) -> None:
    """What a patch costs, from fewer to more of them; starting is taken off, as a run of one patch row has it."""
    image, out = folder / "fewer.tif", folder / "fewer-out.tif"
    noise(image, PATCH, PATCH)
    start = statistics.median(mapped(image, out, *options)[0] for _ in range(5))
    costs = {largest[1]: (largest[0] - start) / largest[1]}
    for side in (1038, 3200):
        noise(image, side, side)
        count = (side - PATCH + 1) ** 2
        costs[count] = (statistics.median(mapped(image, out, *options)[0] for _ in range(5)) - start) / count
    print("  " + ", ".join(f"{count:.2g} patches: {cost * 1e9:.0f} ns each" for count, cost in sorted(costs.items())))
    low, high = min(costs.values()), max(costs.values())
    table.add(Row("map", "a patch, where it costs most", "where it costs least", high, low, high / low, 0.0, limits(1.2)))
    fresh(image), fresh(out)


def tall(table: Table, folder: Path, scale: float, limits: Callable[[float], float | None]) -> None:
    """Memory from a low image to a high one of the same width."""
    held = {}
    for rows in (1000, int(60_000 * scale)):
        image, out = noise(folder / "tall.tif", max(rows, 500), 2000), folder / "tall-out.tif"
        held[rows] = max(mapped(image, out, "-s", PATCH, "--stride", 8, "--func", IDENTITY)[1] for _ in range(3))
        fresh(image), fresh(out)
    (low, less), (high, more) = held.items()
    table.add(Row("memory", f"map, {high} rows of 2000", f"{low} rows", more, less, more / less, 0.0, limits(1.1)))


def other_functions(table: Table, folder: Path, scale: float, limits: Callable[[float], float | None]) -> None:
    """Denoising by two processes; a command for a function."""
    side = max(500, int(8000 * scale))
    image, out = noise(folder / "denoised.tif", side, side), folder / "denoised-out.tif"
    options = ("-s", 8, "--stride", 1, "--func", "patchcli.functions:dct_denoise", "--arg", "sigma=25")
    two, one = (lambda jobs=jobs: mapped(image, out, *options, "-j", jobs)[0] for jobs in (2, 1))
    table.add(compare("map", f"dct_denoise of {side}x{side}, -j 2", "-j 1", two, one, limit=limits(1 / 1.7), seconds=0, least=3))
    noise(image, side // 4, side // 4)
    nbytes = ((side // 4 - 64) // 4 + 1) ** 2 * 64 * 64
    cat = ("-s", 64, "--stride", 4, "--edge", "drop", "--trim", "--exec", "cat")
    through = statistics.median(mapped(image, out, *cat)[0] for _ in range(3))
    row = f"map --exec cat, {nbytes / 1e9:.2g} GB of patches each way"
    table.add(Row("map", row, "at 0.6 GB/s", through, nbytes / EACH_WAY, through / (nbytes / EACH_WAY), 0.0, limits(1.0)))
    fresh(image), fresh(out)


def other_ways() -> Iterator[tuple[str, float, int]]:
    """What others take for cutting and putting back as many patches as they can hold: name, seconds, patches."""
    for side, name in EXTRAPOLATED:
        image = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.float32)
        count = (side - PATCH + 1) ** 2
        work = _way(name, image)
        if work is not None:
            yield name, statistics.median(timed(work) for _ in range(3)), count


def _way(name: str, image: NDArray[Any]) -> Callable[[], Any] | None:
    """One of the others; index arrays that can be made once are."""
    if name == "first seed":
        return lambda: peers.first_seed_merge(*peers.first_seed_cut(image, PATCH, 1))
    if name == "second seed":
        shape = image.shape[0], image.shape[1]
        cut, back = peers.second_seed_index(shape, PATCH, 1)
        weights = 1 / np.maximum(patchcli.Grid(shape, PATCH, 1).cover(), 1)
        return lambda: peers.second_seed_merge(peers.second_seed_cut(image, cut), back, shape, weights)
    torch: Any = peers.optional("torch")
    if torch is None:
        return None
    tensor, functional = torch.from_numpy(image)[None, None], torch.nn.functional
    ones = functional.fold(functional.unfold(torch.ones_like(tensor), PATCH), image.shape, PATCH)
    return lambda: functional.fold(functional.unfold(tensor, PATCH), image.shape, PATCH) / ones


def in_memory(table: Table, *, quick: bool) -> None:
    """`map_patches` of the identity against cutting all patches and merging them."""
    image = np.random.default_rng(0).integers(0, 256, (4096, 4096), np.uint8)
    grid = patchcli.Grid(image.shape, 8, 1)

    def ours() -> NDArray[Any]:
        return patchcli.map_patches(image, grid, identity)

    def both() -> NDArray[Any]:
        return patchcli.merge(patchcli.extract(image, grid)[0], grid)

    assert np.array_equal(ours(), image)
    seconds = 1.0 if quick else 5.0
    table.add(compare("map", "identity, 4096x4096 uint8 8/1", "extract, merge", ours, both, limit=1.15, seconds=seconds))
