"""The index of tile files: what is written is read, and what is not one is refused."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.stacks.header import Meta
from patchcli.stacks.tile_index import check_tile_name, first_line, read_index, tile_line

META = Meta(Grid((100, 130), 64, edge="clip"), (3,), np.dtype("u2"))


def index_of(*lines: bytes, first: bytes | None = None) -> io.BytesIO:
    return io.BytesIO((first_line(META) if first is None else first) + b"".join(lines))


names = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=9).filter(
    lambda name: ".." not in name.split("/") and name[0] != "/" and name[-1] != "/"
)
numbers = st.integers(0, 2**48 - 1)


@given(st.lists(st.tuples(names, numbers, numbers), unique_by=(lambda one: one[0], lambda one: one[1:])))
def test_what_is_written_is_read(tiles: list[tuple[str, int, int]]) -> None:
    read = read_index(index_of(*(tile_line(*tile) for tile in tiles)))
    assert read.meta == META
    assert read.files == [name for name, _, _ in tiles]
    assert read.places.tolist() == [[y, x] for _, y, x in tiles]
    assert read.places.dtype == np.dtype(np.int64)
    assert read.places.shape == (len(tiles), 2)


def test_a_line_is_json_with_a_name_and_two_numbers() -> None:
    assert json.loads(tile_line("a/b-é.png", 3, 70)) == {"file": "a/b-é.png", "x": 70, "y": 3}
    assert json.loads(first_line(META))["format"] == "patchcli.stack"


def test_names_that_are_no_text_come_back() -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    assert read_index(index_of(tile_line(name, 0, 0))).files == [name]


GOOD = tile_line("a.png", 0, 0)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (io.BytesIO(b""), "is not an index of tiles: its first line is not the meta of a stack"),
        (io.BytesIO(b"\x89PNG\r\n"), "is not an index of tiles"),
        (io.BytesIO(b"{}\n"), "has format=null in its meta"),
        (io.BytesIO(b"{" + b"9" * (1 << 24) + b"\n"), "is not an index of tiles"),
        (index_of(GOOD, b'{"file": "b.png", "x": 1'), "ends within a line, so it was not finished"),
        (index_of(first=first_line(META)[:-1]), "ends within a line"),
        (index_of(GOOD, b"\n"), "line 3 is '', not a tile"),
        (index_of(b"[1, 2]\n"), r"line 2 is '\[1, 2\]', not a tile"),
        (index_of(b"[" * 10_000 + b"\n"), "line 2 is .*, not a tile"),
        (index_of(b'{"file": "' + b"a" * (1 << 16) + b'", "x": 0, "y": 0}\n'), "line 2 is .*, not a tile"),
        (index_of(b'{"x": 0, "y": 0}\n'), "line 2 has file=null; allowed is a name"),
        (index_of(b'{"file": "a.png", "x": 1.0, "y": 0}\n'), "line 2 has x=1.0; allowed are whole numbers"),
        (index_of(b'{"file": "a.png", "x": true, "y": 0}\n'), "line 2 has x=true"),
        (index_of(b'{"file": "a.png", "x": 0, "y": -1}\n'), "line 2 has y=-1"),
        (index_of(GOOD, b'{"file": "b.png", "x": 0, "y": 281474976710656}\n'), "line 3 has y=281474976710656"),
        (index_of(b'{"file": "a.png", "x": 0}\n'), "line 2 has y=null"),
        (index_of(GOOD, tile_line("b.png", 0, 64), GOOD), "line 4 names 'a.png', as line 2 does"),
        (
            index_of(tile_line("c.png", 9, 64), GOOD, tile_line("b.png", 9, 0), tile_line("d.png", 9, 64)),
            "line 5 has x=64 y=9, as line 2 does; each tile has a place of its own",
        ),
        (
            index_of(GOOD, tile_line("../x.png", 0, 64)),
            r"line 3 names the file '\.\./x\.png'; allowed are files below the folder",
        ),
    ],
)
def test_what_is_no_index_is_refused(file: io.BytesIO, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        read_index(file)


@pytest.mark.parametrize("name", ["", "/etc/x.png", "../x.png", "a/../../x.png", "a/..", "a\0.png", "a/", "a" * 5000])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(PatchcliError, match="allowed are files below the folder of the index"):
        check_tile_name(name)


@pytest.mark.slow
def test_time_grows_as_the_index_does() -> None:
    def seconds(count: int) -> float:
        file = index_of(*(tile_line(f"{number}.png", number, 0) for number in range(count)))
        begun = time.perf_counter()
        read_index(file)
        return time.perf_counter() - begun

    assert min(seconds(100_000) for _ in range(3)) < 20 * min(seconds(10_000) for _ in range(3))
