"""Values from the environment: said with -v, named in errors about them, kept as they were given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest

from patchcli.cli import COMMANDS, cli
from patchcli.environment import Command
from patchcli.stack import read_stack
from tests.conftest import Run, gray, refused, write_image


@pytest.fixture
def sample(tmp_path: Path, patchcli: Run) -> Run:
    """A run with variables, beside ``a.png`` and its stack ``a.npz``."""
    write_image(tmp_path / "a.png", gray())
    assert patchcli("extract", "a.png", "-s", 8, "-o", "a.npz").returncode == 0

    def run(*arguments: object, **variables: str) -> Any:
        return patchcli(*arguments, env={**os.environ, **variables})

    return run


@pytest.mark.parametrize(
    ("call", "variables", "said"),
    [
        ("extract a.png -s 8 -o b.npz", {"EXTRACT_STRIDE": "4"}, ["EXTRACT_STRIDE=4 gives --stride"]),
        (
            "extract a.png -o b.npz",
            {"EXTRACT_COMPRESS": "1", "EXTRACT_PATCH_SIZE": "8"},
            ["EXTRACT_PATCH_SIZE=8 gives --patch-size", "EXTRACT_COMPRESS=1 gives --compress"],
        ),
        ("extract a.png -s 8 -o b.npz", {"EXTRACT_GRAY": "0"}, ["EXTRACT_GRAY=0 leaves --gray out"]),
        ("extract a.png -s 8 -o b.npz --stride 8", {"EXTRACT_STRIDE": "4", "EXTRACT_MASK": ""}, []),
        ("merge a.npz", {"MERGE_OUTPUT": "b.png"}, ["MERGE_OUTPUT=b.png gives --output"]),
        ("merge a.npz -o b.png", {"MERGE_PROGRESS": "off"}, ["MERGE_PROGRESS=off gives --no-progress"]),
        ("crop a.png -o b.png", {"CROP_BOX": "1 2 5 5"}, ["CROP_BOX=1 2 5 5 gives --box"]),
        ("crop -o b.png", {"CROP_BOXES": "list.csv"}, ["CROP_BOXES=list.csv gives --boxes"]),
    ],
)
def test_verbose_names_them_before_the_work(
    sample: Run, tmp_path: Path, call: str, variables: dict[str, str], said: list[str]
) -> None:
    (tmp_path / "list.csv").write_text("input,x,y,width,height\na.png,1,2,5,5\n")
    given = {f"PATCHCLI_{name}": value for name, value in variables.items()}
    spoken = sample(*call.split(), "-v", **given)
    *lines, work = spoken.stderr.decode().splitlines()
    assert (spoken.returncode, lines) == (0, [f"PATCHCLI_{line}" for line in said])
    assert " -> " in work
    assert sample(*call.split(), "--overwrite", **given).stderr == b""


def test_verbose_from_the_environment_names_itself_and_one_line_stays_one(sample: Run) -> None:
    spoken = sample("extract", PATCHCLI_EXTRACT_VERBOSE="1", PATCHCLI_EXTRACT_OUTPUT="a\nb")
    assert spoken.stderr.decode().splitlines() == [
        "PATCHCLI_EXTRACT_OUTPUT=a\\nb gives --output",
        "PATCHCLI_EXTRACT_VERBOSE=1 gives --verbose",
        "patchcli: no INPUTS; allowed are files, folders, --files-from, and - for standard input",
    ]


@pytest.mark.parametrize(
    ("call", "variables", "sentence"),
    [
        (
            "extract a.png -o b.npz -s 8",
            {"EXTRACT_STRIDE": "x"},
            "allowed are W or WxH in whole pixels from 1 to 1048576, as in ",
        ),
        ("extract a.png -o b.npz -s 8", {"EXTRACT_EDGE": "soft"}, "Invalid value for '--edge': 'soft' is not one of"),
        (
            "extract a.png -o b.npz -s 8",
            {"EXTRACT_GRAY": "perhaps"},
            "Invalid value for '--gray': 'perhaps' is not a valid boolean",
        ),
        ("crop a.png -o b.png", {"CROP_BOX": "1 2 3"}, "--box"),
        ("merge a.npz -o b.png --reduce max", {"MERGE_WINDOW": "hann"}, "--window is for --reduce mean, not for max"),
        ("merge a.npz -o b.png", {"MERGE_OUTPUT_DIR": "out"}, "-o and -d exclude each other"),
        ("extract a.png -s 8", {"EXTRACT_OUTPUT": "a.npz"}, "a.npz: exists already; allowed with --overwrite"),
        ("extract -s 8 -o b.npz", {"EXTRACT_FILES_FROM": "no list"}, "no list: cannot be read: no such file or directory"),
    ],
)
def test_errors_name_the_variable(sample: Run, tmp_path: Path, call: str, variables: dict[str, str], sentence: str) -> None:
    before = sorted(tmp_path.iterdir())
    ((name, value),) = variables.items()
    option = name.partition("_")[2].lower().replace("_", "-")
    ran = sample(*call.split(), **{f"PATCHCLI_{name}": value})
    refused(ran, sentence)
    assert ran.stderr.decode().rstrip("\n").endswith(f"; PATCHCLI_{name} gives --{option}")
    assert sorted(tmp_path.iterdir()) == before


def test_errors_about_other_options_name_no_variable(sample: Run) -> None:
    ran = sample("extract", "a.png", "-o", "b.npz", "-s", "x", PATCHCLI_EXTRACT_STRIDE="4", PATCHCLI_EXTRACT_LAYOUT="grid")
    refused(ran, "'x' is no size")
    assert b"PATCHCLI_" not in ran.stderr


def test_names_keep_their_spaces_and_colons(sample: Run, tmp_path: Path) -> None:
    for name in ("my mask.png", "C:x y.png"):
        write_image(tmp_path / name, gray())
    names = {"PATCHCLI_EXTRACT_COMPANION": "my mask.png\nC:x y.png\n", "PATCHCLI_EXTRACT_OUTPUT_DIR": "a: b"}
    assert sample("extract", "a.png", "-s", 8, **names).returncode == 0
    assert sorted(path.name for path in (tmp_path / "a: b").iterdir()) == ["C:x y.png.npz", "a.png.npz", "my mask.png.npz"]
    stream = sample("extract", "a.png", "-s", 8, PATCHCLI_EXTRACT_OUTPUT="-")
    (tmp_path / "c.npz").write_bytes(stream.stdout)
    assert len(read_stack(str(tmp_path / "c.npz")).patches) > 1


def test_a_version_in_the_environment_is_no_option(sample: Run) -> None:
    assert sample("extract", "a.png", "-s", 8, "-o", "b.npz", PATCHCLI_VERSION="3.1").returncode == 0


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_that_speaks_says_where_values_are_from(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert isinstance(command, Command) == any(option.name == "verbose" for option in command.params)
