"""PNG, read through libpng: exact at every depth, where Pillow halves 16-bit colour; bool for one bit, as Pillow has it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import (
    HARMLESS,
    Header,
    Indices,
    Opened,
    check_single,
    exif_orientation,
    lines_in_parts,
    orientation_block,
    rows_at_once,
    sized,
)
from patchcli.images.metadata import MAX_ICC, Metadata, as_icc
from patchcli.images.pillow import colours_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding

DEPTH, COLOUR = 24, 25  # bytes of a file that hold them
CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
GRAY, INDEXED = 0, 3  # colour types
CLEAR = {0: range(2, 3), 2: range(6, 7)}  # bytes of a tRNS chunk by colour type
START = 8 + 25  # bytes of signature and IHDR
NOTE = b"patchcli"  # keyword of the chunk that holds it
LEVEL = 6  # of compression
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
FILTERS = (0, 1, 2, 3)  # none, sub, up, average; Paeth takes as long as these together, and gains nothing
FILTERED_BYTES = 1 << 18  # of lines that are filtered at once: what is made of them stays in a core's cache
LONGEST_SIDE = 1_000_000  # that libpng reads
MOST_OF_CHUNK = 1 << 30
RATIO = 1000  # of the shorter side of a pixel where only the ratio of its sides is known
CHUNK_FRAME = 12  # bytes of a chunk without data
PNG_END = bytes(4) + b"IEND" + zlib.crc32(b"IEND").to_bytes(4)  # a chunk
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # which libpng checks


def open_png(file: BinaryIO, page: int) -> Opened:
    """Read the header of a PNG image."""
    check_single(page)
    head = file.read(START)
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    one_bit = head[DEPTH : COLOUR + 1] == b"\1\0"
    clear, orientation, known = _beside_pixels(file, head[DEPTH], head[COLOUR])
    channels = CHANNELS[head[COLOUR]] + clear

    def decode() -> NDArray[Any]:
        file.seek(0)
        pixels = _decoded(file.read())
        return pixels > 0 if one_bit and pixels.ndim == 2 else pixels  # noqa: PLR2004

    def header() -> Header:
        bits = one_bit and channels == 1
        dtype = np.dtype(bool if bits else np.uint16 if head[DEPTH] == 16 else np.uint8)  # noqa: PLR2004
        indices = (lambda: _indices(file, head)) if head[COLOUR] in (GRAY, INDEXED) else None
        return Header(channels, dtype, orientation, sized(file) + height * width * bits, indices=indices)

    metadata = Metadata.usual(channels)._replace(**known).sensible() if known else None
    return Opened(height, width, header, decode, metadata=metadata)


def _decoded(data: bytes | bytearray) -> NDArray[Any]:
    """The pixels of a PNG file."""
    import imagecodecs

    try:
        return np.asarray(imagecodecs.png_decode(data))
    except Exception:
        # imagecodecs 2026.3.6 loses a reference to None where pixels are damaged: without this, 10,000 such images abort a
        # process of Python 3.11, where None is counted. One too many, as after another failure, does no harm.
        with contextlib.suppress(ImportError):
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))
        raise


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of the chunks of a PNG file, none of them read; one that claims more ends with the file."""
    place, end = 8, sized(file)
    while place + CHUNK_FRAME <= end:
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[:4])
        yield head[4:], place + 8, min(size, end - place - 8)
        place += size + CHUNK_FRAME


def _beside_pixels(file: BinaryIO, depth: int, colour: int) -> tuple[bool, object, dict[str, Any]]:
    """Whether one colour is clear (tRNS), the orientation (eXIf, 1 where there is none), and what else pixels mean.

    https://www.w3.org/TR/png-3/

    libpng leaves out a tRNS chunk that is too long, too short or out of place, and goes on. So it does with what has a wrong
    checksum; but where pixels depend on that, or may do so because the chunk is not known, it is damage.
    """
    clear, sizes, known = False, CLEAR.get(colour, range(0)), dict[str, Any]()
    wanted = dict(KNOWN)  # the first of each counts
    orientation: object = 1
    for kind, place, size in _chunks(file):
        if kind == b"PLTE" and colour == INDEXED:
            sizes = range(1, min(size // 3, 1 << depth) + 1)
        elif kind == b"IDAT":
            sizes = range(0)
        elif size < MAX_ICC and (reader := wanted.pop(kind, None)):
            file.seek(place)
            reader(known, file.read(size))
        if kind in CRITICAL or kind in HARMLESS:
            continue
        file.seek(place - 4)
        body, crc = file.read(4 + size), file.read(4)
        if zlib.crc32(body).to_bytes(4) != crc:
            raise PatchcliError(f"is damaged: its chunk {kind!r} has a wrong checksum")
        clear = clear or (kind == b"tRNS" and size in sizes)
        if kind == b"eXIf":
            said = exif_orientation(body[4:])
            orientation = 1 if said is None else said
    return clear, orientation, known


def _profile(known: dict[str, Any], body: bytes) -> None:
    """The ICC profile in an iCCP chunk: its name, how it is compressed, and its bytes; one that is damaged is left out."""
    packed = body[body.find(b"\0") + 2 :]
    unpacking = zlib.decompressobj()
    try:
        icc = as_icc(unpacking.decompress(packed, MAX_ICC))
    except zlib.error:
        return
    if icc is not None and unpacking.eof:
        known["icc"] = icc


def _density(known: dict[str, Any], body: bytes) -> None:
    """Pixels on a meter, or only their ratio, in a pHYs chunk."""
    x, y = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
    if len(body) == 9 and x and y and (body[8] == 1 or x != y):  # noqa: PLR2004
        known["resolution"] = (x / 100, y / 100, "centimeter") if body[8] == 1 else (float(x), float(y), "none")


KNOWN: dict[bytes, Callable[[dict[str, Any], bytes], None]] = {b"iCCP": _profile, b"pHYs": _density}


def _indices(file: BinaryIO, head: bytes) -> Indices:
    """The numbers of a palette, or of gray, which libpng would replace by colours, or scale to 8 bits.

    The same data as those of a gray image of as many bits, which the header is made to say: all chunks but the pixels are left
    out.
    """
    depth = head[DEPTH]
    if zlib.crc32(head[12:-4]).to_bytes(4) != head[-4:]:
        raise PatchcliError("is damaged: its chunk b'IHDR' has a wrong checksum")

    def decode() -> NDArray[Any]:
        start = next((place - 8 for kind, place, _ in _chunks(file) if kind == b"IDAT"), sized(file))
        data = bytearray(START + sized(file) - start)
        data[:START] = head
        data[COLOUR] = GRAY
        data[START - 4 : START] = zlib.crc32(data[12 : START - 4]).to_bytes(4)
        file.seek(start)
        file.readinto(memoryview(data)[START:])  # type: ignore[attr-defined]
        pixels = _decoded(data)
        return pixels if depth >= 8 else np.floor_divide(pixels, 255 // ((1 << depth) - 1), out=pixels)  # noqa: PLR2004

    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)  # noqa: PLR2004
    return Indices(decode, dtype, _palette(file, depth) if head[COLOUR] == INDEXED else None)


def _palette(file: BinaryIO, depth: int) -> tuple[tuple[int, int, int], ...]:
    """The colours of a palette, 16 bits each."""
    for kind, place, size in _chunks(file):
        if kind == b"PLTE" and size in range(3, 769, 3):
            file.seek(place - 4)
            body, crc = file.read(4 + size), file.read(4)
            if zlib.crc32(body).to_bytes(4) != crc:
                raise PatchcliError("is damaged: its chunk b'PLTE' has a wrong checksum")
            values = [257 * value for value in body[4 : 4 + (3 << depth)]]
            return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))
        if kind == b"IDAT":
            break
    raise PatchcliError("is damaged: it has no colours (chunk b'PLTE') before its pixels")


def write_png(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a PNG image; a note is a tEXt chunk behind the header (https://www.w3.org/TR/png-3/#11tEXt)."""
    if max(made.shape[:2]) > LONGEST_SIDE:
        raise PatchcliError(
            f"has width={made.shape[1]} height={made.shape[0]}; readers of PNG take sides of at most {LONGEST_SIDE}; use tiff"
        )
    filtered, largest = _filtered(lines, made)
    file.writelines([*_head(made, largest), *_body(filtered, made)])


def write_pngs(images: NDArray[Any], made: Encoding) -> Iterator[bytes]:
    """The files of small images ``(n, H, W[, C])``, the same as `write_png` writes of each; ``made`` is what they all are.

    They are filtered together: numpy takes longer to be called for one of them than to filter it.
    """
    raw = _raw(images.reshape(-1, *made.shape[1:]), made).reshape(len(images), made.shape[0], -1)
    filtered = np.empty((*raw.shape[:2], 1 + raw.shape[2]), np.uint8)
    _filter(raw, np.zeros_like(raw[:, :1]), made, filtered)
    head = functools.cache(lambda largest: b"".join(_head(made, largest)))
    largest_of_each = raw.max(axis=(1, 2)).tolist() if _is_indexed(made) else itertools.repeat(0)
    for one, largest in zip(filtered, largest_of_each, strict=False):
        yield b"".join([head(largest), *_body(one.tobytes(), made)])


def _is_indexed(made: Encoding) -> bool:
    return len(made.shape) == 2 and made.dtype == np.uint8 and bool(made.meaning.colormap)  # noqa: PLR2004


def _level(made: Encoding) -> int:
    return int(made.asked("level") or LEVEL)


def _head(made: Encoding, largest: int) -> list[bytes | memoryview]:
    """What comes before the pixels; an image of indices has colours up to the ``largest`` of them at the least."""
    meant, indexed = made.meaning, _is_indexed(made)
    depth, colour = 1 if made.dtype.kind == "b" else 8 * made.dtype.itemsize, INDEXED if indexed else COLOUR_TYPES[made.channels]
    size = made.shape[1].to_bytes(4) + made.shape[0].to_bytes(4)
    chunks = [SIGNATURE, *_chunk(b"IHDR", size + bytes((depth, colour, 0, 0, 0)))]
    if made.note:
        chunks += _chunk(b"tEXt", NOTE + b"\0" + made.note.encode("ascii"))
    if meant.icc:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(meant.icc))
    if indexed:
        chunks += _chunk(b"PLTE", bytes(itertools.chain.from_iterable(colours_of(meant, largest))))
    chunks += _physical(meant)
    if meant.orientation is not None:
        chunks += _chunk(b"eXIf", orientation_block(meant.orientation))
    return chunks


def _body(filtered: bytes | bytearray, made: Encoding) -> list[bytes | memoryview]:
    """The pixels, and the end."""
    import imagecodecs

    # which packs better than zlib, in less than half the time
    data = memoryview(imagecodecs.deflate_encode(filtered, _level(made)))
    chunks = [_chunk(b"IDAT", data[first : first + MOST_OF_CHUNK]) for first in range(0, len(data), MOST_OF_CHUNK)]
    return [*itertools.chain.from_iterable(chunks), PNG_END]


def _raw(lines: NDArray[Any], made: Encoding) -> NDArray[np.uint8]:
    """The bytes of lines ``(n, W[, C])``, ``(n, bytes)``."""
    if made.dtype.kind == "b":
        return np.packbits(lines.reshape(len(lines), -1), axis=1)
    return np.ascontiguousarray(lines, made.dtype.newbyteorder(">")).reshape(len(lines), -1).view(np.uint8)


def _filtered(lines: Iterable[NDArray[Any]], made: Encoding) -> tuple[bytearray, int]:
    """The bytes of an image as they are deflated, a filter and its line in turn, and the largest index of indices."""
    height, width = made.shape[:2]
    nbytes = -(-width // 8) if made.dtype.kind == "b" else width * made.channels * made.dtype.itemsize
    held, row, largest = bytearray(height * (1 + nbytes)), 0, 0
    filtered = np.frombuffer(held, np.uint8).reshape(1, height, 1 + nbytes)
    above = np.zeros((1, 1, nbytes), np.uint8)
    for some in lines_in_parts(lines, rows_at_once(made, FILTERED_BYTES)):
        raw = _raw(some, made)[None]
        _filter(raw, above, made, filtered[:, row : row + raw.shape[1]])
        above, row = raw[:, -1:].copy(), row + raw.shape[1]
        if _is_indexed(made):
            largest = max(largest, int(raw.max()))
    return held, largest


def _filter(raw: NDArray[np.uint8], above: NDArray[np.uint8], made: Encoding, out: NDArray[np.uint8]) -> None:
    """Filter lines of several images into ``out``, ``(n, rows, 1 + bytes)``, which begins each with the number of its filter.

    Each line has the filter by which its differences are least in sum, as the standard advises
    (https://www.w3.org/TR/png-3/#12Filter-selection); what is stored, indices and single bits have none.

    Args:
        raw: the lines, ``(n, rows, bytes)``.
        above: ``(n, 1, bytes)``, those above the first ones.
        made: what they are.
        out: a view of all bytes of whole lines.
    """
    if not _level(made) or _is_indexed(made) or made.dtype.kind == "b":
        out[..., 0], out[..., 1:] = 0, raw
        return
    up = np.concatenate([above, raw[:, :-1]], axis=1)
    left, pixel = np.zeros(raw.shape, np.uint8), made.channels * made.dtype.itemsize
    left[..., pixel:] = raw[..., :-pixel]
    results = np.empty((len(FILTERS), *raw.shape), np.uint8)
    results[0] = raw
    for number, guess in enumerate((left, up, _halfway(left, up)), start=1):
        np.subtract(raw, guess, out=results[number])
    results = results.reshape(len(FILTERS), -1, raw.shape[2])
    # differences go around, 255 is -1; the absolute of -128 is itself, as a byte 128
    sizes = np.abs(results.view(np.int8)).view(np.uint8)
    best = np.einsum("ijk->ij", sizes, dtype=np.uint32, casting="safe").argmin(axis=0)
    out[..., 0] = best.reshape(raw.shape[:2])  # the first filters, so that their place is their number
    out[..., 1:] = results[best, np.arange(len(best))].reshape(raw.shape)


def _halfway(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The means of bytes, rounded down."""
    return np.asarray((one & other) + ((one ^ other) >> 1))


def _physical(meant: Metadata) -> list[bytes | memoryview]:
    """The pHYs chunk, where anything is known for it."""
    density, resolution, unit = meant.density("m"), meant.resolution, 1
    if density is None and resolution is not None:  # a ratio
        density, unit = (resolution[0] / min(resolution[:2]) * RATIO, resolution[1] / min(resolution[:2]) * RATIO), 0
    if density is None or not all(0 < round(one) < 1 << 31 for one in density):
        return []
    return _chunk(b"pHYs", b"".join(round(one).to_bytes(4) for one in density) + bytes((unit,)))


def _chunk(kind: bytes, body: bytes | memoryview) -> list[bytes | memoryview]:
    """The parts of a chunk, so that a large one is not copied."""
    return [len(body).to_bytes(4) + kind, body, zlib.crc32(body, zlib.crc32(kind)).to_bytes(4)]


def note_of_png(file: BinaryIO) -> str | None:
    """The text of our chunk, which stands before the pixels."""
    for kind, place, size in _chunks(file):
        if kind == b"IDAT":
            break
        if kind == b"tEXt":
            file.seek(place)
            keyword, _, note = file.read(size).partition(b"\0")
            if keyword == NOTE:
                return note.decode("latin-1")
    return None
