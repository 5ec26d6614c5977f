"""Functional runs that several designs share: one run for all designs that compute the same."""

from __future__ import annotations

from pathlib import Path

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.functional.identity import computed_fields
from spikeloop.simulator.functional.outputs import Outputs
from spikeloop.simulator.functional.store import load_outputs, save_outputs
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.spec import canonical_hash
from spikeloop.simulator.version import MODEL_VERSION

from .study import StudyConfig

#: Axes that a functional run on exact hardware does not see (``simulator.functional.identity``).
_UNSEEN = (
    *("hw.clock_GHz", "hw.tile.", "hw.noc.", "hw.chip.", "hw.global_buffer.", "hw.neuron.", "hw.dataflow."),
    *("hw.adc.columns_per_adc", "hw.adc.sample_and_hold", "hw.crossbar.cell_array"),
)


def may_share_runs(study: StudyConfig) -> bool:
    """Whether keeping functional runs can pay: there are stages, or an axis that a run does not see."""
    return bool(study.stages) or any(name.startswith(_UNSEEN) for name in study.space)


def run_path(
    folder: str,
    network: Network,
    hw: HardwareConfig,
    *,
    dataset: str,
    images: int,
    calibration_images: int,
    cycle_images: int,
    seed: int,
) -> Path:
    """File of the functional run of ``network`` on ``hw``, named by everything that the run depends on."""
    key = canonical_hash(
        {
            "model_version": MODEL_VERSION,
            "network": network.content_hash(),
            "hardware": computed_fields(hw),
            "dataset": dataset,
            "images": images,
            "calibration_images": calibration_images,
            "cycle_images": cycle_images,
            "seed": seed,
        }
    )
    return Path(folder) / f"run-{key[:16]}.safetensors"


def known_run(path: Path | None) -> Outputs | None:
    """The run in a file; None where there is none, or a damaged one, which is then made again."""
    if path is None or not path.is_file():
        return None
    try:
        return load_outputs(path)
    except SimulationError:
        return None


def keep_run(path: Path | None, outputs: Outputs | None) -> None:
    """Store a run; without ``path`` nothing is kept."""
    if path is not None and outputs is not None:
        save_outputs(path, outputs)
