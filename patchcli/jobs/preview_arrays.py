"""The pictures of ``preview`` in Python: of arrays, stacks, grids and files, as arrays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from patchcli.arrays import as_image, check_real
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid, pair
from patchcli.geometry.placement import Placement
from patchcli.images.difference import check_comparable
from patchcli.jobs import drawing
from patchcli.jobs.drawing import Drawn, Framing, InsidePadded
from patchcli.jobs.reading import blamed, open_input_image
from patchcli.jobs.seen import ArraySet, Look, Seen
from patchcli.jobs.settings import COMPARE, COVER, GRID, PICTURES, TRIPLE, ExtractSettings, PreviewSettings, Reading
from patchcli.jobs.task import PreviewTask
from patchcli.patches.extract import numbers_of
from patchcli.patches.merge import merge
from patchcli.patches.padded import ArraySource, Padded
from patchcli.stacks.file import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Source = ArrayLike | Stack | Grid | str | os.PathLike[str]

_IMAGE, _PATCHES = "image", "patches"
_NO_GRID, _NO_OTHER = "it is not known where patches lie; give grid", "a comparison needs two images; give other"


def preview(
    source: Source,
    other: Source | None = None,
    *,
    show: Literal["grid", "patches", "cover", "triple", "compare"] | None = None,
    grid: Grid | None = None,
    index: ArrayLike | None = None,
    numbers: Sequence[int] = (),
    labels: bool = False,
    pad_mode: str = "reflect",
    pad_value: float = 0,
    value_range: tuple[float, float] | None = None,
    max_size: int | tuple[int, int] = PreviewSettings.max_size,
) -> NDArray[np.uint8]:
    """Draw an image, a grid, patches, cover or a comparison, to look at.

    Args:
        source: an image ``(H, W)`` or ``(H, W, C)`` of any real dtype; patches ``(N, h, w[, C])`` with ``show="patches"``; a
            `Stack`; a `Grid`, of which the cover is drawn; or the path of a file, of which ``patchcli preview`` draws the same.
        other: the image that is compared with the first; with ``show="triple"`` processed patches ``(N, h, w[, C])`` of ``grid``,
            or a `Stack`.
        show: ``grid``: the patches of ``grid`` outlined on the image; ``patches``: a contact sheet; ``cover``: how many patches
            lie on each pixel; ``triple``: the image, its central patch, and what its patches are merged to; ``compare``: two
            images and their difference. If not given: ``compare`` for two images, ``grid`` for an image and a grid, else the
            image, or its patches.
        grid: where patches lie.
        index: numbers of the patches that were chosen, as `choose_patches` returns them.
        numbers: of the patches on a contact sheet; some, evenly chosen, if not given.
        labels: values are class numbers, drawn in distinct colours.
        pad_mode: how margin and padding of the grid are filled, as `extract` takes it.
        pad_value: what ``constant`` fills with.
        value_range: the values that are black and white; 0 and 255 for uint8, else the least and the largest drawn if not given.
        max_size: (rows, columns) of the picture, or a side of both, which is at most as large.

    Returns:
        RGB, uint8 ``(H', W', 3)``.

    Raises:
        PatchcliError: something that is none of these, or does not belong together; a file that cannot be read.

    >>> image = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    >>> preview(image, grid=Grid((48, 64), 16)).shape[2]
    3
    """
    asked = _Asked(source, other, grid, _chosen(source, grid, index), _numbers(numbers), labels=labels)
    asked = asked._replace(padding=(pad_mode, pad_value), frame=Framing(pair("max_size", max_size), value_range))
    kind = _kind_of(asked, show)
    drawn = _of_file(asked, kind) if isinstance(source, (str, os.PathLike)) else _DRAWING[kind](asked)
    return drawn.rgb


def _chosen(source: Any, grid: Grid | None, index: ArrayLike | None) -> NDArray[np.int64] | None:  # noqa: ANN401  whatever was given
    """The numbers of patches that were chosen of a grid."""
    if index is None:
        return None
    of = source if isinstance(source, Grid) else grid
    if of is None:
        raise PatchcliError("index is of the patches of a grid; give grid")
    return numbers_of(of, index)


def _numbers(numbers: Sequence[int]) -> tuple[int, ...]:
    """The numbers of patches on a contact sheet."""
    given = np.asarray(numbers)
    if given.ndim != 1 or (given.size and (given.dtype.kind not in "iu" or given.min() < 0)):
        raise PatchcliError(f"numbers are {numbers!r}; give a list of whole numbers from 0")
    return tuple(given.tolist())


class _Asked(NamedTuple):
    """The arguments of `preview`."""

    source: Any
    other: Any
    grid: Grid | None
    chosen: NDArray[Any] | None
    numbers: tuple[int, ...]
    labels: bool
    padding: tuple[str, float] = ("reflect", 0)
    frame: Framing = Framing(PreviewSettings.max_size)

    @property
    def seen(self) -> Seen:
        """The source as an image."""
        return _seen(self.source, labels=self.labels)

    @property
    def placement(self) -> Placement | None:
        """Where patches lie, if that was said."""
        grid = self.source if isinstance(self.source, Grid) else self.grid
        return None if grid is None else Placement.chosen(grid, self.chosen)

    @property
    def patches(self) -> ArraySet:
        """The source as patches."""
        if isinstance(self.source, Stack):
            return ArraySet.of_stack(self.source)
        return ArraySet(_patches_of(self.source), self.placement, labels=self.labels)

    def padded(self, seen: Seen) -> Padded:
        """An image with what the grid adds to it."""
        if self.grid is None:
            raise PatchcliError(_NO_GRID)
        return Padded(seen.pixels, self.grid, *self.padding)


def _kind_of(asked: _Asked, show: str | None) -> str:
    """What is drawn: what was asked for, or what the arguments are."""
    if show is not None:
        if show not in (_PATCHES, *PICTURES):
            raise PatchcliError(f"show is {show!r}; allowed are {', '.join((_PATCHES, *PICTURES))}")
        return show
    if isinstance(asked.source, Grid):
        return COVER
    if asked.other is not None:
        return COMPARE
    if isinstance(asked.source, Stack) or np.ndim(asked.source) == 4:  # noqa: PLR2004
        return _PATCHES
    if asked.grid is not None:
        return GRID
    return _PATCHES if asked.numbers else _IMAGE


def _image(asked: _Asked) -> Drawn:
    return drawing.draw_image(asked.seen, asked.frame)


def _grid(asked: _Asked) -> Drawn:
    seen = asked.seen
    return drawing.draw_grid(seen, asked.padded(seen), asked.chosen, asked.frame)


def _sheet(asked: _Asked) -> Drawn:
    return drawing.draw_sheet(asked.patches, asked.numbers, asked.frame)


def _cover(asked: _Asked) -> Drawn:
    placement = asked.patches.placement() if asked.placement is None else asked.placement
    return drawing.draw_cover(placement, "", asked.frame)


def _comparison(asked: _Asked) -> Drawn:
    if asked.other is None:
        raise PatchcliError(_NO_OTHER)
    other = _seen(asked.other, labels=asked.labels)
    return drawing.draw_comparison(asked.seen, other, ("first", "second"), asked.frame)


def _triple(asked: _Asked) -> Drawn:
    """An image, its central patch and its reconstruction, of its own patches or of processed ones."""
    seen, other = asked.seen, asked.other
    if asked.chosen is not None and not len(asked.chosen):
        raise PatchcliError("index is empty; a reconstruction needs one patch or more")
    if other is None:
        padded = asked.padded(seen)
        return drawing.draw_round_trip(Seen(InsidePadded(padded), seen.look), padded, asked.chosen, asked.frame)
    labels = asked.labels or (isinstance(other, Stack) and other.meta.labels)
    if isinstance(other, Stack):
        patches, grid, placement = other.patches, other.meta.grid, Placement.at(other.meta.grid, np.asarray(other.origins))
    else:
        patches, grid = _patches_of(other), asked.padded(seen).grid
        placement = Placement.chosen(grid, asked.chosen)
    merged = merge(
        patches,
        grid,
        origins=None if placement.whole else placement.origins(),
        fill=0,
        allow_nonfinite=patches.dtype.kind == "f",
        reduce="mode" if labels else "mean",
    )
    check_comparable(merged.shape, seen.pixels.shape, "the first", what="patches become an image of")
    number = placement.central
    look = seen.look.like(merged.dtype)
    return drawing.draw_triple(
        seen, (number, patches[number]), ([merged], look), seen.kind + drawing.left_out_in_words(placement), asked.frame
    )


_DRAWING = {_IMAGE: _image, _PATCHES: _sheet, GRID: _grid, COVER: _cover, COMPARE: _comparison, TRIPLE: _triple}


def _seen(image: Any, *, labels: bool) -> Seen:  # noqa: ANN401  whatever was given
    if isinstance(image, (Stack, Grid, str, os.PathLike)):
        raise PatchcliError(f"a {type(image).__name__} stands where an image is needed; give an array")
    pixels = as_image(image)
    return Seen(ArraySource(pixels), Look.of(None, (*pixels.shape, 1)[2], pixels.dtype, labels=labels))


def _patches_of(patches: Any) -> NDArray[Any]:  # noqa: ANN401  whatever was given
    stack = np.asarray(patches)
    check_real(stack.dtype, "stack of patches")
    if stack.ndim not in (3, 4) or 0 in stack.shape:
        raise PatchcliError(f"patches have shape {stack.shape}; expected (N, h, w) or (N, h, w, channels)")
    return stack


def _of_file(asked: _Asked, kind: str) -> Drawn:
    """The picture that the command draws."""
    from patchcli.jobs.preview import draw_file  # which arrays don't need

    if asked.other is not None and not isinstance(asked.other, (str, os.PathLike)):
        raise PatchcliError("the first is the path of a file, so other is to be one, too")
    if asked.chosen is not None:
        raise PatchcliError("index is for arrays, not for the path of a file")
    if kind == COMPARE and asked.other is None:
        raise PatchcliError(_NO_OTHER)
    path, grid = os.fspath(asked.source), asked.grid
    if grid is None and (kind == GRID or (kind == TRIPLE and asked.other is None)):
        raise PatchcliError(_NO_GRID)
    settings = PreviewSettings(
        show=kind if kind in PICTURES else None,
        cutting=None if grid is None else _cutting(grid, *asked.padding),
        numbers=asked.numbers,
        value_range=asked.frame.value_range,
        max_size=asked.frame.max_size,
        reading=Reading(color="indices" if asked.labels else None),
    )
    task = PreviewTask(source=path, target="", other=None if asked.other is None else os.fspath(asked.other))
    with blamed(f"{path}: "):
        if settings.cutting is not None:
            _check_size(path, settings.reading, asked.grid)
        return draw_file(task, settings)[0]


def _check_size(path: str, reading: Reading, grid: Grid | None) -> None:
    """Refuse a grid that is for images of another size."""
    with open_input_image(path, reading) as given:
        size = given.image.shape[:2]
    if grid is not None and size != grid.image:
        raise PatchcliError(f"image has shape {size} but the grid is for {grid.image}")


def _cutting(grid: Grid, pad_mode: str, pad_value: float) -> ExtractSettings:
    """A grid as ``extract`` is told to lay it."""
    return ExtractSettings(
        patch=grid.patch,
        stride=grid.stride,
        offset=grid.offset,
        edge=grid.edge,
        margin=grid.margin,
        pad_mode=pad_mode,
        pad_value=pad_value,
    )
