"""``docs/shell.md``, and the crontab of ``docs/cron.md``: every block is run in the shell that it is for, and looked at."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.pages import blocks_of, page
from tests.helpers.runs import SAMPLES, read_image, write_image
from tests.helpers.shells import environment, needs, run, type_line
from tools.pages import blocks_in

STACKS = ["stacks/photos/a.png.npz", "stacks/photos/b.png.npz", "stacks/photos/more/my photo.png.npz"]
Check = Callable[[Path, str], None]


def blocks(*languages: str) -> list[tuple[str, str, str]]:
    """``(section, language, text)`` of the blocks in these languages; in all where none is given."""
    sections = [(text.partition("\n")[0], blocks_in(text)) for text in page("shell.md").split("\n## ")[1:]]
    return [
        (title, one.language, one.text)
        for title, found in sections
        for one in found
        if not languages or one.language in languages
    ]


def block(section: str, language: str = "sh", number: int = 0) -> str:
    return [text for title, _, text in blocks(language) if title == section][number]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `photos`: two pictures, and below it one whose name has a space."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "more/my photo.png")):
        write_image(tmp_path / "photos" / name, np.ascontiguousarray(read_image(SAMPLES / "cells.png")[number:48, :40]))
    return tmp_path


def below(folder: Path, name: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / name).rglob("*") if path.is_file())


def check_stacks(folder: Path, _said: str) -> None:
    assert below(folder, "stacks") == STACKS


def check_variables(folder: Path, said: str) -> None:
    assert said.splitlines()[:2] == [
        "PATCHCLI_EXTRACT_PATCH_SIZE=16 gives --patch-size",
        "PATCHCLI_EXTRACT_OVERLAP=50% gives --overlap",
    ]
    assert re.fullmatch(r"photos/b.png -> b.npz: .*", said.splitlines()[2])
    assert [len(np.load(folder / name)["patches"]) for name in ("a.npz", "b.npz")] == [20, 20]


def check_negative(folder: Path, said: str) -> None:
    assert said == ""
    assert (read_image(folder / "negative.png") == 255 - read_image(folder / "photos" / "a.png")).all()


def check_reports(folder: Path, said: str) -> None:
    assert said == ""
    check_stacks(folder, said)
    lines = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    assert sorted(line["output"] for line in lines if "output" in line) == STACKS


def check_log(folder: Path, said: str) -> None:
    check_stacks(folder, said)
    assert (folder / "jobs.tsv").read_text().count("patchcli extract") == 1


def check_words(folder: Path, said: str) -> None:
    check_stacks(folder, said)
    assert said == "all of photos is cut\n"


def made(name: str) -> Check:
    def check(folder: Path, said: str) -> None:
        assert said == ""
        assert (folder / name).stat().st_size > 100

    return check


CHECKS: dict[str, list[Check]] = {
    "Completion": [
        made(".local/share/bash-completion/completions/patchcli"),
        made(".zfunc/_patchcli"),
        made(".config/fish/completions/patchcli.fish"),
    ],
    "Defaults from the environment": [check_variables],
    "Pipes": [check_negative],
    "Lists of files": [check_stacks],
    "Several processes": [check_stacks, check_reports, check_log],
    "Exit codes in scripts": [check_words],
}
RUN = [(title, language, text) for title, language, text in blocks("sh", "bash")]


def test_every_block_has_a_check() -> None:
    sections = [title for title, _, _ in RUN]
    assert sections == [title for title, checks in CHECKS.items() for _ in checks]
    assert {language for _, language, _ in blocks()} == {"sh", "bash", "zsh", "make"}


@pytest.mark.parametrize(
    ("language", "text", "check"),
    [
        pytest.param(
            language,
            text,
            check,
            marks=needs(language, *(["parallel"] if "parallel " in text else [])),
            id=title,
        )
        for (title, language, text), check in zip(RUN, [check for checks in CHECKS.values() for check in checks], strict=True)
    ],
)
def test_a_block_runs(language: str, text: str, check: Check, folder: Path) -> None:
    ran = run(language, text, folder)
    assert ran.returncode == 0, ran.stderr
    check(folder, (ran.stdout + ran.stderr).decode())


@pytest.mark.slow
@needs("xargs")
def test_processes_share_a_folder(folder: Path) -> None:
    for number in range(24):
        shutil.copy(folder / "photos" / "a.png", folder / "photos" / f"{number}.png")
    line = block("Several processes").replace("-n 50", "-n 1").replace("-P 2", "-P 8").replace("-d stacks", "-d stacks/deep")
    ran = run("sh", line, folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert len(below(folder, "stacks/deep")) == 27
    (folder / "photos" / "a.png").write_bytes(b"no image")
    ran = run("sh", line.replace("stacks", "again"), folder)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (123, 1)
    assert len(below(folder, "again")) == 26


def test_a_failed_program_in_a_pipe(folder: Path) -> None:
    (folder / "photos" / "a.png").write_bytes(b"no image")
    ran = run("bash", block("Pipes", "bash").replace("python negative.py", "cat"), folder)
    assert ran.returncode == 1
    assert re.fullmatch(rb"(patchcli: [^\n]*\n){2}", ran.stderr)
    assert not (folder / "negative.png").exists()


def test_no_names_is_no_error(folder: Path) -> None:
    ran = run("sh", block("Lists of files").replace("*.png", "*.bmp"), folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


@needs("make")
def test_make_makes_what_is_missing_or_old(folder: Path) -> None:
    (folder / "Makefile").write_text(block("make", "make"))

    def make() -> str:
        done = subprocess.run(
            ["make", "-j2"], cwd=folder, env=environment(folder), capture_output=True, text=True, check=True, timeout=120
        )
        assert done.stderr == ""
        return done.stdout

    assert make().count("patchcli extract") == 2
    assert below(folder, "stacks") == ["stacks/a.npz", "stacks/b.npz"]
    assert "Nothing to be done" in make()
    os.utime(folder / "stacks" / "b.npz", (0, 0))
    assert make() == "patchcli extract photos/b.png -s 16 -o stacks/b.npz --overwrite\n"


def run_as_cron(folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the line as cron does: the variables above it, home, sh, and nothing else; our program first in its path."""
    *settings, line = blocks_of("cron.md", "crontab")[0].splitlines()
    variables = dict(setting.split("=", 1) for setting in settings)
    command = re.sub(r"(?<!\\)%.*", "", line.split(maxsplit=5)[5]).replace(r"\%", "%")
    variables |= {
        "HOME": str(folder),
        "SHELL": "/bin/sh",
        "PATH": f"{environment(folder)['PATH'].partition(':')[0]}:{variables['PATH']}",
    }
    given = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(
        ["env", "-i", *given, "/bin/sh", "-c", command],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@needs("flock")
def test_cron_is_silent_and_does_what_is_new(folder: Path) -> None:
    (folder / "reports").mkdir()
    for times in (1, 2):
        ran = run_as_cron(folder)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        check_stacks(folder, "")
        assert len(below(folder, "reports")) == times
        time.sleep(1)  # the next report has another name
    made = {name: (folder / name).stat().st_mtime_ns for name in STACKS}
    shutil.copy(folder / "photos" / "a.png", folder / "photos" / "new.png")
    assert run_as_cron(folder).returncode == 0
    assert below(folder, "stacks") == sorted([*STACKS, "stacks/photos/new.png.npz"])
    assert made == {name: (folder / name).stat().st_mtime_ns for name in STACKS}


@needs("flock")
def test_cron_leaves_without_a_word_while_another_run_works(folder: Path) -> None:
    with (folder / ".cut.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = run_as_cron(folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, b"", b"")
    assert not (folder / "stacks").exists()


@needs("flock")
def test_cron_sends_what_is_wrong(folder: Path) -> None:
    (folder / "reports").mkdir()
    (folder / "photos" / "b.png").write_bytes(b"no image")
    ran = run_as_cron(folder)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert re.fullmatch(rb"patchcli: photos/b.png: [^\n]*\n", ran.stderr)


@pytest.mark.parametrize(
    ("setup", "code", "words"),
    [
        ("echo no image > photos/bad.png", 1, "some could not be read: see report.jsonl"),
        ("touch report.jsonl", 2, "refused, and nothing done"),
        ("touch stacks", 3, "stopped: the disk is full, stacks or the report cannot be written, or processes cannot be had"),
        ("patchcli() { return 130; }", 130, "ended by a signal"),
    ],
)
def test_exit_codes_in_a_script(setup: str, code: int, words: str, folder: Path) -> None:
    ran = run("sh", f"{setup}\n{block('Exit codes in scripts')}", folder)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout.decode().startswith(words)


@needs("bash")
def test_completion_of_bash_as_installed(folder: Path) -> None:
    assert run("sh", block("Completion"), folder).returncode == 0
    setup = ". ~/.local/share/bash-completion/completions/patchcli"
    assert type_line("bash", setup, "patchcli extract pho\t\tmore\t", folder) == "patchcli extract photos/more/"


@needs("zsh")
def test_completion_of_zsh_as_installed(folder: Path) -> None:
    assert run("sh", block("Completion", number=1), folder).returncode == 0
    setup = "; ".join(block("Completion", "zsh").splitlines())
    assert type_line("zsh", setup, "patchcli mer\t--red\tmed\t", folder) == "patchcli merge --reduce median "


@needs("fish")
def test_completion_of_fish_as_installed(folder: Path) -> None:
    assert run("sh", block("Completion", number=2), folder).returncode == 0
    asked = run("fish", "complete -C 'patchcli merge --reduce med'", folder)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, b"median\n", b"")
