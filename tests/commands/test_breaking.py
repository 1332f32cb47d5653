"""Runs that are killed, or whose call fails, at a few calls of each kind; `make torture` breaks them at all."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.helpers import breaking
from tests.helpers.scenes import SCENES, Scene, failures, kills

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(breaking.missing() is not None, reason=str(breaking.missing()))]


@pytest.mark.parametrize(("over", "name"), list(zip(itertools.cycle([False, True]), SCENES)))
def test_a_run_that_is_killed_leaves_nothing_torn_and_can_be_done_again(tmp_path: Path, name: str, *, over: bool) -> None:
    scene = Scene(tmp_path / "scene", name, over=over)
    found = {point: scene.killed(point) for point in kills(scene, every=False)}
    assert sum(wrong is not None for wrong in found.values()) > 5
    assert [f"{point}: {wrong}" for point, wrong in found.items() if wrong] == []


@pytest.mark.parametrize("name", SCENES)
def test_a_call_that_fails_is_told_in_a_line_and_tears_nothing(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path / "scene", name, over=True)
    found = {point: scene.failed(point) for point in failures(scene, every=False)}
    assert sum(wrong is not None for wrong in found.values()) > 9
    assert [f"{point}: {wrong}" for point, wrong in found.items() if wrong] == []
