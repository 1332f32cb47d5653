"""Contact sheets: as many patches as fit, as large as fits, each with its number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.pictures.contact import contact_sheet, sheet_layout
from patchcli.pictures.raster import Raster, fit
from tests.helpers.drawn import recorded
from tests.helpers.rasters import PAGE, pixels_of, raster_of, rasters

sides = st.integers(1, 3000)


@given(
    st.integers(0, 10**7),
    st.tuples(sides, sides),
    st.tuples(st.integers(240, 1400), st.integers(320, 1900)),
    st.integers(0, 4),
)
def test_what_a_sheet_holds_is_drawn_as_it_is(count: int, patch: tuple[int, int], max_size: tuple[int, int], lines: int) -> None:
    held, place = sheet_layout(count, patch, max_size, lines=lines)
    assert held == count or 1 <= held < count
    shrink = fit(patch, place)[0]
    small = -(-patch[0] // shrink), -(-patch[1] // shrink)
    again, room = sheet_layout(held, small, max_size, lines=lines)
    assert again == held
    assert not held or fit(small, room)[0] == 1


@settings(max_examples=60)
@given(st.lists(rasters((30, 30)), max_size=30), st.booleans(), st.integers(0, 10**8), st.text(max_size=90))
def test_any_patches(patches: list[Raster], known: bool, first: int, title: str) -> None:
    numbers = [first + 7 * number for number in range(len(patches))]
    origins = [(number, -number) for number in numbers] if known else None
    with recorded() as canvases:
        picture = contact_sheet(patches, numbers=numbers, origins=origins, title=title, max_size=PAGE)
    canvases[0].check()
    assert picture.shape[0] <= PAGE[0]
    assert picture.shape[1] <= PAGE[1]


def test_a_full_sheet() -> None:
    held, place = sheet_layout(5000, (100, 130), PAGE)
    shrink = fit((100, 130), place)[0]
    patches = [raster_of(pixels_of(n, (-(-100 // shrink), -(-130 // shrink)), "u2")) for n in range(held)]
    with recorded() as canvases:
        contact_sheet(patches, numbers=range(held), origins=None, title="a", max_size=PAGE)
    canvases[0].check()
    assert {str(number) for number in range(held)} <= set(canvases[0].words)
    with recorded() as canvases:
        contact_sheet(patches * 9, numbers=range(9 * held), origins=None, title="a", max_size=PAGE)
    assert f"and {8 * held} patches more" in canvases[0].said


def test_patches_and_words_are_in_order() -> None:
    patches = [raster_of(np.full((8, 8), 40 * number, np.uint8)) for number in range(5)]
    with recorded() as canvases:
        picture = contact_sheet(
            patches, numbers=[3, 5, 7, 9, 11], origins=[(n, -n) for n in range(5)], title="", max_size=(600, 700)
        )
    canvas = canvases[0]
    assert canvas.words == [f"{3 + 2 * n}: x={-n} y={n}" for n in range(5)]
    for number, (top, left, _, _) in enumerate(canvas.texts):
        assert (picture[top - 60 : top - 2, left + 2 : left + 60] == 40 * number).all()


def test_smaller_patches_are_drawn_at_the_scale_of_the_others() -> None:
    patches = [raster_of(np.full(shape, 9, np.uint8)) for shape in ((20, 20), (20, 3), (2, 20))]
    picture = contact_sheet(patches, numbers=[0, 1, 2], origins=None, title="", max_size=(600, 900))
    scale = fit((20, 20), sheet_layout(3, (20, 20), (600, 900))[1])[1]
    assert ((picture == 9).all(axis=2)).sum() == scale**2 * (400 + 60 + 40)


def test_no_patches() -> None:
    with recorded() as canvases:
        contact_sheet([], numbers=[], origins=None, title="stack.npz", max_size=PAGE)
    assert canvases[0].words == ["stack.npz", "no patches"]
    assert sheet_layout(0, (8, 8), PAGE)[0] == 0


def test_patches_share_their_tones() -> None:
    patches = [raster_of(np.full((8, 8), value, np.float32)) for value in (0.5, 1.5, np.nan)]
    with recorded() as canvases:
        picture = contact_sheet(patches, numbers=[0, 1, 2], origins=None, title="", max_size=PAGE)
    assert "0.5 1.5 NaN or infinite" in canvases[0].said
    tops = [(top - 9, left + 3) for top, left, _, _ in canvases[0].texts[-3:]]
    assert [picture[place].tolist() for place in tops] == [[0, 0, 0], [255, 255, 255], [255, 0, 200]]


def test_small_sheets_are_refused() -> None:
    with pytest.raises(PatchcliError, match=r"^a picture of width=100 height=100 is too small to be drawn"):
        sheet_layout(9, (8, 8), (100, 100))
