"""What command tests share: real processes, sample images, a hypothesis profile without timing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import images

hypothesis.settings.register_profile("patchcli", deadline=None, max_examples=150)
hypothesis.settings.load_profile("patchcli")

SAMPLES = Path(__file__).parent.parent / "sample_images"
Run = Callable[..., subprocess.CompletedProcess[bytes]]


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


def read_image(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        return images.read(file)[0]


def write_image(path: Path, image: NDArray[Any]) -> Path:
    with path.open("wb") as file:
        images.write(file, image, images.format_of(path.name))
    return path


def gray(height: int = 20, width: int = 30, dtype: str = "u1", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(dtype)


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """What is done inside makes, changes and removes nothing in a folder."""

    def held() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}

    before = held()
    yield
    assert held() == before


def refused(ran: subprocess.CompletedProcess[bytes], sentence: str, code: int = 2) -> None:
    """A call ended in one line that says so."""
    assert ran.returncode == code
    assert ran.stderr.count(b"\n") == 1
    assert sentence in ran.stderr.decode()
