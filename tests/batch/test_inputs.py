"""Folders, lists of names and templates, as a shell sees them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from patchcli.batch.inputs import find
from patchcli.batch.options import BatchOptions
from patchcli.errors import UsageError
from tests.helpers.runs import Run, gray, read_image, refused, untouched, write_image


def tree(folder: Path) -> list[str]:
    """A folder of images and of what is none."""
    names = ["b.png", "a.png", "B.PNG", "z/deep/c.png", "a/d.tif", "a.d/e.png"]
    for seed, name in enumerate(names):
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        path = folder / "in" / name
        write_image(path.with_suffix(path.suffix.lower()), gray(seed=seed)).rename(path)
    for other in ("notes.txt", ".hidden.png", ".git/x.png", "z/x.npz"):
        (folder / "in" / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / other).write_bytes(b"other")
    (folder / "in" / "z" / "loop").symlink_to(folder / "in")
    return [f"in/{name}" for name in ("B.PNG", "a.png", "b.png", "a/d.tif", "a.d/e.png", "z/deep/c.png")]


def test_folders_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = find(BatchOptions(inputs=("in",)), (".png", ".tif"))
    assert (found.paths, found.faults, found.empty) == (expected, [], [])
    assert find(BatchOptions(inputs=("in/a", "x.jpg", "-")), (".png", ".tif")).paths == ["in/a/d.tif", "x.jpg", "-"]
    assert find(BatchOptions(inputs=("in/a",)), (".png",)).empty == [("in/a", "holds no file to read")]


def test_a_folder_keeps_its_paths_and_leaves_the_outputs_out(patchcli: Run, tmp_path: Path) -> None:
    expected = tree(tmp_path)
    call = ("crop", "in", "--box", 1, 2, 5, 6, "-d", "in/out")
    done = patchcli(*call)
    assert (done.returncode, done.stderr) == (0, b"")
    made = sorted(path.relative_to(tmp_path / "in/out").as_posix() for path in (tmp_path / "in/out").rglob("*") if path.is_file())
    assert made == sorted(expected)
    assert np.array_equal(read_image(tmp_path / "in/out/in/a/d.tif"), read_image(tmp_path / "in/a/d.tif")[2:8, 1:6])
    again = patchcli(*call, "--overwrite")
    assert (again.returncode, again.stderr) == (0, b"")
    assert len([path for path in (tmp_path / "in/out").rglob("*") if path.is_file()]) == len(expected)
    refused(patchcli(*call), "already exists; use --overwrite to replace it")


def test_stacks_of_a_folder_merge_back(patchcli: Run, tmp_path: Path) -> None:
    expected = tree(tmp_path)
    assert patchcli("extract", "in", "-s", 8, "-d", "stacks").returncode == 0
    assert patchcli("merge", "stacks", "-d", "back").returncode == 0
    for name in expected:
        assert np.array_equal(read_image(tmp_path / "back/stacks" / name), read_image(tmp_path / name))


@pytest.mark.parametrize("null", [False, True])
def test_names_from_a_list(null: bool, patchcli: Run, tmp_path: Path) -> None:
    names = ["with space.png", "-.png", "café.png", *([] if os.name == "nt" or not null else ["new\nline.png"])]
    for name in names:
        write_image(tmp_path / name, gray())
    tree(tmp_path)
    listed = [*names, "", "in/a"]
    text = "\0".join(listed) if null else "\r\n".join(listed)
    options = ("-0",) if null else ()
    done = patchcli("extract", "-s", 8, "--files-from", "-", *options, "-o", "out/{index}-{stem}.npz", stdin=text.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    stems = [Path(name).stem for name in names] + ["d"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{n}-{stem}.npz" for n, stem in enumerate(stems))
    (tmp_path / "list").write_bytes(text.encode())
    done = patchcli("extract", "in/b.png", "-s", 8, "--files-from", "list", *options, "-d", "two")
    assert done.returncode == 0
    assert len(list((tmp_path / "two").rglob("*.npz"))) == len(names) + 2


def test_a_name_of_one_dash_in_a_list_is_a_file(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", gray()).rename(tmp_path / "-")
    assert patchcli("extract", "-s", 8, "--files-from", "-", "-o", "x.npz", stdin=b"-\n").returncode == 0


UNPRIVILEGED = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root searches every folder")
def test_a_locked_folder_is_an_input_that_failed_and_the_rest_goes_on(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "in/z").chmod(0)
    call = [*UNPRIVILEGED, sys.executable, "-m", "patchcli", "extract", "in", "-s", "8", "-d", "out", "--report", "r"]
    done = subprocess.run([*call, "-v"], capture_output=True, cwd=tmp_path, check=False)
    stopped = subprocess.run([*call, "--fail-fast", "--overwrite"], capture_output=True, cwd=tmp_path, check=False)
    assert stopped.returncode == 3
    assert stopped.stderr.decode().splitlines()[1] == "patchcli: stopped at the first failed input; 5 were not tried"
    again = subprocess.run([*call, "--overwrite"], capture_output=True, cwd=tmp_path, check=False)
    (tmp_path / "in/z").chmod(0o755)
    assert done.returncode == again.returncode == 1
    assert again.stderr == b"patchcli: in/z: cannot be searched: permission denied\n"
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 5
    first, *_, last = map(json.loads, (tmp_path / "r").read_text().splitlines())
    assert (first["input"], first["output"], first["status"]) == ("in/z", None, "failed")
    assert first["errors"] == ["cannot be searched: permission denied"]
    summary = last["summary"]
    assert [summary[name] for name in ("inputs", "done", "failed", "left")] == [6, 5, 1, 0]
    assert summary["errors"] == {"cannot be searched": 1}


def test_templates_give_each_its_output(patchcli: Run, tmp_path: Path) -> None:
    tree(tmp_path)
    done = patchcli("extract", "in/a.png", "in/a/d.tif", "-s", 8, "-o", "o/{parent}/{stem}_{ext}_{index}.npz")
    assert done.returncode == 0
    assert (tmp_path / "o/in/a_png_0.npz").exists()
    assert (tmp_path / "o/in/a/d_tif_1.npz").exists()
    done = patchcli("merge", "o/in/a_png_0.npz", "o/in/a/d_tif_1.npz", "-o", "{stem}.png")
    assert done.returncode == 0
    assert (tmp_path / "a_png_0.png").exists()


@pytest.mark.parametrize(
    ("call", "stdin", "sentence"),
    [
        ("extract in -s 8 -o x.npz", "", "-o names one output but there are 6 inputs; use -d"),
        ("extract in -s 8 -o {stem}.npz -d x", "", "use only one of -o and -d"),
        ("extract in/a.png in/b.png -s 8 -o x{ext}.npz", "", "xpng.npz: two outputs have this name"),
        ("extract in/a.png -s 8 -o {nothing}.npz", "", "has the field {nothing}; allowed are {stem}"),
        ("extract - -s 8 -o {stem}.npz", "", "standard input has no name to fill a template with"),
        ("extract -0 in -s 8 -d x", "", "-0/--null is for --files-from, which was not given"),
        ("extract - --files-from - -s 8 -d x", "", "standard input (-) was given twice"),
        ("extract --files-from none -s 8 -d x", "", "none: cannot be read: no such file"),
        ("extract --files-from - -s 8 -d x", "a.png\0b.png", "standard input: holds NUL bytes; use -0/--null"),
        ("crop in/a.png --box 0 0 5 5 -o in/{stem}.png", "", "in/a.png: is an input too"),
        ("extract -s 8 -d x", "", "no INPUTS; give files, folders, --files-from, or -"),
    ],
)
def test_bad_calls(call: str, stdin: str, sentence: str, patchcli: Run, tmp_path: Path) -> None:
    tree(tmp_path)
    with untouched(tmp_path):
        refused(patchcli(*call.split(), stdin=stdin.encode()), sentence)


def test_folders_without_files(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "a.png", gray())
    refused(patchcli("extract", "empty", "-s", 8, "-d", "x", "--report", "r"), "empty: holds no file to read", 1)
    first, last = map(json.loads, (tmp_path / "r").read_text().splitlines())
    assert (first["input"], first["status"], last["summary"]["errors"]) == ("empty", "failed", {"holds no file to read": 1})
    done = patchcli("extract", "empty", "a.png", "-s", 8, "-d", "x")
    assert (done.returncode, done.stderr) == (0, b"patchcli: empty: holds no file to read\n")


def test_an_empty_list_is_nothing_to_do(patchcli: Run) -> None:
    done = patchcli("extract", "--files-from", "-", "-s", 8, "-d", "x")
    assert (done.returncode, done.stderr) == (0, b"")


def test_unknown_names_are_refused_before_the_list_is_searched() -> None:
    with pytest.raises(UsageError, match="an empty name"):
        find(BatchOptions(inputs=("",)), (".png",))
