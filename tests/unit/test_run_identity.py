"""Which designs share a functional run, and the file that holds it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import HardwareConfig, load_hardware
from spikeloop.simulator.errors import SimulationError
from spikeloop.simulator.functional.identity import computed_fields
from spikeloop.simulator.functional.outputs import Outputs
from spikeloop.simulator.functional.store import load_outputs, save_outputs
from spikeloop.simulator.metrics import to_json
from spikeloop.simulator.network.graph import Network
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.pipeline import Evaluation, evaluate

#: Changes of one or two fields; each is tried on every base design.
CHANGES: tuple[dict[str, Any], ...] = (
    {"clock_GHz": 0.37},
    {"technology": "another"},
    {"tile.pes_per_tile": 1},
    {"tile.crossbars_per_pe": 1},
    {"tile.input_bus_bits": 16},
    {"tile.sharing": "packed"},
    {"noc.flit_bits": 8},
    {"noc.placement": "row_major"},
    {"global_buffer.bus_bits": 8},
    {"neuron.lanes": 3},
    {"neuron.memory.word_bits": 16},
    {"adc.columns_per_adc": 2},
    {"adc.sample_and_hold": False},
    {"adc.bits": 3},
    {"crossbar.rows": 16},
    {"crossbar.cols": 16},
    {"crossbar.rows_active": 8},
    {"crossbar.scheme": "offset"},
    {"dataflow.loop": "layer_major"},
    {"dataflow.order": "layer_pipelined"},
    {"dataflow.zero_skipping": "none"},
    {"chip.tiles": 40, "dataflow.replication": "balanced"},
)
#: The changes that a run on exact cells, ADCs and memories cannot see.
UNSEEN = (
    *("clock_GHz", "technology", "tile.pes_per_tile", "tile.crossbars_per_pe", "tile.input_bus_bits", "tile.sharing"),
    *("noc.flit_bits", "noc.placement", "global_buffer.bus_bits", "neuron.lanes", "neuron.memory.word_bits"),
    *("adc.columns_per_adc", "adc.sample_and_hold", "dataflow.loop", "dataflow.order", "dataflow.zero_skipping"),
    "chip.tiles",
)


def changed(hw: HardwareConfig, change: dict[str, Any]) -> HardwareConfig:
    fields = hw.resolved()
    for path, value in change.items():
        *folders, leaf = path.split(".")
        record = fields
        for folder in folders:
            record = record[folder]
        record[leaf] = value
    return HardwareConfig.model_validate(fields)


def base(kind: str) -> HardwareConfig:
    small = {"crossbar.rows": 32, "crossbar.cols": 32, "adc.bits": 4, "tile.sharing": "exclusive"}
    exact = changed(load_hardware("demo"), small)
    if kind == "exact":
        return exact
    if kind == "memory":
        return changed(exact, {"neuron.memory.bit_error_ratio": 0.01})
    cells = load_hardware("rram_64_nonideal").resolved()["crossbar"]
    noisy = {**exact.resolved(), "crossbar": {**cells, "rows": 32, "cols": 32}}
    return HardwareConfig.model_validate(noisy)


@cache
def network() -> Network:
    return random_network("demo", seed=1, weight_bits=3, membrane_bits=4, n_timesteps=2)


def run(hw: HardwareConfig, outputs: Outputs | None = None) -> Evaluation:
    spikes = SpikeTrain.uniform(network(), 3, 5)
    return evaluate(network(), hw, spikes, seed=7, cycle_images=2, outputs=outputs)


def assert_equal(a: Outputs | None, b: Outputs | None) -> None:
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.logits, b.logits)
    for mine, its in zip(a.activity.layers, b.activity.layers, strict=True):
        for part in ("active_rows", "input_ones", "spikes_out", "read_fJ"):
            np.testing.assert_equal(getattr(mine, part), getattr(its, part))
    for name in ("crossbar_conversions", "crossbar_clipped", "adc_shift"):
        for x, y in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_array_equal(x, y)
    for name in ("saturated", "memory_errors"):
        assert {k: v.tolist() for k, v in getattr(a, name).items()} == {
            k: v.tolist() for k, v in getattr(b, name).items()
        }


@pytest.mark.parametrize("kind", ["exact", "memory", "noisy"])
def test_designs_with_equal_computed_fields_compute_the_same(kind: str) -> None:
    hw = base(kind)
    first, fields = run(hw).outputs, computed_fields(hw)
    shared = []
    for change in CHANGES:
        other = changed(hw, change)
        if computed_fields(other) == fields:
            shared.append(next(iter(change)))
            # Prices are no part of the run: that of another technology is looked for under the same name.
            assert_equal(run(changed(other, {"technology": hw.technology})).outputs, first)
    if kind == "exact":
        assert tuple(shared) == UNSEEN
    assert {"clock_GHz", "tile.pes_per_tile", "noc.flit_bits"} <= set(shared)
    assert not {"adc.bits", "crossbar.rows", "crossbar.cols", "crossbar.rows_active"} & set(shared)


def test_what_depends_on_time_shares_nothing_that_moves_the_clock() -> None:
    hw = changed(base("exact"), {"neuron.memory.retention_time_ns": 1e6})
    for change in ({"clock_GHz": 0.37}, {"noc.flit_bits": 8}, {"tile.input_bus_bits": 16}):
        assert computed_fields(changed(hw, change)) != computed_fields(hw)


@pytest.mark.parametrize("kind", ["exact", "noisy"])
def test_a_run_from_its_file_gives_the_same_metrics_on_another_tile(tmp_path: Path, kind: str) -> None:
    hw, other = base(kind), changed(base(kind), {"tile.pes_per_tile": 1})
    first = run(hw).outputs
    assert first is not None
    save_outputs(tmp_path / "run.safetensors", first)
    read = load_outputs(tmp_path / "run.safetensors")
    assert_equal(read, first)
    assert to_json(run(other, read).metrics) == to_json(run(other).metrics)
    assert to_json(run(other).metrics)["area_um2"] != to_json(run(hw).metrics)["area_um2"]


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    first = run(base("exact")).outputs
    assert first is not None
    save_outputs(path, first)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(SimulationError, match="not a whole functional run"):
        load_outputs(path)
