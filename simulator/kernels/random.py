"""Counter-based normal numbers for reads: the key says which read, nothing depends on the order of drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

_u32 = np.uint32
_u64 = np.uint64

#: Entries of the table of normal quantiles; its ends are at +-4.33 standard deviations.
TABLE_BITS = 16


@kernel
def mixed(value: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014); equals ``simulator.draws.mixed``."""
    z = _u64(_u64(value) + _u64(0x9E3779B97F4A7C15))
    z = _u64(_u64(z ^ _u64(z >> _u64(30))) * _u64(0xBF58476D1CE4E5B9))
    z = _u64(_u64(z ^ _u64(z >> _u64(27))) * _u64(0x94D049BB133111EB))
    return _u64(z ^ _u64(z >> _u64(31)))


@kernel
def fill_indices(key: Any, first: int, indices: NDArray[np.uint32]) -> None:
    """Table index of the draws ``first``, ``first`` + 1 ... of a key, 0 to 2^16 - 1.

    Two multiply-and-shift rounds on 32-bit lanes (the constants are those of Mueller's lowbias32), with the second
    half of the key entering between them.
    """
    low = _u32(_u64(key) & _u64(0xFFFFFFFF))
    high = _u32(_u64(key) >> _u64(32))
    for i in range(indices.size):
        z = _u32(low + _u32(_u32(first + i) * _u32(0x9E3779B1)))
        z = _u32(_u32(z ^ _u32(z >> _u32(16))) * _u32(0x7FEB352D))
        z = _u32(z ^ high)
        z = _u32(_u32(z ^ _u32(z >> _u32(15))) * _u32(0x846CA68B))
        indices[i] = _u32(z >> _u32(16))


@kernel
def perturb(
    values: NDArray[np.float32],
    sigma: NDArray[np.float32],
    table: NDArray[np.float32],
    key: Any,
    out: NDArray[np.float32],
) -> None:
    """Values plus ``sigma`` times a normal number each, (rows, columns) float32; row r draws with key (key, r)."""
    indices = np.empty(values.shape[1], dtype=np.uint32)
    for r in range(values.shape[0]):
        fill_indices(mixed(_u64(key) ^ _u64(r)), 0, indices)
        for c in range(values.shape[1]):
            out[r, c] = values[r, c] + sigma[r, c] * table[indices[c]]
