"""Which defects of the SpikeSim program touch an input, by how much, and where the program itself would stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .spikesim import SpikeSimEstimate, estimate_spikesim
from .spikesim_fixes import FIXES
from .spikesim_input import SpikeSimInput
from .spikesim_numbers import SpikeSimNumbers


@dataclass(frozen=True, kw_only=True)
class FixEffect:
    """Totals of an input with some fixes on; ``name`` is the fix that was added to those of the input."""

    name: str
    area_um2: float
    energy_fJ: float
    latency_ns: float


def with_fixes(given: SpikeSimInput, names: Sequence[str]) -> SpikeSimInput:
    """The same input with exactly these fixes on."""
    return given.model_copy(update={"fix": list(names)})


def fix_effects(given: SpikeSimInput, numbers: SpikeSimNumbers) -> tuple[FixEffect, ...]:
    """Totals with each fix that is off switched on, alone, in the order of ``FIXES``."""
    off = [name for name in FIXES if name not in given.fix]
    return tuple(fixed_totals(given, numbers, [*given.fix, name], name) for name in off)


def fixed_totals(given: SpikeSimInput, numbers: SpikeSimNumbers, fixes: Sequence[str], name: str) -> FixEffect:
    """Totals with these fixes on."""
    found = estimate_spikesim(with_fixes(given, fixes), numbers)
    return FixEffect(name=name, area_um2=found.area_um2, energy_fJ=found.energy_fJ, latency_ns=found.latency_ns)


def spikesim_warnings(given: SpikeSimInput, numbers: SpikeSimNumbers) -> tuple[str, ...]:
    """One sentence for where the program stops, and one for each uncured defect that moves this input's totals."""
    found = estimate_spikesim(given, numbers)
    lines = []
    for effect in fix_effects(given, numbers):
        changes = _changes(found, effect)
        if changes:
            lines.append(f"{effect.name}: {FIXES[effect.name].defect}; the fix changes {changes}")
    return (*_stops(given, numbers), *lines)


def _changes(found: SpikeSimEstimate, effect: FixEffect) -> str:
    pairs = {
        "area": (found.area_um2, effect.area_um2),
        "energy": (found.energy_fJ, effect.energy_fJ),
        "latency": (found.latency_ns, effect.latency_ns),
    }
    parts = [f"{what} by {change_text(old, new)}" for what, (old, new) in pairs.items() if is_changed(old, new)]
    return ", ".join(parts)


def is_changed(old: float, new: float) -> bool:
    """Whether two totals differ by more than rounding."""
    return abs(new - old) > 1e-12 * abs(old)


def change_text(old: float, new: float) -> str:
    """Relative change with its sign, in percent."""
    percent = 100 * (new - old) / old
    return f"{percent:+.1f} %" if abs(percent) >= 0.05 else f"{percent:+.1g} %"


def _stops(given: SpikeSimInput, numbers: SpikeSimNumbers) -> tuple[str, ...]:
    """Where the program stops on this input (lines 13-21, 109-140, 158-164); it meets the first of them only."""
    size = given.xbar_size
    pairs = list(zip(given.in_ch_list, given.out_ch_list, strict=True))
    whole = [-(-in_ch // size) * -(-out_ch // size) for in_ch, out_ch in pairs]
    exact = [(in_ch / size) * (out_ch / size) for in_ch, out_ch in pairs]
    if whole != sorted(whole):
        i = next(i for i in range(1, len(whole)) if whole[i] < whole[i - 1])
        return (
            f"layer_order: layer {i + 1} has {whole[i]} PEs after {whole[i - 1]} of layer {i}, and the program stops "
            "with an error where PE counts decrease; its formulas need no order, so their values are given here",
        )
    if exact != sorted(exact):
        i = next(i for i in range(1, len(exact)) if exact[i] < exact[i - 1])
        return (
            f"layer_order: layer {i + 1} fills less of its PEs than layer {i}, and the program then prints no latency; "
            "its formula needs no order, so its value is given here",
        )
    if max(exact) < 1:
        return (
            "small_layers: no layer fills a crossbar (in_ch x out_ch < xbar_size^2), and the program never ends; "
            "the latency here is its formula's",
        )
    most = numbers.counts.listed_overlaps.value
    if len(pairs) > most:
        return (
            f"many_layers: {len(pairs)} layers, and the program stops with an error after {most}; the latency here "
            f"goes on with the same overlap of {numbers.counts.overlap_percent.value} %",
        )
    return ()
