"""Every architecture of the zoo, exported untrained, computes on tiles what its student computes in torch."""

import numpy as np
import pytest
import torch
from networks import design

from spikeloop.models.export import lif_node_name, to_network
from spikeloop.models.network_spec import NetworkSpec
from spikeloop.models.random_export import random_student, shape_network, uniform_codes
from spikeloop.models.zoo import available_networks
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.program import compile_program

#: Odd, even, and one that takes the stem of large pictures.
CASES = [
    *((name, {"size": 9, "events": True}) for name in available_networks()),
    *((name, {"size": 12}) for name in available_networks()),
    *((name, {"size": 66}) for name in ("ms_resnet_tiny", "sew_resnet_tiny")),
]


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_a_random_network_runs_on_tiles_bit_for_bit(name, fields):
    width = 0.5 if name in ("demo", "ms_resnet_tiny", "sew_resnet_tiny") else 0.125
    spec = NetworkSpec(name=name, classes=5, width=width, **fields)
    student = random_student(spec, seed=4, weight_bits=4, membrane_bits=5, n_timesteps=2)
    network, hw = to_network(student, "zoo"), design(rows=64, cols=64)
    codes = uniform_codes(student.plan.input, 2, 2, torch.Generator().manual_seed(1))
    mapping = map_network(network, hw)
    assert compile_program(mapping, hw).mapping is mapping
    spikes = SpikeTrain(name="zoo", codes=codes.numpy().astype(np.int64), labels=None, indices=np.arange(2))
    outputs = run_functional(network, mapping, hw, spikes, adc_shift=(0,) * len(mapping.layers), record=True)
    expected = student.integer_run(codes)
    np.testing.assert_array_equal(outputs.logits, expected.logits.numpy())
    assert np.unique(outputs.logits).size > 1
    for layer, run in expected.layers.items():
        found = outputs.spikes[lif_node_name(layer)]
        np.testing.assert_array_equal(found.reshape(-1), run.spikes.numpy().reshape(-1))


def test_ms_resnet18_of_imagenet_finds_its_place_on_tiles():
    spec = NetworkSpec(name="ms_resnet18", size=224, classes=1000)
    network = shape_network(spec, seed=0, weight_bits=4, membrane_bits=6)
    mapping = map_network(network, load_hardware("spikeflow_64"))
    # 17 3x3 or 7x7 convolutions, 4 shortcuts and the classifier.
    assert len(mapping.layers) == 22
    assert mapping.layers[-1].layer.matrix.shape == (1, 512, 1000)
