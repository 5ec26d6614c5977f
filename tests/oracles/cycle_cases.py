"""Random mapped networks with activity for the clock, and the tiny ones that examples use."""

from __future__ import annotations

import numpy as np
from oracles.table_cases import make_tables

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import MappingError
from spikeloop.simulator.functional.activity import Activity, LayerActivity
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    SumPoolNode,
)
from spikeloop.simulator.program import compile_program

__all__ = ["make_activity", "make_hardware", "make_network", "make_tables", "random_machine"]

#: Larger machines take the naive twin too long.
MOST_TILES = 14


def make_network(rng, layers, shape, *, bits=1, static=False, n_timesteps=2, classes=3, weight_bits=3):
    """Layers, one behind the other, and a linear classifier.

    ("conv", channels, kernel, stride, padding, groups) with a LIF, ("pool", kernel, stride), ("linear", n) with a LIF,
    ("sew", kernel): residual block that adds the spikes of a convolution of odd kernel to its own input spikes,
    ("stream", kernel): a convolution, its LIF, a second convolution; the currents of both are added before a LIF.
    """
    chain = _Chain(rng, weight_bits, InputNode(name="input", shape=shape, bits=bits, static=static))
    for i, spec in enumerate(layers):
        if spec[0] == "pool":
            chain.pool(f"pool{i}", *spec[1:])
        elif spec[0] == "conv":
            chain.conv(f"conv{i}", *spec[1:])
            chain.neurons(str(i))
        elif spec[0] == "sew":
            chain.sew(i, spec[1])
        elif spec[0] == "stream":
            chain.stream(i, spec[1])
        else:
            chain.linear(f"linear{i}", spec[1])
            chain.neurons(str(i))
    chain.linear(f"linear{len(layers)}", classes)
    chain.push(ReadoutNode(name="readout", bias=np.zeros(classes, dtype=np.int64)))
    return Network(name="net", n_timesteps=n_timesteps, nodes=tuple(chain.nodes), edges=tuple(chain.edges))


class _Chain:
    """Nodes so far, and the shape at their end."""

    def __init__(self, rng, weight_bits, source):
        self.rng, self.weight_bits = rng, weight_bits
        self.nodes, self.edges = [source], []
        self.shape, self.flat = source.shape, False

    @property
    def last(self):
        return self.nodes[-1].name

    def push(self, node, *sources):
        """Behind the last node, or behind the given ones."""
        self.edges += [(source, node.name) for source in sources or (self.last,)]
        self.nodes.append(node)

    def pool(self, name, kernel, stride):
        self.push(SumPoolNode(name=name, kernel=kernel, stride=stride))
        channels, height, width = self.shape
        self.shape = (channels, *((size - kernel) // stride + 1 for size in (height, width)))

    def conv(self, name, out, kernel, stride=1, padding=0, groups=1):
        channels, height, width = self.shape
        weight = self.rng.integers(-3, 4, (out, channels // groups, kernel, kernel))
        bits, stepping = self.weight_bits, {"stride": stride, "padding": padding, "groups": groups}
        self.push(ConvNode(name=name, weight=weight, weight_bits=bits, **stepping))
        self.shape = (out, *((size + 2 * padding - kernel) // stride + 1 for size in (height, width)))

    def linear(self, name, out):
        if not self.flat:
            self.push(FlattenNode(name="flatten"))
            self.shape, self.flat = (int(np.prod(self.shape)), 1, 1), True
        weight = self.rng.integers(-3, 4, (out, self.shape[0]))
        self.push(LinearNode(name=name, weight=weight, weight_bits=self.weight_bits))
        self.shape = (out, 1, 1)

    def norm(self, name):
        one = np.ones(self.shape[0], dtype=np.int64)
        self.push(BatchNormNode(name=f"bn{name}", m=8 * one, n=0 * one, k=0 * one, e=3 * one, bn_bits=5))

    def lif(self, name):
        self.push(LifNode(name=f"lif{name}", theta=40, membrane_bits=int(self.rng.integers(2, 9))))

    def neurons(self, name):
        if self.rng.random() < 0.7:
            self.norm(name)
        self.lif(name)

    def sew(self, i, kernel):
        spikes = self.last
        self.conv(f"sew{i}", self.shape[0], kernel, padding=kernel // 2)
        self.neurons(f"sew{i}")
        self.push(AddNode(name=f"add{i}", mode="sew", stream_bits=4), spikes, self.last)

    def stream(self, i, kernel):
        self.conv(f"first{i}", self.shape[0], 1)
        self.norm(f"first{i}")
        current = self.last
        self.lif(f"first{i}")
        self.conv(f"second{i}", self.shape[0], kernel, padding=kernel // 2)
        self.norm(f"second{i}")
        self.push(AddNode(name=f"add{i}", mode="stream", stream_bits=6), current, self.last)
        self.lif(f"second{i}")


def random_network(rng):
    """A convolution, maybe a residual block, maybe a pool, maybe a hidden linear layer, the classifier."""
    static = bool(rng.random() < 0.55)
    layers = []
    channels = int(rng.choice([1, 2]))
    shape = (channels, int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    kernel = int(rng.integers(1, 3))
    groups = channels if rng.random() < 0.3 else 1
    layers.append(("conv", groups * int(rng.integers(1, 5)), kernel, 1, int(rng.integers(0, 2)), groups))
    if rng.random() < 0.4:
        layers.append((str(rng.choice(["sew", "stream"])), int(rng.choice([1, 3]))))
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
    pipelined = rng.random() < 0.6
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
            "pe_accumulator_lanes": int(rng.integers(1, 5)),
            "output_bus_bits": int(rng.integers(4, 33)),
            "accumulator_lanes": int(rng.integers(1, 5)),
            "fifo_depth": int(rng.integers(1, 4)),
            "sharing": "exclusive" if pipelined else str(rng.choice(["exclusive", "packed"])),
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
            "flit_bits": int(rng.choice([1, 2, 4, 8, 16])),
            "header_bits": int(rng.integers(0, 9)),
            "router_cycles": int(rng.integers(1, 6)),
            "buffer_packets": int(rng.choice([1, 1, 2, 3])),
            "placement": str(rng.choice(["row_major", "greedy"])),
            "input_bits_per_cycle": int(rng.integers(1, 17)),
        },
        global_buffer={"bus_bits": int(rng.integers(1, 9)), "slots": int(rng.integers(1, 3))},
        dataflow={
            "order": "layer_pipelined" if pipelined else "layer_sequential",
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
    n_tiles = MOST_TILES + 1
    while n_tiles > MOST_TILES:
        hw, network = random_hardware(rng), random_network(rng)
        n_tiles = map_network(network, hw).n_tiles
    if rng.random() < 0.5:
        hw = changed(hw, "chip", tiles=n_tiles + int(rng.integers(0, 2 * n_tiles + 1)))
        if rng.random() < 0.8:
            hw = changed(hw, "dataflow", replication="balanced")
    mapping = map_network(network, hw)
    program = None
    if rng.random() < 0.4:
        try:
            few = int(rng.integers(1, 13))
            program = compile_program(mapping, changed(hw, "tile", input_buffer_positions=few))
        except MappingError:
            pass  # less than a receptive field: the default holds one
    program = program or compile_program(mapping, hw)
    return program, make_activity(rng, mapping, density=rng.random(), n_images=int(rng.integers(1, 3)))


def changed(hw, section, **fields):
    """The design with other fields of one section."""
    return hw.model_copy(update={section: getattr(hw, section).model_copy(update=fields)})
