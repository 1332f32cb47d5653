"""Cut images into overlapping patches, rebuild images from processed ones, crop a box as PyTorch samples it.

The same as the command line, for arrays: see `Grid`, `view`, `choose_patches`, `extract`, `merge`,
`map_patches`, `crop`, `crop_gradient`, `fit_box`, `read_stack`, `write_stack`, `open_image`, `preview`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchcli.version import __version__

if TYPE_CHECKING:
    from patchcli.cropping.crop import crop
    from patchcli.cropping.fit import fit_box
    from patchcli.cropping.gradient import crop_gradient
    from patchcli.cropping.levenberg_marquardt import Fit
    from patchcli.errors import PatchcliError
    from patchcli.geometry.grid import Grid
    from patchcli.images.metadata import Metadata
    from patchcli.jobs.image_file import ImageFile, open_image
    from patchcli.jobs.preview_arrays import preview
    from patchcli.patches.extract import extract, view
    from patchcli.patches.map import map_patches
    from patchcli.patches.merge import merge
    from patchcli.patches.select import choose_patches
    from patchcli.stacks.file import Stack, read_stack, write_stack
    from patchcli.stacks.header import Meta, Source

_HOME = {
    "Fit": "cropping.levenberg_marquardt",
    "Grid": "geometry.grid",
    "ImageFile": "jobs.image_file",
    "Meta": "stacks.header",
    "Metadata": "images.metadata",
    "PatchcliError": "errors",
    "Source": "stacks.header",
    "Stack": "stacks.file",
    "choose_patches": "patches.select",
    "crop": "cropping.crop",
    "crop_gradient": "cropping.gradient",
    "extract": "patches.extract",
    "fit_box": "cropping.fit",
    "map_patches": "patches.map",
    "merge": "patches.merge",
    "open_image": "jobs.image_file",
    "preview": "jobs.preview_arrays",
    "read_stack": "stacks.file",
    "view": "patches.extract",
    "write_stack": "stacks.file",
}

__all__ = [
    "Fit",
    "Grid",
    "ImageFile",
    "Meta",
    "Metadata",
    "PatchcliError",
    "Source",
    "Stack",
    "__version__",
    "choose_patches",
    "crop",
    "crop_gradient",
    "extract",
    "fit_box",
    "map_patches",
    "merge",
    "open_image",
    "preview",
    "read_stack",
    "view",
    "write_stack",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line's help needs no numpy."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
