"""How the converters and neurons of a design were used: what clipped, saturated or was misread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .functional.outputs import Outputs
from .network.graph import LifNode, Network


@dataclass(frozen=True, kw_only=True, slots=True)
class AdcUse:
    """Ranges of a layer's ADCs (log2 of their lsb) and shares of conversions that clipped: mean, and worst crossbar."""

    shift_min: int = 0
    shift_max: int = 0
    clipped_fraction: float = 0.0
    clipped_worst: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LifMetrics:
    """What happened to the membranes of one LIF; shares are over all images, neurons and steps.

    ``saturated_fraction`` is the share of stored membranes that were cut to the ends of their range,
    ``misread_fraction`` the share of bits that were read otherwise than they were written. Membranes are stored after
    each step and read before each but the first, so that one step reads nothing.
    """

    name: str
    n_neurons: int
    membrane_bits: int
    saturated_fraction: float
    misread_fraction: float


def adc_use(outputs: Outputs) -> tuple[AdcUse, ...]:
    """(layers,) ranges of each layer's ADCs and what they clipped."""
    found = []
    for shift, conversions, clipped in zip(
        outputs.adc_shift, outputs.crossbar_conversions, outputs.crossbar_clipped, strict=True
    ):
        each = np.divide(clipped, conversions, out=np.zeros(clipped.size), where=conversions > 0)
        found.append(
            AdcUse(
                shift_min=int(np.min(shift)),
                shift_max=int(np.max(shift)),
                clipped_fraction=float(clipped.sum() / max(1, conversions.sum())),
                clipped_worst=float(each.max(initial=0.0)),
            )
        )
    return tuple(found)


def lif_use(outputs: Outputs, network: Network) -> tuple[LifMetrics, ...]:
    """Saturation and misread bits of each LIF, in the order of the network."""
    n_images, found = outputs.logits.shape[0], []
    for node in network.order():
        if not isinstance(node, LifNode):
            continue
        saturated, misread = outputs.saturated[node.name], outputs.memory_errors[node.name]
        n_neurons = math.prod(network.shapes[node.name])
        written = saturated.size * n_images * n_neurons
        read_bits = (saturated.size - 1) * n_images * n_neurons * node.membrane_bits
        found.append(
            LifMetrics(
                name=node.name,
                n_neurons=n_neurons,
                membrane_bits=node.membrane_bits,
                saturated_fraction=int(saturated.sum()) / written,
                misread_fraction=int(misread.sum()) / read_bits if read_bits else 0.0,
            )
        )
    return tuple(found)
