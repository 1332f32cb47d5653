"""Tiles in the making: what the next run finds of one that was broken off."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.stacks import tile_set
from patchcli.stacks.header import Meta
from patchcli.stacks.tile_index import read_index
from patchcli.stacks.tile_set import TileSet, is_being_made, known_tiles
from patchcli.storage import atomic
from patchcli.storage.outputs import Outputs
from patchcli.storage.provenance import Record

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"{number}.png" for number in range(4)]


def meta(edge: str = "shift") -> Meta:
    return Meta(Grid((8, 8), 4, edge=edge), (), np.dtype("u1"), record=Record("extract", {}, {"image": ["a.png", 5, 7]}))


def beginning(folder: Path) -> bytes:
    return (folder / ".a.tiles.jsonl.begun").read_bytes()


class StoppedError(Exception):
    """In place of a kill."""


def made(
    folder: Path, content: bytes, *, stop: int = 4, overwrite: bool = False, keep: bool = True, edge: str = "shift"
) -> list[str]:
    """Make tiles, up to one before which the run stops; those that were written."""
    written = []
    with (
        Outputs(overwrite=overwrite) as outputs,
        TileSet(str(folder / "a.tiles.jsonl"), meta(edge), overwrite=overwrite, keep=keep) as tiles,
    ):
        for number, name in enumerate(NAMES):
            tiles.begin([(name, number, number)])
            if number == stop:
                raise StoppedError
            if not tiles.has(name):
                tiles.put([name], [content])
                written.append(name)
            tiles.done(1)
            while not tile_set.CHECKPOINT_SECONDS and b'{"whole": %d}' % (number + 1) not in beginning(folder):
                time.sleep(0.001)
        tiles.finish(outputs)
    return written


def shown(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_on_disk_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_set, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        made(tmp_path, b"first", stop=2)
    assert b'{"whole": 2}' in beginning(tmp_path)
    assert made(tmp_path, b"second") == NAMES[2:]
    assert [shown(tmp_path)[name] for name in NAMES] == [b"first", b"first", b"second", b"second"]
    assert shown(tmp_path).keys() == {*NAMES, "a.tiles.jsonl"}


def test_what_was_not_known_to_be_on_disk_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        made(tmp_path, b"first", stop=2)
    assert made(tmp_path, b"second") == NAMES


def test_what_others_made_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / NAMES[1]).write_bytes(b"theirs")
    with pytest.raises(PatchcliError, match=r"1\.png: cannot be written: it exists by now"):
        made(tmp_path, b"ours", keep=False)
    assert shown(tmp_path) == {NAMES[1]: b"theirs"}


def test_a_run_that_fails_leaves_the_old_set(tmp_path: Path) -> None:
    made(tmp_path, b"old")
    before = shown(tmp_path)
    with pytest.raises(StoppedError):
        made(tmp_path, b"new", stop=3, overwrite=True, keep=False)
    assert shown(tmp_path) == before
    assert not atomic.UNFINISHED
    made(tmp_path, b"new", overwrite=True, keep=False)
    assert [shown(tmp_path)[name] for name in NAMES] == [b"new"] * 4


def test_a_folder_that_came_to_be_in_the_place_of_a_tile_leaves_the_old_set(tmp_path: Path) -> None:
    made(tmp_path, b"old")
    (tmp_path / NAMES[2]).unlink()
    (tmp_path / NAMES[2]).mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PatchcliError, match=r"2\.png: cannot be written: is a directory"):
        made(tmp_path, b"new", overwrite=True, keep=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / NAMES[3]).read_bytes() == b"old"
    assert not atomic.UNFINISHED | atomic.FOLDERS


def test_other_settings_make_all_again_and_remove_what_no_longer_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_set, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        made(tmp_path, b"first", stop=3)
    (tmp_path / "theirs.png").write_bytes(b"theirs")
    monkeypatch.setattr("tests.stacks.test_tile_set.NAMES", ["0.png", "9.png"])
    assert made(tmp_path, b"second", edge="pad") == ["0.png", "9.png"]
    assert shown(tmp_path).keys() == {"0.png", "9.png", "theirs.png", "a.tiles.jsonl"}


def test_nothing_is_removed_or_trusted_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    lines = [{"old": "../x.png"}, {"file": "/etc/passwd.png", "x": 0, "y": 0}, {"old": "notes.txt"}, {"old": "7.png"}, 5, "torn"]
    (tmp_path / "t/.a.tiles.jsonl.begun").write_text("{}\n" + "\n".join(map(json.dumps, lines)) + '\n{"old": "8.p')
    for name in ("x.png", "t/notes.txt", "t/7.png"):
        (tmp_path / name).write_bytes(b"kept")
    assert known_tiles(str(tmp_path / "t/a.tiles.jsonl")) == {"7.png"}
    made(tmp_path / "t", b"new")
    assert (tmp_path / "x.png").exists()
    assert (tmp_path / "t/notes.txt").exists()
    assert not (tmp_path / "t/7.png").exists()


def test_two_runs_do_not_make_one_set(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tiles.jsonl")
    with Outputs() as outputs, TileSet(path, meta(), overwrite=False, keep=False) as tiles:
        assert is_being_made(path)
        with pytest.raises(PatchcliError, match="another run is making these tiles"):
            made(tmp_path, b"other")
        tiles.finish(outputs)
    assert not is_being_made(path)
    with open(path, "rb") as file:
        assert read_index(file).files == []


def test_where_a_file_system_is_not_flushed_as_a_whole_each_tile_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(atomic, "flushes_all", lambda _number: False)
    monkeypatch.setattr(os, "fsync", flushed.append)
    made(tmp_path, b"x")
    assert len(flushed) >= len(NAMES)
