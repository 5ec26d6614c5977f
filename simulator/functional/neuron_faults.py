"""Faults of one LIF layer on one chip: errors of its membrane memory, or the mismatch of its analog neurons.

Everything frozen is a function of (seed, chip, LIF, neuron, bit); errors of reads of (seed, chip, LIF, image, step,
neuron, bit). A neuron is its index in the layer's map (channel, row, column): neither tiles, lanes nor batches count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ..draws import CellDraws, folded
from ..errors import ConfigError
from ..kernels.neuron import CERTAIN, MemoryFaults, random_words
from ..network.graph import LifNode
from ..neuron_config import NeuronConfig

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Keeps these keys apart from those of crossbars.
_NEURON = 4
#: Streams of draws of a LIF.
_STUCK, _WEAK, _DECAY, _FLIP, _OFFSET, _LEAK = 1, 2, 3, 4, 5, 6
#: Bits by which the leak of an analog neuron is finer than the network's.
LEAK_BITS = 16
#: Bits of the largest product of a membrane and its leak.
_PRODUCT_BITS = 62


class AnalogNeurons(NamedTuple):
    """Constants of analog neurons.

    Attributes:
        theta: (neurons,) least H at which each fires.
        leak_mul: (neurons,) leak * 2^leak_shift.
        leak_shift: finer than the network's by ``LEAK_BITS``.
    """

    theta: IntArray
    leak_mul: IntArray
    leak_shift: int


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronFaults:
    """Faults of the neurons of one LIF.

    Attributes:
        neuron: what the design says.
        key: folded from (seed, chip, LIF).
        step_ns: time from the write of a membrane to its read; None where nothing depends on it.
    """

    neuron: NeuronConfig
    key: int
    step_ns: float | None

    def memory(self, node: LifNode, n_neurons: int) -> MemoryFaults | None:
        """For the kernel; None if every bit is read as it was written."""
        memory = self.neuron.memory
        if memory.is_ideal:
            return None
        bits, stuck = node.membrane_bits, folded(self.key, _STUCK)
        off, on, weak = (np.zeros(n_neurons, dtype=np.int64) for _ in range(3))
        # One number a bit says both: stuck at 0 from its low end, stuck at 1 from its high end.
        random_words(np.uint64(stuck), threshold(memory.stuck_at_0_fraction), np.uint64(0), bits, off)
        random_words(np.uint64(stuck), threshold(memory.stuck_at_1_fraction), np.uint64(CERTAIN), bits, on)
        lost, frozen = self._lost_fraction()
        if frozen:
            random_words(np.uint64(folded(self.key, _WEAK)), threshold(lost), np.uint64(0), bits, weak)
        return MemoryFaults(
            bits=bits,
            decay_key=np.uint64(folded(self.key, _DECAY)),
            flip_key=np.uint64(folded(self.key, _FLIP)),
            decay_below=threshold(0.0 if frozen else lost),
            flip_below=threshold(memory.bit_error_ratio),
            decay_level=memory.decay_level,
            weak=weak,
            kept=~(off | on),
            stuck_on=on,
        )

    def analog(self, node: LifNode, n_neurons: int) -> AnalogNeurons | None:
        """Thresholds and leaks of the neurons; None if they are those of the network.

        Threshold: theta (1 + sigma z); the least whole number not below it decides alike, as H is whole. Leak: rate
        (-ln leak + step / capacitor_time) exp(sigma z), leak = exp(-rate), on a grid of 2^-(leak_shift + 16).

        Raises:
            ConfigError: a product of membrane and leak does not fit 63 bits.
        """
        neuron, shift = self.neuron, node.leak_shift + LEAK_BITS
        if not neuron.has_mismatch:
            return None
        width = node.membrane_bits - 1 + node.guard_bits + shift
        if width > _PRODUCT_BITS:
            raise ConfigError(
                f"neuron.kind=analog: {node.name} needs {width} bits for a membrane times its leak; at most "
                f"{_PRODUCT_BITS}, lower membrane_bits, guard_bits or leak_shift of the network"
            )
        draws = CellDraws(key=self.key, rows=1, cols=n_neurons)
        theta = np.full(n_neurons, node.theta, dtype=np.int64)
        if neuron.comparator_offset_sigma:
            offset = neuron.comparator_offset_sigma * draws.normal(_OFFSET)[0]
            theta = np.ceil(node.theta * (1.0 + offset)).astype(np.int64)
        leak_mul = np.full(n_neurons, node.leak_mul << LEAK_BITS, dtype=np.int64)
        if node.leak_mul and (neuron.capacitor_leak_sigma or neuron.capacitor_time_ns is not None):
            rate = -math.log(node.leak_mul / 2**node.leak_shift) + self._own_leak()
            spread = np.exp(neuron.capacitor_leak_sigma * draws.normal(_LEAK)[0])
            leak_mul = np.rint(np.exp(-rate * spread) * 2.0**shift).astype(np.int64)
        return AnalogNeurons(theta=theta, leak_mul=leak_mul, leak_shift=shift)

    def _lost_fraction(self) -> tuple[float, bool]:
        """Probability that a bit is lost between write and read, and whether that is frozen."""
        time, sigma = self.neuron.memory.retention_time_ns, self.neuron.memory.retention_sigma
        if time is None or not self.step_ns:
            return 0.0, False
        if sigma is None:
            return -math.expm1(-self.step_ns / time), False
        return float(ndtr(math.log(self.step_ns / time) / sigma)), True

    def _own_leak(self) -> float:
        """Leak rate of the capacitor itself, per step."""
        time = self.neuron.capacitor_time_ns
        return 0.0 if time is None or self.step_ns is None else self.step_ns / time


def threshold(probability: float) -> np.uint64:
    """Largest t with t / 2^64 at most the probability: a 64-bit number is below t that often; 1 is certain."""
    return np.uint64(CERTAIN if probability >= 1.0 else int(probability * 2.0**64))


def neuron_faults(
    neuron: NeuronConfig, *, seed: int, chip: int, lif_key: int, step_ns: float | None, in_memory: bool = True
) -> NeuronFaults | None:
    """Faults of one LIF on one chip; None if there are none.

    Args:
        neuron: what the design says.
        seed: of the run.
        chip: number of the chip.
        lif_key: number of the LIF in its network.
        step_ns: time from the write of a membrane to its read; None if it is not known.
        in_memory: False in ``layer_major``, whose membranes stay in registers: they do not fail.

    Raises:
        ConfigError: something depends on ``step_ns`` and it is missing or negative.
    """
    if not neuron.has_mismatch and (neuron.memory.is_ideal or not in_memory):
        return None
    for name, time in (
        ("memory.retention_time_ns", neuron.memory.retention_time_ns),
        ("capacitor_time_ns", neuron.capacitor_time_ns),
    ):
        if time is not None and (step_ns is None or not 0.0 <= step_ns < math.inf):
            raise ConfigError(
                f"neuron.{name}={time} needs the time of a step and step_ns is {step_ns}; give step_ns, 0 or more"
            )
    return NeuronFaults(neuron=neuron, key=folded(_NEURON, seed, chip, lif_key), step_ns=step_ns)
