"""What the command line shows of itself: help in groups, versions, suggestions, tracebacks, words at a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchcli.version import __version__
from tests.helpers.runs import Run, gray, refused, write_image


@pytest.mark.parametrize("call", ["", "extract", "merge", "crop", "info", "completion"])
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_every_command_tells_the_version(patchcli: Run, call: str, option: str) -> None:
    assert patchcli(*call.split(), option).stdout.decode() == f"patchcli {__version__}\n"


@pytest.mark.parametrize(
    ("command", "groups"),
    [
        ("extract", ["Patches", "Choosing patches", "Reading", "Output", "Many files", "Messages"]),
        ("merge", ["Merging", "Tile files", "Reading", "Output", "Many files", "Messages"]),
        ("crop", ["Boxes", "Sampling", "Reading", "Output", "Many files", "Messages"]),
        ("info", ["Reading", "Output", "Many files", "Messages"]),
    ],
)
def test_help_stands_in_groups(patchcli: Run, command: str, groups: list[str]) -> None:
    shown = patchcli(command, "--help").stdout.decode()
    assert [line[:-1] for line in shown.splitlines() if line.endswith(":") and line[0] != " "] == groups
    assert ("W[xH]" in shown) == (command in ("extract", "merge", "crop"))
    assert "RANGE" not in shown


def test_a_mistyped_command_suggests_one(patchcli: Run) -> None:
    refused(patchcli("extrct", "a.png"), "'extrct' is not a command; did you mean extract?")
    refused(patchcli("frobnicate"), "'frobnicate' is not a command; choose extract, merge, map, crop, info, preview, completion")


def test_a_wrong_call_names_the_help_of_its_command(patchcli: Run) -> None:
    refused(patchcli("merge", "--no-such", "a.npz"), "No such option '--no-such'; see patchcli merge --help")
    refused(patchcli("--no-such"), "No such option '--no-such'; see patchcli --help")


def test_tracebacks_come_with_debug_alone(patchcli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not an image")
    call = ("extract", "a.png", "-s", 8, "-o", "a.npz")
    assert b"Traceback" not in patchcli(*call, "-v").stderr
    assert b"Traceback" in patchcli(*call, "--debug").stderr
    refused(patchcli("extract", "a.png", "-o", "a.npz", "-v"), "give W or WxH")
    assert b"Traceback" in patchcli("extract", "a.png", "-o", "a.npz", "--debug").stderr


def test_many_crops_do_not_fit_into_standard_output(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    refused(
        patchcli("crop", "a.png", "--boxes", "-", "-o", "-", stdin=b"x,y,w,h\n1,1,2,2\n3,3,2,2\n"),
        "--boxes makes several crops; give -o TEMPLATE",
    )


def test_one_crop_of_a_list_goes_to_standard_output(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", gray())
    made = patchcli("crop", "a.png", "--boxes", "-", "-o", "-", stdin=b"x,y,w,h\n1,1,2,2\n")
    assert (made.returncode, made.stdout[1:4]) == (0, b"PNG")


def talk(call: list[str], folder: Path, *, until: bytes, stdin: bool = False) -> tuple[subprocess.Popen[bytes], bytes]:
    """Run a command whose standard error is a terminal until it says something, interrupt it, and hear it to the end."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "patchcli", *call]
    running = subprocess.Popen(command, cwd=folder, stdin=its if stdin else subprocess.DEVNULL, stderr=its)
    os.close(its)
    said, end = b"", time.monotonic() + 30
    while until not in said and time.monotonic() < end:
        said += os.read(ours, 4096)
    running.send_signal(signal.SIGINT)
    running.wait(timeout=30)
    try:
        while more := os.read(ours, 4096):
            said += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return running, said


@pytest.mark.parametrize("resume", [False, True])
def test_an_interrupted_run_says_how_far_it_came(tmp_path: Path, *, resume: bool) -> None:
    for number in range(400):
        write_image(tmp_path / f"in/{number}.png", gray(200, 200)) if number else (tmp_path / "in").mkdir()
    call = ["extract", "in", "-s", "8", "--stride", "2", "-d", "out", *["--resume"] * resume]
    running, said = talk(call, tmp_path, until=b"/399 ")
    assert running.returncode == -signal.SIGINT
    assert b"patchcli: interrupted: at least " in said
    assert (b"inputs are done; the same line goes on from there\r\n" in said) == resume
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_terminal_that_hangs_up_ends_a_run_without_leaving_anything(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(400):
        write_image(tmp_path / f"in/{number}.png", gray(200, 200))
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "patchcli", "extract", "in", "-s", "8", "--stride", "2", "-d", "out"]
    running = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=its)
    os.close(its)
    os.read(ours, 4096)
    os.close(ours)
    running.send_signal(signal.SIGHUP)
    assert running.wait(timeout=30) == -signal.SIGHUP
    assert not list(tmp_path.rglob("*.tmp"))


def test_merge_says_that_it_waits(tmp_path: Path) -> None:
    running, said = talk(["merge", "-", "-o", "a.png"], tmp_path, until=b"Ctrl-C", stdin=True)
    assert b"waiting for standard input, which is a terminal" in said
    assert running.returncode == -signal.SIGINT
