"""Integer reference of batch norm and neuron: the definition that kernel, torch and twin are held to.

Order within a step (docs/model.md, "Neuron"): leak, add current, compare, reset, round, saturate, store.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.neuron import LifParams, lif_update, lif_update_analog, read_back
from ..network.graph import BatchNormNode, LifNode
from ..network.quant import rhe, rshift
from .neuron_faults import NeuronFaults

IntArray = NDArray[np.int64]


class LifRun(NamedTuple):
    """What the neurons of a LIF did in all steps.

    Attributes:
        spikes: (T, B, C, H, W) uint8.
        membranes: codes U as they were stored, same shape, int64; None unless recorded.
        saturated: (T,) int64, codes that were cut to the ends of the membrane's range (the last step's too, although
            nothing reads them).
        memory_errors: (T,) int64, bits that were read otherwise than they were written; 0 at the first step, which
            reads nothing.
    """

    spikes: NDArray[np.uint8]
    membranes: IntArray | None
    saturated: IntArray
    memory_errors: IntArray


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
    """Spikes and, if recorded, stored membranes of digital neurons without faults, see ``compute_lif``."""
    return compute_lif(current, node, n_timesteps, record=record)[:2]


def compute_lif(
    current: IntArray,
    node: LifNode,
    n_timesteps: int,
    *,
    record: bool,
    faults: NeuronFaults | None = None,
    images: IntArray | None = None,
) -> LifRun:
    """Spikes and counts of a LIF.

    Args:
        current: (T or 1, B, C, H, W) currents on H's grid; one step is held for all.
        node: the LIF.
        n_timesteps: T.
        record: keep stored membranes.
        faults: of this LIF; None: none.
        images: (B,) indices of the images in their data set; only faults of the memory need them.
    """
    shape = (n_timesteps, *current.shape[1:])
    flat = np.ascontiguousarray(current, dtype=np.int64).reshape(*current.shape[:2], -1)
    _, n_images, n_neurons = flat.shape
    spikes = np.empty((n_timesteps, n_images, n_neurons), dtype=np.uint8)
    membranes = np.empty(spikes.shape, dtype=np.int64) if record else None
    saturated, errors = (np.zeros(n_timesteps, dtype=np.int64) for _ in range(2))
    lif = lif_params(node)
    memory = None if faults is None else faults.memory(node, n_neurons)
    analog = None if faults is None else faults.analog(node, n_neurons)
    index = np.zeros(0, dtype=np.int64) if images is None else np.ascontiguousarray(images, dtype=np.int64)
    if memory is not None and index.shape != (n_images,):
        raise ValueError(f"{node.name}: {n_images} images and indices of shape {index.shape}")
    state = np.zeros((n_images, n_neurons), dtype=np.int64)
    for t in range(n_timesteps):
        row = flat[t if len(flat) > 1 else 0]
        if memory is not None and t > 0:
            errors[t] = read_back(state, index, t, memory)
        if analog is None:
            saturated[t] = lif_update(state.reshape(-1), row.reshape(-1), lif, spikes[t].reshape(-1))
        else:
            saturated[t] = lif_update_analog(
                state, row, lif, analog.theta, analog.leak_mul, analog.leak_shift, spikes[t]
            )
        if membranes is not None:
            membranes[t] = state
    kept = None if membranes is None else membranes.reshape(shape)
    return LifRun(spikes=spikes.reshape(shape), membranes=kept, saturated=saturated, memory_errors=errors)
