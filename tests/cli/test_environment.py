"""Values from the environment: said with -v, named in errors about them, kept as they were given."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click
import pytest

from patchcli.cli.environment import BatchCommand
from patchcli.cli.main import COMMANDS, cli
from patchcli.stacks.file import read_stack
from tests.helpers.runs import Run, gray, refused, write_image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sample(tmp_path: Path, patchcli: Run) -> Run:
    """A run with variables, beside ``a.png`` and its stack ``a.npz``."""
    write_image(tmp_path / "a.png", gray())
    assert patchcli("extract", "a.png", "-s", 8, "-o", "a.npz").returncode == 0

    def run(*arguments: object, **variables: str) -> Any:
        return patchcli(*arguments, env={**os.environ, **variables})

    return run


@pytest.mark.slow
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
        "patchcli: no INPUTS; give files, folders, --files-from, or - for standard input",
    ]


@pytest.mark.parametrize(
    ("call", "variables", "sentence"),
    [
        (
            "extract a.png -o b.npz -s 8",
            {"EXTRACT_STRIDE": "x"},
            "write W or WxH in whole pixels from 1 to 1048576, as in ",
        ),
        ("extract a.png -o b.npz -s 8", {"EXTRACT_EDGE": "soft"}, "Invalid value for '--edge': 'soft' is not one of"),
        (
            "extract a.png -o b.npz -s 8",
            {"EXTRACT_GRAY": "perhaps"},
            "Invalid value for '--gray': 'perhaps' is not a valid boolean",
        ),
        ("crop a.png -o b.png", {"CROP_BOX": "1 2 3"}, "--box"),
        ("merge a.npz -o b.png --reduce max", {"MERGE_WINDOW": "hann"}, "--window is for --reduce mean, not for max"),
        ("crop a.png --box 0 0 4 4 -o b.png", {"CROP_FIT_REPORT": "x"}, "--fit-report is for --fit"),
        ("extract a.png -s 8", {"EXTRACT_OUTPUT": "a.npz"}, "a.npz: already exists; use --overwrite to replace it"),
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


@pytest.mark.parametrize(
    ("call", "variables", "made"),
    [
        ("extract a.png -s 8 --stride 4 -o b.npz", {"OVERLAP": "50%"}, "b.npz"),
        ("extract a.png -s 8 --overlap 50% -o b.npz", {"STRIDE": "3"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz", {"OUTPUT_DIR": "out"}, "b.npz"),
        ("extract a.png -s 8 -d out", {"OUTPUT": "b.npz"}, "out/a.png.npz"),
        ("extract a.png -s 8 -o b.npz -v", {"QUIET": "1"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz -q", {"VERBOSE": "1"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz --gray", {"CHANNEL": "0"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz --color rgb", {"CHANNEL": "0"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz --gray", {"COLOR": "rgb"}, "b.npz"),
        ("extract a.png -s 8 -o b.npz --color rgb", {"GRAY": "1"}, "b.npz"),
        ("crop a.png --box 0 0 4 4 -o b.png", {"NORMALIZED_BOX": "0 0 1 1"}, "b.png"),
        ("crop a.png --box 0 0 4 4 -o b.png", {"BOXES": "gone.csv"}, "b.png"),
    ],
)
def test_the_command_line_wins_over_what_it_excludes(
    sample: Run, tmp_path: Path, call: str, variables: dict[str, str], made: str
) -> None:
    assert sample(*call.split()).returncode == 0
    expected = (tmp_path / made).read_bytes()
    (tmp_path / made).unlink()
    ((name, value),) = variables.items()
    variable = f"PATCHCLI_{call.split(maxsplit=1)[0].upper()}_{name}"
    ran = sample(*call.split(), **{variable: value})
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / made).read_bytes() == expected
    assert variable.encode() not in ran.stderr


def test_the_environment_does_not_win_over_itself(sample: Run) -> None:
    both = {"PATCHCLI_EXTRACT_STRIDE": "4", "PATCHCLI_EXTRACT_OVERLAP": "50%"}
    refused(sample("extract", "a.png", "-s", 8, "-o", "b.npz", **both), "use only one of --stride and --overlap")


def test_errors_about_what_two_options_share_name_the_variable(sample: Run) -> None:
    ran = sample("extract", "a.png", "-s", 8, "-o", "-", PATCHCLI_EXTRACT_REPORT="-")
    refused(ran, "standard output (-) was given twice; give it once; PATCHCLI_EXTRACT_REPORT gives --report")
    assert sample("extract", "a.png", "-s", 8, "-o", "b.npz").returncode == 0
    ran = sample("extract", "a.png", "-s", 8, "-o", "b.npz", "--resume", PATCHCLI_EXTRACT_OVERLAP="50%")
    refused(ran, "b.npz: was made with --stride at 8x8, not at 4x4")
    assert b"; PATCHCLI_EXTRACT_OVERLAP gives --overlap" in ran.stderr


def test_errors_about_other_options_name_no_variable(sample: Run) -> None:
    ran = sample("extract", "a.png", "-o", "b.npz", "-s", "x", PATCHCLI_EXTRACT_STRIDE="4", PATCHCLI_EXTRACT_LAYOUT="grid")
    refused(ran, "'x' is not a size")
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
    assert isinstance(command, BatchCommand) == any(option.name == "verbose" for option in command.params)


def _command(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_the_variable_of_every_option_has_its_name(command: str) -> None:
    known = cli.get_command(click.Context(cli), command)
    assert known is not None
    options = [option for option in known.params if isinstance(option, click.Option)]
    wrong = {
        max(option.opts, key=len): option.name
        for option in options
        if max(option.opts, key=len)[2:].replace("-", "_") != option.name
    }
    assert wrong == {}


def test_how_images_are_written_and_told_of_can_come_from_there(sample: Run) -> None:
    assert sample("merge", "a.npz", "-o", "b.tif", PATCHCLI_MERGE_CO="compression=deflate tile=16").returncode == 0
    assert sample("crop", "a.png", "--box", 0, 0, 5, 5, "-o", "c.tif", PATCHCLI_CROP_CO="compression=deflate").returncode == 0
    told = [json.loads(line) for line in sample("info", "b.tif", "c.tif", PATCHCLI_INFO_JSON="1").stdout.splitlines()]
    assert [one["compression"] for one in told] == ["deflate"] * 2
    assert told[0]["read"]["by"] == "tiles"


def test_a_key_is_given_once(sample: Run) -> None:
    ran = sample("merge", "a.npz", "-o", "b.png", "--co", "level=1", "--co", "LEVEL=2")
    refused(ran, "--co level was given twice; give it once")
    assert ran.returncode == 2
