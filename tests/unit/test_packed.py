"""Column sums by population counts equal plain sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.simulator.kernels.packed import WORD_ROWS, count_columns, drive_words, pack_group, packing


@settings(max_examples=60)
@given(
    n_rows=st.one_of(st.integers(1, 200), st.sampled_from([63, 64, 65, 128, 129])),
    cell_bits=st.integers(1, 8),
    start=st.integers(0, 70),
    density=st.sampled_from([0.02, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_counted_sums_equal_added_ones(n_rows, cell_bits, start, density, seed):
    rng = np.random.default_rng(seed)
    n_columns = int(rng.integers(1, 40))
    cells = rng.integers(0, 2**cell_bits, (start + n_rows + 3, n_columns)).astype(np.uint8)
    packed = np.full((cell_bits, -(-n_rows // WORD_ROWS), n_columns), 2**64 - 1, dtype=np.uint64)  # of another group
    words = np.full(packed.shape[1], 2**64 - 1, dtype=np.uint64)  # of another read
    pack_group(cells, start, n_rows, packed)
    before = rng.integers(0, 5)
    rows = np.concatenate([np.zeros(before), start + np.flatnonzero(rng.random(n_rows) < density)]).astype(np.int32)
    drive_words(rows, before, rows.size, start, words)
    assert int(np.bitwise_count(words).sum()) == rows.size - before
    sums = np.full(n_columns, 77, dtype=np.uint16)
    count_columns(packed, words, sums)
    assert sums.tolist() == cells[rows[before:]].sum(axis=0, dtype=np.int64).tolist()


def test_more_words_are_worth_counting_from_more_rows():
    assert packing(1, 64, 8).rows >= 8
    assert packing(4, 128, 8).rows == 8 * packing(1, 64, 8).rows
    assert packing(4, 128, 16).rows < packing(4, 128, 8).rows
