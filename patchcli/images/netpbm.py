"""PBM, PGM and PPM through netpbmfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import Header, Opened, check_single, lines_at_most, rows_at_once
from patchcli.images.stored_rows import StoredRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding, FromTo


def open_netpbm(file: BinaryIO, page: int) -> Opened:
    """Read the header of an image; one bit is true where it is white, as in other formats, which a PBM counts the other way."""
    import netpbmfile

    check_single(page)
    image = netpbmfile.NetpbmFile(file)
    one_bit = image.dtype.kind == "b"
    if not 0 < image.maxval < 1 << 16:
        raise PatchcliError(f"has samples up to {image.maxval}; allowed are 1 to 65535")

    height, width = image.height, image.width
    row = (-(-width // 8), 1) if one_bit else (width, image.depth)  # bytes of 8 pixels, or pixels
    rows = StoredRows(file, image.dataoffset, (height, *row), np.dtype(np.uint8) if one_bit else image.dtype)
    text = image.magicnumber in ("P1", "P2", "P3")

    def read(some: FromTo, columns: FromTo) -> NDArray[Any]:
        if not one_bit:
            return rows.read(some, columns)
        start = columns[0] // 8
        pixels: NDArray[Any] = np.unpackbits(rows.read(some, (start, -(-columns[1] // 8)))[..., 0], axis=1) == 0
        return pixels[:, columns[0] - 8 * start : columns[1] - 8 * start]

    def decode() -> NDArray[Any]:
        if not text:
            return read((0, height), (0, width))
        pixels = np.asarray(image.asarray(copy=True))
        return np.invert(pixels) if one_bit else pixels

    def header() -> Header:
        if not text:
            rows.check()
        if image.frames > 1:  # what follows the first image was taken for more of them
            raise PatchcliError(f"holds data for {image.frames} images of the size in its header; allowed is one image")
        pixels = height * width * image.depth * image.dtype.itemsize
        return Header(image.depth, image.dtype.newbyteorder("="), 1, pixels * (text or one_bit), read=None if text else read)

    return Opened(height, width, header, decode)


def write_netpbm(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write a PBM, PGM or PPM image, whichever holds it, some lines at a time; a note is a comment behind the magic number.

    Samples have their most significant byte first, and a bit is 1 where it is black: https://netpbm.sourceforge.net/doc/pgm.html
    """
    one_bit = made.dtype.kind == "b"
    kind = b"P4" if one_bit else b"P6" if made.channels == 3 else b"P5"  # noqa: PLR2004
    most = "" if one_bit else f" {np.iinfo(made.dtype).max}"
    note = f" # {made.note}\n" if made.note else " "
    file.write(kind + f"{note}{made.shape[1]} {made.shape[0]}{most}\n".encode("ascii"))
    for some in lines_at_most(lines, rows_at_once(made)):
        data = np.packbits(np.invert(some), axis=1) if one_bit else np.ascontiguousarray(some, made.dtype.newbyteorder(">"))
        file.write(data.data)


def note_of_netpbm(file: BinaryIO) -> str | None:
    """The comment behind the magic number."""
    file.seek(3)
    line = file.readline(1 << 16)
    return line[2:].strip().decode("latin-1") if line.startswith(b"# ") else None
