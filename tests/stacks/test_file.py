"""The stack file: read by numpy, written back by numpy, golden files that never change."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchcli
from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid, Part
from patchcli.stacks.file import Stack, StackReader, read_stack, write_pieces, write_stack
from patchcli.stacks.header import Meta, Source
from patchcli.stacks.layouts import LAYOUTS, ORDERS
from tests.helpers.strategies import grids, pad_modes

GOLDEN = Path(__file__).parent.parent / "golden" / "v1"


def small() -> Stack:
    image = np.arange(5 * 6 * 3, dtype=np.uint16).reshape(5, 6, 3)
    grid = Grid((5, 6), (2, 3), 2, offset=(0, 1), edge="pad", margin=1)
    patches, origins = patchcli.extract(image, grid, pad_mode="edge")
    return Stack(patches, origins, Meta(grid, (3,), image.dtype, "edge", 0, Source("a.png", 10, 20, 0, rotated=True)))


def as_bytes(stack: Stack) -> io.BytesIO:
    file = io.BytesIO()
    write_stack(file, stack)
    file.seek(0)
    return file


@given(grids(), pad_modes, st.none() | st.integers(0, 2**60), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_meta_equals_itself_through_json(grid: Grid, mode: str, size: int | None, name: str, value: float) -> None:
    meta = Meta(grid, (3,), np.dtype("u2"), mode, value, Source(name, size, size, 2, rotated=True))
    assert Meta.from_json(meta.to_json()) == meta
    assert Meta.from_json(json.dumps(json.loads(meta.to_json()))) == meta
    assert "labels" not in meta.to_json()
    labels = meta._replace(labels=True)
    assert Meta.from_json(labels.to_json()) == labels
    assert json.loads(labels.to_json())["image"]["labels"] is True


def test_numpy_reads_a_stack() -> None:
    stack = small()
    file = as_bytes(stack)
    loaded = np.load(file)
    assert list(loaded) == ["meta", "origins", "patches"]
    assert np.array_equal(loaded["patches"], stack.patches)
    assert np.array_equal(loaded["origins"], stack.origins)
    assert loaded["origins"].dtype == np.int64
    meta = json.loads(str(loaded["meta"]))
    assert meta["format"] == "patchcli.stack"
    assert meta["version"] == 1
    assert meta["image"] == {
        "shape": [5, 6, 3],
        "dtype": "uint16",
        "source": "a.png",
        "size": 10,
        "mtime_ns": 20,
        "page": 0,
        "rotated": True,
    }
    assert meta["grid"] == {
        "patch": [2, 3],
        "stride": [2, 2],
        "offset": [0, 1],
        "edge": "pad",
        "margin": 1,
        "pad_mode": "edge",
        "pad_value": 0,
    }
    assert (meta["layout"], meta["pixel_order"]) == ("stack", "C")


def test_numpy_writes_a_stack_back() -> None:
    stack = small()
    loaded = np.load(as_bytes(stack))
    for order in (list(loaded), list(loaded)[::-1]):
        for new in (stack.patches * 2, np.asfortranarray(stack.patches), stack.patches.astype(float)):
            file = io.BytesIO()
            arrays: dict[str, Any] = {name: new if name == "patches" else loaded[name] for name in order}
            np.savez(file, **arrays)
            again = read_stack(file)
            assert np.array_equal(again.patches, new)
            assert np.array_equal(again.origins, stack.origins)
            assert again.meta == stack.meta


def test_streamed_stack_has_the_same_bytes(tmp_path: Path) -> None:
    stack = small()
    file = io.BytesIO()
    pieces = (stack.patches[k : k + 1] for k in range(len(stack.patches)))
    write_pieces(file, stack.meta, stack.patches.dtype, pieces, Part(stack.meta.grid, 0, len(stack.patches)))
    assert file.getvalue() == as_bytes(stack).getvalue()
    write_stack(tmp_path / "a.npz", stack)
    assert (tmp_path / "a.npz").read_bytes() == file.getvalue()
    assert np.array_equal(read_stack(tmp_path / "a.npz").patches, stack.patches)


def test_origins_of_the_grid_are_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchcli.stacks.file.ORIGINS_AT_ONCE", 5)
    stack = small()
    assert StackReader(as_bytes(stack)).lay_out()[1].placement.whole
    for k in (0, 6, len(stack.origins) - 1):
        origins = stack.origins.copy()
        origins[k] = origins[(k + 1) % len(origins)]
        got = StackReader(as_bytes(stack._replace(origins=origins))).lay_out()[1].placement.scattered
        assert got is not None
        assert np.array_equal(got, origins)
    fewer = stack._replace(origins=stack.origins[1:], patches=stack.patches[1:])
    got = StackReader(as_bytes(fewer)).lay_out()[1].placement.scattered
    assert got is not None
    assert np.array_equal(got, fewer.origins)


def changed(where: str, value: Any) -> str:
    meta = json.loads(small().meta.to_json())
    target = meta
    *path, last = where.split(".")
    for name in path:
        target = target[name]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return json.dumps(meta)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "meta member that is not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "meta member that is not JSON"),
        (changed("format", "other"), "has format 'other'; expected 'patchcli.stack'"),
        (changed("version", 2), "is of version 2; this program reads version 1"),
        (changed("version", value=True), "has version=true in its meta; allowed is a whole number"),
        (changed("image", 3), "has image=3 in its meta; allowed is an object"),
        (changed("image.shape", [5]), "allowed are 2 to 3 whole numbers"),
        (changed("image.shape", [5, -6]), r"has image.shape=\[5, -6\] in its meta"),
        (changed("image.shape", [5, 2.0]), "has image.shape"),
        (changed("image.shape", [5, 10**30]), "has image.shape"),
        (changed("image.dtype", "O"), "dtype object; allowed are bool"),
        (changed("image.dtype", "xyz"), "has image.dtype='xyz'"),
        (changed("image.dtype", "i4,i4"), "has image.dtype='i4,i4' in its meta; allowed are real dtypes"),
        (changed("image.dtype", ",,,"), "has image.dtype=',,,' in its meta; allowed are real dtypes"),
        (changed("image.dtype", "(9,9)f8"), r"has image.dtype='\(9,9\)f8' in its meta; allowed are real dtypes"),
        (changed("grid.pad_value", 10**400), "has grid.pad_value=1000.* in its meta; allowed are numbers of a float"),
        (changed("shard", "x"), 'has shard="x" in its meta; allowed is an array'),
        (changed("shard", [1, 2]), r"has shard=\[1, 2\] in its meta; allowed are 3 whole numbers"),
        (changed("shard", [5, 2, 0]), r"has shard=\[5, 2, 0\] in its meta; allowed are numbers below the count"),
        (changed("image.page", ...), "has image.page=null in its meta; allowed is a whole number"),
        (changed("image.labels", 1), "has image.labels=1 in its meta; allowed is true or false"),
        (changed("grid.patch", [0, 3]), "patch height is 0"),
        (changed("grid.patch", "3"), "has grid.patch"),
        (changed("grid.edge", "mirror"), "edge rule is 'mirror'"),
        (changed("grid.margin", -1), "margin is -1"),
        (changed("grid.margin", 10**15), "margin is 1000000000000000"),
        (changed("grid.pad_mode", "x"), "has grid.pad_mode='x'"),
        (changed("layout", "heap"), "has layout='heap' in its meta; allowed are stack, grid, rows, columns"),
        (changed("pixel_order", None), "has pixel_order=null"),
        (changed("pixel_order", "A"), "has pixel_order='A' in its meta; allowed are C, F"),
        (changed("grid.pad_value", "x"), "has grid.pad_value='x'"),
    ],
)
def test_bad_meta(text: str, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        Meta.from_json(text)


def test_files_that_are_no_stack() -> None:
    bare = io.BytesIO()
    np.save(bare, np.zeros(3))
    with pytest.raises(PatchcliError, match="is an array without origins; if it holds processed patches, add --like"):
        read_stack(bare)
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    with pytest.raises(PatchcliError, match=r"is not a patch stack \(no 'meta'\)"):
        read_stack(other)
    loaded = dict(np.load(as_bytes(small())))
    wrong = io.BytesIO()
    np.savez(wrong, **{**loaded, "origins": np.zeros((4, 3))})
    with pytest.raises(PatchcliError, match=r"has origins of dtype float64 and shape \(4, 3\)"):
        read_stack(wrong)
    pickled = io.BytesIO()
    np.savez(pickled, **{**loaded, "meta": np.array({"a": 1}, dtype=object)})
    with pytest.raises(PatchcliError, match="does not describe a plain array"):
        read_stack(pickled)


def test_origins_must_match_when_written() -> None:
    with pytest.raises(PatchcliError, match="stack has 12 patches but 3 origins"):
        write_stack(io.BytesIO(), small()._replace(origins=np.zeros((3, 2), np.int64)))


def test_what_is_written_and_read_fits_together() -> None:
    stack = small()
    for bad, sentence in (
        (Stack(stack.patches, np.add(stack.origins, 0.7), stack.meta), "origins have dtype float64; allowed are integers"),
        (stack._replace(origins=stack.origins + 9), "patch 0 has its origin at x=9 y=8; allowed are"),
        (stack._replace(patches=stack.patches.reshape(len(stack.patches), -1)), "patches have shape"),
        (Stack(np.array(3.0), stack.origins, stack.meta), r"patches have shape \(\)"),
    ):
        with pytest.raises(PatchcliError, match=sentence):
            write_stack(io.BytesIO(), bad)
    arrays: dict[str, Any] = dict(np.load(as_bytes(stack)))
    file = io.BytesIO()
    np.savez(file, **{**arrays, "patches": stack.patches.reshape(len(stack.patches), -1)})
    with pytest.raises(PatchcliError, match="patches have shape"):
        read_stack(file)


@given(st.sampled_from(list(LAYOUTS)), st.sampled_from(ORDERS), grids(), st.sampled_from([(), (1,), (3,)]))
def test_every_layout_comes_back(layout: str, order: str, grid: Grid, channels: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*grid.image, *channels)).astype(np.uint8)
    patches, origins = patchcli.extract(image, grid)
    stack = Stack(patches, origins, Meta(grid, channels, image.dtype, layout=layout, pixel_order=order))
    again = read_stack(as_bytes(stack))
    assert again.meta == stack.meta
    assert np.array_equal(again.patches, patches)
    payload = np.load(as_bytes(stack))["patches"]
    unrolled = np.stack([patch.ravel(order=order) for patch in patches])
    expected = {
        "stack": patches,
        "grid": patches.reshape(*grid.shape, *patches.shape[1:]),
        "rows": unrolled,
        "columns": unrolled.T,
    }
    assert payload.shape == expected[layout].shape
    assert np.array_equal(payload, expected[layout])


def test_layouts_refuse_other_shapes() -> None:
    stack = small()
    for layout, wrong in (
        ("grid", "(12, 2, 3, 3)"),
        ("rows", "(12, 2, 3, 3)"),
        ("columns", "(12, 2, 3, 3)"),
        ("rows", "(12, 17)"),
    ):
        arrays: dict[str, Any] = dict(np.load(as_bytes(stack)))
        shape = tuple(int(side) for side in wrong[1:-1].split(","))
        meta = np.array(stack.meta._replace(layout=layout).to_json())
        file = io.BytesIO()
        np.savez(file, **{**arrays, "meta": meta, "patches": np.zeros(shape)})
        with pytest.raises(PatchcliError, match=rf"patches have shape {re.escape(wrong)}; expected .* the layout {layout} of"):
            read_stack(file)
    fewer = Stack(stack.patches[1:], stack.origins[1:], stack.meta._replace(layout="grid"))
    with pytest.raises(PatchcliError, match="the layout grid needs all of them"):
        write_stack(io.BytesIO(), fewer)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_pad_value_that_json_lacks(value: float) -> None:
    meta = small().meta._replace(pad_value=value)
    again = Meta.from_json(meta.to_json())
    assert again.to_json() == meta.to_json()
    assert np.array_equal(again.pad_value, value, equal_nan=True)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_golden_stacks_still_mean_the_same(path: Path) -> None:
    image = np.load(path.with_suffix(".npy"))
    stack = read_stack(path)
    merged = patchcli.merge(stack.patches, stack.meta.grid, origins=stack.origins, dtype=stack.meta.dtype)
    assert merged.dtype == image.dtype
    assert np.array_equal(merged, image)
    patches, origins = patchcli.extract(image, stack.meta.grid, pad_mode=stack.meta.pad_mode, pad_value=stack.meta.pad_value)
    assert np.array_equal(patches, stack.patches)
    assert np.array_equal(origins, stack.origins)
    assert stack.meta.labels == path.stem.startswith("labels")


def test_patches_that_lost_a_halo_are_written_and_read() -> None:
    """Which halo it was is for merge to be told; what no halo explains is refused, as before."""
    image = np.arange(24 * 20, dtype=np.int32).reshape(24, 20)
    grid = Grid(image.shape, 8, 4)
    patches, origins = patchcli.extract(image, grid)
    stack = Stack(patches, origins, Meta(grid, (), image.dtype))
    for kept in (patches[:, 1:-1, 1:-1], patches[:, 1:-1, 1:-1].repeat(3, 1).repeat(3, 2)):
        assert np.array_equal(read_stack(as_bytes(stack._replace(patches=kept))).patches, kept)
    first = np.moveaxis(np.stack([patches[:, 1:-1, 1:-1]] * 3, -1), -1, 1)
    file = io.BytesIO()
    np.savez(file, **{**np.load(as_bytes(stack)), "patches": first})
    assert np.array_equal(read_stack(file).patches, np.moveaxis(first, 1, -1))
    for wrong in (patches[:, 1:, 1:], patches[:, 1:-1, 2:-2]):
        with pytest.raises(PatchcliError, match="where width=8 height=8 was recorded; give that size"):
            as_bytes(stack._replace(patches=wrong))


def test_golden_stacks_are_there() -> None:
    assert len(list(GOLDEN.glob("*.npz"))) >= 10
    assert {read_stack(path).meta.layout for path in GOLDEN.glob("*.npz")} == set(LAYOUTS)
