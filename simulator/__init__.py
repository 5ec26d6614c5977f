"""The face of spikeloop: load a network and a design, evaluate, read the metrics.

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import HardwareConfig, load_hardware
    from .cost.technology import load_technology
    from .cycle.chrome import ChromeTrace
    from .cycle.path import CriticalPath
    from .errors import SpikeloopError
    from .mapping.tiles import Mapping, map_network
    from .metrics import Metrics
    from .network.graph import Network
    from .network.io import load_network, save_network
    from .network.spikes import SpikeTrain
    from .pipeline import Evaluation, evaluate, simulate_density

_HOMES = {
    "ChromeTrace": ".cycle.chrome",
    "CriticalPath": ".cycle.path",
    "Evaluation": ".pipeline",
    "HardwareConfig": ".config",
    "Mapping": ".mapping.tiles",
    "Metrics": ".metrics",
    "Network": ".network.graph",
    "SpikeTrain": ".network.spikes",
    "SpikeloopError": ".errors",
    "evaluate": ".pipeline",
    "load_hardware": ".config",
    "load_network": ".network.io",
    "load_technology": ".cost.technology",
    "map_network": ".mapping.tiles",
    "save_network": ".network.io",
    "simulate_density": ".pipeline",
}

__all__ = [
    "ChromeTrace",
    "CriticalPath",
    "Evaluation",
    "HardwareConfig",
    "Mapping",
    "Metrics",
    "Network",
    "SpikeTrain",
    "SpikeloopError",
    "evaluate",
    "load_hardware",
    "load_network",
    "load_technology",
    "map_network",
    "save_network",
    "simulate_density",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spikeloop.simulator' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
