"""``crop --boxes -o FILE.npz``: boxes of many images, all to one stack."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.box import pixel_box
from patchcli.geometry.grid import Grid
from patchcli.jobs.crop import crops_in_words, cut_boxes
from patchcli.jobs.crop_plan import check_alike, cropped, hints_of, said_of
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.task import BoxRow, CropTask, Planned, Said, Tick
from patchcli.stacks.file import Stack, write_meta, write_stack
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.npz import NpzWriter
from patchcli.storage.local import temporary_file
from patchcli.storage.outputs import create

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings

FORMAT, VERSION = "patchcli.crops", 1
TOGETHER_BYTES = 1 << 26  # bytes of crops that are made together
PIECE = 1 << 22  # bytes written at once


class Collector:
    """Crops of equal size on their way to one file: kept on disk, in the order of the list.

    Args:
        count: rows of the list.
        settings: how crops are made.
    """

    def __init__(self, count: int, settings: CropSettings) -> None:
        self._settings = settings
        self._file = temporary_file("--boxes")
        self._held: NDArray[Any] | None = None
        self._sources: list[Source] = []
        self._metadata: list[Metadata] = []
        self._image = np.full(count, -1, np.int64)
        self._lines = np.zeros(count, np.int64)
        self._boxes = np.zeros((count, 4))
        self._shape: Pair = (0, 0)  # of the last image

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held = None
        self._file.close()

    def take(self, task: CropTask, _settings: CropSettings, _tick: Tick) -> Said:
        """Crop all boxes of one image."""
        faults: list[str] = []
        made: list[BoxRow] = []
        with open_input_image(task.source, self._settings.reading) as (image, source, _):
            pixels = image.pixels()
            self._sources.append(source)
            self._metadata.append(image.metadata)
            self._shape = pixels.shape[0], pixels.shape[1]
            for some in _alike(task.boxes, pixels):
                try:
                    self._crop(pixels, image, some)
                    made += some
                except PatchcliError:
                    for row in some:
                        try:
                            self._crop(pixels, image, [row])
                            made.append(row)
                        except PatchcliError as error:
                            faults.append(f"{row.label}: {error}")
            hints = hints_of(task.targets(), image, made, self._settings)
        return Said(crops_in_words(task, made), hints, faults=tuple(faults))

    def _crop(self, pixels: NDArray[Any], image: ImageSource, rows: Sequence[BoxRow]) -> None:
        settings, first = self._settings, rows[0]
        made = cut_boxes(pixels, image, [row.box for row in rows], first.size, settings, normalized=first.normalized)
        held = self._room(made)
        for row, one in zip(rows, made, strict=True):
            held[row.place] = one
            box = pixel_box(row.box, self._shape, align_corners=settings.align_corners) if row.normalized else row.box
            self._boxes[row.place], self._lines[row.place] = box, row.line
            self._image[row.place] = len(self._sources) - 1

    def _room(self, made: NDArray[Any]) -> NDArray[Any]:
        """The place for crops like these, which must be like those before them."""
        if self._held is None:
            shape = (len(self._image), *made.shape[1:])
            self._file.truncate(max(1, int(np.prod(shape)) * made.itemsize))
            self._held = np.memmap(self._file, made.dtype, "r+", shape=shape)
        check_alike((made.shape[1:], made.dtype), (self._held.shape[1:], self._held.dtype))
        return self._held

    @property
    def count(self) -> int:
        """How many crops there are."""
        return int(np.count_nonzero(self._image >= 0))

    def write(self, target: str) -> None:
        """Write the file: a patch stack where the crops are patches of one image, else a file of crops."""
        assert self._held is not None
        done = np.flatnonzero(self._image >= 0)
        with create(target, overwrite=self._settings.overwrite) as file:
            if self._patches(done):
                write_stack(file, self._stack(done))
                return
            with NpzWriter(file) as writer:
                write_meta(writer, self._meta())
                for name, values in (("boxes", self._boxes), ("image", self._image), ("line", self._lines)):
                    writer.write(name, values[done].shape, values.dtype, [values[done]])
                writer.write("patches", (len(done), *self._held.shape[1:]), self._held.dtype, self._pieces(done))

    def _patches(self, done: NDArray[np.int64]) -> bool:
        """Whether all crops are whole pixels, inside the only image, at their own size."""
        boxes, held = self._boxes[done], self._held
        assert held is not None
        whole = (boxes == np.floor(boxes)).all() and (boxes[:, :2] >= 0).all()
        own = (boxes[:, 2] == held.shape[2]).all() and (boxes[:, 3] == held.shape[1]).all()
        inside = (boxes[:, :2] + boxes[:, 2:] <= np.array(self._shape[::-1])).all()
        return bool(whole and own and inside and len(self._sources) == 1)

    def _stack(self, done: NDArray[np.int64]) -> Stack:
        held = self._held
        assert held is not None
        grid = Grid(self._shape, (held.shape[1], held.shape[2]), edge="pad")
        origins = self._boxes[done][:, [1, 0]].astype(np.int64)
        return Stack(
            held if len(done) == len(held) else held[done],
            origins,
            Meta(grid, held.shape[3:], held.dtype, "reflect", 0, self._sources[0], metadata=self._metadata[0]),
        )

    def _meta(self) -> str:
        settings = self._settings
        about = {
            "format": FORMAT,
            "version": VERSION,
            "images": [source._asdict() for source in self._sources],
            "resampling": settings.resampling,
            "align_corners": settings.align_corners,
            "outside": settings.outside,
        }
        return json.dumps(about, separators=(",", ":"))

    def _pieces(self, done: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        held = self._held
        assert held is not None
        step = max(1, PIECE // max(1, int(np.prod(held.shape[1:])) * held.itemsize))
        for at in range(0, len(done), step):
            yield held[done[at : at + step]]


def _alike(rows: Sequence[BoxRow], image: NDArray[Any]) -> Iterator[Sequence[BoxRow]]:
    """Neighbouring rows whose boxes are given alike and whose crops have one size, as many as fit in memory together."""
    at = 0
    while at < len(rows):
        first, end = rows[at], at + 1
        if first.size is not None:
            each = first.size[0] * first.size[1] * image[0, 0].nbytes
            while (
                end < len(rows)
                and (rows[end].size, rows[end].normalized) == (first.size, first.normalized)
                and (end - at + 1) * each <= TOGETHER_BYTES
            ):
                end += 1
        yield rows[at:end]
        at = end


class StackPlan:
    """Plans of crops that go to one file, which must be alike."""

    def __init__(self) -> None:
        self._first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._held = 0  # bytes of all crops till now, kept in a file that is mapped into memory

    def take(self, task: CropTask, settings: CropSettings, _tick: Tick) -> Said:
        """Say what crops would be made of one image."""
        with open_input_image(task.source, settings.reading) as (image, _, _):

            def one(row: BoxRow) -> Planned:
                shape, scratch = cropped(image, row, settings)
                self._first = self._first or (shape, image.dtype)
                check_alike((shape, image.dtype), self._first)
                nbytes = math.prod(shape) * image.dtype.itemsize
                self._held += nbytes
                memory = base(image.format) + max(image.memory, image.nbytes + 2 * nbytes + scratch) + self._held
                return Planned("", shape, nbytes, memory, (task.target,), packed=False)

            return said_of(task, image, settings, one)
