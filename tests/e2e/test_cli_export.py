"""``spikeloop export --random``: an untrained network of the zoo, at its default size or with parameters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spikeloop.codesign.cli import main
from spikeloop.simulator.network.io import load_network

pytestmark = pytest.mark.e2e

#: Those that take a second or less; the others are as tests/unit/test_zoo_recipes.py has them, in small.
CHEAP = ("demo", "fashion", "nmnist", "cifar_small", "ms_resnet_tiny", "sew_resnet_tiny", "mlp")


@pytest.mark.parametrize("name", CHEAP)
def test_a_name_alone_is_enough(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.safetensors"
    assert main(["export", "--random", name, "--weight-bits", "4", "--membrane-bits", "6", "--out", str(out)]) == 0
    network = load_network(out)
    assert network.name == name
    assert network.content_hash()[:12] in capfd.readouterr().out
    assert network.n_classes == 10


def test_parameters_make_the_network_that_they_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.safetensors"
    options = ["--size", "12", "--classes", "7", "--events", "--input-bits", "2", "--width", "0.125"]
    assert main(["export", "--random", "sew_resnet18", *options, "--out", str(out)]) == 0
    network = load_network(out)
    assert network.name == "sew_resnet18-2x12x12-events-2bit-7classes-0.125wide"
    assert (network.input.shape, network.input.bits, network.input.static) == ((2, 12, 12), 2, False)
    assert network.n_classes == 7
    capfd.readouterr()
    assert main(["simulate", str(out), "--hw", "spikeflow_64", "--density", "0.15", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["energy_fJ"] > 0
