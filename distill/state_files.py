"""Saved states of a training run: ``state-N.safetensors`` and, written after it, ``state-N.json`` with its sha256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.spec import validate_spec

from .config import TrainingConfig

SCHEMA = 1
FORMAT = "spikeloop-training-state"
_OURS = re.compile(r"\.?(state-\d{8}|weights-[0-9a-f]{16}|checkpoint\.json|events\.jsonl)(\..*)?")


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedState:
    """What ``write_state`` wrote: its fields and tensors by name."""

    name: str
    fields: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def is_of_a_run(name: str) -> bool:
    """Whether a file of this name is one that a training run writes, whole or on its way."""
    return _OURS.fullmatch(name) is not None


def state_names(folder: Path) -> list[str]:
    """Names of the saved states, newest first; whether they are whole is another question."""
    return sorted((path.stem for path in folder.glob("state-*.json") if is_of_a_run(path.name)), reverse=True)


def next_name(folder: Path) -> str:
    """Name of the state after the newest one."""
    newest = next(iter(state_names(folder)), "state--1")
    return f"state-{int(newest.removeprefix('state-')) + 1:08d}"


def write_state(folder: Path, name: str, fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a state; it is there when its JSON is, which comes last.

    Raises:
        OSError: it cannot be written; the states before are as they were.
    """
    raw = save(dict(tensors))
    file = f"{name}.safetensors"
    index = {
        **fields,
        "format": FORMAT,
        "schema": SCHEMA,
        "tensors": {"file": file, "sha256": hashlib.sha256(raw).hexdigest()},
    }
    text = json.dumps(index, allow_nan=False, sort_keys=True) + "\n"
    write_atomic(folder / file, raw)
    write_atomic(folder / f"{name}.json", text)


def remove_states(folder: Path, keep: tuple[str | None, ...] = ()) -> None:
    """Remove all saved states but these, and what a killed process left half-written.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in sorted(folder.iterdir()):
        unwanted = path.name.startswith("state-") and path.stem not in keep
        if is_of_a_run(path.name) and (unwanted or path.name.startswith(".")):
            path.unlink(missing_ok=True)


def newest_state(folder: Path, say: Callable[[str], None]) -> SavedState | None:
    """The newest state that is whole; None where there is none at all.

    Raises:
        ConfigError: there are states and none is whole.
    """
    damaged = []
    for name in state_names(folder):
        try:
            fields = _read_fields(folder, name)
            state = SavedState(name=name, fields=fields, tensors=_read_tensors(folder, fields))
        except ValueError as error:
            damaged.append(f"{name} is damaged ({error})")
            continue
        if damaged:
            say(f"{folder}: {'; '.join(damaged)}; going on from {name}")
        return state
    if damaged:
        raise ConfigError(f"{folder}: {'; '.join(damaged)}; no whole state is left, train again into another folder")
    return None


def _read_fields(folder: Path, name: str) -> dict[str, Any]:
    """Raises ValueError with what is wrong."""
    try:
        index = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("not whole JSON") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ValueError("not a training state of spikeloop")
    if index.get("schema") != SCHEMA:
        raise ValueError(f"schema {index.get('schema')}, this version reads {SCHEMA}")
    fields = ("config", "teacher_sha256", "run", "events_bytes", "tensors")
    missing = [field for field in fields if field not in index]
    if missing:
        raise ValueError(f"lacks {missing[0]}")
    return index


def _read_tensors(folder: Path, index: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Raises ValueError with what is wrong."""
    try:
        file, digest = str(index["tensors"]["file"]), str(index["tensors"]["sha256"])
        raw = (folder / Path(file).name).read_bytes()
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks {error}") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ValueError(f"{file} has another sha256")
    try:
        return load(raw)
    except SafetensorError as error:
        raise ValueError(f"{file} is no safetensors file: {error}") from None


def state_config(folder: Path) -> TrainingConfig | None:
    """Configuration of the newest state whose JSON is whole."""
    for name in state_names(folder):
        try:
            raw = _read_fields(folder, name)["config"]
        except ValueError:
            continue
        return validate_spec(TrainingConfig, raw, where=f"{folder / name}.json")
    return None
