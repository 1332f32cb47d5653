"""`.npy` and Netpbm images: windows of the rows that lie in the file, and nothing hostile believed."""

from __future__ import annotations

import io
import math
from typing import Any

import netpbmfile
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchcli.errors import PatchcliError
from patchcli.images import stored_rows
from patchcli.images.source import open_image
from tests.helpers.pictures import picture

SIZE = (23, 37)
CODES = ["?", "u1", "i1", "<u2", ">u2", "<i4", ">u8", "<f2", ">f4", "<f8"]


def saved(image: NDArray[Any], version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, image, version=version)
    return file.getvalue()


def array(code: str, channels: int) -> NDArray[Any]:
    dtype = np.dtype(code)
    return picture(dtype.newbyteorder("=").str[1:], channels, *SIZE).astype(dtype)


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int]]:
    (top, bottom), (left, right) = (sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for side in SIZE)
    return (top, bottom), (left, right)


def check_windows(data: bytes, expected: NDArray[Any], window: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The whole and a window of it are as expected, and read as such."""
    image = open_image(io.BytesIO(data))
    assert image.in_bands
    (top, bottom), (left, right) = window
    got = image.read(*window)
    assert got.dtype == expected.dtype.newbyteorder("=")
    assert np.array_equal(got, expected[top:bottom, left:right])
    assert np.array_equal(image.pixels(), expected)


@given(st.sampled_from(CODES), st.sampled_from([1, 2, 3, 9]), st.sampled_from([(1, 0), (2, 0)]), windows())
def test_npy_is_read_as_numpy_does(code: str, channels: int, version: tuple[int, int], window: Any) -> None:
    check_windows(saved(array(code, channels), version), array(code, channels), window)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_npy_in_fortran_order_is_read_whole(code: str, channels: int) -> None:
    expected = array(code, channels)
    image = open_image(io.BytesIO(saved(np.asfortranarray(expected))))
    assert not image.in_bands
    assert np.array_equal(image.read((2, 20), (5, 9)), expected[2:20, 5:9])


def test_npy_of_one_channel_is_gray() -> None:
    image = open_image(io.BytesIO(saved(array("u1", 1)[..., None])))
    assert image.shape == SIZE
    assert np.array_equal(image.pixels(), array("u1", 1))


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }"


def with_header(text: str, payload: int = 6) -> bytes:
    return b"\x93NUMPY\1\0" + len(text + "\n").to_bytes(2, "little") + text.encode() + b"\n" + bytes(payload)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (saved(np.zeros(4)), r"^holds an array of shape \(4,\); an image is \(H, W\) or \(H, W, C\), of 1 pixel or more$"),
        (saved(np.zeros((2, 2, 2, 2))), r"^holds an array of shape \(2, 2, 2, 2\); an image is"),
        (saved(np.array(1.0)), r"^holds an array of shape \(\); an image is"),
        (saved(np.zeros((3, 0))), r"^holds an array of shape \(3, 0\); an image is"),
        (saved(np.zeros((2, 2), complex)), "^has a .npy header that does not describe a plain array of real numbers$"),
        (saved(np.zeros((2, 2), "M8[s]")), "^has a .npy header that does not describe a plain array of real numbers$"),
        (saved(np.zeros((2, 2), "U3")), "^image has dtype <U3; allowed are bool, integers and floats"),
        (saved(np.zeros((2, 2), np.longdouble)), "^image has dtype float128; allowed are bool, integers and floats"),
        (with_header(HEADER.replace("|u1", "|O")), "plain array of real numbers"),
        (with_header(HEADER.replace("|u1", "<u3")), "^has the unknown dtype <u3$"),
        (with_header(HEADER.replace("2, 3", "-2, 3")), "plain array of real numbers"),
        (with_header(HEADER.replace("2, 3", "2, 4")), r"^holds 6 bytes where its shape \(2, 4\) and dtype uint8 need 8$"),
        (with_header(HEADER, 7), r"^holds 7 bytes where its shape \(2, 3\) and dtype uint8 need 6$"),
        (with_header(HEADER.replace("2, 3", "99999999999, 99999999999")), "^holds 6 bytes where"),
        (with_header(HEADER + " " * 5000), "^has no .npy header of version 1.0 or 2.0 and at most 4096 bytes$"),
        (b"\x93NUMPY\3\0" + with_header(HEADER)[8:], "^has no .npy header of version 1.0 or 2.0"),
        (with_header(HEADER)[:30], "^ends before its data do; the file is truncated or damaged$"),
    ],
)
def test_npy_of_another_kind_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(PatchcliError, match=said):
        open_image(io.BytesIO(data))


def netpbm(image: NDArray[Any], kind: str, most: int) -> bytes:
    file = io.BytesIO()
    netpbmfile.imwrite(file, image, magicnumber=kind, maxval=most)  # type: ignore[arg-type]
    return file.getvalue()


@given(st.sampled_from(["P4", "P5", "P5 16", "P5 10", "P6", "P6 16"]), windows())
@example("P4", ((0, 23), (7, 9)))
def test_netpbm_is_read_in_windows(kind: str, window: Any) -> None:
    image = picture({"P4": "b1"}.get(kind, "u2" if " " in kind else "u1"), 3 if kind[1] == "6" else 1, *SIZE)
    if kind == "P5 10":
        image = image & 1023
    most = {"P4": 1, "P5 10": 1023}.get(kind, 65535 if " " in kind else 255)
    data = netpbm(~image if kind == "P4" else image, kind[:2], most)
    check_windows(data, image, window)
    with pytest.raises(PatchcliError, match=r"^is truncated: its pixels need \d+ bytes at \d+ of a file of \d+ bytes$"):
        open_image(io.BytesIO(data[:-1]))


@pytest.mark.parametrize("kind", ["P1", "P2", "P3"])
def test_netpbm_of_text_is_read_whole(kind: str) -> None:
    image = picture("b1" if kind == "P1" else "u1", 3 if kind == "P3" else 1, *SIZE)
    source = open_image(io.BytesIO(netpbm(~image if kind == "P1" else image, kind, 1 if kind == "P1" else 255)))
    assert not source.in_bands
    assert np.array_equal(source.read((1, 9), (2, 30)), image[1:9, 2:30])


def test_rows_are_read_in_runs_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "RUN_BYTES", 100)
    expected = array("<u2", 3)
    image = open_image(io.BytesIO(saved(expected)))
    assert np.array_equal(image.read((1, 23), (3, 30)), expected[1:23, 3:30])


def test_only_the_rows_of_a_window_are_read() -> None:
    class Counted(io.BytesIO):
        got = 0

        def readinto(self, buffer: Any) -> int:
            self.got += super().readinto(buffer)
            return len(buffer)

    image = picture("u1", 3, 200, 300)
    file = Counted(saved(image))
    source = open_image(file)
    assert np.array_equal(source.read((50, 60), (7, 9)), image[50:60, 7:9])
    assert file.got == math.prod((10, 300, 3))
