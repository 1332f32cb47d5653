"""Merging by loops over pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchcli.geometry.placement import Placement
from patchcli.patches.merge import divisor_of
from patchcli.patches.normalize import Divider, Wanted
from patchcli.patches.reducers import REDUCERS, Rule, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from patchcli.geometry.grid import Grid
    from patchcli.patches.windows import Window

RULES = tuple(REDUCERS)
OF_FLOATS = tuple(name for name, reducer in REDUCERS.items() if not reducer.counts)


def mode(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """The most frequent of the values along the first axis, the smallest of several, by a dict for each place."""
    assert axis == 0
    result = np.empty(values.shape[1:], values.dtype)
    for place in np.ndindex(*result.shape):
        times: dict[Any, int] = {}
        for value in values[(slice(None), *place)].tolist():
            times[value] = times.get(value, 0) + 1
        result[place] = min(value for value in times if times[value] == max(times.values()))
    return result


REDUCE: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "sum": np.sum,
    "min": np.min,
    "max": np.max,
    "median": np.median,
    "mode": mode,
}


def reference(
    patches: NDArray[Any], origins: NDArray[np.int64], shape: tuple[int, int], reduce: str, weights: NDArray[Any] | None
) -> NDArray[np.float64]:
    """One pixel after the other, in float64; 0 where there is no patch."""
    image = np.zeros((*shape, *patches.shape[3:]))
    for place in np.ndindex(*shape):
        found = covering(patches, origins, place)
        if not found:
            continue
        values = np.array([value for value, _ in found], np.float64)
        if weights is not None:
            own = np.array([weights[inside] for _, inside in found])
            image[place] = np.tensordot(own, values, 1) / own.sum()
        else:
            image[place] = values[0] if reduce == "first" else values[-1] if reduce == "last" else REDUCE[reduce](values, axis=0)
    return image


def covering(patches: NDArray[Any], origins: NDArray[np.int64], place: tuple[int, ...]) -> list[tuple[Any, tuple[int, int]]]:
    """All values on a pixel with where they lie in their patches, in row-major order of origins."""
    found = []
    for number in sorted(range(len(patches)), key=lambda number: (*origins[number].tolist(), number)):
        row, column = (np.array(place) - origins[number]).tolist()
        if 0 <= row < patches.shape[1] and 0 <= column < patches.shape[2]:
            found.append((patches[number, row, column], (row, column)))
    return found


def streamed(reduce: str = "mean", window: Window | None = None) -> Rule:
    """The rule of a reducer that is no ranking."""
    rule = rule_of(REDUCERS[reduce], window)
    assert isinstance(rule, Rule)
    return rule


def divider_of(
    patches: NDArray[Any],
    grid: Grid,
    rule: Rule,
    *,
    origins: NDArray[np.int64] | None = None,
    wanted: Wanted | None = None,
) -> Divider:
    """What divides the sums of patches of a grid, or of those at origins, into an image of their dtype or another."""
    placement = Placement.whole_grid(grid) if origins is None else Placement.at(grid, origins)
    wanted = Wanted(patches.dtype) if wanted is None else wanted
    divisor = divisor_of(rule, placement, wanted)
    return Divider(placement, divisor, dtype=patches.dtype, channels=patches.shape[3:], wanted=wanted)
