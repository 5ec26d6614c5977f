"""Counter-based random numbers: every draw is a function of what it belongs to, never of the order of drawing.

A key is folded from whole numbers by SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014), so the same
cell of the same chip gets the same numbers whatever else is simulated, in whatever order, on however many threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]
KeyArray = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mixed(value: KeyArray) -> KeyArray:
    """SplitMix64's finaliser of every value: a bijection of 64 bits."""
    z = value + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def folded(*words: int) -> int:
    """Key of whole numbers (at least 0, below 2^64), order matters."""
    key = np.zeros(1, dtype=np.uint64)
    for word in words:
        key = mixed(key ^ mixed(np.array([word], dtype=np.uint64)))
    return int(key[0])


@dataclass(frozen=True, kw_only=True)
class CellDraws:
    """Random numbers of the cells of one physical crossbar: each depends on (key, stream, row, column) only.

    Attributes:
        key: folded from (seed, chip, layer, crossbar).
        rows, cols: cells that are wanted, from physical cell (0, 0) on; a larger array begins with the same numbers.
    """

    key: int
    rows: int
    cols: int

    def uniform(self, stream: int) -> FloatArray:
        """(rows, cols) float64 in (0, 1), never 0 or 1: midpoints of 2^52 equal intervals."""
        row = np.arange(self.rows, dtype=np.uint64)[:, None] << np.uint64(32)
        cell = row | np.arange(self.cols, dtype=np.uint64)[None, :]
        bits = mixed(mixed(cell) ^ np.uint64(folded(self.key, stream)))
        return np.asarray(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52, dtype=np.float64)

    def normal(self, stream: int) -> FloatArray:
        """(rows, cols) float64 standard normal, by the inverse of the distribution function."""
        return np.asarray(ndtri(self.uniform(stream)), dtype=np.float64)
