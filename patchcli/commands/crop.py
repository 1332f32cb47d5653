"""``patchcli crop``: a box of an image at a chosen size."""

from __future__ import annotations

from typing import Any

import click

from patchcli import options, parameters, runner
from patchcli.errors import PatchcliError, UsageError
from patchcli.formats import FORMATS
from patchcli.jobs import crop as job
from patchcli.resample import OUTSIDE, RESAMPLING, Box, check_box


@click.command(short_help="Crop a box of images, sampled as PyTorch does.")
@options.batch_options
@click.option("--box", type=float, nargs=4, metavar="X Y W H", help="Box in pixels: corner and size.")
@click.option(
    "--normalized-box",
    type=float,
    nargs=4,
    metavar="X0 Y0 X1 Y1",
    help="Corners in the coordinates of grid_sample: -1 -1 is top left, 1 1 bottom right.",
)
@click.option("--size", type=parameters.Size(), help="Size of the crop; default: that of the box, rounded.")
@click.option(
    "--resampling", type=click.Choice(tuple(RESAMPLING)), default="bilinear", show_default=True, help="How pixels are sampled."
)
@click.option(
    "--align-corners/--no-align-corners",
    default=False,
    show_default=True,
    help="Whether -1 and 1 are centres of the corner pixels.",
)
@click.option(
    "--outside",
    type=click.Choice(tuple(OUTSIDE)),
    default="zeros",
    show_default=True,
    help="What lies outside the image.",
)
@options.reading_options
@options.image_format_option
@click.pass_context
def crop(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Crop a box of each image and sample it at a size, exactly as affine_grid and grid_sample of PyTorch do.

    \b
    patchcli crop photo.png --box 100 50 64 64 -o crop.png
    patchcli crop photo.png --normalized-box -0.5 -0.3 0.7 0.8 --size 224x224 -o crop.png
    """
    options.need_inputs(ctx, given["inputs"])
    if (given["box"] is None) == (given["normalized_box"] is None):
        fault = "one is needed" if given["box"] is None else "they exclude each other"
        raise UsageError(f"--box and --normalized-box: {fault}")
    _check(given["box"] or given["normalized_box"])
    image_format = options.image_format_of(given)
    tasks = options.place_tasks(given, lambda path: path + (FORMATS[image_format].suffixes[0] if image_format else ""))
    options.check_suffixes([task.target for task in tasks if image_format is None])
    normalized = given["box"] is None
    settings = job.CropSettings(
        given["normalized_box"] if normalized else given["box"],
        normalized,
        given["size"],
        given["resampling"],
        given["align_corners"],
        given["outside"],
        image_format,
        options.reading_of(given),
        given["overwrite"],
    )
    ctx.exit(runner.run(tasks, lambda task, tick: job.crop_one(task, settings, tick), options.make_voice(given)))


def _check(box: Box) -> None:
    try:
        check_box(box)
    except PatchcliError as error:
        raise UsageError(str(error)) from None
