"""Imports point down: this table, with one row a folder, is the map of the program."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import patchcli

PACKAGE = Path(patchcli.__file__).parent
ROOT = {"errors", "arrays", "npy_header", "strided", "threads", "version"}
MAY_IMPORT: dict[str, set[str]] = {  # beside modules of the same folder, and those of the root, which are for all
    "geometry": set(),
    "pictures": {"geometry"},
    "patches": {"geometry"},
    "cropping": {"geometry"},
    "functions": set(),
    "storage": set(),
    "images": set(),
    "stacks": {"geometry", "patches", "storage", "images"},
    "jobs": {"geometry", "patches", "cropping", "storage", "images", "stacks", "pictures"},
    "batch": {"storage", "images", "stacks", "jobs"},
    "cli": {"geometry", "patches", "cropping", "storage", "images", "stacks", "jobs", "batch"},
    "": {
        "geometry",
        "patches",
        "cropping",
        "images",
        "stacks",
        "jobs",
        "cli",
    },  # the public calls, and the way into the command line
}
OUTSIDE = {
    "click": {"cli"},
    "tqdm": {"batch.progress"},
    "imageio": {"images.pillow"},
    "PIL": {"images.codec", "images.pillow", "pictures.canvas"},
    "tifffile": {
        "images.tiff",
        "images.tiff_pages",
        "images.tiff_segments",
        "images.tiff_tags",
        "images.tiff_truncated",
        "images.tiff_write",
    },
    "imagecodecs": {"images.jpeg", "images.png", "images.tiff_truncated", "images.tiff_write", "stacks.crc"},
    "netpbmfile": {"images.netpbm"},
    "zipfile": {"stacks.npz"},
    "fsspec": {"storage.remote", "storage.s3"},
    "aiohttp": {"storage.remote"},
    "tenacity": {"storage.remote_errors"},
    "tempfile": {"storage.local", "storage.atomic"},
    "multiprocessing": {"batch.processes"},
    "distributed": {"batch.dask"},
}


SAME = {  # what several modules have each of its own kind
    *("plan_one", "recipes", "planned", "estimate"),  # of each command
    *("open_file", "open_head", "exists", "identity", "is_special", "stamp", "names", "check_name", "delete"),  # of each store
    *("extract", "merge", "crop", "preview", "main"),  # the command and the public call
    "open_image",  # of an open file, and the public call that takes names, too
    *("Item", "Result"),  # types that vary
}


def modules() -> dict[str, Path]:
    """Every module below the package by its dotted name; a folder's own by the folder's."""
    paths = {path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip(".") if name != "__main__" else name: path for name, path in paths.items()}


def folder(name: str) -> str:
    """Where a module lies; of those of the root, what they share is ``ROOT``, the rest the empty name."""
    first = name.partition(".")[0]
    return "ROOT" if first in ROOT else first if first in MAY_IMPORT else ""


def imported(path: Path) -> set[str]:
    """Dotted names of the modules that one imports, wherever in it; those of the package without its name."""
    names: set[str] = set()
    own = modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name.removeprefix("patchcli.") in own else str(node.module) for name in inner}
    return names


def within() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports."""
    return {
        name: {found.removeprefix("patchcli").lstrip(".") for found in imported(path) if found.split(".")[0] == "patchcli"}
        for name, path in modules().items()
    }


def test_imports_point_down() -> None:
    used: dict[str, set[str]] = {name: set() for name in MAY_IMPORT}
    for name, own in within().items():
        here = folder(name)
        others = {folder(found) for found in own} - {here, "ROOT"}
        if here == "ROOT":
            assert not others, f"{name} imports {own}"
            continue
        assert others <= MAY_IMPORT[here], f"{name} imports {own}"
        used[here] |= others
    assert used == MAY_IMPORT  # what is allowed and nobody uses is taken out


def test_no_module_imports_itself_over_others() -> None:
    graph = within()
    graph[""] = set()  # its names are imported when they are first used
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()  # raises where there is a circle


def test_a_name_means_one_thing() -> None:
    meanings: dict[str, set[str]] = {}
    for name, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            named = {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
            named |= {inner.id for one in targets if one for inner in ast.walk(one) if isinstance(inner, ast.Name)}
            for found in named:
                meanings.setdefault(found, set()).add(name)
    shared = {found for found, where in meanings.items() if len(where) > 1 and found[0] != "_" and found not in SAME}
    assert shared == set()


def test_libraries_stay_in_their_module() -> None:
    for name, path in modules().items():
        for found in imported(path):
            library = found.split(".")[0]
            allowed = OUTSIDE.get(library)
            assert allowed is None or {name, folder(name)} & allowed, f"{name} imports {library}"


def test_python_use_needs_neither_click_nor_an_image_library() -> None:
    program = (
        "import sys, numpy as np, patchcli\n"
        "assert patchcli.open_image and patchcli.ImageFile\n"
        "grid = patchcli.Grid((8, 8), 3, 1)\n"
        "patches, origins = patchcli.extract(np.eye(8), grid)\n"
        "patchcli.merge(patches, grid, origins=origins); patchcli.crop(np.eye(8), (-1, -1, 1, 1), 4)\n"
        "print(sorted(set(sys.modules) & {'click', 'imageio', 'PIL', 'tifffile', 'imagecodecs', 'tqdm'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_imports_no_numpy() -> None:
    program = (
        "import sys\nfrom patchcli.cli import main\ncode = main.run(['--help'])\n"
        "assert code == 0\nassert not {'numpy', 'patchcli.cli.options'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_public_names_exist() -> None:
    for name in patchcli.__all__:
        assert getattr(patchcli, name) is not None
