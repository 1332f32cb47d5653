"""Crops that are held until all were made, in memory and on disk, against an array."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import OutputError
from patchcli.jobs import crop_held
from patchcli.jobs.crop_held import HeldCrops
from patchcli.storage import local


@given(
    st.sampled_from([0, 1 << 26]),
    st.integers(1, 12),
    st.sampled_from([(3, 4), (1, 1), (4, 3, 2)]),
    st.sampled_from(["u1", "u2", "f8"]),
    st.data(),
)
def test_what_is_put_in_any_order_is_taken(
    held: int, count: int, shape: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    crops = np.arange(count * math.prod(shape)).reshape(count, *shape).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crop_held, "HELD_BYTES", held)
        room = HeldCrops(count, shape, np.dtype(dtype))
    with contextlib.closing(room):
        order = np.array(data.draw(st.permutations(range(count))))
        several = data.draw(st.integers(0, count))
        room.put(order[:several], crops[order[:several]])
        for number in order[several:].tolist():
            middle = data.draw(st.integers(0, shape[0]))
            room.put_lines(number, middle, crops[number, middle:])
            room.put_lines(number, 0, crops[number, :middle])
        wanted = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
        got: Any = room.take(wanted)
    assert got.dtype == dtype
    assert np.array_equal(got, crops[wanted])


def test_no_room_on_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crop_held, "HELD_BYTES", 0)
    monkeypatch.setattr(crop_held, "temporary_file", lambda _: open("/dev/full", "w+b"))  # noqa: SIM115  closed by what holds it
    room = HeldCrops(2, (2, 2), np.dtype("u1"))
    with pytest.raises(
        OutputError, match=r"^--boxes: cannot be kept in a temporary file in \S+: no space left on device; TMPDIR names another$"
    ):
        room.put(np.arange(2), np.zeros((2, 2, 2), "u1"))
    room.close()


@pytest.mark.parametrize("only", [None, local.NO_ROOM])
def test_only_what_writing_runs_into_is_told_of_the_temporary_file(only: frozenset[int] | None) -> None:
    with pytest.raises(OutputError, match=r"^a: cannot be kept .*: file too large; TMP"), local.keeping("a", only):
        raise OSError(27, "File too large")
    with pytest.raises(OutputError if only is None else OSError, match="nput/output error"), local.keeping("a", only):
        raise OSError(5, "Input/output error")
