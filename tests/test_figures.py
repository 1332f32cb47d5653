"""Every picture on a page is one that ``make figures`` draws, and shows what the program draws today."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.runs import read_image
from tools.make_figures import FIGURES, LINES, TOOLS, draw, prepare

ROOT = Path(__file__).parent.parent
PICTURE = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)")
UNLIKE = 6  # mean difference of 255 up to which another version of a font explains it


def test_pictures_on_pages_are_those_that_are_drawn() -> None:
    shown = {
        (page.parent / name).resolve(): said
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for said, name in PICTURE.findall(page.read_text())
    }
    drawn = {FIGURES / f"{name}.png" for name in (*LINES, *TOOLS)}
    assert set(shown) == drawn == set(FIGURES.iterdir())
    assert all(len(said) > 8 for said in shown.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_a_picture_is_what_the_program_draws(name: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    made, kept = read_image(draw(name, tmp_path)), read_image(FIGURES / f"{name}.png")
    assert made.shape == kept.shape
    assert np.abs(made.astype(float) - kept).mean() < UNLIKE
