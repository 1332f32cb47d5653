"""One input to one output: what each command does with a single file, without a word on how many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from patchcli import files, images
from patchcli.errors import PatchcliError
from patchcli.meta import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.grid import Grid

Tick = Callable[[int, int], None]  # (patches done now, patches in all)


class Task(NamedTuple):
    """One input and the output that it becomes; ``-`` is standard input or output.

    Attributes:
        source: the input.
        target: its output.
        companions: further inputs, treated as it is, and the outputs that they become.
        mask: an image that says which part of the input counts.
        shards: further inputs that make one output together with the first.
    """

    source: str
    target: str
    companions: tuple[tuple[str, str], ...] = ()
    mask: str | None = None
    shards: tuple[str, ...] = ()


class Said(NamedTuple):
    """What a job has to say.

    Attributes:
        done: what was done, for those who look.
        hint: what is probably not as it was meant.
        result: what was asked for in words or numbers, for standard output.
        faults: parts of the input that failed, each in a sentence.
        curve: how the result was found, line by line.
    """

    done: str
    hint: str | None = None
    result: str | None = None
    faults: tuple[str, ...] = ()
    curve: tuple[str, ...] = ()


class Reading(NamedTuple):
    """How images are read."""

    page: int = 0
    gray: bool = False
    channel: int | None = None
    rotate: bool = True
    max_pixels: int = images.MAX_PIXELS


def read_image(path: str, reading: Reading) -> tuple[NDArray[Any], Source]:
    """Decode an image as asked, and say where it came from."""
    with files.open_input(path) as file:
        name, size, mtime_ns = files.stamp(path, file)
        image, rotated = images.read(file, page=reading.page, rotate=reading.rotate, max_pixels=reading.max_pixels)
    if reading.gray:
        image = images.to_gray(image)
    if reading.channel is not None:
        image = images.one_channel(image, reading.channel)
    return image, Source(name, size, mtime_ns, page=reading.page, rotated=rotated)


@contextlib.contextmanager
def blamed(label: str) -> Iterator[None]:
    """Errors of a file that is not the input itself begin with ``label``, which names it."""
    try:
        yield
    except PatchcliError as error:
        raise PatchcliError(str(error) if str(error).startswith(label) else f"{label}{error}") from None


def check_pixels(grid: Grid, max_pixels: int) -> None:
    """Refuse a canvas that a few numbers in a header or an option made larger than any image may be."""
    height, width = grid.padded
    if max_pixels and height * width > max_pixels:
        raise PatchcliError(
            f"needs a canvas of {height * width} pixels (width={width} height={height}, with margin and padding); "
            f"allowed are {max_pixels}, or more with --max-pixels"
        )
