"""What kind of thing a file holds, told by its first bytes: an index of tiles, arrays, or an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from patchcli.images.formats import FORMATS, SNIFF
from patchcli.stacks.tile_names import INDEX_SUFFIX

if TYPE_CHECKING:
    from typing import BinaryIO

ARCHIVE, NPY = b"PK", b"\x93NUMPY"
INDEX_START = b'{"format": "patchcli.stack"'


def content_of(file: BinaryIO, path: str) -> Literal["tiles", "arrays", "image"]:
    """What an open file holds; ``path`` is its name. Whatever is neither an index nor arrays is for those who read images."""
    file.seek(0)
    head = file.read(SNIFF)
    if head.startswith(INDEX_START) or path.endswith(INDEX_SUFFIX):
        return "tiles"
    if head.startswith(ARCHIVE) or (head.startswith(NPY) and not _is_image(file)):
        return "arrays"
    return "image"


def _is_image(file: BinaryIO) -> bool:
    """Whether a .npy file holds an array that is read as an image."""
    from patchcli.stacks.npz import NpzReader

    return FORMATS["npy"].open is not None and len(NpzReader(file).open("").shape) in (2, 3)
