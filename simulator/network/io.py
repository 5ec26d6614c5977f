"""Network files: one ``.safetensors`` file, integer tensors, the graph as JSON in its metadata."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import NetworkError
from ..files import write_atomic
from .graph import NODE_TYPES, Network, Node, node_fields, node_kind

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
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise NetworkError(f"{path}: not a whole safetensors file ({reason}); export the network again") from None
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
            name=str(header["name"]),
            n_timesteps=int(header["n_timesteps"]),
            nodes=nodes,
            edges=edges,
            notes={str(key): str(value) for key, value in header.get("notes", {}).items()},
        )
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetworkError(f"{path}: the graph in its header is damaged ({error!r}); export it again") from None


def _read_node(fields: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Node:
    kind = fields.pop("kind")
    if kind not in NODE_TYPES:
        raise NetworkError(f"unknown node kind '{kind}'; known: {', '.join(NODE_TYPES)}")
    cls = NODE_TYPES[kind]
    name = fields["name"]
    for key in (field.name for field in dataclasses.fields(cls)):
        if key not in fields and f"{name}.{key}" in tensors:
            fields[key] = tensors[f"{name}.{key}"].astype(np.int64)
    if "shape" in fields:
        fields["shape"] = tuple(int(n) for n in fields["shape"])
    node: Node = cls(**fields)
    return node


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    values = np.ascontiguousarray(array, dtype=np.int64)
    for dtype in (np.int8, np.int16, np.int32):
        info = np.iinfo(dtype)
        if values.min() >= info.min and values.max() <= info.max:
            return values.astype(dtype)
    return values
