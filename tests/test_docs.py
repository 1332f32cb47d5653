"""The pages name what there is: files, folders, walks, who imports whom; and their lines are not too long."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools import walks

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "patchcli"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WIDEST = 130
BARE = ("docs/architecture.md", "CONTRIBUTING.md")  # pages that name modules below the package without its name


def prose(page: str) -> list[str]:
    """The lines of a page outside of code, tables and pictures."""
    without_code = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    return [line for line in without_code.splitlines() if not line.startswith(("|", "!["))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_prose_is_not_too_wide(path: Path) -> None:
    assert [line for line in prose(path.read_text()) if len(line) > WIDEST] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_is_linked_is_there(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#\s]+)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_of_the_project_that_are_named_are_there(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for named in re.findall(r"`((?:patchcli|tests|tools|benchmarks|docs|examples)/[\w/.]+)`", path.read_text()):
        assert (ROOT / named).exists(), named
    if name in BARE:
        modules = [named for named in re.findall(r"`([\w/]+\.py)`", path.read_text()) if not (ROOT / named).exists()]
        folders = re.findall(r"`(\w+/)`", path.read_text())
        assert modules
        for named in [*modules, *folders]:
            assert (PACKAGE / named).exists() or (ROOT / named).exists(), named


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([\w/.-]+\.md)\)", (ROOT / "README.md").read_text())}
    assert linked == {path for path in PAGES if path.name != "README.md"}


@pytest.mark.parametrize("command", walks.WALKS)
def test_walks_are_those_of_the_program(command: str) -> None:
    listed = list(walks.listed(command, walks.PAGE.read_text()))
    assert listed == [walks.path_of(module).relative_to(PACKAGE).as_posix() for module in walks.walk(command)], "run make walks"


def test_the_table_of_folders_is_that_of_the_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \|.*\|([^|\n]*)\|$", page, re.MULTILINE)
    listed = {folder: {name.strip() for name in allowed.split(",")} - {""} for folder, allowed in rows}
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text())
    assigned = {
        node.target.id: node.value for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    table = assigned["MAY_IMPORT"]
    assert isinstance(table, ast.Dict)
    held = {
        ast.literal_eval(key): set() if isinstance(value, ast.Call) else ast.literal_eval(value)
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None
    }
    del held[""]
    assert listed == held
