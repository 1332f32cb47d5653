"""Options whose values come from the environment: named with ``-v``, and in errors about them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from patchcli.cli.help import GroupedCommand
from patchcli.errors import UsageError, one_line
from patchcli.storage.files import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator


RIVALS = (  # options that exclude each other
    {"stride", "overlap"},
    {"output", "output_dir"},
    {"jobs", "executor"},
    {"quiet", "verbose"},
    {"color", "channel"},
    {"color", "gray"},
    {"gray", "channel"},
    {"box", "normalized_box"},
    {"box", "boxes"},
    {"normalized_box", "boxes"},
    {"fit", "boxes"},
    {"size", "max_size"},
    {"fit", "max_size"},
)


class BatchCommand(GroupedCommand):
    """A command that says which of its options the environment gave: nobody sees those in the line that was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as Click does; what is on the command line also wins over what it excludes, from the environment."""
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            message = error.format_message()
            raise click.ClickException(f"{message}{_origins(ctx, message)}") from None
        for pair in RIVALS:
            sources = {ctx.get_parameter_source(name): name for name in pair}
            if sources.keys() == {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
                _forget(ctx, sources[ParameterSource.ENVIRONMENT])
        return rest

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command; with ``-v`` a line comes first for each value from the environment."""
        if ctx.params.get("verbose"):
            for option, variable in _from_environment(ctx):
                click.echo(one_line(f"{variable}={os.environ.get(variable)} {_effect(ctx, option)}"), err=True)
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise UsageError(f"{error}{_origins(ctx, str(error))}") from None


def _forget(ctx: click.Context, name: str) -> None:
    """Have an option as if it had not been given."""
    option = next(option for option in ctx.command.params if option.name == name)
    ctx.params[name] = option.to_info_dict()["default"]  # None where there is none, which `default` itself has no word for
    ctx.set_parameter_source(name, ParameterSource.DEFAULT)


def _from_environment(ctx: click.Context) -> Iterator[tuple[click.Option, str]]:
    """Options whose values the environment gave, each with its variable."""
    for option in ctx.command.params:
        if isinstance(option, click.Option) and ctx.get_parameter_source(str(option.name)) is ParameterSource.ENVIRONMENT:
            yield option, f"{ctx.auto_envvar_prefix}_{str(option.name).upper()}"


def _effect(ctx: click.Context, option: click.Option) -> str:
    """What a variable does to its option; a flag may be switched off."""
    if not option.is_flag or ctx.params.get(str(option.name)) is not False:
        return f"gives {_long(option.opts)}"
    return f"gives {_long(option.secondary_opts)}" if option.secondary_opts else f"leaves {_long(option.opts)} out"


def _names(option: click.Parameter) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _long(names: list[str]) -> str:
    return max(names, key=len)


def _origins(ctx: click.Context, message: str) -> str:
    """The end of a message about options: which of those that it names, or whose value it begins with, the environment gave."""
    words = set(re.findall(r"(?<![\w-])--?\w[\w-]*", message))
    found = ""
    for option, variable in _from_environment(ctx):
        value = os.environ.get(variable)
        rivals = set().union(*(pair for pair in RIVALS if option.name in pair))  # overlap is told of as stride
        about = {name for other in ctx.command.params if other is option or other.name in rivals for name in _names(other)}
        if words & about or message.startswith(f"{value}: ") or (value == STREAM and f"({STREAM})" in message):
            found += f"; {variable} {_effect(ctx, option)}"
    return found
