"""Crops that are made from windows: the same as of the whole image, and no more is read than they need."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from patchcli import crop
from patchcli.cropping import resample
from patchcli.cropping.taps import RESAMPLING
from patchcli.errors import PatchcliError
from patchcli.images import sink
from patchcli.images.source import ImageSource, open_image
from patchcli.jobs import crop_windows
from patchcli.jobs.crop_windows import CropWindow, in_windows, lines_of, window_of
from patchcli.jobs.settings import CropSettings, Reading
from patchcli.jobs.task import BoxRow
from tests.helpers.bands import Bands

SHAPE = (3000, 2000)
IMAGE = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def row(*box: float, size: tuple[int, int] | None = None) -> BoxRow:
    x, y, width, height = box
    return BoxRow((x, y, width, height), normalized=False, size=size, target="out.npy")


def counted() -> tuple[ImageSource, Bands]:
    """An image that is read in windows, and what counts what is read of it."""
    held, bands = io.BytesIO(), Bands(IMAGE)
    sink.write(held, IMAGE, "tiff")
    return dataclasses.replace(open_image(held), load=None, window=bands.read, lines=1), bands


@pytest.mark.parametrize("how", list(RESAMPLING))
@pytest.mark.parametrize("size", [(250, 200), (7, 9), (1500, 60)])
def test_a_crop_made_in_strips_is_that_of_the_whole(how: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crop_windows, "MADE_AT_ONCE", 1 << 17)
    monkeypatch.setattr(resample, "ROWS_AT_ONCE", 1 << 20)
    box = (20.5, -30.25, 1900, 3020)
    image, bands = counted()
    window = window_of(image, row(*box, size=size), CropSettings(resampling=how))
    assert window.lines % window.cut.step == 0
    parts = list(lines_of(image, window))
    assert len(parts) > 1
    assert np.array_equal(np.concatenate(parts), crop(IMAGE, box, size, normalized=False, resampling=how))
    assert bands.largest <= window.read[0] < SHAPE[0] / 2
    assert bands.pixels < 4 * IMAGE.size


@pytest.mark.parametrize("box", [(700, 900, 64, 64), (1980, -10, 64, 64), (764, 964, -64, -64), (5000, 5000, 64, 64)])
def test_a_window_costs_what_it_shows(box: tuple[float, float, float, float]) -> None:
    for how in RESAMPLING:
        image, bands = counted()
        window = window_of(image, row(*box), CropSettings(resampling=how))
        (made,) = lines_of(image, window)
        assert np.array_equal(made, crop(IMAGE, box, normalized=False, resampling=how))
        assert bands.pixels <= 64 * 64


def test_reflection_reads_far_pixels() -> None:
    image, bands = counted()
    box = (-500, 900, 100, 64)
    (made,) = lines_of(image, window_of(image, row(*box), CropSettings(outside="reflection")))
    assert np.array_equal(made, crop(IMAGE, box, normalized=False, outside="reflection"))
    assert np.array_equal(made, IMAGE[900:964, 400:500][:, ::-1])
    assert bands.pixels == made.size


def test_what_is_read_in_windows() -> None:
    image, _ = counted()
    settings = CropSettings()
    many = [row(0, 0, 1000, 1000)] * 6
    assert in_windows(image, many, settings)
    assert not in_windows(image, [*many, row(0, 0, 64, 64)], settings)
    assert in_windows(image, [row(-9000, 0, 20_000, 20_000)], settings), "of a box what lies inside counts"
    assert in_windows(image, [row(0, 0, 9, 9)] * 91, settings)
    assert not in_windows(image, [row(0, 0, 9, 9)] * 92, settings), "a window costs time, however small it is"
    assert not in_windows(dataclasses.replace(image, window=None), [row(0, 0, 9, 9)], settings)
    assert in_windows(image, [row(float("nan"), 0, float("inf"), 9)], settings), "which is refused when it is cropped"

    def refuse() -> None:
        raise PatchcliError("has too many pixels")

    assert in_windows(dataclasses.replace(image, check_whole=refuse), [*many, *many], settings), "it must not be decoded whole"


def test_a_read_error_is_one_of_the_input() -> None:
    def broken(_rows: Any, _columns: Any) -> Any:
        raise OSError(5, "Input/output error")

    image = dataclasses.replace(counted()[0], window=broken)
    with pytest.raises(PatchcliError, match=r"^cannot be read: input/output error$"):
        list(lines_of(image, window_of(image, row(0, 0, 9, 9), CropSettings())))


def test_a_damaged_tile_is_named_only_where_a_crop_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, tile=(256, 256), compression="zlib")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offset = page.dataoffsets[2 * 8 + 3]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\0" * 40
    with io.BytesIO(bytes(data)) as held:
        image = open_image(held, max_pixels=1 << 16)
        settings = CropSettings(reading=Reading(max_pixels=1 << 16))

        def cut(*box: float) -> np.ndarray[Any, Any]:
            window: CropWindow = window_of(image, row(*box), settings)
            return np.concatenate(list(lines_of(image, window)))

        assert np.array_equal(cut(0, 0, 700, 700), IMAGE[:700, :700])
        with pytest.raises(PatchcliError, match=r"strip or tile 19 of 96 \(x=768 y=512\)"):
            cut(700, 500, 100, 100)
