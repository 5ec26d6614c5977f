"""What the closed forms need of a network: geometry, ops, who reads what, and densities of its input bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..mapping.lower import INPUT, LoweredLayer, Op, Signal
from ..mapping.replicate import column_group
from ..mapping.slices import slice_scheme
from ..mapping.traffic import receivers
from ..network.graph import LifNode, SumPoolNode

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_OP_CODES = {"norm": 0, "add": 1, "lif": 2, "pool": 3, "readout": 4}
_MAX_CELL_BITS = 8

LAYER = np.dtype(
    [
        (name, np.int64)
        for name in [
            "groups",
            "rows",
            "outputs",
            "height",
            "width",
            "in_values",
            "map_height",
            "map_width",
            "kernel_height",
            "kernel_width",
            "stride",
            "padding",
            "linear",
            "planes",
            "static",
            "psum_bits",
            "norm_updates",
            "column_group",
            "source",
            "first_op",
            "n_ops",
            "affine",
        ]
    ]
)
OP = np.dtype(
    [
        (name, np.int64)
        for name in [
            "kind",
            "bits",
            "height",
            "width",
            "channels",
            "inputs",
            "sent",
            "pool_kernel",
            "pool_stride",
            "membrane_bits",
            "first_residual",
            "n_residuals",
        ]
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class InputDensity:
    """Independent input bits of a layer.

    Attributes:
        planes: (planes,) probability that a bit of each plane is 1.
        nonzero: probability that a code is not zero.
    """

    planes: Array
    nonzero: float


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSummary:
    """A lowered network as tables; made once, used for every design.

    Attributes:
        layers: the lowered layers.
        n_timesteps: steps T.
        layer: (layers,) records ``LAYER``; ``source`` is a signal number (0: the network input, 1 + op otherwise).
        op: (ops,) records ``OP``, layer by layer.
        residual_bits: bits of the residuals of the adds, ``first_residual`` points into it.
        reader_start, reader_layer, reader_op: readers of signal s are ``reader_start[s] : reader_start[s + 1]``;
            op -1 for crossbars.
        columns: (layers, 2, 8) bitlines of an output by crossbar scheme (differential, offset) and cell bits - 1.
        inside: (layers, classes, 2) share of a window inside the map, and share of the positions with it.
        density: (layers, planes) probability of ones, 0 beyond a layer's planes.
        nonzero: (layers,) probability of a code that is not zero.
    """

    layers: tuple[LoweredLayer, ...]
    n_timesteps: int
    layer: NDArray[np.void]
    op: NDArray[np.void]
    residual_bits: IntArray
    reader_start: IntArray
    reader_layer: IntArray
    reader_op: IntArray
    columns: IntArray
    inside: Array
    density: Array
    nonzero: Array


def summarise(
    layers: Sequence[LoweredLayer], n_timesteps: int, densities: float | Mapping[str, float] | Sequence[InputDensity]
) -> NetworkSummary:
    """Tables of a lowered network.

    Args:
        layers: from ``lower_network``.
        n_timesteps: steps T of the network.
        densities: share of ones among the spikes that the layers read (one, or by layer name, as of
            ``random_activity``), or the density of the input bits of each layer.

    Raises:
        ConfigError: a density outside [0, 1], or not one for each layer.
    """
    given = _densities(layers, densities)
    numbers = {INPUT: 0}
    for layer in layers:
        for op in range(len(layer.ops)):
            numbers[Signal(layer.index, op)] = len(numbers)
    readers = receivers(layers)
    ordered = [readers.get(signal, ()) for signal in numbers]
    residuals: list[int] = []
    ops = [_op_row(layers, layer, i, readers.keys(), residuals) for layer in layers for i in range(len(layer.ops))]
    planes = max(layer.input.n_planes for layer in layers)
    first_op = np.cumsum([0] + [len(layer.ops) for layer in layers])
    return NetworkSummary(
        layers=tuple(layers),
        n_timesteps=n_timesteps,
        layer=np.array(
            [_layer_row(layers, layer, numbers, int(first_op[layer.index])) for layer in layers], dtype=LAYER
        ),
        op=np.array(ops, dtype=OP),
        residual_bits=np.array(residuals, dtype=np.int64),
        reader_start=np.cumsum([0] + [len(items) for items in ordered]).astype(np.int64),
        reader_layer=np.array([item.layer for items in ordered for item in items], dtype=np.int64),
        reader_op=np.array(
            [-1 if item.op is None else first_op[item.layer] + item.op for items in ordered for item in items],
            dtype=np.int64,
        ),
        columns=np.array([_columns(layer) for layer in layers], dtype=np.int64),
        inside=_inside(layers),
        density=np.array([np.pad(item.planes, (0, planes - item.planes.size)) for item in given]),
        nonzero=np.array([item.nonzero for item in given]),
    )


def bernoulli_density(layer: LoweredLayer, share: float) -> InputDensity:
    """Bits of the inputs that ``random_activity`` draws: pixels and streams uniform, sums of spikes binomial."""
    bits, top = layer.input.bits, layer.input.code_max
    if layer.input_signal == INPUT or layer.input.signed:
        codes = np.arange(-top, top) if layer.input.signed else np.arange(top + 1)
        chance = np.full(codes.size, 1.0 / codes.size)
    else:
        codes = np.arange(top + 1)
        chance = np.array([math.comb(top, k) * share**k * (1.0 - share) ** (top - k) for k in range(top + 1)])
    planes = np.array([float(chance[(codes >> k) & 1 == 1].sum()) for k in range(bits)])
    return InputDensity(planes=planes, nonzero=float(1.0 - chance[codes == 0].sum()))


def _densities(
    layers: Sequence[LoweredLayer], densities: float | Mapping[str, float] | Sequence[InputDensity]
) -> list[InputDensity]:
    names = [layer.name for layer in layers]
    if isinstance(densities, Mapping):
        if set(densities) != set(names):
            raise ConfigError(f"density: got {', '.join(densities)}; give one for each of {', '.join(names)}")
        shares = [float(densities[name]) for name in names]
    elif isinstance(densities, int | float):
        shares = [float(densities)] * len(names)
    else:
        if [item.planes.size for item in densities] != [layer.input.n_planes for layer in layers]:
            raise ConfigError(f"density: give the input bits of each of {', '.join(names)}, one value a plane")
        return list(densities)
    for value in shares:
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"density={value}; allowed 0 to 1, the share of ones among spikes")
    return [bernoulli_density(layer, share) for layer, share in zip(layers, shares, strict=True)]


def _layer_row(
    layers: Sequence[LoweredLayer], layer: LoweredLayer, numbers: dict[Signal, int], first_op: int
) -> tuple[int, ...]:
    source = layer.input_signal
    shape = layer.in_shape if source == INPUT else layers[source.layer].ops[source.op].shape
    norm = layer.batch_norm
    return (
        layer.n_groups,
        layer.n_rows,
        layer.n_outputs,
        layer.out_shape[1],
        layer.out_shape[2],
        math.prod(layer.in_shape),
        shape[1],
        shape[2],
        *layer.kernel,
        layer.stride,
        layer.padding,
        int(layer.kind == "linear"),
        layer.input.n_planes,
        int(layer.input.static),
        layer.psum_bits,
        0 if norm is None else 1 if norm.m.ndim == 1 else 2,
        column_group(layer),
        numbers[source],
        first_op,
        len(layer.ops),
        int(layer.weight_scheme == "affine"),
    )


def _op_row(
    layers: Sequence[LoweredLayer], layer: LoweredLayer, number: int, sent: object, residuals: list[int]
) -> tuple[int, ...]:
    op: Op = layer.ops[number]
    first = len(residuals)
    residuals += [layers[signal.layer].ops[signal.op].bits for signal in op.residuals]
    pool = op.node if isinstance(op.node, SumPoolNode) else None
    return (
        _OP_CODES[op.kind],
        op.bits,
        op.shape[1],
        op.shape[2],
        op.shape[0],
        len(op.sources) + len(op.residuals),
        int(Signal(layer.index, number) in sent),  # type: ignore[operator]  # a view of keys
        0 if pool is None else pool.kernel,
        0 if pool is None else pool.stride,
        op.node.membrane_bits if isinstance(op.node, LifNode) else 0,
        first,
        len(op.residuals),
    )


def _columns(layer: LoweredLayer) -> list[list[int]]:
    return [
        [
            slice_scheme(layer.weight_bits, layer.weight_scheme, bits, scheme).columns_per_output
            for bits in range(1, _MAX_CELL_BITS + 1)
        ]
        for scheme in ("differential", "offset")
    ]


def _inside(layers: Sequence[LoweredLayer]) -> Array:
    """Zero padding drives no wordline: windows by the share of them that lies on the map."""
    found = []
    for layer in layers:
        if layer.kind == "linear":
            found.append((np.ones(1), np.ones(1)))
            continue
        counts = []
        for axis in (0, 1):
            first = np.arange(layer.out_shape[1 + axis]) * layer.stride - layer.padding
            last = np.minimum(first + layer.kernel[axis], layer.in_shape[1 + axis])
            counts.append(np.maximum(0, last - np.maximum(first, 0)))
        shares = np.outer(*counts).ravel() / (layer.kernel[0] * layer.kernel[1])
        values, times = np.unique(shares, return_counts=True)
        found.append((values, times / times.sum()))
    size = max(values.size for values, _ in found)
    table = np.zeros((len(layers), size, 2))
    for row, (values, weights) in zip(table, found, strict=True):
        row[: values.size, 0], row[: values.size, 1] = values, weights
    return table
