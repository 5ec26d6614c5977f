"""``spikeloop compat spikesim``: what the SpikeSim program says of a layer list, and what its defects are worth."""

from __future__ import annotations

from typing import Any

from spikeloop.simulator.compat.spikesim import SpikeSimEstimate, estimate_spikesim
from spikeloop.simulator.compat.spikesim_fixes import FIXES
from spikeloop.simulator.compat.spikesim_input import SpikeSimInput, load_spikesim_input
from spikeloop.simulator.compat.spikesim_numbers import SpikeSimNumbers, load_spikesim_numbers
from spikeloop.simulator.compat.spikesim_warnings import (
    FixEffect,
    change_text,
    fix_effects,
    fixed_totals,
    is_changed,
    spikesim_warnings,
)
from spikeloop.simulator.units import format_si

from . import cli_output as output

_FJ_PER_PJ = 1000


def show_spikesim(file: str, *, as_json: bool, each_fix: bool) -> int:
    """Body of ``spikeloop compat spikesim``; returns the exit code.

    Args:
        file: YAML path, or the name of a file of ``hwconfigs/compat``.
        as_json: print one object and no tables.
        each_fix: also say what every fix changes alone, and all of them together.

    Raises:
        ConfigError: the input is wrong.
    """
    given, numbers = load_spikesim_input(file), load_spikesim_numbers()
    found = estimate_spikesim(given, numbers)
    warnings = spikesim_warnings(given, numbers)
    effects = _effects(given, numbers) if each_fix else ()
    if as_json:
        output.emit_json(_as_json(given, numbers, found, warnings, effects))
        return 0
    _print_totals(given, found)
    _print_layers(given, found)
    _print_parts(found)
    if each_fix:
        _print_effects(found, effects)
    for line in warnings:
        output.say(f"note: {line}")
    return 0


def _effects(given: SpikeSimInput, numbers: SpikeSimNumbers) -> tuple[FixEffect, ...]:
    return (*fix_effects(given, numbers), fixed_totals(given, numbers, list(FIXES), "all fixes"))


def _as_json(
    given: SpikeSimInput,
    numbers: SpikeSimNumbers,
    found: SpikeSimEstimate,
    warnings: tuple[str, ...],
    effects: tuple[FixEffect, ...],
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "schema": 1,
        "n_pes": found.n_pes,
        "n_tiles": found.n_tiles,
        "area_um2": found.area_um2,
        "energy_pJ": found.energy_fJ / _FJ_PER_PJ,
        "latency_ns": found.latency_ns,
        "energy_layerwise_pJ": [layer.energy_fJ / _FJ_PER_PJ for layer in found.layers],
        "start_layerwise_ns": [layer.start_ns for layer in found.layers],
        "end_layerwise_ns": [layer.end_ns for layer in found.layers],
        "pes_layerwise": [layer.n_pes for layer in found.layers],
        "area_by_component_um2": found.parts_area_um2,
        "energy_by_component_pJ": {name: part / _FJ_PER_PJ for name, part in found.parts_energy_fJ.items()},
        "fixes": list(given.fix),
        "warnings": list(warnings),
        "sources": [numbers.source.strip()],
    }
    if effects:
        value["each_fix"] = [
            {
                "fix": effect.name,
                "area_um2": effect.area_um2,
                "energy_pJ": effect.energy_fJ / _FJ_PER_PJ,
                "latency_ns": effect.latency_ns,
            }
            for effect in effects
        ]
    return value


def _print_totals(given: SpikeSimInput, found: SpikeSimEstimate) -> None:
    output.emit(
        f"SpikeSim's formulas: {len(found.layers)} layers, kernels of {given.kernel_size} x {given.kernel_size}, "
        f"{given.device} crossbars of {given.xbar_size} x {given.xbar_size}, {given.pe_per_tile} PEs a tile, "
        f"{given.time_steps} time steps, {given.clk_freq:g} MHz"
    )
    output.emit(f"fixes: {', '.join(given.fix) or 'none, as the program prints it'}")
    output.emit("")
    output.emit(f"PEs      {found.n_pes} in {found.n_tiles} tiles")
    output.emit(f"area     {format_si(found.area_um2, 'um2')}")
    output.emit(f"energy   {format_si(found.energy_fJ, 'fJ')} per image")
    output.emit(f"latency  {format_si(found.latency_ns, 'ns')}")
    output.emit("")


def _print_layers(given: SpikeSimInput, found: SpikeSimEstimate) -> None:
    rows = [
        (
            str(i + 1),
            str(given.in_ch_list[i]),
            str(given.out_ch_list[i]),
            str(layer.n_pes),
            str(layer.out_dim),
            str(layer.steps),
            f"{layer.energy_fJ / _FJ_PER_PJ:.6g}",
            f"{layer.start_ns:.6g}",
            f"{layer.end_ns:.6g}",
        )
        for i, layer in enumerate(found.layers)
    ]
    header = ("layer", "in", "out", "PEs", "out dim", "steps", "energy (pJ)", "start (ns)", "end (ns)")
    output.emit_table(header, rows)
    output.emit("")


def _print_parts(found: SpikeSimEstimate) -> None:
    area, energy = found.parts_area_um2, found.parts_energy_fJ
    rows = []
    for name in dict.fromkeys([*energy, *area]):
        rows.append(
            (
                name,
                f"{area[name]:.6g}" if name in area else "-",
                f"{area[name] / found.area_um2:.2%}" if name in area else "-",
                f"{energy[name] / _FJ_PER_PJ:.6g}" if name in energy else "-",
                f"{energy[name] / found.energy_fJ:.2%}" if name in energy else "-",
            )
        )
    output.emit_table(("component", "area (um2)", "share", "energy (pJ)", "share"), rows)


def _print_effects(found: SpikeSimEstimate, effects: tuple[FixEffect, ...]) -> None:
    output.emit("")
    output.emit_table(("fix", "area", "energy", "latency"), [effect_row(found, effect) for effect in effects])


def effect_row(found: SpikeSimEstimate, effect: FixEffect) -> tuple[str, str, str, str]:
    """Cells of one line of the table of fixes: its name, and each total with its change in percent."""
    return (
        effect.name,
        _total(found.area_um2, effect.area_um2, "um2"),
        _total(found.energy_fJ, effect.energy_fJ, "fJ"),
        _total(found.latency_ns, effect.latency_ns, "ns"),
    )


def _total(old: float, new: float, unit: str) -> str:
    return f"{format_si(new, unit)} ({change_text(old, new)})" if is_changed(old, new) else "-"
