"""Damaged files: a tenth of what `make torture` runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tools.damage import bases, mutant
from tools.torture import COUNTS, torture

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.slow
def test_each_damaged_file_is_refused_in_one_line_or_read_right(tmp_path: Path) -> None:
    tenth = {kind: count if kind == "undamaged" else count // 10 for kind, count in COUNTS.items()}
    assert [f"{one.kind}: {one.mutant.name}: {one.message}" for one in torture(tenth, 2, tmp_path / "kept")] == []


def test_mutants_are_always_the_same() -> None:
    assert len(bases()) == COUNTS["undamaged"]
    for kind in COUNTS:
        some = [mutant(kind, number) for number in range(39)]
        assert some == [mutant(kind, number) for number in range(39)]
        assert any(one.data != bases()[one.base].data for one in some) == (kind != "undamaged")
