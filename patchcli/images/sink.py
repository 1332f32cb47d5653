"""Image files written: which format a name stands for, what it can hold, and the encoding of an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import guarded, overheard
from patchcli.images.formats import FORMATS, SNIFF, WRITABLE
from patchcli.images.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def format_of(path: str, name: str | None = None) -> str:
    """The format that a path's suffix stands for, or ``name`` itself if given.

    Raises:
        PatchcliError: a suffix of no format that can be written.
    """
    if name is not None:
        return name
    suffix = os.path.splitext(path)[1].lower()
    for known in WRITABLE:
        if suffix in FORMATS[known].suffixes:
            return known
    allowed = ", ".join(suffix for known in WRITABLE for suffix in FORMATS[known].suffixes)
    raise PatchcliError(f"{path}: suffix is {suffix!r}; for images use {allowed}")


def check_holds(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], way_out: str = "") -> None:
    """Check that a format keeps images of this shape ``(H, W[, C])`` and dtype exactly (JPEG: but for its loss).

    ``way_out`` ends the sentence.

    Raises:
        PatchcliError: it would not; the sentence says which formats would.
    """
    channels = shape[2] if len(shape) == 3 else 1  # noqa: PLR2004
    code = f"{dtype.kind}{dtype.itemsize}"
    able = [known for known in WRITABLE if channels in FORMATS[known].holds.get(code, ())]
    if name in able:
        return
    raise PatchcliError(
        f"{name.upper()} cannot hold {dtype} with {channels} channel{'s' * (channels > 1)}; "
        f"allowed are {', '.join(able)}{way_out if any(channels in held for held in FORMATS[name].holds.values()) else ''}"
    )


class Encoding(NamedTuple):
    """What is to be written.

    Attributes:
        shape: ``(H, W)`` or ``(H, W, C)``.
        dtype: of the pixels.
        note: ASCII text to be kept in the file, where the format has a place for it.
        metadata: what the samples mean, if they mean something else than is usual for so many.
        creation: how the file is made: the keys and values of ``--co``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    note: str = ""
    metadata: Metadata | None = None
    creation: tuple[tuple[str, str], ...] = ()


def write_lines(file: BinaryIO, lines: Iterable[NDArray[Any]], name: str, made: Encoding) -> None:
    """Encode an image that comes from the top to the bottom, some lines ``(n, W[, C])`` at a time.

    Args:
        file: an open binary file that can seek.
        lines: of the shape and dtype of ``made``, together.
        name: a format of `WRITABLE`, which `check_holds` said can hold it.
        made: what is to be written.
    """
    image = np.empty(made.shape, made.dtype)
    at = 0
    for some in lines:
        image[at : at + len(some)] = some
        at += len(some)
    assert at == len(image)
    write(file, image, name, made.note, made.metadata)


def write(file: BinaryIO, image: NDArray[Any], name: str, note: str = "", metadata: Metadata | None = None) -> None:
    """Encode an image ``(H, W[, C])`` in a format of `WRITABLE`, which `check_holds` said can hold it.

    ``note`` is ASCII text to be kept in the file, where the format has a place for it; ``metadata`` says what the samples
    mean, if they mean something else than is usual for so many.
    """
    writer = FORMATS[name].write
    assert writer is not None
    meant = (metadata or Metadata()).matching((*image.shape, 1)[2])
    writer(file, np.ascontiguousarray(image, image.dtype.newbyteorder("=")), note, meant)


def hint_of_samples(name: str, metadata: Metadata | None, channels: int) -> str | None:
    """What to say where a format will have samples taken for something else than they are."""
    usual = Metadata.usual(channels)
    meant = usual if metadata is None else metadata.matching(channels)
    if FORMATS[name].explains or usual == meant:
        return None
    return f"its samples are {meant.in_words()}, and {name.upper()} shows them as {usual.in_words()}; TIFF keeps what they are"


def output_name(path: str, image_format: str | None, *, lossless: bool = False, noted: bool = False) -> str:
    """The name for an image made from the file ``path``: the same where its suffix stands for a format that can be written.

    Another suffix follows where it does not, or where the format loses something (``lossless``) or holds no note (``noted``):
    that of ``image_format`` if given, else of the format that the file's own programs write, else of PNG.

    >>> output_name("a.png", None), output_name("a.gif", None), output_name("a.svs", None), output_name("a.jpg", "webp")
    ('a.png', 'a.gif.png', 'a.svs.tif', 'a.jpg.webp')
    """
    suffix = os.path.splitext(path)[1].lower()
    able = [name for name in WRITABLE if (FORMATS[name].lossless or not lossless) and (FORMATS[name].note or not noted)]
    wanted = [image_format] if image_format else able
    if any(suffix in FORMATS[known].suffixes for known in wanted):
        return path
    own = [known for known in wanted if suffix in FORMATS[known].read_only]
    return path + FORMATS[(own or wanted)[0]].suffixes[0]


def note_of(file: BinaryIO) -> str | None:
    """The note in an image file; None where there is none, or none that can be read."""
    file.seek(0)
    head = file.read(SNIFF)
    known = next((known for known in FORMATS.values() if known.matches(head)), None)
    if known is None or known.note is None:
        return None
    file.seek(0)
    reading = known.note
    try:
        with overheard([]):
            note: str | None = guarded("", lambda: reading(file))
    except PatchcliError:
        return None
    return note


def check_notes(paths: Sequence[str], name: str | None) -> None:
    """Check that image files of these names can hold a note.

    Raises:
        PatchcliError: one cannot.
    """
    able = [known for known in WRITABLE if FORMATS[known].note]
    for path in paths:
        if (got := format_of(path, name)) not in able:
            raise PatchcliError(f"{path}: {got.upper()} cannot hold how it was made; with --resume use {', '.join(able)}")
