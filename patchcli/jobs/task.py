"""One input and the output that it becomes; what a job has to say of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from patchcli.storage import files
from patchcli.storage.outputs import check_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

Tick = Callable[[int, int], None]  # (patches done now, patches in all)
LABELS, COMPANION = "labels", "companion"  # what an image is that is cut beside another


@dataclass(frozen=True, kw_only=True)
class Task:
    """One input and the output that it becomes; ``-`` is standard input or output.

    Attributes:
        source: the input.
        target: its output, or the first of them.
        page: of the input, where the run takes several of each; else None, and the settings say which.
        replace: outputs that exist are its own and may be replaced.
        done: there is nothing left to do.
    """

    source: str
    target: str
    page: int | None = None
    replace: bool = False
    done: bool = False

    @property
    def name(self) -> str:
        """How the input is called in messages."""
        name = files.name_of(self.source, "standard input")
        return name if self.page is None else f"{name} page {self.page}"

    def own(self, settings: Any) -> Any:  # noqa: ANN401  of any command
        """The settings of a run as they are for this task."""
        return settings if self.page is None else settings.at_page(self.page)

    def sources(self) -> list[str]:
        """All that it reads."""
        return [self.source]

    def targets(self) -> list[str]:
        """All its outputs."""
        return [self.target]

    def made_before(self) -> list[str]:
        """What a run before may have made: its outputs, of which that run then knew the names."""
        return self.targets()

    def streams(self) -> bool:
        """Whether it reads or writes a standard stream, which no other process can do for it."""
        return files.STREAM in (*self.sources(), *self.targets())

    def left(self, done: set[str]) -> Self:
        """What is left to do where some outputs exist, and these of them need not be made again."""
        return replace(self, done=True) if len(done) == len(self.targets()) else replace(self, replace=True)


class Companion(NamedTuple):
    """A further image that is cut at the same places, `LABELS` or of no special kind, and the stack that it becomes."""

    path: str
    target: str
    role: str = COMPANION


@dataclass(frozen=True, kw_only=True)
class ExtractTask(Task):
    """An image that is cut.

    Attributes:
        companions: further images that are cut at the same places, labels first.
        mask: an image that says which part of the first counts.
        tiles: templates of the tile files of the image and of each companion, whose targets are their indexes; empty for stacks.
    """

    companions: tuple[Companion, ...] = ()
    mask: str | None = None
    tiles: tuple[str, ...] = ()

    def sources(self) -> list[str]:
        """The image, its companions and its mask."""
        return [self.source, *(one.path for one in self.companions), *([] if self.mask is None else [self.mask])]

    def targets(self) -> list[str]:
        """A stack, or an index of tile files, of each image."""
        return [self.target, *(one.target for one in self.companions)] if self.companions else [self.target]

    def made_before(self) -> list[str]:
        """The stacks, or the tile files that their indexes name."""
        if not self.tiles:
            return self.targets()
        from patchcli.stacks.tile_set import known_tiles  # loaded for nobody else

        return [os.path.join(os.path.dirname(target), name) for target in self.targets() for name in known_tiles(target)]


@dataclass(frozen=True, kw_only=True)
class MergeTask(Task):
    """A stack, or a set of tile files, that becomes an image.

    Attributes:
        shards: further files that make one stack together with the first.
        tiles: image files that make up the image, by their names; the source is then no file, but what they are called.
        below: the folder of an index below the one that was given, in which its tiles are in another folder, too.
        cover: where to write how many patches lie on each pixel.
        compare: an image that the one that is made is compared with.
    """

    shards: tuple[str, ...] = ()
    tiles: tuple[str, ...] = ()
    below: str = os.curdir
    cover: str | None = None
    compare: str | None = None

    def sources(self) -> list[str]:
        """The stack and its shards, an index, or tiles; what the image is compared with."""
        return [*(self.tiles or (self.source, *self.shards)), *([] if self.compare is None else [self.compare])]

    def targets(self) -> list[str]:
        """The image and its cover."""
        return [self.target, *([] if self.cover is None else [self.cover])]


@dataclass(frozen=True, kw_only=True)
class MapTask(Task):
    """An image whose patches are given to a function, and the image that is made of what it returns.

    Attributes:
        mask: an image that says which part of the first counts.
        cover: where to write how many patches lie on each pixel.
    """

    mask: str | None = None
    cover: str | None = None

    def sources(self) -> list[str]:
        """The image and its mask."""
        return [self.source, *([] if self.mask is None else [self.mask])]

    def targets(self) -> list[str]:
        """The image and its cover."""
        return [self.target, *([] if self.cover is None else [self.cover])]


@dataclass(frozen=True, kw_only=True)
class BandTask(Task):
    """Some lines of the image of another task, which a worker makes; it writes nothing.

    Attributes:
        of: that task.
        lines: first and last (excluded); none where only what the function returns is asked for.
        index: numbers of the patches; None for all of the grid.
        returned: what the function returns, once that is known.
        kept: the image and the function are wanted again by the next task of the same worker.
    """

    of: MapTask
    lines: Pair
    index: NDArray[np.int64] | None = None
    returned: Any = None
    kept: bool = False

    def targets(self) -> list[str]:
        """None: lines are given back."""
        return []


@dataclass(frozen=True, kw_only=True)
class PreviewTask(Task):
    """A file that is drawn; ``target`` is empty where only figures are asked for.

    Attributes:
        other: what it is compared with, or the stack that was made of it.
        mask: an image that says which part of the first counts.
    """

    other: str | None = None
    mask: str | None = None

    def sources(self) -> list[str]:
        """The file, and what lies beside it."""
        return [self.source, *(path for path in (self.other, self.mask) if path is not None)]

    def targets(self) -> list[str]:
        """The picture, if there is to be one."""
        return [self.target] if self.target else []


class BoxRow(NamedTuple):
    """One box of an image.

    Attributes:
        box: four numbers.
        normalized: whether they are corners in the coordinates of grid_sample, or ``(x, y, width, height)`` in pixels.
        size: of the crop, (rows, columns); None for the box's own, or as the settings say.
        target: where the crop goes; not used where all go to one stack.
        label: the list and the line, for messages; empty where the box was typed.
        line: its number in the list.
        place: the how-manieth row of all lists it is, from 0.
        fractions: the box is ``(cx, cy, width, height)`` in fractions of the image, which only its size makes pixels of.
        resampling: where it is another than that of the settings.
    """

    box: Box
    normalized: bool
    size: Pair | None
    target: str
    label: str = ""
    line: int = 0
    place: int = 0
    fractions: bool = False
    resampling: str = ""


@dataclass(frozen=True, kw_only=True)
class CropTask(Task):
    """An image of which boxes are cropped.

    Attributes:
        boxes: what to crop, at least one, each to a file of its own, of which ``target`` is the first.
    """

    boxes: tuple[BoxRow, ...]

    def targets(self) -> list[str]:
        """An image of each box."""
        return [self.target, *(row.target for row in self.boxes[1:])]

    def left(self, done: set[str]) -> Self:
        """The boxes that are not yet cropped."""
        rest = tuple(row for row in self.boxes if row.target not in done)
        return replace(self, boxes=rest, target=rest[0].target, replace=True) if rest else replace(self, done=True)


class Planned(NamedTuple):
    """What a task would make.

    Attributes:
        what: in words.
        shape: of the image that it makes, or of a patch; ``()`` where there are several.
        bytes: of its outputs.
        memory: a bound on the bytes that a process has in use while it does this one task, interpreter and libraries included.
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


class PartFault(str):
    """What is wrong with a part of an input: a sentence that names the part in front, as ``boxes.csv:3: is not CSV``.

    Attributes:
        part: its name.
        why: what is wrong with it.
    """

    __slots__ = ("part", "why")
    part: str
    why: str

    def __new__(cls, part: str, why: str) -> Self:
        """The sentence."""
        made = super().__new__(cls, f"{part}: {why}")
        made.part, made.why = part, why
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # it goes to other processes
        return self.part, self.why


class Said(NamedTuple):
    """What a job has to say.

    Attributes:
        done: what was done, for those who look.
        hints: what is probably not as it was meant, in a sentence each.
        result: what was asked for in words or numbers, for standard output.
        faults: parts of the input that failed, each in a sentence.
        curve: how the result was found, line by line.
        planned: what would be made, where nothing was.
        nbytes: of the patches or pixels that were made, before they were packed.
        part: what was made, where that was asked for and not a file.
        figures: how far it is from another image, by name, where that was asked for.
    """

    done: str
    hints: tuple[str, ...] = ()
    result: str | None = None
    faults: tuple[str, ...] = ()
    curve: tuple[str, ...] = ()
    planned: Planned | None = None
    nbytes: int = 0
    part: Any = None
    figures: dict[str, Any] | None = None


def as_said(task: Task, planned: Planned, hints: tuple[str, ...] = ()) -> Said:
    """A plan as a line, and as it is for the report.

    Raises:
        PatchcliError: an output whose name is too long.
    """
    for name in planned.outputs:
        check_name(name)
    target = files.name_of(planned.outputs[0])
    if len(planned.outputs) > 1:
        target += f" and {len(planned.outputs) - 1} more"
    most = "" if planned.exact else "at most "
    size = f"{planned.bytes} bytes" + " uncompressed" * planned.packed
    parts = [f"{most}{planned.what}", f"{most}{size}", f"{in_megabytes(planned.memory)} memory"]
    if planned.uncovered is not None:
        parts.append(("" if planned.exact else "at least ") + f"{planned.uncovered} pixels uncovered")
    return Said("", hints, result=f"{task.name} -> {target}: {', '.join(parts)}", planned=planned)


def in_megabytes(count: float) -> str:
    """Bytes for people.

    >>> in_megabytes(34_567_890)
    '35 MB'
    """
    return f"{count / 1e6:.0f} MB"
