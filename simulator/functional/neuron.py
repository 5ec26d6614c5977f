"""Integer reference of batch norm and neuron: the definition that kernel, torch and twin are held to.

Order within a step (docs/model.md, "Neuron"): leak, add current, compare, reset, round, saturate, store.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels.neuron import LifParams, lif_sequence
from ..network.graph import BatchNormNode, LifNode
from ..network.quant import rhe, rshift

IntArray = NDArray[np.int64]


def batch_norm_current(psum: IntArray, node: BatchNormNode) -> IntArray:
    """Currents I = rshift(m*P + (n << k), e), shape (T or 1, B, C, H, W), on H's grid.

    A per-step table (T, C) turns a held sum into one current a step.
    """
    per_step = node.m.ndim == 2
    shape = (node.m.shape[0], 1, -1, 1, 1) if per_step else (1, 1, -1, 1, 1)
    m, n, k, e = (np.asarray(a, dtype=np.int64).reshape(shape) for a in (node.m, node.n, node.k, node.e))
    return rshift(m * psum + np.left_shift(n, k), e)


def stream_current(stream: IntArray, node: LifNode) -> IntArray:
    """Currents of a LIF that reads a residual stream, by shift."""
    return stream if node.input_shift == 0 else rshift(stream, -node.input_shift)


def lif_step(state: IntArray, current: IntArray, node: LifNode) -> tuple[NDArray[np.uint8], IntArray]:
    """Spikes S and next stored membrane U of one step; all arrays have the same shape.

    H = rhe((U << g) * leak_mul, leak_shift) + I; S = H >= theta; reset; U = sat(rhe(H', g)).
    """
    h = rhe((state << node.guard_bits) * node.leak_mul, node.leak_shift) + current
    fired = h >= node.theta
    after = np.where(fired, h - node.theta if node.reset == "soft" else 0, h)
    top = 1 << (node.membrane_bits - 1)
    return fired.astype(np.uint8), np.clip(rhe(after, node.guard_bits), -top, top - 1)


def lif_params(node: LifNode) -> LifParams:
    """What the kernel needs of a LIF."""
    top = 1 << (node.membrane_bits - 1)
    return LifParams(
        theta=node.theta,
        leak_mul=node.leak_mul,
        leak_shift=node.leak_shift,
        guard_bits=node.guard_bits,
        u_min=-top,
        u_max=top - 1,
        soft_reset=node.reset == "soft",
    )


def run_lif(
    current: IntArray, node: LifNode, n_timesteps: int, *, record: bool
) -> tuple[NDArray[np.uint8], IntArray | None]:
    """Spikes (T, B, C, H, W) and, if recorded, stored membranes of the same shape."""
    shape = (n_timesteps, *current.shape[1:])
    flat = np.ascontiguousarray(current, dtype=np.int64).reshape(current.shape[0], -1)
    spikes = np.empty((n_timesteps, flat.shape[1]), dtype=np.uint8)
    membrane = np.empty((n_timesteps if record else 1, flat.shape[1]), dtype=np.int64)
    lif_sequence(flat, lif_params(node), spikes, membrane)
    return spikes.reshape(shape), membrane.reshape(shape) if record else None
