"""What a terminal shows: a bar, and lines that it makes room for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.runs import gray, write_image

if TYPE_CHECKING:
    from pathlib import Path

BAD = "is empty, not an image that patchcli reads (PNG, TIFF, JPEG, WEBP, BMP, PGM, PPM, PBM, PNM, GIF, NPY)"


def on_terminal(arguments: list[str], folder: Path, stream: str, columns: int = 100, lines: int = 24) -> tuple[int, str]:
    """Run with one standard stream on a terminal; exit code and what the terminal showed."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(primary, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        stream: secondary,
    }
    with subprocess.Popen([sys.executable, "-m", "patchcli", *arguments], cwd=folder, **streams) as process:
        os.close(secondary)
        shown = b""
        if stream != "stdin":
            while True:
                try:
                    part = os.read(primary, 1 << 16)
                except OSError:  # the other end is closed
                    break
                if not part:
                    break
                shown += part
        out, error = process.communicate(timeout=60)
    os.close(primary)
    return process.returncode, (shown + (out or b"") + (error or b"")).decode()


def test_one_input_has_a_bar_over_its_patches(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray(300, 300))
    call = ["extract", "a.png", "-s", "8", "--stride", "1", "--overwrite", "-o"]
    code, shown = on_terminal([*call, "a.npz"], tmp_path, "stderr")
    assert code == 0
    assert "100%" in shown or "patch/s" in shown
    assert "a.png -> a.npz: 85849 patches of width=8 height=8" in shown
    code, shown = on_terminal([*call, "a.npz", "-q"], tmp_path, "stderr")
    assert (code, shown) == (0, "")
    code, shown = on_terminal([*call, "-"], tmp_path, "stdout")
    assert code == 2
    assert "standard output is a terminal and the output is binary; redirect it or give -o FILE" in shown
    code, shown = on_terminal(["extract"], tmp_path, "stdin")
    assert code == 2
    assert "Usage: patchcli extract [OPTIONS] INPUTS..." in shown


def left_standing(shown: str) -> list[str]:
    """The lines that can be read in the end: what is overwritten from the start of a line is gone."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def batch(folder: Path) -> None:
    (folder / "in").mkdir()
    for number in range(9):
        write_image(folder / f"in/{number}.png", gray(seed=number))
    for number in (0, 4, 8):
        (folder / f"in/{number}.png").write_bytes(b"")


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_have_a_bar_that_leaves_nothing_but_errors_and_counts(tmp_path: Path, jobs: int) -> None:
    batch(tmp_path)
    code, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out", "-j", str(jobs)], tmp_path, "stderr")
    assert code == 1
    assert "/9 [" in shown
    assert left_standing(shown) == [
        *(f"patchcli: in/{number}.png: {BAD}" for number in (0, 4, 8)),
        "9 inputs: 6 done, 3 failed",
        "patchcli: 3 of 9 inputs failed: 3 x is empty, not an image that patchcli reads",
        "",
    ]
    code, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out", "--resume", "-j", str(jobs)], tmp_path, "stderr")
    assert "9 inputs: 6 up to date, 3 failed" in left_standing(shown)


def test_failures_are_counted_beside_the_bar(tmp_path: Path) -> None:
    batch(tmp_path)
    for number in range(300):
        write_image(tmp_path / f"in/x{number}.png", gray(200, 200, seed=number))
    _, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out"], tmp_path, "stderr")
    assert ", 3 failed]" in shown


@pytest.mark.parametrize(("columns", "lines"), [(0, 24), (100, 0), (0, 0)])
def test_a_terminal_that_does_not_know_its_size_has_a_bar_too(tmp_path: Path, columns: int, lines: int) -> None:
    batch(tmp_path)
    _, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out"], tmp_path, "stderr", columns, lines)
    assert "/9 [" in shown


def test_a_run_that_stops_says_how_far_it_came(tmp_path: Path) -> None:
    batch(tmp_path)
    code, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out", "--fail-fast"], tmp_path, "stderr")
    assert code == 3
    assert left_standing(shown)[-2:] == ["9 inputs: 1 failed, 8 not tried", ""]


def test_with_v_each_input_has_its_line_too(tmp_path: Path) -> None:
    batch(tmp_path)
    _, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out", "-v"], tmp_path, "stderr")
    assert [re.sub(r" \(\d+\.\d\d s, \d+ MB/s\)$", "", line) for line in left_standing(shown) if "->" in line] == [
        f"in/{number}.png -> out/in/{number}.png.npz: 12 patches of width=8 height=8" for number in (1, 2, 3, 5, 6, 7)
    ]


def test_without_a_bar_each_input_has_its_line(tmp_path: Path) -> None:
    batch(tmp_path)
    _, shown = on_terminal(["extract", "in", "-s", "8", "-d", "out", "--no-progress"], tmp_path, "stderr")
    assert "in/1.png -> out/in/1.png.npz: 12 patches of width=8 height=8" in left_standing(shown)
    assert "/9 [" not in shown
