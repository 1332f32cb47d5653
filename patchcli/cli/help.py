"""Options in groups: each says where in the help it stands, what is needed most first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from patchcli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS = (
    "Picture",
    "Function",
    "Patches",
    "Choosing patches",
    "Merging",
    "Tile files",
    "Boxes",
    "Sampling",
    "Reading",
    "Output",
    "Many files",
    "Messages",
)


class _Option(click.Option):
    """An option of a group."""

    def __init__(self, *arguments: Any, group: str, **attributes: Any) -> None:  # noqa: ANN401  Click's own
        super().__init__(*arguments, **attributes)
        self.group = group


def option(group: str, *names: str, **attributes: Any) -> Callable[..., Any]:  # noqa: ANN401  Click's own
    """`click.option` of a group of `GROUPS`."""
    return click.option(*names, cls=_Option, group=group, **attributes)


class GroupedCommand(click.Command):
    """A command that shows its options in groups; what Click itself adds, such as ``--help``, belongs to the messages."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                records[getattr(param, "group", GROUPS[-1])].append(record)
        for group, rows in records.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


version_option = click.version_option(__version__, "-V", "--version", message="patchcli %(version)s", allow_from_autoenv=False)


def together(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several decorators as one, in the order in which help shows their options."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
