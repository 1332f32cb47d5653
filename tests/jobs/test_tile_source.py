"""Tile files merged: by an index or by their names, back to the pixels that they were cut from."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli import merge
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.images.metadata import Metadata
from patchcli.images.source import open_image
from patchcli.jobs.merge import merge_one
from patchcli.jobs.merge_plan import plan_one
from patchcli.jobs.settings import MergeSettings
from patchcli.jobs.task import MergeTask, Said
from tests.helpers.runs import gray, read_image, write_image
from tests.helpers.strategies import INTEGERS, grids, images_for
from tests.helpers.tiles import cut_tiles, write_tiles


def joined(source: Path | list[Path], target: Path, **settings: Any) -> Said:
    """Merge the tiles of an index, or those of these names."""
    task = MergeTask(source=str(source), target=str(target))
    if isinstance(source, list):
        task = MergeTask(source="tiles", target=str(target), tiles=tuple(map(str, source)))
    return merge_one(task, MergeSettings(overwrite=True, **settings), lambda *_: None)


def colours(height: int = 100, width: int = 130, dtype: str = "u1") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(dtype)


COVERING = ("shift", "pad", "even", "clip")


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from((".npy", ".tif")))
def test_out_and_back_whatever_the_grid(data: st.DataObject, suffix: str) -> None:
    grid = data.draw(grids(edges=COVERING))
    image = data.draw(images_for(grid, INTEGERS))
    image = image.astype(image.dtype.newbyteorder("="))
    suffix = ".npy" if image.dtype == bool else suffix  # which TIFF has of one channel alone
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = write_tiles(folder / "tiles", image, grid, suffix, seed=data.draw(st.integers(0, 9)))
        joined(index, folder / "back.npy", fill=0)
        expected = np.array(image)
        expected[grid.cover() == 0] = 0
        assert np.array_equal(read_image(folder / "back.npy"), expected.squeeze(2) if image.shape[2:] == (1,) else expected)


@pytest.mark.parametrize("reduce", ["mean", "median", "min", "max", "first", "last", "sum"])
@pytest.mark.parametrize("edge", ["shift", "clip"])
def test_reducers_are_those_of_stacks(reduce: str, edge: str, tmp_path: Path) -> None:
    image = gray(50, 61)
    grid = Grid((50, 61), (16, 20), (11, 9), edge=edge, margin=3)
    rng = np.random.default_rng(1)
    changed = {place: rng.integers(0, 256, tile.shape, np.uint8) for place, tile in cut_tiles(image, grid)}
    index = write_tiles(tmp_path / "tiles", image, grid, seed=2)
    patches = np.zeros((grid.count, 16, 20), np.uint8)
    for patch, ((y, x), tile) in zip(patches, changed.items(), strict=True):
        patch[: tile.shape[0], : tile.shape[1]] = tile
        write_image(tmp_path / "tiles" / f"poster-{x:03}-{y:03}.png", tile)
    joined(index, tmp_path / "back.npy", reduce=reduce)
    assert np.array_equal(read_image(tmp_path / "back.npy"), merge(patches, grid, reduce=reduce))


def test_a_window_weighs_what_is_left_of_a_tile(tmp_path: Path) -> None:
    image, grid = gray(50, 61, "f4"), Grid((50, 61), 16, 9, edge="clip", margin=2)
    index = write_tiles(tmp_path / "tiles", image, grid, ".tif", change=lambda tile: tile * tile.shape[1])
    joined(index, tmp_path / "back.npy", window="hann", fill=0)
    patches = np.zeros((grid.count, 16, 16), np.float32)
    for patch, (_, tile) in zip(patches, cut_tiles(image, grid), strict=True):
        patch[: tile.shape[0], : tile.shape[1]] = tile * tile.shape[1]
    assert np.array_equal(read_image(tmp_path / "back.npy"), merge(patches, grid, window="hann", fill=0))


@pytest.mark.parametrize("edge", ["shift", "clip"])
@pytest.mark.parametrize("factor", [3, 0.5])
def test_tiles_larger_or_smaller_by_a_whole_factor(factor: float, edge: str, tmp_path: Path) -> None:
    def changed(tile: NDArray[Any]) -> NDArray[Any]:
        return np.kron(tile, np.ones((3, 3), np.uint8)) if factor == 3 else np.ascontiguousarray(tile[::2, ::2])

    image, grid = gray(50, 62), Grid((50, 62), 16, 12, edge=edge)
    joined(write_tiles(tmp_path / "tiles", image, grid, change=changed), tmp_path / "back.png")
    assert np.array_equal(read_image(tmp_path / "back.png"), changed(image))


def test_one_tile_smaller_than_a_patch_is_scaled_by_itself(tmp_path: Path) -> None:
    image, grid = gray(20, 30), Grid((20, 30), 64, edge="clip")
    index = write_tiles(tmp_path / "tiles", image, grid, change=lambda tile: np.kron(tile, np.ones((2, 2), np.uint8)))
    joined(index, tmp_path / "back.png")
    assert np.array_equal(read_image(tmp_path / "back.png"), np.kron(image, np.ones((2, 2), np.uint8)))


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("edge", ["clip", "pad"])
@pytest.mark.parametrize(("patch", "halo", "size"), [(16, 4, (50, 61)), (12, 3, (50, 61)), (16, 4, (5, 61)), (18, 4, (50, 2))])
def test_tiles_without_their_halo(patch: int, halo: int, size: tuple[int, int], edge: str, factor: int, tmp_path: Path) -> None:
    """Sizes of which some are half of what was cut as well."""

    def inner(tile: NDArray[Any]) -> NDArray[Any]:
        kept = tile[halo:-halo, halo:-halo]
        return np.kron(kept, np.ones((factor, factor), np.uint8))

    image = gray(*size)
    grid = Grid(size, patch, patch - 2 * halo, edge=edge, margin=halo)
    index = write_tiles(tmp_path / "tiles", image, grid)
    write_tiles(tmp_path / "done", image, grid, change=inner)
    joined(index, tmp_path / "back.png", halo=halo, tiles_from=str(tmp_path / "done"))
    assert np.array_equal(read_image(tmp_path / "back.png"), np.kron(image, np.ones((factor, factor), np.uint8)))
    joined(index, tmp_path / "back.png", halo=halo)
    assert np.array_equal(read_image(tmp_path / "back.png"), image)


def test_processed_tiles_of_another_folder_dtype_suffix_and_number_of_channels(tmp_path: Path) -> None:
    image, grid = colours(), Grid((100, 130), 64, 48, edge="clip")
    index = write_tiles(tmp_path / "tiles", image, grid)
    write_tiles(tmp_path / "done", image, grid, ".tif", change=lambda tile: tile[:, :, 0].astype("f4") / 255)
    joined(index, tmp_path / "back.npy", tiles_from=str(tmp_path / "done"), dtype="float32")
    assert np.allclose(read_image(tmp_path / "back.npy"), image[:, :, 0] / np.float32(255), rtol=1e-6)
    joined(index, tmp_path / "back.png")
    assert np.array_equal(read_image(tmp_path / "back.png"), image)


def test_tiles_that_were_given_another_suffix_are_found(tmp_path: Path) -> None:
    image, grid = colours(), Grid((100, 130), 64, edge="clip")
    index = write_tiles(tmp_path / "tiles", image, grid)
    for path in (tmp_path / "tiles").glob("*.png"):
        write_image(path.with_suffix(".ppm"), read_image(path))
        path.unlink()
    joined(index, tmp_path / "back.png")
    assert np.array_equal(read_image(tmp_path / "back.png"), image)


def test_missing_tiles_are_counted_named_and_filled(tmp_path: Path) -> None:
    image, grid = gray(100, 130), Grid((100, 130), 20, edge="clip")
    index = write_tiles(tmp_path / "tiles", image, grid)
    expected = image.copy()
    for number, (y, x) in enumerate([(20, 40), (40, 40), (60, 0), (80, 120)], 1):
        (tmp_path / "tiles" / f"poster-{x:03}-{y:03}.png").unlink()
        expected[y : y + 20, x : x + 20] = 7
        said = f"{number} of its 35 tiles {'is' if number == 1 else 'are'} missing (poster-040-020.png"
        with pytest.raises(PatchcliError) as caught:
            joined(index, tmp_path / "back.png")
        assert str(caught.value).startswith(said)
        hints = joined(index, tmp_path / "back.png", fill=7).hints
        assert hints[0].startswith(said)
        assert np.array_equal(read_image(tmp_path / "back.png"), expected)
    assert hints[0].endswith("(poster-040-020.png, poster-040-040.png, poster-000-060.png and 1 more)")


NAMES = {
    "{stem}-{x}-{y}.png": lambda y, x, *_: f"a-{x:02}-{y}.png",
    "{stem}_{row}_{col}.png": lambda *place: f"a_{place[2]}_{place[3]}.png",
    "t{col+1}x{row+1}": lambda *place: f"t{place[3] + 1}x{place[2] + 1:03}.png",
    "t{patch}.png": lambda *place: f"t{place[2] * 5 + place[3]}.png",
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("stride", [30, 24])
def test_tiles_of_other_programs_by_their_names(names: str, stride: int, tmp_path: Path) -> None:
    image = colours(110, 126 if stride == 24 else 130)
    grid = Grid(image.shape[:2], 30, stride, edge="clip")
    assert grid.shape[1] == 5
    paths = []
    for (y, x), tile in cut_tiles(image, grid):
        paths.append(write_image(tmp_path / NAMES[names](y, x, y // stride, x // stride), tile))
    how: dict[str, Any] = {"names": names, "across": 5 if "{patch}" in names else None}
    if stride != 30 and "{x}" not in names:
        how["stride"] = (stride, stride)
    joined(paths[::-1], tmp_path / "back.png", **how)
    assert np.array_equal(read_image(tmp_path / "back.png"), image)
    with pytest.raises(PatchcliError, match=r"1 of its 2[05] tiles is missing"):
        joined(paths[:7] + paths[8:], tmp_path / "back.png", **how)


def test_tiles_that_are_not_evenly_spaced(tmp_path: Path) -> None:
    image = gray(50, 100)
    paths = [
        write_image(tmp_path / f"a-{x}-{y}.png", image[y : y + 30, x : x + 40]) for y in (0, 20) for x in (0, 15, 33, 55, 60)
    ]
    joined(paths, tmp_path / "back.png", names="{stem}-{x}-{y}")
    assert np.array_equal(read_image(tmp_path / "back.png"), image)


def test_missing_names_are_told_as_the_pattern_counts(tmp_path: Path) -> None:
    tile = gray(10, 10)
    paths = [write_image(tmp_path / f"a_{row}_{col}.png", tile) for row, col in ((1, 1), (3, 2))]
    with pytest.raises(PatchcliError, match=r"4 of its 6 tiles are missing \(row=1 col=2, row=2 col=1, row=2 col=2 and 1 more\)"):
        joined(paths, tmp_path / "back.png", names="a_{row+1}_{col+1}.png")
    path = write_image(tmp_path / f"a_{10**11}_{10**11}.png", tile)
    with pytest.raises(PatchcliError, match=r"missing \(row=0 col=0, row=0 col=1, row=0 col=2 and \d+ more\)"):
        joined([path], tmp_path / "back.png", names="a_{row}_{col}.png")
    with pytest.raises(PatchcliError, match="needs a canvas of"):
        joined([path], tmp_path / "back.png", names="a_{row}_{col}.png", fill=0)
    far = [path, *(write_image(tmp_path / f"a_{at}_0.png", tile) for at in range(2))]
    with pytest.raises(PatchcliError, match="needs a canvas of"):
        joined(far, tmp_path / "back.png", names="a_{y}_{x}.png", fill=0)


def test_what_a_program_left_out_because_pixels_need_no_more(tmp_path: Path) -> None:
    """As ImageMagick does: gray tiles without colours, black and white ones in a bit, opaque ones without alpha."""
    image = colours(20, 50)
    image[:, 10:20] = image[:, 10:20, :1]
    image[:, 20:30] = image[:, 20:30, :1] // 128 * 255
    image = np.concatenate([image, np.full((20, 50, 1), 255, np.uint8)], axis=2)
    image[:, 40:, 3] = 9
    kept = [image[:, :10], image[:, 10:20, 0], image[:, 20:30, 0] > 0, image[:, 30:40, :3], image[:, 40:]]
    paths = [write_image(tmp_path / f"{number}.png", np.ascontiguousarray(tile)) for number, tile in enumerate(kept)]
    joined(paths, tmp_path / "back.png", names="{patch}.png", across=5)
    assert np.array_equal(read_image(tmp_path / "back.png"), image)
    joined(paths[:3], tmp_path / "back.png", names="{patch}.png", across=3)
    assert read_image(tmp_path / "back.png").shape == (20, 30, 4)
    joined(paths[1:3], tmp_path / "back.png", names="{patch}.png", across=3, trim=True)
    assert np.array_equal(read_image(tmp_path / "back.png"), image[:, 10:30, 0])


def test_indices_come_back_as_indices(tmp_path: Path) -> None:
    ids, grid = gray(40, 50) % 5, Grid((40, 50), 16, edge="clip")
    table = tuple((257 * 40 * number, 0, 0) for number in range(5))
    index = write_tiles(tmp_path / "tiles", ids, grid, metadata=Metadata(colormap=table))
    for path in (tmp_path / "tiles").glob("*.png"):
        tile = PIL.Image.fromarray(read_image(path)).convert("P")
        tile.putdata(read_image(path).ravel().tolist())
        tile.putpalette([channel // 257 for colour in table for channel in colour])
        tile.save(path)
    joined(index, tmp_path / "back.png", reduce="last")
    with (tmp_path / "back.png").open("rb") as file:
        back = open_image(file, color="indices")
        assert np.array_equal(back.pixels(), ids)
        assert back.metadata.colormap is not None
        assert back.metadata.colormap[:5] == table


def test_what_tiles_mean_is_what_their_image_means(tmp_path: Path) -> None:
    tags = ((33550, (10.0, 10.0, 0.0)), (33922, (0.0, 0.0, 0.0, 500.0, 4000.0, 0.0)))
    whole = Metadata(resolution=(300.0, 300.0, "inch"), nodata="-9999", geotiff=tags)
    image, grid = gray(40, 50, "f4"), Grid((40, 50), 16, edge="clip")
    from patchcli.images import sink

    paths = []
    for (y, x), tile in cut_tiles(image, grid):
        paths.append(tmp_path / f"a-{x}-{y}.tif")
        with paths[-1].open("wb") as file:
            sink.write(file, tile, "tiff", metadata=whole.moved(x, y))
    for some, options in ((paths, {}), (paths[1:], {"fill": 0})):
        joined(some, tmp_path / "back.tif", names="{stem}-{x}-{y}.tif", **options)
        with (tmp_path / "back.tif").open("rb") as file:
            assert open_image(file).metadata == whole


def test_tiles_are_not_turned(tmp_path: Path) -> None:
    image = colours(40, 60)
    exif = PIL.Image.Exif()
    exif[274] = 6
    for number in range(2):
        PIL.Image.fromarray(image[:, 30 * number :][:, :30]).save(tmp_path / f"{number}.png", exif=exif)
    joined([tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "back.png", names="{patch}.png", across=2)
    with (tmp_path / "back.png").open("rb") as file:
        assert np.array_equal(open_image(file, rotate=False).pixels(), image)
        assert np.array_equal(open_image(file).pixels(), np.rot90(image, -1))


def test_a_plan_reads_headers_alone(tmp_path: Path) -> None:
    index = write_tiles(tmp_path / "tiles", colours(), Grid((100, 130), 64, edge="clip"), ".npy")
    first = tmp_path / "tiles" / "poster-000-000.npy"
    first.write_bytes(first.read_bytes()[:-5] + b"12345")
    said = plan_one(MergeTask(source=str(index), target="x.tif"), MergeSettings(), lambda *_: None)
    assert said.planned is not None
    assert said.planned.shape == (100, 130, 3)
    assert said.planned.patches == 6
    assert said.planned.uncovered == 0


def test_lines_of_tiles_are_made_one_after_the_other(tmp_path: Path) -> None:
    """What a plan holds does not follow from the height of the image."""
    memory = []
    for rows in (2, 40):
        image = np.zeros((200 * rows, 400), np.uint8)
        index = write_tiles(tmp_path / str(rows), image, Grid(image.shape, 200, edge="clip"), ".npy")
        said = plan_one(MergeTask(source=str(index), target="x.tif"), MergeSettings(max_pixels=200_000), lambda *_: None)
        assert said.planned is not None
        memory.append(said.planned.memory)
    assert memory[1] < memory[0] + (1 << 25)


def tampered(folder: Path) -> Path:
    """Tiles of 20 pixels, the last of a line 10 wide."""
    return write_tiles(folder / "tiles", gray(60, 90), Grid((60, 90), 20, edge="clip"))


def test_an_index_whose_tiles_changed_size(tmp_path: Path) -> None:
    index = tampered(tmp_path)
    write_image(tmp_path / "tiles" / "poster-040-020.png", gray(20, 21))
    with pytest.raises(
        PatchcliError, match=r"poster-040-020.png has width=21 height=20 but .*-000-000.png has width=20 height=20"
    ):
        joined(index, tmp_path / "back.png")
    for path in (tmp_path / "tiles").glob("*.png"):
        write_image(path, gray(25, 25))
    with pytest.raises(PatchcliError, match="patches have width=25 height=25 where width=20 height=20 was recorded"):
        joined(index, tmp_path / "back.png")


@pytest.mark.parametrize("size", [(20, 12), (10, 20), (19, 10)])
def test_a_tile_at_a_far_side_is_whole_or_as_the_image_leaves_it(size: tuple[int, int], tmp_path: Path) -> None:
    index = tampered(tmp_path)
    write_image(tmp_path / "tiles" / "poster-080-020.png", gray(*size))
    with pytest.raises(PatchcliError, match="the tiles of an image are alike, but for smaller ones at the far sides"):
        joined(index, tmp_path / "back.png")
    write_image(tmp_path / "tiles" / "poster-080-020.png", gray(20, 20))
    joined(index, tmp_path / "back.png")
    assert np.array_equal(read_image(tmp_path / "back.png")[20:40, 80:], gray(20, 20)[:, :10])


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            gray(20, 20, "u2"),
            "is uint8 of 1 channel but .*poster-040-020.tif is uint16 of 1 channel; the tiles of an image are alike",
        ),
        (gray(20, 20, "f4"), "is uint8 of 1 channel but .* is float32 of 1 channel"),
        (np.zeros((20, 20, 7), np.uint8), "is uint8 of 1 channel but .* is uint8 of 7 channels"),
    ],
)
def test_tiles_of_two_kinds(other: NDArray[Any], sentence: str, tmp_path: Path) -> None:
    index = write_tiles(tmp_path / "tiles", gray(60, 90), Grid((60, 90), 20, edge="clip"), ".tif")
    write_image(tmp_path / "tiles" / "poster-040-020.tif", other)
    with pytest.raises(PatchcliError, match=sentence):
        joined(index, tmp_path / "back.tif")


def test_two_sizes_of_tiles_without_an_index(tmp_path: Path) -> None:
    sizes = {(0, 0): (20, 20), (0, 1): (20, 20), (1, 0): (18, 20), (1, 1): (20, 20)}
    paths = [write_image(tmp_path / f"{row}_{col}.png", gray(*size)) for (row, col), size in sizes.items()]
    with pytest.raises(PatchcliError, match=r"1_0.png has width=20 height=18 but .*0_0.png has width=20 height=20"):
        joined(paths, tmp_path / "back.png", names="{row}_{col}.png")
    write_image(paths[2], gray(30, 20)), write_image(paths[3], gray(30, 20))
    with pytest.raises(PatchcliError, match=r"1_0.png has width=20 height=30 but .*0_0.png has width=20 height=20"):
        joined(paths, tmp_path / "back.png", names="{row}_{col}.png")


def test_two_tiles_of_one_place(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / name, gray(20, 20)) for name in ("a-0-1.png", "a-00-1.png")]
    with pytest.raises(PatchcliError, match=r"a-0-1.png and .*a-00-1.png are both the tile of row=0 col=1; give one of them"):
        joined(paths, tmp_path / "back.png", names="{stem}-{row}-{col}.png")


def test_two_files_for_one_tile(tmp_path: Path) -> None:
    index = tampered(tmp_path)
    for suffix in (".png", ".tif"):
        write_tiles(tmp_path / "done", gray(60, 90), Grid((60, 90), 20, edge="clip"), suffix)
    with pytest.raises(
        PatchcliError, match=r"has several files for one tile, poster-000-000.png and poster-000-000.tif in .*done"
    ):
        joined(index, tmp_path / "back.png", tiles_from=str(tmp_path / "done"))
    with pytest.raises(PatchcliError, match=r"names 15 tiles of which none is in .*none, which does not exist$"):
        joined(index, tmp_path / "back.png", tiles_from=str(tmp_path / "none"))
    with pytest.raises(PatchcliError, match=r"of which none is in .*jsonl, which is not a folder$"):
        joined(index, tmp_path / "back.png", tiles_from=str(index))
    (tmp_path / "none").mkdir()
    with pytest.raises(PatchcliError, match=r"of which none is in .*none$"):
        joined(index, tmp_path / "back.png", tiles_from=str(tmp_path / "none"))


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    index = tampered(tmp_path)
    (tmp_path / "tiles" / "poster-040-020.png").write_bytes(b"nothing")
    with pytest.raises(PatchcliError, match=r"poster-040-020.png is text, not an image that patchcli reads"):
        joined(index, tmp_path / "back.png")
    write_image(tmp_path / "tiles" / "poster-040-020.png", gray(20, 20))
    data = bytearray((tmp_path / "tiles" / "poster-040-020.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "tiles" / "poster-040-020.png").write_bytes(data)
    with pytest.raises(PatchcliError, match=r"poster-040-020.png is a damaged"):
        joined(index, tmp_path / "back.png")
    assert not (tmp_path / "back.png").exists()


def test_a_place_outside_the_image(tmp_path: Path) -> None:
    index = tampered(tmp_path)
    text = index.read_text().replace('"x": 80, "y": 40', '"x": 90, "y": 40')
    index.write_text(text)
    with pytest.raises(PatchcliError, match="has its origin at x=90 y=40; allowed are x from 0 to 80"):
        joined(index, tmp_path / "back.png")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
def test_a_tall_image_of_tiles_is_never_held(tmp_path: Path) -> None:
    import subprocess

    from tests.helpers.runs import MEASURE

    peaks = []
    for name, rows in (("small", 3000), ("tall", 9000)):  # the first fills all that is read ahead
        image = np.zeros((200 * rows, 200), np.uint8)
        index = write_tiles(tmp_path / name, image, Grid(image.shape, 200), ".npy")
        command = [
            sys.executable,
            "-c",
            MEASURE,
            sys.executable,
            "-m",
            "patchcli",
            "merge",
            str(index),
            "-o",
            str(tmp_path / f"{name}.tif"),
        ]
        code, peak = subprocess.run(command, capture_output=True, check=True).stdout.split()
        assert code == b"0"
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 30_000  # kB, where the images differ by 240,000


def test_golden_tiles_still_mean_the_same(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden" / "v1" / "tiles"
    joined(golden / "gray16.tiles.jsonl", tmp_path / "back.npy")
    assert np.array_equal(np.load(tmp_path / "back.npy"), np.load(golden / "gray16.npy"))
