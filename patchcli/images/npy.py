"""NPY: an array as numpy writes it, ``(H, W)`` or ``(H, W, C)``; nothing in it is unpickled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchcli.arrays import check_real
from patchcli.errors import PatchcliError
from patchcli.images.codec import Header, Opened, check_single, lines_at_most, rows_at_once, sized
from patchcli.images.metadata import Metadata
from patchcli.images.stored_rows import StoredRows
from patchcli.npy_header import read_npy_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from patchcli.images.codec import Encoding


def open_npy(file: BinaryIO, page: int) -> Opened:
    """Read the header of an array; one in Fortran order is read whole."""
    check_single(page)

    def take(count: int) -> bytes:
        data = file.read(count)
        if len(data) < count:
            raise PatchcliError("ends before its data do; the file is truncated or damaged")
        return data

    offset, stored, fortran, shape = read_npy_header(take)
    check_real(stored, "image")
    if len(shape) not in (2, 3) or 0 in shape:
        raise PatchcliError(f"holds an array of shape {shape}; an image is (H, W) or (H, W, C), of 1 pixel or more")
    held = sized(file) - offset
    needed = math.prod(shape) * stored.itemsize
    if held != needed:
        raise PatchcliError(f"holds {held} bytes where its shape {shape} and dtype {stored} need {needed}")
    (height, width, channels), dtype = (*shape, 1)[:3], stored.newbyteorder("=")
    rows = StoredRows(file, offset, (height, width, channels), stored)

    def decode() -> NDArray[Any]:
        if not fortran:
            return rows.read((0, height), (0, width))
        # in whose order the first axis is the one that changes first
        turned = StoredRows(file, offset, (channels, width, height), stored)
        return turned.read((0, channels), (0, width)).transpose()

    def header() -> Header:
        read = None if fortran else rows.read
        return Header(channels, dtype, 1, needed * fortran, read=read)

    return Opened(height, width, header, decode, channels * stored.itemsize, Metadata.unexplained(channels))


def write_npy(file: BinaryIO, lines: Iterable[NDArray[Any]], made: Encoding) -> None:
    """Write an array, some lines at a time."""
    described = {"descr": np.lib.format.dtype_to_descr(made.dtype), "fortran_order": False, "shape": made.shape}
    np.lib.format.write_array_header_1_0(file, described)
    file.writelines(np.ascontiguousarray(some, made.dtype).data for some in lines_at_most(lines, rows_at_once(made)))
