"""Completion, in the shells themselves: what they offer, and what a line becomes when Tab is pressed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from patchcli.cli.completion import SHELLS
from patchcli.cli.main import COMMANDS, cli
from patchcli.cli.types import File
from tests.helpers.runs import Run, refused
from tests.helpers.shells import environment, needs, run, type_line

if TYPE_CHECKING:
    from pathlib import Path

LINES = [  # what is typed before Tab, and what stands there after it
    ("patchcli ext", "patchcli extract "),
    ("patchcli completion f", "patchcli completion fish "),
    ("patchcli extract --patch-s", "patchcli extract --patch-size "),
    ("patchcli extract --edge sh", "patchcli extract --edge shift "),
    ("patchcli extract --edge=sh", "patchcli extract --edge=shift "),
    ("patchcli merge --window ham", "patchcli merge --window hamming "),
    ("patchcli merge --window win", "patchcli merge --window win.npy "),
    ("patchcli extract fol", "patchcli extract fold.png "),
    ("patchcli crop a.png --fit fol", "patchcli crop a.png --fit fold.png "),
    ("patchcli extract a.png -d a", "patchcli extract a.png -d a\\ folder/"),
    ("patchcli extract my", "patchcli extract my\\ photo.png "),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files and a folder; `a folder` is the only one whose name begins so."""
    for name in ("fold.png", "my photo.png", "a.png", "win.npy"):
        (tmp_path / name).touch()
    (tmp_path / "a folder").mkdir()
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in ("bash", "zsh")])
@pytest.mark.parametrize(("typed", "line"), LINES)
def test_tab_in_a_terminal(shell: str, typed: str, line: str, folder: Path) -> None:
    setup = 'autoload -Uz compinit; compinit -u -D; eval "$(patchcli completion zsh)"'
    if shell == "bash":
        setup = 'eval "$(patchcli completion bash)"'
    assert type_line(shell, setup, f"{typed}\t", folder) == line


@needs("fish")
@pytest.mark.parametrize(("typed", "line"), LINES)
def test_fish_offers(typed: str, line: str, folder: Path) -> None:
    asked = run("fish", 'patchcli completion fish | source; complete --escape -C "$typed"', folder, typed=typed)
    assert (asked.returncode, asked.stderr) == (0, b"")
    offered = [offer.partition("\t")[0] for offer in asked.stdout.decode().splitlines()]
    assert line.split(" ", typed.count(" "))[-1].rstrip(" ") in offered


@needs("bash")
def test_bash_offers_what_the_words_before_allow(folder: Path) -> None:
    def offered(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        lines = (
            'eval "$(patchcli completion bash)"\n'
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
            '_patchcli_completion patchcli; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        asked = run("bash", lines, folder)
        assert (asked.returncode, asked.stderr) == (0, b"")
        return asked.stdout.decode().split()

    assert offered("patchcli", "") == list(COMMANDS)
    assert offered("patchcli", "completion", "") == list(SHELLS)
    assert offered("patchcli", "extract", "--edge", "") == ["shift", "pad", "drop", "even", "clip"]
    assert offered("patchcli", "extract", "a.png", "--edge", "=", "p") == ["pad"]
    assert offered("patchcli", "crop", "--o") == ["--outside", "--output", "--output-dir", "--overwrite"]


@pytest.mark.parametrize(
    ("command", "option"),
    [(name, option) for name in COMMANDS for option in cli.get_command(click.Context(cli), name).params],  # type: ignore[union-attr]
)
def test_every_name_of_a_file_is_completed(command: str, option: click.Parameter) -> None:
    context = click.Context(click.Command(command))
    names = any(word in str(option.metavar).split("|")[-1] for word in ("FILE", "DIR", "PATH", "TEMPLATE", "STACK", "INPUTS"))
    assert isinstance(option.type, File) == names
    if isinstance(option.type, File):
        kind = "dir" if option.metavar == "DIR" else "file"
        assert kind in [item.type for item in option.shell_complete(context, "")]
        assert option.type.convert("- a:b", option, context) == "- a:b"


def ask(
    folder: Path, words: bytes | str, instruction: str = "bash_complete", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    settings = {**environment(folder), "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), **variables}
    return subprocess.run(
        ["patchcli"],
        cwd=folder,
        env={os.fsencode(name): os.fsencode(value) for name, value in {**settings, "_PATCHCLI_COMPLETE": instruction}.items()},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("patchcli nosuch --edge s", b"\n"),
        ("patchcli extract --nosuch a.png --edge e", b"plain,even\n"),
        ("patchcli extract --stride nothing --edge e", b"plain,even\n"),
        ("patchcli extract --version --help --edge e", b"plain,even\n"),
        ("patchcli extract 'it is --edge e", b"file,\n"),
        (b"patchcli extract \xff\xfe", b"file,\xff\xfe\n"),
    ],
)
def test_nothing_disturbs_a_completion(words: bytes | str, answer: bytes, tmp_path: Path) -> None:
    asked = ask(tmp_path, words, PATCHCLI_EXTRACT_STRIDE="nothing", PATCHCLI_VERSION="3")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, answer, b"")


def test_a_bad_instruction_is_one_line(tmp_path: Path) -> None:
    refused(ask(tmp_path, "patchcli e", "tcsh_complete"), "_PATCHCLI_COMPLETE is 'tcsh_complete'; allowed are bash_complete")
    refused(ask(tmp_path, "patchcli e", COMP_CWORD="x"), "_PATCHCLI_COMPLETE needs COMP_WORDS and COMP_CWORD")


@pytest.mark.parametrize("shell", list(SHELLS))
def test_the_variable_gives_the_script_too(shell: str, patchcli: Run) -> None:
    printed = patchcli("completion", shell)
    assert (printed.returncode, printed.stderr) == (0, b"")
    assert f"_PATCHCLI_COMPLETE={shell}_complete".encode() in printed.stdout
    assert patchcli(env={**os.environ, "_PATCHCLI_COMPLETE": f"{shell}_source"}).stdout == printed.stdout


def test_the_script_needs_no_shell(patchcli: Run) -> None:
    printed = patchcli("completion", "bash", env={**os.environ, "PATH": ""})
    assert (printed.returncode, printed.stderr) == (0, b"")


def test_completing_a_command_imports_no_numpy() -> None:
    program = (
        "import sys\nfrom patchcli.cli import main\nassert main.run([]) == 0\n"
        "assert not {'numpy', 'patchcli.cli.options'} & set(sys.modules), sys.modules.keys()"
    )
    variables = {**os.environ, "_PATCHCLI_COMPLETE": "zsh_complete", "COMP_WORDS": "patchcli ", "COMP_CWORD": "1"}
    asked = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert asked.stdout.split("\n")[:3] == ["plain", "extract", COMMANDS["extract"]]
