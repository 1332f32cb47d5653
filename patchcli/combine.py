"""How values that lie on one pixel become one, two at a time: addition, and what may stand for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from patchcli.dtypes import sum_dtype


class Combine(NamedTuple):
    """How values that lie on one pixel become one.

    Attributes:
        ufunc: of two values; its order must not matter.
        blank: what changes no other value.
    """

    ufunc: np.ufunc
    blank: float

    def dtype(self, dtype: np.dtype[Any], terms: int) -> np.dtype[Any]:
        """What holds the result of ``terms`` values of ``dtype``."""
        return sum_dtype(dtype, terms) if self.ufunc is np.add else dtype


ADD = Combine(np.add, 0)
