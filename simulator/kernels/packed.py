"""Column sums of ideal cells by population counts: 64 rows of a column and one bit of their cells are one word.

The cost of a sum does not depend on how many rows are driven; where few are, adding up their cells is cheaper.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core import codegen
from numba.extending import intrinsic
from numpy.typing import NDArray

from ._jit import inlined, kernel

_ONE = np.uint64(1)
#: Rows of a word.
WORD_ROWS = 64
_FEATURES: str = codegen.get_host_cpu_features()  # type: ignore[no-untyped-call]
#: Driven rows that take as long to add up as one word takes to count, in 8-bit and in 16-bit lanes: measured with an
#: instruction that counts the ones of eight words, estimated (six times as many) without one.
_ROWS_A_WORD = (8, 2) if "+avx512vpopcntdq" in _FEATURES else (48, 12)


class Packing(NamedTuple):
    """When reads count packed words: from ``rows`` driven rows on, once ``reads`` of a block would profit."""

    rows: int
    reads: int


def packing(cell_bits: int, n_rows: int, lane_bits: int) -> Packing:
    """Packing of row groups of ``n_rows``; it changes the time of a read and nothing else."""
    words = cell_bits * -(-n_rows // WORD_ROWS)
    return Packing(rows=max(8, words * _ROWS_A_WORD[lane_bits > 8]), reads=16)


def _count_ones(_typing: Any, _word: Any) -> Any:
    """Bits of a 64-bit word that are 1; one instruction, or a vector of them."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_ones: Any = intrinsic(_count_ones)


@kernel
def pack_group(cells: NDArray[Any], start: int, n_rows: int, packed: NDArray[np.uint64]) -> None:
    """Pack the rows ``start .. start + n_rows`` of ``cells`` into ``packed`` (bits of a cell, words, columns)."""
    packed[:] = 0
    for r in range(n_rows):
        row, place = cells[start + r], np.uint64(r % WORD_ROWS)
        for b in range(packed.shape[0]):
            words = packed[b, r // WORD_ROWS]
            for c in range(row.size):
                words[c] |= ((np.uint64(row[c]) >> np.uint64(b)) & _ONE) << place


@inlined
def drive_words(rows: NDArray[np.int32], first: int, last: int, start: int, words: NDArray[np.uint64]) -> None:
    """Words in which the driven rows ``rows[first:last]`` of a group that begins at row ``start`` are 1."""
    words[:] = 0
    for i in range(first, last):
        r = rows[i] - start
        words[r // WORD_ROWS] |= _ONE << np.uint64(r % WORD_ROWS)


@inlined
def count_columns(packed: NDArray[np.uint64], words: NDArray[np.uint64], sums: NDArray[Any]) -> None:
    """Column sums of the driven rows in the number type of ``sums``."""
    for c in range(sums.size):
        sums[c] = _ones(packed[0, 0, c] & words[0])
    for w in range(1, words.size):
        for c in range(sums.size):
            sums[c] += _ones(packed[0, w, c] & words[w])
    for b in range(1, packed.shape[0]):
        for w in range(words.size):
            for c in range(sums.size):
                sums[c] += _ones(packed[b, w, c] & words[w]) << np.uint64(b)
