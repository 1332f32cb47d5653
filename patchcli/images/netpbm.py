"""PBM, PGM and PPM through netpbmfile."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import Header, Opened, check_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata


def open_netpbm(file: BinaryIO, page: int) -> Opened:
    """Read the header of an image; one bit is true where it is white, as in other formats, which a PBM counts the other way."""
    import netpbmfile

    check_single(page)
    image = netpbmfile.NetpbmFile(file)
    one_bit = image.dtype.kind == "b"
    if not 0 < image.maxval < 1 << 16:
        raise PatchcliError(f"has samples up to {image.maxval}; allowed are 1 to 65535")

    def decode() -> NDArray[Any]:
        pixels = np.asarray(image.asarray(copy=True))
        if pixels.ndim > 2 + (image.depth > 1):  # what follows the first image was taken for more of them
            raise PatchcliError(f"holds data for {len(pixels)} images of the size in its header; allowed is one image")
        return np.invert(pixels) if one_bit else pixels

    def header() -> Header:
        copied = one_bit or image.dtype.itemsize > 1 or image.magicnumber in ("P2", "P3")
        pixels = image.height * image.width * image.depth * image.dtype.itemsize
        return Header(image.depth, image.dtype.newbyteorder("="), 1, pixels * copied)

    return Opened(image.height, image.width, header, decode)


def write_netpbm(file: BinaryIO, image: NDArray[Any], note: str, _metadata: Metadata) -> None:
    """Write a PBM, PGM or PPM image, whichever holds it; a note is a comment behind the magic number.

    https://netpbm.sourceforge.net/doc/pgm.html
    """
    import netpbmfile

    held = io.BytesIO()
    if image.dtype.kind == "b":
        netpbmfile.imwrite(held, np.invert(image), magicnumber="P4")
    else:
        kind = "P6" if image.ndim == 3 and image.shape[2] == 3 else "P5"  # noqa: PLR2004
        netpbmfile.imwrite(held, image, magicnumber=kind, maxval=np.iinfo(image.dtype).max)  # type: ignore[arg-type]
    data = held.getbuffer()
    file.write(data[:3])
    if note:
        file.write(f"# {note}\n".encode("ascii"))
    file.write(data[3:])


def note_of_netpbm(file: BinaryIO) -> str | None:
    """The comment behind the magic number."""
    file.seek(3)
    line = file.readline(1 << 16)
    return line[2:].strip().decode("latin-1") if line.startswith(b"# ") else None
