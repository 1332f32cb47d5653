"""``patchcli info``: what is in images and stacks."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.options import BatchOptions
from patchcli.cli import environment, options
from patchcli.cli.help import option, version_option
from patchcli.cli.types import File
from patchcli.errors import DONE, FAILED, OutputError, fault_of, one_line, shortened
from patchcli.images.formats import SUFFIXES
from patchcli.jobs.info import facts_of
from patchcli.jobs.info_fact import as_json, for_people
from patchcli.stacks.tile_names import INDEX_SUFFIX
from patchcli.storage.files import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from patchcli.batch.progress import Voice
    from patchcli.jobs.info_fact import Fact

STACKS_AND_ARRAYS = (".npz", ".npy", INDEX_SUFFIX)


@click.command(cls=environment.BatchCommand)
@click.argument("inputs", nargs=-1, type=File(), metavar="FILES...")
@option(options.OUTPUT, "--json", is_flag=True, help="Print a line of JSON for each file.")
@option(
    options.READING, "--check", is_flag=True, help="Read all of each file, every pixel and every patch; exit 1 if one is damaged."
)
@options.max_pixels_option
@options.list_options
@options.remote_option
@options.message_options
@version_option
@click.pass_context
def info(ctx: click.Context, /, *, check: bool, max_pixels: int, **given: Any) -> None:  # noqa: ANN401
    """Tell what is in images, stacks, indexes of tile files and arrays: size, dtype, pages, metadata, grid, from headers alone.

    \b
    patchcli info photo.tif photo.npz
    patchcli info --json photos | jq .width
    patchcli info --check photos stacks
    """
    in_json: bool = given.pop("json")
    batch = BatchOptions(**given)
    voice = options.make_voice(batch)
    found = options.find_inputs(ctx, batch, (*SUFFIXES, *STACKS_AND_ARRAYS))
    found.tell(voice)
    for folder, why in found.missing:
        _fail(folder, why, voice, in_json=in_json)
    bad = len(found.missing)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        for path in found.paths:
            bad += not _tell(path, voice, in_json=in_json, check=check, max_pixels=max_pixels)
    ctx.exit(FAILED if bad else DONE)


def _tell(path: str, voice: Voice, *, in_json: bool, check: bool, max_pixels: int) -> bool:
    """Tell of a file; whether that could be done."""
    begun = time.monotonic()
    try:
        facts = facts_of(path, check=check, max_pixels=max_pixels)
        text = as_json(path, facts) if in_json else for_people(path, facts)
    except OutputError:  # no room for what comes through a pipe
        raise
    except Exception as error:  # noqa: BLE001  one file's trouble, whatever its kind, is that file's alone
        _fail(path, fault_of(error), voice, in_json=in_json, trace=error)
        return False
    click.echo(text)
    if voice.verbose and voice.done:
        voice.done(f"{name_of(path, 'standard input')}: {_pace(facts, time.monotonic() - begun, whole=check)}")
    return True


def _fail(path: str, fault: str, voice: Voice, *, in_json: bool, trace: Exception | None = None) -> None:
    """Say what is wrong with a file or a folder, for programs too."""
    if voice.debug and trace is not None:
        import traceback

        for line in "".join(traceback.format_exception(trace)).splitlines():
            voice.error(line)
    voice.error(f"{name_of(path, 'standard input')}: {shortened(one_line(fault))}")
    if in_json:
        click.echo(json.dumps({"file": path, "error": fault}))


def _pace(facts: Sequence[Fact], seconds: float, *, whole: bool) -> str:
    """How long a file took, and how much of it that was a second."""
    nbytes = next(fact.fields["bytes"] for fact in facts if "bytes" in fact.fields)
    speed = f", {nbytes / seconds / 1e6:.0f} MB/s" if whole and seconds else ""
    return f"{'checked' if whole else 'headers read'} ({seconds:.2f} s{speed})"
