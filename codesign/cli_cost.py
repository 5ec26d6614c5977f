"""``spikeloop cost``: what every component of one tile costs, and where each number comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from spikeloop.simulator.config import HardwareConfig, load_hardware

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.simulator.cost.table import CostComparison, CostRow


def show_cost(name: str, *, compare: str | None, as_json: bool) -> int:
    """Body of ``spikeloop cost``; returns the exit code.

    Raises:
        ConfigError: a design or its technology is wrong.
    """
    hw, rows = _table(name)
    if compare is None:
        if as_json:
            output.emit_json({"schema": 1, **_identity(hw), "tile": [asdict(row) for row in rows]})
        else:
            _print_table(hw, rows)
        return 0
    from spikeloop.simulator.cost.table import compare_tables

    other, other_rows = _table(compare)
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


def _table(name: str) -> tuple[HardwareConfig, tuple[CostRow, ...]]:
    from spikeloop.simulator.cost.table import cost_table
    from spikeloop.simulator.cost.technology import load_technology

    hw = load_hardware(name)
    return hw, cost_table(hw, load_technology(hw.technology))


def _identity(hw: HardwareConfig) -> dict[str, str]:
    return {"hardware": hw.name, "hardware_hash": hw.content_hash(), "technology": hw.technology}


def _print_table(hw: HardwareConfig, rows: tuple[CostRow, ...]) -> None:
    output.emit(f"one tile of {hw.name}, technology {hw.technology}, filled by a nominal layer")
    output.emit("")
    lines = []
    for row in rows:
        for number, (action, energy_fJ) in enumerate(row.energy_fJ.items() or [("-", 0.0)]):
            first = number == 0
            lines.append(
                (
                    row.component if first else "",
                    str(row.count) if first else "",
                    f"{row.area_um2:.4g}" if first else "",
                    f"{row.leakage_uW:.4g}" if first else "",
                    action,
                    f"{energy_fJ:.4g}",
                )
            )
    output.emit_table(("component", "count", "area (um2)", "leakage (uW)", "action", "energy (fJ)"), lines)
    output.emit("")
    output.emit(f"tile: area {sum(row.area_um2 for row in rows) / 1e6:.4g} mm2")
    output.emit("")
    for row in rows:
        output.emit(f"{row.component}: {row.formula}")
        for source in row.sources:
            output.emit(f"    {source}")
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        output.say(f"note: {note}")
    weak = dict.fromkeys(key for row in rows for key in row.weak)
    if weak:
        output.say(f"note: doubted or assumed numbers: {', '.join(weak)}")


def _print_comparison(hw: HardwareConfig, other: HardwareConfig, pairs: tuple[CostComparison, ...]) -> None:
    output.emit(f"one tile each: A = {hw.name}, B = {other.name}; ratios are B / A")
    output.emit("")
    lines = []
    for pair in pairs:
        lines.append(
            (pair.component, "area (um2)", f"{pair.area_a_um2:.4g}", f"{pair.area_b_um2:.4g}", _ratio(pair.area_ratio))
        )
        for action, ratio in pair.energy_ratio.items():
            a, b = pair.energy_a_fJ.get(action), pair.energy_b_fJ.get(action)
            lines.append(("", f"{action} (fJ)", _cell(a), _cell(b), _ratio(ratio)))
    output.emit_table(("component", "what", "A", "B", "B / A"), lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
