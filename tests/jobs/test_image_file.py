"""`patchcli.open_image`: windows as numpy slices give them, of every format, from paths and open files."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchcli
from patchcli.errors import PatchcliError
from patchcli.images.formats import READABLE
from tests.helpers.pictures import HELD, encoded, picture
from tests.helpers.runs import gray, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

ends = st.none() | st.integers(-25, 25)
steps = st.sampled_from([None, 1])
slices = st.builds(slice, ends, ends, steps)
KINDS = [kind for kind in HELD if kind[0] in READABLE]


@pytest.mark.parametrize(("name", "code", "channels"), KINDS)
def test_windows_are_those_of_the_whole_image(name: str, code: str, channels: int) -> None:
    data = io.BytesIO(encoded(picture(code, channels), name))
    with patchcli.open_image(data) as image:
        whole = image.read()
        assert (image.shape, image.dtype, image.pages) == (whole.shape, whole.dtype, 1)
        assert image.metadata.channels == channels
        if name != "jpeg":
            assert np.array_equal(whole, picture(code, channels))
        for rows, columns in ((slice(3, 9), slice(0, 5)), (slice(-2, None), slice(None)), (slice(4, 2), slice(1, 3))):
            got = image.read(rows, columns)
            assert np.array_equal(got, whole[rows, columns])
            assert (got.dtype, got.shape) == (whole.dtype, whole[rows, columns].shape)
    assert not data.closed


@given(rows=slices, columns=slices)
def test_slices_mean_what_they_mean_in_numpy(rows: slice, columns: slice) -> None:
    whole = picture("u2", 3)
    with patchcli.open_image(io.BytesIO(encoded(whole, "tiff"))) as image:
        got = image.read(columns=columns, rows=rows)
    assert np.array_equal(got, whole[rows, columns])
    assert got.flags.writeable
    assert got.flags.owndata
    assert got.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_what_was_read_may_be_changed(tmp_path: Path, name: str) -> None:
    pixels = gray()
    with patchcli.open_image(str(write_image(tmp_path / name, pixels))) as image:
        image.read()[:] = 0
        assert np.array_equal(image.read(slice(2, 4)), pixels[2:4])


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ((0, 4), r"\(0, 4\)"),
        (3, "3"),
        (None, "None"),
        (slice(0, 4, 2), r"slice\(0, 4, 2\)"),
        (slice(4, 0, -1), r"slice\(4, 0, -1\)"),
        (slice(0, 4, 0), r"slice\(0, 4, 0\)"),
        (slice(0.0, 4.0), r"slice\(0.0, 4.0, None\)"),
        (slice("a"), r"slice\(None, 'a', None\)"),
    ],
)
@pytest.mark.parametrize("what", ["rows", "columns"])
def test_what_is_no_slice_is_refused(wanted: Any, shown: str, what: str) -> None:
    with patchcli.open_image(io.BytesIO(encoded(gray(), "png"))) as image:
        sentence = rf"^{what} are {shown}; give a slice of whole numbers and step 1, as in slice\(0, 512\)$"
        with pytest.raises(PatchcliError, match=sentence):
            image.read(**{what: wanted})


def test_it_is_closed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[BinaryIO] = []
    from patchcli.storage import files

    def kept(path: str) -> BinaryIO:
        opened.append(files.open_input(path))
        return opened[-1]

    monkeypatch.setattr("patchcli.jobs.image_file.open_input", kept)
    path = write_image(tmp_path / "a.png", gray())
    with patchcli.open_image(path) as image:
        assert not opened[0].closed
    with pytest.raises(ValueError, match=r"^read of a closed image file$"):
        image.read()
    other = patchcli.open_image(path)
    other.close()
    other.close()
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(PatchcliError, match="is text, not an image"):
        patchcli.open_image(tmp_path / "b.png")
    assert [file.closed for file in opened] == [True] * 3


def test_options_are_those_of_the_command_line(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", picture("u1", 4))
    with patchcli.open_image(path, color="gray") as image:
        assert image.shape == (13, 17)
    with patchcli.open_image(path, 0, color="rgb") as image:
        assert np.array_equal(image.read(), read_image(path)[..., :3])
    with pytest.raises(PatchcliError, match="so no indices"):
        patchcli.open_image(path, color="indices")
    with pytest.raises(PatchcliError, match="has no page 1"):
        patchcli.open_image(path, 1)
    with pytest.raises(PatchcliError, match=r"^color is 'grey'; allowed are None, gray, rgb, indices$"):
        patchcli.open_image(path, color=cast("Any", "grey"))
    with pytest.raises(PatchcliError, match="cannot be read: no such file or directory"):
        patchcli.open_image(tmp_path / "gone.png")
    with pytest.raises(PatchcliError, match="has 221 pixels"):
        patchcli.open_image(write_image(tmp_path / "a.png", picture("u1", 1)), max_pixels=220)


@pytest.mark.parametrize("page", ["all", None, 0.5, 1.0, True, np.True_, [1]])
def test_a_page_is_a_whole_number(page: Any) -> None:
    with pytest.raises(PatchcliError, match=rf"^page is {re.escape(repr(page))}; give a whole number from 0$"):
        patchcli.open_image(io.BytesIO(encoded(picture("u1", 1), "tiff")), page=page)


@pytest.mark.parametrize("name", ["tiff", "png", "gif"])
def test_pages_are_counted_from_0(name: str) -> None:
    file = io.BytesIO()
    frames = [PIL.Image.fromarray(np.full((5, 6), value, np.uint8)) for value in (10, 120, 200)]
    frames[0].save(file, name, **({} if name == "png" else {"save_all": True, "append_images": frames[1:]}))
    count = 1 if name == "png" else 3
    for page in (-1, -count, count):
        with pytest.raises(PatchcliError, match=rf"^has no page {page}; (it has {count}, |pages )count(ed)? from 0$"):
            patchcli.open_image(file, page=page)
    last = cast("int", np.int64(count - 1))
    assert patchcli.open_image(file, page=last).read().shape[:2] == (5, 6)


def test_errors_begin_with_the_path(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", gray())
    with pytest.raises(PatchcliError, match=rf"^{re.escape(str(path))}: has no page 1; "):
        patchcli.open_image(path, page=1)
    missing = tmp_path / "b.png"
    with pytest.raises(PatchcliError, match=rf"^{re.escape(str(missing))}: cannot be read: no such file or directory$"):
        patchcli.open_image(str(missing))
    path.write_bytes(path.read_bytes()[:-30])
    with patchcli.open_image(path) as image, pytest.raises(PatchcliError, match=rf"^{re.escape(str(path))}: is "):
        image.read()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (None, "file is None; give a path or an open binary file"),
        (3, "file is 3; give a path or an open binary file"),
        (b"a.tif", "file is b'a.tif'; give a path or an open binary file; bytes of an image go into io.BytesIO"),
        (io.StringIO("x"), "file is open for text; open it for bytes, as in open(path, 'rb')"),
    ],
)
def test_what_is_no_file_is_refused(file: Any, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=f"^{re.escape(sentence)}$"):
        patchcli.open_image(file)
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb") as pipe, pytest.raises(PatchcliError, match=r"^file cannot seek; give io.BytesIO"):
        patchcli.open_image(pipe)
