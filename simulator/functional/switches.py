"""Which departures from ideal hardware a run has; all of them unless their share is being measured."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Non-idealities that act in a layer.

    Attributes:
        programming: conductances as programmed (variation, faults, drift), not as meant.
        read_noise: noise of reads, white and frozen for an image.
        wires: wire resistance.
        adc: width, range and mismatch of the ADCs; without it they are lossless.
        neuron: faults of the membrane memory and of analog neurons.
    """

    programming: bool = True
    read_noise: bool = True
    wires: bool = True
    adc: bool = True
    neuron: bool = True

    @property
    def conduct(self) -> bool:
        """Whether cells are conductances; if not they are their codes."""
        return self.programming or self.read_noise or self.wires


ALL = Switches()
NONE = Switches(**{field.name: False for field in fields(Switches)})


def only(name: str) -> Switches:
    """One non-ideality alone."""
    return Switches(**{field.name: field.name == name for field in fields(Switches)})
