"""The stack file, version 1: a ``.npz`` of ``meta``, ``origins`` and ``patches``, in that order.

``meta`` is JSON that holds all that undoing needs. A published version never changes its meaning.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.dtypes import check_real
from patchcli.errors import PatchcliError
from patchcli.files import create, open_input
from patchcli.grid import Grid
from patchcli.npz import NpzReader, NpzWriter
from patchcli.patches import PAD_MODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from patchcli.npz import ArrayStream

FORMAT, VERSION = "patchcli.stack", 1
LAYOUTS = ("stack",)
ORIGINS_AT_ONCE = 1 << 16
MAX_COUNT = 2**48  # patches of a stack; keeps every size computed from it inside int64


@dataclass(frozen=True)
class Source:
    """What is known of the image file that a stack was cut from; None where there was no file."""

    name: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    page: int = 0
    rotated: bool = False


@dataclass(frozen=True)
class Meta:
    """All that undoing an extraction needs: the ``meta`` member of a stack file.

    Attributes:
        grid: where the patches lie; its ``image`` is the ``(H, W)`` of the source image.
        channels: ``()`` for an image ``(H, W)``, ``(C,)`` for ``(H, W, C)``.
        dtype: of the image.
    """

    grid: Grid
    channels: tuple[int, ...]
    dtype: np.dtype[Any]
    pad_mode: str = "reflect"
    pad_value: float = 0
    source: Source = Source()
    layout: str = "stack"
    pixel_order: str = "C"

    def to_json(self) -> str:
        """The text of the ``meta`` member."""
        from patchcli import __version__

        grid, source = self.grid, self.source
        return json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "program": f"patchcli {__version__}",
                "image": {
                    "shape": [*grid.image, *self.channels],
                    "dtype": self.dtype.name,
                    "source": source.name,
                    "size": source.size,
                    "mtime_ns": source.mtime_ns,
                    "page": source.page,
                    "rotated": source.rotated,
                },
                "grid": {
                    "patch": list(grid.patch),
                    "stride": list(grid.stride),
                    "offset": list(grid.offset),
                    "edge": grid.edge,
                    "margin": grid.margin,
                    "pad_mode": self.pad_mode,
                    "pad_value": self.pad_value,
                },
                "layout": self.layout,
                "pixel_order": self.pixel_order,
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
            raise PatchcliError("has a meta member that is no JSON") from None
        top = _Fields(read, "")
        if (kind := top.get("format", str)) != FORMAT:
            raise PatchcliError(f"has format {kind!r}; expected {FORMAT!r}")
        if (version := top.get("version", int)) != VERSION:
            raise PatchcliError(f"is of version {version}; this program reads version {VERSION}")
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
            pad_value=grid.get("pad_value", int, float),
            source=Source(
                image.get("source", str, type(None)),
                image.get("size", int, type(None)),
                image.get("mtime_ns", int, type(None)),
                image.get("page", int),
                image.get("rotated", bool),
            ),
            layout=top.choice("layout", LAYOUTS),
            pixel_order=top.choice("pixel_order", ("C", "F")),
        )


class _Fields:
    """A JSON object whose fields are taken out by type, with errors that name them."""

    def __init__(self, fields: Any, where: str) -> None:  # noqa: ANN401  whatever JSON holds
        if not isinstance(fields, dict):
            raise PatchcliError("has a meta member that is no JSON object")
        self._fields, self._where = fields, where

    def get(self, name: str, *types: type) -> Any:  # noqa: ANN401
        """A field that must be of one of ``types`` (a bool is no int)."""
        value = self._fields.get(name)
        if name not in self._fields or type(value) not in types:
            allowed = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise PatchcliError(f"has {self._where}{name}={json.dumps(value)[:40]} in its meta; allowed is {allowed}")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """A field that must be one of some words."""
        value: str = self.get(name, str)
        if value not in choices:
            raise PatchcliError(f"has {self._where}{name}={value!r} in its meta; allowed are {', '.join(choices)}")
        return value

    def whole_numbers(self, name: str, least: int, most: int) -> list[int]:
        """A list of ``least`` to ``most`` whole numbers from 0."""
        values: list[int] = self.get(name, list)
        if not least <= len(values) <= most or any(type(v) is not int or not 0 <= v < MAX_COUNT for v in values):
            raise PatchcliError(
                f"has {self._where}{name}={json.dumps(values)[:60]} in its meta; allowed are {least} to {most} whole numbers"
            )
        return values

    def pair(self, name: str) -> tuple[int, int]:
        """A list of two whole numbers."""
        first, second = self.whole_numbers(name, 2, 2)
        return first, second


def _dtype(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError):
        raise PatchcliError(f"has image.dtype={text!r} in its meta; allowed are real dtypes") from None
    check_real(dtype, "image of the stack")
    return dtype


class Stack(NamedTuple):
    """A stack in memory: ``patches`` ``(N, h, w[, C])``, ``origins`` int64 ``(N, 2)`` (row, column), and `Meta`."""

    patches: NDArray[Any]
    origins: NDArray[np.int64]
    meta: Meta


def write_pieces(file: BinaryIO, meta: Meta, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> None:
    """Write the stack of a whole grid; ``pieces`` are its patches ``(n, h, w[, C])`` in order, never all in memory."""
    grid = meta.grid
    with NpzWriter(file) as writer:
        _write_meta(writer, meta)
        starts = range(0, grid.count, ORIGINS_AT_ONCE)
        blocks = (grid.origins(first, min(first + ORIGINS_AT_ONCE, grid.count)) for first in starts)
        writer.write("origins", (grid.count, 2), np.dtype(np.int64), blocks)
        writer.write("patches", (grid.count, *grid.patch, *meta.channels), dtype, pieces)


def _write_meta(writer: NpzWriter, meta: Meta) -> None:
    text = np.array(meta.to_json())
    writer.write("meta", (), text.dtype, [text.reshape(1).view(np.uint8)])


def write_stack(file: BinaryIO | str | os.PathLike[str], stack: Stack) -> None:
    """Write a stack in memory as a stack file.

    Args:
        file: a path, which appears or is replaced once the stack is whole, or an open binary file.
        stack: patches, their origins and what they were cut from.

    Raises:
        PatchcliError: patches that are not ``(N, h, w[, C])`` for N origins; a path that cannot be written.
    """
    if isinstance(file, (str, os.PathLike)):
        with create(os.fspath(file), overwrite=True) as opened:
            write_stack(opened, stack)
        return
    patches, origins = np.asarray(stack.patches), np.asarray(stack.origins, np.int64)
    check_real(patches.dtype, "stack of patches")
    if origins.shape != (len(patches), 2):
        raise PatchcliError(f"origins have shape {origins.shape}; expected ({len(patches)}, 2), one for each patch")
    with NpzWriter(file) as writer:
        _write_meta(writer, stack.meta)
        writer.write("origins", origins.shape, origins.dtype, [origins])
        writer.write("patches", patches.shape, patches.dtype, [patches])


def read_stack(file: BinaryIO | str | os.PathLike[str]) -> Stack:
    """Read a whole stack file into memory, every byte checked.

    Args:
        file: a path or an open binary file that can seek.

    Raises:
        PatchcliError: a damaged file, or one that is no stack.
    """
    if isinstance(file, (str, os.PathLike)):
        with open_input(os.fspath(file)) as opened:
            return read_stack(opened)
    reader = StackReader(file)
    origins = reader.other_origins()
    return Stack(reader.patches().load(), reader.meta.grid.origins() if origins is None else origins, reader.meta)


class StackReader:
    """A stack file, read member by member.

    Args:
        file: an open binary file that can seek: a stack, or, with ``like``, any ``.npz`` or ``.npy`` with patches.
        key: the array that holds the patches; ``patches``, or the only array there is, if not given.
        like: the stack whose meta and origins count.
    """

    def __init__(self, file: BinaryIO, key: str | None = None, like: StackReader | None = None) -> None:
        self._npz = NpzReader(file)
        self._key = key
        self._like = like
        if like is None and "meta" not in self._npz.names():
            what = "is an array without origins" if self._npz.bare else "has no member meta, so it is no patch stack"
            raise PatchcliError(f"{what}; allowed with --like ORIGINAL.npz")
        self.meta: Meta = Meta.from_json(self._npz.open("meta").load_text()) if like is None else like.meta

    def other_origins(self) -> NDArray[np.int64] | None:
        """Origins ``(N, 2)`` where they are not just those of the grid, in order; else None, and they were never all held."""
        if self._like is not None:
            return self._like.other_origins()
        stream = self._npz.open("origins")
        if stream.dtype.kind not in "iu" or len(stream.shape) != 2 or stream.shape[1] != 2:  # noqa: PLR2004
            raise PatchcliError(f"has origins of dtype {stream.dtype} and shape {stream.shape}; expected int64 (N, 2)")
        if stream.shape[0] == self.meta.grid.count and stream.dtype == np.int64 and not stream.fortran_order:
            return self._compare(stream)
        return stream.load().astype(np.int64)

    def _compare(self, stream: ArrayStream) -> NDArray[np.int64] | None:
        """Stream origins against those of the grid; from the first difference on, keep them."""
        grid = self.meta.grid
        kept: list[NDArray[np.int64]] = []
        for first in range(0, grid.count, ORIGINS_AT_ONCE):
            expected = grid.origins(first, min(first + ORIGINS_AT_ONCE, grid.count))
            got = np.empty_like(expected)
            stream.readinto(got)
            if not kept and not np.array_equal(got, expected):
                kept = [grid.origins(0, first)]
            if kept:
                kept.append(got)
        return np.concatenate(kept) if kept else None

    def patches(self) -> ArrayStream:
        """The payload, ready to be streamed.

        Raises:
            PatchcliError: no such array.
        """
        names = [name for name in self._npz.names() if name not in ("meta", "origins")]
        key = self._key
        if key is None:
            key = "patches" if "patches" in names or len(names) != 1 else names[0]
        return self._npz.open(key)


def pieces(stream: ArrayStream, counts: Iterable[int]) -> Iterator[NDArray[Any]]:
    """A payload ``(N, ...)`` in pieces of ``counts`` items, each a new C-contiguous array."""
    if stream.fortran_order:
        whole, first = stream.load(), 0
        for count in counts:
            yield np.ascontiguousarray(whole[first : first + count])
            first += count
        return
    for count in counts:
        piece = np.empty((count, *stream.shape[1:]), stream.dtype)
        stream.readinto(piece)
        yield piece
