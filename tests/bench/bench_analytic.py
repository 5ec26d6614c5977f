"""Designs per second of the analytic mode on a VGG-9, one thread: ``extra_info["designs"]`` designs a round."""

from __future__ import annotations

import numpy as np
import pytest
from bench.analytic_error import random_design
from bench.bench_cycle import vgg9

from spikeloop.simulator.analytic.estimate import estimate, estimate_many
from spikeloop.simulator.analytic.summary import summarise
from spikeloop.simulator.mapping.lower import lower_network

N_DESIGNS = 1000


@pytest.fixture(scope="module")
def summary():
    network = vgg9(5)
    return summarise(lower_network(network), network.n_timesteps, 0.15)


def designs(order, **fields):
    rng = np.random.default_rng(0)
    found = [random_design(rng, order) for _ in range(N_DESIGNS)]
    return [hw.model_copy(update=fields) for hw in found]


@pytest.mark.parametrize("order", ["layer_sequential", "layer_pipelined"])
def bench_many_designs(benchmark, summary, order):
    batch = designs(order)
    estimate_many(summary, batch[:1])
    benchmark(estimate_many, summary, batch)
    benchmark.extra_info["designs"] = N_DESIGNS


def bench_one_design(benchmark, summary):
    hw = designs("layer_pipelined")[0]
    estimate(summary, hw)
    benchmark(estimate, summary, hw)
    benchmark.extra_info["designs"] = 1


def bench_balanced_replicas(benchmark, summary):
    batch = [
        hw.model_copy(
            update={
                "chip": hw.chip.model_copy(update={"tiles": 2048}),
                "dataflow": hw.dataflow.model_copy(update={"replication": "balanced"}),
            }
        )
        for hw in designs("layer_pipelined")[:100]
    ]
    benchmark(estimate_many, summary, batch)
    benchmark.extra_info["designs"] = 100
