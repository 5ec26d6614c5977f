"""Checkpoint folders: ``checkpoint.json`` names the weights file beside it; no pickle.

The weights are written first under a name made from their content, then the JSON is replaced in one step.
A run that dies in between leaves the previous checkpoint whole.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from spikeloop.models.net import SpikingNet, build_student, build_teacher
from spikeloop.models.zoo import architecture
from spikeloop.simulator.errors import ConfigError, NetworkError
from spikeloop.simulator.files import write_atomic
from spikeloop.simulator.spec import validate_spec

from .config import TrainingConfig
from .finite import first_not_finite
from .parallel import Ranks
from .reports import TrainResult
from .state_files import state_names

SCHEMA = 1
FORMAT = "spikeloop-checkpoint"
INDEX_FILE = "checkpoint.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained network with the configuration and results of its training.

    ``metrics`` holds the last epoch's report and ``n_test``; ``versions`` the software, thread
    count and device of the process that finished.
    """

    net: SpikingNet
    config: TrainingConfig
    metrics: dict[str, Any]
    versions: dict[str, str]


def save_checkpoint(folder: Path, result: TrainResult) -> None:
    """Write the result of a training into ``folder``, which is made if need be.

    Raises:
        ConfigError: the folder cannot be written.
    """
    raw = _weights(result.net)
    digest = hashlib.sha256(raw).hexdigest()
    weights = f"weights-{digest[:16]}.safetensors"
    index = {
        "format": FORMAT,
        "schema": SCHEMA,
        "config": result.config.resolved(),
        "config_hash": result.config.content_hash(),
        "metrics": {**asdict(result.history[-1]), "n_test": result.n_test, "cpu_time_s": result.cpu_time_s},
        "history": [asdict(report) for report in result.history],
        "versions": result.environments[-1],
        "environments": list(result.environments),
        "weights": {"file": weights, "sha256": digest},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / weights, raw)
        write_atomic(folder / INDEX_FILE, json.dumps(index, indent=1, sort_keys=True) + "\n")
        for old in folder.glob("weights-*.safetensors"):
            if old.name != weights:
                old.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); give another folder") from None


def load_checkpoint(folder: Path, *, network: str | None = None) -> Checkpoint:
    """Network in ``eval()`` with its configuration.

    Args:
        folder: what ``save_checkpoint`` wrote.
        network: title of the network that the caller needs, e.g. ``vgg9``; None takes any.

    Raises:
        ConfigError: no checkpoint there, or its JSON is damaged or of another schema.
        NetworkError: the weights are damaged or belong to another network.
    """
    index = _read_index(folder)
    try:
        file, digest = str(index["weights"]["file"]), str(index["weights"]["sha256"])
        metrics, versions = dict(index["metrics"]), {str(k): str(v) for k, v in index["versions"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{folder / INDEX_FILE}: damaged ({error!r}); train again") from None
    config = checkpoint_config(folder)
    title = config.network_title
    if network is not None and title != network:
        raise NetworkError(f"{folder}: a checkpoint of network '{title}', '{network}' is needed; give another")
    net = build_net(config)
    _fill(net, _read_weights(folder, file, digest), folder)
    return Checkpoint(net=net.eval(), config=config, metrics=metrics, versions=versions)


def load_for_all(folder: Path, config: TrainingConfig, ranks: Ranks, device: torch.device) -> SpikingNet:
    """Network of the checkpoint of ``config``, in ``eval()``; of the processes only the first has to see the folder.

    Raises:
        ConfigError, NetworkError: as for ``load_checkpoint``, in the first process.
        SimulationError: another process is gone.
    """
    net = load_checkpoint(folder).net if ranks.is_main else build_net(config).eval()
    if ranks.world_size > 1:
        net.load_state_dict(load(ranks.from_main(_weights(net), device)))
    return net


def checkpoint_config(folder: Path) -> TrainingConfig:
    """Configuration of a checkpoint.

    Raises:
        ConfigError: no checkpoint there, or its JSON is damaged or of another schema.
    """
    index = _read_index(folder)
    if "config" not in index:
        raise ConfigError(f"{folder / INDEX_FILE}: damaged (it has no config); train again")
    return validate_spec(TrainingConfig, index["config"], where=str(folder / INDEX_FILE))


def checkpoint_sha256(folder: Path) -> str:
    """sha256 of the weights file of a checkpoint.

    Raises:
        ConfigError: no checkpoint there, or its JSON is damaged or of another schema.
    """
    try:
        return str(_read_index(folder)["weights"]["sha256"])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{folder / INDEX_FILE}: damaged ({error!r}); train again") from None


def weights_sha256(net: SpikingNet) -> str:
    """sha256 of the weights file that a checkpoint of ``net`` holds."""
    return hashlib.sha256(_weights(net)).hexdigest()


def _weights(net: SpikingNet) -> bytes:
    return save({key: value.contiguous() for key, value in net.state_dict().items()})


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_FILE
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if state_names(folder):
            raise ConfigError(
                f"{folder}: an interrupted training; finish it with 'spikeloop train' and --resume"
            ) from None
        raise ConfigError(f"{folder}: holds no {INDEX_FILE}; give a folder that 'spikeloop train' wrote") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a folder that can") from None
    except ValueError:
        raise ConfigError(f"{path}: not whole JSON; train again") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ConfigError(f"{path}: not a spikeloop checkpoint; give a folder that 'spikeloop train' wrote")
    if index.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: checkpoint schema {index.get('schema')}, this version reads {SCHEMA}; train again")
    return index


def _read_weights(folder: Path, file: str, digest: str) -> dict[str, torch.Tensor]:
    if Path(file).name != file:
        raise ConfigError(f"{folder / INDEX_FILE}: weights file '{file}' leaves the folder; it lies beside the JSON")
    try:
        raw = (folder / file).read_bytes()
    except OSError as error:
        raise NetworkError(f"{folder / file}: cannot be read ({error.strerror}); train again") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise NetworkError(
            f"{folder / file}: not the weights that {INDEX_FILE} describes (sha256 differs); train again"
        )
    try:
        return load(raw)
    except SafetensorError as error:
        raise NetworkError(f"{folder / file}: not a safetensors file ({error}); train again") from None


def build_net(config: TrainingConfig) -> SpikingNet:
    """The network of a training file, with seeded random weights."""
    plan = architecture(config.network)
    if config.quantisation is None:
        return build_teacher(plan, n_timesteps=config.n_timesteps, neuron=config.neuron, seed=config.seed)
    return build_student(
        plan,
        n_timesteps=config.n_timesteps,
        neuron=config.neuron,
        quantisation=config.quantisation,
        seed=config.seed,
    )


def _fill(net: SpikingNet, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    expected = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise NetworkError(
                f"{folder}: tensor {key} has shape {found.get(key)}, network '{net.plan.name}' of this version has "
                f"{expected.get(key)}; train again"
            )
    bad = first_not_finite(tensors)
    if bad is not None:
        raise NetworkError(f"{folder}: tensor {bad} holds values that are not finite; train again")
    net.load_state_dict(tensors)
