"""``spikeloop cost``: what every component of one tile costs, and where each number comes from."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from spikeloop.simulator.config import HardwareConfig, load_hardware

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.simulator.cost.table import CostComparison, CostRow
    from spikeloop.simulator.cost.technology import Technology


def show_cost(name: str, *, compare: str | None, as_json: bool) -> int:
    """Body of ``spikeloop cost``; returns the exit code.

    Raises:
        ConfigError: a design or its technology is wrong.
    """
    hw, technology, rows = _table(name)
    if compare is None:
        if as_json:
            output.emit_json(
                {
                    "schema": 1,
                    **_identity(hw),
                    "total": _totals(rows),
                    "tile": [asdict(row) for row in rows],
                    "numbers": _numbers(rows, technology),
                }
            )
        else:
            _print_table(hw, technology, rows)
        return 0
    from spikeloop.simulator.cost.table import compare_tables

    other, _, other_rows = _table(compare)
    pairs = compare_tables(rows, other_rows)
    if as_json:
        output.emit_json(
            {"schema": 1, "a": _identity(hw), "b": _identity(other), "tile": [asdict(pair) for pair in pairs]}
        )
    else:
        _print_comparison(hw, other, pairs)
    if hw.technology != other.technology:
        output.say(f"note: {hw.technology} and {other.technology} price them; a fair comparison uses one technology")
    return 0


def _table(name: str) -> tuple[HardwareConfig, Technology, tuple[CostRow, ...]]:
    from spikeloop.simulator.cost.table import cost_table
    from spikeloop.simulator.cost.technology import load_technology

    hw = load_hardware(name)
    technology = load_technology(hw.technology)
    return hw, technology, cost_table(hw, technology)


def _identity(hw: HardwareConfig) -> dict[str, str]:
    return {"hardware": hw.name, "hardware_hash": hw.content_hash(), "technology": hw.technology}


def _totals(rows: tuple[CostRow, ...]) -> dict[str, float]:
    """Area and leakage of the tile."""
    return {
        "area_um2": math.fsum(row.area_um2 for row in rows),
        "leakage_uW": math.fsum(row.leakage_uW for row in rows),
    }


def _numbers(rows: tuple[CostRow, ...], technology: Technology) -> dict[str, dict[str, Any]]:
    """Key -> value, source and trust of every number behind the table, and the components that use it."""
    users: dict[str, list[str]] = {}
    for row in rows:
        for text in row.sources:
            users.setdefault(text.split(":", 1)[0], []).append(row.component)
    found: dict[str, dict[str, Any]] = {}
    for key in sorted(users):
        entry = technology.entries.get(key)
        number = {} if entry is None else {"value": entry.value, "node_nm": entry.node_nm, "note": entry.note}
        found[key] = {
            "status": technology.status(key),
            "source": technology.citation(key).split(": ", 1)[1].rsplit(" [", 1)[0],
            **number,
            "components": users[key],
        }
    return found


def _print_table(hw: HardwareConfig, technology: Technology, rows: tuple[CostRow, ...]) -> None:
    output.emit(f"one tile of {hw.name}, technology {hw.technology}, filled by a nominal layer")
    output.emit("")
    present = [row for row in rows if row.count]
    _print_space(present, _totals(rows))
    output.emit("")
    _print_energy(present)
    if absent := [row.component for row in rows if not row.count]:
        output.emit("")
        output.emit_wrapped(f"none in this tile: {', '.join(absent)}", hang=2)
    output.emit("")
    output.emit("how they follow")
    for row in present:
        output.emit_wrapped(f"{row.component}: {row.formula}", indent=2, hang=4)
    output.emit("")
    _print_numbers(hw, _numbers(rows, technology))
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        output.say(f"note: {note}")


def _print_numbers(hw: HardwareConfig, numbers: dict[str, dict[str, Any]]) -> None:
    """Every number once, with its source; a weak one with the reason for the doubt."""
    from spikeloop.simulator.metrics import device_sources

    output.emit("from which numbers (* doubted, or an assumption)")
    weak = [key for key, number in numbers.items() if number["status"] in ("doubted", "assumption")]
    for key, number in numbers.items():
        value = f" = {number['value']:g} ({number['node_nm']:g} nm)" if "value" in number else ""
        output.emit(f"{'*' if key in weak else ' '} {key}{value} [{number['status']}]")
        output.emit_wrapped(number["source"], indent=6)
        if key in weak and number.get("note"):
            output.emit_wrapped(f"why: {number['note']}", indent=6)
    for text in device_sources(hw):
        output.emit_wrapped(text, indent=2, hang=4)
    output.say(
        f"note: {len(weak)} of {len(numbers)} numbers are doubted or assumptions; which of them matter: "
        f"'spikeloop cost {hw.name} --sensitivity'"
    )


def _print_space(rows: list[CostRow], total: dict[str, float]) -> None:
    """What stands in a tile, idle or not."""
    lines = [
        (
            row.component,
            str(row.count),
            _figure(row.area_um2),
            f"{100 * row.area_um2 / total['area_um2']:.1f}",
            _figure(row.leakage_uW),
            f"{100 * row.leakage_uW / (total['leakage_uW'] or 1.0):.1f}",
        )
        for row in rows
    ]
    lines.append(("tile", "", _figure(total["area_um2"]), "100.0", _figure(total["leakage_uW"]), "100.0"))
    output.emit_table(("component", "count", "area (um2)", "area (%)", "leakage (uW)", "leakage (%)"), lines)


def _print_energy(rows: list[CostRow]) -> None:
    """What one of each action uses; how often it happens is the business of a network."""
    lines = []
    for row in rows:
        for number, (action, energy_fJ) in enumerate(row.energy_fJ.items()):
            lines.append((row.component if number == 0 else "", action, _cell(energy_fJ)))
    output.emit_table(("component", "action", "energy of one (fJ)"), lines)


def _print_comparison(hw: HardwareConfig, other: HardwareConfig, pairs: tuple[CostComparison, ...]) -> None:
    output.emit(f"one tile each: A = {hw.name}, B = {other.name}; ratios are B / A")
    output.emit("")
    lines = []
    present = [pair for pair in pairs if pair.area_a_um2 or pair.area_b_um2]
    for pair in present:
        lines.append(
            (
                pair.component,
                "area (um2)",
                _figure(pair.area_a_um2),
                _figure(pair.area_b_um2),
                _ratio(pair.area_ratio),
            )
        )
        for action, ratio in pair.energy_ratio.items():
            a, b = pair.energy_a_fJ.get(action), pair.energy_b_fJ.get(action)
            lines.append(("", f"{action} (fJ)", _cell(a), _cell(b), _ratio(ratio)))
    a, b = (math.fsum(area) for area in zip(*((pair.area_a_um2, pair.area_b_um2) for pair in pairs), strict=True))
    lines.append(("tile", "area (um2)", _figure(a), _figure(b), _ratio(b / a if a else None)))
    output.emit_table(("component", "what", "A", "B", "B / A"), lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else _figure(value)


def _figure(value: float) -> str:
    """At least four digits, no powers of ten for what is large."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
