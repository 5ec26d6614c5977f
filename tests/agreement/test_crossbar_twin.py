"""The crossbar kernel equals the plain Python twin, cell by cell and code by code."""

from collections import Counter
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, networks, random_spikes
from oracles.crossbar_twin import conv_windows, crossbar_product

from spikeloop.simulator.functional import reads as reads_module
from spikeloop.simulator.functional.crossbar import driven_rows, layer_histogram, read_layer
from spikeloop.simulator.kernels.packed import Packing
from spikeloop.simulator.mapping.tiles import map_network

_SEEN: Counter[str] = Counter()


@settings(max_examples=300)
@given(
    network=networks(max_timesteps=1),
    hw=designs(lossless=False),
    shift=st.integers(0, 3),
    other_bits=st.sampled_from([None, None, 1, 2, 9]),
    lanes=st.sampled_from(["wide", "wide", "as it is", "count", "mix"]),
    seed=st.integers(0, 999),
)
def _check_first_layer(network, hw, shift, other_bits, lanes, seed):
    adc_bits = other_bits or hw.adc_bits
    mapped = map_network(network, hw).layers[0]
    spikes = random_spikes(network, 2, seed)
    codes = spikes.codes if not network.input.static else spikes.codes[None]
    layer, node = mapped.layer, network.input
    # Small arrays seldom need wide lanes or are worth packing: such cases are made.
    pack = {"count": Packing(rows=1, reads=1), "mix": Packing(rows=2, reads=1)}.get(lanes)
    with ExitStack() as patches:
        if lanes == "wide":
            patches.enter_context(patch.object(reads_module, "narrow_adc", return_value=None))
        if pack is not None:
            patches.enter_context(patch.object(reads_module, "ideal_packing", return_value=pack))
        reads = read_layer(mapped, codes, adc_shift=shift, adc_bits=adc_bits)
    assert np.array_equal(driven_rows(mapped, codes), reads.active_rows)
    per_group = layer.in_shape[0] // layer.n_groups
    conversions = clipped = 0
    for image in range(2):
        for group in range(layer.n_groups):
            channels = codes[0, image, group * per_group : (group + 1) * per_group].tolist()
            for position, vector in enumerate(conv_windows(channels, layer.kernel, layer.stride, layer.padding)):
                sums, active, done, over = crossbar_product(
                    vector,
                    layer.matrix[group].tolist(),
                    input_bits=node.bits,
                    input_signed=node.signed,
                    weight_bits=layer.weight_bits,
                    kind=mapped.scheme.kind,
                    cell_bits=hw.crossbar.cell_bits,
                    rows=hw.crossbar.rows,
                    rows_active=hw.crossbar.rows_per_read,
                    lsb=2**shift,
                    adc_bits=adc_bits,
                    dummy_cols=hw.crossbar.cols * mapped.scheme.dummy_columns,
                )
                y, x = divmod(position, layer.out_shape[2])
                first = group * layer.n_outputs
                assert reads.psum[0, image, first : first + layer.n_outputs, y, x].tolist() == sums
                for (plane, block, read), count in active.items():
                    slot = mapped.row_group(group, block, read)
                    assert reads.active_rows[image, 0, position, plane, slot] == count
                conversions, clipped = conversions + done, clipped + over
    assert (reads.conversions.sum(), reads.clipped.sum()) == (conversions, clipped)
    _SEEN[mapped.scheme.kind] += 1
    _SEEN["clipped wide" if lanes == "wide" else "clipped"] += clipped > 0
    _SEEN[lanes] += shift > 0
    _SEEN["signed"] += node.signed
    _SEEN["several_reads"] += mapped.reads_per_vector > 1
    _SEEN["several_blocks"] += mapped.row_blocks > 1
    _SEEN["grouped"] += layer.n_groups > 1
    _SEEN["rounded"] += shift > 0
    _SEEN["dummy"] += mapped.scheme.dummy_columns > 0


def _counted(name, kernel):
    def call(*args):
        _SEEN[name] += 1
        return kernel(*args)

    return call


def test_kernel_equals_twin_and_the_hard_cases_occurred(monkeypatch):
    _SEEN.clear()
    kernels = ("read_exact", "read_narrow", "read_wide")
    for name in kernels:
        monkeypatch.setattr(reads_module, name, _counted(name, getattr(reads_module, name)))
    _check_first_layer()
    cases = ("differential", "offset", "affine", "signed", "several_reads", "several_blocks", "grouped")
    for case in (*cases, "clipped", "clipped wide", "count", "mix", "dummy", *kernels):
        assert _SEEN[case] >= 10, (case, _SEEN)


@settings(max_examples=30)
@given(network=networks(max_timesteps=1), hw=designs(), seed=st.integers(0, 999))
def test_histogram_counts_every_conversion_of_a_driven_read(network, hw, seed):
    mapped = map_network(network, hw).layers[0]
    spikes = random_spikes(network, 2, seed)
    codes = spikes.codes if not network.input.static else spikes.codes[None]
    histogram = layer_histogram(mapped, codes, bins=hw.crossbar.column_sum_max + 1)
    reads = read_layer(mapped, codes, adc_shift=0, adc_bits=hw.adc_bits)
    if not mapped.scheme.dummy_columns:
        assert histogram.sum() == reads.conversions.sum()
    assert not reads.clipped.any()


def test_one_column_by_hand():
    """Weights 3, -2, 1 (3 bits: magnitude slices of 1 bit), all three rows driven, 1-bit ADC.

    Positive columns: slice 0 sums 1+0+1 = 2, slice 1 sums 1 = 1; negative: slice 0 = 0, slice 1 = 1.
    A 1-bit ADC clips the 2 to 1: P = 1*1 + 1*2 - 0*1 - 1*2 = 1 instead of 2; one of 4 conversions clipped.
    """
    from networks import one_layer

    network = one_layer(np.array([[3, -2, 1]]), weight_bits=3)
    hw = design(rows=4, cols=4, adc_bits=1)
    mapped = map_network(network, hw).layers[0]
    codes = np.ones((1, 1, 3, 1, 1), dtype=np.int64)
    clipped = read_layer(mapped, codes, adc_shift=0, adc_bits=1)
    assert clipped.psum.ravel().tolist() == [1]
    assert (clipped.conversions.sum(), clipped.clipped.sum()) == (4, 1)
    assert read_layer(mapped, codes, adc_shift=0, adc_bits=2).psum.ravel().tolist() == [2]
