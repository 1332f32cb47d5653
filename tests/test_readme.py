"""The README is run as it is written, and names every command and option."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from patchcli.cli.main import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_shell_lines_and_python_blocks_run(tmp_path: Path) -> None:
    for name in ("sample_images", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name, target in (("python", f'exec "{sys.executable}" "$@"'), ("patchcli", f'exec "{sys.executable}" -m patchcli "$@"')):
        script = tmp_path / "bin" / name
        script.write_text(f"#!/bin/sh\n{target}\n")
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    lines = [block for block in blocks("sh") if not block.startswith("make ")]
    assert len(lines) >= 5
    shell = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.returncode == 0, shell.stderr
    assert shell.stderr == ""
    for name in ("clean.png", "again.png", "back.png", "crop.png", "crop224.png", "images/stacks/sample_images/cells.png"):
        assert (tmp_path / name).stat().st_size > 100
    for block in blocks("python"):
        subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=tmp_path, check=True)


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for block in blocks("sh"):
        if block.startswith("make "):
            assert re.search(rf"^{block.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_readme_names_every_command(name: str) -> None:
    assert f"`patchcli {name}`" in README


def test_manual_of_options_is_what_the_program_says() -> None:
    from tools.make_manual import MANUAL, text

    assert MANUAL.read_text() == text(), "run make manual"


@pytest.mark.slow
def test_calls_of_coming_from_run(tmp_path: Path) -> None:
    """Every call of ours in the tables, one after the other."""
    page = (ROOT / "docs" / "coming-from.md").read_text()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (setting,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    cells = [cell for line in page.splitlines() if line.startswith("| `") for cell in line.strip("| ").split(" | ")[1:]]
    calls = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    python = [call for call in calls if re.match(r"(view|extract|map_patches|merge|crop|choose_patches)\(", call)]
    shell = [call for call in calls if call.startswith("patchcli ")]
    assert len(python) >= 18
    assert len(shell) >= 25
    code = "\n".join([setting, "import warnings", "warnings.simplefilter('error')", *python])
    save = "\nimport imageio.v3\nfor name in ('a.png', 'a.ppm', 'a.tif'): imageio.v3.imwrite(name, np.stack([image] * 3, -1))"
    subprocess.run([sys.executable, "-c", code + save], cwd=tmp_path, check=True)
    lines = "\n".join(call.replace("patchcli ", f'"{sys.executable}" -m patchcli ', 1) for call in shell)
    ran = subprocess.run(["bash", "-ec", lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
