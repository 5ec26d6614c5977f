"""Random small networks and designs for property tests, and the tiny ones that examples use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from spikeloop.simulator.config import CrossbarConfig, HardwareConfig, LosslessAdc, TileConfig, UniformAdc
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    Node,
    ReadoutNode,
    SumPoolNode,
    chain_edges,
)
from spikeloop.simulator.network.spikes import SpikeTrain


def design(
    *,
    rows: int = 16,
    cols: int = 16,
    cell_bits: int = 1,
    scheme: str = "differential",
    rows_active: int | None = None,
    dummy_column: bool = False,
    adc_bits: int | None = None,
    full_scale: str = "calibrated",
    columns_per_adc: int = 1,
    technology: str = "rram_65nm",
    **more: object,
) -> HardwareConfig:
    """Design with a lossless ADC unless ``adc_bits`` is given."""
    adc: LosslessAdc | UniformAdc = LosslessAdc(columns_per_adc=columns_per_adc)
    if adc_bits is not None:
        adc = UniformAdc(bits=adc_bits, full_scale=full_scale, columns_per_adc=columns_per_adc)
    fields: dict[str, object] = {"tile": TileConfig(pes_per_tile=4, crossbars_per_pe=2)}
    fields.update(more)
    return HardwareConfig(
        name="test",
        source="made for tests",
        technology=technology,
        clock_GHz=0.25,
        crossbar=CrossbarConfig(
            rows=rows,
            cols=cols,
            cell_bits=cell_bits,
            scheme=scheme,
            rows_active=rows_active,
            dummy_column=dummy_column,
        ),
        adc=adc,
        **fields,
    )


def symmetric_weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    top = 2 ** (bits - 1) - 1
    return rng.integers(-top, top + 1, size=shape)


def affine_weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    return 2 * rng.integers(0, 2**bits, size=shape) - (2**bits - 1)


def batch_norm(rng: np.random.Generator, name: str, channels: int, bits: int, scale: float) -> BatchNormNode:
    """Constants of both signs that map sums of magnitude ``scale`` to currents of a few hundred."""
    sign = rng.choice([-1, 1], size=channels, p=[0.25, 0.75])
    m = sign * rng.integers(2 ** (bits - 2), 2 ** (bits - 1), size=channels)
    # |m| * scale / 2^e is about the threshold
    e = np.round(np.log2(np.abs(m) * scale / 24.0)).astype(np.int64) + rng.integers(-1, 2, size=channels)
    n = rng.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), size=channels)
    k = np.maximum(0, e - bits + rng.integers(3, 6, size=channels))
    return BatchNormNode(name=name, m=m, n=n, k=k, e=np.clip(e, -50, 50), bn_bits=bits)


@st.composite
def networks(draw: st.DrawFn, *, max_timesteps: int = 4, affine: bool = True) -> Network:
    """Chain: input, one or two conv blocks (pool or not), maybe a hidden linear layer, classifier."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["binary", "unsigned", "signed"]))
    bits = 1 if kind == "binary" else draw(st.integers(2, 4))
    channels, size = draw(st.integers(1, 3)), draw(st.integers(3, 6))
    source = InputNode(
        name="in", shape=(channels, size, size), bits=bits, signed=kind == "signed", static=draw(st.booleans())
    )
    nodes: list[Node] = [source]
    gain = 2.0**bits
    for i in range(draw(st.integers(1, 2))):
        groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
        outs = groups * draw(st.integers(1, 4))
        kernel = draw(st.integers(1, min(3, size)))
        padding, stride = draw(st.integers(0, 1)), draw(st.integers(1, 2))
        weight_bits = draw(st.integers(2, 5))
        is_affine = affine and draw(st.integers(0, 3)) == 0
        make = affine_weights if is_affine else symmetric_weights
        weight = make(rng, (outs, channels // groups, kernel, kernel), weight_bits)
        nodes.append(
            ConvNode(
                name=f"conv{i}",
                weight=weight,
                weight_bits=weight_bits,
                weight_scheme="affine" if is_affine else "symmetric",
                stride=stride,
                padding=padding,
                groups=groups,
            )
        )
        scale = max(1.0, float(np.sqrt(weight[0].size)) * 2.0 ** (weight_bits - 2) * gain / 2)
        nodes += [batch_norm(rng, f"bn{i}", outs, draw(st.integers(3, 8)), scale), lif(draw, rng, f"lif{i}")]
        channels, size, gain = outs, (size + 2 * padding - kernel) // stride + 1, 1.0
        if size >= 2 and draw(st.booleans()):
            nodes.append(SumPoolNode(name=f"pool{i}", kernel=2, stride=2))
            size, gain = (size - 2) // 2 + 1, 4.0
    nodes.append(FlattenNode(name="flat"))
    classes = draw(st.integers(2, 4))
    weight_bits = draw(st.integers(2, 5))
    nodes.append(
        LinearNode(
            name="fc",
            weight=symmetric_weights(rng, (classes, channels * size * size), weight_bits),
            weight_bits=weight_bits,
        )
    )
    nodes.append(ReadoutNode(name="out", bias=rng.integers(-5, 6, size=classes)))
    return Network(
        name="random",
        n_timesteps=draw(st.integers(1, max_timesteps)),
        nodes=tuple(nodes),
        edges=chain_edges(nodes),
    )


def lif(draw: st.DrawFn, rng: np.random.Generator, name: str) -> LifNode:
    membrane_bits, guard_bits = draw(st.integers(2, 6)), draw(st.integers(0, 4))
    leak_shift = draw(st.integers(0, 2))
    return LifNode(
        name=name,
        theta=max(1, int(rng.integers(1, 2 ** (membrane_bits + guard_bits - 1) + 1))),
        membrane_bits=membrane_bits,
        guard_bits=guard_bits,
        leak_mul=int(rng.integers(0, 2**leak_shift + 1)),
        leak_shift=leak_shift,
        reset=draw(st.sampled_from(["hard", "soft"])),
    )


@st.composite
def designs(draw: st.DrawFn, *, lossless: bool = True) -> HardwareConfig:
    rows = draw(st.sampled_from([1, 2, 3, 5, 8, 16, 64, 128]))
    cols = draw(st.sampled_from([1, 2, 4, 7, 16, 64]))
    return design(
        rows=rows,
        cols=cols,
        cell_bits=draw(st.integers(1, 4)),
        scheme=draw(st.sampled_from(["differential", "offset"])),
        rows_active=draw(st.one_of(st.none(), st.integers(1, rows))),
        dummy_column=cols > 1 and draw(st.booleans()),
        adc_bits=None if lossless else draw(st.integers(1, 6)),
        full_scale=draw(st.sampled_from(["max", "percentile", "calibrated"])),
        columns_per_adc=draw(st.sampled_from([d for d in (1, 2, 4, 7, 16) if cols % d == 0])),
        tile=TileConfig(
            pes_per_tile=draw(st.integers(1, 4)),
            crossbars_per_pe=draw(st.integers(1, 4)),
            sharing=draw(st.sampled_from(["packed", "exclusive"])),
        ),
    )


def random_spikes(network: Network, n_images: int, seed: int) -> SpikeTrain:
    """Uniform input codes; labels are random."""
    rng = np.random.default_rng(seed)
    node = network.input
    low = -(2 ** (node.bits - 1)) if node.signed else 0
    high = 2 ** (node.bits - 1) if node.signed else 2**node.bits
    lead = (n_images,) if node.static else (network.n_timesteps, n_images)
    return SpikeTrain(
        name="random",
        codes=rng.integers(low, high, size=(*lead, *node.shape)),
        labels=rng.integers(0, network.n_classes, size=n_images),
        indices=np.arange(n_images, dtype=np.int64),
    )


def one_layer(weight: np.ndarray, *, weight_bits: int, n_timesteps: int = 1, input_bits: int = 1) -> Network:
    """Input -> linear -> readout, weight (outputs, inputs)."""
    nodes: tuple[Node, ...] = (
        InputNode(name="in", shape=(weight.shape[1], 1, 1), bits=input_bits),
        LinearNode(name="fc", weight=weight, weight_bits=weight_bits),
        ReadoutNode(name="out", bias=np.zeros(weight.shape[0], dtype=np.int64)),
    )
    return Network(name="one_layer", n_timesteps=n_timesteps, nodes=nodes, edges=chain_edges(nodes))


class Graph:
    """A residual network in the making: nodes and edges; ``value`` kinds: input, norm, stream, spikes, sew, pool."""

    def __init__(self, draw: st.DrawFn, rng: np.random.Generator, source: InputNode) -> None:
        self.draw, self.rng = draw, rng
        self.nodes: list[Node] = [source]
        self.edges: list[tuple[str, str]] = []
        #: node -> (kind, channels, size, largest magnitude)
        self.values = {source.name: ("input", source.shape[0], source.shape[1], 2**source.bits)}

    def put(self, node: Node, sources: list[str], value: tuple[str, int, int, int]) -> str:
        self.nodes.append(node)
        self.edges += [(source, node.name) for source in sources]
        self.values[node.name] = value
        return node.name

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"

    def conv(self, source: str, channels: int, *, kernel: int = 1, stride: int = 1, scale: float = 8.0) -> str:
        """Convolution and batch norm (mostly), currents of about ``scale``."""
        _, ins, size, top = self.values[source]
        bits = self.draw(st.integers(2, 4))
        weight = symmetric_weights(self.rng, (channels, ins, kernel, kernel), bits)
        node = ConvNode(name=self.name("conv"), weight=weight, weight_bits=bits, stride=stride, padding=kernel // 2)
        out = (size + 2 * (kernel // 2) - kernel) // stride + 1
        conv = self.put(node, [source], ("norm", channels, out, 0))
        if self.draw(st.integers(0, 5)) == 0:
            return conv
        spread = max(1.0, float(np.sqrt(ins * kernel**2)) * 2.0 ** (bits - 2) * top / 2) * 24.0 / scale
        bn = batch_norm(self.rng, self.name("bn"), channels, self.draw(st.integers(3, 8)), spread)
        return self.put(bn, [conv], ("norm", channels, out, 0))

    def lif(self, source: str) -> str:
        kind, channels, size, _ = self.values[source]
        node = lif(self.draw, self.rng, self.name("lif"))
        if kind == "stream":
            node = replace(node, input_shift=self.draw(st.integers(-2, 3)))
        return self.put(node, [source], ("spikes", channels, size, 1))

    def add(self, sources: list[str]) -> str:
        kind, channels, size, _ = self.values[sources[0]]
        if kind in ("norm", "stream"):
            bits = self.draw(st.integers(2, 7))
            node = AddNode(name=self.name("add"), mode="stream", stream_bits=bits)
            return self.put(node, sources, ("stream", channels, size, 2 ** (bits - 1)))
        top = sum(self.values[source][3] for source in sources)
        node = AddNode(name=self.name("add"), mode="sew", stream_bits=max(2, top.bit_length()))
        return self.put(node, sources, ("sew", channels, size, top))

    def pool(self, source: str) -> str:
        _, channels, size, top = self.values[source]
        node = SumPoolNode(name=self.name("pool"), kernel=2, stride=2)
        return self.put(node, [source], ("pool", channels, size // 2, 4 * top))


@st.composite
def residual_networks(draw: st.DrawFn, *, max_timesteps: int = 3) -> Network:
    """Stem, one to three residual blocks of either kind with all their variants, maybe a pool, classifier."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    static, bits = draw(st.integers(0, 3)) > 0, draw(st.integers(1, 3))
    size = draw(st.integers(2, 5))
    graph = Graph(
        draw, rng, InputNode(name="in", shape=(draw(st.integers(1, 2)), size, size), bits=bits, static=static)
    )
    block = draw(st.sampled_from([_membrane_block, _spike_block]))
    last = graph.conv("in", draw(st.integers(1, 3)), kernel=draw(st.sampled_from([1, 3])))
    if block is _spike_block:
        last = graph.lif(last)
    else:
        others = draw(st.sampled_from([None, [], ["in"]]))
        if others is not None:
            last = graph.add([last, *(graph.conv(source, graph.values[last][1]) for source in others)])
    for _ in range(draw(st.integers(1, 3))):
        last = block(graph, last)
    if graph.values[last][0] in ("norm", "stream") and draw(st.integers(0, 3)):
        last = graph.lif(last)
    if graph.values[last][2] >= 2 and graph.values[last][0] != "norm" and draw(st.booleans()):
        last = graph.pool(last)
    _, channels, size, _ = graph.values[last]
    weight = symmetric_weights(rng, (3, channels * size * size), 3)
    flat = graph.put(FlattenNode(name="flat"), [last], ("flat", 0, 0, 0))
    fc = graph.put(LinearNode(name="fc", weight=weight, weight_bits=3), [flat], ("norm", 3, 1, 0))
    graph.put(ReadoutNode(name="out", bias=rng.integers(-5, 6, size=3)), [fc], ("logits", 3, 1, 0))
    # The order in which a file lists its nodes says nothing.
    nodes = draw(st.permutations(graph.nodes))
    return Network(
        name="residual", n_timesteps=draw(st.integers(1, max_timesteps)), nodes=tuple(nodes), edges=tuple(graph.edges)
    )


def _membrane_block(graph: Graph, stream: str) -> str:
    """LIF, conv, LIF, conv, plus the stream itself or a 1x1 convolution of it or of its spikes."""
    draw, (kind, channels, _, _) = graph.draw, graph.values[stream]
    stride, out = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([channels, channels, 2]))
    spikes = graph.lif(stream)
    inner = graph.lif(graph.conv(spikes, 2, kernel=3, stride=stride))
    branch = graph.conv(inner, out)
    if (stride, out) == (1, channels) and draw(st.integers(0, 3)):
        shortcut = stream
    else:
        reads_stream = kind == "stream" and draw(st.booleans())
        shortcut = graph.conv(stream if reads_stream else spikes, out, stride=stride)
    third = [graph.conv(spikes, out, stride=stride)] if draw(st.booleans()) else []
    return graph.add(list(draw(st.permutations([shortcut, branch, *third]))))


def _spike_block(graph: Graph, spikes: str) -> str:
    """Conv, LIF, conv, LIF, plus the block's input or a 1x1 convolution of it with its LIF."""
    draw, (_, channels, _, _) = graph.draw, graph.values[spikes]
    stride, out = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([channels, channels, 2]))
    inner = graph.lif(graph.conv(spikes, 2, kernel=3, stride=stride))
    branch = graph.lif(graph.conv(inner, out))
    source = spikes
    if (stride, out) != (1, channels) or draw(st.integers(0, 3)) == 0:
        spikes = graph.lif(graph.conv(spikes, out, stride=stride))
    third = [graph.lif(graph.conv(source, out, stride=stride))] if draw(st.booleans()) else []
    return graph.add(list(draw(st.permutations([spikes, branch, *third]))))
