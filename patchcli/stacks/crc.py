"""CRC-32, the checksum of a member of a zip file: of bytes, and of two pieces of them from that of each.

zlib, which is there from the start, sums up some 3 GB/s; libdeflate, which comes with the codecs of images, 20 GB/s.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLYNOMIAL = 0xEDB88320  # but for x**32, the coefficient of x**k in bit 31 - k
LEAST_SUMMED = 1 << 14  # bytes that zlib sums up before another function has looked what it was given
LIBDEFLATE = "imagecodecs._deflate"
WORTH = 1 << 26  # bytes that zlib sums up while libdeflate would be loaded
_LEFT = [WORTH]


def crc_of(data: bytes | memoryview, before: int = 0) -> int:
    """The CRC-32 of some bytes; of such that follow on others, whose CRC-32 is ``before``.

    >>> crc_of(b"bytes", crc_of(b"some ")) == zlib.crc32(b"some bytes")
    True
    """
    if len(data) < LEAST_SUMMED:
        return zlib.crc32(data, before)
    if _LEFT[0] > 0 and LIBDEFLATE not in sys.modules:
        _LEFT[0] -= len(data)
        return zlib.crc32(data, before)
    return _fast()(data, before)


@functools.cache
def _fast() -> Callable[[bytes | memoryview, int], int]:
    summed: Callable[[bytes | memoryview, int], int] = zlib.crc32
    with contextlib.suppress(ImportError, MemoryError):  # where memory is short
        import imagecodecs

        summed = imagecodecs.deflate_crc32  # type: ignore[assignment]  # it takes a memoryview, too
    return summed


def crc_of_both(first: int, second: int, nbytes: int) -> int:
    """The CRC-32 of two pieces of data from that of each, where the second has so many bytes.

    A CRC-32 is a polynomial over GF(2) modulo `POLYNOMIAL`, so that ``crc(a + b) = crc(a) * x**(8 * len(b)) + crc(b)``. (What is
    added before and after a piece, all ones, cancels out: it is the same for ``a`` as for what of ``a`` goes into ``b``.)

    >>> crc_of_both(crc_of(b"some "), crc_of(b"bytes"), 5) == crc_of(b"some bytes")
    True
    """
    return _product(_shift(nbytes), first) ^ second


@functools.lru_cache(16)
def _shift(nbytes: int) -> int:
    """``x**(8 * nbytes)``, by squaring."""
    power, square, left = 1 << 31, 1 << 30, 8 * nbytes  # 1 and x
    while left:
        if left & 1:
            power = _product(power, square)
        square, left = _product(square, square), left >> 1
    return power


def _product(one: int, other: int) -> int:
    """The product of two polynomials, the coefficient of ``x**k`` in bit ``31 - k``."""
    total = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            total ^= other
        other = other >> 1 ^ (POLYNOMIAL if other & 1 else 0)
    return total
