"""``docs/exec.md``: its programs are compiled and run, and what goes wrong is said as it tells."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchcli.errors import PatchcliError
from patchcli.jobs import map_child
from patchcli.jobs.map_child import Child
from tests.helpers.breaking import compiler
from tests.helpers.pages import blocks_of, followed, page
from tests.helpers.runs import SAMPLES, read_image
from tests.helpers.shells import ROOT, needs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCHES = [
    np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8) for shape in ((32, 64, 64, 3), (300, 39, 39), (1, 2, 3))
]
PYTHON = shlex.quote(sys.executable)
FAULTS = {  # commands that are sent a batch of 4 and another, and say so
    "names no program that can be run": "./no-such-program",
    "ended with exit status 1 after 0 batches": "false",
    "and 17 bytes of the next record": "head -c 17",
    "sent no .npy record but b'hello": "echo hello",
    "gave 3 patches for 4": "sed -u 's/(4,/(3,/'",
    "does not describe a plain array of real numbers": "sed -u s/u1/c8/",
    "sent more than 1 record": "sh -c 'tee /dev/stderr 2>&1'",
    "bytes behind its last record": "sh -c 'cat; echo more'",
    "did not end within 10 s": "sh -c 'cat; sleep 60'",
}


def inverts(command: str) -> None:
    """Check that a command answers batches by their negatives, and no others than of 8 bits."""
    said: list[str] = []
    with Child(command, said.append) as child:
        for batch in BATCHES:
            assert np.array_equal(child(batch), 255 - batch)
    with pytest.raises(PatchcliError, match="ended with exit status 1 after 0 batches"), Child(command, said.append) as child:
        child(BATCHES[1].astype(np.uint16))
    assert any("8-bit patches are needed" in line for line in said)


def built(folder: Path) -> Path:
    """The program in C."""
    made = folder / "exec_invert"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*(compiler() or []), "-O2", *warnings, "-o", made, ROOT / "examples/exec_invert.c"], check=True)
    return made


@pytest.mark.parametrize(("language", "name"), [("c", "exec_invert.c"), ("python", "exec_denoise.py")])
def test_the_page_shows_the_programs(language: str, name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    assert blocks_of("exec.md", language) == [text]
    assert len(text.splitlines()) <= 26


@pytest.mark.skipif(compiler() is None, reason="no C compiler: neither cc nor the package ziglang is installed")
def test_the_program_in_c(tmp_path: Path) -> None:
    inverts(str(built(tmp_path)))


def test_the_program_in_python() -> None:
    clean = np.add.outer(np.arange(40.0), np.zeros((8, 8)))
    noisy = (clean + np.random.default_rng(1).normal(0, 5, clean.shape)).astype(np.float32)
    with Child(f"{PYTHON} {ROOT / 'examples/exec_denoise.py'} 5", print) as child:
        for batch in (noisy, noisy[:3], (noisy[:5] + 50).astype(np.uint8)[..., None]):
            got = child(batch)
            assert got.dtype == np.float32
            assert np.abs(got - batch.mean((1, 2), keepdims=True)).mean() < 0.3  # nearly nothing of the noise is left
        assert np.allclose(child(1000 * noisy[:, ::-1]), 1000 * noisy[:, ::-1], rtol=0.1)  # what is large is kept


@pytest.mark.slow
@needs("Rscript")
def test_the_program_in_r(tmp_path: Path) -> None:
    (tmp_path / "invert.R").write_text(*blocks_of("exec.md", "r"))
    inverts(f"Rscript {tmp_path / 'invert.R'}")


@pytest.mark.slow
@needs("julia")
def test_the_program_in_julia(tmp_path: Path) -> None:
    (tmp_path / "invert.jl").write_text(*blocks_of("exec.md", "julia"))
    inverts(f"julia {tmp_path / 'invert.jl'}")


@pytest.mark.skipif(shutil.which("cc") is None, reason="not installed: cc")
def test_every_line_of_ours_runs(tmp_path: Path) -> None:
    with followed("exec.md", tmp_path):
        scene, noisy = read_image(SAMPLES / "scene.png"), read_image(SAMPLES / "noisy.png")
        assert np.array_equal(read_image(tmp_path / "inverted.png"), 255 - scene)
        assert np.array_equal(read_image(tmp_path / "same.png"), scene)
        denoised = read_image(tmp_path / "denoised.png")
        assert denoised.shape == noisy.shape
        assert roughness(denoised) < roughness(noisy) / 2


def roughness(image: NDArray[np.uint8]) -> float:
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


def test_all_that_goes_wrong_is_tried() -> None:
    table = page("exec.md").partition("## What goes wrong")[2].partition("## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == list(FAULTS)


@pytest.mark.parametrize("sentence", FAULTS)
def test_what_goes_wrong_is_said(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "10 s" in sentence:
        monkeypatch.setattr(map_child, "LEAVING_SECONDS", 0.3)
    batch = np.full((4, 2, 3), 65, np.uint8)
    expected = re.escape(sentence.replace("10 s", "0.3 s"))
    with pytest.raises(PatchcliError, match=expected), Child(FAULTS[sentence], print) as child:
        child(batch)
        if "more" in sentence:
            child._selector.select(20)  # noqa: SLF001  until it is there
            child(batch)
