"""Text that fits where it is put."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from patchcli.pictures.canvas import TEXT_HEIGHT, Canvas, clipped, printable, text_width, wrapped

texts = st.text(max_size=60) | st.text("aW. 1", max_size=200)


@given(texts, st.integers(1, 400), st.integers(0, 4))
@example("a\x00\n\t\ud800é漢😀\u202e", 300, 2)
@example("no_space_anywhere" * 40, 200, 3)
@example("x" * 1_000_000, 300, 2)
def test_wrapped_text_is_no_wider_and_no_longer(text: str, width: int, most: int) -> None:
    lines = wrapped(text, width, most)
    assert len(lines) <= most
    assert all(text_width(line) <= max(width, 16) for line in lines)  # one letter always has a line
    whole = printable(text)
    if most > 1 and len(whole) <= width and text_width(whole) <= width:
        assert lines == ([whole] if whole else [])


@given(texts, st.integers(0, 400))
def test_clipped_text_keeps_both_ends(text: str, width: int) -> None:
    whole = printable(text)
    short = clipped(whole, width)
    assert text_width(short) <= width
    if text_width(whole) <= width:
        assert short == whole
    elif short:
        kept = len(short) - 3
        assert short == f"{whole[: kept - kept // 2]}...{whole[len(whole) - kept // 2 :]}"


def test_as_much_is_kept_as_fits() -> None:
    text = "the beginning of a long name and its end.tif"
    short = clipped(text, 150)
    assert short.startswith("the begin")
    assert short.endswith("end.tif")
    assert text_width(short) > 130
    assert wrapped("one two three four", text_width("one two three"), 2) == ["one two three", "four"]
    assert wrapped("one two three four", text_width("one two thr"), 3) == ["one two", "three four"]
    assert wrapped("one two", text_width("one"), 1) != ["one"]


def test_what_the_font_lacks_is_drawn_all_the_same() -> None:
    assert printable("Gänse\tfüße\x1b") == "Ganse\\tfuße\\x1b"
    assert "\n" not in printable("a\nb")


@given(text=texts, on_picture=st.booleans())
@example(text="jJ|_Qy" * 8, on_picture=False)
@example(text="jJ|_Qy" * 8, on_picture=True)
def test_ink_stays_where_text_is_said_to_be(text: str, on_picture: bool) -> None:
    words = clipped(printable(text), 500)
    canvas = Canvas((60, 540))
    canvas.write(words, 20, 20, on_picture=on_picture)
    marked = np.argwhere((canvas.pixels() != 255).any(axis=2))
    if not words:
        assert canvas.texts == []
        return
    top, left, bottom, right = canvas.texts[0]
    assert (top, left, bottom - top) == (20, 20, TEXT_HEIGHT)
    assert all(top - 1 <= y < bottom + 1 and left - 2 <= x < right + 2 for y, x in marked.tolist())  # a rim, where there is one
    assert not canvas.is_free((bottom - 1, right - 1, bottom, right))
    assert canvas.is_free((bottom, left, bottom + 9, right))
    assert canvas.is_free((0, 0, top, 540))


def test_outlines_lie_inside_their_box() -> None:
    canvas = Canvas((9, 9))
    canvas.outline((2, 3, 6, 8), (1, 2, 3))
    expected = np.full((9, 9, 3), 255)
    expected[2:6, 3:8] = 1, 2, 3
    expected[3:5, 4:7] = 255
    np.testing.assert_array_equal(canvas.pixels(), expected)
    canvas.outline((7, 7, 7, 7), (0, 0, 0))  # nothing is a pixel
    assert canvas.pixels()[7, 7].tolist() == [0, 0, 0]
