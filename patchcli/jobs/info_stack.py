"""What ``info`` tells of patches: of a stack file, and of an index of tile files."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import counted
from patchcli.images.source import open_image, open_joined
from patchcli.jobs.info_fact import CHECKED_BYTES, Fact, json_words, size_and_kind
from patchcli.jobs.info_image import metadata_facts
from patchcli.storage.files import open_input
from patchcli.threads import map_in_order, usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement
    from patchcli.stacks.file import StackReader
    from patchcli.stacks.header import Meta
    from patchcli.stacks.npz import ArrayStream, NpzReader
    from patchcli.stacks.tile_index import TileIndex

LONGEST_AXIS, MOST_COUNTED = 1 << 22, 1 << 28  # pixels of an axis, and of an image, of which the cover is counted
COUNTED_PIXELS = 1 << 22  # of which it is counted at once


def stack_facts(file: BinaryIO, npz: NpzReader, about: dict[str, Any], nbytes: int, *, check: bool) -> list[Fact]:
    """Of a stack file of ``nbytes``, whose ``meta`` says ``about``; where it is checked, all values are read.

    Raises:
        PatchcliError: it is damaged.
    """
    from patchcli.stacks.file import StackReader

    reader = StackReader(file)
    meta, grid = reader.meta, reader.meta.grid
    stream, shape, first = reader.headers()
    placement = _checked(reader) if check else None
    program = about.get("program") if isinstance(about.get("program"), str) else None
    words, fields = size_and_kind(shape[2], shape[1], (*shape, 1)[3], stream.dtype)
    recorded, cut = size_and_kind(grid.patch[1], grid.patch[0], (*meta.channels, 1)[0], meta.dtype)
    image, pixels = size_and_kind(grid.image[1], grid.image[0], (*meta.channels, 1)[0], meta.dtype)
    some = "" if shape[0] == grid.count else f" {'of' if shape[0] < grid.count else 'and not'} the {grid.count} of its grid"
    facts = [
        Fact(
            "format",
            f"patch stack, version {about['version']}, {nbytes} bytes{f', by {program}' if program else ''}",
            {"kind": "stack", "bytes": nbytes, "version": about["version"], "program": program},
        ),
        Fact(
            "patches",
            f"{shape[0]}{some}, {words}{', channels first' * first}",
            {"patches": shape[0], "patch": fields, "channels_first": first},
        ),
        Fact("cut as" if fields != cut else "", recorded, {"cut_as": cut}),
        *_of_grid(meta),
        *([] if placement is None else [_elsewhere(placement)]),
        _cover_fact(grid, shape[0], placement),
        _layout_fact(meta, compressed=any(map(npz.is_deflated, npz.names()))),
        *_origin_facts(meta),
        Fact("image", f"{image}{', labels' * meta.labels}", {"image": pixels, "labels": meta.labels}),
    ]
    told, metadata = ([], None) if meta.metadata is None else metadata_facts(meta.metadata)
    facts += [*told, Fact("", "", {"metadata": metadata})]
    if check:
        odd = drain(reader.patches()) if stream.dtype.kind == "f" else 0
        facts.append(Fact("not finite" if odd else "", counted(odd, "value"), {"nonfinite": odd}))
    return facts


def _checked(reader: StackReader) -> Placement:
    """Where the patches of a stack lie, once its grid fits their number, all of its origins the grid, and so does their size."""
    from patchcli.jobs.reading import check_canvas

    _, laid = reader.lay_out()
    check_canvas(reader.meta.grid, laid.shape[0])
    laid.placement.check_size((laid.shape[1], laid.shape[2]))
    return laid.placement


def _elsewhere(placement: Placement) -> Fact:
    """How many patches lie where the grid has none, and how many where another one does, which ``merge`` takes, too."""
    grid, off, repeated = placement.grid, 0, 0
    if not placement.whole:  # whose origins are never all held
        starts = placement.starts()
        on = np.isin(starts[:, 0], grid.rows.starts) & np.isin(starts[:, 1], grid.columns.starts)
        off = len(on) - int(np.count_nonzero(on))
        places = np.sort(starts[:, 0] * grid.columns.padded + starts[:, 1])
        repeated = int(np.count_nonzero(places[1:] == places[:-1]))
    words = ", ".join([f"{off} not of its grid"] * bool(off) + [f"{repeated} repeated"] * bool(repeated))
    return Fact("origins" if words else "", words, {"origins": {"off_grid": off, "repeated": repeated}})


def tile_facts(file: BinaryIO, folder: str, *, check: bool, max_pixels: int) -> list[Fact]:
    """What an index of tile files holds; where it is checked, all tiles are read."""
    from patchcli.geometry.axis import CLIP
    from patchcli.geometry.placement import Placement
    from patchcli.stacks.header import STACK_VERSION
    from patchcli.stacks.tile_index import read_index

    nbytes = file.seek(0, 2)
    file.seek(0)
    index = read_index(file)
    meta, grid, count = index.meta, index.meta.grid, len(index.files)
    words, fields = size_and_kind(grid.patch[1], grid.patch[0], (*meta.channels, 1)[0], meta.dtype)
    image, pixels = size_and_kind(grid.image[1], grid.image[0], (*meta.channels, 1)[0], meta.dtype)
    some = "" if count == grid.count else f" of the {grid.count} of its grid"
    files = {"first": index.files[0], "last": index.files[-1]} if count else None
    told, metadata = ([], None) if meta.metadata is None else metadata_facts(meta.metadata)
    return [
        Fact(
            "format",
            f"index of tile files, version {STACK_VERSION}, {nbytes} bytes",
            {"kind": "tiles", "bytes": nbytes, "version": STACK_VERSION},
        ),
        Fact(
            "tiles", f"{count}{some}, {words}{', cut at the far sides' * (grid.edge == CLIP)}", {"tiles": count, "tile": fields}
        ),
        Fact("files" * bool(files), "{first} to {last}".format_map(files) if files else "", {"files": files}),
        *_of_grid(meta),
        _cover_fact(grid, count, Placement.at(grid, index.places - grid.margin)),
        *_origin_facts(meta),
        Fact("image", image, {"image": pixels}),
        *told,
        Fact("", "", {"metadata": metadata}),
        *(_checked_tiles(index, folder, max_pixels) if check else ()),
    ]


def _checked_tiles(index: TileIndex, folder: str, max_pixels: int) -> Iterator[Fact]:
    """Decode all tiles, several at once; how many have another size than was cut, or pages that ``merge`` does not read.

    Raises:
        PatchcliError: one that is missing or damaged; the sentence names it.
    """
    from patchcli.jobs.reading import blamed

    grid, metadata = index.meta.grid, index.meta.metadata
    open_tile = open_joined if metadata is not None and metadata.of_pages else open_image
    heights, widths = grid.rows.cut_lengths(index.places[:, 0]), grid.columns.cut_lengths(index.places[:, 1])

    def sizes_of(name: str) -> tuple[int, int, int]:
        with blamed(f"its tile {name} "), open_input(os.path.join(folder, name)) as file:
            image = open_tile(file, max_pixels=max_pixels)
            image.pixels()
            return image.shape[0], image.shape[1], 1 if image.metadata.of_pages else image.pages

    sizes = list(map_in_order(sizes_of, index.files, usable_cpus()))
    cut = zip(index.files, sizes, heights.tolist(), widths.tolist(), strict=True)
    other = [(name, got) for name, got, height, width in cut if got[:2] != (height, width)]
    words = f"{counted(len(other), 'tile')}, as {other[0][0]}: width={other[0][1][1]} height={other[0][1][0]}" if other else ""
    yield Fact("another size" * bool(other), words, {"other_size": len(other)})
    unread = [(name, got[2]) for name, got in zip(index.files, sizes, strict=True) if got[2] > 1]
    words = f"{counted(len(unread), 'tile')}, as {unread[0][0]}: {unread[0][1]} pages, of which page 0 is read" if unread else ""
    yield Fact("unread pages" * bool(unread), words, {"unread_pages": len(unread)})


def _of_grid(meta: Meta) -> list[Fact]:
    grid = meta.grid
    (rows, columns), (height, width), (down, right), (top, left) = grid.shape, grid.patch, grid.stride, grid.offset
    fields = {
        "patches": grid.count,
        "rows": rows,
        "columns": columns,
        "stride": {"x": right, "y": down},
        "overlap": {"x": width - right, "y": height - down},
        "offset": {"x": left, "y": top},
        "edge": grid.edge,
        "margin": grid.margin,
        "pad_mode": meta.pad_mode,
        "pad_value": meta.pad_value if math.isfinite(meta.pad_value) else str(float(meta.pad_value)),
    }
    offset = f", offset x={left} y={top}" if left or top else ""
    words = f"rows={rows} columns={columns}, stride x={right} y={down}, overlap x={width - right} y={height - down}{offset}"
    value = f" of {meta.pad_value:g}" if meta.pad_mode == "constant" else ""
    padded = grid.margin or grid.padded != grid.image
    return [
        Fact("grid", f"{words}, edge {grid.edge}", {"grid": fields}),
        Fact("padding" if padded else "", f"margin {grid.margin}, {meta.pad_mode}{value}"),
    ]


def _cover_fact(grid: Grid, count: int, placement: Placement | None) -> Fact:
    """How many patches lie on the pixels of the image.

    Where origins were not read, as many as the grid has are taken for those of the grid.
    """
    cover = None
    if max(grid.padded) <= LONGEST_AXIS and (count == grid.count if placement is None else placement.whole):
        rows, columns = grid.rows.cover(), grid.columns.cover()
        cover = int(rows.min() * columns.min()), int(rows.max() * columns.max()), grid.uncovered
    elif placement is not None and placement.scattered is not None and math.prod(grid.image) <= MOST_COUNTED:
        cover = _counted_cover(placement.scattered, grid)
    if cover is None:
        return Fact("cover" * (placement is None), "not known before origins are read; --check does", {"cover": None})
    least, most, uncovered = cover
    words = f"{least} to {most} patches a pixel, {counted(uncovered, 'pixel')} uncovered"
    return Fact("cover", words, {"cover": {"least": least, "most": most, "uncovered": uncovered}})


def _counted_cover(origins: np.ndarray[Any, np.dtype[np.int64]], grid: Grid) -> tuple[int, int, int]:
    """Least and most patches on a pixel, and pixels without any, counted some lines at a time."""
    from patchcli.geometry.cover import cover_at

    height, width = grid.image
    step = max(1, COUNTED_PIXELS // width)
    least, most, uncovered = len(origins), 0, 0
    for top in range(0, height, step):
        near = origins[(origins[:, 0] < top + step) & (origins[:, 0] + grid.patch[0] > top)]
        lines = cover_at(near - (top, 0), grid.patch, (min(step, height - top), width))
        least, most = min(least, int(lines.min())), max(most, int(lines.max()))
        uncovered += int(np.count_nonzero(lines == 0))
    return least, most, uncovered


def _layout_fact(meta: Meta, *, compressed: bool) -> Fact:
    from patchcli.stacks.layouts import UNROLLED

    order = f", pixel order {meta.pixel_order}" if meta.layout in UNROLLED else ""
    fields = {"layout": meta.layout, "pixel_order": meta.pixel_order, "compressed": compressed}
    return Fact("layout", f"{meta.layout}{order}, {'compressed' if compressed else 'stored'}", fields)


def _origin_facts(meta: Meta) -> list[Fact]:
    """Which file a stack was cut from, how, and which part of it this one is."""
    source, record, shard = meta.source, meta.record, meta.shard
    name = "standard input" if source.name is None else source.name
    page = f", page {source.page}" if source.page else ""
    if record is not None and record.settings.get("--pages-as") == "channels":
        page = f", pages {record.settings.get('--page', source.page)}"
    size = "" if source.size is None else f", {source.size} bytes"
    made = None
    if record is not None:
        made = {"command": record.command, "settings": record.settings}
    words = (
        "" if record is None else " ".join([record.command, *(f"{name}={json_words(v)}" for name, v in record.settings.items())])
    )
    return [
        Fact(
            "shard" if shard else "",
            f"{shard[0]:05}-of-{shard[1]:05}" if shard else "",
            {"shard": {"number": shard[0], "count": shard[1]} if shard else None},
        ),
        Fact(
            "cut from",
            f"{name}{size}{page}{', turned upright' * source.rotated}",
            {"source": {"name": source.name, "bytes": source.size, "page": source.page, "rotated": source.rotated}},
        ),
        Fact("made by" if made else "", words, {"made_by": made}),
    ]


def drain(stream: ArrayStream) -> int:
    """Read an array to its end, where its checksum is compared; how many of its values are not finite."""
    odd = 0
    buffer = np.empty(max(1, CHECKED_BYTES // max(1, stream.dtype.itemsize)), stream.dtype)
    while stream.left:
        some = buffer[: stream.left // stream.dtype.itemsize]
        stream.readinto(some)
        if some.dtype.kind == "f":
            odd += len(some) - int(np.count_nonzero(np.isfinite(some)))
    if not math.prod(stream.shape):
        stream.finish()
    return odd
