"""The component library: what every component of a chip occupies, leaks, and uses for each of its actions."""

from __future__ import annotations

from collections.abc import Iterable

from ..config import HardwareConfig
from ..mapping import tiles
from ..program import Program
from .arithmetic import Digital, control, neurons, sums
from .chip import Chip, Component
from .columns import array, columns
from .storage import memories
from .technology import Technology
from .timing import checked
from .transport import off_chip, transport
from .workload import Workload, workload_of

#: Every component, in the order of a work item; the names are those of reports.
COMPONENTS: tuple[str, ...] = (
    "dram",
    "input_load",
    "global_buffer",
    "input_buffer",
    "tile_bus",
    "wordline_driver",
    "crossbar",
    "sample_and_hold",
    "column_mux",
    "adc",
    "shift_add",
    "spike_counter",
    "pe_accumulator",
    "tile_accumulator",
    "batch_norm",
    "neuron",
    "membrane_memory",
    "current_memory",
    "residual_adder",
    "residual_memory",
    "pooling",
    "spike_buffer",
    "control",
    "noc",
)


def cost_library(
    mapping: tiles.Mapping, hw: HardwareConfig, technology: Technology, program: Program | None = None
) -> tuple[Component, ...]:
    """Price of every component of a mapped network, in the order of ``COMPONENTS``.

    ``program`` is compiled if it is needed and not given.

    Raises:
        ConfigError: an ADC that the technology lacks, or one outside the validity of its fit.
    """
    return price_workload(workload_of(mapping, hw, program), hw, technology)


def price_workload(work: Workload, hw: HardwareConfig, technology: Technology) -> tuple[Component, ...]:
    """Price of every component of a chip that carries ``work``.

    Raises:
        ConfigError: an ADC that the technology lacks, or one outside the validity of its fit.
    """
    chip = Chip(work=work, hw=hw, technology=technology)
    digital = Digital(chip)
    in_tiles = [*array(chip), *columns(chip), *sums(chip, digital), *neurons(chip, digital), *memories(chip, digital)]
    in_tiles.append(control(chip, digital))
    built: Iterable[Component] = (*in_tiles, *transport(chip, in_tiles), *off_chip(chip))
    by_name = {component.name: component for component in built}
    return tuple(checked(by_name[name], hw) for name in COMPONENTS)
