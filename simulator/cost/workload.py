"""What a mapped network asks of a chip: widths of the datapaths and bits of the memories, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..machine.units import KIND
from ..mapping.lower import INPUT
from ..mapping.slices import slice_scheme
from ..mapping.tiles import Mapping
from ..program import Program, compile_program
from ..tables import END
from .sizes import LayerSizes, layer_arrays, mapped_sizes

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]


#: Rows of ``Workload.memory_bits``; the global buffer, one for all layers, stands in every column of its row.
MEMORIES = ("input", "bn", "membrane", "current", "residual", "spike", "global")


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """Sizes that the cost formulas take.

    Attributes:
        sizes: what the mapping says.
        code_bits: (layers,) width of the shift-and-add behind an ADC: code, slices, planes and a sign.
        memory_bits: (memories, layers) what all tiles of a layer hold together, rows as in ``MEMORIES``.
        macro_bits: (memories, layers) capacity of one of its macros, on which the energy of an access depends.
    """

    sizes: LayerSizes
    code_bits: IntArray
    memory_bits: IntArray
    macro_bits: IntArray

    @property
    def n_tiles(self) -> int:
        """Tiles on the chip."""
        return self.sizes.n_tiles

    @property
    def n_layers(self) -> int:
        """Layers."""
        return int(self.code_bits.size)

    def held_bits(self, memory: str) -> IntArray:
        """(layers,) bits that a layer holds in a memory of ``MEMORIES``."""
        return np.asarray(self.memory_bits[MEMORIES.index(memory)])

    def word_bits(self, hw: HardwareConfig) -> IntArray:
        """(memories, layers) width of an access; batch norm reads both constants of a channel at once."""
        memory = hw.neuron.memory.word_bits
        words = np.empty(self.memory_bits.shape, dtype=np.int64)
        row = (hw.tile.input_bus_bits, 1, memory, memory, memory, hw.noc.flit_bits, hw.global_buffer.bus_bits)
        words.T[:] = row
        words[1] = np.maximum(2 * self.sizes.bn_bits, 1)
        return words


def workload_of(mapping: Mapping, hw: HardwareConfig, program: Program | None = None) -> Workload:
    """Sizes of a mapped network.

    Rules: in ``layer_sequential`` a tile's input buffer holds the layer's whole input map of one step, because values
    are multicast to all tiles of a layer (all steps in ``layer_major``, unless the input is static); a home tile holds
    the membranes, the held sums of a direct-coded layer, the residual values that its adds wait with, and one step's
    values to send (all steps' in ``layer_major``). In ``layer_pipelined`` buffers hold what the slots of the program's
    streams say, and ``tile.fifo_depth`` packets wait to be sent. Memories are banked per layer.
    """
    streamed = None
    if hw.dataflow.order == "layer_pipelined":
        streamed = stream_bits(program if program is not None else compile_program(mapping, hw))
    return sized_workload(mapped_sizes(mapping), hw, streamed)


def sized_workload(sizes: LayerSizes, hw: HardwareConfig, streamed: StreamBits | None = None) -> Workload:
    """Sizes of a design whose layers take so much of a chip.

    Args:
        sizes: what the mapping says, or the counts of tiles and PEs alone (``placed_sizes``).
        hw: design.
        streamed: slots of the streams, needed in ``layer_pipelined``.
    """
    whole = sizes.n_timesteps if hw.dataflow.loop == "layer_major" else 1
    banks = sizes.homes * hw.neuron.memory.banks
    bits = np.zeros((len(MEMORIES), sizes.n_pes.size), dtype=np.int64)
    macros = np.empty_like(bits)
    if streamed is None:
        input_macro = sizes.input_bits * np.where(sizes.input_static, 1, whole)
        bits[0], bits[4] = sizes.tiles * input_macro, sizes.residual_wait_bits * whole
        bits[5] = sizes.sent_bits * whole
    else:
        input_macro = streamed.largest_input
        bits[0], bits[4] = streamed.inputs, streamed.residuals
        bits[5] = sizes.packet_bits * hw.tile.fifo_depth * sizes.replicas
    bits[1] = sizes.bn_memory_bits
    if hw.dataflow.loop == "timestep_major":
        bits[2] = sizes.neurons * sizes.membrane_bits
        bits[3] = sizes.neurons * sizes.psum_bits * sizes.held
    bits[6] = sizes.image_bits * hw.global_buffer.slots * (1 if sizes.image_static else whole)
    macros[1] = macros[5] = sizes.homes
    macros[2] = macros[3] = macros[4] = banks
    macros[6] = 1
    macro_bits = -(-bits // np.maximum(macros, 1))
    macro_bits[0] = input_macro
    return Workload(
        sizes=sizes,
        code_bits=hw.adc_bits + (sizes.slices - 1) * hw.crossbar.cell_bits + sizes.planes,
        memory_bits=bits,
        macro_bits=macro_bits,
    )


class StreamBits(NamedTuple):
    """Bits of the slots of streams, (layers,): all input buffers, the largest one, and the residual buffers."""

    inputs: IntArray
    largest_input: IntArray
    residuals: IntArray


def stream_bits(program: Program) -> StreamBits:
    """Bits behind the far ends of the streams between layers."""
    if program not in _STREAMS:
        _STREAMS[program] = _stream_bits(program)
    return _STREAMS[program]


_STREAMS: WeakKeyDictionary[Program, StreamBits] = WeakKeyDictionary()


def _stream_bits(program: Program) -> StreamBits:
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
    sizes = {
        "n_pes": tile.pes_per_tile,
        **dict.fromkeys(("tiles", "homes", "replicas", "planes", "fires"), 1),
        **dict.fromkeys(("held", "input_static", "residual_bits", "residual_wait_bits"), 0),
        "psum_bits": (rows * (2 ** (layer.weight_bits - 1) - 1)).bit_length() + 1,
        "slices": scheme.n_slices,
        "counts_inputs": int(scheme.input_offset != 0),
        "code_share": 0.5,
        "bn_bits": layer.bn_bits,
        "bn_memory_bits": 2 * layer.bn_bits * outputs,
        "neuron_bits": layer.membrane_bits + layer.guard_bits + 2,
        "neuron_adds": 2,
        "membrane_bits": layer.membrane_bits,
        "pool_bits": 3,
        "neurons": outputs * layer.n_positions,
        "input_bits": crossbar.rows * layer.n_positions,
        "sent_bits": outputs * layer.n_positions,
        "packet_bits": outputs,
    }
    arrays = layer_arrays([sizes], n_tiles=1, n_timesteps=layer.n_timesteps, image_bits=0, image_static=True)
    return sized_workload(arrays, hw)
