"""The pages of a TIFF: its directories but those of smaller copies and masks, and planes that have no directory of their own.

ImageJ, MetaMorph (STK) and tifffile write stacks with one directory, behind whose pixels the other planes follow.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import math
import os
import re
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from patchcli.errors import PatchcliError
from patchcli.images.codec import sized, tiff_directories
from patchcli.images.tiff_segments import MOST_SEGMENTS

if TYPE_CHECKING:
    import tifffile

    from patchcli.images.codec import Directory

PLACES = (273, 279, 324, 325)  # tags of where strips and tiles are, and how long
MOST_DIRECTORIES = 1 << 18  # that are walked through to count the pages
MOST_FILES = 2  # of which the places of directories are kept: an image and a mask of it
HIDDEN = 1 | 4  # bits of NewSubfileType (TIFF 6.0, section 8): a smaller copy of a page, a mask of one
UIC2 = 33629  # tag of STK files, which has an entry for each plane
IMAGEJ_ORDER = "czt"  # from the axis that changes first, where a description says no other
OME_PIXELS = r"<(?:\w+:)?Pixels\s([^<>]*)>"  # of OME-XML: https://docs.openmicroscopy.org/ome-model/
OME_ATTRIBUTE = r'(DimensionOrder|Size[CZT])\s*=\s*"(\w{1,18})"'


class Page(NamedTuple):
    """One page of a file.

    Attributes:
        page: whose tags say how the pixels are stored.
        offsets, counts: where its strips or tiles are.
        axes: of the stack that it is a plane of, as tifffile names them; None where nothing is known of one.
    """

    page: tifffile.TiffPage
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    axes: str | None


def find_page(file: BinaryIO, number: int) -> Page:
    """A page by its number, from 0; no directory behind it is read.

    Raises:
        PatchcliError: there is no such page, or one with more strips or tiles than any image has.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports damage there before it raises
    first, index, directory, found = _walk(file, number)
    for one in (first, directory):
        if one and (most := max(one.get(code, 0) for code in PLACES)) > MOST_SEGMENTS:  # whose places would all be read
            raise PatchcliError(f"has {most} strips or tiles; allowed are {MOST_SEGMENTS}")
    file.seek(0)
    # a name, because it takes that of an unnamed file, a number, for a path
    whole = tifffile.TiffFile(tifffile.FileHandle(file, name="image"))
    try:
        start = whole.pages.first  # not their number, for which all are walked through
    except IndexError:
        raise PatchcliError("has no image in it") from None
    if directory is not None:
        page = _at(whole, index, directory)
        assert page.keyframe is not None
        return Page(page=page.keyframe, offsets=page.dataoffsets, counts=page.databytecounts, axes=_axes(whole))
    planes = _planes(whole, file) if found == 1 else found
    if number >= planes:
        raise PatchcliError(f"has no page {number}; it has {planes}, counted from 0")
    offsets = tuple(offset + number * start.nbytes for offset in start.dataoffsets)
    counts = (start.nbytes,) if len(offsets) == 1 else start.databytecounts
    return Page(page=start, offsets=offsets, counts=counts, axes=_axes(whole))


def count_pages(file: BinaryIO, page: Page) -> int:
    """How many pages the file has that a page is of."""
    found = _walk(file, MOST_DIRECTORIES)[-1]
    return _planes(page.page.parent, file) if found == 1 else found


class _Chain:
    """The directories of a file, as far as they were walked through.

    Attributes:
        first: of them.
        pages: of those that are pages the place in the chain, and that in the file.
        following: where the next one lies; None where the file's first one is next, 0 behind the last.
        seen: where those lie that were walked through.
    """

    def __init__(self) -> None:
        self.first: Directory | None = None
        self.pages: list[tuple[int, int]] = []
        self.following: int | None = None
        self.seen: set[int] = set()

    def walk(self, file: BinaryIO, number: int) -> None:
        """Go on until a page is found, or there is no further directory."""
        if len(self.pages) > number or self.following == 0:
            return
        left = MOST_DIRECTORIES - len(self.seen)
        for directory in itertools.islice(tiff_directories(file, self.following or 0, self.seen), left):
            self.first = directory if self.first is None else self.first
            if not directory.subfile & HIDDEN:
                self.pages.append((len(self.seen) - 1, directory.offset))
            self.following = directory.following
            if len(self.pages) > number:
                return
        self.following = 0


class _Chains(threading.local):
    """The chains of the files that were asked for last in a thread, so that the pages of a file are not found from its start."""

    def __init__(self) -> None:
        self._kept = dict[tuple[int, ...], _Chain]()

    def of(self, file: BinaryIO) -> _Chain:
        """What is known of a file: by its descriptor, of one that did not change; nothing of others."""
        if not isinstance(getattr(file, "raw", None), io.FileIO):  # descriptors of others can be of what is below them
            return _Chain()
        file.flush()
        status = os.fstat(file.fileno())
        own = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        chain = self._kept.pop(own, None) or _Chain()
        self._kept[own] = chain
        if len(self._kept) > MOST_FILES:
            del self._kept[next(iter(self._kept))]
        return chain


_CHAINS = _Chains()


def _walk(file: BinaryIO, number: int) -> tuple[Directory | None, int, Directory | None, int]:
    """The first directory, the place in the chain of that of a page, this itself, and how many pages there are up to it.

    In a file of nothing but smaller copies and masks the first of them is the only page.
    """
    chain = _CHAINS.of(file)
    chain.walk(file, number)
    if len(chain.pages) > number:
        index, offset = chain.pages[number]
        return chain.first, index, next(tiff_directories(file, offset)), number
    found = len(chain.pages)
    return (chain.first, 0, None if number or found else chain.first, found or 1)


def _at(whole: tifffile.TiffFile, index: int, directory: Directory) -> tifffile.TiffPage | tifffile.TiffFrame:
    """The page of a directory."""
    import tifffile

    if index == 0:
        return whole.pages.first
    if whole.is_lsm:  # whose offsets are mended where all pages are read
        return whole.pages[index]
    whole.filehandle.seek(directory.offset)
    return tifffile.TiffPage(whole, index=index)


def _planes(whole: tifffile.TiffFile, file: BinaryIO) -> int:
    """How many planes follow on each other from the first page on, where they have no directories.

    As many as are said to be there, but not more than have begun before the file ends: one that is cut off is refused when it is
    asked for.
    """
    first = whole.pages.first
    if not first.dataoffsets or not first.is_final or not first.nbytes:
        return 1
    held = -(-(sized(file) - first.dataoffsets[0]) // first.nbytes)
    return max(1, min(_claimed(whole, first), held))


def _claimed(whole: tifffile.TiffFile, first: tifffile.TiffPage) -> int:
    """How many planes a file says that it has."""
    if first.is_stk and UIC2 in first.tags:
        return int(first.tags[UIC2].count)
    if first.is_imagej:
        images = _imagej(whole).get("images", 1)
        return max(math.prod(_imagej_sizes(whole, first).values()), images if isinstance(images, int) else 1)
    shaped = _shaped(first)
    shape = shaped.get("shape")
    if shaped.get("truncated") and isinstance(shape, list) and all(isinstance(side, int) and side > 0 for side in shape):
        return math.prod(shape) // first.size
    return 1


def _axes(whole: tifffile.TiffFile) -> str | None:
    """Names of the axes of a stack, those of one place left out: ``TZCYX``; None where nothing is known of one."""
    first = whole.pages.first
    if first.is_stk and isinstance(planes := first.tags.valueof(UIC2), dict):
        moves = {"Z": planes["ZDistance"] != 0, "T": np.diff(planes["TimeCreated"]) != 0}
        axes = next((axis for axis, all_of_it in moves.items() if all_of_it.all()), "I") + first.axes
    elif first.is_imagej:
        axes = "".join(axis for axis, size in _imagej_sizes(whole, first).items() if size > 1) + first.axes
    elif first.is_ome and (pixels := re.search(OME_PIXELS, first.description)):
        said = dict(re.findall(OME_ATTRIBUTE, pixels[1]))
        sizes = {axis: int(said.get(f"Size{axis}", 1)) for axis in "CZT" if said.get(f"Size{axis}", "1").isdecimal()}
        sizes["C"] = sizes.get("C", 1) // first.samplesperpixel
        order = reversed(said.get("DimensionOrder", "XYCZT").upper())
        axes = "".join(axis for axis in order if sizes.get(axis, 1) > 1) + first.axes
    else:
        named = _shaped(first).get("axes")
        axes = named if isinstance(named, str) and re.fullmatch("[A-Z]{1,9}", named) else first.axes
    return axes if axes != first.axes else None


def _imagej(whole: tifffile.TiffFile) -> dict[str, Any]:
    """What an ImageJ file says of itself."""
    return whole.imagej_metadata or {}


def _imagej_sizes(whole: tifffile.TiffFile, first: tifffile.TiffPage) -> dict[str, int]:
    """How many planes a file of ImageJ has along each axis, the one that changes last first.

    Samples of a pixel may be told as channels, which are not planes.
    """
    said = _imagej(whole)
    sizes = {axis: said.get(name, 1) for axis, name in (("C", "channels"), ("Z", "slices"), ("T", "frames"))}
    sizes = {axis: size if isinstance(size, int) and size > 0 else 1 for axis, size in sizes.items()}
    if sizes["C"] == first.samplesperpixel:
        sizes["C"] = 1
    order = str(said.get("order", IMAGEJ_ORDER)).lower()
    return {axis.upper(): sizes[axis.upper()] for axis in reversed(order if sorted(order) == ["c", "t", "z"] else IMAGEJ_ORDER)}


def _shaped(first: tifffile.TiffPage) -> dict[str, Any]:
    """What tifffile said of a file that it wrote."""
    text = first.shaped_description or ""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
