"""Where names lead and what exists, against the system's own answer for each name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from patchcli.batch.targets import below
from patchcli.storage.listing import FEW, Folders
from patchcli.storage.shards import shard_name


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names in folders with more files than are looked at one by one: links among them, to files, folders and nowhere."""
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "a/deep", "b"):
        Path(folder).mkdir()
    for number in range(2 * FEW):
        Path(f"a/{number:03}.png").touch()
    for number in range(0, 2 * FEW, 9):
        Path(f"a/link{number}.png").symlink_to(f"{number:03}.png")
    Path("a/nowhere.png").symlink_to("../gone/x.png")
    Path("a/round.png").symlink_to("round.png")
    Path("linked").symlink_to("a")
    Path("b/up").symlink_to("../a/deep")
    Path("b/x.png").symlink_to("../a/000.png")
    odd = ["a/../a/001.png", "./a/002.png", "a//003.png", "linked/link9.png", "b/up/../005.png", "b/up/y", "b/x.png", "000.png"]
    return [
        *(f"a/{name}" for name in sorted(os.listdir("a"))),
        *odd,
        "a/none.png",
        "new/x.png",
        "a/..",
        "b/.",
        "a/001.png/x",
        "b/",
    ]


@pytest.mark.parametrize("absolute", [True, False])
def test_names_lead_where_the_system_says(crowded: list[str], *, absolute: bool) -> None:
    folders = Folders()
    names = [os.path.join(os.getcwd(), name) for name in crowded] if absolute else crowded
    for name in [*names, *reversed(names)]:
        assert folders.place(name) == os.path.realpath(name), name
        assert folders.holds(name) == os.path.lexists(name), name


def test_a_folder_that_cannot_be_listed_is_asked_for_each_name(crowded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refused)
    folders = Folders()
    for name in crowded:
        assert folders.place(name) == os.path.realpath(name), name


def test_shards_of_many_outputs(tmp_path: Path) -> None:
    made = {f"{tmp_path}/{stem}.npz": count for stem, count in (("a", 3), ("b", 1), ("a-00000-of-00002", 2), ("c", 0))}
    for target, count in made.items():
        for number in range(count):
            Path(shard_name(target, number, count)).touch()
    folders = Folders()
    for target, count in made.items():
        assert folders.shards(target) == [shard_name(target, number, count) for number in range(count)], target
    assert folders.shards(f"{tmp_path}/gone/a.npz") == []


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("a/b.png", "a/b.png"),
        ("/a//b.png", "a/b.png"),
        ("../../a/./b.png", "a/b.png"),
        ("a/../b.png", "b.png"),
        ("b.png", "b.png"),
    ],
)
def test_what_is_kept_of_a_path_below_another_folder(path: str, kept: str) -> None:
    assert below(path) == kept
