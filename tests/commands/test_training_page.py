"""``docs/training-data.md``: a folder of photographs and masks, every block run in order, and what comes of each looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from tests.helpers.pages import blocks_of
from tests.helpers.runs import SAMPLES, read_image
from tests.helpers.shells import run

if TYPE_CHECKING:
    from pathlib import Path

CUT, MERGE, CROP = blocks_of("training-data.md", "sh")
LOADER, SPLIT, COCO, SHARDS, WEBDATASET = blocks_of("training-data.md", "python")
PHOTOS = {  # parts of a sample image
    "street/a": (0, 0, 400, 300),
    "street/b": (30, 40, 300, 170),
    "lab/c.v2": (100, 20, 230, 170),
    "d": (200, 100, 340, 200),
}
PALETTE = [value for number in range(256) for value in (number, 255 - number, 7 * number % 256)]
BOXES: list[list[float]] = [
    [10, 20, 30, 25],
    [110, 10, 30, 30],
    [3.5, 60, 20, 41],
    [44, 44, 80, 80],  # which no tile shows half of
    [370, 280, 30, 20],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs and masks, in folders and beside them, and boxes of the first."""
    for name in PHOTOS:
        add_photo(tmp_path, name)
    about = {
        "images": [{"id": 7, "file_name": "street/a.jpg"}, {"id": 5, "file_name": "d.jpg"}],
        "annotations": [{"id": 90 + at, "image_id": 7, "category_id": 3, "bbox": box} for at, box in enumerate(BOXES)],
        "categories": [{"id": 3, "name": "window"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(about))
    shell(tmp_path, CUT)
    return tmp_path


def add_photo(folder: Path, name: str) -> None:
    box = PHOTOS.get(name, (0, 0, 90, 80))
    for kind in ("photos", "masks"):
        (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
    with PIL.Image.open(SAMPLES / "scene.png") as scene:
        photo = scene.crop(box)
    photo.save(folder / "photos" / f"{name}.jpg", quality=95)
    mask = photo.convert("L").point([value // 13 for value in range(256)])
    mask.putpalette(PALETTE)
    mask.save(folder / "masks" / f"{name}.png")


def shell(folder: Path, lines: str) -> None:
    ran = run("bash", f"set -e\n{lines}", folder)
    assert (ran.returncode, ran.stderr) == (0, b"")


def python(folder: Path, block: str, warnings: str = "error") -> str:
    ran = subprocess.run([sys.executable, "-W", warnings, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def names_of(folder: Path, role: str) -> list[str]:
    above = folder / "tiles" / role
    return sorted(path.relative_to(above).as_posix() for path in above.rglob("*.png"))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def parts(folder: Path) -> dict[str, str]:
    """On which side each photograph is; never on both."""
    sides = {side: {name.rsplit("-", 2)[0] for name in lines(folder / f"{side}.txt")} for side in ("train", "val")}
    assert sides["train"].isdisjoint(sides["val"])
    return {name: side for side, names in sides.items() for name in names}


def test_labels_are_cut_as_numbers_and_come_back_in_their_colours(folder: Path) -> None:
    assert names_of(folder, "image") == names_of(folder, "labels")
    assert {name.rsplit("-", 2)[0] for name in names_of(folder, "image")} == set(PHOTOS)
    (folder / "tiles/labels").rename(folder / "predicted")
    (folder / "tiles/labels/street").mkdir(parents=True)
    (folder / "predicted/street/a.labels.tiles.jsonl").rename(folder / "tiles/labels/street/a.labels.tiles.jsonl")
    shell(folder, MERGE)
    with PIL.Image.open(folder / "a-predicted.png") as made, PIL.Image.open(folder / "masks/street/a.png") as mask:
        assert np.array_equal(np.asarray(made), np.asarray(mask))
        assert np.array_equal(np.asarray(made.convert("RGB")), np.asarray(mask.convert("RGB")))


def test_a_photograph_without_its_mask_is_named_and_the_others_go_on(folder: Path) -> None:
    for name in ("lost", "other"):
        add_photo(folder, name)
    (folder / "masks/lost.png").unlink()
    (folder / "masks/other.png").write_bytes((folder / "masks/d.png").read_bytes())
    ran = run("bash", CUT.replace("tiles/", "again/").replace("report.", "second."), folder)
    first, second = ran.stderr.decode().splitlines()
    assert "photos/lost.jpg: its labels masks/lost.png cannot be read: no such file" in first
    assert "photos/other.jpg: its labels masks/other.png has width=140 height=100; expected width=90 height=80" in second
    assert ran.returncode == 1
    assert len(list((folder / "again/image").rglob("*.jsonl"))) == len(PHOTOS)


@pytest.mark.slow
def test_ten_lines_make_a_loader(folder: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; make .venv/peers.stamp installs what is only compared with")
    assert len([line for line in LOADER.splitlines() if line]) == 10
    check = """
seen, sums = 0, []
for images, labels in loader:
    assert images.dtype == torch.float32 and labels.dtype == torch.int64 and len(images) == len(labels) <= 16
    assert images.shape[1:] == (3, 64, 64) and labels.shape[1:] == (64, 64) and 0 <= images.min() and images.max() <= 1
    sums += (images * 255).round().long().sum(dim=(1, 2, 3)).tolist()
    assert set(labels.unique().tolist()) <= {*range(20), 255}
    seen += len(images)
    image, label = images[0], labels[0]
    brightness = image[0] * 76.245 + image[1] * 149.685 + image[2] * 29.07
    inside = label != 255
    assert ((brightness[inside] / 13 - label[inside]).min() > -1) and ((brightness[inside] / 13 - label[inside]).max() < 2)
print(seen, sum(sums))
"""
    total = sum(int(read_image(folder / "tiles/image" / name).sum()) for name in names_of(folder, "image"))
    assert python(folder, LOADER + check).split() == [str(len(names_of(folder, "image"))), str(total)]


def test_a_split_does_not_move_when_photographs_come(folder: Path) -> None:
    python(folder, SPLIT)
    before = parts(folder)
    assert sorted(lines(folder / "train.txt") + lines(folder / "val.txt")) == names_of(folder, "image")
    for number in range(12):
        add_photo(folder, f"new/{number}")
    shell(folder, CUT.rstrip() + " --resume --overwrite")
    skipped = [json.loads(line).get("status") for line in lines(folder / "report.jsonl")].count("skipped")
    assert skipped == len(PHOTOS)
    python(folder, SPLIT)
    after = parts(folder)
    assert sorted(lines(folder / "train.txt") + lines(folder / "val.txt")) == names_of(folder, "image")
    assert {name: after[name] for name in before} == before
    assert set(after.values()) == {"train", "val"}
    assert len(after) == len(PHOTOS) + 12


@pytest.mark.parametrize("margin", [0, 16])
def test_boxes_of_coco_move_into_tiles(folder: Path, margin: int) -> None:
    if margin:
        shell(folder, f"{CUT.rstrip()} --margin {margin} --overwrite")
    python(folder, COCO)
    made = json.loads((folder / "tiles.json").read_text())
    assert {image["file_name"] for image in made["images"]} == {
        name for name in names_of(folder, "image") if name.startswith(("street/a-", "d-"))
    }
    expected = []
    for image in made["images"]:
        stem, x, y = image["file_name"].removesuffix(".png").rsplit("-", 2)
        for box in BOXES if stem == "street/a" else []:
            inside = np.zeros((1000, 1000), bool)
            left, top, width, height = (round(2 * value) for value in box)  # in halves of a pixel
            inside[2 * margin + top :, 2 * margin + left :][:height, :width] = True
            shown = inside[2 * int(y) : 2 * int(y) + 128, 2 * int(x) : 2 * int(x) + 128]
            if 2 * shown.sum() >= inside.sum():
                down, across = np.flatnonzero(shown.any(1)) / 2, np.flatnonzero(shown.any(0)) / 2
                sides = [across[0], down[0], across[-1] + 0.5 - across[0], down[-1] + 0.5 - down[0]]
                expected.append((image["id"], sides))
    assert [(one["image_id"], one["bbox"]) for one in made["annotations"]] == expected
    assert [one["id"] for one in made["annotations"]] == list(range(1, len(expected) + 1))
    shell(folder, CROP)
    whole = read_image(folder / "objects/window/a-0.png")
    same = [one["bbox"][2:] == BOXES[0][2:] for one in made["annotations"]].index(True)
    (cut,) = (folder / "in-tiles/window").glob(f"*-{same}.png")
    with PIL.Image.open(folder / "photos/street/a.jpg") as photo:
        assert np.array_equal(whole, np.asarray(photo)[20:45, 10:40])
    assert np.array_equal(read_image(cut), whole)


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """The files of the shards by sample and kind, as WebDataset tells them: those of one name up to its first dot, in a row."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted((folder / "shards").iterdir()):
        with tarfile.open(path) as shard:
            members = shard.getmembers()
            for first, second in zip(members[::2], members[1::2], strict=True):
                (key, one), (other, two) = first.name.split(".", 1), second.name.split(".", 1)
                assert key == other
                assert key not in samples
                contents = [shard.extractfile(member) for member in (first, second)]
                samples[key] = {kind: file.read() for kind, file in zip((one, two), contents, strict=True) if file is not None}
    return samples


def test_shards_hold_every_tile_once(folder: Path) -> None:
    train = names_of(folder, "image")
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in train))
    python(folder, SHARDS)
    assert len(list((folder / "shards").iterdir())) == -(-len(train) // 50) > 1
    samples = samples_of(folder)
    assert len(samples) == len(train)
    for name in train:
        kinds = {f"{role}.png": (folder / "tiles" / role / name).read_bytes() for role in ("image", "labels")}
        assert samples[name.removesuffix(".png").replace(".", "%2E")] == kinds


@pytest.mark.slow
def test_webdataset_reads_the_shards(folder: Path) -> None:
    for name in ("torch", "webdataset"):
        pytest.importorskip(name, reason=f"{name} is not installed; make .venv/peers.stamp installs what is only compared with")
    train = names_of(folder, "image")
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in train))
    python(folder, SHARDS)
    check = """
batches = list(loader)
assert all(images.shape[1:] == (64, 64, 3) and labels.shape[1:] == (64, 64) for images, labels in batches)
print(*(sum(int(batch[at].sum(dtype=torch.int64)) for batch in batches) for at in (0, 1)))
print(sum(len(batch[0]) for batch in batches))
"""
    pixels = {role: [PIL.Image.open(folder / "tiles" / role / name) for name in train] for role in ("image", "labels")}
    sums = [sum(int(np.asarray(tile).sum()) for tile in tiles) for tiles in pixels.values()]
    said = python(folder, WEBDATASET + check, "ignore")  # of its own, that it leaves the shards open
    assert said.split() == [*map(str, sums), str(len(train))]
