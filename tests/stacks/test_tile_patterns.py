"""Names of tiles by a pattern: numbers from the right, the stem is the rest."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.stacks.tile_patterns import NamePattern


@pytest.mark.parametrize(
    ("pattern", "name", "stem", "numbers"),
    [
        ("{stem}-{x}-{y}.png", "poster-064-128.png", "poster", (128, 64)),
        ("{stem}-{x}-{y}.png", "a-1-2-3.png", "a-1", (3, 2)),
        ("{stem}_{row+1}_{col+1}.tif", "big_01_12.tif", "big", (0, 11)),
        ("{stem}{patch}.png", "img2007.png", "img", (2007,)),
        ("im_{patch}.png", "im_12.png", "", (12,)),
        ("{col}_{row}", "3_4.jpeg", "", (4, 3)),
        ("{row}-{stem}-{col}.png", "3-a-b-4.png", "a-b", (3, 4)),
        ("{stem}/{row+1}/{col+1}.png", "a/01/02.png", "a", (0, 1)),
        ("{row}.{col}.png", "0.0.png", "", (0, 0)),
        ("{{{stem}}}-{patch}.png", "{a}-1.png", "a", (1,)),
        ("{stem}-{patch}.png", f"a-{'0' * 30}7.png", "a", (7,)),
        ("{stem}-{patch}.png", f"a-{'9' * 12}.png", "a", (10**12 - 1,)),
    ],
)
def test_a_name_says_whose_tile_it_is_and_where(pattern: str, name: str, stem: str, numbers: tuple[int, ...]) -> None:
    assert NamePattern(pattern).match(name) == (stem, numbers)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{stem}-{x}-{y}.png", "poster-1.png"),
        ("{stem}-{x}-{y}.png", "-1-2.png"),
        ("{stem}-{x}-{y}.png", "poster-1-2.tif"),
        ("{stem}-{x}-{y}.png", "poster-1-b.png"),
        ("{stem}-{x}-{y}.png", "poster-1-٣.png"),
        ("{stem}-{x}-{y}.png", f"poster-{10**12}.png"),
        ("im_{patch}.png", "my-im_1.png"),
        ("{col}_{row}", "3_4.txt"),
        ("{row}-{stem}-{col}.png", "3-4.png"),
        ("{row}/{col}.png", "4.png"),
    ],
)
def test_a_name_that_does_not_match(pattern: str, name: str) -> None:
    assert NamePattern(pattern).match(name) is None


@pytest.mark.parametrize(
    ("pattern", "name", "sentence"),
    [
        ("{stem}-{x}-{y}.png", f"poster-1-{10**12}.png", "has y of more than 12 digits; no number of a tile is that large"),
        ("{stem}-{x}-{y}.png", f"poster-{10**13}-1.png", "has x of more than 12 digits"),
        ("{row+1}_{col+1}.png", "1_00.png", r"has col=0, and \{col\+1\} counts from 1; write \{col\}, which counts from 0"),
    ],
)
def test_a_number_that_is_none_of_a_tile_is_refused(pattern: str, name: str, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        NamePattern(pattern).match(name)


@pytest.mark.parametrize(
    "pattern",
    [
        "tile.png",
        "{x}.png",
        "{x}-{row}.png",
        "{row}-{row+1}.png",
        "{row}-{col}-{patch}.png",
        "{stem}-{stem}-{patch}.png",
        "{patch+1}.png",
        "{name}-{patch}.png",
        "{patch}{.png",
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatchcliError, match="is no pattern of names; write"):
        NamePattern(pattern)


@pytest.mark.parametrize("pattern", ["{row}{col}.png", "v2{patch}.png", "{patch}0.png"])
def test_numbers_of_which_nobody_can_tell_the_ends_are_refused(pattern: str) -> None:
    with pytest.raises(PatchcliError, match="has a number right beside"):
        NamePattern(pattern)


text = st.text(st.characters(exclude_categories=("Nd", "Cs"), exclude_characters="{}/\0"), max_size=5)


@given(
    text.filter(bool), text, text.filter(bool), st.integers(0, 10**11), st.integers(0, 10**11), st.integers(0, 12), st.booleans()
)
def test_what_a_pattern_makes_it_matches(
    stem: str, before: str, between: str, row: int, column: int, width: int, first: bool
) -> None:
    plus = "+1" * first
    pattern = NamePattern(f"{before}{{stem}}_{{row{plus}}}{between}{{col{plus}}}.png")
    name = f"{before}{stem}_{row + first:0{width}}{between}{column + first:0{width}}.png"
    assert pattern.match(name) == (stem, (row, column))
    assert pattern.in_words((row, column)) == f"row={row + first} col={column + first}"


def test_a_long_name_takes_no_long_time() -> None:
    begun = time.perf_counter()
    assert NamePattern("{stem}-{x}-{y}.png").match("1-" * 500_000 + ".png") is None
    assert NamePattern("{stem}{x}-{y}.png").match("1" * 500_000 + "-1.png") is None
    assert time.perf_counter() - begun < 1
