"""Every page is followed: each of its lines is run, and prints what the page shows."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.pages import PAGES, followed, page
from tests.helpers.shells import ROOT
from tools import pages

# pages that have a test of their own, which follows them and looks at what came of it
ELSEWHERE = {
    "../README.md": "tests/test_readme.py",
    "crop.md": "tests/commands/test_crop_page.py",
    "exec.md": "tests/commands/test_exec_page.py",
    "functions.md": "tests/commands/test_functions_page.py",
    "map.md": "tests/commands/test_map_page.py",
    "tiles.md": "tests/commands/test_tiles_page.py",
}
# pages of which tests run each block alone, in a folder of its own
BY_BLOCKS = {
    "shell.md": "tests/commands/test_shell.py",
    "training-data.md": "tests/commands/test_training_page.py",
}
SLOW = ("cluster.md", "denoise.md", "large.md", "network.md", "tutorial.md")
NOT_RUN = {  # blocks with lines to type that are not run, by their beginning, and why not
    ("../README.md", "pip install ."): "installs from the network",
    ("../README.md", "make test"): "runs all tests",
    ("../CONTRIBUTING.md", "make test"): "runs all tests",
    ("cluster.md", "pip install 'patchcli[dask]'"): "installs from the network; calls another machine",
    ("cluster.md", "patchcli map /data/scene.tif"): "calls another machine",
    ("cluster.md", "sbatch cut.sbatch"): "needs Slurm; the script is run without it",
    ("cluster.md", "from dask_jobqueue"): "needs Slurm",
    ("cluster.md", "from dask_kubernetes"): "needs Kubernetes",
    ("remote.md", "pip install '.[remote]'"): "installs from the network",
    ("remote.md", "patchcli extract https://host"): "stores on the network; tests/storage/ has servers of its own",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in PAGES
        if name not in ELSEWHERE and name not in BY_BLOCKS and any(block.script for block in pages.blocks_in(page(name)))
    ],
)
def test_a_page_is_followed(name: str, tmp_path: Path) -> None:
    with followed(name, tmp_path):
        pass


@pytest.mark.parametrize("name", ELSEWHERE)
def test_pages_that_are_followed_elsewhere_are(name: str) -> None:
    assert f'followed("{name}", tmp_path)' in (ROOT / ELSEWHERE[name]).read_text()


@pytest.mark.parametrize("name", BY_BLOCKS)
def test_pages_whose_blocks_are_run_alone_are(name: str) -> None:
    assert f'"{name}"' in (ROOT / BY_BLOCKS[name]).read_text()


def test_what_is_not_run_is_known() -> None:
    """A block of text shows a file or a message; where it shows a line to type, that is an exception, and so is ``not-run``."""
    commands = ("patchcli", "pip", "make", "sbatch", "python", "$", ".ci/run")
    found = [
        (name, block.text)
        for name in PAGES
        for block in pages.blocks_in(page(name))
        if "not-run" in block.words or (block.language == "text" and block.text.split()[0] in commands)
    ]
    assert len(found) == len(NOT_RUN)
    for name, text in found:
        assert any(of == name and text.startswith(beginning) for of, beginning in NOT_RUN), (name, text)


def test_what_is_saved_is_named_to_the_reader() -> None:
    """The words behind a language are not shown, so the line above a block that is saved says under what name."""
    for name in PAGES:
        lines = page(name).splitlines()
        for block in pages.blocks_in(page(name)):
            saved = block.word("file")
            if saved is not None:
                above = " ".join(lines[max(0, block.line - 5) : block.line - 1])
                assert f"`{saved}`" in above, f"{name}:{block.line}"


def test_languages_of_blocks_are_known() -> None:
    """What a page shows is run, or is of a language that is a file, an output, or checked by a test of its page."""
    languages = {block.language for name in PAGES for block in pages.blocks_in(page(name))}
    shown = {"c", "csv", "crontab", "json", "julia", "make", "output", "py", "pycon", "r", "text", "zsh"}
    assert languages <= shown | set(pages.RUN)


def follow(text: str, folder: Path) -> list[str]:
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return pages.follow(text, folder, {"PATH": path, "HOME": str(folder)})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("```sh\nfalse\n```\n", "line 1 ended with 1"),
        ("```sh\nfalse | cat\n```\n", "ended with 1"),
        ("```sh\necho so >&2\n```\n", "should be silent on standard error, but said:\nso"),
        ("\n```python\nprint(1)\n```\n\n```output\n2\n```\n", "line 2:\nprint"),
        ("```sh\nprintf 'a\\nb\\nc\\n'\n```\n```output\na\nc\n```\n", "should print:\na\nc\n\nprinted:\na\nb"),
        ("```python\nimport warnings; warnings.warn('so')\n```\n", "UserWarning: so"),
        ("```sh\nexit 0\n```\n```sh\ntrue\n```\n", "line 1 ended the shell"),
    ],
)
def test_a_page_that_is_wrong_is_not_followed(text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(pages.UnlikeThePageError, match=what):
        follow(text, tmp_path)


def test_blocks_share_a_shell_and_a_folder(tmp_path: Path) -> None:
    text = """
```sh
mkdir deep; cd deep; export TOLD=3
```
```python file:told.py
import os
print(os.environ["TOLD"], "of 10 (0.12 s, 34 MB/s)")
```
```bash
python told.py; echo and >&2
```
```output
...
3 of ... (9.99 s, 1 MB/s)
and
...
```
```sh needs:no-such-program
touch wrong
```
```python not-run
open("wrong", "w")
```
```text
touch wrong
```
"""
    assert follow(text, tmp_path) == ["no-such-program"]
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "told.py"}


def test_what_a_page_leaves_running_ends_with_it(tmp_path: Path) -> None:
    follow("```sh\nsleep 1000 &\necho $! > number\n```\n", tmp_path)
    status = Path("/proc", (tmp_path / "number").read_text().strip(), "stat")
    end = time.monotonic() + 20
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)
