"""Class numbers beside an image, and methods that lose the border of a patch: through real processes, as people use them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from patchcli import read_stack, write_stack
from tests.helpers.pictures import decoded, picture, with_palette
from tests.helpers.runs import Run, gray, read_image, refused, write_image
from tests.helpers.shells import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE = np.random.default_rng(1).integers(0, 256, (256, 3))
CUT = ["-s", 32, "--stride", 16]


def done(ran: subprocess.CompletedProcess[bytes], said: str = "") -> None:
    assert (ran.stderr.decode(), ran.returncode) == (said, 0)


def changed(path: Path, patches: NDArray[Any]) -> None:
    """The same stack with other patches, as a script with nothing but numpy writes it."""
    held = dict(np.load(path))
    np.savez(path, **{**held, "patches": patches})


@pytest.mark.parametrize("name", ["voc.png", "voc.tif", "ids2bit.png", "frame.gif", "mask.bmp", "labels.npy"])
def test_masks_go_through_a_script_with_their_numbers_and_colours(patchcli: Run, tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "gray.png", gray(64, 96))
    if name == "labels.npy":
        ids = np.kron(gray(8, 12) % np.uint8(21), np.ones((8, 8), np.uint8)).astype(np.int16) - 1
        np.save(tmp_path / name, ids)
    else:
        ids = with_palette(tmp_path / name, TABLE)
    done(patchcli("extract", "gray.png", *CUT, "--margin", 5, "--labels", name, "-o", "a.npz"))
    image, labels = (read_stack(tmp_path / file) for file in ("a.npz", "a.labels.npz"))
    assert (image.meta.labels, labels.meta.labels) == (False, True)
    assert np.array_equal(image.origins, labels.origins)
    assert labels.patches.dtype == ids.dtype
    padded = np.pad(ids, 5, mode="reflect")
    for patch, (row, column) in zip(labels.patches, labels.origins + 5, strict=True):
        assert np.array_equal(patch, padded[row : row + 32, column : column + 32])
    changed(tmp_path / "a.labels.npz", labels.patches[:, ::-1, ::-1][:, ::-1, ::-1])
    suffix = "npy" if name == "labels.npy" else "png"
    done(patchcli("merge", "a.labels.npz", "-o", f"back.{suffix}"))
    if suffix == "npy":
        assert np.array_equal(np.load(tmp_path / "back.npy"), ids)
        return
    with PIL.Image.open(tmp_path / "back.png") as back, PIL.Image.open(tmp_path / name) as given:
        assert np.array_equal(np.asarray(back), ids)
        assert back.mode == "P"
        if given.mode == "P":
            assert back.getpalette() == given.getpalette()
    colours = decoded((tmp_path / name).read_bytes(), color="indices").metadata.colormap
    assert decoded((tmp_path / "back.png").read_bytes(), color="indices").metadata.colormap == colours


def test_neighbours_that_disagree_give_no_third_class(patchcli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.full((64, 96), 3, np.uint8))
    write_image(tmp_path / "gray.png", gray(64, 96))
    done(patchcli("extract", "gray.png", *CUT, "--labels", "labels.npy", "-o", "a.npz"))
    stack = read_stack(tmp_path / "a.labels.npz")
    patches = np.where(np.arange(len(stack.patches))[:, None, None] < 5, np.uint8(9), stack.patches)
    changed(tmp_path / "a.labels.npz", patches)
    for options in ([], ["--reduce", "mode"]):
        done(patchcli("merge", "a.labels.npz", *options, "-o", "back.npy", "--overwrite"))
        assert np.unique(np.load(tmp_path / "back.npy")).tolist() == [3, 9]
    order = np.random.default_rng(0).permutation(len(patches))
    write_stack(tmp_path / "b.npz", stack._replace(patches=patches[order], origins=stack.origins[order]))
    done(patchcli("merge", "b.npz", "-o", "again.npy"))
    assert np.array_equal(np.load(tmp_path / "again.npy"), np.load(tmp_path / "back.npy"))


def test_labels_and_companions_are_named_alike(patchcli: Run, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            write_image(tmp_path / folder / name, gray(40, 50) % np.uint8(5))
    beside = ["--labels", "masks/{stem}.png", "--companion", "images/{name}", "--companion", "masks/{name}"]
    done(patchcli("extract", "images/a.png", *CUT, *beside, "-o", "x.npz"))
    names = {"x.npz": False, "x.labels.npz": True, "x.companion.npz": False, "x.companion1.npz": False}
    assert {path.name: read_stack(path).meta.labels for path in tmp_path.glob("*.npz")} == names
    done(patchcli("extract", "images", *CUT, *beside[:2], "-d", "out", "--shard-patches", 4))
    assert patchcli("merge", *sorted((tmp_path / "out" / "masks").glob("a.png-*")), "-o", "a.png").returncode == 0
    assert np.array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "masks" / "a.png"))
    assert len(list((tmp_path / "out" / "images").iterdir())) == len(list((tmp_path / "out" / "masks").iterdir()))


def test_labels_are_not_mixed(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(32, 48))
    done(patchcli("extract", "gray.png", "-s", 16, "--stride", 8, "--labels", "gray.png", "-o", "a.npz"))
    said = "a.labels.npz: holds labels, whose class numbers mean mixes; use --reduce mode, min, max, first or last"
    refused(patchcli("merge", "a.labels.npz", "--reduce", "mean", "-o", "b.png"), said, 1)


@pytest.mark.slow
def test_labels_are_padded_by_a_class_of_their_own(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(30, 40))
    write_image(tmp_path / "ids.png", gray(30, 40) % np.uint8(21))
    call = ["extract", "gray.png", "-s", 16, "--margin", 4, "--edge", "pad", "--labels", "ids.png"]
    done(patchcli(*call, "--label-pad", 255, "-o", "a.npz"))
    done(patchcli(*call, "--pad-mode", "constant", "--pad-value", 7, "-o", "b.npz"))
    ids = read_image(tmp_path / "ids.png")
    for name, value, mode in (("a", 255, "reflect"), ("b", 7, "constant")):
        labels, image = (read_stack(tmp_path / f"{name}{role}.npz") for role in (".labels", ""))
        assert (labels.meta.pad_mode, labels.meta.pad_value, image.meta.pad_mode) == ("constant", value, mode)
        padded = np.pad(ids, ((4, 20), (4, 20)), constant_values=value)
        for patch, (row, column) in zip(labels.patches, labels.origins + 4, strict=True):
            assert np.array_equal(patch, padded[row : row + 16, column : column + 16])
        done(patchcli("merge", f"{name}.labels.npz", "-o", f"{name}.png"))
        assert np.array_equal(read_image(tmp_path / f"{name}.png"), ids)
    said = "gray.png: its labels ids.png cannot be padded: value 256 does not fit dtype uint8; allowed are whole numbers"
    for options in ([], ["-n"]):
        refused(patchcli(*call, "--label-pad", 256, "-o", "c.npz", *options), said, 1)
    refused(patchcli(*call[:-2], "--label-pad", 0, "-o", "c.npz"), "--label-pad is for --labels, which was not given")
    refused(patchcli(*call, "-o", "-"), "--labels makes several stacks; give -o the name of a file")
    refused(patchcli(*call[:-1], "", "-o", "c.npz"), "an empty name was given to --labels; give the name of a file")


def test_what_labels_cannot_be(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(32, 48))
    write_image(tmp_path / "rgb.png", picture("u1", 3, 32, 48))
    write_image(tmp_path / "float.npy", gray(32, 48).astype(np.float32))
    write_image(tmp_path / "small.png", gray(32, 40))
    takes = "so no indices; --color indices and --labels take palettes and gray of integers"
    for name, said in (
        ("rgb.png", f"has samples rgb, {takes}"),
        ("float.npy", f"has dtype float32, {takes}"),
        ("small.png", "has width=40 height=32; expected width=48 height=32, as the image has"),
    ):
        refused(patchcli("extract", "gray.png", *CUT, "--labels", name, "-o", "a.npz"), f"gray.png: its labels {name} {said}", 1)
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_class_numbers_are_never_mixed(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(32, 48))
    done(patchcli("extract", "gray.png", "-s", 16, "--stride", 8, "--labels", "gray.png", "-o", "a.npz"))
    keeping = "use --reduce mode, min, max, first or last"
    for options, said in (
        (["--reduce", "mean"], f"a.labels.npz: holds labels, whose class numbers mean mixes; {keeping}"),
        (["--reduce", "median"], f"a.labels.npz: holds labels, whose class numbers median mixes; {keeping}"),
        (["--reduce", "sum"], f"a.labels.npz: holds labels, whose class numbers sum mixes; {keeping}"),
        (["--window", "hann"], "a.labels.npz: holds labels, whose class numbers a window mixes; merge it without --window"),
    ):
        for more in ([], ["-n"]):
            refused(patchcli("merge", "a.labels.npz", *options, "-o", "b.png", *more), said, 1)
    said = "a.labels.npz: holds class numbers, which JPEG changes; give a lossless format, as .png or .tif"
    refused(patchcli("merge", "a.labels.npz", "-o", "b.jpg"), said, 1)
    for reduce in ("mode", "min", "max", "first", "last"):
        done(patchcli("merge", "a.labels.npz", "--reduce", reduce, "-o", f"{reduce}.png"))
        assert np.array_equal(read_image(tmp_path / f"{reduce}.png"), gray(32, 48))
    done(patchcli("merge", "a.npz", "--window", "hann", "-o", "image.png"))  # which the rule for labels does not bind
    refused(patchcli("merge", "a.npz", "--window", "hann", "--reduce", "mode", "-o", "b.png"), "--window is for --reduce mean")
    changed(tmp_path / "a.labels.npz", read_stack(tmp_path / "a.labels.npz").patches / np.float32(255))
    said = "a.labels.npz: patches are float32, and mode is for integers; give class numbers, as argmax makes them of scores"
    refused(patchcli("merge", "a.labels.npz", "-o", "b.png"), said, 1)


def test_predictions_take_what_labels_say_of_them(patchcli: Run, tmp_path: Path) -> None:
    """Classes that a network gives for the patches of an image, merged like the labels: by mode, and in their colours."""
    write_image(tmp_path / "photo.png", picture("u1", 3, 64, 96))
    ids = with_palette(tmp_path / "mask.png", TABLE)
    done(patchcli("extract", "photo.png", *CUT, "--labels", "mask.png", "-o", "a.npz"))
    np.save(tmp_path / "classes.npy", read_stack(tmp_path / "a.labels.npz").patches)
    done(patchcli("merge", "classes.npy", "--like", "a.labels.npz", "-o", "classes.png"))
    with PIL.Image.open(tmp_path / "classes.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), ids)


def test_labels_are_told_and_resumed(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(32, 48))
    write_image(tmp_path / "ids.png", gray(32, 48) % np.uint8(3))
    call = ["extract", "gray.png", *CUT, "--labels", "ids.png", "-o", "a.npz", "--resume", "-v", "--no-progress"]
    assert "15 patches" not in patchcli(*call).stderr.decode()
    assert "up to date" in patchcli(*call).stderr.decode()
    refused(patchcli(*call, "--label-pad", 2), "a.npz: was made with --label-pad at its default, not at 2")
    write_image(tmp_path / "ids.png", gray(32, 48, seed=2) % np.uint8(3))
    assert "up to date" not in patchcli(*call).stderr.decode()
    told = patchcli("info", "--json", "a.npz", "a.labels.npz").stdout.decode().splitlines()
    assert [json.loads(line)["labels"] for line in told] == [False, True]
    assert b"1 channel, uint8, labels" in patchcli("info", "a.labels.npz").stdout


# -- halo ---------------------------------------------------------------------------------------------------------------------

NETWORK = """
import sys
import numpy as np

stack = dict(np.load(sys.argv[1]))
patches, lost = stack["patches"], int(sys.argv[3])
stack["patches"] = patches[:, lost : patches.shape[1] - lost, lost : patches.shape[2] - lost]
np.savez(sys.argv[2], **stack)
"""


def network(tmp_path: Path, name: str, lost: int) -> None:
    """A script that gives back what it gets, but for the border that a network without padding loses."""
    (tmp_path / "network.py").write_text(NETWORK)
    subprocess.run([sys.executable, "network.py", name, f"less-{name}", str(lost)], cwd=tmp_path, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("edge", ["shift", "pad", "even"])
def test_the_identity_without_a_border_gives_the_image_back(patchcli: Run, tmp_path: Path, edge: str, suffix: str) -> None:
    """Bit for bit, whether the border was lost or is there and not to be used; under any rule and window."""
    image = picture("u1" if suffix == "png" else "f4", 3, 70, 100)
    write_image(tmp_path / f"a.{suffix}", image)
    done(patchcli("extract", f"a.{suffix}", "-s", 40, "--stride", 20, "--edge", edge, "--margin", 8, "-o", "a.npz"))
    network(tmp_path, "a.npz", 8)
    for name in ("a.npz", "less-a.npz"):
        for options in ([], ["--reduce", "median"], ["--reduce", "last"], *([["--window", "hann"]] if suffix == "png" else [])):
            done(patchcli("merge", name, "--halo", 8, *options, "--cover", "c.npy", "-o", f"b.{suffix}", "--overwrite"))
            assert np.array_equal(read_image(tmp_path / f"b.{suffix}"), image)
    done(patchcli("merge", "a.npz", "--halo", 8, "--cover", "c.npy", "-o", "b.tif", "--overwrite"))
    expected = np.zeros((70, 100), int)
    for row, column in read_stack(tmp_path / "a.npz").origins + 8:
        expected[row : row + 24, column : column + 24] += 1
    assert np.array_equal(np.load(tmp_path / "c.npy"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["rows"], ["columns"], ["columns", "--pixel-order", "F"], ["grid"], ["stack", "--compress"]])
def test_whole_patches_of_every_layout_have_a_halo(patchcli: Run, tmp_path: Path, options: list[str]) -> None:
    write_image(tmp_path / "a.png", gray(60, 80))
    done(patchcli("extract", "a.png", *CUT, "--margin", 5, "--layout", *options, "-o", "a.npz"))
    for more in ([], ["--reduce", "mode"], ["--reduce", "first"], ["--window", "gaussian"]):
        done(patchcli("merge", "a.npz", "--halo", 5, *more, "-o", "b.png", "--overwrite"))
        assert np.array_equal(read_image(tmp_path / "b.png"), gray(60, 80))


def test_a_halo_as_wide_as_the_margin_gives_the_image_back(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(64, 96))
    done(patchcli("extract", "a.png", *CUT, "--margin", 8, "-o", "a.npz"))
    network(tmp_path, "a.npz", 8)
    for name in ("a.npz", "less-a.npz"):
        done(patchcli("merge", name, "--halo", 8, "-o", "b.png", "--overwrite"))
        assert np.array_equal(read_image(tmp_path / "b.png"), gray(64, 96))


def test_patches_without_a_border_are_refused_by_the_halo_that_fits(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "gray.png", gray(64, 96))
    done(patchcli("extract", "gray.png", *CUT, "-o", "a.npz"))
    network(tmp_path, "a.npz", 1)
    sizes = "less-a.npz: patches have width=30 height=30 where width=32 height=32 was recorded"
    refused(patchcli("merge", "less-a.npz", "-o", "b.png"), sizes, 1)
    said = patchcli("merge", "less-a.npz", "-o", "b.png", "-n").stderr.decode()
    assert said.endswith("; or --halo 1 if they lost 1 pixel on each side\n")
    said = "less-a.npz: --halo 1 leaves 316 of 6144 pixels covered by no patch; cut with --margin 1 to cover the border"
    refused(patchcli("merge", "less-a.npz", "--halo", 1, "-o", "b.png"), said, 1)
    done(patchcli("merge", "less-a.npz", "--halo", 1, "--trim", "-o", "b.png"))
    assert np.array_equal(read_image(tmp_path / "b.png"), gray(64, 96)[1:-1, 1:-1])
    done(patchcli("merge", "less-a.npz", "--halo", 1, "--fill", 0, "-o", "c.png"))
    assert np.array_equal(read_image(tmp_path / "c.png"), np.pad(gray(64, 96)[1:-1, 1:-1], 1))
    refused(patchcli("merge", "a.npz", "--halo", 16, "-o", "d.png"), "a.npz: halo is 16; allowed are 0 to 15", 1)


def test_channels_first_and_larger_without_a_border(patchcli: Run, tmp_path: Path) -> None:
    """As PyTorch gives it back: ``(N, C, h, w)``, without its border, in classes or in twice the size."""
    write_image(tmp_path / "a.png", gray(60, 80))
    done(patchcli("extract", "a.png", "-s", 30, "--stride", 10, "--margin", 5, "-o", "a.npz"))
    inner = read_stack(tmp_path / "a.npz").patches[:, 5:-5, 5:-5]
    changed(tmp_path / "a.npz", np.stack([inner] * 3, axis=1).repeat(2, axis=2).repeat(2, axis=3))
    said = "patchcli: a.npz: its patches were taken as (N, channels, height, width), with 3 channels of width=40 height=40\n"
    done(patchcli("merge", "a.npz", "--halo", 5, "-o", "b.png"), said)
    larger = gray(60, 80).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(read_image(tmp_path / "b.png"), np.dstack([larger] * 3))


def test_a_size_that_means_two_things_is_a_hint(patchcli: Run, tmp_path: Path) -> None:
    """16 is half of 32, and 32 less 8 on each side; a margin of 8 says that the latter was meant."""
    write_image(tmp_path / "a.png", gray(64, 96))
    for margin in (8, 4):
        done(patchcli("extract", "a.png", *CUT, "--margin", margin, "-o", "a.npz", "--overwrite"))
        network(tmp_path, "a.npz", 8)
        said = "patchcli: less-a.npz: its patches of width=16 height=16 were taken for 1/2 of what was cut; if they "
        said += "lost 8 pixels on each side, as many as the margin has, add --halo 8\n"
        done(patchcli("merge", "less-a.npz", "-o", "half.png", "--overwrite"), said if margin == 8 else "")
    done(patchcli("merge", "less-a.npz", "--halo", 8, "--trim", "-o", "b.png"))


def test_the_lines_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "patches.md").read_text()
    lines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    write_image(tmp_path / "photo.png", picture("u1", 3, 64, 96))
    write_image(tmp_path / "noisy.png", picture("u1", 3, 64, 96) ^ 1)
    (tmp_path / "denoise.py").write_text((ROOT / "examples" / "denoise.py").read_text())
    with_palette(tmp_path / "mask.png", TABLE)
    np.save(tmp_path / "classes.npy", np.zeros((15, 32, 32), np.uint8))
    np.save(tmp_path / "scores.npy", np.zeros((15, 32, 32, 21), np.float32))
    (tmp_path / "network.py").write_text(NETWORK.replace("int(sys.argv[3])", "8"))
    names = f'python() {{ "{sys.executable}" "$@"; }}\npatchcli() {{ python -m patchcli "$@"; }}\n'
    (tmp_path / "lines.sh").write_text(names + "\n".join(lines).replace("-o photo.npz", "-o photo.npz --overwrite"))
    done(subprocess.run(["bash", "-e", "lines.sh"], cwd=tmp_path, capture_output=True, check=False))
    assert np.load(tmp_path / "probabilities.npy").shape == (64, 96, 21)
    assert np.array_equal(read_image(tmp_path / "done.png"), picture("u1", 3, 64, 96))
    figures = json.loads((tmp_path / "figures.jsonl").read_text().splitlines()[0])["compare"]
    assert (figures["original"], figures["data_range"], figures["left_out"]) == ("photo.png", 255, 0)
