"""In memory: cutting and merging against a copy of the same bytes and against the peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import patchcli
from benchmarks import peers
from benchmarks.measure import Row, Table, compare
from patchcli.patches.extract import cut_blocks, gather
from patchcli.patches.padded import ArraySource, Padded
from patchcli.threads import map_in_order, usable_threads

SIZES = ((512, 8, 1), (2048, 8, 1), (100, 39, 1), (512, 16, 4), (4096, 256, 128))
ODD = ((512, 5, 1), (512, 7, 1), (512, 13, 1))
LARGE = 1 << 28  # bytes of a stack from which on only the mean is measured, and of integers the mean under a window
PEER_VALUES = 1 << 25  # peers that take minutes or many times the memory get no larger stack than this


def case(size: int, patch: int, stride: int, dtype: str) -> tuple[NDArray[Any], patchcli.Grid, NDArray[Any], str]:
    """An image, its grid, its stack, and what to call it."""
    image = np.random.default_rng(0).integers(0, 256, (size, size)).astype(dtype)
    grid = patchcli.Grid((size, size), patch, stride)
    return image, grid, patchcli.extract(image, grid)[0], f"{size}x{size} {np.dtype(dtype).name} {patch}/{stride}"


def gather_into(image: NDArray[Any], grid: patchcli.Grid, out: NDArray[Any]) -> Callable[[], None]:
    """Cutting into memory that is there, as the copy does that it is compared with."""
    padded, plan = Padded(ArraySource(image), grid), list(cut_blocks(grid, image.itemsize))
    threads = usable_threads(out.nbytes)

    def work() -> None:
        for _ in map_in_order(lambda one: gather(padded, one, out[one.first : one.first + one.count]), plan, threads):
            pass

    return work


def run(table: Table, *, quick: bool) -> None:
    """Measure everything that stays in memory."""
    seconds = 0.2 if quick else 1.0
    for dtype in ("u1", "u2", "f4"):
        rows: dict[str, list[Row]] = {"gather": [], "fold": [], "window": []}
        for size in SIZES:
            image, grid, stack, name = case(*size, dtype)
            out = np.empty_like(stack)
            copy = lambda out=out, stack=stack: np.copyto(out, stack)  # noqa: E731
            cut = gather_into(image, grid, out)
            rows["gather"].append(table.add(compare("gather", name, "copy", cut, copy, limit=2.0, seconds=seconds)))
            merge = lambda stack=stack, grid=grid: patchcli.merge(stack, grid)  # noqa: E731
            rows["fold"].append(table.add(compare("merge", name, "copy", merge, copy, seconds=seconds)))
            if stack.nbytes < LARGE or dtype != "f4":
                rows["window"].append(_windowed(table, stack, grid, name, seconds))
            if stack.nbytes < LARGE:
                _rules(table, stack, grid, name, seconds)
            _against_peers(table, image, grid, stack, name, seconds)
        table.mean_of("gather", f"copy, {dtype}", 1.5, rows["gather"])
        if dtype != "u2":
            table.mean_of("merge", f"copy, {dtype}", 4.0 if dtype == "u1" else 2.0, rows["fold"])
        if dtype != "f4":
            table.mean_of("rules", f"the mean, {dtype}, window hann", 3.0, rows["window"])
    for dtype in ("u1", "u2", "f4"):
        for size in ODD:
            image, grid, stack, name = case(*size, dtype)
            view = patchcli.view(image, size[1], size[2])
            plain = lambda view=view: np.ascontiguousarray(view)  # noqa: E731
            whole = lambda image=image, grid=grid: patchcli.extract(image, grid)[0]  # noqa: E731
            out = np.empty_like(stack)
            into = lambda out=out, view=view: np.copyto(out.reshape(view.shape), view)  # noqa: E731
            cut = gather_into(image, grid, out)
            table.add(compare("gather", name, "ascontiguousarray of the view", cut, plain, limit=0.65, seconds=seconds))
            table.add(compare("gather", name, "the view copied into the same memory", cut, into, seconds=seconds))
            table.add(compare("gather", name + ", new memory and origins", "ascontiguousarray", whole, plain, seconds=seconds))


def _windowed(table: Table, stack: NDArray[Any], grid: patchcli.Grid, name: str, seconds: float) -> Row:
    """The mean under a window, against the mean; integers are weighted in wider numbers, floats as they are."""
    mean, rule = (lambda window=window: patchcli.merge(stack, grid, window=window) for window in ("uniform", "hann"))
    limit = 1.6 if stack.dtype.kind == "f" else 3.5
    return table.add(compare("rules", f"{name} window hann", "the mean", rule, mean, limit=limit, seconds=seconds, least=3))


def _rules(table: Table, stack: NDArray[Any], grid: patchcli.Grid, name: str, seconds: float) -> None:
    """Other rules than the mean, against the mean; the mode against the median, which sorts the same values."""
    mean = lambda: patchcli.merge(stack, grid)  # noqa: E731
    options: dict[str, Any]
    for what, limit, options in (
        ("min", 2.0, {"reduce": "min"}),
        ("max", 2.0, {"reduce": "max"}),
        ("last", None, {"reduce": "last"}),
        ("median", None, {"reduce": "median"}),
    ):
        if what != "median" or stack.nbytes < LARGE // 10:
            rule = lambda options=options: patchcli.merge(stack, grid, **options)  # noqa: E731
            table.add(compare("rules", f"{name} {what}", "the mean", rule, mean, limit=limit, seconds=seconds, least=3))
    if stack.dtype.kind != "f" and stack.nbytes < LARGE // 10:
        mode, median = (lambda reduce=reduce: patchcli.merge(stack, grid, reduce=reduce) for reduce in ("mode", "median"))
        table.add(compare("rules", f"{name} mode", "the median", mode, median, limit=1.5, seconds=seconds, least=3))


def _against_peers(
    table: Table, image: NDArray[Any], grid: patchcli.Grid, stack: NDArray[Any], name: str, seconds: float
) -> None:
    """Cutting and merging against what a user would pick instead."""
    (patch, _), (stride, _) = grid.patch, grid.stride
    cut = lambda: patchcli.extract(image, grid)  # noqa: E731
    merge = lambda: patchcli.merge(stack, grid)  # noqa: E731

    def add(group: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], limit: float | None = None) -> None:
        table.add(compare(group, name, peer, ours, theirs, limit=limit, seconds=seconds, least=3))

    if stack.size <= PEER_VALUES:
        _, top, left = peers.first_seed_cut(image, patch, stride)
        add("extract", "first seed", cut, lambda: peers.first_seed_cut(image, patch, stride))
        limit = {"u": 0.05, "f": 0.1}[stack.dtype.kind] if image.dtype.itemsize != 2 else None
        add("merge", "first seed", merge, lambda: peers.first_seed_merge(stack, top, left), limit)
        index, back = peers.second_seed_index(grid.image, patch, stride)
        columns, weights = peers.second_seed_cut(image, index), 1 / np.maximum(grid.cover(), 1)
        add("extract", "second seed", cut, lambda: peers.second_seed_cut(image, index))
        add("merge", "second seed", merge, lambda: peers.second_seed_merge(columns, back, grid.image, weights))
    works = [("patchify", peers.patchify_pair(image, grid.shape, patch, stride))]
    if stride == 1 and stack.size <= PEER_VALUES:
        works.append(("scikit-learn", peers.sklearn_pair(image, stack)))
    if stack.size <= PEER_VALUES and stack.dtype == np.uint8:
        works.append(("EMPatches", peers.empatches_pair(image, patch, stride)))
    for peer, pair in works:
        if pair is None:
            table.missing(f"{peer} is not installed")
            continue
        add("extract", peer, cut, pair[0])
        add("merge", peer, merge, pair[1])
    if stack.dtype == np.float32:
        torch = peers.torch_works(image, stack, stride)
        if torch is None:
            table.missing("torch is not installed")
            return
        add("extract", "PyTorch unfold", cut, torch["unfold"])
        add("merge", "PyTorch layout and fold", merge, torch["layout and fold"], 0.35)
        add("merge", "PyTorch fold alone", merge, torch["fold alone"], 1.0)
