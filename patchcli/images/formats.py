"""The image formats: how each is told by content, opened and written, and which dtypes and channels it holds.

A depth is kept or refused, never halved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images import comments, pillow, tiff
from patchcli.images.jpeg import open_jpeg
from patchcli.images.netpbm import open_netpbm, write_netpbm
from patchcli.images.png import open_png, write_png

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.images.codec import Opened
    from patchcli.images.metadata import Metadata

SNIFF = 32


class Format(NamedTuple):
    """A file format: how to tell it, open it, write it, and how many channels of which dtypes it holds.

    Attributes:
        matches: whether a file begins so.
        open: reads its header, at a page.
        write: takes an image, a note to be kept in the file, empty for none, and what the samples mean; None: never written.
        holds: numbers of channels by dtype.
        suffixes: of its files.
        read_only: suffixes of files that are read, never written: of other programs' files of this format.
        lossless: pixels come back as they were.
        note: reads the note.
        explains: says of its samples what they mean, and not only how many there are.
    """

    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO, int], Opened]
    write: Callable[[BinaryIO, NDArray[Any], str, Metadata], None] | None
    holds: dict[str, range]
    suffixes: tuple[str, ...]
    read_only: tuple[str, ...] = ()
    lossless: bool = True
    note: Callable[[BinaryIO], str | None] | None = None
    explains: bool = False


def _open_nothing(_file: BinaryIO, _page: int) -> Opened:
    """An array is written as an image, never read as one."""
    raise PatchcliError("is a numpy array; allowed are image files")


def _write_npy(file: BinaryIO, image: NDArray[Any], _note: str, _metadata: Metadata) -> None:
    np.lib.format.write_array(file, image, version=(1, 0), allow_pickle=False)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _is_bmp(head: bytes) -> bool:
    """A BMP file, or one that lacks the first of its two headers, as some .dib files do: then it begins with that one's size."""
    bare = int.from_bytes(head[:4], "little") in (40, 52, 56, 108, 124) and head[12:14] == b"\1\0"
    return head.startswith(b"BM") or bare


REAL = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
ONE, THREE, ONE_OR_THREE, MANY = range(1, 2), range(3, 4), range(1, 4, 2), range(1, 1 << 16)
TO_FOUR = range(1, 5)
FORMATS: dict[str, Format] = {
    "png": Format(
        _starts(b"\x89PNG\r\n\x1a\n"),
        open_png,
        write_png,
        {"b1": ONE, "u1": TO_FOUR, "u2": TO_FOUR},
        (".png", ".apng"),
        note=comments.of_png,
    ),
    "tiff": Format(
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        tiff.open_tiff,
        tiff.write_tiff,
        {"b1": ONE, **dict.fromkeys(REAL[1:], MANY)},
        (".tif", ".tiff"),
        read_only=(".btf", ".tf8", ".svs", ".lsm"),
        note=tiff.note_of_tiff,
        explains=True,
    ),
    "jpeg": Format(
        _starts(b"\xff\xd8\xff"),
        open_jpeg,
        pillow.write_jpeg,
        {"u1": ONE_OR_THREE},
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        lossless=False,
        note=comments.of_jpeg,
    ),
    "webp": Format(
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        pillow.open_pillow,
        pillow.write_webp,
        {"u1": range(3, 5)},
        (".webp",),
        note=pillow.note_of_webp,
    ),
    "bmp": Format(_is_bmp, pillow.open_pillow, pillow.write_bmp, {"b1": ONE, "u1": ONE_OR_THREE}, (".bmp", ".dib")),
    "pgm": Format(_starts(b"P2", b"P5"), open_netpbm, write_netpbm, {"u1": ONE, "u2": ONE}, (".pgm",), note=comments.of_netpbm),
    "ppm": Format(
        _starts(b"P3", b"P6"), open_netpbm, write_netpbm, {"u1": THREE, "u2": THREE}, (".ppm",), note=comments.of_netpbm
    ),
    "pbm": Format(_starts(b"P1", b"P4"), open_netpbm, write_netpbm, {"b1": ONE}, (".pbm",), note=comments.of_netpbm),
    "pnm": Format(  # whichever of these three the image needs
        lambda _head: False,
        open_netpbm,
        write_netpbm,
        {"b1": ONE, "u1": ONE_OR_THREE, "u2": ONE_OR_THREE},
        (".pnm",),
        note=comments.of_netpbm,
    ),
    "gif": Format(_starts(b"GIF87a", b"GIF89a"), pillow.open_pillow, None, {}, (), read_only=(".gif",), lossless=False),
    "npy": Format(_starts(b"\x93NUMPY"), _open_nothing, _write_npy, dict.fromkeys(REAL, MANY), (".npy",), explains=True),
}
READABLE = tuple(name for name in FORMATS if name != "npy")
# of files that count in a folder
SUFFIXES = tuple(suffix for name in READABLE for suffix in FORMATS[name].suffixes + FORMATS[name].read_only)
WRITABLE = tuple(name for name, held in FORMATS.items() if held.write)
