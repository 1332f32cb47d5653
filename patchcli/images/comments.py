"""A line of text inside an image file, where other programs show it as its comment; bytes in, bytes out."""

from __future__ import annotations

import zlib
from typing import BinaryIO

KEY = b"patchcli"  # keyword of the PNG chunk
PNG_START = 8 + 25  # signature and IHDR
COMMENT, SEGMENTS = b"\xff\xfe", range(0xE0, 0xF0)  # of JPEG


def into_png(data: bytes, note: str) -> bytes:
    """Put a tEXt chunk behind the header (https://www.w3.org/TR/png-3/#11tEXt)."""
    body = b"tEXt" + KEY + b"\0" + note.encode("ascii")
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return data[:PNG_START] + chunk + data[PNG_START:]


def of_png(file: BinaryIO) -> str | None:
    """The text of our chunk, which stands before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:  # noqa: PLR2004
        size, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"IDAT":
            break
        key, _, note = file.read(size).partition(b"\0") if kind == b"tEXt" else (b"", b"", b"")
        if key == KEY:
            return note.decode("latin-1")
        file.seek(4 if kind == b"tEXt" else size + 4, 1)
    return None


def into_jpeg(data: bytes, note: str) -> bytes:
    """Put a comment behind the application segments (ITU-T T.81, B.2.4.5)."""
    place = _behind_segments(data)
    body = note.encode("ascii")
    return data[:place] + COMMENT + (len(body) + 2).to_bytes(2) + body + data[place:]


def _behind_segments(data: bytes) -> int:
    place = 2
    while data[place] == COMMENT[0] and data[place + 1] in SEGMENTS:
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return place


def of_jpeg(file: BinaryIO) -> str | None:
    """The first comment before the picture."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == COMMENT[0]:  # noqa: PLR2004
        size = int.from_bytes(head[2:]) - 2
        if head[:2] == COMMENT:
            return file.read(size).decode("latin-1")
        if head[1] not in SEGMENTS:
            break
        file.seek(size, 1)
    return None


def into_netpbm(data: bytes, note: str) -> bytes:
    """Put a comment line behind the magic number (https://netpbm.sourceforge.net/doc/pgm.html)."""
    return data[:3] + f"# {note}\n".encode("ascii") + data[3:]


def of_netpbm(file: BinaryIO) -> str | None:
    """The comment behind the magic number."""
    file.seek(3)
    line = file.readline(1 << 16)
    return line[2:].strip().decode("latin-1") if line.startswith(b"# ") else None
