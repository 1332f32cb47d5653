"""Where patches come from: the inside of others, in whatever pieces and order they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patchcli.patches import sources
from patchcli.patches.planes import Plane, offsets
from patchcli.patches.sources import InMemory, Inside, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

WHOLE = np.random.default_rng(0).integers(0, 256, (23, 7, 9, 2), np.uint8)
USED = WHOLE[:, 2:-2, 2:-2]


class Told:
    """Patches in memory, which note how many are asked for at once; as planes where ``by_plane`` says so."""

    by_number = True

    def __init__(self, *, by_plane: bool = False) -> None:
        self.shape, self.dtype, self.by_plane = WHOLE.shape, WHOLE.dtype, by_plane
        self.asked: list[int] = []

    def patches(self, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
        for piece in InMemory(WHOLE).patches(counts):
            self.asked.append(len(piece))
            yield piece

    def planes(self) -> Iterator[Plane] | None:
        if not self.by_plane:
            return None
        return (Plane(offset, np.moveaxis(WHOLE, 0, -1)[offset]) for offset in offsets(WHOLE.shape[1:], "C"))

    def picker(self) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
        def pick(numbers: NDArray[np.int64]) -> NDArray[Any]:
            self.asked.append(len(numbers))
            return np.asarray(WHOLE[numbers])

        return pick


def test_all_of_a_patch_is_the_source_itself() -> None:
    source = InMemory(WHOLE)
    assert inside(source, (7, 9)) is source
    assert inside(source, (3, 5)).shape == USED.shape


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_pieces_hold_few_whole_patches(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FOLD_BYTES", at_once * WHOLE[0].nbytes)
    told = Told()
    pieces = list(Inside(told, (3, 5)).patches(iter([10, 0, 1, 12])))
    assert [len(piece) for piece in pieces] == [10, 0, 1, 12]
    assert np.array_equal(np.concatenate(pieces), USED)
    assert max(told.asked) <= at_once
    assert sum(told.asked) == len(WHOLE)


@pytest.mark.parametrize("by_plane", [False, True])
def test_patches_are_picked_by_number(by_plane: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes are all read for each call, so that all patches are asked for by one."""
    monkeypatch.setattr(sources, "FOLD_BYTES", 3 * WHOLE[0].nbytes)
    told = Told(by_plane=by_plane)
    pick = Inside(told, (3, 5)).picker()
    for numbers in (np.array([5, 2, 22, 0, 7, 7, 1]), np.array([3]), np.array([], int)):
        assert np.array_equal(pick(numbers), USED[numbers])
    assert max(told.asked) == (7 if by_plane else 3)


def test_planes_inside() -> None:
    assert Inside(Told(), (3, 5)).planes() is None
    planes = Inside(Told(by_plane=True), (3, 5)).planes()
    assert planes is not None
    got = {offset: values for offset, values, _ in planes}
    assert list(got) == list(offsets(USED.shape[1:], "C"))
    assert all(np.array_equal(values, np.moveaxis(USED, 0, -1)[offset]) for offset, values in got.items())
