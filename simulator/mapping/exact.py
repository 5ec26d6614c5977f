"""Exactness: every value of a network fits float64, so that the torch student holds the same integers.

A run that prices a network and computes nothing (``exact=False``) may have wider sums: that is how a chip with the
widths of floating point, which integers below 2^53 cannot hold, is compared with.
"""

from __future__ import annotations

from ..errors import NetworkError
from ..network.graph import AddNode, BatchNormNode, LifNode, ReadoutNode
from ..network.validate import EXACT_LIMIT


def check_sum_exact(bound: int, batch_norm: BatchNormNode | None, where: str, *, exact: bool) -> int:
    """Refuse sums, or currents behind their batch norm, that float64 could not hold exactly.

    Returns:
        The largest magnitude of the current behind the batch norm.

    Raises:
        NetworkError: the bound of the sum, or of m*P + (n << k), reaches 2^53.
    """
    worst = current = bound
    if batch_norm is not None:
        m = [abs(int(value)) for value in batch_norm.m.flat]
        offset = [abs(int(n)) << int(k) for n, k in zip(batch_norm.n.flat, batch_norm.k.flat, strict=True)]
        shift = [int(e) for e in batch_norm.e.flat]
        before = [(mi * bound + oi) << max(0, -e) for mi, oi, e in zip(m, offset, shift, strict=True)]
        worst = max(value + (1 << max(0, e - 1)) for value, e in zip(before, shift, strict=True))
        current = max((value >> max(0, e)) + 1 for value, e in zip(before, shift, strict=True))
    if exact and worst >= EXACT_LIMIT:
        raise NetworkError(
            f"{where}: a sum can reach {worst}, exact arithmetic ends at 2^53; lower weight_bits or bn_bits, or only "
            "price the network (--density)"
        )
    return current


def check_lif_exact(current: int, lif: LifNode, where: str, *, exact: bool) -> None:
    """Refuse a neuron whose membrane before reset could reach 2^53; ``current`` bounds what it reads."""
    leaked = lif.leak_mul << (lif.membrane_bits - 1 + lif.guard_bits)
    before_reset = (leaked >> lif.leak_shift) + 1 + (current << max(0, lif.input_shift)) + lif.theta
    if exact and max(leaked, before_reset) >= EXACT_LIMIT:
        raise NetworkError(
            f"{where}: a membrane can reach {max(leaked, before_reset)}, exact arithmetic ends at 2^53; "
            "lower membrane_bits, guard_bits or leak_shift with leak_mul, or only price the network (--density)"
        )


def check_total_exact(total: int, node: AddNode | ReadoutNode, where: str, *, exact: bool) -> None:
    """Refuse an add whose sum could reach 2^53, or a sum of spikes wider than its ``stream_bits``."""
    if exact and total >= EXACT_LIMIT:
        raise NetworkError(
            f"{where}: a sum can reach {total}, exact arithmetic ends at 2^53; lower the bits of its inputs"
        )
    if isinstance(node, AddNode) and node.mode == "sew" and total.bit_length() > node.stream_bits:
        raise NetworkError(
            f"{where}: a sum of spikes can reach {total} and does not fit stream_bits={node.stream_bits}; "
            f"at least {total.bit_length()} are needed"
        )
