"""Network files: one ``.safetensors`` file, integer tensors, the graph as JSON in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import NetworkError
from ..files import write_atomic
from .graph import NODE_TYPES, Network, Node, Shape, node_fields, node_kind

SCHEMA = 1
FORMAT = "spikeloop-network"


def save_network(network: Network, path: Path) -> None:
    """Write a network file atomically; tensors take the smallest signed integer type that holds them.

    Raises:
        NetworkError: the folder of ``path`` does not exist or cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in network.nodes:
        fields: dict[str, Any] = {"kind": node_kind(node)}
        for key, value in node_fields(node).items():
            if isinstance(value, np.ndarray):
                tensors[f"{node.name}.{key}"] = _smallest(value)
            else:
                fields[key] = value
        nodes.append(fields)
    header = {
        "name": network.name,
        "n_timesteps": network.n_timesteps,
        "nodes": nodes,
        "edges": network.edges,
        "notes": dict(network.notes),
    }
    metadata = {"format": FORMAT, "schema": str(SCHEMA), "network": json.dumps(header, sort_keys=True)}
    try:
        write_atomic(path, save(tensors, metadata=metadata))
    except OSError as error:
        raise NetworkError(f"{path}: cannot be written ({error.strerror}); give a file in an existing folder") from None


def load_network(path: Path) -> Network:
    """Network stored in a file written by ``save_network``.

    Raises:
        NetworkError: missing, truncated, of another format or schema, or breaking a rule of the graph.
    """
    if not path.is_file():
        raise NetworkError(f"{path}: no such file; make one with 'spikeloop export'")
    metadata, tensors = _read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise NetworkError(f"{path}: a safetensors file, but not a spikeloop network; use 'spikeloop export'")
    if metadata.get("schema") != str(SCHEMA):
        raise NetworkError(
            f"{path}: network schema {metadata.get('schema')}, this version reads schema {SCHEMA}; export it again"
        )
    try:
        header = json.loads(metadata["network"])
        nodes = tuple(_read_node(fields, tensors) for fields in header["nodes"])
        edges = tuple((str(a), str(b)) for a, b in header["edges"])
        return Network(
            name=_typed(header["name"], str, "name"),
            n_timesteps=_typed(header["n_timesteps"], int, "n_timesteps"),
            nodes=nodes,
            edges=edges,
            notes={str(key): str(value) for key, value in header.get("notes", {}).items()},
        )
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NetworkError(f"{path}: the graph in its header is damaged ({error}); export it again") from None


def _read_tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("format") != FORMAT:  # nothing of a stranger's file is decoded
                return metadata, {}
            return metadata, {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise NetworkError(f"{path}: not a whole safetensors file ({reason}); export the network again") from None
    except (TypeError, AttributeError) as error:  # a number format that NumPy does not have (bfloat16, float8)
        raise NetworkError(f"{path}: its tensors are no integers ({error}); export the network again") from None


def _read_node(fields: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Node:
    kind = fields.pop("kind")
    if kind not in NODE_TYPES:
        raise NetworkError(f"unknown node kind '{kind}'; known: {', '.join(NODE_TYPES)}")
    cls = NODE_TYPES[kind]
    name = _typed(fields["name"], str, "a node's name")
    hints = get_type_hints(cls)
    if unknown := sorted(fields.keys() - hints):
        raise NetworkError(f"{name}: unknown field '{unknown[0]}'; a {kind} has {', '.join(hints)}")
    for key, hint in hints.items():
        if key in fields:
            fields[key] = _typed(fields[key], hint, f"{name}: {key}")
        elif f"{name}.{key}" in tensors:
            fields[key] = _integers(tensors[f"{name}.{key}"], f"{name}: {key}")
    node: Node = cls(**fields)
    return node


def _typed(value: Any, hint: Any, where: str) -> Any:
    """``value`` if it is of the declared type; JSON's 3.0 is no 3, and true is no 1."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise NetworkError(f"{where} is {_short(value)}; allowed: {', '.join(get_args(hint))}")
    elif hint == Shape:
        if not isinstance(value, list) or any(type(n) is not int for n in value):
            raise NetworkError(f"{where} is {_short(value)}; expected whole numbers (channels, rows, columns)")
        return tuple(value)
    elif hint not in (int, bool, str):
        raise NetworkError(f"{where} is {_short(value)}; expected a tensor of the file")
    elif type(value) is not hint:
        words = {int: "a whole number", bool: "true or false", str: "a text"}
        raise NetworkError(f"{where} is {_short(value)}; expected {words[hint]}")
    return value


def _integers(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    """The tensor as int64, never by rounding: a float or a too large number is refused."""
    if array.dtype.kind not in "iu":
        raise NetworkError(f"{where} is {array.dtype}; network tensors hold integers, export the network again")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise NetworkError(f"{where} holds {int(array.max())}; the largest integer is 2^63 - 1")
    return array.astype(np.int64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    values = np.ascontiguousarray(array, dtype=np.int64)
    for dtype in (np.int8, np.int16, np.int32):
        info = np.iinfo(dtype)
        if values.min() >= info.min and values.max() <= info.max:
            return values.astype(dtype)
    return values
