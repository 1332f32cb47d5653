"""Pages never leave their size, no text is cut, and what fits its room is drawn as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.pictures.legend import Legend, ramp, swatch
from patchcli.pictures.page import KINDS, Panel, arranged, lay_out, room
from patchcli.pictures.raster import fit
from tests.helpers.drawn import recorded

sizes = st.tuples(st.integers(240, 1400), st.integers(320, 1900))
words = st.text(max_size=40) | st.text("Wil 1", max_size=300)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(sorted(KINDS)), sizes, st.lists(words, max_size=4), words)
def test_a_full_page(data: st.DataObject, kind: str, max_size: tuple[int, int], lines: list[str], title: str) -> None:
    count = data.draw(st.integers(1, 3))
    own = data.draw(st.integers(0, len(lines)))
    plan = arranged(kind, max_size, panels=count, lines=own)
    shapes = [tuple(data.draw(st.integers(1, side)) for side in plan.room) for _ in range(count)]
    shapes[0] = data.draw(st.sampled_from([plan.room, shapes[0]]))
    panels = [Panel(np.full((*shape, 3), 7 * number, np.uint8), title[number:]) for number, shape in enumerate(shapes)]
    keys = data.draw(st.integers(0, 60))
    legend = Legend(
        (*tuple((swatch((9, 9, 9)), str(key)) for key in range(keys)), ("low", ramp(np.zeros((70, 3), np.uint8)), "1"))
    )
    with recorded() as canvases:
        canvas, corners = lay_out(plan, panels, legend=legend, lines=lines, title=title)
    canvases[0].check()
    assert canvas.size[0] <= max_size[0]
    assert canvas.size[1] <= max_size[1]
    pixels = canvas.pixels()
    for panel, (top, left) in zip(panels, corners, strict=True):
        height, width = panel.rgb.shape[:2]
        np.testing.assert_array_equal(pixels[top : top + height, left : left + width], panel.rgb)
        assert canvas.is_free((top, left, top + height, left + width))


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("max_size", [(240, 320), (900, 1200)])
def test_a_page_that_is_full_is_as_large_as_it_may_be(kind: str, max_size: tuple[int, int]) -> None:
    plan = arranged(kind, max_size, panels=2, lines=1)
    panels = [Panel(np.zeros((*plan.room, 3), np.uint8), "a" * 500)] * 2
    legend = Legend(tuple((swatch((9, 9, 9)), str(key)) for key in range(900)))
    with recorded() as canvases:
        canvas, _ = lay_out(plan, panels, legend=legend, lines=["word " * 999, "last"], title="title " * 999)
    canvases[0].check()
    assert canvas.size[0] == max_size[0]
    assert max_size[1] - 2 <= canvas.size[1] <= max_size[1]
    assert canvases[0].words[-1] == "last"


@given(
    st.sampled_from(sorted(KINDS)),
    sizes,
    st.integers(1, 4),
    st.integers(0, 5),
    st.tuples(st.integers(1, 40000), st.integers(1, 40000)),
)
def test_what_fits_the_room_fits_where_it_is_known(
    kind: str, max_size: tuple[int, int], panels: int, lines: int, size: tuple[int, int]
) -> None:
    for known in (None, size):
        place = room(kind, max_size, panels=panels, lines=lines, size=known)
        shrink = fit(size, place)[0]
        small = -(-size[0] // shrink), -(-size[1] // shrink)
        assert fit(small, room(kind, max_size, panels=panels, lines=lines, size=small))[0] == 1
    assert fit(size, place)[0] <= fit(size, room(kind, max_size, panels=panels, lines=lines))[0]


def test_pictures_are_arranged_by_their_shape() -> None:
    def across(size: tuple[int, int], max_size: tuple[int, int] = (900, 900)) -> int:
        return arranged("side", max_size, panels=3, size=size).across

    assert across((2000, 300)) == 3
    assert across((300, 2000)) == 1
    assert across((300, 400), (900, 1000)) == 2


def test_a_comparison_is_of_three() -> None:
    assert room("comparison", (900, 1200)) == room("comparison", (900, 1200), panels=3) != room("side", (900, 1200))


@pytest.mark.parametrize("max_size", [(239, 320), (240, 319), (0, 0)])
def test_small_pages_are_refused(max_size: tuple[int, int]) -> None:
    with pytest.raises(
        PatchcliError, match=r"^a picture of width=\d+ height=\d+ is too small to be drawn; allowed is width=320 "
    ):
        room("image", max_size)


def test_too_many_pictures_are_refused() -> None:
    assert min(room("side", (240, 320), panels=8)) >= 16
    with pytest.raises(
        PatchcliError, match=r"^90 pictures beside each other do not fit width=320 height=240; use a larger size$"
    ):
        room("side", (240, 320), panels=90)
