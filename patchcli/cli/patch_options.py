"""The options that place and choose patches, which several commands share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from patchcli.cli import types
from patchcli.cli.help import option, together
from patchcli.errors import PatchcliError, UsageError
from patchcli.geometry.axis import EDGES, stride_from_overlap
from patchcli.jobs.settings import ExtractSettings, Reading
from patchcli.patches.padded import PAD_MODES
from patchcli.patches.select import MAX_SEED, Choice

if TYPE_CHECKING:
    from fractions import Fraction

PATCHES, CHOOSING = "Patches", "Choosing patches"

placing_options = together(
    option(PATCHES, "-s", "--patch-size", type=types.Size(), help="Size of a patch; required."),
    option(PATCHES, "--stride", type=types.Size(), help="Step from patch to patch; default: the patch size."),
    option(PATCHES, "--overlap", metavar="N|N%|a/b", help="Pixels that neighbours share, or an exact part of the patch size."),
    option(
        PATCHES,
        "--edge",
        type=click.Choice(tuple(EDGES)),
        default="shift",
        show_default=True,
        help="What happens at the far sides.",
    ),
    option(PATCHES, "--offset", type=types.Point(), default="0,0", show_default=True, help="Corner of the first patch."),
    option(
        PATCHES,
        "--margin",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="N",
        help="Pixels added on all four sides.",
    ),
    option(
        PATCHES,
        "--pad-mode",
        type=click.Choice(PAD_MODES),
        default="reflect",
        show_default=True,
        help="How margin and padding are filled.",
    ),
    option(PATCHES, "--pad-value", type=float, metavar="VALUE", help="Value of --pad-mode constant; default: 0."),
)

choosing_options = together(
    option(CHOOSING, "--max-patches", type=types.Amount(), help="Keep at most N patches of an image, drawn at random."),
    option(
        CHOOSING,
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        metavar="N",
        help="Random seed; the same seed selects the same patches; default: 0.",
    ),
    option(
        CHOOSING, "--min-std", type=click.FloatRange(min=0), metavar="T", help="Drop patches of a standard deviation below T."
    ),
    option(
        CHOOSING,
        "--mask",
        type=types.File(),
        metavar="FILE|TEMPLATE",
        help="Keep patches inside the part of an image where this one is not 0.",
    ),
    option(CHOOSING, "--min-cover", type=types.Share(), help="Part of a patch that must be inside the mask; default: 1/2."),
    option(CHOOSING, "--min-valid", type=types.Share(), help="Drop patches of which less than this part is valid."),
    option(CHOOSING, "--nodata", type=types.Number(), help="Value that stands for no data; default: what the file says."),
)


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """The groups `placing_options` and `choosing_options`, as they were typed; None where they were not."""

    patch_size: tuple[int, int] | None
    stride: tuple[int, int] | None
    overlap: str | None
    offset: tuple[int, int]
    edge: str
    margin: int
    pad_mode: str
    pad_value: float | None
    max_patches: int | Fraction | None
    seed: int | None
    min_std: float | None
    mask: str | None
    min_cover: Fraction | None
    min_valid: Fraction | None
    nodata: float | None

    @property
    def choosing(self) -> list[str]:
        """The options, of those that were given, by which patches are dropped."""
        given = {
            "--max-patches": self.max_patches,
            "--min-std": self.min_std,
            "--min-valid": self.min_valid,
            "--mask": self.mask,
        }
        return [name for name, value in given.items() if value is not None]

    def settings(self, reading: Reading) -> ExtractSettings:
        """How patches are cut."""
        if self.patch_size is None:
            raise UsageError("Missing option '-s' / '--patch-size'; give W or WxH, as in 8 or 64x48")
        if self.pad_value is not None and self.pad_mode != "constant":
            raise UsageError(f"--pad-value is for --pad-mode constant, not for {self.pad_mode}")
        self._check_choice()
        return ExtractSettings(
            patch=self.patch_size,
            stride=_stride(self.patch_size, self.stride, self.overlap),
            offset=self.offset,
            edge=self.edge,
            margin=self.margin,
            pad_mode=self.pad_mode,
            pad_value=self.pad_value or 0,
            choice=Choice(self.max_patches, self.seed or 0, self.min_std or 0, self.min_cover, self.min_valid, self.nodata),
            reading=reading,
        )

    def _check_choice(self) -> None:
        """Refuse options on which patches to keep that mean nothing together."""
        if self.seed is not None and self.max_patches is None:
            raise UsageError("--seed is for --max-patches, which was not given")
        if self.min_cover is not None and self.mask is None:
            raise UsageError("--min-cover is for --mask, which was not given")
        if self.nodata is not None and self.min_std is None and self.min_valid is None:
            raise UsageError("--nodata is for --min-valid and --min-std, and neither was given")
        if self.min_std is not None and not math.isfinite(self.min_std):
            raise UsageError(f"--min-std is {self.min_std}; give a finite number from 0")


def _stride(patch: tuple[int, int], stride: tuple[int, int] | None, overlap: str | None) -> tuple[int, int]:
    if overlap is None:
        return stride or patch
    if stride is not None:
        raise UsageError("use only one of --stride and --overlap")
    try:
        return stride_from_overlap(patch[0], overlap), stride_from_overlap(patch[1], overlap)
    except PatchcliError as error:
        raise UsageError(str(error)) from None
