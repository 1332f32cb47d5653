"""Tiles that other programs cut: joined to their source, and cut alike; a program that is not there is a test skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers.pages import page
from tests.helpers.runs import Run, read_image, write_image
from tests.helpers.shells import environment
from tests.helpers.shells import run as run_shell

if TYPE_CHECKING:
    from numpy.typing import NDArray

# of programs, the package that holds each, as .ci/run installs it
PACKAGES = {
    "convert": "imagemagick",
    "gdal_retile.py": "gdal-bin and python3-gdal",
    "gdal_translate": "gdal-bin",
    "vips": "libvips-tools",
    "pamdice": "netpbm",
    "pamundice": "netpbm",
    "pamcut": "netpbm",
    "split-image": "split-image of PyPI",
}


def path_of(program: str) -> str:
    """Where a program is; skip where it is not installed."""
    beside = Path(sys.executable).parent  # where packages of Python put theirs
    found = shutil.which(program, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{program} is not installed ({PACKAGES[program]}); it is only compared with")
    return found


def run(folder: Path, program: str, *arguments: object) -> None:
    """Run a program in a folder, which is made where it is not there."""
    folder.mkdir(exist_ok=True)
    subprocess.run([path_of(program), *map(str, arguments)], cwd=folder, check=True, capture_output=True, timeout=100)


def scene(height: int = 150, width: int = 205) -> NDArray[Any]:
    """A picture in colours, parts of which need none: a gray tile of 64 pixels, and one of black and white."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([columns % 256, rows % 256, rows * columns % 251], axis=2).astype(np.uint8)
    image[:64, 64:128] = image[:64, 64:128, :1]
    image[64:128, :64] = image[64:128, :64, :1] // 128 * 255
    return image


def joined(patchcli: Run, folder: Path, *arguments: object, target: str = "joined.png") -> NDArray[Any]:
    """The tiles of a folder ``out``, joined."""
    done = patchcli("merge", "out", "-o", target, *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return read_image(folder / target)


@pytest.mark.parametrize("size", [(150, 205), (128, 192)])
def test_imagemagick(size: tuple[int, int], patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.png", scene(*size))
    run(tmp_path / "out", "convert", "../big.png", "-crop", "64x64", "+repage", "im_%d.png")
    across = -(-size[1] // 64)
    assert np.array_equal(joined(patchcli, tmp_path, "--names", "im_{patch}.png", "--across", across), scene(*size))


@pytest.mark.parametrize("overlap", [0, 16])
def test_gdal_retile(overlap: int, patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.tif", scene())
    target = ("-targetDir", ".", "../big.tif")
    run(tmp_path / "out", "gdal_retile.py", "-ps", 64, 64, "-overlap", overlap, *target)
    stride = ("--stride", 64 - overlap) if overlap else ()
    names = ("--names", "{stem}_{row+1}_{col+1}.tif")
    assert np.array_equal(joined(patchcli, tmp_path, *names, *stride, target="joined.tif"), scene())


def test_gdal_retile_keeps_the_place_on_earth(patchcli: Run, tmp_path: Path) -> None:
    from patchcli.images import sink
    from patchcli.images.metadata import Metadata
    from patchcli.images.source import open_image

    tags = ((33550, (10.0, 10.0, 0.0)), (33922, (0.0, 0.0, 0.0, 500000.0, 4200000.0, 0.0)))
    with (tmp_path / "big.tif").open("wb") as file:
        sink.write(file, scene(), "tiff", metadata=Metadata.usual(3)._replace(geotiff=tags))
    run(tmp_path / "out", "gdal_retile.py", "-ps", 64, 64, "-targetDir", ".", "../big.tif")
    done = patchcli("merge", "out", "--names", "{stem}_{row+1}_{col+1}.tif", "-o", "{stem}.joined.tif")
    assert (done.returncode, done.stderr) == (0, b"")
    with (tmp_path / "big.joined.tif").open("rb") as file:
        back = open_image(file)
        assert dict(back.metadata.geotiff)[33922] == tags[1][1]
        assert np.array_equal(back.pixels(), scene())


def test_vips_dzsave(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.png", scene())
    how = ("--depth", "one", "--tile-size", 64, "--overlap", 0, "--suffix", ".png")
    run(tmp_path, "vips", "dzsave", "big.png", "big", *how)
    (tmp_path / "big_files" / "0").rename(tmp_path / "out")
    assert np.array_equal(joined(patchcli, tmp_path, "--names", "{col}_{row}.png"), scene())


def test_vips_dzsave_of_folders(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.png", scene(128, 192))
    how = ("--layout", "google", "--depth", "one", "--tile-size", 64, "--suffix", ".png", "--skip-blanks", -1)
    run(tmp_path, "vips", "dzsave", "big.png", "big", *how)
    (tmp_path / "big" / "0").rename(tmp_path / "out")
    assert np.array_equal(joined(patchcli, tmp_path, "--names", "{row}/{col}.png"), scene(128, 192))


def test_split_image(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.png", scene(150, 204))
    run(tmp_path / "out", "split-image", "../big.png", 3, 4)
    assert np.array_equal(joined(patchcli, tmp_path, "--names", "{stem}_{patch}.png", "--across", 4), scene(150, 204))


@pytest.mark.parametrize("overlap", [0, 12])
def test_pamdice(overlap: int, patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "big.ppm", scene())
    overlaps = (f"-hoverlap={overlap}", f"-voverlap={overlap}") if overlap else ()
    run(tmp_path / "out", "pamdice", "-width=64", "-height=64", *overlaps, "-outstem=tile", "../big.ppm")
    stride = ("--stride", 64 - overlap) if overlap else ()
    assert np.array_equal(joined(patchcli, tmp_path, "--names", "{stem}_{row}_{col}.ppm", *stride), scene())


def in_shell(folder: Path, lines: str) -> None:
    """Run lines of a page, whose programs are found where Python packages put theirs, too; nothing is said of errors."""
    variables = environment(folder)
    for program in {line.split()[0] for line in lines.splitlines()} - {"patchcli"}:
        (Path(variables["PATH"].partition(":")[0]) / program).symlink_to(path_of(program))
    ran = run_shell("bash", f"set -e\n{lines}", folder)
    assert (ran.returncode, ran.stderr) == (0, b"")


CALLS = dict(re.findall(r"^### (\S+) .*?\n(.*?)(?=^##|\Z)", page("coming-from.md"), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("program", CALLS)
def test_calls_of_the_page_make_the_same_files(program: str, tmp_path: Path) -> None:
    made = []
    for column in (0, 1):
        folder = tmp_path / str(column)
        for name in ("im", "retiled", "diced"):
            (folder / name).mkdir(parents=True)
        for suffix in ("png", "tif", "ppm"):
            write_image(folder / f"a.{suffix}", np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
        rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", CALLS[program], re.MULTILINE)
        in_shell(folder, "\n".join(row[column] for row in rows))
        images = [path for path in folder.rglob("*.*") if path.suffix in {".png", ".tif", ".ppm"}]
        made.append({path.relative_to(folder).as_posix(): read_image(path) for path in images})
    assert len(made[0]) > 3 + 2 * (program != "split-image")
    assert made[0].keys() == made[1].keys()
    for name, image in made[0].items():
        assert np.array_equal(image, made[1][name]), name


def test_pamundice_takes_each_pixel_from_the_last_tile(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.ppm", scene())
    options = ("-s", 64, "--overlap", 16, "--edge", "clip")
    assert patchcli("extract", "a.ppm", *options, "-o", "t/{row}_{col}.ppm").returncode == 0
    for number, path in enumerate(sorted((tmp_path / "t").glob("*.ppm"))):
        write_image(path, np.full_like(read_image(path), 10 * number))
    assert patchcli("merge", "t", "--reduce", "last", "-o", "ours.ppm").returncode == 0
    call = "pamundice t/%1d_%1a.ppm -across=4 -down=3 -hoverlap=16 -voverlap=16 > theirs.ppm"
    in_shell(tmp_path, call)
    assert np.array_equal(read_image(tmp_path / "ours.ppm"), read_image(tmp_path / "theirs.ppm"))
