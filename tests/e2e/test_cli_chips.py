"""``spikeloop simulate`` with many chips, attribution and a table of crossbars, on hardware that is not ideal."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from spikeloop.codesign.cli import main

pytestmark = pytest.mark.e2e

HARDWARE = """
schema_version: 1
name: small_chip
source: made for tests
technology: rram_65nm
clock_GHz: 0.25
crossbar:
  rows: 64
  cols: 64
  cell: {preset: rram_neurram, read_noise_ratio: 0.05}
adc: {kind: uniform, bits: 4, granularity: crossbar, unit_sigma: 0.05, offset_sigma_lsb: 0.3}
neuron: {memory: {bit_error_ratio: 0.02}}
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    arguments = ["export", "--random", "demo", "--seed", "0", "--weight-bits", "3", "--membrane-bits", "5"]
    assert main([*arguments, "--out", str(path)]) == 0
    return path


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    path = tmp_path / "hw.yaml"
    path.write_text(HARDWARE)
    return path


def simulate(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capfd.readouterr()
    assert main(["simulate", *arguments, "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_chips_report_spread_yield_and_attribution(network, hardware, capfd):
    options = (str(network), "--hw", str(hardware), "--data", "digits", "--images", "40", "--chips", "3")
    found = simulate(capfd, *options, "--yield-at", "0.0")
    chips = found["chips"]
    assert chips["n"] == len(chips["values"]) == 3
    assert chips["mean"] == pytest.approx(sum(chips["values"]) / 3)
    assert found["accuracy"]["value"] == chips["mean"]
    assert chips["yield_share"] == 1.0
    rows = {(row["effect"], row["layer"]) for row in found["attribution"]}
    effects = ("programming", "read_noise", "adc", "neuron")
    assert rows == {(effect, layer) for effect in effects for layer in ("all layers", "conv1", "conv2", "fc")}
    assert any(row["logit_error"] > 0 for row in found["attribution"])
    assert simulate(capfd, *options, "--yield-at", "0.0", "--threads", "2") == found
    text_at = ["simulate", *options]
    assert main(text_at) == 0
    out = capfd.readouterr().out
    assert "chips     3: accuracy" in out
    assert "non-ideality alone" in out


def test_seeds_and_chips_differ_and_energy_is_that_of_the_cells(network, hardware, capfd):
    base = (str(network), "--hw", str(hardware), "--data", "digits", "--images", "40")
    first, again, other = (simulate(capfd, *base, "--seed", seed) for seed in ("0", "0", "1"))
    assert first == again
    assert first["energy_fJ"] != other["energy_fJ"]
    assert any(text.startswith("crossbar.cell: rram_neurram") for text in first["sources"])
    assert "chips" not in first


def test_table_of_crossbars_adds_up(network, hardware, tmp_path, capfd):
    path = tmp_path / "crossbars.csv"
    options = ("--data", "digits", "--images", "20", "--crossbars", str(path))
    found = simulate(capfd, str(network), "--hw", str(hardware), *options)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for layer in found["by_layer"][:-1]:
        mine = [row for row in rows if row["layer"] == layer["name"]]
        assert len(mine) == layer["n_crossbars"]
        clipped = sum(int(row["clipped"]) for row in mine) / max(1, sum(int(row["conversions"]) for row in mine))
        assert layer["clipped_fraction"] == pytest.approx(clipped)
        lsbs = {int(row["adc_lsb_counts"]) for row in mine}
        assert (min(lsbs), max(lsbs)) == (layer["adc_lsb_min"], layer["adc_lsb"])


def test_table_of_column_sums_counts_every_conversion_of_ideal_cells(network, tmp_path, capfd):
    sums, crossbars = tmp_path / "sums.csv", tmp_path / "crossbars.csv"
    options = ("--data", "digits", "--images", "20", "--column-sums", str(sums), "--crossbars", str(crossbars))
    simulate(capfd, str(network), "--hw", "ideal_64", *options)
    counted: dict[str, int] = {}
    done: dict[str, int] = {}
    for row in csv.DictReader(sums.read_text().splitlines()):
        counted[row["layer"]] = counted.get(row["layer"], 0) + int(row["conversions"])
        assert 0 <= int(row["column_sum_counts"]) <= 64
    for row in csv.DictReader(crossbars.read_text().splitlines()):
        done[row["layer"]] = done.get(row["layer"], 0) + int(row["conversions"])
    assert counted == done
    assert len(done) == 3


@pytest.mark.parametrize(
    ("design", "reason"),
    [
        ("ideal_64", "whole numbers without ADCs"),
        ("spikeflow_64", "16-bit lanes"),
        ("rram_64_nonideal", "32-bit floats, wires folded into the conductances, one normal number a column and read"),
    ],
)
def test_the_log_says_which_kernel_reads_a_layer(network, capfd, design, reason):
    assert main(["--verbose", "simulate", str(network), "--hw", design, "--data", "digits", "--images", "4"]) == 0
    lines = [text for text in capfd.readouterr().err.splitlines() if "of inputs drive rows" in text]
    assert len(lines) == 3
    assert any(reason in text for text in lines)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("rram_neurram", "rram_neuram"), "did you mean 'rram_neurram'"),
        (("read_noise_ratio: 0.05", "read_nose_ratio: 0.05"), "did you mean 'read_noise_ratio'"),
        (("read_noise_ratio: 0.05", "conductance_max_uS: -3"), "conductance_max_uS"),
        (("cols: 64", "cols: 64\n  cell_bits: 4\n  wires: {source: x, row_ohm: -1, column_ohm: 1}"), "row_ohm"),
        (
            ("cell: {preset: rram_neurram, read_noise_ratio: 0.05}", "wires: {source: x, row_ohm: 1, column_ohm: 1}"),
            "ideal",
        ),
        (("unit_sigma: 0.05", "comparator_sigma_lsb: 0.05"), "flash"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_exit_2(network, hardware, capfd, change, text):
    hardware.write_text(HARDWARE.replace(*change))
    capfd.readouterr()
    assert main(["simulate", str(network), "--hw", str(hardware)]) == 2
    err = capfd.readouterr().err
    assert text in err
    assert "Traceback" not in err


def test_chips_without_images_are_refused(network, hardware, capfd):
    for option in (("--chips", "2"), ("--yield-at", "0.5"), ("--crossbars", "x.csv"), ("--column-sums", "x.csv")):
        capfd.readouterr()
        assert main(["simulate", str(network), "--hw", str(hardware), "--density", "0.1", *option]) == 2
        assert "need images" in capfd.readouterr().err


def test_a_table_that_cannot_be_written_is_refused_before_the_run(network, hardware, capfd):
    arguments = ["simulate", str(network), "--hw", str(hardware), "--crossbars", "nowhere/x.csv"]
    assert main(arguments) == 2
    assert "cannot be written" in capfd.readouterr().err
