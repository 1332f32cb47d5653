"""Images that are read in bands make the stacks that they make when they are decoded whole."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.images import source
from patchcli.jobs.extract import extract_one
from patchcli.jobs.extract_plan import plan_one
from patchcli.jobs.settings import ExtractSettings, Reading
from patchcli.jobs.task import Companion, ExtractTask
from patchcli.patches.select import Choice
from tests.helpers.bands import banded
from tests.helpers.runs import gray, write_image
from tests.helpers.strategies import grids, pad_modes

if TYPE_CHECKING:
    from patchcli.geometry.grid import Grid

MOST = 1 << 20


def no_tick(_now: int, _total: int) -> None:
    """Nobody looks."""


def in_bands(patched: pytest.MonkeyPatch, lines: int, **options: Any) -> None:
    """From here on, images are read in bands, and bound by the limit only where all of one is needed."""
    opened = source.open_image

    def open_banded(file: Any, *, max_pixels: int, **others: Any) -> source.ImageSource:
        image = banded(opened(file, max_pixels=0, **others), lines, **options)
        image.check_whole = lambda: source.check_size((image.shape[0], image.shape[1]), 1, max_pixels)
        return image

    patched.setattr(source, "open_image", open_banded)


def made(task: ExtractTask, chosen: ExtractSettings) -> dict[str, bytes] | str:
    """What a run writes, or why it does not."""
    folder = Path(task.target).parent
    try:
        extract_one(task, chosen, no_tick)
    except PatchcliError as error:
        return str(error)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


@settings(max_examples=200)
@given(
    grid=grids(largest=10),
    pad_mode=pad_modes,
    layout=st.sampled_from(["stack", "rows", "columns"]),
    choice=st.builds(
        Choice,
        st.none() | st.integers(1, 9) | st.just(Fraction(1, 2)),
        st.integers(0, 5),
        st.sampled_from([0, 30.0]),
        st.none(),
        st.sampled_from([None, Fraction(0), Fraction(1, 2), Fraction(1)]),
        st.sampled_from([None, 7, float("nan")]),
    ),
    masked=st.booleans(),
    shards=st.sampled_from([None, 1, 3]),
    channels=st.sampled_from([(), (3,), (4,)]),
    dtype=st.sampled_from(["u1", "f4"]),
    lines=st.integers(1, 12),
    together=st.sampled_from([1, 1 << 21]),
    data=st.data(),
)
def test_bands_make_the_same_bytes(
    grid: Grid, pad_mode: str, layout: str, choice: Choice, *, masked: bool, shards: int | None, channels: tuple[int, ...],
    dtype: str, lines: int, together: int, data: st.DataObject,
) -> None:  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = rng.choice(np.array([7, 7, 9, 200], dtype), (*grid.image, *channels))
    if dtype == "f4":
        pixels[rng.random(grid.image) < 0.3] = np.nan
    chosen = ExtractSettings(
        patch=grid.patch, stride=grid.stride, offset=grid.offset, edge=grid.edge, margin=grid.margin, pad_mode=pad_mode,
        layout=layout, choice=choice, shard_patches=shards, overwrite=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "a.tif", pixels)
        write_image(place / "m.png", rng.integers(0, 2, (*grid.image, *channels)).astype(np.uint8))
        mask, beside = str(place / "m.png"), Companion(str(place / "m.png"), str(place / "m.npz"))
        task = ExtractTask(
            source=str(place / "a.tif"), target=str(place / "a.npz"), companions=(beside,), mask=mask if masked else None
        )
        whole = made(task, chosen)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("patchcli.patches.padded.LINES_BYTES", together)
            in_bands(patched, lines, whole=layout == "columns")
            assert made(task, chosen) == whole


def test_the_limit_holds_for_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", gray(400, 20))
    task = ExtractTask(source=str(tmp_path / "a.png"), target=str(tmp_path / "a.npz"))
    reading = Reading(max_pixels=1000)

    def chosen(**options: Any) -> ExtractSettings:
        return ExtractSettings(patch=(8, 8), stride=(8, 8), reading=reading, **options)

    for call in (plan_one, extract_one):
        with pytest.raises(PatchcliError, match=r"^has 8000 pixels \(width=20 height=400\)"):
            call(task, chosen(), no_tick)
    in_bands(monkeypatch, 4)
    for call in (plan_one, extract_one):
        with pytest.raises(PatchcliError, match=r"^has 8000 pixels \(width=20 height=400\)"):
            call(task, chosen(layout="columns"), no_tick)
        sentence = r"^needs lines of 1440 pixels \(width=120 height=12, of a patch and a band\); allowed are 1000"
        with pytest.raises(PatchcliError, match=sentence):
            call(task, chosen(margin=50), no_tick)
    assert plan_one(task, chosen(), no_tick).planned is not None
    extract_one(task, chosen(margin=20), no_tick)


def test_a_damaged_companion_is_named_wherever_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, gray(40, 20))
    path = str(tmp_path / "b.png")
    task = ExtractTask(
        source=str(tmp_path / "a.png"), target=str(tmp_path / "a.npz"), companions=(Companion(path, f"{path}.npz"),)
    )
    opened, images = source.open_image, []

    def open_damaged(file: Any, **options: Any) -> source.ImageSource:
        image = banded(opened(file, **options), 8)
        images.append(image)

        def damaged(_rows: Any, _columns: Any) -> Any:
            raise PatchcliError("is damaged")

        if len(images) % 2 == 0:
            image.window = damaged
        return image

    monkeypatch.setattr(source, "open_image", open_damaged)
    chosen = ExtractSettings(patch=(8, 8), stride=(8, 8), overwrite=True)
    with pytest.raises(PatchcliError, match=f"^its companion {path} is damaged$"):
        extract_one(task, chosen, no_tick)
    with pytest.raises(PatchcliError, match=f"^its mask {path} is damaged$"):
        extract_one(ExtractTask(source=task.source, target=task.target, mask=path), chosen, no_tick)


@pytest.mark.parametrize(("said", "kept"), [("-9999", 6), ("-9999 ", 6), ("nan", 8), ("none", 8), (None, 8)])
def test_what_the_file_calls_nodata_counts(said: str | None, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(16 * 32, dtype=np.float32).reshape(16, 32)
    pixels[:, :8] = -9999
    write_image(tmp_path / "a.tif", pixels)
    task = ExtractTask(source=str(tmp_path / "a.tif"), target=str(tmp_path / "a.npz"))
    in_bands(monkeypatch, 4, nodata=said)

    def count(nodata: float | None) -> int:
        choice = Choice(min_valid=Fraction(1, 2), nodata=nodata)
        extract_one(task, ExtractSettings(patch=(8, 8), stride=(8, 8), overwrite=True, choice=choice), no_tick)
        return len(np.load(tmp_path / "a.npz")["origins"])

    assert count(None) == kept
    assert count(5) == 8  # what is given counts instead
