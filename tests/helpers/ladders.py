"""Small runs within limits of memory, descriptors and sizes of files, and what is promised of each."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.helpers import breaking
from tests.helpers.runs import gray, write_image

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = 3
COMMANDS = {
    "extract": "extract in -s 8",
    "merge": "merge stacks",
    "map": "map in -s 8 --func patchcli.functions:identity",
    "crop": "crop in --box 1 2 20 20",
    "preview": "preview in",
}
# the least memory is about what the interpreter and its libraries need to be loaded
LADDERS = {"-v": range(106496, 409601, 4096), "-n": range(5, 33), "-f": (0, 1, 2, 4, 8, 16, 32, 64, 100)}


class Ladder:
    """Inputs, of which outputs are made within limits.

    Args:
        folder: empty, for them and for the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "in").mkdir(parents=True)
        for number in range(INPUTS):
            write_image(folder / f"in/{number}.png", gray(60, 90, seed=number))
        ran = breaking.run(["extract", "in", "-s", "8", "-d", "stacks"], folder)
        assert (ran.code, ran.said) == (0, "")

    def climb(self, limit: str, value: int, command: str, jobs: int) -> list[str]:
        """Run a command within a limit; what is wrong."""
        out = self._folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        more = [] if command == "preview" else ["-j", str(jobs)]
        ran = breaking.limited([*COMMANDS[command].split(), "-d", "out", *more], self._folder, limit, value)
        if ran.code is None:
            return ["hang"]
        made = [path.name for path in out.rglob("*") if path.is_file()]
        lines = ran.said.splitlines()
        if "could not import name" in ran.said:  # imagecodecs, which keeps to itself that memory was short, cannot be loaded
            return []
        wrong = [f"leftover: {name}" for name in made if name.startswith(".")]
        if ran.code not in (0, 1, 3):
            wrong.append(f"wrong code: {ran.code}: {ran.said[-200:]}")
        if "Traceback" in ran.said or "fault of patchcli" in ran.said:
            wrong.append(f"traceback: {lines[-1]}")
        elif not all(line.startswith("patchcli: ") and "damaged" not in line for line in lines):
            wrong.append(f"odd words: {ran.said[-300:]}")
        if (ran.code == 0) != (len(made) == INPUTS and not lines):
            wrong.append(f"false success, or a failure of which nothing is said: {ran.code} {made} {ran.said[-200:]}")
        return wrong
