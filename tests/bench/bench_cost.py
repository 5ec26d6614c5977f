"""CPU seconds of pricing: VGG-9 on spikeflow_64 when its mapping is new, and when one knob of the design changes."""

import pytest

from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import UniformAdc, load_hardware
from spikeloop.simulator.cost.library import cost_library
from spikeloop.simulator.cost.technology import load_technology
from spikeloop.simulator.mapping.tiles import map_network

TECHNOLOGY = load_technology("rram_65nm")
HARDWARE = load_hardware("spikeflow_64")


@pytest.fixture(scope="module")
def vgg9():
    network = random_network("vgg9", seed=0, weight_bits=4, membrane_bits=8, n_timesteps=5)
    cost_library(map_network(network, HARDWARE), HARDWARE, TECHNOLOGY)  # weights of a network are counted once
    return network


def bench_new_mapping(benchmark, vgg9):
    """Each round prices a mapping that was never priced."""
    benchmark.pedantic(
        lambda mapping: cost_library(mapping, HARDWARE, TECHNOLOGY),
        setup=lambda: ((map_network(vgg9, HARDWARE),), {}),
        rounds=20,
    )


def bench_new_adc_bits(benchmark, vgg9):
    """The mapping stays, the ADC changes at every call."""
    mapping = map_network(vgg9, HARDWARE)
    designs = [HARDWARE.model_copy(update={"adc": UniformAdc(bits=bits)}) for bits in (3, 4, 5, 6)]
    calls = iter(range(10**9))
    benchmark(lambda: cost_library(mapping, designs[next(calls) % 4], TECHNOLOGY))


def bench_new_memory_banks(benchmark, vgg9):
    """The mapping stays, the memories change at every call, to sizes that were never priced."""
    mapping, calls = map_network(vgg9, HARDWARE), iter(range(1, 10**9))

    def price():
        memory = HARDWARE.neuron.memory.model_copy(update={"banks": next(calls)})
        neuron = HARDWARE.neuron.model_copy(update={"memory": memory})
        return cost_library(mapping, HARDWARE.model_copy(update={"neuron": neuron}), TECHNOLOGY)

    benchmark(price)
