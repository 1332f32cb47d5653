"""JPEG: the usual kind through Pillow; 12-bit and lossless ones, and JPEG-LS, through imagecodecs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import (
    Header,
    Opened,
    check_single,
    exif_orientation,
    has_jpeg_end,
    orientation_block,
    sized,
    whole_image,
)
from patchcli.images.pillow import by_pillow, dots_per_inch, open_pillow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding

# Markers of ITU-T T.81, B.1.1.3, and T.87: how an image is coded
FRAMES = {
    0xC0: "baseline",
    0xC1: "extended sequential",
    0xC2: "progressive",
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
    0xF7: "LS",
}
BY_PILLOW = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # which Pillow decodes, with 8 bits
LOSSLESS, LS = 0xC3, 0xF7
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # markers without a length
APPLICATION, APP1, COMMENT = range(0xE0, 0xF0), 0xE1, 0xFE
QUALITY = 95  # of 100
SCAN_OR_END = (b"\xda", b"\xd9", b"")


class Frame(NamedTuple):
    """What the markers before the pixels say of an image; ``kind`` is a key of `FRAMES`, which stands at ``place``."""

    kind: int
    bits: int
    height: int
    width: int
    channels: int
    exif: bytes | None
    place: int


def open_jpeg(file: BinaryIO, page: int) -> Opened:
    """Read the header of a JPEG image."""
    frame = frame_of(file)
    if frame is None or (frame.kind in BY_PILLOW and frame.bits == 8):  # noqa: PLR2004
        file.seek(0)
        return open_pillow(file, page)
    check_single(page)
    channels = f"{frame.channels} channel{'s' * (frame.channels > 1)}"
    name = f"JPEG image of the kind {FRAMES[frame.kind]} with {frame.bits} bits and {channels}"
    if frame.kind not in (*BY_PILLOW, LOSSLESS, LS) or frame.channels not in (1, 3) or frame.bits not in range(2, 17):
        raise PatchcliError(f"is a {name}; allowed are baseline, progressive, 12-bit, lossless and LS, gray or RGB: convert it")

    def decode() -> NDArray[Any]:
        import imagecodecs

        file.seek(0)
        decoder = imagecodecs.jpegls_decode if frame.kind == LS else imagecodecs.jpeg8_decode
        data = file.read()
        if not has_jpeg_end(data, frame.place):
            raise PatchcliError(f"is a {name} that is truncated: its end is missing")
        try:
            return np.asarray(decoder(data))
        except Exception as error:  # noqa: BLE001  of which it has one for each library
            raise PatchcliError(f"is a {name} that cannot be decoded: {error}") from None

    def header() -> Header:
        said = None if frame.exif is None else exif_orientation(frame.exif)
        dtype = np.dtype(np.uint8 if frame.bits <= 8 else np.uint16)  # noqa: PLR2004
        return Header(frame.channels, dtype, 1 if said is None else said, sized(file))

    return Opened(frame.height, frame.width, header, decode)


def frame_of(file: BinaryIO) -> Frame | None:
    """The frame of an image, and its EXIF block; None where no frame is found."""
    exif = None
    for kind, size in _segments(file):
        if kind in FRAMES:
            head = file.read(6)
            if len(head) < 6:  # noqa: PLR2004
                return None
            return Frame(kind, head[0], int.from_bytes(head[1:3]), int.from_bytes(head[3:5]), head[5], exif, file.tell())
        if kind == APP1 and exif is None:
            body = file.read(size)
            exif = body if body.startswith(b"Exif\0\0") else None
    return None


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Marker and size of each segment before the pixels (ITU-T T.81, B.1.1.4), while the file stands at what it holds."""
    place = 2
    while file.seek(place) and file.read(1) == b"\xff":
        while (marker := file.read(1)) == b"\xff":
            pass
        if marker in SCAN_OR_END:
            return
        place = file.tell()
        if marker[0] not in WITHOUT_LENGTH:
            size = max(int.from_bytes(file.read(2)), 2)
            yield marker[0], size - 2
            place += size


def write_jpeg(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a JPEG image, its colours not subsampled; a note is a comment behind the application segments (B.2.4.5)."""
    meant, beside = made.meaning, dots_per_inch(made.meaning)
    if meant.icc:
        beside["icc_profile"] = meant.icc
    if meant.orientation is not None:
        beside["exif"] = b"Exif\0\0" + orientation_block(meant.orientation)
    quality = int(made.asked("quality") or QUALITY)
    data = by_pillow(whole_image(lines, made), "jpeg", quality=quality, subsampling=0, **beside)
    if made.note:
        held, body = io.BytesIO(data), made.note.encode("ascii")
        next(kind for kind, _ in _segments(held) if kind not in APPLICATION)
        place = held.tell() - 4
        data = data[:place] + bytes((0xFF, COMMENT)) + (len(body) + 2).to_bytes(2) + body + data[place:]
    file.write(data)


def note_of_jpeg(file: BinaryIO) -> str | None:
    """The first comment before the picture."""
    for kind, size in _segments(file):
        if kind == COMMENT:
            return file.read(size).decode("latin-1")
        if kind not in APPLICATION:
            break
    return None
