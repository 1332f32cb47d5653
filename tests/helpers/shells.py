"""Real shells: the program as a command on their path, and lines typed at their terminals."""

from __future__ import annotations

import importlib.util
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
READY = "ready>"
TYPED = {  # start-up that makes Ctrl-G write the line as it stands to the file `line` and leave
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'bind -x \'"\\C-g": printf %s "$READLINE_LINE" > line; exit\''),
    "zsh": (["zsh", "-f", "-i"], "show() { print -rn -- $BUFFER > line; exit }; zle -N show; bindkey '^G' show"),
}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of these is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def environment(folder: Path) -> dict[str, str]:
    """An environment in which `patchcli` and `python` are commands and ``folder`` is home; nothing of the caller's settings."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    targets = {"python": f'"{sys.executable}"', "patchcli": f'"{sys.executable}" -m patchcli'}
    if shutil.which("jq") is None and importlib.util.find_spec("jq") is not None:
        targets["jq"] = f'"{sys.executable}" -m tests.helpers.jq'
    for name, target in targets.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{ROOT}${{PYTHONPATH:+:$PYTHONPATH}}" {target} "$@"\n')
        script.chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}


def run(shell: str, lines: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run lines in a shell, without anybody's settings, in ``folder``."""
    options = {"bash": ["--norc"], "zsh": ["-f"]}.get(shell, [])
    return subprocess.run(
        [shell, *options, "-c", lines],
        cwd=folder,
        env={**environment(folder), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )


def type_line(shell: str, setup: str, keys: str, folder: Path) -> str:
    """What stands in the line of an interactive shell after ``keys``, such as ``patchcli ex`` and a tab, were typed."""
    command, show = TYPED[shell]
    ours, theirs = pty.openpty()
    variables = {**environment(folder), "PS1": READY, "HISTFILE": "/dev/null"}
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        _until(ours, READY, 1)
        os.write(ours, f"PS1=; {setup}; {show}; PS1=re; PS1=${{PS1}}ady2\\>\n".encode())
        _until(ours, "ready2>", 1)
        os.write(ours, f"{keys}\x07".encode())
        _until(ours, "", 0)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return (folder / "line").read_text()


def _until(terminal: int, mark: str, times: int) -> None:
    """Read a terminal until a mark has come, or to its end."""
    seen, end = b"", time.monotonic() + 20
    while not times or seen.count(mark.encode()) < times:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        if not ready:
            raise TimeoutError(seen.decode(errors="replace"))
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            part = b""
        if not part:
            break
        seen += part
