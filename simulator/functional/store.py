"""A functional run as a file, so that designs that compute the same share it: integer tensors, no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import SimulationError
from ..files import write_atomic
from .activity import Activity, LayerActivity
from .outputs import Outputs

_FORMAT = "spikeloop-run-1"
_PARTS = ("active_rows", "input_ones", "spikes_out", "read_fJ")


def save_outputs(path: Path, outputs: Outputs) -> None:
    """Write a run without recorded spikes and membranes, whole or not at all.

    Raises:
        OSError: the folder does not exist or the disk is full.
    """
    tensors: dict[str, NDArray[Any]] = {"logits": outputs.logits}
    for number, layer in enumerate(outputs.activity.layers):
        for part in _PARTS:
            value = getattr(layer, part)
            if value is not None:
                tensors[f"{number}.{part}"] = value
        tensors[f"{number}.conversions"] = outputs.crossbar_conversions[number]
        tensors[f"{number}.clipped"] = outputs.crossbar_clipped[number]
        tensors[f"{number}.shift"] = np.asarray(outputs.adc_shift[number], dtype=np.int64)
    for kind, by_lif in (("saturated", outputs.saturated), ("memory_errors", outputs.memory_errors)):
        tensors |= {f"{kind}.{name}": value for name, value in by_lif.items()}
    head = {"layers": len(outputs.activity.layers), "origin": outputs.activity.origin}
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    meta = {"format": _FORMAT, "head": json.dumps(head), "sha256": _digest(whole)}
    write_atomic(path, save(whole, metadata=meta))


def load_outputs(path: Path) -> Outputs:
    """The run that ``save_outputs`` wrote.

    Raises:
        SimulationError: the file is damaged or no such run.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if meta.get("format") != _FORMAT or meta.get("sha256") != _digest(tensors):
            raise ValueError("not the run that was written")
        head = json.loads(meta["head"])
        return _outputs(tensors, int(head["layers"]), str(head["origin"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise SimulationError(f"{path}: not a whole functional run ({error}); delete the file") from None


def _outputs(tensors: Mapping[str, NDArray[Any]], n_layers: int, origin: str) -> Outputs:
    layers = []
    for number in range(n_layers):
        parts = {part: tensors.get(f"{number}.{part}") for part in _PARTS}
        layers.append(LayerActivity(**parts))  # type: ignore[arg-type]  # only read_fJ may be missing
    shifts = [tensors[f"{number}.shift"] for number in range(n_layers)]
    return Outputs(
        logits=tensors["logits"],
        activity=Activity(layers=tuple(layers), origin=origin),
        crossbar_conversions=tuple(tensors[f"{number}.conversions"] for number in range(n_layers)),
        crossbar_clipped=tuple(tensors[f"{number}.clipped"] for number in range(n_layers)),
        adc_shift=tuple(int(shift) if shift.ndim == 0 else shift for shift in shifts),
        saturated=_by_lif(tensors, "saturated"),
        memory_errors=_by_lif(tensors, "memory_errors"),
        spikes=MappingProxyType({}),
        membranes=MappingProxyType({}),
    )


def _by_lif(tensors: Mapping[str, NDArray[Any]], kind: str) -> MappingProxyType[str, NDArray[np.int64]]:
    return MappingProxyType(
        {name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}
    )


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """sha256 of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {value.shape};".encode())
        found.update(value.tobytes())
    return found.hexdigest()
