"""A tiny real study through the command line: trained, simulated, reported, continued, and reproduced by hand."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from spikeloop.codesign import demo
from spikeloop.codesign.cli import main
from spikeloop.codesign.ledger import open_ledger
from spikeloop.codesign.results import read_results
from spikeloop.codesign.study import load_study

pytestmark = pytest.mark.e2e

TRAINING = {"dataset": "digits", "network": "demo", "epochs": 2, "lr": 0.01}
STUDY = {
    "name": "tiny",
    "hardware": "demo",
    "teacher": {**TRAINING, "role": "teacher"},
    "student": {**TRAINING, "role": "student", "quantisation": {"weight_bits": 3, "membrane_bits": 4}},
    "space": {
        "student.quantisation.membrane_bits": [2, 4],
        "hw.crossbar.size": [32, 64],
        "hw.adc.bits": [3, 5],
    },
    "images": 60,
    "calibration_images": 16,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished demo of the tiny study, and what the command printed (``stdout.txt``)."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "STUDY", str(folder / "tiny.yaml"))
        assert main(["demo", "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_demo_leaves_everything_that_it_promises(study: Path) -> None:
    names = {path.name for path in study.iterdir() if not path.name.startswith(".")}
    promised = {"study.yaml", "ledger.sqlite", "front.csv", "report.html", "figures", "timings.json"}
    assert promised | {"network.safetensors", "hardware.yaml"} <= names
    assert len(list((study / "figures").glob("*.png"))) == 9
    timings = json.loads((study / "timings.json").read_text())
    assert {stage: row["n"] for stage, row in timings["stages"].items()} == {
        "teacher": 1,
        "students": 2,
        "design points": 8,
        "report and figures": 1,
    }
    assert all(row["cpu_s"] > 0 for row in timings["stages"].values())


def test_finished_demo_says_so_and_runs_nothing_again(
    study: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "STUDY", str(study.parent / "tiny.yaml"))
    before = {name: (study / name).read_bytes() for name in ("front.csv", "report.html", "timings.json")}
    assert main(["demo", "--out", str(study)]) == 0
    out, err = capfd.readouterr()
    assert "is there already" in err
    assert "8 of them taken from the ledger" in err
    assert out.splitlines()[-1].startswith(f"report: {study / 'report.html'}; build W3 V")
    assert {name: (study / name).read_bytes() for name in before} == before


def test_picked_network_and_hardware_reproduce_the_ledger(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(study / "network.safetensors"), "--hw", str(study / "hardware.yaml")]
    options = ["--images", "60", "--calibration-images", "16", "--seed", "1", "--json"]
    assert main(["simulate", *files, *options]) == 0
    result = json.loads(capfd.readouterr().out)
    picked = read_results(study).picked
    assert picked is not None
    assert result == json.loads(json.dumps(dict(picked.metrics)))


def test_parts_of_the_json_are_the_whole(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(study / "network.safetensors"), "--hw", str(study / "hardware.yaml"), "--images", "5"]
    assert main(["simulate", *files, "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    for parts in (result["by_component"].values(), result["by_layer"]):
        assert math.fsum(part["energy_fJ"] for part in parts) == result["energy_fJ"]
        assert math.fsum(part["area_um2"] for part in parts) == result["area_um2"]
    assert sum(part["cycles"] for part in result["by_layer"]) == result["cycles"]
    whole = result["energy_fJ"] * 1e-15 * result["latency_ns"] * 1e-9 * result["area_um2"] * 1e-6
    assert result["edap_J_s_mm2"] == pytest.approx(whole, rel=1e-12)


def test_report_is_written_again_byte_for_byte(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["report.html", "front.csv", "hardware.yaml", "network.safetensors", "figures/accuracy_edap.svg"]
    before = [(study / name).read_bytes() for name in names]
    assert main(["report", str(study)]) == 0
    assert capfd.readouterr().out.strip() == str(study / "report.html")
    assert [(study / name).read_bytes() for name in names] == before


def test_report_holds_the_numbers_of_the_ledger(study: Path) -> None:
    html = (study / "report.html").read_text("utf-8")
    with open_ledger(study / "ledger.sqlite") as ledger:
        rows, stages = ledger.rows(), ledger.stages()
    for row in rows:  # cells of the table are numbers of the page's data, to seven digits
        for number in (row.metrics["energy_fJ"] / 1e6, 100 * row.metrics["accuracy"]["value"]):
            assert re.search(rf"[\[,]\s*{re.escape(json.dumps(float(f'{number:.7g}')))}\s*[,\]]", html)
    for stage in stages:
        assert f"<td>{100 * stage.notes['accuracy']:.2f}</td>" in html
    with (study / "front.csv").open() as stream:
        front = list(csv.DictReader(stream))
    assert f"Designs of the front ({len(front)})" in html
    assert not re.search(r"20\d\d-\d\d-\d\dT", html.rsplit("</head>", 1)[1])


def test_second_run_on_two_workers_gives_the_same_front_and_report(study: Path, tmp_path: Path) -> None:
    arguments = ["explore", str(study.parent / "tiny.yaml"), "--out", str(tmp_path / "again"), "--workers", "2"]
    assert main(arguments) == 0
    assert (tmp_path / "again" / "front.csv").read_bytes() == (study / "front.csv").read_bytes()

    def page(folder: Path) -> str:
        # The commit of the source may change while the tests run; nothing else may differ.
        return re.sub(r"[0-9a-f]{40}(\+dirty)?</dd>", "COMMIT</dd>", (folder / "report.html").read_text("utf-8"))

    assert page(tmp_path / "again") == page(study)


def test_study_file_of_the_folder_is_the_same_study_again(study: Path) -> None:
    assert load_study(str(study / "study.yaml")).content_hash() == read_results(study).study_hash


def test_study_folder_is_recognised(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(study)]) == 0
    assert "valid study folder of 'tiny', 8 points in the ledger, 8 with a result" in capfd.readouterr().out


def test_trained_student_is_exported_and_simulated_without_naming_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("student.yaml").write_text(yaml.safe_dump(STUDY["student"]))
    Path("teacher.yaml").write_text(yaml.safe_dump(STUDY["teacher"]))
    assert main(["train", "student.yaml", "--out", "student"]) == 0
    assert main(["check", "student"]) == 0
    assert main(["export", "student", "--out", "net.safetensors"]) == 0
    capfd.readouterr()
    assert main(["simulate", "net.safetensors", "--hw", "ideal_64", "--images", "30", "--out", "result", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["accuracy"]["n"] == 30
    assert json.loads(Path("result/result.json").read_text()) == result
    record = json.loads(Path("result/run_record.json").read_text())
    assert record["data"] == "digits"
    assert record["versions"]["spikeloop"]
    assert main(["train", "teacher.yaml", "--out", "student"]) == 2
    assert "not an empty folder" in capfd.readouterr().err


def test_quick_cut_keeps_the_ends_of_every_axis() -> None:
    cut = demo.quick_cut(load_study("demo"))
    assert cut.space["student.weight_bits"] == [2, 4]
    assert cut.space["hw.crossbar.size"] == [32, 128]
    assert cut.images == 120
    assert cut.content_hash() != load_study("demo").content_hash()


def test_a_result_that_lacks_a_part_is_a_damaged_ledger(
    study: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "ledger.sqlite")) as connection, connection:
        connection.execute("UPDATE points SET metrics = '{}' WHERE point = 3")
    before = (tmp_path / "copy" / "report.html").read_bytes()
    assert main(["report", str(tmp_path / "copy")]) == 2
    err = capfd.readouterr().err
    assert "ledger.sqlite: damaged (the result of point 3 is not whole" in err
    assert err.count("\n") == 1
    assert (tmp_path / "copy" / "report.html").read_bytes() == before
