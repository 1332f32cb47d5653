"""What ``info`` tells of an image file: its pages, how its pixels lie, what they mean."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.errors import PatchcliError, counted
from patchcli.images.source import open_image
from patchcli.jobs.info_fact import Fact, size_and_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from patchcli.images.metadata import Metadata
    from patchcli.images.source import ImageSource

MOST_LOOKED_AT = 100  # pages whose headers are read where nothing is checked
# https://docs.ogc.org/is/19-008r4/19-008r4.html: tags, keys, and values of keys
_SCALE, _TIES, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
_PROJECTED, _GEODETIC, _RASTER = 3072, 2048, 1025
_POINT, _UNKNOWN_CODES = 2, (0, 32767)
_PROFILE_TAGS, _MOST_TAGS = 128, 100  # of an ICC profile: where its table of tags is, and how many are looked at


def image_facts(file: BinaryIO, *, check: bool, max_pixels: int) -> list[Fact]:
    """Of an image file; where it is checked, all pixels of all pages are decoded.

    Raises:
        PatchcliError: it is damaged, or has a page too large to be decoded whole.
    """
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
    return size_and_kind(image.shape[1], image.shape[0], (*image.shape, 1)[2], image.dtype)


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
    return f"{which}: {size_and_kind(run['width'], run['height'], run['channels'], np.dtype(run['dtype']))[0]}"


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
    from patchcli.jobs.reading import blamed, decoded_bands

    for page in range(pages):
        with blamed(f"page {page} " if pages > 1 else ""):
            image = open_image(file, page=page, max_pixels=max_pixels)
            for _ in decoded_bands(image):
                pass
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
