"""``info``: what is in an image file, a stack or another array file, from its headers alone; checked, from every byte."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError, counted, one_line, shortened
from patchcli.images.formats import FORMATS, SNIFF
from patchcli.images.source import open_image, open_joined
from patchcli.npy_header import NotPlainError
from patchcli.stacks.tile_names import INDEX_SUFFIX
from patchcli.storage.files import name_of, open_head, open_input
from patchcli.storage.paths import is_remote
from patchcli.threads import map_in_order, usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from patchcli.geometry.grid import Grid
    from patchcli.geometry.placement import Placement
    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource
    from patchcli.stacks.file import StackReader
    from patchcli.stacks.header import Meta
    from patchcli.stacks.npz import ArrayStream, NpzReader
    from patchcli.stacks.tile_index import TileIndex

ARCHIVE, NPY = b"PK", b"\x93NUMPY"
INDEX_START = b'{"format": "patchcli.stack"'
MOST_LOOKED_AT = 100  # pages whose headers are read where nothing is checked
CHECKED_BYTES = 1 << 24  # that are decoded, or read, at once
LONGEST_AXIS, MOST_COUNTED = 1 << 22, 1 << 28  # pixels of an axis, and of an image, of which the cover is counted
COUNTED_PIXELS = 1 << 22  # of which it is counted at once
# https://docs.ogc.org/is/19-008r4/19-008r4.html: tags, keys, and values of keys
_SCALE, _TIES, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
_PROJECTED, _GEODETIC, _RASTER = 3072, 2048, 1025
_POINT, _UNKNOWN_CODES = 2, (0, 32767)
_PROFILE_TAGS, _MOST_TAGS = 128, 100  # of an ICC profile: where its table of tags is, and how many are looked at


class Fact(NamedTuple):
    """What is told of a file.

    Attributes:
        label: what it is about, for people; empty for what they are not told.
        words: for people, in a line.
        fields: for programs: keys of the file's JSON object, and their values.
    """

    label: str
    words: str
    fields: dict[str, Any] = {}  # noqa: RUF012  never changed


def facts_of(path: str, *, check: bool, max_pixels: int) -> list[Fact]:
    """What is in a file.

    Args:
        path: of the file, or ``-``.
        check: read all of it.
        max_pixels: of an image that is decoded whole to check it; 0 for no limit.

    Raises:
        PatchcliError: a file of no known kind, a damaged one; where it is not checked, one whose headers are damaged.
    """
    if is_remote(path) and not check:
        with contextlib.suppress(PatchcliError), open_head(path) as file:  # not every server sends parts of a file
            return _facts_in(file, path, check=False, max_pixels=max_pixels)
    with open_input(path) as file:
        facts = _facts_in(file, path, check=check, max_pixels=max_pixels)
    return [*facts, *([Fact("check", "ok", {"check": "ok"})] if check else [])]


def _facts_in(file: BinaryIO, path: str, *, check: bool, max_pixels: int) -> list[Fact]:
    head = file.read(SNIFF)
    if head.startswith(INDEX_START) or path.endswith(INDEX_SUFFIX):
        return _of_tiles(file, os.path.dirname(path), check=check, max_pixels=max_pixels)
    if head.startswith(ARCHIVE) or (head.startswith(NPY) and not _is_image(file)):
        return _of_arrays(file, check=check)
    return _of_image(file, check=check, max_pixels=max_pixels)


def as_json(path: str, facts: Sequence[Fact]) -> str:
    """A line of JSON, in ASCII."""
    fields = {key: value for fact in facts for key, value in fact.fields.items()}
    return json.dumps({"file": path, **fields}, allow_nan=False)


def for_people(path: str, facts: Sequence[Fact]) -> str:
    """The name, and below it a line for each fact."""
    told = [fact for fact in facts if fact.label]
    width = max(len(fact.label) for fact in told)
    lines = [f"  {fact.label:<{width}}  {one_line(shortened(fact.words))}" for fact in told]
    return "\n".join([one_line(name_of(path, "standard input")), *lines])


def _is_image(file: BinaryIO) -> bool:
    """Whether a .npy file holds an array that is read as an image."""
    from patchcli.stacks.npz import NpzReader

    return FORMATS["npy"].open is not None and len(NpzReader(file).open("").shape) in (2, 3)


def _sized(width: int, height: int, channels: int, dtype: np.dtype[Any]) -> tuple[str, dict[str, Any]]:
    """Size and kind of an image or a patch, in words and as fields."""
    fields = {"width": width, "height": height, "channels": channels, "dtype": dtype.name}
    return f"width={width} height={height}, {counted(channels, 'channel')}, {dtype.name}", fields


def _of_image(file: BinaryIO, *, check: bool, max_pixels: int) -> list[Fact]:
    image = open_image(file, max_pixels=0)
    looked_at = image.pages if check else min(image.pages, MOST_LOOKED_AT)
    others = list(other_pages(file, image, looked_at))
    said = [*image.hints, *(_decode(file, image.pages, max_pixels) if check else ())]
    nbytes = file.seek(0, 2)
    words, fields = _size_of(image)
    pages = f"{image.pages}{''.join(f'; {_run_in_words(run)}' for run in others)}"
    axes = image.metadata.axes
    about, metadata = metadata_facts(_as_stored(file, image))
    return [
        Fact("format", f"{image.format.upper()}, {nbytes} bytes", {"kind": "image", "format": image.format, "bytes": nbytes}),
        Fact("size", words + ", turned upright" * image.rotated, {**fields, "rotated": image.rotated}),
        Fact("pages" if image.pages > 1 else "", pages, {"pages": image.pages, "other_pages": others}),
        Fact("axes" if axes else "", axes or "", {"axes": axes}),
        _stored(image),
        *about,
        Fact("", "", {"metadata": metadata, "hints": list(dict.fromkeys(said))}),
        *(Fact("note", hint) for hint in dict.fromkeys(said)),
    ]


def _as_stored(file: BinaryIO, image: ImageSource) -> Metadata:
    """What an image means, with what is lost where it is turned or its palette becomes colours: place, nodata, the palette."""
    metadata = image.metadata
    if image.rotated:
        stored = open_image(file, max_pixels=0, rotate=False).metadata
        metadata = metadata._replace(geotiff=stored.geotiff, nodata=stored.nodata)
    if metadata.photometric == "rgb" and image.indexed:
        with contextlib.suppress(PatchcliError):  # which may be damaged
            numbers = open_image(file, max_pixels=0, rotate=False, color="indices").metadata
            metadata = metadata._replace(colormap=numbers.colormap, nodata=numbers.nodata)
    return metadata


def _size_of(image: ImageSource) -> tuple[str, dict[str, Any]]:
    return _sized(image.shape[1], image.shape[0], (*image.shape, 1)[2], image.dtype)


def other_pages(file: BinaryIO, first: ImageSource, pages: int) -> Iterator[dict[str, Any]]:
    """Pages unlike the first, those that follow on each other and are alike together; what one of them is refused for."""
    usual, run = _size_of(first)[1], None
    for page in range(1, pages):
        try:
            about: dict[str, Any] = _size_of(open_image(file, page=page, max_pixels=0))[1]
        except PatchcliError as error:
            about = {"error": str(error)}
        if run and {**run, "first": page, "last": page} == {"first": page, "last": page, **about}:
            run["last"] = page
            continue
        if run:
            yield run
        run = None if about == usual else {"first": page, "last": page, **about}
    if run:
        yield run


def _run_in_words(run: dict[str, Any]) -> str:
    first, last = run["first"], run["last"]
    which = f"page {first}" if first == last else f"pages {first} to {last}"
    if "error" in run:
        return f"{which} {run['error']}"
    return f"{which}: {_sized(run['width'], run['height'], run['channels'], np.dtype(run['dtype']))[0]}"


def _stored(image: ImageSource) -> Fact:
    """How the pixels lie in the file, and so what is decoded for a few of them."""
    read: dict[str, Any] = {"by": "whole", "width": image.shape[1], "height": image.shape[0]}
    words = "whole"
    if image.in_bands and image.columns > 1:
        read = {"by": "tiles", "width": image.columns, "height": image.lines}
        words = f"by tiles of width={image.columns} height={image.lines}"
    elif image.in_bands:
        read = {"by": "lines", "width": image.shape[1], "height": image.lines}
        words = "line by line" if image.lines == 1 else f"by strips of {image.lines} lines"
    compression = image.compression or None
    return Fact(
        "read", f"{words}, compression {compression}" if compression else words, {"read": read, "compression": compression}
    )


def _decode(file: BinaryIO, pages: int, max_pixels: int) -> Iterator[str]:
    """Decode all pixels of all pages; what the decoder says, in a sentence each.

    Raises:
        PatchcliError: a page that is damaged, or too large to be decoded whole.
    """
    from patchcli.jobs.reading import blamed

    for page in range(pages):
        with blamed(f"page {page} " if pages > 1 else ""):
            image = open_image(file, page=page, max_pixels=max_pixels)
            height, width = image.shape[:2]
            pixel = math.prod(image.shape[2:]) * image.dtype.itemsize
            if image.in_bands:
                step = max(1, CHECKED_BYTES // (width * pixel * image.lines)) * image.lines
                for top in range(0, height, step):
                    image.read((top, min(top + step, height)), (0, width))
            else:
                image.pixels()
            yield from image.hints


def metadata_facts(metadata: Metadata) -> tuple[list[Fact], dict[str, Any]]:
    """What an image means beside its samples, for people; and all of it as fields."""
    profile = {"bytes": len(metadata.icc), "name": profile_name(metadata.icc)} if metadata.icc else None
    resolution, pixel = ({"x": pair[0], "y": pair[1], "unit": pair[2]} if pair else None for pair in _pairs(metadata))
    place = georeference_of(dict(metadata.geotiff)) if metadata.geotiff else None
    colours = len(metadata.colormap) if metadata.colormap else None
    fields = {
        "photometric": metadata.photometric,
        "extrasamples": list(metadata.extrasamples),
        "icc": profile,
        "resolution": resolution,
        "georeference": place,
        "nodata": metadata.nodata,
        "pixel_size": pixel,
        "colours": colours,
        "orientation": metadata.orientation,
    }
    facts = [Fact("samples", metadata.in_words())]
    if profile:
        facts.append(Fact("ICC profile", f"{profile['name'] or 'without a name'}, {profile['bytes']} bytes"))
    if resolution:
        facts.append(Fact("resolution", "x={x:g} y={y:g} pixels per {unit}".format_map(resolution)))
    if place:
        facts.append(Fact("georeference", place_in_words(place)))
    if metadata.nodata is not None:
        facts.append(Fact("nodata", metadata.nodata))
    if pixel:
        facts.append(Fact("pixel size", "x={x:g} y={y:g} {unit}".format_map(pixel)))
    if colours:
        numbers = metadata.photometric == "minisblack"
        read = "a table of {}" if numbers else "a palette of {}, read as rgb; --color indices reads the numbers"
        facts.append(Fact("colours", read.format(colours)))
    if metadata.orientation:
        facts.append(Fact("orientation", f"{metadata.orientation}, as EXIF has it"))
    return facts, fields


def _pairs(metadata: Metadata) -> tuple[tuple[float, float, str] | None, tuple[float, float, str] | None]:
    return metadata.resolution, metadata.pixel_size


def georeference_of(tags: dict[int, tuple[float, ...] | str]) -> dict[str, Any]:
    """Where on earth an image lies, from GeoTIFF tags.

    ``crs`` is "EPSG:NUMBER" where the keys have one; ``transform`` (a, b, c, d, e, f) takes the corner of pixel (column, row) to
    x = a column + b row + c, y = d column + e row + f; None where several tie points or none tell it.
    """
    scale, ties, matrix, numbers = (_numbers(tags.get(tag)) for tag in (_SCALE, _TIES, _MATRIX, _KEYS))
    keys = {int(numbers[at]): int(numbers[at + 3]) for at in range(4, len(numbers) - 3, 4) if numbers[at + 1] == 0}
    code = next((keys[key] for key in (_PROJECTED, _GEODETIC) if keys.get(key, 0) not in _UNKNOWN_CODES), None)
    transform = None
    if len(matrix) >= 8:  # noqa: PLR2004
        transform = [*matrix[:2], matrix[3], *matrix[4:6], matrix[7]]
    elif len(scale) >= 2 and len(ties) == 6:  # noqa: PLR2004
        i, j, _, x, y, _ = ties
        transform = [scale[0], 0.0, x - i * scale[0], 0.0, -scale[1], y + j * scale[1]]
    if transform and keys.get(_RASTER) == _POINT:  # coordinates are those of centres
        transform[2] -= (transform[0] + transform[1]) / 2
        transform[5] -= (transform[3] + transform[4]) / 2
    return {"crs": f"EPSG:{code}" if code else None, "transform": transform, "tie_points": len(ties) // 6}


def _numbers(value: tuple[float, ...] | str | None) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, tuple) else ()


def place_in_words(place: dict[str, Any]) -> str:
    """A georeference as `georeference_of` gives it."""
    crs = place["crs"] or "coordinates without an EPSG code"
    if place["transform"] is None:
        return f"{crs}, {counted(place['tie_points'], 'tie point')}"
    a, b, c, d, e, f = place["transform"]
    if b or d:
        return f"{crs}, turned: x={a:g} column + {b:g} row + {c:.12g}, y={d:g} column + {e:g} row + {f:.12g}"
    return f"{crs}, corner at x={c:.12g} y={f:.12g}, pixels of x={a:.12g} y={e:.12g}"


def profile_name(profile: bytes) -> str | None:
    """What an ICC profile calls itself: its tag ``desc``, of version 2 or 4 (ICC.1:2001, 6.5.17; ICC.1:2022, 10.15)."""
    count = min(int.from_bytes(profile[_PROFILE_TAGS : _PROFILE_TAGS + 4]), _MOST_TAGS)
    for at in range(_PROFILE_TAGS + 4, _PROFILE_TAGS + 4 + 12 * count, 12):
        if profile[at : at + 4] == b"desc":
            start = int.from_bytes(profile[at + 4 : at + 8])
            text = profile[start : start + int.from_bytes(profile[at + 8 : at + 12])]
            if text[:4] == b"desc":
                said = text[12 : 12 + int.from_bytes(text[8:12])].decode("latin-1")
            else:
                size, first = int.from_bytes(text[20:24]), int.from_bytes(text[24:28])
                said = text[first : first + size].decode("utf-16-be", "replace")
            return said.strip("\0 ") or None
    return None


def _of_arrays(file: BinaryIO, *, check: bool) -> list[Fact]:
    """What a .npz or .npy holds."""
    from patchcli.stacks.npz import NpzReader

    npz = NpzReader(file)
    nbytes = file.seek(0, 2)
    about = _about(npz)
    if about.get("format") == "patchcli.stack":
        facts = _of_stack(file, npz, about, nbytes, check=check)
    elif about.get("format") == "patchcli.crops":
        facts = _of_crops(npz, about, nbytes)
    else:
        facts = _of_others(npz, nbytes)
    if check:
        for name in npz.names():
            try:
                _drain(npz.open(name))
            except NotPlainError:
                npz.check_bytes(name)
    return facts


def _about(npz: NpzReader) -> dict[str, Any]:
    """The JSON object in the member ``meta``; an empty one where there is none."""
    if "meta" not in npz.names():
        return {}
    try:
        stream = npz.open("meta")
    except NotPlainError:
        return {}
    if stream.shape != () or stream.dtype.kind != "U":
        return {}
    try:
        about = json.loads(stream.load_text())
    except (ValueError, RecursionError) as error:
        if isinstance(error, PatchcliError):
            raise
        return {}
    return about if isinstance(about, dict) else {}


def _drain(stream: ArrayStream) -> int:
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


def _of_stack(file: BinaryIO, npz: NpzReader, about: dict[str, Any], nbytes: int, *, check: bool) -> list[Fact]:
    from patchcli.stacks.file import StackReader

    reader = StackReader(file)
    meta, grid = reader.meta, reader.meta.grid
    stream, shape, first = reader.headers()
    placement = _checked(reader) if check else None
    program = about.get("program") if isinstance(about.get("program"), str) else None
    words, fields = _sized(shape[2], shape[1], (*shape, 1)[3], stream.dtype)
    recorded, cut = _sized(grid.patch[1], grid.patch[0], (*meta.channels, 1)[0], meta.dtype)
    image, pixels = _sized(grid.image[1], grid.image[0], (*meta.channels, 1)[0], meta.dtype)
    some = "" if shape[0] == grid.count else f" of the {grid.count} of its grid"
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
        _cover_fact(grid, shape[0], placement),
        _layout_fact(meta, compressed=any(map(npz.is_deflated, npz.names()))),
        *_origin_facts(meta),
        Fact("image", f"{image}{', labels' * meta.labels}", {"image": pixels, "labels": meta.labels}),
    ]
    told, metadata = ([], None) if meta.metadata is None else metadata_facts(meta.metadata)
    facts += [*told, Fact("", "", {"metadata": metadata})]
    if check:
        odd = _drain(reader.patches()) if stream.dtype.kind == "f" else 0
        facts.append(Fact("not finite" if odd else "", counted(odd, "value"), {"nonfinite": odd}))
    return facts


def _checked(reader: StackReader) -> Placement:
    """Where the patches of a stack lie, once all of its origins fit its grid, and the size of its patches does."""
    _, laid = reader.lay_out()
    laid.placement.check_size((laid.shape[1], laid.shape[2]))
    return laid.placement


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
    words = "" if record is None else " ".join([record.command, *(f"{name}={_said(v)}" for name, v in record.settings.items())])
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


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _of_tiles(file: BinaryIO, folder: str, *, check: bool, max_pixels: int) -> list[Fact]:
    """What an index of tile files holds; where it is checked, all tiles are read."""
    from patchcli.geometry.axis import CLIP
    from patchcli.geometry.placement import Placement
    from patchcli.stacks.header import STACK_VERSION
    from patchcli.stacks.tile_index import read_index

    nbytes = file.seek(0, 2)
    file.seek(0)
    index = read_index(file)
    meta, grid, count = index.meta, index.meta.grid, len(index.files)
    words, fields = _sized(grid.patch[1], grid.patch[0], (*meta.channels, 1)[0], meta.dtype)
    image, pixels = _sized(grid.image[1], grid.image[0], (*meta.channels, 1)[0], meta.dtype)
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


def _of_crops(npz: NpzReader, about: dict[str, Any], nbytes: int) -> list[Fact]:
    stream = npz.open("patches")
    if len(stream.shape) not in (3, 4):
        raise PatchcliError(f"has crops of shape {stream.shape}; expected (N, h, w) or (N, h, w, channels)")
    count, height, width = stream.shape[:3]
    words, fields = _sized(width, height, (*stream.shape, 1)[3], stream.dtype)
    images = len(about["images"]) if isinstance(about.get("images"), list) else 0
    how = {key: about.get(key) for key in ("resampling", "align_corners", "outside")}
    return [
        Fact(
            "format",
            f"crops, version {about.get('version')}, {nbytes} bytes",
            {"kind": "crops", "bytes": nbytes, "version": about.get("version")},
        ),
        Fact("crops", f"{count} of {counted(images, 'image')}, {words}", {"crops": count, "images": images, "crop": fields}),
        Fact("made with", ", ".join(f"{key} {_said(value)}" for key, value in how.items()), how),
    ]


def _of_others(npz: NpzReader, nbytes: int) -> list[Fact]:
    kind = "NPY, an array" if npz.bare else f"NPZ, {counted(len(npz.names()), 'array')}"
    arrays: list[dict[str, Any]] = []
    facts: list[Fact] = []
    for name in npz.names():
        try:
            stream = npz.open(name)
        except NotPlainError as error:
            if npz.bare:
                raise
            arrays.append({"name": name, "shape": None, "dtype": None, "error": str(error)})
            facts.append(Fact("array", str(error)))
            continue
        arrays.append({"name": name or None, "shape": list(stream.shape), "dtype": stream.dtype.name})
        facts.append(Fact("array", f"{name}{':' if name else ''} shape {stream.shape}, {stream.dtype.name}".lstrip()))
    return [Fact("format", f"{kind}, {nbytes} bytes", {"kind": "array", "bytes": nbytes, "arrays": arrays}), *facts]
