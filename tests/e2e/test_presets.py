"""Every shipped design is priced and simulated by the command line; baselines hold the widths that they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spikeloop.codesign.cli import main
from spikeloop.simulator.config import load_hardware, shipped_files

PRESETS = tuple(shipped_files("accelerators"))
BASELINES = {"baseline_32bit": (32, 32), "baseline_16bit": (16, 16)}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo network as exported for each design: narrow, or with a baseline's widths and 24-bit batch norm."""
    folder = tmp_path_factory.mktemp("networks")
    found = {}
    for name in PRESETS:
        weight_bits, membrane_bits = BASELINES.get(name, (4, 6))
        bn_bits = 24 if name in BASELINES else 8
        path = folder / f"demo_{weight_bits}_{bn_bits}.safetensors"
        if not path.exists():
            widths = (
                "--weight-bits",
                str(weight_bits),
                "--membrane-bits",
                str(membrane_bits),
                "--bn-bits",
                str(bn_bits),
            )
            assert main(["export", "--random", "demo", *widths, "--out", str(path)]) == 0
        found[name] = path
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_cost_prices_a_tile(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", preset, "--json"]) == 0
    tile = json.loads(capsys.readouterr().out)["tile"]
    assert sum(row["area_um2"] for row in tile) > 0
    assert all(row["sources"] for row in tile if row["area_um2"] > 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_simulate_prices_a_network(preset: str, networks: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(networks[preset]), "--hw", preset, "--density", "0.15", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["hardware"] == preset
    assert result["accuracy"] == {"value": None, "n": 0, "ci95": None}
    for metric in ("energy_fJ", "latency_ns", "area_um2", "edap_J_s_mm2", "tops_per_W"):
        assert result[metric] > 0, metric
    parts = result["by_component"]
    assert sum(part["energy_fJ"] for part in parts.values()) == pytest.approx(result["energy_fJ"], rel=1e-9)
    assert parts["crossbar"]["energy_fJ"] > 0
    assert parts["adc"]["energy_fJ"] > 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("coding: bit_serial", "coding: got 'bit_wise'"),
        ("conversions: 256", "adc.conversion: unknown field; did you mean 'conversions'?"),
        ("status: doubted,", "status"),
    ],
)
def test_a_wrong_macro_is_refused_in_one_sentence(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"coding: bit_serial": "coding: bit_wise", "conversions: 256": "conversion: 256", "status: doubted,": ""}
    path = tmp_path / "macro.yaml"
    path.write_text(shipped_files("macros")["jia_2020"].read_text().replace(text, wrong[text], 1))
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"{path}: " in error
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("preset", BASELINES)
def test_a_baseline_stores_a_weight_in_as_many_cells_as_it_has_bits(
    preset: str, networks: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The 32-bit one cannot be run (2^53), and says so; its membranes and batch norm are as wide as they are called."""
    weight_bits, membrane_bits = BASELINES[preset]
    from spikeloop.simulator.mapping.tiles import map_network
    from spikeloop.simulator.network.graph import BatchNormNode, LifNode
    from spikeloop.simulator.network.io import load_network

    network = load_network(networks[preset])
    mapping = map_network(network, load_hardware(preset), exact=False)
    assert {item.scheme.n_slices * item.scheme.n_signs for item in mapping.layers} == {weight_bits}
    assert {node.membrane_bits for node in network.nodes if isinstance(node, LifNode)} == {membrane_bits}
    assert {node.bn_bits for node in network.nodes if isinstance(node, BatchNormNode)} == {24}
    code = main(["simulate", str(networks[preset]), "--hw", preset, "--data", "digits", "--images", "1"])
    text = capsys.readouterr().err
    if weight_bits == 32:
        assert code == 2
        assert "exact arithmetic ends at 2^53" in text
        assert "--density" in text
    else:
        assert code == 0
