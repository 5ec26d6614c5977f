"""Cures for unknown names: every sentence that refuses a name says which one was probably meant."""

from __future__ import annotations

from collections.abc import Sequence

from spikeloop.simulator.errors import closest, name_cure

#: Names that a sentence lists at most.
_MANY = 15


def nearest(name: str, names: Sequence[str]) -> str:
    """Cure for an unknown name: the nearest one, or all of them; of very many, those with the same beginning."""
    if len(names) <= _MANY or closest(name, names):
        return name_cure(name, names)
    beginning = name.partition(".")[0]
    shown = [other for other in names if other.partition(".")[0] == beginning]
    more = f", ... ({len(shown)} in all)" if len(shown) > _MANY else ""
    return f"allowed: {', '.join(shown[:_MANY] or sorted(names)[:_MANY])}{more}"
