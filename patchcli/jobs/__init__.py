"""One input to one output: what each command does with a single file, without a word on how many there are."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli import files, images
from patchcli.errors import PatchcliError
from patchcli.meta import Source
from patchcli.metadata import Metadata
from patchcli.places import is_remote
from patchcli.record import Record

if TYPE_CHECKING:
    from patchcli.axis import Pair
    from patchcli.box import Box
    from patchcli.grid import Grid
    from patchcli.images import Picture

Tick = Callable[[int, int], None]  # (patches done now, patches in all)


class BoxRow(NamedTuple):
    """One box of a list.

    Attributes:
        label: the list and the line, for messages.
        line: its number in the list.
        place: the how-manieth row of the list it is, from 0.
        box: four numbers.
        normalized: how they are meant.
        size: of the crop, None for the box's own.
        target: where the crop goes; not used where all go to one stack.
    """

    label: str
    line: int
    place: int
    box: Box
    normalized: bool
    size: Pair | None
    target: str


class Task(NamedTuple):
    """One input and the output that it becomes; ``-`` is standard input or output.

    Attributes:
        source: the input.
        target: its output.
        companions: further inputs, treated as it is, and the outputs that they become.
        mask: an image that says which part of the input counts.
        shards: further inputs that make one output together with the first.
        cover: where to write how many patches lie on each pixel.
        boxes: what to crop of the input, each to a file of its own, of which ``target`` is the first.
        replace: outputs that exist are its own and may be replaced.
        done: there is nothing left to do.
    """

    source: str
    target: str
    companions: tuple[tuple[str, str], ...] = ()
    mask: str | None = None
    shards: tuple[str, ...] = ()
    cover: str | None = None
    boxes: tuple[BoxRow, ...] = ()
    replace: bool = False
    done: bool = False

    def streams(self) -> bool:
        """Whether it reads or writes a standard stream, which no other process can do for it."""
        return files.STREAM in (self.source, *self.shards, *self.targets())

    def targets(self) -> list[str]:
        """All its outputs."""
        if not (self.companions or self.boxes) and self.cover is None:
            return [self.target]
        further = [*(target for _, target in self.companions), *(row.target for row in self.boxes[1:])]
        return [self.target, *further, *([] if self.cover is None else [self.cover])]


class Planned(NamedTuple):
    """What a task would make.

    Attributes:
        what: in words.
        shape: of the image that it makes, or of a patch; ``()`` where there are several.
        bytes: of its outputs.
        memory: about the most bytes that a process has in use while it does this one task, interpreter and libraries included.
        outputs: their names.
        patches: how many it cuts or merges; None where there are none.
        uncovered: pixels that no patch covers; None where there are no patches.
        exact: whether patches and bytes are as many as will be, and not only as many at most, uncovered pixels at least.
        packed: whether the outputs are compressed, or images, and ``bytes`` are those before that.
    """

    what: str
    shape: tuple[int, ...]
    bytes: int
    memory: int
    outputs: tuple[str, ...]
    patches: int | None = None
    uncovered: int | None = None
    exact: bool = True
    packed: bool = True


class Said(NamedTuple):
    """What a job has to say.

    Attributes:
        done: what was done, for those who look.
        hints: what is probably not as it was meant, in a sentence each.
        result: what was asked for in words or numbers, for standard output.
        faults: parts of the input that failed, each in a sentence.
        curve: how the result was found, line by line.
        planned: what would be made, where nothing was.
    """

    done: str
    hints: tuple[str, ...] = ()
    result: str | None = None
    faults: tuple[str, ...] = ()
    curve: tuple[str, ...] = ()
    planned: Planned | None = None


class Reading(NamedTuple):
    """How images are read."""

    page: int = 0
    gray: bool = False
    channel: int | None = None
    rotate: bool = True
    max_pixels: int = images.MAX_PIXELS

    def options(self) -> dict[str, object]:
        """Those that change what is read, by name."""
        return {"--page": self.page, "--gray": self.gray, "--channel": self.channel, "--exif-rotate": self.rotate}


def size_in_words(size: Pair | None) -> str | None:
    """``(rows, columns)`` as options have it, WxH."""
    return None if size is None else f"{size[1]}x{size[0]}"


class Recipe(NamedTuple):
    """What an output depends on.

    Attributes:
        command: that makes it.
        settings: the options that change it, by name, but for those at their defaults.
        inputs: by their part, the path of a file or of several.
    """

    command: str
    settings: dict[str, Any]
    inputs: dict[str, str | tuple[str, ...]]


class Records:
    """The records of outputs; standard output has none.

    To be made before anything is read: what changes from then on is seen by the next run. Of remote inputs it counts what
    their server tells when they are read, or when they are asked for.

    Args:
        recipes: of the outputs.
        in_images: whether images say, too, how they were made: only where somebody will ask them, as they would tell others
            the name and the time of a source.
    """

    def __init__(self, recipes: Mapping[str, Recipe], *, in_images: bool) -> None:
        self._recipes, self._in_images = recipes, in_images
        self._stamps = {path: files.stamp_of(path) for path in self._paths() if not is_remote(path)}

    def _paths(self) -> set[str]:
        parts = [paths for recipe in self._recipes.values() for paths in recipe.inputs.values()]
        return {path for paths in parts for path in ([paths] if isinstance(paths, str) else paths)}

    def hints(self) -> list[str]:
        """What to say of inputs whose size and time the system does not tell."""
        mute = [path for path, stamp in self._stamps.items() if None in stamp and path != files.STREAM and not is_remote(path)]
        return [f"size and time of {path} could not be asked for; --resume will make the output again" for path in mute]

    def of(self, target: str) -> Record | None:
        """The record of an output."""
        if target == files.STREAM:
            return None
        command, settings, inputs = self._recipes[target]
        return Record(command, settings, {part: self._stamped(paths) for part, paths in inputs.items()})

    def _stamped(self, paths: str | tuple[str, ...]) -> Any:  # noqa: ANN401  what JSON holds
        """Name, size and time of a file; of several a digest, so that a record has an end; None where a time is not known."""
        if isinstance(paths, str):
            if paths not in self._stamps:
                self._stamps[paths] = files.stamp_of(paths)
            return list(self._stamps[paths])
        stamps = [self._stamped(path) for path in paths]
        return None if any(None in stamp for stamp in stamps) else hashlib.sha256(json.dumps(stamps).encode()).hexdigest()

    def note(self, target: str) -> str:
        """The same as text, for an image; empty where there is none."""
        record = self.of(target) if self._in_images else None
        return "" if record is None else record.to_json()


def read_image(path: str, reading: Reading) -> tuple[Picture, Source]:
    """Decode an image as asked, and say where it came from."""
    with files.open_input(path) as file:
        name, size, mtime_ns = files.stamp(path, file)
        picture = images.read(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
    source = Source(name, size, mtime_ns, page=reading.page, rotated=picture.rotated)
    if reading.gray:
        picture = picture._replace(pixels=images.to_gray(picture.pixels, picture.metadata), metadata=Metadata())
    if reading.channel is not None:
        picture = picture._replace(pixels=images.one_channel(picture.pixels, reading.channel), metadata=Metadata())
    return picture, source


def in_megabytes(count: int) -> str:
    """Bytes for people.

    >>> in_megabytes(34_567_890)
    '35 MB'
    """
    return f"{count / 1e6:.0f} MB"


@contextlib.contextmanager
def blamed(label: str) -> Iterator[None]:
    """Errors of a file that is not the input itself begin with ``label``, which names it."""
    try:
        yield
    except PatchcliError as error:
        raise PatchcliError(str(error) if str(error).startswith(label) else f"{label}{error}") from None


def check_pixels(grid: Grid, pixel_bytes: int, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    images.check_size(grid.padded, pixel_bytes, max_pixels, "needs a canvas of", ", with margin and padding")
