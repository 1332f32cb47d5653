"""How many tasks are sent at once: little work, none that the others wait for at the end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.batch.chunking import MOST, SECONDS, SHARES, Pace


def send_all(todo: int, workers: int, seconds: float) -> list[int]:
    """Sizes of what is sent where each task takes so long; two things are under way for each worker."""
    now = 0.0
    pace = Pace(todo, workers, lambda: now)
    sizes: list[int] = []
    left = todo
    while left:
        size = min(pace.next(), left)
        assert size >= 1
        pace.sent(size)
        sizes.append(size)
        left -= size
        if len(sizes) > 2 * workers:
            done = sizes[-2 * workers - 1]
            now += done * seconds / workers
            pace.done(done)
    return sizes


@given(st.integers(1, 3000), st.integers(1, 8), st.floats(1e-6, 10))
def test_all_are_sent_and_never_more_than_a_part_of_what_is_left(todo: int, workers: int, seconds: float) -> None:
    sizes = send_all(todo, workers, seconds)
    assert sum(sizes) == todo
    left = todo
    for size in sizes:
        assert size <= max(1, min(MOST, left // (SHARES * workers)))
        left -= size


@pytest.mark.parametrize(("seconds", "size"), [(0.001, MOST), (0.01, 20), (0.05, 4), (0.2, 1), (3, 1)])
def test_what_is_sent_takes_about_so_long(seconds: float, size: int) -> None:
    sizes = send_all(5000, 2, seconds)
    assert sizes[:5] == [1] * 5  # nothing is known
    assert max(sizes) <= size
    assert math.isclose(max(sizes) * seconds, SECONDS, rel_tol=0.3) or max(sizes) in (1, MOST)


def test_slow_ones_after_fast_ones_are_soon_sent_one_by_one() -> None:
    now = 0.0
    pace = Pace(100_000, 1, lambda: now)
    for _ in range(50):
        now += 0.05
        pace.done(50)
    assert pace.next() == MOST
    for _ in range(3):
        now += 64.0
        pace.done(64)
    assert pace.next() <= 3
    for _ in range(16):
        now += 1.0
        pace.done(1)
    assert pace.next() == 1
