"""Stacks merged line by line, however their patches stand in the files, against loops over pixels."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchcli.errors import PatchcliError
from patchcli.geometry.grid import Grid
from patchcli.patches import merge_ranked, merge_streaming, normalize
from patchcli.patches.extract import extract
from patchcli.patches.merge import in_bands, merge_from
from patchcli.patches.normalize import Wanted
from patchcli.patches.reducers import REDUCERS, rule_of
from patchcli.patches.windows import named
from patchcli.stacks import npz, reader
from patchcli.stacks.file import Stack, StackReader, write_stack
from patchcli.stacks.header import Meta
from patchcli.stacks.npz import NpzReader, NpzWriter
from patchcli.stacks.reader import Payload, StackFile
from tests.helpers import references
from tests.helpers.merged import RULES, reference
from tests.helpers.strategies import grids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def file_of(stack: Stack, *, compress: bool = False) -> bytes:
    """A stack file, its members perhaps deflated."""
    made = io.BytesIO()
    write_stack(made, stack)
    if not compress:
        return made.getvalue()
    read, deflated = NpzReader(made), io.BytesIO()
    with NpzWriter(deflated, compress=True) as writer:
        for name in read.names():
            stream = read.open(name)
            held = np.empty(int(np.prod(stream.shape)) * stream.dtype.itemsize, np.uint8)
            stream._source.readinto(held.data)  # noqa: SLF001
            writer.write(name, stream.shape, stream.dtype, [held])
    return deflated.getvalue()


def payload_of(files: list[bytes]) -> tuple[Payload, list[int]]:
    """A payload of stack files, and how many of them are open, now and at most."""
    counts = [0, 0]

    @contextlib.contextmanager
    def opened(data: bytes) -> Iterator[StackReader]:
        counts[0] += 1
        counts[1] = max(counts)
        try:
            yield StackReader(io.BytesIO(data))
        finally:
            counts[0] -= 1

    return Payload([StackFile(f"{number}", lambda data=data: opened(data)) for number, data in enumerate(files)]), counts  # type: ignore[misc]


def lines_of(payload: Payload, wanted: Wanted, reduce: str, window: str | None) -> NDArray[Any]:
    """The image of a payload, its lines put together, and a look at what is said of it."""
    placement = payload.placement.resized((payload.shape[1], payload.shape[2]))
    rule = rule_of(REDUCERS[reduce], None if window is None else named(window, placement.grid.patch))
    merged = merge_from(payload, placement, rule, wanted=wanted)
    bands = list(merged.lines())
    assert all(len(band) for band in bands)
    image = np.concatenate(bands)
    assert (image.shape, image.dtype) == (merged.shape, merged.dtype)
    again = merge_from(payload, placement, rule, wanted=wanted)
    assert np.array_equal(again.image(), image)
    assert again.saturated == merged.saturated
    return image


@settings(max_examples=300, deadline=None)
@given(
    grids(largest=9),
    st.sampled_from([*RULES, "hann"]),
    st.sampled_from(["u1", "i2", "f4", "u8"]),
    st.sampled_from([(), (2,)]),
    st.sampled_from(["stack", "rows", "columns"]),
    st.sampled_from(["in order", "shuffled", "some twice"]),
    st.booleans(),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 40, 1 << 22]),
    st.integers(0, 99),
)
def test_lines_are_those_of_the_whole(
    grid: Grid,
    rule: str,
    dtype: str,
    channels: tuple[int, ...],
    layout: str,
    order: str,
    compress: bool,
    shards: int,
    trim: bool,
    size: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.arange(grid.count) if order == "in order" else rng.permutation(grid.count)
    if order == "some twice":
        numbers = rng.choice(grid.count, 1 + grid.count // 2)
    origins = grid.origins()[numbers]
    patches = rng.integers(0, 100, (len(numbers), *grid.patch, *channels)).astype(dtype)
    meta = Meta(grid, channels, np.dtype(dtype), layout=layout)
    shards = min(shards, len(numbers))
    parts = np.array_split(np.arange(len(numbers)), shards)
    files = [
        file_of(
            Stack(patches[part], origins[part], meta if shards == 1 else meta._replace(shard=(number, shards, 0))),
            compress=compress,
        )
        for number, part in enumerate(parts)
    ]
    covered = references.cover(origins, grid.patch, grid.image) > 0
    if not covered.any():
        return
    reduce, window = ("mean", "hann") if rule == "hann" else (rule, None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(normalize, "DIVIDED_BYTES", size)
        patched.setattr(normalize, "BLOCK_VALUES", max(1, size // 8))
        patched.setattr(merge_streaming, "SUMS_BYTES", size)
        patched.setattr(merge_streaming, "CHUNK_BYTES", size)
        patched.setattr(merge_ranked, "BAND_BYTES", size)
        payload, open_files = payload_of(files)
        got = lines_of(payload, Wanted(np.dtype("f8"), 7, trim), reduce, window)
    weights = None if window is None else named(window, grid.patch).full
    expected = reference(patches, origins, grid.image, reduce, weights)
    expected[~covered] = 7
    if trim:
        rows, columns = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
        expected = expected[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert np.allclose(got, expected, rtol=1e-6 if dtype == "f4" else 1e-12)
    assert open_files == [0, 1]


def shuffled(count: int = 0) -> tuple[NDArray[Any], Stack]:
    """An image, and a stack of its patches in any order, of many or all of them."""
    grid = Grid((90, 70), 9, 4)
    image = np.random.default_rng(1).integers(0, 256, (90, 70), np.uint8)
    patches, origins = extract(image, grid)
    order = np.random.default_rng(2).permutation(grid.count)[count:]
    return image, Stack(patches[order], origins[order], Meta(grid, (), image.dtype))


@pytest.mark.parametrize("reduce", ["mean", "last"])
def test_patches_of_any_order_are_read_where_they_stand(reduce: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, after all were verified; of a deflated member sums are held."""
    monkeypatch.setattr(merge_streaming, "CHUNK_BYTES", 900)
    monkeypatch.setattr(merge_ranked, "BAND_BYTES", 9000)
    image, stack = shuffled()
    read: list[int] = []
    plain = reader.read_places

    def noted(stream: Any, numbers: NDArray[np.int64], *rest: Any) -> None:
        read.extend(numbers.tolist())
        plain(stream, numbers, *rest)

    monkeypatch.setattr(reader, "read_places", noted)
    rule = rule_of(REDUCERS[reduce])
    for compress in (False, True):
        payload, _ = payload_of([file_of(stack, compress=compress)])
        assert payload.by_number is not compress
        assert in_bands(payload, payload.placement, rule) == (not compress or reduce == "last")
        assert np.array_equal(lines_of(payload, Wanted(image.dtype), reduce, None), image)
        assert sorted(read) == ([] if compress else sorted([*range(len(stack.patches))] * 2))
        read.clear()


@pytest.mark.parametrize("place", [-1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("order", ["shuffled", "in order"])
def test_damage_is_found_before_the_image_is_whole(place: float, order: str, *, compress: bool) -> None:
    _, stack = shuffled()
    if order == "in order":
        every = np.lexsort((stack.origins[:, 1], stack.origins[:, 0]))[3:]
        stack = stack._replace(patches=stack.patches[every], origins=stack.origins[every])
    data = bytearray(file_of(stack, compress=compress))
    begin = data.rfind(b"patches.npy", 0, data.rfind(b"PK\x01\x02")) + 200  # of the member, not in the directory
    end = data.find(b"PK\x01\x02", begin)
    last = end - (9 if compress else 1)  # deflated, the last bits may mean nothing
    data[last if place < 0 else begin + int(place * (end - begin))] ^= 4
    payload, _ = payload_of([bytes(data)])
    made = merge_from(payload, payload.placement, rule_of(REDUCERS["mean"]), wanted=Wanted(np.dtype("u1"), 0)).lines()
    if order == "shuffled":
        with pytest.raises(PatchcliError, match=r"damaged|unpack|longer"):
            next(made)
        return
    with pytest.raises(PatchcliError, match=r"damaged|unpack|longer"):
        list(made)


def test_a_file_that_cannot_be_read_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says is of the input, whoever asked for the bytes."""

    class Failing(io.BytesIO):
        broken = False

        def readinto(self, buffer: Any) -> int:
            if self.broken:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    monkeypatch.setattr(npz, "READ_WHOLE_BYTES", 0)
    _, stack = shuffled()
    file = Failing(file_of(stack))
    kept = StackReader(file)
    payload = Payload([StackFile("a", lambda: contextlib.nullcontext(kept))])
    file.broken = True
    with pytest.raises(PatchcliError, match=r"^cannot be read: input/output error$"):
        list(merge_from(payload, payload.placement, rule_of(REDUCERS["mean"]), wanted=Wanted(np.dtype("u1"))).lines())
