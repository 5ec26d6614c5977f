"""What a mapped network says about the sizes of its layers, whatever the design does with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as PyMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..mapping.lower import LoweredLayer, Signal
from ..mapping.slices import SliceScheme, cell_codes
from ..mapping.tiles import Mapping
from ..mapping.traffic import receivers
from ..network.graph import InputNode

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSizes:
    """What a mapping alone says about its layers; (layers,) each, 0 where a layer has no such part.

    Attributes:
        n_tiles: tiles on the chip.
        n_timesteps: steps of an image.
        image_bits, image_static: one step of the network input, and whether it is the same at every step.
        n_pes: PEs that hold weights.
        tiles, homes, replicas: tiles that hold a layer, those that hold its neurons, and copies of its weights.
        psum_bits: width of a layer's sums.
        slices, planes: slices of a weight and bit planes of an input.
        bn_bits: width of the batch norm's constants; ``bn_memory_bits`` all of them.
        neuron_bits: width of the neuron's adders: membrane, guard bits, 2 (the classifier: its sums).
        neuron_adds: additions of one update: leak, integrate, soft reset.
        fires: 1 where an update compares with a threshold.
        membrane_bits: bits of the membranes of one output, all its LIFs together.
        held: 1 where sums of a direct-coded layer are held for later steps.
        pool_bits, residual_bits: width of a pooling and of a residual adder.
        counts_inputs: 1 where driven wordlines are counted to correct ``offset`` and affine weights.
        code_share: mean code of the cells that hold weights, as a share of the highest code.
        neurons: outputs of all positions.
        input_bits, input_static: one step of the input map, and whether it is the same at every step.
        residual_wait_bits: one step of the values that residual adds wait with.
        sent_bits, packet_bits: one step and one position of the values that go to other layers.
    """

    n_tiles: int
    n_timesteps: int
    image_bits: int
    image_static: bool
    n_pes: IntArray
    tiles: IntArray
    homes: IntArray
    replicas: IntArray
    psum_bits: IntArray
    slices: IntArray
    planes: IntArray
    bn_bits: IntArray
    bn_memory_bits: IntArray
    neuron_bits: IntArray
    neuron_adds: IntArray
    fires: IntArray
    membrane_bits: IntArray
    held: IntArray
    pool_bits: IntArray
    residual_bits: IntArray
    counts_inputs: IntArray
    code_share: FloatArray
    neurons: IntArray
    input_bits: IntArray
    input_static: IntArray
    residual_wait_bits: IntArray
    sent_bits: IntArray
    packet_bits: IntArray

    @cached_property
    def widest(self) -> Widest:
        """Widths of the datapaths that all layers share."""
        sums = np.where(self.bn_bits > 0, self.psum_bits + self.bn_bits, 0)
        return Widest(
            psum_bits=int(self.psum_bits.max()),
            norm_bits=int(sums.max()),
            products=int((self.bn_bits * self.psum_bits).max()),
            bn_bits=int(self.bn_bits.max()),
            neuron_bits=int(self.neuron_bits.max()),
            neuron_adds=int(self.neuron_adds.max()),
            compared_bits=int((self.neuron_bits * self.fires).max()),
            register_bits=int((self.membrane_bits + self.held * self.psum_bits).max()),
            pool_bits=int(self.pool_bits.max()),
            residual_bits=int(self.residual_bits.max()),
            counts_inputs=bool(self.counts_inputs.any()),
        )


class Widest(NamedTuple):
    """Widest layer of each datapath: ``products`` of a multiplier's two widths, ``register_bits`` of a lane."""

    psum_bits: int
    norm_bits: int
    products: int
    bn_bits: int
    neuron_bits: int
    neuron_adds: int
    compared_bits: int
    register_bits: int
    pool_bits: int
    residual_bits: int
    counts_inputs: bool


def mapped_sizes(mapping: Mapping) -> LayerSizes:
    """Sizes of a mapped network; a sweep prices one mapping with many designs, so they are worked out once."""
    if mapping not in _SIZES:
        _SIZES[mapping] = _mapped_sizes(mapping)
    return _SIZES[mapping]


_SIZES: WeakKeyDictionary[Mapping, LayerSizes] = WeakKeyDictionary()


def _mapped_sizes(mapping: Mapping) -> LayerSizes:
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
    return placed_sizes(mapping.network.input, mapping.network.n_timesteps, places, mapping.n_chip_tiles)


class LayerPlace(NamedTuple):
    """A layer and how much of a chip it takes: all that its sizes depend on."""

    layer: LoweredLayer
    scheme: SliceScheme
    n_replicas: int
    n_tiles: int
    n_homes: int
    n_pes: int


def placed_sizes(node: InputNode, n_timesteps: int, places: Sequence[LayerPlace], n_chip_tiles: int) -> LayerSizes:
    """Sizes of a network of which only the counts of tiles and PEs are known; ``mapped_sizes`` without a mapping.

    Args:
        node: the network's input.
        n_timesteps: steps T.
        places: every layer, in order.
        n_chip_tiles: tiles on the chip, idle ones too.
    """
    layers = [place.layer for place in places]
    readers = receivers(layers)
    c, h, w = node.shape
    return layer_arrays(
        [_layer_sizes(place, layers, readers, n_timesteps) for place in places],
        n_tiles=n_chip_tiles,
        n_timesteps=n_timesteps,
        image_bits=c * h * w * node.bits,
        image_static=node.static,
    )


def layer_arrays(
    rows: Sequence[PyMapping[str, float]], *, n_tiles: int, n_timesteps: int, image_bits: int, image_static: bool
) -> LayerSizes:
    """Record of the layers' sizes, one row a layer."""
    names = [name for name in rows[0] if name != "code_share"]
    return LayerSizes(
        n_tiles=n_tiles,
        n_timesteps=n_timesteps,
        image_bits=image_bits,
        image_static=image_static,
        code_share=np.array([row["code_share"] for row in rows], dtype=np.float64),
        **{name: np.array([row[name] for row in rows], dtype=np.int64) for name in names},
    )


def _layer_sizes(
    place: LayerPlace, layers: Sequence[LoweredLayer], readers: Collection[Signal], n_timesteps: int
) -> dict[str, float]:
    layer, index = place.layer, place.layer.index
    c, h, w = layer.in_shape
    sent = [op for i, op in enumerate(layer.ops) if Signal(index, i) in readers]
    return {
        "n_pes": place.n_pes,
        "tiles": place.n_tiles,
        "homes": place.n_homes,
        "replicas": place.n_replicas,
        "slices": place.scheme.n_slices,
        "planes": layer.input.n_planes,
        "counts_inputs": int(place.scheme.input_offset != 0),
        "code_share": code_share(place),
        "held": int(layer.input.static and n_timesteps > 1),
        "neurons": layer.n_positions * layer.n_groups * layer.n_outputs,
        "input_bits": c * h * w * layer.input.bits,
        "input_static": int(layer.input.static),
        "bn_memory_bits": _batch_norm_bits(layer) * place.n_replicas,
        "residual_wait_bits": _residual_bits(layers, layer),
        "sent_bits": sum(op.shape[0] * op.shape[1] * op.shape[2] * op.bits for op in sent),
        "packet_bits": sum(op.shape[0] * op.bits for op in sent),
        **_widths(layer, n_timesteps),
    }


def _widths(layer: LoweredLayer, n_timesteps: int) -> dict[str, int]:
    lifs = layer.lifs
    sizes = {
        "psum_bits": layer.psum_bits,
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


def code_share(place: LayerPlace) -> float:
    """Mean code of the cells that hold weights, as a share of the highest code of a cell."""
    values, counts = _weight_counts(place.layer)
    codes = cell_codes(values, place.scheme).reshape(values.size, -1)
    highest = 2**place.scheme.cell_bits - 1
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
