"""Pixels turned into others of the same image: gray, one channel, without alpha, as EXIF turns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from patchcli.errors import PatchcliError, counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata


SIDEWAYS = 5  # from this EXIF orientation on, rows become columns
UPWARDS, LEFTWARDS = (3, 4, 6, 7), (2, 3, 7, 8)  # orientations whose stored rows, or columns, run the other way
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow, OpenCV and libjpeg have it
LUMA_BYTES = 16  # a pixel, for two float64, while colour becomes gray
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
    luma = sum(weight * image[:, :, channel].astype(np.float64) for channel, weight in enumerate(LUMA))
    return (np.rint(luma) if image.dtype.kind in "iu" else np.asarray(luma)).astype(image.dtype)


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
