"""LIF over a whole sequence in training, forward and backward, and the rounding of currents before it.

Values are float32 in units of the threshold. Every operation is the one of the torch path, in its order, so the
results are the same bits wherever that path does not fuse a product into a sum; no product fuses here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

FloatArray = NDArray[np.float32]

TRIANGLE, RECTANGLE, ARCTAN, FAST_SIGMOID = 0, 1, 2, 3

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_PI, _SLOPE = np.float32(np.pi), np.float32(4.0)
#: Neurons that are walked through all steps at once: their rows stay in the first cache.
_BLOCK = 1024


class TrainParams(NamedTuple):
    """Neuron and grid, all float32 but the flags; grid values mean nothing where ``stored`` is False.

    Attributes:
        leak: factor of the state.
        soft: reset by subtraction.
        stored: the membrane lies on a grid.
        leak_codes: leak times the threshold in codes of H.
        theta: threshold in codes of H.
        scale: threshold in stored codes.
        code_min: smallest stored code.
        code_max: largest stored code.
        low: the membrane after reset saturates below this.
        high: and from this on.
    """

    leak: Any
    soft: bool
    stored: bool
    leak_codes: Any
    theta: Any
    scale: Any
    code_min: Any
    code_max: Any
    low: Any
    high: Any


@kernel
def lif_forward(current: FloatArray, params: TrainParams, membrane: FloatArray, spikes: FloatArray) -> None:
    """Membrane before reset and spikes, both (T, N), of currents (T, N), or (1, N) for the same at every step."""
    n = membrane.shape[1]
    state = np.empty(_BLOCK, np.float32)
    for first in range(0, n, _BLOCK):
        last = min(first + _BLOCK, n)
        own = state[: last - first]
        own[:] = _ZERO
        for t in range(membrane.shape[0]):
            now = current[min(t, current.shape[0] - 1), first:last]
            if params.stored:
                _step_on_grid(now, params, own, membrane[t, first:last], spikes[t, first:last])
            else:
                _step(now, params, own, membrane[t, first:last], spikes[t, first:last])


@kernel
def lif_backward(
    membrane: FloatArray,
    grad_spikes: FloatArray,
    grad_membrane: FloatArray,
    params: TrainParams,
    surrogate: int,
    grad_current: FloatArray,
) -> None:
    """Gradient of the currents, (T, N), of the gradients of both outputs; a gradient without rows is zero."""
    n_timesteps, n = membrane.shape
    for first in range(0, n, _BLOCK):
        last = min(first + _BLOCK, n)
        for t in range(n_timesteps - 1, -1, -1):
            h, out = membrane[t, first:last], grad_current[t, first:last]
            if grad_spikes.shape[0]:
                _through_spikes(h, grad_spikes[t, first:last], surrogate, out)
            else:
                out[:] = _ZERO
            if grad_membrane.shape[0]:
                out += grad_membrane[t, first:last]
            if t + 1 < n_timesteps:
                _through_state(h, grad_current[t + 1, first:last], params, out)


@kernel
def current_on_grid(
    sums: FloatArray, gain: FloatArray, offset: FloatArray, codes_per_theta: np.float32, current: FloatArray
) -> None:
    """floor(gain*sums + offset + 1/2) / codes_per_theta, sums (images, C, positions), gain and offset (C,)."""
    for b in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            m, n = gain[c], offset[c]
            row, out = sums[b, c], current[b, c]
            for i in range(row.size):
                out[i] = np.floor(row[i] * m + n + _HALF) / codes_per_theta


@inlined
def _step(now: FloatArray, params: TrainParams, state: FloatArray, membrane: FloatArray, spikes: FloatArray) -> None:
    leak, soft = params.leak, params.soft
    for i in range(state.size):
        h = now[i] + state[i] * leak
        s = _ONE if h >= _ONE else _ZERO
        membrane[i] = h
        spikes[i] = s
        state[i] = h - s if soft else h - h * s


@inlined
def _step_on_grid(
    now: FloatArray, params: TrainParams, state: FloatArray, membrane: FloatArray, spikes: FloatArray
) -> None:
    soft, leak_codes, theta, scale = params.soft, params.leak_codes, params.theta, params.scale
    low, high = params.code_min, params.code_max
    for i in range(state.size):
        h = now[i] + np.rint(state[i] * leak_codes) / theta
        s = _ONE if h >= _ONE else _ZERO
        membrane[i] = h
        spikes[i] = s
        code = np.rint((h - s if soft else h - h * s) * scale)
        # Comparisons, not min and max: they let a value that is not a number through.
        code = low if code < low else code
        code = high if code > high else code
        state[i] = code / scale


@inlined
def _through_spikes(membrane: FloatArray, grad: FloatArray, surrogate: int, out: FloatArray) -> None:
    """Gradient of the spikes times the surrogate derivative, u = H - 1."""
    if surrogate == TRIANGLE:
        for i in range(out.size):
            f = _ONE - abs(membrane[i] - _ONE)
            out[i] = (_ZERO if f < _ZERO else f) * grad[i]
    elif surrogate == RECTANGLE:
        for i in range(out.size):
            out[i] = (_ONE if abs(membrane[i] - _ONE) < _HALF else _ZERO) * grad[i]
    elif surrogate == FAST_SIGMOID:
        for i in range(out.size):
            root = abs(membrane[i] - _ONE) * _SLOPE + _ONE
            out[i] = _ONE / (root * root) * grad[i]
    else:
        for i in range(out.size):
            angle = (membrane[i] - _ONE) * _PI
            out[i] = _ONE / (angle * angle + _ONE) * grad[i]


@inlined
def _through_state(membrane: FloatArray, later: FloatArray, params: TrainParams, out: FloatArray) -> None:
    """Adds leak times the later gradient where neither a hard reset nor saturation cut the state."""
    leak, soft, stored, low, high = params.leak, params.soft, params.stored, params.low, params.high
    for i in range(out.size):
        h = membrane[i]
        fires = h >= _ONE
        after = h - _ONE if soft and fires else h
        passes = (soft or not fires) and (not stored or (after < high and after >= low))
        out[i] += later[i] * leak * (_ONE if passes else _ZERO)
