"""Real processes, sample images, small inputs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcli.images import sink, source


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mixed(folder: Path) -> list[str]:
    """Good inputs of several sizes among bad ones."""
    folder.mkdir()
    for number in range(30):
        path = folder / f"{number:02}.png"
        if number % 7 == 3:
            path.write_bytes(path.name.encode())
        else:
            write_image(path, gray(10 + 7 * (number % 5), 40, seed=number))
    return sorted(str(path) for path in folder.iterdir())


SAMPLES = Path(__file__).parent.parent.parent / "sample_images"
# the exit code of a command, and the most kilobytes that it had resident
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
Run = Callable[..., subprocess.CompletedProcess[bytes]]


def read_image(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        return source.open_image(file).pixels()


def write_image(path: Path, image: NDArray[Any]) -> Path:
    with path.open("wb") as file:
        sink.write(file, image, sink.format_of(path.name))
    return path


def gray(height: int = 20, width: int = 30, dtype: str = "u1", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(dtype)


def children(parent: int) -> list[int]:
    """Processes whose parent is ``parent``, but for the one that multiprocessing keeps to tidy up."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            command = status.with_name("cmdline").read_bytes()
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent and b"resource_tracker" not in command:
                found.append(int(status.parent.name))
    return found


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
