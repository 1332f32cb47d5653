"""``python -m benchmarks.large [--only ROW,...] [--scale F]``: images of gigabytes, by whole processes, against the bare work.

The files are made on the way, below ``--folder``, and removed at the end, on Ctrl-C too. Each row is a ratio of medians from one
run; beside them the most memory that each command had resident.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import mapping
from benchmarks.measure import HEAD, Row, Table, compare, line, machine
from benchmarks.processes import PROGRAM, fresh, peak
from patchcli.images import sink

RESULTS = Path(__file__).parent / "results"
SIDE, GIGANTIC, TILE, SMALL = 20_000, 60_000, 512, 256
CLIP = str(Path(sys.executable).with_name("rio"))
ROWS = ("crop", "list", "extract", "merge", "strips", "gigantic", "info", "tiles", "small", "join", "map", "preview")
AHEAD = 4  # tiles or strips that are deflated before they are written
BAND = 1024  # rows that are compared at once
# bytes of disk at full scale: the images, and what is made of them beside
NEEDS = {
    "crop": 1.0e9,
    "list": 1.0e9,
    "extract": 3.6e9,
    "merge": 3.8e9,
    "strips": 4.6e9,
    "gigantic": 14.0e9,
    "info": 2.3e9,
    "tiles": 3.6e9,
    "small": 1.2e9,
    "join": 4.5e9,
    "map": 0.5e9,
    "preview": 2.3e9,
}

# Decodes a TIFF band by band, a band being a row of tiles or enough strips, in two threads, and writes so many bytes to disk.
DECODE = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, tifffile
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with tifffile.TiffFile(source) as tiff, open(target, "wb") as out, ThreadPoolExecutor(2) as pool:
    page = tiff.pages[0]
    page.keyframe.decode  # made once, before there are threads
    height, width, depth = page.imagelength, page.imagewidth, page.samplesperpixel
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    across = -(-width // page.tilewidth) if page.is_tiled else 1
    at_once = across if page.is_tiled else max(1, 512 // rows)
    numbers = range(len(page.dataoffsets))
    lock = threading.Lock()
    def decode(number):
        with lock:
            tiff.filehandle.seek(page.dataoffsets[number])
            data = tiff.filehandle.read(page.databytecounts[number])
        part, (_, _, y, x, _), _ = page.decode(data, number)
        return part[0, : height - y, : width - x], y, x
    written = 0
    for first in range(0, len(numbers), at_once):
        some = numbers[first : first + at_once]
        top = some[0] // across * rows
        band = np.empty((min(height - top, rows * (len(some) // across)), width, depth), page.dtype)
        for part, y, x in pool.map(decode, some):
            band[y - top : y - top + part.shape[0], x : x + part.shape[1]] = part
        data = memoryview(band.reshape(-1).view(np.uint8))[: count - written]
        written += out.write(data)
    while written < count:  # overlapping patches, headers
        written += out.write(data[: count - written])
    out.flush()
    if count:
        os.fsync(out.fileno())
"""
# Reads a file, and writes so many bytes of it to disk.
COPY = """
import os, sys
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
buffer = memoryview(bytearray(1 << 22))
with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as out:
    while got := file.readinto(buffer):
        part = buffer[: min(got, count)]
        count -= len(part)
        while part:
            part = part[out.write(part) :]
    os.fsync(out.fileno())
"""
# Crops and saves tiles one after the other.
SAVE = """
import os, sys
import PIL.Image
source, folder = sys.argv[1:]
os.mkdir(folder)
image = PIL.Image.open(source)
for y in range(0, image.height, 64):
    for x in range(0, image.width, 64):
        image.crop((x, y, x + 64, y + 64)).save(f"{folder}/{x:04}-{y:04}.png", compress_level=6)
"""
IMPORTS, DRAWING = "import numpy, tifffile", "import numpy, PIL.Image"


class Command:
    """A command that is measured.

    Attributes:
        megabytes: the most that it had resident in any run.

    Args:
        words: the command line.
        made: what it makes, removed before each run.
        aside: put aside instead, where it is many files: ext4 passes over inodes that were just freed one by one, at each new
            file, which takes longer than to write a small tile.
    """

    def __init__(self, *words: object, made: Path | None = None, aside: bool = False) -> None:
        self._words, self._made, self._aside, self.megabytes = [str(word) for word in words], made, aside, 0.0

    def __call__(self) -> float:
        """Seconds of one run."""
        if self._made is not None and self._aside and self._made.exists():
            self._made.rename(tempfile.mkdtemp(dir=self._made.parent))
        elif self._made is not None:
            fresh(self._made)
        seconds, megabytes = peak(self._words)
        self.megabytes = max(self.megabytes, megabytes)
        return seconds


class Large:
    """The rows of the table, and the files that they have in common, each made when it is first needed.

    Args:
        table: that the rows go to.
        folder: of the files.
        scale: of the images' sides; limits hold at 1.
    """

    def __init__(self, table: Table, folder: Path, scale: float) -> None:
        self._table, self._folder, self._scale = table, folder, scale
        self._side, self._gigantic = (max(TILE, int(side * scale)) for side in (SIDE, GIGANTIC))
        self._name = f"{self._side}x{self._side} uint8 RGB"

    def _limit(self, limit: float) -> float | None:
        return limit if self._scale == 1 else None

    def _time(self, work: str, reference: str, ours: Command, other: Command, limit: float, least: int = 5) -> None:
        row = compare("large", work, reference, ours, other, limit=self._limit(limit), seconds=0, least=least)
        self._table.add(row)

    def _memory(self, work: str, command: Command, most: float) -> None:
        """A row of the most memory of a command, against so many megabytes."""
        held = command.megabytes
        self._table.add(Row("memory", work, f"{most:g} MB", held, most, held / most, 0.0, self._limit(1.0)))

    @functools.cached_property
    def _tiled(self) -> Path:
        path = self._folder / "tiled.tif"
        tiles = (picture(x, y, TILE, TILE) for y in range(0, self._side, TILE) for x in range(0, self._side, TILE))
        write(path, (self._side, self._side, 3), tiles, tile=(TILE, TILE))
        return path

    @functools.cached_property
    def _strips(self) -> Path:
        path = self._folder / "strips.tif"
        rows = 16
        strips = (picture(0, y, min(rows, self._side - y), self._side) for y in range(0, self._side, rows))
        write(path, (self._side, self._side, 3), strips, rowsperstrip=rows)
        return path

    @functools.cached_property
    def _stack(self) -> Path:
        path = self._folder / "stack.npz"
        self._cut(self._tiled, path)()
        return path

    def _cut(self, image: Path, stack: Path) -> Command:
        return Command(PROGRAM, "extract", image, "-s", 256, "--edge", "shift", "-o", stack, made=stack)

    def _window(self) -> tuple[int, int]:
        """Corner of a window that meets four tiles, or lies where there are so many."""
        at = min(self._side // 2 + 100, self._side - TILE)
        return at, at

    def crop(self) -> None:
        """A window of a tiled image, against rasterio's command."""
        x, y = self._window()
        ours, clipped = self._folder / "crop.tif", self._folder / "clip.tif"
        mine = Command(PROGRAM, "crop", self._tiled, "--box", x, y, TILE, TILE, "-o", ours, made=ours)
        if not Path(CLIP).exists():
            self._table.missing("rio clip: rasterio is not installed")
            return
        # left, bottom, right, top in pixels, of which rows count downwards
        theirs = Command(CLIP, "clip", self._tiled, clipped, "--bounds", f"{x} {y + TILE} {x + TILE} {y}", made=clipped)
        self._time(f"crop 512x512 of {self._name}", "rio clip", mine, theirs, 0.9)
        assert np.array_equal(whole(ours), whole(clipped)), "not the window that rio clips"
        self._table.add(
            Row(
                "memory",
                f"crop 512x512 of {self._name}",
                "rio clip",
                mine.megabytes,
                theirs.megabytes,
                mine.megabytes / theirs.megabytes,
                0.0,
                self._limit(0.9),
            )
        )

    def list(self) -> None:
        """Windows from one list, to one stack, against one of them."""
        room = self._side - TILE + 1
        places = np.random.default_rng(0).integers(0, room, (64, 2)).tolist()
        made: dict[int, Command] = {}
        for count in (64, 1):
            listed, stack = self._folder / f"{count}.csv", self._folder / f"{count}.npz"
            lines = [f"{self._tiled},{x},{y},{TILE},{TILE}" for x, y in places[:count]]
            listed.write_text("\n".join(["input,x,y,width,height", *lines]) + "\n")
            made[count] = Command(PROGRAM, "crop", "--boxes", listed, "-o", stack, made=stack)
        self._time("crop 64 windows from one list to one .npz", "one window", made[64], made[1], 3.0)
        self._memory("crop 64 windows", made[64], 250)

    def extract(self) -> None:
        """All patches of an image, against decoding it and writing as many bytes."""
        stack, written = self._folder / "stack.npz", self._folder / "decoded"
        mine = self._cut(self._tiled, stack)
        mine()
        self._stack = stack
        theirs = Command(sys.executable, "-c", DECODE, self._tiled, written, stack.stat().st_size, made=written)
        self._time(f"extract 256 of {self._name}", "decode by bands, write as many bytes", mine, theirs, 1.3, least=3)
        self._memory(f"extract 256 of {self._name}", mine, 250)
        fresh(written)

    def merge(self) -> None:
        """The image again, against reading the stack and writing as many bytes."""
        back, written = self._folder / "back.tif", self._folder / "copied"
        mine = Command(PROGRAM, "merge", self._stack, "-o", back, made=back)
        mine()
        theirs = Command(sys.executable, "-c", COPY, self._stack, written, back.stat().st_size, made=written)
        self._time(f"merge 256 to {self._name}", "read the stack, write as many bytes", mine, theirs, 1.5, least=3)
        self._memory(f"merge 256 to {self._name}", mine, 250)
        check_equal(back, self._tiled)
        fresh(back), fresh(written)

    def strips(self) -> None:
        """The same of an image in strips, for its memory."""
        stack, back = self._folder / "strips.npz", self._folder / "strips-back.tif"
        self._there_and_back(f"{self._name} in strips", self._strips, (stack, back), ("-s", 256), 250)

    def gigantic(self) -> None:
        """A larger image with patches that overlap, for its memory."""
        image, stack, back = (self._folder / name for name in ("gigantic.tif", "gigantic.npz", "gigantic-back.tif"))
        side = self._gigantic
        tiles = (pattern(x, y, TILE) for y in range(0, side, TILE) for x in range(0, side, TILE))
        write(image, (side, side), tiles, level=1, tile=(TILE, TILE))
        self._there_and_back(f"{side}x{side} uint8", image, (stack, back), ("-s", 512, "--stride", 384), 400)
        fresh(image)

    def _there_and_back(self, name: str, image: Path, made: tuple[Path, Path], sizes: tuple[object, ...], most: float) -> None:
        """Cut and merge an image, compare, and say how much memory both took."""
        stack, back = made
        cut = Command(PROGRAM, "extract", image, *sizes, "-o", stack, made=stack)
        put = Command(PROGRAM, "merge", stack, "-o", back, made=back)
        seconds = cut(), put()
        check_equal(back, image)
        print(f"  {name}: extract {seconds[0]:.1f} s, merge {seconds[1]:.1f} s, back bit for bit", flush=True)
        self._memory(f"extract {sizes[1]} of {name}", cut, most)
        self._memory(f"merge {sizes[1]} to {name}", put, most)
        fresh(stack), fresh(back)

    def tiles(self) -> None:
        """Tile files, against the programs that cut most of them."""
        cut, others, gdal = (self._folder / name for name in ("tiles", "dzsave_files", "retiled"))
        name = f"{self._name} to PNG tiles of {SMALL}"
        mine = self._cut_to_tiles(cut)
        sizes = ("--depth", "one", "--tile-size", SMALL, "--overlap", 0, "--suffix", ".png[compression=1]")
        dzsave = Command("vips", "dzsave", self._tiled, others.with_name("dzsave"), *sizes, made=others)
        line_of_gdal = 'mkdir "$0" && exec gdal_retile.py -q -ps 256 256 -of PNG -targetDir "$0" "$1"'
        retile = Command("bash", "-c", line_of_gdal, gdal, self._tiled, made=gdal)
        for program, theirs, limit in (("vips dzsave", dzsave, 0.8), ("gdal_retile.py", retile, 0.5)):
            if shutil.which(program.partition(" ")[0]) is None:
                self._table.missing(f"{program}: it is not installed")
                continue
            self._time(name, program, mine, theirs, limit, least=3)
        if not mine.megabytes:
            mine()
        self._memory(name, mine, 250)
        check_tiles(cut, self._tiled)
        for folder in (cut, others, gdal):
            fresh(folder)

    def _cut_to_tiles(self, folder: Path) -> Command:
        """What writes the tiled image as small PNG tiles."""
        words = ("-s", SMALL, "--edge", "clip", "--co", "level=1", "-o", folder / "{y}-{x}.png")
        return Command(PROGRAM, "extract", self._tiled, *words, made=folder)

    def small(self) -> None:
        """10,000 tiles of 64x64, against a loop with Pillow, both at PNG's usual level 6."""
        image, cut, saved = (self._folder / name for name in ("small.png", "small", "saved"))
        with image.open("wb") as file:
            sink.write(file, picture(0, 0, 6400, 6400), "png")
        mine = Command(PROGRAM, "extract", image, "-s", 64, "-o", cut / "{x}-{y}.png", made=cut, aside=True)
        theirs = Command(sys.executable, "-c", SAVE, image, saved, made=saved, aside=True)
        self._time("10000 tiles 64x64 of one PNG", "loop over PIL.Image.crop().save()", mine, theirs, 0.6, least=3)
        assert len(list(cut.glob("*.png"))) == len(list(saved.glob("*.png"))) == 10_000
        check_tiles(cut, image)
        for path in (image, cut, saved):
            fresh(path)

    def info(self) -> None:
        """What headers say, against the start of Python with two libraries."""
        nothing = Command(sys.executable, "-c", IMPORTS)
        for file in (self._stack, self._tiled):
            mine = Command(PROGRAM, "info", file)
            name = f"info of {file.stat().st_size / 1e9:.2f} GB of {file.suffix[1:]}"
            self._time(name, f"python -c '{IMPORTS}'", mine, nothing, 1.3, least=21)

    def preview(self) -> None:
        """Pictures: of a stack, against the start of Python with two libraries; of an image, against decoding it by bands."""
        drawn = self._folder / "drawn.png"
        nothing = Command(sys.executable, "-c", DRAWING)
        stack = Command(PROGRAM, "preview", self._stack, "-o", drawn, made=drawn)
        size = f"{self._stack.stat().st_size / 1e9:.2f} GB of npz"
        self._time(f"preview of {size}", f"python -c '{DRAWING}'", stack, nothing, 4.0, least=11)
        self._memory(f"preview of {size}", stack, 150)
        image = Command(PROGRAM, "preview", self._tiled, "-o", drawn, made=drawn)
        decoded = Command(sys.executable, "-c", DECODE, self._tiled, os.devnull, 0)
        self._time(f"preview of {self._name}", "decode by bands", image, decoded, 1.6, least=5)
        self._memory(f"preview of {self._name}", image, 200)
        fresh(drawn)

    def join(self) -> None:
        """Tile files to one image, against vips."""
        folder, back, joined = (self._folder / name for name in ("tiles", "joined.tif", "vips.tif"))
        work = f"join {SMALL}x{SMALL} PNG to {self._name}"
        self._cut_to_tiles(folder)()
        names = sorted(path.name for path in folder.glob("*.png"))
        mine = Command(PROGRAM, "merge", folder / f"{self._tiled.stem}.tiles.jsonl", "-o", back, made=back)
        vips = shutil.which("vips")
        if vips is None:
            self._table.missing("vips arrayjoin: libvips-tools is not installed")
            mine()
        else:
            # what it makes is larger than the image, for it takes all tiles to be as large as the largest
            words = ("arrayjoin", " ".join(names), joined, "--across", -(-self._side // SMALL))
            theirs = Command("env", f"--chdir={folder}", vips, *words, made=joined)
            self._time(work, "vips arrayjoin", mine, theirs, 0.3, least=3)
            fresh(joined)
        self._memory(work, mine, 250)
        check_equal(back, self._tiled)
        fresh(back)
        shutil.rmtree(folder)

    def map(self) -> None:
        """Patches through a function, none of them stored."""
        mapping.hundred_million(self._table, self._folder, max(300, int(mapping.SIDE * self._scale)), self._limit)
        mapping.tall(self._table, self._folder, self._scale, self._limit)
        mapping.other_functions(self._table, self._folder, self._scale, self._limit)


@functools.cache
def grain() -> NDArray[np.uint8]:
    """Noise of 32 levels: deflate leaves about as much of it as of a photograph, 70 percent."""
    return np.random.default_rng(0).integers(0, 32, (4 * TILE, 4 * TILE, 3), np.uint8)


def picture(x: int, y: int, height: int, width: int) -> NDArray[np.uint8]:
    """A part of a picture that is smooth, with noise: ``(height, width, 3)``, the same for the same pixels of rows ``y``."""
    rows, columns = np.arange(y, y + height, dtype=np.float32), np.arange(x, x + width, dtype=np.float32)
    smooth = 100 + 50 * np.sin(rows / 700)[:, None, None] + 50 * np.cos(columns / 900)[None, :, None]
    noise = grain()[(rows.astype(int) * 7 % len(grain()))[:, None], columns.astype(int) * 5 % len(grain())]
    return np.asarray((smooth + np.array([0, 7, 14], np.float32)).astype(np.uint8) + noise)


def pattern(x: int, y: int, side: int) -> NDArray[np.uint8]:
    """A tile that is cheap to make, unlike its neighbours: ``(side, side)``."""
    return np.asarray(grain()[:side, :side, 0] + np.uint8((x // side * 7 + y // side * 13) % 200))


def packed(parts: Iterator[NDArray[Any]], level: int) -> Iterator[bytes]:
    """Tiles or strips deflated in two threads, a few ahead; those of tifffile's own take all that there are at once."""
    import imagecodecs

    def deflated(part: NDArray[Any]) -> bytes:
        return bytes(imagecodecs.zlib_encode(part.tobytes(), level))

    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[bytes]] = deque()
        for part in parts:
            waiting.append(pool.submit(deflated, part))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def write(path: Path, shape: tuple[int, ...], parts: Iterator[NDArray[Any]], *, level: int = 6, **how: Any) -> None:  # noqa: ANN401
    """Write a deflated TIFF of these tiles or strips."""
    import tifffile

    print(f"  {path.name}, {'x'.join(map(str, shape))}, is being made", flush=True)
    fresh(path)
    tifffile.imwrite(
        path,
        packed(parts, level),
        shape=shape,
        dtype=np.uint8,
        photometric="rgb" if len(shape) == 3 else "minisblack",
        compression="deflate",
        metadata=None,
        **how,
    )
    print(f"  {path.name} has {path.stat().st_size / 1e6:.0f} MB", flush=True)


def whole(path: Path) -> NDArray[Any]:
    """All pixels of a small image."""
    import tifffile

    return np.asarray(tifffile.imread(path))


def check_tiles(folder: Path, image: Path) -> None:
    """Compare some tiles with the image that they are of, as their index has it; an error where they differ."""
    from patchcli.images.source import open_image
    from patchcli.stacks.tile_index import read_index

    with next(folder.glob("*.tiles.jsonl")).open("rb") as file:
        index = read_index(file)
    with image.open("rb") as file:
        whole_of = open_image(file, max_pixels=0)
        for name, (y, x) in list(zip(index.files, index.places.tolist(), strict=True))[:: max(1, len(index.files) // 50)]:
            with (folder / name).open("rb") as opened:
                tile = open_image(opened).pixels()
            assert np.array_equal(tile, whole_of.read((y, y + tile.shape[0]), (x, x + tile.shape[1]))), name


def check_equal(one: Path, other: Path) -> None:
    """Compare two images band by band, as patchcli reads them; an error where they differ."""
    from patchcli.images.source import open_image

    with one.open("rb") as file, other.open("rb") as second:
        images = [open_image(opened, max_pixels=0) for opened in (file, second)]
        assert images[0].shape == images[1].shape, (images[0].shape, images[1].shape)
        height, width = images[0].shape[:2]
        for top in range(0, height, BAND):
            one_band, other_band = (image.read((top, min(top + BAND, height)), (0, width)) for image in images)
            assert np.array_equal(one_band, other_band), f"{one} differs from {other} in rows {top} to {top + BAND}"


def check_room(folder: Path, rows: list[str], scale: float) -> None:
    """Refuse rows for whose files there is too little room, before any is made."""
    needed, free = max(NEEDS[row] for row in rows) * scale**2, shutil.disk_usage(folder).free
    if needed > free:
        raise SystemExit(f"{folder} has {free / 1e9:.1f} GB free where {needed / 1e9:.1f} are needed; use --folder or --only")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(ROWS), help="rows to measure; default: all")
    parser.add_argument("--scale", type=float, default=1, help="of the sides of the images, to try the benchmark itself")
    parser.add_argument("--folder", help="where the large files go; default: a temporary folder")
    options = parser.parse_args()
    rows = options.only.split(",")
    if unknown := set(rows) - set(ROWS):
        parser.error(f"no rows {', '.join(sorted(unknown))}; choose {', '.join(ROWS)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that files are removed
    table = Table()
    print(machine(), "", HEAD, sep="\n", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        check_room(Path(name), rows, options.scale)
        large = Large(table, Path(name), options.scale)
        works: dict[str, Callable[[], None]] = {row: partial(getattr(large, row)) for row in ROWS}
        for row in ROWS:
            if row in rows:
                works[row]()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "large.json").write_text(json.dumps({"machine": machine(), **table.as_json()}, indent=1))
    (RESULTS / "large.md").write_text("\n".join([machine(), "", HEAD, *map(line, table.rows)]) + "\n")
    over = [row for row in table.rows if row.verdict == "over"]
    print(f"\n{len(table.rows)} rows, {len(over)} over their limit; {RESULTS.name}/large.json, large.md")


if __name__ == "__main__":
    main()
