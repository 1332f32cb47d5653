"""Count the modules of the package that a call enters, from the command's callback to the written bytes.

``python -m tools.walks`` prints, for each command, how many modules it enters, and their names in the order of first entry, each
with the function that is called first. Each command is run on a sample image in a fresh interpreter, so that nothing is cached by
the one before. A module counts as entered where a function that stands in it is called, in any thread, between the begin and the
end of the callback. What runs while a module is imported does not count: it belongs to the module, not to the image's way.

``python -m tools.walks --write`` brings the lists of ``docs/architecture.md`` up to date. A module that is listed keeps its
sentence; a new one gets the first line of its docstring.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
SAMPLE = ROOT / "sample_images" / "scene.png"
PACKAGE = "patchcli"
STACK = "scene.npz"  # in the folder of the walk, cut beforehand


class Walk(NamedTuple):
    """A call to follow.

    Attributes:
        arguments: the command line, without the command.
        at_most: how many modules it should enter.
    """

    arguments: tuple[str, ...]
    at_most: int


EXTRACT = (str(SAMPLE), "-s", "16", "--stride", "8", "-o")
WALKS = {
    "extract": Walk((*EXTRACT, "walk.npz"), 25),
    "merge": Walk((STACK, "-o", "walk.png"), 30),
    "map": Walk((*EXTRACT, "walk.png", "--func", f"{ROOT / 'examples' / 'functions.py'}:denoise"), 45),
    "crop": Walk((str(SAMPLE), "--box", "100", "50", "64", "48", "--size", "32x24", "-o", "walk.png"), 28),
}


class Recorder:
    """A profile function that keeps the modules entered while a callback runs, in the order of first entry.

    Attributes:
        first: by module, the function of it that was called first.
    """

    def __init__(self, callback: CodeType) -> None:
        self.callback = callback
        self.running = False
        self.first: dict[str, str] = {}

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:  # noqa: ANN401
        """What the interpreter calls on every call and return."""
        if frame.f_code is self.callback and event in ("call", "return"):
            self.running = event == "call"
        if not self.running or event != "call":
            return
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] == PACKAGE and name not in self.first and _written(frame) and not _while_imported(frame):
            self.first[name] = frame.f_code.co_qualname


def _written(frame: FrameType) -> bool:
    """Whether a function stands in its module, and was not made there, as those of a dataclass are."""
    return not frame.f_code.co_filename.startswith("<")


def _while_imported(frame: FrameType) -> bool:
    """Whether a call belongs to the import of a module of the package, or is one itself."""
    at: FrameType | None = frame
    while at is not None:
        of_module = not at.f_code.co_flags & inspect.CO_OPTIMIZED  # the body of a module or a class
        if of_module and at.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
            return True
        at = at.f_back
    return False


def follow(command: str) -> dict[str, str]:
    """Run a command in this process, in the working folder; the modules that it enters, each with its first function."""
    import click

    from patchcli.cli.main import cli, run

    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert found.callback is not None
    recorder = Recorder(inspect.unwrap(found.callback).__code__)
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        code = run([command, *WALKS[command].arguments])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if code:
        raise SystemExit(f"patchcli {command} ended with {code}")
    return recorder.first


def walk(command: str) -> dict[str, str]:
    """The same in an interpreter and a folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PATCHCLI_")}
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:

        def python(*arguments: str) -> bytes:
            call = [sys.executable, *arguments]
            return subprocess.run(call, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE).stdout

        if command == "merge":
            python("-m", PACKAGE, "extract", *EXTRACT, STACK)
        first: dict[str, str] = json.loads(python("-m", "tools.walks", command))
    return first


def path_of(module: str) -> Path:
    """The file of a module, or of a package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def listed(command: str, page: str) -> dict[str, str]:
    """The walk of a command on the page: its modules, as files below the package, each with its sentence."""
    (section,) = re.findall(rf"^### {command}\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"^\d+\. `([\w/]+\.py)`: (.*)$", section, re.MULTILINE))


def as_list(modules: list[str], sentences: dict[str, str]) -> str:
    """The numbered list of a walk."""
    lines = []
    for number, module in enumerate(modules, 1):
        path = path_of(module)
        name = path.relative_to(ROOT / PACKAGE).as_posix()
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        lines.append(f"{number}. `{name}`: {sentences.get(name) or docstring.partition(chr(10))[0]}")
    return "\n".join(lines) + "\n"


def brought_up_to_date(page: str) -> str:
    """The page with the lists that its walks have now."""
    for command in WALKS:
        new = as_list(list(walk(command)), listed(command, page))
        # (heading, prose, list): the prose stays
        page = re.sub(
            rf"(^### {command}\n.*?)(?:^\d+\. `[^\n]*\n)+",
            lambda found, new=new: found[1] + new,  # type: ignore[misc]
            page,
            count=1,
            flags=re.DOTALL | re.MULTILINE,
        )
    return page


def main(arguments: list[str]) -> None:
    """Print the walks of all commands, or write them; for a command that is named, its own in this process, as JSON."""
    if arguments == ["--write"]:
        PAGE.write_text(brought_up_to_date(PAGE.read_text()))
        return
    if arguments:
        print(json.dumps(follow(arguments[0])))
        return
    for command, wanted in WALKS.items():
        first = walk(command)
        print(f"{command}: {len(first)} modules, wanted are at most {wanted.at_most}")
        for number, (module, function) in enumerate(first.items(), 1):
            print(f"{number:4} {module.removeprefix(PACKAGE + '.'):28} {function}")


if __name__ == "__main__":
    main(sys.argv[1:])
