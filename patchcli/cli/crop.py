"""``patchcli crop``: boxes of images at a chosen size."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from patchcli.batch.attempt import Command
from patchcli.batch.options import BatchOptions
from patchcli.batch.run import run_batch
from patchcli.batch.targets import InputPage, place_tasks
from patchcli.cli import environment, options, types
from patchcli.cli.help import option
from patchcli.cropping.coordinates import OUTSIDE
from patchcli.cropping.taps import RESAMPLING, STILL
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.box import WHOLE, check_boxes
from patchcli.images.formats import FORMATS, SUFFIXES
from patchcli.images.sink import output_name
from patchcli.jobs.crop import crop_one
from patchcli.jobs.crop_plan import check_crop, is_stack, plan_one, recipes
from patchcli.jobs.settings import UNMIXED, CropSettings, FitSettings
from patchcli.jobs.task import BoxRow, CropTask, Task
from patchcli.storage import files
from patchcli.storage.outputs import create
from patchcli.storage.paths import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.batch.inputs import Found
    from patchcli.geometry.box import Box
    from patchcli.jobs.pages import PageRange

BOXES, SAMPLING = "Boxes", "Sampling"
# what else could go to standard output, which --fit prints its result to, and where it goes instead
BESIDE_FIT = (("report", "--report FILE"), ("steps", "--fit-report FILE"), ("crop", "-o FILE or -d"))


class CropCommand(environment.BatchCommand):
    """A command whose ``--box`` takes four numbers, or, as one word, a geometry of ImageMagick."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write geometries as numbers, and parse those as Click does."""
        return super().parse_args(ctx, list(_without_geometries(ctx, args)))


def _without_geometries(ctx: click.Context, args: list[str]) -> Iterator[str]:
    rest = iter(args)
    for word in rest:
        name, equals, text = word.partition("=")
        if name == "--box" and (text := text if equals else next(rest, "")):
            numbers = types.parse_geometry(text)
            if numbers is None and re.match(r"\d[\d.]*x", text, re.IGNORECASE):
                fault = f"{text!r} is not a box; write X Y W H or WxH+X+Y, as in 64x48+10+20"
                raise click.BadParameter(fault, ctx, param_hint="'--box'")
            yield name
            yield from numbers or (text,)
        else:
            yield word
        if word == "--":
            yield from rest


@click.command(cls=CropCommand)
@option(
    BOXES,
    "--box",
    type=types.PixelNumber(),
    nargs=4,
    metavar="X Y W H|WxH+X+Y",
    help="Box in pixels: corner and size, or a geometry.",
)
@option(
    BOXES,
    "--normalized-box",
    type=types.BoxNumber(),
    nargs=4,
    metavar="X0 Y0 X1 Y1",
    help="Corners in the coordinates of grid_sample: -1 -1 is top left, 1 1 bottom right.",
)
@option(
    BOXES,
    "--boxes",
    type=types.File(),
    metavar="FILE",
    help="List of boxes: CSV, JSON Lines, COCO's JSON or YOLO's lines; 'labels/{stem}.txt' for one of each image, - for standard "
    "input.",
)
@option(
    BOXES,
    "--fit",
    type=types.File(),
    metavar="TEMPLATE",
    help="Find the box whose crop matches this image, from the box given or anywhere.",
)
@option(BOXES, "--fit-report", type=types.File(), metavar="FILE", help="Write every step of the fit, as JSON Lines.")
@option(
    SAMPLING,
    "--size",
    type=types.Size(),
    help="Size of the crop, without a box of the whole image; default: that of the box, rounded, or of the template of --fit.",
)
@option(
    SAMPLING,
    "--max-size",
    type=types.Size(),
    help="Largest size inside this one that keeps the shape of the box, or of the whole image; never enlarged.",
)
@option(
    SAMPLING,
    "--resampling",
    type=click.Choice(tuple(RESAMPLING)),
    help="How pixels are sampled; default: bilinear, area where --max-size shrinks, nearest for indices.",
)
@option(
    SAMPLING,
    "--align-corners/--no-align-corners",
    default=False,
    show_default=True,
    help="Whether -1 and 1 are centres of the corner pixels.",
)
@option(
    SAMPLING,
    "--outside",
    type=click.Choice(tuple(OUTSIDE)),
    default="zeros",
    show_default=True,
    help="What lies outside the image.",
)
@options.batch_options
@options.image_format_option
@options.creation_option
@options.metadata_option
@options.reading_options
@click.pass_context
def crop(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401
    """Crop boxes of images and sample them at a size, exactly as affine_grid and grid_sample of PyTorch do.

    \b
    patchcli crop photo.png --box 100 50 64 64 -o crop.png
    patchcli crop photo.png --normalized-box -0.5 -0.3 0.7 0.8 --size 224x224 -o crop.png
    patchcli crop --boxes boxes.csv --size 64 -o 'crops/{stem}-{index}.png'
    patchcli crop --boxes boxes.csv --size 64 -o crops.npz
    patchcli crop images --boxes instances.json -o 'crops/{category}/{stem}-{index}.png'
    patchcli crop photos --max-size 1024 -d small
    patchcli crop photo.png --fit part.png -o found.png
    """
    batch = options.taken(BatchOptions, given)
    asked_reading = options.taken(options.ReadingOptions, given)
    reading, pages = asked_reading.reading(), asked_reading.pages
    asked = options.taken(CropOptions, given)
    stack = asked.boxes is not None and is_stack(batch.output)
    image_format = None if stack else options.image_format_of(asked.image_format, batch)
    resampling = _resampling(asked, reading.color)
    settings = CropSettings(
        resampling=resampling,
        max_size=asked.max_size,
        shrinking=resampling if asked.resampling is not None or resampling == UNMIXED else CropSettings.shrinking,
        align_corners=asked.align_corners,
        outside=asked.outside,
        image_format=image_format,
        creation=asked.co,
        metadata=asked.metadata,
        reading=reading,
        tell_outside=ctx.get_parameter_source("outside") is click.core.ParameterSource.DEFAULT,
        tell_resampling=asked.resampling is None and asked.fit is None,
        overwrite=batch.overwrite,
        resume=batch.resume,
    )
    _check_size(asked, settings)
    if asked.boxes is not None:
        _check_list(asked, pages)
        from patchcli.cli.crop_boxes import run_boxes  # loaded for nobody else

        ctx.exit(run_boxes(asked.boxes, asked.size, settings, batch=batch, image_format=asked.image_format))
    found = options.find_inputs(ctx, batch, SUFFIXES)
    _check_box(asked, settings, batch)
    run = _run_box if asked.fit is None else _run_fit
    ctx.exit(run(asked, settings, found, batch=batch, pages=pages))


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """The options of ``crop`` alone, as they were typed; None where they were not."""

    box: Box | None
    normalized_box: Box | None
    boxes: str | None
    size: tuple[int, int] | None
    max_size: tuple[int, int] | None
    resampling: str | None
    align_corners: bool
    outside: str
    fit: str | None
    fit_report: str | None
    image_format: str | None
    co: tuple[tuple[str, str], ...]
    metadata: str


def _resampling(asked: CropOptions, color: str | None) -> str:
    """How pixels are sampled: indices are never mixed."""
    if color != "indices":
        return asked.resampling or CropSettings.resampling
    if asked.fit is not None:
        raise UsageError("--fit compares values, which --color indices have not; use only one of them")
    if asked.resampling not in (None, UNMIXED):
        raise UsageError(f"--resampling {asked.resampling} would mix indices; with --color indices use {UNMIXED}")
    return UNMIXED


def _name(path: str, settings: CropSettings) -> str:
    """The name of a crop, from that of its image."""
    if settings.image_format is not None:
        return path + FORMATS[settings.image_format].suffixes[0]
    return output_name(path, None, lossless=settings.reading.color == "indices", noted=settings.resume)


def _run_box(asked: CropOptions, settings: CropSettings, found: Found, *, batch: BatchOptions, pages: PageRange | None) -> int:
    """Crop one box of each image, or the whole of it; the exit code."""
    box = asked.box or asked.normalized_box

    def make(place: InputPage) -> CropTask:
        row = BoxRow(box or WHOLE, asked.normalized_box is not None, asked.size, place.target, fractions=box is None)
        return CropTask(source=place.source, target=place.target, page=place.own_page, boxes=(row,))

    voice = options.make_voice(batch)
    tasks = place_tasks(batch, found, make, rename=lambda path: _name(path, settings), pages=pages)
    options.check_formats([task.target for task in tasks], settings.image_format, resume=batch.resume, creation=settings.creation)
    return run_batch(found, tasks, Command(crop_one, plan_one, recipes, settings), options=batch, voice=voice)


def _run_fit(asked: CropOptions, plain: CropSettings, found: Found, *, batch: BatchOptions, pages: PageRange | None) -> int:
    """Find the box of a template in each image and crop it; the exit code."""
    from patchcli.jobs import fit  # a quarter of the time that a plain crop takes to start

    report = asked.fit_report
    settings = FitSettings(
        **{field.name: getattr(plain, field.name) for field in fields(plain)},
        template=str(asked.fit),
        box=asked.box or asked.normalized_box,
        normalized=asked.normalized_box is not None,
        size=asked.size,
    )
    voice = options.make_voice(batch)
    tasks = place_tasks(
        batch,
        found,
        lambda place: Task(source=place.source, target=place.target, page=place.own_page),
        rename=lambda path: _name(path, settings),
        pages=pages,
        also_written=[] if report is None else [report],
        also_read=[settings.template],
    )
    options.check_formats([task.target for task in tasks], settings.image_format, resume=batch.resume, creation=settings.creation)
    curve: list[str] = []
    command = Command(fit.fit_one, fit.plan_one, fit.recipes, settings)
    code = run_batch(found, tasks, command, options=batch, voice=voice, hear=lambda said: curve.extend(said.curve))
    if report is not None and not batch.dry_run:
        with create(report, overwrite=batch.overwrite) as file:
            file.write("".join(f"{line}\n" for line in curve).encode())
    return code


def _check_size(asked: CropOptions, settings: CropSettings) -> None:
    """Check the size that crops are to have."""
    for name in ("size", "fit"):
        if getattr(asked, name) is not None and asked.max_size is not None:
            raise UsageError(f"use only one of --{name} and --max-size")
    if asked.size is not None:
        with _as_usage():
            check_crop(asked.size, 0, settings.reading.max_pixels)


def _check_list(asked: CropOptions, pages: PageRange | None) -> None:
    """Refuse options that a list of boxes leaves without a meaning."""
    if pages is not None and pages.several:
        raise UsageError("--boxes crops boxes of one page; give --page one number, or --pages-as channels")
    for name in ("box", "normalized_box", "fit", "fit_report"):
        if getattr(asked, name) is not None:
            raise UsageError(f"use only one of --boxes and --{name.replace('_', '-')}")


def _check_box(asked: CropOptions, settings: CropSettings, batch: BatchOptions) -> None:
    """Check that the options that say what to crop belong together."""
    if asked.box is not None and asked.normalized_box is not None:
        raise UsageError("use only one of --box and --normalized-box")
    box = asked.box or asked.normalized_box
    if box is None and asked.fit is None and asked.size is None and asked.max_size is None:
        raise UsageError(
            "give a box: --box, --normalized-box, --boxes or --fit; or --size or --max-size, for the whole image at that size"
        )
    if asked.fit is None and asked.fit_report is not None:
        raise UsageError("--fit-report is for --fit")
    if box is not None:
        with _as_usage():
            numbers = check_boxes(box)
        empty = (numbers[2:] == 0) if asked.box is not None else (numbers[2:] == numbers[:2])
        if empty.any():
            raise UsageError(f"box is empty: {' '.join(f'{number:g}' for number in numbers)}; give one with width and height")
    if asked.fit is not None:
        _check_fit(asked, settings, batch)


def _check_fit(asked: CropOptions, settings: CropSettings, batch: BatchOptions) -> None:
    for value, (what, instead) in zip((batch.report, asked.fit_report, batch.output), BESIDE_FIT, strict=True):
        if value == files.STREAM:
            raise UsageError(f"--fit prints its result to standard output, so the {what} cannot go there; give {instead}")
    if settings.resampling in STILL:
        allowed = ", ".join(word for word in RESAMPLING if word not in STILL)
        raise UsageError(f"--resampling is {settings.resampling}, which has no gradient; with --fit choose {allowed}")
    if not (is_remote(str(asked.fit)) or os.path.isfile(str(asked.fit))):
        raise UsageError(f"{asked.fit}: is not a file; give --fit an image, the template")


@contextlib.contextmanager
def _as_usage() -> Iterator[None]:
    """What a kernel says of an option is a mistake in the call."""
    try:
        yield
    except PatchcliError as error:
        raise UsageError(str(error)) from None
