"""Pixels turned into others of the same image: gray, RGB, one channel, without alpha, as EXIF turns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata


SIDEWAYS = 5  # from this EXIF orientation on, rows become columns
UPWARDS, LEFTWARDS = (3, 4, 6, 7), (2, 3, 7, 8)  # orientations whose stored rows, or columns, run the other way
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow, OpenCV and libjpeg have it
LUMA_PIXELS = 1 << 16  # that become gray at once
LOOKED_UP = 1 << 16  # indices whose colours are looked up at once
# What EXIF orientation n asks for; 1 is upright. https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, tag 274
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image[::-1].swapaxes(0, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image.swapaxes(0, 1)[::-1],
}


def stored_window(
    turn: int, rows: tuple[int, int], columns: tuple[int, int], stored: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns, as a file of the size ``stored`` ``(H, W)`` has them, of a window of the image that is turned upright."""
    if turn >= SIDEWAYS:
        rows, columns = columns, rows
    if turn in UPWARDS:
        rows = stored[0] - rows[1], stored[0] - rows[0]
    if turn in LEFTWARDS:
        columns = stored[1] - columns[1], stored[1] - columns[0]
    return rows, columns


def check_gray(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an image ``(H, W[, C])`` that has no luma."""
    channels = (*shape, 1)[2]
    if channels >= 3 and dtype.kind in "iu" and dtype.itemsize > 4:  # noqa: PLR2004
        raise PatchcliError(f"has dtype {dtype}; gray is made of integers of at most 32 bits")
    if channels > 4:  # noqa: PLR2004
        raise PatchcliError(f"has {counted(channels, 'channel')}; allowed for gray are 1 to 4")


def to_gray(image: NDArray[Any], metadata: Metadata) -> NDArray[Any]:
    """Luma of an image ``(H, W, C)``, extra samples dropped, in its dtype ``(H, W)``; a gray one is returned as it is.

    BT.601 weights over the values as they are stored; integers are rounded to nearest, ties to even.
    """
    check_gray(image.shape, image.dtype)
    if image.ndim == 2:  # noqa: PLR2004
        return image
    if metadata.photometric != "rgb":
        return np.ascontiguousarray(image[:, :, 0])
    gray = np.empty(image.shape[:2], image.dtype)
    step = max(1, LUMA_PIXELS // max(1, image.shape[1]))
    for top in range(0, len(image), step):  # what is computed in float64 stays in a core's cache
        part = image[top : top + step]
        luma = np.zeros(part.shape[:2])
        for channel, weight in enumerate(LUMA):
            luma += weight * part[:, :, channel].astype(np.float64)
        gray[top : top + step] = np.rint(luma, out=luma) if image.dtype.kind in "iu" else luma
    return gray


def check_rgb(metadata: Metadata) -> None:
    """Refuse an image whose samples are neither RGB nor gray, with or without alpha."""
    if metadata.photometric == "miniswhite" or (metadata.photometric == "minisblack" and "unspecified" in metadata.extrasamples):
        raise PatchcliError(f"has samples {metadata.in_words()}, which are not a colour; take one of them with --channel")


def to_rgb(image: NDArray[Any], metadata: Metadata) -> NDArray[Any]:
    """Red, green and blue ``(H, W, 3)`` of an image ``(H, W[, C])``, extra samples dropped, in its dtype.

    Gray is repeated. A bool becomes uint8, 0 or 255, as Pillow has it.
    """
    check_rgb(metadata)
    if image.dtype.kind == "b":
        image = image * np.uint8(255)
    planes = image[..., None] if image.ndim == 2 else image  # noqa: PLR2004
    colour = planes[:, :, :3] if metadata.photometric == "rgb" else planes[:, :, :1]
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def colour_table(colormap: Sequence[tuple[int, int, int]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The colours ``(N, 3)`` of all indices of a dtype, uint8 where no colour needs more; black where none is given.

    8 bits stand in the 16 of a colormap times 257, or, as some programs write them, times 256.
    """
    table = np.zeros((1 << 8 * dtype.itemsize, 3), np.uint16)
    table[: len(colormap)] = colormap
    high, low = table >> 8, table & 255
    return high.astype(np.uint8) if not low.any() or np.array_equal(low, high) else table


def in_colour(indices: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """The colours ``(H, W, 3)`` of indices ``(H, W)``, by a table ``(N, 3)`` of as many as their dtype counts."""
    image = np.empty((*indices.shape, 3), table.dtype)
    step = max(1, LOOKED_UP // max(1, indices.shape[1]))  # numpy makes 8 bytes of an index
    for first in range(0, len(indices), step):
        np.take(table, indices[first : first + step], axis=0, out=image[first : first + step], mode="clip")
    return image


def check_channel(shape: tuple[int, ...], channel: int) -> None:
    """Refuse a channel that an image ``(H, W[, C])`` does not have."""
    channels = (*shape, 1)[2]
    if channel >= channels:
        raise PatchcliError(
            f"has {counted(channels, 'channel')}; --channel {channel} was asked for; allowed are 0 to {channels - 1}"
        )


def one_channel(image: NDArray[Any], channel: int) -> NDArray[Any]:
    """Channel ``channel`` (from 0) of an image ``(H, W[, C])``, ``(H, W)``."""
    check_channel(image.shape, channel)
    planes = image[..., None] if image.ndim == 2 else image  # noqa: PLR2004
    return np.ascontiguousarray(planes[:, :, channel])


def without_alpha(pixels: NDArray[Any], metadata: Metadata) -> NDArray[Any]:
    """The channels ``(H, W, C)`` of an image but for alpha; a gray one as it is."""
    kept = [at for at in range(metadata.channels) if at != metadata.alpha]
    return pixels if pixels.ndim == 2 else pixels[:, :, kept]  # noqa: PLR2004
