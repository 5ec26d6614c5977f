"""Error of the analytic mode against the clock, on random designs of several networks.

    python tests/bench/analytic_error.py --network vgg9.safetensors --network demo.safetensors --designs 150

Built-in networks (a plain, two residual ones) need no file. Prints the tables of docs/results/analytic.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from oracles.cycle_cases import make_hardware, make_network

from spikeloop.simulator.analytic.estimate import ACTION_ORDER, estimate
from spikeloop.simulator.analytic.summary import summarise
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import MappingError
from spikeloop.simulator.functional.density import random_activity
from spikeloop.simulator.mapping.lower import lower_network
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.io import load_network
from spikeloop.simulator.program import compile_program

#: Largest program that the clock is asked to run here, PEs.
MAX_PES = 4000
DENSITIES = (0.05, 0.15, 0.3)


def builtin_networks():
    """Small networks with all kinds of layers."""
    rng = np.random.default_rng(7)
    shape, kind = (3, 12, 12), {"bits": 4, "static": True, "n_timesteps": 3, "classes": 10}
    plain = [("conv", 16, 3, 1, 1, 1), ("pool", 2, 2), ("conv", 32, 3, 1, 1, 1), ("pool", 2, 2), ("linear", 64)]
    sew = [("conv", 16, 3, 1, 1, 1), ("sew", 3), ("sew", 3), ("pool", 2, 2), ("linear", 32)]
    stream = [("conv", 16, 3, 1, 1, 1), ("stream", 3), ("stream", 3), ("pool", 2, 2)]
    return {
        "plain": make_network(rng, plain, shape, **kind),
        "sew": make_network(rng, sew, shape, **kind),
        "stream": make_network(rng, stream, shape, **{**kind, "static": False, "bits": 2}),
    }


def random_design(rng, order):
    """A design of the ranges that a study would explore."""

    def pick(*values):
        return values[int(rng.integers(len(values)))]

    rows, cols = pick(16, 32, 64, 128, 256), pick(16, 32, 64, 128, 256)
    return make_hardware(
        crossbar={
            "rows": rows,
            "cols": cols,
            "cell_bits": pick(1, 2, 4),
            "scheme": pick("differential", "offset"),
            "rows_active": pick(None, None, rows // 2, rows // 4, 8),
        },
        adc={
            "kind": "lossless",
            "columns_per_adc": min(cols, pick(1, 4, 8, 16, 32)),
            "sample_and_hold": pick(True, False),
        },
        tile={
            "pes_per_tile": pick(2, 4, 8, 16),
            "crossbars_per_pe": pick(1, 2, 4, 9),
            "input_bus_bits": pick(64, 256, 1024),
            "pe_accumulator_lanes": pick(16, 64, 256),
            "output_bus_bits": pick(256, 1024, 4096),
            "accumulator_lanes": pick(16, 64, 256),
            "fifo_depth": pick(1, 2, 4, 8),
            "sharing": "exclusive" if order == "layer_pipelined" else pick("exclusive", "packed"),
        },
        neuron={"lanes": pick(4, 16, 64), "memory": {"word_bits": 64, "banks": pick(1, 2, 4), "ports": pick(1, 2)}},
        noc={
            "flit_bits": pick(32, 64, 128, 256),
            "router_cycles": pick(1, 2, 4),
            "buffer_packets": pick(1, 2, 4),
            "placement": pick("row_major", "greedy"),
            "input_bits_per_cycle": pick(32, 64, 256),
        },
        dataflow={
            "order": order,
            "loop": pick("timestep_major", "layer_major"),
            "zero_skipping": pick("none", "vector", "row_group"),
            "skip_cycles": pick(1, 1, 2),
        },
    )


def with_replicas(rng, hw, network):
    """Sometimes a larger chip, filled with copies of the slowest layers."""
    if rng.random() < 0.7:
        return hw
    tiles = map_network(network, hw).n_tiles
    hw = hw.model_copy(update={"chip": hw.chip.model_copy(update={"tiles": tiles + int(rng.integers(0, tiles + 1))})})
    return hw.model_copy(update={"dataflow": hw.dataflow.model_copy(update={"replication": "balanced"})})


def compare(rng, network, lowered, order):
    """(estimated, clocked, interval estimated, interval clocked, clipped, design) or None if it is too large."""
    hw = random_design(rng, order)
    try:
        hw = with_replicas(rng, hw, network)
        mapping = map_network(network, hw)
    except MappingError:
        return None
    if sum(len(layer.pes) for layer in mapping.layers) > MAX_PES:
        return None
    density = DENSITIES[int(rng.integers(len(DENSITIES)))]
    program = compile_program(mapping, hw)
    images = 1 if order == "layer_sequential" else 4
    activity = random_activity(mapping, density, n_images=images, seed=int(rng.integers(1 << 30)))
    trace = run_cycles(program, activity)
    found = estimate(summarise(lowered, network.n_timesteps, density), hw)
    # The first image alone: later ones wait for it.
    latency = float(trace.image_end[0] - trace.image_start[0])
    hops = [
        (found.action_counts[a].sum() * images, float(trace.action_counts[a].sum()))
        for a in ACTION_ORDER
        if a.endswith("hops")
    ]
    return {
        "latency": (found.latency_cycles, latency),
        "interval": (found.interval_cycles, trace.interval_cycles),
        "clipped": found.unclipped_cycles != found.latency_cycles,
        "hops": hops,
        "hw": hw,
        "density": density,
        "trace": trace,
        "found": found,
        "program": program,
    }


def line(name, order, what, pairs):
    """One row of the table."""
    got, true = np.array(pairs).T
    error = np.abs(got / true - 1)
    tau, rho = kendalltau(got, true).statistic, spearmanr(got, true).statistic
    return (
        f"| {name} | {order} | {what} | {len(pairs)} | {np.median(error):.1%} | {np.percentile(error, 90):.1%} | "
        f"{error.max():.1%} | {np.mean(got / true - 1):+.1%} | {tau:.3f} | {rho:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", type=Path, default=[])
    parser.add_argument("--designs", type=int, default=60, help="designs of each network and order")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    networks = builtin_networks() | {path.stem: load_network(path) for path in args.network}
    print("| network | order | what | designs | median | p90 | worst | mean | Kendall | Spearman |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows, clipped = [], 0
    for number, (name, network) in enumerate(networks.items()):
        lowered = lower_network(network)
        for o, order in enumerate(("layer_sequential", "layer_pipelined")):
            rng = np.random.default_rng((args.seed, number, o))
            cases = []
            while len(cases) < args.designs:
                case = compare(rng, network, lowered, order)
                if case is not None:
                    clipped += case["clipped"]
                    cases.append({key: case[key] for key in ("latency", "interval")})
            for what in ("latency", "interval") if o else ("latency",):
                print(line(name, order, what, [case[what] for case in cases]), flush=True)
                rows += [(order, what, case[what]) for case in cases]
    for order, what in (
        ("layer_sequential", "latency"),
        ("layer_pipelined", "latency"),
        ("layer_pipelined", "interval"),
    ):
        print(line("all", order, what, [pair for o, w, pair in rows if (o, w) == (order, what)]))
    print(f"\nclipped: {clipped}")


if __name__ == "__main__":
    main()
