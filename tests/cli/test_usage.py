"""A call that asks twice for one stream, or for nothing, gets one line and leaves no file behind."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.runs import Run, gray, refused, write_image

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("extract -s 8", "merge", "crop --box 1 2 3 4")
BOXES = b"input,x,y,width,height\na.png,1,2,5,5\n"
READ, WRITTEN = "standard input (-) was given twice; give it once", "standard output (-) was given twice"
NOTHING = "no INPUTS; give files, folders, --files-from, or - for standard input"
CALLS = [
    ("-o x.png", NOTHING),
    ("-0 -d out", NOTHING),
    ("- - -o x.png", READ),
    ("- - -d out", READ),
    ("- --files-from - -o x.png", READ),
    ("- --files-from - -d out", READ),
    ("- -d out", "standard input has no name to keep below --output-dir; give -o/--output"),
    (
        "- -o x{stem}.png",
        "standard input has no name to fill a template with; give -o a name without {stem}, {name}, {ext}, {parent}",
    ),
    ("-", "give an output: -o FILE or -d DIR"),
    ("a.png -o - --report -", WRITTEN),
    ("- -o - --report -", WRITTEN),
]
OWN = [
    ("merge - --like - -o x.png", READ),
    ("merge - --cover - -o -", WRITTEN),
    ("merge - --cover - --report - -o x.png", WRITTEN),
    ("crop --boxes - - -o x.png", READ),
    ("crop --boxes - - -d out", READ),
    ("crop --boxes - --files-from - -d out", READ),
    ("crop --boxes - --report - -o -", WRITTEN),
    ("crop a.png --fit a.png -o -", "so the crop cannot go there; give -o FILE or -d"),
    ("crop a.png --fit a.png --report - -o x.png", "so the report cannot go there; give --report FILE"),
    ("crop a.png --fit a.png --fit-report - -o x.png", "so the steps cannot go there; give --fit-report FILE"),
    ("extract - -s 8 --mask - -o x.npz", "--mask is the name of a file; standard input (-) is not one"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        *((f"{command} {call}", sentence) for command in COMMANDS for call, sentence in CALLS),
        *((f"preview {call}", sentence) for call, sentence in CALLS if "--report" not in call),
        *OWN,
    ],
)
def test_streams_asked_for_twice_and_nothing_to_do(call: str, sentence: str, patchcli: Run, tmp_path: Path) -> None:
    source = write_image(tmp_path / "a.png", gray())
    ran = patchcli(*call.split(), stdin=BOXES if "--boxes -" in call else source.read_bytes())
    refused(ran, sentence)
    assert ran.stdout == b""
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("call", [*(command.split()[0] for command in COMMANDS), "extract -s 8 -o x.npz", "crop -d out"])
def test_no_inputs_at_a_terminal_is_help(call: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "patchcli", *call.split()], stdin=theirs, capture_output=True, cwd=tmp_path, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.decode().startswith(f"Usage: patchcli {call.split(maxsplit=1)[0]} [OPTIONS] INPUTS...\n")
    assert list(tmp_path.iterdir()) == []
