"""Integer LIF, one step at a time, and the errors of its membrane memory.

The reference of the digital neuron is ``simulator/functional/neuron.py``; faults are held to ``tests/oracles``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .random import mixed

_u64 = np.uint64
IntArray = NDArray[np.int64]

#: Threshold of a certain event; no float below 1 comes near it.
CERTAIN = 2**64 - 1
_ONES = np.uint64(CERTAIN)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class LifParams(NamedTuple):
    """Constants of one LIF layer, on the grids of ``LifNode``."""

    theta: int
    leak_mul: int
    leak_shift: int
    guard_bits: int
    u_min: int
    u_max: int
    soft_reset: bool


class MemoryFaults(NamedTuple):
    """What happens to membranes between write and read; masks are two's complement words of a neuron.

    Attributes:
        bits: bits of a stored membrane.
        decay_key, flip_key: keys of the draws of a LIF on a chip.
        decay_below, flip_below: thresholds of the probabilities that a bit is lost, or misread.
        decay_level: what a lost bit becomes.
        weak: (neurons,) bits that are lost at every read.
        kept: (neurons,) bits that are not stuck.
        stuck_on: (neurons,) bits that are stuck at 1.
    """

    bits: int
    decay_key: Any
    flip_key: Any
    decay_below: Any
    flip_below: Any
    decay_level: int
    weak: IntArray
    kept: IntArray
    stuck_on: IntArray


@kernel
def _rhe(v: int, k: int, below_half: int, odd: int) -> int:
    """V / 2^k rounded half to even; ``below_half`` = 2^(k-1) - 1 and ``odd`` = 1, both 0 if k = 0.

    Just below a half is added, and one more if the quotient is odd: only then does a tie carry.
    """
    return (v + below_half + ((v >> k) & odd)) >> k


@kernel
def lif_update(state: IntArray, current: IntArray, lif: LifParams, spikes: NDArray[np.uint8]) -> int:
    """One step of digital neurons.

    Args:
        state: (neurons,) int64 stored codes U, overwritten.
        current: (neurons,) int64 currents I on H's grid.
        lif: constants.
        spikes: (neurons,) uint8, written.

    Returns:
        Stored codes that saturated.
    """
    guard, shift = lif.guard_bits, lif.leak_shift
    leak_half, leak_odd = (1 << shift >> 1) - (shift > 0), int(shift > 0)
    guard_half, guard_odd = (1 << guard >> 1) - (guard > 0), int(guard > 0)
    n_saturated = 0
    for i in range(state.size):
        h = _rhe((state[i] << guard) * lif.leak_mul, shift, leak_half, leak_odd) + current[i]
        fired = h >= lif.theta
        spikes[i] = fired
        after = (h - lif.theta if lif.soft_reset else 0) if fired else h
        u = _rhe(after, guard, guard_half, guard_odd)
        state[i] = min(max(u, lif.u_min), lif.u_max)
        n_saturated += u != state[i]
    return n_saturated


@kernel
def lif_update_analog(
    state: IntArray,
    current: IntArray,
    lif: LifParams,
    theta: IntArray,
    leak_mul: IntArray,
    leak_shift: int,
    spikes: NDArray[np.uint8],
) -> int:
    """One step of neurons that differ, (images, neurons): the least H that fires and the leak of each are its own.

    A soft reset takes the nominal ``lif.theta`` away: the comparator decides when, not how much.
    """
    guard = lif.guard_bits
    leak_half, leak_odd = (1 << leak_shift >> 1) - (leak_shift > 0), int(leak_shift > 0)
    guard_half, guard_odd = (1 << guard >> 1) - (guard > 0), int(guard > 0)
    n_saturated = 0
    for b in range(state.shape[0]):
        for i in range(state.shape[1]):
            h = _rhe((state[b, i] << guard) * leak_mul[i], leak_shift, leak_half, leak_odd) + current[b, i]
            fired = h >= theta[i]
            spikes[b, i] = fired
            after = (h - lif.theta if lif.soft_reset else 0) if fired else h
            u = _rhe(after, guard, guard_half, guard_odd)
            state[b, i] = min(max(u, lif.u_min), lif.u_max)
            n_saturated += u != state[b, i]
    return n_saturated


@kernel
def _below(group: Any, threshold: Any, invert: Any) -> Any:
    """64 events, each with probability threshold / 2^64, as bits of a word.

    Every event has a 64-bit number U and happens if U < threshold. Draw ``level`` of the group gives bit ``level`` of
    all 64 numbers, highest first (inverted by ``invert``), until every comparison is decided: about 8 draws.
    """
    if threshold == _ONES:
        return _ONES
    happens, undecided, rest, state = _u64(0), _ONES, _u64(threshold), _u64(group)
    while rest != _u64(0) and undecided != _u64(0):
        for _ in range(8):  # more levels than needed change nothing, and a loop that always runs 8 times is faster
            drawn = _u64(mixed(state) ^ _u64(invert))
            less = _u64(undecided & _u64(~drawn))
            one = _u64(_u64(0) - _u64(rest >> _u64(63)))
            happens = _u64(happens | _u64(less & one))
            undecided = _u64(undecided & _u64(~_u64(drawn ^ one)))
            rest = _u64(rest << _u64(1))
            state = _u64(state + _GOLDEN)
    return happens


@kernel
def random_words(key: Any, threshold: Any, invert: Any, bits: int, words: IntArray) -> None:
    """Two's complement words whose bits are 1 with probability threshold / 2^64, (neurons,) int64, written.

    Bit b of the neurons 64 k to 64 k + 63 is drawn by group (key, 32 k + b): neither the bits of a word nor the number
    of neurons change a draw, and a larger threshold only adds ones.
    """
    words[:] = 0
    if _u64(threshold) == _u64(0):
        return
    for k in range((words.size + 63) // 64):
        for b in range(bits):
            group = mixed(_u64(key) ^ mixed(_u64(32 * k + b)))
            events = _below(group, _u64(threshold), _u64(invert))
            if events == _u64(0):
                continue
            place = -(1 << b) if b == bits - 1 else 1 << b
            for j in range(min(64, words.size - 64 * k)):
                words[64 * k + j] |= place * np.int64(_u64(_u64(events >> _u64(j)) & _u64(1)))


@kernel
def read_back(state: IntArray, images: IntArray, t: int, memory: MemoryFaults) -> int:
    """Membranes as they are read at step t, (images, neurons) int64, overwritten; a draw is of (image, t, neuron, bit).

    Lost bits take the level of decay, stuck bits keep theirs, and then bits are misread.

    Returns:
        Bits that were read otherwise than they were written.
    """
    n_wrong, stored = 0, (1 << memory.bits) - 1
    lost, flipped = np.empty(state.shape[1], dtype=np.int64), np.empty(state.shape[1], dtype=np.int64)
    for b in range(state.shape[0]):
        image, step = mixed(_u64(images[b])), mixed(_u64(t))
        decay_key = mixed(mixed(_u64(memory.decay_key) ^ image) ^ step)
        flip_key = mixed(mixed(_u64(memory.flip_key) ^ image) ^ step)
        random_words(decay_key, memory.decay_below, _u64(0), memory.bits, lost)
        random_words(flip_key, memory.flip_below, _u64(0), memory.bits, flipped)
        for i in range(lost.size):
            gone = lost[i] | memory.weak[i]
            held = state[b, i] | gone if memory.decay_level else state[b, i] & ~gone
            read = ((held & memory.kept[i]) | memory.stuck_on[i]) ^ flipped[i]
            wrong = (read ^ state[b, i]) & stored
            state[b, i] = read
            while wrong:
                wrong &= wrong - 1
                n_wrong += 1
    return n_wrong
