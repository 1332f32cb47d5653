"""What the tags of a TIFF page say beside its pixels: profile, resolution, colour table, place on earth, size of a pixel.

A tag can have any type and count: what makes no sense is left out. Nothing is read but the tags.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from patchcli.images.metadata import GEO_TAGS, GEO_TEXT, Metadata, as_geotiff, as_icc, as_pair, as_text

if TYPE_CHECKING:
    import tifffile

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ICC, NODATA = 282, 283, 296, 34675, 42113
UNIT_NAMES = {1: "none", 2: "inch", 3: "centimeter"}  # of tag 296, which is 2 where it is missing
ASCII_END = 128
DESCRIBED = 1 << 20  # characters of a description that are looked at
PIXELS_ELEMENT = r"<(?:\w{1,20}:)?Pixels\s([^<>]{1,4096})"  # of OME-XML
OME_SIZES = r"\b(PhysicalSize[XY](?:Unit)?)\s{0,8}=\s{0,8}[\"']([^\"']{1,64})[\"']"
IMAGEJ_UNIT = r"(?m)^unit=([^\r\n]{1,64})"
# as ImageJ and others write units
SPELLINGS = {"micron": "µm", "microns": "µm", "um": "µm", "μm": "µm", "\\u00b5m": "µm", "inch": "in", "pixel": "", "pixels": ""}


def tags_of(page: tifffile.TiffPage, samples: Metadata) -> Metadata:
    """What the samples of a page are, with all else that its tags say."""
    geo = {tag: _plain(page, tag) for tag in GEO_TAGS if tag in page.tags}
    if isinstance(text := geo.get(GEO_TEXT), str):  # keys count its bytes
        geo[GEO_TEXT] = "".join(chr(byte) if byte < ASCII_END else "?" for byte in text.encode())
    nodata = _plain(page, NODATA)
    resolution = _resolution(page)
    pixel_size, resolution = _pixel_size(page, resolution)
    if resolution and resolution[2] == "none" and resolution[0] == resolution[1]:
        resolution = None
    return samples._replace(
        icc=as_icc(_plain(page, ICC)) or b"",
        resolution=resolution,
        geotiff=(as_geotiff(geo) or ()) if geo else (),
        nodata=as_text(nodata.strip(" \0")) if isinstance(nodata, str) else None,
        pixel_size=pixel_size,
    ).sensible()


def _plain(page: tifffile.TiffPage, code: int) -> Any:  # noqa: ANN401  whatever a tag holds
    """The value of a tag, numbers always as a tuple; None where there is none, or none that can be read."""
    with contextlib.suppress(Exception):  # a damaged tag raises anything
        value: Any = page.tags.valueof(code)
        return (value,) if isinstance(value, (int, float)) and code in GEO_TAGS else value
    return None


def _resolution(page: tifffile.TiffPage) -> tuple[float, float, str] | None:
    """Pixels along width and height in a unit: each a numerator and a denominator."""
    numbers = []
    for code in (X_RESOLUTION, Y_RESOLUTION):
        value = _plain(page, code)
        if not (isinstance(value, tuple) and len(value) == 2 and all(type(one) is int and one > 0 for one in value)):  # noqa: PLR2004
            return None
        numbers.append(value[0] / value[1])
    unit = _plain(page, RESOLUTION_UNIT) if RESOLUTION_UNIT in page.tags else 2
    return as_pair((*numbers, UNIT_NAMES[unit])) if isinstance(unit, int) and unit in UNIT_NAMES else None


def _pixel_size(
    page: tifffile.TiffPage, resolution: tuple[float, float, str] | None
) -> tuple[tuple[float, float, str] | None, tuple[float, float, str] | None]:
    """The size of a pixel by OME-XML or by ImageJ, whose resolution is in the unit that it names; and the resolution without it.

    https://docs.openmicroscopy.org/ome-model/6.2.2/ome-tiff/specification.html
    """
    with contextlib.suppress(Exception):
        first: Any = page.parent.pages.first
        described = str(first.description)[:DESCRIBED]
        if described.startswith("ImageJ=") and resolution is not None:
            found = re.search(IMAGEJ_UNIT, described)
            unit = _unit(found.group(1)) if found else ""
            return (as_pair((1 / resolution[0], 1 / resolution[1], unit)), None) if unit else (None, resolution)
        if described.startswith("<") and (element := re.search(PIXELS_ELEMENT, described)):
            import html  # loaded for nobody else

            sizes = {name: html.unescape(value) for name, value in re.findall(OME_SIZES, element.group(1))}
            x, y = (float(sizes.get(f"PhysicalSize{axis}") or sizes.get("PhysicalSizeX", "nan")) for axis in "XY")
            unit, other = (_unit(sizes.get(f"PhysicalSize{axis}Unit") or sizes.get("PhysicalSizeXUnit", "µm")) for axis in "XY")
            return as_pair((x, y, unit)) if unit == other else None, resolution
    return None, resolution


def _unit(said: str) -> str:
    """The unit as `Metadata` has it."""
    return SPELLINGS.get(said.strip().lower(), said.strip())
