"""The image formats: all that the rest of the program asks about one stands in its entry.

A depth is kept or refused, never halved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from patchcli.images import jpeg, netpbm, npy, pillow, png, tiff, tiff_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding, Opened

SNIFF = 32  # bytes from the beginning of a file, by which its format is told


class Format(NamedTuple):
    """An image format.

    Attributes:
        suffixes: of the files that are written; the first is added to names without one of them.
        matches: whether a file begins so.
        open: reads the header of a page; None: never read.
        write: takes the lines of an image, and what is to be written; None: never written.
        write_several: takes small images ``(n, H, W[, C])`` that mean the same wherever they lie, gives the file of each; None
            where nothing is gained.
        holds: numbers of channels by dtype.
        read_only: suffixes of files that are read, never written: of other programs' files of this format.
        lossless: pixels come back as they were.
        note: reads the note; None where it holds none.
        explains: says of its samples what they mean, and not only how many there are.
        keeps: the fields of `Metadata` that it has a place for, beside those of the samples.
        indices: dtypes of which it keeps a colour table.
        creation: the keys of ``--co``, and their values: whole numbers or words.
        by_lines: is written line by line, so that the image is never held; others are encoded whole.
        quiet: reading a header calls no library, which might print.
        library: bytes that its library takes more than that of PNG, as measured.
        encoder_pixel: bytes a pixel that its library holds while it encodes colour, as measured; 1 for gray, if any.
        encoder_times: and how many times the bytes of the image.
        encoder_most: and that at most.
    """

    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO, int], Opened] | None
    write: Callable[[BinaryIO, Iterable[NDArray[Any]], Encoding], None] | None
    holds: dict[str, range]
    write_several: Callable[[NDArray[Any], Encoding], Iterable[bytes]] | None = None
    read_only: tuple[str, ...] = ()
    lossless: bool = True
    note: Callable[[BinaryIO], str | None] | None = None
    explains: bool = False
    keeps: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    creation: Mapping[str, range | tuple[str, ...]] = MappingProxyType({})
    by_lines: bool = False
    quiet: bool = False
    library: int = 0
    encoder_pixel: int = 0
    encoder_times: float = 0
    encoder_most: float = math.inf

    def encoding(self, shape: tuple[int, ...], dtype: np.dtype[Any], creation: tuple[tuple[str, str], ...] = ()) -> int:
        """Bytes that are held beside an image ``(H, W[, C])`` while it is written, as ``--co`` says."""
        pixel = min(self.encoder_pixel, 1) if len(shape) == 2 else self.encoder_pixel  # noqa: PLR2004
        held = pixel * shape[0] * shape[1] + self.encoder_times * math.prod(shape) * dtype.itemsize
        tiles = 2 * int(dict(creation).get("tile", 0)) * math.prod(shape[1:]) * dtype.itemsize  # a row of them
        return int(min(held, self.encoder_most)) + tiles


PILLOW_BYTES = 9_000_000
LINES_HELD = 1 << 22  # of what is written line by line
QUALITIES = range(1, 101)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _is_bmp(head: bytes) -> bool:
    """A BMP file, or one that lacks the first of its two headers, as some .dib files do: then it begins with that one's size."""
    bare = int.from_bytes(head[:4], "little") in (40, 52, 56, 108, 124) and head[12:14] == b"\1\0"
    return head.startswith(b"BM") or bare


def _netpbm(suffix: str, starts: tuple[bytes, ...], holds: dict[str, range]) -> Format:
    return Format(
        (suffix,),
        _starts(*starts),
        netpbm.open_netpbm,
        netpbm.write_netpbm,
        holds,
        note=netpbm.note_of_netpbm,
        by_lines=True,
        encoder_times=1,
        encoder_most=LINES_HELD,
    )


REAL = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
ONE, THREE, ONE_OR_THREE, ANY = range(1, 2), range(3, 4), range(1, 4, 2), range(1, 1 << 16)
TO_FOUR = range(1, 5)
FORMATS: dict[str, Format] = {
    "png": Format(
        (".png", ".apng"),
        _starts(b"\x89PNG\r\n\x1a\n"),
        png.open_png,
        png.write_png,
        {"b1": ONE, "u1": TO_FOUR, "u2": TO_FOUR},
        write_several=png.write_pngs,
        note=png.note_of_png,
        keeps=("icc", "resolution", "orientation"),
        indices=("u1",),
        creation={"level": range(10)},
        quiet=True,
        encoder_times=2.1,
    ),
    "tiff": Format(
        (".tif", ".tiff"),
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        tiff.open_tiff,
        tiff_write.write_tiff,
        {"b1": ONE, **dict.fromkeys(REAL[1:], ANY)},
        read_only=(".btf", ".tf8", ".svs", ".lsm"),
        note=tiff.note_of_tiff,
        explains=True,
        keeps=("icc", "resolution", "geotiff", "nodata", "orientation"),
        indices=("u1", "u2"),
        creation={"compression": tiff_write.COMPRESSIONS, "tile": range(16, 1 << 14, 16)},
        by_lines=True,
        library=2_500_000,
        encoder_times=1,
        encoder_most=4 * LINES_HELD,
    ),
    "jpeg": Format(
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        _starts(b"\xff\xd8\xff"),
        jpeg.open_jpeg,
        jpeg.write_jpeg,
        {"u1": ONE_OR_THREE},
        lossless=False,
        note=jpeg.note_of_jpeg,
        keeps=("icc", "resolution", "orientation"),
        creation={"quality": QUALITIES},
        library=PILLOW_BYTES,
        encoder_pixel=4,
        encoder_times=0.5,
    ),
    "webp": Format(
        (".webp",),
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        pillow.open_pillow,
        pillow.write_webp,
        {"u1": range(3, 5)},
        note=pillow.note_of_webp,
        keeps=("icc", "orientation"),
        creation={"quality": QUALITIES},
        library=PILLOW_BYTES,
        encoder_pixel=40,
        encoder_times=1,
    ),
    "bmp": Format(
        (".bmp", ".dib"),
        _is_bmp,
        pillow.open_pillow,
        pillow.write_bmp,
        {"b1": ONE, "u1": ONE_OR_THREE},
        keeps=("resolution",),
        indices=("u1",),
        library=PILLOW_BYTES,
        encoder_pixel=4,
        encoder_times=2,
    ),
    "pgm": _netpbm(".pgm", (b"P2", b"P5"), {"u1": ONE, "u2": ONE}),
    "ppm": _netpbm(".ppm", (b"P3", b"P6"), {"u1": THREE, "u2": THREE}),
    "pbm": _netpbm(".pbm", (b"P1", b"P4"), {"b1": ONE}),
    "pnm": _netpbm(".pnm", (), {"b1": ONE, "u1": ONE_OR_THREE, "u2": ONE_OR_THREE}),  # whichever of these the image needs
    "gif": Format(
        (),
        _starts(b"GIF87a", b"GIF89a"),
        pillow.open_pillow,
        None,
        {},
        read_only=(".gif",),
        lossless=False,
        library=PILLOW_BYTES,
    ),
    "npy": Format(
        (".npy",),
        _starts(b"\x93NUMPY"),
        npy.open_npy,
        npy.write_npy,
        dict.fromkeys(REAL, ANY),
        explains=True,
        by_lines=True,
        quiet=True,
        encoder_times=1,
        encoder_most=LINES_HELD,
    ),
}
READABLE = tuple(name for name, known in FORMATS.items() if known.open)
# of files that count in a folder
SUFFIXES = tuple(suffix for name in READABLE for suffix in FORMATS[name].suffixes + FORMATS[name].read_only)
WRITABLE = tuple(name for name, known in FORMATS.items() if known.write)


def _is_text(head: bytes) -> bool:
    return head.isascii() and all(byte >= ord(" ") or byte in b"\t\n\r\f" for byte in head)


def _of_brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Whether a file of the ISO base media format (ISO/IEC 14496-12, 4.3) is of one of these brands."""
    return lambda head: head[4:8] == b"ftyp" and head[8:12] in brands


# What else a file may be, by how it begins: for messages
NO_IMAGES: dict[str, Callable[[bytes], bool]] = {
    "empty": lambda head: not head,
    "a patch stack or another zip archive": _starts(b"PK\3\4", b"PK\5\6"),
    "a HEIC image": _of_brand(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "an AVIF image": _of_brand(b"avif", b"avis"),
    "a JPEG XL image": _starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "a JPEG 2000 image": _starts(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
    "a JPEG XR image": _starts(b"II\xbc"),
    "an OpenEXR image": _starts(b"\x76\x2f\x31\x01"),
    "a PDF document": _starts(b"%PDF-"),
    "a gzip file": _starts(b"\x1f\x8b"),
    "an HDF5 file": _starts(b"\x89HDF\r\n\x1a\n"),
    "text": _is_text,
}


def in_words(head: bytes) -> str:
    """Why a file that begins so is not read as an image."""
    kind = next((f"{kind}, " for kind, matches in NO_IMAGES.items() if matches(head)), "")
    return f"is {kind}not an image that patchcli reads ({', '.join(READABLE).upper()})"
