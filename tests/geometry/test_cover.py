"""Covers counted line by line, against boxes painted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry import cover
from patchcli.geometry.cover import BoxCover, Cover, LineCover
from tests.helpers import references

HEIGHT, WIDTH = 11, 8


def boxes(seed: int, size: tuple[int, int], most: int = 9) -> BoxCover:
    """Some boxes, a few of them twice, some of them outside."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(-6, 12, (rng.integers(0, most), 2))
    starts = np.concatenate([starts, starts[: len(starts) // 3]])
    tops, lefts = np.ascontiguousarray(starts[np.argsort(starts[:, 0])].T)
    return BoxCover(tops, lefts, size, (HEIGHT, WIDTH))


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5), st.integers(1, HEIGHT), st.integers(1, 30))
def test_boxes_are_counted_in_any_lines(seed: int, height: int, width: int, lines: int, together: int) -> None:
    one = boxes(seed, (height, width))
    expected = references.cover(np.stack([one.tops, one.lefts], 1), one.size, one.shape)
    bands = [one.lines(slice(top, min(top + lines, HEIGHT))) for top in range(0, HEIGHT, lines)]
    assert np.array_equal(np.concatenate(bands), expected)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cover, "COUNTS_TOGETHER", together)
        assert (one.uncovered, one.most) == ((expected == 0).sum(), expected.max())


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5))
def test_the_smallest_box_around_all_boxes(seed: int, height: int, width: int) -> None:
    one = boxes(seed, (height, width), 4)
    expected = one.lines(slice(0, HEIGHT))
    if not expected.any():
        with pytest.raises(PatchcliError, match=r"^no pixel is covered by a patch"):
            one.box()
        return
    rows, columns = one.box()
    assert expected[rows, columns].sum() == expected.sum()
    assert all(side.any() for side in (expected[rows.start], expected[rows.stop - 1]))
    assert all(side.any() for side in (expected[:, columns.start], expected[:, columns.stop - 1]))
    inside = one.crop(rows, columns)
    assert np.array_equal(inside.lines(slice(0, inside.shape[0])), expected[rows, columns])
    assert inside.uncovered == (expected[rows, columns] == 0).sum()


def test_many_lines_of_few_boxes_cost_nothing() -> None:
    one = BoxCover(np.array([5, 2**39]), np.array([0, 3]), (7, 9), (2**40, 12))
    assert one.uncovered == 2**40 * 12 - 2 * 7 * 9
    assert one.most == 1
    assert one.box() == (slice(5, 2**39 + 7), slice(0, 12))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.lists(st.integers(1, 5), min_size=1, max_size=9))
def test_lines_that_are_made_are_handed_on_in_any_parts(made: list[int], asked: list[int]) -> None:
    values = np.arange(sum(made) * 3.0).reshape(-1, 3)
    given = LineCover(iter(np.split(values, np.cumsum(made)[:-1])))
    line = 0
    for count in asked:
        skipped = line + count % 2
        if skipped + count > len(values):
            break
        band = given.band(slice(skipped, skipped + count))
        assert isinstance(band, Cover)
        assert np.array_equal(band.lines(slice(0, count)), values[skipped : skipped + count])
        line = skipped + count
