"""The image formats: how each is told by content, opened and written, and which dtypes and channels it holds.

A depth is kept or refused, never halved. Image libraries are imported here and in `openers` alone, when a file needs them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli import notes
from patchcli.openers import Opened, open_netpbm, open_nothing, open_pillow, open_png, open_tiff

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SNIFF = 32
DESCRIPTION = 270  # EXIF and TIFF tag


class Format(NamedTuple):
    """A file format: how to tell it, open it, write it, and how many channels of which dtypes it holds.

    ``write`` takes a note to be kept in the file, empty for none, where ``note`` can read it.
    """

    matches: Callable[[bytes], bool]
    open: Callable[[BinaryIO, int], Opened]
    write: Callable[[BinaryIO, NDArray[Any], str], None] | None
    holds: dict[str, range]
    suffixes: tuple[str, ...]
    lossless: bool = True
    note: Callable[[BinaryIO], str | None] | None = None


def _by_pillow(image: NDArray[Any], plugin_format: str, **options: Any) -> bytes:  # noqa: ANN401
    import imageio.v3 as iio

    return bytes(iio.imwrite("<bytes>", image, extension=f".{plugin_format}", plugin="pillow", is_batch=False, **options))


def _write_png(file: BinaryIO, image: NDArray[Any], note: str) -> None:
    import imagecodecs

    one_bit = image.dtype.kind == "b"
    data = _by_pillow(image, "png") if one_bit else bytes(imagecodecs.png_encode(image, level=6))
    file.write(notes.into_png(data, note) if note else data)


def _write_jpeg(file: BinaryIO, image: NDArray[Any], note: str) -> None:
    data = _by_pillow(image, "jpeg", quality=95, subsampling=0)
    file.write(notes.into_jpeg(data, note) if note else data)


def _write_bmp(file: BinaryIO, image: NDArray[Any], _note: str) -> None:
    file.write(_by_pillow(image, "bmp"))


def _write_webp(file: BinaryIO, image: NDArray[Any], note: str) -> None:
    import PIL.Image

    exif = PIL.Image.Exif()
    if note:
        exif[DESCRIPTION] = note
    file.write(_by_pillow(image, "webp", lossless=True, exact=True, exif=exif.tobytes() if note else b""))


def _note_of_webp(file: BinaryIO) -> str | None:
    import PIL.Image

    note = PIL.Image.open(file, formats=["WEBP"]).getexif().get(DESCRIPTION)
    return note if isinstance(note, str) else None


def _note_of_tiff(file: BinaryIO) -> str | None:
    import tifffile

    page = tifffile.TiffFile(tifffile.FileHandle(file, name="image")).pages[0]
    return page.description if isinstance(page, tifffile.TiffPage) else None


def _write_tiff(file: BinaryIO, image: NDArray[Any], note: str) -> None:
    import tifffile

    samples = image.shape[2] if image.ndim == 3 else 1  # noqa: PLR2004
    colour = samples in (3, 4)
    extra = {2: 1, 4: 1}.get(samples, samples - 1)
    held = io.BytesIO()
    tifffile.imwrite(
        held,
        image,
        photometric="rgb" if colour else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=(["unassalpha"] if samples in (2, 4) else ["unspecified"] * extra) if samples not in (1, 3) else None,
        description=note or None,
        metadata=None,
        software=None,
        byteorder="<",
    )
    file.write(held.getbuffer())


def _write_netpbm(kind: str) -> Callable[[BinaryIO, NDArray[Any], str], None]:
    def write(file: BinaryIO, image: NDArray[Any], note: str) -> None:
        import netpbmfile

        held = io.BytesIO()
        netpbmfile.imwrite(held, image, magicnumber=kind, maxval=np.iinfo(image.dtype).max)  # type: ignore[arg-type]
        file.write(notes.into_netpbm(held.getvalue(), note) if note else held.getbuffer())

    return write


def _write_npy(file: BinaryIO, image: NDArray[Any], _note: str) -> None:
    np.lib.format.write_array(file, image, version=(1, 0), allow_pickle=False)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


REAL = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
ONE, THREE, MANY = range(1, 2), range(3, 4), range(1, 1 << 16)
TO_FOUR = range(1, 5)
FORMATS: dict[str, Format] = {
    "png": Format(
        _starts(b"\x89PNG\r\n\x1a\n"),
        open_png,
        _write_png,
        {"b1": ONE, "u1": TO_FOUR, "u2": TO_FOUR},
        (".png",),
        note=notes.of_png,
    ),
    "tiff": Format(
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        open_tiff,
        _write_tiff,
        dict.fromkeys(REAL[1:], MANY),
        (".tif", ".tiff"),
        note=_note_of_tiff,
    ),
    "jpeg": Format(
        _starts(b"\xff\xd8\xff"),
        open_pillow,
        _write_jpeg,
        {"u1": range(1, 4, 2)},
        (".jpg", ".jpeg"),
        lossless=False,
        note=notes.of_jpeg,
    ),
    "webp": Format(
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        open_pillow,
        _write_webp,
        {"u1": range(3, 5)},
        (".webp",),
        note=_note_of_webp,
    ),
    "bmp": Format(_starts(b"BM"), open_pillow, _write_bmp, {"u1": range(1, 4, 2)}, (".bmp",)),
    "pgm": Format(
        _starts(b"P2", b"P5"), open_netpbm, _write_netpbm("P5"), {"u1": ONE, "u2": ONE}, (".pgm",), note=notes.of_netpbm
    ),
    "ppm": Format(
        _starts(b"P3", b"P6"), open_netpbm, _write_netpbm("P6"), {"u1": THREE, "u2": THREE}, (".ppm",), note=notes.of_netpbm
    ),
    "gif": Format(_starts(b"GIF87a", b"GIF89a"), open_pillow, None, {}, (".gif",), lossless=False),
    "npy": Format(_starts(b"\x93NUMPY"), open_nothing, _write_npy, dict.fromkeys(REAL, MANY), (".npy",)),
}
READABLE = tuple(name for name in FORMATS if name != "npy")
SUFFIXES = tuple(suffix for name in READABLE for suffix in FORMATS[name].suffixes)  # of files that count in a folder
WRITABLE = tuple(name for name, held in FORMATS.items() if held.write)
