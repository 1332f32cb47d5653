"""Pages of a TIFF: which directories count, planes without one, and what is said of their axes."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images.source import open_image
from tests.helpers.pictures import picture

PLANES = np.stack([picture("u2", 1, 40, 50) + number for number in range(6)])


def written(image: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def check_pages(data: bytes, planes: NDArray[Any], axes: str | None = None) -> None:
    """All planes are pages, in their order, in windows too, and none is behind them."""
    for number, plane in enumerate(planes):
        image = open_image(io.BytesIO(data), page=number)
        assert (image.pages, image.metadata.axes) == (len(planes), axes)
        assert np.array_equal(image.read((3, 21), (5, 40)), plane[3:21, 5:40])
        assert np.array_equal(image.read((0, 40), (0, 50)), plane)
    with pytest.raises(PatchcliError, match=f"^has no page {len(planes)}; it has {len(planes)}, counted from 0$"):
        open_image(io.BytesIO(data), page=len(planes))


@pytest.mark.parametrize("bigtiff", [False, True])
def test_directories_are_pages(bigtiff: bool) -> None:
    check_pages(written(PLANES, photometric="minisblack", metadata=None, bigtiff=bigtiff), PLANES)
    check_pages(written(PLANES, photometric="minisblack", compression="deflate", byteorder=">", bigtiff=bigtiff), PLANES)


@pytest.mark.parametrize("options", [{"truncate": True}, {"truncate": True, "byteorder": "<"}, {}, {"compression": "deflate"}])
def test_planes_of_imagej_are_pages(options: dict[str, Any]) -> None:
    data = written(PLANES, imagej=True, **options)
    whole = tifffile.TiffFile(io.BytesIO(data))
    assert len(whole.pages) == (1 if options.get("truncate") else 6)
    check_pages(data, PLANES, whole.series[0].axes)


@pytest.mark.parametrize("axes", ["TCYX", "TZYX", "ZCYX"])
def test_axes_of_hyperstacks_are_those_that_tifffile_knows(axes: str) -> None:
    stack = PLANES.reshape(2, 3, 40, 50)
    for truncate in (False, True):
        data = written(stack, imagej=True, metadata={"axes": axes}, truncate=truncate)
        assert tifffile.TiffFile(io.BytesIO(data)).series[0].axes == axes
        check_pages(data, PLANES, axes)
    ome = written(stack, ome=True, photometric="minisblack", metadata={"axes": axes})
    assert tifffile.TiffFile(io.BytesIO(ome)).series[0].axes == axes
    check_pages(ome, PLANES, axes)


def test_colour_planes_are_pages_of_three_channels() -> None:
    stack = np.stack([picture("u1", 3, 40, 50) ^ number for number in range(4)])
    check_pages(written(stack, imagej=True, metadata={"axes": "ZYXS"}), stack, "ZYXS")
    check_pages(written(stack, ome=True, photometric="rgb", metadata={"axes": "TYXS"}), stack, "TYXS")


def test_planes_of_a_truncated_stack_of_tifffile_are_pages() -> None:
    data = written(PLANES, photometric="minisblack", truncate=True, metadata={"axes": "TYX"})
    assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1
    check_pages(data, PLANES, "TYX")


@pytest.mark.parametrize(("column", "axes"), [(0, "ZYX"), (3, "TYX"), (4, "IYX")])
def test_planes_of_metamorph_are_pages(column: int, axes: str) -> None:
    file = io.BytesIO()
    values = np.zeros(6 * 6, np.uint32)
    values[1::6] = 1  # of a distance in z, as a fraction
    values[column::6] = range(1, 7)
    tags: list[Any] = [(33628, 4, 2, (60000, 0), True), (33629, 4, 36, tuple(int(value) for value in values), True)]
    tifffile.imwrite(file, PLANES[0], photometric="minisblack", metadata=None, extratags=tags, rowsperstrip=40)
    data = file.getvalue()
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    place = page.tags[33629].offset
    changed = data[: place + 2] + struct.pack("<HI", 5, 6) + data[place + 8 :]  # six values a plane, told as fractions
    assert page.dataoffsets[0] + page.nbytes == len(data)
    check_pages(changed + PLANES[1:].tobytes(), PLANES, axes)


def test_smaller_copies_and_masks_are_no_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        options: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
        out.write(PLANES[0][::4, ::4], subfiletype=1, **options)
        out.write(PLANES[0], **options, subifds=2)
        out.write(PLANES[0][::2, ::2], subfiletype=1, **options)
        out.write(PLANES[0][::4, ::4], subfiletype=1, **options)
        out.write(PLANES[1], **options)
        out.write(PLANES[1] > 5, subfiletype=4, **options)
        out.write(PLANES[1][::2, ::2], subfiletype=1, **options)
        out.write(PLANES[2], subfiletype=2, **options)  # one page of several
    check_pages(file.getvalue(), PLANES[:3])


def test_the_older_tag_for_smaller_copies_counts() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=">") as out:
        out.write(PLANES[0], photometric="minisblack", metadata=None)
        out.write(PLANES[1], photometric="minisblack", metadata=None, extratags=[(255, 3, 1, 2, True)])
    check_pages(file.getvalue(), PLANES[:1])


def test_a_file_of_nothing_but_smaller_copies_has_a_page() -> None:
    check_pages(written(PLANES[0], photometric="minisblack", metadata=None, subfiletype=1), PLANES[:1])


@pytest.mark.parametrize("keep", [2, 2.5])
def test_a_stack_that_is_cut_off_has_no_planes_that_are_not_there(keep: float) -> None:
    data = written(PLANES, imagej=True, truncate=True)
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    cut = data[: page.dataoffsets[0] + int(keep * page.nbytes)]
    image = open_image(io.BytesIO(cut))
    assert image.pages == np.ceil(keep)
    assert np.array_equal(open_image(io.BytesIO(cut), page=1).pixels(), PLANES[1])
    with pytest.raises(PatchcliError, match="is truncated" if keep > 2 else "has no page 2; it has 2, counted from 0"):
        open_image(io.BytesIO(cut), page=2)


@pytest.mark.parametrize("text", ["images=99999999999999999", "images=-5", "channels=0", "slices=1e9", "frames=" + "9" * 5000])
def test_hostile_numbers_of_planes_are_bounded_by_the_file(text: str) -> None:
    said = f"ImageJ=1.11a\nimages=6\n{text}\n"
    image = open_image(io.BytesIO(written(PLANES[0], description=said, metadata=None, photometric="minisblack")))
    assert 1 <= image.pages <= 2
    assert np.array_equal(image.pixels(), PLANES[0])


@pytest.mark.parametrize("text", ['DimensionOrder="XYZ" SizeZ="9999"', 'SizeC="x"', 'DimensionOrder="&lol;"', 'SizeT="0"', ""])
def test_odd_descriptions_of_ome_change_no_pixel(text: str) -> None:
    said = f'<OME xmlns="x"><Image><Pixels {text} SizeX="50"></Pixels></Image></OME>'
    image = open_image(io.BytesIO(written(PLANES[0], description=said, metadata=None, photometric="minisblack")))
    assert image.pages == 1
    assert np.array_equal(image.pixels(), PLANES[0])


def chain(places: list[int], size: int) -> bytes:
    """A file whose directories, of no tags, lie at some places in this order, and end with the first again."""
    data = bytearray(size)
    data[:8] = b"II*\0" + struct.pack("<I", places[0])
    for place, after in zip(places, [*places[1:], places[0]], strict=True):
        data[place : place + 6] = struct.pack("<HI", 0, after)
    return bytes(data)


def test_a_circle_of_directories_ends() -> None:
    first = bytearray(written(PLANES[:3], photometric="minisblack", metadata=None))
    pages = tifffile.TiffFile(io.BytesIO(first)).pages
    places = [pages[number].offset for number in range(3)]
    after = places[2] + 2 + 12 * len(pages.first.tags)
    first[after : after + 4] = struct.pack("<I", places[1])
    check_pages(bytes(first), PLANES[:3])
    with pytest.raises(PatchcliError, match="no dtype"):
        open_image(io.BytesIO(chain([8, 20], 40)))


class Chained(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def test_a_long_chain_of_directories_is_counted_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one = written(PLANES[0][:2, :2], photometric="minisblack", metadata=None)
    page = tifffile.TiffFile(io.BytesIO(one)).pages.first
    after = page.offset + 2 + 12 * len(page.tags)
    start = len(one) + len(one) % 2
    places = list(range(start, start + 6 * 50_000, 6))
    data = bytearray(one + b"\0" * (len(one) % 2) + chain(places, 6 * 50_000 + start)[start:])
    data[after : after + 4] = struct.pack("<I", start)
    data[places[-1] + 2 : places[-1] + 6] = bytes(4)
    file = Chained(data)
    image = open_image(file)
    assert file.reads < 60  # they are counted when that is asked for
    assert image.pages == 50_001
    monkeypatch.setattr("patchcli.images.tiff_pages.MOST_DIRECTORIES", 1000)
    assert open_image(io.BytesIO(data)).pages == 1000


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_frames_are_pages(name: str) -> None:
    file = io.BytesIO()
    frames = [PIL.Image.fromarray(np.full((5, 6, 3), value, np.uint8)) for value in (10, 120, 200)]
    frames[0].save(file, name, save_all=True, append_images=frames[1:], lossless=True)
    image = open_image(file, page=1)
    assert image.pages == 3
    assert np.unique(image.pixels()).tolist() == [120]
    assert image.pages == 3


class Counted(io.BufferedReader):
    """A file that counts how often it is read from."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def reads_of(path: Path, page: int) -> int:
    """How often a file is read from for a page of it."""
    with Counted(io.FileIO(path)) as file:
        image = open_image(file, page=page)
        assert image.pages == 300
        assert np.unique(image.pixels()).tolist() == [page]
        return file.reads


def test_a_page_far_behind_costs_no_more_than_one_near_once_the_file_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages = np.broadcast_to(np.arange(300, dtype="u2")[:, None, None], (300, 8, 8))
    path.write_bytes(written(pages, photometric="minisblack", metadata=None, compression="deflate"))
    assert reads_of(path, 0) > 300
    assert reads_of(path, 299) == reads_of(path, 150) == reads_of(path, 2) < 60
    path.write_bytes(written(pages[::-1], photometric="minisblack", metadata=None, compression="deflate", byteorder=">"))
    with path.open("rb") as file:  # another file of the same name
        assert np.unique(open_image(file, page=298).pixels()).tolist() == [1]


def test_pages_asked_for_one_after_the_other_walk_on_from_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(written(np.zeros((300, 8, 8), "u1"), photometric="minisblack", metadata=None, compression="deflate"))
    with Counted(io.FileIO(path)) as file:
        for page in range(300):
            open_image(file, page=page)
        assert file.reads < 300 * 60
        file.reads = 0
        with pytest.raises(PatchcliError, match=r"^has no page 300; it has 300, counted from 0$"):
            open_image(file, page=300)
        assert file.reads < 60
