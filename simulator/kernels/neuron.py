"""Integer LIF over a whole sequence; the reference is ``simulator/functional/neuron.py``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel


class LifParams(NamedTuple):
    """Constants of one LIF layer, on the grids of ``LifNode``."""

    theta: int
    leak_mul: int
    leak_shift: int
    guard_bits: int
    u_min: int
    u_max: int
    soft_reset: bool


@kernel
def _rhe(v: int, k: int) -> int:
    """V / 2^k rounded half to even."""
    if k == 0:
        return v
    quotient = v >> k
    rest = v - (quotient << k)
    half = 1 << (k - 1)
    if rest > half or (rest == half and (quotient & 1) == 1):
        quotient += 1
    return quotient


@kernel
def lif_sequence(
    current: NDArray[np.int64], lif: LifParams, spikes: NDArray[np.uint8], membrane: NDArray[np.int64]
) -> None:
    """Spikes and stored membranes of every neuron and step.

    Args:
        current: (T or 1, neurons) int64 currents I on H's grid; one row is held for all steps.
        lif: constants.
        spikes: (T, neurons) uint8, written.
        membrane: (T or 1, neurons) int64 stored codes U, written; with one row only the last step is kept.
    """
    n_steps, n_neurons = spikes.shape
    held = current.shape[0] == 1
    keep = membrane.shape[0] > 1
    state = np.zeros(n_neurons, dtype=np.int64)
    for t in range(n_steps):
        row = current[0] if held else current[t]
        for i in range(n_neurons):
            h = _rhe((state[i] << lif.guard_bits) * lif.leak_mul, lif.leak_shift) + row[i]
            fired = h >= lif.theta
            spikes[t, i] = fired
            if fired:
                h = h - lif.theta if lif.soft_reset else 0
            state[i] = min(max(_rhe(h, lif.guard_bits), lif.u_min), lif.u_max)
        membrane[t if keep else 0] = state
