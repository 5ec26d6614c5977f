"""Analytic sweeps and searches through the command line."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from spikeloop.codesign.cli import main
from spikeloop.codesign.ledger import open_ledger
from spikeloop.simulator.analytic import price as price_module
from spikeloop.simulator.analytic.price import price_many
from spikeloop.simulator.config import HardwareConfig

pytestmark = pytest.mark.e2e

STUDY = {
    "schema_version": 1,
    "name": "sweep",
    "stage": "analytic",
    "network": {"random": "demo", "weight_bits": 3, "membrane_bits": 4},
    "hardware": "demo",
    "space": {
        "hw.crossbar.size": {"log2": [16, 64]},
        "hw.adc.kind": ["uniform", "lossless"],
        "hw.adc.bits": {"range": [3, 6]},
        "hw.adc.columns_per_adc": [4, 8, 24],
        "hw.neuron.lanes": [4, 8, 16],
        "hw.noc.flit_bits": [16, 32],
    },
    "conditions": {"hw.adc.bits": {"hw.adc.kind": ["uniform"]}},
    "objectives": [{"metric": "edap_J_s_mm2", "goal": "min"}, {"metric": "area_um2", "goal": "min"}],
}


def written(folder: Path, **changes: object) -> str:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return str(path)


def digest(out: Path) -> str:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return ledger.digest()


def test_a_sweep_is_the_same_with_two_workers_and_after_a_loss(tmp_path: Path) -> None:
    """3 sizes x (4 widths + lossless) x 3 x 3 x 2 = 270 points; 24 columns an ADC divide none of the sizes."""
    study, one, two = written(tmp_path), tmp_path / "one", tmp_path / "two"
    assert main(["explore", study, "--out", str(one)]) == 0
    assert main(["explore", study, "--out", str(two), "--workers", "2"]) == 0
    assert (one / "front.csv").read_bytes() == (two / "front.csv").read_bytes()
    assert digest(one) == digest(two)
    with open_ledger(one / "ledger.sqlite") as ledger:
        rows = ledger.rows()
    assert (len(rows), sum(row.status == "infeasible" for row in rows)) == (270, 90)
    with sqlite3.connect(two / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM points WHERE point % 7 < 3")
    connection.close()
    assert main(["explore", study, "--out", str(two), "--resume"]) == 0
    assert digest(one) == digest(two)
    with (one / "front.csv").open() as stream:
        front = list(csv.DictReader(stream))
    assert {line["stage"] for line in front} == {"analytic"}
    assert all((line["hw.adc.bits"] == "") == (line["hw.adc.kind"] == "lossless") for line in front)


def test_dry_run_prints_points_time_memory_and_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", written(tmp_path), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    shown = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (shown["points"], shown["infeasible"], shown["evaluated"]) == ("270", "90", "270")
    assert {"estimated", "memory", "disk"} <= shown.keys()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search": {"sampler": "sobool", "evaluations": 5}}, "did you mean 'sobol'"),
        ({"objectives": [{"metric": "energy", "goal": "min"}]}, "did you mean 'energy_fJ'"),
        ({"objectives": [{"metric": "accuracy", "goal": "max"}]}, "has no accuracy"),
        ({"space": {"hw.adc.bit": [3]}, "conditions": {}}, "did you mean 'hw.adc.bits'"),
        ({"space": {"student.weight_bits": [3]}, "conditions": {}}, "trains no student"),
        ({"network": {"random": "vgg"}}, "vgg9"),
        ({"network": "nowhere.safetensors"}, "no such file"),
        ({"density": 1.5}, "allowed 0 to 1"),
        ({"density": {"conv1": 0.1}}, "give one for each"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_the_ledger(
    changes: dict[str, object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small = {"space": {"hw.adc.bits": [3, 4]}, "conditions": {}}
    assert main(["explore", written(tmp_path, **small), "--out", str(out)]) == 0
    before = digest(out)
    capsys.readouterr()
    assert main(["explore", written(tmp_path, **{**small, **changes}), "--out", str(out), "--resume"]) == 2
    sentence = capsys.readouterr().err.strip()
    assert words in sentence
    assert len(sentence.splitlines()) == 1
    assert digest(out) == before


def test_a_sweep_has_a_report_and_the_command_writes_the_same_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["explore", written(tmp_path, space={"hw.adc.bits": [3, 4]}, conditions={}), "--out", str(out)]) == 0
    first, front = (out / "report.html").read_bytes(), (out / "front.csv").read_bytes()
    assert main(["report", str(out)]) == 0
    assert ((out / "report.html").read_bytes(), (out / "front.csv").read_bytes()) == (first, front)


def test_a_search_is_the_same_with_two_workers(tmp_path: Path) -> None:
    study = written(tmp_path, search={"sampler": "tpe", "evaluations": 40, "batch": 10})
    for workers in ("1", "2"):
        assert main(["explore", study, "--out", str(tmp_path / workers), "--workers", workers]) == 0
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    assert (tmp_path / "1" / "front.csv").read_bytes() == (tmp_path / "2" / "front.csv").read_bytes()


def test_a_point_that_breaks_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def price(network: object, summary: object, designs: Sequence[HardwareConfig], technology: object) -> object:
        if any(hw.adc_bits == 4 for hw in designs):
            raise ZeroDivisionError("division by zero")
        return price_many(network, summary, designs, technology)  # type: ignore[arg-type]

    monkeypatch.setattr(price_module, "price_many", price)
    study = written(tmp_path, space={"hw.adc.bits": [3, 4, 5]}, conditions={})
    assert main(["explore", study, "--out", str(tmp_path / "out")]) == 3
    with open_ledger(tmp_path / "out" / "ledger.sqlite") as ledger:
        assert [(row.status, row.reason) for row in ledger.rows()] == [
            ("ok", ""),
            ("failed", "division by zero"),
            ("ok", ""),
        ]


def test_a_network_with_parameters_is_priced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A map of four times as many pixels takes more energy on every design, and the same area of crossbars or more."""
    fronts = {}
    for size in (8, 16):
        network = {"random": {"name": "ms_resnet_tiny", "size": size, "width": 0.5}, "weight_bits": 3}
        study = written(tmp_path, network=network, space={"hw.crossbar.size": [32]}, conditions={})
        assert main(["explore", study, "--out", str(tmp_path / str(size))]) == 0
        with (tmp_path / str(size) / "front.csv").open() as stream:
            fronts[size] = next(csv.DictReader(stream))
    assert float(fronts[16]["energy_fJ"]) > float(fronts[8]["energy_fJ"])
    assert float(fronts[16]["area_um2"]) >= float(fronts[8]["area_um2"])
    capsys.readouterr()
    wrong = written(tmp_path, network={"random": {"name": "vgg16", "size": 300}})
    assert main(["explore", wrong, "--out", str(tmp_path / "wrong")]) == 2
    assert "network: random: size: got 300; input should be less than or equal to 224" in capsys.readouterr().err
