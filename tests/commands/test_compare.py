"""``merge --compare`` through real processes: what it says and reports, and what it refuses before anything is written."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from tests.helpers.runs import SAMPLES, Run, gray, read_image, refused, tree, untouched, write_image

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from numpy.typing import NDArray


def figures(original: NDArray[Any], other: NDArray[Any], data_range: float = 255) -> dict[str, float]:
    """What the report is to say of two images without NaN."""
    apart = original.astype("f8") - other.astype("f8")
    rmse = math.sqrt((apart * apart).mean())
    psnr = 20 * math.log10(data_range / rmse)
    return {"rmse": rmse, "psnr": psnr, "largest": abs(apart).max(), "data_range": data_range, "left_out": 0}


def reported(ran: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """What the report on standard output has of each input."""
    return [json.loads(line) for line in ran.stdout.splitlines()][:-1]


def compared(ran: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert (ran.returncode, ran.stderr) == (0, b"")
    (record,) = reported(ran)
    return dict(record["compare"])


def blurred(tmp_path: Path, source: str, target: str) -> None:
    """Process a stack, as users do."""
    stack = dict(np.load(tmp_path / source))
    stack["patches"] = stack["patches"] // 3 * 3
    np.savez(tmp_path / target, **stack)


@pytest.fixture
def photo(tmp_path: Path, patchcli: Run) -> NDArray[Any]:
    """A colour image, its stack, and that stack processed."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    write_image(tmp_path / "a.png", pixels)
    assert patchcli("extract", "a.png", "-s", 16, "--overlap", "50%", "-o", "a.npz").returncode == 0
    blurred(tmp_path, "a.npz", "b.npz")
    return pixels


def test_the_report_and_the_words(patchcli: Run, tmp_path: Path, photo: NDArray[Any]) -> None:
    found = compared(patchcli("merge", "b.npz", "-o", "b.png", "--compare", "a.png", "--report", "-"))
    expected = figures(photo, read_image(tmp_path / "b.png"))
    assert found == {"original": "a.png", **{name: pytest.approx(value, rel=1e-12) for name, value in expected.items()}}
    said = patchcli("merge", "b.npz", "-o", "c.png", "--compare", "a.png", "-v", "--no-progress").stderr.decode()
    words = f"RMSE {found['rmse']:.4g}, PSNR {found['psnr']:.2f} dB, largest difference 2, of a data range of 255"
    assert said.startswith(f"b.npz -> c.png: image of width=90 height=70; against a.png: {words} (")
    assert patchcli("merge", "b.npz", "-o", "d.png", "--compare", "a.png").stderr == b""
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "d.png").read_bytes()
    equal = compared(patchcli("merge", "a.npz", "-o", "e.png", "--compare", "a.png", "--report", "-"))
    assert equal == {"original": "a.png", "rmse": 0, "psnr": None, "largest": 0, "data_range": 255, "left_out": 0}
    plain = reported(patchcli("merge", "a.npz", "-o", "f.png", "--report", "-"))
    assert "compare" not in plain[0]


def test_what_is_compared_is_what_is_written_before_it_is_encoded(patchcli: Run, tmp_path: Path, photo: NDArray[Any]) -> None:
    stack = dict(np.load(tmp_path / "a.npz"))
    np.savez(tmp_path / "f.npz", **{**stack, "patches": stack["patches"] + np.float32(0.4)})
    for target in ("f.png", "f.jpg"):
        assert compared(patchcli("merge", "f.npz", "-o", target, "--compare", "a.png", "--report", "-"))["largest"] == 0
    exact = compared(patchcli("merge", "f.npz", "-o", "f.tif", "--dtype", "float32", "--compare", "a.png", "--report", "-"))
    assert exact["rmse"] == pytest.approx(0.4, rel=1e-5)
    assert exact["data_range"] == 255
    assert photo.shape == (70, 90, 3)


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_trimmed_images_are_compared_with_their_part(suffix: str, patchcli: Run, tmp_path: Path) -> None:
    image = gray(300, 500, "u2", seed=3)
    write_image(tmp_path / f"a.{suffix}", image)
    call = ("extract", f"a.{suffix}", "-s", 64, "--stride", 50, "--offset", "7,5", "--edge", "drop", "-o", "a.npz")
    assert patchcli(*call).returncode == 0
    blurred(tmp_path, "a.npz", "b.npz")
    found = compared(patchcli("merge", "b.npz", "--trim", "-o", "b.npy", "--compare", f"a.{suffix}", "--report", "-"))
    made = np.load(tmp_path / "b.npy")
    expected = figures(image[5 : 5 + made.shape[0], 7 : 7 + made.shape[1]], made, 65535)
    assert found["rmse"] == pytest.approx(expected["rmse"], rel=1e-12)
    filled = compared(patchcli("merge", "b.npz", "--fill", 9, "-o", "c.npy", "--compare", f"a.{suffix}", "--report", "-"))
    assert filled["rmse"] == pytest.approx(figures(image, np.load(tmp_path / "c.npy"), 65535)["rmse"], rel=1e-12)


def test_floats_with_nan(patchcli: Run, tmp_path: Path) -> None:
    image = np.linspace(-2, 3, 40 * 50).reshape(40, 50).astype("f4")
    image[3, 4] = np.nan
    np.save(tmp_path / "a.npy", image)
    assert patchcli("extract", "a.npy", "-s", 10, "-o", "a.npz").returncode == 0
    stack = dict(np.load(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", **{**stack, "patches": stack["patches"] + np.float32(0.5)})
    call = ("merge", "b.npz", "--allow-nonfinite", "-o", "b.npy", "--compare", "a.npy", "--report", "-")
    found = compared(patchcli(*call))
    assert (found["data_range"], found["left_out"]) == (5, 1)
    assert found["rmse"] == pytest.approx(0.5, rel=1e-6)
    nothing = np.full((40, 50), np.nan, "f4")
    np.save(tmp_path / "n.npy", nothing)
    call = ("merge", "b.npz", "--allow-nonfinite", "-o", "c.npy", "--compare", "n.npy", "--report", "-")
    assert compared(patchcli(*call)) == {
        "original": "n.npy", "rmse": None, "psnr": None, "largest": None, "data_range": None, "left_out": 2000,
    }  # fmt: skip


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    "options", [["--color", "gray"], ["--channel", 2], ["--page", 0, "--color", "rgb"], ["--companion", "a.png", "--channel", 1]]
)
def test_an_original_is_read_as_the_stack_was(options: list[Any], patchcli: Run, tmp_path: Path) -> None:
    assert patchcli("extract", "a.png", "-s", 16, *options, "-o", "c.npz").returncode == 0
    for stack in sorted(path.name for path in tmp_path.glob("c*.npz")):
        found = compared(patchcli("merge", stack, "-o", "c.png", "--compare", "a.png", "--report", "-", "--overwrite"))
        assert (found["rmse"], found["data_range"]) == (0, 255), stack
        alone = compared(patchcli("merge", stack, "-o", "d.png", "--compare", "c.png", "--report", "-", "--overwrite"))
        assert alone["rmse"] == 0, stack


@pytest.mark.usefixtures("photo")
def test_other_channels_than_were_cut_are_compared_as_they_are_stored(patchcli: Run, tmp_path: Path) -> None:
    assert patchcli("extract", "a.png", "-s", 16, "--color", "gray", "-o", "g.npz").returncode == 0
    stack = dict(np.load(tmp_path / "g.npz"))
    assert patchcli("extract", "a.png", "-s", 16, "-o", "full.npz").returncode == 0
    np.savez(tmp_path / "c.npz", **{**stack, "patches": np.load(tmp_path / "full.npz")["patches"]})
    assert compared(patchcli("merge", "c.npz", "-o", "c.png", "--compare", "a.png", "--report", "-"))["rmse"] == 0


def test_indices_labels_and_turned_images(patchcli: Run, tmp_path: Path) -> None:
    image = PIL.Image.fromarray(gray(40, 60) % 7).convert("P")
    image.putpalette([value for number in range(7) for value in (number * 30, 255 - number * 30, 9)])
    image.save(tmp_path / "p.png")
    assert patchcli("extract", "p.png", "-s", 20, "--color", "indices", "--labels", "p.png", "-o", "p.npz").returncode == 0
    for stack in ("p.npz", "p.labels.npz"):
        found = compared(patchcli("merge", stack, "-o", "q.png", "--compare", "p.png", "--report", "-", "--overwrite"))
        assert found["rmse"] == 0, stack
    write_image(tmp_path / "a.png", gray(40, 60))
    assert patchcli("extract", "a.png", "-s", 20, "--labels", "p.png", "-o", "a.npz").returncode == 0
    assert compared(patchcli("merge", "a.labels.npz", "-o", "r.png", "--compare", "p.png", "--report", "-"))["rmse"] == 0
    for options in ([], ["--no-exif-rotate"]):
        cut = patchcli("extract", SAMPLES / "upright.jpg", "-s", 32, *options, "-o", "u.npz", "--overwrite")
        assert cut.returncode == 0
        call = ("merge", "u.npz", "-o", "u.png", "--compare", SAMPLES / "upright.jpg", "--report", "-", "--overwrite")
        assert compared(patchcli(*call))["rmse"] == 0, options
    piped = patchcli("extract", SAMPLES / "upright.jpg", "-s", 32, "--no-exif-rotate", "-o", "-").stdout
    ran = patchcli("merge", "-", "-o", "v.tif", "--compare", SAMPLES / "upright.jpg", "--report", "-", stdin=piped)
    assert compared(ran)["rmse"] == 0


def test_pages(patchcli: Run, tmp_path: Path) -> None:
    pages = [gray(30, 40, seed=seed) for seed in range(3)]
    first, *others = map(PIL.Image.fromarray, pages)
    first.save(tmp_path / "p.tif", save_all=True, append_images=others)
    assert patchcli("extract", "p.tif", "-s", 10, "--page", "1-2", "-o", "p{page}.npz").returncode == 0
    for page in (1, 2):
        call = ("merge", f"p000{page}.npz", "-o", f"p{page}.png", "--compare", "p.tif", "--report", "-")
        assert compared(patchcli(*call))["rmse"] == 0
        write_image(tmp_path / "one.png", pages[page])  # of a file with one page that one is read
        call = ("merge", f"p000{page}.npz", "-o", f"o{page}.png", "--compare", "one.png", "--report", "-")
        assert compared(patchcli(*call))["rmse"] == 0
    joined = patchcli("extract", "p.tif", "-s", 10, "--page", "1-2", "--pages-as", "channels", "-o", "c.npz")
    assert joined.returncode == 0
    assert compared(patchcli("merge", "c.npz", "-o", "c.tif", "--compare", "p.tif", "--report", "-"))["rmse"] == 0


@pytest.mark.parametrize("workers", [(), ("-j", 2)])
def test_templates_compare_each_with_its_own(workers: tuple[Any, ...], patchcli: Run, tmp_path: Path) -> None:
    for folder in ("clean", "noisy"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        clean = gray(40, 50 + number, seed=number)
        write_image(tmp_path / f"clean/{number}.png", clean)
        write_image(tmp_path / f"noisy/{number}.png", clean ^ (number + 1))
    assert patchcli("extract", "noisy", "-s", 20, "--edge", "pad", "-d", "stacks").returncode == 0
    call = ("merge", "stacks", "-d", "back", "--compare", "clean/{stem}", "--report", "-", *workers)
    ran = patchcli(*call)
    assert (ran.returncode, ran.stderr) == (0, b"")
    records = reported(ran)
    assert [record["compare"]["original"] for record in records] == [f"clean/{number}.png" for number in range(4)]
    for number, record in enumerate(records):
        clean = gray(40, 50 + number, seed=number)
        assert record["compare"]["rmse"] == pytest.approx(figures(clean, clean ^ (number + 1))["rmse"], rel=1e-12)
    skipped = patchcli("merge", "stacks", "-d", "again", "--compare", "clean/{stem}", "--report", "-", "--resume")
    assert all("compare" in record for record in reported(skipped))
    skipped = patchcli("merge", "stacks", "-d", "again", "--compare", "noisy/{stem}", "--report", "-", "--resume")
    assert [(record["status"], "compare" in record) for record in reported(skipped)] == [("skipped", False)] * 4


@pytest.mark.usefixtures("photo")
def test_tiles_and_shards(patchcli: Run, tmp_path: Path) -> None:
    for stem in ("one", "two"):
        (tmp_path / f"{stem}.png").write_bytes((tmp_path / "a.png").read_bytes())
    call = ("extract", "one.png", "two.png", "-s", 16, "--edge", "clip", "-o", "tiles/{stem}-{x}-{y}.png")
    assert patchcli(*call).returncode == 0
    for how in (["tiles/one.tiles.jsonl", "tiles/two.tiles.jsonl"], ["tiles", "--names", "{stem}-{x}-{y}.png"]):
        ran = patchcli("merge", *how, "-o", "x/{stem}.png", "--compare", "{stem}.png", "--report", "-", "--overwrite")
        assert (ran.returncode, ran.stderr) == (0, b"")
        found = [(record["compare"]["original"], record["compare"]["rmse"]) for record in reported(ran)]
        assert found == [("one.png", 0), ("two.png", 0)]
    assert patchcli("extract", "a.png", "-s", 16, "--shard-patches", 9, "-o", "s.npz").returncode == 0
    shards = sorted(path.name for path in tmp_path.glob("s-*.npz"))
    assert compared(patchcli("merge", *shards, "-o", "s.png", "--compare", "a.png", "--report", "-"))["rmse"] == 0


OTHER = "b.npz: becomes an image of width=90 height=70 with 3 channels, but {} is one of {}; compare images of the same size"
REFUSED = {
    "size": ("small.png", OTHER.format("small.png", "width=30 height=20 with 1 channel"), 1),
    "channels": ("gray.png", OTHER.format("gray.png", "width=90 height=70 with 1 channel"), 1),
    "no image": ("b.npz", "b.npz: its original b.npz is a patch stack or another zip archive, not an image", 1),
    "missing": ("gone.png", "b.npz: its original gone.png cannot be read: no such file", 1),
    "field": ("{what}.png", "{what}.png: has the field {what}; allowed are", 2),
}


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("dry", [(), ("-n",)])
@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_compared_is_refused_before_any_work(which: str, dry: tuple[str], patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", gray())
    write_image(tmp_path / "gray.png", gray(70, 90))
    original, sentence, code = REFUSED[which]
    with untouched(tmp_path):
        refused(
            patchcli("merge", "b.npz", "-o", "new/b.png", "--cover", "new/c.png", "--compare", original, *dry), sentence, code
        )


@pytest.mark.usefixtures("photo")
def test_an_original_is_an_input(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    before = tree(tmp_path)
    for options, sentence in (
        (["-o", "a.png"], "a.png: is an input too; give the output another name"),
        (["-o", "hard.png"], "hard.png: is the same file as the input a.png"),
        (["-o", "x.png", "--cover", "a.png"], "a.png: is an input too"),
        (["-o", "x.png", "--report", "a.png"], "a.png: is an input too"),
    ):
        refused(patchcli("merge", "b.npz", "--compare", "a.png", "--overwrite", *options), sentence)
    stdin = (tmp_path / "b.npz").read_bytes()
    piped = patchcli("merge", "-", "-o", "x.png", "--compare", "{stem}.png", stdin=stdin)
    refused(piped, "standard input has no name to fill a template with; give the name of a file")
    assert tree(tmp_path) == before
    assert compared(patchcli("merge", "-", "-o", "x.png", "--compare", "a.png", "--report", "-", stdin=stdin))["largest"] == 2


def test_a_damaged_original_leaves_nothing(patchcli: Run, tmp_path: Path) -> None:
    image = gray(2000, 1500)
    write_image(tmp_path / "a.tif", image)
    assert patchcli("extract", "a.tif", "-s", 50, "-o", "a.npz").returncode == 0
    tifffile.imwrite(tmp_path / "d.tif", image, compression="zlib", rowsperstrip=100)
    data = bytearray((tmp_path / "d.tif").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(100)
    (tmp_path / "d.tif").write_bytes(data)
    with untouched(tmp_path):
        ran = patchcli("merge", "a.npz", "-o", "b.tif", "--compare", "d.tif")
        refused(ran, "a.npz: its original d.tif ", 1)
