"""--resume: what was made is told by what it says of itself, and only the rest is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from patchcli.batch.resume import read_record
from patchcli.errors import PatchcliError
from patchcli.images import sink
from patchcli.storage.outputs import create
from patchcli.storage.provenance import Record, difference
from tests.helpers.runs import Run, gray, read_image, refused, tree, write_image

FORMATS = ("png", "tif", "jpg", "webp", "ppm")


def folder_of_images(folder: Path, count: int = 4) -> None:
    folder.mkdir()
    for number in range(count):
        write_image(folder / f"{number}.png", gray(20 + number, 30, seed=number))


def statuses(text: bytes) -> list[str]:
    return [json.loads(line).get("status", "") for line in text.splitlines()][:-1]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_only_what_is_missing_changed_or_failed_is_done_again(patchcli: Run, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in", 5)
    (tmp_path / "in" / "3.png").write_bytes(b"bad")
    call = ["extract", "in", "-s", 8, "--stride", 4, "-d", "out", "--resume", "--report", "-"]
    assert statuses(patchcli(*call).stdout) == ["done"] * 3 + ["failed", "done"]
    before = stamps(tmp_path / "out")
    write_image(tmp_path / "in" / "1.png", gray(40, 40, seed=9))
    (tmp_path / "out/in/2.png.npz").unlink()
    again = patchcli(*call)
    assert (again.returncode, statuses(again.stdout)) == (1, ["skipped", "done", "done", "failed", "skipped"])
    after = stamps(tmp_path / "out")
    assert {name for name in after if after[name] != before[name]} == {"1.png.npz", "2.png.npz"}
    write_image(tmp_path / "in" / "3.png", gray())
    mended = patchcli(*call, "-v")
    assert (mended.returncode, statuses(mended.stdout)) == (0, ["skipped"] * 3 + ["done", "skipped"])
    assert b"in/0.png -> out/in/0.png.npz: is up to date" in mended.stderr
    assert json.loads(mended.stdout.splitlines()[-1])["summary"]["skipped"] == 4
    silent = patchcli(*call[:-2])
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("-s", 8, "--stride", 8), "was made with --stride at 4x4, not at 8x8"),
        (("-s", 9, "--stride", 4), "was made with --patch-size at 8x8, not at 9x9"),
        (("-s", 8, "--stride", 4, "--gray"), "was made with --color at its default, not at gray"),
        (("-s", 8, "--stride", 4, "--margin", 2), "was made with --margin at its default, not at 2"),
        (
            ("-s", 8, "--stride", 4, "--pad-mode", "constant", "--pad-value", 3),
            "was made with --pad-mode at its default, not at constant",
        ),
        (("-s", 8, "--stride", 4, "--max-patches", "50%"), "was made with --max-patches at its default, not at 1/2"),
        (("-s", 8, "--stride", 4, "--mask", "in/0.png"), "was made with --mask at its default, not at true"),
        (("-s", 8, "--stride", 4, "--compress"), "was made with --compress at its default, not at true"),
    ],
)
def test_other_settings_are_refused_by_name(patchcli: Run, tmp_path: Path, changed: tuple[object, ...], said: str) -> None:
    folder_of_images(tmp_path / "in", 2)
    assert patchcli("extract", "in/0.png", "-s", 8, "--stride", 4, "-o", "out/0.npz").returncode == 0
    before = tree(tmp_path)
    refused(patchcli("extract", "in/0.png", *changed, "-o", "out/0.npz", "--resume"), f"out/0.npz: {said}")
    assert tree(tmp_path) == before
    again = patchcli("extract", "in/0.png", *changed, "-o", "out/0.npz", "--resume", "--overwrite")
    assert (again.returncode, again.stderr) == (0, b"")
    assert tree(tmp_path) != before


def test_what_does_not_change_outputs_does_not_count(patchcli: Run, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in", 3)
    assert patchcli("extract", "in", "-s", 8, "-d", "out", "--overlap", "25%").returncode == 0
    call = ["extract", "in", "-s", "8x8", "-d", "out", "--stride", 6, "--max-pixels", 0, "-j", 2, "--resume", "--report", "-"]
    assert statuses(patchcli(*call).stdout) == ["skipped"] * 3


def test_other_peoples_files_are_never_replaced(patchcli: Run, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in", 1)
    call = ["extract", "in/0.png", "-s", 8, "-o", "x.npz", "--resume"]
    unsaid = "and does not say how it was made: without --resume, or by another program"
    for content, fault in (
        (b"", "but is empty"),
        (b"notes", unsaid),
        (b"PK\x03\x04", "but is truncated or damaged: it is not a whole zip file (File is not a zip file)"),
        ((tmp_path / "in/0.png").read_bytes(), unsaid),
    ):
        (tmp_path / "x.npz").write_bytes(content)
        refused(patchcli(*call), f"x.npz: exists {fault}; use another place")
        assert (tmp_path / "x.npz").read_bytes() == content
    np.savez(tmp_path / "x.npz", patches=np.zeros(3))
    refused(patchcli(*call), f"x.npz: exists {unsaid}; use another place")
    assert patchcli("crop", "in/0.png", "--box", 0, 0, 8, 8, "-o", "c.png", "--resume").returncode == 0
    (tmp_path / "c.png").replace(tmp_path / "x.npz")
    refused(patchcli(*call), "x.npz: was made by crop, not by extract")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_images_say_how_they_were_made(patchcli: Run, tmp_path: Path, suffix: str) -> None:
    colour = np.stack([gray(24, 24, seed=seed) for seed in range(3)], axis=2)
    write_image(tmp_path / "a.png", colour)
    call = ["crop", "a.png", "--box", 1, 2, 9, 8, "-o", f"c.{suffix}", "--resume", "--report", "-"]
    assert statuses(patchcli(*call).stdout) == ["done"]
    with (tmp_path / f"c.{suffix}").open("rb") as file:
        note = Record.from_json(sink.note_of(file) or "")
    assert note is not None
    assert (note.command, note.settings) == ("crop", {"--box": [1, 2, 9, 8]})
    assert note.inputs["image"] == ["a.png", (tmp_path / "a.png").stat().st_size, (tmp_path / "a.png").stat().st_mtime_ns]
    if suffix != "jpg":
        assert np.array_equal(read_image(tmp_path / f"c.{suffix}"), colour[2:10, 1:10])
    assert statuses(patchcli(*call).stdout) == ["skipped"]
    refused(patchcli(*call[:-2], "--size", 4), f"c.{suffix}: was made with --size at its default, not at 4x4")
    os.utime(tmp_path / "a.png", ns=(0, 0))
    assert statuses(patchcli(*call).stdout) == ["done"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*FORMATS, "pgm"])
def test_images_tell_nothing_of_their_source_unless_they_are_to_be_resumed(patchcli: Run, tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / "a.png", gray(24, 24) if suffix == "pgm" else np.dstack([gray(24, 24)] * 3))
    call = ["crop", "a.png", "--box", 1, 2, 9, 8, "-o", f"c.{suffix}"]
    assert patchcli(*call).returncode == 0
    first = (tmp_path / f"c.{suffix}").read_bytes()
    assert b"a.png" not in first
    assert b"patchcli" not in first
    os.utime(tmp_path / "a.png", ns=(0, 0))
    assert patchcli(*call, "--overwrite").returncode == 0
    assert (tmp_path / f"c.{suffix}").read_bytes() == first
    refused(patchcli(*call, "--resume"), f"c.{suffix}: exists and does not say how it was made: without --resume, or by another")
    assert statuses(patchcli(*call, "--resume", "--overwrite", "--report", "-").stdout) == ["done"]
    assert statuses(patchcli(*call, "--resume", "--report", "-").stdout) == ["skipped"]


def test_other_programs_read_images_with_a_note(patchcli: Run, tmp_path: Path) -> None:
    import imageio.v3 as iio

    colour = np.stack([gray(24, 24, seed=seed) for seed in range(3)], axis=2)
    for image, suffixes in ((colour, FORMATS), (gray(24, 24), ("pgm", "png", "tif")), (gray(24, 24) > 99, ("png",))):
        write_image(tmp_path / "a.png", image)
        for suffix in suffixes:
            if suffix != "jpg":
                call = ["crop", "a.png", "--box", 1, 2, 9, 8, "-o", f"c.{suffix}", "--overwrite", "--resampling", "nearest"]
                assert patchcli(*call).returncode == 0
                assert np.array_equal(iio.imread(tmp_path / f"c.{suffix}", plugin="pillow"), image[2:10, 1:10])


def test_formats_without_a_place_for_it_are_refused(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    for suffix in ("bmp", "npy"):
        call = ["crop", "a.png", "--box", 1, 2, 9, 8, "-o", f"c.{suffix}", "--resume"]
        refused(patchcli(*call), f"c.{suffix}: {suffix.upper()} cannot hold how it was made; with --resume use png, tiff")
    refused(
        patchcli("extract", "-", "-s", 4, "-o", "x.npz", "--resume"),
        "a standard stream: is not a file; give one, of which --resume",
    )
    refused(
        patchcli("extract", "a.png", "-s", 4, "-o", "-", "--resume"),
        "a standard stream: is not a file; give one, of which --resume",
    )
    boxes = ["crop", "a.png", "--boxes", "-", "-o", "x.npz", "--resume"]
    refused(patchcli(*boxes, stdin=b"x,y,w,h\n1,1,2,2\n"), "with --resume use -d or -o TEMPLATE")


def test_merge_depends_on_all_that_it_reads(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    assert patchcli("extract", "a.png", "-s", 6, "--stride", 3, "-o", "a.npz", "--shard-patches", 20).returncode == 0
    shards = sorted(path.name for path in tmp_path.glob("a-*.npz"))
    assert len(shards) > 2
    np.save(tmp_path / "w.npy", np.ones((6, 6)))
    call = ["merge", *shards, "-o", "b.png", "--cover", "n.tif", "--window", "w.npy", "--resume", "--report", "-"]
    assert statuses(patchcli(*call).stdout) == ["done"]
    assert statuses(patchcli(*call).stdout) == ["skipped"]
    for path in ("w.npy", shards[1]):
        os.utime(tmp_path / path, ns=(0, 0))
        assert statuses(patchcli(*call).stdout) == ["done"]
        assert statuses(patchcli(*call).stdout) == ["skipped"]
    (tmp_path / "n.tif").unlink()
    assert statuses(patchcli(*call).stdout) == ["done"]
    refused(patchcli(*call[:-2], "--dtype", "float32"), "was made with --dtype at its default, not at float32")
    refused(patchcli(*call[:4], "-o", "b.png", "--cover", "n.npy", "--resume"), "n.npy: NPY cannot hold how it was made")


def test_companions_and_shards_are_made_together(patchcli: Run, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in", 1)
    write_image(tmp_path / "m.png", gray(20, 30, seed=5))
    call = [
        "extract",
        "in/0.png",
        "-s",
        6,
        "-o",
        "a.npz",
        "--companion",
        "m.png",
        "--shard-patches",
        7,
        "--resume",
        "--report",
        "-",
    ]
    assert statuses(patchcli(*call).stdout) == ["done"]
    first = tree(tmp_path)
    assert statuses(patchcli(*call).stdout) == ["skipped"]
    (tmp_path / "a.companion-00001-of-00003.npz").unlink()
    assert statuses(patchcli(*call).stdout) == ["done"]
    assert tree(tmp_path) == first
    for name in ("in/0.png", "m.png"):
        write_image(tmp_path / name, gray(40, 30, seed=6))
    assert statuses(patchcli(*call).stdout) == ["done"]
    assert sorted(path.name for path in tmp_path.glob("a*-of-*")) == [
        f"a{what}-{number:05}-of-00005.npz" for what in ("", ".companion") for number in range(5)
    ]
    refused(patchcli(*call[:-2], "--seed", 1, "--max-patches", 9), "with --max-patches at")


def test_rows_of_a_list_are_resumed_one_by_one(patchcli: Run, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in", 2)
    rows = "".join(f"in/{image}.png,{left},1,5,5\n" for image in range(2) for left in range(4))
    (tmp_path / "b.csv").write_text("input,x,y,w,h\n" + rows)
    call = ["crop", "--boxes", "b.csv", "-o", "out/{stem}-{index}.png", "--resume", "--report", "-"]
    assert statuses(patchcli(*call).stdout) == ["done"] * 2
    first, before = tree(tmp_path), stamps(tmp_path)
    (tmp_path / "out/0-0.png").unlink()
    (tmp_path / "out/0-2.png").unlink()
    assert statuses(patchcli(*call).stdout) == ["done", "skipped"]
    assert tree(tmp_path) == first
    assert {name for name, stamp in stamps(tmp_path).items() if stamp != before[name]} == {"0-0.png", "0-2.png"}


def test_differences_of_records() -> None:
    one = Record("crop", {"--box": [1, 2, 3, 4]}, {})
    assert difference(one, one._replace(inputs={"image": "x"})) is None
    assert difference(one, one._replace(settings={})) == "was made with --box at [1, 2, 3, 4], not at its default"
    assert Record.from_json(one.to_json()) == one
    for text in ("", "[]", "{}", '{"format": "x"}', '{"format": "patchcli.record", "command": 1, "settings": 3, "inputs": {}}'):
        assert Record.from_json(text) is None


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(10))
def test_a_killed_run_is_completed_to_the_same_tree(patchcli: Run, tmp_path: Path, turn: int) -> None:
    chance = np.random.default_rng(turn)
    count, jobs = 500, 1 + turn % 2
    source = tmp_path / "in"
    source.mkdir()
    for number in range(count):
        write_image(source / f"{number:03}.png", gray(40 + number % 7, 50, seed=number))
    call = ["extract", "in", "-s", 16, "--stride", 8, "-j", jobs, "-d"]
    assert patchcli(*call, "whole").returncode == 0
    command = [sys.executable, "-m", "patchcli", *map(str, call), "out", "--report", "-"]
    # A small pipe that is read line by line holds the run back: it cannot be at its end before it is killed.
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pipesize=4096)
    enough = int(chance.integers(1, count - 150))
    assert running.stdout is not None
    for _ in range(enough):
        running.stdout.readline()
    time.sleep(chance.random() * 0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    time.sleep(0.5 if jobs > 1 else 0)  # until its workers have seen it
    made = stamps(tmp_path / "out")
    made = {name: stamp for name, stamp in made.items() if name.endswith(".npz")}
    assert enough <= len(made) < count
    again = patchcli(*call, "out", "--resume", "--report", "-")
    assert (again.returncode, again.stderr) == (0, b"")
    assert statuses(again.stdout).count("done") == count - len(made)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    after = stamps(tmp_path / "out")
    assert {name: after[name] for name in made} == made


def test_files_of_a_living_run_are_left_alone(tmp_path: Path) -> None:
    from patchcli.storage import atomic

    target = str(tmp_path / "a.npz")
    with create(target) as file:
        file.write(b"x")
        atomic.remove_leftovers([target])
        assert len(list(tmp_path.glob(".a.npz.*.tmp"))) == 1
    assert Path(target).read_bytes() == b"x"
    dead = tmp_path / ".a-00001-of-00002.npz.0123456789ab.tmp"
    other = tmp_path / ".b.npz.0123456789ab.tmp"
    for path in (dead, other):
        path.touch()
    atomic.remove_leftovers([target])
    assert (dead.exists(), other.exists()) == (False, True)


def test_records_are_read_from_nothing_else(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    assert read_record(str(tmp_path / "a.png")) is None
    with pytest.raises(PatchcliError, match="cannot be read: no such file"):
        read_record(str(tmp_path / "missing"))
