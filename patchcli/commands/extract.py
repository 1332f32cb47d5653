"""``patchcli extract``: images to patch stacks."""

from __future__ import annotations

from typing import Any

import click

from patchcli import options, runner
from patchcli.axis import EDGES, stride_from_overlap
from patchcli.errors import PatchcliError, UsageError
from patchcli.jobs import extract as job
from patchcli.layouts import LAYOUTS, ORDERS, UNROLLED
from patchcli.patches import PAD_MODES


@click.command(short_help="Cut images into patch stacks.")
@options.batch_options
@click.option("-s", "--patch-size", type=options.Size(), help="Size of a patch; required.")
@click.option("--stride", type=options.Size(), help="Steps from patch to patch; default: the patch size.")
@click.option("--overlap", metavar="N|N%|a/b", help="Pixels that neighbours share, or an exact part of the patch size.")
@click.option("--offset", type=options.Point(), default="0,0", show_default=True, help="Corner of the first patch.")
@click.option(
    "--edge", type=click.Choice(tuple(EDGES)), default="shift", show_default=True, help="What happens at the far sides."
)
@click.option("--margin", type=click.IntRange(min=0), default=0, show_default=True, help="Pixels added on all four sides.")
@click.option(
    "--pad-mode", type=click.Choice(PAD_MODES), default="reflect", show_default=True, help="How margin and padding are filled."
)
@click.option("--pad-value", type=float, help="The value for --pad-mode constant; default: 0.")
@click.option(
    "--layout", type=click.Choice(tuple(LAYOUTS)), default="stack", show_default=True, help="How the patches stand in the file."
)
@click.option("--pixel-order", type=click.Choice(ORDERS), help="How rows and columns unroll a patch; default: C.")
@options.reading_options
@click.pass_context
def extract(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Cut each image into overlapping patches and write them, with where each one lay, as a stack file (.npz).

    \b
    patchcli extract photo.png -s 8 --stride 1 -o photo.npz
    patchcli extract photos/*.jpg -s 64 --overlap 25% -d stacks
    """
    options.need_inputs(ctx, given["inputs"])
    settings = _settings(given)
    tasks = options.place_tasks(given, lambda path: f"{path}.npz")
    ctx.exit(runner.run(tasks, lambda task, tick: job.extract_one(task, settings, tick), options.make_voice(given)))


def _settings(given: dict[str, Any]) -> job.ExtractSettings:
    if given["patch_size"] is None:
        raise UsageError("Missing option '-s' / '--patch-size'; allowed are W or WxH, as in 8 or 64x48")
    if given["pad_value"] is not None and given["pad_mode"] != "constant":
        raise UsageError(f"--pad-value is for --pad-mode constant, not for {given['pad_mode']}")
    if given["pixel_order"] is not None and given["layout"] not in UNROLLED:
        raise UsageError(f"--pixel-order is for --layout {' and '.join(UNROLLED)}, not for {given['layout']}")
    return job.ExtractSettings(
        given["patch_size"],
        _stride(given),
        given["offset"],
        given["edge"],
        given["margin"],
        given["pad_mode"],
        given["pad_value"] or 0,
        given["layout"],
        given["pixel_order"] or "C",
        options.reading_of(given),
        given["overwrite"],
    )


def _stride(given: dict[str, Any]) -> tuple[int, int]:
    patch, stride, overlap = given["patch_size"], given["stride"], given["overlap"]
    if overlap is None:
        return stride or patch  # type: ignore[no-any-return]
    if stride is not None:
        raise UsageError("--stride and --overlap exclude each other")
    try:
        return stride_from_overlap(patch[0], overlap), stride_from_overlap(patch[1], overlap)
    except PatchcliError as error:
        raise UsageError(str(error)) from None
