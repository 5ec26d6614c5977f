"""Pattern tables: repeated values kept once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Patterns:
    """Collects repeated values and says where each begins; equal arrays given under one key are kept once."""

    def __init__(self) -> None:
        self._pieces: list[IntArray] = []
        self._known: dict[object, int] = {}
        self._size = 0

    def add(self, values: IntArray, key: object = None) -> int:
        """Start of the values."""
        if key is not None and key in self._known:
            return self._known[key]
        start = self._size
        self._pieces.append(np.ascontiguousarray(values, dtype=np.int64).ravel())
        self._size += self._pieces[-1].size
        if key is not None:
            self._known[key] = start
        return start

    def values(self) -> IntArray:
        """All of them."""
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.int64)
