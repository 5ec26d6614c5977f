"""A network of integers walked node by node in plain loops: the judge of the torch student.

Only the records of ``graph.py`` are imported. Every rule of rounding, pooling and spiking is written again
here, on int64, without floats. Slow on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikeloop.simulator.network import graph as g


@dataclass
class Walk:
    """Result of a walk, and how often the delicate cases occurred."""

    logits: np.ndarray
    #: LIF node -> (T, B, C, H, W)
    spikes: dict[str, list] = field(default_factory=dict)
    membranes: dict[str, list] = field(default_factory=dict)
    before_reset: dict[str, list] = field(default_factory=dict)
    ties_at_threshold: int = 0
    negative_membranes: int = 0
    saturated_high: int = 0
    saturated_low: int = 0
    ties_to_even: int = 0
    #: Values that a stream cut off.
    stream_saturated: int = 0
    sew_above_one: int = 0


def walk(network: g.Network, codes: np.ndarray, seen: dict[str, list] | None = None) -> Walk:
    """Walk all images through all steps; codes (B, C, H, W) if static, else (T, B, C, H, W).

    ``seen`` collects the output of every node at every step.
    """
    n_images = codes.shape[0] if network.input.static else codes.shape[1]
    result = Walk(logits=np.zeros((n_images, network.n_classes), dtype=np.int64))
    for kept in (result.spikes, result.membranes, result.before_reset):
        kept.update({node.name: [] for node in network.nodes if isinstance(node, g.LifNode)})
    stored: dict[str, np.ndarray] = {}
    order = _sources_first(network)
    for t in range(network.n_timesteps):
        now = (codes if network.input.static else codes[t]).astype(np.int64)
        values: dict[str, np.ndarray] = {}
        for node in order:
            if isinstance(node, g.InputNode):
                values[node.name] = now
                continue
            x, *others = [values[a] for a, b in network.edges if b == node.name]
            if isinstance(node, g.AddNode):
                values[node.name] = _add(node, [x, *others], result)
            elif isinstance(node, g.LifNode):
                values[node.name] = _lif(node, x, stored, result)
            elif isinstance(node, g.ReadoutNode):
                result.logits += x[:, :, 0, 0] + node.bias
            else:
                values[node.name] = _compute(node, x, t)
        for name, value in values.items() if seen is not None else ():
            seen.setdefault(name, []).append(value)
    for kept in (result.spikes, result.membranes, result.before_reset):
        for name in kept:
            kept[name] = np.stack(kept[name])
    return result


def _sources_first(network: g.Network) -> list:
    waiting, order = list(network.nodes), []
    while waiting:
        done = {node.name for node in order}
        ready = [n for n in waiting if all(a in done for a, b in network.edges if b == n.name)]
        order += ready
        taken = {node.name for node in order}
        waiting = [n for n in waiting if n.name not in taken]
    return order


def _add(node: g.AddNode, inputs: list[np.ndarray], result: Walk) -> np.ndarray:
    total = np.zeros_like(inputs[0])
    for x in inputs:
        total = total + x
    if node.mode == "sew":
        result.sew_above_one += int((total > 1).sum())
        return total
    low, high = -(2 ** (node.stream_bits - 1)), 2 ** (node.stream_bits - 1) - 1
    result.stream_saturated += int(((total < low) | (total > high)).sum())
    return np.minimum(np.maximum(total, low), high)


def _compute(node: g.Node, x: np.ndarray, t: int) -> np.ndarray:
    if isinstance(node, g.ConvNode):
        return _conv(node, x)
    if isinstance(node, g.LinearNode):
        out = np.zeros((x.shape[0], node.weight.shape[0], 1, 1), dtype=np.int64)
        for b in range(x.shape[0]):
            flat = x[b].reshape(-1)
            for o in range(node.weight.shape[0]):
                out[b, o, 0, 0] = int((node.weight[o].astype(np.int64) * flat).sum())
        return out
    if isinstance(node, g.FlattenNode):
        return x.reshape(x.shape[0], -1, 1, 1)
    if isinstance(node, g.SumPoolNode):
        return _pool(node, x)
    if isinstance(node, g.BatchNormNode):
        return _batch_norm(node, x, t)
    raise TypeError(f"the walk does not know {type(node).__name__}")


def _conv(node: g.ConvNode, x: np.ndarray) -> np.ndarray:
    p, s = node.padding, node.stride
    n_out, n_in, kh, kw = node.weight.shape
    weight = node.weight.astype(np.int64)
    padded = np.zeros((x.shape[0], x.shape[1], x.shape[2] + 2 * p, x.shape[3] + 2 * p), dtype=np.int64)
    padded[:, :, p : p + x.shape[2], p : p + x.shape[3]] = x
    rows, cols = (padded.shape[2] - kh) // s + 1, (padded.shape[3] - kw) // s + 1
    out = np.zeros((x.shape[0], n_out, rows, cols), dtype=np.int64)
    for o in range(n_out):
        first = (o // (n_out // node.groups)) * n_in
        for r in range(rows):
            for c in range(cols):
                window = padded[:, first : first + n_in, r * s : r * s + kh, c * s : c * s + kw]
                out[:, o, r, c] = (window * weight[o]).sum(axis=(1, 2, 3))
    return out


def _pool(node: g.SumPoolNode, x: np.ndarray) -> np.ndarray:
    rows, cols = (x.shape[2] - node.kernel) // node.stride + 1, (x.shape[3] - node.kernel) // node.stride + 1
    out = np.zeros((*x.shape[:2], rows, cols), dtype=np.int64)
    for r in range(rows):
        for c in range(cols):
            top, left = r * node.stride, c * node.stride
            out[:, :, r, c] = x[:, :, top : top + node.kernel, left : left + node.kernel].sum(axis=(2, 3))
    return out


def _batch_norm(node: g.BatchNormNode, x: np.ndarray, t: int) -> np.ndarray:
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        m, n, k, e = (int((a if a.ndim == 1 else a[t])[c]) for a in (node.m, node.n, node.k, node.e))
        v = m * x[:, c] + n * 2**k
        # floor(v / 2^e + 1/2) = floor((2v + 2^e) / 2^(e+1))
        out[:, c] = v * 2**-e if e <= 0 else (2 * v + 2**e) // 2 ** (e + 1)
    return out


def _half_even(v: np.ndarray, k: int, result: Walk) -> np.ndarray:
    quotient, rest = np.divmod(v, 2**k)
    tie = 2 * rest == 2**k
    result.ties_to_even += int(tie.sum())
    return quotient + np.where(tie, quotient % 2, 2 * rest > 2**k)


def _lif(node: g.LifNode, current: np.ndarray, stored: dict[str, np.ndarray], result: Walk) -> np.ndarray:
    u = stored.get(node.name, np.zeros_like(current))
    # v * 2^s, or v / 2^-s rounded half up
    s = node.input_shift
    current = current * 2**s if s >= 0 else (2 * current + 2**-s) // 2 ** (1 - s)
    h = _half_even(u * 2**node.guard_bits * node.leak_mul, node.leak_shift, result) + current
    spike = (h >= node.theta).astype(np.int64)
    after = h * (1 - spike) if node.reset == "hard" else h - spike * node.theta
    rounded = _half_even(after, node.guard_bits, result)
    low, high = -(2 ** (node.membrane_bits - 1)), 2 ** (node.membrane_bits - 1) - 1
    u = np.minimum(np.maximum(rounded, low), high)
    result.ties_at_threshold += int((h == node.theta).sum())
    result.negative_membranes += int((u < 0).sum())
    result.saturated_high += int((rounded > high).sum())
    result.saturated_low += int((rounded < low).sum())
    stored[node.name] = u
    result.spikes[node.name].append(spike)
    result.membranes[node.name].append(u)
    result.before_reset[node.name].append(h)
    return spike
