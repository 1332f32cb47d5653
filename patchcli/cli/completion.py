"""Completion in a shell: Click's own, answered where a variable of the environment asks for it."""

from __future__ import annotations

import os
from typing import Any

import click
from click import shell_completion

from patchcli.cli.help import version_option
from patchcli.errors import UsageError

PROGRAM = "patchcli"
VARIABLE = "_PATCHCLI_COMPLETE"


class _Bash(shell_completion.BashComplete):
    """Bash hands over ``--edge=sh`` in three words; Click knows it in two."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return [word for word in args if word != "="], incomplete


class _Joined(shell_completion.ShellComplete):
    """Where ``--edge=sh`` is one word, what is offered in its place begins as it does."""

    def get_completions(self, args: list[str], incomplete: str) -> list[shell_completion.CompletionItem[str]]:
        items = super().get_completions(args, incomplete)
        name, equals, _ = incomplete.partition("=")
        if equals and name.startswith("--"):
            for item in items:
                item.value = f"{name}={item.value}"
        return items


class _Zsh(_Joined, shell_completion.ZshComplete):
    """As Click has it, and registered for good the first time that zsh loads it from a folder: else the second Tab is lost."""

    source_template = f"{shell_completion.ZshComplete.source_template}\ncompdef %(complete_func)s %(prog_name)s\n"


class _Fish(_Joined, shell_completion.FishComplete):
    pass


SHELLS: dict[str, type[shell_completion.ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def script(program: click.Command, shell: str) -> str:
    """The script that makes a shell ask this program for completions."""
    # not source() of Bash, which runs the bash that it finds, for its version, and may print a warning
    return shell_completion.ShellComplete.source(_made(program, shell))


def answer(program: click.Command, instruction: str) -> int:
    """Do what ``_PATCHCLI_COMPLETE`` asks for: ``bash_complete`` and its like, or ``bash_source``; the exit code.

    Raises:
        UsageError: another instruction, or one without the words to complete.
    """
    shell, _, action = instruction.partition("_")
    if shell not in SHELLS or action not in ("complete", "source"):
        raise UsageError(f"{VARIABLE} is {instruction!r}; allowed are {', '.join(f'{name}_complete' for name in SHELLS)}")
    if action == "source":
        click.echo(script(program, shell), nl=False)
        return 0
    try:
        found = _made(program, shell).complete()
    except (KeyError, ValueError):
        raise UsageError(f"{VARIABLE} needs COMP_WORDS and COMP_CWORD, which the script of `completion` sets") from None
    click.echo(os.fsencode(found))  # a word may hold any bytes
    return 0


def _made(program: click.Command, shell: str) -> shell_completion.ShellComplete:
    settings: dict[str, Any] = {}
    return SHELLS[shell](program, settings, PROGRAM, VARIABLE)


@click.command()
@version_option
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script with which a shell completes commands, options, their words, and names of files.

    \b
    Bash 4.4 or newer, in ~/.bashrc:
      eval "$(patchcli completion bash)"
    zsh, in ~/.zshrc, below compinit:
      eval "$(patchcli completion zsh)"
    fish, once:
      patchcli completion fish > ~/.config/fish/completions/patchcli.fish
    """
    click.echo(script(ctx.find_root().command, shell), nl=False)
