"""Slow, obvious twin of neurons with faults: one neuron, one bit at a time, Python integers and fractions.

Shares no code with what it judges. A stored membrane is a list of bits; each bit of each neuron has 64-bit numbers of
its own, made here from their keys.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import NormalDist

from oracles.analog_twin import fold, splitmix64

_GOLDEN, _MASK64 = 0x9E3779B97F4A7C15, 2**64 - 1
#: What a LIF's draws are folded from, and the numbers of its streams.
_NEURON, _STUCK, _WEAK, _DECAY, _FLIP, _OFFSET, _LEAK = 4, 1, 2, 3, 4, 5, 6
#: An analog leak is this many bits finer than the network's.
_FINER = 16


@dataclass(frozen=True)
class Lif:
    """Constants of a LIF."""

    theta: int
    membrane_bits: int
    guard_bits: int
    leak_mul: int
    leak_shift: int
    reset: str


@dataclass(frozen=True)
class Memory:
    """Errors of a membrane memory, as probabilities of a bit."""

    misread: float = 0.0
    stuck_at_0: float = 0.0
    stuck_at_1: float = 0.0
    lost: float = 0.0
    lost_is_frozen: bool = False
    decay_level: int = 0


@dataclass(frozen=True)
class Comparator:
    """Mismatch of analog neurons: spreads, and what the capacitor itself loses in a step (rate)."""

    offset_sigma: float = 0.0
    leak_sigma: float = 0.0
    own_rate: float = 0.0


@dataclass
class Twin:
    """What all neurons did: (step, image, neuron) lists, counts a step, and how often each hard case occurred."""

    spikes: list[list[list[int]]] = field(default_factory=list)
    membranes: list[list[list[int]]] = field(default_factory=list)
    saturated: list[int] = field(default_factory=list)
    memory_errors: list[int] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


def number_of_bit(key: int, neuron: int, bit: int) -> int:
    """64-bit number of one bit of one neuron: its bits, highest first, are bit ``neuron % 64`` of successive draws."""
    group = splitmix64(key ^ splitmix64(32 * (neuron // 64) + bit))
    number = 0
    for level in range(64):
        drawn = splitmix64((group + level * _GOLDEN) & _MASK64)
        number = 2 * number + (drawn >> (neuron % 64) & 1)
    return number


def happens(number: int, probability: float) -> bool:
    return probability >= 1.0 or number < int(probability * 2.0**64)


def to_bits(value: int, width: int) -> list[int]:
    return [value % 2**width >> b & 1 for b in range(width)]


def from_bits(bits: Sequence[int]) -> int:
    """Two's complement: the last bit has a negative place."""
    return sum(bit << b for b, bit in enumerate(bits[:-1])) - (bits[-1] << (len(bits) - 1))


def run_twin(
    currents: Sequence[Sequence[Sequence[int]]],
    lif: Lif,
    images: Sequence[int],
    *,
    seed: int,
    chip: int,
    lif_key: int,
    memory: Memory | None = None,
    comparator: Comparator | None = None,
) -> Twin:
    """All steps of all neurons; ``currents`` is (step, image, neuron) on H's grid."""
    key = fold(_NEURON, seed, chip, lif_key)
    twin = Twin()
    stored = [[0] * len(row) for row in currents[0]]
    for t, of_images in enumerate(currents):
        spikes, saturated, errors = [], 0, 0
        for b, of_neurons in enumerate(of_images):
            fired = []
            for i, current in enumerate(of_neurons):
                u = stored[b][i]
                if memory is not None and t > 0:
                    u, wrong = _read(u, lif.membrane_bits, key, i, images[b], t, memory, twin.seen)
                    errors += wrong
                spike, u, cut = _step(u, current, lif, key, i, comparator, twin.seen)
                fired.append(spike)
                saturated += cut
                stored[b][i] = u
            spikes.append(fired)
        twin.spikes.append(spikes)
        twin.membranes.append([list(row) for row in stored])
        twin.saturated.append(saturated)
        twin.memory_errors.append(errors)
    return twin


def _read(
    u: int, width: int, key: int, neuron: int, image: int, t: int, memory: Memory, seen: Counter[str]
) -> tuple[int, int]:
    """Membrane as it is read, and how many of its bits are wrong."""
    written = to_bits(u, width)
    read = list(written)
    for b in range(width):
        if memory.lost_is_frozen:
            lost = happens(number_of_bit(fold(key, _WEAK), neuron, b), memory.lost)
        else:
            drawn = splitmix64(splitmix64(fold(key, _DECAY) ^ splitmix64(image)) ^ splitmix64(t))
            lost = happens(number_of_bit(drawn, neuron, b), memory.lost)
        if lost:
            read[b] = memory.decay_level
        number = number_of_bit(fold(key, _STUCK), neuron, b)
        off, on = happens(number, memory.stuck_at_0), happens(_MASK64 - number, memory.stuck_at_1)
        if off or on:
            read[b] = int(on)
        drawn = splitmix64(splitmix64(fold(key, _FLIP) ^ splitmix64(image)) ^ splitmix64(t))
        misread = happens(number_of_bit(drawn, neuron, b), memory.misread)
        if misread:
            read[b] = 1 - read[b]
        seen["lost"] += lost
        seen["stuck"] += off or on
        seen["misread"] += misread
        seen["lost and stuck"] += lost and (off or on)
        seen["stuck and misread"] += misread and (off or on)
        seen["sign"] += b == width - 1 and read[b] != written[b]
        seen["right again"] += misread and read[b] == written[b]
    return from_bits(read), sum(a != b for a, b in zip(read, written, strict=True))


def _step(
    u: int, current: int, lif: Lif, key: int, neuron: int, comparator: Comparator | None, seen: Counter[str]
) -> tuple[int, int, bool]:
    """Spike, next stored membrane, whether it was cut to the range."""
    theta: float = lif.theta
    leak = Fraction(lif.leak_mul, 2**lif.leak_shift)
    if comparator is not None:
        if comparator.offset_sigma:
            theta = lif.theta * (1.0 + comparator.offset_sigma * _normal(key, _OFFSET, neuron))
        if lif.leak_mul and (comparator.leak_sigma or comparator.own_rate):
            spread = math.exp(comparator.leak_sigma * _normal(key, _LEAK, neuron))
            kept = math.exp((math.log(leak) - comparator.own_rate) * spread)
            leak = Fraction(round(kept * 2 ** (lif.leak_shift + _FINER)), 2 ** (lif.leak_shift + _FINER))
    h = round(Fraction(u * 2**lif.guard_bits) * leak) + current  # half to even
    spike = h >= theta
    seen["fires"] += spike
    seen["offset decides"] += spike != (h >= lif.theta)
    after = (0 if lif.reset == "hard" else h - lif.theta) if spike else h
    rounded = round(Fraction(after, 2**lif.guard_bits))
    top = 2 ** (lif.membrane_bits - 1)
    cut = not -top <= rounded < top
    return int(spike), max(-top, min(rounded, top - 1)), cut


def _normal(key: int, stream: int, neuron: int) -> float:
    bits = splitmix64(splitmix64(neuron) ^ fold(key, stream))
    return NormalDist().inv_cdf((bits // 2**12 + 0.5) / 2**52)
