"""CPU seconds of the clock on a VGG-9: T=5, 64x64 crossbars, 15 % of the wordlines driven at random."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.cycle_cases import make_activity, make_hardware, make_network

from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.program import compile_program


def vgg9(n_timesteps, width=1):
    """64-64-P-128-128-P-256-256-256-P-1024-10 on 32x32x3 pixels of 8 bits, weights of 3 bits."""
    plan = [64, 64, None, 128, 128, None, 256, 256, 256, None]
    layers = [("pool", 2, 2) if c is None else ("conv", c * width, 3, 1, 1, 1) for c in plan]
    return make_network(
        np.random.default_rng(0),
        [*layers, ("linear", 1024 * width)],
        (3, 32, 32),
        bits=8,
        static=True,
        n_timesteps=n_timesteps,
        classes=10,
    )


@pytest.mark.parametrize("loop", ["timestep_major", "layer_major"])
@pytest.mark.parametrize(("n_timesteps", "width"), [(1, 1), (2, 1), (5, 1), (5, 2)])
def bench_vgg9(benchmark, n_timesteps, width, loop):
    hw = make_hardware(
        crossbar={"rows": 64, "cols": 64},
        adc={"kind": "lossless", "columns_per_adc": 8},
        tile={"pes_per_tile": 8},
        neuron={"lanes": 16},
        dataflow={"loop": loop},
    )
    program = compile_program(map_network(vgg9(n_timesteps, width), hw), hw)
    activity = make_activity(np.random.default_rng(1), program.mapping, density=0.15)
    trace = benchmark(run_cycles, program, activity)
    benchmark.extra_info["token_services"] = trace.token_services
    benchmark.extra_info["cycles"] = trace.total_cycles


def bench_compile_program(benchmark):
    hw = make_hardware(crossbar={"rows": 64, "cols": 64}, adc={"kind": "lossless", "columns_per_adc": 8})
    mapping = map_network(vgg9(5), hw)
    benchmark(compile_program, mapping, hw)
