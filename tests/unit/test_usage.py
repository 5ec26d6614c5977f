"""Shares of saturated and misread membranes in the record of a run."""

from __future__ import annotations

import numpy as np
import pytest
from cost_cases import small_design, small_network
from networks import random_spikes

from spikeloop.simulator.metrics import to_json
from spikeloop.simulator.neuron_config import NeuronConfig, NeuronMemoryConfig
from spikeloop.simulator.pipeline import evaluate, simulate_density


def _evaluate(memory: NeuronMemoryConfig, *, n_images: int = 3):
    network = small_network()
    hw = small_design().model_copy(update={"neuron": NeuronConfig(memory=memory)})
    return network, evaluate(network, hw, random_spikes(network, n_images, seed=1), seed=0)


def test_shares_count_every_neuron_image_and_step():
    """Stuck at 1 in every bit: each read gives -1, so that every bit that was 0 is misread."""
    network, result = _evaluate(NeuronMemoryConfig(stuck_at_1_fraction=1.0))
    assert result.outputs is not None
    steps, n_images = network.n_timesteps, 3
    lifs = [name for name in network.shapes if name in result.outputs.saturated]
    assert [use.name for use in result.metrics.by_lif] == lifs
    for use in result.metrics.by_lif:
        assert use.n_neurons == int(np.prod(network.shapes[use.name]))
        assert use.membrane_bits == network.node(use.name).membrane_bits
        saturated = int(result.outputs.saturated[use.name].sum())
        assert use.saturated_fraction * (n_images * steps * use.n_neurons) == pytest.approx(saturated)
        misread = int(result.outputs.memory_errors[use.name].sum())
        assert misread > 0
        reads = n_images * (steps - 1) * use.n_neurons * use.membrane_bits
        assert use.misread_fraction * reads == pytest.approx(misread)


def test_a_bit_error_ratio_is_found_again():
    _, result = _evaluate(NeuronMemoryConfig(bit_error_ratio=0.25), n_images=40)
    for use in result.metrics.by_lif:
        n = 40 * use.n_neurons * use.membrane_bits
        assert use.misread_fraction == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / n) ** 0.5)


def test_perfect_memory_misreads_nothing_and_density_runs_know_no_membranes():
    network, result = _evaluate(NeuronMemoryConfig())
    assert all(use.misread_fraction == 0.0 for use in result.metrics.by_lif)
    drawn = simulate_density(network, small_design(), 0.2, seed=0)
    assert to_json(drawn.metrics)["by_lif"] == ()
