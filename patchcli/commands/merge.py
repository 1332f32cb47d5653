"""``patchcli merge``: processed patch stacks to images."""

from __future__ import annotations

import os
from typing import Any

import click

from patchcli import options, runner
from patchcli.errors import UsageError
from patchcli.formats import FORMATS, WRITABLE
from patchcli.images import format_of
from patchcli.jobs import merge as job

DTYPES = (
    "keep",
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)


@click.command(short_help="Rebuild images from patch stacks.")
@options.batch_options
@click.option("--like", metavar="STACK", help="The stack whose origins and image count, for patches in a bare .npy or .npz.")
@click.option("--key", metavar="NAME", help="The array that holds the patches; default: patches, or the only one.")
@click.option(
    "--dtype", type=click.Choice(DTYPES), default="keep", show_default=True, help="Dtype of the image; keep: the source image's."
)
@click.option(
    "--fill", type=float, metavar="VALUE", help="Value of pixels that no patch covers; with --trim, of those that remain."
)
@click.option("--trim", is_flag=True, help="Cut off the border that no patch covers.")
@click.option("--allow-nonfinite", is_flag=True, help="Let NaN and infinity through to float images.")
@click.option("--cover", metavar="PATH", help="Write how many patches lie on each pixel, as .npy or image.")
@options.image_format_option
@options.max_pixels_option
@click.pass_context
def merge(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Rebuild each image as the mean of all patches that lie on a pixel. The stack knows how it was cut.

    \b
    patchcli merge photo.npz -o back.png
    patchcli extract photo.png -s 8 --stride 1 -o - | patchcli merge - -o back.png
    """
    options.need_inputs(ctx, given["inputs"])
    cover, image_format = given["cover"], options.image_format_of(given)
    if cover is not None and len(given["inputs"]) > 1:
        raise UsageError(f"--cover names one output but there are {len(given['inputs'])} inputs; allowed is one")
    covers = [cover] if cover is not None else []
    likes = [given["like"]] if given["like"] is not None else []
    tasks = options.place_tasks(given, lambda path: _image_name(path, image_format), covers, likes)
    options.check_suffixes([*covers, *(task.target for task in tasks if image_format is None)])
    if cover is not None and not FORMATS[format_of(cover)].lossless:
        raise UsageError(f"{cover}: would lose counts; allowed for --cover are lossless formats")
    settings = job.MergeSettings(
        given["like"],
        given["key"],
        given["dtype"],
        given["fill"],
        given["trim"],
        given["allow_nonfinite"],
        cover,
        image_format,
        given["max_pixels"],
        given["overwrite"],
    )
    ctx.exit(runner.run(tasks, lambda task, tick: job.merge_one(task, settings, tick), options.make_voice(given)))


def _image_name(path: str, image_format: str | None) -> str:
    """``a.png.npz`` becomes ``a.png`` again; a suffix that would lose something, or none, gets another behind it."""
    name = path[:-4] if path.lower().endswith((".npz", ".npy")) else path
    suffix = os.path.splitext(name)[1].lower()
    wanted = [image_format] if image_format else [known for known in WRITABLE if FORMATS[known].lossless]
    if any(suffix in FORMATS[known].suffixes for known in wanted):
        return name
    return name + FORMATS[wanted[0]].suffixes[0]
