"""One input and the output that it becomes; what a job has to say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from patchcli.storage import files

if TYPE_CHECKING:
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

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
