"""Add up patches that lie side by side: the other half of folding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.items import items_of, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from patchcli.combine import Combine


@dataclass(frozen=True)
class Pass:
    """Patches ``index`` of a patch row, which don't overlap, and their first columns, ``step`` apart (0: irregular)."""

    index: slice
    columns: NDArray[np.int64]
    step: int
    width: int

    @property
    def first(self) -> int:
        """First column that a patch lies on."""
        return int(self.columns[0])

    @property
    def stop(self) -> int:
        """First column behind all patches."""
        return int(self.columns[-1]) + self.width


def plan_passes(starts: NDArray[np.int64], width: int) -> list[Pass]:
    """Split the patches of a row, at increasing ``starts``, into passes without overlap.

    Intervals of one length, sorted, that lie at most ``n`` deep on a point don't overlap when n apart in the list. A lone
    shifted patch at the end gets a pass of its own, so that it does not break the even steps of the others.
    """
    found = runs(starts)
    lone_end = len(found) == 2 and found[1].count == 1  # noqa: PLR2004
    parts = [run.index for run in found] if lone_end else [slice(0, len(starts))]
    passes = []
    for part in parts:
        own = starts[part]
        behind = np.searchsorted(own, own + width)  # for each patch, the first that no longer touches it
        depth = int((behind - np.arange(len(own))).max())
        for group in range(depth):
            columns = own[group::depth]
            steps = np.diff(columns)
            step = int(steps[0]) if len(steps) else width
            step = step if (steps == step).all() else 0
            passes.append(Pass(slice(part.start + group, part.stop, depth), columns, step, width))
    return passes


def fold_across(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine) -> NDArray[Any]:
    """Add up patches that lie side by side: ``(n, lines, m, width)`` to ``(n, lines, span)`` of ``dtype``.

    A pair of float32 is added up before it is widened, which is the slow step. That costs one rounding, 6e-8 of the pair's
    sum, and nothing where both values are equal or one is 0.
    """
    if pixels.dtype == dtype or pixels.dtype != np.float32:
        return _add_strips(pixels, passes, dtype, combine, 1)
    sums = _add_strips(pixels, passes, dtype, combine, 2)
    # A sum of two float32 overflowed, perhaps.
    return sums if np.isfinite(sums).all() else _add_strips(pixels, passes, dtype, combine, 1)


def _add_strips(pixels: NDArray[Any], passes: list[Pass], dtype: np.dtype[Any], combine: Combine, together: int) -> NDArray[Any]:
    """Do what `fold_across` does, ``together`` passes at a time; whole strips: one run of memory is faster than rows of it."""
    shape = *pixels.shape[:2], max(one.stop for one in passes)
    strips = [np.empty(shape, pixels.dtype) for _ in range(together)]
    sums: NDArray[Any] | None = None
    for group in _groups(passes, together):
        if len(group[0].columns) == 1:
            sums = np.full(shape, combine.blank, dtype) if sums is None else sums
            piece = sums[:, :, group[0].first : group[0].stop]
            combine.ufunc(piece, pixels[:, :, group[0].index.start], out=piece)
            continue
        for strip, one in zip(strips, group, strict=False):
            _lay(strip, pixels, one, combine.blank)
        if len(group) > 1:
            np.add(strips[0], strips[1], out=strips[0])
        if sums is None:
            sums = strips[0].astype(dtype)
        else:
            combine.ufunc(sums, strips[0], out=sums)
    return np.full(shape, combine.blank, dtype) if sums is None else sums


def _groups(passes: list[Pass], size: int) -> Iterator[list[Pass]]:
    """Passes ``size`` by ``size``, those of a single patch alone."""
    group: list[Pass] = []
    for one in passes:
        lone = len(one.columns) == 1
        if group and (lone or len(group) == size):
            yield group
            group = []
        if lone:
            yield [one]
        else:
            group.append(one)
    if group:
        yield group


def _lay(strip: NDArray[Any], pixels: NDArray[Any], one: Pass, blank: float) -> None:
    """Lay the patches of a pass side by side, each row an item; ``pixels`` are ``(n, lines, m, width)``."""
    width = pixels.shape[-1]
    if one.step == width:
        strip[:, :, : one.first] = blank
        strip[:, :, one.stop :] = blank
    else:
        strip.fill(blank)
    items = items_of(pixels)
    windows: NDArray[Any] = np.ndarray(
        (*strip.shape[:2], strip.shape[2] - width + 1), items.dtype, strip, strides=(*strip.strides[:2], strip.itemsize)
    )
    windows[:, :, slice(one.first, one.stop - width + 1, one.step) if one.step else one.columns] = items[:, :, one.index]
