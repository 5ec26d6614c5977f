"""Which numbers stand behind a result, and which of those nobody published."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from .chip import Component
from .technology import Technology

#: Share of energy or area above which a weak number is named.
WARN_SHARE = 0.05


def citations(components: Iterable[Component], technology: Technology) -> tuple[str, ...]:
    """``key: source (year) [status]`` of every number that the components used, by key."""
    keys = {
        key
        for component in components
        for key in (*component.action_keys, *component.leakage_keys, *component.area_keys)
    }
    return tuple(technology.citation(key) for key in sorted(keys))


def price_notes(components: Iterable[Component]) -> tuple[str, ...]:
    """What a reader must know about the prices: extrapolations, and numbers that stand in for others; each once."""
    return tuple(dict.fromkeys(note for component in components for note in component.notes))


def weak_numbers(
    components: Sequence[Component], energy_fJ: Sequence[float], interval_ns: float, technology: Technology
) -> tuple[str, ...]:
    """One sentence for every assumption or doubted number behind more than 5 % of energy or area.

    Args:
        components: the priced chip.
        energy_fJ: energy of each component in one inference, leakage included.
        interval_ns: time over which the components leak.
        technology: says how far each number can be trusted.
    """
    leaked = [component.leakage_uW * interval_ns for component in components]
    acted = [whole - leak for whole, leak in zip(energy_fJ, leaked, strict=True)]
    area = [component.area_um2 for component in components]
    behind_energy = _behind(components, acted, lambda component: component.action_keys)
    for key, parts in _behind(components, leaked, lambda component: component.leakage_keys).items():
        behind_energy.setdefault(key, []).extend(parts)
    behind_area = _behind(components, area, lambda component: component.area_keys)
    lines = _sentences(behind_energy, "energy", math.fsum(energy_fJ), technology)
    return (*lines, *_sentences(behind_area, "area", math.fsum(area), technology))


def _behind(
    components: Sequence[Component], parts: Sequence[float], keys: Callable[[Component], tuple[str, ...]]
) -> dict[str, list[tuple[str, float]]]:
    """Key -> (component, part of the whole that depends on the key)."""
    found: dict[str, list[tuple[str, float]]] = {}
    for component, part in zip(components, parts, strict=True):
        for key in keys(component):
            found.setdefault(key, []).append((component.name, part))
    return found


def _sentences(
    behind: dict[str, list[tuple[str, float]]], what: str, whole: float, technology: Technology
) -> tuple[str, ...]:
    lines = []
    for key, parts in sorted(behind.items()):
        status = technology.status(key)
        share = math.fsum(part for _, part in parts) / whole
        if status in ("assumption", "doubted") and share > WARN_SHARE:
            name = max(parts, key=lambda part: part[1])[0]
            rest = "" if len(parts) == 1 else ", most of it in " + name
            where = f"{name}" if len(parts) == 1 else f"{len({part for part, _ in parts})} components{rest}"
            trust = "an assumption" if status == "assumption" else "a doubted number"
            lines.append(f"{key} ({trust}) stands behind {share:.0%} of the {what} ({where})")
    return tuple(lines)
