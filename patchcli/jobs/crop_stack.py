"""``crop --boxes -o FILE.npz``: boxes of many images, all to one stack."""

from __future__ import annotations

import functools
import itertools
import json
import math
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from patchcli.errors import OutputError, PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.jobs.crop import Cropped, cropped, crops_in_words, cut_boxes
from patchcli.jobs.crop_held import HELD_BYTES, HeldCrops
from patchcli.jobs.crop_plan import Failed, check_alike, faults_of, held_for, hints_of, made_of, said_of
from patchcli.jobs.crop_rows import boxes_on, in_pixels, sampling_of
from patchcli.jobs.crop_windows import LEAST_WINDOW, from_the_top, in_windows
from patchcli.jobs.estimate import base
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.task import BoxRow, CropTask, Planned, Said, Tick
from patchcli.stacks.crc import crc_of
from patchcli.stacks.file import write_meta
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.npz import NpzWriter
from patchcli.storage.files import is_special
from patchcli.storage.outputs import create
from patchcli.storage.paths import is_remote
from patchcli.storage.write_behind import FLUSH_BYTES, WriteBehind, start_flushing
from patchcli.threads import map_in_order, reuse_memory, usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource
    from patchcli.jobs.settings import CropSettings

FORMAT, VERSION = "patchcli.crops", 1
TOGETHER_BYTES = 1 << 26  # bytes of crops that are made together
PIECE = 1 << 22  # bytes written at once


Cut = tuple[BoxRow, Cropped | PatchcliError]  # what became of a row


class _GivenUpError(Exception):
    """A row failed, so that the file cannot be as it was begun."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut


class Collector:
    """Crops of equal size on their way to one file, in the order of the list.

    Those of windows of one image, which are made from its top to its bottom, are written where they belong in the file. Others,
    and those left when one has failed, are held until all were made: in memory, or on disk where they are many.

    Args:
        target: the file.
        count: rows of the list.
        settings: how crops are made.
    """

    def __init__(self, target: str, count: int, settings: CropSettings) -> None:
        self._target, self._settings = target, settings
        self._item: tuple[tuple[int, ...], np.dtype[Any]] | None = None  # the shape and dtype of a crop, that of the first
        self._held: HeldCrops | None = None
        self._written = False
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
        if self._held is not None:
            self._held.close()

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
                cuts = _begun(_in_turn(task.boxes, image, settings), image, settings)
                if len(task.boxes) == len(self._image) and not is_special(self._target) and not is_remote(self._target):
                    cuts = self._write_in_place(cuts, task.boxes)
                for row, cut in cuts:
                    failed += self._take_window(row, cut)
            rows = made_of(task, failed)
            hints = hints_of(task.targets(), image, rows, settings)
        return Said(crops_in_words(task, rows), hints, faults=faults_of(failed))

    def _crop_each(self, pixels: NDArray[Any], image: ImageSource, rows: Sequence[BoxRow]) -> Failed:
        """Crop boxes of the decoded image together, or, where that fails, each by itself; those that failed."""
        try:
            made = cut_boxes(pixels, image, rows, self._settings)
            self._check(made.shape[1:], made.dtype)
            self._room().put(np.array([row.place for row in rows]), made)
            self._keep(rows)
        except OutputError:
            raise
        except PatchcliError as error:
            if len(rows) == 1:
                return [(rows[0], error)]
            return [one for row in rows for one in self._crop_each(pixels, image, [row])]
        return []

    def _write_in_place(self, cuts: Iterator[Cut], rows: Sequence[BoxRow]) -> Iterator[Cut]:
        """Write the file, each crop as it is made; where one fails those before it are held, and it and all others given back."""
        row, cut = next(cuts)
        if isinstance(cut, PatchcliError):
            return itertools.chain([(row, cut)], cuts)
        self._check(cut.shape, cut.dtype)
        self._keep(rows)
        try:
            with create(self._target, overwrite=self._settings.overwrite) as file, NpzWriter(file) as writer:
                fill = functools.partial(self._filled, file, itertools.chain([(row, cut)], cuts))
                self._write_with(writer, np.arange(len(rows)), functools.partial(writer.write_filled, fill=fill))
        except _GivenUpError as error:
            return itertools.chain([error.cut], cuts)
        except BaseException:
            self._image[:] = -1
            raise
        self._written = True
        return iter(())

    def _filled(self, file: BinaryIO, cuts: Iterator[Cut], start: int) -> Iterator[tuple[int, int]]:
        """Put crops where they belong in a file, the first at ``start``; the CRC-32 and the bytes of each, in order."""
        assert self._item is not None
        (shape, dtype), made, waiting = self._item, list[BoxRow](), 0
        each, sums = math.prod(shape) * dtype.itemsize, [0] * len(self._image)
        for row, cut in cuts:
            try:
                if isinstance(cut, PatchcliError):
                    raise cut
                self._check(cut.shape, cut.dtype)
                at = start + row.place * each
                for some in cut.lines:
                    data = np.ascontiguousarray(some).reshape(-1).view(np.uint8).data
                    file.seek(at)
                    at += file.write(data)
                    sums[row.place] = crc_of(data, sums[row.place])
            except PatchcliError as error:
                self._hold(file, start, made)
                raise _GivenUpError((row, error)) from None
            made.append(row)
            waiting += each
            if waiting >= FLUSH_BYTES:
                start_flushing(file, start, start + each * len(sums))
                waiting = 0
        return zip(sums, itertools.repeat(each))

    def _hold(self, file: BinaryIO, start: int, rows: Sequence[BoxRow]) -> None:
        """Hold the crops of these rows alone, which are in a file."""
        self._image[:] = -1
        self._sampled.clear()
        held = self._room()
        for row in rows:
            file.seek(start + row.place * held.nbytes)
            held.put_lines(row.place, 0, np.frombuffer(file.read(held.nbytes), held.dtype).reshape(held.shape))
        self._keep(rows)

    def _take_window(self, row: BoxRow, cut: Cropped | PatchcliError) -> Failed:
        """Keep the crop of a window; what failed."""
        try:
            if isinstance(cut, PatchcliError):
                raise cut
            self._check(cut.shape, cut.dtype)
            at, held = 0, self._room()
            for some in cut.lines:
                held.put_lines(row.place, at, some)
                at += len(some)
            self._keep([row])
        except OutputError:
            raise
        except PatchcliError as error:
            return [(row, error)]
        return []

    def _keep(self, rows: Sequence[BoxRow]) -> None:
        """Remember what crops are of."""
        for row in rows:
            self._boxes[row.place], self._lines[row.place] = in_pixels(row, self._shape, self._settings), row.line
            self._sampled[sampling_of(row, self._settings).resampling] = None
            self._image[row.place] = len(self._sources) - 1

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Refuse a crop of another shape or dtype than those before it."""
        self._item = self._item or (shape, dtype)
        self._equal &= shape[:2] == self._item[0][:2]
        check_alike((shape, dtype), self._item)

    def _room(self) -> HeldCrops:
        """The place for all crops, where they are held."""
        if self._held is None:
            assert self._item is not None
            self._held = HeldCrops(len(self._image), *self._item)
        return self._held

    @property
    def complete(self) -> bool:
        """Whether there are crops, and none was left out for its size."""
        return self._equal and bool((self._image >= 0).any())

    def write(self) -> None:
        """Write the file, unless it was: a patch stack where the crops are patches of one image, else a file of crops."""
        if self._written:
            return
        done = np.flatnonzero(self._image >= 0)
        out = create(self._target, overwrite=self._settings.overwrite)
        with out as file, WriteBehind(file) as sink, NpzWriter(sink) as writer:
            self._write_with(writer, done, functools.partial(writer.write, pieces=self._pieces(done)))

    def _write_with(self, writer: NpzWriter, done: NDArray[np.int64], write: Callable[..., None]) -> None:
        """Write what a file of these crops says of them, then themselves, as an array of a name, a shape and a dtype."""
        assert self._item is not None
        shape, dtype = self._item
        if self._are_patches(done):
            grid = Grid(self._shape, (shape[0], shape[1]), edge="pad")
            meta = Meta(grid, shape[2:], dtype, source=self._sources[0], metadata=self._metadata[0])
            write_meta(writer, meta.to_json())
            members: dict[str, NDArray[Any]] = {"origins": self._boxes[done][:, [1, 0]].astype(np.int64)}
        else:
            write_meta(writer, self._meta())
            members = {"boxes": self._boxes[done], "image": self._image[done], "line": self._lines[done]}
        for name, values in members.items():
            writer.write(name, values.shape, values.dtype, [values])
        write("patches", (len(done), *shape), dtype)

    def _are_patches(self, done: NDArray[np.int64]) -> bool:
        """Whether all crops are whole pixels, inside the only image, at their own size."""
        assert self._item is not None
        boxes, (height, width) = self._boxes[done], self._item[0][:2]
        whole = (boxes == np.floor(boxes)).all() and (boxes[:, :2] >= 0).all()
        own = (boxes[:, 2] == width).all() and (boxes[:, 3] == height).all()
        inside = (boxes[:, :2] + boxes[:, 2:] <= np.array(self._shape[::-1])).all()
        return bool(whole and own and inside and len(self._sources) == 1)

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
        held = self._room()
        step = max(1, PIECE // max(1, held.nbytes))
        for at in range(0, len(done), step):
            yield held.take(done[at : at + step])


def _begun(rows: Sequence[BoxRow], image: ImageSource, settings: CropSettings) -> Iterator[Cut]:
    """The crops of windows, each with its first lines made; several at once, if none is so large as to use all CPUs."""

    def begun(row: BoxRow) -> Cut:
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
    """Plans of crops, so many in all, that go to one file, which must be alike."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._held = 0  # bytes of all crops till now, but of those that are written as they are made

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
                self._held += nbytes * (not windows or len(task.boxes) < self._count)
                on_disk = self._count * nbytes > HELD_BYTES
                held = min(self._held, 4 * PIECE) if on_disk else self._held  # what of it is being written
                together = 0 if windows or row.size is None else min(self._held, TOGETHER_BYTES)
                memory = base(image.format) + max(read, beside + 2 * nbytes) + held + together
                return Planned("", shape, nbytes, memory, (task.target,), packed=False)

            return said_of(task, image, settings, one)
