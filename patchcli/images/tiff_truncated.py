"""Whether the data of a strip or tile of a TIFF end before its pixels do, where decoders fill up what is missing."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchcli.images.codec import has_jpeg_end
from patchcli.images.jpeg import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import tifffile
    from numpy.typing import NDArray

# Numbers of TIFF 6.0 and its supplements
CCITT, LZW, JPEG, JPEG_XR = (2, 3, 4), (5,), (6, 7, 33007, 34892), (22610, 34934)
LZW_END = "100000001(?=0{0,7}$)"
FAX_3, FAX_4, FAX_4_END = 3, 4, 2 * "000000000001"
TRIES = 32  # different bytes behind the data of a fax


class Filled(NamedTuple):
    """What a strip or tile must fill: its rows and columns, those of them that lie inside the image, and bytes of a row."""

    rows: int
    columns: int
    inside: tuple[int, int]
    row_bytes: int


def is_cut_short(data: bytes, page: tifffile.TiffPage, part: Filled) -> bool:
    """Whether the data of a strip or tile end too early, in a compression whose decoder would not tell."""
    short = next((check for kinds, check in CUT_OFF.items() if page.compression in kinds), None)
    if short is None or page.jpegheader is not None:  # whose segments lie within one JPEG image
        return False
    return short(data, page, part)


def _jpeg_is_short(data: bytes, _page: tifffile.TiffPage, part: Filled) -> bool:
    """Whether a JPEG image has no end, or is smaller than what it must fill."""
    frame, (rows, columns) = frame_of(io.BytesIO(data)), part.inside
    return frame is None or not has_jpeg_end(data, frame.place) or frame.height < rows or frame.width < columns


def _lzw_is_short(data: bytes, _page: tifffile.TiffPage, part: Filled) -> bool:
    """Whether the last code of an LZW stream is cut: other bytes behind it make other pixels.

    Most streams end with a code for that (TIFF 6.0, section 13), of 9 to 12 bits, behind which less than a byte is left over.
    """
    import imagecodecs

    if re.search(LZW_END, _in_bits(data[-3:])):
        return False
    size = part.rows * part.row_bytes
    found = imagecodecs.lzw_decode(data, out=size)
    return any(imagecodecs.lzw_decode(data + other, out=size) != found for other in (b"\x55" * 8, b"\xff" * 8, b"\x2a" * 8))


def _jpeg_xr_is_short(data: bytes, _page: tifffile.TiffPage, _part: Filled) -> bool:
    """Whether the pixels, of which tags say where they lie, reach beyond the end (ITU-T T.832, A.7)."""
    place = int.from_bytes(data[4:8], "little")
    entries = (
        data[at : at + 12] for at in range(place + 2, place + 2 + 12 * int.from_bytes(data[place : place + 2], "little"), 12)
    )
    values = {int.from_bytes(entry[:2], "little"): int.from_bytes(entry[8:], "little") for entry in entries}
    return values.get(0xBCC0, len(data)) + values.get(0xBCC1, 1) > len(data)


def _ccitt_is_short(data: bytes, page: tifffile.TiffPage, part: Filled) -> bool:
    """Whether pixels depend on what stands behind the data: other bytes there make other pixels.

    Lines of fax 3 begin with a mark of eleven zeros and a one, of which there must be enough (ITU-T T.4, 4.1.2); two such marks
    end fax 4 (ITU-T T.6, 2.4.1.1).
    """
    import random

    import imagecodecs

    if page.fillorder == 2:  # noqa: PLR2004  bits from the lowest
        data = bytes(imagecodecs.bitorder_decode(data))
    rows, width = part.rows, part.columns
    kind = int(page.compression)
    decode: Callable[[bytes], NDArray[Any]] = {
        2: lambda data: imagecodecs.ccittrle_decode(data, rows, width),
        FAX_3: lambda data: imagecodecs.ccittfax3_decode(data, rows, width, t4options=page.tags.valueof(292) or 0),
        FAX_4: lambda data: imagecodecs.ccittfax4_decode(data, rows, width),
    }[kind]
    if kind == FAX_3 and len(re.findall("0{11,}1", _in_bits(data))) < rows:
        return True
    if kind == FAX_4 and FAX_4_END in _in_bits(data[-8:]):
        return False
    pixels, draw = decode(data), random.Random(0)  # noqa: S311
    marks = (b"\0" + bytes([1 << number % 8]) if number % 2 else b"" for number in range(TRIES))
    others = (mark + draw.randbytes(64) for mark in marks)
    return any(not np.array_equal(decode(data + other), pixels) for other in others)


def _in_bits(data: bytes) -> str:
    return "".join(map("{:08b}".format, data))


CUT_OFF: dict[tuple[int, ...], Callable[[bytes, tifffile.TiffPage, Filled], bool]] = {
    JPEG: _jpeg_is_short,
    JPEG_XR: _jpeg_xr_is_short,
    CCITT: _ccitt_is_short,
    LZW: _lzw_is_short,
}
