"""Write ``docs/commands.md``, every command with every option, from the program itself."""

from __future__ import annotations

from pathlib import Path

import click

from patchcli.cli.main import HELP_NAMES, cli

BEGINNING = """[All pages](README.md). See also: [the shell](shell.md), [many files](batch.md), [Python](python.md).

Written by `make manual` from the program's own help."""
MANUAL = Path(__file__).parent.parent / "docs" / "commands.md"


def text() -> str:
    """The manual as the program describes itself."""
    parts = ["# Commands", "", BEGINNING, ""]
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        if command is None:
            continue
        parent = click.Context(cli, info_name="patchcli", help_option_names=HELP_NAMES)
        context = click.Context(command, info_name=name, parent=parent, terminal_width=110, max_content_width=110)
        parts += [f"## patchcli {name}", "", "```text", command.get_help(context), "```", ""]
        hidden = [one for one in command.params if isinstance(one, click.Option) and one.hidden]
        parts += [f"Not shown by `--help`: `{', '.join(one.opts)}`: {one.help}\n" for one in hidden]
    return "\n".join(parts)


if __name__ == "__main__":
    MANUAL.write_text(text())
