"""``patchcli completion``: the script that teaches a shell this program's words."""

from __future__ import annotations

import click

from patchcli.completion import SHELLS, script


@click.command(short_help="Print the completion script of a shell.")
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
