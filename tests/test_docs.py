"""The pages name what there is: files, folders, walks, options, public names; they link each other, and are not too wide."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import patchcli
from patchcli.cli.main import cli
from tools import make_manual, make_reference, walks
from tools.make_manual import MANUAL
from tools.make_reference import REFERENCE

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "patchcli"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
INDEX = ROOT / "docs" / "README.md"
WIDEST = 130
BARE = ("docs/architecture.md", "CONTRIBUTING.md")  # pages that name modules below the package without its name


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(page: str) -> list[str]:
    """The lines of a page outside of code, tables and pictures."""
    without_code = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    return [line for line in without_code.splitlines() if not line.startswith(("|", "!["))]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_prose_is_not_too_wide(path: Path) -> None:
    assert [line for line in prose(path.read_text()) if len(line) > WIDEST] == []


def links(text: str) -> list[str]:
    """What a page links, pictures too, outside of its blocks of code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; of equal ones all but the first have a number."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", without_code, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).lower()).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{found.count(anchor)}")
    return set(found)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_what_is_linked_is_there(path: Path) -> None:
    for link in links(path.read_text()):
        if re.match(r"\w+:", link):
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[^\s<>]*)?", link), link
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_anchors_are_those_of_github() -> None:
    text = "# A `--b C` d, e!\n\n```sh\n# no heading\n```\n## [x](y.md) _z_\n## Same\n## Same\n"
    assert anchors(text) == {"a---b-c-d-e", "x-_z_", "same", "same-1"}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_files_of_the_project_that_are_named_are_there(path: Path) -> None:
    name = name_of(path)
    for named in re.findall(r"`((?:patchcli|tests|tools|benchmarks|docs|examples)/[\w/.]+)`", path.read_text()):
        assert (ROOT / named).exists(), named
    if name in BARE:
        modules = [named for named in re.findall(r"`([\w/]+\.py)`", path.read_text()) if not (ROOT / named).exists()]
        folders = re.findall(r"`(\w+/)`", path.read_text())
        assert modules
        for named in [*modules, *folders]:
            assert (PACKAGE / named).exists() or (ROOT / named).exists(), named


def pages_linked(path: Path) -> set[Path]:
    return {(path.parent / link.partition("#")[0]).resolve() for link in links(path.read_text()) if ".md" in link}


def test_the_index_has_every_page_once_and_each_page_has_the_index() -> None:
    assert INDEX in pages_linked(ROOT / "README.md")
    listed = re.findall(r"^- \[[^\]]+\]\(([\w-]+\.md)\): ", INDEX.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted({path.name for path in INDEX.parent.glob("*.md")} - {"README.md", "architecture.md"})
    assert pages_linked(INDEX) == set(PAGES) - {INDEX}
    for path in INDEX.parent.glob("*.md"):
        assert path == INDEX or neighbours(path) is not None, f"{path.name} does not begin with a link to the index"


def neighbours(path: Path) -> list[str] | None:
    """The pages that the line below the title calls near; None where there is no such line."""
    found = re.match(r"# [^\n]+\n\n\[All pages\]\(README\.md\)\. See also: (.*?)\.\n\n", path.read_text(), re.DOTALL)
    return re.findall(r"\]\(([\w-]+\.md)\)", found[1]) if found else None


def test_pages_that_are_near_name_each_other() -> None:
    near = {path.name: neighbours(path) or [] for path in INDEX.parent.glob("*.md")}
    for name, others in near.items():
        assert [other for other in others if name not in near[other]] == [], f"that {name} names and that do not name it"


@pytest.mark.parametrize(("page", "text"), [(MANUAL, make_manual.text), (REFERENCE, make_reference.text)])
def test_written_pages_are_what_the_program_says(page: Path, text: Callable[[], str]) -> None:
    assert page.read_text() == text(), "run make manual"


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_option_is_in_the_manual(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    section = MANUAL.read_text().partition(f"## patchcli {name}\n")[2].partition("\n## ")[0]
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts) if isinstance(parameter, click.Option) else ():
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section), option


@pytest.mark.parametrize("name", [name for name in patchcli.__all__ if name != "__version__"])
def test_docstrings_say_what_every_parameter_is(name: str) -> None:
    of = getattr(patchcli, name)
    docstring = inspect.getdoc(of) or ""
    if inspect.isclass(of) and not ("Args:" in docstring or hasattr(of, "_fields")):
        return  # what is not made by its caller
    said = re.findall(r"^    (\w+): ", re.split(r"^(?:Args|Attributes):$", docstring, flags=re.MULTILINE)[1], re.MULTILINE)
    assert set(inspect.signature(of).parameters) <= set(said)


def test_a_public_name_without_a_docstring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcli.Grid.cover, "__doc__", None)
    with pytest.raises(ValueError, match=r"Grid\.cover is public and has no docstring"):
        make_reference.text()


def test_what_docstrings_name_is_said_in_words() -> None:
    assert re.findall(r"`[A-Z_]{4,}`", REFERENCE.read_text()) == []


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
