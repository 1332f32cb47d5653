"""Cut images into overlapping patches, rebuild images from processed ones, crop a box as PyTorch samples it.

The same as the command line, for arrays: see `Grid`, `view`, `choose_patches`, `extract`, `merge`, `crop`,
`crop_gradient`, `fit_box`, `read_stack`, `write_stack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from patchcli.cropping import crop
    from patchcli.descent import Fit
    from patchcli.errors import PatchcliError
    from patchcli.fit import fit_box
    from patchcli.gradient import crop_gradient
    from patchcli.grid import Grid
    from patchcli.merging import merge
    from patchcli.meta import Meta, Source
    from patchcli.patches import extract, view
    from patchcli.select import choose_patches
    from patchcli.stack import Stack, read_stack, write_stack

_HOME = {
    "Fit": "descent",
    "Grid": "grid",
    "Meta": "meta",
    "PatchcliError": "errors",
    "Source": "meta",
    "Stack": "stack",
    "choose_patches": "select",
    "crop": "cropping",
    "crop_gradient": "gradient",
    "extract": "patches",
    "fit_box": "fit",
    "merge": "merging",
    "read_stack": "stack",
    "view": "patches",
    "write_stack": "stack",
}

__all__ = [
    "Fit",
    "Grid",
    "Meta",
    "PatchcliError",
    "Source",
    "Stack",
    "__version__",
    "choose_patches",
    "crop",
    "crop_gradient",
    "extract",
    "fit_box",
    "merge",
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
