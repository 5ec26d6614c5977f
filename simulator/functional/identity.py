"""What of a design changes what it computes: two designs that agree in it have the same functional run."""

from __future__ import annotations

from typing import Any

from ..config import HardwareConfig
from .analog import needs_analog, needs_chip

#: Fields that only say when something happens, what it costs, or who says so.
_NEVER = ("schema_version", "name", "source", "technology", "clock_GHz", "global_buffer", "noc")
#: Where replicas of a layer compute alike: the place of its crossbars, and the order of the work.
_PLACES = ("tile", "chip")
_ADC_TIMES = ("columns_per_adc", "sample_and_hold")


def computed_fields(hw: HardwareConfig) -> dict[str, Any]:
    """The fields of a design that its functional run depends on, ready to be hashed.

    Two designs with equal fields give the same ``Outputs`` for the same network, images, ADC calibration and seed.
    On exact hardware these are the crossbar, the ADC's codes and nothing of tiles, network on chip, buffers, clock,
    dataflow and neuron lanes. Devices and ADCs with errors also depend on which columns share an ADC and, where
    layers are replicated, on the number of replicas, so on the whole tile and chip. Faults of neurons may depend on
    the time of a step, so on everything but names.
    """
    fields = hw.resolved()
    if _depends_on_time(hw):
        return {name: value for name, value in fields.items() if name not in ("schema_version", "name", "source")}
    for name in _NEVER:
        del fields[name]
    crossbar, adc = dict(fields["crossbar"]), dict(fields["adc"])
    del crossbar["cell_array"]  # prices
    if not needs_analog(hw):
        for name in _ADC_TIMES:
            del adc[name]
    if not needs_chip(hw):
        del fields["neuron"]
    replicas_alike = not needs_chip(hw) or hw.dataflow.replication == "none"
    if replicas_alike:
        for name in _PLACES:
            del fields[name]
    loop = {"loop": hw.dataflow.loop} if needs_chip(hw) else {}
    dataflow = loop if replicas_alike else fields["dataflow"]
    return {**fields, "crossbar": crossbar, "adc": adc, "dataflow": dataflow}


def _depends_on_time(hw: HardwareConfig) -> bool:
    return hw.neuron.memory.retention_time_ns is not None or hw.neuron.capacitor_time_ns is not None
