"""Boxes in fractions of an image, and sizes inside other sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from patchcli.geometry.box import WHOLE, fraction_box, size_within

SIDES = st.integers(1, 30_000)


@given(length=st.tuples(SIDES, SIDES), data=st.data(), digits=st.integers(6, 17))
def test_whole_pixels_come_back_from_fractions_of_six_decimals(length: tuple[int, int], data: st.DataObject, digits: int) -> None:
    ends = [sorted(data.draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for side in (length[1], length[0])]
    numbers = [(first + last) / 2 / side for (first, last), side in zip(ends, length[::-1], strict=True)]
    numbers += [(last - first) / side for (first, last), side in zip(ends, length[::-1], strict=True)]
    cx, cy, width, height = (float(f"{number:.{digits}f}") for number in numbers)
    (left, right), (top, bottom) = ends
    assert fraction_box((cx, cy, width, height), length) == (left, top, right - left, bottom - top)


def test_edges_between_pixels_stay_there() -> None:
    assert fraction_box((0.5, 0.5, 0.5, 0.25), (10, 10)) == (2.5, 3.75, 5.0, 2.5)
    assert fraction_box((0.25002, 0.5, 0.5, 1.0), (100, 100)) == ((0.25002 - 0.25) * 100, 0, 50, 100)
    assert fraction_box(WHOLE, (7, 9)) == (0, 0, 9, 7)


@given(size=st.tuples(SIDES, SIDES), most=st.tuples(SIDES, SIDES))
def test_the_largest_size_inside_another_keeps_its_shape(size: tuple[int, int], most: tuple[int, int]) -> None:
    found = size_within(size, most)
    if found is None:
        assert size[0] <= most[0]
        assert size[1] <= most[1]
        return
    assert all(1 <= side <= limit for side, limit in zip(found, most, strict=True))
    assert any(side == limit for side, limit in zip(found, most, strict=True))  # a larger one would not fit
    by = min(most[0] / size[0], most[1] / size[1])
    assert all(abs(side - max(1, own * by)) <= 0.5 + 1e-9 * own for side, own in zip(found, size, strict=True))
