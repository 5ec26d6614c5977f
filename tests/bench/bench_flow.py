"""CPU seconds of the parts of one design point: the demo's network shape on the demo's design."""

import numpy as np
import pytest
from networks import random_spikes

from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.pipeline import evaluate
from spikeloop.simulator.program import compile_program

HARDWARE = load_hardware("demo")


@pytest.fixture(scope="module")
def network():
    return random_network("demo", seed=0, weight_bits=4, membrane_bits=4)


def bench_functional_100_images(benchmark, network):
    """Divide by 100 for the cost of one image."""
    mapping, spikes = map_network(network, HARDWARE), random_spikes(network, 100, 0)
    shift = calibrate_adc(network, mapping, HARDWARE, spikes.take(0, 16))
    benchmark(run_functional, network, mapping, HARDWARE, spikes, adc_shift=shift)


def bench_cycles_one_image(benchmark, network):
    mapping, spikes = map_network(network, HARDWARE), random_spikes(network, 1, 0)
    shift = calibrate_adc(network, mapping, HARDWARE, spikes)
    activity = run_functional(network, mapping, HARDWARE, spikes, adc_shift=shift).activity
    benchmark(run_cycles, compile_program(mapping, HARDWARE), activity)


def bench_design_point_600_images(benchmark, network):
    """Everything that one point of the demo's study costs after its student is trained."""
    spikes, prices = random_spikes(network, 600, 0), load_technology("rram_65nm")
    benchmark(evaluate, network, HARDWARE, spikes, seed=0, calibration=spikes.take(0, 64), technology=prices)


def bench_vgg9_functional_one_image(benchmark):
    """VGG-9, 32x32x3, T=5, 4-bit weights in 1-bit cells, 64x64 crossbars, 4-bit ADC; a batch of 4 divided by 4."""
    vgg9 = random_network("vgg9", seed=0, weight_bits=4, membrane_bits=8, n_timesteps=5)
    hw = load_hardware("spikeflow_64")
    mapping, spikes = map_network(vgg9, hw), random_spikes(vgg9, 4, 0)
    shift = tuple(np.zeros(len(mapping.layers), dtype=int).tolist())
    benchmark(run_functional, vgg9, mapping, hw, spikes, adc_shift=shift)


def bench_vgg9_cycles_one_image(benchmark):
    vgg9 = random_network("vgg9", seed=0, weight_bits=4, membrane_bits=8, n_timesteps=5)
    hw = load_hardware("spikeflow_64")
    mapping = map_network(vgg9, hw)
    activity = random_activity(mapping, 0.15, n_images=1, seed=0)
    benchmark(run_cycles, compile_program(mapping, hw), activity)
