"""Build the wheel and the sdist into ``dist/``, install each into an empty environment and try it there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
SAMPLE = ROOT / "sample_images" / "scene.png"
IN_WHEEL = ("patchcli/py.typed", "patchcli/__main__.py")
IN_SDIST = (
    *("patchcli/py.typed", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "pyproject.toml"),
    *(
        "docs/architecture.md",
        "docs/figures/seam.png",
        "tests/test_layers.py",
        "tests/golden",
        "tools/try_dist.py",
        "examples/denoise.py",
    ),
    *("sample_images/scene.png", "benchmarks/__main__.py", ".ci/run", ".pre-commit-config.yaml"),
)
SAME = (
    "import imageio.v3 as images, patchcli, sys\n"
    f"assert 'patchcli' in patchcli.__file__ and not patchcli.__file__.startswith({str(ROOT)!r}), patchcli.__file__\n"
    "assert (images.imread(sys.argv[1]) == images.imread(sys.argv[2])).all()\n"
)


def build() -> tuple[Path, Path]:
    """The wheel and the sdist, both from this folder, alone in ``dist/``."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--sdist", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL
    )
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel: Path, sdist: Path) -> None:
    """Refuse a wheel or an sdist in which a file is missing, or a wheel with more than the package."""
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert set(IN_WHEEL) <= set(names), f"{wheel.name} lacks {set(IN_WHEEL) - set(names)}"
    tops = {name.partition("/")[0] for name in names}
    assert all(top.startswith("patchcli") for top in tops), f"{wheel.name} holds {tops}"
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    lacking = [name for name in IN_SDIST if not any(one == name or one.startswith(f"{name}/") for one in held)]
    assert not lacking, f"{sdist.name} lacks {lacking}"


def try_out(package: Path) -> None:
    """Install a package with what it needs into an empty environment; extract and merge a picture with its command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PATCHCLI_"))}
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments: object) -> str:
            call = [str(argument) for argument in arguments]
            return subprocess.run(call, check=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True).stdout

        own = Path(folder, "env", "bin")
        run(sys.executable, "-m", "venv", own.parent)
        run(own / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", package)
        said = run(own / "patchcli", "--version")
        run(own / "patchcli", "extract", SAMPLE, "-s", 16, "--overlap", "50%", "-o", "scene.npz")
        run(own / "patchcli", "merge", "scene.npz", "-o", "back.png")
        run(own / "python", "-c", SAME, SAMPLE, "back.png")
    assert said.split()[1] in package.name, f"{package.name} says {said}"
    print(f"{package.name}: installed and tried, {said.strip()}")


if __name__ == "__main__":
    built = build()
    check_contents(*built)
    for one in built:
        try_out(one)
