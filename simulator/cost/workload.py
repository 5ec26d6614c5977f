"""What a mapped network asks of a chip: widths of the datapaths and bits of the memories, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..mapping.lower import LoweredLayer
from ..mapping.slices import slice_scheme
from ..mapping.tiles import MappedLayer, Mapping

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """Sizes that the cost formulas take; arrays have one entry a layer, 0 where a layer has no such part.

    ``*_memory_bits`` is what all tiles of a layer hold together, ``*_macro_bits`` the capacity of one of
    its macros, on which the energy of an access depends.

    Attributes:
        n_tiles: tiles on the chip.
        n_pes: (layers,) PEs that hold weights.
        psum_bits: (layers,) width of a layer's sums.
        code_bits: (layers,) width of the shift-and-add behind an ADC: code, slices, planes and a sign.
        bn_bits: (layers,) width of the batch norm's constants.
        neuron_bits: (layers,) width of the neuron's adders: membrane, guard bits, 2 (the classifier: its sums).
        neuron_adds: (layers,) additions of one update: leak, integrate, soft reset.
        fires: (layers,) 1 where an update compares with a threshold.
        membrane_bits: (layers,) width of a stored membrane.
        register_bits: (layers,) width of a lane's registers in ``layer_major``: membrane and held sum.
        pool_bits: (layers,) width of a pooling adder.
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
    input_memory_bits: IntArray
    input_macro_bits: IntArray
    bn_memory_bits: IntArray
    bn_macro_bits: IntArray
    membrane_memory_bits: IntArray
    membrane_macro_bits: IntArray
    current_memory_bits: IntArray
    current_macro_bits: IntArray
    spike_memory_bits: IntArray
    spike_macro_bits: IntArray

    @property
    def n_layers(self) -> int:
        """Layers."""
        return int(self.n_pes.size)


_ARRAYS = tuple(name for name in Workload.__dataclass_fields__ if name != "n_tiles")


def workload_of(mapping: Mapping, hw: HardwareConfig) -> Workload:
    """Sizes of a mapped network.

    Rules: a tile's input buffer holds the layer's whole input map of one step, because spikes are multicast to
    all tiles of a layer (all steps in ``layer_major``, unless the input is static); a home tile holds the
    membranes, the held sums of a direct-coded layer and one step's spikes (all steps' in ``layer_major``)
    of its neurons. Memories are banked per layer.
    """
    steps = mapping.network.n_timesteps
    rows = [_layer_sizes(mapped, hw, steps) for mapped in mapping.layers]
    return Workload(
        n_tiles=mapping.n_tiles,
        **{name: np.array([row[name] for row in rows], dtype=np.int64) for name in _ARRAYS},
    )


def _layer_sizes(mapped: MappedLayer, hw: HardwareConfig, n_timesteps: int) -> dict[str, int]:
    layer = mapped.layer
    homes = len(mapped.home_tiles)
    tiles = mapped.pes[-1].tile - mapped.pes[0].tile + 1  # PEs of a layer lie in consecutive tiles
    input_per_tile = _input_bits(layer, hw, n_timesteps)
    sizes = {"n_pes": len(mapped.pes), **_widths(mapped, hw, n_timesteps)}
    sizes |= {"input_memory_bits": tiles * input_per_tile, "input_macro_bits": input_per_tile}
    held = layer.input.static and n_timesteps > 1
    sizes["register_bits"] = sizes["membrane_bits"] + (layer.psum_bits if held else 0)
    neurons = layer.n_positions * layer.n_groups * layer.n_outputs
    timestep_major = hw.dataflow.loop == "timestep_major"
    banks = homes * hw.neuron.memory.banks
    membrane = neurons * sizes["membrane_bits"] if timestep_major else 0
    current = neurons * layer.psum_bits if held and timestep_major else 0
    spikes = _sent_bits(layer) * (1 if timestep_major else n_timesteps)
    constants = _batch_norm_bits(layer)
    for name, total, macros in (
        ("membrane", membrane, banks),
        ("current", current, banks),
        ("spike", spikes, homes),
        ("bn", constants, homes),
    ):
        sizes[f"{name}_memory_bits"] = total
        sizes[f"{name}_macro_bits"] = math.ceil(total / macros)
    return sizes


def _widths(mapped: MappedLayer, hw: HardwareConfig, n_timesteps: int) -> dict[str, int]:
    layer, lif = mapped.layer, mapped.layer.lif
    sizes = {
        "psum_bits": layer.psum_bits,
        "code_bits": code_bits(hw, mapped.scheme.n_slices, layer.input.n_planes),
        "bn_bits": layer.batch_norm.bn_bits if layer.batch_norm is not None else 0,
        "pool_bits": (layer.pool.kernel**2).bit_length() if layer.pool is not None else 0,
    }
    if lif is None:
        logit_bits = layer.psum_bits + (n_timesteps - 1).bit_length()
        return sizes | {"neuron_bits": logit_bits, "neuron_adds": 1, "fires": 0, "membrane_bits": 0}
    return sizes | {
        "neuron_bits": lif.membrane_bits + lif.guard_bits + 2,
        "neuron_adds": abs(lif.leak_mul).bit_count() + 1 + int(lif.reset == "soft"),
        "fires": 1,
        "membrane_bits": lif.membrane_bits,
    }


def code_bits(hw: HardwareConfig, n_slices: int, n_planes: int) -> int:
    """Width of the shift-and-add of one bitline: ADC code, shifts of slices and planes, a sign."""
    return hw.adc_bits + (n_slices - 1) * hw.crossbar.cell_bits + (n_planes - 1) + 1


def _input_bits(layer: LoweredLayer, hw: HardwareConfig, n_timesteps: int) -> int:
    c, h, w = layer.in_shape
    steps = n_timesteps if hw.dataflow.loop == "layer_major" and not layer.input.static else 1
    return c * h * w * layer.input.bits * steps


def _sent_bits(layer: LoweredLayer) -> int:
    if layer.lif is None:
        return 0
    c, h, w = layer.sent_shape
    bits = (layer.pool.kernel**2).bit_length() if layer.pool is not None else 1
    return c * h * w * bits


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
        "input_memory_bits": crossbar.rows * layer.n_positions * steps,
        "input_macro_bits": crossbar.rows * layer.n_positions * steps,
        "bn_memory_bits": 2 * layer.bn_bits * outputs,
        "bn_macro_bits": 2 * layer.bn_bits * outputs,
        "membrane_memory_bits": membrane,
        "membrane_macro_bits": math.ceil(membrane / hw.neuron.memory.banks),
        "current_memory_bits": 0,
        "current_macro_bits": 0,
        "spike_memory_bits": outputs * layer.n_positions * steps,
        "spike_macro_bits": outputs * layer.n_positions * steps,
    }
    return Workload(n_tiles=1, **{name: np.array([value], dtype=np.int64) for name, value in sizes.items()})
