"""Cures for unknown names: every sentence that refuses a name says which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: Names that a sentence lists at most.
_MANY = 15


def nearest(name: str, names: Sequence[str]) -> str:
    """Cure for an unknown name: the nearest one, or all of them; of very many, those with the same beginning."""
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    beginning = name.partition(".")[0]
    shown = [other for other in names if other.partition(".")[0] == beginning] if len(names) > _MANY else list(names)
    more = f", ... ({len(shown)} in all)" if len(shown) > _MANY else ""
    return f"allowed: {', '.join(shown[:_MANY] or sorted(names)[:_MANY])}{more}"
