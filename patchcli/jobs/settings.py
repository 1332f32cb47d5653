"""The options of each command as its job takes them; sizes are (rows, columns)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchcli.images.source import MAX_PIXELS
from patchcli.patches.select import Choice
from patchcli.patches.windows import NAMES

if TYPE_CHECKING:
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box

EVERY = Choice()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How images are read."""

    page: int = 0
    gray: bool = False
    channel: int | None = None
    rotate: bool = True
    max_pixels: int = MAX_PIXELS

    def options(self) -> dict[str, object]:
        """Those that change what is read, by name."""
        return {"--page": self.page, "--gray": self.gray, "--channel": self.channel, "--exif-rotate": self.rotate}


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What all jobs are told: ``resume``: images say how they were made."""

    overwrite: bool = False
    resume: bool = False

    @property
    def sharded(self) -> bool:
        """Whether an output is several numbered files."""
        return False


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(JobSettings):
    """The options of ``extract``."""

    patch: Pair
    stride: Pair
    offset: Pair = (0, 0)
    edge: str = "shift"
    margin: int = 0
    pad_mode: str = "reflect"
    pad_value: float = 0
    layout: str = "stack"
    pixel_order: str = "C"
    choice: Choice = EVERY
    shard_patches: int | None = None
    compress: bool = False
    reading: Reading = Reading()

    @property
    def sharded(self) -> bool:
        """Whether each stack is split into several numbered files."""
        return self.shard_patches is not None

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        choice = self.choice
        return {
            "--patch-size": size_in_words(self.patch),
            "--stride": size_in_words(self.stride),
            "--offset": (self.offset[1], self.offset[0]),
            "--edge": self.edge,
            "--margin": self.margin,
            "--pad-mode": self.pad_mode,
            "--pad-value": self.pad_value,
            "--layout": self.layout,
            "--pixel-order": self.pixel_order,
            "--max-patches": choice.most,
            "--seed": choice.seed,
            "--min-std": choice.min_std,
            "--min-cover": choice.min_cover,
            "--shard-patches": self.shard_patches,
            "--compress": self.compress,
            **self.reading.options(),
        }


@dataclass(frozen=True, kw_only=True)
class MergeSettings(JobSettings):
    """The options of ``merge``."""

    like: str | None = None
    key: str | None = None
    reduce: str = "mean"
    window: str = NAMES[0]
    dtype: str = "keep"
    unit_range: bool = False
    fill: float | None = None
    trim: bool = False
    allow_nonfinite: bool = False
    image_format: str | None = None
    max_pixels: int = MAX_PIXELS

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            "--like": self.like is not None,
            "--key": self.key,
            "--reduce": self.reduce,
            "--window": self.window,
            "--dtype": self.dtype,
            "--unit-range": self.unit_range,
            "--fill": self.fill,
            "--trim": self.trim,
            "--allow-nonfinite": self.allow_nonfinite,
            "--image-format": self.image_format,
        }


@dataclass(frozen=True, kw_only=True)
class CropSettings(JobSettings):
    """The options of ``crop`` that hold for all boxes; ``tell_outside``: a box that misses its image is worth a hint."""

    resampling: str = "bilinear"
    align_corners: bool = False
    outside: str = "zeros"
    image_format: str | None = None
    reading: Reading = Reading()
    tell_outside: bool = True

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            "--resampling": self.resampling,
            "--align-corners": self.align_corners,
            "--outside": self.outside,
            "--image-format": self.image_format,
            **self.reading.options(),
        }


@dataclass(frozen=True, kw_only=True)
class FitSettings(CropSettings):
    """The options of ``crop --fit``: the template, the box to begin with (None: it is searched for), the size of the crop."""

    template: str
    box: Box | None = None
    normalized: bool = False
    size: Pair | None = None


def size_in_words(size: Pair | None) -> str | None:
    """``(rows, columns)`` as options have it, WxH."""
    return None if size is None else f"{size[1]}x{size[0]}"
