"""A training in fewer epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shortened(training: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The same resolved training in ``epochs``: its phases keep their shares, at least one epoch each if there is one.

    A phase never takes all epochs.
    """
    share = epochs / training["epochs"]

    def phase(n: int) -> int:
        return min(max(1, round(n * share)), epochs - 1) if n else 0

    short = {**training, "epochs": epochs}
    for name in ("frozen_epochs", "warmup_epochs"):
        if name in short:
            short[name] = phase(short[name])
    if "kd_warmup_epochs" in short.get("losses", {}):
        short["losses"] = {**short["losses"], "kd_warmup_epochs": phase(short["losses"]["kd_warmup_epochs"])}
    return short
