"""The container: numpy reads what is written, and nothing hostile or damaged is believed."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.stacks import crc
from patchcli.stacks.crc import crc_of, crc_of_both
from patchcli.stacks.npz import NpzReader, NpzWriter

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAY = np.arange(24, dtype="<u2").reshape(4, 3, 2)


class Forward(io.BytesIO):
    """A file that says that it cannot seek."""

    def seekable(self) -> bool:
        return False


def saved(**arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def load(data: bytes, name: str = "a") -> NDArray[Any]:
    return NpzReader(io.BytesIO(data)).open(name).load()


def npy(header: bytes, payload: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + payload


def zipped(member: bytes, name: str = "a.npy", method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, member)
    return file.getvalue()


@given(
    st.sampled_from(["?", "u1", "<u2", ">u2", "i8", "f2", "<f4", ">f8"]),
    st.lists(st.integers(0, 4), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_reads_what_numpy_writes(dtype: str, shape: list[int], fortran: bool, deflate: bool) -> None:
    array = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    file = io.BytesIO()
    (np.savez_compressed if deflate else np.savez)(file, a=array)
    got = load(file.getvalue())
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)
    bare = io.BytesIO()
    np.save(bare, array)
    assert np.array_equal(NpzReader(bare).open("").load(), array)


def test_numpy_reads_what_is_written_and_bytes_repeat() -> None:
    def write() -> bytes:
        file = io.BytesIO()
        with NpzWriter(file) as writer:
            writer.write("one", ARRAY.shape, ARRAY.dtype, [ARRAY[:1], ARRAY[1:1], ARRAY[1:]])
            writer.write("two", (), np.dtype("<f8"), [np.float64(3).reshape(1)])
        return file.getvalue()

    data = write()
    assert data == write()
    stack = np.load(io.BytesIO(data))
    assert np.array_equal(stack["one"], ARRAY)
    assert stack["two"] == 3
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


@pytest.mark.parametrize("comment", [b"", b"a comment"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("by", ["numpy", "here", "a pipe"])
def test_both_headers_of_a_member_agree(by: str, deflate: bool, comment: bytes) -> None:
    file = Forward() if by == "a pipe" else io.BytesIO()
    if by == "numpy":
        (np.savez_compressed if deflate else np.savez)(file, a=ARRAY, b=ARRAY[0])
    else:
        with NpzWriter(file, compress=deflate) as writer:
            for name, values in (("a", ARRAY), ("b", ARRAY[0])):
                writer.write(name, values.shape, values.dtype, [values])
    file = io.BytesIO(file.getvalue())
    if comment:
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = comment
    data = file.getvalue()
    NpzReader(file).check_headers()
    known = (6, 7, 8, *(range(14, 26) if by != "a pipe" else ()))  # flags, method; CRC-32 and sizes
    for place in (0, data.index(b"PK\3\4", 1)):
        for at in known:
            wrong = bytearray(data)
            wrong[place + at] ^= 1
            with pytest.raises(PatchcliError, match=r"has another header than the directory says$"):
                NpzReader(io.BytesIO(wrong)).check_headers()
    for more in (b"\0", bytes(70), comment or b"PK"):
        with pytest.raises(PatchcliError, match=r"(has bytes behind its end|is truncated or damaged)"):
            NpzReader(io.BytesIO(data + more)).check_headers()
    wrong = bytearray(data)
    wrong[data.index(b"a.npy")] ^= 1
    with pytest.raises(PatchcliError, match=r"^member 'a' is called '`.npy' in the header of its own; the file is damaged$"):
        NpzReader(io.BytesIO(wrong)).open("a")


@pytest.mark.parametrize("before", ["another", "zip"])
def test_files_one_behind_the_other_are_refused(before: str) -> None:
    files = []
    for _ in range(2):
        file = io.BytesIO()
        with NpzWriter(file) as writer:
            writer.write("a", ARRAY.shape, ARRAY.dtype, [ARRAY])
        files.append(file.getvalue())
    front = files[0] if before == "another" else b"PK\3\4"
    says = f"^has {len(front)} bytes before its first member, as files one behind the other; give each alone$"
    with pytest.raises(PatchcliError, match=says):
        NpzReader(io.BytesIO(front + files[1]))


@given(st.lists(st.binary(max_size=70), max_size=9))
def test_the_checksum_of_pieces(pieces: list[bytes]) -> None:
    joined = 0
    for piece in pieces:
        joined = crc_of_both(joined, zlib.crc32(piece), len(piece))
    assert joined == zlib.crc32(b"".join(pieces))


@pytest.mark.parametrize("left", [0, 1 << 15, 1 << 26])
@pytest.mark.parametrize("size", [0, 1, 7, (1 << 14) - 1, 1 << 14, (1 << 14) + 1, 100_003])
def test_the_checksum_of_bytes(size: int, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crc, "_LEFT", [left])
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    for before in (0, 1, 0xFFFFFFFF):
        for some in (data.tobytes(), data.data, data[::-1].copy().data):
            assert [crc_of(some, before) for _ in range(4)] == [zlib.crc32(some, before)] * 4
    assert crc_of(data.data) == zlib.crc32(data.data)


def test_an_array_that_is_filled_in_any_order(tmp_path: Path) -> None:
    values = np.arange(60_000, dtype=np.uint16).reshape(6, 100, 100)
    with (tmp_path / "a.npz").open("w+b") as file, NpzWriter(file) as writer:

        def fill(start: int) -> list[tuple[int, int]]:
            for number in (4, 0, 5, 2, 1, 3):
                file.seek(start + number * values[0].nbytes)
                file.write(values[number].tobytes())
            return [(zlib.crc32(one.tobytes()), one.nbytes) for one in values]

        writer.write_filled("values", values.shape, values.dtype, fill)
        writer.write("more", (3,), np.dtype(np.int64), [np.arange(3)])
    with (tmp_path / "b.npz").open("wb") as plain, NpzWriter(plain) as writer:
        writer.write("values", values.shape, values.dtype, [values])
        writer.write("more", (3,), np.dtype(np.int64), [np.arange(3)])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as read:
        assert np.array_equal(read["values"], values)


def test_values_stream_in_pieces() -> None:
    big = np.random.default_rng(1).integers(0, 9, 3_000_000).astype(np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, a=big)
    stream = NpzReader(file).open("a")
    part = np.empty(1000, np.uint8)
    for first in range(0, len(big), 1000):
        stream.readinto(part)
        assert np.array_equal(part, big[first : first + 1000])


PLAIN = b"{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty; give a .npz or a .npy"),
        (b"hello world", r"is not a patch stack or an array \(it starts with b'hello "),
        (b"PK\x03\x04 but no zip", "is truncated or damaged: it is not a whole zip file"),
        (saved(a=ARRAY)[:-10], "is truncated or damaged"),
        (zipped(b"nothing"), "ends before its data do"),
        (zipped(npy(PLAIN, b"abcd", b"\x03\x00")), "no .npy header of version 1.0 or 2.0"),
        (zipped(npy(PLAIN.ljust(5000), b"abcd")), "at most 4096 bytes"),
        (zipped(npy(PLAIN, b"abc")), "holds 3 bytes where its shape .* need 4"),
        (zipped(npy(PLAIN, b"abcde")), "holds 5 bytes where its shape .* need 4"),
        (zipped(npy(PLAIN.replace(b"<u2", b"|O8"), b"abcd")), "does not describe a plain array"),
        (zipped(npy(PLAIN.replace(b"<u2", b"<c8"), b"abcd")), "does not describe a plain array"),
        (zipped(npy(PLAIN.replace(b"<u2", b"<u3"), b"abcd")), "unknown dtype <u3"),
        (zipped(npy(PLAIN.replace(b"(2,)", b"(-2,)"), b"abcd")), "does not describe a plain array"),
        (zipped(npy(PLAIN.replace(b"(2,)", b"(True,)"), b"abcd")), "does not describe a plain array"),
        (zipped(npy(PLAIN.replace(b"(2,)", b"(4611686018427387904, 4)"), b"")), "holds 0 bytes where"),
        (
            zipped(npy(PLAIN, b"abcd"), method=zipfile.ZIP_BZIP2),
            "is encrypted or compressed in an unknown way; store or deflate it",
        ),
        (zipped(npy(PLAIN, b"abcd"), method=zipfile.ZIP_LZMA), "is encrypted or compressed"),
        (zipped(npy(PLAIN, b"abcd"), name="b.npy"), "has no array 'a'; it has b"),
    ],
)
def test_hostile_file(data: bytes, sentence: str) -> None:
    with pytest.raises(PatchcliError, match=sentence):
        load(data)


def test_two_members_of_one_name() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(PLAIN, b"abcd"))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", npy(PLAIN, b"efgh"))
    with pytest.raises(PatchcliError, match=r"two members 'a\.npy'"):
        load(file.getvalue())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_bit_goes_unnoticed(save: Callable[..., None]) -> None:
    file = io.BytesIO()
    save(file, a=ARRAY)
    good = file.getvalue()
    believed = []
    for place in range(len(good) * 8):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        try:
            if not np.array_equal(load(bytes(bad)), ARRAY):
                believed.append(place)
        except PatchcliError:
            pass
    assert believed == []


@pytest.mark.parametrize("cut", range(0, 500, 7))
def test_no_truncated_file_is_believed(cut: int) -> None:
    good = saved(a=ARRAY)
    with pytest.raises(PatchcliError, match=r"is empty|starts with|truncated or damaged"):
        load(good[: min(cut, len(good) - 1)])
