"""The Parquet export holds every point with its configuration, whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from synthetic_ledger import row, synthetic_folder

from spikeloop.codesign.cli import main

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        row(0, {"hw.adc.bits": 3, "hw.mixed": 1}, energy_fJ=1.5, cycles=7),
        row(1, {"hw.adc.bits": 4, "hw.mixed": "one"}, stage="cycle", energy_fJ=2, cycles=8, accuracy=0.5),
        row(2, {"hw.adc.bits": 99}, reason="too many bits"),
    ]
    return synthetic_folder(tmp_path / "study", rows)


def test_every_point_is_a_row_with_config_stage_metrics_and_status(folder: Path) -> None:
    path = folder / "points.parquet"
    assert main(["report", str(folder), "--parquet", str(path)]) == 0
    table = parquet.read_table(path).to_pydict()
    assert table["point"] == [0, 1, 2]
    assert table["stage"] == ["analytic", "cycle", "analytic"]
    assert table["status"] == ["ok", "ok", "infeasible"]
    assert table["reason"] == ["", "", "too many bits"]
    assert table["axis.hw.adc.bits"] == [3, 4, 99]
    assert table["axis.hw.mixed"] == ["1", '"one"', None]
    assert table["metric.energy_fJ"] == [1.5, 2.0, None]
    assert table["metric.accuracy.value"] == [None, 0.5, None]
    assert table["metric.cycles"] == [7, 8, None]
    assert table["config.density"] == [0.15] * 3
    assert table["seed.training"] == [1] * 3
    assert not list(folder.glob(".points.parquet*"))


def test_missing_extra_and_wrong_names_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "--parquet", str(folder / "nowhere" / "x.parquet")]) == 2
    assert "give another name" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["report", str(folder), "--parquet", str(folder / "x.parquet")]) == 2
    sentence = capsys.readouterr().err.strip()
    assert "pip install 'spikeloop[parquet]'" in sentence
    assert len(sentence.splitlines()) == 1
    assert not (folder / "x.parquet").exists()
