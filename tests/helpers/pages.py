"""The pages of ``docs/``, and what is run of them."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.shells import ROOT, environment, run
from tools import pages

PORT = "8786"  # of a Dask scheduler on a page, in place of which one is taken that is free
PAGES = ["../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", *sorted(path.name for path in (ROOT / "docs").glob("*.md"))]
# lines that make what a page takes for granted, from sample images
BEFORE = {
    "batch.md": """
        cp sample_images/scene.png photo.png
        mkdir photos
        cp sample_images/cells.png photos/a.png
        cp sample_images/scene.png photos/b.png
        cp sample_images/leaf.png photos/c.png
        touch photos/empty.png
        echo 'not an image' > photos/notes.png
        python - <<'END'
        import numpy, tifffile
        tifffile.imwrite("photos/pages.tif", numpy.zeros((2, 96, 96), "u1"), photometric="minisblack")
        END
        """,
    "cluster.md": """
        mkdir photos
        for name in a b c; do cp sample_images/scene.png photos/$name.png; done
        """,
    "cron.md": "mkdir photos; cp sample_images/cells.png photos/a.png; cp sample_images/leaf.png photos/b.png\n",
    "crop.md": """
        mkdir -p photos/more images/more labels/more
        for name in photos/a photos/more/b images/a images/more/b; do cp sample_images/scene.png $name.png; done
        echo 3 0.270833 0.562500 0.333333 0.500000 | tee labels/a.txt > labels/more/b.txt
        printf '{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "more/b.png"}], "annotations": [%s, %s],
          "categories": [{"id": 3, "name": "cell"}]}' \
          '{"id": 1, "image_id": 1, "category_id": 3, "bbox": [20, 30, 50, 40]}' \
          '{"id": 2, "image_id": 2, "category_id": 3, "bbox": [40, 30, 50, 40]}' > instances.json
        """,
    "formats.md": """
        cp sample_images/cells_mask.png mask.png
        patchcli crop sample_images/scene.png --size 800x600 --resampling bilinear -o large.tif
        patchcli extract sample_images/terrain.tif -s 32 -o map.npz
        """,
    "info.md": """
        python - <<'END'
        import numpy, tifffile
        keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
        place = [(33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4200000.0, 0.0), True)]
        tags = [*place, (34735, "H", 16, keys, True), (42113, "s", 6, "-9999", True)]
        tifffile.imwrite("elevation.tif", numpy.zeros((96, 128), "f4"), extratags=tags, photometric="minisblack", rowsperstrip=16)
        END
        patchcli extract sample_images/scene.png -s 16 --stride 8 -o scene.npz
        """,
    "patches.md": """
        cp sample_images/cells.png photo.png
        cp sample_images/cells_mask.png mask.png
        patchcli extract mask.png -s 32 --stride 16 --color indices -o mask.npz
        python - <<'END'
        import numpy as np
        import imageio.v3 as iio
        classes = np.load("mask.npz")["patches"]
        np.save("classes.npy", classes)
        iio.imwrite("noisy.png", iio.imread("photo.png") // 2)
        np.save("scores.npy", classes / 2)
        END
        cat > network.py <<'END'
        import sys
        import numpy as np
        stack = np.load(sys.argv[1])
        np.savez(sys.argv[2], **{**stack, "patches": stack["patches"][:, 8:-8, 8:-8]})
        END
        cp sample_images/../examples/denoise.py .
        """,
    "seams.md": """
        cat > your_method.py <<'END'
        import sys
        import numpy as np
        def method(patches):
            return patches // 2
        if __name__ == "__main__":
            stack = np.load(sys.argv[1])
            np.savez(sys.argv[2], **{**stack, "patches": method(stack["patches"])})
        END
        """,
    "stack.md": "patchcli extract sample_images/cells.png -s 32 -o a.npz\n",
    "tiles.md": """
        patchcli crop sample_images/scene.png --box 305x150+0+0 -o poster.png
        patchcli crop poster.png --box 305x150+0+0 -o poster.tif
        patchcli crop poster.png --box 305x150+0+0 -o poster.ppm
        patchcli crop poster.png --box 305x150+0+0 --channel 0 -o depth.png
        """,
}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def blocks_of(name: str, language: str, beginning: str = "") -> list[str]:
    """The blocks of a page in a language, those alone that begin as a regular expression says."""
    found = pages.blocks_in(page(name))
    return [block.text for block in found if block.language == language and re.match(beginning, block.text)]


def prepare(name: str, folder: Path) -> dict[str, str]:
    """Put into ``folder`` what a page of ``docs/``, or ``../README.md``, finds: a clone in which `make demo` installs nothing."""
    for part in ("sample_images", "examples"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / part, folder / part)
    variables = environment(folder)
    variables["PATH"] += f":{Path(sys.executable).parent}"  # where packages of Python put their programs
    variables["PIP_NO_INDEX"] = "1"  # no page installs anything here
    variables["PYTHONPATH"] = str(ROOT)  # for those programs, too
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to("../.bin")
    (folder / ".venv/demo.stamp").touch()
    if name in BEFORE:
        ran = run("bash", f"set -e\n{textwrap.dedent(BEFORE[name])}", folder)
        assert (ran.returncode, ran.stderr) == (0, b"")
    return variables


@contextmanager
def followed(name: str, folder: Path) -> Iterator[None]:
    """Run a page in ``folder``, then what looks at what it made; skip at the end where parts of it had to be left out."""
    text = page(name).replace(PORT, str(free_port()))
    left_out = pages.follow(text, folder, prepare(name, folder))
    yield
    if left_out:
        pytest.skip(f"followed but for what needs {', '.join(left_out)}, which is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
