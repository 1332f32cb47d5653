"""``docs/map.md``: every line of it is run, and what goes wrong is said as it tells."""

from __future__ import annotations

import importlib.util
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import patchcli as library
from tests.helpers.pages import blocks_of, followed, page
from tests.helpers.runs import SAMPLES, Run, read_image, tree, write_image
from tests.helpers.shells import ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

FILE = ROOT / "examples" / "functions.py"
WRONG = """
import os

import numpy as np


def fewer(patches):
    return patches[1:]


def forgetful(patches):
    patches.mean()


def ragged(patches):
    return [patch[: index + 1] for index, patch in enumerate(patches)]


def changing(patches, origins):
    return patches.astype(np.uint8 if origins[0, 0] else np.uint16)


def in_place(patches):
    patches[:] = 0
    return patches


def dark(patches):
    return np.full(patches.shape, np.nan)


def ending(patches, origins):
    if origins[-1, 0] > 200:
        os._exit(7)
    return patches
"""
FUNCTIONS = "examples/functions.py:"
FAULTS: dict[str, tuple[object, ...]] = {  # options of the call that is refused
    "write package.module:function or file.py:function": ("--func", "examples/functions.py"),
    "No module named 'functions'": ("--func", "functions:denoise"),
    "no function of that name; it has denoise, network, median": ("--func", f"{FUNCTIONS}sharpen"),
    "needs row, column; add --arg row=VALUE": ("--func", f"{FUNCTIONS}shading"),
    "has no keyword of that name; it has sigma, threshold": ("--func", f"{FUNCTIONS}denoise", "--arg", "noise=25"),
    "takes repeat or linear": ("--func", f"{FUNCTIONS}enlarge", "--arg", "how=cubic"),
    "raised AxisError": ("--func", f"{FUNCTIONS}network", "--color", "gray"),
    "returned NoneType, not an array; is a return missing?": ("--func", "wrong.py:forgetful"),
    "of which numpy makes no array": ("--func", "wrong.py:ragged"),
    "returned an array of shape": ("--func", "wrong.py:fewer"),
    "return equal ones each time": ("--func", "wrong.py:changing", "--batch", 7),
    "assignment destination is read-only": ("--func", "wrong.py:in_place"),
    "or --halo 8 if they lost 8 pixels on each side": ("--func", f"{FUNCTIONS}network"),
    "covered by no patch; cut with --margin 8": ("--func", f"{FUNCTIONS}network", "--halo", 8),
    "would be NaN or infinite": ("--func", "wrong.py:dark"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("sample_images", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "wrong.py").write_text(WRONG)
    return tmp_path


@pytest.fixture(scope="module")
def functions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("functions_of_the_page", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def off(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Root mean square of a difference."""
    return float(np.sqrt(np.mean((first.astype(float) - second) ** 2)))


def test_the_page_shows_the_functions() -> None:
    shown, _ = blocks_of("map.md", "python")
    assert shown == FILE.read_text()


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path, functions: ModuleType) -> None:
    with followed("map.md", tmp_path):
        check_what_the_page_made(tmp_path, functions)


def check_what_the_page_made(folder: Path, functions: ModuleType) -> None:
    scene, noisy = read_image(SAMPLES / "scene.png"), read_image(SAMPLES / "noisy.png")
    assert off(read_image(folder / "clean.png"), scene) < off(read_image(folder / "quick.png"), scene) < off(noisy, scene) / 2
    assert (folder / "by-two.png").read_bytes() == (folder / "clean.png").read_bytes()
    assert not (folder / "planned.png").exists()
    assert np.array_equal(read_image(folder / "same.png"), scene)
    assert {name for name in tree(folder / "clean") if name.endswith(".png")} == {
        "sample_images/noisy.png",
        "sample_images/scene.png",
    }
    scores, large, classes = (
        np.load(folder / "scores.npy"),
        read_image(folder / "large.png"),
        read_image(folder / "classes.png"),
    )
    whole = functions.network(np.pad(scene, ((8, 8), (8, 8), (0, 0)), mode="reflect")[None])[0]
    np.testing.assert_allclose(scores, np.moveaxis(whole, 0, -1), atol=1e-5)  # no seam, and no border that is missing
    median = np.median(
        np.lib.stride_tricks.sliding_window_view(np.pad(noisy, ((1, 1), (1, 1), (0, 0)), "reflect"), (3, 3), (0, 1)), (3, 4)
    )
    assert np.array_equal(read_image(folder / "median.png"), median)
    assert large.shape == (600, 800, 3)
    assert off(large.reshape(300, 2, 400, 2, 3).mean((1, 3)), scene) < 4
    inside = functions.enlarge(scene[None])[0][16:-16, 16:-16]
    np.testing.assert_allclose(large[16:-16, 16:-16], inside, atol=0.51)
    assert set(np.unique(classes)) == {0, 1}
    assert ((classes == 1) == (read_image(SAMPLES / "cells_mask.png") > 0)).mean() > 0.5
    brighter = read_image(folder / "flat.png") >= scene
    assert brighter.all()
    assert len(tree(folder / "night")) == len([path for path in SAMPLES.iterdir() if path.is_file()])


def test_shading_of_a_lens_goes(functions: ModuleType) -> None:
    rows, columns = np.mgrid[:90, :120]
    flat = np.full((90, 120, 3), 100.0)
    shaded = flat / (1 + 0.25 * ((rows - 30) ** 2 + (columns - 50) ** 2)[..., None] / 1e6)
    grid = library.Grid((90, 120), 16, 8)
    made = library.map_patches(
        shaded, grid, lambda patches, origins: functions.shading(patches, origins, row=30, column=50, fall=0.2)
    )
    np.testing.assert_allclose(made, flat, rtol=1e-9)


def test_all_that_goes_wrong_is_tried() -> None:
    table = page("map.md").partition("## What goes wrong")[2].partition("## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == list(FAULTS)


@pytest.mark.parametrize("sentence", FAULTS)
def test_what_goes_wrong_is_said(sentence: str, patchcli: Run, folder: Path) -> None:
    before = tree(folder)
    ran = patchcli("map", "sample_images/scene.png", "-s", 64, *FAULTS[sentence], "-o", "b.png")
    assert ran.returncode == (2 if list(FAULTS).index(sentence) < 6 else 1)
    assert sentence in ran.stderr.decode()
    assert {name: data for name, data in tree(folder).items() if "__pycache__" not in name} == before


def test_a_function_that_ends_its_process_ends_its_image(patchcli: Run, folder: Path) -> None:
    write_image(folder / "small.png", np.zeros((60, 60), np.uint8))
    call = ["map", "small.png", "sample_images/scene.png", "-s", 30, "--func", "wrong.py:ending", "-d", "out"]
    assert patchcli(*call).returncode == 7
    ran = patchcli(*call, "-j", 2, "--overwrite")
    assert (ran.returncode, b"scene.png" in ran.stderr) == (1, True)
    assert [name for name in tree(folder / "out") if name.endswith(".png")] == ["small.png"]
    ran = patchcli("map", "sample_images/scene.png", "-s", 30, "--func", "wrong.py:ending", "-o", "one.png", "-j", 2)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 1)
