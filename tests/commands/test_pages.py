"""Files that hold several pages: each an image of its own, or all of them the channels of one; through real processes."""

from __future__ import annotations

import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from patchcli import read_stack
from patchcli.images.metadata import Metadata
from patchcli.images.sink import Encoding, note_of, write_lines
from tests.helpers.runs import Run, gray, read_image, refused, tree, untouched, write_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

COUNT = 5
CUT = ("-s", 8, "--edge", "pad")


def planes(count: int = COUNT, dtype: str = "u2") -> NDArray[Any]:
    """Gray pages ``(count, 20, 30)``, no two alike."""
    return np.stack([gray(dtype=dtype, seed=seed) for seed in range(count)])


def write_gif(path: Path, frames: NDArray[Any]) -> None:
    first, *others = [PIL.Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others, disposal=1)


WRITERS: dict[str, Callable[[Path, NDArray[Any]], object]] = {
    "plain.tif": lambda path, pages: tifffile.imwrite(path, pages, photometric="minisblack", metadata=None),
    "shaped.tif": lambda path, pages: tifffile.imwrite(path, pages, photometric="minisblack"),
    "tiled.tif": lambda path, pages: tifffile.imwrite(
        path, pages, photometric="minisblack", metadata=None, tile=(16, 16), compression="zlib"
    ),
    "imagej.tif": lambda path, pages: tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"}),
    "channels.ome.tif": lambda path, pages: tifffile.imwrite(path, pages, metadata={"axes": "CYX"}),
    "frames.gif": lambda path, pages: write_gif(path, pages.astype(np.uint8)),
}


@pytest.fixture
def pages(tmp_path: Path) -> NDArray[Any]:
    """The pages of ``a.tif``."""
    made = planes()
    WRITERS["plain.tif"](tmp_path / "a.tif", made)
    return made


def words(line: str) -> list[str]:
    return line.split()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def shown(patches: NDArray[Any]) -> NDArray[Any]:
    """A page of a stack of all patches of 8 pixels of a page of 20 rows and 30 columns."""
    rows = patches.reshape(3, 4, 8, 8, *patches.shape[3:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])[:20, :30]


@pytest.mark.parametrize("name", WRITERS)
def test_each_page_is_an_image_of_its_own(patchcli: Run, tmp_path: Path, name: str) -> None:
    expected = planes()
    WRITERS[name](tmp_path / name, expected)
    ran = patchcli("extract", name, *CUT, "--page", "all", "-d", "d")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(tree(tmp_path / "d")) == [f"{name}.p{number:04}.npz" for number in range(COUNT)]
    for number in range(COUNT):
        stack = read_stack(tmp_path / "d" / f"{name}.p{number:04}.npz")
        found = shown(np.asarray(stack.patches))
        assert np.array_equal(found if found.ndim == 2 else found[:, :, 0], expected[number].astype(found.dtype))
        assert stack.meta.source.page == number
    ran = patchcli("merge", "d", "-d", "back")
    assert (ran.returncode, ran.stderr) == (0, b"")
    suffix = "png" if name.endswith("gif") else "tif"
    assert sorted(tree(tmp_path / "back")) == [f"d/{name}.p{number:04}.{suffix}" for number in range(COUNT)]


@pytest.mark.usefixtures("pages")
def test_a_page_among_others_is_the_page_alone(patchcli: Run, tmp_path: Path) -> None:
    assert patchcli("extract", "a.tif", *CUT, "--page", "1-3", "-d", "d").returncode == 0
    assert patchcli("extract", "a.tif", *CUT, "--page", "1-3", "-j", 2, "-d", "two").returncode == 0
    assert patchcli("extract", "a.tif", *CUT, "--page", "1-3", "-o", "o/{stem}/{page}.npz").returncode == 0
    for number in (1, 2, 3):
        assert patchcli("extract", "a.tif", *CUT, "--page", number, "-o", f"alone/a.tif.p{number:04}.npz").returncode == 0
    alone = tree(tmp_path / "alone")
    assert tree(tmp_path / "d") == tree(tmp_path / "two") == alone
    assert sorted(tree(tmp_path / "o")) == ["a/0001.npz", "a/0002.npz", "a/0003.npz"]
    assert sorted(tree(tmp_path / "o").values()) == sorted(alone.values())
    assert patchcli("extract", "a.tif", *CUT, "--page", "2-2", "-d", "one").returncode == 0
    assert tree(tmp_path / "one") == {"a.tif.p0002.npz": alone["a.tif.p0002.npz"]}


def test_crops_of_pages(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    ran = patchcli("crop", "a.tif", "--box", 3, 2, 9, 7, "--page", "all", "-d", "d")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(tree(tmp_path / "d")) == [f"a.tif.p{number:04}.tif" for number in range(COUNT)]
    for number, page in enumerate(pages):
        assert np.array_equal(read_image(tmp_path / "d" / f"a.tif.p{number:04}.tif"), page[2:9, 3:12])
    write_gif(tmp_path / "b.gif", pages.astype(np.uint8))
    assert patchcli("crop", "b.gif", "--box", 3, 2, 9, 7, "--page", "0-1", "-d", "g").returncode == 0
    assert sorted(tree(tmp_path / "g")) == ["b.gif.p0000.png", "b.gif.p0001.png"]
    assert patchcli("crop", "a.tif", "--box", 3, 2, 9, 7, "--page", "0-1", "--image-format", "png", "-d", "p").returncode == 0
    assert sorted(tree(tmp_path / "p")) == ["a.tif.p0000.png", "a.tif.p0001.png"]


def test_a_template_is_fitted_to_each_page(patchcli: Run, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40.0), 2 * np.arange(60.0)) + 40 * np.sin(
        np.multiply.outer(np.arange(40), np.arange(60)) / 90
    )
    WRITERS["plain.tif"](tmp_path / "s.tif", np.stack([smooth, 2 * smooth + 3]).astype(np.float32))
    tifffile.imwrite(tmp_path / "part.tif", smooth[10:26, 20:44].astype(np.float32))
    ran = patchcli("crop", "s.tif", "--fit", "part.tif", "--box", 21, 11, 24, 16, "--page", "0-1", "-d", "d", "--fit-report", "f")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(one["input"], one["page"]) for one in found] == [("s.tif", 0), ("s.tif", 1)]
    assert found[0]["converged"]
    assert {(step["input"], step["page"]) for step in records(tmp_path / "f")} == {("s.tif", 0), ("s.tif", 1)}


# -- pages that there are not ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages")
def test_pages_that_a_file_lacks_are_one_line(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", gray())
    (tmp_path / "c.png").write_bytes(b"no image")
    line = words("extract a.tif b.png c.png nothing.tif -s 8 --page 3-9 -d d --report r.jsonl")
    ran = patchcli(*line)
    assert ran.returncode == 1
    assert ran.stderr.decode().splitlines() == [
        "patchcli: a.tif page 5: has no page 5; it has 5, counted from 0",
        "patchcli: b.png: has no page 3; it has 1, counted from 0",
        "patchcli: c.png: is text, not an image that patchcli reads (PNG, TIFF, JPEG, WEBP, BMP, PGM, PPM, PBM, PNM, GIF, NPY)",
        "patchcli: nothing.tif: cannot be read: no such file or directory",
    ]
    assert sorted(tree(tmp_path / "d")) == ["a.tif.p0003.npz", "a.tif.p0004.npz"]
    *lines, last = records(tmp_path / "r.jsonl")
    assert [(line["input"], line.get("page"), line["status"]) for line in lines] == [
        ("a.tif", 3, "done"),
        ("a.tif", 4, "done"),
        ("a.tif", 5, "failed"),
        ("b.png", None, "failed"),
        ("c.png", None, "failed"),
        ("nothing.tif", None, "failed"),
    ]
    assert (last["summary"]["done"], last["summary"]["failed"]) == (2, 4)


@pytest.mark.usefixtures("pages")
def test_all_takes_what_there_is(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", gray())
    (tmp_path / "c.png").write_bytes(b"")
    ran = patchcli("extract", "a.tif", "b.png", "c.png", *CUT, "--page", "all", "-d", "d")
    refused(ran, "patchcli: c.png: is empty, not an image", 1)
    names = [*(f"a.tif.p{number:04}.npz" for number in range(COUNT)), "b.png.p0000.npz"]
    assert sorted(tree(tmp_path / "d")) == names


@pytest.mark.usefixtures("pages")
def test_a_dry_run_says_each_page(patchcli: Run, tmp_path: Path) -> None:
    with untouched(tmp_path):
        ran = patchcli("extract", "a.tif", *CUT, "--page", "3-9", "-d", "d", "-n")
    assert ran.returncode == 1
    lines = ran.stdout.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "a.tif page 3 -> d/a.tif.p0003.npz",
        "a.tif page 4 -> d/a.tif.p0004.npz",
        "2 of 3 inputs",
    ]


# -- runs that are repeated --------------------------------------------------------------------------------------------


def test_resume_knows_pages(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    line = ["extract", "a.tif", *CUT, "--page", "all", "-d", "d", "--resume", "-v"]
    assert patchcli(*line).returncode == 0
    made = tree(tmp_path / "d")
    with untouched(tmp_path):
        again = patchcli(*line)
    assert again.stderr.count(b"is up to date") == COUNT
    (tmp_path / "d" / "a.tif.p0002.npz").unlink()
    again = patchcli(*line)
    assert (again.stderr.count(b"is up to date"), tree(tmp_path / "d")) == (COUNT - 1, made)
    shutil.copy(tmp_path / "d" / "a.tif.p0001.npz", tmp_path / "d" / "a.tif.p0002.npz")
    refused(patchcli(*line[:-1]), "d/a.tif.p0002.npz: was made with --page at 1, not at 2")
    assert patchcli(*line, "--overwrite").returncode == 0
    assert tree(tmp_path / "d") == made
    pages[2] += 1
    WRITERS["plain.tif"](tmp_path / "a.tif", pages)
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    again = patchcli(*line)
    assert (again.returncode, again.stderr.count(b"is up to date")) == (0, 0)
    assert np.array_equal(shown(np.asarray(read_stack(tmp_path / "d" / "a.tif.p0002.npz").patches)), pages[2])


@pytest.mark.usefixtures("pages")
def test_outputs_among_the_inputs_are_left_out(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.move(tmp_path / "a.tif", tmp_path / "in" / "a.tif")
    line = [*words("crop in --box 0 0 9 9 --page all --resume -o"), "{parent}/{stem}-{page}.tif"]
    assert patchcli(*line).returncode == 0
    made = tree(tmp_path / "in")
    assert len(made) == 1 + COUNT
    again = patchcli(*line)
    assert (again.returncode, again.stderr, tree(tmp_path / "in")) == (0, b"", made)
    (tmp_path / "in" / "a.tif").unlink()  # what was made of it are no inputs
    refused(patchcli(*line), "in: holds nothing but outputs of this run", 1)


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages")
def test_further_pages_are_a_hint(patchcli: Run, tmp_path: Path) -> None:
    hint = "has 5 pages, of which page 0 was read; --page all takes each, --page 0 says so too"
    for command in (["extract", "a.tif", *CUT, "-o", "x.npz"], ["crop", "a.tif", "--box", 0, 0, 9, 9, "-o", "x.png"]):
        ran = patchcli(*command, "--report", "r.jsonl", "--overwrite")
        assert (ran.returncode, ran.stderr.decode()) == (0, f"patchcli: a.tif: {hint}\n")
        assert records(tmp_path / "r.jsonl")[0]["hints"] == [hint]
        for silent in (["--page", 0], ["--page", 3], ["-q"]):
            assert patchcli(*command, *silent, "--overwrite").stderr == b""
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    ran = patchcli("extract", "a.tif", "b.tif", *CUT, "-d", "d")
    assert ran.stderr.decode() == f"patchcli: a.tif: {hint} (and 1 more input)\n"


# -- what lies beside --------------------------------------------------------------------------------------------------


def test_companions_and_masks_are_read_at_the_same_page(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    many, one = planes()[::-1].copy(), gray(seed=99)
    WRITERS["plain.tif"](tmp_path / "many.tif", many)
    write_image(tmp_path / "one.png", one)
    masks = np.zeros((COUNT, 20, 30), np.uint8)
    masks[2] = 1
    masks[3, :8, :8] = 1
    WRITERS["plain.tif"](tmp_path / "mask.tif", masks)
    beside = ["--companion", "many.tif", "--companion", "one.png"]
    ran = patchcli("extract", "a.tif", *CUT, "--page", "1-2", *beside, "-d", "d")
    assert (ran.returncode, ran.stderr) == (0, b"")
    for number in (1, 2):
        for name, image in (("a.tif", pages[number]), ("many.tif", many[number]), ("one.png", one)):
            stack = read_stack(tmp_path / "d" / f"{name}.p{number:04}.npz")
            assert np.array_equal(shown(np.asarray(stack.patches)), image)
            assert stack.meta.source.page == (0 if name == "one.png" else number)
    assert patchcli("extract", "a.tif", *CUT, "--page", "2-3", "--mask", "mask.tif", "-d", "m").returncode == 0
    assert [len(read_stack(tmp_path / "m" / f"a.tif.p{number:04}.npz").origins) for number in (2, 3)] == [12, 1]
    WRITERS["plain.tif"](tmp_path / "two.tif", many[:2])
    ran = patchcli("extract", "a.tif", *CUT, "--page", 2, "--companion", "two.tif", "-o", "x.npz")
    refused(ran, "a.tif: its companion two.tif has no page 2; it has 2, counted from 0", 1)


def test_companions_are_named_by_page(patchcli: Run, tmp_path: Path) -> None:
    WRITERS["plain.tif"](tmp_path / "a.tif", planes())
    for number in (1, 2):
        write_image(tmp_path / f"label-{number:04}.png", gray(seed=50 + number))
    ran = patchcli("extract", "a.tif", *CUT, "--page", "1-2", "--companion", "label-{page}.png", "-o", "{stem}-{page}.npz")
    assert (ran.returncode, ran.stderr) == (0, b"")
    for number in (1, 2):
        stack = read_stack(tmp_path / f"a-{number:04}.companion.npz")
        assert np.array_equal(shown(np.asarray(stack.patches)), gray(seed=50 + number))


# -- pages as channels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith("gif")])
def test_pages_become_channels(patchcli: Run, tmp_path: Path, name: str) -> None:
    expected = planes()
    WRITERS[name](tmp_path / name, expected)
    line = ["extract", name, *CUT, "--pages-as", "channels"]
    assert patchcli(*line, "--page", "all", "-o", "all.npz").returncode == 0
    patches = np.asarray(read_stack(tmp_path / "all.npz").patches)
    assert np.array_equal(shown(patches), np.moveaxis(expected, 0, -1))
    assert patchcli(*line, "--page", "1-3", "--channel", 2, "-o", "one.npz").returncode == 0
    assert np.array_equal(shown(np.asarray(read_stack(tmp_path / "one.npz").patches)), expected[3])
    assert (
        patchcli(*line[:1], "-", *line[2:], "--page", "1-2", "-o", "in.npz", stdin=(tmp_path / name).read_bytes()).returncode == 0
    )
    assert np.array_equal(np.asarray(read_stack(tmp_path / "in.npz").patches), patches[..., 1:3])


def test_pages_as_channels_are_one_input(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    line = words("crop a.tif --box 3 2 9 7 --pages-as channels --resume -v --report r.jsonl --overwrite -o x.tif --page")
    assert patchcli(*line, "0-2").returncode == 0
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), pages[:3, 2:9, 3:12])
    assert patchcli(*line, "0-2").stderr.count(b"is up to date") == 1
    assert [line.get("input") for line in records(tmp_path / "r.jsonl")] == ["a.tif", None]
    refused(patchcli(*line[:-6], "-o", "x.tif", "--page", "0-3"), "was made with --page at 0-2, not at 0-3")
    assert patchcli(*line, "all").returncode == 0
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert len(tiff.pages) == COUNT


@pytest.mark.parametrize("how", [[], ["--co", "compression=deflate"], ["--co", "tile=16", "--co", "compression=lzw"]])
def test_channels_are_pages_again(patchcli: Run, tmp_path: Path, pages: NDArray[Any], how: list[str]) -> None:
    line = ["extract", "a.tif", *CUT, "--pages-as", "channels", "--page", "all", "-o", "x.npz"]
    assert patchcli(*line).returncode == 0
    assert patchcli("merge", "x.npz", "-o", "x.tif", *how).returncode == 0
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert [page.shape for page in file.pages] == [(20, 30)] * COUNT
        assert np.array_equal(file.asarray(), pages)
    for name in ("x.npy", "y.tif"):
        options = ["--metadata", "none"] if name == "y.tif" else []
        assert patchcli("merge", "x.npz", "-o", name, *options).returncode == 0
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.moveaxis(pages, 0, -1))
    assert read_image(tmp_path / "y.tif").shape == (20, 30, COUNT)


PLACE = ((33550, (10.0, 10.0, 0.0)), (33922, (0.0, 0.0, 0.0, 5e5, 4.2e6, 0.0)))


@pytest.mark.parametrize("dtype", ["u1", "i2", "f8"])
@pytest.mark.parametrize("how", [(), (("compression", "deflate"),), (("tile", "16"),), (("tile", "16"), ("compression", "zstd"))])
def test_pages_are_written_from_bands(dtype: str, how: tuple[tuple[str, str], ...]) -> None:
    image = np.moveaxis(planes(dtype=dtype), 0, -1)
    meant = Metadata("minisblack", ("unspecified",) * 4, axes="YXC", geotiff=PLACE, resolution=(300, 200, "inch"))
    file = io.BytesIO()
    write_lines(file, [image[:7], image[7:8], image[8:]], "tiff", Encoding(image.shape, image.dtype, "a note", meant, how))
    assert note_of(file) == "a note"
    read = tifffile.TiffFile(io.BytesIO(file.getvalue()))
    assert np.array_equal(read.asarray(), np.moveaxis(image, -1, 0))
    for page in read.pages:
        assert isinstance(page, tifffile.TiffPage)
        assert (page.shape, page.samplesperpixel, page.extrasamples) == ((20, 30), 1, ())
        assert (page.tags[33550].value, page.tags[33922].value) == (PLACE[0][1], PLACE[1][1])
        assert (page.tags[282].value, page.tags[283].value) == ((300, 1), (200, 1))


def test_only_joined_pages_are_pages_again() -> None:
    joined = Metadata("minisblack", ("unspecified",) * 4, axes="YXC")
    assert joined.of_pages
    assert not joined.matching(1).of_pages
    assert not joined.matching(3).of_pages  # which are colours
    assert not joined._replace(axes="CYX").of_pages
    assert not Metadata("minisblack", ("unassalpha",), axes="YXC").of_pages
    assert Metadata.from_fields(json.loads(json.dumps(joined.fields())), 5).of_pages


def test_companions_of_pages_that_are_channels(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    WRITERS["plain.tif"](tmp_path / "many.tif", pages[::-1])
    write_image(tmp_path / "one.png", gray(seed=99))
    line = ["extract", "a.tif", *CUT, "--pages-as", "channels", "--page", "1-3", "--companion", "many.tif"]
    assert patchcli(*line, "--companion", "one.png", "-d", "d").returncode == 0
    expected = {
        "a.tif": np.moveaxis(pages[1:4], 0, -1),
        "many.tif": np.moveaxis(pages[::-1][1:4], 0, -1),
        "one.png": gray(seed=99),
    }
    for name, image in expected.items():
        assert np.array_equal(shown(np.asarray(read_stack(tmp_path / "d" / f"{name}.npz").patches)), image)


def test_pages_that_differ_are_no_channels(patchcli: Run, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in (gray(), gray(), gray(30), gray(dtype="u2"), np.zeros((20, 30, 3), np.uint8)):
            writer.write(page, metadata=None)
    line = ["extract", "a.tif", *CUT, "--pages-as", "channels", "-o", "x.npz", "--page"]
    assert patchcli(*line, "0-1").returncode == 0
    alike = "with --pages-as channels all are alike, choose them with --page A-B"
    refused(
        patchcli(*line, "all", "--overwrite"),
        f"a.tif: has page 2 of width=30 height=30 uint8 and pages before it of width=30 height=20 uint8; {alike}",
        1,
    )
    refused(patchcli(*line, "2-3", "--overwrite"), "has page 3 of width=30 height=20 uint16 and pages before it of", 1)
    refused(patchcli(*line, "4", "--overwrite"), "--pages-as channels is for several pages; give --page A-B or --page all")
    refused(patchcli(*line, "4-5", "--overwrite"), "has 3 channels on page 4; --pages-as channels is for pages of one", 1)
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((20, 30, 3), np.uint8))
    refused(patchcli("extract", "c.tif", *line[2:], "all", "--overwrite"), "c.tif: has 3 channels on page 0", 1)
    refused(patchcli(*line, "0-9", "--overwrite", "--max-pixels", 30), "pixels (width=30 height=20); allowed are 30", 1)


# -- what is refused ---------------------------------------------------------------------------------------------------

NO_RANGE = "is not a page or several; write N, A-B or all, counted from 0, as in 0-4"


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("extract a.tif -s 8 --page 3-1 -d d", f"'3-1' {NO_RANGE}"),
        ("extract a.tif -s 8 --page -1 -d d", f"'-1' {NO_RANGE}"),
        ("extract a.tif -s 8 --page some -d d", f"'some' {NO_RANGE}"),
        ("extract a.tif -s 8 --page 1- -d d", f"'1-' {NO_RANGE}"),
        ("extract a.tif -s 8 --page 12345678901 -d d", f"'12345678901' {NO_RANGE}"),
        ("extract a.tif -s 8 --page all -o x.npz", "-o is x.npz, one name for all; put {page} into it, or use -d/--output-dir"),
        ("extract a.tif -s 8 --page 0-1 -o {stem}.npz", "-o is {stem}.npz, one name for all; put {page} into it"),
        ("extract - -s 8 --page 0-1 -o x.npz", "standard input (-) is read once, and --page asks for several pages"),
        ("extract a.tif -s 8 --pages-as channels -o x.npz", "is for several pages; give --page A-B or --page all"),
        ("extract a.tif -s 8 --page all --pages-as channels -o {page}.npz", "has the field {page}; allowed are {stem}"),
        ("extract a.tif -s 8 --page 0-1 --gray --channel 0 -d d", "use only one of --gray and --channel"),
        ("crop a.tif --boxes list.csv --page 0-1 -d d", "--boxes crops boxes of one page; give --page one number"),
        ("merge a.npz -o {page}.png", "has the field {page}; allowed are {stem}"),
    ],
)
def test_usage(patchcli: Run, tmp_path: Path, line: str, sentence: str) -> None:
    with untouched(tmp_path):
        refused(patchcli(*line.split()), sentence)


@pytest.mark.usefixtures("pages")
def test_usage_that_an_output_exists(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.tif.p0003.npz").write_bytes(b"mine")
    with untouched(tmp_path):
        refused(patchcli("extract", "a.tif", *CUT, "--page", "all", "-d", "d"), "d/a.tif.p0003.npz: already exists")


@pytest.mark.usefixtures("pages")
def test_a_range_of_one_page_is_a_range(patchcli: Run, tmp_path: Path) -> None:
    assert patchcli("extract", "a.tif", *CUT, "--page", "2-2", "-d", "out").returncode == 0
    assert os.listdir(tmp_path / "out") == ["a.tif.p0002.npz"]
    refused(patchcli("extract", "a.tif", *CUT, "--page", "2-2", "-o", "b.npz"), "--page asks for several pages, and -o is b.npz")
    for page in ("2-2", "0-0"):
        ran = patchcli("extract", "a.tif", *CUT, "--page", page, "--pages-as", "channels", "-o", "c.npz", "--overwrite")
        assert (ran.returncode, ran.stderr) == (0, b"")
        one = patchcli("extract", "a.tif", *CUT, "--page", page[0], "-o", "d.npz", "--overwrite")
        assert one.returncode == 0
        assert np.array_equal(read_stack(tmp_path / "c.npz").patches, read_stack(tmp_path / "d.npz").patches)


@pytest.mark.usefixtures("pages")
def test_standard_input_fills_a_template_of_its_page(patchcli: Run, tmp_path: Path) -> None:
    data = (tmp_path / "a.tif").read_bytes()
    assert patchcli("extract", "-", *CUT, "--page", 2, "-o", "s{page}-{index}{{}}.npz", stdin=data).returncode == 0
    assert read_stack(tmp_path / "s0002-0{}.npz").meta.source.page == 2


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("page", ["1-3", "all"])
def test_all_pages_of_a_stack_are_told(patchcli: Run, page: str) -> None:
    assert patchcli("extract", "a.tif", *CUT, "--page", page, "--pages-as", "channels", "-o", "b.npz").returncode == 0
    cut = next(line for line in patchcli("info", "b.npz").stdout.decode().splitlines() if "cut from" in line)
    assert cut.endswith(f" bytes, pages {page}")


@pytest.mark.parametrize("suffix", ["tif", "npy"])
@pytest.mark.parametrize("metadata", ["keep", "none"])
def test_channels_that_were_pages_come_back_from_tiles(
    suffix: str, metadata: str, patchcli: Run, tmp_path: Path, pages: NDArray[Any]
) -> None:
    call = ("--page", "all", "--pages-as", "channels", "-s", 16, "--metadata", metadata, "-o", f"t/{{stem}}-{{x}}-{{y}}.{suffix}")
    assert patchcli("extract", "a.tif", *call).returncode == 0
    done = patchcli("merge", "t/a.tiles.jsonl", "-o", "back.npy")
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.array_equal(read_image(tmp_path / "back.npy"), np.moveaxis(pages, 0, -1))
    done = patchcli("info", "--check", "t/a.tiles.jsonl")
    assert (done.returncode, b"another size" in done.stdout, b"unread" in done.stdout) == (0, False, False)


def test_check_tells_of_pages_of_tiles_that_are_not_read(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    assert patchcli("extract", "a.tif", "--page", 0, "-s", 16, "-o", "t/{stem}-{x}-{y}.tif").returncode == 0
    tifffile.imwrite(tmp_path / "t/a-14-0.tif", pages[:3, :16, 14:], photometric="minisblack")
    done = patchcli("info", "--check", "t/a.tiles.jsonl")
    assert b"unread pages  1 tile, as a-14-0.tif: 3 pages, of which page 0 is read" in done.stdout
    done = patchcli("merge", "t/a.tiles.jsonl", "-o", "back.npy")
    assert done.stderr == b"patchcli: t/a.tiles.jsonl: t/a-14-0.tif: has 3 pages, of which page 0 was read\n"


def test_tiles_of_pages_lose_none_silently(patchcli: Run, tmp_path: Path, pages: NDArray[Any]) -> None:
    call = ("--page", "all", "--pages-as", "channels", "-s", 16, "-o", "t/{stem}-{x}-{y}.tif")
    assert patchcli("extract", "a.tif", *call).returncode == 0
    done = patchcli("merge", "t", "--names", "{stem}-{x}-{y}", "-o", "back.npy")
    assert (done.returncode, b"has 5 pages, of which page 0 was read" in done.stderr) == (0, True)
    tile = tmp_path / "t/a-14-0.tif"
    whole = np.delete(np.moveaxis(pages, 0, -1), slice(3, None), axis=2)
    for path in (tmp_path / "t").glob("*.tif"):
        x, y = map(int, path.stem.split("-")[1:])
        tifffile.imwrite(path, np.moveaxis(whole[y : y + 16, x : x + 16], -1, 0), photometric="minisblack")
    data = bytearray(tile.read_bytes())
    assert patchcli("merge", "t/a.tiles.jsonl", "-o", "back3.npy").returncode == 0
    assert np.array_equal(read_image(tmp_path / "back3.npy"), whole)
    with tifffile.TiffFile(tile) as file:
        last = file.pages[2].aspage().dataoffsets[0]
    tile.write_bytes(data[: last + 9])
    refused(patchcli("info", "--check", "t/a.tiles.jsonl"), "its tile a-14-0.tif", code=1)
    tifffile.imwrite(tile, whole[:16, 14:, 0], photometric="minisblack")
    refused(patchcli("merge", "t/a.tiles.jsonl", "-o", "back2.npy"), "t/a-14-0.tif is uint16 of 1 channel", code=1)
