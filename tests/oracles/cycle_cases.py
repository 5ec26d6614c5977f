"""Random inputs for the clock: raw phase graphs, and small mapped networks with activity."""

from __future__ import annotations

import numpy as np

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)
from spikeloop.simulator.program import PhaseTables, compile_program


def make_tables(n_tokens, services, lanes, channels):
    """Tables from lists: ``services`` one pattern a unit, ``channels`` (src, dst, depth, emit, consume)."""
    service_start, service_values = patterns(services)
    emit_start, emit_values = patterns([channel[3] for channel in channels])
    consume_start, consume_values = patterns([channel[4] for channel in channels])
    return PhaseTables(
        unit=np.arange(len(n_tokens)),
        lanes=np.array(lanes),
        n_tokens=np.array(n_tokens),
        service_start=service_start,
        service_period=np.array([len(p) for p in services]),
        service_values=service_values,
        channel=np.arange(len(channels)),
        src=np.array([channel[0] for channel in channels], dtype=np.int64),
        dst=np.array([channel[1] for channel in channels], dtype=np.int64),
        depth=np.array([channel[2] for channel in channels], dtype=np.int64),
        emit_start=emit_start,
        emit_period=np.array([len(channel[3]) for channel in channels], dtype=np.int64),
        consume_start=consume_start + len(emit_values),
        consume_period=np.array([len(channel[4]) for channel in channels], dtype=np.int64),
        flag_values=np.concatenate([emit_values, consume_values]),
    )


def patterns(lists):
    starts = np.cumsum([0] + [len(p) for p in lists])[:-1].astype(np.int64)
    return starts, np.array([v for p in lists for v in p], dtype=np.int64)


def random_tables(rng):
    """Random acyclic graph; half are plain pipelines, a quarter have equal totals, a quarter need not."""
    style = rng.choice(["plain", "equal", "any"], p=[0.5, 0.25, 0.25])
    n_units = int(rng.integers(3, 9))
    most = int(rng.integers(3, 15))
    n_tokens = [most if style == "plain" else int(rng.integers(1, most + 1)) for _ in range(n_units)]
    slow = rng.random() < 0.3
    services = [
        rng.integers(1, 80 if slow and rng.random() < 0.3 else 7, int(rng.integers(1, n + 1))).tolist()
        for n in n_tokens
    ]
    pairs = [(a, b) for b in range(n_units) for a in range(b)]
    chosen = [pair for pair in pairs if pair[1] == pair[0] + 1 or rng.random() < 0.35]
    channels = []
    for a, b in sorted(chosen):
        if style == "plain":
            emit, consume = [1], [1]
        else:
            copies = int(rng.integers(1, min(n_tokens[a], n_tokens[b]) + 1))
            other = copies if style == "equal" else int(rng.integers(0, n_tokens[b] + 1))
            emit, consume = flags(rng, n_tokens[a], copies), flags(rng, n_tokens[b], other)
        channels.append((a, b, int(rng.integers(1, 5)), emit, consume))
    lanes = rng.integers(1, 5, n_units).tolist()
    return make_tables(n_tokens, services, lanes, channels)


def flags(rng, n, ones):
    values = np.zeros(n, dtype=np.int64)
    values[rng.choice(n, ones, replace=False)] = 1
    return values.tolist()


def make_network(rng, layers, shape, *, bits=1, static=False, n_timesteps=2, classes=3, weight_bits=3):
    """Chain of layers ("conv", channels, kernel, stride, padding, groups), ("pool", kernel, stride), ("linear", n)."""
    nodes = [InputNode(name="input", shape=shape, bits=bits, static=static)]
    channels, height, width = shape
    flat = False
    for i, spec in enumerate([*layers, ("linear", classes)]):
        if spec[0] == "pool":
            nodes.append(SumPoolNode(name=f"pool{i}", kernel=spec[1], stride=spec[2]))
            height, width = ((size - spec[1]) // spec[2] + 1 for size in (height, width))
            continue
        if spec[0] == "conv":
            _, out, kernel, stride, padding, groups = spec
            weight = rng.integers(-3, 4, (out, channels // groups, kernel, kernel))
            nodes.append(
                ConvNode(
                    name=f"conv{i}",
                    weight=weight,
                    weight_bits=weight_bits,
                    stride=stride,
                    padding=padding,
                    groups=groups,
                )
            )
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        else:
            out = spec[1]
            if not flat:
                nodes.append(FlattenNode(name="flatten"))
                channels, height, width, flat = channels * height * width, 1, 1, True
            nodes.append(
                LinearNode(name=f"linear{i}", weight=rng.integers(-3, 4, (out, channels)), weight_bits=weight_bits)
            )
        channels = out
        if i == len(layers):
            break
        if rng.random() < 0.7:
            one = np.ones(channels, dtype=np.int64)
            nodes.append(BatchNormNode(name=f"bn{i}", m=8 * one, n=0 * one, k=0 * one, e=3 * one, bn_bits=5))
        nodes.append(LifNode(name=f"lif{i}", theta=40, membrane_bits=int(rng.integers(2, 9))))
    nodes.append(ReadoutNode(name="readout", bias=np.zeros(classes, dtype=np.int64)))
    return Network(name="net", n_timesteps=n_timesteps, nodes=tuple(nodes), edges=chain_edges(nodes))


def random_network(rng):
    static = bool(rng.random() < 0.55)
    layers = []
    channels = int(rng.choice([1, 2]))
    shape = (channels, int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    kernel = int(rng.integers(1, 3))
    groups = channels if rng.random() < 0.3 else 1
    layers.append(("conv", groups * int(rng.integers(1, 5)), kernel, 1, int(rng.integers(0, 2)), groups))
    if rng.random() < 0.5:
        layers.append(("pool", *((1, 1), (2, 1), (2, 2))[int(rng.integers(3))]) if kernel == 1 else ("pool", 1, 2))
    if rng.random() < 0.6:
        layers.append(("linear", int(rng.integers(1, 9))))
    return make_network(
        rng,
        layers,
        shape,
        bits=int(rng.integers(1, 4)) if static else int(rng.integers(1, 3)),
        static=static,
        n_timesteps=int(rng.choice([1, 2, 2, 3])),
    )


def make_hardware(**sections):
    """Design with small defaults; keyword = section, value = its fields."""
    fields = {"crossbar": {"rows": 4, "cols": 4}, "adc": {"kind": "lossless", "columns_per_adc": 2}}
    fields.update(sections)
    return HardwareConfig(name="tiny", source="made for a test", technology="none", clock_GHz=1.0, **fields)


def random_hardware(rng):
    rows, columns_per_adc = int(rng.integers(2, 9)), int(rng.integers(1, 5))
    return make_hardware(
        crossbar={
            "rows": rows,
            "cols": columns_per_adc * int(rng.integers(1, 4)),
            "cell_bits": int(rng.integers(1, 3)),
            "scheme": str(rng.choice(["differential", "offset"])),
            "rows_active": int(rng.integers(1, rows + 1)) if rng.random() < 0.6 else None,
        },
        adc={"kind": "lossless", "columns_per_adc": columns_per_adc, "sample_and_hold": bool(rng.random() < 0.6)},
        tile={
            "pes_per_tile": int(rng.integers(1, 5)),
            "crossbars_per_pe": int(rng.integers(1, 4)),
            "input_bus_bits": int(rng.integers(1, 9)),
            "accumulator_lanes": int(rng.integers(1, 5)),
            "fifo_depth": int(rng.integers(1, 4)),
            "sharing": str(rng.choice(["exclusive", "packed"])),
        },
        neuron={
            "lanes": int(rng.integers(1, 5)),
            "memory": {
                "word_bits": int(rng.integers(1, 17)),
                "banks": int(rng.integers(1, 3)),
                "ports": int(rng.integers(1, 3)),
            },
        },
        noc={
            "flit_bits": int(rng.integers(2, 17)),
            "header_bits": int(rng.integers(0, 9)),
            "router_cycles": int(rng.integers(1, 6)),
            "input_bits_per_cycle": int(rng.integers(1, 17)),
        },
        dataflow={
            "loop": str(rng.choice(["timestep_major", "layer_major"])),
            "zero_skipping": str(rng.choice(["none", "vector", "row_group"])),
            "skip_cycles": int(rng.integers(1, 4)),
        },
    )


def make_activity(rng, mapping, *, density, n_images=1):
    """Bernoulli wordlines; whole silent vectors occur too."""
    steps = mapping.network.n_timesteps
    layers = []
    for mapped in mapping.layers:
        runs = 1 if mapped.layer.input.static else steps
        rows = np.array(
            [
                mapped.rows_in_group(block, read)
                for _ in range(mapped.layer.n_groups)
                for block in range(mapped.row_blocks)
                for read in range(mapped.reads_per_vector)
            ]
        )
        shape = (n_images, runs, mapped.layer.n_positions, mapped.layer.input.n_planes, mapped.n_row_groups)
        active = rng.binomial(rows, density, shape)
        active *= rng.random((*shape[:3], 1, 1)) < (0.8 if density < 1 else 2)
        layers.append(
            LayerActivity(
                active_rows=active.astype(np.uint16),
                input_ones=np.zeros((n_images, runs), dtype=np.int64),
                spikes_out=np.zeros((n_images, steps), dtype=np.int64),
            )
        )
    return Activity(layers=tuple(layers), origin=f"density {density}")


def random_machine(rng):
    """Program and activity of a random small network on a random design."""
    hw = random_hardware(rng)
    program = compile_program(map_network(random_network(rng), hw), hw)
    return program, make_activity(rng, program.mapping, density=rng.random(), n_images=int(rng.integers(1, 3)))
