"""The options that say how patches become an image, and how it is written, which several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from patchcli.cli import options, types
from patchcli.cli.help import option, together
from patchcli.errors import PatchcliError, UsageError
from patchcli.jobs.merge_cover import check_shows_cover
from patchcli.patches.reducers import REDUCERS
from patchcli.patches.windows import NAMES

if TYPE_CHECKING:
    from patchcli.jobs.settings import MergeSettings

MERGING = "Merging"
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

merging_options = together(
    option(
        MERGING,
        "--reduce",
        type=click.Choice(tuple(REDUCERS)),
        help="How overlapping values are combined; mode: the most frequent; first, last: in row-major order of origins; "
        "default: mean; mode for labels.",
    ),
    option(
        MERGING,
        "--window",
        type=types.WordOrFile(NAMES),
        metavar=f"{'|'.join(NAMES)}|FILE.npy",
        default="uniform",
        show_default=True,
        help="Weights over a patch, for --reduce mean.",
    ),
    option(
        MERGING,
        "--halo",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="N",
        help="Pixels on each side of a patch that are not used, or without which it came back.",
    ),
    option(MERGING, "--fill", type=float, metavar="VALUE", help="Value of pixels that no patch covers."),
    option(MERGING, "--trim", is_flag=True, help="Cut off the border that no patch covers."),
    option(MERGING, "--unit-range", is_flag=True, help="Scale floats from 0 to 1 to the full range of an integer image."),
    option(
        MERGING,
        "--dtype",
        type=click.Choice(DTYPES),
        default="keep",
        show_default=True,
        help="Dtype of the image; keep: the source image's.",
    ),
    option(MERGING, "--allow-nonfinite", is_flag=True, help="Let NaN and infinity through to float images."),
)

image_options = together(
    option(
        options.OUTPUT,
        "--cover",
        type=types.File(),
        metavar="PATH",
        help="Write how many patches lie on each pixel, with --window their weight: as .npy the numbers, as image gray, the most "
        "being white.",
    ),
    options.image_format_option,
    options.creation_option,
    options.metadata_option,
)


def check_cover_file(cover: str | None, settings: MergeSettings) -> None:
    """Refuse files that cannot hold the cover."""
    if cover is None:
        return
    options.check_formats([cover], None, resume=settings.resume)
    try:
        check_shows_cover(cover)
    except PatchcliError as error:
        raise UsageError(f"--cover {cover}: {error}") from None


def check_rule(settings: MergeSettings) -> None:
    """Refuse options that mean nothing together."""
    reduce, window, dtype = settings.reduce, settings.window, settings.dtype
    if window not in NAMES and not window.endswith(".npy"):
        raise UsageError(f"--window is {window!r}; choose {', '.join(NAMES)}, or give a .npy file")
    if reduce is not None and window != NAMES[0] and not REDUCERS[reduce].weighted:
        weighted = " or ".join(name for name, reducer in REDUCERS.items() if reducer.weighted)
        raise UsageError(f"--window is for --reduce {weighted}, not for {reduce}")
    if settings.unit_range and (dtype.startswith("float") or dtype == "bool"):
        raise UsageError(f"--unit-range is for integer images, not for --dtype {dtype}")
    if reduce is not None and settings.unit_range and not REDUCERS[reduce].keeps_range:
        raise UsageError(f"--unit-range is for values from 0 to 1, which {reduce}s are not; use another --reduce")
    if settings.allow_nonfinite and not dtype.startswith("float") and dtype != "keep":
        raise UsageError(f"--allow-nonfinite is for float images, not for --dtype {dtype}")
