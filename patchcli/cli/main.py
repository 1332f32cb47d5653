"""The command line's entry: commands imported when called, and the one boundary where errors become exit codes."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from patchcli.cli.help import version_option
from patchcli.errors import (
    FAILED,
    READER_GONE,
    STOPPED,
    USAGE,
    OutputError,
    PatchcliError,
    UsageError,
    one_line,
    shortage,
    shortened,
)
from patchcli.storage import signals, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

COMMANDS = {
    "extract": "Cut images into patch stacks.",
    "merge": "Rebuild images from patch stacks.",
    "map": "Give patches to a function, merge what it returns.",
    "crop": "Crop a box of images, sampled as PyTorch does.",
    "info": "Tell what is in images and stacks; check that they are whole.",
    "preview": "Draw images, grids, patches, cover and differences, to look at.",
    "completion": "Print the completion script of a shell.",
}
HELP_NAMES = ["-h", "--help"]


class _Commands(click.Group):
    """Commands by name; help and completion read one-line descriptions from a table, so that they import none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        import importlib

        # Not first deep in other imports, where CPython 3.11 maps and unmaps a piece of its stack for each of hundreds of calls.
        import numpy as np  # noqa: F401

        command: click.Command = getattr(importlib.import_module(f"patchcli.cli.{cmd_name}"), cmd_name)
        gc.freeze()  # what is loaded is never searched for circles
        gc.enable()
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a command for one that is mistyped."""
        if not (args[0] in COMMANDS or args[0].startswith("-") or ctx.resilient_parsing):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            meant = f"did you mean {near[0]}?" if near else f"choose {', '.join(COMMANDS)}"
            raise click.UsageError(f"{args[0]!r} is not a command; {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.command(cls=_Commands, context_settings={"help_option_names": HELP_NAMES, "auto_envvar_prefix": "PATCHCLI"})
@version_option
def cli() -> None:
    """Cut images into overlapping patches, rebuild images from processed ones, crop boxes.

    Sizes are W or WxH in pixels, coordinates x before y. Every command has its own --help.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and end the process with its exit code, or by the signal that stopped it."""
    _occupy_standard_streams()
    streams.mend()
    signals.end_by_signals("SIGINT", "SIGTERM", "SIGHUP")
    _leave(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code. Errors that a file, a disk or a user can cause become one line each."""
    try:
        code = _invoke(arguments)
        if sys.stdout is not None and code != STOPPED:  # which may have been for what waits there
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except BrokenPipeError:
        return READER_GONE
    except Exception as error:
        known = _known(error)
        if known is None:  # a bug is loud
            raise
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        return _fail(*known)
    return code


def _known(error: Exception) -> tuple[int, str] | None:
    """The exit code of an error that is no bug, and its sentence."""
    if isinstance(error, click.UsageError) and not isinstance(error, click.BadParameter) and error.ctx:
        return USAGE, f"{error.format_message().rstrip('.')}; see {error.ctx.command_path} --help"
    if isinstance(error, click.ClickException):
        return USAGE, error.format_message()
    for kind, code in ((UsageError, USAGE), (OutputError, STOPPED), (PatchcliError, FAILED)):
        if isinstance(error, kind):
            return code, str(error)
    if isinstance(error, OSError) and error.filename == streams.NAME:  # everything else names its file before it comes here
        return STOPPED, f"{streams.NAME}: cannot be written: {(error.strerror or str(error)).lower()}"
    lack = shortage(error)
    return (STOPPED, f"cannot go on for lack of {lack}") if lack else None


def _invoke(arguments: list[str]) -> int:
    """Click's own main, without what it does about errors."""
    asked = os.environ.get("_PATCHCLI_COMPLETE")
    if asked:
        from patchcli.cli import completion

        return completion.answer(cli, asked)
    try:
        with cli.make_context("patchcli", arguments) as ctx:
            result: Any = cli.invoke(ctx)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code


def _fail(code: int, message: str) -> int:
    click.echo(f"patchcli: {shortened(one_line(' '.join(message.split())))}", err=True)
    return code


def _occupy_standard_streams() -> None:
    """Open the null device where a standard stream is closed, so that no output file gets its number."""
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:  # noqa: PLR2004
            os.close(number)
            return


def _leave(code: int) -> NoReturn:
    """End without a second word on a standard output that is gone."""
    gc.freeze()  # else the interpreter searches all that it holds for circles at its end, which takes 15 ms
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        streams.give_up()
    sys.exit(code)
