"""Counter-based random numbers: against SplitMix64 in plain Python integers, and against their distributions."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design
from numpy.typing import NDArray
from scipy import stats

from spikeloop.simulator.draws import CellDraws, folded, mixed
from spikeloop.simulator.functional.analog import NORMAL_TABLE, AnalogChip
from spikeloop.simulator.kernels import random as kernel_random
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.graph import InputNode, LifNode, LinearNode, Network, Node, ReadoutNode, chain_edges

FloatArray = NDArray[np.float64]

#: Two-sided; with the numbers of draws below a departure of a percent or two would be seen.
_UNLIKELY = 1e-5

U64 = st.integers(0, 2**64 - 1)


class SplitMix64:
    """The generator as its paper states it: a state that steps by the golden gamma, and a finaliser."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = ((z ^ (z // 2**30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z // 2**27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z // 2**31)


def finalised(value: int) -> int:
    return SplitMix64(value).next()


def key_of(*words: int) -> int:
    """Words enter one after the other, each finalised first: key <- f(key xor f(word)), from key 0."""
    key = 0
    for word in words:
        key = finalised(key ^ finalised(word))
    return key


def uniform_of(key: int, stream: int, row: int, col: int) -> float:
    """Midpoint of one of 2^52 intervals, from the top bits of f(f(row * 2^32 + col) xor key(key, stream))."""
    bits = finalised(finalised(row * 2**32 + col) ^ key_of(key, stream))
    return (bits // 2**12 + 0.5) / 2**52


def index_of(key: int, number: int) -> int:
    """Entry of the table of 2^16 quantiles: two rounds of lowbias32, the upper half of the key between them."""
    low, high = key % 2**32, key // 2**32
    z = (low + number * 0x9E3779B1) % 2**32
    z = ((z ^ (z // 2**16)) * 0x7FEB352D) % 2**32 ^ high
    z = ((z ^ (z // 2**15)) * 0x846CA68B) % 2**32
    return z // 2**16


def indices(key: int, first: int, count: int) -> NDArray[np.uint32]:
    out = np.empty(count, dtype=np.uint32)
    kernel_random.fill_indices(np.uint64(key), first, out)
    return out


def table_normals(n_keys: int, count: int, seed: int = 1) -> FloatArray:
    """(keys, count) normal numbers as reads draw them: keys that count up, finalised, a number a column."""
    rows = [indices(finalised(key_of(seed) ^ k), 0, count) for k in range(n_keys)]
    return np.asarray(NORMAL_TABLE[np.array(rows)], dtype=np.float64)


def far(n: int) -> float:
    """Kolmogorov-Smirnov distance of n draws that is too large."""
    return float(stats.kstwo.isf(_UNLIKELY, n))


def assert_uncorrelated(first: FloatArray, second: FloatArray) -> None:
    """The correlation of n independent pairs is normal with deviation 1 / sqrt(n)."""
    limit = NormalDist().inv_cdf(1 - _UNLIKELY / 2) / math.sqrt(first.size)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < limit


def assert_moments(sample: FloatArray) -> None:
    """Mean, variance and fourth moment of independent standard normal numbers."""
    z, n = NormalDist().inv_cdf(1 - _UNLIKELY / 2), sample.size
    assert abs(sample.mean()) < z / math.sqrt(n)
    assert abs((sample**2).mean() - 1) < z * math.sqrt(2 / n) + 2e-4
    assert abs((sample**4).mean() - 3) < z * math.sqrt(96 / n) + 4e-3


# ------------------------------------------------------------------------------------------------- the integers


@pytest.mark.parametrize(
    ("seed", "outputs"),
    [
        (0, (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)),
        (1234567, (6457827717110365317, 3203168211198807973, 9817491932198370423)),
    ],
)
def test_the_plain_generator_gives_the_published_numbers(seed: int, outputs: tuple[int, ...]) -> None:
    """First outputs of the reference implementation for two seeds."""
    generator = SplitMix64(seed)
    assert tuple(generator.next() for _ in outputs) == outputs


@given(values=st.lists(U64, min_size=1, max_size=20))
def test_the_finaliser_equals_plain_integers(values: list[int]) -> None:
    expected = [finalised(value) for value in values]
    assert mixed(np.array(values, dtype=np.uint64)).tolist() == expected
    assert [int(kernel_random.mixed(np.uint64(value))) for value in values] == expected


@given(words=st.lists(U64, max_size=6))
def test_keys_are_folded_word_by_word(words: list[int]) -> None:
    assert folded(*words) == key_of(*words)


def test_the_order_of_words_matters_and_small_words_do_not_collide() -> None:
    """Six words from 0 to 3: all 4096 keys differ, and so do those of fewer words."""
    keys = {folded(*words) for n in range(7) for words in itertools.product(range(4), repeat=n)}
    assert len(keys) == sum(4**n for n in range(7))


@given(key=U64, stream=st.integers(0, 2000), row=st.integers(0, 69), col=st.integers(0, 89))
@settings(max_examples=40)
def test_a_cell_draws_what_plain_integers_say(key: int, stream: int, row: int, col: int) -> None:
    """Whatever the array: the last cell of the smallest array that holds it, and of a larger one."""
    expected = uniform_of(key, stream, row, col)
    for rows, cols in ((row + 1, col + 1), (row + 7, col + 1), (row + 1, col + 13)):
        draws = CellDraws(key=key, rows=rows, cols=cols)
        assert draws.uniform(stream)[row, col] == expected
        assert draws.normal(stream)[row, col] == pytest.approx(NormalDist().inv_cdf(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("row", "col"), [(4095, 17), (17, 4095)])
def test_far_cells_of_the_largest_crossbar(row: int, col: int) -> None:
    assert CellDraws(key=9, rows=row + 1, cols=col + 1).uniform(3)[row, col] == uniform_of(9, 3, row, col)


@given(key=U64, first=st.integers(0, 5000), count=st.integers(1, 9))
def test_table_entries_equal_plain_integers(key: int, first: int, count: int) -> None:
    expected = [index_of(key, first + i) for i in range(count)]
    assert indices(key, first, count).tolist() == expected
    assert all(0 <= entry < 2**16 for entry in expected)


@given(key=U64, rows=st.integers(1, 4), cols=st.integers(1, 5), seed=st.integers(0, 9))
def test_perturbed_rows_have_keys_of_their_own(key: int, rows: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, sigma = rng.random((2, rows, cols)).astype(np.float32)
    out = np.empty_like(values)
    kernel_random.perturb(values, sigma, NORMAL_TABLE, np.uint64(key), out)
    for r, c in itertools.product(range(rows), range(cols)):
        z = NormalDist().inv_cdf((index_of(finalised(key ^ r), c) + 0.5) / 2**16)
        assert out[r, c] == pytest.approx(float(values[r, c]) + float(sigma[r, c]) * z, rel=1e-6, abs=1e-6)


def two_layers() -> tuple[Network, Mapping]:
    """Two linear layers on several crossbars each."""
    weight = np.ones((20, 20), dtype=np.int64)
    nodes: tuple[Node, ...] = (
        InputNode(name="in", shape=(20, 1, 1), bits=1),
        LinearNode(name="first", weight=weight, weight_bits=2),
        LifNode(name="lif", theta=3, membrane_bits=6, guard_bits=2, leak_mul=1, leak_shift=1, reset="hard"),
        LinearNode(name="second", weight=weight, weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(20, dtype=np.int64)),
    )
    network = Network(name="two", n_timesteps=1, nodes=nodes, edges=chain_edges(nodes))
    return network, map_network(network, design(rows=8, cols=8))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_what_is_static_is_keyed_by_seed_chip_layer_and_crossbar(seed: int) -> None:
    _, mapping = two_layers()
    keys = set()
    for chip, mapped, crossbar in itertools.product(range(3), mapping.layers, range(3)):
        found = AnalogChip(hw=design(rows=8, cols=8), seed=seed, chip=chip).crossbar_key(mapped, crossbar)
        assert found == key_of(1, seed, chip, mapped.layer.index, crossbar)
        keys.add(found)
    assert len(keys) == 3 * 2 * 3


# ------------------------------------------------------------------------------------------- their distributions


def test_the_table_holds_the_quantiles_of_a_normal_number() -> None:
    """Midpoints of 2^16 equal probabilities; its ends, F^-1(1 - 2^-17), are the cut."""
    plain = [NormalDist().inv_cdf((i + 0.5) / 2**16) for i in range(0, 2**16, 97)]
    assert NORMAL_TABLE[::97] == pytest.approx(plain, rel=1e-6, abs=1e-6)
    assert NORMAL_TABLE.size == 2**16
    assert np.all(np.diff(NORMAL_TABLE) > 0)
    assert np.array_equal(NORMAL_TABLE, -NORMAL_TABLE[::-1])
    assert NORMAL_TABLE[-1] == pytest.approx(-NormalDist().inv_cdf(2.0**-17), rel=1e-6)
    assert 4.32 < NORMAL_TABLE[-1] < 4.33


def test_moments_of_the_table() -> None:
    """What the cut and the steps take away: 1e-4 of the variance, a thousandth of the fourth moment."""
    table = NORMAL_TABLE.astype(np.float64)
    assert abs(table.mean()) < 1e-9
    assert 1 - 1e-4 < (table**2).mean() < 1
    assert 3 * (1 - 1.2e-3) < (table**4).mean() < 3
    assert abs((table**3).mean()) < 1e-6


def test_reads_draw_normal_numbers() -> None:
    sample = table_normals(2000, 256)
    assert_moments(sample)
    assert stats.kstest(sample.ravel(), stats.norm.cdf).statistic < far(sample.size)
    assert np.abs(sample).max() == NORMAL_TABLE[-1]  # of half a million draws some are the ends


def test_the_distance_tells_a_wrong_law() -> None:
    """Power of the test above: two percent more deviation, or a mean of a hundredth, is too far."""
    sample = table_normals(2000, 256).ravel()
    for wrong in (1.02 * sample, sample + 0.01):
        assert stats.kstest(wrong, stats.norm.cdf).statistic > far(sample.size)


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_table_entries_are_uniform_in_their_top_and_bottom_bits(bits: int) -> None:
    drawn = np.concatenate([indices(finalised(k), 0, 512) for k in range(2500)])
    for part in (drawn >> np.uint32(16 - bits), drawn & np.uint32(2**bits - 1)):
        counts = np.bincount(part, minlength=2**bits)
        low, high = stats.chi2.ppf([_UNLIKELY, 1 - _UNLIKELY], 2**bits - 1)
        assert low < ((counts - counts.mean()) ** 2).sum() / counts.mean() < high


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 16, 64, 128])
def test_neighbouring_columns_and_reads_are_independent(lag: int) -> None:
    """And so are their squares: a scatter that comes and goes would be no white noise."""
    sample = table_normals(1200, 256, seed=3)
    for first, second in (
        (sample[:, :-lag], sample[:, lag:]),
        (sample[:-lag], sample[lag:]),
        (sample[:-lag, :-lag], sample[lag:, lag:]),
    ):
        assert_uncorrelated(first, second)
        assert_uncorrelated(first**2, second**2)


def test_a_column_is_normal_over_the_reads_and_a_read_over_the_columns() -> None:
    """Sums over many columns, and over many reads, scatter as sums of independent numbers."""
    sample = table_normals(1024, 1024, seed=4)
    for axis in (0, 1):
        sums = sample.sum(axis=axis) / 32.0
        assert stats.kstest(sums, stats.norm.cdf).statistic < far(sums.size)
        chi2 = (sample**2).sum(axis=axis)
        assert stats.kstest(chi2, stats.chi2(1024).cdf).statistic < far(chi2.size)


def test_cells_draw_uniform_and_normal_numbers() -> None:
    draws = CellDraws(key=key_of(5), rows=512, cols=512)
    uniform, normal = draws.uniform(0), draws.normal(0)
    assert 0.0 < uniform.min() < uniform.max() < 1.0
    assert stats.kstest(uniform.ravel(), stats.uniform.cdf).statistic < far(uniform.size)
    assert stats.kstest(normal.ravel(), stats.norm.cdf).statistic < far(normal.size)
    assert_moments(normal)


@pytest.mark.parametrize("lag", [1, 2, 7, 64])
def test_neighbouring_cells_are_independent(lag: int) -> None:
    normal = CellDraws(key=key_of(6), rows=400, cols=400).normal(0)
    for first, second in (
        (normal[:, :-lag], normal[:, lag:]),
        (normal[:-lag], normal[lag:]),
        (normal[:-lag, :-lag], normal[lag:, lag:]),
        (normal[lag:, :-lag], normal[:-lag, lag:]),
    ):
        assert_uncorrelated(first, second)
        assert_uncorrelated(first**2, second**2)


def test_a_cell_and_its_mirror_are_independent() -> None:
    """Row and column are not interchangeable."""
    normal = CellDraws(key=key_of(6), rows=400, cols=400).normal(0)
    above = np.triu_indices(400, 1)
    assert_uncorrelated(normal[above], normal.T[above])


def test_seeds_chips_layers_crossbars_and_streams_are_independent() -> None:
    """Neighbours in one word each; 40,000 cells a pair."""
    _, mapping = two_layers()
    hw = design(rows=8, cols=8)

    def cells(seed: int, chip: int, layer: int, crossbar: int, stream: int) -> FloatArray:
        key = AnalogChip(hw=hw, seed=seed, chip=chip).crossbar_key(mapping.layers[layer], crossbar)
        return CellDraws(key=key, rows=200, cols=200).normal(stream)

    place = (3, 1, 0, 2, 0)
    first = cells(*place)
    for word in range(5):
        other = list(place)
        other[word] += 1
        second = cells(*other)
        assert_uncorrelated(first, second)
        assert_uncorrelated(first**2, second**2)
    assert_uncorrelated(cells(1, 2, 0, 0, 0), cells(2, 1, 0, 0, 0))


@given(key=U64, rows=st.integers(1, 30), cols=st.integers(1, 30), more=st.integers(1, 40))
@settings(max_examples=40)
def test_a_larger_array_begins_with_the_same_numbers(key: int, rows: int, cols: int, more: int) -> None:
    small = CellDraws(key=key, rows=rows, cols=cols)
    for large in (CellDraws(key=key, rows=rows + more, cols=cols), CellDraws(key=key, rows=rows, cols=cols + more)):
        for stream in (0, 1003):
            assert np.array_equal(small.uniform(stream), large.uniform(stream)[:rows, :cols])
            assert np.array_equal(small.normal(stream), large.normal(stream)[:rows, :cols])
