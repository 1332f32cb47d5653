"""What command tests share: real processes, sample images, a hypothesis profile without timing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.helpers.loopback import Loopback, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.runs import Run

hypothesis.settings.register_profile("patchcli", deadline=None, max_examples=150)
hypothesis.settings.load_profile("patchcli")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PATCHCLI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def patchcli(tmp_path: Path) -> Run:
    """Run ``python -m patchcli`` in ``tmp_path``; standard input is empty unless given."""

    def run(*arguments: object, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "patchcli", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, check=False, timeout=120, **options)

    return run


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    (tmp_path / "dask").mkdir()
    started = Loopback(tmp_path / "dask")
    yield started
    started.close()


@pytest.fixture
def cluster(loopback: Loopback) -> Loopback:
    loopback.add_workers(2)
    wait_for(loopback, 2)
    return loopback
