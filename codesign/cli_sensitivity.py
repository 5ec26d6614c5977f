"""``spikeloop cost HW --sensitivity``: which numbers of the technology file the result rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.config import HardwareConfig, load_hardware
from spikeloop.simulator.errors import ConfigError, StudyError
from spikeloop.simulator.files import can_be_folder
from spikeloop.simulator.units import format_si

from . import cli_output as output
from .cli_trace import read_density

if TYPE_CHECKING:
    from spikeloop.simulator.cost.chip import Component
    from spikeloop.simulator.cost.technology import Technology
    from spikeloop.simulator.network.graph import Network
    from spikeloop.simulator.pricing import Bill
    from spikeloop.simulator.sensitivity import Figures, Sensitivity, Swing

#: What is priced if no network is given: a common network of the field, 4-bit weights, 8-bit membranes.
DEFAULT_NETWORK, DEFAULT_TIMESTEPS = "vgg9", 5
DEFAULT_DENSITY = "0.15"
DEFAULT_FACTOR = 2.0
_PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitivityRequest:
    """Options of ``--sensitivity``; None where the user gave none."""

    wanted: bool = False
    network: Path | None = None
    density: str | None = None
    factor: float | None = None
    figure: Path | None = None

    def check(self, *, compare: str | None) -> None:
        """Refuse what does not go together, before anything is read.

        Raises:
            ConfigError, StudyError: one sentence.
        """
        given = [f"--{name}" for name in ("network", "density", "factor", "figure") if getattr(self, name) is not None]
        if not self.wanted and given:
            raise ConfigError(f"{given[0]}: a table of prices has no use for it; add --sensitivity, or leave it out")
        if self.wanted and compare is not None:
            raise ConfigError("--sensitivity looks at one design, so it does not take --compare; leave one out")
        if self.figure is not None and self.figure.suffix not in _PICTURES:
            raise ConfigError(
                f"--figure {self.figure}: ends in '{self.figure.suffix}'; allowed: {', '.join(_PICTURES)}"
            )
        if self.figure is not None and (self.figure.is_dir() or not can_be_folder(self.figure.parent)):
            raise StudyError(f"{self.figure}: cannot be written; give a file in a writable folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitivityStudy:
    """The numbers of a design by what they move, and on which run."""

    network: str
    network_hash: str
    n_timesteps: int
    hw: HardwareConfig
    density: float | Mapping[str, float]
    found: Sensitivity


def show_sensitivity(hw_name: str, request: SensitivityRequest, *, as_json: bool) -> int:
    """Body of ``spikeloop cost HW --sensitivity``; returns the exit code.

    Raises:
        SpikeloopError: an input is wrong; nothing was written.
    """
    study = run_sensitivity(hw_name, request)
    if request.figure is not None:
        from .tornado import write_tornado

        request.figure.parent.mkdir(parents=True, exist_ok=True)
        write_tornado(study, request.figure)
        output.say(f"figure: {request.figure}")
    if as_json:
        output.emit_json(sensitivity_json(study))
    else:
        _print(study)
    return 0


def run_sensitivity(hw_name: str, request: SensitivityRequest) -> SensitivityStudy:
    """Map the network, run the clock once, and price its counts again for every number.

    Raises:
        SpikeloopError: an input is wrong.
    """
    from spikeloop.simulator.cost.technology import load_technology
    from spikeloop.simulator.sensitivity import check_factor, sensitivity

    hw = load_hardware(hw_name)
    technology = load_technology(hw.technology)
    factor = DEFAULT_FACTOR if request.factor is None else request.factor
    check_factor(factor)
    density = read_density(request.density or DEFAULT_DENSITY)
    assert density is not None
    network = _network(request.network)
    library, bill = _clocked(network, hw, density)
    found = sensitivity(library, bill, technology, factor=factor)
    if not hw.crossbar.is_ideal:
        output.say("note: cells that conduct are priced by their mean codes, without variation and wires")
    return SensitivityStudy(
        network=network.name,
        network_hash=network.content_hash(),
        n_timesteps=network.n_timesteps,
        hw=hw,
        density=density,
        found=found,
    )


def _clocked(
    network: Network, hw: HardwareConfig, density: float | Mapping[str, float]
) -> tuple[Callable[[Technology], Sequence[Component]], Callable[[Sequence[Component]], Bill]]:
    """Run one image of random spikes; returns its components for any technology, and its bill for any components."""
    from spikeloop.simulator.cost.library import cost_library
    from spikeloop.simulator.cycle.run import run_cycles
    from spikeloop.simulator.functional.density import random_activity
    from spikeloop.simulator.limits import check_memory
    from spikeloop.simulator.mapping.tiles import map_network
    from spikeloop.simulator.pricing import bill_of
    from spikeloop.simulator.program import compile_program

    mapping = map_network(network, hw)
    pipelined = hw.dataflow.order == "layer_pipelined"
    check_memory(mapping, n_images=1, cycle_images=1, pipelined=pipelined, recorded=False)
    program = compile_program(mapping, hw)
    activity = random_activity(mapping, density, n_images=1, seed=0)
    trace = run_cycles(program, activity)
    return (
        lambda prices: cost_library(mapping, hw, prices, program),
        lambda components: bill_of(components, trace, hw, activity),
    )


def _network(path: Path | None) -> Network:
    if path is not None:
        from spikeloop.simulator.network.io import load_network

        return load_network(path)
    from spikeloop.models.random_export import shape_network

    return shape_network(DEFAULT_NETWORK, seed=0, weight_bits=4, membrane_bits=8, n_timesteps=DEFAULT_TIMESTEPS)


def sensitivity_json(study: SensitivityStudy) -> dict[str, Any]:
    """The object that ``--json`` prints; ratios are to the base, None where the technology refuses the number."""
    found, hw = study.found, study.hw
    return {
        "schema": 1,
        "hardware": hw.name,
        "hardware_hash": hw.content_hash(),
        "technology": hw.technology,
        "network": study.network,
        "network_hash": study.network_hash,
        "density": dict(study.density) if isinstance(study.density, Mapping) else study.density,
        "factor": found.factor,
        "latency_ns": found.latency_ns,
        "base": asdict(found.base),
        "numbers": [_number(swing, found.base) for swing in found.swings],
        "without_effect": list(found.without_effect),
    }


def _number(swing: Swing, base: Figures) -> dict[str, Any]:
    ratios = {
        f"{name}_ratio": {end: changed(getattr(swing, end), base, field, unit=1.0) for end in ("low", "high")}
        for name, field in (("energy", "energy_fJ"), ("area", "area_um2"), ("edap", "edap_J_s_mm2"))
    }
    return {
        "key": swing.key,
        "value": swing.value,
        "status": swing.status,
        "source": swing.citation,
        "refused": swing.refused or None,
        **ratios,
    }


def changed(end: Figures | None, base: Figures, field: str, *, unit: float) -> float | None:
    """A figure relative to the base, in ``unit``."""
    return None if end is None else unit * float(getattr(end, field)) / float(getattr(base, field))


def _print(study: SensitivityStudy) -> None:
    found, base, hw = study.found, study.found.base, study.hw
    output.emit(f"{study.network} (T = {study.n_timesteps}) on {hw.name}, technology {hw.technology}")
    output.emit(
        f"  energy {format_si(base.energy_fJ, 'fJ')}, latency {format_si(found.latency_ns, 'ns')}, "
        f"area {format_si(base.area_um2, 'um2')}, EDAP {base.edap_J_s_mm2:.4g} J s mm2"
    )
    output.emit_wrapped(
        f"each number alone divided and multiplied by {found.factor:g}; change of the result in per cent", indent=2
    )
    output.emit("")
    output.emit_table(
        ("number", "status", "energy", "area", "EDAP"),
        [
            (
                swing.key,
                swing.status,
                *(_pair(swing, base, field) for field in ("energy_fJ", "area_um2", "edap_J_s_mm2")),
            )
            for swing in found.swings
        ],
    )
    refused = [swing for swing in found.swings if swing.refused]
    for swing in refused:
        output.say(f"note: {swing.key} cannot go so far: {swing.refused}")
    if found.without_effect:
        output.emit("")
        output.emit_wrapped(f"without effect here: {', '.join(found.without_effect)}", hang=2)


def _pair(swing: Swing, base: Figures, field: str) -> str:
    """``-40  +79``: change in per cent at the low and the high end."""
    return " ".join(_percent(changed(end, base, field, unit=100.0)).rjust(4) for end in (swing.low, swing.high))


def _percent(share: float | None) -> str:
    """At most four characters."""
    if share is None:
        return "-"
    change = share - 100.0
    if change == 0.0:
        return "0"
    if abs(change) < 0.05:
        return "<0.1"
    return f"{change:+.0f}" if abs(change) >= 9.95 else f"{change:+.1f}"
