"""PNG through libpng: exact at every depth, where Pillow halves 16-bit colour; bool for one bit, as Pillow has it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import HARMLESS, Header, Opened, check_single, exif_orientation, sized
from patchcli.images.pillow import by_pillow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata

DEPTH, COLOUR = 24, 25  # bytes of a file that hold them
CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
PALETTE = 3  # colour type
CLEAR = {0: range(2, 3), 2: range(6, 7)}  # bytes of a tRNS chunk by colour type
START = 8 + 25  # bytes of signature and IHDR
NOTE = b"patchcli"  # keyword of the chunk that holds it
CHUNK_FRAME = 12  # bytes of a chunk without data
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # which libpng checks


def open_png(file: BinaryIO, page: int) -> Opened:
    """Read the header of a PNG image."""
    check_single(page)
    head = file.read(COLOUR + 1)
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    one_bit = head[DEPTH:] == b"\1\0"

    def decode() -> NDArray[Any]:
        import imagecodecs

        file.seek(0)
        pixels = np.asarray(imagecodecs.png_decode(file.read()))
        return pixels > 0 if one_bit and pixels.ndim == 2 else pixels  # noqa: PLR2004

    def header() -> Header:
        clear, orientation = _beside_pixels(file, head[DEPTH], head[COLOUR])
        channels = CHANNELS[head[COLOUR]] + clear
        bits = one_bit and channels == 1
        dtype = np.dtype(bool if bits else np.uint16 if head[DEPTH] == 16 else np.uint8)  # noqa: PLR2004
        return Header(channels, dtype, orientation, sized(file) + height * width * bits)

    return Opened(height, width, header, decode)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of the chunks of a PNG file, none of them read; one that claims more ends with the file."""
    place, end = 8, sized(file)
    while place + CHUNK_FRAME <= end:
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[:4])
        yield head[4:], place + 8, min(size, end - place - 8)
        place += size + CHUNK_FRAME


def _beside_pixels(file: BinaryIO, depth: int, colour: int) -> tuple[bool, object]:
    """Whether one colour is clear (tRNS), and the orientation (eXIf, 1 where there is none): https://www.w3.org/TR/png-3/.

    libpng leaves out a tRNS chunk that is too long, too short or out of place, and goes on. So it does with what has a wrong
    checksum; but where pixels depend on that, or may do so because the chunk is not known, it is damage.
    """
    clear, sizes = False, CLEAR.get(colour, range(0))
    orientation: object = 1
    for kind, place, size in _chunks(file):
        if kind == b"PLTE" and colour == PALETTE:
            sizes = range(1, min(size // 3, 1 << depth) + 1)
        elif kind == b"IDAT":
            sizes = range(0)
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
    return clear, orientation


def write_png(file: BinaryIO, image: NDArray[Any], note: str, _metadata: Metadata) -> None:
    """Write a PNG image; a note is a tEXt chunk behind the header (https://www.w3.org/TR/png-3/#11tEXt)."""
    import imagecodecs

    one_bit = image.dtype.kind == "b"
    data = by_pillow(image, "png") if one_bit else bytes(imagecodecs.png_encode(image, level=6))
    if note:
        body = b"tEXt" + NOTE + b"\0" + note.encode("ascii")
        data = data[:START] + (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4) + data[START:]
    file.write(data)


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
