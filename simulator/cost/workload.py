"""What a mapped network asks of a chip: widths of the datapaths and bits of the memories, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from collections.abc import Mapping as PyMapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..machine.units import KIND
from ..mapping.lower import INPUT, LoweredLayer, Signal
from ..mapping.slices import SliceScheme, cell_codes, slice_scheme
from ..mapping.tiles import MappedLayer, Mapping
from ..mapping.traffic import receivers
from ..network.graph import InputNode
from ..program import Program, compile_program
from ..tables import END

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """Sizes that the cost formulas take; arrays have one entry a layer, 0 where a layer has no such part.

    Attributes:
        n_tiles: tiles on the chip.
        n_pes: (layers,) PEs that hold weights.
        psum_bits: (layers,) width of a layer's sums.
        code_bits: (layers,) width of the shift-and-add behind an ADC: code, slices, planes and a sign.
        bn_bits: (layers,) width of the batch norm's constants.
        neuron_bits: (layers,) width of the neuron's adders: membrane, guard bits, 2 (the classifier: its sums).
        neuron_adds: (layers,) additions of one update: leak, integrate, soft reset.
        fires: (layers,) 1 where an update compares with a threshold.
        membrane_bits: (layers,) bits of the membranes of one output, all its LIFs together.
        register_bits: (layers,) width of a lane's registers in ``layer_major``: membrane and held sum.
        pool_bits: (layers,) width of a pooling adder.
        residual_bits: (layers,) width of a residual adder.
        counts_inputs: (layers,) 1 where driven wordlines are counted to correct ``offset`` and affine weights.
        code_share: (layers,) mean code of the cells that hold weights, as a share of the highest code.
        memory_bits: (memories, layers) what all tiles of a layer hold together, rows as in ``MEMORIES``.
        macro_bits: (memories, layers) capacity of one of its macros, on which the energy of an access depends.
    """

    n_tiles: int
    n_pes: IntArray
    psum_bits: IntArray
    code_bits: IntArray
    bn_bits: IntArray
    neuron_bits: IntArray
    neuron_adds: IntArray
    fires: IntArray
    membrane_bits: IntArray
    register_bits: IntArray
    pool_bits: IntArray
    residual_bits: IntArray
    counts_inputs: IntArray
    code_share: FloatArray
    memory_bits: IntArray
    macro_bits: IntArray

    @property
    def n_layers(self) -> int:
        """Layers."""
        return int(self.n_pes.size)

    def held_bits(self, memory: str) -> IntArray:
        """(layers,) bits that a layer holds in a memory of ``MEMORIES``."""
        return np.asarray(self.memory_bits[MEMORIES.index(memory)])

    def word_bits(self, hw: HardwareConfig) -> IntArray:
        """(memories, layers) width of an access; batch norm reads both constants of a channel at once."""
        memory = hw.neuron.memory.word_bits
        words = {"input": hw.tile.input_bus_bits, "spike": hw.noc.flit_bits, "global": hw.global_buffer.bus_bits}
        rows = [np.full(self.n_layers, words.get(name, memory), dtype=np.int64) for name in MEMORIES]
        rows[MEMORIES.index("bn")] = np.maximum(2 * self.bn_bits, 1)
        return np.stack(rows)


#: Rows of ``Workload.memory_bits``; the global buffer, one for all layers, stands in every column of its row.
MEMORIES = ("input", "bn", "membrane", "current", "residual", "spike", "global")
_ARRAYS = (
    *("n_pes", "psum_bits", "code_bits", "bn_bits", "neuron_bits", "neuron_adds", "fires", "membrane_bits"),
    *("register_bits", "pool_bits", "residual_bits", "counts_inputs"),
)


def workload_of(mapping: Mapping, hw: HardwareConfig, program: Program | None = None) -> Workload:
    """Sizes of a mapped network.

    Rules: in ``layer_sequential`` a tile's input buffer holds the layer's whole input map of one step, because values
    are multicast to all tiles of a layer (all steps in ``layer_major``, unless the input is static); a home tile holds
    the membranes, the held sums of a direct-coded layer, the residual values that its adds wait with, and one step's
    values to send (all steps' in ``layer_major``). In ``layer_pipelined`` buffers hold what the slots of the program's
    streams say, and ``tile.fifo_depth`` packets wait to be sent. Memories are banked per layer.
    """
    steps = mapping.network.n_timesteps
    streamed = None
    if hw.dataflow.order == "layer_pipelined":
        streamed = stream_bits(program if program is not None else compile_program(mapping, hw))
    places = [
        LayerPlace(
            layer=mapped.layer,
            scheme=mapped.scheme,
            n_replicas=mapped.n_replicas,
            n_tiles=len(mapped.tiles),
            n_homes=len(mapped.home_tiles),
            n_pes=len(mapped.pes),
        )
        for mapped in mapping.layers
    ]
    return placed_workload(mapping.network.input, steps, places, mapping.n_chip_tiles, hw, streamed)


class LayerPlace(NamedTuple):
    """A layer and how much of a chip it takes: all that its sizes depend on."""

    layer: LoweredLayer
    scheme: SliceScheme
    n_replicas: int
    n_tiles: int
    n_homes: int
    n_pes: int


def placed_workload(
    node: InputNode,
    n_timesteps: int,
    places: Sequence[LayerPlace],
    n_chip_tiles: int,
    hw: HardwareConfig,
    streamed: StreamBits | None = None,
) -> Workload:
    """Sizes of a network of which only the counts of tiles and PEs are known; ``workload_of`` without a mapping.

    Args:
        node: the network's input.
        n_timesteps: steps T.
        places: every layer, in order.
        n_chip_tiles: tiles on the chip, idle ones too.
        hw: design.
        streamed: slots of the streams, needed in ``layer_pipelined``.
    """
    layers = [place.layer for place in places]
    readers = receivers(layers)
    rows = [_layer_sizes(place, layers, readers, hw, n_timesteps, streamed) for place in places]
    global_bits = _global_bits(node, n_timesteps, hw)
    for row in rows:
        row |= {"global_memory_bits": global_bits, "global_macro_bits": global_bits}
    return _workload(n_chip_tiles, rows, [code_share(place) for place in places])


def _workload(n_tiles: int, rows: Sequence[PyMapping[str, int]], shares: Sequence[float]) -> Workload:
    def stacked(suffix: str) -> IntArray:
        return np.array([[row[f"{name}_{suffix}"] for row in rows] for name in MEMORIES], dtype=np.int64)

    return Workload(
        n_tiles=n_tiles,
        code_share=np.array(shares, dtype=np.float64),
        memory_bits=stacked("memory_bits"),
        macro_bits=stacked("macro_bits"),
        **{name: np.array([row[name] for row in rows], dtype=np.int64) for name in _ARRAYS},
    )


def code_share(mapped: MappedLayer | LayerPlace) -> float:
    """Mean code of the cells that hold weights, as a share of the highest code of a cell."""
    values, counts = _weight_counts(mapped.layer)
    codes = cell_codes(values, mapped.scheme).reshape(values.size, -1)
    highest = 2**mapped.scheme.cell_bits - 1
    return float(counts @ codes.mean(axis=1) / (counts.sum() * highest))


_WEIGHT_COUNTS: WeakKeyDictionary[LoweredLayer, tuple[IntArray, IntArray]] = WeakKeyDictionary()


def _weight_counts(layer: LoweredLayer) -> tuple[IntArray, IntArray]:
    """Distinct weights and how often each occurs; weights never change, so a layer is counted once."""
    if layer not in _WEIGHT_COUNTS:
        lowest, highest = int(layer.matrix.min()), int(layer.matrix.max())
        if highest - lowest < 2**17:
            # Some thirty times faster than sorting the weights of a large network.
            counts = np.bincount((layer.matrix - lowest).ravel())
            values = np.flatnonzero(counts)
            _WEIGHT_COUNTS[layer] = (values + lowest, counts[values].astype(np.int64))
        else:
            values, counts = np.unique(layer.matrix, return_counts=True)
            _WEIGHT_COUNTS[layer] = (values.astype(np.int64), counts.astype(np.int64))
    return _WEIGHT_COUNTS[layer]


class StreamBits(NamedTuple):
    """Bits of the slots of streams, (layers,): all input buffers, the largest one, and the residual buffers."""

    inputs: IntArray
    largest_input: IntArray
    residuals: IntArray


def stream_bits(program: Program) -> StreamBits:
    """Bits behind the far ends of the streams between layers."""
    mapping = program.mapping
    per_unit = np.zeros((2, program.n_units), dtype=np.int64)
    ends = np.flatnonzero(program.channel_kind == END)
    for channel in ends:
        src, dst = int(program.channel_src[channel]), int(program.channel_dst[channel])
        layer, number = int(program.unit_layer[src]), int(program.unit_number[src])
        if layer != INPUT.layer and number < 0:
            continue  # partial sums wait in queues, not in a memory
        bits = mapping.network.input.bits if layer == INPUT.layer else mapping.layers[layer].layer.ops[number].bits
        values = int(program.unit_items[src])
        is_input = program.unit_kind[dst] == KIND["fetch"]
        if not is_input:
            values = min(values, int(program.unit_items[dst]))
        per_unit[0 if is_input else 1, dst] += int(program.channel_depth[channel]) * values * bits
    n_layers = len(mapping.layers)
    totals = np.zeros((2, n_layers), dtype=np.int64)
    largest = np.zeros(n_layers, dtype=np.int64)
    for layer in range(n_layers):
        of_layer = program.unit_layer == layer
        totals[:, layer] = per_unit[:, of_layer].sum(axis=1)
        largest[layer] = per_unit[0, of_layer].max()
    return StreamBits(inputs=totals[0], largest_input=largest, residuals=totals[1])


def _global_bits(node: InputNode, n_timesteps: int, hw: HardwareConfig) -> int:
    """An image (or a step of it, unless it is static) in each slot."""
    c, h, w = node.shape
    steps = n_timesteps if hw.dataflow.loop == "layer_major" and not node.static else 1
    return c * h * w * node.bits * steps * hw.global_buffer.slots


def _layer_sizes(
    place: LayerPlace,
    layers: Sequence[LoweredLayer],
    readers: Container[Signal],
    hw: HardwareConfig,
    n_timesteps: int,
    streamed: StreamBits | None,
) -> dict[str, int]:
    layer, index = place.layer, place.layer.index
    homes, tiles = place.n_homes, place.n_tiles
    sizes = {"n_pes": place.n_pes, **_widths(place, hw, n_timesteps)}
    sizes["counts_inputs"] = int(place.scheme.input_offset != 0)
    steps = n_timesteps if hw.dataflow.loop == "layer_major" else 1
    if streamed is None:
        input_per_tile = _input_bits(layer, hw, n_timesteps)
        inputs, residuals = tiles * input_per_tile, _residual_bits(layers, layer) * steps
        spikes = _sent_bits(layer, readers)[0] * steps
    else:
        input_per_tile, inputs = int(streamed.largest_input[index]), int(streamed.inputs[index])
        residuals = int(streamed.residuals[index])
        spikes = _sent_bits(layer, readers)[1] * hw.tile.fifo_depth * place.n_replicas
    sizes |= {"input_memory_bits": inputs, "input_macro_bits": input_per_tile}
    held = layer.input.static and n_timesteps > 1
    sizes["register_bits"] = sizes["membrane_bits"] + (layer.psum_bits if held else 0)
    neurons = layer.n_positions * layer.n_groups * layer.n_outputs
    timestep_major = hw.dataflow.loop == "timestep_major"
    banks = homes * hw.neuron.memory.banks
    membrane = neurons * sizes["membrane_bits"] if timestep_major else 0
    current = neurons * layer.psum_bits if held and timestep_major else 0
    constants = _batch_norm_bits(layer) * place.n_replicas
    for name, total, macros in (
        ("membrane", membrane, banks),
        ("current", current, banks),
        ("residual", residuals, banks),
        ("spike", spikes, homes),
        ("bn", constants, homes),
    ):
        sizes[f"{name}_memory_bits"] = total
        sizes[f"{name}_macro_bits"] = math.ceil(total / macros)
    return sizes


def _widths(place: LayerPlace, hw: HardwareConfig, n_timesteps: int) -> dict[str, int]:
    layer, lifs = place.layer, place.layer.lifs
    sizes = {
        "psum_bits": layer.psum_bits,
        "code_bits": code_bits(hw, place.scheme.n_slices, layer.input.n_planes),
        "bn_bits": layer.batch_norm.bn_bits if layer.batch_norm is not None else 0,
        "pool_bits": max((op.bits for op in layer.ops if op.kind == "pool"), default=0),
        "residual_bits": max((op.bits for op in layer.ops if op.kind == "add"), default=0),
        "neuron_bits": max((lif.membrane_bits + lif.guard_bits + 2 for lif in lifs), default=0),
        "neuron_adds": max((abs(lif.leak_mul).bit_count() + 1 + int(lif.reset == "soft") for lif in lifs), default=0),
        "fires": int(bool(lifs)),
        "membrane_bits": sum(lif.membrane_bits for lif in lifs),
    }
    if layer.is_readout:
        sizes |= {"neuron_bits": layer.psum_bits + (n_timesteps - 1).bit_length(), "neuron_adds": 1}
    return sizes


def code_bits(hw: HardwareConfig, n_slices: int, n_planes: int) -> int:
    """Width of the shift-and-add of one bitline: ADC code, shifts of slices and planes, a sign."""
    return hw.adc_bits + (n_slices - 1) * hw.crossbar.cell_bits + (n_planes - 1) + 1


def _input_bits(layer: LoweredLayer, hw: HardwareConfig, n_timesteps: int) -> int:
    c, h, w = layer.in_shape
    steps = n_timesteps if hw.dataflow.loop == "layer_major" and not layer.input.static else 1
    return c * h * w * layer.input.bits * steps


def _sent_bits(layer: LoweredLayer, readers: Container[Signal]) -> tuple[int, int]:
    """Bits of all values that a layer sends, of one step and of one position."""
    sent = [op for i, op in enumerate(layer.ops) if Signal(layer.index, i) in readers]
    a_step = sum(op.shape[0] * op.shape[1] * op.shape[2] * op.bits for op in sent)
    return a_step, sum(op.shape[0] * op.bits for op in sent)


def _residual_bits(layers: Sequence[LoweredLayer], layer: LoweredLayer) -> int:
    """Bits of one step of all values that the adds of a layer wait with."""
    return sum(
        op.shape[0] * op.shape[1] * op.shape[2] * layers[signal.layer].ops[signal.op].bits
        for op in layer.ops
        for signal in op.residuals
    )


def _batch_norm_bits(layer: LoweredLayer) -> int:
    if layer.batch_norm is None:
        return 0
    return 2 * layer.batch_norm.bn_bits * int(layer.batch_norm.m.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class NominalLayer:
    """Layer that fills one tile when a design is priced without a network."""

    weight_bits: int = 4
    membrane_bits: int = 8
    bn_bits: int = 8
    guard_bits: int = 4
    n_positions: int = 256
    n_timesteps: int = 4


def nominal_workload(hw: HardwareConfig, layer: NominalLayer) -> Workload:
    """One tile filled with one convolution layer of binary spikes that is not direct coded."""
    crossbar, tile = hw.crossbar, hw.tile
    scheme = slice_scheme(layer.weight_bits, "symmetric", crossbar.cell_bits, crossbar.scheme)
    outputs = max(1, crossbar.cols // scheme.columns_per_output) * tile.pes_per_tile
    rows = crossbar.rows * tile.crossbars_per_pe
    layer_major = hw.dataflow.loop == "layer_major"
    steps = layer.n_timesteps if layer_major else 1
    membrane = 0 if layer_major else outputs * layer.n_positions * layer.membrane_bits
    sizes = {
        "n_pes": tile.pes_per_tile,
        "psum_bits": (rows * (2 ** (layer.weight_bits - 1) - 1)).bit_length() + 1,
        "code_bits": code_bits(hw, scheme.n_slices, 1),
        "bn_bits": layer.bn_bits,
        "neuron_bits": layer.membrane_bits + layer.guard_bits + 2,
        "neuron_adds": 2,
        "fires": 1,
        "membrane_bits": layer.membrane_bits,
        "register_bits": layer.membrane_bits,
        "pool_bits": 3,
        "residual_bits": 0,
        "input_memory_bits": crossbar.rows * layer.n_positions * steps,
        "input_macro_bits": crossbar.rows * layer.n_positions * steps,
        "bn_memory_bits": 2 * layer.bn_bits * outputs,
        "bn_macro_bits": 2 * layer.bn_bits * outputs,
        "membrane_memory_bits": membrane,
        "membrane_macro_bits": math.ceil(membrane / hw.neuron.memory.banks),
        "current_memory_bits": 0,
        "current_macro_bits": 0,
        "residual_memory_bits": 0,
        "residual_macro_bits": 0,
        "spike_memory_bits": outputs * layer.n_positions * steps,
        "spike_macro_bits": outputs * layer.n_positions * steps,
        "global_memory_bits": 0,
        "global_macro_bits": 0,
        "counts_inputs": int(scheme.input_offset != 0),
    }
    return _workload(1, [sizes], [0.5])
