"""``crop --boxes -o FILE.npz``: boxes of many images, all to one stack."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.jobs.crop import cropped, crops_in_words, cut_boxes
from patchcli.jobs.crop_plan import check_alike, held_for, hints_of, said_of
from patchcli.jobs.crop_windows import from_the_top, in_pixels, in_windows
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
    """Crops of equal size on their way to one file, in the order of the list: kept in memory, or on disk where they are many.

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
        faults: dict[int, str] = {}
        settings = self._settings
        with open_input_image(task.source, settings.reading) as (image, source, _):
            windows = in_windows(image, task.boxes, settings)
            pixels = None if windows else image.pixels()
            self._sources.append(source)
            self._metadata.append(settings.kept(image.metadata))
            self._shape = image.shape[0], image.shape[1]
            for some in (
                _alike(task.boxes, image) if pixels is not None else ([row] for row in _in_turn(task.boxes, image, settings))
            ):
                faults |= self._crop_each(pixels, image, some)
            rows = [row for row in task.boxes if row.place not in faults]
            hints = hints_of(task.targets(), image, rows, settings)
        return Said(crops_in_words(task, rows), hints, faults=tuple(faults[place] for place in sorted(faults)))

    def _crop_each(self, pixels: NDArray[Any] | None, image: ImageSource, rows: Sequence[BoxRow]) -> dict[int, str]:
        """Crop boxes together, or, where that fails, each by itself; what is wrong with some of them, by their places."""
        try:
            self._crop(pixels, image, rows)
        except PatchcliError as error:
            if len(rows) == 1:
                return {rows[0].place: f"{rows[0].label}: {error}"}
            return {place: said for row in rows for place, said in self._crop_each(pixels, image, [row]).items()}
        return {}

    def _crop(self, pixels: NDArray[Any] | None, image: ImageSource, rows: Sequence[BoxRow]) -> None:
        """Crop boxes of one size together, of the decoded image, or one of a window of it."""
        settings, first = self._settings, rows[0]
        if pixels is None:
            cut = cropped(None, image, first, settings)
            at, held = 0, self._room(cut.shape, image.dtype)
            for some in cut.lines:
                held[first.place, at : at + len(some)] = some
                at += len(some)
        else:
            made = cut_boxes(pixels, image, [row.box for row in rows], first.size, settings, normalized=first.normalized)
            self._room(made.shape[1:], made.dtype)[[row.place for row in rows]] = made
        for row in rows:
            self._boxes[row.place], self._lines[row.place] = in_pixels(row, self._shape, settings), row.line
            self._image[row.place] = len(self._sources) - 1

    def _room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The place for crops of a shape and dtype, which must be those of the crops before them."""
        if self._held is None:
            every = (len(self._image), *shape)
            nbytes = math.prod(every) * dtype.itemsize
            if nbytes > TOGETHER_BYTES:
                self._file.truncate(nbytes)
                self._held = np.memmap(self._file, dtype, "r+", shape=every)
            else:
                self._held = np.empty(every, dtype)
        check_alike((shape, dtype), (self._held.shape[1:], self._held.dtype))
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


def _in_turn(rows: Sequence[BoxRow], image: ImageSource, settings: CropSettings) -> Sequence[BoxRow]:
    """Rows from the top of their image to its bottom; as they are where crops differ in size, for the first then counts."""
    length = image.shape[0], image.shape[1]
    sizes = {row.size or tuple(map(abs, in_pixels(row, length, settings)[2:])) for row in rows}
    return from_the_top(rows, image, settings) if len(sizes) == 1 else rows


def _alike(rows: Sequence[BoxRow], image: ImageSource) -> Iterator[Sequence[BoxRow]]:
    """Neighbouring rows whose boxes are given alike and whose crops have one size, as many as fit in memory together."""
    at = 0
    while at < len(rows):
        first, end = rows[at], at + 1
        if first.size is not None:
            each = math.prod((*first.size, *image.shape[2:])) * image.dtype.itemsize
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
            windows = in_windows(image, task.boxes, settings)

            def one(row: BoxRow) -> Planned:
                shape, read, beside, _ = held_for(image, row, settings, windows=windows)
                self._first = self._first or (shape, image.dtype)
                check_alike((shape, image.dtype), self._first)
                nbytes = math.prod(shape) * image.dtype.itemsize
                self._held += nbytes
                memory = base(image.format) + max(read, beside + 2 * nbytes) + self._held
                return Planned("", shape, nbytes, memory, (task.target,), packed=False)

            return said_of(task, image, settings, one)
