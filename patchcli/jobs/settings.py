"""The options of each command as its job takes them; sizes are (rows, columns)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from patchcli.images.metadata import KEEP
from patchcli.images.source import MAX_PIXELS
from patchcli.patches.select import Choice
from patchcli.patches.windows import NAMES
from patchcli.storage.provenance import differing

if TYPE_CHECKING:
    from patchcli.geometry.axis import Pair
    from patchcli.geometry.box import Box
    from patchcli.images.metadata import Metadata
    from patchcli.jobs.pages import PageRange

EVERY = Choice()
GRID, COVER, TRIPLE, COMPARE = PICTURES = ("grid", "cover", "triple", "compare")  # what preview draws where it is asked to
UNMIXED = "nearest"  # the resampling whose values are all of the image: of indices, say


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How images are read.

    Attributes:
        page: of a file that holds several.
        stacked: pages that are the channels of one image, in place of ``page``.
        or_only: of a file with one page that one is read, whatever ``page`` or ``stacked`` say.
        tell_pages: that a file has more pages is worth a hint.
        gray: colours become luma.
        channel: which one is read; None for all.
        rotate: turned as the EXIF orientation says.
        max_pixels: of an image; 0 for no limit.
    """

    page: int = 0
    stacked: PageRange | None = None
    or_only: bool = False
    tell_pages: bool = False
    color: str | None = None
    channel: int | None = None
    rotate: bool = True
    max_pixels: int = MAX_PIXELS

    def options(self) -> dict[str, object]:
        """Those that change what is read, by name."""
        return {
            "--page": self.page if self.stacked is None else self.stacked.in_words(),
            "--pages-as": "images" if self.stacked is None else "channels",
            "--color": self.color,
            "--channel": self.channel,
            "--exif-rotate": self.rotate,
        }

    def beside(self) -> Reading:
        """How an image is read that lies over this one pixel by pixel: color and channel are the other's own."""
        return Reading(page=self.page, stacked=self.stacked, or_only=True, rotate=self.rotate, max_pixels=self.max_pixels)

    def of_labels(self) -> Reading:
        """How class numbers are read that lie over this one: as they are stored, be there colours for them or not."""
        return replace(self.beside(), color="indices")


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What all jobs are told: ``resume``: images say how they were made; ``metadata``: whether they keep what they mean."""

    overwrite: bool = False
    resume: bool = False
    metadata: str = KEEP

    @property
    def sharded(self) -> bool:
        """Whether an output is several numbered files."""
        return False

    @property
    def keeps_metadata(self) -> bool:
        """Whether an output gets what its source means."""
        return self.metadata == KEEP

    def kept(self, metadata: Metadata) -> Metadata:
        """What an output says of its samples: what they are, at the least."""
        return metadata if self.keeps_metadata else metadata.only_samples()


@dataclass(frozen=True, kw_only=True)
class ImageSettings(JobSettings):
    """What jobs on images are told."""

    reading: Reading = Reading()

    def at_page(self, page: int) -> Self:
        """The same for a page of the image."""
        return replace(self, reading=replace(self.reading, page=page))


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(ImageSettings):
    """The options of ``extract``.

    Attributes:
        label_pad: the class number that margin and padding of labels hold; None for what those of the image do.
    """

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
    label_pad: int | None = None
    creation: tuple[tuple[str, str], ...] = ()

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
            "--min-valid": choice.min_valid,
            "--nodata": choice.nodata,
            "--shard-patches": self.shard_patches,
            "--compress": self.compress,
            "--label-pad": self.label_pad,
            "--co": ", ".join(map("=".join, self.creation)) or None,
            "--metadata": self.metadata,
            **self.reading.options(),
        }

    @cached_property
    def changed(self) -> dict[str, Any]:
        """Those of them that are not at their defaults, found once for all the images of a run."""
        return differing(self.options(), ExtractSettings(patch=(0, 0), stride=(0, 0)).options())


@dataclass(frozen=True, kw_only=True)
class MergeSettings(JobSettings):
    """The options of ``merge``.

    Attributes:
        reduce: a key of `REDUCERS`; None for the mean, and for the mode of labels.
        halo: pixels, of those that were cut, on each side of a patch that are not used.
        tiles_from: the folder in which the tiles of an index are, in place of its own.
        names: how tiles without an index are named, as `NamePattern` has it.
        stride: from one of their rows and columns to the next; None for the size of a tile.
        across: how many of them lie side by side, where they are numbered.
        unasked_format: the format of an image is that of the name that its stack was given.
    """

    like: str | None = None
    key: str | None = None
    tiles_from: str | None = None
    names: str | None = None
    stride: Pair | None = None
    across: int | None = None
    reduce: str | None = None
    halo: int = 0
    window: str = NAMES[0]
    dtype: str = "keep"
    unit_range: bool = False
    fill: float | None = None
    trim: bool = False
    allow_nonfinite: bool = False
    image_format: str | None = None
    creation: tuple[tuple[str, str], ...] = ()
    max_pixels: int = MAX_PIXELS
    unasked_format: bool = False

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            "--like": self.like is not None,
            "--key": self.key,
            "--tiles-from": self.tiles_from is not None,
            "--names": self.names,
            "--stride": size_in_words(self.stride),
            "--across": self.across,
            "--reduce": None if self.reduce == "mean" else self.reduce,  # which is the default but of labels
            "--halo": self.halo,
            "--window": self.window,
            "--dtype": self.dtype,
            "--unit-range": self.unit_range,
            "--fill": self.fill,
            "--trim": self.trim,
            "--allow-nonfinite": self.allow_nonfinite,
            "--image-format": self.image_format,
            "--co": ", ".join(map("=".join, self.creation)) or None,
            "--metadata": self.metadata,
        }

    @cached_property
    def changed(self) -> dict[str, Any]:
        """Those of them that are not at their defaults, found once for all the images of a run."""
        return differing(self.options(), MergeSettings().options())


@dataclass(frozen=True, kw_only=True)
class MapSettings(JobSettings):
    """The options of ``map``.

    Attributes:
        cutting: how an image is read and its patches are placed and chosen.
        merging: how what became of them is put together and written.
        function: ``module:name`` or ``file.py:name``; None for a command.
        arguments: keywords of the function, as they were typed.
        command: whose standard input patches go to.
        batch: patches that are given to it at once; None for as many as are folded at once.
    """

    cutting: ExtractSettings
    merging: MergeSettings
    function: str | None = None
    arguments: tuple[tuple[str, str], ...] = ()
    command: str | None = None
    batch: int | None = None

    def at_page(self, page: int) -> Self:
        """The same for a page of the image."""
        return replace(self, cutting=self.cutting.at_page(page))

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        return {
            **self.merging.options(),
            **self.cutting.options(),
            "--co": ", ".join(map("=".join, self.merging.creation)) or None,
            "--func": self.function,
            "--arg": ", ".join(map("=".join, self.arguments)) or None,
            "--exec": self.command,
            "--batch": self.batch,
        }


@dataclass(frozen=True, kw_only=True)
class CropSettings(ImageSettings):
    """The options of ``crop`` that hold for all boxes.

    Attributes:
        tell_outside: what a box reads outside its image is worth a hint.
        max_size: the largest size of crops that have none of their own; None for that of their boxes.
        shrinking: how boxes larger than that are sampled.
        tell_resampling: what the default resampling makes of pixels is.
    """

    resampling: str = "bilinear"
    max_size: Pair | None = None
    shrinking: str = "area"
    align_corners: bool = False
    outside: str = "zeros"
    image_format: str | None = None
    creation: tuple[tuple[str, str], ...] = ()
    tell_outside: bool = True
    tell_resampling: bool = True

    def options(self) -> dict[str, object]:
        """Those that change an output, by name."""
        alike = self.max_size is None or self.shrinking == self.resampling
        return {
            "--max-size": size_in_words(self.max_size),
            "--resampling": self.resampling if alike else f"{self.resampling}, {self.shrinking} to shrink",
            "--align-corners": self.align_corners,
            "--outside": self.outside,
            "--image-format": self.image_format,
            "--co": ", ".join(map("=".join, self.creation)) or None,
            "--metadata": self.metadata,
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


@dataclass(frozen=True, kw_only=True)
class PreviewSettings(ImageSettings):
    """The options of ``preview``.

    Attributes:
        show: what is drawn, of `PICTURES`; None for the image, or a contact sheet of patches.
        cutting: how patches of an image are placed and chosen; None where that was not said.
        numbers: of the patches on a contact sheet; empty for some of all.
        value_range: what black and white stand for; None for what the dtype, or the values, say.
        max_size: of the picture, (rows, columns).
        image_format: of the picture; None for what the suffix says.
        in_json: figures are told as JSON.
    """

    show: str | None = None
    cutting: ExtractSettings | None = None
    numbers: tuple[int, ...] = ()
    value_range: tuple[float, float] | None = None
    max_size: Pair = (1280, 1280)
    image_format: str | None = None
    in_json: bool = False

    def check_size(self) -> None:
        """Refuse a picture on which nothing has room.

        Raises:
            PatchcliError: `max_size` is too small.
        """
        from patchcli.pictures.page import check_page  # loads an image library

        check_page(self.max_size)

    def at_page(self, page: int) -> Self:
        """The same for a page of the image, which is what is cut, too."""
        made = super().at_page(page)
        return made if made.cutting is None else replace(made, cutting=made.cutting.at_page(page))
