"""A student of events, judged by plain loops and by the simulator: every spike, membrane and logit, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import design
from oracles.integer_network import walk

from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.event_camera import load_camera, write_synthetic_nmnist
from spikeloop.models.export import lif_node_name, to_network
from spikeloop.models.random_export import random_student
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.mapping.tiles import map_network


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("events")
    camera = replace(load_camera("saccades_34"), noise_Hz=5.0, threshold_sigma=0.03)
    digits = load_dataset("digits")
    write_synthetic_nmnist(digits, root / "synthetic-n-mnist", camera, seed=1, n_train=1, n_test=2)
    return load_dataset("synthetic_nmnist", root)


@pytest.mark.parametrize("frames", ["number", "time"])
def test_events_go_through_student_walk_and_crossbars_alike(recordings, frames):
    student = random_student("nmnist", seed=2, weight_bits=4, membrane_bits=4, n_timesteps=3)
    network = to_network(student, "nmnist")
    spikes = split_spikes(recordings, "test", 2, network.input, n_timesteps=3, frames=frames)
    spikes.check_fits(network)
    # The steps differ, so a network that took the first for all of them would be found out.
    assert not np.array_equal(spikes.codes[0], spikes.codes[1])
    assert spikes.codes.shape == (3, 2, 2, 34, 34)
    truth = walk(network, spikes.codes)
    run = student.integer_run(torch.from_numpy(spikes.codes.astype(np.uint8)))
    hw = design(rows=64, cols=64)
    mapping = map_network(network, hw)
    outputs = run_functional(network, mapping, hw, spikes, adc_shift=(0,) * len(mapping.layers), record=True)
    for name, layer in run.layers.items():
        node = lif_node_name(name)
        np.testing.assert_array_equal(outputs.spikes[node], truth.spikes[node])
        np.testing.assert_array_equal(layer.spikes.numpy(), truth.spikes[node])
        np.testing.assert_array_equal(outputs.membranes[node], truth.membranes[node])
        assert 0 < np.mean(truth.spikes[node]) < 1
    np.testing.assert_array_equal(outputs.logits, truth.logits)
    np.testing.assert_array_equal(run.logits.numpy(), truth.logits)
