"""The kernel of training reads against plain loops, on random layers and by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import reads_train_twin

from spikeloop.simulator.kernels.reads_train import ReadTables, read_plane

NONE, NO_COLUMNS = np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.float32)


def random_case(seed, *, scattered, n_planes):
    """Windows of (signed, if more than one plane) codes and tables with the last piece a dummy column."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 14, size=rng.integers(1, 4))
    n_groups, n_outputs, n_pieces = length.size, int(rng.integers(1, 6)), int(rng.integers(1, 5))
    shape = (n_groups, n_pieces * n_outputs)
    values = rng.integers(0, 4, size=(n_groups, length.max(), shape[1])).astype(np.float32)
    if scattered:
        values += rng.normal(0, 0.3, size=values.shape).astype(np.float32)
    own = np.arange(shape[1])
    own[-n_outputs:] = own[-n_outputs]
    counted = (own == np.arange(shape[1])).astype(np.int32)
    dtype = np.float32 if rng.random() < 0.5 else np.float64
    lsb = 2.0 ** rng.integers(0, 3, size=shape)
    low, high = (0, 2) if n_planes == 1 else (-(2 ** (n_planes - 1)), 2 ** (n_planes - 1))
    windows = rng.integers(low, high, size=(int(rng.integers(1, 9)), length.sum())).astype(np.float32)
    windows *= rng.random(windows.shape) < rng.choice([0.05, 0.5, 1.0])
    tables = ReadTables(
        start=np.cumsum(length) - length,
        length=length,
        values=values,
        variance=rng.random(values.shape).astype(np.float32) if scattered and rng.random() < 0.7 else NONE,
        scale=(1 / lsb).astype(np.float32),
        offset=(0.5 + (rng.normal(0, 1, size=shape) if scattered else 0) * np.ones(shape)).astype(np.float32),
        adc_variance=rng.random(shape).astype(np.float32) if scattered and rng.random() < 0.7 else NO_COLUMNS,
        weight=(lsb * rng.integers(-4, 5, size=shape)).astype(dtype),
        own=own,
        counted=counted,
        share=rng.dirichlet(np.ones(n_pieces)).astype(np.float32),
        top=np.float32(2 ** rng.integers(1, 5) - 1),
    )
    noisy = tables.variance.size or tables.adc_variance.size
    normal = rng.normal(size=(n_groups, len(windows), shape[1])).astype(np.float32) if noisy else NONE
    return windows, tables, normal, np.zeros((len(windows), n_outputs), dtype)


@given(seed=st.integers(0, 2**32 - 1), scattered=st.booleans(), n_planes=st.integers(1, 4), wanted=st.booleans())
@settings(deadline=None, max_examples=150)
def test_the_kernel_is_the_plain_loops(seed, scattered, n_planes, wanted):
    check(seed, scattered, n_planes, wanted)


def test_the_hard_cases_occur():
    seen = Counter()
    for seed in range(60):
        seen += check(seed, scattered=seed % 3 == 0, n_planes=1 + seed % 4, wanted=True)
    assert seen["clipped"] > 200
    assert seen["undriven"] > 30
    assert seen["half"] > 100
    assert seen["noisy"] > 10


def check(seed, scattered, n_planes, wanted) -> Counter:
    windows, tables, normal, zeros = random_case(seed, scattered=scattered, n_planes=n_planes)
    passes = np.zeros((len(windows), tables.start.size, zeros.shape[1]), np.float32) if wanted else NONE
    found, twin = (zeros.copy(), passes.copy()), (zeros.copy(), passes.copy())
    seen = Counter(noisy=bool(normal.size))
    for plane in range(n_planes):
        sign = -1 if plane and plane == n_planes - 1 else 1
        place, share = zeros.dtype.type(sign * 2**plane), np.float32(2**plane / (2**n_planes - 1))
        clipped = read_plane(windows, plane, place, share, tables, normal, *found)
        assert clipped == reads_train_twin.read_plane(windows, plane, place, share, tables, normal, *twin)
        assert np.array_equal(found[0], twin[0])
        assert np.array_equal(found[1], twin[1])
        seen["clipped"] += clipped
        for g, (start, length) in enumerate(zip(tables.start, tables.length, strict=True)):
            bits = (windows[:, start : start + length].astype(int) >> plane) & 1
            seen["undriven"] += int((bits.sum(1) == 0).sum())
            if not scattered:
                halves = 2 * (bits @ tables.values[g, :length].astype(int)) * tables.scale[g]
                seen["half"] += int((halves % 2 == 1).sum())
    return seen


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_read_by_hand(dtype):
    """Two row groups of two rows, one output on a positive and a negative column, 2-bit ADC of lsb 1.

    Windows (1, 1 | 0, 1) and (0, 0 | 1, 0); cells 3 2 | 1 0 and 0 0 | 0 2. Positive sums 5 (clips at 3) and 0, negative
    0 and 2: 3 - 2 = 1. Then nothing, and 1. The first read passes its negative column's half.
    """
    tables = ReadTables(
        start=np.array([0, 2]),
        length=np.array([2, 2]),
        values=np.array([[[3, 0], [2, 0]], [[1, 0], [0, 2]]], np.float32),
        variance=NONE,
        scale=np.ones((2, 2), np.float32),
        offset=np.full((2, 2), 0.5, np.float32),
        adc_variance=NO_COLUMNS,
        weight=np.array([[1, -1], [1, -1]], dtype),
        own=np.array([0, 1]),
        counted=np.ones(2, np.int32),
        share=np.array([0.5, 0.5], np.float32),
        top=np.float32(3),
    )
    windows = np.array([[1, 1, 0, 1], [0, 0, 1, 0]], np.float32)
    outputs, passes = np.zeros((2, 1), dtype), np.zeros((2, 2, 1), np.float32)
    assert read_plane(windows, 0, dtype(1), np.float32(1), tables, NONE, outputs, passes) == 1
    assert outputs[:, 0].tolist() == [1, 1]
    assert passes[:, :, 0].tolist() == [[0.5, 1.0], [1.0, 1.0]]  # windows, row groups
