"""Evaluation of designs: what is read once, and read again when it changed."""

import os

from networks import design

from spikeloop.codesign.stages import NETWORK_FILE, PointJob, evaluate_design
from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import resolve_yaml
from spikeloop.simulator.cost import technology
from spikeloop.simulator.network.io import save_network


def test_the_technology_is_read_once_for_all_designs_and_again_when_its_file_changed(tmp_path, monkeypatch):
    save_network(random_network("demo", seed=0, weight_bits=4, membrane_bits=4), tmp_path / NETWORK_FILE)
    prices = tmp_path / "prices.yaml"
    text = resolve_yaml("rram_65nm", "technology").read_text("utf-8")
    prices.write_text(text, "utf-8")
    reads, read_yaml = [], technology.read_yaml
    monkeypatch.setattr(technology, "read_yaml", lambda path: reads.append(path) or read_yaml(path))

    def energy_fJ(rows: int) -> float:
        job = PointJob(
            index=0,
            student_folder=str(tmp_path),
            hardware=design(rows=rows, cols=16, technology=str(prices)).resolved(),
            dataset="digits",
            images=2,
            calibration_images=2,
            cycle_images=1,
            seed=0,
        )
        return float(evaluate_design(job).metrics["energy_fJ"])

    before = energy_fJ(16)
    assert energy_fJ(32) != before
    assert len(reads) == 1
    prices.write_text(text.replace("linear_fF: 100", "linear_fF: 400"), "utf-8")
    os.utime(prices, ns=(1, 1))
    assert energy_fJ(16) > before
    assert len(reads) == 2
