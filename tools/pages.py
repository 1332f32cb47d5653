"""Follow a page: run its blocks in order, in one shell, as a reader would, and compare what they print with what it shows.

    python -m tools.pages docs/tutorial.md      follows it in a clean clone of this repository

Blocks of ``sh``, ``bash`` and ``python`` are run. A block ``output`` is what the one before it prints, standard error included;
``...`` in it stands for anything, a line of it for any lines or none, and times are not compared. A block without one prints
nothing on standard error. Words behind the language of a block, which no reader sees: ``file:NAME`` saves it instead,
``needs:NAME`` leaves it out where no program and no package of Python of that name is installed, ``not-run`` always.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUN = {"sh": "{}", "bash": "{}", "python": "python -W error - <<'END_OF_BLOCK'\n{}END_OF_BLOCK\n"}
SECONDS = 600
ANYTHING = re.compile(r"^\.\.\.\n|\.\.\.", re.MULTILINE)
TIMES = re.compile(r"\(\d+\.\d\d s, \d+ MB/s\)")  # what a command took, which is another each time


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    def word(self, name: str) -> str | None:
        """What stands behind ``name:``; None where that is not among the words."""
        return next((word.partition(":")[2] for word in self.words if word.startswith(f"{name}:")), None)

    @property
    def script(self) -> str | None:
        """The lines of shell that do what a reader does with it; None where there is nothing to do."""
        name = self.word("file")
        if "not-run" in self.words:
            return None
        if name is not None:
            return f"cat > {name} <<'END_OF_BLOCK'\n{self.text}END_OF_BLOCK\n"
        return RUN[self.language].format(self.text) if self.language in RUN else None


class UnlikeThePageError(Exception):
    """A block failed, or printed something else than its page shows."""


def blocks_in(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = re.finditer(r"^```([\w-]+)([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(one[1], tuple(one[2].split()), one[3], text.count("\n", 0, one.start()) + 1) for one in found]


def follow(text: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """Run a page in ``folder``; the names of what its blocks need and is not installed, which were left out.

    Raises:
        UnlikeThePageError: a block failed, or printed something else than is shown.
    """
    blocks = blocks_in(text)
    needed = dict.fromkeys(name for block in blocks if (name := block.word("needs")))
    left_out = [name for name in needed if not _installed(name, environment)]
    todo = [
        (block, after.text if after.language == "output" else None)
        for block, after in zip(blocks, [*blocks[1:], Block("", (), "", 0)], strict=True)
        if block.script is not None and block.word("needs") not in left_out
    ]
    with tempfile.TemporaryDirectory() as said:
        parts = [
            f"exec >{said}/{number}.out 2>{'&1' if shown is not None else f'{said}/{number}.err'}\n{block.script}"
            for number, (block, shown) in enumerate(todo)
        ]
        code = _run("\n".join(["set -eo pipefail", *parts, f"exec >{said}/end 2>&1"]), folder, environment)
        for number, (block, shown) in enumerate(todo):
            out, err = (_read(Path(said, f"{number}.{kind}")) for kind in ("out", "err"))
            if not any(Path(said, name).exists() for name in (f"{number + 1}.out", "end")):
                how = f"ended with {code}" if code else "ended the shell"
                raise UnlikeThePageError(f"line {block.line} {how}:\n{block.text}\nand said:\n{out}{err}")
            _compare(block, shown, out, err)
    return left_out


def _installed(name: str, environment: dict[str, str]) -> bool:
    program = shutil.which(name, path=environment["PATH"]) is not None
    return program or (name.isidentifier() and importlib.util.find_spec(name) is not None)


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _run(script: str, folder: Path, environment: dict[str, str]) -> int:
    """Run lines in a shell whose children end with it; its exit code."""
    shell = subprocess.Popen(
        ["bash", "--norc", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return shell.wait(SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def _compare(block: Block, shown: str | None, out: str, err: str) -> None:
    """Refuse what was printed where it is not what is shown."""
    wanted = ".*?".join(map(re.escape, ANYTHING.split(TIMES.sub("", shown or ""))))
    if shown is not None and not re.fullmatch(wanted, TIMES.sub("", out), re.DOTALL):
        raise UnlikeThePageError(f"line {block.line}:\n{block.text}\nshould print:\n{shown}\nprinted:\n{out}")
    if err and not block.text.startswith("make "):
        raise UnlikeThePageError(f"line {block.line}:\n{block.text}\nshould be silent on standard error, but said:\n{err}")


def main(names: list[str]) -> None:
    """Follow pages, each in a clean clone of its own."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder, "patchcli")
            subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
            kept = {
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("PYTHON", "PATCHCLI_", "VIRTUAL_ENV", "MAKE"))
            }
            left_out = follow((clone / name).read_text(), clone, kept)
        print(f"{name}: followed" + (f", but for what needs {', '.join(left_out)}" if left_out else ""))


if __name__ == "__main__":
    main(sys.argv[1:])
