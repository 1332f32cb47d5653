"""``merge --compare``: the original of an image, read band by band beside the lines of the image as they go by."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from patchcli.images.difference import COMPARED_TOGETHER, Differences, check_comparable
from patchcli.images.source import COLORS
from patchcli.jobs.estimate import NUMBER_BYTES
from patchcli.jobs.pages import PageRange
from patchcli.jobs.reading import blamed, open_input_image
from patchcli.jobs.settings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.images.source import ImageSource
    from patchcli.jobs.reading import ImageInput
    from patchcli.stacks.header import Meta

ORIGINAL_BYTES = 1 << 22  # of the original that are read at once, or one row of its tiles
COMPARING_BYTES = 4 * NUMBER_BYTES * COMPARED_TOGETHER  # of what differs


class Comparison:
    """How far an image is from its original.

    Args:
        path: of the original.
        given: the original, open until the last line went by.
        box: its rows and columns that the image is of.
    """

    def __init__(self, path: str, given: ImageInput, box: tuple[slice, slice]) -> None:
        self._path, self._given, self._box = path, given, box
        self._differences = Differences(given.image.dtype)

    @property
    def _image(self) -> ImageSource:
        return self._given.image

    @property
    def hints(self) -> tuple[str, ...]:
        """What is odd about the original."""
        return self._given.hints

    @property
    def memory(self) -> int:
        """A bound on the bytes that reading the original takes, and comparing."""
        return self._image.band_memory(self._step) + COMPARING_BYTES

    @property
    def format(self) -> str:
        """Of the original, a name in `FORMATS`."""
        return self._image.format

    @property
    def _step(self) -> int:
        """Lines that are read at once."""
        return max(self._image.lines, ORIGINAL_BYTES // max(1, self._image.shape[1] * self._image.pixel_bytes), 1)

    def watched(self, lines: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """The lines of the image from the top to the bottom, ``(n, W[, C])`` each, compared as they go by.

        Raises:
            PatchcliError: the original is damaged.
        """
        bands = self._bands()
        band, at = next(bands), 0
        for some in lines:
            done = 0
            while done < len(some):
                if at == len(band):
                    band, at = next(bands), 0
                count = min(len(some) - done, len(band) - at)
                self._differences.add(band[at : at + count], some[done : done + count])
                done, at = done + count, at + count
            yield some

    def _bands(self) -> Iterator[NDArray[Any]]:
        """The original, those of its lines that the image has."""
        rows, columns = self._box
        for top in range(rows.start, rows.stop, self._step):
            with blamed(self._given.label):
                yield self._image.read((top, min(top + self._step, rows.stop)), (columns.start, columns.stop))

    def in_words(self) -> str:
        """What came of it, in a line."""
        return f"against {self._path}: {self._differences.figures().in_words()}"

    def fields(self) -> dict[str, Any]:
        """What came of it, for the report."""
        return {"original": self._path, **self._differences.figures().fields()}


@contextlib.contextmanager
def compared_with(
    path: str, meta: Meta, shape: tuple[int, ...], box: tuple[slice, slice], max_pixels: int
) -> Iterator[Comparison]:
    """Open the original of an image, read as the stack's own image was; its header is checked.

    Args:
        path: of the original.
        meta: of the stack that the image is made of.
        shape: of the image, ``(H, W[, C])``, before anything is trimmed.
        box: the rows and columns of it that are left.
        max_pixels: of the original, as of `Reading`.

    Raises:
        PatchcliError: it cannot be read, or has another size or another number of channels.
    """
    label = f"its original {path} "
    with opened_original(path, meta, shape, max_pixels, label) as given:
        check_comparable(shape, given.image.shape, path, what="becomes an image of")
        yield Comparison(path, given, box)


@contextlib.contextmanager
def opened_original(path: str, meta: Meta, shape: tuple[int, ...], max_pixels: int, label: str = "") -> Iterator[ImageInput]:
    """Open the original of an image ``shape``, read as the stack's own image was; errors begin with ``label``.

    Raises:
        PatchcliError: it cannot be read.
    """
    reading, channel = reading_of_original(meta, max_pixels, as_cut=shape[2:] == meta.channels)
    with contextlib.ExitStack() as opened:
        with blamed(label):
            given = opened.enter_context(open_input_image(path, reading, label))
            if channel is not None and given.image.shape[2:]:
                given = given._replace(image=given.image.channel(channel))
        yield given


def reading_of_original(meta: Meta, max_pixels: int, *, as_cut: bool) -> tuple[Reading, int | None]:
    """How the image of a stack was read, as far as the stack says, and which channel of it; what it says of itself is checked.

    A stack that went through a pipe knows its page, and an orientation by which it was not turned, not its colours. A companion
    was read at the page of its image, in its own.

    Args:
        meta: of the stack.
        max_pixels: of the image that is to be read now.
        as_cut: colours are read as they were then: what is compared has as many channels still.
    """
    record, page = meta.record, meta.source.page
    known = record.settings if record is not None and record.command == "extract" else {}
    stacked = PageRange(page, page + meta.channels[0] - 1) if known.get("--pages-as") == "channels" and meta.channels else None
    upright = meta.metadata is None or meta.metadata.orientation is None
    rotate = upright and known.get("--exif-rotate") is not False
    reading = Reading(page=page, stacked=stacked, or_only=True, rotate=rotate, max_pixels=max_pixels)
    if not as_cut:
        return reading, None
    if meta.labels:
        return reading.of_labels(), None
    if record is None or "companion" in record.inputs:
        return reading, None
    color, channel = known.get("--color"), known.get("--channel")
    color = color if isinstance(color, str) and color in COLORS else None
    return replace(reading, color=color), channel if type(channel) is int and channel >= 0 else None
