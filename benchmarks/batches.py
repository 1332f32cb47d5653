"""Whole folders: many processes against one, one against a plain loop, a hundred thousand files in flat memory."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Table, compare
from benchmarks.processes import PROGRAM, process

MANY, SOON_SECONDS, FLAT = 100_000, 2.0, 1.2
FEW = 10_000

LOOP = """
import os, sys, time
import imageio.v3 as iio, numpy as np
source, target, patch, flush = sys.argv[1], sys.argv[2], int(sys.argv[3]), len(sys.argv) > 4
names = sorted(os.listdir(source))
os.mkdir(target)
start = time.perf_counter()
for name in names:
    image = iio.imread(os.path.join(source, name))
    windows = np.lib.stride_tricks.sliding_window_view(image, (patch, patch, image.shape[2]))[::patch, ::patch, 0]
    patches = np.ascontiguousarray(windows).reshape(-1, patch, patch, image.shape[2])
    with open(os.path.join(target, name + ".npz"), "wb") as file:
        np.savez(file, patches=patches)
        if flush:
            file.flush()
            os.fsync(file.fileno())
print(time.perf_counter() - start)
"""


def photographs(folder: Path, count: int, side: int) -> Path:
    """Colour PNGs with structure and noise, so that decoding takes what it takes for photographs."""
    import imageio.v3 as iio

    folder.mkdir()
    rng = np.random.default_rng(0)
    steps = np.add.outer(np.arange(side), np.arange(side))[:, :, None] * (3, 4, 5) // 16
    for number in range(min(count, 50)):
        image = (steps + number + rng.integers(0, 24, (side, side, 3))).astype(np.uint8)
        iio.imwrite(folder / f"{number:05}.png", image)
    for number in range(50, count):  # the same pictures again
        os.link(folder / f"{number % 50:05}.png", folder / f"{number:05}.png")
    return folder


def set_aside(target: Path) -> None:
    """Make room for a folder of outputs, and bring to disk what waits for it.

    Files are emptied and kept: next to some that were deleted minutes ago ext4 makes new ones slowly, as it looks at each of
    those before it takes an inode (recently_deleted in fs/ext4/ialloc.c).
    """
    if target.exists():
        for path in target.rglob("*.*"):
            os.truncate(path, 0)
        target.rename(Path(tempfile.mkdtemp(dir=target.parent)) / target.name)
    os.sync()


def cut(source: Path, target: Path, patch: int, *further: str) -> float:
    """Seconds of a run over a folder, start-up included, cleaning up not."""
    set_aside(target)
    start = time.perf_counter()
    process(PROGRAM, "extract", source, "-s", str(patch), "-d", target, *further)
    return time.perf_counter() - start


def both(source: Path, target: Path, patch: int) -> float:
    """Seconds of two runs side by side, a half of the folder each: what two cores give without any word between them."""
    set_aside(target)
    names = sorted(map(str, source.iterdir()))
    start = time.perf_counter()
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    running = [subprocess.Popen([PROGRAM, "extract", *half, "-s", str(patch), "-d", str(target)]) for half in halves]
    assert [one.wait() for one in running] == [0, 0]
    return time.perf_counter() - start


def loop(source: Path, target: Path, patch: int, *flush: str) -> float:
    """Seconds of decoding, cutting and writing in one plain loop, start-up not included."""
    set_aside(target)
    command = [sys.executable, "-c", LOOP, str(source), str(target), str(patch), *flush]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(table: Table, folder: Path, *, quick: bool) -> None:
    """Measure runs over folders."""
    few, most = (3, 3) if quick else (5, 9)  # rounds: long ones, short ones
    large = photographs(folder / "512", 300 if quick else 2400, 512)
    out = folder / "out"
    alone = partial(cut, large, out, 64)
    two = partial(cut, large, out, 64, "-j", "2")
    name = f"{len(list(large.iterdir()))} PNGs of 512x512, patch 64"
    table.add(compare("batch", f"-j 2, {name}", "-j 1", two, alone, limit=1 / 1.8, seconds=0, least=few))
    table.add(compare("batch", "two runs, a half each", "-j 1", partial(both, large, out, 64), alone, seconds=0, least=few))
    small = photographs(folder / "256", 1000, 256)
    plain = partial(loop, small, out, 64)
    one = partial(cut, small, out, 64)
    name = "extract, 1000 PNGs of 256x256, patch 64"
    table.add(compare("batch", name, "imread, cut, np.savez in a loop", one, plain, limit=1.3, seconds=0, least=most))
    for path in folder.iterdir():
        shutil.rmtree(path)
    small_files(table, folder, 1000 if quick else FEW)
    for path in folder.iterdir():
        shutil.rmtree(path)
    many(table, folder, FEW if quick else MANY)


def small_files(table: Table, folder: Path, count: int) -> None:
    """Files of which each takes as long to flush as to make."""
    source, out, merged = photographs(folder / "32", count, 32), folder / "out", folder / "merged"
    plain = partial(loop, source, out, 8, "flush")
    for jobs, limit in (("1", 0.7), ("2", 0.42)):
        ours = partial(cut, source, out, 8, "-j", jobs)
        name = f"extract -j {jobs}, {count} PNGs of 32x32, patch 8"
        table.add(compare("batch", name, "a loop that flushes each file", ours, plain, limit=limit, seconds=0, least=3))

    def merge() -> None:
        set_aside(merged)
        process(PROGRAM, "merge", out, "-d", merged)

    def extract() -> None:
        cut(source, out, 8)

    extract()
    merge()
    pairs = [(cpu_seconds(merge), cpu_seconds(extract)) for _ in range(5)]
    ratios = sorted(first / second for first, second in pairs)
    first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
    spread = (ratios[-1] - ratios[0]) / 2
    name = f"merge, CPU, {count} stacks of 32x32, patch 8"
    table.add(Row("batch", name, "extract, CPU", first, second, first / second, spread, 1.3))


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of the processes that some work starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def many(table: Table, folder: Path, count: int) -> None:
    """Tiny files: when the first output is there, and whether memory grows."""
    source, target = folder / "tiny", folder / "cut"
    source.mkdir()
    pixels = b"P5 9 9 255\n" + bytes(range(81))
    for number in range(count):
        (source / f"{number:06}.pgm").write_bytes(pixels)
    start = time.perf_counter()
    running = subprocess.Popen([PROGRAM, "extract", source, "-s", "3", "-d", target])
    first = 0.0
    sizes = []
    place = target / str(source).lstrip("/")
    while running.poll() is None:
        if not first and place.is_dir() and any(name[0] != "." for name in os.listdir(place)):
            first = time.perf_counter() - start
        if first:
            sizes.append(resident(running.pid))
        time.sleep(0.01 if not first else 0.2)
    assert running.returncode == 0
    assert sum(1 for _ in place.iterdir()) == count
    sizes = [size for size in sizes if size]
    begun, ended = sizes[len(sizes) // 10], max(sizes)
    table.add(
        Row("batch", f"first output of {count} tiny files", "two seconds", first, SOON_SECONDS, first / SOON_SECONDS, 0.0, 1.0)
    )
    table.add(Row("memory", f"at most, of {count} tiny files", "after a tenth of them", ended, begun, ended / begun, 0.0, FLAT))
    shutil.rmtree(source)
    shutil.rmtree(target)


def resident(number: int) -> float:
    """Megabytes that a process has in memory now; 0 where it is gone or the system does not tell."""
    try:
        with open(f"/proc/{number}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0
