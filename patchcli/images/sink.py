"""Image files written: which format a name stands for, what it can hold, and the encoding of an image."""

from __future__ import annotations

import io
import itertools
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import Encoding as Encoding  # noqa: PLC0414  which callers have from here
from patchcli.images.codec import guarded, overheard
from patchcli.images.formats import FORMATS, SNIFF, WRITABLE
from patchcli.images.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


PAGE_NAME = re.compile(r"(.*)\.p\d{4,}", re.DOTALL)  # of a page among several
# what is worth a hint where it is lost, in words
LOSSES = {
    "icc": "ICC profile",
    "colormap": "colour table",
    "geotiff": "georeference",
    "nodata": "nodata value",
    "orientation": "orientation",
}


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


def check_holds(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], way_out: str = "", *, unasked: bool = False) -> None:
    """Check that a format keeps images of this shape ``(H, W[, C])`` and dtype exactly (JPEG: but for its loss).

    ``way_out`` ends the sentence; ``unasked``: nobody asked for this format, so that the sentence says how to.

    Raises:
        PatchcliError: it would not; the sentence says which formats would.
    """
    channels = shape[2] if len(shape) == 3 else 1  # noqa: PLR2004
    code = f"{dtype.kind}{dtype.itemsize}"
    able = [known for known in WRITABLE if channels in FORMATS[known].holds.get(code, ())]
    if name in able:
        return
    how = f" (as in --image-format {able[0]})" if unasked and able else ""
    raise PatchcliError(
        f"{name.upper()} cannot hold {dtype} with {channels} channel{'s' * (channels > 1)}; "
        f"allowed are {', '.join(able)}{how}{way_out if any(channels in held for held in FORMATS[name].holds.values()) else ''}"
    )


def keeps_values(name: str, creation: Iterable[tuple[str, str]]) -> bool:
    """Whether a format, written as ``--co`` says, keeps each value as it is."""
    return FORMATS[name].lossless and "quality" not in dict(creation)  # which all formats have that can lose something


def check_keeps_classes(name: str, creation: Iterable[tuple[str, str]]) -> None:
    """Check that a format, written as ``--co`` says, keeps each value as it is.

    Raises:
        PatchcliError: it changes some.
    """
    if not keeps_values(name, creation):
        raise PatchcliError(f"holds class numbers, which {name.upper()} changes; give a lossless format, as .png or .tif")


def check_creation(names: Iterable[str], creation: Iterable[tuple[str, str]]) -> None:
    """Check keys and values of ``--co`` for files of these formats.

    Raises:
        PatchcliError: a key that one of the formats does not have, or a value that the key does not take.
    """
    for name in sorted(set(names)):
        keys = FORMATS[name].creation
        for key, value in creation:
            if key not in keys:
                known = f"; it has {', '.join(keys)}" if keys else ""
                raise PatchcliError(f"{name.upper()} has no --co key {key!r:.40}{known}")
            allowed = keys[key]
            if value not in (map(str, allowed) if isinstance(allowed, range) else allowed):
                raise PatchcliError(f"{name.upper()} takes --co {key}={_values_in_words(allowed)}, not {value!r:.40}")


def _values_in_words(allowed: range | tuple[str, ...]) -> str:
    if not isinstance(allowed, range):
        return "|".join(allowed)
    return f"{allowed[0]}..{allowed[-1]}" + (f" in steps of {allowed.step}" if allowed.step > 1 else "")


def write_lines(file: BinaryIO, lines: Iterable[NDArray[Any]], name: str, made: Encoding) -> None:
    """Encode an image that comes from the top to the bottom, some lines ``(n, W[, C])`` at a time.

    Args:
        file: an open binary file that can seek.
        lines: of the shape and dtype of ``made``, together; none is kept when the next is asked for, if the format is written
            by lines.
        name: a format of `WRITABLE`, which `check_holds` said can hold it.
        made: what is to be written; its ``creation`` is what `check_creation` allowed.
    """
    writer = FORMATS[name].write
    assert writer is not None
    writer(file, lines, made)


def write(file: BinaryIO, image: NDArray[Any], name: str, note: str = "", metadata: Metadata | None = None) -> None:
    """Encode a whole image ``(H, W[, C])``; see `write_lines`."""
    write_lines(file, [image], name, Encoding(image.shape, image.dtype, note, metadata))


def encoded(images: Sequence[NDArray[Any]], name: str, made: Sequence[Encoding]) -> Iterator[bytes | memoryview]:
    """The files of images, one after the other; see `write_lines`.

    Those that follow on each other and are to be written alike are encoded together, where the format has a way to.
    """
    several = FORMATS[name].write_several
    for how, some in itertools.groupby(zip(images, made, strict=True), key=lambda one: one[1]):
        alike = [image for image, _ in some]
        if several is not None and len(alike) > 1:
            yield from several(np.stack(alike), how)
            continue
        for image in alike:
            file = io.BytesIO()
            write_lines(file, [image], name, how)
            yield file.getbuffer()


def hints_of_loss(name: str, metadata: Metadata | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """What to say, a line each, where a format cannot hold what decides how pixels are understood."""
    channels, known = (*shape, 1)[2], FORMATS[name]
    usual = Metadata.usual(channels)
    meant = usual if metadata is None else metadata.matching(channels)
    hints = []
    if not known.explains and usual[:2] != meant[:2]:
        hints.append(
            f"its samples are {meant.in_words()}, and {name.upper()} shows them as {usual.in_words()}; TIFF keeps what they are"
        )
    code = f"{dtype.kind}{dtype.itemsize}"
    kept = _kept_by(name, code)
    if metadata is not None and metadata.colormap and channels > 1:
        hints.append(f"its colour table is lost, for it has {channels} channels; indices are one")
    elif meant.colormap and code not in FORMATS["tiff"].indices:
        hints.append(f"its colour table is lost, for its dtype is {dtype}; uint8 and uint16 keep it")
        kept |= {"colormap"}
    fields = [field for field in LOSSES if getattr(meant, field) and field not in kept]
    if fields:
        lost = [LOSSES[field] for field in fields]
        able = [
            other.upper()
            for other in WRITABLE
            if FORMATS[other].lossless
            and channels in FORMATS[other].holds.get(code, ())
            and _kept_by(other, code).issuperset(fields)
        ]
        *others, last = able
        instead = f"{', '.join(others)} or {last}" if others else last
        what = f"{', '.join(lost[:-1])} and {lost[-1]}" if len(lost) > 1 else lost[0]
        hints.append(f"{name.upper()} cannot hold its {what}; write {instead} to keep {'them' if len(lost) > 1 else 'it'}")
    return tuple(hints)


def _kept_by(name: str, code: str) -> set[str]:
    """The fields of `Metadata` that files of a format have a place for, with pixels of a dtype."""
    known = FORMATS[name]
    return {*known.keeps, *(["colormap"] if code in known.indices else [])}


def output_name(path: str, image_format: str | None, *, lossless: bool = False, noted: bool = False) -> str:
    """The name for an image made from the file ``path``: the same where its suffix stands for a format that can be written.

    Another suffix follows where it does not, or where the format loses something (``lossless``) or holds no note (``noted``):
    that of ``image_format`` if given, else of the format that the file's own programs write, else of PNG.

    The name of a page (``.p0003`` behind that of its file) has the suffix that its file's would have.

    >>> output_name("a.png", None), output_name("a.gif", None), output_name("a.svs", None), output_name("a.jpg", "webp")
    ('a.png', 'a.gif.png', 'a.svs.tif', 'a.jpg.webp')
    >>> output_name("a.tif.p0003", None), output_name("a.gif.p0003", None)
    ('a.tif.p0003.tif', 'a.gif.p0003.png')
    """
    if (page := PAGE_NAME.fullmatch(path)) is not None:
        return path + os.path.splitext(output_name(page[1], image_format, lossless=lossless, noted=noted))[1]
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
