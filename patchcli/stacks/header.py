"""The ``meta`` member of a stack file, version 1: JSON that holds all that undoing needs, every field checked."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.images.metadata import Metadata
from patchcli.patches.padded import PAD_MODES
from patchcli.stacks.layouts import LAYOUTS, ORDERS
from patchcli.storage.provenance import Record

STACK_FORMAT, STACK_VERSION = "patchcli.stack", 1
NOT_FINITE = ("nan", "inf", "-inf")
DTYPE = re.compile(r"[<>=|]?[A-Za-z]{1,10}[0-9]{0,3}")  # of what `numpy.dtype` understands, the names of plain numbers
JSON_NAMES = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
MAX_COUNT = 2**48  # a size in a file; keeps every size computed from it inside int64


class Source(NamedTuple):
    """What is known of the image file that a stack was cut from.

    Attributes:
        name: of the file, without its folder; None where there was no file.
        size: in bytes; None where that is not known.
        mtime_ns: time of its last change, in ns; None where that is not known.
        page: which of its pages, from 0.
        rotated: whether the image was turned as its EXIF orientation says.
    """

    name: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    page: int = 0
    rotated: bool = False


class Meta(NamedTuple):
    """All that undoing an extraction needs: the ``meta`` member of a stack file.

    Attributes:
        grid: where the patches lie; its ``image`` is the ``(H, W)`` of the source image.
        layout: how the patches stand in the payload: one of `LAYOUTS`.
        pixel_order: "C" or "F", how a patch is unrolled in the layouts rows and columns.
        channels: ``()`` for an image ``(H, W)``, ``(C,)`` for ``(H, W, C)``.
        dtype: of the image.
        pad_mode: how margin and padding were filled: one of `PAD_MODES`.
        pad_value: the value for ``constant``.
        source: the image file.
        shard: ``(number, count, mark)`` where the stack is one of several files, numbered from 0; else None. The mark is the
            CRC-32 of the origins of all of them: files of equal marks belong together.
        record: how the file was made; undoing needs nothing of it.
        metadata: what the samples of the image mean; None for what is usual for so many channels.
        labels: whether its values are class numbers, of which no others may be made.
    """

    grid: Grid
    channels: tuple[int, ...]
    dtype: np.dtype[Any]
    pad_mode: str = "reflect"
    pad_value: float = 0
    source: Source = Source()
    layout: str = "stack"
    pixel_order: str = "C"
    shard: tuple[int, int, int] | None = None
    record: Record | None = None
    metadata: Metadata | None = None
    labels: bool = False

    def to_json(self) -> str:
        """The text of the ``meta`` member."""
        from patchcli.version import __version__

        grid, source = self.grid, self.source
        return json.dumps(
            {
                "format": STACK_FORMAT,
                "version": STACK_VERSION,
                "program": f"patchcli {__version__}",
                "image": {
                    "shape": [*grid.image, *self.channels],
                    "dtype": self.dtype.name,
                    "source": source.name,
                    "size": source.size,
                    "mtime_ns": source.mtime_ns,
                    "page": source.page,
                    "rotated": source.rotated,
                    **({} if self.metadata is None else {"metadata": self.metadata.fields()}),
                    **({"labels": True} if self.labels else {}),
                },
                "grid": {
                    "patch": list(grid.patch),
                    "stride": list(grid.stride),
                    "offset": list(grid.offset),
                    "edge": grid.edge,
                    "margin": grid.margin,
                    "pad_mode": self.pad_mode,
                    "pad_value": self.pad_value if math.isfinite(self.pad_value) else str(float(self.pad_value)),
                },
                "layout": self.layout,
                "pixel_order": self.pixel_order,
                **({} if self.shard is None else {"shard": list(self.shard)}),
                **({} if self.record is None else {"record": self.record.fields()}),
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Meta:
        """Read the ``meta`` member, every field checked.

        Raises:
            PatchcliError: text of another format or version, or with fields that are missing or out of range.
        """
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            raise PatchcliError("has a meta member that is not JSON") from None
        top = _Fields(read, "")
        if (kind := top.get("format", str)) != STACK_FORMAT:
            raise PatchcliError(f"has format {kind!r:.40}; expected {STACK_FORMAT!r}")
        if (version := top.get("version", int)) != STACK_VERSION:
            raise PatchcliError(f"is of version {version}; this program reads version {STACK_VERSION}")
        image, grid = _Fields(top.get("image", dict), "image."), _Fields(top.get("grid", dict), "grid.")
        shape = image.whole_numbers("shape", 2, 3)
        return cls(
            grid=Grid(
                (shape[0], shape[1]),
                grid.pair("patch"),
                grid.pair("stride"),
                offset=grid.pair("offset"),
                edge=grid.get("edge", str),
                margin=grid.get("margin", int),
            ),
            channels=tuple(shape[2:]),
            dtype=_dtype(image.get("dtype", str)),
            pad_mode=grid.choice("pad_mode", PAD_MODES),
            pad_value=grid.number("pad_value"),
            source=Source(
                image.get("source", str, type(None)),
                image.get("size", int, type(None)),
                image.get("mtime_ns", int, type(None)),
                image.get("page", int),
                image.get("rotated", bool),
            ),
            layout=top.choice("layout", tuple(LAYOUTS)),
            pixel_order=top.choice("pixel_order", ORDERS),
            shard=top.shard(),
            record=Record.from_fields(read.get("record")),
            metadata=image.metadata((*shape, 1)[2]),
            labels=image.flag("labels"),
        )


class _Fields:
    """A JSON object whose fields are taken out by type, with errors that name them."""

    def __init__(self, fields: Any, where: str) -> None:  # noqa: ANN401  whatever JSON holds
        if not isinstance(fields, dict):
            raise PatchcliError("has a meta member that is not a JSON object")
        self._fields, self._where = fields, where

    def get(self, name: str, *types: type) -> Any:  # noqa: ANN401
        """A field that must be of one of ``types`` (a bool is no int)."""
        value = self._fields.get(name)
        if name not in self._fields or type(value) not in types:
            allowed = " or ".join(JSON_NAMES[kind] for kind in types)
            raise PatchcliError(f"has {self._where}{name}={json.dumps(value)[:40]} in its meta; allowed is {allowed}")
        return value

    def number(self, name: str) -> float:
        """A number; those that JSON cannot hold stand as words."""
        value: float | str = self.get(name, int, float, str)
        if isinstance(value, str) and value not in NOT_FINITE:
            raise PatchcliError(
                f"has {self._where}{name}={value!r:.40} in its meta; allowed are numbers, {', '.join(NOT_FINITE)}"
            )
        try:
            number = float(value)
        except OverflowError:
            raise PatchcliError(
                f"has {self._where}{name}={str(value)[:40]} in its meta; allowed are numbers of a float"
            ) from None
        return number if isinstance(value, str) else value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """A field that must be one of some words."""
        value: str = self.get(name, str)
        if value not in choices:
            raise PatchcliError(f"has {self._where}{name}={value!r:.40} in its meta; allowed are {', '.join(choices)}")
        return value

    def whole_numbers(self, name: str, least: int, most: int) -> list[int]:
        """A list of ``least`` to ``most`` whole numbers from 0."""
        values: list[int] = self.get(name, list)
        if not least <= len(values) <= most or any(type(v) is not int or not 0 <= v < MAX_COUNT for v in values):
            raise PatchcliError(
                f"has {self._where}{name}={json.dumps(values)[:60]} in its meta; allowed are "
                + (f"{least} to {most} whole numbers" if least < most else f"{most} whole numbers")
            )
        return values

    def pair(self, name: str) -> tuple[int, int]:
        """A list of two whole numbers."""
        first, second = self.whole_numbers(name, 2, 2)
        return first, second

    def metadata(self, channels: int) -> Metadata | None:
        """What the samples of an image of so many channels mean, where the file says it."""
        return Metadata.from_fields(self.get("metadata", dict), channels) if "metadata" in self._fields else None

    def flag(self, name: str) -> bool:
        """Whether a field says true; where it is missing it does not."""
        return name in self._fields and bool(self.get(name, bool))

    def shard(self) -> tuple[int, int, int] | None:
        """Which of how many files, where there are several, and of which."""
        if "shard" not in self._fields:
            return None
        number, count, mark = self.whole_numbers("shard", 3, 3)
        if number >= count:
            raise PatchcliError(f"has shard={[number, count, mark]} in its meta; allowed are numbers below the count")
        return number, count, mark


def _dtype(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text) if DTYPE.fullmatch(text) else None
    except TypeError:
        dtype = None
    if dtype is None:
        raise PatchcliError(f"has image.dtype={text!r:.40} in its meta; allowed are real dtypes")
    check_real(dtype, "image of the stack")
    return dtype
