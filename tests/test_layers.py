"""Imports point down: this table is the map of the program."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import patchcli

PACKAGE = Path(patchcli.__file__).parent
KERNELS = {"errors", "dtypes", "axis", "grid"}
COMMAND = {"environment", "errors", "jobs", "options", "parameters", "placing", "running", "work"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "dtypes": {"errors"},
    "axis": {"errors"},
    "arrays": {"dtypes", "errors"},
    "grid": {"errors", "axis"},
    "parallel": set(),
    "items": set(),
    "patches": KERNELS | {"arrays", "items", "parallel"},
    "select": KERNELS | {"arrays", "items", "patches"},
    "templates": {"errors", "places"},
    "combine": {"dtypes"},
    "down": {"combine", "items"},
    "across": {"combine", "items"},
    "fold": KERNELS | {"across", "combine", "down", "items", "windows"},
    "layouts": KERNELS | {"items"},
    "cover": {"errors", "axis", "grid"},
    "divide": KERNELS | {"cover", "patches"},
    "windows": {"dtypes", "errors"},
    "rules": KERNELS | {"combine", "cover", "divide", "fold", "windows"},
    "folds": KERNELS | {"parallel", "patches", "layouts", "fold", "cover", "divide", "rules"},
    "ranks": KERNELS | {"items", "cover", "divide", "folds"},
    "merging": KERNELS | {"parallel", "patches", "divide", "folds", "ranks", "rules", "windows"},
    "box": KERNELS,
    "spans": KERNELS | {"box"},
    "taps": KERNELS | {"spans"},
    "bands": set(),
    "gathers": KERNELS | {"items", "parallel", "taps"},
    "resample": KERNELS | {"bands", "gathers", "taps"},
    "plan": KERNELS | {"arrays", "box", "spans", "taps"},
    "alpha": KERNELS | {"taps"},
    "cropping": KERNELS | {"alpha", "plan", "resample", "spans", "taps"},
    "gradient": KERNELS | {"arrays", "bands", "box", "plan", "taps"},
    "search": KERNELS | {"box", "cropping"},
    "descent": KERNELS | {"box", "cropping", "gradient", "plan"},
    "fit": KERNELS | {"arrays", "box", "descent", "gradient", "plan", "search", "taps"},
    "places": set(),
    "shards": set(),
    "leftovers": {"files", "places", "shards"},
    "behind": {"errors", "outputs", "parallel"},
    "unfinished": {"leftovers"},
    "faults": set(),
    "web": set(),
    "again": {"faults"},
    "s3": {"again", "faults"},
    "remote": {"again", "errors", "faults", "places", "s3", "web"},
    "files": {"errors", "places", "remote"},
    "outputs": {"parallel", "errors", "files", "places", "remote", "unfinished"},
    "folders": {"errors", "files", "places", "remote", "shards"},
    "npz": {"errors"},
    "npzwriter": set(),
    "record": set(),
    "metadata": set(),
    "meta": KERNELS | {"patches", "layouts", "metadata", "record"},
    "stack": KERNELS | {"layouts", "parallel", "patches", "files", "npz", "npzwriter", "outputs", "meta"},
    "payload": KERNELS | {"layouts", "npz", "parallel", "stack", "meta"},
    "notes": set(),
    "codec": {"errors", "metadata"},
    "pillow": {"codec", "errors", "metadata", "notes"},
    "png": {"codec", "errors", "metadata", "notes", "pillow"},
    "jpeg": {"codec", "errors", "pillow"},
    "tiff": {"codec", "errors", "jpeg", "metadata"},
    "netpbm": {"codec", "errors", "metadata", "notes"},
    "formats": {"codec", "errors", "jpeg", "metadata", "netpbm", "notes", "pillow", "png", "tiff"},
    "images": {"axis", "codec", "dtypes", "errors", "formats", "metadata"},
    "jobs": {"metadata", "axis", "box", "errors", "grid", "files", "images", "meta", "places", "record"},
    "jobs.extract": KERNELS
    | {"folders", "record", "shards", "items", "layouts", "parallel", "patches", "select", "files", "images", "meta", "stack"}
    | {"jobs", "metadata", "outputs"},
    "jobs.merge": KERNELS
    | {
        "npz",
        "patches",
        "divide",
        "folds",
        "payload",
        "places",
        "record",
        "ranks",
        "rules",
        "windows",
        "files",
        "images",
        "outputs",
        "stack",
        "jobs",
    },
    "jobs.crop": {
        "metadata",
        "record",
        "axis",
        "errors",
        "grid",
        "box",
        "cropping",
        "descent",
        "fit",
        "files",
        "images",
        "jobs",
        "outputs",
    },
    "jobs.crops": KERNELS
    | {"box", "cropping", "files", "meta", "metadata", "npzwriter"}
    | {"images", "outputs", "stack", "jobs", "jobs.crop"},
    "jobs.planning": {"files", "images", "jobs", "meta", "metadata", "outputs"},
    "jobs.plan_extract": KERNELS
    | {"files", "images", "jobs", "jobs.extract", "jobs.planning", "meta", "patches", "record", "select", "shards", "stack"},
    "jobs.plan_merge": KERNELS
    | {"cover", "divide", "images", "jobs", "jobs.merge", "jobs.planning", "patches", "payload", "ranks", "rules"},
    "jobs.plan_crop": KERNELS
    | {"box", "fit", "images", "jobs", "jobs.crop", "jobs.crops", "jobs.planning", "plan", "resample", "taps"},
    "report": {"errors", "files", "jobs", "streams"},
    "work": {"behind", "errors", "files", "jobs", "parallel", "places", "unfinished"},
    "pace": set(),
    "endings": set(),
    "pool": {"endings", "errors", "files", "jobs", "leftovers", "places", "unfinished", "work"},
    "cluster": {"", "errors", "jobs", "leftovers", "work"},
    "voice": set(),
    "runner": {"cluster", "errors", "files", "jobs", "pace", "places", "pool", "report", "unfinished", "voice", "work"},
    "options": {"errors", "files", "formats", "images", "jobs", "parameters", "places", "remote", "voice"},
    "environment": {"errors", "files"},
    "completion": {"errors"},
    "inputs": {"errors", "files", "places", "remote"},
    "placing": {"errors", "folders", "files", "inputs", "jobs", "places", "templates"},
    "resume": {
        "errors",
        "folders",
        "files",
        "images",
        "jobs",
        "leftovers",
        "meta",
        "npz",
        "parallel",
        "places",
        "record",
        "shards",
    },
    "memory": {"parallel"},
    "running": {
        "errors",
        "files",
        "inputs",
        "jobs",
        "memory",
        "parallel",
        "places",
        "resume",
        "runner",
        "templates",
        "voice",
        "work",
    },
    "parameters": set(),
    "boxlist": {"axis", "box", "errors", "parameters"},
    "boxes": COMMAND
    | {"jobs.plan_crop", "runner", "boxlist", "files", "formats", "images", "inputs", "templates", "jobs.crop", "jobs.crops"},
    "commands.extract": COMMAND
    | {
        "axis",
        "files",
        "formats",
        "grid",
        "layouts",
        "patches",
        "select",
        "folders",
        "templates",
        "jobs.extract",
        "jobs.plan_extract",
    },
    "commands.merge": COMMAND | {"formats", "images", "ranks", "rules", "templates", "windows", "jobs.merge", "jobs.plan_merge"},
    "commands.crop": COMMAND
    | {"box", "boxes", "files", "formats", "images", "outputs", "places", "spans", "taps", "jobs.crop", "jobs.plan_crop"},
    "commands.completion": {"completion"},
    "commands": set(),
    "streams": set(),
    "cli": {"completion", "endings", "errors", "streams", ""},
    "__main__": {"cli"},
    "": {"cropping", "descent", "errors", "fit", "gradient", "grid", "merging", "meta", "patches", "select", "stack"},
}
OUTSIDE = {
    "click": {
        "cli",
        "commands.completion",
        "commands.crop",
        "commands.extract",
        "commands.merge",
        "completion",
        "environment",
        "options",
        "parameters",
        "placing",
    },
    "tqdm": {"voice"},
    "imageio": {"pillow"},
    "PIL": {"codec", "pillow"},
    "tifffile": {"tiff"},
    "imagecodecs": {"jpeg", "png", "tiff"},
    "netpbmfile": {"netpbm"},
    "zipfile": {"npz"},
    "fsspec": {"remote", "s3", "web"},
    "aiohttp": {"web"},
    "tenacity": {"again"},
    "tempfile": {"files", "unfinished"},
    "multiprocessing": {"pool"},
    "distributed": {"cluster"},
}


def modules() -> dict[str, Path]:
    paths = {path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip("."): path for name, path in paths.items() if name != "__main__"} | {
        "__main__": PACKAGE / "__main__.py"
    }


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "patchcli":
            own = modules()
            names |= {f"patchcli.{alias.name}" if alias.name in own else "patchcli" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "patchcli.jobs":
            names |= {
                f"patchcli.jobs.{alias.name}" if f"jobs.{alias.name}" in modules() else "patchcli.jobs" for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def test_imports_point_down() -> None:
    assert set(modules()) == set(MAY_IMPORT)
    for name, path in modules().items():
        own = {found.removeprefix("patchcli").lstrip(".") for found in imported(path) if found.split(".")[0] == "patchcli"}
        if name == "meta":
            own.discard("")  # the program's version
        assert own <= MAY_IMPORT[name], f"{name} imports {own - MAY_IMPORT[name]}"


def test_libraries_stay_in_their_module() -> None:
    for name, path in modules().items():
        for found in imported(path):
            library = found.split(".")[0]
            assert name in OUTSIDE.get(library, {name}), f"{name} imports {library}"


def test_python_use_needs_neither_click_nor_an_image_library() -> None:
    program = (
        "import sys, numpy as np, patchcli\n"
        "grid = patchcli.Grid((8, 8), 3, 1)\n"
        "patches, origins = patchcli.extract(np.eye(8), grid)\n"
        "patchcli.merge(patches, grid, origins=origins); patchcli.crop(np.eye(8), (-1, -1, 1, 1), 4)\n"
        "print(sorted(set(sys.modules) & {'click', 'imageio', 'PIL', 'tifffile', 'imagecodecs', 'tqdm'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_imports_no_numpy() -> None:
    program = (
        "import sys\nfrom patchcli import cli\ncode = cli.run(['--help'])\n"
        "assert code == 0\nassert not {'numpy', 'patchcli.options'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_public_names_exist() -> None:
    for name in patchcli.__all__:
        assert getattr(patchcli, name) is not None
