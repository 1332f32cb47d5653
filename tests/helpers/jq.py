"""jq as a command where the program is not installed: its library, the package jq of PyPI, with the options -c, -r, -j and -s."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Print what a filter makes of files or standard input: strings under -r and -j as they are, else compact JSON."""
    import jq

    options = set("".join(word[1:] for word in arguments if word.startswith("-")))
    program, *names = [word for word in arguments if not word.startswith("-")]
    text = "".join(Path(name).read_text() for name in names) if names else sys.stdin.read()
    for value in jq.compile(program).input_text(text, slurp="s" in options):
        raw = isinstance(value, str) and options & {"r", "j"}
        sys.stdout.write(value if raw else json.dumps(value, separators=(",", ":"), ensure_ascii=False))
        sys.stdout.write("" if "j" in options else "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
