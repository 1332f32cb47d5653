"""NPY: an array as numpy writes it, for what no image format holds; written, never read as an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from patchcli.images.metadata import Metadata


def write_npy(file: BinaryIO, image: NDArray[Any], _note: str, _metadata: Metadata) -> None:
    """Write an array, part by part."""
    np.lib.format.write_array(file, image, version=(1, 0), allow_pickle=False)
