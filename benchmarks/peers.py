"""What a user would pick instead, each behind one small function; a peer that is not installed is None.

The two systems that the project grew from are written anew from what they do: index arrays made once or each time, fancy
indexing to cut, a loop over the offsets in a patch or one big index to put back.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def optional(name: str) -> Any:  # noqa: ANN401  a module or None
    """A module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def first_seed_cut(image: Array, patch: int, stride: int) -> tuple[Array, Array, Array]:
    """Row and column indices of every pixel of every patch, then one fancy index."""
    steps = np.arange(0, image.shape[0] - patch + 1, stride), np.arange(0, image.shape[1] - patch + 1, stride)
    top, left = (part.ravel() for part in np.meshgrid(*steps, indexing="ij"))
    inner = np.arange(patch)
    rows = top[:, None, None] + inner[:, None]
    columns = left[:, None, None] + inner[None]
    rows, columns = np.broadcast_arrays(rows, columns)
    return image[rows.ravel(), columns.ravel()].reshape(-1, patch, patch), top, left


def first_seed_merge(patches: Array, top: Array, left: Array) -> Array:
    """For each offset in a patch, add that pixel of all patches by fancy index, and count; divide."""
    height, width = patches.shape[1:]
    total = np.zeros((int(top.max()) + height, int(left.max()) + width))
    weight = np.zeros_like(total)
    for i in range(height):
        for j in range(width):
            total[top + i, left + j] += patches[:, i, j]
            weight[top + i, left + j] += 1
    return np.asarray(total / np.maximum(weight, 1e-12))


def second_seed_index(shape: tuple[int, int], patch: int, stride: int) -> tuple[Array, Array]:
    """The index matrix that cuts, and, for each pixel, where its values stand in the columns (the last: nowhere)."""
    flat = np.arange(shape[0] * shape[1]).reshape(shape)
    windows = np.lib.stride_tricks.sliding_window_view(flat, (patch, patch))[::stride, ::stride]
    count = windows.shape[0] * windows.shape[1]
    cut = windows.transpose(3, 2, 0, 1).reshape(patch * patch, count)
    back = np.full((shape[0] * shape[1], patch * patch), patch * patch * count)
    back[cut, np.arange(patch * patch)[:, None]] = np.arange(patch * patch * count).reshape(cut.shape)
    return cut, back


def second_seed_cut(image: Array, cut: Array) -> Array:
    """One fancy index with the matrix, made beforehand."""
    return image.ravel()[cut]


def second_seed_merge(columns: Array, back: Array, shape: tuple[int, int], weights: Array) -> Array:
    """A zero behind the columns, one fancy index, a sum over what lies on each pixel, times weights made beforehand."""
    values = np.append(columns.ravel(), np.zeros(1, columns.dtype))
    return np.asarray(values[back].sum(axis=1).reshape(shape) * weights)


def sklearn_pair(image: Array, patches: Array) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """scikit-learn's two functions; they know stride 1 only."""
    module = optional("sklearn.feature_extraction.image")
    if module is None:
        return None
    size = patches.shape[1:]
    return lambda: module.extract_patches_2d(image, size), lambda: module.reconstruct_from_patches_2d(patches, image.shape)


def scipy_denoise(patches: Array, least: float) -> Callable[[], Any] | None:
    """All patches at once: transform, set what is below ``least`` to 0 but for the first, transform back."""
    module = optional("scipy.fft")
    if module is None:
        return None

    def work() -> Any:  # noqa: ANN401
        found = module.dctn(patches, axes=(1, 2), norm="ortho")
        first = found[:, 0, 0].copy()
        found[np.abs(found) < least] = 0
        found[:, 0, 0] = first
        return module.idctn(found, axes=(1, 2), norm="ortho")

    return work


def patchify_pair(
    image: Array, grid: tuple[int, int], patch: int, stride: int
) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """Patchify's view, copied as a stack must be, and unpatchify (which ignores most overlaps)."""
    module = optional("patchify")
    if module is None:
        return None
    cut = np.ascontiguousarray(module.patchify(image, (patch, patch), step=stride)).reshape(*grid, patch, patch)
    return (
        lambda: np.ascontiguousarray(module.patchify(image, (patch, patch), step=stride)),
        lambda: module.unpatchify(cut, image.shape),
    )


def empatches_pair(image: Array, patch: int, stride: int) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """EMPatches' two methods, mode avg."""
    module = optional("empatches")
    if module is None:
        return None
    tool = module.EMPatches()
    patches, places = tool.extract_patches(image, patchsize=patch, overlap=None, stride=stride)
    return (
        lambda: tool.extract_patches(image, patchsize=patch, overlap=None, stride=stride),
        lambda: tool.merge_patches(patches, places, mode="avg"),
    )


def torch_works(image: Array, patches: Array, stride: int, threads: int = 2) -> dict[str, Callable[[], Any]] | None:
    """PyTorch: unfold; fold from the same stack, layout and division included; fold alone on columns laid out before."""
    torch = optional("torch")
    if torch is None:
        return None
    torch.set_num_threads(threads)
    functional = torch.nn.functional
    count, height, width = patches.shape
    tensor = torch.from_numpy(image)[None, None]
    stack = torch.from_numpy(patches)
    columns = stack.reshape(count, -1).T.contiguous()[None]
    ones = functional.fold(torch.ones_like(columns), image.shape, (height, width), stride=stride)

    def fold(laid: Any) -> Any:  # noqa: ANN401
        return functional.fold(laid, image.shape, (height, width), stride=stride)

    return {
        "unfold": lambda: functional.unfold(tensor, (height, width), stride=stride),
        "layout and fold": lambda: fold(stack.reshape(count, -1).T.contiguous()[None]) / ones,
        "fold alone": lambda: fold(columns),
    }
