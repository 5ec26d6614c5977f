"""Whether the clock gives every component the time that it takes; the clock itself never asks (docs/machine.md)."""

from __future__ import annotations

from dataclasses import replace

from ..config import HardwareConfig
from .chip import Component

#: What one action of a component is, for the sentence; each has one cycle a token (docs/machine.md, "Units").
_ACTIONS = {
    "adc": "a conversion",
    "crossbar": "a read",
    "noc": "the head of a packet",
    "batch_norm": "a multiplication",
    "pe_accumulator": "an addition",
    "tile_accumulator": "an addition",
    "neuron": "an addition",
    "residual_adder": "an addition",
    "pooling": "an addition",
}


def given_cycles(component: str, hw: HardwareConfig) -> int:
    """Cycles that the machine gives one action: a hop has ``noc.router_cycles``, everything else is done in one."""
    return hw.noc.router_cycles if component == "noc" else 1


def checked(component: Component, hw: HardwareConfig) -> Component:
    """The component, with a note if the clock is too fast for it."""
    if component.latency_ns is None or component.count == 0:
        return component
    cycles = given_cycles(component.name, hw)
    given_ns = cycles * hw.cycle_ns
    if component.latency_ns <= given_ns * (1 + 1e-9):
        return component
    action = _ACTIONS.get(component.name, "an access")
    note = (
        f"{component.name}: {action} takes {component.latency_ns:.3g} ns and the clock gives it {cycles} "
        f"{'cycle' if cycles == 1 else 'cycles'} of {hw.cycle_ns:.3g} ns; clock_GHz up to "
        f"{cycles / component.latency_ns:.3g} would do"
    )
    return replace(component, notes=(*component.notes, note))
