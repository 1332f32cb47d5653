"""``patchcli crop``: boxes of images at a chosen size."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import click

from patchcli.batch import run, targets
from patchcli.batch.attempt import Job, Work
from patchcli.cli import crop_boxes, environment, options, types
from patchcli.cropping.coordinates import OUTSIDE
from patchcli.cropping.taps import RESAMPLING, STILL
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.box import check_boxes
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.images.imagefile import output_name
from patchcli.jobs import crop as job
from patchcli.storage import files
from patchcli.storage.outputs import create
from patchcli.storage.paths import is_remote

BESIDE_FIT = {  # what else could go to standard output, and where it goes instead
    "report": ("report", "--report FILE"),
    "fit_report": ("steps", "--fit-report FILE"),
    "output": ("crop", "-o FILE or -d"),
}


@click.command(cls=environment.Command, short_help="Crop boxes of images, sampled as PyTorch does.")
@options.batch_options
@click.option("--box", type=float, nargs=4, metavar="X Y W H", help="Box in pixels: corner and size.")
@click.option(
    "--normalized-box",
    type=float,
    nargs=4,
    metavar="X0 Y0 X1 Y1",
    help="Corners in the coordinates of grid_sample: -1 -1 is top left, 1 1 bottom right.",
)
@click.option(
    "--boxes", type=types.File(), metavar="FILE", help="Many boxes, a line each, JSON Lines or CSV; - is standard input."
)
@click.option(
    "--size", type=types.Size(), help="Size of the crop; default: that of the box, rounded; with --fit that of the template."
)
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
@click.option(
    "--fit",
    type=types.File(),
    metavar="TEMPLATE",
    help="Find the box whose crop matches this image, from the box given or anywhere.",
)
@click.option("--fit-report", type=types.File(), metavar="FILE", help="Write every step of the fit, as JSON Lines.")
@options.reading_options
@options.image_format_option
@click.pass_context
def crop(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Crop boxes of images and sample them at a size, exactly as affine_grid and grid_sample of PyTorch do.

    \b
    patchcli crop photo.png --box 100 50 64 64 -o crop.png
    patchcli crop photo.png --normalized-box -0.5 -0.3 0.7 0.8 --size 224x224 -o crop.png
    patchcli crop --boxes boxes.csv --size 64 -o 'crops/{stem}-{index}.png'
    patchcli crop --boxes boxes.csv --size 64 -o crops.npz
    patchcli crop photo.png --fit part.png -o found.png
    """
    given["tell_outside"] = ctx.get_parameter_source("outside") is click.core.ParameterSource.DEFAULT
    if given["boxes"] is not None:
        ctx.exit(crop_boxes.run_boxes(given))
    found = options.find_inputs(ctx, given, SUFFIXES)
    _check_box(given)
    voice = options.make_voice(given)
    image_format = options.image_format_of(given)
    report, fit = given["fit_report"], given["fit"]
    tasks = targets.place_tasks(
        given,
        found,
        lambda path: path + FORMATS[image_format].suffixes[0] if image_format else output_name(path, None, noted=given["resume"]),
        also_written=[] if report is None else [report],
        also_read=[] if fit is None else [fit],
    )
    options.check_formats(given, [task.target for task in tasks], image_format)
    settings = crop_boxes.settings_of(given, image_format)
    curve: list[str] = []
    work = Work(job.crop_one, settings, job.recipes, _planner)
    code = run.run_batch(given, found, tasks, work, voice, lambda said: curve.extend(said.curve))
    if report is not None and not given["dry_run"]:
        with create(report, overwrite=given["overwrite"]) as file:
            file.write("".join(f"{line}\n" for line in curve).encode())
    ctx.exit(code)


def _planner() -> Job:
    from patchcli.jobs.crop_plan import plan_one  # loaded for nobody else

    return plan_one


def _check_box(given: dict[str, Any]) -> None:
    """Check that the options that say what to crop belong together."""
    both = given["box"] is not None and given["normalized_box"] is not None
    neither = given["box"] is None and given["normalized_box"] is None
    if both or (neither and given["fit"] is None):
        fault = "they exclude each other" if both else "one is needed, or --boxes, or --fit"
        raise UsageError(f"--box and --normalized-box: {fault}")
    if given["fit"] is None and given["fit_report"] is not None:
        raise UsageError("--fit-report is for --fit")
    for option, (what, instead) in BESIDE_FIT.items():
        if given["fit"] is not None and given[option] == files.STREAM:
            raise UsageError(f"--fit prints its result to standard output, so the {what} cannot go there; give {instead}")
    if given["fit"] is not None and given["resampling"] in STILL:
        allowed = ", ".join(word for word in RESAMPLING if word not in STILL)
        raise UsageError(f"--resampling is {given['resampling']}, which has no gradient; allowed with --fit are {allowed}")
    box = given["box"] or given["normalized_box"]
    if box is not None:
        with as_usage():
            numbers = check_boxes(box)
        empty = (numbers[2:] == 0) if given["box"] is not None else (numbers[2:] == numbers[:2])
        if empty.any():
            raise UsageError(
                f"box is empty: {' '.join(f'{number:g}' for number in numbers)}; allowed are boxes with width and height"
            )
    if given["size"] is not None:
        with as_usage():
            job.check_crop(given["size"], 0, given["max_pixels"])
    if given["fit"] is not None and not (is_remote(given["fit"]) or os.path.isfile(given["fit"])):
        raise UsageError(f"{given['fit']}: is no file; allowed for --fit is an image, the template")


@contextlib.contextmanager
def as_usage() -> Any:  # noqa: ANN401
    """What a kernel says of an option is a mistake in the call."""
    try:
        yield
    except PatchcliError as error:
        raise UsageError(str(error)) from None
