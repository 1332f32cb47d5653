"""Small image files and stacks of every kind that is read, and mutants of them: what `tools.torture` feeds to the program."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from random import Random
from typing import Any, NamedTuple

import imagecodecs
import netpbmfile
import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

import patchcli
from patchcli.geometry.grid import Part
from patchcli.stacks.file import write_pieces
from patchcli.stacks.header import Meta

HEIGHT, WIDTH, PATCH = 64, 96, 16
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
TIFF_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
ORIENTED, ORIENTATION = 6, 274  # a quarter turn; the tag that tells of it
CUTS = 40  # places at which a file is cut off
HEAD = 64  # bytes in which most formats have their headers


class Base(NamedTuple):
    """A file as it should be, and its pixels, upright; None where encoding loses something."""

    data: bytes
    pixels: NDArray[Any] | None


class Mutant(NamedTuple):
    """A damaged file: its name and that of the file it was made of, its bytes, and what was done to it."""

    name: str
    base: str
    data: bytes
    what: str


class Entry(NamedTuple):
    """An entry of a directory: its place in the file, its tag, its type and how many values it has."""

    place: int
    tag: int
    kind: int
    number: int


class Directory:
    """The first directory of a TIFF file, as the standard has it. ``fit`` is how many bytes of a value an entry holds itself."""

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\0", b"\0+")
        self.long, self.fit = ("Q", 8) if self.big else ("I", 4)
        (start,) = self.unpack(self.long, self.fit)
        (count,) = self.unpack("Q" if self.big else "H", start)
        first, step = start + (8 if self.big else 2), 12 + 2 * (self.fit - 4) * self.big
        places = range(first, min(first + count * step, len(data) - step + 1), step)
        self.entries = [Entry(place, *self.unpack(f"HH{self.long}", place)) for place in places]

    def unpack(self, code: str, place: int) -> tuple[Any, ...]:
        """Numbers at a place of the file."""
        return struct.unpack_from(self.order + code, self.data, place)

    def where(self, entry: Entry) -> int:
        """The place of an entry's value."""
        place = entry.place + 4 + self.fit
        return place if TIFF_SIZES.get(entry.kind, 1) * entry.number <= self.fit else int(self.unpack(self.long, place)[0])

    def numbers(self, tag: int) -> tuple[int, ...] | None:
        """The whole numbers of a tag; None where it is missing or holds something else."""
        entry = next((entry for entry in self.entries if entry.tag == tag), None)
        if entry is None or entry.kind not in TIFF_CODES or TIFF_CODES[entry.kind] in "fd" or not entry.number:
            return None
        if self.where(entry) + entry.number * TIFF_SIZES[entry.kind] > len(self.data):
            return None
        return self.unpack(f"{entry.number}{TIFF_CODES[entry.kind]}", self.where(entry))

    def changed(self, tag: int, kind: int, number: int) -> bytes:
        """The file with another number in a tag."""
        entry = next(entry for entry in self.entries if entry.tag == tag)
        value = struct.pack(self.order + f"HH{self.long}" + TIFF_CODES[kind], tag, kind, 1, number)
        return self.data[: entry.place] + value + self.data[entry.place + len(value) :]


def drawn_pixels() -> NDArray[np.uint8]:
    """RGB and alpha: ramps with some noise."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ramps = np.stack([rows * 3, columns * 2, rows + columns, 255 - rows], axis=2)
    return np.asarray(ramps + np.random.default_rng(1).integers(0, 30, ramps.shape), np.uint8)


def tiff(image: NDArray[Any], **options: Any) -> bytes:  # noqa: ANN401
    """A TIFF file as tifffile makes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, image, metadata=None, software=False, **options)
    return file.getvalue()


def packed(values: NDArray[Any], bits: int) -> bytes:
    """A TIFF file of gray samples without a byte order, counted down from white, which tifffile reads and does not write."""
    stream = np.packbits((values[..., None] >> np.arange(bits)[::-1]) & 1).reshape(len(values), -1)
    data = tiff(stream, photometric="miniswhite", rowsperstrip=24)
    return Directory(Directory(data).changed(256, 3, values.shape[1])).changed(258, 3, bits)


def by_pillow(image: NDArray[Any], kind: str, mode: str | None = None, **options: Any) -> bytes:  # noqa: ANN401
    """An image file as Pillow makes it; mode P: with a palette."""
    file, picture = io.BytesIO(), PIL.Image.fromarray(image)
    (picture.quantize(32) if mode == "P" else picture).save(file, kind, **options)
    return file.getvalue()


def png(image: NDArray[Any]) -> bytes:
    """A PNG file, of 16 bits, too."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))


def netpbm(image: NDArray[Any], kind: str) -> bytes:
    """A netpbm file."""
    file = io.BytesIO()
    netpbmfile.imwrite(file, image, magicnumber=kind, maxval=np.iinfo(image.dtype).max)  # type: ignore[arg-type]
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced(image: NDArray[np.uint8]) -> bytes:
    """A PNG file in seven passes, https://www.w3.org/TR/png-3/#8Interlace."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [image[row::down, column::right] for row, column, down, right in passes]
    raw = b"".join(b"\0" + line.tobytes() for part in parts for line in part)
    head = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def stack(image: NDArray[Any], *, compress: bool) -> bytes:
    """A stack file, without a record of when it was made."""
    grid = patchcli.Grid((image.shape[0], image.shape[1]), PATCH, 8, edge="pad", margin=4)
    patches, origins = patchcli.extract(image, grid)
    file, meta = io.BytesIO(), Meta(grid, image.shape[2:], image.dtype)
    write_pieces(file, meta, image.dtype, [patches], Part(grid, 0, len(origins), None), compress=compress)
    return file.getvalue()


def _tagged() -> dict[str, Base]:
    """The TIFF files whose tags are changed one by one."""
    rgba = drawn_pixels()
    rgb, gray, deep = rgba[..., :3], rgba[..., 0], rgba.astype(np.uint16) * 257 ^ 5
    real, bits = rgba[..., 1] / np.float32(7), rgba[..., 1] > 90
    turn = [(ORIENTATION, "H", 1, ORIENTED, True)]
    planes = np.ascontiguousarray(np.moveaxis(deep, 2, 0))
    separate = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"], "bigtiff": True}
    by_libtiff = by_pillow(rgb, "TIFF", compression="jpeg", quality=90)  # it keeps the tables in a tag
    return {
        "rgb-deflate.tif": Base(tiff(rgb, compression="zlib", predictor=2, rowsperstrip=16, photometric="rgb"), rgb),
        "gray16-turned.tif": Base(
            tiff(deep[..., 0], rowsperstrip=10, extratags=turn, description="ramp"), np.rot90(deep[..., 0], -1)
        ),
        "float-tiles-lzw.tif": Base(tiff(real, compression="lzw", tile=(32, 64)), real),
        "white12.tif": Base(packed(deep[..., 0] >> 4, 12), 4095 - (deep[..., 0] >> 4)),
        "bits.tif": Base(tiff(bits, rowsperstrip=20, photometric="minisblack"), bits),
        "planes-big-endian.tif": Base(tiff(planes, byteorder=">", rowsperstrip=32, **separate), deep),
        "ycbcr-jpeg.tif": Base(tiff(rgb, compression="jpeg", subsampling=(2, 2), tile=(32, 32), photometric="rgb"), None),
        "jpeg-tables.tif": Base(by_libtiff, None),
        "white8.tif": Base(tiff(gray, photometric="miniswhite"), 255 - gray),
    }


@functools.cache
def bases() -> dict[str, Base]:
    """All files, by name; forty of them."""
    rgba = drawn_pixels()
    rgb, gray, deep, bits = rgba[..., :3], rgba[..., 0], rgba.astype(np.uint16) * 257 ^ 5, rgba[..., 1] > 90
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = ORIENTED
    turn: dict[str, Any] = {"exif": exif.tobytes()}
    return _tagged() | {
        "rgb-plain.tif": Base(tiff(rgb, photometric="rgb"), rgb),
        "packbits.tif": Base(tiff(gray, compression="packbits", rowsperstrip=16), gray),
        "lzw-directory-last.tif": Base(by_pillow(gray, "TIFF", compression="tiff_lzw"), gray),
        "gray8.png": Base(png(gray), gray),
        "gray16.png": Base(png(deep[..., 0]), deep[..., 0]),
        "rgb8-turned.png": Base(by_pillow(rgb, "PNG", **turn), np.rot90(rgb, -1)),
        "rgb16.png": Base(png(deep[..., :3]), deep[..., :3]),
        "rgba8.png": Base(png(rgba), rgba),
        "palette.png": Base(by_pillow(rgb, "PNG", "P"), None),
        "palette-clear.png": Base(by_pillow(rgb, "PNG", "P", transparency=3), None),
        "bits.png": Base(by_pillow(bits, "PNG"), bits),
        "interlaced.png": Base(interlaced(rgb), rgb),
        "gray.jpg": Base(by_pillow(gray, "JPEG"), None),
        "rgb-turned.jpg": Base(by_pillow(rgb, "JPEG", **turn), None),
        "progressive.jpg": Base(by_pillow(rgb, "JPEG", progressive=True), None),
        "rgb.webp": Base(by_pillow(rgb, "WEBP", lossless=True, exact=True), rgb),
        "rgba-turned.webp": Base(by_pillow(rgba, "WEBP", lossless=True, exact=True, **turn), np.rot90(rgba, -1)),
        "rgb.bmp": Base(by_pillow(rgb, "BMP"), rgb),
        "gray.bmp": Base(by_pillow(gray, "BMP"), gray),
        "palette.bmp": Base(by_pillow(rgb, "BMP", "P"), None),
        "gray.gif": Base(by_pillow(gray, "GIF"), None),
        "palette-clear.gif": Base(by_pillow(rgb, "GIF", "P", transparency=3), None),
        "gray8.pgm": Base(netpbm(gray, "P5"), gray),
        "gray16.pgm": Base(netpbm(deep[..., 0], "P5"), deep[..., 0]),
        "text.pgm": Base(netpbm(gray, "P2"), gray),
        "rgb8.ppm": Base(netpbm(rgb, "P6"), rgb),
        "rgb16.ppm": Base(netpbm(deep[..., :3], "P6"), deep[..., :3]),
        "text.ppm": Base(netpbm(rgb, "P3"), rgb),
        "rgb.png.npz": Base(stack(rgb, compress=False), rgb),
        "gray16.png.npz": Base(stack(deep[..., 0], compress=False), deep[..., 0]),
        "rgb-deflated.png.npz": Base(stack(rgb, compress=True), rgb),
    }


def base_of(kind: str, number: int) -> str:
    """The name of the file that a mutant is made of."""
    return _entries()[number % len(_entries())][0] if kind == "tags" else list(bases())[number % len(bases())]


@functools.cache
def _entries() -> list[tuple[str, Entry]]:
    return [(name, entry) for name, base in _tagged().items() for entry in Directory(base.data).entries]


def mutant(kind: str, number: int) -> Mutant:
    """The mutant of a number, always the same."""
    name = base_of(kind, number)
    data, random = bases()[name].data, Random(f"{kind} {number}")  # noqa: S311
    if kind == "tags":
        data, what = _other_entry(data, _entries()[number % len(_entries())][1], random)
    elif kind == "bytes":
        data, what = _other_bytes(data, random)
    elif kind == "cuts":
        turn = number // len(bases()) * 7 % CUTS  # so that a few of them are spread, too
        even = HEAD + (len(data) - HEAD) * (turn - 12) // (CUTS - 12)
        size = len(data) - 1 - turn if turn < 2 else (turn - 2) * 6 if turn < 12 else even
        data, what = data[:size], f"cut to {size} of {len(data)} bytes"
    else:
        what = "nothing"
    return Mutant(f"{kind}-{number:05}-{name}", name, data, what)


def _other_bytes(data: bytes, random: Random) -> tuple[bytes, str]:
    """One byte or a few changed, one of three in the first bytes."""
    changed, told = bytearray(data), []
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        place = random.randrange(min(HEAD, len(data)) if random.random() < 1 / 3 else len(data))
        before, changed[place] = changed[place], random.choice([data[place] ^ 1 << random.randrange(8), random.randrange(256)])
        told.append(f"{place}: {before} to {changed[place]}")
    return bytes(changed), f"bytes {', '.join(told)}"


def _other_entry(data: bytes, entry: Entry, random: Random) -> tuple[bytes, str]:
    """An entry with another type, count or value, or several of them."""
    directory = Directory(data)
    kind = random.choice([*TIFF_SIZES, 0, 14, 15, 19, 99, 65535]) if random.random() < 0.45 else entry.kind
    counts = [0, 1, 2, 3, entry.number + 1, max(0, entry.number - 1), random.randrange(100), 2**16 - 1, 2**31, 2**32 - 1]
    count = random.choice(counts) if random.random() < 0.4 else entry.number
    place, size = entry.place + 4 + directory.fit, TIFF_SIZES.get(kind, 1)
    field, told, tail = data[place : place + directory.fit], "the same bytes", b""
    if (kind, count) == entry[2:] or random.random() < 0.6:
        value, told = _other_value(directory.order, kind, count if count < 100 else 1, len(data), random)
        if size * count <= directory.fit:
            field = value[: directory.fit].ljust(directory.fit, b"\0")
        elif random.random() < 0.3:
            start = random.choice([len(data) - 1, random.randrange(len(data)), len(data) + random.randrange(1 << 30), 2**32 - 1])
            field, told = struct.pack(directory.order + directory.long, start), f"what stands at {start}"
        else:
            field, tail = struct.pack(directory.order + directory.long, len(data)), value
    head = struct.pack(f"{directory.order}HH{directory.long}", entry.tag, kind, count)
    what = f"tag {entry.tag}: type {entry.kind} to {kind}, count {entry.number} to {count}, {told}"
    return data[: entry.place] + head + field + data[place + directory.fit :] + tail, what


def _other_value(order: str, kind: int, count: int, size: int, random: Random) -> tuple[bytes, str]:
    """The bytes of ``count`` values, or of one more or fewer, and what they are."""
    if kind == 2 or random.random() < 0.1:
        return b"%d\0" % random.randrange(1000), "digits"
    places = [size, size - 1, size + random.randrange(1 << 20), random.randrange(size), random.randrange(size)]
    some = [0, 1, 2, 3, 6, 7, 8, 16, 32, random.randrange(64), random.randrange(1 << 16), 2**16 - 1, 2**31, 2**32 - 1, *places]
    values: list[Any] = [random.choice(some) for _ in range(max(1, count + random.choice([0, 0, 0, -1, 1])))]
    code = TIFF_CODES.get(kind, "I")
    if code in "fd":
        values = [random.choice([0.5, -1.0, 1e30, float("nan"), float("inf"), float(value)]) for value in values]
        return struct.pack(f"{order}{len(values)}{code}", *values), f"values {values[:4]}"
    bytes_of_one = struct.calcsize(code)
    ends = "little" if order == "<" else "big"
    cut = [(value % (1 << 8 * bytes_of_one)).to_bytes(bytes_of_one, ends) for value in values]
    return b"".join(cut), f"values {values[:4]}"
