"""The README is run as it is written, and names every command and option."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from patchcli.cli.main import cli
from tests.helpers.pages import followed
from tools.pages import blocks_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_shell_lines_and_python_blocks_run(tmp_path: Path) -> None:
    with followed("../README.md", tmp_path):
        for name in ("clean.png", "again.png", "back.png", "crop.png", "crop224.png", "images/stacks/sample_images/cells.png"):
            assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    makefile, text = (ROOT / "Makefile").read_text(), path.read_text()
    lines = "".join(block.text for block in blocks_in(text))
    for target in re.findall(r"`make ([\w-]+)`", text) + re.findall(r"^make ([\w-]+)", lines, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_readme_names_every_command(name: str) -> None:
    assert f"`patchcli {name}`" in README


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
