"""Images that are computed in parts give what they give together, bit for bit, and take no more memory than a part."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from unittest import mock

import numpy as np
from analog_cases import cells, converters, on_chip, small_networks, with_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, networks, one_layer, random_spikes, residual_networks

from spikeloop.simulator import limits
from spikeloop.simulator.config import HardwareConfig, UniformAdc
from spikeloop.simulator.functional.analog import AnalogChip, needs_chip
from spikeloop.simulator.functional.outputs import Outputs
from spikeloop.simulator.functional.run import calibrate_adc, column_sum_histograms, run_functional
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.neuron_config import NeuronConfig, NeuronMemoryConfig

_SEEN: Counter[str] = Counter()


@contextmanager
def parts_of(n_images: int, mapping: Mapping) -> Iterator[None]:
    """So many images at once."""
    with mock.patch.object(limits, "PART_BYTES", n_images * max(limits._image_bytes(mapping))):
        assert limits.images_at_once(mapping) == n_images
        yield


def assert_same(a: Outputs, b: Outputs) -> None:
    assert np.array_equal(a.logits, b.logits)
    for mine, other in zip(a.activity.layers, b.activity.layers, strict=True):
        for field in fields(mine):
            one, two = getattr(mine, field.name), getattr(other, field.name)
            assert (one is None) == (two is None)
            assert one is None or (one.dtype == two.dtype and np.array_equal(one, two)), field.name
    for one, two in ((a.crossbar_conversions, b.crossbar_conversions), (a.crossbar_clipped, b.crossbar_clipped)):
        assert [counts.tolist() for counts in one] == [counts.tolist() for counts in two]
    for name in ("saturated", "memory_errors", "spikes", "membranes"):
        one, two = getattr(a, name), getattr(b, name)
        assert one.keys() == two.keys()
        for key in one:
            assert one[key].dtype == two[key].dtype
            assert np.array_equal(one[key], two[key]), (name, key)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Network, HardwareConfig]:
    """Chains and residuals on ideal cells, small networks on chips whose cells, ADCs and neurons are not ideal."""
    hw = draw(designs(lossless=draw(st.booleans())))
    if draw(st.booleans()):
        return draw(st.one_of(networks(), residual_networks())), hw
    if draw(st.integers(0, 4)):
        hw = on_chip(hw, cell=draw(cells(hw.crossbar.cell_bits)), baseline="subtracted")
    if isinstance(hw.adc, UniformAdc):
        hw = with_fields(hw, adc=draw(converters(hw.adc.bits, hw.adc.columns_per_adc)))
    if draw(st.booleans()):
        hw = with_fields(hw, neuron=NeuronConfig(memory=NeuronMemoryConfig(bit_error_ratio=0.05)))
    return draw(small_networks), hw


@settings(max_examples=30)
@given(
    case=_cases(),
    n_images=st.integers(2, 5),
    at_once=st.integers(1, 3),
    cycle_images=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
def _check_parts(
    case: tuple[Network, HardwareConfig], n_images: int, at_once: int, cycle_images: int, seed: int
) -> None:
    network, hw = case
    mapping, spikes = map_network(network, hw), random_spikes(network, n_images, seed)
    chip = AnalogChip(hw=hw, seed=seed) if needs_chip(hw) else None
    found = []
    for size in (n_images, at_once):
        with parts_of(size, mapping):
            histograms = column_sum_histograms(network, mapping, hw, spikes, chip=chip)
            shift = calibrate_adc(network, mapping, hw, spikes, chip=chip)
            outputs = run_functional(
                network,
                mapping,
                hw,
                spikes,
                adc_shift=shift,
                cycle_images=cycle_images,
                record=True,
                chip=chip,
                step_ns=1000.0,
            )
            found.append((histograms, shift, outputs))
    (histograms, shift, together), (in_parts, same, apart) = found
    assert all(np.array_equal(one, two) for one, two in zip(histograms, in_parts, strict=True))
    assert np.array_equal(np.concatenate([np.ravel(x) for x in shift]), np.concatenate([np.ravel(x) for x in same]))
    assert_same(together, apart)
    assert apart.activity.n_images == min(cycle_images, n_images)
    several = at_once < n_images
    for what, occurred in {
        "several parts": several,
        "clock images in several parts": at_once < cycle_images and several,
        "chip in parts": several and chip is not None,
        "energies in parts": several and apart.activity.layers[0].read_fJ is not None,
        "memory errors in parts": several and any(errors.sum() for errors in apart.memory_errors.values()),
        "clipped in parts": several and apart.clipped.sum() > 0,
        "residual in parts": several and network.name != "chain" and len(network.edges) >= len(network.nodes),
    }.items():
        _SEEN[what] += bool(occurred)


def test_parts_equal_the_whole() -> None:
    """With how often every hard case occurred."""
    _SEEN.clear()
    _check_parts()
    assert min(_SEEN.values()) > 0, dict(_SEEN)


def test_memory_does_not_grow_with_the_images() -> None:
    """Ten times the images: the peak grows by the codes and logits that are kept, not by the arrays of a layer."""
    network = one_layer(np.ones((64, 64), dtype=np.int64), weight_bits=2, n_timesteps=8)
    hw = design(rows=64, cols=64)
    mapping = map_network(network, hw)
    peaks = []
    with parts_of(20, mapping):
        for n_images in (20, 20, 200):  # the first one compiles and fills caches
            spikes = random_spikes(network, n_images, 0)
            tracemalloc.start()
            run_functional(network, mapping, hw, spikes, adc_shift=(0,) * len(mapping.layers), cycle_images=0)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    kept = 180 * 64 * 8
    assert peaks[2] < peaks[1] + 2 * kept < 10 * peaks[1]
