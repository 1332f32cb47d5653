"""``crop --boxes -o FILE.npz``: boxes of many images, all to one stack."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.jobs.crop import Cropped, cropped, crops_in_words, cut_boxes
from patchcli.jobs.crop_plan import Failed, check_alike, faults_of, held_for, hints_of, made_of, said_of
from patchcli.jobs.crop_rows import boxes_on, in_pixels, sampling_of
from patchcli.jobs.crop_windows import LEAST_WINDOW, from_the_top, in_windows
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.task import BoxRow, CropTask, Planned, Said, Tick
from patchcli.stacks.file import Stack, write_meta, write_stack
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.npz import NpzWriter
from patchcli.storage.local import temporary_file
from patchcli.storage.outputs import create
from patchcli.threads import map_in_order, reuse_memory, usable_threads

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
        self._sampled: dict[str, None] = {}  # by which of the resamplings
        self._shape: Pair = (0, 0)  # of the last image
        self._equal = True  # in size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held = None
        self._file.close()

    def take(self, task: CropTask, _settings: CropSettings, _tick: Tick) -> Said:
        """Crop all boxes of one image."""
        failed: Failed = []
        settings = self._settings
        with open_input_image(task.source, settings.reading) as (image, source, _):
            task = boxes_on(task, image, settings)
            windows = in_windows(image, task.boxes, settings)
            pixels = None if windows else image.pixels()
            self._sources.append(source)
            self._metadata.append(settings.kept(image.metadata))
            self._shape = image.shape[0], image.shape[1]
            if pixels is not None:
                for some in _alike(task.boxes, image):
                    failed += self._crop_each(pixels, image, some)
            else:
                reuse_memory()
                for row, cut in _begun(_in_turn(task.boxes, image, settings), image, settings):
                    failed += self._take_window(row, cut)
            rows = made_of(task, failed)
            hints = hints_of(task.targets(), image, rows, settings)
        return Said(crops_in_words(task, rows), hints, faults=faults_of(failed))

    def _crop_each(self, pixels: NDArray[Any], image: ImageSource, rows: Sequence[BoxRow]) -> Failed:
        """Crop boxes of the decoded image together, or, where that fails, each by itself; those that failed."""
        try:
            made = cut_boxes(pixels, image, rows, self._settings)
            self._room(made.shape[1:], made.dtype)[[row.place for row in rows]] = made
            self._keep(rows)
        except PatchcliError as error:
            if len(rows) == 1:
                return [(rows[0], error)]
            return [one for row in rows for one in self._crop_each(pixels, image, [row])]
        return []

    def _take_window(self, row: BoxRow, cut: Cropped | PatchcliError) -> Failed:
        """Keep the crop of a window; what failed."""
        try:
            if isinstance(cut, PatchcliError):
                raise cut
            at, held = 0, self._room(cut.shape, cut.dtype)
            for some in cut.lines:
                held[row.place, at : at + len(some)] = some
                at += len(some)
            self._keep([row])
        except PatchcliError as error:
            return [(row, error)]
        return []

    def _keep(self, rows: Sequence[BoxRow]) -> None:
        """Remember what crops are of."""
        for row in rows:
            self._boxes[row.place], self._lines[row.place] = in_pixels(row, self._shape, self._settings), row.line
            self._sampled[sampling_of(row, self._settings).resampling] = None
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
        self._equal &= shape[:2] == self._held.shape[1:3]
        check_alike((shape, dtype), (self._held.shape[1:], self._held.dtype))
        return self._held

    @property
    def complete(self) -> bool:
        """Whether there are crops, and none was left out for its size."""
        return self._equal and bool((self._image >= 0).any())

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
            "resampling": ", ".join(sorted(self._sampled)),
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


def _begun(
    rows: Sequence[BoxRow], image: ImageSource, settings: CropSettings
) -> Iterator[tuple[BoxRow, Cropped | PatchcliError]]:
    """The crops of windows, each with its first lines made; several at once, if none is so large as to use all CPUs."""

    def begun(row: BoxRow) -> tuple[BoxRow, Cropped | PatchcliError]:
        try:
            cut = cropped(None, image, row, settings)
            lines = iter(cut.lines)
            return row, cut._replace(lines=itertools.chain(list(itertools.islice(lines, 1)), lines))
        except PatchcliError as error:
            return row, error

    length, pixel = (image.shape[0], image.shape[1]), math.prod(image.shape[2:]) * image.dtype.itemsize
    sizes = [abs(math.prod(in_pixels(row, length, settings)[2:])) * pixel for row in rows]
    together = LEAST_WINDOW * len(rows) <= sum(sizes) and max(sizes) <= PIECE
    return map_in_order(begun, rows, min(usable_threads(int(sum(sizes))), len(rows) // 2) if together else 1)


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
        alike = first.size, first.normalized, first.resampling
        if first.size is not None:
            each = math.prod((*first.size, *image.shape[2:])) * image.dtype.itemsize
            while (
                end < len(rows)
                and (rows[end].size, rows[end].normalized, rows[end].resampling) == alike
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
            task = boxes_on(task, image, settings)
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
